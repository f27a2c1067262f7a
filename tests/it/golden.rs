//! The interpreter against values of PyTorch and mpmath: elementary functions, activations, losses, batch norm, a network.
//!
//! f64 must agree to nearly every digit; f32 to what its rounding allows, which each test states.

use std::iter::zip;

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::interp::{Evaluation, Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, ParamSlot, Role, ScalarSlot, verify};
use gradloom_runtime::layers::{self, Arg, ArgDef, ArgKind, LayerDef, Mode};
use gradloom_runtime::lower::{lower, trainable};
use gradloom_runtime::network::{Definition, Expr};
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::bound::Bound;
use crate::golden_file::{Case, GoldenFile};
use crate::{draw, handmade};

/// f64 everywhere, unless a test says otherwise. The absolute part is for tails, where both sides cancel.
const F64: Bound = Bound { relative: 1e-12, absolute: 1e-15 };

/// The two precisions, each with its bound.
fn precisions(f32: Bound) -> [(Precision, Bound); 2] {
    [(Precision::F64, F64), (Precision::F32, f32)]
}

/// The element-wise operation of this name.
fn elementary(name: &str) -> Op {
    match name {
        "exp" => Op::Exp,
        "expm1" => Op::Expm1,
        "ln" => Op::Ln,
        "log1p" => Op::Log1p,
        "tanh" => Op::Tanh,
        "sigmoid" => Op::Sigmoid,
        "softplus" => Op::Softplus,
        "erf" => Op::Erf,
        other => panic!("no elementary function `{other}`"),
    }
}

/// An elementary function of the values `x` of a block.
fn apply(op: Op, case: &Case, precision: Precision) -> Vec<f64> {
    let x = case.get("x");
    let mut b = Builder::new(Graph::default());
    let param = handmade::parameter(&mut b, "x", &x.shape);
    let y = b.apply(op, &[param]);
    let graph = b.finish();
    evaluate(&graph, precision, 1, &Values { params: vec![x.clone()], ..Values::default() })[y].as_floats().to_vec()
}

#[test]
fn elementary_functions_are_within_2_ulp_in_f32_and_4_in_f64() {
    let file = GoldenFile::read("elementary");
    for case in file.cases().iter().filter(|case| !case.name.ends_with("_special")) {
        let op = elementary(&case.name);
        let ulp32 = if case.name == "softplus" { 4.0 } else { 2.0 };
        let ulps = |actual: &[f64], ulp: fn(f64) -> f64| {
            let errors =
                zip(actual, case.floats("y")).map(|(actual, &expected)| (actual - expected).abs() / ulp(expected));
            errors.fold(0.0, f64::max)
        };
        let single = ulps(&apply(op.clone(), case, Precision::F32), |y| {
            let y = (y as f32).abs();
            f64::from(y.next_up()) - f64::from(y)
        });
        let double = ulps(&apply(op, case, Precision::F64), |y| y.abs().next_up() - y.abs());
        assert!(single <= ulp32, "{} in f32 is {single:.3} ulp off", case.name);
        assert!(double <= 4.0, "{} in f64 is {double:.3} ulp off", case.name);
    }
}

#[test]
fn elementary_functions_of_special_values_are_exact() {
    let file = GoldenFile::read("elementary");
    for case in file.cases() {
        let Some(name) = case.name.strip_suffix("_special") else { continue };
        for precision in [Precision::F32, Precision::F64] {
            let actual = apply(elementary(name), case, precision);
            for ((x, expected), actual) in zip(zip(case.floats("x"), case.floats("y")), actual) {
                // What overflows or underflows in f32 need not in f64.
                let (expected, actual) = (*expected as f32, actual as f32);
                let same = actual.to_bits() == expected.to_bits() || actual.is_nan() && expected.is_nan();
                assert!(same, "{name}({x}) in {precision:?} is {actual:e}, not {expected:e}");
            }
        }
    }
}

