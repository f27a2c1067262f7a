//! `Normal`: random numbers of the normal distribution.

use super::{Arg, ArgDef, ArgKind, LayerDef, Mode, Takes, float};
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;

/// Half of the distance of two uniform numbers.
const HALF: f64 = 1.0 / (1u64 << 25) as f64;

/// Numerator and denominator for a probability within 0.425 of a half, from the constant term up (Wichura 1988, PPND16).
#[expect(clippy::excessive_precision, reason = "as they are published")]
const CENTER: [[f64; 8]; 2] = [
    [
        3.387_132_872_796_366_608,
        133.141_667_891_784_377_45,
        1_971.590_950_306_551_442_7,
        13_731.693_765_509_461_125,
        45_921.953_931_549_871_457,
        67_265.770_927_008_700_853,
        33_430.575_583_588_128_105,
        2_509.080_928_730_122_672_7,
    ],
    [
        1.0,
        42.313_330_701_600_911_252,
        687.187_007_492_057_908_3,
        5_394.196_021_424_751_107_7,
        21_213.794_301_586_595_867,
        39_307.895_800_092_710_61,
        28_729.085_735_721_942_674,
        5_226.495_278_852_854_561,
    ],
];
/// The same for those beyond, down to `e^-25`.
#[expect(clippy::excessive_precision, reason = "as they are published")]
const TAIL: [[f64; 8]; 2] = [
    [
        1.423_437_110_749_683_577_34,
        4.630_337_846_156_545_295_9,
        5.769_497_221_460_691_405_5,
        3.647_848_324_763_204_605_04,
        1.270_458_252_452_368_382_58,
        0.241_780_725_177_450_611_77,
        0.022_723_844_989_269_184_583_3,
        7.745_450_142_783_414_076_4e-4,
    ],
    [
        1.0,
        2.053_191_626_637_758_821_87,
        1.676_384_830_183_803_849_4,
        0.689_767_334_985_100_004_55,
        0.148_103_976_427_480_074_59,
        0.015_198_666_563_616_457_196_6,
        5.475_938_084_995_344_946e-4,
        1.050_750_071_644_416_843_24e-9,
    ],
];

/// Random numbers in training, of the shape of what comes in; zeros in inference.
///
/// - Value: training: independent numbers of the normal distribution with mean 0 and standard deviation `deviation`, at most
///   5.42 of it from 0, whatever comes in. Inference: 0. What a variational autoencoder draws from is
///   `mean + exp(0.5 * log_variance) * noise`, with `let noise = mean -> Normal;`
/// - Shapes: `f32[S] -> f32[S]`
/// - Argument `deviation = 1.0`: the standard deviation; a number between 0 and 1e6
/// - Gradient: none to what comes in
/// - Numbers: decided by the trainer's `seed`, the number of the forward pass, the layer, row and column, as the mask of
///   `Dropout`: `set_forward_count` replays a pass
/// - Source: Wichura 1988, algorithm AS 241, of a uniform number in the middle of one of 2^24 steps
pub const NORMAL_NOISE: LayerDef = LayerDef {
    name: "Normal",
    item: "NORMAL_NOISE",
    stem: "normal",
    args: &[ArgDef {
        name: "deviation",
        kind: ArgKind::Number { least: 0.0, most: 1e6, range: "between 0 and 1e6" },
        default: Some(Arg::Float(1.0)),
        doc: "the standard deviation",
    }],
    shape: |x, _| Ok(x.clone()),
    params: |_, _, _| Vec::new(),
    lower: |scope, x| {
        let deviation = float(scope.args, 0);
        let shape = scope.b.shape(x);
        if scope.mode != Mode::Train || deviation == 0.0 {
            return scope.b.constant(0.0, &shape);
        }
        let uniform = scope.uniform(&shape);
        let b = &mut *scope.b;
        // The middle of a step, from -1/2 to 1/2: a multiple of 2^-25, exact in f32, and so is what a tail lacks of a half.
        let centered = b.offset(uniform, HALF - 0.5);
        let normal = quantile(b, centered);
        if deviation == 1.0 { normal } else { b.scale(normal, deviation) }
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |_| true,
    layout: None,
    gain: None,
    function: None,
};

/// The number below which the normal distribution has the probability `p`, given `q = p - 1/2`.
fn quantile(b: &mut Builder, q: NodeId) -> NodeId {
    let square = b.mul(q, q);
    let minus = b.neg(square);
    let near = b.offset(minus, 0.180625);
    let center = ratio(b, &CENTER, near);
    let center = b.mul(center, q);

    let size = b.abs(q);
    let minus = b.neg(size);
    let rest = b.offset(minus, 0.5);
    let log = b.ln(rest);
    let log = b.neg(log);
    let root = b.sqrt(log);
    let root = b.offset(root, -1.6);
    let tail = ratio(b, &TAIL, root);
    let mirrored = b.neg(tail);
    let zero = b.constant_like(0.0, q);
    let is_low = b.compare(Cmp::Lt, q, zero);
    let tail = b.select(is_low, mirrored, tail);

    let bound = b.constant_like(0.425, q);
    let is_center = b.compare(Cmp::Le, size, bound);
    b.select(is_center, center, tail)
}

/// A quotient of polynomials.
fn ratio(b: &mut Builder, coefficients: &[[f64; 8]; 2], x: NodeId) -> NodeId {
    let [over, under] = coefficients.map(|of| {
        let (last, rest) = of.split_last().expect("a polynomial has terms");
        let mut sum = b.constant_like(*last, x);
        for &term in rest.iter().rev() {
            let term = b.constant_like(term, x);
            sum = b.mul_add(sum, x, term);
        }
        sum
    });
    b.div(over, under)
}
