//! The reference interpreter: what a graph means, computed slowly and obviously.
//!
//! In: a graph, a batch size and a value for every slot. Out: one tensor for every node, in f64 or as if in f32. It is
//! the oracle of every later stage: f64 says what is right, and the distance from f32 to it says how much rounding costs.
//! Absent on purpose: speed, fusion, reuse of memory. Every node is one loop over its elements.

mod positions;
mod steps;
mod tensor;

use std::iter::zip;
use std::ops::Index;

use crate::ir::ops::{Body, Form, MapBody, Reduction, SUM, Total};
use crate::ir::{Graph, Loop, Node, NodeId, Op, Role};
use crate::scalar::{Host32, Host64, Reg, Scalar};
use crate::types::DType;

pub(crate) use positions::{Sources, destinations, folded, product_terms, row_major};
use positions::{offsets, positions};
pub use tensor::{Data, Tensor, Values};

/// How floats are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// To f32 after every operation. Element-wise bodies are the polynomials of compiled code, with FMA.
    F32,
    /// To f64, with the transcendental functions of `libm`.
    F64,
}

impl Precision {
    /// The nearest number of this precision. An f32 sum, product or quotient computed in f64 and rounded here is the
    /// correctly rounded one: 53 bits are more than twice 24 (Figueroa 1995, "When is double rounding innocuous?").
    fn round(self, x: f64) -> f64 {
        match self {
            Precision::F32 => f64::from(x as f32),
            Precision::F64 => x,
        }
    }
}

/// The value of every node, dead or alive.
#[derive(Clone, Debug)]
pub struct Evaluation<'a> {
    graph: &'a Graph,
    nodes: Vec<Tensor>,
}

impl Evaluation<'_> {
    /// The result with this role. Panics if the graph has none.
    pub fn output(&self, role: &Role) -> &Tensor {
        let node = self.graph.output(role).unwrap_or_else(|| panic!("the graph has no {role:?}"));
        &self[node]
    }

    /// The loss. Panics if the graph has none.
    pub fn loss(&self) -> f64 {
        self.output(&Role::Loss).number()
    }

    /// Every result with its role, in the order of the graph's outputs.
    pub fn outputs(&self) -> impl Iterator<Item = (&Role, &Tensor)> {
        self.graph.outputs.iter().map(|output| (&output.role, &self[output.node]))
    }
}

impl Index<NodeId> for Evaluation<'_> {
    type Output = Tensor;

    fn index(&self, id: NodeId) -> &Tensor {
        &self.nodes[id.index()]
    }
}

/// Computes every node. Panics if `values` do not fit the slots: only tests and tools get here.
pub fn evaluate<'a>(graph: &'a Graph, precision: Precision, batch: usize, values: &Values) -> Evaluation<'a> {
    evaluate_with(graph, precision, batch, values, |_, _| ())
}

/// The same, where the floats of every node may be changed before another reads them: what an error there does to the rest.
pub fn evaluate_with<'a>(
    graph: &'a Graph,
    precision: Precision,
    batch: usize,
    values: &Values,
    mut change: impl FnMut(NodeId, &mut [f64]),
) -> Evaluation<'a> {
    let none = Tensor::new(&[0], Data::Float(Vec::new()));
    let loops = graph.loops();
    let mut run = Run { graph, loops: &loops, precision, batch, values, nodes: vec![none; graph.nodes.len()] };
    let heads = if loops.is_empty() { vec![None; graph.nodes.len()] } else { graph.heads() };
    for id in graph.ids() {
        if heads[id.index()].is_none() {
            run.set(id, None, &mut change);
        }
    }
    let Run { nodes, .. } = run;
    Evaluation { graph, nodes }
}

/// Rows of a product that are computed together.
const DOT_ROWS: usize = 16;

struct Run<'a> {
    graph: &'a Graph,
    loops: &'a [Loop],
    precision: Precision,
    batch: usize,
    values: &'a Values,
    nodes: Vec<Tensor>,
}

