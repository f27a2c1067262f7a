//! Convolutions and their weight gradients against sums in f64, bit for bit against themselves in other cuts, and next to pages that
//! may not be touched.

use super::*;

/// Numbers in [-1, 1), the same ones for the same seed.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    core::iter::repeat_with(|| random.next(1 << 24) as f32 / (1 << 23) as f32 - 1.0).take(len).collect()
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn among(&mut self, least: i64, most: i64) -> i64 {
        least + self.next((most - least + 1) as u64) as i64
    }
}

/// A convolution of images `[n, h, w, c]`, or `[n, c, h, w]` if they are planar, to `[n, oh, ow, o]`.
#[derive(Clone, Copy, Debug)]
struct Conv {
    n: i64,
    size: [i64; 2],
    c: i64,
    o: i64,
    kernel: [i64; 2],
    stride: [i64; 2],
    dilation: [i64; 2],
    pad: [i64; 2],
    planar: bool,
    /// Each channel has one output, which sees no other.
    depthwise: bool,
}

impl Conv {
    fn random(random: &mut Random) -> Conv {
        loop {
            let mut pair = |least, most| [random.among(least, most), random.among(least, most)];
            let (size, kernel, stride, dilation, pad) = (pair(1, 17), pair(1, 5), pair(1, 3), pair(1, 2), pair(0, 4));
            let (n, c, o) = (random.among(1, 4), random.among(1, 19), random.among(1, 40));
            let conv = Conv { n, size, c, o, kernel, stride, dilation, pad, planar: false, depthwise: false };
            if (0..2).all(|axis| conv.out(axis) > 0) {
                return conv;
            }
        }
    }

    /// Channel by channel, of some registers or of up to some and a part of one.
    fn by_channel(random: &mut Random) -> Conv {
        let c = if random.next(2) == 0 { 16 * random.among(1, 9) } else { random.among(1, 70) };
        Conv { c, o: c, depthwise: true, ..Conv::random(random) }
    }

    /// One of any kind, in turns.
    fn any(random: &mut Random, seed: u64) -> Conv {
        match seed % 4 {
            0 => Conv::of_planes(random),
            1 => Conv::by_channel(random),
            _ => Conv::random(random),
        }
    }

    /// Planar images of a few channels to whole registers of columns: patches are gathered.
    fn of_planes(random: &mut Random) -> Conv {
        loop {
            let (c, o) = (random.among(1, 3), 16 * random.among(1, 3));
            let conv = Conv { c, o, planar: true, ..Conv::random(random) };
            let conv = Conv { stride: [conv.stride[0], 1], ..conv };
            if (0..2).all(|axis| conv.out(axis) > 0) {
                return conv;
            }
        }
    }

    fn out(&self, axis: usize) -> i64 {
        let covered = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
        let padded = self.size[axis] + 2 * self.pad[axis];
        if padded < covered { 0 } else { (padded - covered) / self.stride[axis] + 1 }
    }

    /// Elements from row to row, and from column to column.
    fn steps(&self) -> [i64; 2] {
        if self.planar { [self.size[1], 1] } else { [self.size[1] * self.c, self.c] }
    }

    /// Elements from channel to channel.
    fn channel(&self) -> i64 {
        if self.planar { self.size[0] * self.size[1] } else { 1 }
    }

    /// Elements from image to image.
    fn image(&self) -> i64 {
        self.size[0] * self.size[1] * self.c
    }

    fn forward(&self, turned: bool) -> Nest {
        let [oh, ow] = [0, 1].map(|axis| self.out(axis));
        let steps = self.steps();
        let weights = self.kernel[0] * self.kernel[1] * self.c * self.o;
        let c = if self.depthwise { 1 } else { self.c };
        // As it lies, or every axis reversed as in the gradient of the input.
        let sign = if turned { -1 } else { 1 };
        let clip = |axis: usize| {
            let mut rows = [0; AXES];
            rows[axis + 1] = self.stride[axis];
            Clip { extent: self.size[axis], constant: -self.pad[axis], step: self.dilation[axis], rows }
        };
        let b = [self.kernel[1] * c * self.o, c * self.o];
        let axis = |axis: usize| TermAxis {
            extent: self.kernel[axis],
            a: steps[axis] * self.dilation[axis],
            b: sign * b[axis],
            clip: clip(axis),
        };
        Nest {
            rows: [
                RowAxis { extent: self.n, a: self.image() },
                RowAxis { extent: oh, a: steps[0] * self.stride[0] },
                RowAxis { extent: ow, a: steps[1] * self.stride[1] },
            ],
            terms: match self.depthwise {
                // The axis of one channel is none.
                true => [TermAxis { extent: 1, a: 0, b: 0, clip: Clip::NONE }, axis(0), axis(1)],
                false => [axis(0), axis(1), TermAxis { extent: c, a: self.channel(), b: self.o, clip: Clip::NONE }],
            },
            cols: self.o,
            a_col: i64::from(self.depthwise),
            b_col: 1,
            ldc: self.o,
            piece: weights,
            gathered: if self.is_gathered() && !turned { TERMS } else { 0 },
        }
    }

