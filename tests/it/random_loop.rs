//! Random graphs with loops: states of one or two axes, with the batch or without it, bodies of maps, products, reductions,
//! movement, tables and comparisons over elements of sequences and values from outside; one loop after the other, each over what
//! the ones before it leave, or inside of another; forwards and backwards. The same graph for the same seed.

use gradloom_runtime::init::Random;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, ScalarSlot, nest, verify};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::handmade;

/// The graph of this seed: a loss, histories and what is collected.
pub fn graph(seed: u64) -> Graph {
    let graph = nest(drawn(seed, Inner::Loop));
    verify(&graph).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{graph}"));
    graph
}

/// The same with its inner loops in one form or the other.
pub fn drawn(seed: u64, inner: Inner) -> Graph {
    let mut draft = Draft::new(seed, inner);
    let loops = 1 + draft.below(2);
    (0..loops).for_each(|_| draft.run());
    draft.finish()
}

/// What is drawn of a loop inside of another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// The loop.
    Loop,
    /// Its steps one after the other.
    Steps,
}

struct Draft {
    random: Random,
    b: Builder,
    /// Values outside of loops without an axis of steps: `[B, C]`, `[C]` or a number.
    fixed: Vec<NodeId>,
    /// Sequences, by their number of steps.
    sequences: Vec<NodeId>,
    /// What the results are made of.
    results: Vec<NodeId>,
    params: usize,
    steps: usize,
    inner: Inner,
}

