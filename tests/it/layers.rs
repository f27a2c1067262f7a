//! Every layer, activation and function of expressions: its gradient against central differences, and its conventions.

use std::iter::zip;

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role, verify};
use gradloom_runtime::layers::{self, Arg, ArgDef, ArgKind, LayerDef, Mode};
use gradloom_runtime::lower::{lower, trainable};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::finite_difference::{self, STEP};
use crate::{draw, handmade};

const BATCH: usize = 5;

#[test]
fn every_layer_has_the_gradient_that_central_differences_show() {
    for layer in layers::ALL {
        for args in variants(layer.args) {
            for mode in [Mode::Train, Mode::Infer] {
                check_layer(layer, &args, mode);
            }
        }
    }
}

/// By its input and by its parameters.
fn check_layer(layer: &'static LayerDef, args: &[Arg], mode: Mode) {
    let what = format!("{} {args:?} {mode:?}", layer.name);
    let input = match layer.name {
        "flatten" => handmade::port("x", &[Dim::B, Dim::Fixed(2), Dim::Fixed(3)]),
        "Conv1d" => handmade::port("x", &[Dim::B, Dim::Fixed(3), Dim::Fixed(5)]),
        "GroupNorm" => handmade::port("x", &[Dim::B, Dim::Fixed(6), Dim::Fixed(2), Dim::Fixed(3)]),
        "Conv2d" | "ConvTranspose2d" | "upsample" | "max_pool" | "avg_pool" | "global_avg_pool" | "global_max_pool"
        | "normalize" | "random_crop" | "random_flip" => {
            handmade::port("x", &[Dim::B, Dim::Fixed(3), Dim::Fixed(5), Dim::Fixed(4)])
        }
        "Embedding" => handmade::port_of(DType::U8, "x", &[Dim::B, Dim::Fixed(2)]),
        "Positional" | "positions" | "Rnn" | "Gru" | "Lstm" => {
            handmade::port("x", &[Dim::B, Dim::Fixed(3), Dim::Fixed(4)])
        }
        "Attention" | "CrossAttention" => handmade::port("x", &[Dim::B, Dim::Fixed(3), Dim::Fixed(6)]),
        _ => handmade::port("x", &[Dim::B, Dim::Fixed(4)]),
    };
    let mut graph = lower(handmade::single_layer(layer, args, input), mode).expect("the layer fits its input");
    verify(&graph).expect(&what);
    let mut wanted: Vec<usize> = trainable(&graph).collect();
    verify(&differentiate(&graph, &wanted)).expect(&what);
    // Images and sequences have enough elements for two rows to show everything.
    let batch = if graph.slots.inputs[0].ty.shape.rank() > 2 { 2 } else { BATCH };
    for input in 0..graph.slots.inputs.len() {
        let slot = &graph.slots.inputs[input];
        if !slot.target && slot.ty.dtype == DType::F32 {
            wanted.push(handmade::input_as_parameter(&mut graph, input, batch));
        }
    }
    let values = draw::values(&graph, batch, 11);
    finite_difference::check(&what, &graph, batch, &values, &wanted, STEP);
}

/// Something for an argument without a default.
fn some(kind: ArgKind) -> Arg {
    if matches!(kind, ArgKind::Number { .. }) { Arg::Float(0.5) } else { Arg::Int(3) }
}

/// The default arguments; then, one at a time, every word, the other flag and half of every number, of 0 a quarter.
fn variants(args: &'static [ArgDef]) -> Vec<Vec<Arg>> {
    let default: Vec<Arg> = args.iter().map(|arg| arg.default.unwrap_or_else(|| some(arg.kind))).collect();
    let mut variants = vec![default.clone()];
    for (position, arg) in args.iter().enumerate() {
        let others: Vec<Arg> = match (arg.kind, default[position]) {
            (ArgKind::Flag, Arg::Flag(flag)) => vec![Arg::Flag(!flag)],
            (ArgKind::Number { .. }, Arg::Float(0.0)) => vec![Arg::Float(0.25)],
            // As many as images below have channels.
            (ArgKind::NumberOrList { .. }, _) => vec![Arg::Float(0.75), Arg::Numbers(&[0.5, 1.0, 2.0])],
            (ArgKind::Number { .. }, Arg::Float(value)) => vec![Arg::Float(value / 2.0)],
            // As many as the matrices below have classes.
            (ArgKind::Numbers { .. }, _) => vec![Arg::Numbers(&[1.0, 0.5, 2.0, 0.25])],
            // Where there may be none of it, the word and another integer; else one, as of heads of keys that several share.
            (ArgKind::SizeOr { least: 0, word }, _) => vec![Arg::Word(word), Arg::Int(2)],
            (ArgKind::SizeOr { least, .. }, _) => vec![Arg::Int(least)],
            (ArgKind::Sizes { least, word }, _) => {
                let pair = [Arg::Pair(1 + least, 1), Arg::Pair(1, least)];
                pair.into_iter().chain(word.map(Arg::Word)).collect()
            }
            // Of matrices, one axis of the two.
            (ArgKind::Axes, _) if arg.name == "axis" => vec![Arg::Ints(&[1]), Arg::Ints(&[-2])],
            (ArgKind::Word(words), _) => words.iter().map(|word| Arg::Word(word)).collect(),
            _ => Vec::new(),
        };
        for other in others {
            let mut variant = default.clone();
            variant[position] = other;
            if arg.name == "more" {
                // Fewer than the stride.
                variant[2] = Arg::Int(2);
            }
            variants.push(variant);
        }
    }
    variants
}

