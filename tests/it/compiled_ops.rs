//! Every operation as machine code against the interpreter, over sizes that meet vector bodies, remainders and the ends of
//! blocks.

use gradloom_runtime::interp::{Tensor, Values};
use gradloom_runtime::ir::ops::{self, Body};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Role, ScalarSlot};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::budget::{is_deep, share};
use crate::compiled::{Compiled, Reference, with_isa};
use crate::{draw, handmade};

const COLS: [usize; 9] = [1, 3, 4, 5, 7, 16, 17, 33, 64];
const ROWS: [usize; 6] = [1, 2, 5, 128, 129, 130];
const MAX_ROWS: usize = 130;

/// From operands of one shape, a float of that shape.
pub type Build = fn(&mut Builder, &Op, &[NodeId]) -> NodeId;

/// Element-wise operations, with their number of operands and what makes a float of the result.
pub fn elementwise() -> Vec<(Op, usize, Build)> {
    let itself: Build = |b, op, x| b.apply(op.clone(), x);
    let chosen: Build = |b, op, x| {
        let mask = b.apply(op.clone(), &x[..2]);
        b.select(mask, x[2], x[0])
    };
    let of_positive: Build = |b, op, x| {
        let size = b.abs(x[0]);
        b.apply(op.clone(), &[size])
    };
    let mut cases: Vec<(Op, usize, Build)> = Vec::new();
    let polynomials = [Op::Exp, Op::Expm1, Op::Sigmoid, Op::Tanh, Op::Softplus, Op::Erf, Op::NormalCdf];
    for op in [Op::Neg, Op::Abs, Op::SigmoidSlope, Op::TanhSlope, Op::Detach].into_iter().chain(polynomials) {
        cases.push((op, 1, itself));
    }
    for op in [Op::Ln, Op::Log1p, Op::Sqrt, Op::Rsqrt] {
        cases.push((op, 1, of_positive));
    }
    for op in [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Max, Op::Min] {
        cases.push((op, 2, itself));
    }
    for cmp in [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge] {
        cases.push((Op::Compare(cmp), 3, chosen));
    }
    cases.push((Op::Not, 3, |b, op, x| {
        let less = b.compare(Cmp::Lt, x[0], x[1]);
        let mask = b.apply(op.clone(), &[less]);
        b.select(mask, x[2], x[0])
    }));
    cases.push((Op::Select, 3, |b, op, x| {
        let zero = b.constant_like(0.0, x[0]);
        let mask = b.compare(Cmp::Gt, x[0], zero);
        b.apply(op.clone(), &[mask, x[1], x[2]])
    }));
    cases.push((Op::MulAdd, 3, itself));
    cases.push((Op::WithSlope, 3, itself));
    cases.push((Op::ToFloat, 1, |b, op, x| {
        let position = position(b, x[0]);
        b.apply(op.clone(), &[position])
    }));
    cases.push((Op::ToIndex, 2, |b, op, x| {
        let position = position(b, x[0]);
        let number = b.to_float(position);
        let back = b.apply(op.clone(), &[number]);
        let same = b.index_eq(back, position);
        b.select(same, x[0], x[1])
    }));
    cases.push((Op::IndexEq, 2, |b, op, x| {
        let shape = b.shape(x[0]);
        let row = b.iota(0, &shape);
        let column = position(b, x[0]);
        let diagonal = b.apply(op.clone(), &[row, column]);
        b.select(diagonal, x[0], x[1])
    }));
    cases.push((Op::Uniform, 1, |b, op, x| {
        let shape = b.shape(x[0]);
        let row = b.iota(0, &shape);
        let column = position(b, x[0]);
        let number = b.apply(op.clone(), &[column, row, row, column]);
        b.mul(number, x[0])
    }));
    cases
}

/// The position along the last axis.
fn position(b: &mut Builder, like: NodeId) -> NodeId {
    let shape = b.shape(like);
    b.iota(shape.rank() - 1, &shape)
}