/// The layer of a block of `activations.txt`, with its arguments.
fn activation(name: &str) -> (&'static LayerDef, Vec<Arg>) {
    let (name, given) = match name {
        "gelu_tanh" => ("gelu", Some(Arg::Word("tanh"))),
        "celu_half" => ("celu", Some(Arg::Float(0.5))),
        name => (name, None),
    };
    let layer = layers::ALL.iter().find(|layer| layer.name == name).expect("the block is named after a layer");
    (layer, layer.args.iter().map(|arg| given.or(arg.default).expect("an activation has defaults")).collect())
}

#[test]
fn activations_and_their_gradients_are_those_of_pytorch() {
    // gelu and log_softmax subtract numbers near 1: an error of a few units in the last place of 1 remains.
    let f32 = Bound { relative: 1e-6, absolute: 2e-7 };
    for case in GoldenFile::read("activations").cases() {
        let (layer, args) = activation(&case.name);
        let function = layer.function.expect("an activation is a pure function");
        let mut b = Builder::new(Graph::default());
        let x = handmade::parameter(&mut b, "x", &case.get("x").shape);
        let y = function(&mut b, &args, x);
        handmade::weighted_loss(&mut b, y);
        let graph = differentiate(&b.finish(), &[0]);
        let values =
            Values { inputs: vec![case.get("dy").clone()], params: vec![case.get("x").clone()], scalars: vec![] };
        for (precision, bound) in precisions(f32) {
            let what = |part| format!("{} in {precision:?}: {part}", case.name);
            let evaluation = evaluate(&graph, precision, 1, &values);
            bound.check(&what("y"), evaluation[y].as_floats(), case.floats("y"));
            bound.check(&what("dx"), evaluation.output(&Role::Gradient(0)).as_floats(), case.floats("dx"));
        }
    }
}

#[test]
fn every_activation_has_golden_values() {
    let file = GoldenFile::read("activations");
    let covered: Vec<&str> = file.cases().iter().map(|case| activation(&case.name).0.name).collect();
    for layer in layers::ALL.iter().filter(|layer| layer.function.is_some()) {
        assert!(covered.contains(&layer.name), "`{}` has no golden values", layer.name);
    }
}

/// The options of a function: those that the block gives, else the defaults.
fn options(function: &FunctionDef, case: &Case) -> Vec<Arg> {
    let given = |arg: &ArgDef| {
        let value = case.find(arg.name).map(|value| match arg.kind {
            ArgKind::Numbers { .. } => Arg::Numbers(handmade::leak(value.as_floats().to_vec())),
            ArgKind::Size => Arg::Int(value.number() as u64),
            _ => Arg::Float(value.number()),
        });
        value.or(arg.default)
    };
    function.args.iter().map(|arg| given(arg).expect("a function has defaults, or the block a value")).collect()
}

#[test]
fn element_wise_functions_and_their_gradients_are_those_of_pytorch() {
    let f32 = Bound { relative: 1e-6, absolute: 1e-7 };
    let file = GoldenFile::read("scalars");
    for function in functions::ALL.iter().filter(|function| function.elementwise) {
        let case = file.case(function.name);
        let operands: Vec<&Tensor> = function.operands.iter().map(|name| case.get(name)).collect();
        let mut b = Builder::new(Graph::default());
        let x: Vec<NodeId> =
            zip(function.operands, &operands).map(|(name, x)| handmade::parameter(&mut b, name, &x.shape)).collect();
        let y = (function.lower)(&mut b, &options(function, case), &x);
        handmade::weighted_loss(&mut b, y);
        let graph = differentiate(&b.finish(), &Vec::from_iter(0..x.len()));
        let params = operands.into_iter().cloned().collect();
        let values = Values { inputs: vec![case.get("dy").clone()], params, scalars: vec![] };
        for (precision, bound) in precisions(f32) {
            let what = |part: &str| format!("{} in {precision:?}: {part}", case.name);
            let evaluation = evaluate(&graph, precision, 1, &values);
            bound.check(&what("y"), evaluation[y].as_floats(), case.floats("y"));
            for (index, name) in function.operands.iter().enumerate() {
                let gradient = evaluation.output(&Role::Gradient(index)).as_floats();
                bound.check(&what(name), gradient, case.floats(&format!("d{name}")));
            }
        }
    }
}

