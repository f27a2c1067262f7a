//! Products of windows, forward and backward, as machine code against the interpreter: whatever the channels, sizes, strides,
//! paddings and groups, on every instruction set, with the same bits for any threads and batches.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::init::Random;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, Window};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::budget::cases;
use crate::compiled::{Compiled, agrees, with_isa};
use crate::draw;
use crate::handmade::{input, output, parameter, weighted_loss};

/// A convolution of images `[B, H, W, C]`.
#[derive(Clone, Copy, Debug)]
struct Conv {
    size: [usize; 2],
    channels: usize,
    outputs: usize,
    groups: usize,
    windows: [Window; 2],
}

impl Conv {
    /// Of images of this size, padded so that a window of this many taps keeps it.
    fn same(size: usize, channels: usize, outputs: usize, taps: usize) -> Conv {
        let window = Window { before: taps / 2, after: taps / 2, ..Window::of(taps) };
        Conv { size: [size; 2], channels, outputs, groups: 1, windows: [window; 2] }
    }

    fn random(seed: u64) -> Conv {
        let mut random = Random::new(seed, 1);
        let mut among = |least: usize, most: usize| least + random.below((most - least + 1) as u64) as usize;
        loop {
            let size = [among(1, 17), among(1, 17)];
            let mut window = || {
                let (size, stride, dilation) = (among(1, 5), among(1, 3), among(1, 2));
                Window { size, stride, dilation, before: among(0, 3), after: among(0, 3) }
            };
            let windows = [window(), window()];
            let (channels, outputs) = (among(1, 19), among(1, 19));
            let groups = match among(0, 3) {
                0 => (1..=channels).rev().find(|groups| channels % groups == 0 && outputs % groups == 0).unwrap_or(1),
                _ => 1,
            };
            if (0..2).all(|axis| windows[axis].positions(size[axis]).is_ok()) {
                return Conv { size, channels, outputs, groups, windows };
            }
        }
    }

    fn weight_shape(&self) -> Vec<usize> {
        let kernel = self.windows.map(|window| window.size);
        let [c, o] = [self.channels, self.outputs].map(|count| count / self.groups);
        match self.groups {
            1 => [kernel[0], kernel[1], c, o].to_vec(),
            groups => vec![groups, kernel[0], kernel[1], c, o],
        }
    }

    fn apply(&self, b: &mut Builder, x: NodeId, w: NodeId) -> NodeId {
        let mut x = x;
        if self.groups > 1 {
            let mut dims = b.shape(x).0;
            dims.splice(3..4, [self.groups, self.channels / self.groups].map(Dim::Fixed));
            x = b.reshape(x, Shape(dims));
        }
        let rows = b.patches(x, 1, self.windows[0], 0.0);
        let both = b.patches(rows, 3, self.windows[1], 0.0);
        if self.groups == 1 {
            return b.product(both, w, DotAxes { batch: vec![], contracted: vec![(2, 0), (4, 1), (5, 2)] });
        }
        let product = b.product(both, w, DotAxes { batch: vec![(5, 0)], contracted: vec![(2, 1), (4, 2), (6, 3)] });
        let turned = b.transpose(product, &[1, 2, 3, 0, 4]);
        let mut dims = b.shape(turned).0;
        dims.splice(3..5, [Dim::Fixed(self.outputs)]);
        b.reshape(turned, Shape(dims))
    }

    /// Shifted images, their convolution, a bias and a maximum with zero; and all gradients.
    fn graph(&self) -> Graph {
        let mut b = Builder::new(Graph::default());
        let x = input(&mut b, "x", batch(&[self.size[0], self.size[1], self.channels]));
        let shift = parameter(&mut b, "shift", &[self.size[0], self.size[1], self.channels]);
        let w = parameter(&mut b, "w", &self.weight_shape());
        let bias = parameter(&mut b, "bias", &[self.outputs]);
        let shape = b.shape(x);
        let shift = b.broadcast(shift, &shape, &[1, 2, 3]);
        let moved = b.add(x, shift);
        let y = self.apply(&mut b, moved, w);
        let shape = b.shape(y);
        let bias = b.broadcast(bias, &shape, &[3]);
        let y = b.add(y, bias);
        let zero = b.constant_like(0.0, y);
        let y = b.max(y, zero);
        output(&mut b, Role::Output(0), y);
        weighted_loss(&mut b, y);
        differentiate(&b.finish(), &[0, 1, 2])
    }
}

