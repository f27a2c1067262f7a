//! A sequence of numbers that goes on and on, one element at a time.

use std::marker::PhantomData;
use std::sync::Arc;

use super::predictor::AnyPredictor;
use super::stepper::Stepper;
use super::{Network, Predictor};
use crate::compile::Purpose;
use crate::error::{BuildError, RunError};
use crate::memory::Input;

impl<N: Network> Predictor<N> {
    /// Predictions for a sequence that comes element by element: what a layer with a state has of those before is kept, so that an
    /// element costs one step. The numbers are those of [`Predictor::predict`] on the whole sequence, to the bit for layers with a
    /// state.
    ///
    /// For networks from one input of numbers `[B, T, ..]` whose layers take each position by itself, or look back: `Rnn`, `Gru` and
    /// `Lstm` from the first position on, causal attention. A stream has no end, but for a network that knows where a position is,
    /// as `Positional` does, or looks at all positions so far, as attention does: that has `T`. It has a copy of the parameters as
    /// they are now.
    ///
    /// ```
    /// # use gradloom_runtime as gradloom;
    /// # fn stream<N: gradloom::session::Network>(predictor: gradloom::session::Predictor<N>) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut stream = predictor.stream()?;
    /// for element in [[0.1, 0.2], [0.3, 0.4]] {
    ///     println!("{:?}", stream.feed(&element)?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A network that looks elsewhere, no memory.
    pub fn stream(&self) -> Result<Sequence<N>, BuildError> {
        Ok(Sequence { any: self.any.stream()?, network: PhantomData })
    }
}

impl AnyPredictor {
    fn stream(&self) -> Result<AnySequence, BuildError> {
        let stepper = self.stepper(&self.stream, Purpose::Stream)?;
        let shape = self.definition.inputs[0].known().shape;
        let most = stepper.one.is_counted.then(|| shape.0[1].factor());
        Ok(AnySequence {
            element: shape.0[2..].iter().map(|dim| dim.factor()).product(),
            outputs: Arc::clone(&stepper.one.outputs),
            stepper,
            most,
            fed: 0,
        })
    }
}

/// A sequence that goes on element by element: see [`Predictor::stream`].
#[derive(Debug)]
pub struct Sequence<N> {
    any: AnySequence,
    network: PhantomData<fn() -> N>,
}

/// The same, whatever the network.
#[derive(Debug)]
struct AnySequence {
    stepper: Stepper,
    /// How many numbers an element has.
    element: usize,
    /// How many numbers each output has of one.
    outputs: Arc<[usize]>,
    /// How many elements a sequence has at most.
    most: Option<usize>,
    fed: usize,
}

impl<N: Network> Sequence<N> {
    /// Takes the next element, in row-major order, and gives the first output of the network at its position; of a layer that gives
    /// its last state alone, what the network would say if the sequence ended here.
    ///
    /// # Errors
    /// An element of another size; more elements than the network has positions, if it counts them.
    pub fn feed(&mut self, element: &[f32]) -> Result<&[f32], RunError> {
        self.any.feed(element)
    }

    /// An output at the position of the last element, by the number of its port; none before the first element, or if there is no
    /// such port.
    pub fn output(&self, port: usize) -> Option<&[f32]> {
        self.any.output(port)
    }

    /// Begins a new sequence.
    pub fn clear(&mut self) {
        self.any.fed = 0;
        self.any.stepper.clear();
    }

    /// How many elements there were.
    pub fn len(&self) -> usize {
        self.any.fed
    }

    /// Whether there was none yet.
    pub fn is_empty(&self) -> bool {
        self.any.fed == 0
    }
}

impl AnySequence {
    fn feed(&mut self, element: &[f32]) -> Result<&[f32], RunError> {
        let name = self.stepper.one.program.slots.inputs[0].name;
        if element.len() != self.element {
            let expected = format!("an element of {} numbers", self.element);
            return Err(RunError::Shape { name: name.to_string(), expected, actual: vec![element.len()] });
        }
        if let Some(length) = self.most.filter(|&most| self.fed >= most) {
            return Err(RunError::Ended { name, length });
        }
        self.stepper.run(Input::Float(element), self.fed);
        self.fed += 1;
        Ok(self.stepper.output(0, self.outputs[0]))
    }

    fn output(&self, port: usize) -> Option<&[f32]> {
        let len = *self.outputs.get(port).filter(|_| self.fed > 0)?;
        Some(self.stepper.output(port, len))
    }
}
