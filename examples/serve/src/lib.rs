//! Which penguin is it? A network that is trained on a table, and a server that is asked over HTTP.
//!
//! ```text
//! cargo run -p gradloom-serve --bin train                        # learns, and leaves target/penguins.safetensors
//! cargo run -p gradloom-serve --bin serve                        # answers on 127.0.0.1:8080
//! curl --data-binary @rows.csv http://127.0.0.1:8080/predict     # rows with a header, any number of them
//! cargo run -p gradloom-serve --bin load                         # how fast, with 1, 8 and 64 connections
//! ```
//!
//! The programs share the declaration below, and the checkpoint: parameters, the statistics of `Standardize`, and what is attached,
//! how columns become features and what the species are called. `README.md` says what was measured.

mod service;

use std::error::Error;
use std::path::{Path, PathBuf};

use gradloom::{Categories, Encoder, Predictor, network};

pub use service::Service;

network! {
    /// What was measured on a penguin -> how likely each species is. The table says how many features and species there are.
    pub Penguins(features: usize = 9, species: usize = 3)<x: [B, features] -> (logits: [B, species], chance: [B, species])> {
        logits = x -> Standardize, Dense(32), relu, Dense(32), relu, Dense(species);
        chance = softmax(logits);
    }
    loss(kind: [u8; B]) = cross_entropy(logits, kind);
    metric accuracy = mean(argmax(logits) == kind);
}

/// What a checkpoint holds: all that it takes to answer.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network.
    pub predictor: Predictor<Penguins>,
    /// How columns become features.
    pub columns: Encoder,
    /// What the classes are called.
    pub species: Categories,
}

impl Model {
    /// Reads a checkpoint of the program `train`.
    ///
    /// # Errors
    /// A file that is none, or of another network.
    pub fn load(path: &Path) -> Result<Model, Box<dyn Error>> {
        let predictor = Penguins::predictor().max_batch(256).load(path)?;
        let (columns, species) = (predictor.attached("columns")?, predictor.attached("species")?);
        Ok(Model { predictor, columns, species })
    }
}

/// The file that is named on the command line, or the one that `train` leaves.
pub fn checkpoint(argument: Option<String>) -> PathBuf {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/penguins.safetensors");
    argument.map_or_else(usual, PathBuf::from)
}