fn batch(extents: &[usize]) -> TensorType {
    TensorType::f32(Shape(std::iter::once(Dim::B).chain(extents.iter().map(|&extent| Dim::Fixed(extent))).collect()))
}

#[test]
fn convolutions_and_their_gradients_compute_what_the_interpreter_computes() {
    let (mut compared, cases) = (0, cases(120));
    for seed in 0..cases {
        let conv = Conv::random(seed);
        let graph = conv.graph();
        let mut compiled = [Compiled::new(&graph, 9)];
        for batch in [1, 1 + seed as usize % 9] {
            compared += u64::from(agrees(&format!("{conv:?}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases, "{compared} were compared");
}

#[test]
fn convolutions_run_on_every_instruction_set() {
    for seed in 0..cases(30) {
        let conv = Conv::random(1000 + seed);
        let graph = conv.graph();
        let compile = |isa| with_isa(isa, || Compiled::new(&graph, 3));
        let mut compiled: Vec<Compiled> = Isa::available().into_iter().map(compile).collect();
        agrees(&format!("{conv:?} under every instruction set"), &graph, &mut compiled, 3, seed);
    }
}

#[test]
fn convolutions_have_the_same_bits_for_any_threads_and_batches() {
    for seed in 0..cases(30) {
        let conv = Conv::random(2000 + seed);
        let graph = conv.graph();
        let batch = 1 + seed as usize % 5;
        let values = draw::singles(&draw::values(&graph, batch, seed));
        let bits = Compiled::new(&graph, batch).run(batch, &values).bits();
        for (threads, max_batch) in [(1, 40), (2, batch), (3, 9)] {
            let shared = Compiled::for_threads(&graph, max_batch, threads).run(batch, &values).bits();
            assert!(shared == bits, "{conv:?}, {batch} images, {threads} threads, up to {max_batch}\n{graph}");
        }
    }
}

/// The kernels of a graph with one result, without the sums of what they cost.
fn kernels(build: impl FnOnce(&mut Builder) -> NodeId) -> String {
    let mut b = Builder::new(Graph::default());
    let result = build(&mut b);
    output(&mut b, Role::Output(0), result);
    let text = fuse(&simplify(&b.finish())).to_string();
    text[..text.find("in all:").expect("the sums come last")].to_string()
}

#[test]
fn a_convolution_is_a_product_read_in_runs() {
    assert_snapshot!(kernels(|b| {
        let x = input(b, "x", batch(&[8, 8, 3]));
        let w = parameter(b, "w", &[3, 3, 3, 16]);
        let y = Conv::same(8, 3, 16, 3).apply(b, x, w);
        let zero = b.constant_like(0.0, y);
        b.max(y, zero)
    }), @"
    kernel 0: 64*B x 16, 56,320*B FLOP, 4,864*B + 1,728 bytes
      %4 = dot x[b, i+l-1, j+m-1, n], w[l, m, n, k] over l 3, m 3, n 3 : f32[B,8,8,16]
      %5 = max %4, 0 : f32[B,8,8,16]
      materialize %5                                                 # output y
    ");
}

#[test]
fn the_gradient_of_a_window_is_a_product_over_images() {
    assert_snapshot!(kernels(|b| {
        let (x, dy) = (input(b, "x", batch(&[8, 8, 3])), input(b, "dy", batch(&[4, 4, 16])));
        let window = Window { stride: 2, before: 1, ..Window::of(3) };
        let rows = b.patches(x, 1, window, 0.0);
        let both = b.patches(rows, 3, window, 0.0);
        b.apply(Op::Dot(DotAxes { batch: vec![], contracted: vec![(0, 0), (1, 1), (3, 2)] }), &[both, dy])
    }), @"
    kernel 0: 27 x 16, 13,824*B FLOP, 1,792*B + 1,728 bytes
      %4 = dot x[b, i+2*m-1, j+2*n-1, k], dy[b, m, n, l] over b B, m 4, n 4 : f32[3,3,3,16]
      materialize %4                                                 # output y
    ");
}
