//! Products of which a part is left out: scores that a mask hides, and sums over what is 0 because of it.
//!
//! In: a graph. Out: for each product, what there is of it. A mask is a comparison of positions along two axes, and chooses a constant
//! where it does not hold. What is made of zeros, or of the exponential of minus infinity, is 0 there as well: a product has no
//! terms where its left operand is. What is multiplied by such zeros, or not chosen, is read by nobody: a product has no elements
//! there. Neither is exact where the other factor is infinite or NaN.

use crate::ir::{Graph, NodeId, Op};
use crate::kernel::{Arg, Beyond, Class, Fused, Kernel, Mode, Number, Triangle, TrianglePart, Write};
use crate::scalar::Cmp;
use crate::types::{DType, Dim, Shape};

/// Where the position along one axis is at most so much more than that along another.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Below {
    key: usize,
    query: usize,
    offset: i64,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Known {
    Nothing,
    /// It is the position along an axis.
    Position(usize),
    /// It is the same number everywhere.
    Constant(f64),
    /// It is true there, and nowhere else.
    Holds(Below),
    /// It is this number everywhere but there.
    Outside(Below, f64),
}

/// Who reads a node.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Readers {
    Nobody,
    /// Those who read nothing but what is there.
    Only(Below),
    All,
}

/// What there is of the products of a graph: all of them, where nothing is known.
pub(super) struct Triangles {
    known: Vec<Known>,
    readers: Vec<Readers>,
}

impl Triangles {
    pub(super) fn of(g: &Graph) -> Triangles {
        // Without positions there is no mask.
        match g.nodes.iter().any(|node| matches!(node.op, Op::Iota(_))) {
            true => Triangles::of_masks(g),
            false => Triangles { known: Vec::new(), readers: Vec::new() },
        }
    }

    /// Never in line: most programs need the question alone.
    #[inline(never)]
    fn of_masks(g: &Graph) -> Triangles {
        let mut known: Vec<Known> = Vec::with_capacity(g.nodes.len());
        for id in g.ids() {
            known.push(known_of(g, id, &known));
        }
        let mut readers = vec![Readers::Nobody; g.nodes.len()];
        g.outputs.iter().for_each(|output| readers[output.node.index()] = Readers::All);
        let masked = known.iter().any(|known| matches!(known, Known::Holds(_)));
        for id in g.ids().rev().filter(|_| masked) {
            for at in 0..g[id].operands.len() {
                let operand = g[id].operands[at].index();
                readers[operand] = readers[operand].and(reads(g, id, at, &known, readers[id.index()]));
            }
        }
        Triangles { known, readers }
    }

    /// Leaves out what there is not of a kernel's product, and of its rows.
    pub(super) fn leave_out(&self, g: &Graph, kernel: &mut Kernel) {
        if !self.known.is_empty() {
            self.leave_out_of_product(g, kernel);
            self.leave_out_of_rows(g, kernel);
        }
    }

