//! Sizes of tensors, metrics of decisions, and cross-entropy with class weights: interpreted and compiled, against values
//! of PyTorch and of scikit-learn's definitions.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, Graph, Role, SlotKind, verify};
use gradloom_runtime::layers::{Arg, ArgDef, ArgKind};
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::compiled::Compiled;
use crate::golden_file::{Case, GoldenFile};
use crate::{draw, handmade};

const F64: Bound = Bound { relative: 1e-12, absolute: 1e-15 };
const F32: Bound = Bound { relative: 1e-6, absolute: 1e-7 };

/// A batch of this many columns, or a vector of one number a row.
fn batch(columns: Option<usize>, dtype: DType) -> TensorType {
    let dims = [Dim::B].into_iter().chain(columns.map(Dim::Fixed)).collect();
    TensorType { dtype, shape: Shape(dims) }
}

#[test]
fn sizes_and_their_gradients_are_those_of_pytorch() {
    let file = GoldenFile::read("metrics");
    for function in functions::ALL.iter().filter(|function| function.over_weights) {
        let case = file.case(function.name);
        let mut b = Builder::new(Graph::default());
        let x = handmade::parameter(&mut b, "x", &case.get("x").shape);
        let y = (function.lower)(&mut b, &[], &[x]);
        handmade::output(&mut b, Role::Loss, y);
        let graph = differentiate(&b.finish(), &[0]);
        let values = Values { params: vec![case.get("x").clone()], ..Values::default() };
        let exact = evaluate(&graph, Precision::F64, 1, &values);
        let compiled = Compiled::new(&graph, 1).run(1, &values);
        for (role, key) in [(Role::Loss, "y"), (Role::Gradient(0), "dx")] {
            F64.check(key, exact.output(&role).as_floats(), case.floats(key));
            F32.check(key, compiled.get(&role), case.floats(key));
        }
    }
}

#[test]
fn the_functions_that_take_all_weights_are_the_sizes() {
    let over_weights: Vec<&str> =
        functions::ALL.iter().filter(|function| function.over_weights).map(|function| function.name).collect();
    assert_eq!(over_weights, ["l1", "l2"]);
}

/// Precision or recall of a block's scores.
fn decided(function: &FunctionDef, case: &Case) -> (Graph, Values) {
    let (target, dtype) = match case.find("target") {
        Some(target) => (target.clone(), DType::F32),
        None => (case.indices("labels"), DType::U16),
    };
    let mut b = Builder::new(Graph::default());
    let scores = case.get("scores");
    let x = handmade::input(&mut b, "scores", batch(scores.shape.get(1).copied(), DType::F32));
    let y = handmade::input(&mut b, "target", batch(target.shape.get(1).copied(), dtype));
    let args = [Arg::Float(case.get("threshold").number())];
    assert_eq!((function.ty)(&[b.ty(x), b.ty(y)], &args), Ok(TensorType::scalar()));
    let result = (function.lower)(&mut b, &args, &[x, y]);
    b.graph_mut().slots.metrics.push(function.name);
    handmade::output(&mut b, Role::Metric(0), result);
    let graph = b.finish();
    verify(&graph).expect(function.name);
    (graph, Values { inputs: vec![scores.clone(), target], ..Values::default() })
}

#[test]
fn precision_and_recall_are_those_of_scikit_learn() {
    let file = GoldenFile::read("metrics");
    let cases: Vec<&Case> = file.cases().iter().filter(|case| case.find("precision").is_some()).collect();
    assert!(cases.len() >= 6, "there are cases of every form");
    for case in cases {
        for function in [&functions::PRECISION, &functions::RECALL] {
            let (graph, values) = decided(function, case);
            let rows = values.inputs[0].shape[0];
            let expected = case.floats(function.name);
            let exact = evaluate(&graph, Precision::F64, rows, &values);
            F64.check(&case.name, exact.output(&Role::Metric(0)).as_floats(), expected);
            F32.check(&case.name, Compiled::new(&graph, rows).run(rows, &values).get(&Role::Metric(0)), expected);
        }
    }
}

