//! What diagnostics measure of a training step, as IR: compiled and fused like the step itself.
//!
//! In: the graph of a step, with its gradients, its updates and the values of its layers. Out: a graph whose results are a
//! handful of sums, and what each of them says of which layer; of a loop, one for each position. Nothing is updated. Absent on
//! purpose: the division by the number of elements, which is done where the sums are read.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use crate::autodiff::slope;
use crate::ir::origin::owner;
use crate::ir::{Builder, Graph, NodeId, Op, Origin, Output, Role};
use crate::layers::{Arg, LayerDef, float};
use crate::lower::Probed;
use crate::scalar::Cmp;
use crate::types::{Dim, Shape};

/// A sum, or those of all positions, and what they say.
#[derive(Clone, Debug)]
pub struct Measure {
    /// The path of the layer. Sessions keep it and go from thread to thread.
    pub layer: Arc<str>,
    /// What was added up.
    pub quantity: Quantity,
    /// Over how many elements.
    pub count: Dim,
    /// At how many positions; 1 where it is no loop.
    pub positions: usize,
}

/// What is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// The magnitudes of the gradient of a parameter.
    Gradient,
    /// The magnitudes of the gradient of what a layer gives.
    Signal,
    /// The squares of what the step would add to a parameter.
    Update,
    /// The squares of a parameter.
    Parameter,
    /// The units of an activation whose slope is 0 in every row.
    Dead,
    /// The values of an activation where its slope is next to nothing.
    Saturated,
    /// The distances of the batch's means from the running ones, in running deviations.
    MeanDrift,
    /// The magnitudes of the logarithm of batch variance by running variance.
    VarianceDrift,
    /// At each position, the greatest magnitude in the gradient of the state after the step there.
    StateScale,
    /// At each position, the squares of that gradient in terms of its greatest magnitude: what vanishes has a square that is 0.
    StateSquares,
}

/// The gradients of what a layer gives, and of all its states.
#[derive(Clone, Copy, Debug)]
pub struct Signals {
    /// Of what it gives.
    pub y: Option<NodeId>,
    /// Of its states, if it is a loop.
    pub states: Option<NodeId>,
}

/// Replaces all results by measures: the one of index `i` has the role `Probe(i)`, and the loss is a probe after the last,
/// so that all are computed even if it is not finite. `signals` are the gradients of what the layers give, `gradients` those
/// of the parameters with their indices; the updates are found by their roles.
pub fn diagnose(
    graph: &Graph,
    layers: &[Probed],
    signals: &[Signals],
    gradients: &[(usize, NodeId)],
) -> (Graph, Vec<Measure>) {
    let slots = graph.slots.params.iter().enumerate();
    let params = slots.map(|(param, slot)| (slot.name.as_str(), param)).collect();
    let updates = graph.outputs.iter().filter_map(|output| match output.role {
        Role::Update(param) => Some((param, output.node)),
        _ => None,
    });
    let updates = updates.collect();
    let b = Builder::new(graph.clone());
    let mut diagnosis = Diagnosis { b, params, updates, measures: Vec::new(), sums: Vec::new() };
    let owners: HashSet<&str> = layers.iter().map(|layer| &*layer.owner).collect();
    let mut by_owner: HashMap<&str, Vec<(usize, NodeId)>> = HashMap::new();
    for &(param, gradient) in gradients {
        if let Some(owner) = owner(&graph.slots.params[param].name, |path| owners.contains(path)) {
            by_owner.entry(owner).or_default().push((param, gradient));
        }
    }
    for (layer, signal) in layers.iter().zip(signals) {
        for (param, gradient) in by_owner.remove(&*layer.owner).into_iter().flatten() {
            diagnosis.parameter(&layer.path, param, gradient);
        }
        if let Some(signal) = signal.y {
            diagnosis.magnitudes(&layer.path, Quantity::Signal, signal);
        }
        if let Some((history, gradient)) = layer.states.zip(signal.states) {
            diagnosis.states(&layer.path, history, gradient);
        }
        diagnosis.activation(layer);
        if let (Some((batch_norm, args)), Some(x)) =
            (layer.layer.as_ref().filter(|(layer, _)| layer.stem == "batch_norm"), layer.x)
        {
            let eps = float(args, batch_norm.args.iter().position(|arg| arg.name == "eps").expect("it has one"));
            diagnosis.drift(&layer.path, x, eps);
        }
    }
    let Diagnosis { b, measures, mut sums, .. } = diagnosis;
    sums.extend(graph.output(&Role::Loss));
    let mut graph = b.finish();
    let probes = sums.into_iter().enumerate().map(|(index, node)| Output { role: Role::Probe(index), node });
    graph.outputs = probes.collect();
    (graph, measures)
}