    /// Rows end where those of the product do, if it is known what the other elements are of all that is written, and these change no
    /// sum.
    fn leave_out_of_rows(&self, g: &Graph, kernel: &mut Kernel) {
        let triangle = kernel.dot.as_ref().and_then(|dot| dot.triangle);
        let Some(triangle) = triangle.filter(|it| it.part == TrianglePart::Columns) else { return };
        let whole = kernel.rows_of_each().is_some_and(|rows| kernel.axes[kernel.rows - 1] == Dim::Fixed(rows));
        if kernel.is_plain() || kernel.axes.len() != kernel.rows + 1 || !whole {
            return;
        }
        let matrix = &kernel.axes[kernel.rows - 1..];
        // What a value is everywhere but there, if it has the same rows.
        let beyond = |node: NodeId| {
            let Known::Outside(Below { key, query, offset }, value) = self.known[node.index()] else { return None };
            let dims = &g[node].ty.shape.0;
            // Others are constants of which more digits are known here than in a kernel.
            let exact = g[node].ty.dtype == DType::F32 && (value == 0.0 || value.is_infinite());
            let same = dims.ends_with(matrix) && (query + 2, key + 1) == (dims.len(), dims.len());
            Some(value).filter(|_| exact && same && offset == triangle.offset)
        };
        let elements = |index: usize| kernel.class(index) == Class::Element;
        let fine = (0..kernel.body.len()).filter(|&index| elements(index)).all(|index| {
            let Some((kind, over)) = kernel.body[index].reduction() else { return true };
            let along = over.iter().eq([kernel.rows]) && !kernel.ends_later(index);
            let known = g[kernel.body[index].origin.node].operands.first().and_then(|&operand| beyond(operand));
            along && kind.total().is_some_and(|total| known == Some(total.identity))
        });
        let written: Option<Vec<Option<Beyond>>> = kernel
            .writes
            .iter()
            .map(|write| match write.value {
                // It is written by itself.
                Arg::Dot if !write.copied => Some(None),
                Arg::Value(index) if elements(index) && kernel.body[index].reduction().is_none() => {
                    let known =
                        beyond(kernel.body[index].origin.node).filter(|_| write.mode == Mode::Set && !write.copied);
                    known.map(|value| Some(Beyond { value: Number::new(value), near: false }))
                }
                Arg::Value(_) if !write.copied => Some(None),
                _ => None,
            })
            .collect();
        let Some(written) = written.filter(|_| fine && !kernel.body.is_empty()) else { return };
        kernel.writes.iter_mut().zip(written).for_each(|(write, beyond)| write.beyond = beyond);
        kernel.triangle = Some(triangle);
        let (cols, Some(rows)) = (kernel.cols(), kernel.rows_of_each()) else { return };
        for index in (0..kernel.body.len()).filter(|&index| kernel.class(index) == Class::Element).collect::<Vec<_>>() {
            let flops = &mut kernel.body[index].origin.flops;
            flops.each = triangle.operations(flops.each, rows, cols);
            flops.once = triangle.operations(flops.once, rows, cols);
        }
    }

    /// Leaves out what there is not of a kernel's product.
    fn leave_out_of_product(&self, g: &Graph, kernel: &mut Kernel) {
        let Some(rows) = kernel.rows_of_each() else { return };
        let cols = kernel.cols();
        let Some(dot) = kernel.dot.as_mut() else { return };
        let (product, inner) = (dot.origin.node, dot.inner());
        let rank = g[product].ty.shape.rank();
        if rank < 3 || g[product].ty.shape.0[rank - 2] != Dim::Fixed(rows) {
            return;
        }
        let (row, last) = (rank - 2, rank - 1);
        let found = match (self.known[g[product].operands[0].index()], self.readers[product.index()]) {
            (Known::Outside(Below { key, query, offset }, 0.0), _) if key == last && query == row => {
                Some((TrianglePart::TermsTo, offset))
            }
            (Known::Outside(Below { key, query, offset }, 0.0), _) if key == row && query == last => {
                Some((TrianglePart::TermsFrom, -offset))
            }
            (_, Readers::Only(Below { key, query, offset })) if key == last && query == row => {
                Some((TrianglePart::Columns, offset))
            }
            _ => None,
        };
        dot.triangle = found.map(|(part, offset)| Triangle { part, offset });
        if let Some(triangle) = dot.triangle {
            let all = if triangle.part == TrianglePart::Columns { cols } else { inner.factor() };
            let flops = &mut dot.origin.flops;
            flops.each = triangle.operations(flops.each, rows, all);
            flops.once = triangle.operations(flops.once, rows, all);
        }
    }
}

/// Marks products and writes of which nobody looks at what is left out, or not far: whoever reads them does so in rows that end there as
/// well, or multiplies by what is there.
pub(super) fn end_alone(fused: &mut Fused) {
    for index in 0..fused.kernels.len() {
        let kernel = &fused.kernels[index];
        let triangle = kernel.dot.as_ref().and_then(|dot| dot.triangle);
        let Some(triangle) = triangle.filter(|it| it.part == TrianglePart::Columns) else { continue };
        let looks = kernel.body.iter().any(|each| each.args.contains(&Arg::Dot)) && kernel.triangle.is_none();
        let mut written = kernel.writes.iter().filter(|write| write.value == Arg::Dot);
        let alone = !looks && written.all(|write| is_read_in_part(fused, (kernel, write), triangle.offset, false));
        let near = |write: &Write| write.beyond.is_some_and(|it| it.value == Number::new(0.0));
        let near = |write: &Write| near(write) && is_read_in_part(fused, (kernel, write), triangle.offset, true);
        let near: Vec<bool> = kernel.writes.iter().map(near).collect();
        let kernel = &mut fused.kernels[index];
        if let Some(dot) = kernel.dot.as_mut().filter(|_| alone) {
            dot.triangle = Some(Triangle { part: TrianglePart::ColumnsAlone, ..triangle });
        }
        for (write, near) in kernel.writes.iter_mut().zip(near) {
            write.beyond = write.beyond.map(|beyond| Beyond { near, ..beyond });
        }
    }
}

