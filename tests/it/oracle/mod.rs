//! What a declaration means, computed from the declaration itself: in f64, by loops over elements, without a graph and
//! without derivatives.
//!
//! In: a [`Definition`] and values for its parameters, inputs and targets, by name. Out: output, loss, metrics and next
//! running statistics, as the reference says them. Nothing of the compiler is used, so that it can be held against all of it;
//! gradients are what moving parameters shows.

mod activations;
pub mod agreement;
pub mod array;
mod criteria;
mod decisions;
mod expressions;
mod functions;
mod images;
mod loops;
mod recurrent;
mod sequences;
mod slopes;
mod stages;

use std::collections::{BTreeMap, HashMap, HashSet};

use gradloom_runtime::layers::{Arg, Mode};
use gradloom_runtime::network::{self, Definition, Expr, Flow, Kind, Stage};

use array::{Array, Value};
use decisions::Decisions;
use expressions::size;
use stages::Place;

use crate::handmade::leak;

/// What an evaluation is given.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Inputs and targets.
    pub ports: HashMap<String, Value>,
    /// Parameters and running statistics, by path.
    pub params: BTreeMap<String, Array<f64>>,
    /// For every layer that drops, by path, what its random numbers follow from.
    pub keys: HashMap<String, [u32; 2]>,
}

/// What comes out.
#[derive(Clone, Debug)]
pub struct Answer {
    pub outputs: Vec<Array<f64>>,
    /// NaN if the declaration has none.
    pub loss: f64,
    pub metrics: Vec<f64>,
    /// The next running statistics, by path.
    pub updates: HashMap<String, Vec<f64>>,
    /// The decisions that were made on the way to the loss.
    pub decisions: Decisions,
    /// The smallest distance of two different numbers that were compared for anything.
    pub nearest: f64,
}

/// Evaluates a declaration; in training, the step of this number.
pub fn evaluate(definition: &'static Definition<'static>, mode: Mode, step: u64, values: &Values) -> Answer {
    let mut names = values.ports.clone();
    names.extend(definition.scalars.iter().map(|of| (of.name.to_string(), Value::number(f64::from(of.value as f32)))));
    let mut evaluator = Evaluator {
        definition,
        mode,
        step,
        values,
        names,
        inside: Vec::new(),
        updates: HashMap::new(),
        decisions: Decisions::default(),
    };
    if definition.flows.is_empty() {
        let x = evaluator.value(definition.inputs[0].name);
        let output = evaluator.body(definition.body, &Place::default(), x);
        evaluator.names.insert(definition.outputs[0].name.to_string(), output);
    }
    definition.flows.iter().for_each(|flow| evaluator.flow(flow));
    let outputs = definition.outputs.iter().map(|port| evaluator.value(port.name).floats().clone()).collect();
    let number = |value: Value| match &value.floats().data[..] {
        [number] => *number,
        several => panic!("{} numbers instead of one", several.len()),
    };
    let loss = definition.loss.as_ref().map_or(f64::NAN, |loss| number(evaluator.expr(&loss.expr, None)));
    let decisions = evaluator.decisions.clone();
    let metrics = definition.metrics.iter().map(|metric| number(evaluator.expr(&metric.expr, None))).collect();
    let nearest = evaluator.decisions.nearest;
    Answer { outputs, loss, metrics, updates: evaluator.updates, decisions, nearest }
}

/// The extents of what an expression of these values comes to.
pub fn shape_of(expr: &Expr<'static>, names: &[(&'static str, Value)]) -> Vec<usize> {
    let values = Values::default();
    let mut evaluator = Evaluator {
        definition: leak(EMPTY),
        mode: Mode::Infer,
        step: 1,
        values: &values,
        names: HashMap::new(),
        inside: Vec::new(),
        updates: HashMap::new(),
        decisions: Decisions::default(),
    };
    evaluator.expr(expr, Some(names)).floats().shape.clone()
}

/// A declaration of nothing.
const EMPTY: Definition<'static> = Definition {
    name: "Empty",
    inputs: &[],
    outputs: &[],
    targets: &[],
    acts: &[],
    scalars: &[],
    layers: &[],
    body: &[],
    flows: &[],
    loss: None,
    metrics: &[],
    places: &[],
    assembled: None,
};

