//! Gradients held against what they stand for.
//!
//! In: a forward graph, the joint graph that is said to have its gradients, values for the slots, and the gradients that
//! compiled code found. Out: for each parameter the worst relative error of the symbolic gradient against differences of
//! the loss, both in f64, and of the compiled gradient against the symbolic one.
//!
//! A slope is the limit of central differences as Ridders extrapolates it (1982, "Accurate computation of F'(x) and
//! F'(x)F''(x)"; Press et al. 2007, 5.7). No slope exists at a kink, so every comparison, maximum, minimum and absolute value
//! is watched: where one of them falls differently within the step, the step is made a tenth, twice; where it still does, the
//! parameter stands at a kink, and its gradient there is a convention that no difference shows.

mod decisions;
mod report;

use crate::init::Random;
use crate::interp::{Precision, Tensor, Values, evaluate};
use crate::ir::{Graph, Role};
use crate::simplify::sweep;
use decisions::Decisions;

pub use report::{Error, Gradcheck, ParamCheck};

/// The first step, relative to a coordinate above 1. Its fourth power, all that is left after one extrapolation, and the
/// rounding of f64 divided by it are both below 1e-11.
const STEP: f64 = 1e-4;

/// How often a step is halved before the extrapolation has to do.
const HALVINGS: usize = 6;

/// So many coordinates of a larger parameter are moved, spread evenly, and all of them together once.
const COORDINATES: usize = 64;

/// Differences of numbers below this share of the largest gradient are measured against it.
const FLOOR: f64 = 1e-2;

/// Checks the gradients of a graph's loss by these parameters. `joint` is a graph with those gradients, and `compiled` has what
/// compiled code found, in the order of `wanted`.
pub fn check(
    [forward, joint]: [&Graph; 2],
    batch: usize,
    values: &Values,
    wanted: &[usize],
    compiled: &[Vec<f64>],
) -> Gradcheck {
    let mut loss = forward.clone();
    loss.outputs.retain(|output| output.role == Role::Loss);
    // What the loss does not need would be computed again and again.
    let (loss, _) = sweep(&loss, &[]);

    let symbolic = evaluate(joint, Precision::F64, batch, values);
    let gradients: Vec<&[f64]> =
        wanted.iter().map(|&param| symbolic.output(&Role::Gradient(param)).as_floats()).collect();
    let largest = gradients.iter().flat_map(|gradient| gradient.iter()).fold(0.0, |top: f64, x| top.max(x.abs()));
    let mut point = Point::new(&loss, batch, values);
    let params = wanted.iter().zip(gradients).zip(compiled).map(|((&param, gradient), compiled)| {
        let mut checked = ParamCheck::new(&loss.slots.params[param]);
        for direction in directions(param, gradient.len()) {
            point.check(param, &direction, gradient, FLOOR * largest, &mut checked);
        }
        for (at, (&found, &expected)) in compiled.iter().zip(gradient).enumerate() {
            checked.compiled.add(Some(at), found, expected, [FLOOR * largest, 0.0]);
        }
        checked.declared(&loss.slots.params[param])
    });
    let params = params.collect();
    Gradcheck { loss: point.loss, params, undecided: point.undecided() }
}

/// Along what a parameter is moved.
struct Direction {
    /// The one coordinate, or all.
    coordinate: Option<usize>,
    /// How much each coordinate moves; at most 1.
    toward: Vec<f64>,
}

fn directions(param: usize, len: usize) -> Vec<Direction> {
    let mut random = Random::new(0, param as u64);
    let few = len.min(COORDINATES);
    let mut directions: Vec<Direction> = (0..few)
        .map(|part| {
            // One of each of as many equal parts.
            let (from, to) = (part * len / few, (part + 1) * len / few);
            let coordinate = from + random.below((to - from) as u64) as usize;
            let mut toward = vec![0.0; len];
            toward[coordinate] = 1.0;
            Direction { coordinate: Some(coordinate), toward }
        })
        .collect();
    if few < len {
        let toward = (0..len).map(|_| 2.0 * random.uniform() - 1.0).collect();
        directions.push(Direction { coordinate: None, toward });
    }
    directions
}

/// The values at which gradients are taken.
struct Point<'g> {
    graph: &'g Graph,
    decisions: Decisions<'g>,
    batch: usize,
    values: Values,
    loss: f64,
    here: Vec<i8>,
}