    /// Whether patches are gathered: pixels are adjacent, columns are whole registers of every instruction set, and taps are few.
    fn is_gathered(&self) -> bool {
        let few = self.kernel.iter().product::<i64>() * self.c <= GATHERED_TERMS as i64;
        !self.depthwise && self.steps()[1] * self.stride[1] == 1 && self.o % 16 == 0 && few
    }

    fn gradient(&self) -> Nest {
        let [oh, ow] = [0, 1].map(|axis| self.out(axis));
        let steps = self.steps();
        let clip = |axis: usize| {
            let mut rows = [0; AXES];
            rows[axis] = self.dilation[axis];
            Clip { extent: self.size[axis], constant: -self.pad[axis], step: self.stride[axis], rows }
        };
        let b = [ow * self.o, self.o];
        let axis = |axis: usize, extent: i64| TermAxis {
            extent,
            a: steps[axis] * self.stride[axis],
            b: b[axis],
            clip: clip(axis),
        };
        let row = |axis: usize| RowAxis { extent: self.kernel[axis], a: steps[axis] * self.dilation[axis] };
        let image = TermAxis { extent: self.n, a: self.image(), b: oh * b[0], clip: Clip::NONE };
        let mut nest = Nest {
            rows: [row(0), row(1), RowAxis { extent: self.c, a: self.channel() }],
            terms: [image, axis(0, oh), axis(1, ow)],
            cols: self.o,
            a_col: i64::from(self.depthwise),
            b_col: 1,
            ldc: self.o,
            piece: ow * (1 + oh / 2),
            gathered: if self.is_gathered() { ROWS } else { 0 },
        };
        if self.c == 1 || self.depthwise {
            // The axis of one channel is none.
            nest.rows = [RowAxis { extent: 1, a: 0 }, nest.rows[0], nest.rows[1]];
            for axis in &mut nest.terms {
                axis.clip.rows.rotate_right(1);
            }
        }
        nest
    }

    /// Where the left operand begins: taps before it are never read.
    fn origin(&self) -> i64 {
        -self.pad[0] * self.steps()[0] - self.pad[1] * self.steps()[1]
    }

    /// Both operands, filled: `x` and what is multiplied with it.
    fn operands(&self, nest: &Nest, seed: u64) -> [Vec<f32>; 2] {
        let x = self.n * self.image();
        let b: i64 = nest.terms.iter().map(|axis| axis.extent).product::<i64>() * self.o;
        [numbers(x as usize, seed), numbers(b as usize, seed + 1)]
    }
}

/// Where the right operand's first term lies: after others if some steps go back.
fn first(nest: &Nest) -> i64 {
    nest.terms.iter().map(|axis| (-axis.b).max(0) * (axis.extent - 1)).sum()
}

fn rows(nest: &Nest) -> usize {
    nest.rows.iter().map(|axis| axis.extent).product::<i64>() as usize
}

