//! Gradients against central differences, both in f64.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Graph, Role};

use crate::bound::Bound;

/// The relative error is the promise; the absolute one is what rounding leaves of the difference of two losses near 1.
pub const BOUND: Bound = Bound { relative: 1e-6, absolute: 1e-9 };

/// The usual step, relative to a coordinate above 1: its square and the rounding of f64 divided by it are both near 1e-10.
pub const STEP: f64 = 1e-5;

/// The gradient of the loss by each of these parameters is what moving them shows.
#[track_caller]
pub fn check(what: &str, graph: &Graph, batch: usize, values: &Values, wanted: &[usize], step: f64) {
    let joint = differentiate(graph, wanted);
    let evaluation = evaluate(&joint, Precision::F64, batch, values);
    for &param in wanted {
        let gradient = evaluation.output(&Role::Gradient(param));
        let expected = differences(graph, batch, values, param, step);
        let what = format!("{what}: d {}\n{joint}", graph.slots.params[param].name);
        BOUND.check(&what, gradient.as_floats(), &expected);
    }
}

/// The slope of the loss along each coordinate of a parameter.
fn differences(graph: &Graph, batch: usize, values: &Values, param: usize, step: f64) -> Vec<f64> {
    let mut values = values.clone();
    let center = values.params[param].clone();
    let mut loss_at = |coordinate: usize, x: f64| {
        let mut moved = center.as_floats().to_vec();
        moved[coordinate] = x;
        values.params[param] = Tensor::floats(&center.shape, moved);
        evaluate(graph, Precision::F64, batch, &values).loss()
    };
    let slope = |(coordinate, &x): (usize, &f64)| {
        let step = step * x.abs().max(1.0);
        let (above, below) = (x + step, x - step);
        (loss_at(coordinate, above) - loss_at(coordinate, below)) / (above - below)
    };
    center.as_floats().iter().enumerate().map(slope).collect()
}
