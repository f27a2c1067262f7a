//! Random graphs of every operation, on tensors of 0 to 6 axes: with a batch axis anywhere or none, with axes of one element and
//! now and then of none, with index inputs, tables and masks. The loss is a number; each result is smooth nearly everywhere and of
//! moderate size. The same graph for the same seed.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::gradcheck;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Data, Precision, evaluate};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, ScalarSlot, Window, ops, verify};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::budget::cases;
use crate::{draw, handmade};

/// Axes of a tensor at most, and elements of one for each row of the batch.
const RANK: usize = 6;
const ELEMENTS: usize = 96;
/// Elements of a parameter at most.
const PARAMETER: usize = 12;

/// The graph of this seed, every other one with the gradients by all its parameters.
pub fn graph(seed: u64) -> Graph {
    let graph = forward(seed);
    if seed.is_multiple_of(2) { graph } else { differentiate(&graph, &wanted(&graph)) }
}

/// The graph of this seed without gradients: a loss, and up to two results that have the batch in front or none.
pub fn forward(seed: u64) -> Graph {
    let mut draft = Draft::new(seed);
    let steps = 3 + draft.below(9);
    let mut tries = 0;
    while draft.made < steps && tries < 20 * steps {
        tries += 1;
        draft.step();
    }
    let graph = draft.finish();
    verify(&graph).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{graph}"));
    graph
}

/// All parameters.
fn wanted(graph: &Graph) -> Vec<usize> {
    (0..graph.slots.params.len()).collect()
}

struct Draft {
    random: Random,
    b: Builder,
    /// What a step may read.
    values: Vec<NodeId>,
    /// Indices, each with the number that its elements are below.
    indices: Vec<(NodeId, usize)>,
    made: usize,
}

