//! Compiled programs in memory next to pages that may not be touched: what lies before the first value and past the last
//! one, of the arena with its scratch, of the parameters and of every input, is neither read nor written. In [`each`], that holds of
//! every single value.

mod each;

use super::{Pool, compile};
use crate::autodiff::differentiate;
use crate::fuse::{Budget, fuse, group};
use crate::init::{Init, Random};
use crate::ir::{Builder, DotAxes, Graph, InputSlot, NodeId, Output, ParamSlot, Role, SlotKind, Window};
use crate::kernel::Fused;
use crate::memory::{Input, Memory, Params};
use crate::microkernels::gemm::Isa;
use crate::microkernels::guarded::Guarded;
use crate::plan::{Location, Plan, plan};
use crate::scalar::Cmp;
use crate::simplify::simplify;
use crate::tiling::{Machine, tile};
use crate::types::{Dim, Shape, TensorType};

fn input(b: &mut Builder, cols: usize) -> NodeId {
    let slots = &mut b.graph_mut().slots;
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)]));
    slots.inputs.push(InputSlot { name: "x", ty, target: false, classes: None });
    let index = slots.inputs.len() - 1;
    b.input(index)
}

fn parameter(b: &mut Builder, rows: usize, cols: usize) -> NodeId {
    let slots = &mut b.graph_mut().slots;
    let (name, kind) = ("w".to_string(), SlotKind::Parameter);
    slots.params.push(ParamSlot { name, shape: vec![rows, cols], order: &[], init: Init::Constant(0.0), kind });
    let index = slots.params.len() - 1;
    b.param(index)
}

/// A step of training a matrix: an input moved by its mean down the columns, the product, its moments, a function of it along
/// the rows, a loss, the gradient and an update of the matrix.
pub(super) fn step([inner, cols]: [usize; 2]) -> Graph {
    let mut b = Builder::new(Graph::default());
    let (x, w) = (input(&mut b, inner), parameter(&mut b, inner, cols));
    let repeated = |b: &mut Builder, x: NodeId, like: NodeId, axis: usize| {
        let shape = b.shape(like);
        b.broadcast(x, &shape, &[axis])
    };
    let mean = b.mean(x, &[0]);
    let mean = repeated(&mut b, mean, x, 1);
    let moved = b.sub(x, mean);
    let product = b.dot(moved, w, false, false);
    let variance = b.variance(product, &[0]);
    let variance = repeated(&mut b, variance, product, 1);
    let bent = b.tanh(product);
    let along = b.sum(bent, &[1]);
    let along = repeated(&mut b, along, product, 0);
    let shared = b.mul(bent, along);
    let result = b.add(shared, variance);
    let loss = b.sum(result, &[0, 1]);
    let gradient = b.dot(moved, result, true, false);
    let change = b.scale(gradient, 1e-3);
    let update = b.sub(w, change);
    let back = b.dot(result, w, false, true);
    let outputs = [(Role::Loss, loss), (Role::Output(0), result), (Role::Output(1), back), (Role::Update(0), update)];
    b.graph_mut().slots.outputs = vec!["y", "z"];
    b.graph_mut().outputs = outputs.into_iter().map(|(role, node)| Output { role, node }).collect();
    b.finish()
}