/// The product in f64, with the sum of what is added without signs.
fn exact(nest: &Nest, origin: i64, x: &[f32], b: &[f32]) -> Vec<(f64, f64)> {
    let mut result = Vec::new();
    let [r0, r1, r2] = nest.rows.map(|axis| axis.extent);
    let [t0, t1, t2] = nest.terms.map(|axis| axis.extent);
    for (i0, i1, i2) in (0..r0).flat_map(|i| (0..r1).flat_map(move |j| (0..r2).map(move |k| (i, j, k)))) {
        for col in 0..nest.cols {
            let (mut sum, mut size) = (0.0, 0.0);
            for (p0, p1, p2) in (0..t0).flat_map(|i| (0..t1).flat_map(move |j| (0..t2).map(move |k| (i, j, k)))) {
                let (row, term) = ([i0, i1, i2], [p0, p1, p2]);
                let there = nest.terms.iter().zip(term).all(|(axis, at)| {
                    let clip = axis.clip;
                    let moved: i64 = clip.rows.iter().zip(row).map(|(step, at)| step * at).sum();
                    clip.extent == 0 || (0..clip.extent).contains(&(clip.constant + moved + clip.step * at))
                });
                if there {
                    let a: i64 = nest.rows.iter().zip(row).map(|(axis, at)| axis.a * at).sum();
                    let a: i64 = a
                        + col * nest.a_col
                        + origin
                        + nest.terms.iter().zip(term).map(|(axis, at)| axis.a * at).sum::<i64>();
                    let place: i64 = nest.terms.iter().zip(term).map(|(axis, at)| axis.b * at).sum();
                    let product =
                        f64::from(x[a as usize]) * f64::from(b[(first(nest) + place + col * nest.b_col) as usize]);
                    sum += product;
                    size += product.abs();
                }
            }
            result.push((sum, size));
        }
    }
    result
}

/// The product, so many rows a call.
fn computed(isa: Isa, nest: &Nest, origin: i64, x: *const f32, b: *const f32, step: usize) -> Vec<f32> {
    const UNTOUCHED: f32 = 12345.0;
    let (all, ldc) = (rows(nest), nest.ldc as usize);
    let mut c = vec![UNTOUCHED; all * ldc + ldc];
    let room = match nest.gathered {
        TERMS => gathered_len(nest.terms.iter().map(|axis| axis.extent).product::<i64>() as usize),
        ROWS => gathered_rows_len(all, nest.piece as usize),
        _ => workspace_len(nest.cols as usize, nest.piece as usize),
    };
    let mut workspace = vec![f32::NAN; room];
    workspace.resize(room + WIDEST, UNTOUCHED);
    for lo in (0..all).step_by(step) {
        let hi = (lo + step).min(all);
        let (a, b) = (x.wrapping_offset(origin as isize), b.wrapping_offset(first(nest) as isize));
        // SAFETY: the nest names elements of both operands, and C has these rows.
        unsafe { product(isa, nest, [lo, hi], a, b, c.as_mut_ptr().add(lo * ldc), workspace.as_mut_ptr()) };
    }
    assert!(c.drain(all * ldc..).all(|x| x == UNTOUCHED), "nothing is written after the last row");
    assert!(workspace[room..].iter().all(|x| *x == UNTOUCHED), "nothing is written after the workspace");
    c
}

fn close(nest: &Nest, wanted: &[(f64, f64)], found: &[f32], what: &str) {
    for (row, found) in found.chunks(nest.ldc as usize).enumerate() {
        for (col, &found) in found.iter().take(nest.cols as usize).enumerate() {
            let (sum, size) = wanted[row * nest.cols as usize + col];
            assert!(
                (f64::from(found) - sum).abs() <= 1e-5 * size + 1e-30,
                "{what}, row {row}, column {col}: {found}, not {sum}"
            );
        }
    }
}

/// The ways to read the left operand: what is gathered may also lie in registers of rows.
fn ways(nest: &Nest) -> [i64; 2] {
    [nest.gathered, if nest.gathered == TERMS { ACROSS } else { nest.gathered }]
}

/// How many convolutions are tried: few on aarch64, which is an emulator as a rule.
const CONVOLUTIONS: u64 = if cfg!(target_arch = "aarch64") { 24 } else { 150 };

#[test]
fn convolutions_and_weight_gradients_are_sums_of_products_in_any_cut() {
    let mut random = Random(7);
    for seed in 0..CONVOLUTIONS {
        let conv = Conv::any(&mut random, seed);
        for nest in [conv.forward(false), conv.forward(true), conv.gradient()] {
            check_in_any_cut(&conv, &nest, &mut random, seed);
        }
    }
}

