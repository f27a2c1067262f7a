//! Images: convolutions and pooling, by loops over what is under each window.

use gradloom_runtime::layers::Arg;

use super::Evaluator;
use super::array::Array;

/// A window over both axes of an image, and how it moves.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    dilation: [usize; 2],
    /// Zeros after the last position, in addition to as many as before the first.
    more: [usize; 2],
}

/// A number for both axes, or two.
fn both(arg: Arg) -> [usize; 2] {
    match arg {
        Arg::Int(n) => [n as usize; 2],
        Arg::Pair(height, width) => [height as usize, width as usize],
        other => panic!("wanted extents, found {other:?}"),
    }
}

impl Window {
    fn of(kernel: Arg, stride: Arg, pad: Arg, dilation: Arg) -> Window {
        let (kernel, dilation) = (both(kernel), both(dilation));
        let stride = if stride == Arg::Word("kernel") { kernel } else { both(stride) };
        let around = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1));
        let (pad, more) = match pad {
            Arg::Word("same") => (around.map(|around| around / 2), around.map(|around| around % 2)),
            pad => (both(pad), [0; 2]),
        };
        Window { kernel, stride, pad, dilation, more }
    }

    fn positions(&self, extent: usize, axis: usize) -> usize {
        let padded = extent + 2 * self.pad[axis] + self.more[axis];
        (padded - self.dilation[axis] * (self.kernel[axis] - 1) - 1) / self.stride[axis] + 1
    }

    /// Where a tap is over the image, along one axis.
    fn over(&self, axis: usize, position: usize, tap: usize, extent: usize) -> Option<usize> {
        let at = position * self.stride[axis] + tap * self.dilation[axis];
        at.checked_sub(self.pad[axis]).filter(|&at| at < extent)
    }

    /// For a position of the window, every tap that is over the image, as its number and the element under it.
    fn under(&self, [i, j]: [usize; 2], [height, width]: [usize; 2]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for u in 0..self.kernel[0] {
            for v in 0..self.kernel[1] {
                if let (Some(y), Some(x)) = (self.over(0, i, u, height), self.over(1, j, v, width)) {
                    found.push((u * self.kernel[1] + v, y * width + x));
                }
            }
        }
        found
    }
}

impl Evaluator<'_> {
    pub(super) fn conv2d(&self, path: &str, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let &[Arg::Int(n), kernel, stride, pad, dilation, Arg::Int(groups), bias, _] = args else {
            panic!("a convolution has eight arguments")
        };
        let window = Window::of(kernel, stride, pad, dilation);
        let (n, groups) = (n as usize, groups as usize);
        let weight = self.param(path, "weight");
        let bias = if bias == Arg::Flag(true) { self.param(path, "bias").data } else { vec![0.0; n] };
        let [rows, channels, height, width] = x.shape[..] else { panic!("an image has four axes") };
        let (per_group, taps) = (channels / groups, window.kernel[0] * window.kernel[1]);
        assert_eq!(weight.shape, [n, per_group, window.kernel[0], window.kernel[1]]);
        let (h, w) = (window.positions(height, 0), window.positions(width, 1));
        let mut y = Vec::new();
        for row in 0..rows {
            for (o, bias) in bias.iter().enumerate() {
                for at in 0..h * w {
                    let mut sum = *bias;
                    for c in 0..per_group {
                        let image = (row * channels + o / (n / groups) * per_group + c) * height * width;
                        for (tap, element) in window.under([at / w, at % w], [height, width]) {
                            sum += weight.data[(o * per_group + c) * taps + tap] * x.data[image + element];
                        }
                    }
                    y.push(sum);
                }
            }
        }
        Array::new(&[rows, n, h, w], y)
    }

    /// What `reduce` makes of the numbers under each window, given how many taps that has.
    fn pool(&mut self, args: &[Arg], x: &Array<f64>, reduce: impl Fn(&mut Self, &[f64], usize) -> f64) -> Array<f64> {
        let &[kernel, stride, pad] = args else { panic!("pooling has three arguments") };
        let window = Window::of(kernel, stride, pad, Arg::Int(1));
        let [rows, channels, height, width] = x.shape[..] else { panic!("an image has four axes") };
        let (h, w) = (window.positions(height, 0), window.positions(width, 1));
        let mut y = Vec::new();
        for image in x.data.chunks(height * width) {
            for at in 0..h * w {
                let under = window.under([at / w, at % w], [height, width]);
                let numbers: Vec<f64> = under.into_iter().map(|(_, element)| image[element]).collect();
                y.push(reduce(self, &numbers, window.kernel[0] * window.kernel[1]));
            }
        }
        Array::new(&[rows, channels, h, w], y)
    }

    pub(super) fn max_pool(&mut self, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        self.pool(args, x, |evaluator, numbers, _| numbers[evaluator.decisions.largest(numbers)])
    }

    pub(super) fn avg_pool(&mut self, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        self.pool(args, x, |_, numbers, taps| numbers.iter().sum::<f64>() / taps as f64)
    }

    /// One number for every channel.
    pub(super) fn global_pool(&mut self, is_max: bool, x: &Array<f64>) -> Array<f64> {
        let positions = x.shape[2..].iter().product::<usize>();
        let y = x.data.chunks(positions).map(|numbers| match is_max {
            true => numbers[self.decisions.largest(numbers)],
            false => numbers.iter().sum::<f64>() / positions as f64,
        });
        Array::new(&x.shape[..2], y.collect())
    }
}