#[test]
fn losses_and_their_gradients_are_those_of_pytorch() {
    let f32 = Bound { relative: 1e-6, absolute: 1e-7 };
    for case in GoldenFile::read("losses").cases() {
        let (loss, args) = loss(case);
        let prediction = loss.operands[0];
        let (graph, target) = loss_graph(case, prediction, |b, operands| (loss.lower)(b, &args, operands));
        let tables = graph.slots.params[1..].iter().map(draw::table);
        let params = [case.get(prediction).clone()].into_iter().chain(tables).collect();
        let values = Values { inputs: vec![target], params, scalars: vec![] };
        for (precision, bound) in precisions(f32) {
            let what = |part| format!("{} in {precision:?}: {part}", case.name);
            let evaluation = evaluate(&graph, precision, 1, &values);
            bound.check(&what("loss"), &[evaluation.loss()], case.floats("loss"));
            let gradient = evaluation.output(&Role::Gradient(0));
            bound.check(&what("gradient"), gradient.as_floats(), case.floats(&format!("d{prediction}")));
        }
    }
}

/// The loss of a block of `losses.txt`, with its options: those that the block gives, else the defaults.
fn loss(case: &Case) -> (&'static FunctionDef, Vec<Arg>) {
    let named = |loss: &&&FunctionDef| case.name.strip_prefix(loss.name).is_some_and(|rest| VARIANTS.contains(&rest));
    let loss = functions::ALL.iter().find(named).expect("the block is named after a loss");
    (loss, options(loss, case))
}

/// What may follow the name of a loss.
const VARIANTS: [&str; 8] =
    ["", "_large", "_zero", "_option", "_weighted", "_weighted_option", "_weighted_alike", "_weighted_zero"];

#[test]
fn every_loss_has_golden_values() {
    let file = GoldenFile::read("losses");
    let covered: Vec<&str> = file.cases().iter().map(|case| loss(case).0.name).collect();
    // Counts have no gradient: tests/it/layers.rs has the values of `top_k`, tests/it/metrics.rs those of the others.
    let counts = ["top_k", "precision", "recall"];
    let losses = functions::ALL.iter().filter(|function| function.operands.len() == 2 && !function.elementwise);
    for function in losses.filter(|function| !counts.contains(&function.name)) {
        assert!(covered.contains(&function.name), "`{}` has no golden values", function.name);
    }
}

/// The loss of a parameter against the block's target, with its gradient; and the target.
fn loss_graph(case: &Case, prediction: &str, lower: impl Fn(&mut Builder, &[NodeId]) -> NodeId) -> (Graph, Tensor) {
    let (dtype, target) = match case.find("target").or(case.find("p")) {
        Some(target) => (DType::F32, target.clone()),
        None => (DType::U8, case.indices("labels")),
    };
    let mut b = Builder::new(Graph::default());
    let x = handmade::parameter(&mut b, prediction, &case.get(prediction).shape);
    let shape = Shape::fixed(&target.shape);
    let y = handmade::input(&mut b, "target", TensorType { dtype, shape });
    let loss = lower(&mut b, &[x, y]);
    handmade::output(&mut b, Role::Loss, loss);
    (differentiate(&b.finish(), &[0]), target)
}

/// One batch norm of three features.
pub fn batch_norm(every: u64) -> &'static Definition<'static> {
    let args = [Arg::Float(0.9), Arg::Float(1e-5), Arg::Int(every)];
    handmade::single_layer(&layers::BATCH_NORM, &args, handmade::port("x", &[Dim::B, Dim::Fixed(3)]))
}

/// The index of the parameter whose name ends in this.
pub fn slot(graph: &Graph, name: &str) -> usize {
    graph.slots.params.iter().position(|slot| slot.name.ends_with(name)).unwrap_or_else(|| panic!("no `{name}`"))
}

