//! Predictions with dropout on, many times over: their mean, and how far they lie apart.

use std::sync::{Arc, OnceLock};

use super::any::{AnySession, words};
use super::buffer;
use super::feed::{self, Feed};
use super::outputs::Outputs;
use super::predictor::AnyPredictor;
use super::programs::Kind;
use super::{Error, Network, Predictor, Session};
use crate::compile::{Program, Purpose, Target, compile};
use crate::error::{BuildError, RunError};
use crate::jit::Pool;
use crate::memory::{Memory, Params, Word};
use crate::network::Definition;
use crate::tensor::Tensor;

/// What a network predicts with dropout on: mean and deviation of many passes, each with masks of its own.
///
/// A large deviation says that the network is not sure of a row, as it is of those that are like nothing it was trained on.
/// Source: Gal & Ghahramani 2016, equations 6 and 7, for networks whose layers have `Dropout` between them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MonteCarlo<N: Network> {
    /// The mean of each output over the passes.
    pub mean: N::OwnedOutputs,
    /// The standard deviation of each output over the passes, of a sample: divided by one less than there are passes. 0 of a
    /// network without `Dropout`.
    pub deviation: N::OwnedOutputs,
}

/// How many rows are taken at a time, however large a batch may be, so that masks do not depend on that.
const ROWS: usize = 32;

impl<N: Network> Session<N> {
    /// Predicts `passes` times, from 2, as in inference, but with `Dropout` as in training: mean and deviation of every output, for any
    /// number of rows. `seed` decides the masks, and nothing else does: neither `max_batch` nor the number of threads, nor what was
    /// trained or predicted before. Batch norm normalizes by its running statistics; `Normal` and the changes that images go through
    /// in training are those of inference. The first call compiles a program of its own.
    ///
    /// # Errors
    /// Wrong shapes, no rows, fewer than 2 passes, outputs for which there is no memory.
    pub fn monte_carlo(&mut self, inputs: N::Inputs<'_>, passes: usize, seed: u64) -> Result<MonteCarlo<N>, Error> {
        self.any.monte_carlo(&feed::gather::<N>(inputs, None), passes, seed).map(named)
    }
}

impl<N: Network> Predictor<N> {
    /// As [`Session::monte_carlo`]. Clones share the program, which the first call of one of them compiles.
    ///
    /// # Errors
    /// As for [`Session::monte_carlo`].
    pub fn monte_carlo(&mut self, inputs: N::Inputs<'_>, passes: usize, seed: u64) -> Result<MonteCarlo<N>, Error> {
        self.any.monte_carlo(&feed::gather::<N>(inputs, None), passes, seed).map(named)
    }
}

/// Mean and deviation as the network names them.
fn named<N: Network>(([mut mean, mut deviation], rows): ([Outputs; 2], usize)) -> MonteCarlo<N> {
    MonteCarlo { mean: mean.take_arrays::<N>(rows), deviation: deviation.take_arrays::<N>(rows) }
}

impl AnySession {
    fn monte_carlo(
        &mut self,
        tensors: &[Tensor<'_>],
        passes: usize,
        seed: u64,
    ) -> Result<([Outputs; 2], usize), Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, usize::MAX)?;
        check(passes)?;
        self.compile(Kind::MonteCarlo)?;
        let (definition, program) = (self.definition, self.programs.shared(Kind::MonteCarlo));
        let (arena, params, declared) = (self.arena.floats_mut(), self.params.floats(), &self.declared[..]);
        let (feed, pool) = (&mut self.feed, self.pool.as_mut());
        Passes { definition, program: &program, arena, params, declared, feed, pool }.run(tensors, rows, passes, seed)
    }
}