impl Draft {
    fn new(seed: u64) -> Draft {
        let mut b = Builder::new(Graph::default());
        b.graph_mut().slots.scalars.push(ScalarSlot::Optimizer("rate", 1.0));
        let mut draft = Draft { random: Random::new(seed, 11), b, values: Vec::new(), indices: Vec::new(), made: 0 };
        for _ in 0..1 + draft.below(3) {
            let shape = draft.shape(true);
            draft.input(shape);
        }
        let shape = draft.shape(false);
        let parameter = draft.parameter(&shape);
        draft.values.push(parameter);
        draft
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn extent(&mut self) -> usize {
        self.one_of(&[1, 2, 2, 3, 3, 4, 5])
    }

    /// Of any rank, with the batch in front if there is one.
    fn shape(&mut self, batch: bool) -> Shape {
        let rank = self.below(RANK);
        let mut dims: Vec<Dim> = Vec::new();
        if batch && self.below(4) > 0 {
            dims.push(Dim::Batch(self.one_of(&[1, 1, 2, 3])));
        }
        for _ in 0..rank {
            let extent = self.extent();
            dims.push(Dim::Fixed(extent));
            if size(&Shape(dims.clone())) > 24 {
                dims.pop();
                dims.extend((self.below(2) == 0).then_some(Dim::Fixed(1)));
            }
        }
        Shape(dims)
    }

    fn input(&mut self, shape: Shape) {
        let input = handmade::input(&mut self.b, "x", TensorType::f32(shape));
        self.values.push(input);
    }

    fn parameter(&mut self, shape: &Shape) -> NodeId {
        let mut extents = shape.at(1);
        while extents.iter().product::<usize>() > PARAMETER {
            let largest = (0..extents.len()).max_by_key(|&axis| extents[axis]).expect("a scalar is small");
            extents[largest] -= 1;
        }
        let name = format!("w{}", self.b.graph().slots.params.len());
        handmade::parameter(&mut self.b, &name, &extents)
    }

    /// A value that exists, later ones rather than earlier ones.
    fn value(&mut self) -> NodeId {
        let last = self.values.len() - 1;
        let back = self.below(last + 1).min(self.below(last + 1));
        self.values[last - back]
    }

    fn shape_of(&self, x: NodeId) -> Shape {
        self.b.shape(x)
    }

    /// An axis along which elements may move.
    fn fixed_axis(&mut self, x: NodeId) -> Option<usize> {
        let shape = self.shape_of(x);
        let axes: Vec<usize> = (0..shape.rank()).filter(|&axis| !shape.0[axis].is_batch()).collect();
        if axes.is_empty() { None } else { Some(self.one_of(&axes)) }
    }

    /// Some of the axes, in order; all, or at least one where `some` says so.
    fn axes(&mut self, rank: usize, some: bool) -> Option<Vec<usize>> {
        let axes: Vec<usize> = (0..rank).filter(|_| self.below(2) == 0).collect();
        match axes.is_empty() && some {
            true if rank == 0 => None,
            true => Some(vec![self.below(rank)]),
            false => Some(axes),
        }
    }

    /// Something of this shape: another value, or a parameter, number or input that is repeated.
    fn like(&mut self, shape: &Shape) -> NodeId {
        let same: Vec<NodeId> = self.values.iter().copied().filter(|&x| self.shape_of(x) == *shape).collect();
        if !same.is_empty() && self.below(2) == 0 {
            return self.one_of(&same);
        }
        match self.below(8) {
            0 => {
                let scalar = self.b.scalar(0);
                return self.b.spread(scalar, shape);
            }
            1 => return self.b.constant(0.75, shape),
            _ => {}
        }
        let kept: Vec<usize> =
            (0..shape.rank()).filter(|&axis| !shape.0[axis].is_batch() && self.random.below(3) > 0).collect();
        let small = Shape(kept.iter().map(|&axis| shape.0[axis]).collect());
        if size(&small) > PARAMETER || size(&small) == 0 {
            return self.b.constant(-0.5, shape);
        }
        let parameter = self.parameter(&small);
        if kept.len() == shape.rank() { parameter } else { self.b.broadcast(parameter, shape, &kept) }
    }

    /// A mask of this shape.
    fn mask(&mut self, shape: &Shape) -> NodeId {
        let mask = if shape.rank() > 1 && self.below(3) == 0 {
            let [x, y] = [0, 1].map(|_| {
                let axis = self.below(shape.rank());
                self.b.iota(axis, shape)
            });
            self.b.index_eq(x, y)
        } else {
            let (x, y) = (self.like(shape), self.like(shape));
            let cmp = self.one_of(&[Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge, Cmp::Ne]);
            self.b.compare(cmp, x, y)
        };
        if self.below(3) == 0 { self.b.not(mask) } else { mask }
    }

    /// An index of this shape, with elements below `rows`: an input, which has the batch in front, moved or not, or positions.
    fn index(&mut self, shape: &Shape, rows: usize) -> Option<NodeId> {
        let known: Vec<NodeId> = self
            .indices
            .iter()
            .filter(|(index, below)| self.b.shape(*index) == *shape && *below <= rows)
            .map(|(index, _)| *index)
            .collect();
        if !known.is_empty() && self.below(2) == 0 {
            return Some(self.one_of(&known));
        }
        let short: Vec<usize> =
            (0..shape.rank()).filter(|&axis| matches!(shape.0[axis], Dim::Fixed(n) if n <= rows)).collect();
        if !short.is_empty() && self.below(4) == 0 {
            let axis = self.one_of(&short);
            let position = self.b.iota(axis, shape);
            let number = self.b.to_float(position);
            return Some(self.b.to_index(number));
        }
        if rows == 0 {
            return None;
        }
        // As an input has it, then as it is wanted.
        let batch = shape.0.iter().position(|dim| dim.is_batch());
        let mut order: Vec<usize> = (0..shape.rank()).collect();
        if let Some(batch) = batch {
            let axis = order.remove(batch);
            order.insert(0, axis);
        }
        let dims = order.iter().map(|&axis| shape.0[axis]).collect();
        let dtype = self.one_of(&[DType::U8, DType::U16, DType::U32]);
        let input = handmade::input(&mut self.b, "index", TensorType { dtype, shape: Shape(dims) });
        let slot = self.b.graph().slots.inputs.len() - 1;
        self.b.graph_mut().slots.inputs[slot].classes = Some(rows);
        let back: Vec<usize> =
            (0..order.len()).map(|axis| order.iter().position(|&at| at == axis).expect("a permutation")).collect();
        let index = if back.is_sorted() { input } else { self.b.transpose(input, &back) };
        self.indices.push((index, rows));
        Some(index)
    }

    /// Adds a few operations, if what is drawn fits.
    fn step(&mut self) {
        let x = self.value();
        let result = match self.below(26) {
            0 | 1 => Some(self.unary(x)),
            2 | 3 => Some(self.binary(x)),
            4 => Some(self.choice(x)),
            5 | 6 => self.reduce(x),
            7 => self.repeat(x),
            8 | 9 => self.reshape(x),
            10 | 11 => Some(self.transpose(x)),
            12 => self.movement(x),
            13 => self.patches(x),
            14 => self.fold(x),
            15 => self.concat(x),
            16 => self.gather(),
            17 => self.scatter_add(x),
            18 => self.masked_movement(x),
            19 => self.positions(x),
            20 => self.empty(x),
            21 => self.pool(x),
            22 => self.skew(x),
            _ => self.product(x),
        };
        let fits = |draft: &Draft, x: NodeId| size(&draft.shape_of(x)) <= ELEMENTS && draft.shape_of(x).rank() <= RANK;
        if let Some(result) = result.filter(|&result| fits(self, result)) {
            self.values.push(result);
            self.made += 1;
        }
    }

    fn unary(&mut self, x: NodeId) -> NodeId {
        let b = &mut self.b;
        match self.random.below(16) {
            14 => b.apply(Op::SigmoidSlope, &[x]),
            15 => b.apply(Op::TanhSlope, &[x]),
            0 => b.neg(x),
            1 => b.abs(x),
            2 => b.sigmoid(x),
            3 => b.softplus(x),
            4 => b.erf(x),
            5 => b.normal_cdf(x),
            6 => {
                let bell = b.bell(x, 0.5);
                b.scale(bell, 2.0)
            }
            7 => {
                let bounded = b.tanh(x);
                let power = b.expm1(bounded);
                b.exp(power)
            }
            8 => {
                let square = b.mul(x, x);
                let square = b.log1p(square);
                let positive = b.offset(square, 0.5);
                let root = b.rsqrt(positive);
                let log = b.ln(positive);
                b.add(root, log)
            }
            9 => {
                let square = b.mul(x, x);
                let positive = b.offset(square, 1.0);
                b.sqrt(positive)
            }
            10 => {
                let square = b.mul(x, x);
                let square = b.detach(square);
                let slope = b.scale(x, 2.0);
                let square = b.with_slope(square, x, slope);
                b.tanh(square)
            }
            _ => b.tanh(x),
        }
    }

    fn binary(&mut self, x: NodeId) -> NodeId {
        let shape = self.shape_of(x);
        let y = self.like(&shape);
        match self.below(8) {
            0 => self.b.add(x, y),
            1 => self.b.sub(y, x),
            2 => self.b.max(x, y),
            3 => self.b.min(x, y),
            4 => {
                let bounded = self.b.tanh(x);
                self.b.mul_add(bounded, y, x)
            }
            5 => {
                let square = self.b.mul(y, y);
                let positive = self.b.offset(square, 1.0);
                self.b.div(x, positive)
            }
            _ => {
                let bounded = self.b.tanh(y);
                self.b.mul(x, bounded)
            }
        }
    }

    fn choice(&mut self, x: NodeId) -> NodeId {
        let shape = self.shape_of(x);
        let (mask, y) = (self.mask(&shape), self.like(&shape));
        self.b.select(mask, x, y)
    }

    fn reduce(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape_of(x);
        let axes = self.axes(shape.rank(), true)?;
        // A mean of no numbers is none.
        let kinds = if size(&shape) == 0 { 1 } else { 5 };
        Some(match self.below(kinds) {
            0 => {
                let sum = self.b.sum(x, &axes);
                self.b.scale(sum, 0.5)
            }
            1 => self.b.max_over(x, &axes),
            2 => self.b.center(x, &axes),
            3 => self.b.variance(x, &axes),
            _ => self.b.mean(x, &axes),
        })
    }

    /// Along new axes, one of which may be the batch.
    fn repeat(&mut self, x: NodeId) -> Option<NodeId> {
        let mut shape = self.shape_of(x);
        let mut axes: Vec<usize> = (0..shape.rank()).collect();
        for _ in 0..1 + self.below(2) {
            let at = self.below(shape.rank() + 1);
            let batch = !shape.0.iter().any(|dim| dim.is_batch()) && self.below(2) == 0;
            let dim = if batch { Dim::Batch(1) } else { Dim::Fixed(self.extent()) };
            shape.0.insert(at, dim);
            axes.iter_mut().filter(|axis| **axis >= at).for_each(|axis| *axis += 1);
        }
        (size(&shape) <= ELEMENTS && shape.rank() <= RANK).then(|| self.b.broadcast(x, &shape, &axes))
    }

    /// Splits axes and merges them, as far as the batch allows it.
    fn reshape(&mut self, x: NodeId) -> Option<NodeId> {
        let mut shape = self.shape_of(x);
        for _ in 0..1 + self.below(3) {
            let rank = shape.rank();
            match self.below(3) {
                0 if rank < RANK => {
                    let at = self.below(rank + 1);
                    shape.0.insert(at, Dim::Fixed(1));
                }
                1 if rank > 1 => {
                    // Nothing is merged with the batch from the front but an axis of one element.
                    let at = self.below(rank - 1);
                    let merged = Dim::product(&shape.0[at..at + 2])?;
                    if !shape.0[at + 1].is_batch() || shape.0[at] == Dim::Fixed(1) {
                        shape.0.splice(at..at + 2, [merged]);
                    }
                }
                2 if rank > 0 && rank < RANK => {
                    let at = self.below(rank);
                    let factor = shape.0[at].factor();
                    let divisor = self.one_of(&[2, 3]);
                    if factor > 0 && factor.is_multiple_of(divisor) {
                        let parts = match shape.0[at] {
                            Dim::Fixed(_) => [Dim::Fixed(divisor), Dim::Fixed(factor / divisor)],
                            Dim::Batch(_) => [Dim::Batch(factor / divisor), Dim::Fixed(divisor)],
                        };
                        shape.0.splice(at..=at, parts);
                    }
                }
                _ => {}
            }
        }
        (shape != self.shape_of(x)).then(|| self.b.reshape(x, shape))
    }

    fn order(&mut self, rank: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..rank).collect();
        for at in (1..rank).rev() {
            let other = self.below(at + 1);
            order.swap(at, other);
        }
        order
    }

