//! The numbers of a declaration that are never trained, and may change while it is.

use super::any::AnySession;
use super::predictor::AnyPredictor;
use super::{Network, Predictor, Session};
use crate::elaborate::words::closest;
use crate::error::{BuildError, RunError};
use crate::ir::ScalarSlot;
use crate::memory::Word;
use crate::network::{Definition, is_normal_f32};

impl<N: Network> Session<N> {
    /// What `scalar name = ..;` of the declaration is at this moment.
    ///
    /// # Errors
    /// A name that the network does not declare so; the message suggests the closest.
    pub fn scalar(&self, name: &str) -> Result<f32, RunError> {
        self.any.scalar(name)
    }

    /// Changes what `scalar name = ..;` of the declaration is, from the next step, evaluation or prediction on. Nothing is
    /// recompiled. Predictors made before keep theirs. A checkpoint has it.
    ///
    /// # Errors
    /// A name that the network does not declare so, a number that is not finite in f32.
    pub fn set_scalar(&mut self, name: &str, value: f64) -> Result<(), super::Error> {
        self.any.set_scalar(name, value)
    }

    /// The names of all scalars that the network declares.
    pub fn scalar_names(&self) -> impl Iterator<Item = &'static str> + use<N> {
        N::declared().scalars.iter().map(|scalar| scalar.name)
    }
}

impl AnySession {
    fn scalar(&self, name: &str) -> Result<f32, RunError> {
        place(self.definition, name).map(|index| self.declared[index])
    }

    fn set_scalar(&mut self, name: &str, value: f64) -> Result<(), super::Error> {
        let index = place(self.definition, name)?;
        self.declared[index] = number(name, value)?;
        self.fill_declared();
        Ok(())
    }

    /// Brings them to where programs read them.
    pub(super) fn fill_declared(&mut self) {
        for (word, &number) in self.scalars.iter_mut().zip(&self.declared) {
            *word = Word::from(number);
        }
    }
}

impl<N: Network> Predictor<N> {
    /// What `scalar name = ..;` of the declaration is at this moment.
    ///
    /// # Errors
    /// A name that the network does not declare so; the message suggests the closest.
    pub fn scalar(&self, name: &str) -> Result<f32, RunError> {
        self.any.scalar(name)
    }

    /// Changes what `scalar name = ..;` of the declaration is, for this predictor alone.
    ///
    /// # Errors
    /// A name that the network does not declare so, a number that is not finite in f32.
    pub fn set_scalar(&mut self, name: &str, value: f64) -> Result<(), super::Error> {
        self.any.set_scalar(name, value)
    }
}

impl AnyPredictor {
    fn scalar(&self, name: &str) -> Result<f32, RunError> {
        place(self.definition, name).map(|index| self.declared[index])
    }

    fn set_scalar(&mut self, name: &str, value: f64) -> Result<(), super::Error> {
        let index = place(self.definition, name)?;
        self.declared[index] = number(name, value)?;
        self.scalars[index] = Word::from(self.declared[index]);
        Ok(())
    }

    /// Those of a checkpoint, in the order of the declaration.
    pub(super) fn take_scalars(&mut self, numbers: &[f32]) {
        for ((word, own), &number) in self.scalars.iter_mut().zip(&mut self.declared).zip(numbers) {
            (*word, *own) = (Word::from(number), number);
        }
    }
}

/// The index of a scalar.
fn place(definition: &Definition<'_>, name: &str) -> Result<usize, RunError> {
    let scalars = definition.scalars;
    scalars.iter().position(|scalar| scalar.name == name).ok_or_else(|| RunError::Scalar {
        name: name.to_string(),
        closest: closest(name, scalars.iter().map(|scalar| scalar.name)).map(str::to_string),
    })
}

/// A number of f32.
fn number(name: &str, value: f64) -> Result<f32, BuildError> {
    match value == 0.0 || is_normal_f32(value) {
        true => Ok(value as f32),
        false => {
            let wanted = "0, or a number between 1.2e-38 and 3.4e38 in magnitude";
            Err(BuildError::Scalar { name: name.to_string(), wanted, actual: value.to_string() })
        }
    }
}

/// What they are unless they are set.
pub(super) fn declared(slots: &[ScalarSlot]) -> Vec<f32> {
    let values = slots.iter().map_while(|slot| match slot {
        ScalarSlot::Declared(_, value) => Some(*value as f32),
        _ => None,
    });
    values.collect()
}
