//! What a session runs: machine code, and where everything lies that it reads and writes.

use super::Target;
use crate::error::BuildError;
use crate::fuse::{fuse_legalized, group, legalize};
use crate::ir::{Graph, Role, Slots};
use crate::jit::{self, Code, Pool};
use crate::kernel::Fused;
use crate::memory::Memory;
use crate::plan::{Largest, Location, Plan, plan};
use crate::tiling::{Keep, tile};

/// A compiled program and what is needed to run it.
#[derive(Debug)]
pub struct Program {
    /// The machine code.
    pub code: Code,
    /// Inputs, parameters, scalars.
    pub slots: Slots,
    /// Length of the arena, with the scratch of all threads.
    pub arena: usize,
    /// Length of the parameter block.
    pub params_len: usize,
    /// Offset of each parameter in its block.
    pub params: Vec<usize>,
    /// The largest of what lies in the arena.
    pub largest: Largest,
    /// Where each result is after a run, in the order of the roles.
    results: Vec<(Role, Location)>,
}

impl Program {
    /// Compiles a graph as it is, without simplifying it.
    pub fn of_graph(graph: &Graph, target: Target) -> Result<Program, BuildError> {
        let fused = fuse_legalized(&legalize(graph), target.winograd);
        let keep = target.keep.unwrap_or(Keep::Nothing);
        Program::of_kernels(&group(fused, &target.budget()), target, keep)
    }

    /// Compiles kernels.
    pub(super) fn of_kernels(fused: &Fused, target: Target, keep: Keep) -> Result<Program, BuildError> {
        let plan = plan(fused, tile(fused, target.max_batch, target.machine()).keeping(fused, keep))?;
        let code = jit::compile(fused, &plan)?;
        Ok(Program::assemble(code, fused, plan, target.threads))
    }

    /// Compiles kernels that can be timed one by one, for one thread.
    pub(super) fn timed(fused: &Fused, target: Target) -> Result<Program, BuildError> {
        let target = target.with_threads(1);
        let plan = plan(fused, tile(fused, target.max_batch, target.machine()))?;
        let code = jit::compile_timed(fused, &plan)?;
        Ok(Program::assemble(code, fused, plan, 1))
    }

    fn assemble(code: Code, fused: &Fused, plan: Plan, threads: usize) -> Program {
        let results = results(fused, &plan);
        let (arena, largest) = (plan.with_scratch(threads), Largest::in_arena(fused, plan.max_batch));
        let Plan { params, params_len, .. } = plan;
        Program { code, slots: fused.slots.clone(), arena, params, params_len, results, largest }
    }

    /// The same program with its lists in other places: theirs lay between all that compiling needed, a few bytes to a page.
    pub(super) fn moved(self) -> Program {
        let Program { code, slots, arena, params_len, params, results, largest } = self;
        let (slots, params, results, largest) = (slots.clone(), params.clone(), results.clone(), largest.clone());
        Program { code, slots, arena, params_len, params, results, largest }
    }

    /// Runs the program, with a pool's threads where there is one and it pays. Says whether loss and
    /// statistics are finite, if it updates anything.
    pub fn run(&self, pool: Option<&mut Pool>, memory: Memory<'_>) -> bool {
        match pool {
            Some(pool) => self.code.run_on(pool, memory),
            None => self.code.run(memory),
        }
    }

    /// Where a result is after a run.
    pub fn result(&self, role: &Role) -> Option<Location> {
        let found = self.results.binary_search_by(|(known, _)| known.cmp(role)).ok()?;
        Some(self.results[found].1)
    }
}

fn results(fused: &Fused, plan: &Plan) -> Vec<(Role, Location)> {
    let results = fused.results.iter();
    let placed = results.filter_map(|(role, buffer, _)| Some((role.clone(), plan.places[buffer.index()]?)));
    let mut placed: Vec<(Role, Location)> = placed.collect();
    placed.sort_by(|(x, _), (y, _)| x.cmp(y));
    placed.dedup_by(|(later, _), (first, _)| later == first);
    placed
}
