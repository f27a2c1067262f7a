//! The check of gradients that users have: it passes what is right, at kinks too, and finds what is wrong.

use gradloom::ndarray::{Array1, Array2, array};
use gradloom::{Adam, Error, Gradcheck, Network, ParamCheck, RunError, Sgd, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::gradcheck::{self, check};
use gradloom_runtime::interp::{Precision, Values, evaluate};
use gradloom_runtime::ir::{Graph, Op, Role};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::{lower, trainable};
use insta::assert_snapshot;

use crate::draw;

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    act leaky = |x, slope = 0.1| if x > 0.0 { x } else { slope * x };
    /// Something of everything.
    Mixed<x: [B, 6] -> logits: [B, 4]> {
        Dense(12, bias = false), BatchNorm, swish,
        repeat(2) { residual { LayerNorm, Dense(12), leaky, Dense(12) } },
        residual { Dense(8), relu } skip { Dense(8, bias = false) }, prelu, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label, label_smoothing = 0.1) + 1e-3 * l2(weights);

    /// With a bias whose gradient is zero but for rounding, and weights that start as zeros.
    Dead<x: [B, 6] -> y: [B, 2]> { Dense(5), BatchNorm, tanh, Dense(2, init = zeros) }
    loss(t: [B, 2]) = mae(y, t);
}

fn rows(n: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, columns), |(row, column)| ((7 * row + 3 * column) as f32 * 0.61).sin())
}

fn labels(n: usize) -> Array1<u8> {
    Array1::from_shape_fn(n, |row| (row % 4) as u8)
}

#[test]
fn the_gradients_of_sound_networks_pass() {
    let (x, label) = (rows(7, 6), labels(7));
    let report = Mixed::gradcheck(x.view(), label.view()).expect("it runs");
    assert!(report.passed() && report.worst() < 1e-4, "{report}");
    assert!(report.params.iter().all(|param| param.symbolic.worst < 1e-8 && param.moved > 0), "{report}");
    assert_eq!(report.get("dense1.weight").map(|param| (param.moved, param.kinks)), Some((64, 0)), "{report}");

    let dead = Dead::gradcheck(x.view(), rows(7, 2).view()).expect("it runs");
    assert!(dead.passed() && dead.worst() < 1e-4, "{dead}");
}

#[test]
fn a_check_of_a_session_is_one_of_its_own_parameters() {
    let (x, label) = (rows(3, 6), labels(3));
    let mut net = Mixed::trainer(Adam::new(1e-2)).max_batch(8).seed(2).build().expect("it builds");
    for _ in 0..20 {
        net.step(x.view(), label.view()).expect("it runs");
    }
    let before = crate::train::state(&net);
    let report = net.gradcheck(x.view(), label.view()).expect("it runs");
    let loss = net.gradients(x.view(), label.view()).expect("it runs").loss;
    assert!((report.loss - f64::from(loss)).abs() < 1e-6 * report.loss, "{} {loss}", report.loss);
    assert!(report.passed(), "{report}");
    assert_eq!(crate::train::state(&net), before);
}

network! {
    /// Straight lines with kinks everywhere.
    Kinked<x: [B, 3] -> y: [B, 3]> { Dense(3), |x| abs(x) + minimum(x, 0.5 * x), hard_tanh, |x| step(x) + sign(x) + x, leaky_relu }
    loss(t: [B, 3]) = mae(y, t) + max(y) + hinge(y, t) + huber(y, t);
}

#[test]
fn a_kink_is_no_mistake() {
    let zeros = Array2::<f32>::zeros((4, 3));
    let mut net = Kinked::trainer(Sgd::new(0.1)).max_batch(4).seed(1).build().expect("it builds");
    // Biases are zero, and so is everything: every function stands at its kink.
    let report = net.gradcheck(zeros.view(), zeros.view()).expect("it runs");
    assert!(report.passed(), "{report}");
    assert_eq!(report.get("dense1.bias").map(|bias| (bias.moved, bias.kinks)), Some((3, 3)), "{report}");
    let report = net.gradcheck(rows(4, 3).view(), zeros.view()).expect("it runs");
    assert!(report.passed(), "{report}");
    // A little beside the kink all of it is a straight line again.
    net.set_param("dense1.bias", array![1e-5f32, -1e-5, 2e-5].view()).expect("it fits");
    let report = net.gradcheck(zeros.view(), zeros.view()).expect("it runs");
    assert!(report.passed(), "{report}");
    assert_eq!(report.get("dense1.bias").map(|bias| (bias.moved, bias.kinks)), Some((3, 0)), "{report}");
}

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    /// Small, so that it can be checked again and again.
    Small<x: [B, 3] -> y: [B, 2]> { Dense(3), swish, LayerNorm, Dense(2) }
    loss(t: [B, 2]) = mse(y, t);
}

/// The gradients of a graph, parameter by parameter.
fn gradients(joint: &Graph, wanted: &[usize], values: &Values) -> Vec<Vec<f64>> {
    let run = evaluate(joint, Precision::F64, 4, values);
    wanted.iter().map(|&param| run.output(&Role::Gradient(param)).as_floats().to_vec()).collect()
}

