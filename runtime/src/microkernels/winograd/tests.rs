//! Windows and their gradients against sums in f64, bit for bit against themselves in other cuts and on other instruction sets, and
//! next to pages that may not be touched.

use super::*;

/// Numbers in [-1, 1), the same ones for the same seed.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    core::iter::repeat_with(|| random.below(1 << 24) as f32 / (1 << 23) as f32 - 1.0).take(len).collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn among(&mut self, least: i64, most: i64) -> i64 {
        least + self.below((most - least + 1) as u64) as i64
    }
}

/// A convolution of 3 x 3 taps, of images `[n, h, w, k]`, padded in front and after.
#[derive(Clone, Copy, Debug)]
struct Conv {
    n: i64,
    extent: [i64; 2],
    pad: [[i64; 2]; 2],
    channels: i64,
    cols: i64,
    /// Images of a part of the gradient.
    part: i64,
    /// Taps lie with columns ahead of channels, and from the last to the first, as in the gradient of an input.
    turned: bool,
}

impl Conv {
    fn random(random: &mut Random) -> Conv {
        loop {
            let extent = [random.among(1, 13), random.among(1, 13)];
            let pad = [0, 1].map(|_| [random.among(0, 2), random.among(0, 2)]);
            let (channels, cols) = (16 * random.among(1, 3), 16 * random.among(1, 3));
            let (n, part, turned) = (random.among(1, 5), random.among(1, 3), random.below(2) == 0);
            let conv = Conv { n, extent, pad, channels, cols, part, turned };
            if conv.size().iter().all(|&size| size > 0) {
                return conv;
            }
        }
    }

    fn size(&self) -> [i64; 2] {
        [0, 1].map(|axis| self.extent[axis] + self.pad[axis][0] + self.pad[axis][1] - 2)
    }

    fn image_steps(&self) -> [i64; 3] {
        let row = self.extent[1] * self.channels;
        [self.extent[0] * row, row, self.channels]
    }

    fn windows(&self) -> Windows {
        let (k, n) = (self.channels, self.cols);
        let b = if self.turned { [-3 * k * n, -k * n, 1, k] } else { [3 * k * n, k * n, n, 1] };
        let first = [-self.pad[0][0], -self.pad[1][0]];
        let (images, size, extent, a) = (self.n, self.size(), self.extent, self.image_steps());
        Windows { images, size, extent, first, a, b, channels: k, cols: n, part: self.part }
    }

    fn of_gradient(&self) -> Windows {
        let [height, width] = self.size();
        let row = width * self.cols;
        Windows { b: [height * row, row, self.cols, 1], ..self.windows() }
    }

    /// Where the left operand begins, in elements of the image.
    fn origin(&self) -> isize {
        let [_, row, pixel] = self.image_steps();
        -(self.pad[0][0] * row + self.pad[1][0] * pixel) as isize
    }

    /// Where the taps begin.
    fn first_tap(&self) -> isize {
        if self.turned { (8 * self.channels * self.cols) as isize } else { 0 }
    }

    fn rows(&self) -> usize {
        let [height, width] = self.size();
        (self.n * height * width) as usize
    }

    fn image(&self, seed: u64) -> Vec<f32> {
        numbers((self.n * self.image_steps()[0]) as usize, seed)
    }

    /// Every term: row of windows, tap, and where the pixel lies.
    fn terms(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let ([height, width], [image, row, pixel]) = (self.size(), self.image_steps());
        let conv = *self;
        (0..self.rows() as i64).flat_map(move |at| {
            let (b, y, x) = (at / (height * width), at / width % height, at % width);
            (0..9).filter_map(move |tap| {
                let [y, x] = [y + tap / 3 - conv.pad[0][0], x + tap % 3 - conv.pad[1][0]];
                let inside = (0..conv.extent[0]).contains(&y) && (0..conv.extent[1]).contains(&x);
                inside.then_some((at as usize, tap as usize, (b * image + y * row + x * pixel) as usize))
            })
        })
    }
}

const UNTOUCHED: f32 = 12345.0;

