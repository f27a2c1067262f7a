//! What becomes of a loop: the kernels of its body, how they run, and what does not grow with the steps.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Role, unroll};
use gradloom_runtime::jit::{Text, text};
use gradloom_runtime::kernel::{Fused, costs};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::plan::{Last, Plan, Work, parallel_regions, plan};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::{Machine, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::compiled::{Compiled, Reference};
use crate::{draw, handmade};

/// `h' = tanh(h w + x_p)`, with what `centered` makes of the new state.
fn recurrent(steps: usize, size: usize, centered: fn(&mut Builder, NodeId) -> NodeId) -> Graph {
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(steps), Dim::Fixed(size)]));
    let x = handmade::input(&mut b, "x", ty);
    let sequence = b.transpose(x, &[1, 0, 2]);
    let w = handmade::parameter(&mut b, "w", &[size, size]);
    let start = b.constant(0.0, &Shape(vec![Dim::B, Dim::Fixed(size)]));
    let carry = b.carry(start, steps, false);
    let element = b.element(carry, sequence);
    let product = b.product(carry, w, DotAxes { batch: vec![], contracted: vec![(1, 0)] });
    let sum = b.add(product, element);
    let bent = b.tanh(sum);
    let next = centered(&mut b, bent);
    let history = b.history(carry, next);
    let last = b.slice(history, 0, steps, 1, 1);
    let last = b.reshape(last, Shape(vec![Dim::B, Dim::Fixed(size)]));
    handmade::output(&mut b, Role::Output(0), last);
    b.finish()
}

fn as_it_is(_: &mut Builder, x: NodeId) -> NodeId {
    x
}

/// Without its mean over the batch, which takes all samples.
fn without_mean(b: &mut Builder, x: NodeId) -> NodeId {
    let (shape, mean) = (b.shape(x), b.mean(x, &[0]));
    let mean = b.broadcast(mean, &shape, &[1]);
    b.sub(x, mean)
}

fn planned(graph: &Graph, max_batch: usize, threads: usize) -> (Fused, Plan) {
    let fused = group(fuse(graph), &Budget::new(max_batch));
    let machine = Machine::of(Isa::Avx2).with_cores(threads);
    let plan = plan(&fused, tile(&fused, max_batch, machine)).expect("it fits");
    (fused, plan)
}

#[test]
fn a_state_is_read_where_the_step_before_has_written_it() {
    assert_snapshot!(fuse(&recurrent(5, 4, as_it_is)), @"
    kernel 0: b B, i 4, 0 FLOP, 16*B bytes
      materialize 0 as %8[0]                                         # for kernels 1, 2: each step has one
    loop of 5 steps: kernel 1                                        # each sample by itself
    kernel 1: b B, i 4, 200*B FLOP, 240*B + 320 bytes                # a matmul
      %5 = dot %8, w : f32[B,4]
      %6 = add %5, x[b, p, i] : f32[B,4]
      %7 = tanh %6 : f32[B,4]
      materialize %7 as %8[p+1]                                      # for kernel 2: each step has one
    kernel 2: b B, i 4, j 1, 0 FLOP, 32*B bytes                      # no kernel over 4*B x 1 has its operands
      materialize %8[j+5, b, i]                                      # output y
    in all: 3 kernels, 200*B FLOP, 288*B + 320 bytes
    unfused: 200*B FLOP, 864*B + 320 bytes
    ");
}

#[test]
fn samples_that_have_nothing_to_do_with_one_another_take_their_steps_apart() {
    let (fused, plan) = planned(&recurrent(64, 256, as_it_is), 64, 2);
    assert_eq!(fused.loops[0].rows, Some(vec![1]));
    let shared: Vec<usize> = parallel_regions(&fused, &plan)
        .iter()
        .flat_map(|region| &region.tasks)
        .filter(|task| task.kernel == fused.loops[0].kernels.start && task.work == Work::Rows)
        .map(|task| task.unit)
        .collect();
    assert_eq!(shared, [32], "half of the samples for each of two threads");
}

#[test]
fn steps_that_need_all_samples_are_taken_by_one_thread() {
    let (fused, plan) = planned(&recurrent(64, 256, without_mean), 64, 2);
    let first = fused.loops[0].kernels.start;
    assert_eq!(fused.loops[0].rows, None);
    let regions = parallel_regions(&fused, &plan);
    assert!(regions.iter().any(|region| region.tail.contains(&Last::Run(first))), "{regions:?}");
}

#[test]
fn a_weight_is_rearranged_once_for_all_steps() {
    let packed = |steps: usize| {
        let (fused, plan) = planned(&recurrent(steps, 512, as_it_is), 64, 1);
        plan.tiling.kernels[fused.loops[0].kernels.start].is_packed()
    };
    // 512 columns are not 4 KiB apart: they are read in place however many steps there are.
    assert_eq!([1, 64].map(packed), [false, false]);
    let wide = |steps: usize| {
        let (fused, plan) = planned(&recurrent(steps, 1024, as_it_is), 64, 1);
        plan.tiling.kernels[fused.loops[0].kernels.start].is_packed()
    };
    assert_eq!([1, 64].map(wide), [false, true]);
}

#[test]
fn code_and_what_a_step_passes_on_do_not_grow_with_the_steps() {
    let [few, many] = [5, 5000].map(|steps| {
        let graph = recurrent(steps, 24, as_it_is);
        let (fused, plan) = planned(&graph, 3, 1);
        let history = 3 * 24 * (steps + 1);
        let code = text(&fused, 3, Text::Clif).expect("it compiles");
        (code.lines().count(), plan.arena - history.next_multiple_of(16))
    });
    assert_eq!(few, many);
}

/// The last state of `h' = tanh(h w + x_p)` without its mean over the batch. Every step may look back at the state before it when
/// it has made the next one, and all states may be wanted.
fn centered(steps: usize, [looks_back, all]: [bool; 2], reverse: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(steps), Dim::Fixed(20)]));
    let x = handmade::input(&mut b, "x", ty);
    let sequence = b.transpose(x, &[1, 0, 2]);
    let w = handmade::parameter(&mut b, "w", &[20, 20]);
    let shape = Shape(vec![Dim::B, Dim::Fixed(20)]);
    let start = b.constant(0.25, &shape);
    let carry = b.carry(start, steps, reverse);
    let element = b.element(carry, sequence);
    let product = b.dot(carry, w, false, false);
    let sum = b.add(product, element);
    let bent = b.tanh(sum);
    let next = without_mean(&mut b, bent);
    let again = b.dot(next, w, false, false);
    let change = b.sub(again, carry);
    let history = b.history(carry, next);
    let changes = b.collect(history, change);
    let last = b.slice(history, 0, if reverse { 0 } else { steps }, 1, 1);
    let last = b.reshape(last, shape);
    handmade::output(&mut b, Role::Output(0), last);
    for (index, rows) in [(looks_back, changes), (all, history)]
        .into_iter()
        .filter(|(wanted, _)| *wanted)
        .map(|(_, rows)| rows)
        .enumerate()
    {
        let rows = b.transpose(rows, &[1, 0, 2]);
        handmade::output(&mut b, Role::Output(1 + index), rows);
    }
    b.finish()
}

