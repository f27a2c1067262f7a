//! Rows that are normalized: numbers whose squares could overflow are scaled down first.

use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;

/// Powers of two: numbers above `2^limit` are multiplied by `2^factor`, and are then at most `2^40`. Squares and cubes of their
/// deviations, and of the reciprocals of those in the gradient, stay within f32.
const LEVELS: [(i32, i32); 3] = [(42, -40), (80, -78), (118, -116)];
/// The `eps` of such numbers: less than the square of one digit of any of them, and more than what has no cube.
const LEAST: i32 = -84;

/// What to multiply the numbers of a row by, and what to add to the mean of their squares, from the largest of their sizes: 1 and
/// `eps` unless they are large. For those that are, `eps` is less than one unit in the last place.
pub(super) fn of(b: &mut Builder, top: NodeId, eps: f64) -> [NodeId; 2] {
    let choose = |b: &mut Builder, limit: i32, large: i32, other: NodeId| {
        let [limit, large] = [limit, large].map(|power| b.constant_like(2f64.powi(power), top));
        let mask = b.compare(Cmp::Gt, top, limit);
        b.select(mask, large, other)
    };
    let [one, eps] = [1.0, eps].map(|number| b.constant_like(number, top));
    let factor = LEVELS.iter().fold(one, |other, &(limit, factor)| choose(b, limit, factor, other));
    [factor, choose(b, LEVELS[0].0, LEAST, eps)]
}