/// Tensors of more axes: padded windows, products of matrices side by side, a sum over a middle axis, rows of a table by a computed
/// index and rows added to one, and copies in another order.
fn tensors() -> Graph {
    let mut b = Builder::new(Graph::default());
    let slots = &mut b.graph_mut().slots;
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(5), Dim::Fixed(6)]));
    slots.inputs.push(InputSlot { name: "x", ty, target: false, classes: None });
    let (x, table) = (b.input(0), parameter(&mut b, 3, 6));
    let shape = b.shape(x);
    let window = Window { size: 3, stride: 1, dilation: 1, before: 1, after: 1 };
    let under = b.patches(x, 1, window, f64::NEG_INFINITY);
    let pooled = b.max_over(under, &[2]);
    let axes = |term| DotAxes { batch: vec![(0, 0)], contracted: vec![term] };
    let scores = b.product(x, pooled, axes((2, 2)));
    let read = b.product(scores, x, axes((2, 1)));
    let mean = b.mean(read, &[1]);
    let mean = b.broadcast(mean, &shape, &[0, 2]);
    let moved = b.sub(read, mean);
    let (one, zero) = (b.constant_like(1.0, moved), b.constant_like(0.0, moved));
    let positive = b.compare(Cmp::Gt, moved, zero);
    let number = b.select(positive, one, zero);
    let number = b.slice(number, 2, 5, 1, 1);
    let number = b.reshape(number, Shape(vec![Dim::B, Dim::Fixed(5)]));
    let index = b.to_index(number);
    let rows = b.gather(table, index);
    let result = b.add(moved, rows);
    let sums = b.scatter_add(result, index, 3);
    let turned = b.transpose(result, &[0, 2, 1]);
    let ends = b.slice(turned, 1, 1, 3, 2);
    let loss = b.sum(result, &[0, 1, 2]);
    let update = b.sub(table, sums);
    let outputs = [(Role::Loss, loss), (Role::Output(0), result), (Role::Output(1), ends), (Role::Update(0), update)];
    b.graph_mut().slots.outputs = vec!["y", "z"];
    b.graph_mut().outputs = outputs.into_iter().map(|(role, node)| Output { role, node }).collect();
    b.finish()
}

/// A step of training two convolutions: of padded images, normalized by the batch; then of the largest under windows that reach
/// over the edges, at every other position.
fn convolutions([channels, outputs]: [usize; 2]) -> Graph {
    let mut b = Builder::new(Graph::default());
    let slots = &mut b.graph_mut().slots;
    let ty = TensorType::f32(Shape([&[Dim::B], &[7, 6, channels].map(Dim::Fixed)[..]].concat()));
    slots.inputs.push(InputSlot { name: "x", ty, target: false, classes: None });
    for shape in [[3, 3, channels, outputs], [3, 3, outputs, 5]] {
        let (name, kind) = (format!("w{}", slots.params.len()), SlotKind::Parameter);
        slots.params.push(ParamSlot { name, shape: shape.to_vec(), order: &[], init: Init::Constant(0.0), kind });
    }
    let under = |b: &mut Builder, x: NodeId, stride: usize, fill: f64| {
        let window = Window { size: 3, stride, dilation: 1, before: 1, after: 1 };
        let rows = b.patches(x, 1, window, fill);
        b.patches(rows, 3, window, fill)
    };
    let taps = DotAxes { batch: vec![], contracted: vec![(2, 0), (4, 1), (5, 2)] };
    let [x, first, second] = [b.input(0), b.param(0), b.param(1)];
    let windows = under(&mut b, x, 1, 0.0);
    let y = b.product(windows, first, taps.clone());
    let shape = b.shape(y);
    let [mean, variance] = [b.mean(y, &[0, 1, 2]), b.variance(y, &[0, 1, 2])];
    let padded = b.offset(variance, 1e-3);
    let scale = b.rsqrt(padded);
    let [mean, scale] = [mean, scale].map(|x| b.broadcast(x, &shape, &[3]));
    let moved = b.sub(y, mean);
    let normalized = b.mul(moved, scale);
    let zero = b.constant_like(0.0, normalized);
    let positive = b.max(normalized, zero);
    let windows = under(&mut b, positive, 2, f64::NEG_INFINITY);
    let pooled = b.max_over(windows, &[2, 4]);
    let windows = under(&mut b, pooled, 2, 0.0);
    let result = b.product(windows, second, taps);
    let square = b.mul(result, result);
    let loss = b.sum(square, &[0, 1, 2, 3]);
    b.graph_mut().slots.outputs = vec!["y"];
    b.graph_mut().outputs =
        [(Role::Loss, loss), (Role::Output(0), result)].map(|(role, node)| Output { role, node }).to_vec();
    differentiate(&b.finish(), &[0, 1])
}

