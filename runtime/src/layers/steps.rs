//! What layers with a state and loops of the user's own have in common: rows of different lengths, and what a loop gives.

use crate::ir::{Builder, NodeId, Op};
use crate::scalar::Cmp;
use crate::types::Shape;

/// `f32[B]`: how many positions each row has, from ids or numbers.
pub(crate) fn lengths_of(b: &mut Builder, lengths: NodeId, steps: usize) -> NodeId {
    match b.ty(lengths).dtype.is_index() {
        true => {
            b.limit_ids(lengths, steps + 1);
            b.to_float(lengths)
        }
        false => lengths,
    }
}

/// A sequence `[T, B, ..]` with zeros past the lengths `f32[B]` of its rows: whatever is there, zero times it is zero.
pub(crate) fn without_padding(b: &mut Builder, sequence: NodeId, lengths: NodeId) -> NodeId {
    let shape = b.shape(sequence);
    let positions = b.iota(0, &shape);
    let positions = b.to_float(positions);
    let lengths = b.broadcast(lengths, &shape, &[1]);
    let within = b.compare(Cmp::Lt, positions, lengths);
    b.mask(within, sequence)
}

/// The history of a loop whose rows have these lengths `f32[B]`: one that has ended keeps its state.
pub(crate) fn ended(b: &mut Builder, carry: NodeId, next: NodeId, lengths: Option<NodeId>) -> NodeId {
    let Op::Carry { steps, .. } = b[carry].op else { unreachable!("a loop begins with its head") };
    let next = match lengths {
        Some(lengths) => {
            let shape = b.shape(carry);
            let positions = b.iota(0, &Shape::fixed(&[steps]));
            let positions = b.to_float(positions);
            let position = b.element(carry, positions);
            let position = b.broadcast(position, &shape, &[]);
            let lengths = b.broadcast(lengths, &shape, &[0]);
            let here = b.compare(Cmp::Lt, position, lengths);
            b.select(here, next, carry)
        }
        None => next,
    };
    b.history(carry, next)
}

/// What is taken of the states of a loop.
pub(crate) struct Taken {
    /// The last one alone.
    pub(crate) last: bool,
    /// Whether the loop begins with the last position.
    pub(crate) reverse: bool,
    /// So many of the numbers along the last axis; all if none is said.
    pub(crate) columns: Option<usize>,
}

/// What a loop gives, from its history: all states `[B, T, ..]`, with zeros past the lengths of their rows, or the last one `[B, ..]`.
pub(crate) fn states(b: &mut Builder, history: NodeId, lengths: Option<NodeId>, taken: &Taken) -> NodeId {
    let shape = b.shape(history);
    let steps = shape.0[0].factor() - 1;
    let columns = |b: &mut Builder, x: NodeId| match taken.columns {
        Some(columns) => {
            let last = b.shape(x).rank() - 1;
            b.slice(x, last, 0, columns, 1)
        }
        None => x,
    };
    if taken.last {
        let state = b.slice(history, 0, if taken.reverse { 0 } else { steps }, 1, 1);
        let state = b.reshape(state, shape.without(&[0]));
        return columns(b, state);
    }
    let states = b.slice(history, 0, usize::from(!taken.reverse), steps, 1);
    let mut states = columns(b, states);
    if let Some(lengths) = lengths {
        states = without_padding(b, states, lengths);
    }
    positions_first(b, states)
}

/// Changes the first two axes, rows and positions, of a sequence.
pub(crate) fn positions_first(b: &mut Builder, x: NodeId) -> NodeId {
    let order: Vec<usize> = [1, 0].into_iter().chain(2..b.shape(x).rank()).collect();
    b.transpose(x, &order)
}
