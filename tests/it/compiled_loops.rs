//! Loops over steps as machine code, against the interpreter.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role, unroll, verify};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::budget::cases;
use crate::compiled::{self, Compiled, with_isa};
use crate::{draw, handmade, random_loop, random_tensors};

/// The same graph with results that have the batch in front, as they lie in memory.
pub fn batch_first(graph: Graph) -> Graph {
    let mut b = Builder::new(graph);
    for number in 0..b.graph().outputs.len() {
        let node: NodeId = b.graph().outputs[number].node;
        let shape = b.shape(node);
        let Some(batch) = shape.0.iter().position(|dim| dim.is_batch()).filter(|&axis| axis > 0) else { continue };
        let order: Vec<usize> = [batch].into_iter().chain((0..shape.rank()).filter(|&axis| axis != batch)).collect();
        let turned = b.transpose(node, &order);
        b.graph_mut().outputs[number].node = turned;
    }
    b.finish()
}

/// The graph of this seed, every other one with the gradients by all its parameters.
fn graph(seed: u64) -> Graph {
    let graph = random_loop::graph(seed);
    let params: Vec<usize> = (0..graph.slots.params.len()).collect();
    batch_first(if seed.is_multiple_of(2) { graph } else { differentiate(&graph, &params) })
}

/// A graph of any operations as the body of a loop: its inputs are elements of sequences, and to one of them the state is added. What
/// it gives is collected. None if it has no input of numbers.
fn lifted(body: &Graph, steps: usize, reverse: bool) -> Option<Graph> {
    let ids = body.ids();
    let is_state = |id: &NodeId| matches!(body[*id].op, Op::Input(_)) && body[*id].ty.dtype == DType::F32;
    let state = ids.filter(is_state).max_by_key(|id| body[*id].ty.shape.rank())?;
    let shape = body[state].ty.shape.clone();
    let (params, scalars) = (body.slots.params.clone(), body.slots.scalars.clone());
    let mut b = Builder::new(Graph::default());
    (b.graph_mut().slots.params, b.graph_mut().slots.scalars) = (params, scalars);
    let initial = b.constant(0.25, &shape);
    let carry = b.carry(initial, steps, reverse);
    let mut sequences = Vec::new();
    for slot in &body.slots.inputs {
        let batch = slot.ty.shape.0.iter().position(|dim| dim.is_batch());
        let mut dims = slot.ty.shape.0.clone();
        dims.insert(usize::from(batch.is_some()), Dim::Fixed(steps));
        let input = handmade::input(&mut b, "x", TensorType { dtype: slot.ty.dtype, shape: Shape(dims) });
        let last = b.graph().slots.inputs.len() - 1;
        b.graph_mut().slots.inputs[last].classes = slot.classes;
        let mut order: Vec<usize> = (0..b.shape(input).rank()).collect();
        order[..1 + usize::from(batch.is_some())].reverse();
        sequences.push(if order.is_sorted() { input } else { b.transpose(input, &order) });
    }
    let mut to: Vec<NodeId> = Vec::new();
    for id in body.ids() {
        let mut node = body[id].clone();
        let Op::Input(input) = node.op else {
            node.operands.iter_mut().for_each(|operand| *operand = to[operand.index()]);
            to.push(b.add_node(node));
            continue;
        };
        let element = b.element(carry, sequences[input]);
        to.push(if id == state { b.add(element, carry) } else { element });
    }
    let same = |id: &NodeId| body[*id].ty == body[state].ty && *id != state;
    let next = to[body.ids().rfind(same).unwrap_or(state).index()];
    let (bounded, half) = (b.tanh(next), b.scale(carry, 0.5));
    let next = b.add(bounded, half);
    let history = b.history(carry, next);
    let mut results = vec![history];
    for output in &body.outputs {
        if body[output.node].ty.dtype == DType::F32 {
            results.push(b.collect(history, to[output.node.index()]));
        }
    }
    let mut loss = b.constant(0.0, &Shape::scalar());
    for (number, result) in results.into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(number), result);
        let shape = b.shape(result);
        if shape.0.iter().all(|dim| dim.factor() > 0) {
            let bounded = b.tanh(result);
            let mean = b.mean(bounded, &(0..shape.rank()).collect::<Vec<usize>>());
            loss = b.add(loss, mean);
        }
    }
    handmade::output(&mut b, Role::Loss, loss);
    let graph = b.finish();
    verify(&graph).unwrap_or_else(|fault| panic!("{fault}\n{graph}"));
    Some(graph)
}

/// Holds programs of a graph against the graph with its loops written out; whether something was compared.
pub fn agrees(what: &str, graph: &Graph, compiled: &mut [Compiled], batch: usize, seed: u64) -> bool {
    let agree = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        compiled::agrees(what, &unroll(graph), compiled, batch, seed)
    }));
    agree.unwrap_or_else(|_| panic!("{what}\n{graph}\n{}", fuse(&simplify(graph))))
}

#[test]
fn random_loops_compute_what_the_interpreter_computes() {
    let (mut compared, cases) = (0, cases(300));
    for seed in 0..cases {
        let graph = graph(seed);
        let mut compiled = [Compiled::new(&graph, 5)];
        for batch in [5, 1] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases, "{compared} were compared");
}

#[test]
fn random_loops_have_the_same_bits_on_any_threads() {
    for seed in 0..cases(60) {
        let graph = graph(10_000 + seed);
        for batch in [65, 7] {
            agrees(&format!("seed {seed}"), &graph, &mut [Compiled::new(&graph, 65)], batch, seed);
        }
        check_threads(seed, &graph);
    }
}

