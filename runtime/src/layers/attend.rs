//! What the two kinds of attention have in common: heads, and the mean of values by scores.

use super::positions::sequence;
use super::{Misfit, Next, Scope, dropout, tables};
use crate::ir::{Builder, DotAxes, NodeId};
use crate::scalar::Cmp;
use crate::types::{Dim, Shape};

/// How the features of a position are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Those of queries.
    pub n: usize,
    /// Those of keys and values, each for as many neighboring heads of queries.
    pub kv: usize,
    /// The numbers of each.
    pub size: usize,
}

impl Heads {
    /// Of a sequence of this shape; as many heads of keys as of queries where nothing else is given.
    pub fn of(x: &Shape, n: usize, kv: Option<usize>) -> Result<Heads, Misfit> {
        let [_, features] = sequence(x)?;
        let kv = kv.unwrap_or(n);
        let misfit = |needs| Err(Misfit { needs, hint: None });
        if !features.is_multiple_of(n) {
            return misfit(format!("[B, T, features] with features that `heads = {n}` divides"));
        }
        if !n.is_multiple_of(kv) {
            return misfit(format!("`kv` to divide `heads = {n}`"));
        }
        Ok(Heads { n, kv, size: features / n })
    }

    /// The numbers of the queries of a position.
    pub fn width(&self) -> usize {
        self.n * self.size
    }

    /// The numbers of the keys of a position.
    pub fn kv_width(&self) -> usize {
        self.kv * self.size
    }
}

/// For every position of the queries `[B, T, d]` the mean of the values `[B, S, d]` by how well their keys answer it.
pub(super) fn attend(
    scope: &mut Scope<'_>,
    heads: &Heads,
    [q, k, v]: [NodeId; 3],
    causal: bool,
    rope: bool,
    dropout: f64,
) -> NodeId {
    let next = scope.next;
    let mask = scope.value("mask");
    let b = &mut *scope.b;
    let [q_length, k_length] = [q, k].map(|x| b.shape(x).0[1].factor());
    let rows = b.shape(q).0[0];
    let shared = heads.n / heads.kv;
    let split = |b: &mut Builder, x: NodeId, length: usize, heads: &[usize]| {
        let extents = [&[length], heads].concat();
        b.reshape(x, Shape([rows].into_iter().chain(extents.into_iter().map(Dim::Fixed)).collect()))
    };
    let [mut k, v] = [k, v].map(|x| split(b, x, k_length, &[heads.kv, heads.size]));
    let mut q = split(b, q, q_length, &[heads.n, heads.size]);
    if rope {
        [q, k] = [q, k].map(|x| turned(b, x, next));
    }
    if shared > 1 {
        q = split(b, q, q_length, &[heads.kv, shared, heads.size]);
    }
    let earlier = next.map(|next| Earlier::of(scope, heads, [k, v], next));
    let b = &mut *scope.b;

    // [B, kv, T, (shared,) S]
    let last = b.shape(q).rank() - 1;
    let axes = DotAxes { batch: vec![(0, 0), (2, 2)], contracted: vec![(last, 3)] };
    let mut products = b.product(q, k, axes);
    if let Some(earlier) = &earlier {
        products = earlier.scores(b, q, products);
    }
    // There may be more scores than numbers in the queries, but they are scaled where they are computed, without a pass of its own.
    let mut scores = b.scale(products, 1.0 / (heads.size as f64).sqrt());
    let shape = b.shape(scores);
    let across = shape.rank() - 1;
    if causal {
        let [query, key] = [2, across].map(|axis| {
            let position = match next.filter(|_| axis == 2) {
                Some(next) => b.broadcast(next.position, &shape, &[0]),
                None => b.iota(axis, &shape),
            };
            b.to_float(position)
        });
        let seen = b.compare(Cmp::Ge, query, key);
        let never = b.constant(f64::NEG_INFINITY, &shape);
        scores = b.select(seen, scores, never);
    }
    if let Some(mask) = mask {
        let mask = b.broadcast(mask, &shape, &[0, across]);
        let [nothing, never] = [0.0, f64::NEG_INFINITY].map(|number| b.constant(number, &shape));
        let is_hidden = b.compare(Cmp::Eq, mask, nothing);
        scores = b.select(is_hidden, never, scores);
    }
    let mut weights = softmax(b, scores, mask.is_some());
    if scope.mode.drops() && dropout > 0.0 {
        let numbers = scope.declared_uniform(&shape);
        weights = dropout::keep(scope.b, weights, numbers, dropout);
    }
    let b = &mut *scope.b;
    let y = match &earlier {
        Some(earlier) => earlier.mean(b, weights, v),
        None => b.product(weights, v, DotAxes { batch: vec![(0, 0), (1, 2)], contracted: vec![(across, 1)] }),
    };
    // [B, kv, T, (shared,) size] to rows of heads.
    let order: Vec<usize> = match shared {
        1 => vec![0, 2, 1, 3],
        _ => vec![0, 2, 1, 3, 4],
    };
    let y = b.transpose(y, &order);
    split(b, y, q_length, &[heads.width()])
}

