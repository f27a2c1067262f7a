//! Loops inside of loops: random ones up to three deep, as the interpreter takes their steps, as they are written out, differentiated
//! and compiled; and that code does not grow with their steps.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, nest, verify};
use gradloom_runtime::jit::{Text, text};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::budget::cases;
use crate::compiled::Compiled;
#[cfg(target_os = "linux")]
use crate::compiled_loops::check_beside_pages;
use crate::compiled_loops::{agrees, batch_first, check_instruction_sets, check_threads};
use crate::loops::{check_gradients, check_written_out};
use crate::{draw, handmade};

struct Draft {
    random: Random,
    b: Builder,
    /// What is the same at every step of the outermost loop: `[B, C]`, or `[C]`.
    outside: Vec<NodeId>,
    collected: Vec<NodeId>,
}

impl Draft {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn parameter(&mut self, shape: &[usize]) -> NodeId {
        let name = format!("w{}", self.b.graph().slots.params.len());
        handmade::parameter(&mut self.b, &name, shape)
    }

    /// `[B, H]` of any value of the body.
    fn fitted(&mut self, x: NodeId, size: usize) -> NodeId {
        let own = self.b.shape(x);
        let shape = Shape(vec![Dim::B, Dim::Fixed(size)]);
        match own.0[..] {
            _ if own == shape => x,
            [Dim::Batch(_), Dim::Fixed(from)] => {
                let w = self.parameter(&[from, size]);
                self.b.product(x, w, DotAxes { batch: vec![], contracted: vec![(1, 0)] })
            }
            [Dim::Fixed(from)] if from == size => self.b.broadcast(x, &shape, &[1]),
            [Dim::Fixed(_)] => {
                let mean = self.b.mean(x, &[0]);
                self.b.broadcast(mean, &shape, &[])
            }
            _ => unreachable!("a value is a row, or one for each sample"),
        }
    }

    /// What a step makes of values of this size.
    fn step(&mut self, values: &[NodeId], size: usize) -> NodeId {
        let [x, y] = [0, 1].map(|_| {
            let x = self.one_of(values);
            self.fitted(x, size)
        });
        match self.below(8) {
            0 => self.b.mul(x, y),
            1 => {
                let larger = self.b.compare(Cmp::Gt, x, y);
                self.b.mask(larger, x)
            }
            2 => {
                let all = self.b.concat(&[x, y], 1);
                self.fitted(all, size)
            }
            3 if size > 1 => {
                let [first, rest] =
                    [(0, size / 2), (size / 2, size - size / 2)].map(|(start, len)| self.b.slice(x, 1, start, len, 1));
                let first = self.b.tanh(first);
                self.b.concat(&[first, rest], 1)
            }
            4 => {
                let mean = self.b.mean(x, &[1]);
                let shape = self.b.shape(x);
                let mean = self.b.broadcast(mean, &shape, &[0]);
                self.b.sub(x, mean)
            }
            5 => {
                let w = self.parameter(&[size, size]);
                let x = self.b.product(x, w, DotAxes { batch: vec![], contracted: vec![(1, 0)] });
                self.b.add(x, y)
            }
            6 => {
                let mean = self.b.mean(x, &[0]);
                let shape = self.b.shape(x);
                let mean = self.b.broadcast(mean, &shape, &[1]);
                self.b.add(y, mean)
            }
            _ => self.b.add(x, y),
        }
    }

