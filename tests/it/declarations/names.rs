//! Names drawn from those that mean something somewhere: words of the language, columns of a history, what parameters, state and
//! run-time scalars are called, and the paths of stages. Each is drawn wherever the macro takes it; that it refuses them
//! everywhere else is a test of the macro's own.

use std::collections::{HashMap, HashSet};

use gradloom_runtime::{functions, layers};

use super::tape::Tape;
use crate::handmade::leak;

/// Names that mean something.
pub const POOL: [&str; 33] = [
    "f",
    "f1",
    "f1_",
    "f11",
    "dense",
    "dense1",
    "dense1_",
    "batch_norm1",
    "lambda",
    "lambda1",
    "block1",
    "repeat1",
    "residual1",
    "skip",
    "weights",
    "weight",
    "B",
    "loss",
    "optimizer",
    "accumulation",
    "accumulated",
    "epoch",
    "steps",
    "rate",
    "seconds",
    "validation_loss",
    "mean",
    "relu",
    "due",
    "first",
    "key0",
    "running_mean",
    "running_var",
];

/// Where a name may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourcePlace {
    Input,
    Output,
    Target,
    /// A value of the outermost body.
    Value,
    /// One of another body.
    Inner,
    Metric,
    Act,
    /// What a function of the user's own is applied to.
    Operand,
    /// A number that it trains.
    Extra,
}

pub const PLACES: [SourcePlace; 9] = [
    SourcePlace::Input,
    SourcePlace::Output,
    SourcePlace::Target,
    SourcePlace::Value,
    SourcePlace::Inner,
    SourcePlace::Metric,
    SourcePlace::Act,
    SourcePlace::Operand,
    SourcePlace::Extra,
];

impl SourcePlace {
    /// Whether something may be called so here, if nothing else is.
    pub fn takes(self, name: &str) -> bool {
        let of_reports = ["loss", "optimizer", "accumulation"].contains(&name);
        let is_reserved = ["B", "weights"].contains(&name);
        match self {
            SourcePlace::Input | SourcePlace::Output | SourcePlace::Target | SourcePlace::Value => {
                !is_reserved && !of_reports
            }
            SourcePlace::Inner => !is_reserved && name != "skip",
            SourcePlace::Metric => {
                let is_column = ["epoch", "steps", "rate", "seconds"].contains(&name);
                !of_reports && !is_column && !name.starts_with("validation_")
            }
            SourcePlace::Act => {
                let is_word = layers::ALL.iter().any(|layer| layer.name == name)
                    || functions::ALL.iter().any(|function| function.name == name);
                !is_reserved && !is_word && name != "skip"
            }
            SourcePlace::Operand | SourcePlace::Extra => !is_reserved,
        }
    }

    /// A name that is not taken: `usual`, numbered where it has to be, or one of those that mean something.
    pub fn name(self, tape: &mut Tape<'_>, usual: &str, taken: &mut HashSet<String>) -> &'static str {
        let fits = |name: &&str| self.takes(name) && !taken.contains(*name);
        let special: Vec<&str> = POOL.into_iter().filter(fits).collect();
        let name = match tape.chance(40) && !special.is_empty() {
            true => tape.pick(&special).to_string(),
            false => {
                let numbered = (1..).map(|number| format!("{usual}_{number}"));
                let mut all = std::iter::once(usual.to_string()).chain(numbered);
                all.find(|name| !taken.contains(name)).expect("there are many numbers")
            }
        };
        taken.insert(name.clone());
        leak(name)
    }
}

/// The names of one body.
#[derive(Debug, Default)]
pub struct Scope {
    /// How many stages of a kind there are.
    pub numbers: HashMap<String, usize>,
    pub taken: HashSet<String>,
}

impl Scope {
    /// The part of a path that belongs to the next stage of this kind, and whether it is given with `as`: it has to be where
    /// the one that it would have is taken.
    pub fn segment(&mut self, tape: &mut Tape<'_>, stem: &str, place: SourcePlace) -> (&'static str, bool) {
        let own = self.number(stem);
        if tape.chance(30) || self.taken.contains(&own) {
            return (place.name(tape, &own, &mut self.taken), true);
        }
        self.taken.insert(own.clone());
        (leak(own), false)
    }

    /// The part of a path that belongs to the next stage of this kind without a name.
    pub fn number(&mut self, stem: &str) -> String {
        // A number after a digit would run into it.
        let stem = if stem.ends_with(char::is_numeric) { format!("{stem}_") } else { stem.to_string() };
        let number = self.numbers.entry(stem.clone()).or_default();
        *number += 1;
        format!("{stem}{number}")
    }
}