/// Whether IEEE-754 leaves one result, so that compiled code has the interpreter's bits.
pub fn is_exact(op: &Op) -> bool {
    use Op::{
        Abs, Add, Compare, Detach, Div, IndexEq, Max, Min, Mul, Neg, Not, Select, Sqrt, Sub, ToFloat, ToIndex, Uniform,
        WithSlope,
    };
    matches!(
        op,
        Neg | Abs
            | Add
            | Sub
            | Mul
            | Div
            | Max
            | Min
            | Compare(_)
            | Not
            | Select
            | Sqrt
            | Detach
            | ToFloat
            | ToIndex
            | IndexEq
            | Uniform
            | WithSlope
    )
}

pub fn matrix(cols: usize) -> TensorType {
    TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)]))
}

/// A graph whose results are those of `build`, applied to inputs of these types.
pub fn graph(types: &[TensorType], build: impl Fn(&mut Builder, &[NodeId]) -> Vec<NodeId>) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x: Vec<NodeId> = types.iter().map(|ty| handmade::input(&mut b, "x", ty.clone())).collect();
    for (index, node) in build(&mut b, &x).into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

/// Compiles once and checks every batch size.
#[track_caller]
fn check(what: &str, graph: &Graph, batches: &[usize], exact: bool) {
    check_under(&[Isa::detect()], what, graph, batches, exact);
}

/// The same under each of these instruction sets.
#[track_caller]
fn check_under(isas: &[Isa], what: &str, graph: &Graph, batches: &[usize], exact: bool) {
    let most = *batches.iter().max().expect("there are batches");
    let mut compiled: Vec<(Isa, Compiled)> =
        isas.iter().map(|&isa| (isa, with_isa(isa, || Compiled::new(graph, most)))).collect();
    for &batch in batches {
        let values = draw::singles(&draw::values(graph, batch, batch as u64));
        let reference = Reference::new(graph, batch, &values);
        for (isa, compiled) in &mut compiled {
            let results = compiled.run(batch, &values);
            reference.check(&format!("{what}, {batch} rows, {isa:?}"), &results);
            if exact {
                for (role, wanted) in reference.rounded().outputs() {
                    let what = format!("{what}, {batch} rows, {isa:?}, {role:?}: other bits than the interpreter's");
                    assert!(results.get(role) == wanted.as_floats(), "{what}");
                }
            }
        }
    }
}

#[test]
fn every_element_wise_operation_agrees_with_the_interpreter() {
    agree(&[Isa::detect()], &COLS);
}

/// Compares every element-wise operation with the interpreter under these instruction sets, on so many columns.
pub fn agree(isas: &[Isa], cols: &[usize]) {
    for (op, count, build) in elementwise() {
        for (turn, &cols) in cols.iter().enumerate() {
            let graph = graph(&vec![matrix(cols); count], |b, x| vec![build(b, &op, x)]);
            // A row or more; the end of a block, and what begins the next.
            let rows = [share(&ROWS[..3], turn, 3), share(&ROWS[3..], turn, 3)].concat();
            check_under(isas, &format!("{op:?} on {cols} columns"), &graph, &rows, is_exact(&op));
        }
    }
}

#[test]
fn every_element_wise_operation_works_on_numbers_and_vectors_too() {
    let shapes = [Shape::scalar(), Shape::fixed(&[1]), Shape::fixed(&[37]), Shape(vec![Dim::B]), Shape::fixed(&[3, 5])];
    for (op, count, build) in elementwise()
        .into_iter()
        .filter(|(op, ..)| !matches!(op, Op::IndexEq | Op::ToFloat | Op::ToIndex | Op::Uniform))
    {
        for shape in &shapes {
            let graph = graph(&vec![TensorType::f32(shape.clone()); count], |b, x| vec![build(b, &op, x)]);
            check(&format!("{op:?} on {shape}"), &graph, &[1, 5, 130], is_exact(&op));
        }
    }
}

#[test]
fn a_function_beside_its_slope_has_the_bits_that_it_has_alone() {
    let ops = [Op::Tanh, Op::Sigmoid, Op::TanhSlope, Op::SigmoidSlope];
    for cols in COLS {
        let all = graph(&[matrix(cols)], |b, x| ops.clone().map(|op| b.apply(op, x)).to_vec());
        let values = draw::singles(&draw::values(&all, 5, cols as u64));
        let together = Compiled::new(&all, 5).run(5, &values);
        Reference::new(&all, 5, &values).check(&format!("{cols} columns"), &together);
        for (index, op) in ops[..2].iter().enumerate() {
            let one = graph(&[matrix(cols)], |b, x| vec![b.apply(op.clone(), x)]);
            let alone = Compiled::new(&one, 5).run(5, &values);
            let (together, alone) = (together.get(&Role::Output(index)), alone.get(&Role::Output(0)));
            assert!(together == alone, "{op:?} on {cols} columns: {together:?} and {alone:?}");
        }
    }
}