/// The windows, so many parts of whole squares in a call; the taps in one go or in parts.
fn computed(isa: Isa, conv: &Conv, x: *const f32, w: *const f32, parts: usize) -> Vec<f32> {
    let windows = conv.windows();
    let (channels, cols) = (conv.channels as usize, conv.cols as usize);
    let mut packed = vec![f32::NAN; ahead_len(channels, cols)];
    let (a, b) = (x.wrapping_offset(conv.origin()), w.wrapping_offset(conv.first_tap()));
    let columns = if parts == 1 { cols } else { MAX_NR };
    for from in (0..cols).step_by(columns) {
        // SAFETY: the taps lie there, and there is room for all of them.
        unsafe { taps(isa, &windows, from, cols.min(from + columns), b, packed.as_mut_ptr()) };
    }
    let (all, whole) = (conv.rows(), winograd_rows(conv.size().map(|size| size as usize)));
    let step = (all / whole).div_ceil(parts) * whole;
    let mut c = vec![UNTOUCHED; (all + 1) * cols];
    for lo in (0..all).step_by(step) {
        let hi = all.min(lo + step);
        let mut workspace = vec![f32::NAN; workspace_len(channels)];
        let c = c[lo * cols..].as_mut_ptr();
        // SAFETY: the windows name pixels, and C has these rows.
        unsafe {
            product(isa, &windows, lo, hi, a, b, packed.as_ptr(), c, core::ptr::null(), 0, workspace.as_mut_ptr())
        };
    }
    assert!(c.drain(all * cols..).all(|x| x == UNTOUCHED), "nothing is written after the last row");
    c
}

/// The gradient of the taps, so many rows of positions in a call, and part by part but for all of them.
fn gradient_of(isa: Isa, conv: &Conv, x: *const f32, dy: *const f32, rows: usize) -> Vec<f32> {
    let windows = conv.of_gradient();
    let (channels, cols) = (conv.channels as usize, conv.cols as usize);
    let parts = windows.parts();
    let mut ahead = vec![f32::NAN; parts * ahead_len(channels, cols)];
    let a = x.wrapping_offset(conv.origin());
    let step = if rows == SIDE { usize::MAX } else { 1 };
    for (first, from) in
        (0..parts).step_by(step).flat_map(|first| (0..SIDE).step_by(rows).map(move |from| (first, from)))
    {
        let mut workspace = vec![f32::NAN; sums_workspace_len(channels, cols)];
        let (to, ahead, workspace) = (SIDE.min(from + rows), ahead.as_mut_ptr(), workspace.as_mut_ptr());
        // SAFETY: the windows name elements of both operands, and there is room for the sums of all parts.
        unsafe { sums(isa, &windows, first, first.saturating_add(step), from, to, a, dy, ahead, workspace) };
    }
    for from in (0..SIDE).step_by(rows) {
        // SAFETY: the sums of all parts were made.
        unsafe { fold(isa, &windows, from, SIDE.min(from + rows), ahead.as_mut_ptr()) };
    }
    let all = 9 * channels;
    let mut c = vec![UNTOUCHED; (all + 1) * cols];
    for lo in (0..all).step_by(all / rows) {
        // SAFETY: the sums were made, and C has these rows.
        unsafe {
            let c = c[lo * cols..].as_mut_ptr();
            gradient(isa, &windows, lo, all.min(lo + all / rows), a, dy, ahead.as_ptr(), c);
        };
    }
    assert!(c.drain(all * cols..).all(|x| x == UNTOUCHED), "nothing is written after the last row");
    c
}

/// Both products in f64.
fn exact(conv: &Conv, x: &[f32], w: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
    let (channels, cols) = (conv.channels as usize, conv.cols as usize);
    let mut forward = vec![0.0; conv.rows() * cols];
    let mut backward = vec![0.0; 9 * channels * cols];
    for (row, tap, pixel) in conv.terms() {
        for k in 0..channels {
            let x = f64::from(x[pixel + k]);
            for n in 0..cols {
                let at = match conv.turned {
                    true => ((8 - tap) * cols + n) * channels + k,
                    false => (tap * channels + k) * cols + n,
                };
                forward[row * cols + n] += x * f64::from(w[at]);
                backward[(tap * channels + k) * cols + n] += x * f64::from(dy[row * cols + n]);
            }
        }
    }
    [forward, backward]
}

/// Every number is as near as a sum of so many products of numbers below 1 is.
fn close(wanted: &[f64], found: &[f32], terms: usize, what: &str) {
    assert_eq!(wanted.len(), found.len());
    for (at, (&wanted, &found)) in wanted.iter().zip(found).enumerate() {
        let error = (f64::from(found) - wanted).abs();
        assert!(error <= 1e-6 * (terms as f64).sqrt() + 1e-6, "{what}, element {at}: {found}, not {wanted}");
    }
}

/// How many convolutions are tried: few on aarch64, which is an emulator as a rule.
const CONVOLUTIONS: u64 = if cfg!(target_arch = "aarch64") { 8 } else { 60 };