/// Goes through a declaration.
struct Evaluator<'v> {
    definition: &'static Definition<'static>,
    mode: Mode,
    step: u64,
    values: &'v Values,
    /// Ports and named values.
    names: HashMap<String, Value>,
    /// What paths begin with in the bodies of loops, the innermost last: those of its values, and of its parameters.
    inside: Vec<[String; 2]>,
    updates: HashMap<String, Vec<f64>>,
    decisions: Decisions,
}

impl Evaluator<'_> {
    /// A port, a named value or a parameter.
    fn value(&self, name: &str) -> Value {
        let param = |name: &str| self.values.params.get(name).cloned().map(Value::Floats);
        let own = self.inside.iter().rev().find_map(|[path, owner]| {
            let value = self.names.get(&format!("{path}{name}")).cloned();
            value.or_else(|| param(&format!("{owner}{name}")))
        });
        let found = own.or_else(|| self.names.get(name).cloned()).or_else(|| param(name));
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The parameter of this name of the layer at this path.
    fn param(&self, path: &str, name: &str) -> Array<f64> {
        let path = format!("{path}.{name}");
        self.values.params.get(&path).unwrap_or_else(|| panic!("there is no {path}")).clone()
    }

    /// The weights of all layers that have them, once each.
    fn weights(&self) -> Vec<Array<f64>> {
        let mut paths = Vec::new();
        dense(self.definition, self.definition.body, "", &mut paths);
        dense_of_lines(self.definition, self.definition.flows, "", &mut paths);
        let mut known = HashSet::new();
        paths.retain(|path| known.insert(path.clone()));
        paths.iter().map(|path| self.value(path).floats().clone()).collect()
    }
}

/// The paths of the weights of the lines of a body.
fn dense_of_lines(definition: &Definition<'static>, lines: &[Flow<'static>], before: &str, paths: &mut Vec<String>) {
    for line in lines {
        for stage in line.stages {
            let prefix = match stage.named || line.name.is_empty() {
                true => before.to_string(),
                false => format!("{before}{}.", line.name),
            };
            dense(definition, std::slice::from_ref(stage), &prefix, paths);
        }
    }
}

/// The paths of the weights of a body.
fn dense(definition: &Definition<'static>, stages: &[Stage<'static>], prefix: &str, paths: &mut Vec<String>) {
    for stage in stages {
        dense_in(definition, &stage.kind, format!("{prefix}{}", stage.segment), paths);
    }
}

fn dense_in(definition: &Definition<'static>, kind: &Kind<'static>, path: String, paths: &mut Vec<String>) {
    match kind {
        Kind::Layer(layer, args) => {
            let weights: &[&str] = match layer.name {
                "Dense" if !matches!(args, [_, _, _, network::Value::Known(Arg::Path(""))]) => &[],
                "Dense" | "Conv2d" | "Conv1d" | "ConvTranspose2d" | "Embedding" => &["weight"],
                "Attention" => &["qkv.weight", "out.weight"],
                "CrossAttention" => &["query.weight", "kv.weight", "out.weight"],
                "Rnn" | "Gru" | "Lstm" => &["input.weight", "recurrent.weight"],
                _ => &[],
            };
            paths.extend(weights.iter().map(|name| format!("{path}.{name}")));
        }
        Kind::Act(..) | Kind::Concat(_) | Kind::Elsewhere | Kind::Broken => {}
        Kind::Block(body) => dense(definition, body, &format!("{path}."), paths),
        Kind::Residual { body, skip } => {
            dense(definition, body, &format!("{path}."), paths);
            dense(definition, skip.unwrap_or_default(), &format!("{path}.skip."), paths);
        }
        Kind::Branches { bodies } => {
            let each = bodies.iter().enumerate();
            each.for_each(|(index, body)| dense(definition, body, &format!("{path}.{}.", index + 1), paths));
        }
        Kind::Repeat { count, body } => {
            (1..=size(count)).for_each(|copy| dense(definition, body, &format!("{path}.{copy}."), paths));
        }
        Kind::Scan(scan) => dense_of_lines(definition, scan.lines, &format!("{path}."), paths),
        Kind::Shared(index) => {
            let layer = &definition.layers[*index];
            dense_in(definition, &layer.kind, layer.segment.to_string(), paths);
        }
    }
}