/// Gradients of as many taps as are gathered together, of lines about as long as a tall tile's are apart.
#[test]
fn gradients_of_any_number_of_taps_are_sums_of_products_in_any_cut() {
    let mut random = Random(13);
    let few = Conv { n: 2, size: [7, 0], c: 0, o: 16, kernel: [1; 2], stride: [1; 2], ..Conv::of_planes(&mut random) };
    let few = Conv { dilation: [1; 2], pad: [0; 2], ..few };
    for (taps, width) in (1..=GATHERED_TERMS as i64).flat_map(|taps| [15, 16, 29, 32, 33].map(|width| (taps, width))) {
        let conv = Conv { size: [7, width], c: taps, ..few };
        check_in_any_cut(&conv, &conv.gradient(), &mut random, taps as u64);
        if let Some(channels) = Some(taps / 9).filter(|_| taps % 9 == 0) {
            let conv = Conv { c: channels, kernel: [3; 2], pad: [1; 2], ..conv };
            let nest = conv.gradient();
            // In pieces of single lines as well: they slide through the workspace and begin anew at its end.
            for piece in [nest.piece, width] {
                check_in_any_cut(&conv, &Nest { piece, ..nest }, &mut random, taps as u64);
            }
        }
    }
}

/// A product is the sums in f64, and has the same bits however its rows are cut and its left operand is read.
fn check_in_any_cut(conv: &Conv, nest: &Nest, random: &mut Random, seed: u64) {
    let [x, b] = conv.operands(nest, seed);
    let wanted = exact(nest, conv.origin(), &x, &b);
    let mut bits: Option<Vec<u32>> = None;
    for (isa, gathered) in Isa::available().into_iter().flat_map(|isa| ways(nest).map(|way| (isa, way))) {
        for step in [rows(nest), 1 + random.next(40) as usize] {
            let nest = Nest { gathered, ..*nest };
            let what = format!("{conv:?}, {nest:?}, {isa:?}, {step} rows a call");
            let found = computed(isa, &nest, conv.origin(), x.as_ptr(), b.as_ptr(), step);
            close(&nest, &wanted, &found, &what);
            if isa.fuses() {
                let found: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
                assert!(*bits.get_or_insert_with(|| found.clone()) == found, "{what}: other bits");
            }
        }
    }
}

/// Rows of every length that a tile may have, and columns of every width that it takes at a time.
#[test]
fn lines_of_any_length_have_tiles_for_any_columns() {
    for (width, o) in (1..=14).flat_map(|width| [16, 32, 48, 64, 80, 128].map(|o| (width, o))) {
        let (size, kernel, pad) = ([2, width], [1, 3], [0, 1]);
        let conv = Conv {
            n: 1,
            size,
            c: 2,
            o,
            kernel,
            stride: [1; 2],
            dilation: [1; 2],
            pad,
            planar: false,
            depthwise: false,
        };
        for conv in [conv, Conv { c: o, depthwise: true, ..conv }] {
            let nest = conv.forward(false);
            let [x, b] = conv.operands(&nest, 3);
            let wanted = exact(&nest, conv.origin(), &x, &b);
            for isa in Isa::available() {
                let found = computed(isa, &nest, conv.origin(), x.as_ptr(), b.as_ptr(), rows(&nest));
                close(&nest, &wanted, &found, &format!("{conv:?}, {isa:?}"));
            }
        }
    }
}

#[test]
fn without_terms_everything_is_zero() {
    let mut random = Random(5);
    for conv in (0..3).map(|seed| Conv::any(&mut random, seed)).collect::<Vec<_>>() {
        for (axis, mut nest) in (0..AXES).flat_map(|axis| [(axis, conv.forward(false)), (axis, conv.gradient())]) {
            let [x, b] = conv.operands(&nest, 1);
            nest.terms[axis].extent = 0;
            for isa in Isa::available() {
                let found = computed(isa, &nest, conv.origin(), x.as_ptr(), b.as_ptr(), 3);
                let rows = found.chunks(nest.ldc as usize);
                assert!(rows.flat_map(|row| &row[..nest.cols as usize]).all(|x| *x == 0.0), "{conv:?} under {isa:?}");
            }
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn nothing_is_touched_outside_of_the_operands() {
    use crate::microkernels::guarded::Guarded;

    let mut random = Random(11);
    for seed in 0..CONVOLUTIONS / 3 {
        let conv = Conv::any(&mut random, seed);
        for nest in [conv.forward(false), conv.forward(true), conv.gradient()] {
            let [x, b] = conv.operands(&nest, seed);
            let wanted = exact(&nest, conv.origin(), &x, &b);
            for (isa, after) in Isa::available().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
                let (x, b) = (Guarded::new(&x, after), Guarded::new(&b, after));
                for gathered in ways(&nest) {
                    let found = computed(isa, &Nest { gathered, ..nest }, conv.origin(), x.data, b.data, rows(&nest));
                    close(&nest, &wanted, &found, &format!("{conv:?} under {isa:?}, read in way {gathered}"));
                }
            }
        }
    }
}