impl Draft {
    fn new(seed: u64, inner: Inner) -> Draft {
        let mut b = Builder::new(Graph::default());
        b.graph_mut().slots.scalars.push(ScalarSlot::Optimizer("rate", 1.0));
        let mut random = Random::new(seed, 29);
        let steps = [1, 2, 3, 3, 4, 5, 7, 33][random.below(8) as usize];
        let (fixed, sequences, results) = Default::default();
        let mut draft = Draft { random, b, fixed, sequences, results, params: 0, steps, inner };
        // As users have it, with the batch in front.
        let features = draft.extent();
        let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(steps), Dim::Fixed(features)]));
        let x = handmade::input(&mut draft.b, "x", ty);
        let sequence = draft.b.transpose(x, &[1, 0, 2]);
        draft.sequences.push(sequence);
        if draft.below(2) == 0 {
            let ids = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(steps)])).with(DType::U8);
            let ids = handmade::input(&mut draft.b, "ids", ids);
            draft.b.limit_ids(ids, 4);
            let ids = draft.b.transpose(ids, &[1, 0]);
            draft.sequences.push(ids);
        }
        if draft.below(3) == 0 {
            let extent = draft.extent();
            let table = draft.parameter(&[steps, extent]);
            draft.sequences.push(table);
        }
        let extent = draft.extent();
        let ty = TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(extent)]));
        let other = handmade::input(&mut draft.b, "other", ty);
        draft.fixed.push(other);
        let extent = draft.extent();
        let bias = draft.parameter(&[extent]);
        draft.fixed.push(bias);
        draft
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn extent(&mut self) -> usize {
        self.one_of(&[1, 2, 3, 4, 5, 8, 17])
    }

    fn parameter(&mut self, shape: &[usize]) -> NodeId {
        self.params += 1;
        let name = format!("w{}", self.params);
        // A step after the first has those of the first.
        if let Some(known) = self.b.graph().slots.params.iter().position(|slot| slot.name == name) {
            return self.b.param(known);
        }
        handmade::parameter(&mut self.b, &name, shape)
    }

    /// `x` with the shape of the state, whatever its last axis is: spread, multiplied by a matrix, or summed.
    fn fitted(&mut self, x: NodeId, shape: &Shape) -> NodeId {
        let own = self.b.shape(x);
        if own == *shape {
            return x;
        }
        let wanted = shape.0.last().copied();
        let has_batch = shape.0.first().is_some_and(|dim| dim.is_batch());
        let mut x = x;
        if own.0.first().is_some_and(|dim| dim.is_batch()) && !has_batch {
            x = self.b.mean(x, &[0]);
        }
        let own = self.b.shape(x);
        if let (Some(&Dim::Fixed(from)), Some(Dim::Fixed(to))) = (own.0.last(), wanted)
            && from != to
        {
            x = match self.below(3) {
                0 => self.b.sum(x, &[own.rank() - 1]),
                _ => {
                    let w = self.parameter(&[from, to]);
                    let axes = DotAxes { batch: vec![], contracted: vec![(own.rank() - 1, 0)] };
                    self.b.product(x, w, axes)
                }
            };
        }
        let own = self.b.shape(x);
        if own == *shape {
            return x;
        }
        let axes: Vec<usize> = match own.0[..] {
            [Dim::Batch(_)] => vec![0],
            [Dim::Fixed(_)] => vec![shape.rank() - 1],
            _ => vec![],
        };
        self.b.broadcast(x, shape, &axes)
    }

    /// One loop, and what it leaves.
    fn run(&mut self) {
        let size = self.extent();
        let batch = self.below(6) > 0;
        let shape = Shape(if batch { vec![Dim::B, Dim::Fixed(size)] } else { vec![Dim::Fixed(size)] });
        let initial = match self.below(3) {
            0 => self.b.constant(0.25, &shape),
            _ => {
                let from = self.one_of(&self.fixed.clone());
                self.fitted(from, &shape)
            }
        };
        let reverse = self.below(3) == 0;
        let carry = self.b.carry(initial, self.steps, reverse);
        let mut values = vec![carry];
        for sequence in self.sequences.clone() {
            if self.below(3) > 0 {
                let element = self.b.element(carry, sequence);
                let dtype = self.b.ty(element).dtype;
                let element = match dtype {
                    DType::F32 => element,
                    _ if self.below(2) == 0 => self.b.to_float(element),
                    _ => {
                        let extent = self.extent();
                        let table = self.parameter(&[4, extent]);
                        self.b.gather(table, element)
                    }
                };
                let has_batch = self.b.shape(element).0.first().is_some_and(|dim| dim.is_batch());
                let rank = self.b.shape(element).rank();
                if has_batch && rank == 1 {
                    let whole = Shape(vec![Dim::B, Dim::Fixed(1)]);
                    let column = self.b.reshape(element, whole);
                    values.push(column);
                } else {
                    values.push(element);
                }
            }
        }
        for _ in 0..1 + self.below(5) {
            let value = self.step(&shape, &values);
            values.push(value);
        }
        let last = *values.last().expect("there is the state");
        // Bounded, so that nothing grows from step to step.
        let next = self.fitted(last, &shape);
        let form = self.below(3);
        let next = handmade::bounded_state(&mut self.b, form, carry, next);
        let history = self.b.history(carry, next);
        if self.below(3) > 0 {
            self.results.push(history);
        }
        if self.below(2) == 0 {
            let value = self.one_of(&values);
            let collected = self.b.collect(history, value);
            self.results.push(collected);
            if self.below(2) == 0 {
                self.sequences.push(collected);
            }
        }
        let first = self.below(2);
        let rows = self.b.slice(history, 0, first, self.steps, 1);
        self.sequences.push(rows);
        let last = self.b.slice(history, 0, if reverse { 0 } else { self.steps }, 1, 1);
        let last = self.b.reshape(last, shape);
        self.fixed.push(last);
        self.results.push(last);
    }

    /// A loop in the body, over some of its values, that begins with one of them: its last state, or the sum of all.
    fn inner_loop(&mut self, shape: &Shape, values: &[NodeId]) -> NodeId {
        let (steps, reverse) = (1 + self.below(4), self.below(2) == 0);
        let mut rows = Vec::new();
        for _ in 0..steps {
            let x = self.one_of(values);
            rows.push(self.fitted(x, shape));
        }
        let sequence = self.stacked(&rows);
        let initial = match self.below(2) {
            0 => self.b.constant(0.5, shape),
            _ => {
                let x = self.one_of(values);
                self.fitted(x, shape)
            }
        };
        let history = match self.inner {
            Inner::Loop => {
                let carry = self.b.carry(initial, steps, reverse);
                let element = self.b.element(carry, sequence);
                let next = self.inner_step(shape, [carry, element], values);
                self.b.history(carry, next)
            }
            Inner::Steps => {
                let (random, params) = (self.random.clone(), self.params);
                let mut states = vec![initial];
                for step in 0..steps {
                    (self.random, self.params) = (random.clone(), params);
                    let position = if reverse { steps - 1 - step } else { step };
                    let row = self.b.slice(sequence, 0, position, 1, 1);
                    let row = self.b.reshape(row, shape.clone());
                    states.push(self.inner_step(shape, [states[step], row], values));
                }
                if reverse {
                    states.reverse();
                }
                self.stacked(&states)
            }
        };
        if self.below(3) == 0 {
            return self.b.sum(history, &[0]);
        }
        let last = self.b.slice(history, 0, if reverse { 0 } else { steps }, 1, 1);
        self.b.reshape(last, shape.clone())
    }

    fn stacked(&mut self, rows: &[NodeId]) -> NodeId {
        let mut parts = Vec::new();
        for &row in rows {
            let shape = self.b.shape(row).stacked(1);
            parts.push(self.b.reshape(row, shape));
        }
        self.b.concat(&parts, 0)
    }

    fn inner_step(&mut self, shape: &Shape, [state, element]: [NodeId; 2], values: &[NodeId]) -> NodeId {
        let other = self.one_of(values);
        let x = self.step(shape, &[state, element, other]);
        let (x, near) = (self.fitted(x, shape), self.b.add(state, element));
        let sum = self.b.add(x, near);
        self.b.tanh(sum)
    }

    /// A value of the body.
    fn step(&mut self, shape: &Shape, values: &[NodeId]) -> NodeId {
        let x = self.one_of(values);
        let own = self.b.shape(x);
        let axis = own.rank() - 1;
        let extent = own.0[axis].factor();
        match self.below(10) {
            0 => self.b.tanh(x),
            1 => {
                let y = self.one_of(values);
                let (x, y) = (self.fitted(x, shape), self.fitted(y, shape));
                match self.below(3) {
                    0 => self.b.mul(x, y),
                    1 => self.b.sub(x, y),
                    _ => self.b.max(x, y),
                }
            }
            2 => {
                let y = self.one_of(&self.fixed.clone());
                let (x, y) = (self.fitted(x, shape), self.fitted(y, shape));
                self.b.add(x, y)
            }
            3 if extent > 1 => {
                // The halves of a state, the other way round.
                let half = extent / 2;
                let first = self.b.slice(x, axis, 0, half, 1);
                let rest = self.b.slice(x, axis, half, extent - half, 1);
                self.b.concat(&[rest, first], axis)
            }
            4 => {
                let width = self.extent();
                let w = self.parameter(&[extent, width]);
                self.b.product(x, w, DotAxes { batch: vec![], contracted: vec![(axis, 0)] })
            }
            5 => {
                let w = self.parameter(&[extent]);
                let same = self.b.broadcast(w, &own, &[axis]);
                self.b.mul(x, same)
            }
            6 => {
                let top = self.b.max_over(x, &[axis]);
                let top = self.b.broadcast_over(top, &own, &[axis]);
                let apart = self.b.sub(x, top);
                let power = self.b.exp(apart);
                let sum = self.b.sum(power, &[axis]);
                let sum = self.b.broadcast_over(sum, &own, &[axis]);
                self.b.div(power, sum)
            }
            8 => self.inner_loop(shape, values),
            7 => {
                let y = self.one_of(values);
                let (x, y) = (self.fitted(x, shape), self.fitted(y, shape));
                let larger = self.b.compare(Cmp::Gt, x, y);
                self.b.mask(larger, x)
            }
            _ => {
                let y = self.one_of(values);
                let (x, y) = (self.fitted(x, shape), self.fitted(y, shape));
                self.b.concat(&[x, y], shape.rank() - 1)
            }
        }
    }

    fn finish(mut self) -> Graph {
        let mut parts = Vec::new();
        for (number, result) in self.results.clone().into_iter().enumerate() {
            let ty = self.b.ty(result).clone();
            let result = if ty.dtype == DType::F32 { result } else { self.b.to_float(result) };
            let bent = self.b.mul(result, result);
            let sum = self.b.add(bent, result);
            let axes: Vec<usize> = (0..ty.shape.rank()).collect();
            parts.push(self.b.mean(sum, &axes));
            handmade::output(&mut self.b, Role::Output(number), result);
        }
        let loss = parts.into_iter().reduce(|sum, part| self.b.add(sum, part)).expect("a loop leaves something");
        handmade::output(&mut self.b, Role::Loss, loss);
        let graph = self.b.finish();
        debug_assert!(graph.nodes.iter().any(|node| matches!(node.op, Op::History { .. })));
        graph
    }
}