    fn transpose(&mut self, x: NodeId) -> NodeId {
        let order = self.order(self.b.ty(x).shape.rank());
        self.b.transpose(x, &order)
    }

    /// A slice or a pad that fits.
    fn moving(&mut self, x: NodeId) -> Option<Op> {
        let axis = self.fixed_axis(x)?;
        let extent = self.shape_of(x).0[axis].factor();
        if self.below(2) == 0 && extent > 0 {
            let start = self.below(extent);
            let step = 1 + self.below(3);
            let most = (extent - start).div_ceil(step);
            let len = 1 + self.below(most);
            return Some(Op::Slice { axis, start, len, step });
        }
        let (before, inside, after) = (self.below(3), self.below(3), self.below(3));
        let value = self.one_of(&[0.0, 0.0, 1.0]);
        let (inside, after) = (inside.saturating_sub(1), after.saturating_sub(usize::from(before > 1)));
        Some(Op::Pad { axis, before, inside, after, value })
    }

    fn movement(&mut self, x: NodeId) -> Option<NodeId> {
        let op = self.moving(x)?;
        Some(self.b.apply(op, &[x]))
    }

    /// A choice between values that move as its condition does.
    fn masked_movement(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape_of(x);
        let (mask, y) = (self.mask(&shape), self.like(&shape));
        let op = match self.below(4) {
            0 => Op::Transpose(self.order(shape.rank())),
            1 => {
                let axis = self.fixed_axis(x)?;
                let window = self.window(shape.0[axis].factor())?;
                Op::Patches { axis, window, value: 0.0 }
            }
            2 => {
                let axis = self.fixed_axis(x)?;
                let [mask, x, y] = [[mask, mask], [x, y], [y, x]].map(|pair| self.b.concat(&pair, axis));
                return Some(self.b.select(mask, x, y));
            }
            _ => self.moving(x)?,
        };
        let [mask, x, y] = [mask, x, y].map(|x| self.b.apply(op.clone(), &[x]));
        Some(self.b.select(mask, x, y))
    }