    /// A loop over sequences, of the steps of the first axis. Its body sees `around`; further axes of steps are those of loops in its
    /// body. What it leaves: `[B, H]`.
    fn run(&mut self, sequences: &[NodeId], around: &[NodeId], depth: usize) -> NodeId {
        let size = self.one_of(&[1, 2, 4, 5, 16]);
        let shape = Shape(vec![Dim::B, Dim::Fixed(size)]);
        let steps = self.b.shape(sequences[0]).0[0].factor();
        let reverse = self.below(3) == 0;
        let initial = match self.below(3) {
            0 => self.b.constant(0.25, &shape),
            _ => {
                let x = self.one_of(around);
                self.fitted(x, size)
            }
        };
        let carry = self.b.carry(initial, steps, reverse);
        let mut values = [&[carry], around].concat();
        let mut inner = Vec::new();
        for &sequence in sequences {
            let element = self.b.element(carry, sequence);
            match (self.b.ty(element).dtype, self.b.shape(element).rank()) {
                (DType::F32, 2) => values.push(element),
                (DType::F32, _) => inner.push(element),
                (_, 1) => {
                    let table = self.parameter(&[4, size]);
                    values.push(self.b.gather(table, element));
                }
                (..) => inner.push(element),
            }
        }
        for _ in 0..self.below(3) {
            let next = self.step(&values, size);
            values.push(next);
        }
        if !inner.is_empty() {
            if self.below(3) == 0 {
                // A sequence that is made of the state.
                let len = self.b.shape(inner[0]).0[0].factor();
                let x = self.one_of(&values);
                let x = self.fitted(x, 3);
                let all = Shape(vec![Dim::Fixed(len), Dim::B, Dim::Fixed(3)]);
                let x = self.b.broadcast(x, &all, &[1, 2]);
                let positions = self.b.iota(0, &all);
                let positions = self.b.to_float(positions);
                let x = self.b.mul(x, positions);
                inner.push(self.b.sigmoid(x));
            }
            // The outermost has loops in its body in any case.
            for _ in 0..usize::from(depth == 0) + self.below(2) {
                let left = self.run(&inner, &values, depth + 1);
                values.push(left);
            }
        }
        for _ in 0..1 + self.below(3) {
            let next = self.step(&values, size);
            values.push(next);
        }
        let last = *values.last().expect("there is the state");
        let next = self.fitted(last, size);
        let form = self.below(3);
        let next = handmade::bounded_state(&mut self.b, form, carry, next);
        let history = self.b.history(carry, next);
        if depth == 0 {
            self.collected.push(history);
            let value = self.one_of(&values[1..]);
            self.collected.push(self.b.collect(history, value));
        }
        match self.below(4) {
            0 => {
                let mean = self.b.mean(history, &[0]);
                self.b.tanh(mean)
            }
            1 => {
                let own: Vec<NodeId> = values[1 + around.len()..].to_vec();
                let value = if own.is_empty() { carry } else { self.one_of(&own) };
                let all = self.b.collect(history, value);
                let all = self.b.tanh(all);
                self.b.sum(all, &[0])
            }
            _ => {
                let last = self.b.slice(history, 0, if reverse { 0 } else { steps }, 1, 1);
                self.b.reshape(last, shape)
            }
        }
    }
}

/// The graph of this seed: a loop with loops in its body.
pub(crate) fn graph(seed: u64) -> Graph {
    let random = Random::new(seed, 31);
    let mut draft = Draft { random, b: Builder::new(Graph::default()), outside: Vec::new(), collected: Vec::new() };
    let mut steps = vec![draft.one_of(&[1, 2, 3, 5]), draft.one_of(&[1, 2, 3, 4, 7])];
    if draft.below(3) == 0 {
        steps.push(draft.one_of(&[1, 2, 3]));
    }
    let mut sequences = Vec::new();
    for (name, numbers) in [("x", true), ("ids", false)].into_iter().take(1 + usize::from(seed.is_multiple_of(4))) {
        let mut dims = vec![Dim::B];
        dims.extend(steps.iter().map(|&steps| Dim::Fixed(steps)));
        let depth = steps.len();
        let mut order: Vec<usize> = (1..=depth).chain([0]).collect();
        if numbers {
            dims.push(Dim::Fixed(draft.one_of(&[1, 3, 4])));
            order.push(depth + 1);
        }
        let ty = TensorType::f32(Shape(dims)).with(if numbers { DType::F32 } else { DType::U8 });
        let input = handmade::input(&mut draft.b, name, ty);
        if !numbers {
            draft.b.limit_ids(input, 4);
        }
        sequences.push(draft.b.transpose(input, &order));
    }
    let other = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(3)]));
    let other = handmade::input(&mut draft.b, "other", other);
    let bias = draft.parameter(&[4]);
    draft.outside = vec![other, bias];
    let outside = draft.outside.clone();
    let mut results: Vec<NodeId> = (0..1 + draft.below(2)).map(|_| draft.run(&sequences, &outside, 0)).collect();
    results.append(&mut draft.collected);
    let mut loss = draft.b.constant(0.0, &Shape::scalar());
    for (number, result) in results.into_iter().enumerate() {
        handmade::output(&mut draft.b, Role::Output(number), result);
        let axes: Vec<usize> = (0..draft.b.shape(result).rank()).collect();
        let bent = draft.b.sigmoid(result);
        let mean = draft.b.mean(bent, &axes);
        loss = draft.b.add(loss, mean);
    }
    handmade::output(&mut draft.b, Role::Loss, loss);
    let graph = nest(draft.b.finish());
    verify(&graph).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{graph}"));
    graph
}

