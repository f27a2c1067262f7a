//! Where the first number that is not finite came from, in words for the user.

use std::fmt;

use crate::ir::SourcePlace;
use crate::ir::print::constant;

pub use crate::ir::Pass;

/// The first number of a step that is not finite: nothing that it was made from explains it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// It came in from outside.
    Given {
        /// With what.
        with: Given,
        /// Its name: `x`, `dense1.weight`, `rate`.
        name: String,
        /// Its position; empty for a single number.
        element: Vec<usize>,
        /// NaN or infinite.
        value: f32,
    },
    /// An operation made it of finite numbers.
    Made {
        /// The path of the layer that the operation belongs to; or `loss`, the name of a metric, or in an update that of the
        /// parameter or `optimizer`.
        layer: String,
        /// Where the layer, loss or metric is declared; none for what all updates have in common.
        place: Option<SourcePlace>,
        /// The pass.
        pass: Pass,
        /// In a layer with a state or a loop, the position of the element that it is made of; in a loop inside of another, one
        /// for each, the outermost first.
        steps: Vec<usize>,
        /// The operation, as the IR names it: `ln`, `div`, `dot`, `sum`.
        operation: &'static str,
        /// What it was applied to; of a sum, its largest term; of a product of matrices, the factors of the largest.
        operands: Vec<Operand>,
        /// How many terms a sum or product of matrices has; else 1.
        terms: usize,
        /// The position in the result; empty for a single number.
        element: Vec<usize>,
        /// The result: NaN or infinite.
        value: f32,
    },
}

/// What a step is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Given {
    /// An input of the network.
    Input,
    /// A target of the loss.
    Target,
    /// A parameter, running statistic or part of the optimizer's state, as it was before the step.
    Parameter,
    /// A number of the optimizer's, such as the learning rate.
    Setting,
}

/// What an operation was applied to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Operand {
    /// The number.
    pub value: f32,
    /// The input, target, parameter or setting that it is an element of, if it is one: `dense1.weight[3, 7]`.
    pub source: Option<String>,
}

/// `[3, 7]`; nothing for a single number.
pub(crate) fn position(element: &[usize]) -> String {
    match element {
        [] => String::new(),
        _ => format!("{element:?}"),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Given { with, name, element, value } => {
                if !element.is_empty() {
                    write!(f, "element {} of ", position(element))?;
                }
                match with {
                    Given::Input => write!(f, "the input `{name}` is {value}"),
                    Given::Target => write!(f, "the target `{name}` is {value}"),
                    Given::Parameter => write!(
                        f,
                        "`{name}` was {value} before the step (a trainer's `sentinel(true)` refuses the update that makes it so)"
                    ),
                    Given::Setting => write!(f, "`{name}` is {value}"),
                }
            }
            Fault::Made { layer, place, pass, steps, operation, operands, terms, element, value } => {
                write!(f, "in the {pass} of `{layer}`")?;
                for (depth, step) in steps.iter().enumerate() {
                    write!(f, "{} at step {step}", if depth == 0 { "" } else { ", in it" })?;
                }
                if let Some(place) = place {
                    write!(f, " ({place})")?;
                }
                let what = match element[..] {
                    [] => "the result".to_string(),
                    _ => format!("element {}", position(element)),
                };
                let expression = expression(operation, operands, *terms);
                match terms {
                    1 => write!(f, ", {what} is {expression} = {value}")?,
                    _ => write!(f, ", {what} is {value}, {expression}")?,
                }
                let named = operands.iter().filter_map(|operand| Some((operand.source.as_ref()?, operand.value)));
                let named: Vec<String> =
                    named.map(|(name, value)| format!("{name} is {}", constant(value.into()))).collect();
                if named.is_empty() { Ok(()) } else { write!(f, ", where {}", named.join(" and ")) }
            }
        }
    }
}

/// An operation on numbers, as it would be written.
fn expression(operation: &str, operands: &[Operand], terms: usize) -> String {
    let values: Vec<String> = operands.iter().map(|operand| constant(operand.value.into())).collect();
    match (operation, &values[..]) {
        ("add", [a, b]) => format!("{a} + {b}"),
        ("sub", [a, b]) => format!("{a} - {b}"),
        ("mul", [a, b]) => format!("{a} * {b}"),
        ("div", [a, b]) => format!("{a} / {b}"),
        ("mul_add", [a, b, c]) => format!("{a} * {b} + {c}"),
        ("dot", [a, b]) => format!("the sum of {terms} products, the largest {a} * {b}"),
        ("const", []) => "a constant".to_string(),
        ("sum" | "variance", [x]) => format!("the {operation} of {terms} numbers, the largest {x}"),
        _ => format!("{operation}({})", values.join(", ")),
    }
}