impl Run<'_> {
    /// Computes a node, in a loop that of the step at a position; the end of a loop is all of it.
    fn set(&mut self, id: NodeId, position: Option<usize>, change: &mut impl FnMut(NodeId, &mut [f64])) {
        let node = &self.graph[id];
        match node.op {
            // What a loop collects is known as soon as it has run.
            Op::Collect { .. } => return,
            Op::History { .. } => {
                let run = self.loops.iter().find(|run| run.history == id).expect("a history is that of a loop");
                return self.steps(run, change);
            }
            _ => {}
        }
        let shape = node.ty.shape.at(self.batch);
        let data = match (&node.op, position) {
            (Op::Element, Some(position)) => self.nodes[node.operands[1].index()].row(position),
            _ => self.node(node, &shape),
        };
        self.put(id, data, change);
    }

    fn put(&mut self, id: NodeId, mut data: Data, change: &mut impl FnMut(NodeId, &mut [f64])) {
        if let Data::Float(floats) = &mut data {
            change(id, floats);
        }
        self.nodes[id.index()] = Tensor::new(&self.graph[id].ty.shape.at(self.batch), data);
    }

    fn node(&self, node: &Node, shape: &[usize]) -> Data {
        let x: Vec<&Tensor> = node.operands.iter().map(|operand| &self.nodes[operand.index()]).collect();
        match node.op.def().body {
            Body::Leaf => self.leaf(node, shape),
            Body::Map(body) => match self.precision {
                Precision::F32 => map(&mut Host32::new(), body, node, &x),
                Precision::F64 => map(&mut Host64::new(), body, node, &x),
            },
            Body::View | Body::Move => self.moved(node, &x, shape),
            Body::Gather => gather(x[0], x[1]),
            Body::Scatter => self.scatter_add(x[0], x[1], shape),
            Body::Fold => self.fold(node, x[0], shape),
            Body::Reduce(reduction) => {
                let axes = node.op.axes().expect("a reduction has axes");
                let groups = groups(x[0], axes, shape);
                Data::Float(groups.iter().map(|group| self.reduce(reduction, group)).collect())
            }
            Body::Contract => self.dot(node, x[0], x[1], shape),
            Body::Loop => unreachable!("loops are run as a whole"),
        }
    }

    fn leaf(&self, node: &Node, shape: &[usize]) -> Data {
        let len = shape.iter().product();
        match node.op {
            Op::Input(index) => self.slot(&self.values.inputs[index], shape),
            Op::Param(index) => self.slot(&self.values.params[index], shape),
            Op::Scalar(index) if node.ty.dtype.is_index() => Data::Index(vec![self.values.scalars[index] as u32]),
            Op::Scalar(index) => Data::Float(vec![self.precision.round(self.values.scalars[index])]),
            Op::Const(value) => Data::Float(vec![self.precision.round(value); len]),
            Op::Count(factor) => Data::Float(vec![self.precision.round((factor * self.batch) as f64)]),
            Op::Iota(axis) => {
                let mut strides = vec![0; shape.len()];
                strides[axis] = 1;
                Data::Index(offsets(shape, &strides).map(|position| position as u32).collect())
            }
            ref other => unreachable!("{other:?} is no leaf"),
        }
    }

    fn slot(&self, value: &Tensor, shape: &[usize]) -> Data {
        assert_eq!(value.shape, shape, "a value fits its slot");
        value.rounded(self.precision).data
    }

    fn moved(&self, node: &Node, x: &[&Tensor], shape: &[usize]) -> Data {
        match Sources::new(self.graph, node, shape, |x| &self.nodes[x.index()].shape) {
            Some(sources) => {
                let fill = node.op.fill().unwrap_or_default();
                let fill = if node.ty.dtype == DType::F32 { self.precision.round(fill) } else { fill };
                Data::moved(x, (0..shape.iter().product()).map(|at| sources.of(at)), fill)
            }
            // The same elements in the same order.
            None => x[0].data.clone(),
        }
    }

    fn scatter_add(&self, values: &Tensor, index: &Tensor, shape: &[usize]) -> Data {
        let len: usize = shape[1..].iter().product();
        let mut rows = vec![0.0; shape[0] * len];
        for (&row, at) in zip(index.as_indices(), 0..).filter(|(row, _)| (**row as usize) < shape[0]) {
            let to = &mut rows[row as usize * len..][..len];
            zip(to, &values.as_floats()[at * len..]).for_each(|(sum, x)| *sum = self.precision.round(*sum + x));
        }
        Data::Float(rows)
    }

    fn fold(&self, node: &Node, x: &Tensor, shape: &[usize]) -> Data {
        let values = x.as_floats();
        let add = |sum: f64, at: usize| self.precision.round(sum + values[at]);
        let elements = 0..shape.iter().product();
        Data::Float(elements.map(|at| folded(&node.op, &x.shape, at).into_iter().fold(0.0, add)).collect())
    }

    fn reduce(&self, reduction: &Reduction, group: &[f64]) -> f64 {
        match &reduction.form {
            Form::Total(total) => self.total(total, group),
            Form::Mean => {
                // Of no numbers it is 0 / 0, as every mean of none.
                let Some(&first) = group.first() else { return f64::NAN };
                let deviations = self.deviations(group, first);
                self.precision.round(first + self.mean(&deviations))
            }
            Form::Variance => {
                let Some(&first) = group.first() else { return f64::NAN };
                let deviations = self.deviations(group, first);
                let deviations = self.deviations(&deviations, self.mean(&deviations));
                let squares: Vec<f64> = deviations.iter().map(|&x| self.precision.round(x * x)).collect();
                let variance = self.mean(&squares);
                if variance == f64::INFINITY { f64::NAN } else { variance }
            }
        }
    }

    fn deviations(&self, values: &[f64], from: f64) -> Vec<f64> {
        values.iter().map(|&x| self.precision.round(x - from)).collect()
    }

    fn mean(&self, values: &[f64]) -> f64 {
        self.precision.round(self.sum(values) / values.len() as f64)
    }

    /// Blocks of 64 one after the other, then the blocks as a tree: as many roundings as down a column of compiled code, so
    /// that the error in f32 is a fair measure of what to expect there, also where numbers are alike and errors add up.
    fn total(&self, total: &Total, values: &[f64]) -> f64 {
        let add = |mut x: f64, y: f64| {
            (total.merge)(std::slice::from_mut(&mut x), &[y]);
            self.precision.round(x)
        };
        let of_block = |block: &[f64]| block.iter().fold(total.identity, |total, &x| add(total, x));
        let mut totals: Vec<f64> = values.chunks(64).map(of_block).collect();
        while totals.len() > 1 {
            let pairs = totals.chunks(2).map(|pair| pair.iter().copied().reduce(add).expect("no chunk is empty"));
            totals = pairs.collect();
        }
        totals.first().copied().unwrap_or(total.identity)
    }

    fn sum(&self, values: &[f64]) -> f64 {
        self.total(SUM.reduction().and_then(Reduction::total).expect("a sum is a total"), values)
    }

    fn dot(&self, node: &Node, a: &Tensor, b: &Tensor, shape: &[usize]) -> Data {
        let (Op::Dot(axes) | Op::DotByColumn(axes)) = &node.op else { unreachable!("{:?} is no product", node.op) };
        // As matrices, one of each for every position along the batch axes: [M,K] and [K,N].
        let (left, right) = (axes.of(0, a.shape.len()), axes.of(1, b.shape.len()));
        let extent = |x: &Tensor, axes: &[usize]| axes.iter().map(|&axis| x.shape[axis]).product::<usize>();
        let (m, k, n) = (extent(a, &left.free), extent(a, &left.contracted), extent(b, &right.free));
        let a = walked(a, &[left.batch, left.free, left.contracted].concat());
        let b = walked(b, &[right.batch, right.contracted, right.free].concat());
        let mut product = vec![0.0; shape.iter().product()];
        for (batch, product) in product.chunks_mut((m * n).max(1)).enumerate() {
            let (a, b) = (&a[batch * m * k..], &b[batch * k * n..]);
            match self.precision {
                Precision::F32 => multiply(product, a, b, [k, n], |x| Precision::F32.round(x)),
                Precision::F64 => multiply(product, a, b, [k, n], |x| x),
            }
        }
        if matches!(node.op, Op::DotByColumn(_)) {
            // The last of the batch axes comes last.
            let columns = axes.batch.last().map_or(1, |_| shape[shape.len() - 1]);
            let one = m * n;
            let outer = product.chunks((columns * one).max(1));
            product =
                outer.flat_map(|part| (0..part.len()).map(|at| part[at % columns * one + at / columns])).collect();
        }
        Data::Float(product)
    }
}