#[test]
fn every_function_has_the_gradient_that_central_differences_show() {
    // Rows of a batch keep their number, and parameters are no batch: declarations that are drawn have other shapes. What takes
    // class ids alone has no gradient.
    let cases = functions::ALL
        .iter()
        .filter(|function| !["reshape", "one_hot"].contains(&function.name))
        .flat_map(|function| variants(function.args).into_iter().map(move |args| (function, args)));
    for (function, args) in cases {
        let graph = function_graph(function, &args);
        let wanted: Vec<usize> = (0..graph.slots.params.len()).collect();
        verify(&differentiate(&graph, &wanted)).expect(function.name);
        let mut values = draw::values(&graph, BATCH, 13);
        if matches!(function.name, "ln" | "sqrt" | "rsqrt" | "log1p") {
            let positive: Vec<f64> = values.params[0].as_floats().iter().map(|x| x.abs()).collect();
            values.params[0] = Tensor::floats(&values.params[0].shape.clone(), positive);
        }
        if function.name == "kl_div" {
            let positive: Vec<f64> = values.params[1].as_floats().iter().map(|x| x.abs()).collect();
            values.params[1] = Tensor::floats(&values.params[1].shape.clone(), positive);
        }
        let what = format!("{} {args:?}", function.name);
        finite_difference::check(&what, &graph, BATCH, &values, &wanted, STEP);
    }
}

/// The function of parameters, or of a parameter and class ids, as part of a loss: of matrices where that fits, else of
/// columns.
fn function_graph(function: &FunctionDef, args: &[Arg]) -> Graph {
    let mut b = Builder::new(Graph::default());
    let (matrix, column) = ([5, 4], [5, 1]);
    let ids = TensorType { dtype: DType::U8, shape: Shape::fixed(&[5]) };
    let fits = |x: &[usize], y: &TensorType| (function.ty)(&[&TensorType::f32(Shape::fixed(x)), y], args).is_ok();
    let like = |x: &[usize]| TensorType::f32(Shape::fixed(x));
    let operands = if function.elementwise {
        function.operands.iter().map(|name| handmade::parameter(&mut b, name, &matrix)).collect()
    } else if function.operands.len() == 1 {
        vec![handmade::parameter(&mut b, "x", &matrix)]
    } else if fits(&matrix, &ids) {
        vec![handmade::parameter(&mut b, "x", &matrix), handmade::input(&mut b, "y", ids)]
    } else {
        let shape = if fits(&matrix, &like(&matrix)) { matrix } else { column };
        vec![handmade::parameter(&mut b, "x", &shape), handmade::parameter(&mut b, "y", &shape)]
    };
    let y = (function.lower)(&mut b, args, &operands);
    let types: Vec<&TensorType> = operands.iter().map(|&operand| b.ty(operand)).collect();
    assert_eq!((function.ty)(&types, args).as_ref(), Ok(b.ty(y)), "`{}` has the type it says", function.name);
    let y = if b.ty(y).dtype.is_index() { b.to_float(y) } else { y };
    handmade::weighted_loss(&mut b, y);
    b.finish()
}

