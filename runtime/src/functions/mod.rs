//! The functions of loss and metric expressions, apart from the activations: one `const` each.

mod classes;
mod decisions;
mod movement;
mod norms;
mod one_hot;
mod pairs;
mod reductions;
mod scalars;

use crate::ir::{Builder, NodeId};
use crate::layers::{Arg, ArgDef};
use crate::types::TensorType;

pub use classes::{CROSS_ENTROPY, NLL, TOP_K};
pub use decisions::{PRECISION, RECALL};
pub use movement::{CONCAT, RESHAPE, TRANSPOSE};
pub use norms::{L1, L2};
pub use one_hot::ONE_HOT;
pub use pairs::{BCE_WITH_LOGITS, HINGE, HUBER, KL_DIV, MAE, MEAN_ABS_ERROR, MSE, R2};
pub use reductions::{ARGMAX, MAX, MEAN, MIN, SUM, VAR};
pub use scalars::{ABS, CLAMP, ERF, EXP, EXPM1, LN, LOG1P, MAXIMUM, MINIMUM, POW, RSQRT, SIGN, SQRT, SQUARE};

/// All functions, in the order of their documentation.
pub const ALL: &[&FunctionDef] = &[
    &MEAN,
    &SUM,
    &MAX,
    &MIN,
    &VAR,
    &ARGMAX,
    &CONCAT,
    &RESHAPE,
    &TRANSPOSE,
    &ONE_HOT,
    &EXP,
    &LN,
    &SQRT,
    &ABS,
    &EXPM1,
    &LOG1P,
    &RSQRT,
    &SQUARE,
    &POW,
    &ERF,
    &SIGN,
    &MINIMUM,
    &MAXIMUM,
    &CLAMP,
    &L1,
    &L2,
    &CROSS_ENTROPY,
    &NLL,
    &BCE_WITH_LOGITS,
    &KL_DIV,
    &HINGE,
    &MSE,
    &MAE,
    &HUBER,
    &TOP_K,
    &PRECISION,
    &RECALL,
    &MEAN_ABS_ERROR,
    &R2,
];

/// The definition of a function.
#[derive(Debug)]
pub struct FunctionDef {
    /// As it is written.
    pub name: &'static str,
    /// The path of its `const` under [`crate::functions`], for the macro's expansion.
    pub item: &'static str,
    /// The names of its operands; `..` at the end stands for any number of further ones.
    pub operands: &'static [&'static str],
    /// Whether the operand may be `weights`: the function is then summed over all weight tensors of the network.
    pub over_weights: bool,
    /// Whether an element of the result depends only on the same element of the operands: then a user's function may use it.
    pub elementwise: bool,
    /// The options, which follow the operands and are always named.
    pub args: &'static [ArgDef],
    /// The type of the result, or what does not fit, in words.
    pub ty: fn(&[&TensorType], &[Arg]) -> Result<TensorType, String>,
    /// The composition of primitive operations.
    pub lower: fn(&mut Builder, &[Arg], &[NodeId]) -> NodeId,
}

impl FunctionDef {
    /// The operands that it takes in any case, and whether it takes more of them.
    pub fn least_operands(&self) -> (&'static [&'static str], bool) {
        match self.operands {
            [least @ .., ".."] => (least, true),
            all => (all, false),
        }
    }
}
