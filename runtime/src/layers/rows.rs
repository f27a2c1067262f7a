//! Rows that are normalized: softmax and its logarithm.
//!
//! In: rows. Out: their softmax, or its logarithm, with all digits of small probabilities, also in what a large one lacks of 1.

use super::Misfit;
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;
use crate::types::Shape;

/// A row for each sample, along which something is normalized.
pub(super) fn of_rows(x: &Shape) -> Result<Shape, Misfit> {
    match x.rank() {
        2.. => Ok(x.clone()),
        _ => Err(Misfit { needs: "[B, ..., classes]".to_string(), hint: None }),
    }
}

/// Softmax along the last axis.
pub(super) fn softmax(b: &mut Builder, x: NodeId) -> NodeId {
    let (shape, axes) = rows(b, x);
    let Led { power, others, .. } = Led::of(b, x);
    let sum = b.offset(others, 1.0);
    let sum = b.broadcast_over(sum, &shape, &axes);
    b.div(power, sum)
}

/// Log-softmax along the last axis.
pub(super) fn log_softmax(b: &mut Builder, x: NodeId) -> NodeId {
    let (shape, axes) = rows(b, x);
    let Led { shifted, others, .. } = Led::of(b, x);
    let log = b.log1p(others);
    let log = b.broadcast_over(log, &shape, &axes);
    b.sub(shifted, log)
}

/// Rows seen from the first of their largest: its power is 1, and takes no part in sums or gradients, which then keep the digits
/// of all others.
struct Led {
    /// `x` less the largest of its row, through which a gradient flows.
    shifted: NodeId,
    power: NodeId,
    /// The sum of all powers but that of the first of the largest.
    others: NodeId,
}

impl Led {
    fn of(b: &mut Builder, x: NodeId) -> Led {
        let (shape, axes) = rows(b, x);
        let top = b.max_over(x, &axes);
        let top = b.broadcast_over(top, &shape, &axes);
        let is_top = b.compare(Cmp::Eq, x, top);
        // As the gradient of the largest finds it.
        let position = b.iota(axes[0], &shape);
        let position = b.to_float(position);
        let minus = b.neg(position);
        let never = b.constant(f64::NEG_INFINITY, &shape);
        let candidate = b.select(is_top, minus, never);
        let first = b.max_over(candidate, &axes);
        let first = b.broadcast_over(first, &shape, &axes);
        let is_first = b.compare(Cmp::Eq, candidate, first);
        let zero = b.constant(0.0, &shape);
        let but_first = |b: &mut Builder, x| {
            let other = b.select(is_first, zero, x);
            b.select(is_top, other, x)
        };
        let shifted = b.sub(x, top);
        let shifted = but_first(b, shifted);
        let power = b.exp(shifted);
        let others = but_first(b, power);
        Led { shifted, power, others: b.sum(others, &axes) }
    }
}

fn rows(b: &Builder, x: NodeId) -> (Shape, [usize; 1]) {
    let shape = b.shape(x);
    let last = shape.rank() - 1;
    (shape, [last])
}
