//! Ten networks in training under every optimizer, step by step against the interpreter in f64.

use gradloom::ndarray::{Array1, Array2};
use gradloom::{Adam, Network, Session, Sgd, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Graph, Role};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::lower;
use gradloom_runtime::optim::{TrainingConfig, attach, fill};
use gradloom_runtime::types::DType;

use crate::compiled::{Compiled, Reference, Results};
use crate::{budget, draw, optimizations};

network! {
    Line<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    pub Tanh<x: [B, 3] -> y: [B, 3]> { Dense(6), tanh, Dense(3) }
    loss(t: [u8; B]) = cross_entropy(y, t);

    pub NormRelu<x: [B, 4] -> y: [B, 3]> { Dense(6, bias = false), BatchNorm, relu, Dense(3) }
    loss(t: [u8; B]) = cross_entropy(y, t);

    NormSigmoid<x: [B, 4] -> y: [B, 1]> { Dense(5, bias = false), BatchNorm(every = 2), sigmoid, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    RowNorm<x: [B, 3] -> y: [B, 2]> { Dense(4), LayerNorm, silu, Dense(2) }
    loss(t: [B, 2]) = huber(y, t);

    Deep<x: [B, 4] -> y: [B, 1]> { repeat(3) { residual { Dense(5), gelu, Dense(4) } }, Dense(1) }
    loss(t: [B, 1]) = mae(y, t);

    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    Swish<x: [B, 3] -> y: [B, 2]> { Dense(4), swish, Dense(2) }
    loss(t: [B, 2]) = mse(y, t) + 1e-2 * l2(weights);

    Flat<x: [B, 2, 3] -> y: [B, 4]> { flatten, Dense(4), elu, Dense(4) }
    loss(t: [u8; B]) = cross_entropy(y, t, label_smoothing = 0.1);

    Slope<x: [B, 3] -> y: [B, 1]> { Dense(4), prelu, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);

    Odd<x: [B, 1] -> y: [B, 1]> { Dense(7), softplus, Dense(1, bias = false) }
    loss(t: [B, 1]) = mse(y, t);
}

const STEPS: u64 = 100;
const ROWS: usize = 12;

/// The graph of a training step: loss and updates.
fn training(definition: &'static gradloom_runtime::network::Definition<'static>, config: &TrainingConfig) -> Graph {
    let mut forward = lower(definition, Mode::Train).expect("the layers fit");
    forward.outputs.retain(|output| matches!(output.role, Role::Loss | Role::Update(_)));
    let wanted = config.trained(&forward).unwrap_or_else(|_| gradloom_runtime::lower::trainable(&forward).collect());
    attach(&differentiate(&forward, &wanted), config)
}

/// A batch, the same for the same number.
fn batch(graph: &Graph, number: u64) -> Vec<Tensor> {
    let mut random = Random::new(number, 5);
    let mut tensor = |slot: &gradloom_runtime::ir::InputSlot| {
        let shape = slot.ty.shape.at(ROWS);
        let len = shape.iter().product();
        match slot.ty.dtype {
            DType::F32 => Tensor::floats(&shape, (0..len).map(|_| random.normal()).collect::<Vec<f64>>()),
            _ => {
                let classes = slot.classes.expect("class ids have classes") as u64;
                Tensor::indices(&shape, (0..len).map(|_| random.below(classes) as u32).collect::<Vec<u32>>())
            }
        }
    };
    graph.slots.inputs.iter().map(&mut tensor).collect()
}

fn initial(graph: &Graph) -> Vec<Tensor> {
    let slots = graph.slots.params.iter().enumerate();
    let value = |(index, slot): (usize, &gradloom_runtime::ir::ParamSlot)| {
        let mut first = vec![0.0_f32; slot.shape.iter().product()];
        slot.init.fill(&mut first, 1, index as u64);
        Tensor::floats(&slot.shape, first.into_iter().map(f64::from).collect::<Vec<f64>>())
    };
    slots.map(value).collect()
}

fn scalars(graph: &Graph, config: &TrainingConfig, step: u64) -> Vec<f64> {
    let mut values = vec![0.0; graph.slots.scalars.len()];
    let rate = config.optimizer.settings().rate.rate(step - 1);
    fill(&graph.slots.scalars, &*config.optimizer, rate, step, &mut values);
    values.into_iter().map(f64::from).collect()
}

/// What a step makes of the parameters.
fn next(graph: &Graph, params: &[Tensor], value: impl Fn(&Role) -> Option<Vec<f64>>) -> Vec<Tensor> {
    let new = |(index, old): (usize, &Tensor)| match value(&Role::Update(index)) {
        Some(value) => Tensor::floats(&old.shape, value),
        None => old.clone(),
    };
    debug_assert_eq!(graph.slots.params.len(), params.len());
    params.iter().enumerate().map(new).collect()
}

/// Whether a step is compared: the first ones, in which bias corrections are far from 1, and then even and odd ones in turn.
fn is_compared(step: u64) -> bool {
    step <= 6 || step.is_multiple_of(9) || budget::is_deep()
}

/// Compares steps with the interpreter's from the same state, and goes on from what the interpreter made of it. Where
/// f32 may decide a comparison otherwise (Lion's sign of a moment near zero, above all), nine in ten of what comparisons
/// decide have to agree, and all of the rest.
fn check<N: Network>() {
    for (name, config) in optimizations::all() {
        let graph = training(N::declared(), &config);
        let mut compiled = Compiled::new(&graph, ROWS);
        let mut params = initial(&graph);
        let (mut compared, mut tried) = (0, 0);
        for step in 1..=STEPS {
            let inputs = batch(&graph, step);
            let values = draw::singles(&Values { inputs, params, scalars: scalars(&graph, &config, step) });
            if !is_compared(step) {
                let run = evaluate(&graph, Precision::F64, ROWS, &values);
                let exact = |role: &Role| graph.output(role).map(|_| run.output(role).as_floats().to_vec());
                params = next(&graph, &values.params, exact);
                continue;
            }
            let reference = Reference::new(&graph, ROWS, &values);
            assert!(reference.is_finite(), "{} with {name} diverges at step {step}", N::declared().name);
            let results = compiled.run(ROWS, &values);
            let near_kink = reference.near_kink();
            let outcome = if near_kink { reference.compare_undecided(&results) } else { reference.compare(&results) };
            outcome.unwrap_or_else(|error| panic!("{} with {name}, step {step}: {error}", N::declared().name));
            compared += u64::from(!near_kink);
            tried += 1;
            let agreeing = agreement(&graph, &reference, &results);
            assert!(agreeing >= 0.9, "{} with {name}, step {step}: {agreeing} agree", N::declared().name);
            let exact = |role: &Role| graph.output(role).map(|node| reference.exact(node).to_vec());
            params = next(&graph, &values.params, exact);
        }
        assert!(
            compared >= tried * 9 / 10 || name == "Lion",
            "{} with {name}: {compared} of {tried} steps compared as a whole",
            N::declared().name
        );
    }
}

/// The share of all elements of the next state that agree to four digits.
fn agreement(graph: &Graph, reference: &Reference<'_>, results: &Results) -> f64 {
    let updates = graph.outputs.iter().filter(|output| matches!(output.role, Role::Update(_)));
    let pairs = updates.flat_map(|output| results.get(&output.role).iter().zip(reference.exact(output.node)));
    let agree: Vec<bool> = pairs.map(|(actual, exact)| (actual - exact).abs() <= 1e-4 * exact.abs() + 1e-5).collect();
    agree.iter().filter(|agree| **agree).count() as f64 / agree.len() as f64
}

#[test]
fn each_step_of_every_optimizer_agrees_with_the_interpreter() {
    check::<Line>();
    check::<Tanh>();
    check::<NormRelu>();
    check::<NormSigmoid>();
    check::<RowNorm>();
    check::<Deep>();
    check::<Swish>();
    check::<Flat>();
    check::<Slope>();
    check::<Odd>();
}

/// The losses of a session and those of the interpreter in f64, from the same parameters on the same batches.
fn trajectory(config: fn() -> TrainingConfig, mut net: Session<Tanh>) -> Vec<(f64, f64)> {
    let config = config();
    let graph = training(Tanh::declared(), &config);
    let mut params = initial(&graph);
    for (slot, value) in graph.slots.params.iter().zip(&params) {
        let numbers: Array1<f32> = value.as_floats().iter().map(|&x| x as f32).collect();
        let array = numbers.into_shape_with_order(slot.shape.clone()).expect("a tensor has the elements of its shape");
        net.set_param(&slot.name, array.view()).expect("the parameter fits");
    }
    let losses = (1..=STEPS).map(|step| {
        let values = draw::singles(&Values {
            inputs: batch(&graph, 1 + step % 5),
            params: vec![],
            scalars: scalars(&graph, &config, step),
        });
        let values = Values { params: std::mem::take(&mut params), ..values };
        let x = Array2::from_shape_vec((ROWS, 3), values.inputs[0].as_floats().iter().map(|&x| x as f32).collect());
        let t: Array1<u8> = values.inputs[1].as_indices().iter().map(|&id| id as u8).collect();
        let loss = net.step(x.expect("three columns").view(), t.view()).expect("the batch fits").loss;
        let evaluation = evaluate(&graph, Precision::F64, ROWS, &values);
        let exact = |role: &Role| graph.output(role).map(|node| evaluation[node].as_floats().to_vec());
        params = next(&graph, &values.params, exact);
        (f64::from(loss), evaluation.loss())
    });
    losses.collect()
}

#[test]
fn whole_trajectories_of_descent_and_adam_follow_the_interpreter() {
    let sgd = || Sgd::new(0.2).into();
    let adam = || Adam::new(0.02).into();
    let runs = [
        ("descent", trajectory(sgd, Tanh::trainer(Sgd::new(0.2)).build().expect("it builds"))),
        ("Adam", trajectory(adam, Tanh::trainer(Adam::new(0.02)).build().expect("it builds"))),
    ];
    for (name, losses) in runs {
        for (step, (actual, exact)) in losses.iter().enumerate() {
            assert!((actual - exact).abs() <= 1e-4 * exact, "{name}, step {}: {actual} instead of {exact}", step + 1);
        }
        let (first, last) = (losses[0].1, losses[losses.len() - 1].1);
        assert!(last < 0.9 * first, "{name} learns: {first} becomes {last}");
    }
}
