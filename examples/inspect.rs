//! One network, every stage of the compiler.
//!
//! ```text
//! cargo run --example inspect              # all stages
//! cargo run --example inspect -- fused     # one of them
//! ```
//!
//! Prints, for a training step with Adam: the declaration (`static`), the graph (`forward`), the graph with gradients
//! (`backward`), what is compiled of it (`simplified`), the kernels (`fused`), where everything lies in memory (`plan`),
//! Cranelift's intermediate language (`clif`) and the machine code (`asm`); then the kernels of inference (`inference`), where
//! batch norm is a difference, a scale and a shift.

use std::error::Error;

use gradloom::{Adam, Stage, network};

network! {
    /// Small enough to be read, large enough for a batch norm between two products.
    pub Net<x: [B, 4] -> logits: [B, 3]> { Dense(8, bias = false), BatchNorm, relu, Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);
}

const STAGES: [Stage; 8] = [
    Stage::Static,
    Stage::Forward,
    Stage::Backward,
    Stage::Simplified,
    Stage::Fused,
    Stage::Plan,
    Stage::Clif,
    Stage::Asm,
];

fn main() -> Result<(), Box<dyn Error>> {
    let trainer = Net::trainer(Adam::new(1e-3)).max_batch(32);
    let training = STAGES.map(|stage| (format!("{stage:?}").to_lowercase(), trainer.ir(stage)));
    let inference = ("inference".to_string(), Net::predictor().max_batch(32).ir(Stage::Fused));
    let texts = Vec::from_iter(training.into_iter().chain([inference]));

    match std::env::args().nth(1) {
        None => texts.iter().for_each(|(name, text)| println!("==== {name} ====\n\n{}\n", text.trim_end())),
        Some(wanted) => {
            let text = texts.iter().find(|(name, _)| *name == wanted.to_lowercase());
            let names = || texts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            let (_, text) = text.ok_or_else(|| format!("no stage `{wanted}`; the stages are {}", names()))?;
            println!("{}", text.trim_end());
        }
    }
    Ok(())
}
