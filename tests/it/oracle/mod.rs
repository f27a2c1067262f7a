//! What a declaration means, computed from the declaration itself: in f64, by loops over elements, without a graph and
//! without derivatives.
//!
//! In: a [`Definition`] and values for its parameters, inputs and targets, by name. Out: output, loss, metrics and next
//! running statistics, as REFERENCE.md says them. Nothing of the compiler is used, so that it can be held against all of it;
//! gradients are what moving parameters shows.

mod activations;
pub mod agreement;
pub mod array;
mod criteria;
mod decisions;
mod expressions;
mod functions;
mod images;
mod slopes;
mod stages;

use std::collections::{BTreeMap, HashMap};

use gradloom_runtime::layers::Mode;
use gradloom_runtime::network::{Definition, Kind, Stage};

use array::{Array, Value};
use decisions::Decisions;
use expressions::size;

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
    pub output: Array<f64>,
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
    let [input] = definition.inputs else { panic!("a network has one input") };
    let names = values.ports.clone();
    let mut evaluator =
        Evaluator { definition, mode, step, values, names, updates: HashMap::new(), decisions: Decisions::default() };
    let x = evaluator.value(input.name).floats().clone();
    let output = evaluator.body(definition.body, "", x);
    evaluator.names.insert(definition.outputs[0].name.to_string(), Value::Floats(output.clone()));
    let number = |value: Value| match &value.floats().data[..] {
        [number] => *number,
        several => panic!("{} numbers instead of one", several.len()),
    };
    let loss = definition.loss.as_ref().map_or(f64::NAN, |loss| number(evaluator.expr(&loss.expr, None)));
    let decisions = evaluator.decisions.clone();
    let metrics = definition.metrics.iter().map(|metric| number(evaluator.expr(&metric.expr, None))).collect();
    let nearest = evaluator.decisions.nearest;
    Answer { output, loss, metrics, updates: evaluator.updates, decisions, nearest }
}

/// Goes through a declaration.
struct Evaluator<'v> {
    definition: &'static Definition<'static>,
    mode: Mode,
    step: u64,
    values: &'v Values,
    /// Ports and named values.
    names: HashMap<String, Value>,
    updates: HashMap<String, Vec<f64>>,
    decisions: Decisions,
}

impl Evaluator<'_> {
    /// A port, a named value or a parameter.
    fn value(&self, name: &str) -> Value {
        let param = || self.values.params.get(name).cloned().map(Value::Floats);
        let found = self.names.get(name).cloned().or_else(param);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    /// The parameter of this name of the layer at this path.
    fn param(&self, path: &str, name: &str) -> Array<f64> {
        let path = format!("{path}.{name}");
        self.values.params.get(&path).unwrap_or_else(|| panic!("there is no {path}")).clone()
    }

    /// The weights of all dense and convolution layers.
    fn weights(&self) -> Vec<Array<f64>> {
        let mut paths = Vec::new();
        dense(self.definition.body, "", &mut paths);
        paths.iter().map(|path| self.param(path, "weight")).collect()
    }
}

/// The paths of the dense and convolution layers of a body.
fn dense(stages: &[Stage<'static>], prefix: &str, paths: &mut Vec<String>) {
    for stage in stages {
        let path = format!("{prefix}{}", stage.segment);
        match &stage.kind {
            Kind::Layer(layer, _) if matches!(layer.name, "Dense" | "Conv2d" | "Conv1d" | "ConvTranspose2d") => {
                paths.push(path)
            }
            Kind::Layer(..) | Kind::Act(..) | Kind::Broken => {}
            Kind::Block(body) => dense(body, &format!("{path}."), paths),
            Kind::Residual { body, skip } => {
                dense(body, &format!("{path}."), paths);
                dense(skip.unwrap_or_default(), &format!("{path}.skip."), paths);
            }
            Kind::Branches { bodies } => {
                let each = bodies.iter().enumerate();
                each.for_each(|(index, body)| dense(body, &format!("{path}.{}.", index + 1), paths));
            }
            Kind::Repeat { count, body } => {
                (1..=size(count)).for_each(|copy| dense(body, &format!("{path}.{copy}."), paths));
            }
        }
    }
}