/// What the positions before one left, where the graph is that of one: it is read as it lies, and what this position leaves is written
/// beside it when the graph has run.
struct Earlier {
    next: Next,
    /// `[B, kv, size, T]`.
    keys: NodeId,
    /// `[B, kv, T, size]`.
    values: NodeId,
}

impl Earlier {
    /// Given the keys and values of the position, `[B, 1, kv, size]`.
    fn of(scope: &mut Scope<'_>, heads: &Heads, [k, v]: [NodeId; 2], next: Next) -> Earlier {
        let rows = scope.b.shape(k).0[0];
        let shape = |extents: [usize; 3]| Shape([&[rows], &extents.map(Dim::Fixed)[..]].concat());
        let own = scope.b.reshape(k, shape([heads.kv, heads.size, 1]));
        let keys = scope.earlier(&shape([heads.kv, heads.size, next.length]), own);
        let own = scope.b.reshape(v, shape([heads.kv, 1, heads.size]));
        let values = scope.earlier(&shape([heads.kv, next.length, heads.size]), own);
        Earlier { next, keys, values }
    }

    /// Whether an element along the last axis is that of this position.
    fn is_here(&self, b: &mut Builder, shape: &Shape) -> NodeId {
        let here = b.iota(shape.rank() - 1, shape);
        let position = b.broadcast(self.next.position, shape, &[0]);
        b.index_eq(here, position)
    }

    /// The products of the queries `[B, 1, kv, (shared,) size]` with the keys of all positions, given those with the own one.
    fn scores(&self, b: &mut Builder, q: NodeId, own: NodeId) -> NodeId {
        let last = b.shape(q).rank() - 1;
        let before = b.product(q, self.keys, DotAxes { batch: vec![(0, 0), (2, 1)], contracted: vec![(last, 2)] });
        let shape = b.shape(before);
        let is_here = self.is_here(b, &shape);
        let outer = shape.rank() - 1;
        let own = b.reshape(own, Shape(shape.0[..outer].to_vec()));
        let own = b.broadcast_over(own, &shape, &[outer]);
        b.select(is_here, own, before)
    }

    /// The mean of the values of all positions by weights `[B, kv, 1, (shared,) T]`, given that of the own one, `[B, 1, kv, size]`.
    fn mean(&self, b: &mut Builder, weights: NodeId, own: NodeId) -> NodeId {
        let shape = b.shape(weights);
        let outer = shape.rank() - 1;
        // Nothing is there yet at the own position.
        let axes = DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(outer, 2)] };
        let before = b.product(weights, self.values, axes);
        let (is_here, nothing) = (self.is_here(b, &shape), b.constant(0.0, &shape));
        let weight = b.select(is_here, weights, nothing);
        let weight = b.sum(weight, &[outer]);
        let shape = b.shape(before);
        let weight = b.broadcast_over(weight, &shape, &[outer]);
        let [rows, _, heads, size] = b.shape(own).0[..] else { unreachable!("a position has heads") };
        let own = b.reshape(own, Shape(vec![rows, heads, size]));
        let own = b.broadcast(own, &shape, &[0, 1, outer]);
        b.mul_add(weight, own, before)
    }
}