/// The first value of every parameter, from the block where it has one under the last part of the name.
pub fn params(graph: &Graph, case: &Case) -> Vec<Tensor> {
    let value = |slot: &ParamSlot| {
        let key = slot.name.rsplit('.').next().expect("a split has a last part");
        case.find(&slot.name).or(case.find(key)).cloned().unwrap_or_else(|| {
            let mut first = vec![0.0_f32; slot.shape.iter().product()];
            slot.init.fill(&mut first, 0, 0);
            Tensor::floats(&slot.shape, first.into_iter().map(f64::from).collect::<Vec<f64>>())
        })
    };
    graph.slots.params.iter().map(value).collect()
}

#[test]
fn batch_norm_in_training_is_that_of_pytorch_forward_and_backward() {
    let f32 = Bound { relative: 1e-6, absolute: 5e-7 };
    let file = GoldenFile::read("batch_norm");
    let case = file.case("train");
    let batch = case.get("x").shape[0];
    let mut graph = lower(batch_norm(1), Mode::Train).expect("the layer fits");
    verify(&graph).expect("the graph is well formed");
    let x = handmade::input_as_parameter(&mut graph, 0, batch);
    let (gamma, beta) = (slot(&graph, "gamma"), slot(&graph, "beta"));
    let graph = differentiate(&graph, &[x, gamma, beta]);
    let inputs = vec![case.get("x").clone(), case.get("dy").clone()];
    let values = Values { inputs, params: params(&graph, case), scalars: vec![1.0] };
    for (precision, bound) in precisions(f32) {
        let evaluation = evaluate(&graph, precision, batch, &values);
        let roles = [Role::Output(0), Role::Gradient(x), Role::Gradient(gamma), Role::Gradient(beta)];
        for (role, key) in zip(roles, ["y", "dx", "dgamma", "dbeta"]) {
            bound.check(&format!("{key} in {precision:?}"), evaluation.output(&role).as_floats(), case.floats(key));
        }
    }
}

#[test]
fn running_statistics_follow_the_batches_on_the_steps_that_are_due() {
    let f32 = Bound { relative: 1e-6, absolute: 5e-7 };
    let file = GoldenFile::read("batch_norm");
    let case = file.case("running");
    for every in [1, 3] {
        let graph = lower(batch_norm(every), Mode::Train).expect("the layer fits");
        for (precision, bound) in precisions(f32) {
            let mut params = params(&graph, case);
            for step in 1..=5 {
                let x = case.get(&format!("x{step}"));
                let values = Values { inputs: vec![x.clone(), x.clone()], params, scalars: due(&graph, step) };
                let evaluation = evaluate(&graph, precision, x.shape[0], &values);
                params = updated(&graph, &evaluation, &values.params);
                for (name, key) in [("running_mean", "mean"), ("running_var", "var")] {
                    let key = format!("every{every}_{key}{step}");
                    let actual = &params[slot(&graph, name)];
                    bound.check(&format!("{key} in {precision:?}"), actual.as_floats(), case.floats(&key));
                }
            }
        }
    }
}

/// The scalars of a step, counted from 1.
pub fn due(graph: &Graph, step: u64) -> Vec<f64> {
    let due = |slot: &ScalarSlot| match slot {
        ScalarSlot::Due { every, .. } => f64::from(u8::from((step - 1).is_multiple_of(*every))),
        other => panic!("no value for {other:?}"),
    };
    graph.slots.scalars.iter().map(due).collect()
}

/// The parameters after a step: updated where the graph has an update.
fn updated(graph: &Graph, evaluation: &Evaluation<'_>, params: &[Tensor]) -> Vec<Tensor> {
    let next = |(index, old): (usize, &Tensor)| match graph.output(&Role::Update(index)) {
        Some(node) => evaluation[node].clone(),
        None => old.clone(),
    };
    params.iter().enumerate().map(next).collect()
}

#[test]
fn batch_norm_in_inference_uses_the_running_statistics() {
    let f32 = Bound { relative: 1e-6, absolute: 5e-7 };
    let file = GoldenFile::read("batch_norm");
    let case = file.case("inference");
    let graph = lower(batch_norm(1), Mode::Infer).expect("the layer fits");
    let x = case.get("x");
    let values = Values { inputs: vec![x.clone(), x.clone()], params: params(&graph, case), scalars: vec![] };
    for (precision, bound) in precisions(f32) {
        let evaluation = evaluate(&graph, precision, x.shape[0], &values);
        bound.check(&format!("y in {precision:?}"), evaluation.output(&Role::Output(0)).as_floats(), case.floats("y"));
    }
}

