//! How weights start: the distribution that the paper of each initializer asks for, from the language down to the numbers.

use std::fmt::Write;

use gradloom::ndarray::{Array2, ArrayView2, Ix2};
use gradloom::{BuildError, Network, Session, Sgd, network};
use gradloom_runtime::init::{Init, Random};
use gradloom_runtime::layers::{self, Mode};
use gradloom_runtime::lower::lower;
use insta::assert_snapshot;

/// A standard deviation that the macro does not see.
const DEVIATION: f64 = 0.125;
const NEGATIVE: f64 = -0.125;

network! {
    block Wide(c, deviation = 0.05) { Dense(c, init = normal(deviation)) }

    /// 200 and 300 features by turns, so that fan-in and fan-out are told apart.
    All<x: [B, 200] -> y: [B, 200]> {
        Dense(300, init = zeros) as zeros, Dense(200, init = constant(0.5)) as constant,
        Dense(300, init = uniform(0.05)) as uniform, Dense(200, init = normal(0.02)) as normal,
        Dense(300, init = xavier_uniform) as xavier_uniform, Dense(200, init = xavier_normal) as xavier_normal,
        Dense(300, init = he_uniform) as he_uniform, Dense(200, init = he_normal) as he_normal,
        Dense(300, init = lecun_uniform) as lecun_uniform, Dense(200, init = lecun_normal) as lecun_normal,
        Dense(300, init = orthogonal) as orthogonal, Dense(200, init = orthogonal(gain = 2)) as twice,
        Dense(300, init = normal(crate::initializers::DEVIATION)) as rust, Wide(200, deviation = 0.5 / 2),
    }

    /// What comes next decides.
    Auto<x: [B, 200] -> y: [B, 200]> {
        Dense(200), relu, Dense(200, init = auto), BatchNorm, selu, Dense(200), LayerNorm, tanh, Dense(200), |x| x * x,
        residual { Dense(200) } skip { Dense(200) }, gelu, repeat(2) { Dense(200) }, prelu, Dense(200),
    }

    Wrong<x: [B, 2] -> y: [B, 2]> { Dense(2, init = uniform(crate::initializers::NEGATIVE)) }

    /// Deep enough that a wrong variance shows.
    Rectified<x: [B, 256] -> y: [B, 256]> { repeat(20) { Dense(256), relu } }
    loss = mean(y * y);
    SelfNormalizing<x: [B, 256] -> y: [B, 256]> { repeat(20) { Dense(256), selu } }
    loss = mean(y * y);
    TooWide<x: [B, 256] -> y: [B, 256]> { repeat(20) { Dense(256, init = he_normal), selu } }
    loss = mean(y * y);
}

network! {
    Trained<x: [B, 200] -> y: [B, 200]> {
        Dense(300, init = xavier_uniform) as xavier_uniform, Dense(200, init = xavier_normal) as xavier_normal,
        Dense(300, init = he_uniform) as he_uniform, Dense(200, init = he_normal) as he_normal,
        Dense(300, init = lecun_uniform) as lecun_uniform, Dense(200, init = lecun_normal) as lecun_normal,
        Dense(300, init = orthogonal) as orthogonal, Dense(200, init = orthogonal(2)) as twice,
        Dense(300, init = uniform(0.05)) as uniform, Dense(200, init = normal(0.02)) as normal,
    }
    loss = mean(y * y);
}

/// How the weights of a network start, layer by layer.
fn starts<N: Network>() -> String {
    let graph = lower(N::declared(), Mode::Train).expect("the network is sound");
    let mut text = String::new();
    for slot in graph.slots.params.iter().filter(|slot| slot.name.ends_with(".weight")) {
        writeln!(text, "{:<31} {:?}", slot.name, slot.init).expect("a string takes everything");
    }
    text
}

#[test]
fn several_threads_draw_the_numbers_that_one_draws() {
    let starts = |threads: usize| {
        let net = Trained::trainer(Sgd::new(0.1)).seed(5).threads(threads).build().expect("the network is sound");
        let bits = |name: &str| net.param(name).expect("the name is its own").iter().map(|x| x.to_bits()).collect();
        net.names().map(|name| (name.to_string(), bits(name))).collect::<Vec<(String, Vec<u32>)>>()
    };
    let alone = starts(1);
    assert!(alone.iter().all(|(name, bits)| name.ends_with("bias") || bits.iter().any(|&bits| bits != 0)));
    for threads in [2, 5] {
        assert!(starts(threads) == alone, "{threads} threads");
    }
}