/// The values of a pure layer at `x` and the gradient of their sum.
fn at(layer: &LayerDef, args: &[Arg], x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let function = layer.function.expect("the layer is a pure function");
    let given = |position: usize| args.get(position).copied().or(layer.args[position].default);
    let args: Vec<Arg> = (0..layer.args.len()).map(|position| given(position).expect("it has a default")).collect();
    let mut b = Builder::new(Graph::default());
    let param = handmade::parameter(&mut b, "x", &[x.len()]);
    let y = function(&mut b, &args, param);
    handmade::weighted_loss(&mut b, y);
    let graph = differentiate(&b.finish(), &[0]);
    let ones = Tensor::floats(&[x.len()], vec![1.0; x.len()]);
    let values = Values { inputs: vec![ones], params: vec![Tensor::floats(&[x.len()], x)], scalars: Vec::new() };
    let evaluation = evaluate(&graph, Precision::F64, 1, &values);
    (evaluation[y].as_floats().to_vec(), evaluation.output(&Role::Gradient(0)).as_floats().to_vec())
}

#[test]
fn smooth_activations_have_their_gradient_at_zero() {
    let smooth = [
        (&layers::SIGMOID, 0.25),
        (&layers::TANH, 1.0),
        (&layers::GELU, 0.5),
        (&layers::SILU, 0.5),
        (&layers::SOFTPLUS, 0.5),
        (&layers::CELU, 1.0),
        (&layers::HARD_SIGMOID, 1.0 / 6.0),
        (&layers::HARD_SWISH, 0.5),
        (&layers::HARD_TANH, 1.0),
        (&layers::SOFTSIGN, 1.0),
    ];
    for (layer, slope) in smooth {
        assert_eq!(at(layer, &[], &[0.0, -0.0]).1, [slope, slope], "{}", layer.name);
    }
    assert_eq!(at(&layers::GELU, &[Arg::Word("tanh")], &[0.0, -0.0]).1, [0.5, 0.5]);
    // tanh(ln 2) is 3/5.
    assert!(at(&layers::MISH, &[], &[0.0, -0.0]).1.iter().all(|dx| (dx - 0.6).abs() < 1e-15));
    for alpha in [0.25, 2.0] {
        assert_eq!(at(&layers::CELU, &[Arg::Float(alpha)], &[0.0, -0.0]).1, [1.0, 1.0], "celu({alpha})");
    }
}

#[test]
fn kinked_activations_take_the_left_slope_at_zero() {
    let selu = 1.673_263_242_354_377_2 * 1.050_700_987_355_480_5;
    let kinked = [
        (&layers::RELU, 0.0),
        (&layers::LEAKY_RELU, 0.01),
        (&layers::ELU, 1.0),
        (&layers::SELU, selu),
        (&layers::STEP, 0.0),
    ];
    for (layer, slope) in kinked {
        let (y, dx) = at(layer, &[], &[0.0, -0.0]);
        assert_eq!((y, dx), (vec![0.0, 0.0], vec![slope, slope]), "{}", layer.name);
    }
}

#[test]
fn activations_of_straight_lines_take_the_slope_of_the_outer_ones_at_their_kinks() {
    let below = (-3.0_f64).next_up();
    let above = 3.0_f64.next_up();
    let at_three = [-4.0, -3.0, below, 3.0, above];
    let (y, dx) = at(&layers::HARD_SIGMOID, &[], &at_three);
    assert_eq!((y[0], y[1], y[3], y[4]), (0.0, 0.0, 1.0, 1.0));
    assert_eq!(dx, [0.0, 0.0, 1.0 / 6.0, 0.0, 0.0]);
    let (y, dx) = at(&layers::HARD_SWISH, &[], &at_three);
    assert_eq!((y[0], y[1], y[3], y[4]), (0.0, 0.0, 3.0, above));
    assert_eq!((dx[0], dx[1], dx[3], dx[4]), (0.0, 0.0, 1.0, 1.0));
    let (y, dx) = at(&layers::HARD_TANH, &[], &[-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]);
    assert_eq!((y, dx), (vec![-1.0, -1.0, -0.5, 0.5, 1.0, 1.0], vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]));
}

#[test]
fn prelu_takes_its_slope_at_zero_and_passes_nan() {
    let mut graph = lower(handmade::single_layer(&layers::PRELU, &[], handmade::port("x", &[Dim::B])), Mode::Train)
        .expect("it fits");
    let x = handmade::input_as_parameter(&mut graph, 0, 5);
    let graph = differentiate(&graph, &[0, x]);
    let given = Tensor::floats(&[5], [-2.0, 0.0, -0.0, 3.0, f64::NAN]);
    let ones = Tensor::floats(&[5], [1.0; 5]);
    let slope = |slope: f64| Tensor::floats(&[], [slope]);
    let values = Values { inputs: vec![ones.clone(), ones], params: vec![slope(0.5), given], scalars: Vec::new() };
    let evaluation = evaluate(&graph, Precision::F64, 5, &values);
    let y = evaluation.output(&Role::Output(0)).as_floats();
    assert_eq!(y[..4], [-1.0, 0.0, 0.0, 3.0]);
    assert!(y[4].is_nan());
    assert_eq!(evaluation.output(&Role::Gradient(x)).as_floats(), [0.5, 0.5, 0.5, 1.0, 0.5]);
}