#[test]
fn batch_norm_does_not_cancel_where_the_mean_is_10_000_deviations() {
    let file = GoldenFile::read("batch_norm");
    let case = file.case("large_mean");
    let x = case.get("x");
    let graph = lower(batch_norm(1), Mode::Train).expect("the layer fits");
    let values = Values { inputs: vec![x.clone(), x.clone()], params: params(&graph, case), scalars: vec![1.0] };
    // A mean of 10,000 is off by up to 5e-4 as an f32, and by a few times that as a sum of f32; so is y, in deviations. The
    // variance is off by the square.
    let bounds = [
        (Precision::F64, Bound { relative: 1e-12, absolute: 1e-11 }, Bound { relative: 1e-12, absolute: 0.0 }),
        (Precision::F32, Bound { relative: 1e-5, absolute: 3e-3 }, Bound { relative: 2e-5, absolute: 0.0 }),
    ];
    for (precision, y, variance) in bounds {
        let evaluation = evaluate(&graph, precision, x.shape[0], &values);
        y.check(&format!("y in {precision:?}"), evaluation.output(&Role::Output(0)).as_floats(), case.floats("y"));
        let update = evaluation.output(&Role::Update(slot(&graph, "running_var"))).as_floats();
        let unbiased: Vec<f64> = update.iter().map(|next| (next - 0.9) / 0.1).collect();
        variance.check(&format!("variance in {precision:?}"), &unbiased, case.floats("var_unbiased"));
    }
}

/// The layer of a block of `layers.txt`, of five features, with its defaults; the blocks differ in what else they name.
pub fn layer_with_parameters(name: &str) -> &'static Definition<'static> {
    let stem = name.trim_end_matches("_large_mean");
    let layer = layers::ALL.iter().find(|layer| layer.stem == stem).expect("the block is named after a layer");
    let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.expect("the layer has defaults")).collect();
    handmade::single_layer(layer, &args, handmade::port("x", &[Dim::B, Dim::Fixed(5)]))
}

/// The graph of a block of `layers.txt` with the gradients by input and parameters; and its results under their keys.
pub fn layer_graph(case: &Case, mode: Mode) -> (Graph, Vec<(Role, String)>) {
    let mut graph = lower(layer_with_parameters(&case.name), mode).expect("the layer fits");
    verify(&graph).expect("the graph is well formed");
    let x = handmade::input_as_parameter(&mut graph, 0, case.get("x").shape[0]);
    let wanted: Vec<usize> = (0..=x).collect();
    let key = |index: &usize| graph.slots.params[*index].name.rsplit('.').next().map(|key| format!("d{key}"));
    let gradients = wanted.iter().map(|index| (Role::Gradient(*index), key(index).expect("a split has a last part")));
    let results = [(Role::Output(0), "y".to_string())].into_iter().chain(gradients).collect();
    (differentiate(&graph, &wanted), results)
}

/// What f32 leaves of such a layer: of a mean of 1000 deviations, three digits fewer.
pub fn layer_bound(case: &Case) -> Bound {
    match case.name.ends_with("_large_mean") {
        true => Bound { relative: 1e-4, absolute: 5e-4 },
        false => Bound { relative: 1e-6, absolute: 1e-6 },
    }
}

#[test]
fn layers_with_parameters_are_those_of_pytorch_forward_and_backward() {
    for case in GoldenFile::read("layers").cases() {
        for mode in [Mode::Train, Mode::Infer] {
            let (graph, results) = layer_graph(case, mode);
            let inputs = vec![case.get("x").clone(), case.get("dy").clone()];
            let values = Values { inputs, params: params(&graph, case), scalars: vec![] };
            // The mean of the rows takes digits of f64 too.
            let f64 = if case.name.ends_with("_large_mean") { Bound { relative: 1e-11, absolute: 1e-11 } } else { F64 };
            for (precision, bound) in [(Precision::F64, f64), (Precision::F32, layer_bound(case))] {
                let evaluation = evaluate(&graph, precision, case.get("x").shape[0], &values);
                for (role, key) in &results {
                    let what = format!("{} in {precision:?}: {key}", case.name);
                    bound.check(&what, evaluation.output(role).as_floats(), case.floats(key));
                }
            }
        }
    }
}

