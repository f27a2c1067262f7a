//! Going on with a sequence, one token at a time, with the keys and values of those before kept.

use std::marker::PhantomData;

use super::predictor::AnyPredictor;
use super::sampling::Sampling;
use super::stepper::Stepper;
use super::{Error, Network, Predictor};
use crate::compile::Purpose;
use crate::error::{BuildError, RunError};
use crate::memory::Input;
use crate::network::Definition;

impl<N: Network> Predictor<N> {
    /// Goes on with a sequence of class ids: `n` further ones, each chosen by `sampling` from what the network says after those
    /// before it.
    ///
    /// For networks from `[B, T]` class ids to `[B, T, classes]` whose layers look back through `Attention(.., causal = true)`,
    /// `Rnn`, `Gru` or `Lstm` alone: each token costs one position, with what is needed of the positions before kept. The numbers are those of
    /// [`Predictor::predict`] on the whole sequence, up to rounding. Where prompt and text exceed the `T` positions of the network,
    /// the last `T / 2` tokens are read anew from the first position.
    ///
    /// # Errors
    /// A network that looks elsewhere, settings out of range, an empty prompt, an id that is no class, logits that are NaN.
    pub fn generate<I: Copy + Into<u32>>(
        &self,
        prompt: &[I],
        n: usize,
        sampling: &Sampling,
    ) -> Result<Vec<u32>, Error> {
        let prompt: Vec<u32> = prompt.iter().map(|&id| id.into()).collect();
        self.any.generate(&prompt, n, sampling)
    }

    /// What [`Predictor::generate`] is made of, for a choice of one's own: tokens go in one by one, and the logits of the next one
    /// come out. It has a copy of the parameters as they are now.
    ///
    /// # Errors
    /// A network that looks elsewhere than back, no memory.
    pub fn generator(&self) -> Result<Generator<N>, BuildError> {
        Ok(Generator { any: self.any.generator()?, network: PhantomData })
    }
}

impl AnyPredictor {
    fn generate(&self, prompt: &[u32], n: usize, sampling: &Sampling) -> Result<Vec<u32>, Error> {
        sampling.check()?;
        let mut random = sampling.random();
        let mut generator = self.generator()?;
        if prompt.is_empty() {
            return Err(RunError::NoToken { name: generator.stepper.one.program.slots.inputs[0].name }.into());
        }
        for &id in prompt {
            generator.feed(id)?;
        }
        let mut text = Vec::new();
        for index in 0..n {
            let token = sampling.choose(generator.logits()?, &mut random) as u32;
            text.push(token);
            if index + 1 < n {
                generator.feed(token)?;
            }
        }
        Ok(text)
    }

    fn generator(&self) -> Result<AnyGenerator, BuildError> {
        let stepper = self.stepper(&self.next, Purpose::Next)?;
        let [length, classes] = sizes(self.definition);
        let (tokens, logits) = (Vec::with_capacity(length), Vec::new());
        Ok(AnyGenerator { stepper, length, classes, tokens, logits })
    }
}

/// The positions of a sequence, and the numbers that each of them gives.
fn sizes(definition: &Definition<'_>) -> [usize; 2] {
    let [input, output] = [definition.inputs, definition.outputs].map(|ports| ports[0].known().shape);
    [input.0[1].factor(), output.0[2].factor()]
}

/// A sequence that grows token by token: see [`Predictor::generator`].
#[derive(Debug)]
pub struct Generator<N> {
    any: AnyGenerator,
    network: PhantomData<fn() -> N>,
}

/// The same, whatever the network.
#[derive(Debug)]
struct AnyGenerator {
    stepper: Stepper,
    length: usize,
    classes: usize,
    /// Those that stand at the positions of the network now.
    tokens: Vec<u32>,
    /// What follows the last of them; empty at first.
    logits: Vec<f32>,
}

impl<N: Network> Generator<N> {
    /// Adds a token. Its logits are then those of [`Generator::logits`].
    ///
    /// # Errors
    /// An id that is no class of the network's input.
    pub fn feed(&mut self, token: u32) -> Result<(), RunError> {
        self.any.feed(token)
    }

    /// The logits of the token after the last one, a number for every class.
    ///
    /// # Errors
    /// No token so far, a logit that is NaN.
    pub fn logits(&self) -> Result<&[f32], RunError> {
        self.any.logits()
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.any.clear();
    }

    /// How many tokens the next one is predicted from.
    pub fn len(&self) -> usize {
        self.any.tokens.len()
    }

    /// Whether no token was added yet.
    pub fn is_empty(&self) -> bool {
        self.any.tokens.is_empty()
    }
}

impl AnyGenerator {
    fn feed(&mut self, token: u32) -> Result<(), RunError> {
        let slot = &self.stepper.one.program.slots.inputs[0];
        if let Some(classes) = slot.classes.filter(|&classes| token as usize >= classes) {
            return Err(RunError::Class { name: slot.name, id: token, row: 0, classes });
        }
        if self.tokens.len() == self.length {
            let kept = self.tokens.split_off(self.length - self.length / 2);
            self.clear();
            kept.into_iter().for_each(|token| self.run(token));
        }
        self.run(token);
        Ok(())
    }

    fn logits(&self) -> Result<&[f32], RunError> {
        match &self.logits[..] {
            [] => Err(RunError::NoToken { name: self.stepper.one.program.slots.inputs[0].name }),
            logits if logits.iter().any(|logit| logit.is_nan()) => {
                Err(RunError::Undefined { name: self.stepper.one.program.slots.outputs[0] })
            }
            logits => Ok(logits),
        }
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.logits.clear();
        self.stepper.clear();
    }

    fn run(&mut self, token: u32) {
        self.stepper.run(Input::Index(&[token]), self.tokens.len());
        self.logits.clear();
        self.logits.extend_from_slice(self.stepper.output(0, self.classes));
        self.tokens.push(token);
    }
}
