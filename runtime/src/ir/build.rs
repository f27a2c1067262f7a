//! Adding nodes to a graph: one method per operation, types inferred by the operation's own shape rule.
//!
//! In: operands that fit; a misfit is a fault of the compiler, since the macro and `lower` have checked the user's input.

use std::rc::Rc;

use super::{DotAxes, Graph, InputSlot, Node, NodeId, Op, Origin, ParamSlot, ScalarSlot, SlotKind, Window};
use crate::init::Init;
use crate::scalar::Cmp;
use crate::types::{DType, Dim, Shape, TensorType};

/// A graph under construction.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    origin: Rc<Origin>,
}

impl Builder {
    /// Continues a graph.
    pub fn new(graph: Graph) -> Builder {
        Builder { graph, origin: Origin::of_layer(Rc::from(""), None) }
    }

    /// What has been built.
    pub fn finish(self) -> Graph {
        self.graph
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph so far, for its slots and outputs.
    pub fn graph_mut(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// From here on, nodes come from there.
    pub fn enter(&mut self, origin: Rc<Origin>) {
        self.origin = origin;
    }

    /// The type of a node.
    pub fn ty(&self, id: NodeId) -> &TensorType {
        &self.graph[id].ty
    }

    /// The shape of a node.
    pub fn shape(&self, id: NodeId) -> Shape {
        self.graph[id].ty.shape.clone()
    }

    /// Adds a node that exists already; its operands are nodes of this graph.
    pub fn add_node(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        self.graph.nodes.push(node);
        id
    }

    /// Adds a node of a known type.
    pub fn push(&mut self, op: Op, operands: &[NodeId], ty: TensorType) -> NodeId {
        self.add_node(Node { op, operands: operands.to_vec(), ty, origin: Rc::clone(&self.origin) })
    }

    /// Adds a node whose type its operation infers.
    pub fn apply(&mut self, op: Op, operands: &[NodeId]) -> NodeId {
        let types: Vec<&TensorType> = operands.iter().map(|&id| self.ty(id)).collect();
        let ty = (op.def().ty)(&op, &types).expect("operands that were checked before fit the operation");
        self.push(op, operands, ty)
    }

    /// An input or target.
    pub fn input(&mut self, index: usize) -> NodeId {
        let ty = self.graph.slots.inputs[index].ty.clone();
        self.push(Op::Input(index), &[], ty)
    }

    /// A further input that no port of the network is.
    pub fn new_input(&mut self, name: &'static str, ty: TensorType) -> NodeId {
        let inputs = &mut self.graph.slots.inputs;
        inputs.push(InputSlot { name, ty, target: false, classes: None });
        let index = inputs.len() - 1;
        self.input(index)
    }

    /// Says that ids, if they are those of an input, are below this number.
    pub fn limit_ids(&mut self, ids: NodeId, classes: usize) {
        if let Op::Input(index) = self.graph[ids].op {
            let limit = &mut self.graph.slots.inputs[index].classes;
            *limit = Some(limit.map_or(classes, |other| other.min(classes)));
        }
    }

    /// A parameter, running statistic or optimizer state.
    pub fn param(&mut self, index: usize) -> NodeId {
        let shape = Shape::fixed(&self.graph.slots.params[index].shape);
        self.push(Op::Param(index), &[], TensorType::f32(shape))
    }

    /// A constant table of numbers, as a vector. Equal tables are shared; different ones of the same name are numbered.
    pub fn table(&mut self, name: &str, numbers: &'static [f64]) -> NodeId {
        let params = &mut self.graph.slots.params;
        let known = params.iter().position(|slot| slot.kind == SlotKind::Fixed && slot.init == Init::Table(numbers));
        let index = known.unwrap_or_else(|| {
            let others =
                params.iter().filter(|slot| slot.kind == SlotKind::Fixed && slot.name.starts_with(name)).count();
            let name = if others == 0 { name.to_string() } else { format!("{name}{}", others + 1) };
            let (shape, init) = (vec![numbers.len()], Init::Table(numbers));
            params.push(ParamSlot { name, shape, order: &[], init, kind: SlotKind::Fixed });
            params.len() - 1
        });
        self.param(index)
    }

    /// A run-time scalar.
    pub fn scalar(&mut self, index: usize) -> NodeId {
        let ty = self.graph.slots.scalars[index].ty();
        self.push(Op::Scalar(index), &[], ty)
    }

    /// A new run-time scalar.
    pub fn new_scalar(&mut self, slot: ScalarSlot) -> NodeId {
        let scalars = &mut self.graph.slots.scalars;
        scalars.push(slot);
        let index = scalars.len() - 1;
        self.scalar(index)
    }

    /// Whether this run-time scalar is not 0. All who ask for it share one slot.
    pub fn is_set(&mut self, slot: ScalarSlot) -> NodeId {
        let scalar = match self.graph.slots.scalars.iter().position(|known| *known == slot) {
            Some(index) => self.scalar(index),
            None => self.new_scalar(slot),
        };
        let zero = self.constant_like(0.0, scalar);
        self.compare(Cmp::Ne, scalar, zero)
    }

    /// A constant in every element of `shape`.
    pub fn constant(&mut self, value: f64, shape: &Shape) -> NodeId {
        self.push(Op::Const(value), &[], TensorType::f32(shape.clone()))
    }

    /// A constant of the shape of `like`.
    pub fn constant_like(&mut self, value: f64, like: NodeId) -> NodeId {
        let shape = self.shape(like);
        self.constant(value, &shape)
    }

    /// The position along `axis` in every element of `shape`.
    pub fn iota(&mut self, axis: usize, shape: &Shape) -> NodeId {
        self.push(Op::Iota(axis), &[], TensorType { dtype: DType::U32, shape: shape.clone() })
    }

    /// The number of elements along `axes` of `shape`, as an f32: a constant, or the batch size times one.
    pub fn count(&mut self, shape: &Shape, axes: &[usize]) -> NodeId {
        let over = Shape(axes.iter().map(|&axis| shape.0[axis]).collect());
        match over.len().expect("extents were checked when the network was lowered") {
            Dim::Fixed(n) => self.constant(n as f64, &Shape::scalar()),
            Dim::Batch(n) => self.push(Op::Count(n), &[], TensorType::scalar()),
        }
    }

    /// The same elements under another shape.
    pub fn reshape(&mut self, x: NodeId, shape: Shape) -> NodeId {
        let ty = TensorType { dtype: self.ty(x).dtype, shape };
        self.push(Op::Reshape, &[x], ty)
    }

    /// Repeats `x` over `shape`; axis `i` of `x` becomes axis `axes[i]`.
    pub fn broadcast(&mut self, x: NodeId, shape: &Shape, axes: &[usize]) -> NodeId {
        let ty = TensorType { dtype: self.ty(x).dtype, shape: shape.clone() };
        self.push(Op::Broadcast(axes.to_vec()), &[x], ty)
    }

    /// Repeats the result of a reduction over `axes` along those axes.
    pub fn broadcast_over(&mut self, x: NodeId, shape: &Shape, axes: &[usize]) -> NodeId {
        let kept: Vec<usize> = (0..shape.rank()).filter(|axis| !axes.contains(axis)).collect();
        self.broadcast(x, shape, &kept)
    }

    /// `x` as a tensor of `shape`: axes are aligned at the last one, those with one element stretch, and so do those that are
    /// missing. See [`Shape::broadcast`].
    pub fn spread(&mut self, x: NodeId, shape: &Shape) -> NodeId {
        let own = self.shape(x);
        if own == *shape {
            return x;
        }
        if let Op::Const(c) = self.graph[x].op {
            return self.constant(c, shape);
        }
        let first = shape.rank() - own.rank();
        let kept: Vec<usize> = (0..own.rank()).filter(|&axis| own.0[axis] == shape.0[first + axis]).collect();
        let mut narrow = x;
        if kept.len() < own.rank() {
            narrow = self.reshape(x, Shape(kept.iter().map(|&axis| own.0[axis]).collect()));
        }
        let axes: Vec<usize> = kept.into_iter().map(|axis| first + axis).collect();
        self.broadcast(narrow, shape, &axes)
    }

    /// `len` elements along an axis, starting with `start`, `step` apart.
    pub fn slice(&mut self, x: NodeId, axis: usize, start: usize, len: usize, step: usize) -> NodeId {
        self.apply(Op::Slice { axis, start, len, step }, &[x])
    }

    /// `x` with this many elements of `value` before and after it, along an axis.
    pub fn pad(&mut self, x: NodeId, axis: usize, [before, after]: [usize; 2], value: f64) -> NodeId {
        self.apply(Op::Pad { axis, before, inside: 0, after, value }, &[x])
    }

    /// Tensors one after the other, along an axis.
    pub fn concat(&mut self, x: &[NodeId], axis: usize) -> NodeId {
        self.apply(Op::Concat(axis), x)
    }

    /// What is under a window that moves along an axis, with `value` outside.
    pub fn patches(&mut self, x: NodeId, axis: usize, window: Window, value: f64) -> NodeId {
        self.apply(Op::Patches { axis, window, value }, &[x])
    }

    /// The adjoint of `patches`, to an axis of this extent.
    pub fn fold(&mut self, x: NodeId, axis: usize, window: Window, extent: usize) -> NodeId {
        self.apply(Op::Fold { axis, window, extent }, &[x])
    }

    /// Rows of a table by their numbers.
    pub fn gather(&mut self, table: NodeId, index: NodeId) -> NodeId {
        self.apply(Op::Gather, &[table, index])
    }

    /// For each of `rows` rows, the sum of the values that come with its number.
    pub fn scatter_add(&mut self, values: NodeId, index: NodeId, rows: usize) -> NodeId {
        self.apply(Op::ScatterAdd { rows }, &[values, index])
    }

    /// The sum over `axes`.
    pub fn sum(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        self.apply(Op::Sum(axes.to_vec()), &[x])
    }

    /// The largest element over `axes`.
    pub fn max_over(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        self.apply(Op::MaxOver(axes.to_vec()), &[x])
    }

    /// The mean over `axes`. The mean of equal numbers is that number.
    pub fn center(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        self.apply(Op::Mean(axes.to_vec()), &[x])
    }

    /// The biased variance over `axes`.
    pub fn variance(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        self.apply(Op::Variance(axes.to_vec()), &[x])
    }

    /// The mean over `axes`: a sum divided by a count. The mean of equal numbers may differ from that number by rounding, unlike
    /// [`Builder::center`].
    pub fn mean(&mut self, x: NodeId, axes: &[usize]) -> NodeId {
        let shape = self.shape(x);
        let sum = self.sum(x, axes);
        let count = self.count(&shape, axes);
        let kept = self.shape(sum);
        let count = self.spread(count, &kept);
        self.div(sum, count)
    }

    /// `mean`, a mean of `x` over `axes`, clamped to the smallest and the largest number, so that the mean of equal numbers is
    /// that number. With it, the largest of `x` and of `-x`.
    pub fn mean_between(&mut self, mean: NodeId, x: NodeId, axes: &[usize]) -> [NodeId; 3] {
        let largest = self.max_over(x, axes);
        let mirrored = self.neg(x);
        let least = self.max_over(mirrored, axes);
        let smallest = self.neg(least);
        let mean = self.max(smallest, mean);
        [self.min(mean, largest), largest, least]
    }

    /// The matrix product of rank-2 operands.
    pub fn dot(&mut self, a: NodeId, b: NodeId, ta: bool, tb: bool) -> NodeId {
        self.apply(Op::Dot(DotAxes::matrix(ta, tb)), &[a, b])
    }

    /// The product of two tensors over pairs of axes.
    pub fn product(&mut self, a: NodeId, b: NodeId, axes: DotAxes) -> NodeId {
        self.apply(Op::Dot(axes), &[a, b])
    }

    /// The head of a loop: the state before each of so many steps.
    pub fn carry(&mut self, initial: NodeId, steps: usize, reverse: bool) -> NodeId {
        let numbers = self.graph.nodes.iter().filter_map(|node| match node.op {
            Op::Carry { number, .. } => Some(number),
            _ => None,
        });
        let number = numbers.max().map_or(0, |number| number + 1);
        self.apply(Op::Carry { number, steps, reverse }, &[initial])
    }

    /// The same of a loop that is inside of another, whose head is given if there is one.
    pub fn carry_inside(&mut self, around: Option<NodeId>, initial: NodeId, steps: usize, reverse: bool) -> NodeId {
        let carry = self.carry(initial, steps, reverse);
        self.graph.nodes[carry.index()].operands.extend(around);
        carry
    }

    /// The element of a sequence for the step of a loop.
    pub fn element(&mut self, carry: NodeId, sequence: NodeId) -> NodeId {
        self.apply(Op::Element, &[carry, sequence])
    }

    /// All states of a loop, after `next` was computed from `carry`.
    pub fn history(&mut self, carry: NodeId, next: NodeId) -> NodeId {
        let Op::Carry { steps, .. } = self.graph[carry].op else { unreachable!("a loop begins with its head") };
        self.apply(Op::History { steps }, &[carry, next])
    }

    /// A value of a loop's body, at every step.
    pub fn collect(&mut self, history: NodeId, value: NodeId) -> NodeId {
        let Op::History { steps } = self.graph[history].op else { unreachable!("a loop ends with its history") };
        self.apply(Op::Collect { steps }, &[history, value])
    }

    /// The elements in another order of axes: axis `i` of the result is axis `order[i]` of `x`.
    pub fn transpose(&mut self, x: NodeId, order: &[usize]) -> NodeId {
        self.apply(Op::Transpose(order.to_vec()), &[x])
    }

    /// A comparison of floats.
    pub fn compare(&mut self, cmp: Cmp, x: NodeId, y: NodeId) -> NodeId {
        self.apply(Op::Compare(cmp), &[x, y])
    }

    /// Random numbers in [0, 1), each a function of the two halves of a key and of its row and column.
    pub fn uniform(&mut self, key: [NodeId; 2], row: NodeId, column: NodeId) -> NodeId {
        self.apply(Op::Uniform, &[key[0], key[1], row, column])
    }

    /// `x` where `mask` holds, `y` elsewhere.
    pub fn select(&mut self, mask: NodeId, x: NodeId, y: NodeId) -> NodeId {
        self.apply(Op::Select, &[mask, x, y])
    }

    /// `x` where `mask` holds, zero elsewhere.
    pub fn mask(&mut self, mask: NodeId, x: NodeId) -> NodeId {
        let zero = self.constant_like(0.0, x);
        self.select(mask, x, zero)
    }

    /// `x` times a constant.
    pub fn scale(&mut self, x: NodeId, factor: f64) -> NodeId {
        let factor = self.constant_like(factor, x);
        self.mul(x, factor)
    }

    /// `x y + z`, rounded once.
    pub fn mul_add(&mut self, x: NodeId, y: NodeId, z: NodeId) -> NodeId {
        self.apply(Op::MulAdd, &[x, y, z])
    }

    /// `value`, with a gradient to `x` as if `value` grew with `x` by `slope`. If `value` is detached, that is its whole gradient,
    /// in whatever form is best.
    pub fn with_slope(&mut self, value: NodeId, x: NodeId, slope: NodeId) -> NodeId {
        self.apply(Op::WithSlope, &[value, x, slope])
    }

    /// `e^(-c x^2)`, where `c` is a power of two of at least 1/2. For large `x` the rounding error of the square matters: it makes a
    /// hundredfold difference. A fused multiply-add recovers it.
    pub fn bell(&mut self, x: NodeId, c: f64) -> NodeId {
        // From 15 on the result is 0, and infinity minus infinity would be NaN.
        let (size, limit) = (self.abs(x), self.constant_like(15.0, x));
        let size = self.min(size, limit);
        let square = self.mul(size, size);
        let minus = self.neg(square);
        let lost = self.mul_add(size, size, minus);
        let exponent = self.scale(square, -c);
        let power = self.exp(exponent);
        let lost = self.scale(lost, -c);
        self.mul_add(power, lost, power)
    }

    /// `x` plus a constant.
    pub fn offset(&mut self, x: NodeId, term: f64) -> NodeId {
        let term = self.constant_like(term, x);
        self.add(x, term)
    }
}

impl std::ops::Index<NodeId> for Builder {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.graph[id]
    }
}

macro_rules! unary {
    ($($method:ident $op:ident)*) => {
        impl Builder {$(
            #[doc = concat!("Adds `", stringify!($method), "`.")]
            pub fn $method(&mut self, x: NodeId) -> NodeId {
                self.apply(Op::$op, &[x])
            }
        )*}
    };
}

macro_rules! binary {
    ($($method:ident $op:ident)*) => {
        impl Builder {$(
            #[doc = concat!("Adds `", stringify!($method), "`.")]
            pub fn $method(&mut self, x: NodeId, y: NodeId) -> NodeId {
                self.apply(Op::$op, &[x, y])
            }
        )*}
    };
}

unary! {
    neg Neg  abs Abs  exp Exp  expm1 Expm1  ln Ln  log1p Log1p  sigmoid Sigmoid  tanh Tanh  softplus Softplus  erf Erf
    normal_cdf NormalCdf  sigmoid_slope SigmoidSlope  tanh_slope TanhSlope
    sqrt Sqrt  rsqrt Rsqrt  to_float ToFloat  to_index ToIndex  not Not  detach Detach
}

binary! {
    add Add  sub Sub  mul Mul  div Div  max Max  min Min  index_eq IndexEq
}
