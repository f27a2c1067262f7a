//! Predictions with dropout on: their moments are those of the masks, and nothing but the seed decides them.

use gradloom::ndarray::{Array2, ArrayD, Axis, s};
use gradloom::{Adam, Error, MonteCarlo, Network, Sgd, network};
use insta::assert_snapshot;

use crate::train::state;

network! {
    /// What comes out is the mask, over what is kept.
    Mask<x: [B, 3] -> y: [B, 3]> { Dropout(0.25) }

    /// Statistics, noise and masks; two outputs.
    Mixed<x: [B, 6] -> (mean: [B, 2], other: [B, 4])> {
        let h = x -> Dense(16, bias = false), BatchNorm, relu, Dropout(0.5);
        let noise = h -> Normal;
        mean = (h + noise) -> Dense(2);
        other = h -> Dense(4), Dropout(0.1);
    }
    loss = mean(square(mean)) + mean(square(other));

    /// Without any.
    Plain<x: [B, 3] -> y: [B, 2]> { Dense(4), tanh, Dense(2) }
    loss = mean(square(y));

    /// Weights of an attention that are dropped, and tables of angles that are no parameters.
    Looks<x: [B, 6, 8] -> y: [B, 6, 8]> {
        residual { positions(sinusoidal) }, Attention(2, rope = true, dropout = 0.4),
    }
    loss = mean(square(y));

    /// Pictures.
    Seen<x: [B, 4, 6, 6] -> y: [B, 2]> { Conv2d(16, 3, pad = 1), relu, Dropout(0.3, channels = true), flatten, Dense(2) }
    loss = mean(square(y));
}

fn numbers(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((7 * i + 3 * j + i * j) % 11) as f32 / 5.0 - 1.0)
}

fn bits(values: &ArrayD<f32>) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Both outputs, both moments.
fn of_mixed(found: &MonteCarlo<Mixed>) -> [Vec<u32>; 4] {
    let MonteCarlo { mean, deviation, .. } = found;
    [&mean.mean, &mean.other, &deviation.mean, &deviation.other].map(|values| bits(&values.clone().into_dyn()))
}

#[test]
fn mean_and_deviation_are_those_of_the_masks() {
    let mut predictor = Mask::predictor().max_batch(7).build().expect("it builds");
    let (rows, passes) = (70, 800);
    let x = Array2::from_elem((rows, 3), 2.0);
    let MonteCarlo { mean, deviation, .. } = predictor.monte_carlo(x.view(), passes, 1).expect("it predicts");
    // Of 2 / 0.75 with probability 0.75: mean 2, variance 4 / 3. Bounds of six standard errors for a single element.
    let wanted = (4.0f64 / 3.0).sqrt();
    let error = wanted / (passes as f64).sqrt();
    assert!(mean.iter().all(|&x| (f64::from(x) - 2.0).abs() < 6.0 * error), "{mean}");
    assert!(deviation.iter().all(|&x| (f64::from(x) - wanted).abs() < 6.0 * error), "{deviation}");
    let all = f64::from(mean.mean().expect("there are rows"));
    assert!(
        (all - 2.0).abs() < 6.0 * error / (3.0 * rows as f64).sqrt(),
        "{all}: masks of all elements are independent"
    );
    assert!(mean.iter().any(|&x| x != mean[[0, 0]]), "each element has masks of its own");
    // Rows 32 apart are in other pieces, with other masks.
    assert_ne!(mean.slice(s![..32, ..]), mean.slice(s![32..64, ..]));
    // The deviation of a sample of two is known from the three values that both can have.
    let two = predictor.monte_carlo(x.view(), 2, 1).expect("it predicts").deviation;
    let apart = 2.0 / 0.75 / 2f32.sqrt();
    assert!(two.iter().all(|&x| x == 0.0 || (x - apart).abs() < 1e-6), "{two}");
    assert!(two.iter().any(|&x| x == 0.0) && two.iter().any(|&x| x != 0.0));
}

#[test]
fn nothing_but_the_seed_decides_the_masks() {
    let x = numbers(75, 6);
    let build = |max_batch: usize, threads: usize, seed: u64| {
        let trainer = Mixed::trainer(Adam::new(1e-2)).max_batch(max_batch).threads(threads).seed(seed);
        trainer.build().expect("it builds")
    };
    let mut net = build(75, 1, 4);
    for _ in 0..3 {
        net.step(x.view(), ()).expect("the batch fits");
    }
    let before = (state(&net), net.forward_count());
    let expected = of_mixed(&net.monte_carlo(x.view(), 9, 3).expect("it predicts"));
    assert_eq!(of_mixed(&net.monte_carlo(x.view(), 9, 3).expect("it predicts")), expected, "again");
    assert_eq!((state(&net), net.forward_count()), before, "it changes nothing");
    assert_ne!(of_mixed(&net.monte_carlo(x.view(), 9, 4).expect("it predicts")), expected, "another seed");
    // Others with the same parameters: other seeds, batches and threads, steps made in between.
    for (max_batch, threads) in [(8, 1), (200, 2), (33, 3)] {
        let mut other = build(max_batch, threads, 99);
        for (name, _) in state(&net) {
            other.set_param(&name, net.param(&name).expect("it is there")).expect("it fits");
        }
        other.set_forward_count(7);
        let found = other.monte_carlo(x.view(), 9, 3).expect("it predicts");
        assert_eq!(of_mixed(&found), expected, "{max_batch} rows, {threads} threads");
        let mut predictor = other.predictor().expect("it builds");
        let clone = predictor.clone();
        assert_eq!(of_mixed(&predictor.monte_carlo(x.view(), 9, 3).expect("it predicts")), expected, "a predictor");
        let found = std::thread::spawn({
            let (mut clone, x) = (clone, x.clone());
            move || of_mixed(&clone.monte_carlo(x.view(), 9, 3).expect("it predicts"))
        });
        assert_eq!(found.join().expect("the thread ends"), expected, "a clone in another thread");
    }
    // The same rows in the same pieces have the same masks, whatever follows.
    let first = net.monte_carlo(x.slice(s![..32, ..]), 9, 3).expect("it predicts");
    assert_eq!(bits(&first.mean.mean.into_dyn()), expected[0][..64]);
}

