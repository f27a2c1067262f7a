//! The pipeline: from a declared network to a program, and the text of every stage on the way.
//!
//! In: a definition and what to compile it for. Out: a [`Program`] that a session runs. The stages follow one another in
//! `graph_for` and [`Program::new`], top to bottom, checked in between in debug builds.

use std::collections::HashSet;

use crate::autodiff::{differentiate, differentiate_at};
use crate::diagnose::{Measure, diagnose};
use crate::elaborate::words;
use crate::error::BuildError;
use crate::fuse::{fuse, legalize};
use crate::ir::{Graph, NodeId, Output, Role, SlotKind, Slots, verify};
use crate::jit::{self, Code, Pool, Text};
use crate::kernel::Fused;
use crate::layers::Mode;
use crate::lower::{check, lower, lower_frozen, lower_with_probes, trainable};
use crate::memory::Memory;
use crate::microkernels::pages;
use crate::network::Definition;
use crate::optim::{Merging, TrainingConfig, accumulate, attach, merging, once, update};
use crate::plan::{self, Location, Plan};
use crate::sentinel::Replay;
use crate::simplify::simplify;
use crate::stabilize::stabilize;
use crate::tiling::{Isa, Machine, tile, tile_apart};

/// A stage of the compiler, as [`Trainer::ir`](crate::session::Trainer::ir) and the like print it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The declaration, with the shape after every layer.
    Static,
    /// The graph of primitive operations.
    Forward,
    /// The same with the gradients behind it, as differentiation leaves it.
    Backward,
    /// The graph that is compiled: with the optimizer's update, after all rewrites.
    Simplified,
    /// The kernels: what is computed together. Each begins with its extents, its floating-point operations and the bytes
    /// that it reads and writes, four an element and each value once, and why it is not part of an earlier kernel. `keep`
    /// says who reads a value from memory and why it is not computed again there, `again` what it takes to compute once
    /// more what another kernel has, instead of a write and a read. The last lines have the sums, and what they would be if
    /// every operation were a kernel of its own.
    Fused,
    /// Where everything lies in memory, and how the kernels run: which products are written out or called, which operands are
    /// rearranged, what is prefetched and what threads share, each with its reason.
    Plan,
    /// The kernels in Cranelift's intermediate language, for x86-64 with AVX2 and FMA.
    Clif,
    /// The kernels as machine code, for x86-64 with AVX2 and FMA.
    Asm,
}