#[test]
fn nan_decides_nothing() {
    for (scores, target) in [([f64::NAN, 1.0], [1.0, 1.0]), ([1.0, 1.0], [f64::NAN, 1.0])] {
        let mut shares = Vec::new();
        for function in [&functions::PRECISION, &functions::RECALL] {
            let mut b = Builder::new(Graph::default());
            let ty = TensorType::f32(Shape::fixed(&[2]));
            let operands = [handmade::input(&mut b, "x", ty.clone()), handmade::input(&mut b, "y", ty)];
            let y = (function.lower)(&mut b, &[Arg::Float(0.0)], &operands);
            let inputs = vec![Tensor::floats(&[2], scores), Tensor::floats(&[2], target)];
            let values = Values { inputs, ..Values::default() };
            shares.push(evaluate(&b.finish(), Precision::F32, 1, &values)[y].number());
        }
        assert_eq!(shares, if scores[0].is_nan() { [1.0, 0.5] } else { [0.5, 1.0] });
    }
}

#[test]
fn precision_says_what_does_not_fit() {
    let misfit = |x: TensorType, y: TensorType, threshold: f64| {
        (functions::PRECISION.ty)(&[&x, &y], &[Arg::Float(threshold)]).expect_err("it does not fit")
    };
    let (f32, u8) = (DType::F32, DType::U8);
    assert_snapshot!(misfit(batch(Some(3), f32), batch(None, u8), 0.5), @"takes no `threshold` with class ids: the largest logit decides");
    assert_snapshot!(misfit(batch(Some(1), f32), batch(None, u8), 0.0), @"needs logits of at least 2 classes with class ids, found [B, 1]; a score is compared with a target of f32");
    assert_snapshot!(misfit(batch(Some(3), f32), batch(Some(3), f32), 0.0), @"needs scores [B] or [B, 1] and a target like them, or logits [B, classes] and class ids, found [B, 3] of f32 and [B, 3] of f32");
    assert_snapshot!(misfit(batch(None, f32), batch(Some(1), f32), 0.0), @"needs scores [B] or [B, 1] and a target like them, or logits [B, classes] and class ids, found [B] of f32 and [B, 1] of f32");
    assert_snapshot!(misfit(batch(None, f32), batch(None, u8), 0.0), @"needs logits [B, classes] of f32, found [B] of f32");
}

#[test]
fn precision_counts_by_classes_and_finishes_once() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "logits", batch(Some(3), DType::F32));
    let y = handmade::input(&mut b, "label", batch(None, DType::U8));
    let result = (functions::PRECISION.lower)(&mut b, &[Arg::Float(0.0)], &[x, y]);
    b.graph_mut().slots.metrics.push("precision");
    handmade::output(&mut b, Role::Metric(0), result);
    assert_snapshot!(b.finish(), @r"
    %0 = input logits : f32[B,3]
    %1 = input label : u8[B]
    %2 = detach %0 : f32[B,3]
    %3 = max %2 over 1 : f32[B]
    %4 = broadcast %3 to 0 : f32[B,3]
    %5 = lt %2, %4 : bool[B,3]
    %6 = iota axis 1 : u32[B,3]
    %7 = to_float %6 : f32[B,3]
    %8 = neg %7 : f32[B,3]
    %9 = select %5, -inf, %8 : f32[B,3]
    %10 = max %9 over 1 : f32[B]
    %11 = neg %10 : f32[B]
    %12 = to_index %11 : u32[B]
    %13 = iota axis 1 : u32[B,3]
    %14 = broadcast %12 to 0 : u32[B,3]
    %15 = index_eq %13, %14 : bool[B,3]
    %16 = iota axis 1 : u32[B,3]
    %17 = broadcast %1 to 0 : u8[B,3]
    %18 = index_eq %16, %17 : bool[B,3]
    %19 = select %15, 1, 0 : f32[B,3]
    %20 = select %18, %19, 0 : f32[B,3]
    %21 = sum %20 over 0 : f32[3]
    %22 = sum %19 over 0 : f32[3]
    %23 = max %22, 1 : f32[3]
    %24 = div %21, %23 : f32[3]
    %25 = sum %24 over 0 : f32[]
    %26 = div %25, 3 : f32[]
    metric precision = %26
    ");
}

