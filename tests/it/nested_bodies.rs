//! Graphs of any operations as the bodies of loops inside of loops, at both levels: against the steps written out, differentiated and
//! compiled.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::init::Random;
use gradloom_runtime::ir::{Builder, Graph, InputSlot, NodeId, Op, Role, nest, verify};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::budget::cases;
use crate::compiled::Compiled;
#[cfg(target_os = "linux")]
use crate::compiled_loops::check_beside_pages;
use crate::compiled_loops::{agrees, batch_first, check_instruction_sets, check_threads};
use crate::loops::{check_gradients, check_written_out};
use crate::{handmade, random_tensors};

/// An input for each step of so many loops, with their positions in front.
fn sequence(b: &mut Builder, slot: &InputSlot, steps: &[usize]) -> NodeId {
    let (batch, depth) = (usize::from(slot.ty.shape.0.iter().any(|dim| dim.is_batch())), steps.len());
    let mut dims = slot.ty.shape.0.clone();
    dims.splice(batch..batch, steps.iter().map(|&steps| Dim::Fixed(steps)));
    let input = handmade::input(b, "x", TensorType { dtype: slot.ty.dtype, shape: Shape(dims) });
    let last = b.graph().slots.inputs.len() - 1;
    b.graph_mut().slots.inputs[last].classes = slot.classes;
    let mut order: Vec<usize> = (0..b.shape(input).rank()).collect();
    order[..depth + batch].rotate_left(batch);
    if order.is_sorted() { input } else { b.transpose(input, &order) }
}

/// The row of a sequence, or of all states, at this position.
fn row(b: &mut Builder, x: NodeId, position: usize) -> NodeId {
    let (row, shape) = (b.slice(x, 0, position, 1, 1), b.shape(x).without(&[0]));
    b.reshape(row, shape)
}

/// A graph whose input `state` a loop adds its state to.
struct Body {
    graph: Graph,
    state: NodeId,
}

impl Body {
    /// The random graph of this seed, if it has an input of numbers.
    fn new(seed: u64) -> Option<Body> {
        let graph = random_tensors::forward(seed);
        let is_state = |id: &NodeId| matches!(graph[*id].op, Op::Input(_)) && graph[*id].ty.dtype == DType::F32;
        let state = graph.ids().filter(is_state).max_by_key(|id| graph[*id].ty.shape.rank())?;
        Some(Body { graph, state })
    }

    /// Where its nodes are with these inputs and this state.
    fn placed(&self, b: &mut Builder, inputs: &[NodeId], state: NodeId) -> Vec<NodeId> {
        let mut to: Vec<NodeId> = Vec::new();
        for id in self.graph.ids() {
            let mut node = self.graph[id].clone();
            to.push(match node.op {
                Op::Input(_) if id == self.state => {
                    let Op::Input(input) = node.op else { unreachable!("it is an input") };
                    b.add(inputs[input], state)
                }
                Op::Input(input) => inputs[input],
                _ => {
                    node.operands.iter_mut().for_each(|operand| *operand = to[operand.index()]);
                    b.add_node(node)
                }
            });
        }
        to
    }

    /// The state after the step of a body that is placed so.
    fn next(&self, b: &mut Builder, to: &[NodeId], state: NodeId) -> NodeId {
        let same = |id: &NodeId| self.graph[*id].ty == self.graph[self.state].ty && *id != self.state;
        let next = to[self.graph.ids().rfind(same).unwrap_or(self.state).index()];
        handmade::bounded_state(b, 2, state, next)
    }

    /// Nodes that a loop may give: what the graph gives, and a truth value and ids that it has.
    fn results(&self) -> Vec<NodeId> {
        let of = |fits: fn(DType) -> bool| self.graph.ids().rfind(|id| fits(self.graph[*id].ty.dtype));
        let ids = of(|dtype| !matches!(dtype, DType::F32 | DType::Bool));
        let outputs = self.graph.outputs.iter().map(|output| output.node);
        outputs.chain(of(|dtype| dtype == DType::Bool)).chain(ids).collect()
    }
}