#[test]
fn a_state_that_only_the_next_step_reads_has_the_memory_of_one_step() {
    for (what, one) in [([false, false], true), ([true, false], false), ([false, true], false)] {
        let [few, many] = [7, 70].map(|steps| planned(&simplify(&centered(steps, what, false)), 64, 1).1.arena);
        assert_eq!(few == many, one, "{what:?}: {few} and {many} floats");
        for (steps, reverse) in [(1, false), (2, true), (5, false), (5, true)] {
            let graph = centered(steps, what, reverse);
            for threads in 1..=3 {
                let mut compiled = Compiled::for_threads(&graph, 70, threads);
                for batch in [1, 9, 70] {
                    let values = draw::singles(&draw::values(&graph, batch, batch as u64));
                    let results = compiled.run(batch, &values);
                    let name = format!("{what:?}, {steps} steps, reverse {reverse}, {batch} rows");
                    Reference::new(&unroll(&graph), batch, &values).check(&name, &results);
                }
            }
        }
    }
}

/// The gradients by `w`, and by the first state if that is trained, of `h' = tanh(h w + x_p)`, of which the squares of all states are
/// the loss.
fn trained(steps: usize, first_state: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(steps), Dim::Fixed(5)]));
    let x = handmade::input(&mut b, "x", ty);
    let sequence = b.transpose(x, &[1, 0, 2]);
    let [w, first] =
        [("w", &[5, 5][..]), ("first", &[5])].map(|(name, shape)| handmade::parameter(&mut b, name, shape));
    let shape = Shape(vec![Dim::B, Dim::Fixed(5)]);
    let start = if first_state { b.broadcast(first, &shape, &[1]) } else { b.constant(0.5, &shape) };
    let carry = b.carry(start, steps, false);
    let element = b.element(carry, sequence);
    let product = b.dot(carry, w, false, false);
    let sum = b.add(product, element);
    let next = b.tanh(sum);
    let history = b.history(carry, next);
    let states = b.slice(history, 0, 1, steps, 1);
    let square = b.mul(states, states);
    let loss = b.mean(square, &[0, 1, 2]);
    handmade::output(&mut b, Role::Loss, loss);
    differentiate(&b.finish(), if first_state { &[0, 1] } else { &[0] })
}

#[test]
fn the_last_step_makes_no_gradient_that_nobody_reads() {
    for (steps, first_state) in [(1, true), (4, true), (1, false), (2, false), (4, false)] {
        let graph = trained(steps, first_state);
        let fused = fuse(&simplify(&graph));
        let idle: Vec<usize> =
            fused.loops.iter().map(|run| run.kernels.clone().filter(|&kernel| run.is_idle(kernel)).count()).collect();
        assert_eq!(idle, [0, usize::from(!first_state)], "{fused}");
        let [.., backward] = &fused.loops[..] else { panic!("there are two loops") };
        let product = backward.kernels.end - 1;
        assert_eq!(fused.to_string().contains(&format!("the last step without kernel {product}\n")), !first_state);
        // What it does not do there is not counted either: a product of [B, 5] and [5, 5] at each step is `2 * 5 * 5` a row.
        let taken = (steps - idle[1]) as u64;
        let dot = fused.kernels[product].dot.as_ref().expect("it is a product").origin.node;
        let of_product = costs(&fused, product).into_iter().filter(|(node, _)| *node == dot);
        assert_eq!(of_product.map(|(_, cost)| cost.flops.batch).sum::<u64>(), 2 * 5 * 5 * taken, "{fused}");
        for threads in [1, 2] {
            let mut compiled = Compiled::for_threads(&graph, 6, threads);
            for batch in [1, 6] {
                let values = draw::singles(&draw::values(&graph, batch, steps as u64));
                let results = compiled.run(batch, &values);
                Reference::new(&unroll(&graph), batch, &values)
                    .check(&format!("{steps} steps, {batch} rows"), &results);
            }
        }
    }
}