impl AnyPredictor {
    fn monte_carlo(
        &mut self,
        tensors: &[Tensor<'_>],
        passes: usize,
        seed: u64,
    ) -> Result<([Outputs; 2], usize), Error> {
        let rows = self.feed.check(&self.program.slots, tensors, usize::MAX)?;
        check(passes)?;
        let program = dropping(&self.dropping, self.definition, self.winograd)?;
        if program.arena > self.arena.len() {
            self.arena = buffer::arena(&program, ROWS)?;
        }
        let (definition, arena, params) = (self.definition, self.arena.floats_mut(), self.params.floats());
        let (declared, feed) = (&self.declared[..], &mut self.feed);
        Passes { definition, program: &program, arena, params, declared, feed, pool: None }
            .run(tensors, rows, passes, seed)
    }
}

/// How a session or a predictor compiles it.
pub(super) fn target(threads: usize, winograd: bool) -> Target {
    Target::new(ROWS).with_threads(threads).with_winograd(winograd)
}

/// The program with dropout, compiled once for all clones of a predictor.
fn dropping(
    known: &OnceLock<Arc<Program>>,
    definition: &'static Definition<'static>,
    winograd: bool,
) -> Result<Arc<Program>, BuildError> {
    match known.get() {
        Some(program) => Ok(Arc::clone(program)),
        None => {
            let program = Arc::new(compile(definition, Purpose::MonteCarlo, target(1, winograd)).into_program()?);
            Ok(Arc::clone(known.get_or_init(|| program)))
        }
    }
}

fn check(passes: usize) -> Result<(), BuildError> {
    match passes {
        2.. => Ok(()),
        _ => Err(BuildError::Setting { name: "passes", wanted: "at least 2", actual: passes.to_string() }),
    }
}

/// What passes need of their owner.
struct Passes<'a> {
    definition: &'static Definition<'static>,
    program: &'a Program,
    arena: &'a mut [f32],
    params: &'a [f32],
    declared: &'a [f32],
    feed: &'a mut Feed,
    pool: Option<&'a mut Pool>,
}

/// The mean of numbers so far, and the sum of the squares of what they differ from it by (Welford 1962).
#[derive(Clone, Copy, Default)]
struct Moments {
    mean: f64,
    squares: f64,
}

impl Passes<'_> {
    /// All passes over some rows, then over the next.
    fn run(
        self,
        tensors: &[Tensor<'_>],
        rows: usize,
        passes: usize,
        seed: u64,
    ) -> Result<([Outputs; 2], usize), Error> {
        let Passes { definition, program, arena, params, declared, feed, mut pool } = self;
        let mut outputs = Outputs::new(definition, ROWS.min(rows))?;
        let [mut means, mut deviations] = [Outputs::new(definition, rows)?, Outputs::new(definition, rows)?];
        let slots = &program.slots.scalars;
        let mut numbers = vec![0.0; slots.len()];
        numbers.iter_mut().zip(declared).for_each(|(number, declared)| *number = *declared);
        let mut scalars = vec![Word::default(); slots.len()];
        let mut moments: Vec<Moments> = Vec::new();
        for (piece, from) in (0..rows).step_by(ROWS).enumerate() {
            let to = (from + ROWS).min(rows);
            let own = feed::rows(tensors, from, to);
            moments.clear();
            for pass in 0..passes {
                // Every pass over every piece has a number of its own.
                let number = (piece as u64).wrapping_mul(passes as u64).wrapping_add(pass as u64);
                words(slots, &numbers, seed, number, &mut scalars);
                outputs.make_room(to - from)?;
                feed.with(&own, |inputs| {
                    let (arena, params) = (&mut *arena, Params::Shared(params));
                    program
                        .run(pool.as_deref_mut(), Memory { arena, params, scalars: &scalars, inputs, batch: to - from })
                });
                outputs.take(program, arena, params, &own, to - from);
                let no_memory = |_| RunError::NoMemory { what: "the moments of the outputs" };
                let len = outputs.values().map(<[f32]>::len).sum::<usize>();
                moments.try_reserve_exact(len.saturating_sub(moments.len())).map_err(no_memory)?;
                moments.resize(len, Moments::default());
                for (moments, &value) in moments.iter_mut().zip(outputs.values().flatten()) {
                    let apart = f64::from(value) - moments.mean;
                    moments.mean += apart / (pass + 1) as f64;
                    moments.squares += apart * (f64::from(value) - moments.mean);
                }
            }
            let mut known = moments.iter();
            for (port, values) in outputs.values().enumerate() {
                for Moments { mean, squares } in known.by_ref().take(values.len()) {
                    means.push(port, *mean as f32);
                    deviations.push(port, libm::sqrt(squares / (passes - 1) as f64) as f32);
                }
            }
        }
        Ok(([means, deviations], rows))
    }
}