/// What a network is compiled for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose<'a> {
    /// A step: loss, metrics, gradients and update in one.
    Train(&'a TrainingConfig),
    /// Loss and gradients, in training mode, without an update. The optimization says what is frozen; without one nothing is.
    Gradients(Option<&'a TrainingConfig>),
    /// Loss, metrics and gradients, which are added up.
    Accumulate(&'a TrainingConfig),
    /// The update from gradients that were added up.
    Update(&'a TrainingConfig),
    /// Loss and metrics in inference mode.
    Evaluate,
    /// Outputs in inference mode.
    Predict,
}

impl<'a> Purpose<'a> {
    /// How the network is trained, where that is said.
    fn config(self) -> Option<&'a TrainingConfig> {
        match self {
            Purpose::Train(config) | Purpose::Accumulate(config) | Purpose::Update(config) => Some(config),
            Purpose::Gradients(config) => config,
            Purpose::Evaluate | Purpose::Predict => None,
        }
    }
}

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
    /// The largest of what lies in the arena, in words.
    pub largest: String,
    /// Where each result is after a run, in the order of the roles.
    results: Vec<(Role, Location)>,
}

impl Program {
    /// Compiles a network for batches of up to `max_batch` rows, and one thread. What that took for a while is given back.
    pub fn new(
        definition: &'static Definition<'static>,
        purpose: Purpose<'_>,
        max_batch: usize,
    ) -> Result<Program, BuildError> {
        Program::for_threads(definition, purpose, max_batch, 1)
    }

    /// The same for so many threads.
    pub fn for_threads(
        definition: &'static Definition<'static>,
        purpose: Purpose<'_>,
        max_batch: usize,
        threads: usize,
    ) -> Result<Program, BuildError> {
        Program::of_network(simplified(definition, purpose)?, max_batch, threads)
    }

    /// The same of its graph, simplified.
    pub fn of_network(graph: Graph, max_batch: usize, threads: usize) -> Result<Program, BuildError> {
        let program = Program::of_graph_for(&graph, max_batch, threads)?.moved();
        drop(graph);
        pages::give_back();
        Ok(program)
    }

    /// The same program with its lists in other places: theirs lay between all that compiling needed, a few bytes to a page.
    fn moved(self) -> Program {
        let Program { code, slots, arena, params_len, params, results, largest } = self;
        let (slots, params, results, largest) = (slots.clone(), params.clone(), results.clone(), largest.clone());
        Program { code, slots, arena, params_len, params, results, largest }
    }

    /// Compiles a graph that has been simplified, for one thread.
    pub fn of_graph(graph: &Graph, max_batch: usize) -> Result<Program, BuildError> {
        Program::of_graph_for(graph, max_batch, 1)
    }

    /// Compiles a graph that has been simplified, for so many threads.
    pub fn of_graph_for(graph: &Graph, max_batch: usize, threads: usize) -> Result<Program, BuildError> {
        Program::of_graph_on(graph, max_batch, threads, Isa::detect())
    }

    /// The same for one of the instruction sets that this machine has, rather than the best of them.
    pub fn of_graph_on(graph: &Graph, max_batch: usize, threads: usize, isa: Isa) -> Result<Program, BuildError> {
        let fused = fuse(graph);
        let machine = Machine::of(isa).with_cores(threads);
        let plan = plan::plan(&fused, tile(&fused, max_batch, machine))?;
        let code = jit::compile(&fused, &plan)?;
        Ok(Program::assemble(code, &fused, plan, threads))
    }

    /// The same network for one thread with kernels that can be timed, those kernels, and the graph that they were made of.
    pub fn timed(
        definition: &'static Definition<'static>,
        purpose: Purpose<'_>,
        max_batch: usize,
    ) -> Result<(Program, Fused, Graph), BuildError> {
        let graph = legalize(&simplified(definition, purpose)?);
        let fused = fuse(&graph);
        let plan = plan::plan(&fused, tile_apart(&fused, max_batch, Machine::of(Isa::detect())))?;
        let code = jit::compile_timed(&fused, &plan)?;
        Ok((Program::assemble(code, &fused, plan, 1), fused, graph))
    }

    fn assemble(code: Code, fused: &Fused, plan: Plan, threads: usize) -> Program {
        let results = results(fused, &plan);
        let (arena, largest) = (plan.with_scratch(threads), plan::largest(fused, plan.max_batch, false));
        let Plan { params, params_len, .. } = plan;
        Program { code, slots: fused.slots.clone(), arena, params, params_len, results, largest }
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

/// The forward graph, in the form that keeps its digits.
pub(crate) fn forward(
    definition: &'static Definition<'static>,
    mode: Mode,
    config: Option<&TrainingConfig>,
) -> Result<Graph, BuildError> {
    let graph = match config {
        Some(config) => lower_frozen(definition, mode, config.frozen(&|name| config.freezes(name)))?,
        None => lower(definition, mode)?,
    };
    Ok(checked(stabilize(&checked(graph))))
}

/// The graph for a purpose, before it is simplified.
fn graph_for(definition: &'static Definition<'static>, purpose: Purpose<'_>) -> Result<Graph, BuildError> {
    let graph = for_purpose(definition, purpose)?;
    check_names(&graph.slots)?;
    Ok(graph)
}

/// Every parameter and all of the optimizer's state can be told apart by name, so that what is saved can be loaded.
fn check_names(slots: &Slots) -> Result<(), BuildError> {
    let mut names = HashSet::new();
    let own = slots.params.iter().filter(|slot| slot.kind != SlotKind::Fixed);
    match own.map(|slot| slot.name.as_str()).find(|name| !names.insert(*name)) {
        Some(name) => Err(BuildError::Name { name: name.to_string() }),
        None => Ok(()),
    }
}

fn for_purpose(definition: &'static Definition<'static>, purpose: Purpose<'_>) -> Result<Graph, BuildError> {
    let mode = match purpose {
        Purpose::Train(_) | Purpose::Gradients(_) | Purpose::Accumulate(_) | Purpose::Update(_) => Mode::Train,
        Purpose::Evaluate | Purpose::Predict => Mode::Infer,
    };
    let mut graph = forward(definition, mode, purpose.config())?;
    graph.outputs.retain(|output| match output.role {
        Role::Output(_) => matches!(purpose, Purpose::Predict),
        Role::Loss => !matches!(purpose, Purpose::Predict),
        Role::Metric(_) => matches!(purpose, Purpose::Train(_) | Purpose::Accumulate(_) | Purpose::Evaluate),
        Role::Update(_) | Role::Gradient(_) => matches!(purpose, Purpose::Train(_) | Purpose::Accumulate(_)),
        Role::Probe(_) => false,
    });
    if matches!(purpose, Purpose::Predict) {
        graph.slots.inputs.retain(|slot| !slot.target);
        return Ok(graph);
    }
    if matches!(purpose, Purpose::Evaluate) {
        return Ok(graph);
    }
    let Some(loss) = &definition.loss else {
        return Err(BuildError::NoLoss { network: definition.name });
    };
    let joint = joint(definition, &graph, purpose)?;
    if matches!(purpose, Purpose::Train(_)) && !has_gradient(&joint) {
        let mistakes = vec![(definition.place(loss.at), words::no_gradient(definition.name))];
        return Err(BuildError::Declaration { mistakes });
    }
    Ok(match purpose {
        Purpose::Train(config) => checked(attach(&joint, config)),
        Purpose::Accumulate(config) => checked(accumulate(&joint, config, merge(definition, &graph)?.merge)),
        Purpose::Update(config) => checked(update(&joint, config)),
        _ => joint,
    })
}

/// The forward graph with the gradients that a purpose wants.
fn joint(definition: &'static Definition<'static>, forward: &Graph, purpose: Purpose<'_>) -> Result<Graph, BuildError> {
    let wanted = match purpose {
        Purpose::Train(config)
        | Purpose::Gradients(Some(config))
        | Purpose::Accumulate(config)
        | Purpose::Update(config) => config.trained(forward)?,
        _ => trainable(forward).collect(),
    };
    Ok(checked(match purpose {
        Purpose::Accumulate(_) => differentiate(&checked(once(forward, &merge(definition, forward)?.once)), &wanted),
        _ => differentiate(forward, &wanted),
    }))
}

/// How the gradients of several batches become one.
fn merge(definition: &'static Definition<'static>, forward: &Graph) -> Result<Merging, BuildError> {
    merging(forward).map_err(|reason| BuildError::Accumulate { network: definition.name, reason })
}

/// Whether any gradient is more than the zero that stands for none, or none is wanted.
fn has_gradient(joint: &Graph) -> bool {
    let gradients = joint.outputs.iter().filter(|output| matches!(output.role, Role::Gradient(_)));
    let mut gradients = gradients.map(|output| joint.constant(output.node)).peekable();
    gradients.peek().is_none() || gradients.any(|constant| constant != Some(0.0))
}

/// The graph that measures a training step, and what it measures.
pub fn diagnosed(
    definition: &'static Definition<'static>,
    config: &TrainingConfig,
) -> Result<(Graph, Vec<Measure>), BuildError> {
    let (graph, mut layers) = lower_with_probes(definition, config.frozen(&|name| config.freezes(name)))?;
    let mut graph = checked(stabilize(&checked(graph)));
    graph.outputs.retain(|output| !matches!(output.role, Role::Output(_) | Role::Metric(_)));
    let probes = graph.outputs.iter().filter_map(|output| match output.role {
        Role::Probe(end) => Some((end, output.node)),
        _ => None,
    });
    for (end, node) in probes {
        let layer = &mut layers[end / 2];
        *if end % 2 == 0 { &mut layer.x } else { &mut layer.y } = node;
    }
    graph.outputs.retain(|output| !matches!(output.role, Role::Probe(_)));
    let results: Vec<NodeId> = layers.iter().map(|layer| layer.y).collect();
    let (joint, signals) = differentiate_at(&graph, &config.trained(&graph)?, &results);
    let joint = checked(joint);
    let gradients = joint.outputs.iter().filter_map(|output| match output.role {
        Role::Gradient(param) => Some((param, output.node)),
        _ => None,
    });
    let gradients: Vec<(usize, NodeId)> = gradients.collect();
    let (graph, measures) = diagnose(&checked(attach(&joint, config)), &layers, &signals, &gradients);
    Ok((checked(simplify(&checked(graph))), measures))
}

/// The graph whose outputs are the running statistics as they would be after all rows as one batch, and whose slots they are.
pub fn calibrated(
    definition: &'static Definition<'static>,
    config: &TrainingConfig,
) -> Result<(Graph, Vec<usize>), BuildError> {
    let mut graph = forward(definition, Mode::Calibrate, Some(config))?;
    graph.slots.inputs.retain(|slot| !slot.target);
    let updates = graph.outputs.iter().filter_map(|output| match output.role {
        Role::Update(param) => Some((param, output.node)),
        _ => None,
    });
    let (statistics, nodes): (Vec<usize>, Vec<_>) = updates.unzip();
    graph.outputs =
        nodes.into_iter().enumerate().map(|(index, node)| Output { role: Role::Output(index), node }).collect();
    graph.slots.outputs = vec!["statistic"; statistics.len()];
    Ok((checked(simplify(&checked(graph))), statistics))
}

/// The graph for a purpose as it was before all rewrites that only save work, to be replayed.
pub fn replay(definition: &'static Definition<'static>, purpose: Purpose<'_>) -> Result<Replay, BuildError> {
    Ok(Replay { graph: graph_for(definition, purpose)? })
}

/// The graph that is compiled for a purpose.
pub fn simplified(definition: &'static Definition<'static>, purpose: Purpose<'_>) -> Result<Graph, BuildError> {
    Ok(checked(simplify(&graph_for(definition, purpose)?)))
}

/// The text of a stage.
pub fn text(
    definition: &'static Definition<'static>,
    stage: Stage,
    purpose: Purpose<'_>,
    max_batch: usize,
) -> Result<String, BuildError> {
    let infer = matches!(purpose, Purpose::Evaluate | Purpose::Predict);
    let mode = if infer { Mode::Infer } else { Mode::Train };
    Ok(match stage {
        Stage::Static => check(definition)?.to_string(),
        Stage::Forward => forward(definition, mode, purpose.config())?.to_string(),
        Stage::Backward if infer => forward(definition, mode, None)?.to_string(),
        Stage::Backward => {
            let config = if let Purpose::Train(config) = purpose { Some(config) } else { None };
            graph_for(definition, Purpose::Gradients(config))?.to_string()
        }
        Stage::Simplified => simplified(definition, purpose)?.to_string(),
        Stage::Fused => fuse(&simplified(definition, purpose)?).to_string(),
        Stage::Plan => {
            let fused = fuse(&simplified(definition, purpose)?);
            plan::text(&plan::plan(&fused, tile(&fused, max_batch, Machine::of(Isa::Avx2)))?, &fused)
        }
        Stage::Clif => jit::text(&fuse(&simplified(definition, purpose)?), max_batch, Text::Clif)?,
        Stage::Asm => jit::text(&fuse(&simplified(definition, purpose)?), max_batch, Text::Asm)?,
    })
}

/// Stops at a graph that is none, in debug builds: a fault of the stage before.
fn checked(graph: Graph) -> Graph {
    if cfg!(debug_assertions) {
        verify(&graph).expect("every stage leaves a graph that verifies");
    }
    graph
}