#[test]
fn every_operation_that_becomes_code_is_covered() {
    let cases = elementwise();
    for def in ops::ALL.iter().filter(|def| matches!(def.body, Body::Map(_))) {
        assert!(cases.iter().any(|(op, ..)| op.def().name == def.name), "`{}` has no case", def.name);
    }
}

#[test]
fn operands_may_repeat_along_rows_columns_or_both() {
    let kinds = [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Max];
    for cols in COLS {
        let types = [
            matrix(cols),
            TensorType::f32(Shape(vec![Dim::B])),
            TensorType::f32(Shape::fixed(&[cols])),
            TensorType::scalar(),
        ];
        for op in &kinds {
            let graph = graph(&types, |b, x| {
                let shape = b.shape(x[0]);
                let row = b.broadcast(x[1], &shape, &[0]);
                let column = b.broadcast(x[2], &shape, &[1]);
                let single = b.broadcast(x[3], &shape, &[]);
                let constant = b.constant_like(-1.25, x[0]);
                let operands = [x[0], row, column, single, constant];
                let pairs = operands.iter().flat_map(|&y| operands.iter().map(move |&z| (y, z)));
                pairs.filter(|(y, z)| y != z).map(|(y, z)| b.apply(op.clone(), &[y, z])).collect()
            });
            check(&format!("{op:?} on {cols} columns"), &graph, &[1, 5, MAX_ROWS], true);
        }
    }
}

#[test]
fn leaves_and_views_are_results() {
    for cols in COLS {
        let mut b = Builder::new(Graph::default());
        b.graph_mut().slots.scalars.push(ScalarSlot::Optimizer("rate", 1.0));
        let x = handmade::input(&mut b, "x", matrix(cols));
        let w = handmade::parameter(&mut b, "w", &[3, cols]);
        let v = handmade::parameter(&mut b, "v", &[cols]);
        let shape = b.shape(x);
        let rate = b.scalar(0);
        let count = b.count(&shape, &[0]);
        let three = b.constant(3.0, &shape);
        let column = b.iota(1, &shape);
        let column = b.to_float(column);
        let row = b.iota(0, &shape);
        let row = b.to_float(row);
        let long = b.reshape(x, Shape(vec![Dim::Batch(cols)]));
        let sample = b.reshape(x, Shape(vec![Dim::B, Dim::Fixed(1), Dim::Fixed(cols)]));
        let rows = b.broadcast(v, &shape, &[1]);
        let spread = b.spread(rate, &shape);
        let results = [x, w, v, rate, count, three, column, row, long, sample, rows, spread];
        for (index, node) in results.into_iter().enumerate() {
            handmade::output(&mut b, Role::Output(index), node);
        }
        check(&format!("{cols} columns"), &b.finish(), &ROWS, true);
    }
}

#[test]
fn reductions_along_rows_down_columns_and_over_everything_agree_with_the_interpreter() {
    for (turn, cols) in COLS.into_iter().enumerate() {
        for axes in [vec![0], vec![1], vec![0, 1]] {
            for kind in [Op::Sum, Op::MaxOver, Op::Mean, Op::Variance] {
                let op = kind(axes.clone());
                let graph = graph(&[matrix(cols)], |b, x| vec![b.apply(op.clone(), x)]);
                let exact = matches!(op, Op::MaxOver(_));
                // Fewer rows than a block, around its end, and several of them.
                let rows = [share(&[1, 2, 5], turn, 3), share(&[128, 129, 130], turn, 3), share(&[257, 1000], turn, 2)];
                check(&format!("{op:?} of {cols} columns"), &graph, &rows.concat(), exact);
            }
        }
    }
}

