//! Operations on tensors of any rank against values of NumPy, and their gradients: movement, windows, rows of tables, products,
//! reductions. In f64 to the last digits, in f32 to what rounding allows; what only moves is exact in both.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::interp::{Precision, Values, evaluate};
use gradloom_runtime::ir::ops::Body;
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role, Window, verify};
use gradloom_runtime::types::{DType, Shape, TensorType};

use crate::bound::Bound;
use crate::golden_file::{Case, GoldenFile};
use crate::handmade;

/// From the operands to the result of the case of this name.
type Build = fn(&mut Builder, &[NodeId]) -> NodeId;

const CASES: &[(&str, Build)] = &[
    ("transpose_matrix", |b, x| b.transpose(x[0], &[1, 0])),
    ("transpose_rank4", |b, x| b.transpose(x[0], &[2, 0, 3, 1])),
    ("transpose_rank6", |b, x| b.transpose(x[0], &[5, 3, 1, 0, 2, 4])),
    ("slice_middle", |b, x| b.slice(x[0], 1, 1, 3, 1)),
    ("slice_steps", |b, x| b.slice(x[0], 0, 1, 3, 3)),
    ("slice_one", |b, x| b.slice(x[0], 2, 3, 1, 1)),
    ("pad_around", |b, x| b.pad(x[0], 1, [2, 1], 0.0)),
    ("pad_inside", |b, x| b.apply(Op::Pad { axis: 0, before: 1, inside: 2, after: 0, value: 0.5 }, x)),
    ("pad_infinity", |b, x| b.apply(Op::Pad { axis: 1, before: 1, inside: 1, after: 1, value: f64::NEG_INFINITY }, x)),
    ("patches_plain", |b, x| b.patches(x[0], 0, PLAIN, 0.0)),
    ("patches_stride", |b, x| b.patches(x[0], 1, STRIDE, 0.0)),
    ("patches_dilation", |b, x| b.patches(x[0], 0, DILATION, f64::NEG_INFINITY)),
    ("patches_gaps", |b, x| b.patches(x[0], 1, GAPS, 0.0)),
    ("patches_2d", |b, x| {
        let rows = b.patches(x[0], 1, Window { before: 1, after: 1, ..Window::of(3) }, 0.0);
        b.patches(rows, 3, Window { stride: 2, after: 1, ..Window::of(2) }, 0.0)
    }),
    ("fold_plain", |b, x| b.fold(x[0], 0, PLAIN, 5)),
    ("fold_stride", |b, x| b.fold(x[0], 1, STRIDE, 7)),
    ("fold_dilation", |b, x| b.fold(x[0], 0, DILATION, 9)),
    ("fold_gaps", |b, x| b.fold(x[0], 1, GAPS, 8)),
    ("concat_middle", |b, x| b.concat(x, 1)),
    ("concat_vectors", |b, x| b.concat(x, 0)),
    ("gather_matrix", |b, x| b.gather(x[0], x[1])),
    ("scatter_add_matrix", |b, x| b.scatter_add(x[0], x[1], 5)),
    ("gather_numbers", |b, x| b.gather(x[0], x[1])),
    ("scatter_add_numbers", |b, x| b.scatter_add(x[0], x[1], 4)),
    ("gather_one", |b, x| b.gather(x[0], x[1])),
    ("scatter_add_one", |b, x| b.scatter_add(x[0], x[1], 3)),
    ("dot_batch", |b, x| dot(b, x, &[(0, 0)], &[(2, 1)])),
    ("dot_scores", |b, x| dot(b, x, &[(0, 0), (2, 2)], &[(3, 3)])),
    ("dot_two_axes", |b, x| dot(b, x, &[], &[(2, 0), (1, 1)])),
    ("dot_right_batch", |b, x| dot(b, x, &[(2, 0)], &[(1, 2)])),
    ("dot_outer", |b, x| dot(b, x, &[], &[])),
    ("dot_pairs", |b, x| dot(b, x, &[(1, 0), (0, 1)], &[])),
    ("dot_all", |b, x| dot(b, x, &[], &[(0, 0), (1, 1)])),
    ("dot_rank6", |b, x| dot(b, x, &[(1, 1), (0, 2), (3, 3)], &[(2, 0)])),
    ("sum_middle", |b, x| b.sum(x[0], &[1])),
    ("sum_outer", |b, x| b.sum(x[0], &[0, 2])),
    ("sum_most", |b, x| b.sum(x[0], &[1, 2, 4])),
    ("sum_ones", |b, x| b.sum(x[0], &[0, 1])),
    ("mean_middle", |b, x| b.center(x[0], &[1])),
    ("mean_outer", |b, x| b.center(x[0], &[0, 2])),
    ("mean_most", |b, x| b.center(x[0], &[1, 2, 4])),
    ("mean_ones", |b, x| b.center(x[0], &[0, 1])),
    ("variance_middle", |b, x| b.variance(x[0], &[1])),
    ("variance_outer", |b, x| b.variance(x[0], &[0, 2])),
    ("variance_most", |b, x| b.variance(x[0], &[1, 2, 4])),
    ("variance_ones", |b, x| b.variance(x[0], &[0, 1])),
    ("max_middle", |b, x| b.max_over(x[0], &[1])),
    ("max_outer", |b, x| b.max_over(x[0], &[0, 2])),
    ("max_most", |b, x| b.max_over(x[0], &[1, 2, 4])),
    ("max_ones", |b, x| b.max_over(x[0], &[0, 1])),
    ("conv_padded", |b, x| convolution(b, x, Window { before: 1, after: 1, ..Window::of(3) }, 3)),
    ("conv_stride", |b, x| convolution(b, x, Window { stride: 2, before: 1, ..Window::of(3) }, 2)),
    ("conv_dilation", |b, x| convolution(b, x, Window { dilation: 2, before: 2, after: 1, ..Window::of(2) }, 3)),
];