/// `x: [B, 5] -> Dense(7), BatchNorm, relu, Dense(4), tanh, Dense(3)` with `cross_entropy(logits, labels)`.
pub fn network() -> &'static Definition<'static> {
    let dense = |n, path| {
        handmade::stage(
            &layers::DENSE,
            &[Arg::Int(n), Arg::Flag(true), Arg::Init(&layers::initializers::AUTO, None)],
            path,
        )
    };
    let norm = [Arg::Float(0.9), Arg::Float(1e-5), Arg::Int(1)];
    handmade::leak(Definition {
        name: "Network",
        inputs: handmade::leak([handmade::port("x", &[Dim::B, Dim::Fixed(5)])]),
        outputs: handmade::leak([handmade::port("logits", &[Dim::B, Dim::Fixed(3)])]),
        targets: handmade::leak([handmade::port_of(DType::U8, "labels", &[Dim::B])]),
        scalars: &[],
        layers: &[],
        flows: &[],
        body: handmade::leak([
            dense(7, "dense1"),
            handmade::stage(&layers::BATCH_NORM, &norm, "batch_norm1"),
            handmade::stage(&layers::RELU, &[], "relu1"),
            dense(4, "dense2"),
            handmade::stage(&layers::TANH, &[], "tanh1"),
            dense(3, "dense3"),
        ]),
        loss: Some(handmade::clause(
            "loss",
            handmade::call(
                &functions::CROSS_ENTROPY,
                &[Arg::Float(0.0), Arg::Numbers(&[])],
                vec![Expr::Name("logits"), Expr::Name("labels")],
            ),
        )),
        acts: &[],
        places: &[],
        assembled: None,
        metrics: &[],
    })
}

#[test]
fn the_loss_and_gradients_of_a_network_are_those_of_pytorch() {
    let f32 = Bound { relative: 3e-6, absolute: 3e-7 };
    let file = GoldenFile::read("network");
    let (initial, expected) = (file.case("initial"), file.case("gradients"));
    let forward = lower(network(), Mode::Train).expect("the layers fit");
    let wanted: Vec<usize> = trainable(&forward).collect();
    let graph = differentiate(&forward, &wanted);
    verify(&graph).expect("the joint graph is well formed");
    let inputs = vec![initial.get("x").clone(), initial.indices("labels")];
    let values = Values { inputs, params: params(&graph, initial), scalars: due(&graph, 1) };
    for (precision, bound) in precisions(f32) {
        let evaluation = evaluate(&graph, precision, 6, &values);
        bound.check("loss", &[evaluation.loss()], expected.floats("loss"));
        bound.check("logits", evaluation.output(&Role::Output(0)).as_floats(), expected.floats("logits"));
        for &param in &wanted {
            let name = &graph.slots.params[param].name;
            let gradient = evaluation.output(&Role::Gradient(param));
            bound.check(&format!("d {name} in {precision:?}"), gradient.as_floats(), expected.floats(name));
        }
    }
}

#[test]
fn a_trained_network_predicts_what_pytorch_predicts() {
    let f32 = Bound { relative: 3e-6, absolute: 3e-7 };
    let file = GoldenFile::read("network");
    let (initial, trained) = (file.case("initial"), file.case("after_adam"));
    let graph = lower(network(), Mode::Infer).expect("the layers fit");
    let inputs = vec![initial.get("x").clone(), initial.indices("labels")];
    let values = Values { inputs, params: params(&graph, trained), scalars: vec![] };
    for (precision, bound) in precisions(f32) {
        let evaluation = evaluate(&graph, precision, 6, &values);
        bound.check("predict", evaluation.output(&Role::Output(0)).as_floats(), trained.floats("predict"));
    }
}