impl<'g> Point<'g> {
    fn new(graph: &'g Graph, batch: usize, values: &Values) -> Point<'g> {
        let decisions = Decisions::new(graph);
        let run = evaluate(graph, Precision::F64, batch, values);
        let (loss, here) = (run.loss(), decisions.of(&run));
        Point { graph, decisions, batch, values: values.clone(), loss, here }
    }

    /// How many decisions fall differently in f32.
    fn undecided(&self) -> usize {
        let single = self.decisions.of(&evaluate(self.graph, Precision::F32, self.batch, &self.values));
        single.iter().zip(&self.here).filter(|(single, double)| single != double).count()
    }

    /// Compares the gradient of a parameter along a direction with the slope of the loss.
    fn check(&mut self, param: usize, direction: &Direction, gradient: &[f64], floor: f64, checked: &mut ParamCheck) {
        let center = self.values.params[param].clone();
        let size = match direction.coordinate {
            Some(coordinate) => center.as_floats()[coordinate].abs().max(1.0),
            None => 1.0,
        };
        let mut at = |step: f64| {
            let moved = center.as_floats().iter().zip(&direction.toward).map(|(x, toward)| x + step * toward);
            self.values.params[param] = Tensor::floats(&center.shape, moved.collect::<Vec<f64>>());
            let run = evaluate(self.graph, Precision::F64, self.batch, &self.values);
            (run.loss(), self.decisions.of(&run) == self.here)
        };
        let steps = [1.0, 0.1, 0.01].map(|part| part * STEP * size);
        let smooth = steps.into_iter().find(|&step| at(step).1 && at(-step).1);
        let slope = smooth.map(|step| slope(step, |step| at(step).0));
        self.values.params[param] = center;

        checked.moved += usize::from(direction.coordinate.is_some());
        let Some(Slope { value, rounding }) = slope else {
            checked.kinks += usize::from(direction.coordinate.is_some());
            return;
        };
        let along = direction.toward.iter().zip(gradient).map(|(toward, dx)| toward * dx).sum();
        let length = direction.toward.iter().map(|toward| toward * toward).sum::<f64>().sqrt();
        checked.symbolic.add(direction.coordinate, along, value, [floor * length, rounding]);
    }
}

/// A slope, and how far rounding alone may have moved it.
struct Slope {
    value: f64,
    rounding: f64,
}

/// Ridders' extrapolation of central differences to a step of 0, over a function that is smooth within the first step.
fn slope(first: f64, mut loss: impl FnMut(f64) -> f64) -> Slope {
    let mut step = first;
    let mut largest = 0.0f64;
    let mut difference = |step: f64| {
        let (above, below) = (loss(step), loss(-step));
        largest = largest.max(above.abs()).max(below.abs());
        ((above - below) / (2.0 * step), largest)
    };
    let (value, size) = difference(step);
    // A few units in the last place of each loss.
    let rounding = |size: f64, step: f64| 16.0 * f64::EPSILON * size / step;
    let mut best = Slope { value, rounding: rounding(size, step) };
    let (mut error, mut row) = (f64::INFINITY, vec![value]);
    for _ in 0..HALVINGS {
        step /= 2.0;
        let (value, size) = difference(step);
        let mut next = vec![value];
        let mut factor = 1.0;
        for (order, &coarse) in row.iter().enumerate() {
            factor *= 4.0;
            let fine = next[order];
            let limit = (factor * fine - coarse) / (factor - 1.0);
            let distance = (limit - fine).abs().max((limit - coarse).abs());
            if distance <= error {
                (error, best) = (distance, Slope { value: limit, rounding: rounding(size, step) });
            }
            next.push(limit);
        }
        // Good enough, or no longer getting better.
        let [before, now] = [&row, &next].map(|row| row[row.len() - 1]);
        row = next;
        if error <= best.rounding || error <= 1e-10 * best.value.abs() || (now - before).abs() >= 2.0 * error {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn slopes_of_smooth_functions_are_found_to_ten_digits() {
        let check = |function: fn(f64) -> f64, expected: f64| {
            let found = slope(1e-4, function).value;
            assert!((found - expected).abs() <= 1e-10 * expected.abs().max(1.0), "{found} {expected}");
        };
        check(f64::exp, 1.0);
        check(|x| (x + 1e-3).sqrt(), 0.5 / 1e-3f64.sqrt());
        check(|x| x * x, 0.0);
        check(|x| (40.0 * x).sin(), 40.0);
    }
}