struct Diagnosis<'g> {
    b: Builder,
    /// The parameters and statistics by name.
    params: HashMap<&'g str, usize>,
    /// What the step makes of them.
    updates: HashMap<usize, NodeId>,
    measures: Vec<Measure>,
    sums: Vec<NodeId>,
}

impl Diagnosis<'_> {
    /// Adds up a tensor.
    fn add(&mut self, layer: &Rc<str>, quantity: Quantity, x: NodeId) {
        let shape = self.b.shape(x);
        let axes: Vec<usize> = (0..shape.rank()).collect();
        let sum = if axes.is_empty() { x } else { self.b.sum(x, &axes) };
        self.measure(layer, quantity, (sum, &shape));
    }

    /// What was made of a tensor, or of each part of one, of this shape.
    fn measure(&mut self, layer: &Rc<str>, quantity: Quantity, (sum, of): (NodeId, &Shape)) {
        let count = of.len().expect("extents were checked when the network was lowered");
        let positions = self.b.shape(sum).len_at(1);
        self.measures.push(Measure { layer: Arc::from(&**layer), quantity, count, positions });
        self.sums.push(sum);
    }

    /// From the gradients of all states of a loop, the first one included.
    fn states(&mut self, layer: &Rc<str>, history: NodeId, gradient: NodeId) {
        self.b.enter(Origin::of_layer(Rc::clone(layer), None));
        let b = &mut self.b;
        let carry = b[b[history].operands[0]].op.clone();
        let Op::Carry { steps, reverse, .. } = carry else { unreachable!("a history is that of a loop") };
        let after = b.slice(gradient, 0, usize::from(!reverse), steps, 1);
        let shape = b.shape(after);
        let axes: Vec<usize> = (1..shape.rank()).collect();
        let magnitude = b.abs(after);
        let scale = b.max_over(magnitude, &axes);
        let zero = b.constant_like(0.0, scale);
        let one = b.constant_like(1.0, scale);
        let vanished = b.compare(Cmp::Eq, scale, zero);
        let divisor = b.select(vanished, one, scale);
        let divisor = b.broadcast(divisor, &shape, &[0]);
        let near = b.div(after, divisor);
        let square = b.mul(near, near);
        let squares = b.sum(square, &axes);
        let of = shape.without(&[0]);
        self.measure(layer, Quantity::StateScale, (scale, &of));
        self.measure(layer, Quantity::StateSquares, (squares, &of));
    }

    fn magnitudes(&mut self, layer: &Rc<str>, quantity: Quantity, x: NodeId) {
        self.b.enter(Origin::of_layer(Rc::clone(layer), None));
        let magnitude = self.b.abs(x);
        self.add(layer, quantity, magnitude);
    }

    fn parameter(&mut self, layer: &Rc<str>, param: usize, gradient: NodeId) {
        self.magnitudes(layer, Quantity::Gradient, gradient);
        let now = self.b.param(param);
        // With a rate factor of 0 it stays.
        let next = self.updates.get(&param).copied().unwrap_or(now);
        let update = self.b.sub(next, now);
        for (quantity, x) in [(Quantity::Update, update), (Quantity::Parameter, now)] {
            let square = self.b.mul(x, x);
            self.add(layer, quantity, square);
        }
    }

    fn activation(&mut self, probed: &Probed) {
        let is_activation = |(layer, _): &(&LayerDef, Vec<Arg>)| layer.function.is_some() || layer.gain.is_some();
        if !probed.layer.as_ref().is_none_or(is_activation) {
            return;
        }
        let ends = probed.x.zip(probed.y);
        let Some(slope) = ends.and_then(|(x, y)| slope(&mut self.b, x, y)) else { return };
        self.b.enter(Origin::of_layer(Rc::clone(&probed.path), None));
        let slope = self.by_row(slope);
        let magnitude = self.b.abs(slope);
        // Magnitudes that add up to 0 are all 0; NaN is not.
        let over_rows = self.b.sum(magnitude, &[0]);
        let zero = self.b.constant_like(0.0, over_rows);
        let dead = self.b.compare(Cmp::Eq, over_rows, zero);
        let greatest = probed.layer.as_ref().map_or(1.0, |(layer, _)| greatest_slope(layer.name));
        let limit = self.b.constant_like(greatest / 100.0, magnitude);
        let saturated = self.b.compare(Cmp::Lt, magnitude, limit);
        for (quantity, mask) in [(Quantity::Dead, dead), (Quantity::Saturated, saturated)] {
            let one = self.b.constant_like(1.0, mask);
            let number = self.b.mask(mask, one);
            self.add(&probed.path, quantity, number);
        }
    }

    /// The units of a row side by side, however many axes there are: kernels sum along rows and columns.
    fn by_row(&mut self, x: NodeId) -> NodeId {
        let shape = self.b.shape(x);
        let units = shape.0[1..].iter().map(|dim| dim.factor()).product();
        self.b.reshape(x, Shape(vec![Dim::B, Dim::Fixed(units)]))
    }

    /// How far the statistics of the batch are from the running ones.
    fn drift(&mut self, layer: &Rc<str>, x: NodeId, eps: f64) {
        self.b.enter(Origin::of_layer(Rc::clone(layer), None));
        let [mean, variance] = ["running_mean", "running_var"].map(|name| {
            let index = self.params[format!("{layer}.{name}").as_str()];
            self.b.param(index)
        });
        let b = &mut self.b;
        let deviation = {
            let padded = b.offset(variance, eps);
            b.sqrt(padded)
        };
        let shape = b.shape(x);
        let rows: Vec<usize> = (0..shape.rank() - 1).collect();
        let of_batch = b.center(x, &rows);
        let distance = b.sub(of_batch, mean);
        let distance = b.abs(distance);
        let distance = b.div(distance, deviation);

        let biased = b.variance(x, &rows);
        let unbiased = unbiased(b, biased, &shape, &rows);
        let [of_batch, running] = [unbiased, variance].map(|variance| {
            let padded = b.offset(variance, eps);
            b.ln(padded)
        });
        let ratio = b.sub(of_batch, running);
        let ratio = b.abs(ratio);
        self.add(layer, Quantity::MeanDrift, distance);
        self.add(layer, Quantity::VarianceDrift, ratio);
    }
}

/// Times `n / (n - 1)` for `n` numbers along these axes.
fn unbiased(b: &mut Builder, variance: NodeId, shape: &Shape, rows: &[usize]) -> NodeId {
    let count = b.count(shape, rows);
    let less = b.offset(count, -1.0);
    let correction = b.div(count, less);
    let shape = b.shape(variance);
    let correction = b.spread(correction, &shape);
    b.mul(variance, correction)
}

/// The greatest slope of an activation, about.
fn greatest_slope(name: &str) -> f64 {
    match name {
        "sigmoid" => 0.25,
        "hard_sigmoid" => 1.0 / 6.0,
        _ => 1.0,
    }
}