/// The graph of this seed: elements of both loops, of the outer one alone and values from outside are inputs of its body.
pub(crate) fn graph(seed: u64) -> Option<Graph> {
    let body = Body::new(seed)?;
    let mut random = Random::new(seed, 37);
    let mut below = |bound: u64| random.below(bound) as usize;
    let steps = [0; 2].map(|_| [1, 2, 3, 5][below(4)]);
    let reverse = [0; 2].map(|_| below(3) == 0);
    let mut b = Builder::new(Graph::default());
    let slots = &mut b.graph_mut().slots;
    (slots.params, slots.scalars) = (body.graph.slots.params.clone(), body.graph.slots.scalars.clone());
    let Op::Input(state) = body.graph[body.state].op else { unreachable!("the state is an input") };
    let inputs = body.graph.slots.inputs.iter().enumerate();
    let inputs: Vec<(NodeId, usize)> = inputs
        .map(|(index, slot)| {
            let depth = if index == state { 2 } else { below(3) };
            (sequence(&mut b, slot, &steps[..depth]), depth)
        })
        .collect();
    let shape = body.graph[body.state].ty.shape.clone();
    let initial = b.constant(0.25, &shape);

    let outer = b.carry(initial, steps[0], reverse[0]);
    let of_outer = inputs.iter().map(|&(x, depth)| if depth > 0 { b.element(outer, x) } else { x });
    let of_outer: Vec<NodeId> = of_outer.collect();
    let start = match below(3) {
        0 => b.constant(0.5, &shape),
        1 => outer,
        _ => b.tanh(outer),
    };
    let inner = b.carry(start, steps[1], reverse[1]);
    let of_inner: Vec<NodeId> = std::iter::zip(&of_outer, &inputs)
        .map(|(&x, &(_, depth))| if depth == 2 { b.element(inner, x) } else { x })
        .collect();
    let to = body.placed(&mut b, &of_inner, inner);
    let next = body.next(&mut b, &to, inner);
    let history = b.history(inner, next);
    let results = body.results().into_iter().map(|id| b.collect(history, to[id.index()]));
    let mut left: Vec<NodeId> = [history].into_iter().chain(results).collect();

    // What the inner loop leaves goes through the same operations once more, with an element of each of its sequences.
    let last = row(&mut b, history, if reverse[1] { 0 } else { steps[1] });
    let next = match below(2) {
        0 => {
            let position = below(steps[1] as u64);
            let inputs: Vec<NodeId> = std::iter::zip(&of_outer, &inputs)
                .map(|(&x, &(_, depth))| if depth == 2 { row(&mut b, x, position) } else { x })
                .collect();
            let to = body.placed(&mut b, &inputs, last);
            left.extend(body.results().into_iter().map(|id| to[id.index()]));
            body.next(&mut b, &to, outer)
        }
        _ => handmade::bounded_state(&mut b, 1, outer, last),
    };
    // A truth value of each step of both loops, and in how many of the inner one it holds.
    let is_truth = |x: &NodeId| b.ty(*x).dtype == DType::Bool && b.shape(*x).rank() > 0;
    let truths: Vec<NodeId> = left.iter().copied().filter(is_truth).collect();
    for x in truths {
        let one = b.constant(1.0, &b.shape(x));
        let numbers = b.mask(x, one);
        left.push(b.sum(numbers, &[0]));
    }
    let all = b.history(outer, next);
    let mut results = vec![all];
    for x in left {
        let x = b.collect(all, x);
        results.push(match b.ty(x).dtype {
            DType::F32 => x,
            DType::Bool => {
                let one = b.constant(1.0, &b.shape(x));
                b.mask(x, one)
            }
            _ => b.to_float(x),
        });
    }
    let mut loss = b.constant(0.0, &Shape::scalar());
    for (number, result) in results.into_iter().enumerate() {
        let shape = b.shape(result);
        if shape.0.iter().all(|dim| dim.factor() > 0) {
            let bounded = b.tanh(result);
            let mean = b.mean(bounded, &(0..shape.rank()).collect::<Vec<usize>>());
            loss = b.add(loss, mean);
        }
        handmade::output(&mut b, Role::Output(number), result);
    }
    handmade::output(&mut b, Role::Loss, loss);
    let graph = nest(b.finish());
    verify(&graph).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{graph}"));
    Some(graph)
}

/// So many graphs from a seed on, every other one with the gradients by all its parameters.
fn compilable(seeds: std::ops::Range<u64>) -> impl Iterator<Item = (u64, Graph)> {
    seeds.filter_map(|seed| {
        let graph = graph(seed)?;
        let params: Vec<usize> = (0..graph.slots.params.len()).collect();
        Some((seed, batch_first(if seed.is_multiple_of(2) { graph } else { differentiate(&graph, &params) })))
    })
}

#[test]
fn bodies_of_any_operations_are_what_is_written_out() {
    let (mut inner, mut truths, cases) = (0, 0, cases(200));
    for (seed, graph) in (0..cases).filter_map(|seed| Some((seed, graph(seed)?))) {
        inner += u64::from(graph.loops().iter().any(|run| graph.around(run.carry).is_some()));
        let is_truth = |id: NodeId| matches!(graph[id].op, Op::Collect { .. }) && graph[id].ty.dtype == DType::Bool;
        truths += graph.ids().filter(|&id| is_truth(id)).count() as u64;
        check_written_out(seed, &graph, 1e-10);
    }
    assert!(inner > cases / 2 && truths > cases / 4, "{inner} of {cases} were nested, with {truths} truth values");
}

#[test]
fn gradients_of_bodies_of_any_operations_are_those_of_all_steps() {
    for (seed, graph) in (0..cases(200)).filter_map(|seed| Some((seed, graph(seed)?))) {
        let params: Vec<usize> = (0..graph.slots.params.len()).collect();
        check_gradients(seed, &graph, &params);
    }
}

#[test]
fn bodies_of_any_operations_compute_what_the_interpreter_computes() {
    let (mut compared, mut kept, cases) = (0, 0, cases(200));
    for (seed, graph) in compilable(0..cases) {
        let fused = fuse(&simplify(&graph));
        kept += u64::from((0..fused.loops.len()).any(|number| fused.loop_around(number).is_some()));
        let mut compiled = [Compiled::new(&graph, 5)];
        for batch in [5, 1] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases / 2 && kept > cases / 4, "{compared} were compared, {kept} had one inside of another");
}

#[test]
fn bodies_of_any_operations_have_the_same_bits_on_any_threads_and_for_any_largest_batch() {
    compilable(10_000..10_000 + cases(40)).for_each(|(seed, graph)| check_threads(seed, &graph));
}

#[test]
fn bodies_of_any_operations_run_on_every_instruction_set() {
    compilable(20_000..20_000 + cases(40)).for_each(|(seed, graph)| check_instruction_sets(seed, &graph));
}

#[test]
#[cfg(target_os = "linux")]
fn bodies_of_any_operations_touch_nothing_beside_their_memory() {
    compilable(30_000..30_000 + cases(40)).for_each(|(seed, graph)| check_beside_pages(seed, &graph));
}