    fn window(&mut self, extent: usize) -> Option<Window> {
        let [size, stride, dilation] = [3, 3, 2].map(|bound| 1 + self.below(bound));
        let [before, after] = [3, 3].map(|bound| self.below(bound));
        let window = Window { size, stride, dilation, before, after };
        window.positions(extent).ok().map(|_| window)
    }

    fn patches(&mut self, x: NodeId) -> Option<NodeId> {
        let axis = self.fixed_axis(x)?;
        let window = self.window(self.shape_of(x).0[axis].factor())?;
        let value = self.one_of(&[0.0, 0.0, -1.5]);
        // The rank grows by one.
        (self.b.ty(x).shape.rank() < RANK).then(|| self.b.patches(x, axis, window, value))
    }

    /// The largest under a window, which is over one element at least.
    fn pool(&mut self, x: NodeId) -> Option<NodeId> {
        let axis = self.fixed_axis(x)?;
        let extent = self.shape_of(x).0[axis].factor();
        let (size, stride) = (1 + self.below(3), 1 + self.below(2));
        let window = Window { stride, before: self.below(size), after: self.below(size), ..Window::of(size) };
        if extent == 0 || window.positions(extent).is_err() || self.b.ty(x).shape.rank() == RANK {
            return None;
        }
        let patches = self.b.patches(x, axis, window, f64::NEG_INFINITY);
        Some(self.b.max_over(patches, &[axis + 1]))
    }