// ---- Class weights --------------------------------------------------------------------------------------------------

/// Cross-entropy of a parameter against class ids.
fn weighted(shape: &[usize], args: &[Arg]) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::parameter(&mut b, "logits", shape);
    let ids = TensorType { dtype: DType::U8, shape: Shape::fixed(&shape[..shape.len() - 1]) };
    let y = handmade::input(&mut b, "label", ids);
    let loss = (functions::CROSS_ENTROPY.lower)(&mut b, args, &[x, y]);
    handmade::output(&mut b, Role::Loss, loss);
    b.finish()
}

#[test]
fn a_weighted_cross_entropy_divides_by_the_weights_of_its_targets() {
    assert_snapshot!(weighted(&[5, 3], &[Arg::Float(0.0), Arg::Numbers(&[1.0, 2.0, 0.5]), Arg::Word("none")]), @"
    %0 = param logits : f32[5,3]
    %1 = input label : u8[5]
    %2 = detach %0 : f32[5,3]
    %3 = max %2 over 1 : f32[5]
    %4 = broadcast %3 to 0 : f32[5,3]
    %5 = sub %2, %4 : f32[5,3]
    %6 = eq %2, inf : bool[5,3]
    %7 = select %6, 0, %5 : f32[5,3]
    %8 = iota axis 1 : u32[5,3]
    %9 = broadcast %1 to 0 : u8[5,3]
    %10 = index_eq %8, %9 : bool[5,3]
    %11 = exp %7 : f32[5,3]
    %12 = select %10, 0, %11 : f32[5,3]
    %13 = sum %12 over 1 : f32[5]
    %14 = select %10, %11, 0 : f32[5,3]
    %15 = sum %14 over 1 : f32[5]
    %16 = sub %15, 1 : f32[5]
    %17 = add %13, %16 : f32[5]
    %18 = log1p %17 : f32[5]
    %19 = select %10, %7, 0 : f32[5,3]
    %20 = sum %19 over 1 : f32[5]
    %21 = sub %18, %20 : f32[5]
    %22 = add %15, %13 : f32[5]
    %23 = detach %0 : f32[5,3]
    %24 = max %23 over 1 : f32[5]
    %25 = eq %24, inf : bool[5]
    %26 = select %25, %22, 1 : f32[5]
    %27 = gt %26, 1 : bool[5]
    %28 = sub %24, %24 : f32[5]
    %29 = select %27, %28, %21 : f32[5]
    %30 = neg %13 : f32[5]
    %31 = broadcast %30 to 0 : f32[5,3]
    %32 = select %10, %31, %11 : f32[5,3]
    %33 = with_slope 0, %0, %32 : f32[5,3]
    %34 = sum %33 over 1 : f32[5]
    %35 = div 1, %22 : f32[5]
    %36 = with_slope %29, %34, %35 : f32[5]
    %37 = param class_weights : f32[3]
    %38 = broadcast %37 to 1 : f32[5,3]
    %39 = select %10, %38, 0 : f32[5,3]
    %40 = sum %39 over 1 : f32[5]
    %41 = mul %40, %36 : f32[5]
    %42 = sum %41 over 0 : f32[]
    %43 = sum %40 over 0 : f32[]
    %44 = div %42, %43 : f32[]
    loss = %44
    ");
}

#[test]
fn class_weights_are_a_table_that_is_not_trained() {
    let graph = weighted(&[5, 3], &[Arg::Float(0.0), Arg::Numbers(&[1.0, 2.0, 0.5]), Arg::Word("none")]);
    assert_eq!(graph.slots.params[1].kind, SlotKind::Fixed);
    assert_eq!(gradloom_runtime::lower::trainable(&graph).collect::<Vec<usize>>(), [0]);
    assert_eq!(draw::table(&graph.slots.params[1]).as_floats(), [1.0, 2.0, 0.5]);
}

#[test]
fn equal_tables_are_one_and_others_have_a_name_of_their_own() {
    let mut b = Builder::new(Graph::default());
    for table in [[1.0, 2.0].as_slice(), &[1.0, 3.0], &[1.0, 2.0], &[1.0, 2.0, 3.0]] {
        b.table("class_weights", handmade::leak(table.to_vec()));
    }
    let graph = b.finish();
    let names: Vec<&str> = graph.slots.params.iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(names, ["class_weights", "class_weights2", "class_weights3"]);
}

#[test]
fn compiled_cross_entropy_with_class_weights_is_that_of_pytorch() {
    for case in GoldenFile::read("losses").cases().iter().filter(|case| case.find("class_weights").is_some()) {
        let weights = Arg::Numbers(handmade::leak(case.floats("class_weights").to_vec()));
        let logits = case.get("logits");
        let graph =
            weighted(&logits.shape, &[Arg::Float(case.get("label_smoothing").number()), weights, Arg::Word("none")]);
        let graph = differentiate(&graph, &[0]);
        let params = vec![logits.clone(), draw::table(&graph.slots.params[1])];
        let values = Values { inputs: vec![case.indices("labels")], params, scalars: vec![] };
        let results = Compiled::new(&graph, 1).run(1, &values);
        F32.check(&case.name, results.get(&Role::Loss), case.floats("loss"));
        F32.check(&case.name, results.get(&Role::Gradient(0)), case.floats("dlogits"));
    }
}

#[test]
fn weights_that_are_all_alike_change_nothing() {
    for smoothing in [0.0, 0.1] {
        let graphs = [&[][..], &[3.0, 3.0, 3.0, 3.0]].map(|weights| {
            let graph = weighted(&[40, 4], &[Arg::Float(smoothing), Arg::Numbers(weights), Arg::Word("none")]);
            differentiate(&graph, &[0])
        });
        let values = draw::values(&graphs[1], 1, 5);
        let [plain, alike] = graphs.map(|graph| {
            let own = Values { params: values.params[..graph.slots.params.len()].to_vec(), ..values.clone() };
            Compiled::new(&graph, 1).run(1, &own)
        });
        for role in [Role::Loss, Role::Gradient(0)] {
            F32.check("weighted", alike.get(&role), plain.get(&role));
        }
    }
}

#[test]
fn class_weights_are_one_for_each_class_and_within_bounds() {
    let ids = batch(None, DType::U8);
    let misfit = |classes, weights| {
        (functions::CROSS_ENTROPY.ty)(
            &[&batch(Some(classes), DType::F32), &ids],
            &[Arg::Float(0.0), Arg::Numbers(weights), Arg::Word("none")],
        )
    };
    assert_eq!(misfit(2, &[1.0, 2.0]), Ok(TensorType::scalar()));
    assert_snapshot!(misfit(3, &[1.0, 2.0]).expect_err("it does not fit"), @"needs 3 class weights, one for each class, found 2");
    let named = |arg: &&ArgDef| arg.name == "class_weights";
    let kind: ArgKind = functions::CROSS_ENTROPY.args.iter().find(named).expect("it has the option").kind;
    assert_eq!(kind.accept(Arg::Numbers(&[0.0, 1e6])), Ok(Arg::Numbers(&[0.0, 1e6])));
    for wrong in [Arg::Numbers(&[1.0, -1.0]), Arg::Numbers(&[f64::NAN]), Arg::Numbers(&[]), Arg::Float(1.0)] {
        assert_eq!(kind.accept(wrong), Err("a list of numbers between 0 and 1e6".to_string()));
    }
}
