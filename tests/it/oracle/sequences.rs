//! Sequences: rows of classes, positions, attention, by loops over elements.

use gradloom_runtime::layers::{Arg, Mode};

use super::Evaluator;
use super::array::Array;
use super::stages::{Place, dropped};

/// How features are divided, and who looks where.
struct Looking {
    heads: usize,
    kv: usize,
    causal: bool,
    rope: bool,
    dropout: f64,
    /// For every row and position, 0 where nobody looks.
    mask: Option<Array<f64>>,
}

impl Evaluator<'_> {
    /// A row of numbers for every id.
    pub(super) fn embedding(&self, path: &str, ids: &Array<u32>) -> Array<f64> {
        let weight = self.param(path, "weight");
        let rows: Vec<&[f64]> = weight.rows().collect();
        let shape: Vec<usize> = ids.shape.iter().copied().chain([weight.shape[1]]).collect();
        Array::new(&shape, ids.data.iter().flat_map(|&id| rows[id as usize].to_vec()).collect())
    }

    pub(super) fn positional(&self, path: &str, x: &Array<f64>) -> Array<f64> {
        let weight = self.param(path, "weight");
        Array::of(&x.shape, |place| x.at(place) + weight.at(&place[1..]))
    }

    pub(super) fn rms_norm(&self, path: &str, eps: f64, x: &Array<f64>) -> Array<f64> {
        let gamma = self.param(path, "gamma").data;
        let rows = x.rows().flat_map(|row| {
            let square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
            row.iter().zip(&gamma).map(|(x, gamma)| gamma * x / (square + eps).sqrt()).collect::<Vec<f64>>()
        });
        Array::new(&x.shape, rows.collect())
    }

    pub(super) fn attention(&self, at: &Place, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let &[Arg::Int(heads), causal, kv, Arg::Float(dropout), bias, rope, _, Arg::Path(mask)] = args else {
            panic!("attention has eight arguments")
        };
        let is = |arg| arg == Arg::Flag(true);
        let (heads, kv) = (heads as usize, own(kv, heads));
        let all = self.projected(&at.owner, "qkv", is(bias), x);
        let width = x.shape[2];
        let of_keys = width / heads * kv;
        let [q, k, v] = [(0, width), (width, of_keys), (width + of_keys, of_keys)].map(|part| columns(&all, part));
        let mask = self.mask(mask);
        let looking = Looking { heads, kv, causal: is(causal), rope: is(rope), dropout, mask };
        self.projected(&at.owner, "out", is(bias), &self.looked_up(at, &looking, &q, &k, &v))
    }

    pub(super) fn cross_attention(&self, at: &Place, args: &[Arg], x: &Array<f64>, memory: &Array<f64>) -> Array<f64> {
        let &[Arg::Int(heads), kv, Arg::Float(dropout), bias, _, Arg::Path(mask)] = args else {
            panic!("cross-attention has six arguments")
        };
        let biased = bias == Arg::Flag(true);
        let (heads, kv) = (heads as usize, own(kv, heads));
        let q = self.projected(&at.owner, "query", biased, x);
        let both = self.projected(&at.owner, "kv", biased, memory);
        let of_keys = x.shape[2] / heads * kv;
        let [k, v] = [0, of_keys].map(|first| columns(&both, (first, of_keys)));
        let mask = self.mask(mask);
        let looking = Looking { heads, kv, causal: false, rope: false, dropout, mask };
        self.projected(&at.owner, "out", biased, &self.looked_up(at, &looking, &q, &k, &v))
    }

    /// The value of this name, if there is a name.
    fn mask(&self, name: &str) -> Option<Array<f64>> {
        (!name.is_empty()).then(|| self.value(name).floats().clone())
    }

    fn projected(&self, owner: &str, name: &str, biased: bool, x: &Array<f64>) -> Array<f64> {
        self.dense(&format!("{owner}.{name}"), biased, x)
    }

    /// For every position and head the mean of the values by the softmax of the scores.
    fn looked_up(&self, at: &Place, how: &Looking, q: &Array<f64>, k: &Array<f64>, v: &Array<f64>) -> Array<f64> {
        let [rows, length, width] = q.shape[..] else { panic!("a sequence has three axes") };
        let others = k.shape[1];
        let size = width / how.heads;
        let shared = how.heads / how.kv;
        // One number of a head, turned by its position.
        let number = |x: &Array<f64>, row: usize, position: usize, head: usize, at: usize| {
            let plain = |at: usize| x.at(&[row, position, head * size + at]);
            if !how.rope {
                return plain(at);
            }
            let half = size / 2;
            let angle = position as f64 / 10_000f64.powf((at % half) as f64 / half as f64);
            match at < half {
                true => plain(at) * single(angle.cos()) - plain(at + half) * single(angle.sin()),
                false => plain(at) * single(angle.cos()) + plain(at - half) * single(angle.sin()),
            }
        };
        let mut y = Array::new(&q.shape, vec![0.0; q.data.len()]);
        for row in 0..rows {
            for head in 0..how.heads {
                let own = head / shared;
                for position in 0..length {
                    let seen = if how.causal { position + 1 } else { others };
                    let score = |other: usize| {
                        let products =
                            (0..size).map(|at| number(q, row, position, head, at) * number(k, row, other, own, at));
                        products.sum::<f64>() / (size as f64).sqrt()
                    };
                    let is_hidden = |other: usize| how.mask.as_ref().is_some_and(|mask| mask.at(&[row, other]) == 0.0);
                    let score = |other: usize| if is_hidden(other) { f64::NEG_INFINITY } else { score(other) };
                    let scores: Vec<f64> = (0..seen).map(score).collect();
                    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let powers: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
                    let sum = powers.iter().sum::<f64>();
                    for (other, power) in powers.iter().enumerate().filter(|&(other, _)| !is_hidden(other)) {
                        // Heads that share keys are innermost.
                        let line = (row * how.kv + own) * length * shared + position * shared + head % shared;
                        let weight = self.kept(at, how.dropout, line, other, power / sum);
                        for at in 0..size {
                            let place = (row * length + position) * width + head * size + at;
                            y.data[place] += weight * v.at(&[row, other, own * size + at]);
                        }
                    }
                }
            }
        }
        y
    }

    /// A weight of this row and column, if it is not dropped.
    fn kept(&self, at: &Place, p: f64, row: usize, column: usize, weight: f64) -> f64 {
        match self.mode == Mode::Train && p > 0.0 {
            true => dropped(self.values.keys[at.path()], p, [row, column], weight),
            false => weight,
        }
    }
}

/// Sines at even places, cosines at odd ones.
pub(super) fn sinusoidal(x: &Array<f64>) -> Array<f64> {
    let width = x.shape[2];
    Array::of(&x.shape, |place| {
        let pair = (place[2] / 2 * 2) as f64;
        let angle = place[1] as f64 / 10_000f64.powf(pair / width as f64);
        x.at(place) + single(if place[2].is_multiple_of(2) { angle.sin() } else { angle.cos() })
    })
}

/// Tables are of f32 numbers.
fn single(x: f64) -> f64 {
    f64::from(x as f32)
}

/// How many heads have keys of their own.
fn own(kv: Arg, heads: u64) -> usize {
    match kv {
        Arg::Int(kv) => kv as usize,
        _ => heads as usize,
    }
}

/// So many columns of a sequence, from the first on.
fn columns(x: &Array<f64>, (first, n): (usize, usize)) -> Array<f64> {
    Array::of(&[x.shape[0], x.shape[1], n], |place| x.at(&[place[0], place[1], first + place[2]]))
}
