//! The graphs of a purpose: which results are wanted, in which mode, with which gradients and updates.
//!
//! In: a definition and a purpose. Out: the forward graph, and the graph with all that the purpose wants, before anything is
//! rewritten to save work.

use std::collections::HashSet;

use super::Purpose;
use crate::autodiff::{differentiate, differentiate_at};
use crate::diagnose::{Measure, Signals, diagnose};
use crate::elaborate::words;
use crate::error::BuildError;
use crate::ir::{Graph, NodeId, Output, Role, SlotKind, Slots, verify};
use crate::layers::Mode;
use crate::lower::{Asked, Probed, lower, lower_frozen, lower_next, lower_with_probes, trainable};
use crate::network::Definition;
use crate::optim::{Merging, TrainingConfig, accumulate, attach, merging, once, update};
use crate::stabilize::stabilize;

/// The declaration as a graph.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) graph: Graph,
    /// What goes in and out of each layer, where that is measured.
    layers: Vec<Probed>,
}

/// All that a purpose wants.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) graph: Graph,
    /// What its results measure, if they do.
    pub(super) measures: Vec<Measure>,
    /// Which slots its results are for, if they are running statistics.
    pub(super) statistics: Vec<usize>,
}

/// The forward graph, in the form that keeps its digits.
pub(super) fn forward(definition: &'static Definition<'static>, purpose: Purpose<'_>) -> Result<Forward, BuildError> {
    let mode = match purpose {
        Purpose::Evaluate | Purpose::Predict | Purpose::Next | Purpose::Stream => Mode::Infer,
        Purpose::Recalibrate(_) => Mode::Calibrate,
        Purpose::MonteCarlo => Mode::MonteCarlo,
        _ => Mode::Train,
    };
    let freezes = |config: &TrainingConfig, name: &str| config.freezes(name);
    let (graph, layers) = match (purpose, purpose.config()) {
        (Purpose::Diagnose(config), _) => lower_with_probes(definition, config.frozen(&|name| freezes(config, name)))?,
        (_, Some(config)) => {
            (lower_frozen(definition, mode, config.frozen(&|name| freezes(config, name)))?, Vec::new())
        }
        (Purpose::Next, _) => (lower_next(definition, Asked::Tokens)?, Vec::new()),
        (Purpose::Stream, _) => (lower_next(definition, Asked::Elements)?, Vec::new()),
        (_, None) => (lower(definition, mode)?, Vec::new()),
    };
    Ok(Forward { graph: checked(stabilize(&checked(graph))), layers })
}

/// The graph for a purpose.
pub(super) fn whole(
    definition: &'static Definition<'static>,
    purpose: Purpose<'_>,
    forward: &Forward,
) -> Result<Whole, BuildError> {
    let whole = match purpose {
        Purpose::Diagnose(config) => diagnosed(config, forward)?,
        Purpose::Recalibrate(_) => calibrated(forward),
        _ => Whole { graph: step(definition, purpose, &forward.graph)?, measures: Vec::new(), statistics: Vec::new() },
    };
    check_names(&whole.graph.slots)?;
    Ok(whole)
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

/// A step, or the part of it that the purpose names.
fn step(definition: &'static Definition<'static>, purpose: Purpose<'_>, forward: &Graph) -> Result<Graph, BuildError> {
    let mut graph = forward.clone();
    graph.outputs.retain(|output| match output.role {
        Role::Output(_) => purpose.predicts(),
        Role::Loss => !purpose.predicts(),
        Role::Metric(_) => matches!(purpose, Purpose::Train(_) | Purpose::Accumulate(_) | Purpose::Evaluate),
        Role::Update(_) | Role::Gradient(_) => matches!(purpose, Purpose::Train(_) | Purpose::Accumulate(_)),
        Role::Probe(_) => false,
    });
    if purpose.predicts() {
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
fn diagnosed(config: &TrainingConfig, forward: &Forward) -> Result<Whole, BuildError> {
    let (mut graph, mut layers) = (forward.graph.clone(), forward.layers.clone());
    graph.outputs.retain(|output| !matches!(output.role, Role::Output(_) | Role::Metric(_)));
    let probes = graph.outputs.iter().filter_map(|output| match output.role {
        Role::Probe(end) => Some((end, output.node)),
        _ => None,
    });
    for (end, node) in probes {
        let layer = &mut layers[end / 3];
        *[&mut layer.x, &mut layer.y, &mut layer.states][end % 3] = Some(node);
    }
    graph.outputs.retain(|output| !matches!(output.role, Role::Probe(_)));
    let measured: Vec<NodeId> = layers.iter().flat_map(|layer| [layer.y, layer.states]).flatten().collect();
    let (joint, signals) = differentiate_at(&graph, &config.trained(&graph)?, &measured);
    let mut signals = signals.into_iter();
    let mut signal = |node: Option<NodeId>| node.and_then(|_| signals.next()?);
    let signals: Vec<Signals> =
        layers.iter().map(|layer| Signals { y: signal(layer.y), states: signal(layer.states) }).collect();
    let joint = checked(joint);
    let gradients = joint.outputs.iter().filter_map(|output| match output.role {
        Role::Gradient(param) => Some((param, output.node)),
        _ => None,
    });
    let gradients: Vec<(usize, NodeId)> = gradients.collect();
    let (graph, measures) = diagnose(&checked(attach(&joint, config)), &layers, &signals, &gradients);
    Ok(Whole { graph: checked(graph), measures, statistics: Vec::new() })
}

/// The graph whose outputs are the running statistics as they would be after all rows as one batch, and whose slots they are.
fn calibrated(forward: &Forward) -> Whole {
    let mut graph = forward.graph.clone();
    graph.slots.inputs.retain(|slot| !slot.target);
    let updates = graph.outputs.iter().filter_map(|output| match output.role {
        Role::Update(param) => Some((param, output.node)),
        _ => None,
    });
    let (statistics, nodes): (Vec<usize>, Vec<_>) = updates.unzip();
    graph.outputs =
        nodes.into_iter().enumerate().map(|(index, node)| Output { role: Role::Output(index), node }).collect();
    graph.slots.outputs = vec!["statistic"; statistics.len()];
    Whole { graph: checked(graph), measures: Vec::new(), statistics }
}

/// Stops at a graph that is none, in debug builds: a fault of the stage before.
pub(super) fn checked(graph: Graph) -> Graph {
    if cfg!(debug_assertions) {
        verify(&graph).expect("every stage leaves a graph that verifies");
    }
    graph
}