    /// Two axes that are positions and taps of some window.
    fn fold(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape_of(x);
        let pairs: Vec<usize> =
            (1..shape.rank()).filter(|&axis| !shape.0[axis].is_batch()).map(|axis| axis - 1).collect();
        let pairs: Vec<usize> = pairs.into_iter().filter(|&axis| !shape.0[axis].is_batch()).collect();
        if pairs.is_empty() || size(&shape) == 0 {
            return None;
        }
        let axis = self.one_of(&pairs);
        let (positions, taps) = (shape.0[axis].factor(), shape.0[axis + 1].factor());
        let [stride, dilation] = [3, 2].map(|bound| 1 + self.below(bound));
        let rest = self.below(stride);
        let padded = dilation * (taps - 1) + 1 + stride * (positions - 1) + rest;
        let before = self.below(3).min(padded - 1);
        let after = self.below(3).min(padded - 1 - before);
        let window = Window { size: taps, stride, dilation, before, after };
        Some(self.b.fold(x, axis, window, padded - before - after))
    }

    /// Along one axis by another.
    fn skew(&mut self, x: NodeId) -> Option<NodeId> {
        let (axis, along) = (self.fixed_axis(x)?, self.fixed_axis(x)?);
        let (step, shift) = (self.below(5) as i64 - 2, self.below(5) as i64 - 2);
        let extent = self.extent();
        (axis != along).then(|| self.b.apply(Op::Skew { axis, along, step, shift, extent }, &[x]))
    }