/// Adds the product of two matrices of so many terms and columns. Every sum runs in the order of its terms, beside those of
/// its neighbors: large matrices are read once for some rows.
fn multiply(product: &mut [f64], a: &[f64], b: &[f64], [terms, cols]: [usize; 2], round: impl Fn(f64) -> f64) {
    for (index, block) in product.chunks_mut((DOT_ROWS * cols).max(1)).enumerate() {
        for term in 0..terms {
            for (row, sums) in block.chunks_mut(cols).enumerate() {
                let x = a[(DOT_ROWS * index + row) * terms + term];
                for (sum, y) in sums.iter_mut().zip(&b[term * cols..]) {
                    *sum = round(*sum + round(x * y));
                }
            }
        }
    }
}

/// One call of the body for each element.
fn map(host: &mut impl Host, body: MapBody, node: &Node, x: &[&Tensor]) -> Data {
    let mut result = Data::empty(node.ty.dtype);
    let mut regs = Vec::with_capacity(x.len());
    for at in 0..x[0].data.len() {
        host.clear();
        regs.clear();
        regs.extend(x.iter().map(|operand| host.load(&operand.data, at)));
        let y = body(host, &node.op, &regs);
        host.store(y, &mut result);
    }
    result
}

/// Elements in and out of a host.
trait Host: Scalar {
    fn clear(&mut self);
    fn load(&mut self, data: &Data, at: usize) -> Reg;
    fn store(&self, reg: Reg, data: &mut Data);
}

