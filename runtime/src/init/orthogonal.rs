//! Matrices with orthonormal rows or columns, drawn uniformly from all of them.
//!
//! Normal vectors are made orthonormal one after the other. As each keeps its direction but for what the ones before it
//! span, the result is distributed evenly (Mezzadri 2007, section 5, where the signs of R are fixed to the same end).

use super::Random;
use super::normal::Normal;

/// Vectors that are made orthogonal to an earlier one while it is in the cache.
const BLOCK: usize = 8;

/// Fills a matrix of this many rows.
pub(super) fn fill(values: &mut [f32], rows: usize, gain: f64, random: &mut Random) {
    let columns = values.len() / rows.max(1);
    let (count, len) = (rows.min(columns), rows.max(columns));
    if count == 0 {
        return;
    }
    let normal = Normal::shared();
    let mut vectors: Vec<f64> = (0..count * len).map(|_| normal.draw(random)).collect();
    orthonormalize(&mut vectors, len);
    for (index, vector) in vectors.chunks_exact(len).enumerate() {
        for (at, x) in vector.iter().enumerate() {
            let place = if rows < columns { index * columns + at } else { at * columns + index };
            values[place] = (gain * x) as f32;
        }
    }
}

/// Gram and Schmidt's method, modified (Björck 1967): in f64, the loss of orthogonality that it suffers with vectors that
/// are close to dependent stays far below the rounding to f32.
fn orthonormalize(vectors: &mut [f64], len: usize) {
    let count = vectors.len() / len;
    for start in (0..count).step_by(BLOCK) {
        let (done, rest) = vectors.split_at_mut(start * len);
        let block = &mut rest[..BLOCK.min(count - start) * len];
        for earlier in done.chunks_exact(len) {
            block.chunks_exact_mut(len).for_each(|vector| remove(vector, earlier));
        }
        for at in 0..block.len() / len {
            let (done, rest) = block.split_at_mut(at * len);
            let vector = &mut rest[..len];
            done.chunks_exact(len).for_each(|earlier| remove(vector, earlier));
            let inverse = 1.0 / dot(vector, vector).sqrt();
            vector.iter_mut().for_each(|x| *x *= inverse);
        }
    }
}

/// Takes away what a vector has of a unit vector.
fn remove(vector: &mut [f64], unit: &[f64]) {
    let share = dot(vector, unit);
    vector.iter_mut().zip(unit).for_each(|(x, u)| *x -= share * u);
}

/// In lanes, which can be added at once.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let (x, y) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f64 = x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in x.zip(y) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}