    /// After itself, a part of itself, or something new.
    fn concat(&mut self, x: NodeId) -> Option<NodeId> {
        let axis = self.fixed_axis(x)?;
        let mut parts = vec![x];
        for _ in 0..1 + self.below(2) {
            let mut shape = self.shape_of(x);
            let extent = shape.0[axis].factor();
            let part = match self.below(3) {
                0 if extent > 0 => {
                    let len = 1 + self.below(extent);
                    self.b.slice(x, axis, extent - len, len, 1)
                }
                _ => {
                    shape.0[axis] = Dim::Fixed(self.extent());
                    self.like(&shape)
                }
            };
            let at = self.below(parts.len() + 1);
            parts.insert(at, part);
        }
        Some(self.b.concat(&parts, axis))
    }

    fn gather(&mut self) -> Option<NodeId> {
        let table = self.value();
        let shape = self.shape_of(table);
        let &Dim::Fixed(rows) = shape.0.first()? else { return None };
        let has_batch = shape.0.iter().any(|dim| dim.is_batch());
        let mut index = self.shape(!has_batch);
        index.0.truncate(3);
        let order = self.order(index.rank());
        let index = Shape(order.into_iter().map(|axis| index.0[axis]).collect());
        let all = Shape([&index.0, &shape.0[1..]].concat());
        if size(&all) > ELEMENTS || all.rank() > RANK {
            return None;
        }
        let index = self.index(&index, rows)?;
        Some(self.b.gather(table, index))
    }

    fn scatter_add(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape_of(x);
        let outer = self.below(shape.rank() + 1);
        let rows = self.extent();
        let index = self.index(&Shape(shape.0[..outer].to_vec()), rows)?;
        let sum = self.b.scatter_add(x, index, rows + self.random.below(2) as usize);
        Some(self.b.scale(sum, 0.5))
    }

    /// Times a position, or a random number that a position decides.
    fn positions(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape_of(x);
        if shape.rank() == 0 {
            return None;
        }
        let words = [0; 4].map(|_| {
            let axis = self.below(shape.rank());
            self.b.iota(axis, &shape)
        });
        let number = match self.below(2) {
            0 => self.b.apply(Op::Uniform, &words),
            _ => self.b.to_float(words[0]),
        };
        let number = self.b.tanh(number);
        Some(self.b.mul(x, number))
    }

    /// Nothing of a value, as part of something.
    fn empty(&mut self, x: NodeId) -> Option<NodeId> {
        let axis = self.fixed_axis(x)?;
        let shape = self.shape_of(x);
        let nothing = self.b.slice(x, axis, shape.0[axis].factor(), 0, 1);
        let nothing = self.unary(nothing);
        Some(match self.below(3) {
            0 => self.b.sum(nothing, &[axis]),
            1 => self.b.pad(nothing, axis, [1, 1], 0.5),
            _ => self.b.concat(&[nothing, x], axis),
        })
    }

    /// Of `x` with another value, or with a parameter that shares some of its axes. Axes of one extent are paired at random.
    fn product(&mut self, x: NodeId) -> Option<NodeId> {
        let shape = self.shape_of(x);
        let y = if self.below(2) == 0 {
            let mut dims: Vec<Dim> =
                shape.0.iter().copied().filter(|dim| !dim.is_batch() && dim.factor() > 0).collect();
            dims.retain(|_| self.random.below(3) > 0);
            let free = self.extent();
            dims.push(Dim::Fixed(free));
            let order = self.order(dims.len());
            self.parameter(&Shape(order.into_iter().map(|axis| dims[axis]).collect()))
        } else {
            self.value()
        };
        let other = self.shape_of(y);
        let mut axes = DotAxes::default();
        for a in self.order(shape.rank()) {
            let taken =
                |axes: &DotAxes, b: usize| axes.batch.iter().chain(&axes.contracted).any(|&(_, taken)| taken == b);
            let order = self.order(other.rank());
            let partner = order.into_iter().find(|&b| other.0[b] == shape.0[a] && !taken(&axes, b));
            // Two batch axes have to be one in the result, or none.
            match (partner, self.below(4)) {
                (Some(b), 0) => axes.batch.push((a, b)),
                (Some(b), 1 | 2) => axes.contracted.push((a, b)),
                (Some(b), _) if shape.0[a].is_batch() => axes.contracted.push((a, b)),
                _ => {}
            }
        }
        // Columns of their own follow the batch.
        let column = axes.batch.last().is_some_and(|&(axis, _)| !shape.0[axis].is_batch());
        let op = if column && self.below(3) == 0 { Op::DotByColumn(axes) } else { Op::Dot(axes) };
        let ty = (op.def().ty)(&op, &[self.b.ty(x), self.b.ty(y)]).expect("the axes fit");
        let batches = ty.shape.0.iter().filter(|dim| dim.is_batch()).count();
        if batches > 1 || size(&ty.shape) > ELEMENTS || ty.shape.rank() > RANK {
            return None;
        }
        let product = self.b.apply(op, &[x, y]);
        Some(self.b.scale(product, 0.5))
    }