macro_rules! host {
    ($host:ident, $float:ident) => {
        impl Host for $host {
            fn clear(&mut self) {
                $host::clear(self);
            }

            fn load(&mut self, data: &Data, at: usize) -> Reg {
                match data {
                    Data::Float(values) => self.push_float(values[at] as $float),
                    Data::Index(values) => self.push_int(values[at] as i32),
                    Data::Mask(values) => self.push_mask(values[at]),
                }
            }

            fn store(&self, reg: Reg, data: &mut Data) {
                match data {
                    Data::Float(values) => values.push(f64::from(self.get_float(reg))),
                    Data::Index(values) => values.push(self.get_int(reg) as u32),
                    Data::Mask(values) => values.push(self.get_mask(reg)),
                }
            }
        }
    };
}

host!(Host32, f32);
host!(Host64, f64);

/// The rows of a table with these numbers; NaN for one that it does not have.
fn gather(table: &Tensor, index: &Tensor) -> Data {
    let len: usize = table.shape[1..].iter().product();
    let row = |&row: &u32| match (row as usize) < table.shape[0] {
        true => table.as_floats()[row as usize * len..][..len].to_vec(),
        false => vec![f64::NAN; len],
    };
    Data::Float(index.as_indices().iter().flat_map(row).collect())
}

/// The numbers of a tensor in another order of its axes.
fn walked(x: &Tensor, order: &[usize]) -> Vec<f64> {
    let numbers = x.as_floats();
    if order.is_sorted() { numbers.to_vec() } else { positions(&x.shape, order).map(|at| numbers[at]).collect() }
}