/// How many loops there are around the innermost.
fn depth(graph: &Graph) -> usize {
    graph.loops().iter().map(|run| graph.outward(run.carry).count() - 1).max().unwrap_or(0)
}

fn params(graph: &Graph) -> Vec<usize> {
    (0..graph.slots.params.len()).collect()
}

#[test]
fn steps_inside_of_steps_are_what_is_written_out() {
    let (mut depths, cases) = ([0; 3], cases(200));
    for seed in 0..cases {
        let graph = graph(seed);
        depths[depth(&graph)] += 1;
        check_written_out(seed, &graph, 1e-11);
    }
    assert!(depths[1] > cases / 3 && depths[2] > cases / 10, "{depths:?} of {cases} were so deep");
}

#[test]
fn the_gradient_of_steps_inside_of_steps_is_that_of_all_of_them() {
    for seed in 0..cases(200) {
        let graph = graph(seed);
        check_gradients(seed, &graph, &params(&graph));
    }
}

/// Every other graph with the gradients by all its parameters.
fn compilable(seed: u64) -> Graph {
    let graph = graph(seed);
    batch_first(if seed.is_multiple_of(2) { graph } else { differentiate(&graph, &params(&graph)) })
}

#[test]
fn loops_inside_of_loops_compute_what_the_interpreter_computes() {
    let (mut compared, mut kept, cases) = (0, 0, cases(300));
    for seed in 0..cases {
        let graph = compilable(seed);
        let fused = fuse(&simplify(&graph));
        kept += u64::from((0..fused.loops.len()).any(|number| fused.loop_around(number).is_some()));
        let mut compiled = [Compiled::new(&graph, 5)];
        for batch in [5, 1] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases && kept > cases / 2, "{compared} were compared, {kept} had one inside of another");
}

#[test]
fn loops_inside_of_loops_have_the_same_bits_on_any_threads_and_for_any_largest_batch() {
    for seed in 0..cases(60) {
        let graph = compilable(10_000 + seed);
        for batch in [65, 7] {
            agrees(&format!("seed {seed}"), &graph, &mut [Compiled::new(&graph, 65)], batch, seed);
        }
        check_threads(seed, &graph);
    }
}

#[test]
fn loops_inside_of_loops_run_on_every_instruction_set() {
    (0..cases(60)).for_each(|seed| check_instruction_sets(seed, &compilable(20_000 + seed)));
}

#[test]
#[cfg(target_os = "linux")]
fn loops_inside_of_loops_touch_nothing_beside_their_memory() {
    (0..cases(60)).for_each(|seed| check_beside_pages(seed, &compilable(30_000 + seed)));
}

/// Over `[B, 6, T, 3]`, a gated loop over words in a loop over sentences; with the gradients by all parameters, if it is trained.
fn of_sentences(words: usize, trained: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(6), Dim::Fixed(words), Dim::Fixed(3)]));
    let x = handmade::input(&mut b, "x", ty);
    let sequence = b.transpose(x, &[1, 2, 0, 3]);
    let shape = Shape(vec![Dim::B, Dim::Fixed(4)]);
    let [w, u, v] = [("w", 3), ("u", 4), ("v", 4)].map(|(name, rows)| handmade::parameter(&mut b, name, &[rows, 4]));
    let zeros = b.constant(0.0, &shape);
    let sentence = b.carry(zeros, 6, false);
    let element = b.element(sentence, sequence);
    let start = b.tanh(sentence);
    let word = b.carry(start, words, true);
    let own = b.element(word, element);
    let [own, other] = [b.dot(own, w, false, false), b.dot(word, u, false, false)];
    let sum = b.add(own, other);
    let gate = b.sigmoid(sum);
    let kept = b.mul(gate, word);
    let next = b.add(kept, sentence);
    let next = b.tanh(next);
    let read = b.history(word, next);
    let last = b.slice(read, 0, 0, 1, 1);
    let last = b.reshape(last, shape);
    let last = b.dot(last, v, false, false);
    let next = b.add(last, sentence);
    let next = b.tanh(next);
    let history = b.history(sentence, next);
    let square = b.mul(history, history);
    let loss = b.mean(square, &[0, 1, 2]);
    handmade::output(&mut b, Role::Loss, loss);
    let graph = nest(b.finish());
    if trained { differentiate(&graph, &[0, 1, 2]) } else { graph }
}