#[test]
fn statistics_are_the_running_ones_and_noise_is_that_of_inference() {
    let x = numbers(40, 6);
    let mut net = Mixed::trainer(Sgd::new(0.05)).max_batch(40).seed(2).build().expect("it builds");
    for _ in 0..5 {
        net.step(x.view(), ()).expect("the batch fits");
    }
    let certain = net.predict_owned(x.view()).expect("it predicts");
    let passes = 4000;
    let found = net.monte_carlo(x.view(), passes, 5).expect("it predicts");
    // The layers after the masks are linear, so that the mean of all passes is what inference gives.
    for ((mean, deviation), certain) in found.mean.mean.iter().zip(&found.deviation.mean).zip(&certain.mean) {
        assert!((mean - certain).abs() <= 6.0 * deviation / (passes as f32).sqrt() + 1e-5, "{mean} and {certain}");
    }
    assert!(found.deviation.mean.iter().any(|&x| x > 0.01));
    // One row alone gives the same as among others: no statistic is that of the batch.
    let one = net.monte_carlo(x.slice(s![..1, ..]), 50, 5).expect("one row is enough");
    let all = net.monte_carlo(x.view(), 50, 5).expect("it predicts");
    assert_eq!(one.mean.mean.row(0), all.mean.mean.row(0));
}

#[test]
fn without_dropout_every_pass_is_the_prediction() {
    let x = numbers(20, 3);
    let mut net = Plain::trainer(Sgd::new(0.05)).max_batch(8).build().expect("it builds");
    let MonteCarlo { mean, deviation, .. } = net.monte_carlo(x.view(), 5, 0).expect("it predicts");
    assert!(deviation.iter().all(|&x| x == 0.0), "{deviation}");
    assert_eq!(mean, net.predict(x.view()).expect("it predicts"));
}

#[test]
fn attention_drops_its_weights_and_a_picture_its_channels() {
    let x = numbers(2, 48).into_shape_with_order((2, 6, 8)).expect("as many numbers");
    let mut net = Looks::trainer(Sgd::new(0.05)).max_batch(2).build().expect("it builds");
    let found = net.monte_carlo(x.view(), 400, 5).expect("it predicts");
    assert!(found.deviation.iter().any(|&x| x > 1e-3));
    let certain = net.predict(x.view()).expect("it predicts");
    for ((mean, deviation), certain) in found.mean.iter().zip(&found.deviation).zip(&certain) {
        assert!((mean - certain).abs() <= 6.0 * deviation / 20.0 + 1e-5, "{mean} and {certain}");
    }
    let x = numbers(3, 144).into_shape_with_order((3, 4, 6, 6)).expect("as many numbers");
    let mut net = Seen::trainer(Sgd::new(0.05)).max_batch(2).winograd(false).build().expect("it builds");
    let (mut predictor, own) =
        (net.predictor().expect("it builds"), net.monte_carlo(x.view(), 20, 5).expect("it predicts"));
    assert!(own.deviation.iter().all(|&x| x > 0.0));
    let other = predictor.monte_carlo(x.view(), 20, 5).expect("it predicts");
    assert_eq!((other.mean, other.deviation), (own.mean, own.deviation));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut net = Plain::trainer(Sgd::new(0.05)).max_batch(8).build().expect("it builds");
    let mut refuse =
        |x: Array2<f32>, passes: usize| -> Error { net.monte_carlo(x.view(), passes, 0).expect_err("it is refused") };
    let errors = [refuse(numbers(4, 3), 1), refuse(numbers(4, 2), 5), refuse(Array2::zeros((0, 3)), 5)];
    assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
    passes must be at least 2, got 1
    `x` wants [B, 3], got [4, 2]
    `x` has no rows
    ");
}

/// Any network may be asked, also one that knows no loss.
fn spread<N: Network>(predictor: &mut gradloom::Predictor<N>, inputs: N::Inputs<'_>) -> Option<N::OwnedOutputs> {
    Some(predictor.monte_carlo(inputs, 3, 0).ok()?.deviation)
}

#[test]
fn code_that_knows_no_network_asks_as_well() {
    let mut predictor = Mask::predictor().build().expect("it builds");
    let found = spread(&mut predictor, numbers(2, 3).view()).expect("it predicts");
    assert_eq!(found.len_of(Axis(0)), 2);
}
