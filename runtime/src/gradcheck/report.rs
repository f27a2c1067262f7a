//! What a check of gradients found, and its text.

use std::fmt;

use crate::ir::ParamSlot;
use crate::ir::declared::stored_positions;
use crate::types::Shape;

/// Above this a symbolic gradient is wrong: where it is right, the error is what f64 leaves of a difference, near 1e-10.
const SYMBOLIC: f64 = 1e-5;

/// Above this a compiled gradient is wrong: where it is right, the error is that of f32, near 1e-6.
const COMPILED: f64 = 1e-3;

/// The gradients of a network, checked parameter by parameter. Prints as a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradcheck {
    /// The loss of the batch, in f64.
    pub loss: f64,
    /// The parameters that training changes, in order.
    pub params: Vec<ParamCheck>,
    /// How many comparisons, maxima and the like fall differently in f32 than in f64: a gradient in f32 is then that of the
    /// other side, and its error shows it.
    pub undecided: usize,
}

/// What was found of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamCheck {
    /// Its path: `dense1.weight`.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
    /// How many of its numbers were moved to see the slope of the loss. All of up to 64; of more, 64 and then all at once.
    pub moved: usize,
    /// How many of those stand at a kink, where the gradient is a convention and nothing is compared.
    pub kinks: usize,
    /// The symbolic gradient against the slope of the loss, both in f64.
    pub symbolic: Error,
    /// The compiled gradient, in f32, against the symbolic one in f64: all of its numbers.
    pub compiled: Error,
}

/// The worst relative error that was found. A number and what is expected of it differ by this share of the larger one of
/// them, but not of less than a hundredth of the largest gradient of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Error {
    /// The error; infinite where a number is none.
    pub worst: f64,
    /// Where in the parameter, in row-major order; nowhere if all numbers were moved at once.
    pub at: Option<usize>,
    /// What was found there.
    pub found: f64,
    /// What was expected.
    pub expected: f64,
}

impl Gradcheck {
    /// The largest error of all: of the symbolic gradients and of the compiled ones.
    pub fn worst(&self) -> f64 {
        let errors = self.params.iter().flat_map(|param| [param.symbolic.worst, param.compiled.worst]);
        errors.fold(0.0, f64::max)
    }

    /// Whether all is well: every symbolic gradient within 1e-5, every compiled one within 1e-3.
    pub fn passed(&self) -> bool {
        self.params.iter().all(ParamCheck::passed)
    }

    /// What was found of the parameter with this name.
    pub fn get(&self, name: &str) -> Option<&ParamCheck> {
        self.params.iter().find(|param| param.name == name)
    }
}

impl ParamCheck {
    pub(super) fn new(slot: &ParamSlot) -> ParamCheck {
        let (name, shape) = (slot.name.clone(), slot.declared_shape());
        ParamCheck { name, shape, moved: 0, kinks: 0, symbolic: Error::default(), compiled: Error::default() }
    }

    /// With places as users have them, in place of those in memory.
    pub(super) fn declared(mut self, slot: &ParamSlot) -> ParamCheck {
        for error in [&mut self.symbolic, &mut self.compiled] {
            let declared = |at| stored_positions(&slot.shape, slot.order).position(|stored| stored == at);
            error.at = error.at.and_then(declared);
        }
        self
    }

    /// Whether both of its gradients are right.
    pub fn passed(&self) -> bool {
        self.symbolic.worst <= SYMBOLIC && self.compiled.worst <= COMPILED
    }
}

impl Error {
    /// Takes note of one number. Below the floor numbers are compared with the floor, and what rounding explains is no error.
    pub(super) fn add(&mut self, at: Option<usize>, found: f64, expected: f64, [floor, rounding]: [f64; 2]) {
        let distance = (found - expected).abs();
        let size = found.abs().max(expected.abs()).max(floor);
        let error = match distance.is_finite() {
            true if distance <= rounding => 0.0,
            true => (distance - rounding) / size,
            false => f64::INFINITY,
        };
        if error > self.worst {
            *self = Error { worst: error, at, found, expected };
        }
    }
}

impl fmt::Display for Gradcheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![["gradients", "", "moved", "at a kink", "symbolic", "compiled"].map(str::to_string)];
        for param in &self.params {
            let len = param.shape.iter().product::<usize>();
            lines.push([
                param.name.clone(),
                Shape::fixed(&param.shape).to_string(),
                if param.moved == len { len.to_string() } else { format!("{} of {len}", param.moved) },
                if param.kinks == 0 { String::new() } else { param.kinks.to_string() },
                format!("{:.1e}", param.symbolic.worst),
                format!("{:.1e}", param.compiled.worst),
            ]);
        }
        let widths = [0, 1, 2, 3, 4, 5].map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0));
        for (index, line) in lines.iter().enumerate() {
            let [name, shape, moved, kinks, symbolic, compiled] = line;
            let [w0, w1, w2, w3, w4, w5] = widths;
            let text = format!("{name:w0$}  {shape:w1$}  {moved:>w2$}  {kinks:>w3$}  {symbolic:>w4$}  {compiled:>w5$}");
            let wrong = index > 0 && !self.params[index - 1].passed();
            writeln!(f, "{text}{}", if wrong { "  wrong" } else { "" })?;
        }
        for param in self.params.iter().filter(|param| !param.passed()) {
            if param.symbolic.worst > SYMBOLIC {
                param.explain(f, &param.symbolic, "the symbolic gradient", "the loss has the slope")?;
            }
            if param.compiled.worst > COMPILED {
                param.explain(f, &param.compiled, "the compiled gradient", "the symbolic one is")?;
            }
        }
        match self.undecided {
            0 => Ok(()),
            1 => writeln!(f, "1 comparison falls differently in f32"),
            n => writeln!(f, "{n} comparisons fall differently in f32"),
        }
    }
}

impl ParamCheck {
    fn explain(&self, f: &mut fmt::Formatter<'_>, error: &Error, what: &str, other: &str) -> fmt::Result {
        let Error { at, found, expected, .. } = error;
        let place = match at {
            Some(at) => self.position(*at),
            None => " along a line".to_string(),
        };
        writeln!(f, "{}{place}: {what} is {found:.6e}, {other} {expected:.6e}", self.name)
    }

    /// `[3, 4]`, or nothing for a single number.
    fn position(&self, mut at: usize) -> String {
        let mut indices = Vec::new();
        for &extent in self.shape.iter().rev() {
            indices.push((at % extent).to_string());
            at /= extent;
        }
        indices.reverse();
        if indices.is_empty() { String::new() } else { format!("[{}]", indices.join(", ")) }
    }
}
