//! From gradients to updates, as IR: clipping, decay, then the optimizer's own rule.

use std::rc::Rc;

use super::group::Treatment;
use super::{At, Optimizer, TrainingConfig};
use crate::init::Init;
use crate::ir::origin::of_params;
use crate::ir::{Builder, Graph, NodeId, Origin, Output, ParamSlot, Role, ScalarSlot, SlotKind};
use crate::scalar::Cmp;
use crate::types::{Dim, Shape};

/// Keeps a norm of zero from being a divisor, as in PyTorch.
const NORM_EPS: f64 = 1e-6;

/// What gradients are multiplied by if their squares overflow: 2^-80. Of the squares of the largest numbers, 2^28 can be added up,
/// and none that matter for a norm of 2^64 underflow.
const DOWN: f64 = 1.0 / (1u128 << 80) as f64;
/// The first factor of that: 2^-32.
const FIRST_DOWN: f64 = 1.0 / (1u64 << 32) as f64;

/// Replaces every gradient of the graph by the updates that follow from it.
pub fn attach(graph: &Graph, config: &TrainingConfig) -> Graph {
    let mut b = Builder::new(graph.clone());
    let (trained, others) = split(&mut b, config, &of_params(graph));
    b.graph_mut().outputs = others;
    finish(b, config, trained)
}

/// Takes the outputs: the parameters with their gradients, each with slots for its state, and all other outputs.
pub(super) fn split(b: &mut Builder, config: &TrainingConfig, origins: &[Rc<Origin>]) -> (Vec<Trained>, Vec<Output>) {
    let (mut trained, mut others) = (Vec::new(), Vec::new());
    for output in std::mem::take(&mut b.graph_mut().outputs) {
        match output.role {
            Role::Gradient(param) => trained.push(Trained::new(b, config, param, output.node, &origins[param])),
            _ => others.push(output),
        }
    }
    (trained, others)
}

/// Adds the updates.
pub(super) fn finish(mut b: Builder, config: &TrainingConfig, mut trained: Vec<Trained>) -> Graph {
    b.enter(Origin::of_updates("optimizer"));
    let scalars = Scalars::new(&mut b, &*config.optimizer, &trained);
    clip(&mut b, config, &mut trained);
    for one in &trained {
        update(&mut b, config, one, &scalars);
    }
    b.finish()
}

/// The run-time scalars at a step, counted from 1, in the order of their slots. Keys stay as they are, and numbers of the
/// declaration are those that it gives.
pub fn fill(slots: &[ScalarSlot], optimizer: &dyn Optimizer, rate: f64, step: u64, values: &mut [f32]) {
    let mut at = 0;
    while at < slots.len() {
        let mut len = 1;
        match slots[at] {
            ScalarSlot::Optimizer(_, factor) => {
                len = optimizer.scalars().len();
                optimizer.values(rate * factor, step, &mut values[at..at + len]);
            }
            ScalarSlot::Decay { decay, factor } => values[at] = (1.0 - rate * factor * decay) as f32,
            ScalarSlot::Declared(_, value) => values[at] = value as f32,
            // Integers, drawn by whoever runs the graph.
            ScalarSlot::Key { .. } => {}
            ScalarSlot::Due { every, .. } => {
                values[at] = if (step - 1).is_multiple_of(every) { 1.0 } else { 0.0 };
            }
            ScalarSlot::StatisticsFrozen { after } => values[at] = if step > after { 1.0 } else { 0.0 },
            // Set by whoever accumulates.
            ScalarSlot::First | ScalarSlot::Share => {}
        }
        at += len;
    }
}

/// A parameter with its gradient.
pub(super) struct Trained {
    pub(super) param: usize,
    pub(super) gradient: NodeId,
    /// Where its update belongs.
    pub(super) origin: Rc<Origin>,
    state: Vec<usize>,
    treatment: Treatment,
}