#[test]
fn windows_and_gradients_are_sums_of_products_in_any_cut() {
    let mut random = Random(7);
    for seed in 0..CONVOLUTIONS {
        let conv = Conv::random(&mut random);
        let (channels, cols) = (conv.channels as usize, conv.cols as usize);
        let (x, w) = (conv.image(seed), numbers(9 * channels * cols, seed + 100));
        let dy = numbers(conv.rows() * cols, seed + 200);
        let wanted = exact(&conv, &x, &w, &dy);
        let mut bits: [Option<Vec<u32>>; 2] = [None, None];
        for isa in Isa::available() {
            for parts in [1, 4] {
                let what = format!("{conv:?}, {isa:?}, in {parts}");
                let found = [
                    computed(isa, &conv, x.as_ptr(), w.as_ptr(), parts),
                    gradient_of(isa, &conv, x.as_ptr(), dy.as_ptr(), SIDE / parts),
                ];
                close(&wanted[0], &found[0], 9 * channels, &what);
                close(&wanted[1], &found[1], conv.rows(), &what);
                for (bits, found) in bits.iter_mut().zip(&found).filter(|_| isa.fuses()) {
                    let found: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
                    assert!(*bits.get_or_insert_with(|| found.clone()) == found, "{what}: other bits");
                }
            }
        }
    }
}

#[test]
fn errors_are_no_larger_than_those_of_direct_sums() {
    let conv = Conv { n: 2, extent: [16, 16], pad: [[1, 1]; 2], channels: 32, cols: 32, part: 1, turned: false };
    let (channels, cols) = (32, 32);
    let (x, w) = (conv.image(1), numbers(9 * channels * cols, 2));
    let dy = numbers(conv.rows() * cols, 3);
    let [wanted, _] = exact(&conv, &x, &w, &dy);
    let mut direct = vec![0.0f32; conv.rows() * cols];
    for (row, tap, pixel) in conv.terms() {
        for k in 0..channels {
            for n in 0..cols {
                direct[row * cols + n] += x[pixel + k] * w[(tap * channels + k) * cols + n];
            }
        }
    }
    let error = |found: &[f32]| {
        let squares = found.iter().zip(&wanted).map(|(&found, &wanted)| (f64::from(found) - wanted).powi(2));
        (squares.sum::<f64>() / wanted.len() as f64).sqrt()
    };
    let direct = error(&direct);
    for isa in Isa::available() {
        let own = error(&computed(isa, &conv, x.as_ptr(), w.as_ptr(), 1));
        assert!(own <= direct, "{isa:?}: {own} beside {direct}");
    }
}

#[test]
fn what_is_finite_as_a_direct_sum_is_finite_and_an_infinite_pixel_reaches_its_windows_alone() {
    let mut random = Random(5);
    for seed in 0..CONVOLUTIONS / 6 {
        let conv = Conv { extent: [random.among(3, 9), random.among(3, 9)], ..Conv::random(&mut random) };
        let (channels, cols) = (conv.channels as usize, conv.cols as usize);
        let mut x = conv.image(seed);
        // Two pixels beside each other overflow in the transforms: no product with a tap does.
        for x in x.chunks_mut(7) {
            x[0] = f32::MAX.copysign(x[0]);
        }
        let spoilt = random.below(x.len() as u64) as usize;
        let (w, dy) = (numbers(9 * channels * cols, seed + 100), numbers(conv.rows() * cols, seed + 200));
        let [w, dy] = [w, dy].map(|numbers| numbers.into_iter().map(|x| x * 1e-5).collect::<Vec<f32>>());
        for x_of_spoilt in [x[spoilt], f32::INFINITY] {
            x[spoilt] = x_of_spoilt;
            let wanted = exact(&conv, &x, &w, &dy);
            for isa in Isa::available() {
                let found = [
                    computed(isa, &conv, x.as_ptr(), w.as_ptr(), 1),
                    gradient_of(isa, &conv, x.as_ptr(), dy.as_ptr(), SIDE),
                ];
                for (wanted, found) in wanted.iter().zip(&found) {
                    for (&wanted, &found) in wanted.iter().zip(found) {
                        let largest = f64::from(f32::MAX);
                        let close = (f64::from(found) - wanted).abs() <= 1e-5 * largest;
                        assert!(close || found == wanted as f32, "{conv:?}, {isa:?}: {found}, not {wanted}");
                    }
                }
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
        let conv = Conv::random(&mut random);
        let (channels, cols) = (conv.channels as usize, conv.cols as usize);
        let (x, w) = (conv.image(seed), numbers(9 * channels * cols, seed + 100));
        let dy = numbers(conv.rows() * cols, seed + 200);
        let wanted = exact(&conv, &x, &w, &dy);
        for (isa, after) in Isa::available().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
            let [x, w, dy] = [&x, &w, &dy].map(|values| Guarded::new(values, after));
            let what = format!("{conv:?} under {isa:?}");
            close(&wanted[0], &computed(isa, &conv, x.data, w.data, 1), 9 * channels, &what);
            close(&wanted[1], &gradient_of(isa, &conv, x.data, dy.data, SIDE), conv.rows(), &what);
        }
    }
}