/// Whether whoever reads what a kernel writes does so in rows that end at the same diagonal, or, if that will do, in products that have
/// terms up to there.
fn is_read_in_part(fused: &Fused, (kernel, write): (&Kernel, &Write), offset: i64, by_products: bool) -> bool {
    let fine = |other: &Kernel| {
        let ends = other.triangle.is_some_and(|it| it.offset == offset) && !other.writes.iter().any(|it| it.copied);
        let mut reads = other.reads.iter().filter(|read| read.buffer == write.buffer);
        let rows = reads.all(|read| ends && other.is_aligned(&read.access));
        let product = other.dot.as_ref().filter(|dot| [dot.a, dot.b].contains(&write.buffer)).is_none_or(|dot| {
            let terms = dot.triangle.is_some_and(|it| match it.part {
                TrianglePart::TermsTo => it.offset == offset,
                TrianglePart::TermsFrom => it.offset == -offset,
                _ => false,
            });
            by_products && terms && dot.b != write.buffer
        });
        rows && product
    };
    let result = fused.results.iter().any(|(_, buffer, _)| *buffer == write.buffer);
    let mut readers = fused.kernels.iter().filter(|other| other.buffers_read().any(|read| read == write.buffer));
    !result && !write.copied && kernel.is_aligned(&write.access) && readers.all(fine)
}

impl Readers {
    fn and(self, other: Readers) -> Readers {
        match (self, other) {
            (Readers::Nobody, known) | (known, Readers::Nobody) => known,
            (known, other) if known == other => known,
            _ => Readers::All,
        }
    }
}

/// What is known of a node, given what is known of those before it.
fn known_of(g: &Graph, id: NodeId, known: &[Known]) -> Known {
    let node = &g[id];
    let of = |at: usize| known[node.operands[at].index()];
    let moved = |at: &dyn Fn(usize) -> Option<usize>| match of(0) {
        Known::Nothing => Known::Nothing,
        Known::Constant(value) => Known::Constant(value),
        Known::Position(axis) => at(axis).map_or(Known::Nothing, Known::Position),
        Known::Holds(below) => below.moved(at).map_or(Known::Nothing, Known::Holds),
        Known::Outside(below, value) => below.moved(at).map_or(Known::Nothing, |below| Known::Outside(below, value)),
    };
    // Outside of the same part, both operands are numbers.
    let both = |x: Known, y: Known, f: &dyn Fn(f64, f64) -> f64| match (x, y) {
        (Known::Outside(below, x), Known::Outside(other, y)) if below == other => Known::Outside(below, f(x, y)),
        (Known::Outside(below, x), Known::Constant(y)) => Known::Outside(below, f(x, y)),
        (Known::Constant(x), Known::Outside(below, y)) => Known::Outside(below, f(x, y)),
        _ => Known::Nothing,
    };
    // Zeros stay zeros, and minus infinity stays what it is if it is moved by a number.
    let zero = |known: Known| match known {
        Known::Outside(below, 0.0) => Some(Known::Outside(below, 0.0)),
        _ => None,
    };
    let never = |known: Known| match known {
        Known::Outside(below, value) if value == f64::NEG_INFINITY => Some(Known::Outside(below, value)),
        _ => None,
    };
    match &node.op {
        Op::Const(value) => Known::Constant(*value),
        Op::Iota(axis) => Known::Position(*axis),
        Op::ToFloat | Op::ToIndex | Op::Detach | Op::WithSlope => of(0),
        Op::Compare(cmp) => match (of(0), of(1)) {
            (Known::Position(x), Known::Position(y)) => compared(*cmp, x, y).map_or(Known::Nothing, Known::Holds),
            _ => Known::Nothing,
        },
        Op::Not => match of(0) {
            Known::Holds(below) => Known::Holds(below.opposite()),
            _ => Known::Nothing,
        },
        Op::Select => match (of(0), of(1), of(2)) {
            (Known::Holds(below), _, Known::Constant(value)) => Known::Outside(below, value),
            (Known::Holds(below), Known::Constant(value), _) => Known::Outside(below.opposite(), value),
            (_, x, y) => match both(x, y, &|x, y| if x == y { x } else { f64::NAN }) {
                Known::Outside(_, value) if value.is_nan() => Known::Nothing,
                known => known,
            },
        },
        Op::Exp => match of(0) {
            Known::Outside(below, value) if value == f64::NEG_INFINITY => Known::Outside(below, 0.0),
            _ => Known::Nothing,
        },
        Op::Neg => zero(of(0)).unwrap_or(Known::Nothing),
        Op::Add => never(of(0)).or(never(of(1))).unwrap_or_else(|| both(of(0), of(1), &|x, y| x + y)),
        Op::Sub => never(of(0)).unwrap_or_else(|| both(of(0), of(1), &|x, y| x - y)),
        Op::Mul => {
            let scaled = |x: Known, y: Known| match y {
                Known::Constant(value) if value > 0.0 => never(x),
                _ => None,
            };
            let zeros = zero(of(0)).or(zero(of(1)));
            zeros.or(scaled(of(0), of(1))).or(scaled(of(1), of(0))).unwrap_or(Known::Nothing)
        }
        Op::MulAdd => match zero(of(0)).or(zero(of(1))) {
            Some(product) => both(product, of(2), &|x, y| x + y),
            None => Known::Nothing,
        },
        Op::Div => zero(of(0)).unwrap_or(Known::Nothing),
        Op::Reshape => {
            let from = &g[node.operands[0]].ty.shape;
            moved(&|axis| same_axis(from, axis, &node.ty.shape))
        }
        Op::Transpose(order) => moved(&|axis| order.iter().position(|&from| from == axis)),
        Op::Broadcast(to) => moved(&|axis| to.get(axis).copied()),
        _ => Known::Nothing,
    }
}