impl Trained {
    /// Adds the slots of the optimizer's state.
    fn new(b: &mut Builder, config: &TrainingConfig, param: usize, gradient: NodeId, layer: &Origin) -> Trained {
        let params = &mut b.graph_mut().slots.params;
        let slot = params[param].clone();
        let first = params.len();
        params.extend(config.optimizer.state().iter().map(|name| ParamSlot {
            name: format!("{}.{name}", slot.name),
            shape: slot.shape.clone(),
            order: slot.order,
            init: Init::Constant(0.0),
            kind: SlotKind::Optimizer(param),
        }));
        let state = (first..params.len()).collect();
        Trained { param, gradient, origin: layer.of_update(&slot.name), state, treatment: config.treatment(&slot.name) }
    }
}

/// The run-time scalars as nodes: those of the optimizer for every multiple of the rate, and the share that each decay keeps.
struct Scalars {
    own: Vec<(f64, Vec<NodeId>)>,
    keep: Vec<((f64, f64), NodeId)>,
}

impl Scalars {
    fn new(b: &mut Builder, optimizer: &dyn Optimizer, trained: &[Trained]) -> Scalars {
        let mut scalars = Scalars { own: Vec::new(), keep: Vec::new() };
        for &Trained { treatment: Treatment { factor, decay, .. }, .. } in trained {
            if scalars.own.iter().all(|(known, _)| *known != factor) {
                let names = optimizer.scalars().iter();
                let nodes = names.map(|name| b.new_scalar(ScalarSlot::Optimizer(name, factor))).collect();
                scalars.own.push((factor, nodes));
            }
            if decay != 0.0 && scalars.keep.iter().all(|(known, _)| *known != (decay, factor)) {
                let node = b.new_scalar(ScalarSlot::Decay { decay, factor });
                scalars.keep.push(((decay, factor), node));
            }
        }
        scalars
    }
}

/// By value: every element is clamped to `-limit..limit`. By norm: all gradients times `min(1, limit / (norm + 1e-6))`, with the
/// norm of all of them together (Pascanu et al. 2013, algorithm 1, as `clip_grad_norm_` of PyTorch). If both, by value first.
///
/// If the sum of squares overflows, a second sum is taken, of the squares of gradients times 2^-80 (after Blue 1978, "A portable
/// Fortran program to find the Euclidean norm of a vector"; both are computed at once, so that gradients are read once). What is
/// lost to squares that underflow is negligible beside 1e-6.
fn clip(b: &mut Builder, config: &TrainingConfig, trained: &mut [Trained]) {
    if let Some(limit) = config.clip_value {
        for Trained { gradient, .. } in trained.iter_mut() {
            let low = b.constant_like(-limit, *gradient);
            let high = b.constant_like(limit, *gradient);
            let raised = b.max(*gradient, low);
            *gradient = b.min(raised, high);
        }
    }
    let Some(limit) = config.clip_norm.filter(|_| !trained.is_empty()) else { return };
    let total = |b: &mut Builder, scale: Option<f64>| {
        let squares = trained.iter().map(|one| {
            let Some(scale) = scale else { return sum_of_squares(b, one.gradient) };
            let scaled = b.scale(one.gradient, scale);
            sum_of_squares(b, scaled)
        });
        let squares: Vec<NodeId> = squares.collect();
        squares.into_iter().reduce(|sum, square| b.add(sum, square)).expect("there are gradients")
    };
    let [plain, scaled] = [None, Some(DOWN)].map(|scale| total(b, scale));
    let largest = b.constant_like(f64::from(f32::MAX), plain);
    let fits = b.compare(Cmp::Le, plain, largest);
    let (factor, scale) = factors(b, limit, fits, [plain, scaled]);
    for Trained { gradient, .. } in trained.iter_mut() {
        let shape = b.shape(*gradient);
        let [scale, factor] = [scale, factor].map(|number| b.spread(number, &shape));
        let scaled = b.mul(*gradient, scale);
        *gradient = b.mul(scaled, factor);
    }
}