    /// The loss is made of sums and means of all that nobody reads, weighted and kept to moderate size.
    fn finish(mut self) -> Graph {
        let nodes = &self.b.graph().nodes;
        let read: Vec<bool> = self.values.iter().map(|x| nodes.iter().any(|node| node.operands.contains(x))).collect();
        let mut unread: Vec<NodeId> = self.values.iter().zip(read).filter(|(_, read)| !read).map(|(&x, _)| x).collect();
        unread.extend(self.values.last());
        unread.dedup();
        let mut loss = None;
        for x in unread {
            let shape = self.shape_of(x);
            let weights = self.like(&shape);
            let bounded = self.b.tanh(x);
            let weighted = self.b.mul(bounded, weights);
            let all = Vec::from_iter(0..shape.rank());
            let sum = match self.below(4) {
                _ if all.is_empty() => weighted,
                0 if size(&shape) > 0 => self.b.mean(weighted, &all),
                _ => self.b.sum(weighted, &all),
            };
            loss = Some(loss.map_or(sum, |loss| self.b.add(loss, sum)));
        }
        handmade::output(&mut self.b, Role::Loss, loss.expect("the last value is part of it"));
        // A result has its rows in front.
        let mut index = 0;
        for x in self.values.clone().into_iter().rev() {
            let shape = self.shape_of(x);
            if index < 2 && shape.0.iter().skip(1).all(|dim| !dim.is_batch()) && self.below(4) == 0 {
                handmade::output(&mut self.b, Role::Output(index), x);
                index += 1;
            }
        }
        self.b.finish()
    }
}

/// Elements for each row of the batch.
fn size(shape: &Shape) -> usize {
    shape.len_at(1)
}

#[test]
fn gradients_of_random_tensor_graphs_are_those_that_differences_show() {
    let (mut compared, mut varied) = (0, 0);
    for seed in 0..cases(120) {
        let graph = forward(seed);
        let wanted = wanted(&graph);
        let joint = differentiate(&graph, &wanted);
        verify(&joint).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{joint}"));
        let batch = 1 + (seed % 3) as usize;
        let values = draw::values(&graph, batch, seed);
        let run = evaluate(&joint, Precision::F64, batch, &values);
        assert!(run.loss().is_finite(), "seed {seed}: {}\n{graph}", run.loss());
        let found: Vec<Vec<f64>> =
            wanted.iter().map(|&param| run.output(&Role::Gradient(param)).as_floats().to_vec()).collect();
        let report = gradcheck::check([&graph, &joint], batch, &values, &wanted, &found);
        assert!(report.passed(), "seed {seed}, {batch} rows: {report}\n{joint}");
        varied += found.iter().flatten().filter(|x| **x != 0.0).count();
        compared += report.params.iter().map(|param| param.moved - param.kinks).sum::<usize>();
    }
    assert!(compared > 1000 && varied > 800, "{compared} {varied}");
}