#[test]
fn every_initializer_follows_its_formula() {
    assert_snapshot!(starts::<All>(), @"
    zeros.weight                    Constant(0.0)
    constant.weight                 Constant(0.5)
    uniform.weight                  Uniform { bound: 0.05 }
    normal.weight                   Normal { deviation: 0.02 }
    xavier_uniform.weight           Uniform { bound: 0.10954451150103323 }
    xavier_normal.weight            Normal { deviation: 0.06324555320336758 }
    he_uniform.weight               Uniform { bound: 0.17320508075688773 }
    he_normal.weight                Normal { deviation: 0.08164965809277261 }
    lecun_uniform.weight            Uniform { bound: 0.1224744871391589 }
    lecun_normal.weight             Normal { deviation: 0.05773502691896258 }
    orthogonal.weight               Orthogonal { rows: 200, gain: 1.0 }
    twice.weight                    Orthogonal { rows: 300, gain: 2.0 }
    rust.weight                     Normal { deviation: 0.125 }
    wide1.dense1.weight             Normal { deviation: 0.25 }
    ");
}

#[test]
fn the_default_follows_the_activation_that_comes_next() {
    assert_snapshot!(starts::<Auto>(), @"
    dense1.weight                   Normal { deviation: 0.1 }
    dense2.weight                   Normal { deviation: 0.07071067811865475 }
    dense3.weight                   Uniform { bound: 0.1224744871391589 }
    dense4.weight                   Uniform { bound: 0.1224744871391589 }
    residual1.dense1.weight         Normal { deviation: 0.1 }
    residual1.skip.dense1.weight    Normal { deviation: 0.1 }
    repeat1.1.dense1.weight         Uniform { bound: 0.1224744871391589 }
    repeat1.2.dense1.weight         Normal { deviation: 0.1 }
    dense5.weight                   Uniform { bound: 0.1224744871391589 }
    ");
}

#[test]
fn every_activation_asks_for_one() {
    let mut text = String::new();
    for layer in layers::ALL.iter().filter(|layer| layer.gain.is_some()) {
        write!(text, "{} {:?}, ", layer.name, layer.gain.expect("it was asked")).expect("a string takes everything");
    }
    assert_snapshot!(text, @"step Xavier, sigmoid Xavier, tanh Xavier, relu He, leaky_relu He, prelu He, elu He, celu He, selu LeCun, gelu He, silu He, softplus He, mish He, hard_sigmoid Xavier, hard_swish He, hard_tanh Xavier, softsign Xavier, softmax Xavier, log_softmax Xavier,");
}

#[test]
fn a_number_from_rust_is_checked_when_the_network_is_built() {
    let Err(BuildError::Declaration { mistakes }) = lower(Wrong::declared(), Mode::Train) else {
        panic!("a negative bound is refused")
    };
    let [(place, message)] = &mistakes[..] else { panic!("one mistake, not {mistakes:?}") };
    assert_eq!(
        message,
        "`bound` of `uniform` must be a number between 0 and 1e6, found `crate::initializers::NEGATIVE` = -0.125"
    );
    assert!(place.file.ends_with("initializers.rs") && place.column > 1, "{place}");
}

/// The weights of 60,000 connections.
fn weights(net: &Session<Trained>, layer: &str) -> Vec<f64> {
    let weights = net.param(&format!("{layer}.weight")).expect("the layer has weights");
    weights.iter().map(|&x| f64::from(x)).collect()
}

/// Panics unless the share of what `is` counts is within four standard errors of `wanted`.
fn share(what: &str, values: &[f64], wanted: f64, is: impl Fn(f64) -> bool) {
    let n = values.len() as f64;
    let share = values.iter().filter(|&&x| is(x)).count() as f64 / n;
    let error = (wanted * (1.0 - wanted) / n).sqrt();
    assert!((share - wanted).abs() <= 4.0 * error, "{what}: {share} instead of {wanted}, standard error {error}");
}

#[test]
fn drawn_weights_have_the_distribution_that_was_asked_for() {
    let net = Trained::trainer(Sgd::new(0.1)).max_batch(2).seed(5).build().expect("it builds");
    let uniform = [
        ("uniform", 0.05),
        ("xavier_uniform", (6.0f64 / 500.0).sqrt()),
        ("he_uniform", (6.0f64 / 200.0).sqrt()),
        ("lecun_uniform", (3.0f64 / 200.0).sqrt()),
    ];
    for (layer, bound) in uniform {
        let values = weights(&net, layer);
        let largest = values.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
        assert!(largest <= bound * (1.0 + 1e-7) && largest > 0.999 * bound, "{layer}: {largest} of {bound}");
        share(layer, &values, 0.5, |x| x > 0.0);
        for part in [0.1, 0.25, 0.5, 0.75, 0.9] {
            share(layer, &values, part, |x| x.abs() < part * bound);
        }
    }
    let normal = [
        ("normal", 0.02),
        ("xavier_normal", (2.0f64 / 500.0).sqrt()),
        ("he_normal", (2.0f64 / 300.0).sqrt()),
        ("lecun_normal", (1.0f64 / 300.0).sqrt()),
    ];
    // How much of a normal distribution lies within so many standard deviations.
    let within =
        [(0.125661, 0.1), (0.674490, 0.5), (1.0, 0.682689), (1.959964, 0.95), (2.575829, 0.99), (3.290527, 0.999)];
    for (layer, deviation) in normal {
        let values = weights(&net, layer);
        share(layer, &values, 0.5, |x| x > 0.0);
        for (times, part) in within {
            share(layer, &values, part, |x| x.abs() < times * deviation);
        }
    }
}

/// The largest deviation of `m m^T` from `scale` times the identity.
fn off_identity(m: ArrayView2<'_, f64>, scale: f64) -> f64 {
    let product = m.dot(&m.t());
    let wanted = |(row, column)| if row == column { scale } else { 0.0 };
    product.indexed_iter().fold(0.0, |worst: f64, (at, &x)| worst.max((x - wanted(at)).abs()))
}

/// A drawn matrix.
fn orthogonal(rows: usize, columns: usize, gain: f64, seed: u64) -> Array2<f64> {
    let mut values = vec![0.0; rows * columns];
    Init::Orthogonal { rows, gain }.fill(&mut values, seed, 0);
    let values = values.into_iter().map(f64::from).collect();
    Array2::from_shape_vec((rows, columns), values).expect("as many as the matrix has")
}

#[test]
fn the_shorter_side_of_an_orthogonal_matrix_is_orthonormal_up_to_rounding() {
    // Rows and columns around the width of a block, and gains.
    for (rows, columns, gain) in [
        (1, 1, 1.0),
        (1, 9, 1.0),
        (9, 1, 2.0),
        (7, 7, 1.0),
        (8, 8, 0.5),
        (9, 9, 1.0),
        (64, 64, 1.5),
        (40, 17, 1.0),
        (17, 40, 3.0),
        (200, 33, 1.0),
    ] {
        let m = orthogonal(rows, columns, gain, 3);
        let short = if rows <= columns { m.view() } else { m.t() };
        let worst = off_identity(short, gain * gain) / (gain * gain);
        assert!(worst < 3e-7, "{rows} x {columns}: {worst:e}");
    }
    assert!(orthogonal(5, 3, 0.0, 1).iter().all(|&x| x == 0.0), "without gain there is nothing");
}

#[test]
fn a_layer_with_orthogonal_weights_keeps_lengths() {
    let net = Trained::trainer(Sgd::new(0.1)).max_batch(2).seed(5).build().expect("it builds");
    let matrix = |layer: &str| {
        let weights = net.param(&format!("{layer}.weight")).expect("the layer has weights");
        weights.mapv(f64::from).into_dimensionality::<Ix2>().expect("a matrix")
    };
    // 200 -> 300 features keeps the length of every input; 300 -> 200 that of every gradient, here twice over.
    assert!(off_identity(matrix("orthogonal").view(), 1.0) < 3e-7);
    assert!(off_identity(matrix("twice").t(), 4.0) < 1.2e-6);
}

#[test]
fn no_orthogonal_matrix_is_likelier_than_another() {
    // Of two by two: as many turn as reflect, and the first column points anywhere.
    let drawn: Vec<Array2<f64>> = (0..4000).map(|seed| orthogonal(2, 2, 1.0, seed)).collect();
    let determinants: Vec<f64> = drawn.iter().map(|m| m[[0, 0]] * m[[1, 1]] - m[[0, 1]] * m[[1, 0]]).collect();
    assert!(determinants.iter().all(|x| (x.abs() - 1.0).abs() < 1e-6));
    share("reflections", &determinants, 0.5, |x| x < 0.0);
    let angles: Vec<f64> = drawn.iter().map(|m| m[[1, 0]].atan2(m[[0, 0]]) / std::f64::consts::TAU + 0.5).collect();
    for part in [0.1, 0.3, 0.5, 0.7, 0.9] {
        share("angles", &angles, part, |x| x < part);
    }
}

#[test]
fn deep_networks_keep_the_scale_of_what_comes_in() {
    let mut random = Random::new(2, 99);
    let x = Array2::from_shape_simple_fn((32, 256), || random.normal() as f32);
    let rectified = Rectified::trainer(Sgd::new(0.1)).max_batch(32).build().expect("it builds").evaluate(x.view(), ());
    let normal =
        SelfNormalizing::trainer(Sgd::new(0.1)).max_batch(32).build().expect("it builds").evaluate(x.view(), ());
    let wide = TooWide::trainer(Sgd::new(0.1)).max_batch(32).build().expect("it builds").evaluate(x.view(), ());
    let [rectified, normal, wide] =
        [rectified.map(|step| step.loss), normal.map(|step| step.loss), wide.map(|step| step.loss)]
            .map(|loss| loss.expect("the batch fits"));
    // Klambauer et al. 2017: variance 1 attracts. He et al. 2015: kept in the mean, layer by layer.
    assert!((0.8..1.25).contains(&normal), "{normal}");
    assert!((0.25..4.0).contains(&rectified), "{rectified}");
    assert!(wide > 2.0, "another initializer does not: {wide}");
}