const PLAIN: Window = Window { size: 3, stride: 1, dilation: 1, before: 0, after: 0 };
const STRIDE: Window = Window { size: 3, stride: 2, dilation: 1, before: 1, after: 1 };
const DILATION: Window = Window { size: 3, stride: 1, dilation: 3, before: 2, after: 3 };
/// No tap is ever over some of the elements.
const GAPS: Window = Window { size: 2, stride: 3, dilation: 1, before: 0, after: 1 };

fn dot(b: &mut Builder, x: &[NodeId], batch: &[(usize, usize)], contracted: &[(usize, usize)]) -> NodeId {
    b.product(x[0], x[1], DotAxes { batch: batch.to_vec(), contracted: contracted.to_vec() })
}

/// Images `[n, h, w, c]` under a window that has another width along the second of its axes, times weights `[kh, kw, c, o]`.
fn convolution(b: &mut Builder, x: &[NodeId], window: Window, width: usize) -> NodeId {
    let rows = b.patches(x[0], 1, window, 0.0);
    let both = b.patches(rows, 3, Window { size: width, ..window }, 0.0);
    b.product(both, x[1], DotAxes { batch: vec![], contracted: vec![(2, 0), (4, 1), (5, 2)] })
}

/// The graph of a case with its gradients, the result in it, and the values: numbers are parameters, an index is an input.
fn differentiated(case: &Case, build: Build) -> (Graph, NodeId, Values) {
    let mut b = Builder::new(Graph::default());
    let (mut operands, mut values) = (Vec::new(), Values::default());
    for name in ["x", "z"] {
        if let Some(value) = case.find(name) {
            operands.push(handmade::parameter(&mut b, name, &value.shape));
            values.params.push(value.clone());
        }
    }
    if let Some(index) = case.find("index") {
        let ty = TensorType { dtype: DType::U32, shape: Shape::fixed(&index.shape) };
        operands.push(handmade::input(&mut b, "index", ty));
        values.inputs.push(case.indices("index"));
    }
    let y = build(&mut b, &operands);
    handmade::weighted_loss(&mut b, y);
    values.inputs.push(case.get("dy").clone());
    let graph = differentiate(&b.finish(), &Vec::from_iter(0..values.params.len()));
    (graph, y, values)
}

#[test]
fn operations_on_tensors_and_their_gradients_are_those_of_numpy() {
    let file = GoldenFile::read("tensors");
    assert_eq!(
        file.cases().iter().map(|case| &*case.name).filter(|name| !CASES.iter().any(|case| case.0 == *name)).count(),
        0
    );
    for &(name, build) in CASES {
        let case = file.case(name);
        let (graph, y, values) = differentiated(case, build);
        verify(&graph).unwrap_or_else(|fault| panic!("{name}: {fault}\n{graph}"));
        let moves = matches!(graph[y].op.def().body, Body::Move | Body::Gather);
        let exact = Bound { relative: 0.0, absolute: 0.0 };
        let rounded = [(Precision::F64, 1e-13), (Precision::F32, 1e-6)];
        for (precision, relative) in rounded {
            let bound = Bound { relative, absolute: relative };
            let run = evaluate(&graph, precision, 1, &values);
            let what = |part: &str| format!("{name} in {precision:?}: {part}");
            assert_eq!(run[y].shape, case.get("y").shape, "{name}");
            if moves { exact } else { bound }.check(&what("y"), run[y].as_floats(), case.floats("y"));
            for (param, key) in ["dx", "dz"].into_iter().enumerate().take(values.params.len()) {
                bound.check(&what(key), run.output(&Role::Gradient(param)).as_floats(), case.floats(key));
            }
        }
    }
}
