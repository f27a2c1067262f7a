//! Inference, piece by piece, and its outputs, which are kept until the next ones.

use ndarray::{ArrayD, ArrayViewD, Dimension, IxDyn};

use super::Network;
use super::buffer::no_memory;
use super::feed::{self, Feed};
use super::parameters::Parameters;
use crate::compile::Program;
use crate::error::{BuildError, RunError};
use crate::ir::Role;
use crate::jit::Pool;
use crate::memory::{Memory, Word};
use crate::network::Definition;
use crate::plan::Location;
use crate::tensor::Tensor;
use crate::types::Shape;

/// The outputs of a call, one block of rows a port.
#[derive(Debug)]
pub(super) struct Outputs {
    ports: Vec<Port>,
}

#[derive(Debug)]
struct Port {
    shape: Shape,
    values: Vec<f32>,
}

impl Outputs {
    /// Room for the outputs of `max_batch` rows.
    ///
    /// # Errors
    /// No memory for it.
    pub(super) fn new(definition: &Definition<'_>, max_batch: usize) -> Result<Outputs, BuildError> {
        Outputs::of(definition.outputs.iter().map(|port| port.known().shape), max_batch)
    }

    /// Room for the same outputs of `max_batch` rows.
    ///
    /// # Errors
    /// No memory for it.
    pub(super) fn like(&self, max_batch: usize) -> Result<Outputs, BuildError> {
        Outputs::of(self.ports.iter().map(|port| port.shape.clone()), max_batch)
    }

    fn of(shapes: impl Iterator<Item = Shape>, max_batch: usize) -> Result<Outputs, BuildError> {
        let ports = shapes.map(|shape| {
            let (len, mut values) = (shape.len_at(max_batch), Vec::new());
            let room = values.try_reserve_exact(len);
            room.map_err(|_| no_memory(&format!("the outputs of {max_batch} rows"), len))?;
            Ok(Port { shape, values })
        });
        Ok(Outputs { ports: ports.collect::<Result<_, BuildError>>()? })
    }

    /// Forgets what is there, and makes room for so many rows at once: what grows as it is filled takes up to twice as much.
    pub(super) fn make_room(&mut self, rows: usize) -> Result<(), RunError> {
        self.ports.iter_mut().try_for_each(|port| {
            port.values.clear();
            let room = port.values.try_reserve_exact(port.shape.len_at(rows));
            room.map_err(|_| RunError::NoMemory { what: "the outputs of so many rows" })
        })
    }

    /// Appends what a run left in the arena to what is there.
    pub(super) fn take(
        &mut self,
        program: &Program,
        arena: &[f32],
        params: &[f32],
        inputs: &[Tensor<'_>],
        rows: usize,
    ) {
        for (index, port) in self.ports.iter_mut().enumerate() {
            let len = port.shape.len_at(rows);
            match program.result(&Role::Output(index)).expect("every output has a place") {
                Location::Arena(at) => port.values.extend_from_slice(&arena[at..at + len]),
                Location::Param(param) => port.values.extend_from_slice(&params[program.params[param]..][..len]),
                Location::Prepared(_) => unreachable!("no result is kept from run to run"),
                // A body that only renames elements: its output is its input.
                Location::Input(input) => inputs[input].for_each_number(|number| port.values.push(number)),
            }
        }
    }

    /// The numbers of each port.
    pub(super) fn values(&self) -> impl Iterator<Item = &[f32]> {
        self.ports.iter().map(|port| &port.values[..])
    }

    /// A further number of a port.
    pub(super) fn push(&mut self, port: usize, value: f32) {
        self.ports[port].values.push(value);
    }

    /// The outputs as the user sees them, for a call of so many rows.
    pub(super) fn views<N: Network>(&self, rows: usize) -> N::Outputs<'_> {
        let mut ports = self.ports.iter();
        N::outputs(&mut || next(&mut ports).view(rows))
    }

    /// The outputs of a call of so many rows, taken away: the next call makes room anew.
    pub(super) fn take_arrays<N: Network>(&mut self, rows: usize) -> N::OwnedOutputs {
        let mut ports = self.ports.iter_mut();
        N::owned_outputs(&mut || next(&mut ports).take(rows))
    }
}

/// The port whose turn it is.
fn next<P>(ports: &mut impl Iterator<Item = P>) -> P {
    ports.next().expect("there is a value for every output port")
}

impl Port {
    fn view(&self, rows: usize) -> ArrayViewD<'_, f32> {
        ArrayViewD::from_shape(self.extents(rows), &self.values).expect("an output has the elements of its shape")
    }

    fn take(&mut self, rows: usize) -> ArrayD<f32> {
        let (extents, values) = (self.extents(rows), std::mem::take(&mut self.values));
        ArrayD::from_shape_vec(extents, values).expect("an output has the elements of its shape")
    }

    fn extents(&self, rows: usize) -> IxDyn {
        let mut extents = IxDyn::zeros(self.shape.rank());
        for (extent, dim) in extents.slice_mut().iter_mut().zip(&self.shape.0) {
            *extent = dim.at(rows);
        }
        extents
    }
}

/// What inference needs of its owner.
pub(super) struct Inference<'a> {
    pub(super) program: &'a Program,
    pub(super) arena: &'a mut [f32],
    pub(super) params: &'a Parameters,
    pub(super) scalars: &'a [Word],
    pub(super) feed: &'a mut Feed,
    pub(super) max_batch: usize,
    pub(super) pool: Option<&'a mut Pool>,
}

impl Inference<'_> {
    /// Takes checked rows `max_batch` at a time. What was in the outputs is gone.
    ///
    /// # Errors
    /// No memory for outputs, or for what the program makes of the parameters.
    pub(super) fn run(self, outputs: &mut Outputs, tensors: &[Tensor<'_>], rows: usize) -> Result<(), RunError> {
        let Inference { program, arena, params, scalars, feed, max_batch, mut pool } = self;
        outputs.make_room(rows)?;
        for from in (0..rows).step_by(max_batch) {
            let to = (from + max_batch).min(rows);
            // Most calls are one piece, which needs no views of its own.
            let part = (to - from < rows).then(|| feed::rows(tensors, from, to));
            let piece = part.as_deref().unwrap_or(tensors);
            let prepared = params.of_prediction(program, arena, to - from)?;
            feed.with(piece, |inputs| {
                let (arena, params) = (&mut *arena, prepared);
                program.run(pool.as_deref_mut(), Memory { arena, params, scalars, inputs, batch: to - from })
            });
            outputs.take(program, arena, params.floats(), piece, to - from);
        }
        Ok(())
    }
}