/// A step of training a loop: a state of two halves, of which a product and the element of a sequence make gates.
fn recurrent([inputs, size]: [usize; 2], reverse: bool) -> Graph {
    let (mut b, steps) = (Builder::new(Graph::default()), 5);
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(steps), Dim::Fixed(inputs)]));
    b.graph_mut().slots.inputs.push(InputSlot { name: "x", ty, target: false, classes: None });
    let x = b.input(0);
    let sequence = b.transpose(x, &[1, 0, 2]);
    let [from_input, from_state] = [inputs, size].map(|rows| parameter(&mut b, rows, 2 * size));
    let start = b.constant(0.0, &Shape(vec![Dim::B, Dim::Fixed(2 * size)]));
    let carry = b.carry(start, steps, reverse);
    let element = b.element(carry, sequence);
    let half = |b: &mut Builder, x: NodeId, at: usize| b.slice(x, 1, at * size, size, 1);
    let [h, c] = [0, 1].map(|at| half(&mut b, carry, at));
    let products = [b.dot(element, from_input, false, false), b.dot(h, from_state, false, false)];
    let sum = b.add(products[0], products[1]);
    let [gate, new] = [0, 1].map(|at| half(&mut b, sum, at));
    let (gate, new) = (b.sigmoid(gate), b.tanh(new));
    let kept = b.mul(gate, c);
    let c = b.add(kept, new);
    let bent = b.tanh(c);
    let h = b.mul(gate, bent);
    let next = b.concat(&[h, c], 1);
    let history = b.history(carry, next);
    let collected = b.collect(history, h);
    let squares = b.mul(collected, collected);
    let loss = b.mean(squares, &[0, 1, 2]);
    let result = b.transpose(history, &[1, 0, 2]);
    b.graph_mut().slots.outputs = vec!["y"];
    b.graph_mut().outputs =
        [(Role::Loss, loss), (Role::Output(0), result)].map(|(role, node)| Output { role, node }).to_vec();
    let mut b = Builder::new(differentiate(&b.finish(), &[0, 1]));
    for param in [0, 1] {
        let gradient = b.graph().output(&Role::Gradient(param)).expect("it was asked for");
        let (value, change) = (b.param(param), b.scale(gradient, 1e-3));
        let node = b.sub(value, change);
        b.graph_mut().outputs.push(Output { role: Role::Update(param), node });
    }
    b.finish()
}

/// The bits of all results, with guards after all memory or before it.
fn run(graph: &Graph, isa: Isa, [max_batch, batch, threads]: [usize; 3], after: bool) -> Vec<u32> {
    let fused = group(fuse(&simplify(graph)), &Budget::new(max_batch));
    let machine = Machine::of(isa).with_cores(threads);
    let plan = plan(&fused, tile(&fused, max_batch, machine)).expect("it fits");
    let arena = Guarded::new(&vec![f32::NAN; plan.with_scratch(threads)], after);
    run_in(arena, (&fused, &plan), batch, after)
}

/// The same in this arena.
fn run_in(mut arena: Guarded, (fused, plan): (&Fused, &Plan), batch: usize, after: bool) -> Vec<u32> {
    let code = compile(fused, plan).expect("it compiles");
    let threads = plan.tiling.machine.cores;
    let mut random = Random::new(3, batch as u64);
    let mut numbers = |len: usize| (0..len).map(|_| random.normal() as f32).collect::<Vec<f32>>();
    let mut params = Guarded::new(&numbers(plan.params_len), after);
    let lens = fused.slots.inputs.iter().map(|slot| slot.ty.shape.len_at(batch));
    let inputs: Vec<Guarded> = lens.map(|len| Guarded::new(&numbers(len), after)).collect();
    let inputs: Vec<Input<'_>> = inputs.iter().map(|input| Input::Float(input.floats())).collect();
    let memory = Memory {
        arena: arena.floats_mut(),
        params: Params::Own(params.floats_mut()),
        scalars: &[],
        inputs: &inputs,
        batch,
    };
    let finite = match threads {
        1 => code.run(memory),
        _ => {
            let mut pool = Pool::new(threads).expect("threads can be had");
            code.reserve(&mut pool);
            code.run_on(&mut pool, memory)
        }
    };
    assert!(finite);
    let outputs = fused.results.iter().flat_map(|(role, buffer, shape)| {
        let floats = match plan.places[buffer.index()] {
            Some(Location::Arena(at)) => &arena.floats()[at..],
            place => panic!("{role:?} lies at {place:?}"),
        };
        &floats[..shape.len_at(batch)]
    });
    let updated = params.floats()[..plan.params_len].iter();
    outputs.chain(updated).map(|x| x.to_bits()).collect()
}

