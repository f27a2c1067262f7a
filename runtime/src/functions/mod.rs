//! The functions of loss and metric expressions, beside the activations: one `const` each.

mod losses;
mod reductions;
mod scalars;

use crate::ir::{Builder, NodeId};
use crate::types::TensorType;

pub use losses::{BCE_WITH_LOGITS, CROSS_ENTROPY, MSE};
pub use reductions::{ARGMAX, MAX, MEAN, SUM};
pub use scalars::{ABS, EXP, LN, SQRT};

/// All functions, in the order of their documentation.
pub const ALL: &[&FunctionDef] =
    &[&MEAN, &SUM, &MAX, &ARGMAX, &EXP, &LN, &SQRT, &ABS, &CROSS_ENTROPY, &BCE_WITH_LOGITS, &MSE];

/// The definition of a function.
#[derive(Debug)]
pub struct FunctionDef {
    /// As it is written.
    pub name: &'static str,
    /// The path of its `const` under [`crate::functions`], for the macro's expansion.
    pub item: &'static str,
    /// Formula, shapes and source, for hover and README.
    pub doc: &'static str,
    /// The names of its operands.
    pub operands: &'static [&'static str],
    /// The type of the result, or what does not fit, in words.
    pub ty: fn(&[&TensorType]) -> Result<TensorType, String>,
    /// The composition of primitive operations.
    pub lower: fn(&mut Builder, &[NodeId]) -> NodeId,
}
