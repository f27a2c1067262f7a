//! Images and signals: what is known of them taken off, augmentation, convolutions, their adjoints, pooling, enlargement, norms of
//! groups, by loops over elements.

use gradloom_runtime::layers::{Arg, Mode};

use super::Evaluator;
use super::array::Array;
use super::stages::{channel, moments, uniform};

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

/// Each channel without its mean, in units of its deviation.
pub(super) fn normalized(args: &[Arg], x: &Array<f64>) -> Array<f64> {
    let of = |arg: Arg, at: usize| match arg {
        Arg::Float(number) => number,
        Arg::Numbers(list) => list[channel(&x.shape, at)],
        other => panic!("wanted numbers, found {other:?}"),
    };
    let numbers = x.data.iter().enumerate().map(|(at, x)| (x - of(args[0], at)) / of(args[1], at));
    Array::new(&x.shape, numbers.collect())
}

fn convolved(window: &Window, weight: &Array<f64>, bias: &[f64], groups: usize, x: &Array<f64>) -> Array<f64> {
    let n = bias.len();
    let [rows, channels, height, width] = x.shape[..] else { panic!("an image has four axes") };
    let (per_group, taps) = (channels / groups, window.kernel[0] * window.kernel[1]);
    assert_eq!(weight.shape, [n, per_group, window.kernel[0], window.kernel[1]]);
    let (h, w) = (window.positions(height, 0), window.positions(width, 1));
    let under: Vec<_> = (0..h * w).map(|at| window.under([at / w, at % w], [height, width])).collect();
    let mut y = Vec::new();
    for row in 0..rows {
        for (o, bias) in bias.iter().enumerate() {
            for under in &under {
                let mut sum = *bias;
                for c in 0..per_group {
                    let image = (row * channels + o / (n / groups) * per_group + c) * height * width;
                    for &(tap, element) in under {
                        sum += weight.data[(o * per_group + c) * taps + tap] * x.data[image + element];
                    }
                }
                y.push(sum);
            }
        }
    }
    Array::new(&[rows, n, h, w], y)
}