#[test]
fn kernels_of_many_axes_touch_nothing_outside_their_memory() {
    let graph = tensors();
    for (isa, batch) in Isa::available().into_iter().flat_map(|isa| [1, 2, 13, 67].map(|batch| (isa, batch))) {
        let expected = run(&graph, isa, [67, batch, 1], true);
        assert!(expected.iter().all(|bits| f32::from_bits(*bits).is_finite()), "{batch} rows, {isa:?}");
        assert_eq!(run(&graph, isa, [67, batch, 1], false), expected, "{batch} rows, {isa:?}");
        for after in [true, false] {
            assert_eq!(run(&graph, isa, [67, batch, 2], after), expected, "{batch} rows, {isa:?}, two threads");
        }
    }
}

#[test]
fn convolutions_touch_nothing_outside_their_memory() {
    for extents in [[1, 3], [3, 17], [16, 16]] {
        let graph = convolutions(extents);
        for (isa, batch) in Isa::available().into_iter().flat_map(|isa| [1, 2, 9].map(|batch| (isa, batch))) {
            let what = format!("{extents:?}, {batch} images, {isa:?}");
            let expected = run(&graph, isa, [9, batch, 1], true);
            assert!(expected.iter().all(|bits| f32::from_bits(*bits).is_finite()), "{what}");
            assert_eq!(run(&graph, isa, [9, batch, 1], false), expected, "{what}");
            for after in [true, false] {
                assert_eq!(run(&graph, isa, [9, batch, 2], after), expected, "{what}, two threads");
            }
        }
    }
}

#[test]
fn loops_touch_nothing_outside_their_memory() {
    for (extents, reverse) in [([3, 1], false), ([5, 7], true), ([16, 16], false), ([40, 130], true)] {
        let graph = recurrent(extents, reverse);
        for (isa, batch) in Isa::available().into_iter().flat_map(|isa| [1, 2, 13, 67].map(|batch| (isa, batch))) {
            let what = format!("{extents:?}, {batch} rows, {isa:?}");
            let expected = run(&graph, isa, [67, batch, 1], true);
            assert!(expected.iter().all(|bits| f32::from_bits(*bits).is_finite()), "{what}");
            assert_eq!(run(&graph, isa, [67, batch, 1], false), expected, "{what}");
            for after in [true, false] {
                assert_eq!(run(&graph, isa, [67, batch, 2], after), expected, "{what}, two threads");
            }
        }
    }
}

#[test]
fn programs_touch_nothing_outside_their_memory() {
    // Products that are written out and called, packed or not; few rows by columns; groups; ends of blocks and of units.
    for (extents, max_batch, batches) in [
        ([3, 2], 67, vec![1, 2, 67]),
        ([37, 41], 67, vec![1, 63, 64, 65, 67]),
        ([130, 140], 300, vec![1, 64, 65, 255, 256, 257, 300]),
        ([20, 700], 130, vec![1, 127, 128, 129, 130]),
    ] {
        let graph = step(extents);
        for (isa, batch) in Isa::available().into_iter().flat_map(|isa| batches.iter().map(move |&batch| (isa, batch)))
        {
            let what = format!("{extents:?}, {batch} rows, {isa:?}");
            let expected = run(&graph, isa, [max_batch, batch, 1], true);
            assert!(expected.iter().all(|bits| f32::from_bits(*bits).is_finite()), "{what}");
            assert_eq!(run(&graph, isa, [max_batch, batch, 1], false), expected, "{what}");
            for after in [true, false] {
                assert_eq!(run(&graph, isa, [max_batch, batch, 2], after), expected, "{what}, two threads");
            }
        }
    }
}