#[test]
fn reductions_of_vectors_blocks_and_parameters_agree_with_the_interpreter() {
    let fixed = |extents: &[usize]| Shape::fixed(extents);
    let batches = |extents: &[usize]| {
        Shape([Dim::B].into_iter().chain(extents.iter().map(|&extent| Dim::Fixed(extent))).collect())
    };
    let shapes = [
        batches(&[]),
        fixed(&[1]),
        fixed(&[1000]),
        fixed(&[300, 7]),
        fixed(&[1, 7]),
        fixed(&[9, 1]),
        batches(&[2, 5]),
        batches(&[3, 2, 9]),
    ];
    for shape in shapes {
        let rank = shape.rank();
        let mut ways = vec![(0..rank).collect::<Vec<usize>>(), vec![rank - 1], (0..rank - 1).collect()];
        ways.retain(|axes| !axes.is_empty());
        ways.dedup();
        for axes in ways {
            for kind in [Op::Sum, Op::MaxOver, Op::Mean, Op::Variance] {
                let op = kind(axes.clone());
                let graph = graph(&[TensorType::f32(shape.clone())], |b, x| vec![b.apply(op.clone(), x)]);
                check(&format!("{op:?} of {shape}"), &graph, &[1, 5, 129, 300], matches!(op, Op::MaxOver(_)));
            }
        }
    }
}

#[test]
fn what_is_reduced_may_be_computed_on_the_way_and_used_behind() {
    for cols in COLS {
        let graph = graph(&[matrix(cols), matrix(cols)], |b, x| {
            let product = b.mul(x[0], x[1]);
            let shape = b.shape(product);
            let along = b.sum(product, &[1]);
            let repeated = b.broadcast(along, &shape, &[0]);
            let share = b.sub(product, repeated);
            let top = b.max_over(share, &[0]);
            let spread = b.variance(share, &[0]);
            let column = b.broadcast(top, &shape, &[1]);
            let late = b.add(share, column);
            let total = b.sum(late, &[0, 1]);
            let rows = b.max_over(late, &[1]);
            vec![along, share, top, spread, late, total, rows]
        });
        check(&format!("{cols} columns"), &graph, &[1, 5, 128, 129, 300], false);
    }
}

#[test]
fn products_agree_with_the_interpreter_whichever_operand_is_transposed() {
    let small = [(1, 1, 1), (3, 4, 5), (7, 16, 17), (33, 5, 1), (1, 33, 7), (64, 64, 64), (5, 300, 3)];
    let large = [(128, 9, 20), (129, 40, 33), (256, 33, 40), (257, 40, 33), (520, 7, 18)];
    for (m, k, n) in small.into_iter().chain(large) {
        for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
            let fixed = |x, y, swapped| TensorType::f32(Shape::fixed(&if swapped { [y, x] } else { [x, y] }));
            let graph = graph(&[fixed(m, k, ta), fixed(k, n, tb)], |b, x| vec![b.dot(x[0], x[1], ta, tb)]);
            check(&format!("{m}x{k} times {k}x{n}, transposed {ta} {tb}"), &graph, &[1], false);
        }
    }
}

#[test]
fn products_follow_the_batch_in_rows_and_in_what_is_summed() {
    let batches = [1, 2, 5, 33, 128, 129, 130, 255, 256, 257, 300, 520];
    for (turn, (k, n)) in [(1, 1), (4, 5), (17, 33), (33, 7), (64, 16), (130, 140)].into_iter().enumerate() {
        let weight = |x: usize, y: usize| TensorType::f32(Shape::fixed(&[x, y]));
        let types = [matrix(k), weight(k, n), weight(n, k), matrix(n)];
        let graph = graph(&types, |b, x| {
            vec![b.dot(x[0], x[1], false, false), b.dot(x[0], x[2], false, true), b.dot(x[0], x[3], true, false)]
        });
        check(&format!("{k} to {n}"), &graph, &share(&batches, turn, 2), false);
    }
}

#[test]
fn products_that_are_not_kept_agree_with_the_interpreter() {
    let batches = [1, 64, 65, 128, 129, 200, 255, 256, 257, 300, 520];
    for (turn, (k, n, tb)) in [(5, 130, false), (33, 7, true), (64, 140, true)].into_iter().enumerate() {
        let weight = TensorType::f32(Shape::fixed(&if tb { [n, k] } else { [k, n] }));
        let graph = graph(&[matrix(k), weight], |b, x| {
            let product = b.dot(x[0], x[1], false, tb);
            vec![b.tanh(product)]
        });
        check(&format!("{k} to {n}"), &graph, &share(&batches, turn, 2), false);
    }
}

