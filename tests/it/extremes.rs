//! Optimisers at both ends of the range of numbers, and beside what is no number: against f64, with what an f32 can't hold bounded
//! or refused.

use gradloom::ndarray::array;
use gradloom::{RunError, Session, Sgd, Trainer, network};

network! {
    /// In one row `x` and with a target of 1, the gradient of the weight is `x`, to the bit.
    Plain<x: [B, 4] -> y: [B, 1]> { Dense(1, bias = false, init = zeros) }
    loss(g: [B, 1]) = mean(g * y);

    /// Two parameters, with gradients `1e-30 x` and, for outputs of the first layer of 0, `x` times the weight of the second.
    Deep<x: [B, 2] -> y: [B, 2]> { Dense(2, bias = false, init = zeros), Dense(2, init = zeros) }
    loss(g: [B, 2]) = sum(g * y);

    /// The slope of the root at 0 is infinite.
    Root<x: [B, 1] -> y: [B, 1]> { Dense(1) }
    loss = mean(sqrt(y));
}

type Four = [f32; 4];

fn built(trainer: Trainer<Plain>) -> Session<Plain> {
    trainer.build().expect("it builds")
}

/// A step with this gradient.
fn follow(net: &mut Session<Plain>, gradient: Four) -> Result<(), RunError> {
    net.step(array![gradient].view(), array![[1.0]].view()).map(drop)
}

fn weight(net: &Session<Plain>) -> Vec<f64> {
    net.param("dense1.weight").expect("it exists").iter().map(|&w| f64::from(w)).collect()
}

/// Within a few roundings of what is wanted, or as near as the least number there is.
#[track_caller]
fn close(found: &[f64], wanted: &[f64], relative: f64) {
    let near = |found: f64, wanted: f64| (found - wanted).abs() <= relative * wanted.abs() + 3e-45;
    let all = found.iter().zip(wanted).all(|(&found, &wanted)| near(found, wanted));
    assert!(all && found.len() == wanted.len(), "{found:?}, want {wanted:?}");
}

// ---- Clipping by norm -----------------------------------------------------------------------------------------------

#[test]
fn a_norm_whose_squares_overflow_clips_as_any_other() {
    let gradients = [
        [3e19, 4e19, 0.0, 0.0],
        [-3e38, 3e38, 3e38, -3e38],
        [3e38, 1e19, 1.0, 1e-15],
        [1.9e19, 0.0, 0.0, 0.0],
        [1e19, 1e19, 1e19, 1e19],
        [1e-25, 2e-25, 0.0, -1e-30],
        [3.0, 4.0, 1e-20, 0.0],
    ];
    for (gradient, limit) in
        gradients.into_iter().flat_map(|gradient| [1.0, 1e-6, 1e18, 1e30].map(|limit| (gradient, limit)))
    {
        let mut net = built(Plain::trainer(Sgd::new(1.0)).clip_norm(limit).sentinel(true));
        follow(&mut net, gradient).expect("all of it is finite");
        let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let factor = (limit / (norm + 1e-6)).min(1.0);
        let wanted: Vec<f64> = gradient.iter().map(|&g| -factor * f64::from(g)).collect();
        close(&weight(&net), &wanted, 1e-6);
    }
}

#[test]
fn the_norm_is_that_of_all_parameters_also_where_only_one_overflows() {
    let mut net = Deep::trainer(Sgd::new(1.0)).clip_norm(2.0).build().expect("it builds");
    net.set_param("dense2.weight", array![[1e-20f32, 0.0], [0.0, 1e-20]].view()).expect("it fits");
    let x = array![[1.0f32, 0.5]];
    net.step(x.view(), array![[6e19, 8e19]].view()).expect("all of it is finite");
    let read = |name: &str| net.param(name).expect("it exists").iter().map(|&w| f64::from(w)).collect::<Vec<f64>>();
    close(&read("dense2.bias"), &[-1.2, -1.6], 1e-6);
    let wanted = [1.0, 0.5].map(|x| [0.6, 0.8].map(|g| -x * g / 5e19)).concat();
    close(&read("dense1.weight"), &wanted, 1e-5);
}

#[test]
fn gradients_that_are_no_numbers_are_not_clipped_into_numbers() {
    for wrong in [f32::NAN, f32::INFINITY] {
        let trainer = || Root::trainer(Sgd::new(1.0)).clip_norm(1.0);
        let run = |trainer: Trainer<Root>| {
            let mut net = trainer.build().expect("it builds");
            net.set_param("dense1.weight", array![[0.0f32]].view()).expect("it fits");
            let result = net.step(array![[if wrong.is_nan() { 0.0 } else { 1.0 }]].view(), ()).map(drop);
            (result, net.param("dense1.bias").expect("it exists")[[0]])
        };
        let (result, bias) = run(trainer());
        assert!(result.is_ok() && bias.is_nan(), "{bias}");
        assert!(matches!(run(trainer().sentinel(true)), (Err(RunError::Update { .. }), 0.0)));
    }
}