#[test]
fn a_wrong_gradient_is_found_wherever_the_mistake_is() {
    let graph = lower(Small::declared(), Mode::Train).expect("it is sound");
    let wanted: Vec<usize> = trainable(&graph).collect();
    let values = draw::values(&graph, 4, 3);
    let right = differentiate(&graph, &wanted);
    let expected = gradients(&right, &wanted, &values);
    let report = check([&graph, &right], 4, &values, &wanted, &expected);
    assert!(report.passed() && report.worst() < 1e-8, "{report}");

    let live = right.live();
    let mut tried = 0;
    for at in (graph.nodes.len()..right.nodes.len()).filter(|&at| live[at]) {
        let mut wrong = right.clone();
        wrong.nodes[at].op = match right.nodes[at].op {
            Op::Add => Op::Sub,
            Op::Sub => Op::Add,
            Op::Mul => Op::Div,
            Op::Div => Op::Mul,
            _ => continue,
        };
        let found = gradients(&wrong, &wanted, &values);
        if found.iter().flatten().zip(expected.iter().flatten()).all(|(x, y)| (x - y).abs() <= 1e-12 * (1.0 + y.abs()))
        {
            // A product with the 1 that the sweep starts from, or what is left of a mean by which it is not rounded.
            continue;
        }
        let report = check([&graph, &wrong], 4, &values, &wanted, &found);
        assert!(!report.passed() && report.worst() > 1e-2, "node {at} of\n{wrong}\n{report}");
        let report = check([&graph, &right], 4, &values, &wanted, &found);
        assert!(!report.passed() && report.worst() > 1e-2, "a compiled node {at} of\n{wrong}\n{report}");
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

#[test]
fn a_report_says_where_the_gradient_is_wrong() {
    let error = |worst, at, found, expected| gradcheck::Error { worst, at, found, expected };
    let param = |name: &str, shape: &[usize], moved, kinks, symbolic, compiled| ParamCheck {
        name: name.to_string(),
        shape: shape.to_vec(),
        moved,
        kinks,
        symbolic,
        compiled,
    };
    let fine = error(3.2e-11, Some(1), 1.0, 1.0);
    let rounded = error(4.1e-7, Some(0), 1.0, 1.0);
    let report = Gradcheck {
        loss: 0.5,
        params: vec![
            param("dense1.weight", &[20, 30], 64, 3, error(0.5, Some(64), 0.25, 0.5), rounded),
            param("dense1.bias", &[30], 30, 0, fine, error(f64::INFINITY, Some(7), f64::NAN, 0.125)),
            param("swish1.beta", &[], 1, 0, error(2e-3, None, -1.0, -1.002), rounded),
            param("dense2.bias", &[30], 30, 0, fine, rounded),
        ],
        undecided: 2,
    };
    assert_eq!((report.worst(), report.passed()), (f64::INFINITY, false));
    assert_snapshot!(report.to_string(), @r"
    gradients                   moved  at a kink  symbolic  compiled
    dense1.weight  [20,30]  64 of 600          3    5.0e-1    4.1e-7  wrong
    dense1.bias    [30]            30              3.2e-11       inf  wrong
    swish1.beta    []               1               2.0e-3    4.1e-7  wrong
    dense2.bias    [30]            30              3.2e-11    4.1e-7
    dense1.weight[2, 4]: the symbolic gradient is 2.500000e-1, the loss has the slope 5.000000e-1
    dense1.bias[7]: the compiled gradient is NaN, the symbolic one is 1.250000e-1
    swish1.beta along a line: the symbolic gradient is -1.000000e0, the loss has the slope -1.002000e0
    2 comparisons fall differently in f32
    ");
}

network! {
    /// Nothing to learn from.
    Lossless<x: [B, 3] -> y: [B, 2]> { Dense(2) }
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let (x, label) = (rows(7, 6), labels(7));
    let run = |result: Result<Gradcheck, Error>| match result {
        Err(Error::Run(error)) => error,
        other => panic!("{other:?}"),
    };
    let wide = run(Mixed::gradcheck(rows(7, 5).view(), label.view()));
    assert!(matches!(wide, RunError::Shape { .. }), "{wide}");
    let none = run(Mixed::gradcheck(rows(0, 6).view(), labels(0).view()));
    assert!(matches!(none, RunError::Empty { .. }), "{none}");
    let one = run(Mixed::gradcheck(rows(1, 6).view(), labels(1).view()));
    assert!(matches!(one, RunError::OneRow { .. }), "{one}");
    let class = run(Mixed::gradcheck(x.view(), Array1::from_elem(7, 4u8).view()));
    assert!(matches!(class, RunError::Class { .. }), "{class}");
    let loss = run(Mixed::gradcheck((&x / 0.0).view(), label.view()));
    assert!(matches!(loss, RunError::NotFinite { step: 1, .. }), "{loss}");
    let lossless = Lossless::gradcheck(rows(2, 3).view(), ()).expect_err("there is no loss");
    assert!(lossless.to_string().starts_with("`Lossless` declares no loss"), "{lossless}");
}