impl Evaluator<'_> {
    pub(super) fn conv2d(&self, path: &str, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let &[Arg::Int(n), kernel, stride, pad, dilation, Arg::Int(groups), bias, _] = args else {
            panic!("a convolution has eight arguments")
        };
        let window = Window::of(kernel, stride, pad, dilation);
        let bias = self.bias(path, bias, n);
        convolved(&window, &self.param(path, "weight"), &bias, groups as usize, x)
    }

    /// As of an image that is one position high.
    pub(super) fn conv1d(&self, path: &str, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let &[Arg::Int(n), Arg::Int(kernel), Arg::Int(stride), pad, Arg::Int(dilation), Arg::Int(groups), bias, _] =
            args
        else {
            panic!("a convolution has eight arguments")
        };
        let pad = match pad {
            Arg::Int(pad) => Arg::Pair(0, pad),
            same => same,
        };
        let window = Window::of(Arg::Pair(1, kernel), Arg::Pair(1, stride), pad, Arg::Pair(1, dilation));
        let high = |array: &Array<f64>| {
            let [first, second, third] = array.shape[..] else { panic!("a signal has three axes") };
            Array::new(&[first, second, 1, third], array.data.clone())
        };
        let weight = high(&self.param(path, "weight"));
        let y = convolved(&window, &weight, &self.bias(path, bias, n), groups as usize, &high(x));
        Array::new(&[y.shape[0], y.shape[1], y.shape[3]], y.data)
    }

    /// Every element that comes in is added, times the weights, to what is under its window.
    pub(super) fn conv_transpose2d(&self, path: &str, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let &[Arg::Int(n), kernel, stride, pad, more, dilation, Arg::Int(groups), bias, _] = args else {
            panic!("a transposed convolution has nine arguments")
        };
        let [kernel, stride, pad, more, dilation] = [kernel, stride, pad, more, dilation].map(both);
        let (n, groups) = (n as usize, groups as usize);
        let weight = self.param(path, "weight");
        let [rows, channels, height, width] = x.shape[..] else { panic!("an image has four axes") };
        let (into, from) = (n / groups, channels / groups);
        let grown = [height, width].into_iter().enumerate().map(|(axis, extent)| {
            (extent - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + more[axis] + 1 - 2 * pad[axis]
        });
        let grown: Vec<usize> = grown.collect();
        let mut y = Array::new(&[rows, n, grown[0], grown[1]], vec![0.0; rows * n * grown[0] * grown[1]]);
        for (at, number) in x.data.iter().enumerate() {
            let (q, p) = (at % width, at / width % height);
            let (c, row) = (at / (width * height) % channels, at / (width * height * channels));
            for (tap, o) in (0..kernel[0] * kernel[1]).flat_map(|tap| (0..into).map(move |o| (tap, o))) {
                let place = [(p, tap / kernel[1]), (q, tap % kernel[1])];
                let place = [0, 1].map(|axis| {
                    let at = place[axis].0 * stride[axis] + place[axis].1 * dilation[axis];
                    at.checked_sub(pad[axis]).filter(|&at| at < grown[axis])
                });
                if let [Some(i), Some(j)] = place {
                    let channel = row * n + c / from * into + o;
                    let weight = weight.data[(c * into + o) * kernel[0] * kernel[1] + tap];
                    y.data[(channel * grown[0] + i) * grown[1] + j] += weight * number;
                }
            }
        }
        let bias = self.bias(path, bias, n as u64);
        let positions = grown[0] * grown[1];
        y.data.iter_mut().enumerate().for_each(|(at, number)| *number += bias[at / positions % n]);
        y
    }

    fn bias(&self, path: &str, bias: Arg, n: u64) -> Vec<f64> {
        if bias == Arg::Flag(true) { self.param(path, "bias").data } else { vec![0.0; n as usize] }
    }

    pub(super) fn upsample(&self, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let &[factor, Arg::Word(mode)] = args else { panic!("two arguments") };
        let [down, along] = both(factor);
        let [rows, channels, height, width] = x.shape[..] else { panic!("an image has four axes") };
        // Where the middle of a new position is among the old ones, and the two nearest of these.
        let between = |at: usize, factor: usize, extent: usize| {
            let middle = ((at as f64 + 0.5) / factor as f64 - 0.5).max(0.0);
            let near = middle.floor() as usize;
            (near, (near + 1).min(extent - 1), middle - middle.floor())
        };
        let mut y = Vec::new();
        for image in x.data.chunks(height * width) {
            for (i, j) in (0..down * height).flat_map(|i| (0..along * width).map(move |j| (i, j))) {
                if mode == "nearest" {
                    y.push(image[i / down * width + j / along]);
                    continue;
                }
                let (top, bottom, low) = between(i, down, height);
                let (left, right, far) = between(j, along, width);
                let row = |row: usize| (1.0 - far) * image[row * width + left] + far * image[row * width + right];
                y.push((1.0 - low) * row(top) + low * row(bottom));
            }
        }
        Array::new(&[rows, channels, down * height, along * width], y)
    }

    pub(super) fn group_norm(&self, path: &str, args: &[Arg], x: &Array<f64>) -> Array<f64> {
        let &[Arg::Int(groups), Arg::Float(eps)] = args else { panic!("two arguments") };
        let size = x.shape[1..].iter().product::<usize>() / groups as usize;
        let groups = x.data.chunks(size).flat_map(|group| {
            let (mean, variance) = moments(group);
            group.iter().map(|x| (x - mean) / (variance + eps).sqrt()).collect::<Vec<f64>>()
        });
        let normalized = Array::new(&x.shape, groups.collect());
        self.scaled(path, normalized, |at| channel(&x.shape, at))
    }

    /// Of every image what is `u` and `v` positions further than its padding, two numbers of its own.
    pub(super) fn random_crop(&self, path: &str, pad: Arg, x: Array<f64>) -> Array<f64> {
        let pad = both(pad);
        if self.mode != Mode::Train || pad == [0, 0] {
            return x;
        }
        let key = self.values.keys[path];
        Array::of(&x.shape, |place| {
            let from = [0, 1].map(|axis| {
                let chosen = (uniform(key, [place[0], axis]) * (2 * pad[axis] + 1) as f64) as usize;
                (place[2 + axis] + chosen).checked_sub(pad[axis]).filter(|&at| at < x.shape[2 + axis])
            });
            match from {
                [Some(i), Some(j)] => x.at(&[place[0], place[1], i, j]),
                _ => 0.0,
            }
        })
    }

    /// Some images from right to left.
    pub(super) fn random_flip(&self, path: &str, p: f64, x: Array<f64>) -> Array<f64> {
        if self.mode != Mode::Train || p == 0.0 {
            return x;
        }
        let key = self.values.keys[path];
        Array::of(&x.shape, |place| {
            let mut from = place.to_vec();
            if uniform(key, [place[0], 0]) < p {
                from[3] = x.shape[3] - 1 - from[3];
            }
            x.at(&from)
        })
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