/// How a node reads one of its operands.
fn reads(g: &Graph, id: NodeId, at: usize, known: &[Known], own: Readers) -> Readers {
    let node = &g[id];
    let of = |at: usize| known[node.operands[at].index()];
    let moved = |to: &dyn Fn(usize) -> Option<usize>| match own {
        Readers::Only(below) => below.moved(to).map_or(Readers::All, Readers::Only),
        other => other,
    };
    if own == Readers::Nobody {
        return Readers::Nobody;
    }
    let hidden = match (&node.op, at) {
        (Op::Select, 1 | 2) => match of(0) {
            Known::Holds(below) => Some(if at == 1 { below } else { below.opposite() }),
            _ => None,
        },
        (Op::Mul, _) | (Op::MulAdd, 0 | 1) => match of(1 - at) {
            Known::Outside(below, 0.0) => Some(below),
            _ => None,
        },
        _ => None,
    };
    match &node.op {
        _ if hidden.is_some() => hidden.map_or(Readers::All, Readers::Only),
        Op::Reshape => {
            let (from, to) = (&node.ty.shape, &g[node.operands[0]].ty.shape);
            moved(&|axis| same_axis(from, axis, to))
        }
        Op::Transpose(order) => moved(&|axis| order.get(axis).copied()),
        op if op.is_map() => own,
        _ => Readers::All,
    }
}

impl Below {
    /// The same along axes that are somewhere else.
    fn moved(self, to: impl Fn(usize) -> Option<usize>) -> Option<Below> {
        Some(Below { key: to(self.key)?, query: to(self.query)?, ..self })
    }

    /// Everywhere else.
    fn opposite(self) -> Below {
        Below { key: self.query, query: self.key, offset: -self.offset - 1 }
    }
}

/// Where a comparison of positions along two axes holds.
fn compared(cmp: Cmp, x: usize, y: usize) -> Option<Below> {
    let below = |key, query, offset| (key != query).then_some(Below { key, query, offset });
    match cmp {
        Cmp::Ge => below(y, x, 0),
        Cmp::Gt => below(y, x, -1),
        Cmp::Le => below(x, y, 0),
        Cmp::Lt => below(x, y, -1),
        Cmp::Eq | Cmp::Ne => None,
    }
}

/// The axis of another shape with the same elements in the same order that is this axis of the first.
fn same_axis(from: &Shape, axis: usize, to: &Shape) -> Option<usize> {
    let before = |shape: &Shape, axis: usize| Dim::product(&shape.0[..axis]);
    let own = before(from, axis)?;
    (0..to.rank()).find(|&other| to.0[other] == from.0[axis] && before(to, other) == Some(own))
}