/// The two factors that gradients are multiplied by, one after the other, from the sum of their squares, if that fits, and the sum
/// of their scaled squares. The second is 1 if the sum fits; else it makes sure that the first keeps its digits where the limit is
/// tiny compared with the norm.
fn factors(b: &mut Builder, limit: f64, fits: NodeId, [plain, scaled]: [NodeId; 2]) -> (NodeId, NodeId) {
    let norm = b.sqrt(plain);
    let norm = b.offset(norm, NORM_EPS);
    let scaled = b.sqrt(scaled);
    let norm = b.select(fits, norm, scaled);
    let limit = b.constant_like(limit, norm);
    let ratio = b.div(limit, norm);
    let one = b.constant_like(1.0, ratio);
    let least = b.min(ratio, one);
    let whole = b.constant_like(1.0 / DOWN, ratio);
    let whole = b.compare(Cmp::Ge, ratio, whole);
    let part = b.scale(ratio, DOWN / FIRST_DOWN);
    let [part, first] = [part, b.constant_like(FIRST_DOWN, ratio)].map(|number| b.select(whole, one, number));
    (b.select(fits, least, part), b.select(fits, one, first))
}

/// The sum over all elements. A vector is summed as a matrix of one row, so that no update has to wait for it in the same kernel.
fn sum_of_squares(b: &mut Builder, x: NodeId) -> NodeId {
    let mut square = b.mul(x, x);
    if let [cols] = b.shape(square).0[..] {
        square = b.reshape(square, Shape(vec![Dim::Fixed(1), cols]));
    }
    let axes: Vec<usize> = (0..b.shape(square).rank()).collect();
    if axes.is_empty() { square } else { b.sum(square, &axes) }
}

/// Adds the update of one parameter. With a rate factor of 0 only its state changes: the parameter is not moved by 0 times
/// something, which could be NaN.
fn update(b: &mut Builder, config: &TrainingConfig, trained: &Trained, scalars: &Scalars) {
    let Trained { param: index, mut gradient, ref state, treatment: Treatment { factor, l2, decay, .. }, .. } =
        *trained;
    b.enter(Rc::clone(&trained.origin));
    let nodes: Vec<NodeId> = state.iter().map(|&slot| b.param(slot)).collect();
    let mut param = b.param(index);
    let shape = b.shape(param);
    let (_, own) = scalars.own.iter().find(|(known, _)| *known == factor).expect("there are scalars for every rate");
    let own: Vec<NodeId> = own.iter().map(|&scalar| b.spread(scalar, &shape)).collect();
    if l2 != 0.0 {
        let l2 = b.constant_like(l2, param);
        gradient = b.mul_add(param, l2, gradient);
    }
    if let Some((_, keep)) = scalars.keep.iter().find(|(known, _)| *known == (decay, factor)) {
        let keep = b.spread(*keep, &shape);
        param = b.mul(param, keep);
    }
    if let Some(largest) = config.optimizer.largest().filter(|_| !config.sentinel) {
        gradient = bounded(b, gradient, largest);
    }
    let at = At { param, gradient, state: &nodes, scalars: &own, saturates: !config.sentinel };
    let (next, next_state) = config.optimizer.update(b, &at);
    let next = (factor != 0.0).then_some((index, next));
    for (slot, node) in next.into_iter().chain(state.iter().copied().zip(next_state)) {
        b.graph_mut().outputs.push(Output { role: Role::Update(slot), node });
    }
}

/// The gradient with its elements bounded by `largest`. Infinite ones become NaN, so that they are noticed.
fn bounded(b: &mut Builder, gradient: NodeId, largest: f64) -> NodeId {
    let [low, high] = [-largest, largest].map(|limit| b.constant_like(limit, gradient));
    let raised = b.max(low, gradient);
    let bounded = b.min(high, raised);
    let nothing = b.scale(gradient, 0.0);
    b.add(bounded, nothing)
}
