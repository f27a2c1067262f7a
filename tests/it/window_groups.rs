//! Groups whose kernels read windows: a tile is whole images, of which each kernel finds the pixels around its own.

use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Role, Window};
use gradloom_runtime::kernel::{Fused, Home, is_read_by_points};
use gradloom_runtime::plan::{parallel_regions, plan, text};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::{Isa, Machine, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::compiled::{Compiled, Reference, with_isa};
use crate::{draw, handmade};

const TAPS: [&str; 3] = ["u", "v", "w"];

/// Images of so many pixels each way and channels, as a graph begins.
fn images(b: &mut Builder, [size, channels]: [usize; 2]) -> NodeId {
    let shape = Shape([Dim::B].into_iter().chain([size, size, channels].map(Dim::Fixed)).collect());
    handmade::input(b, "x", TensorType::f32(shape))
}

/// A convolution by 3 x 3 taps of this name, over an edge of one pixel, that leaves out so many at a time.
fn convolved(b: &mut Builder, x: NodeId, name: &'static str, [from, to]: [usize; 2], stride: usize) -> NodeId {
    let taps = handmade::input(b, name, TensorType::f32(Shape::fixed(&[3, 3, from, to])));
    let window = Window { before: 1, after: 1, stride, ..Window::of(3) };
    let rows = b.patches(x, 1, window, 0.0);
    let both = b.patches(rows, 3, window, 0.0);
    b.product(both, taps, DotAxes { batch: vec![], contracted: vec![(2, 0), (4, 1), (5, 2)] })
}

/// `tanh` and a convolution, for each of so many channels after the first.
fn chain(size: usize, channels: &[usize], stride: usize) -> Graph {
    let mut b = Builder::new(Graph::default());
    let mut y = images(&mut b, [size, channels[0]]);
    for (pair, name) in channels.windows(2).zip(TAPS) {
        let bent = b.tanh(y);
        y = convolved(&mut b, bent, name, [pair[0], pair[1]], stride);
    }
    let result = b.abs(y);
    handmade::output(&mut b, Role::Output(0), result);
    b.finish()
}

fn grouped(graph: &Graph, max_batch: usize) -> Fused {
    group(fuse(&simplify(graph)), &Budget::new(max_batch))
}

/// The text of kernels, without the sums of what they cost.
fn kernels(fused: &Fused) -> String {
    let text = fused.to_string();
    text[..text.find("in all:").expect("the sums come last")].to_string()
}

fn tiles(fused: &Fused) -> usize {
    fused.buffers.iter().filter(|buffer| buffer.home == Home::Tile).count()
}

#[test]
fn what_a_convolution_reads_has_the_memory_of_one_image() {
    let fused = grouped(&chain(20, &[4, 8], 1), 16);
    assert_snapshot!(kernels(&fused), @"
    group by b: kernels 0, 1                                         # 12,800*B bytes less to memory and back
    kernel 0: 400*B x 4, 1,600*B FLOP, 6,400*B bytes
      %1 = tanh x : f32[B,20,20,4]
      tile %1                                                        # for kernel 1
    kernel 1: 400*B x 8, 233,600*B FLOP, 12,800*B + 1,152 bytes      # a matmul
      %5 = dot %1[b, i+l-1, j+m-1, n], u[l, m, n, k] over l 3, m 3, n 4 : f32[B,20,20,8]
      %6 = abs %5 : f32[B,20,20,8]
      materialize %6                                                 # output y
    ");
    let plan = plan(&fused, tile(&fused, 16, Machine::of(Isa::Avx2))).expect("it fits");
    assert_snapshot!(text(&plan, &fused), @"
    batches of up to 16 rows
    parameters 0.0 KiB
    arena 200.0 KiB, without sharing 200.0 KiB
    scratch 18.8 KiB a thread
    group by b: kernels 0, 1
      in tiles of 1 point: products compute 256 rows in one go
      in units of 400 rows: enough units to share
    kernel 0: 400*B x 4
      elements in vectors of 8
      tile %1                scratch 0..1600, to kernel 1
    kernel 1: 400*B x 8
      matmul in runs of terms: right operand read in place
      elements in vectors of 8, down the rows as they are short
      %6                     0..51200, a result
      block of %5            scratch 1600..4800
      workspace of %5        scratch 4800..4816
    parallel region 0: kernels 0, 1 by 400 rows
    ");
}

#[test]
fn convolutions_one_after_the_other_are_one_group() {
    let fused = grouped(&chain(32, &[3, 16, 16, 8], 1), 8);
    assert_eq!((fused.groups.len(), tiles(&fused)), (1, 3), "\n{fused}");
    let strided = grouped(&chain(32, &[3, 16, 16, 8], 2), 8);
    assert_eq!((strided.groups.len(), strided.groups[0].rows.clone()), (1, vec![1024, 256, 64]), "\n{strided}");
}

#[test]
fn pixels_of_another_image_are_not_read() {
    let mut fused = grouped(&chain(20, &[4, 8], 1), 16);
    let tile = |fused: &Fused| fused.kernels[1].dot.as_ref().expect("a product").a;
    assert!(is_read_by_points(&fused, &fused.groups[0], 1, tile(&fused)));
    // Without the bounds, the taps over an edge would be pixels of the rows or the images next to it.
    let dot = fused.kernels[1].dot.as_mut().expect("a product");
    dot.bounds.pop();
    assert!(!is_read_by_points(&fused, &fused.groups[0], 1, tile(&fused)));
}

#[test]
fn images_that_do_not_stay_in_a_cache_are_no_tiles() {
    let fused = grouped(&chain(300, &[4, 8], 1), 16);
    assert!(fused.groups.is_empty());
    assert_snapshot!(kernels(&fused), @"
    kernel 0: 90000*B x 4, 360,000*B FLOP, 2,880,000*B bytes
      %1 = tanh x : f32[B,300,300,4]
      materialize %1                                                 # for kernel 1: a matmul reads memory
    kernel 1: 90000*B x 8, 52,560,000*B FLOP, 4,320,000*B + 1,152 bytes # a matmul; no tiles with kernel 0: a tile has 1,440,000 bytes
      %5 = dot %1[b, i+l-1, j+m-1, n], u[l, m, n, k] over l 3, m 3, n 4 : f32[B,300,300,8]
      %6 = abs %5 : f32[B,300,300,8]
      materialize %6                                                 # output y
    ");
}

/// Chains whose images are smaller and larger than what is computed in one go, with steps of one pixel and of two, in the form of Winograd and not.
fn chains() -> Vec<Graph> {
    vec![
        chain(20, &[4, 8], 1),
        chain(32, &[3, 16, 16, 8], 1),
        chain(33, &[5, 7, 3], 2),
        chain(9, &[16, 16, 16], 1),
        chain(24, &[16, 32], 1),
    ]
}

#[test]
fn groups_of_images_have_the_same_bits_on_any_threads_and_in_any_program() {
    for (index, graph) in chains().iter().enumerate() {
        assert_ne!(grouped(graph, 21).groups.len(), 0, "chain {index}");
        let mut compiled: Vec<Compiled> = [(1, 1), (21, 1), (21, 2), (21, 3), (5, 2)]
            .map(|(max_batch, threads)| Compiled::for_threads(graph, max_batch, threads))
            .into();
        for batch in [1, 2, 5, 21] {
            let values = draw::singles(&draw::values(graph, batch, batch as u64));
            let first = compiled[1].run(batch, &values);
            // The interpreter takes long.
            if batch <= 2 {
                Reference::new(graph, batch, &values).check(&format!("chain {index}, {batch} images"), &first);
            }
            for (number, _) in [1, 21, 21, 21, 5].into_iter().enumerate().filter(|&(_, most)| most >= batch) {
                let other = compiled[number].run(batch, &values);
                assert!(other.bits() == first.bits(), "chain {index}, {batch} images, program {number}");
            }
        }
    }
}

#[test]
fn groups_of_images_run_on_every_instruction_set() {
    for (index, graph) in chains().iter().enumerate() {
        // Of one image kernel by kernel, of two image by image.
        for batch in [1, 2] {
            let values = draw::singles(&draw::values(graph, batch, batch as u64));
            let wanted = Reference::new(graph, batch, &values);
            for isa in Isa::available() {
                let mut compiled = with_isa(isa, || Compiled::for_threads(graph, 12, 2));
                wanted.check(&format!("chain {index}, {batch} images, {isa:?}"), &compiled.run(batch, &values));
            }
        }
    }
}

#[test]
fn a_single_image_is_shared_between_threads_kernel_by_kernel() {
    let fused = grouped(&chain(32, &[3, 16, 16, 8], 1), 8);
    let plan = plan(&fused, tile(&fused, 8, Machine::of(Isa::Avx2).with_cores(2))).expect("it fits");
    let units = |batch: usize| {
        let tasks = parallel_regions(&fused, &plan).into_iter().flat_map(|region| region.tasks);
        let units = tasks.map(|task| {
            let kernel = &fused.kernels[task.kernel];
            (format!("{:?} {}", task.work, task.kernel), task.units(task.rows(kernel).at(batch), kernel.cols()))
        });
        let some = units.filter(|(_, units)| *units > 0).map(|(what, units)| format!("{what}: {units}"));
        some.collect::<Vec<String>>().join(", ")
    };
    assert_snapshot!(units(1), @"Pack 2: 1, Member 0: 1, Member 1: 4, Member 2: 4, Member 3: 4");
    assert_snapshot!(units(8), @"Pack 2: 1, Rows 0: 8");
}