#[test]
fn random_tensor_graphs_mean_the_same_in_f32_and_simplified() {
    for seed in 0..cases(500) {
        let graph = graph(seed);
        verify(&graph).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{graph}"));
        let simple = simplify(&graph);
        verify(&simple).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{simple}"));
        let batch = 1 + (seed % 4) as usize;
        let values = draw::singles(&draw::values(&graph, batch, seed));
        let exact = evaluate(&graph, Precision::F64, batch, &values);
        let simplified = evaluate(&simple, Precision::F64, batch, &values);
        for ((role, x), (_, y)) in exact.outputs().zip(simplified.outputs()) {
            let size = x.as_floats().iter().fold(1.0f64, |top, x| top.max(x.abs()));
            let near = x.as_floats().iter().zip(y.as_floats()).all(|(x, y)| (x - y).abs() <= 1e-10 * size);
            assert!(near, "seed {seed}, {batch} rows, {role:?}: {x:?} becomes {y:?}\n{graph}=>\n{simple}");
        }
        // Where nothing is compared, single precision is near.
        let decides =
            |node: &gradloom_runtime::ir::Node| matches!(node.op, Op::Compare(_) | Op::Max | Op::Min | Op::MaxOver(_));
        if !graph.nodes.iter().any(decides) {
            let rounded = evaluate(&graph, Precision::F32, batch, &values);
            for ((role, x), (_, y)) in exact.outputs().zip(rounded.outputs()) {
                let size = x.as_floats().iter().fold(1.0f64, |top, x| top.max(x.abs()));
                let near = x.as_floats().iter().zip(y.as_floats()).all(|(x, y)| (x - y).abs() <= 1e-3 * size);
                assert!(near, "seed {seed}, {batch} rows, {role:?} in f32: {x:?} becomes {y:?}\n{graph}");
            }
        }
    }
}

#[test]
fn random_tensor_graphs_have_every_operation_rank_and_place_of_the_batch() {
    let joint: Vec<Graph> = (0..500).map(graph).collect();
    let graphs: Vec<Graph> = (0..500).map(forward).collect();
    let nodes = || graphs.iter().flat_map(|graph| &graph.nodes);
    // Two operations print as `max`: one of two operands, one over axes.
    let key = |def: &ops::OpDef| (def.name, matches!(def.body, ops::Body::Reduce(_)));
    // Loops are drawn by `random_loop`.
    for def in ops::ALL.iter().filter(|def| !matches!(def.body, ops::Body::Loop)) {
        let all = joint.iter().flat_map(|graph| &graph.nodes);
        let found = all.filter(|node| key(node.op.def()) == key(def)).count();
        assert!(found >= 10, "{found} of `{}`", def.name);
    }
    for rank in 0..=RANK {
        let of_rank = || nodes().filter(move |node| node.ty.shape.rank() == rank);
        assert!(of_rank().count() >= 20, "rank {rank}");
        for batch in 0..rank {
            assert!(of_rank().any(|node| node.ty.shape.0[batch].is_batch()), "the batch as axis {batch} of {rank}");
        }
    }
    let shapes = || nodes().map(|node| &node.ty.shape);
    assert!(
        shapes().any(|shape| shape.0.contains(&Dim::Fixed(0)))
            && shapes().any(|shape| shape.0.contains(&Dim::Fixed(1)))
    );
    let moved_masks = nodes().filter(|node| node.ty.dtype == DType::Bool && !node.op.is_map()).count();
    assert!(moved_masks >= 10, "{moved_masks}");
    // Values are ordinary numbers, but for what a maximum passes over.
    for (seed, graph) in graphs.iter().enumerate() {
        let run = evaluate(graph, Precision::F64, 2, &draw::values(graph, 2, seed as u64));
        for id in graph.ids() {
            if let Data::Float(floats) = &run[id].data {
                let patches = matches!(graph[id].op, Op::Patches { .. });
                let ordinary = |x: &f64| x.abs() < 1e4 || patches && *x == f64::NEG_INFINITY;
                assert!(floats.iter().all(ordinary), "seed {seed}, %{}: {floats:?}\n{graph}", id.0);
            }
        }
    }
}