/// Softmax along the last axis, as a mean wants it: with no digits of what a weight lacks of 1, for which the layer `softmax` looks
/// for the first of the largest. A row that `may_be_empty`, with minus infinity everywhere, has weights of 0.
fn softmax(b: &mut Builder, x: NodeId, may_be_empty: bool) -> NodeId {
    let shape = b.shape(x);
    let last = [shape.rank() - 1];
    let fixed = b.detach(x);
    let weights = weights(b, fixed, may_be_empty);
    // The gradient is `(dy - sum(dy y)) y`, so that of all that is computed on the way only `y` is needed: it is that of
    // `x y - y sum(x y)` with a fixed `y`.
    let weighted = b.mul(weights, x);
    let sum = b.sum(weighted, &last);
    let sum = b.broadcast_over(sum, &shape, &last);
    let mean = b.mul(weights, sum);
    let change = b.sub(weighted, mean);
    let one = b.constant(1.0, &shape);
    b.with_slope(weights, change, one)
}

/// The values of such a softmax.
fn weights(b: &mut Builder, x: NodeId, may_be_empty: bool) -> NodeId {
    let shape = b.shape(x);
    let last = [shape.rank() - 1];
    let mut top = b.max_over(x, &last);
    if may_be_empty {
        let [zero, never] = [0.0, f64::NEG_INFINITY].map(|number| b.constant_like(number, top));
        let is_empty = b.compare(Cmp::Eq, top, never);
        top = b.select(is_empty, zero, top);
    }
    let top = b.broadcast_over(top, &shape, &last);
    let shifted = b.sub(x, top);
    let power = b.exp(shifted);
    let mut sum = b.sum(power, &last);
    if may_be_empty {
        let [zero, one] = [0.0, 1.0].map(|number| b.constant_like(number, sum));
        let is_empty = b.compare(Cmp::Eq, sum, zero);
        sum = b.select(is_empty, one, sum);
    }
    // The sum is between 1 and the number of scores, so its reciprocal loses nothing but a rounding.
    let one = b.constant_like(1.0, sum);
    let share = b.div(one, sum);
    let share = b.broadcast_over(share, &shape, &last);
    b.mul(power, share)
}

/// Heads `[B, T, heads, size]` turned by their position: the pair of a number of the first half and the one as far into the second
/// half is a point in the plane.
fn turned(b: &mut Builder, x: NodeId, next: Option<Next>) -> NodeId {
    let shape = b.shape(x);
    let (length, half) = (next.map_or(shape.0[1].factor(), |next| next.length), shape.0[3].factor() / 2);
    let [first, second] = [0, half].map(|start| b.slice(x, 3, start, half, 1));
    let part = b.shape(first);
    let [sine, cosine] = tables::turns(length, half).map(|numbers| {
        let table = b.table("rope", numbers);
        let table = b.reshape(table, Shape::fixed(&[length, half]));
        match next {
            Some(next) => {
                let own = b.gather(table, next.position);
                b.broadcast(own, &part, &[0, 3])
            }
            None => b.broadcast(table, &part, &[1, 3]),
        }
    });
    let mut times = |x, y| b.mul(x, y);
    let (along, across) = ([times(first, cosine), times(second, sine)], [times(second, cosine), times(first, sine)]);
    let first = b.sub(along[0], along[1]);
    let second = b.add(across[0], across[1]);
    b.concat(&[first, second], 3)
}
