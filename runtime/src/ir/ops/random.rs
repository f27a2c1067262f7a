//! Random numbers without state: each is a hash of a key and of its position.
//!
//! In: the trainer's seed, the number of the layer among those that draw, the number of the forward pass; row and column. Out:
//! a number that depends on nothing else: neither on the batch size nor on the order of work. So the backward pass may recompute
//! it.

use super::{Body, OpDef};
use crate::init::Random;
use crate::ir::Op;
use crate::scalar::{Reg, Scalar};
use crate::types::{DType, TensorType};

/// The first stream of `Random` that no parameter draws its first values from.
const FIRST_STREAM: u64 = 1 << 32;

/// The key of one layer in one forward pass: number `pass` of the stream of the layer (SplitMix64, see [`Random`]).
pub fn key(seed: u64, stream: u32, pass: u64) -> [u32; 2] {
    let bits = Random::new(seed, FIRST_STREAM + u64::from(stream)).number(pass);
    [bits as u32, (bits >> 32) as u32]
}

/// A uniform random number: `y = floor(h / 2^8) / 2^24`, in [0, 1), where `h` is the first word of `pcg4d(column, row, key)`.
/// `u32[S], u32[S], u32[S], u32[S] -> f32[S]`: two halves of a key, row, column. The same in f32 and f64.
/// Source: Jarzynski & Olano 2020, "Hash functions for GPU rendering", which finds no better hash of four words.
pub const UNIFORM: OpDef = OpDef {
    name: "uniform",
    ty: words,
    vjp: |_, at| vec![None; at.x.len()],
    body: Body::Map(|s, _, x| {
        let hash = pcg4d(s, [x[3], x[2], x[0], x[1]]);
        let high = s.shr(hash, 8);
        let number = s.to_float(high);
        let unit = s.float(1.0 / (1u32 << 24) as f64);
        s.mul(number, unit)
    }),
};

fn words(_: &Op, x: &[&TensorType]) -> Result<TensorType, String> {
    let expected = x[0].with(DType::U32);
    match x.iter().find(|ty| ***ty != expected) {
        None => Ok(expected.with(DType::F32)),
        Some(other) => Err(format!("uniform needs words of one shape, found {} and {other}", x[0])),
    }
}

/// The first of the four words.
fn pcg4d(s: &mut dyn Scalar, words: [Reg; 4]) -> Reg {
    let (factor, term) = (s.int(1_664_525), s.int(1_013_904_223));
    let [x, y, z, w] = words.map(|word| {
        let product = s.int_mul(word, factor);
        s.int_add(product, term)
    });
    let x = add_product(s, x, y, w);
    let y = add_product(s, y, z, x);
    let z = add_product(s, z, x, y);
    let w = add_product(s, w, y, z);
    let [x, y, w] = [x, y, w].map(|word| {
        let high = s.shr(word, 16);
        s.int_xor(word, high)
    });
    add_product(s, x, y, w)
}

/// `x + y z`.
fn add_product(s: &mut dyn Scalar, x: Reg, y: Reg, z: Reg) -> Reg {
    let product = s.int_mul(y, z);
    s.int_add(x, product)
}
