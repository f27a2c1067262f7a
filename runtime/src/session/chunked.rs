//! Evaluation of more rows than fit one run: pieces leave totals, which are merged here and finished once.
//!
//! In: checked tensors of any number of rows. Out: loss and metrics as one run over all rows would give them, up to
//! rounding.

use super::any::AnySession;
use super::buffer::Buffer;
use super::feed;
use super::programs::Kind;
use crate::chunked::{Parts, Tally, Total, parts};
use crate::compile::{Program, Target};
use crate::error::BuildError;
use crate::ir::{Graph, Role};
use crate::memory::{Input, Memory, Params};
use crate::plan::Location;
use crate::simplify::simplify;
use crate::tensor::Tensor;

/// The programs that evaluate in pieces.
#[derive(Debug)]
pub(super) struct ChunkedEvaluation {
    /// Programs of a piece, and the totals that each leaves.
    levels: Vec<(Program, Vec<Total>)>,
    finish: Program,
}

impl ChunkedEvaluation {
    /// Compiles what computes the results of a graph, which are numbers that do not belong to a row.
    pub(super) fn new(graph: &Graph, target: Target) -> Result<ChunkedEvaluation, BuildError> {
        let Parts { levels, finish } = parts(graph);
        let compile = |graph: &Graph, target| Program::of_graph(&simplify(graph), target);
        let levels = levels.into_iter().map(|level| Ok((compile(&level.graph, target)?, level.totals)));
        let levels = levels.collect::<Result<_, BuildError>>()?;
        Ok(ChunkedEvaluation { levels, finish: compile(&finish, Target { max_batch: 1, ..target })? })
    }

    fn arena(&self) -> usize {
        let programs = self.levels.iter().map(|(program, _)| program).chain([&self.finish]);
        programs.map(|program| program.arena).max().unwrap_or(0)
    }
}

impl AnySession {
    /// Leaves the metrics over all rows in their place; gives the loss. The first call compiles programs of its own.
    pub(super) fn evaluate_in_pieces(&mut self, tensors: &[Tensor<'_>], rows: usize) -> Result<f32, BuildError> {
        self.compile(Kind::EvaluateInChunks)?;
        let pieces = self.programs.chunked(Kind::EvaluateInChunks);
        let known = self.finish(&pieces, tensors, rows)?;
        // A network need not have a loss.
        let number = |role: Role| self.result(&pieces, &known, &role, 1).map_or(f32::NAN, |numbers| numbers[0]);
        let loss = number(Role::Loss);
        let metrics: Vec<f32> = (0..self.metrics.len()).map(|index| number(Role::Metric(index))).collect();
        self.metrics = metrics;
        Ok(loss)
    }

    /// Goes through all rows, as often as that takes, and computes the results.
    pub(super) fn finish(
        &mut self,
        pieces: &ChunkedEvaluation,
        tensors: &[Tensor<'_>],
        rows: usize,
    ) -> Result<Known, BuildError> {
        if pieces.arena() > self.arena.len() {
            let no_memory =
                || BuildError::NoMemory { what: format!("an evaluation of {} rows at a time", self.max_batch) };
            self.arena = Buffer::scratch(pieces.arena()).ok_or_else(no_memory)?;
        }
        let mut known = Known { batch: [[rows as f32], [0.0]], totals: Vec::new() };
        for (program, totals) in &pieces.levels {
            let tallies = self.level(program, totals, tensors, rows, &mut known);
            known.totals.extend(tallies.iter().map(|tally| tally.totals().into_iter().map(|x| x as f32).collect()));
        }
        self.call(&pieces.finish, &known.inputs(), 1);
        Ok(known)
    }

    /// The numbers of a result, as many as that, if the graph has it.
    pub(super) fn result<'a>(
        &'a self,
        pieces: &ChunkedEvaluation,
        known: &'a Known,
        role: &Role,
        len: usize,
    ) -> Option<&'a [f32]> {
        let place = pieces.finish.result(role)?;
        Some(self.read(&pieces.finish, place, &known.inputs(), len))
    }

    /// Goes through the pieces once.
    fn level(
        &mut self,
        program: &Program,
        totals: &[Total],
        tensors: &[Tensor<'_>],
        rows: usize,
        known: &mut Known,
    ) -> Vec<Tally> {
        let mut tallies: Vec<Tally> = totals.iter().map(Tally::new).collect();
        let mut feed = std::mem::take(&mut self.feed);
        for from in (0..rows).step_by(self.max_batch) {
            let to = (from + self.max_batch).min(rows);
            known.batch[1][0] = from as f32;
            feed.with(&feed::rows(tensors, from, to), |inputs| {
                let inputs = [inputs, &known.inputs()].concat();
                self.call(program, &inputs, to - from);
                for (total, tally) in totals.iter().zip(&mut tallies) {
                    let result = |index| {
                        let place = program.result(&Role::Output(index)).expect("every total has a place");
                        self.read(program, place, &inputs, total.ty.shape.len_at(1))
                    };
                    let part = result(total.output);
                    let means = total.mean.map_or([&[][..]; 2], |parts| parts.map(result));
                    tally.add(to - from, part, means);
                }
            });
        }
        self.feed = feed;
        tallies
    }

    fn call(&mut self, program: &Program, inputs: &[Input<'_>], batch: usize) {
        let (arena, params, scalars) =
            (self.arena.floats_mut(), Params::Shared(self.params.floats()), &self.scalars[..]);
        program.run(self.pool.as_mut(), Memory { arena, params, scalars, inputs, batch });
    }

    /// The numbers of a result.
    fn read<'a>(&'a self, program: &Program, place: Location, inputs: &[Input<'a>], len: usize) -> &'a [f32] {
        let floats = match place {
            Location::Arena(at) => &self.arena.floats()[at..],
            Location::Param(param) => &self.params.floats()[program.params[param]..],
            Location::Prepared(_) => unreachable!("no result is kept from run to run"),
            Location::Input(input) => match inputs[input] {
                Input::Float(values) => values,
                Input::Index(_) => unreachable!("a result is a number, not a class id"),
            },
        };
        &floats[..len]
    }
}

/// What is known of all rows, in the order of the further inputs.
pub(super) struct Known {
    /// How many there are, and how many lie before the piece.
    batch: [[f32; 1]; 2],
    /// The totals of the levels that are done.
    totals: Vec<Vec<f32>>,
}

impl Known {
    fn inputs(&self) -> Vec<Input<'_>> {
        let batch = self.batch.iter().map(|value| Input::Float(value));
        batch.chain(self.totals.iter().map(|values| Input::Float(values))).collect()
    }
}
