//! Products of windows, forward and backward, as machine code against the interpreter: whatever the channels, sizes, strides,
//! paddings and groups, on every instruction set, with the same bits for any threads and batches.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::{fuse, fuse_legalized, legalize};
use gradloom_runtime::init::Random;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, Window};
use gradloom_runtime::kernel::WinogradUse;
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::matmul::RunsLeft;
use gradloom_runtime::tiling::{KernelTiling, Machine, UnitRows, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::budget::cases;
use crate::compiled::{Compiled, agrees, with_isa, with_winograd};
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

    /// With enough channels, and of windows, that products are computed in the form of Winograd; but with any edges.
    fn in_squares(seed: u64) -> Conv {
        let mut random = Random::new(seed, 2);
        let mut among = |least: usize, most: usize| least + random.below((most - least + 1) as u64) as usize;
        let size = [among(8, 13), among(8, 13)];
        let windows = [(); 2].map(|()| Window { before: among(0, 2), after: among(0, 2), ..Window::of(3) });
        let (channels, outputs) = (16 * among(1, 2), 16 * among(1, 2));
        Conv { size, channels, outputs, groups: 1, windows }
    }

    /// The same of any size: few squares, or one row of them, do not pay.
    fn in_few_squares(seed: u64) -> Conv {
        let mut random = Random::new(seed, 4);
        let mut among = |least: usize, most: usize| least + random.below((most - least + 1) as u64) as usize;
        loop {
            let size = [among(1, 15), among(1, 15)];
            let conv = Conv { size, ..Conv::in_squares(among(0, 1000) as u64) };
            if (0..2).all(|axis| conv.windows[axis].positions(size[axis]).is_ok()) {
                return conv;
            }
        }
    }

    /// Of one channel, so that the terms of a row are few and lie apart.
    fn of_one_channel(seed: u64) -> Conv {
        let mut random = Random::new(seed, 3);
        let outputs = 16 * (1 + random.below(2) as usize);
        Conv { channels: 1, outputs, groups: 1, ..Conv::random(3000 + seed) }
    }

    /// Of any number of channels, each of which has one output that sees no other.
    fn by_channel(seed: u64) -> Conv {
        let channels = 2 + Random::new(seed, 5).below(40) as usize;
        Conv { channels, outputs: channels, groups: channels, ..Conv::random(4000 + seed) }
    }

    fn is_by_channel(&self) -> bool {
        self.groups > 1 && self.groups == self.channels && self.groups == self.outputs
    }

    fn weight_shape(&self) -> Vec<usize> {
        let kernel = self.windows.map(|window| window.size);
        if self.is_by_channel() {
            return [kernel[0], kernel[1], self.channels].to_vec();
        }
        let [c, o] = [self.channels, self.outputs].map(|count| count / self.groups);
        match self.groups {
            1 => [kernel[0], kernel[1], c, o].to_vec(),
            groups => vec![groups, kernel[0], kernel[1], c, o],
        }
    }

    fn apply(&self, b: &mut Builder, x: NodeId, w: NodeId) -> NodeId {
        let mut x = x;
        if self.is_by_channel() {
            let rows = b.patches(x, 1, self.windows[0], 0.0);
            let both = b.patches(rows, 3, self.windows[1], 0.0);
            let shape = b.shape(both);
            let w = b.broadcast(w, &shape, &[2, 4, 5]);
            let products = b.mul(both, w);
            return b.sum(products, &[2, 4]);
        }
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
        self.graph_with(|b, y| {
            let zero = b.constant_like(0.0, y);
            b.max(y, zero)
        })
    }

    /// The same with another function of the convolution.
    fn graph_with(&self, last: impl FnOnce(&mut Builder, NodeId) -> NodeId) -> Graph {
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
        let y = last(&mut b, y);
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
        let conv = match seed % 5 {
            0 => Conv::of_one_channel(seed),
            1 => Conv::by_channel(seed),
            _ => Conv::random(seed),
        };
        let graph = conv.graph();
        let mut compiled = [Compiled::new(&graph, 9)];
        for batch in [1, 1 + seed as usize % 9] {
            compared += u64::from(agrees(&format!("{conv:?}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases, "{compared} were compared");
}

#[test]
fn windows_over_many_channels_and_their_gradients_compute_what_the_interpreter_computes() {
    for seed in 0..cases(16) {
        let conv = Conv::in_squares(seed);
        let graph = conv.graph_with(|b, y| b.apply(Op::Tanh, &[y]));
        let batch = 1 + seed as usize % 3;
        let mut compiled: Vec<Compiled> =
            Isa::available().into_iter().map(|isa| with_isa(isa, || Compiled::new(&graph, 3))).collect();
        assert!(agrees(&format!("{conv:?}"), &graph, &mut compiled, batch, seed), "nothing has a kink: {conv:?}");
    }
}

#[test]
fn the_form_of_winograd_computes_what_a_sum_of_products_does_wherever_it_is_possible() {
    let known = [[1, 1], [1, 9], [2, 2], [14, 14], [7, 15]].map(|size| Conv { size, ..Conv::same(1, 16, 16, 3) });
    let random = (0..cases(12)).map(Conv::in_few_squares);
    for (seed, conv) in known.into_iter().chain(random).enumerate() {
        let graph = conv.graph_with(|b, y| b.apply(Op::Tanh, &[y]));
        let uses = [WinogradUse::Never, WinogradUse::Everywhere];
        let texts = uses.map(|used| fuse_legalized(&legalize(&simplify(&graph)), used).to_string());
        let squares = texts.map(|text| text.matches("fast-winograd").count());
        // Forward, by the image, and by the taps.
        assert!(squares[0] == 0 && (2..=3).contains(&squares[1]), "{squares:?} of {conv:?}");
        let mut compiled: Vec<Compiled> = Vec::new();
        for (used, isa) in uses.into_iter().flat_map(|used| Isa::available().into_iter().map(move |isa| (used, isa))) {
            compiled.push(with_winograd(used, || with_isa(isa, || Compiled::new(&graph, 3))));
        }
        let batch = 1 + seed % 3;
        assert!(
            agrees(&format!("{conv:?}"), &graph, &mut compiled, batch, seed as u64),
            "nothing has a kink: {conv:?}"
        );
    }
}

#[test]
fn convolutions_run_on_every_instruction_set() {
    for seed in 0..cases(30) {
        let conv = match seed % 5 {
            0 => Conv::of_one_channel(seed),
            1 | 2 => Conv::by_channel(seed),
            _ => Conv::random(1000 + seed),
        };
        let graph = conv.graph();
        let compile = |isa| with_isa(isa, || Compiled::new(&graph, 3));
        let mut compiled: Vec<Compiled> = Isa::available().into_iter().map(compile).collect();
        agrees(&format!("{conv:?} under every instruction set"), &graph, &mut compiled, 3, seed);
    }
}

#[test]
fn convolutions_have_the_same_bits_for_any_threads_and_batches() {
    for seed in 0..cases(30) {
        let conv = match seed % 5 {
            0 | 1 => Conv::in_squares(seed),
            2 => Conv::of_one_channel(seed),
            3 => Conv::by_channel(seed),
            _ => Conv::random(2000 + seed),
        };
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
fn windows_of_three_taps_over_many_channels_are_multiplied_in_squares() {
    assert_snapshot!(kernels(|b| {
        let x = input(b, "x", batch(&[14, 14, 16]));
        let w = parameter(b, "w", &[3, 3, 16, 32]);
        Conv::same(14, 16, 32, 3).apply(b, x, w)
    }), @"
    kernel 0: 196*B x 32, 1,806,336*B FLOP, 37,632*B + 18,432 bytes
      %4 = dot x[b, i+l-1, j+m-1, n], w[l, m, n, k] over l 3, m 3, n 16 by fast-winograd F(2x2, 3x3) : f32[B,14,14,32]
      materialize %4                                                 # output y
    ");
    assert_snapshot!(kernels(|b| {
        let (x, dy) = (input(b, "x", batch(&[14, 14, 16])), input(b, "dy", batch(&[14, 14, 32])));
        let window = Window { before: 1, after: 1, ..Window::of(3) };
        let rows = b.patches(x, 1, window, 0.0);
        let both = b.patches(rows, 3, window, 0.0);
        b.apply(Op::Dot(DotAxes { batch: vec![], contracted: vec![(0, 0), (1, 1), (3, 2)] }), &[both, dy])
    }), @"
    kernel 0: 144 x 32, 1,806,336*B FLOP, 37,632*B + 18,432 bytes
      %4 = dot x[b, i+m-1, j+n-1, k], dy[b, m, n, l] over b B, m 14, n 14 by fast-winograd F(3x3, 2x2) : f32[3,3,16,32]
      materialize %4                                                 # output y
    ");
}

/// Whether a convolution of images of this size is computed in the form of Winograd.
fn in_squares(conv: Conv) -> bool {
    kernels(|b| {
        let x = input(b, "x", batch(&[conv.size[0], conv.size[1], conv.channels]));
        let w = parameter(b, "w", &conv.weight_shape());
        conv.apply(b, x, w)
    })
    .contains("fast-winograd")
}

/// How the only kernel of a graph runs.
fn tiled(b: Builder, cores: usize) -> KernelTiling {
    let fused = fuse(&simplify(&b.finish()));
    tile(&fused, 4, Machine::of(Isa::Avx2).with_cores(cores)).kernels.remove(0)
}

/// How its left operand is read.
fn left(b: Builder) -> RunsLeft {
    tiled(b, 1).runs_left().expect("it is a product in runs")
}

#[test]
fn patches_of_adjacent_pixels_are_gathered() {
    let forward = |channels: usize, outputs: usize| {
        let mut b = Builder::new(Graph::default());
        let x = input(&mut b, "x", batch(&[8, 8, channels]));
        let w = parameter(&mut b, "w", &[3, 3, channels, outputs]);
        let y = Conv::same(8, channels, outputs, 3).apply(&mut b, x, w);
        output(&mut b, Role::Output(0), y);
        left(b)
    };
    // Pixels of several channels are not adjacent, and tiles read whole registers of columns.
    let found = [forward(1, 16), forward(2, 16), forward(1, 12)];
    assert_eq!(found, [RunsLeft::Gathered(9), RunsLeft::InPlace, RunsLeft::InPlace]);
    let gradient = |planes: usize, outputs: usize| {
        let mut b = Builder::new(Graph::default());
        let (x, dy) = (input(&mut b, "x", batch(&[planes, 8, 8])), input(&mut b, "dy", batch(&[8, 8, outputs])));
        let window = Window { before: 1, after: 1, ..Window::of(3) };
        let rows = b.patches(x, 2, window, 0.0);
        let both = b.patches(rows, 4, window, 0.0);
        let dw = b.apply(Op::Dot(DotAxes { batch: vec![], contracted: vec![(0, 0), (2, 1), (4, 2)] }), &[both, dy]);
        output(&mut b, Role::Output(0), dw);
        b
    };
    // Rows are taps of planes. More than fit a few tiles are read where they lie.
    let found = [gradient(1, 16), gradient(3, 16), gradient(3, 12), gradient(4, 16)].map(left);
    assert_eq!(found, [RunsLeft::GatheredRows(9), RunsLeft::GatheredRows(27), RunsLeft::InPlace, RunsLeft::InPlace]);
    // Threads gather as often as there are units: once for each core.
    for (planes, cores) in [(1, 2), (3, 2), (1, 3), (3, 3)] {
        let units = tiled(gradient(planes, 16), cores).units;
        assert_eq!((units.why, (9 * planes).div_ceil(units.rows)), (UnitRows::Gathered, cores), "{units:?}");
    }
}

#[test]
fn few_channels_other_windows_and_small_images_are_added_up_directly() {
    let conv = Conv::same(8, 16, 16, 3);
    assert!(in_squares(conv));
    let window = conv.windows[0];
    let others = [
        Conv { channels: 8, ..conv },
        Conv { outputs: 24, ..conv },
        Conv { size: [8, 6], ..conv },
        Conv { windows: [window, Window { stride: 2, ..window }], ..conv },
        Conv { windows: [window, Window { dilation: 2, ..window }], ..conv },
        Conv { windows: [window, Window { size: 5, ..window }], ..conv },
    ];
    assert_eq!(others.map(in_squares), [false; 6]);
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

/// The gradient by the image, given that of the result.
fn input_gradient(b: &mut Builder, conv: Conv) -> NodeId {
    let positions = [0, 1].map(|axis| conv.windows[axis].positions(conv.size[axis]).expect("the window fits"));
    let dy = input(b, "dy", batch(&[positions[0], positions[1], conv.outputs]));
    let w = parameter(b, "w", &conv.weight_shape());
    let patches = b.apply(Op::Dot(DotAxes { batch: vec![], contracted: vec![(3, 3)] }), &[dy, w]);
    let patches = b.transpose(patches, &[0, 1, 3, 2, 4, 5]);
    let columns = b.fold(patches, 3, conv.windows[1], conv.size[1]);
    b.fold(columns, 1, conv.windows[0], conv.size[0])
}

#[test]
fn the_gradient_of_an_image_is_a_product_over_windows_of_that_of_the_result() {
    assert_snapshot!(kernels(|b| {
        let gradient = input_gradient(b, Conv::same(8, 3, 16, 3));
        let zero = b.constant_like(0.0, gradient);
        b.max(gradient, zero)
    }), @"
    kernel 0: i 9, j 16, k 3, 432 FLOP, 3,456 bytes
      %7 = add w[i, k, j], -0 : f32[3,3,16,3]
      materialize %7                                                 # for kernel 1: a matmul reads memory
    kernel 1: 64*B x 3, 55,488*B FLOP, 4,864*B + 1,728 bytes         # a matmul
      %14 = dot dy[b, i+l-1, j+m-1, n], %7[-l+2, -m+2, n, k] over l 3, m 3, n 16 : f32[B,8,8,3]
      %15 = max %14, 0 : f32[B,8,8,3]
      materialize %15                                                # output y
    ");
}

#[test]
fn with_strides_it_is_a_product_over_the_taps_of_each_phase() {
    let conv = Conv::same(8, 3, 16, 3);
    let windows = conv.windows.map(|window| Window { stride: 2, ..window });
    assert_snapshot!(kernels(|b| {
        let gradient = input_gradient(b, Conv { windows, ..conv });
        let zero = b.constant_like(0.0, gradient);
        b.max(gradient, zero)
    }), @"
    kernel 0: i 9, j 16, k 3, 432 FLOP, 3,456 bytes
      %9 = add w[i, k, j], -0 : f32[3,3,16,3]
      materialize %9                                                 # for kernel 1: a matmul reads memory
    kernel 1: 64*B x 3, 13,824*B FLOP, 1,792*B + 1,728 bytes         # a matmul
      %15 = dot dy[b, k+n, l+o, p], %9[i-2*n+1, j-2*o+1, p, m] over n 2, o 2, p 16 : f32[B,2,2,4,4,3]
      materialize %15                                                # for kernel 2: dot runs once
    kernel 2: b B, i 4, j 2, k 4, l 2, m 3, 384*B FLOP, 1,536*B bytes # %15 comes from kernel 1, over 64*B x 3
      %18 = add %15[b, j, l, i, k, m], -0 : f32[B,4,2,4,2,3]
      %21 = max %18, 0 : f32[B,8,8,3]
      materialize %21                                                # output y
    ");
}

#[test]
fn with_strides_and_gaps_between_taps_it_is_the_sum_of_taps() {
    let window = Window { size: 3, stride: 2, dilation: 2, before: 2, after: 2 };
    assert_snapshot!(kernels(|b| input_gradient(b, Conv { windows: [window; 2], ..Conv::same(8, 3, 16, 3) })), @"
    kernel 0: i 16, j 9, k 3, 0 FLOP, 3,456 bytes
      materialize w[j, k, i]                                         # for kernel 1: a matmul reads memory
    kernel 1: 16*B x 27, 13,824*B FLOP, 2,752*B + 1,728 bytes        # a matmul
      %5 = dot dy, %3 : f32[16*B,27]
      materialize %5                                                 # for kernel 2: dot runs once
    kernel 2: b 4*B, i 3, j 4, k 2, l 3, m 3, 864*B FLOP, 5,184*B bytes # %5 comes from kernel 1, over 16*B x 27
      %10 = add %5[b, j, i, 3*k+l, m : 0], -0 : f32[B,4,3,4,2,3,3]
      materialize %10                                                # for kernel 3: used in another shape
    kernel 3: b 12*B, i 8, j 3, k 3, 864*B FLOP, 4,608*B bytes       # no kernel over 96*B x 9 has its operands
      %14 = sum %10[b, i-2*j+2, j, k : 0] over 4 : f32[B,4,3,8,3]
      materialize %14                                                # for kernel 4: sum runs once
    kernel 4: b 4*B, i 2, j 24, k 3, 576*B FLOP, 3,456*B bytes       # %14 is known when kernel 3 is done
      %17 = add %14[b, i, j, k : 0], -0 : f32[B,4,2,3,8,3]
      materialize %17                                                # for kernel 5: used in another shape
    kernel 5: b B, i 8, j 3, k 24, 576*B FLOP, 3,072*B bytes         # no kernel over 8*B x 72 has its operands
      %21 = sum %17[b, i-2*j+2, j, k : 0] over 2 : f32[B,8,8,3]
      materialize %21                                                # sum runs once
    ");
}

#[test]
fn the_gradient_of_every_second_pixel_is_read_with_zeros_between() {
    assert_snapshot!(kernels(|b| {
        let dy = input(b, "dy", batch(&[4, 4, 16]));
        let w = parameter(b, "w", &[8, 16]);
        let gradient = b.apply(Op::Dot(DotAxes { batch: vec![], contracted: vec![(3, 1)] }), &[dy, w]);
        let spread = |b: &mut Builder, x, axis| {
            b.apply(Op::Pad { axis, before: 0, inside: 1, after: 1, value: 0.0 }, &[x])
        };
        let rows = spread(b, gradient, 1);
        let both = spread(b, rows, 2);
        let zero = b.constant_like(0.0, both);
        b.max(both, zero)
    }), @"
    kernel 0: 16*B x 8, 4,096*B FLOP, 1,536*B + 512 bytes
      %4 = dot dy, w : f32[16*B,8]
      materialize %4                                                 # for kernel 1: dot runs once
    kernel 1: b 4*B, i 2, j 4, k 8, 256*B FLOP, 1,536*B bytes        # %4 comes from kernel 0, over 16*B x 8
      %8 = add %4[b, i, j, k : 0], -0 : f32[B,4,2,4,8]
      materialize %8                                                 # for kernel 2: used in another shape
    kernel 2: b 32*B, i 2, j 8, 1,024*B FLOP, 3,072*B bytes          # %8 comes from kernel 1, over 32*B x 8
      %12 = add %8[b, i, j : 0], -0 : f32[B,8,4,2,8]
      %14 = max %12, 0 : f32[B,8,8,8]
      materialize %14                                                # output y
    ");
}

#[test]
fn a_transposed_convolution_in_groups_is_a_product_over_windows() {
    assert_snapshot!(kernels(|b| {
        let x = input(b, "x", batch(&[4, 4, 2, 8]));
        let w = parameter(b, "w", &[2, 8, 3, 3, 4]);
        let products = b.apply(Op::Dot(DotAxes { batch: vec![(3, 0)], contracted: vec![(4, 1)] }), &[x, w]);
        let beside = b.transpose(products, &[1, 2, 4, 3, 5, 0, 6]);
        let window = Window { before: 1, after: 1, ..Window::of(3) };
        let columns = b.fold(beside, 3, window, 4);
        b.fold(columns, 1, window, 4)
    }), @"
    kernel 0: i 9, j 16, k 4, 576 FLOP, 4,608 bytes
      %7 = add w[j, i, k], -0 : f32[3,3,2,8,4]
      materialize %7                                                 # for kernel 1: a matmul reads memory
    kernel 1: b B, i 2, j 16, k 4, 18,432*B FLOP, 1,536*B + 2,304 bytes # a matmul
      %15 = dot x[b, j+m-1, k+n-1, i, o], %7[-m+2, -n+2, i, o, l] over m 3, n 3, o 8 : f32[B,2,4,4,4]
      materialize %15 as %17[b, j, i, k]                             # output y
    ");
}

#[test]
fn a_depthwise_convolution_and_its_gradients_are_products_by_column() {
    for (stride, channels, size) in [(1, 16, 8), (2, 16, 8), (2, 5, 9), (3, 7, 8)] {
        let window = Window { stride, before: 1, after: 1, ..Window::of(3) };
        let conv = Conv { size: [size; 2], channels, outputs: channels, groups: channels, windows: [window; 2] };
        let mut b = Builder::new(Graph::default());
        let x = input(&mut b, "x", batch(&[size, size, channels]));
        let (w, shift) = (parameter(&mut b, "w", &conv.weight_shape()), parameter(&mut b, "shift", &[channels]));
        let shape = b.shape(x);
        let shift = b.broadcast(shift, &shape, &[3]);
        let moved = b.add(x, shift);
        let y = conv.apply(&mut b, moved, w);
        let y = b.apply(Op::Tanh, &[y]);
        weighted_loss(&mut b, y);
        let fused = fuse(&simplify(&differentiate(&b.finish(), &[0, 1])));
        let by_column = fused.kernels.iter().filter_map(|kernel| kernel.runs()).filter(|runs| runs.a_col == 1).count();
        // No kernel has an element for every tap over every pixel.
        let most = fused.kernels.iter().map(|kernel| kernel.row_count().at(1) * kernel.cols()).max();
        let pixels = (size + stride).pow(2) * channels;
        assert!(by_column == 3 && most <= Some(pixels), "{by_column}, {most:?} elements of {pixels}: {fused}");
        let tiling = tile(&fused, 4, Machine::of(Isa::Avx2));
        let texts = tiling.kernels.iter().filter_map(|kernel| Some(kernel.matmul?.to_string()));
        let texts: Vec<String> =
            texts.filter(|text| text.starts_with("column by column, each with terms of its own")).collect();
        assert_eq!(texts.len(), 3, "{stride} {channels}");
        // What fills registers is read in place.
        let by_line =
            texts.iter().filter(|text| text.ends_with("line by line with all columns, as it stays in the first cache"));
        assert_eq!(by_line.count(), if channels == 16 { 3 } else { 0 }, "{texts:?}");
    }
}

#[test]
fn the_gradient_of_a_depthwise_convolution_is_the_sum_of_the_taps_of_a_window() {
    assert_snapshot!(kernels(|b| {
        let (dy, w) = (input(b, "dy", batch(&[8, 8, 4])), parameter(b, "w", &[3, 3, 4]));
        let shape = batch(&[8, 3, 8, 3, 4]).shape;
        let (dy, w) = (b.broadcast(dy, &shape, &[0, 1, 3, 5]), b.broadcast(w, &shape, &[2, 4, 5]));
        let products = b.mul(dy, w);
        let window = Window { before: 1, after: 1, ..Window::of(3) };
        let columns = b.fold(products, 3, window, 8);
        b.fold(columns, 1, window, 8)
    }), @"
    kernel 0: 64*B x 4, 4,608*B FLOP, 2,048*B + 144 bytes
      %12 = dot dy[b, i+l-1, j+m-1, k], w[-l+2, -m+2, k] over l 3, m 3 : f32[B,8,8,4]
      materialize %12                                                # output y
    ");
}