/// Runs a graph under every instruction set of this machine.
#[track_caller]
pub(crate) fn check_instruction_sets(seed: u64, graph: &Graph) {
    let compile = |isa| with_isa(isa, || Compiled::new(graph, 9));
    let mut compiled: Vec<Compiled> = Isa::available().into_iter().map(compile).collect();
    agrees(&format!("seed {seed}, under every instruction set"), graph, &mut compiled, 9, seed);
}

/// Holds the bits of a graph on several threads, and with room for more rows, against those on one.
#[track_caller]
pub(crate) fn check_threads(seed: u64, graph: &Graph) {
    let mut one = Compiled::new(graph, 65);
    let mut others = [(65, 2), (65, 3), (200, 1)].map(|(rows, threads)| Compiled::for_threads(graph, rows, threads));
    for batch in [65, 7] {
        let values = draw::singles(&draw::values(graph, batch, seed));
        let bits = one.run(batch, &values).bits();
        for other in &mut others {
            assert!(other.run(batch, &values).bits() == bits, "seed {seed}, {batch} rows\n{graph}");
        }
    }
}

/// Runs a graph next to pages that may not be touched, on either side.
#[track_caller]
#[cfg(target_os = "linux")]
pub(crate) fn check_beside_pages(seed: u64, graph: &Graph) {
    let mut compiled = Compiled::new(graph, 5);
    for batch in [5, 1] {
        let values = draw::singles(&draw::values(graph, batch, seed));
        let expected = compiled.run(batch, &values).bits();
        for after in [false, true] {
            assert!(compiled.run_beside_pages(batch, &values, after).bits() == expected, "seed {seed}\n{graph}");
        }
    }
}

#[test]
fn random_loops_run_on_every_instruction_set() {
    (0..cases(60)).for_each(|seed| check_instruction_sets(seed, &graph(20_000 + seed)));
}

#[test]
#[cfg(target_os = "linux")]
fn random_loops_touch_nothing_beside_their_memory() {
    (0..cases(60)).for_each(|seed| check_beside_pages(seed, &graph(30_000 + seed)));
}

#[test]
fn every_operation_runs_in_a_loop() {
    let (mut compared, cases) = (0, cases(300));
    for seed in 0..cases {
        let steps = [1, 2, 3, 5][seed as usize % 4];
        let Some(graph) = lifted(&random_tensors::forward(seed), steps, seed.is_multiple_of(3)) else { continue };
        let params: Vec<usize> = (0..graph.slots.params.len()).collect();
        let graph = batch_first(if seed % 5 > 0 { graph } else { differentiate(&graph, &params) });
        let mut compiled = [Compiled::new(&graph, 5)];
        for batch in [5, 1] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases, "{compared} were compared");
}

#[test]
fn loops_of_any_operations_have_the_same_bits_on_any_threads() {
    for seed in 0..cases(60) {
        let steps = [1, 2, 5][seed as usize % 3];
        let body = random_tensors::forward(30_000 + seed);
        let Some(graph) = lifted(&body, steps, seed.is_multiple_of(2)).map(batch_first) else { continue };
        check_threads(seed, &graph);
    }
}

/// A state of two halves that are made apart; to both is added an element of a sequence of so many numbers, with others around them and
/// before the first position.
fn padded([before, numbers, after]: [usize; 3], fill: f64) -> Graph {
    const STEPS: usize = 3;
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(STEPS), Dim::Fixed(numbers)]));
    let x = handmade::input(&mut b, "x", ty);
    let sequence = b.transpose(x, &[1, 0, 2]);
    let wide = b.pad(sequence, 2, [before, after], fill);
    let late = b.pad(wide, 0, [1, 0], fill);
    let sequence = b.slice(late, 0, 0, STEPS, 1);
    let start = b.constant(0.25, &Shape(vec![Dim::B, Dim::Fixed(6)]));
    let carry = b.carry(start, STEPS, false);
    let element = b.element(carry, sequence);
    let [first, second] = [0, 3].map(|from| b.slice(carry, 1, from, 3, 1));
    let (first, second) = (b.tanh(first), b.sigmoid(second));
    let halves = b.concat(&[second, first], 1);
    let next = b.add(halves, element);
    let history = b.history(carry, next);
    handmade::output(&mut b, Role::Output(0), history);
    batch_first(b.finish())
}

#[test]
fn of_an_element_with_numbers_around_it_each_part_is_read_where_it_is() {
    let halves = [[0, 3, 3], [3, 3, 0], [0, 2, 4], [4, 1, 1], [2, 2, 2], [0, 6, 0]];
    for (index, around) in halves.into_iter().enumerate() {
        for fill in [0.0, 2.5] {
            let graph = padded(around, fill);
            let threads = (1..=3).map(|threads| Compiled::for_threads(&graph, 65, threads));
            let sets = Isa::available().into_iter().map(|isa| with_isa(isa, || Compiled::new(&graph, 65)));
            let mut compiled: Vec<Compiled> = threads.chain(sets).collect();
            for batch in [65, 3] {
                assert!(agrees(&format!("{around:?}, {fill}"), &graph, &mut compiled, batch, 7));
                let values = draw::singles(&draw::values(&graph, batch, 7));
                let bits: Vec<Vec<u64>> = compiled[..3].iter_mut().map(|one| one.run(batch, &values).bits()).collect();
                assert!(bits.iter().all(|other| *other == bits[0]), "{around:?}, {fill}: threads");
            }
            // Before the loop a half is copied, not with what is the same all over beside it.
            let text = fuse(&simplify(&graph)).to_string();
            let copied = [3, 3, 3, 3, 3, 6][index];
            let is_copy = format!("i 4, j {copied}, 0 FLOP");
            assert!(text.contains(&is_copy), "{around:?}, {fill}: {is_copy} is not in\n{text}");
        }
    }
}
