//! How far rounding may take the values of a graph.
//!
//! Every operation has a bound of its own on what rounding adds to its result, from the analysis of its algorithm. What these
//! errors do to later values is tried out in f64: in each trial every result is moved by its own bound, up or down, and the
//! distance from the exact values is what a computation in f32 may come to (Monte Carlo arithmetic, Parker 1997). In some
//! trials elements are moved each by itself, in others all of a node alike: where numbers are alike so are their roundings,
//! which then add up instead of averaging out.
//!
//! The bound of a sum is that of its longest chain: each of `h` additions one after the other rounds a partial sum by at most
//! `eps = 2^-24` of it, so the error is at most `h eps` times the sum of the sizes of the terms (Higham 2002, equation 4.4),
//! and for terms that are alike half of that, because partial sums grow from nothing. Compiled code gathers chunks of
//! 64 rows: a column one row after the other, the elements of a row in 16 lanes that are then combined as a tree. Chunks are
//! combined in f64. The half is tried out and twice the distance is allowed, so that terms that are not alike
//! are within the bound as well.

use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Data, Evaluation, Precision, Values, evaluate, evaluate_with};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::Shape;

/// Half a unit in the last place of 1, as f32.
const EPS: f64 = f32::EPSILON as f64 / 2.0;
/// How many times the largest distance of the trials is allowed.
const FACTOR: f64 = 2.0;
/// Trials of either kind.
const TRIALS: u64 = 2;
/// Rows that are gathered in single precision.
const ROWS: usize = 64;
/// Lanes along a row.
const LANES: usize = 16;

/// For every node, how far an element of it may be from the exact value.
pub fn allowances(graph: &Graph, batch: usize, values: &Values, exact: &Evaluation<'_>) -> Vec<f64> {
    let bounds = bounds(graph, batch, values);
    // The error of the last operation counts in full: in a trial it may meet another of its size.
    let own = |bounds: &Vec<f64>| bounds.iter().copied().fold(0.0, f64::max);
    let mut allowed: Vec<f64> = bounds.iter().map(own).collect();
    for trial in 0..2 * TRIALS {
        let mut random = Random::new(trial, 3);
        let mut sign = || if random.below(2) == 0 { -1.0 } else { 1.0 };
        let run = evaluate_with(graph, Precision::F64, batch, values, |id, floats| {
            let alike = sign();
            for (float, bound) in floats.iter_mut().zip(&bounds[id.index()]) {
                *float += bound * if trial < TRIALS { alike } else { sign() };
            }
        });
        for (id, allowed) in graph.ids().zip(&mut allowed) {
            if let (Data::Float(exact), Data::Float(moved)) = (&exact[id].data, &run[id].data) {
                *allowed = largest(*allowed, exact, moved);
            }
        }
    }
    allowed.into_iter().map(|distance| FACTOR * distance).collect()
}

/// The largest distance of two elements, none where both are the same infinity or NaN; at least `top`.
pub fn largest(top: f64, x: &[f64], y: &[f64]) -> f64 {
    let distances =
        x.iter().zip(y).map(|(&x, &y)| if x == y || x.is_nan() && y.is_nan() { 0.0 } else { (x - y).abs() });
    distances.fold(top, |top, x| if x > top || x.is_nan() { x } else { top })
}

/// For every element of every node, what rounding may add to it if its operands are exact; nothing for a node that is not
/// rounded.
fn bounds(graph: &Graph, batch: usize, values: &Values) -> Vec<Vec<f64>> {
    let mut b = Builder::new(graph.clone());
    let sizes: Vec<Sizes> = graph.ids().map(|id| Sizes::of(&mut b, id, batch)).collect();
    let graph = b.finish();
    let run = evaluate(&graph, Precision::F64, batch, values);
    let number = |bound: f64| if bound.is_finite() { bound } else { 0.0 };
    let all = graph.ids().zip(sizes).map(|(id, sizes)| {
        let value = |id: NodeId| run[id].as_floats();
        let relative = |factor: f64| value(id).iter().map(|y| number(factor * EPS * y.abs())).collect();
        match sizes {
            Sizes::None => Vec::new(),
            Sizes::Own(factor) => relative(factor),
            Sizes::Product(product) => {
                value(id).iter().zip(value(product)).map(|(y, product)| number(EPS * (y.abs() + product))).collect()
            }
            Sizes::Products { sizes, additions } => {
                value(sizes).iter().map(|size| number(additions / 2.0 * EPS * size)).collect()
            }
            Sizes::Terms { operand, sizes, terms, additions } => {
                // Integers add up without an error.
                if value(operand).iter().all(|x| x.fract() == 0.0) && value(id).iter().all(|y| y.abs() < 1.0 / EPS) {
                    return Vec::new();
                }
                let bound =
                    |(size, terms): (&f64, &f64)| number(additions.min(terms - 1.0).max(0.0) / 2.0 * EPS * size);
                value(sizes).iter().zip(value(terms)).map(bound).collect()
            }
            Sizes::Mean { size, most, additions } => {
                let sizes = value(size).iter().zip(value(most));
                let bound = |(size, most): (&f64, &f64)| (additions / 2.0 + 1.0) * size + 4.0 * most;
                sizes.map(|sizes| number(EPS * bound(sizes))).collect()
            }
            Sizes::Deviations { most, additions } => {
                let factor = additions / 2.0 + 2.0;
                let bound = |(y, most): (&f64, &f64)| number(EPS * (factor * y + 4.0 * most));
                value(id).iter().zip(value(most)).map(bound).collect()
            }
        }
    });
    all.collect()
}