#[test]
fn step_is_flat_everywhere() {
    let (y, dx) = at(&layers::STEP, &[], &[-3.0, -1e-300, 1e-300, 3.0]);
    assert_eq!(y, [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(dx, [0.0; 4]);
}

#[test]
fn nan_passes_through_every_activation_but_step() {
    for layer in layers::ALL.iter().filter(|layer| layer.function.is_some() && layer.name != "step") {
        assert!(at(layer, &[], &[f64::NAN]).0[0].is_nan(), "{}", layer.name);
    }
}

#[test]
fn no_activation_has_a_nan_gradient_far_from_zero() {
    let far = [-1e4, -1000.0, -100.0, 100.0, 1000.0, 1e4];
    for layer in layers::ALL.iter().filter(|layer| layer.function.is_some()) {
        for x in far {
            let (y, dx) = at(layer, &[], &[x, 0.5 * x]);
            assert!(y.iter().chain(&dx).all(|value| value.is_finite()), "{} at {x}: {y:?}, {dx:?}", layer.name);
        }
    }
    assert_eq!(at(&layers::ELU, &[], &[100.0, 1000.0]).1, [1.0, 1.0]);
}

/// The values of an element-wise function and the gradient of their sum by its first operand.
fn function_at(function: &FunctionDef, args: &[Arg], operands: &[&[f64]]) -> (Vec<f64>, Vec<f64>) {
    let mut b = Builder::new(Graph::default());
    let x: Vec<NodeId> =
        zip(function.operands, operands).map(|(name, x)| handmade::parameter(&mut b, name, &[x.len()])).collect();
    let y = (function.lower)(&mut b, args, &x);
    let loss = b.sum(y, &[0]);
    handmade::output(&mut b, Role::Loss, loss);
    let graph = differentiate(&b.finish(), &[0]);
    let params = operands.iter().map(|x| Tensor::floats(&[x.len()], *x)).collect();
    let evaluation = evaluate(&graph, Precision::F64, 1, &Values { params, ..Values::default() });
    (evaluation[y].as_floats().to_vec(), evaluation.output(&Role::Gradient(0)).as_floats().to_vec())
}

#[test]
fn bounds_have_the_gradient_that_they_document_where_two_are_equal() {
    let bound = [1.0; 3];
    let at = |function| function_at(function, &[], &[&[0.0, 1.0, 2.0], &bound]);
    assert_eq!(at(&functions::MAXIMUM), (vec![1.0, 1.0, 2.0], vec![0.0, 1.0, 1.0]));
    assert_eq!(at(&functions::MINIMUM), (vec![0.0, 1.0, 1.0], vec![1.0, 1.0, 0.0]));
    let clamp = function_at(&functions::CLAMP, &[], &[&[-2.0, -1.0, 0.0, 1.0, 2.0], &[-1.0; 5], &[1.0; 5]]);
    assert_eq!(clamp, (vec![-1.0, -1.0, 0.0, 1.0, 1.0], vec![0.0, 1.0, 1.0, 1.0, 0.0]));
}

#[test]
fn nan_passes_through_every_element_wise_function() {
    for function in functions::ALL.iter().filter(|function| function.elementwise) {
        for position in 0..function.operands.len() {
            let mut operands = vec![[0.5]; function.operands.len()];
            operands[position] = [f64::NAN];
            let operands: Vec<&[f64]> = operands.iter().map(|x| x.as_slice()).collect();
            let args = &variants(function.args)[0];
            let (y, _) = function_at(function, args, &operands);
            assert!(y[0].is_nan(), "{} with NaN as {}", function.name, function.operands[position]);
        }
    }
}

#[test]
fn a_power_is_the_product_of_as_many() {
    for n in 1..=13 {
        let (y, dx) = function_at(&functions::POW, &[Arg::Int(n)], &[&[-3.0, 0.0, 2.0]]);
        assert_eq!(y, [-3.0, 0.0, 2.0].map(|x: f64| x.powi(n as i32)), "{n}");
        let slope = |x: f64| n as f64 * x.powi(n as i32 - 1);
        assert_eq!(dx, [-3.0, 0.0, 2.0].map(slope), "{n}");
    }
}

#[test]
fn a_sign_keeps_zeros_and_has_no_slope() {
    let (y, dx) = function_at(&functions::SIGN, &[], &[&[-3.0, -0.0, 0.0, 1e-300, f64::INFINITY]]);
    assert_eq!(y, [-1.0, 0.0, 0.0, 1.0, 1.0]);
    assert!(y[1].is_sign_negative() && y[2].is_sign_positive());
    assert_eq!(dx, [0.0; 5]);
}

/// The value of an expression of inputs.
fn value(inputs: Vec<Tensor>, types: &[TensorType], build: fn(&mut Builder, &[NodeId]) -> NodeId) -> Tensor {
    let mut b = Builder::new(Graph::default());
    let x: Vec<NodeId> = types.iter().map(|ty| handmade::input(&mut b, "x", ty.clone())).collect();
    let y = build(&mut b, &x);
    let graph = b.finish();
    evaluate(&graph, Precision::F32, 1, &Values { inputs, ..Values::default() })[y].clone()
}

#[test]
fn argmax_takes_the_first_of_equals_and_0_for_a_row_with_nan() {
    let x = Tensor::floats(&[3, 3], [1.0, 4.0, 4.0, 5.0, 5.0, 2.0, 1.0, f64::NAN, 3.0]);
    let ty = TensorType::f32(Shape::fixed(&[3, 3]));
    let positions = value(vec![x], &[ty], |b, x| (functions::ARGMAX.lower)(b, &[], x));
    assert_eq!(positions.as_indices(), [1, 0, 0]);
}

#[test]
fn top_k_counts_what_stands_before_the_class() {
    let nan = f64::NAN;
    let rows =
        [[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0], [5.0, 5.0, 5.0, 5.0], [5.0, 5.0, 5.0, 5.0], [nan, 2.0, 1.0, 0.0]];
    let shares = |class: u32| {
        [1, 2, 3].map(|k| {
            let mut b = Builder::new(Graph::default());
            let x = handmade::input(&mut b, "x", TensorType::f32(Shape::fixed(&[5, 4])));
            let ids = TensorType { dtype: DType::U8, shape: Shape::fixed(&[5]) };
            let target = handmade::input(&mut b, "target", ids);
            let y = (functions::TOP_K.lower)(&mut b, &[Arg::Int(k)], &[x, target]);
            let graph = b.finish();
            assert_eq!(graph.slots.inputs[1].classes, Some(4));
            let inputs = vec![Tensor::floats(&[5, 4], rows.concat()), Tensor::indices(&[5], vec![class; 5])];
            evaluate(&graph, Precision::F64, 1, &Values { inputs, ..Values::default() })[y].number()
        })
    };
    // The NaN stands before every number, and its own class is no hit.
    assert_eq!(shares(0), [0.8, 0.8, 0.8]);
    assert_eq!(shares(1), [0.0, 1.0, 1.0]);
    assert_eq!(shares(2), [0.0, 0.0, 1.0]);
    assert_eq!(shares(3), [0.0, 0.0, 0.0]);
}

/// The value and the gradients of a function of two vectors, or of two matrices of one row.
fn of_two(function: &FunctionDef, shape: &[usize], x: &[f64], y: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
    let args: Vec<Arg> = function.args.iter().map(|arg| arg.default.expect("it has defaults")).collect();
    let mut b = Builder::new(Graph::default());
    let operands = [handmade::parameter(&mut b, "x", shape), handmade::parameter(&mut b, "y", shape)];
    let loss = (function.lower)(&mut b, &args, &operands);
    handmade::output(&mut b, Role::Loss, loss);
    let graph = differentiate(&b.finish(), &[0, 1]);
    let params = vec![Tensor::floats(shape, x), Tensor::floats(shape, y)];
    let evaluation = evaluate(&graph, Precision::F64, 1, &Values { params, ..Values::default() });
    let gradient = |index| evaluation.output(&Role::Gradient(index)).as_floats().to_vec();
    (evaluation.loss(), gradient(0), gradient(1))
}

#[test]
fn losses_have_the_gradient_that_they_document_at_their_kinks() {
    assert_eq!(of_two(&functions::MAE, &[2], &[1.0, 3.0], &[1.0, 1.0]).1, [0.0, 0.5]);
    assert_eq!(of_two(&functions::HINGE, &[2], &[1.0, 0.0], &[1.0, -1.0]).1, [0.0, 0.5]);
    assert_eq!(of_two(&functions::HUBER, &[2], &[1.0, 0.0], &[0.0, 0.0]).1, [0.5, 0.0]);
}

#[test]
fn huber_is_a_square_near_the_target_and_a_line_far_from_it() {
    let (loss, dx, dy) = of_two(&functions::HUBER, &[4], &[0.5, -0.5, 3.0, -3.0], &[0.0; 4]);
    assert_eq!(loss, (0.125 + 0.125 + 2.5 + 2.5) / 4.0);
    assert_eq!(dx, [0.125, -0.125, 0.25, -0.25]);
    assert_eq!(dy, [-0.125, 0.125, -0.25, 0.25]);
}

#[test]
fn a_class_without_probability_counts_for_nothing_in_kl_div() {
    let log_q = [f64::NEG_INFINITY, -1.0, -0.5];
    let (loss, by_log_q, by_p) = of_two(&functions::KL_DIV, &[1, 3], &log_q, &[0.0, 1.0, 0.0]);
    assert_eq!((loss, by_log_q, by_p), (1.0, vec![0.0, -1.0, 0.0], vec![0.0, 2.0, 0.0]));
    assert!(of_two(&functions::KL_DIV, &[1, 2], &[-1.0, -1.0], &[-0.5, 1.5]).0.is_nan());
}

#[test]
fn nan_passes_through_every_loss_of_two_tensors() {
    for function in functions::ALL.iter().filter(|function| function.operands.len() == 2 && !function.elementwise) {
        if matches!(function.name, "cross_entropy" | "nll" | "top_k" | "precision" | "recall") {
            continue;
        }
        for (x, y) in [([f64::NAN, 1.0], [1.0, 0.5]), ([1.0, 0.5], [1.0, f64::NAN])] {
            assert!(of_two(function, &[2, 1], &x, &y).0.is_nan(), "{}", function.name);
        }
    }
}

#[test]
fn r2_is_1_for_what_is_exact_and_0_for_the_mean() {
    let y = [1.0, 2.0, 3.0, 6.0];
    assert_eq!(of_two(&functions::R2, &[4], &y, &y).0, 1.0);
    assert_eq!(of_two(&functions::R2, &[4, 1], &[3.0; 4], &y).0, 0.0);
    // Of two columns the one is exact and the other no better than the mean.
    assert_eq!(of_two(&functions::R2, &[2, 2], &[1.0, 4.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 6.0]).0, 0.5);
}

#[test]
fn the_mean_of_truth_values_is_a_share_and_their_sum_a_number() {
    let x = Tensor::floats(&[4], [1.0, -2.0, 3.0, 4.0]);
    let ty = TensorType::f32(Shape::fixed(&[4]));
    let share = value(vec![x.clone()], std::slice::from_ref(&ty), |b, x| {
        let zero = b.constant_like(0.0, x[0]);
        let positive = b.compare(Cmp::Gt, x[0], zero);
        (functions::MEAN.lower)(b, &[], &[positive])
    });
    assert_eq!(share.number(), 0.75);
    let number = value(vec![x], &[ty], |b, x| {
        let zero = b.constant_like(0.0, x[0]);
        let positive = b.compare(Cmp::Gt, x[0], zero);
        (functions::SUM.lower)(b, &[], &[positive])
    });
    assert_eq!(number.number(), 3.0);
}

#[test]
fn the_gradient_of_max_goes_to_the_first_of_equals_across_axes() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::parameter(&mut b, "x", &[2, 2]);
    let top = (functions::MAX.lower)(&mut b, &[], &[x]);
    handmade::output(&mut b, Role::Loss, top);
    let graph = differentiate(&b.finish(), &[0]);
    let values = Values { params: vec![Tensor::floats(&[2, 2], [1.0, 7.0, 7.0, 7.0])], ..Values::default() };
    let evaluation = evaluate(&graph, Precision::F64, 1, &values);
    assert_eq!(evaluation.output(&Role::Gradient(0)).as_floats(), [0.0, 1.0, 0.0, 0.0]);
}

#[test]
fn random_operands_stay_away_from_kinks() {
    let drawn = draw::normal(&[1000], &mut Random::new(1, 2));
    assert!(drawn.as_floats().iter().all(|x| x.abs() > 0.049));
}