#[test]
fn code_does_not_grow_with_the_steps_of_a_loop_inside_of_another() {
    let made = |words: usize, trained: bool| {
        let graph = simplify(&of_sentences(words, trained));
        let fused = fuse(&graph);
        let inner = (0..fused.loops.len()).filter(|&number| fused.loop_around(number).is_some()).count();
        assert_eq!(inner, 1 + usize::from(trained), "one forwards, one backwards\n{fused}");
        let printed = format!("loop of {words} steps from the last at each step: kernel");
        assert!(fused.to_string().contains(&printed), "{fused}");
        let code = text(&fused, 3, Text::Clif).expect("it compiles");
        [graph.nodes.len(), fused.kernels.len(), code.lines().count()]
    };
    assert_eq!(made(8, false), made(1000, false));
    assert_eq!(made(250, true), made(1000, true));
    // A sum over so many words is one of sums, in a kernel more.
    let ([nodes, kernels, lines], [other_nodes, other_kernels, other_lines]) = (made(8, true), made(1000, true));
    assert!(other_nodes == nodes && other_kernels == kernels + 1 && other_lines < lines + lines / 20);
}

#[test]
fn hundreds_of_steps_at_each_step_are_trained() {
    let graph = of_sentences(300, true);
    let loops = graph.nodes.iter().filter(|node| matches!(node.op, Op::History { .. })).count();
    assert_eq!(loops, 4);
    let mut compiled = [Compiled::new(&graph, 2)];
    assert!(agrees("300 words", &graph, &mut compiled, 2, 1));
}

#[test]
fn ids_that_no_number_tells_apart_are_exact_in_a_loop_inside_of_another() {
    let mut b = Builder::new(Graph::default());
    let input = |b: &mut Builder, name, steps: &[usize]| {
        let dims = [Dim::B].into_iter().chain(steps.iter().map(|&steps| Dim::Fixed(steps))).chain([Dim::Fixed(1)]);
        let input = handmade::input(b, name, TensorType::f32(Shape(dims.collect())).with(DType::U32));
        let order: Vec<usize> = (1..=steps.len()).chain([0, steps.len() + 1]).collect();
        b.transpose(input, &order)
    };
    let (own, others) = (input(&mut b, "own", &[2]), input(&mut b, "others", &[2, 3]));
    // How many of the others are the id of the step around.
    let zero = b.constant(0.0, &Shape(vec![Dim::B, Dim::Fixed(1)]));
    let outer = b.carry(zero, 2, false);
    let (own, others) = (b.element(outer, own), b.element(outer, others));
    let inner = b.carry(outer, 3, false);
    let other = b.element(inner, others);
    let (same, one) = (b.index_eq(own, other), b.constant_like(1.0, inner));
    let found = b.mask(same, one);
    let next = b.add(inner, found);
    let counts = b.history(inner, next);
    let last = b.slice(counts, 0, 3, 1, 1);
    let last = b.reshape(last, Shape(vec![Dim::B, Dim::Fixed(1)]));
    let all = b.history(outer, last);
    handmade::output(&mut b, Role::Output(0), all);
    let graph = batch_first(nest(b.finish()));
    let (few, many) = (1 << 24, 4_000_000_000);
    let own = Tensor::indices(&[2, 2, 1], vec![few, few + 1, many, many + 1]);
    let rows = [[few + 1, few, few + 2], [few, few + 1, few + 1], [many, many, many], [many, many + 2, many + 3]];
    let others = Tensor::indices(&[2, 2, 3, 1], rows.concat());
    let values = Values { inputs: vec![own, others], params: Vec::new(), scalars: Vec::new() };
    let expected = [0.0, 1.0, 3.0, 0.0, 3.0, 3.0];
    assert_eq!(evaluate(&graph, Precision::F32, 2, &values).output(&Role::Output(0)).as_floats(), expected);
    assert_eq!(Compiled::new(&graph, 2).run(2, &draw::singles(&values)).get(&Role::Output(0)), expected);
}