/// For every element of the result of a reduction, the elements that become it, in row-major order.
fn groups(x: &Tensor, axes: &[usize], result: &[usize]) -> Vec<Vec<f64>> {
    let mut groups = vec![Vec::new(); result.iter().product()];
    for (&value, group) in zip(x.as_floats(), destinations(&x.shape, axes, result)) {
        groups[group].push(value);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Builder;
    use crate::types::{Dim, Shape};

    fn evaluated(precision: Precision, batch: usize, build: fn(&mut Builder) -> NodeId) -> Tensor {
        let mut b = Builder::new(Graph::default());
        let result = build(&mut b);
        let graph = b.finish();
        evaluate(&graph, precision, batch, &Values::default())[result].clone()
    }

    #[test]
    fn iota_counts_along_its_axis() {
        let middle = evaluated(Precision::F64, 3, |b| b.iota(1, &Shape(vec![Dim::Fixed(1), Dim::B, Dim::Fixed(2)])));
        assert_eq!(middle, Tensor::indices(&[1, 3, 2], [0, 0, 1, 1, 2, 2]));
    }

    #[test]
    fn broadcast_repeats_along_the_axes_it_adds() {
        let columns = evaluated(Precision::F64, 2, |b| {
            let row = b.iota(0, &Shape::fixed(&[3]));
            b.broadcast(row, &Shape(vec![Dim::B, Dim::Fixed(3)]), &[1])
        });
        assert_eq!(columns, Tensor::indices(&[2, 3], [0, 1, 2, 0, 1, 2]));
        let rows = evaluated(Precision::F64, 2, |b| {
            let column = b.iota(0, &Shape(vec![Dim::B]));
            b.broadcast(column, &Shape(vec![Dim::B, Dim::Fixed(3)]), &[0])
        });
        assert_eq!(rows, Tensor::indices(&[2, 3], [0, 0, 0, 1, 1, 1]));
    }

    #[test]
    fn sums_over_outer_and_inner_axes_keep_the_others() {
        fn position(b: &mut Builder) -> NodeId {
            let row = b.iota(0, &Shape::fixed(&[6]));
            let row = b.to_float(row);
            b.reshape(row, Shape::fixed(&[2, 3]))
        }
        let outer = evaluated(Precision::F64, 1, |b| {
            let x = position(b);
            b.sum(x, &[0])
        });
        assert_eq!(outer, Tensor::floats(&[3], [3.0, 5.0, 7.0]));
        let inner = evaluated(Precision::F64, 1, |b| {
            let x = position(b);
            b.sum(x, &[1])
        });
        assert_eq!(inner, Tensor::floats(&[2], [3.0, 12.0]));
        let both = evaluated(Precision::F64, 1, |b| {
            let x = position(b);
            b.sum(x, &[0, 1])
        });
        assert_eq!(both, Tensor::floats(&[], [15.0]));
    }

    #[test]
    fn f32_rounds_constants_and_every_sum() {
        let tenth = |b: &mut Builder| b.constant(0.1, &Shape::scalar());
        assert_eq!(evaluated(Precision::F32, 1, tenth).number(), f64::from(0.1_f32));
        assert_eq!(evaluated(Precision::F64, 1, tenth).number(), 0.1);
        let lost = |b: &mut Builder| {
            let large = b.constant(16_777_216.0, &Shape::scalar());
            b.offset(large, 1.0)
        };
        assert_eq!(evaluated(Precision::F32, 1, lost).number(), 16_777_216.0);
        assert_eq!(evaluated(Precision::F64, 1, lost).number(), 16_777_217.0);
    }

    #[test]
    fn max_over_passes_nan_wherever_it_stands() {
        let run = Run {
            loops: &[],
            graph: &Graph::default(),
            precision: Precision::F64,
            batch: 1,
            values: &Values::default(),
            nodes: Vec::new(),
        };
        let max = Op::MaxOver(vec![0]).def().reduction().expect("it is one");
        let groups = [[f64::NAN, 1.0, 2.0], [1.0, f64::NAN, 2.0], [1.0, 2.0, f64::NAN]];
        assert!(groups.iter().all(|group| run.reduce(max, group).is_nan()));
        assert_eq!(run.reduce(max, &[-2.0, -1.0, -3.0]), -1.0);
    }

    #[test]
    fn count_is_the_batch_times_its_factor() {
        let shape = Shape(vec![Dim::B, Dim::Fixed(5)]);
        let mut b = Builder::new(Graph::default());
        let count = b.count(&shape, &[0, 1]);
        let graph = b.finish();
        assert_eq!(evaluate(&graph, Precision::F32, 7, &Values::default())[count].number(), 35.0);
    }
}