#[test]
fn products_too_large_for_the_cache_agree_with_the_interpreter() {
    let types = [matrix(1030), TensorType::f32(Shape::fixed(&[1030, 1033]))];
    let graph = graph(&types, |b, x| vec![b.dot(x[0], x[1], false, false)]);
    let mut compiled = Compiled::new(&graph, 257);
    for batch in [130, 257] {
        // No row depends on another one: a few are interpreted, and repeat in the batch as no tile does.
        let own = if is_deep() { batch } else { 11 };
        let values = draw::singles(&draw::values(&graph, own, batch as u64));
        let reference = Reference::new(&graph, own, &values);
        let (rows, weight) = (values.inputs[0].as_floats(), values.inputs[1].clone());
        let rows: Vec<f64> = rows.iter().copied().cycle().take(batch * 1030).collect();
        let inputs = vec![Tensor::floats(&[batch, 1030], rows), weight];
        let results = compiled.run(batch, &Values { inputs, ..Values::default() });
        let product = graph.output(&Role::Output(0)).expect("it is a result");
        let (wanted, allowed) = (reference.exact(product), reference.tolerance(product));
        let found = results.get(&Role::Output(0));
        assert_eq!(found.len(), batch * 1033);
        for (at, (found, wanted)) in found.iter().zip(wanted.iter().cycle()).enumerate() {
            assert!((found - wanted).abs() <= allowed, "{batch} rows: element {at} is {found}, but {wanted} in f64");
        }
    }
}

#[test]
fn class_ids_are_compared_and_counted() {
    for cols in COLS {
        let ids = TensorType { dtype: DType::U8, shape: Shape(vec![Dim::B]) };
        let graph = graph(&[matrix(cols), ids], |b, x| {
            let shape = b.shape(x[0]);
            let position = b.iota(1, &shape);
            let id = b.broadcast(x[1], &shape, &[0]);
            let same = b.index_eq(position, id);
            let picked = b.mask(same, x[0]);
            let number = b.to_float(x[1]);
            vec![b.sum(picked, &[1]), number]
        });
        check(&format!("{cols} columns"), &graph, &ROWS, false);
    }
}

#[test]
fn a_column_of_numbers_that_are_one_a_row_is_reduced_as_a_column() {
    type Reduce = fn(&mut Builder, NodeId) -> NodeId;
    let reductions: [(&str, Reduce); 3] =
        [("sum", |b, x| b.sum(x, &[0])), ("mean", |b, x| b.mean(x, &[0])), ("variance", |b, x| b.variance(x, &[0]))];
    for (what, reduce) in reductions {
        let mut b = Builder::new(Graph::default());
        let x = handmade::input(&mut b, "x", matrix(40));
        let bent = b.tanh(x);
        let along = b.mean(bent, &[1]);
        let column = b.reshape(along, matrix(1).shape);
        let column = b.exp(column);
        let (reduced, later) = (reduce(&mut b, column), b.tanh(column));
        for (index, node) in [reduced, later, column].into_iter().enumerate() {
            handmade::output(&mut b, Role::Output(index), node);
        }
        check(what, &b.finish(), &[1, 10, 130], false);
    }
}

#[test]
fn a_column_may_be_moved_by_its_mean_where_every_row_is_multiplied_by_it() {
    let graph = graph(&[matrix(37), matrix(1)], |b, x| {
        let column = b.shape(x[1]);
        let mean = b.mean(x[1], &[0]);
        let mean = b.broadcast(mean, &column, &[1]);
        let moved = b.sub(x[1], mean);
        let gate = b.sigmoid(moved);
        let gate = b.reshape(gate, Shape(vec![Dim::B]));
        let shape = b.shape(x[0]);
        let gate = b.broadcast(gate, &shape, &[0]);
        let result = b.mul(x[0], gate);
        vec![result, b.sum(result, &[1])]
    });
    check("a gate", &graph, &[1, 64, 129], false);
}
