//! Going on with a sequence, one token at a time, with the keys and values of those before kept.

use std::marker::PhantomData;
use std::sync::Arc;

use super::buffer::{self, Buffer, no_memory};
use super::params::named;
use super::sampling::Sampling;
use super::{Error, Network, Predictor, fill_those};
use crate::compile::{Program, Purpose, Target, compile};
use crate::error::{BuildError, RunError};
use crate::ir::{InputSlot, Role, SlotKind};
use crate::memory::{Input, Memory, Params, Word};
use crate::network::Definition;
use crate::plan::Location;

impl<N: Network> Predictor<N> {
    /// Goes on with a sequence of class ids: `n` further ones, each chosen by `sampling` from what the network says after those
    /// before it.
    ///
    /// For networks from `[B, T]` class ids to `[B, T, classes]` whose layers look back through `Attention(.., causal = true)`
    /// alone: each token costs one position, with the keys and values of the positions before kept. The numbers are those of
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
        sampling.check()?;
        let mut random = sampling.random();
        let mut generator = self.generator()?;
        if prompt.is_empty() {
            return Err(RunError::Empty { name: generator.program.slots.inputs[0].name }.into());
        }
        for &id in prompt {
            generator.feed(id.into())?;
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

    /// What [`Predictor::generate`] is made of, for a choice of one's own: tokens go in one by one, and the logits of the next one
    /// come out. It has a copy of the parameters as they are now.
    ///
    /// # Errors
    /// A network that looks elsewhere than back through causal attention, no memory.
    pub fn generator(&self) -> Result<Generator<N>, BuildError> {
        let program = match self.next.get() {
            Some(program) => Arc::clone(program),
            None => {
                let compilation = compile(self.definition, Purpose::Next, Target::new(1));
                let program = Arc::new(compilation.into_program()?);
                Arc::clone(self.next.get_or_init(|| program))
            }
        };
        let mut params = buffer::params(&program)?;
        // What is the same in every program, such as tables of angles; the parameters follow.
        fill_those(params.floats_mut(), &program, 0, |kind| kind == SlotKind::Fixed);
        let own: Vec<(usize, usize)> = named(&self.program.slots).map(|(index, slot)| (index, slot.len())).collect();
        let there = named(&program.slots).map(|(index, _)| index);
        for ((from, len), to) in own.into_iter().zip(there) {
            let values = &self.params.floats()[self.program.params[from]..][..len];
            params.floats_mut()[program.params[to]..][..len].copy_from_slice(values);
        }
        let mut scalars = vec![Word::default(); program.slots.scalars.len()];
        scalars.iter_mut().zip(&self.declared).for_each(|(word, &number)| *word = Word::from(number));
        let cache = |slot: &InputSlot| {
            let len = slot.ty.shape.len_at(1);
            Buffer::new(len).ok_or_else(|| no_memory("the keys and values of a sequence", len))
        };
        let caches = program.slots.inputs[2..].iter().map(cache).collect::<Result<Vec<Buffer>, BuildError>>()?;
        let [length, classes] = sizes(self.definition);
        let arena = buffer::arena(&program, 1)?;
        let logits = Vec::new();
        let tokens = Vec::with_capacity(length);
        Ok(Generator { program, params, arena, scalars, caches, length, classes, tokens, logits, network: PhantomData })
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
    program: Arc<Program>,
    params: Buffer,
    arena: Buffer,
    scalars: Vec<Word>,
    /// Keys and values of all positions, for every attention.
    caches: Vec<Buffer>,
    length: usize,
    classes: usize,
    /// Those that stand at the positions of the network now.
    tokens: Vec<u32>,
    /// What follows the last of them; empty at first.
    logits: Vec<f32>,
    network: PhantomData<fn() -> N>,
}

impl<N: Network> Generator<N> {
    /// Adds a token. Its logits are then those of [`Generator::logits`].
    ///
    /// # Errors
    /// An id that is no class of the network's input.
    pub fn feed(&mut self, token: u32) -> Result<(), RunError> {
        let slot = &self.program.slots.inputs[0];
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

    /// The logits of the token after the last one, a number for every class.
    ///
    /// # Errors
    /// No token so far, a logit that is NaN.
    pub fn logits(&self) -> Result<&[f32], RunError> {
        match &self.logits[..] {
            [] => Err(RunError::Empty { name: self.program.slots.inputs[0].name }),
            logits if logits.iter().any(|logit| logit.is_nan()) => {
                Err(RunError::Undefined { name: self.program.slots.outputs[0] })
            }
            logits => Ok(logits),
        }
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.logits.clear();
        // What is not looked at counts 0 times, and 0 times NaN would be NaN.
        self.caches.iter_mut().for_each(|cache| cache.floats_mut().fill(0.0));
    }

    /// How many tokens the next one is predicted from.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no token was added yet.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    fn run(&mut self, token: u32) {
        let position = [self.tokens.len() as u32];
        let tokens = [token];
        let caches = self.caches.iter().map(|cache| Input::Float(cache.floats()));
        let inputs: Vec<Input<'_>> =
            [Input::Index(&tokens), Input::Index(&position)].into_iter().chain(caches).collect();
        let params = Params::Shared(self.params.floats());
        let memory =
            Memory { arena: self.arena.floats_mut(), params, scalars: &self.scalars, inputs: &inputs, batch: 1 };
        self.program.run(None, memory);
        let arena = self.arena.floats();
        let result = |index| match self.program.result(&Role::Output(index)).expect("every output has a place") {
            Location::Arena(at) => at,
            other => unreachable!("what is computed from a position is computed, not {other:?}"),
        };
        self.logits.clear();
        self.logits.extend_from_slice(&arena[result(0)..][..self.classes]);
        for (index, cache) in self.caches.iter_mut().enumerate() {
            let at = result(1 + index);
            let len = cache.len();
            cache.floats_mut().copy_from_slice(&arena[at..at + len]);
        }
        self.tokens.push(token);
    }
}