/// What the bound of a node depends on.
enum Sizes {
    None,
    /// Its own size: so many times `EPS`, half of what is certain.
    Own(f64),
    /// A product that is added to something.
    Product(NodeId),
    /// The terms of a sum: their sizes, how many are not zero, and how many additions one after the other there are.
    Terms {
        operand: NodeId,
        sizes: NodeId,
        terms: NodeId,
        additions: f64,
    },
    /// The same of a matrix product.
    Products {
        sizes: NodeId,
        additions: f64,
    },
    /// The mean size, and the largest deviation.
    Mean {
        size: NodeId,
        most: NodeId,
        additions: f64,
    },
    /// The largest square of a deviation.
    Deviations {
        most: NodeId,
        additions: f64,
    },
}

impl Sizes {
    fn of(b: &mut Builder, id: NodeId, batch: usize) -> Sizes {
        let op = b.graph()[id].op.clone();
        let operands = b.graph()[id].operands.clone();
        match op.clone() {
            Op::Const(value) if f64::from(value as f32) == value => Sizes::None,
            Op::Const(_) | Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Sqrt => Sizes::Own(1.0),
            // Two units in the last place, three, four, and five.
            Op::Exp | Op::Expm1 | Op::Ln | Op::Log1p | Op::Sigmoid | Op::Tanh | Op::Erf | Op::Rsqrt => Sizes::Own(2.0),
            Op::SigmoidSlope => Sizes::Own(3.0),
            Op::TanhSlope | Op::Softplus => Sizes::Own(4.0),
            Op::NormalCdf => Sizes::Own(5.0),
            Op::MulAdd => {
                let product = b.mul(operands[0], operands[1]);
                Sizes::Product(b.abs(product))
            }
            Op::Sum(axes) => {
                let operand = operands[0];
                let sizes = b.abs(operand);
                let terms = ones(b, operand);
                let additions = chain(&b.shape(operand), &axes, batch);
                Sizes::Terms { operand, sizes: b.sum(sizes, &axes), terms: b.sum(terms, &axes), additions }
            }
            Op::Dot(axes) => {
                let sizes = [b.abs(operands[0]), b.abs(operands[1])];
                let extents = b.shape(operands[0]).at(batch);
                let terms: usize = axes.contracted.iter().map(|&(axis, _)| extents[axis]).product();
                // Every product is rounded as well, on a machine without fused operations.
                Sizes::Products { sizes: b.product(sizes[0], sizes[1], axes), additions: terms as f64 + 2.0 }
            }
            Op::Fold { window, .. } => {
                let terms = ones(b, operands[0]);
                let [sizes, terms] = [b.abs(operands[0]), terms].map(|x| b.apply(op.clone(), &[x]));
                Sizes::Terms { operand: operands[0], sizes, terms, additions: window.size as f64 }
            }
            Op::ScatterAdd { .. } => {
                let terms = ones(b, operands[0]);
                let [sizes, terms] = [b.abs(operands[0]), terms].map(|x| b.apply(op.clone(), &[x, operands[1]]));
                let additions = b.shape(operands[1]).len_at(batch) as f64;
                Sizes::Terms { operand: operands[0], sizes, terms, additions }
            }
            // Around a sample down columns; otherwise a sum that is divided.
            Op::Mean(axes) => {
                let (operand, shape) = (operands[0], b.shape(operands[0]));
                let size = b.abs(operand);
                let mean = b.mean(operand, &axes);
                let mean = b.broadcast_over(mean, &shape, &axes);
                let deviation = b.sub(operand, mean);
                let distance = b.abs(deviation);
                let (size, most) = (b.mean(size, &axes), b.max_over(distance, &axes));
                Sizes::Mean { size, most, additions: chain(&shape, &axes, batch) }
            }
            // Squares are of deviations from some of the data, and what is too much is taken off again.
            Op::Variance(axes) => {
                let shape = b.shape(operands[0]);
                let mean = b.mean(operands[0], &axes);
                let mean = b.broadcast_over(mean, &shape, &axes);
                let deviation = b.sub(operands[0], mean);
                let square = b.mul(deviation, deviation);
                let most = b.max_over(square, &axes);
                Sizes::Deviations { most, additions: chain(&shape, &axes, batch) }
            }
            _ => Sizes::None,
        }
    }
}

/// 1 where a number is not zero.
fn ones(b: &mut Builder, x: NodeId) -> NodeId {
    let (one, zero) = (b.constant_like(1.0, x), b.constant_like(0.0, x));
    let counts = b.compare(Cmp::Ne, x, zero);
    b.select(counts, one, zero)
}

/// The additions that a term goes through in the longest chain of a sum.
fn chain(shape: &Shape, axes: &[usize], batch: usize) -> f64 {
    let extents = shape.at(batch);
    let [rows, cols] = [0..1, 1..extents.len()].map(|range| {
        let reduced = range.filter(|axis| axes.contains(axis));
        reduced.map(|axis| extents[axis]).product::<usize>()
    });
    // Rows of one element go to the lanes themselves.
    let rows = if axes.len() == extents.len() && cols == 1 { rows.min(ROWS).div_ceil(LANES) } else { rows.min(ROWS) };
    let tree = |n: usize| n.next_power_of_two().ilog2() as usize;
    let along = if cols > 1 || axes.len() == extents.len() { cols.div_ceil(LANES) + tree(LANES) } else { 0 };
    // Some axes of several may be gathered one after the other, the last in lanes and the others element by element.
    let last = extents.len() - 1;
    let lanes = |axis: usize| if axis == last { extents[axis].div_ceil(LANES) + tree(LANES) } else { extents[axis] };
    let one_by_one = axes.iter().filter(|&&axis| axis > 0).map(|&axis| lanes(axis)).sum::<usize>();
    (rows + along.max(one_by_one)) as f64
}
