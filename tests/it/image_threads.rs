//! Several threads on a network over images: what each merges of its own sums, and kernels with few rows, which are shared all the
//! same.

use gradloom::ndarray::{Array1, Array4};
use gradloom::{Network, Sgd, Stage, network};
use gradloom_runtime::compile::{Purpose, Target, compile};
use gradloom_runtime::optim::TrainingConfig;
use insta::assert_snapshot;

network! {
    /// Sums over many rows of few channels; a long row for each image at the end, and weights of few rows in a convolution of 1 x 1.
    Images<image: [B, 3, 16, 16] -> logits: [B, 10]> {
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu,
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu,
        Conv2d(64, 1, stride = 2, bias = false), BatchNorm, relu,
        Conv2d(64, 3, pad = 1, bias = false), BatchNorm, relu,
        global_avg_pool, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

fn images(rows: usize) -> Array4<f32> {
    Array4::from_shape_fn((rows, 3, 16, 16), |(i, j, k, l)| ((37 * i + 11 * j + 5 * k * l) % 101) as f32 / 50.0 - 1.0)
}

/// Parameters, losses and predictions of a training on batches of several sizes.
fn trained(threads: usize) -> Vec<u32> {
    let trainer = Images::trainer(Sgd::new(0.05).momentum(0.9)).max_batch(130).seed(3).threads(threads);
    let (mut net, mut seen) = (trainer.build().expect("it builds"), Vec::new());
    for rows in [130, 1, 2, 8, 33, 128, 129] {
        let labels = Array1::from_shape_fn(rows, |row| (7 * row % 10) as u8);
        let step = net.step(images(rows).view(), labels.view()).expect("the step is taken");
        seen.push(step.loss.to_bits());
    }
    let names: Vec<String> = net.names().map(str::to_string).collect();
    for name in &names {
        seen.extend(net.param(name).expect("the name is its own").iter().map(|x| x.to_bits()));
    }
    seen.extend(net.predict(images(33).view()).expect("it predicts").iter().map(|x| x.to_bits()));
    seen
}

#[test]
fn a_network_over_images_has_the_same_bits_on_any_number_of_threads() {
    let one = trained(1);
    for threads in [2, 3, 7] {
        assert!(trained(threads) == one, "{threads} threads give other bits than one");
    }
}

/// The plan of a step on two threads.
fn plan() -> String {
    let config = TrainingConfig::from(Sgd::new(0.1));
    let target = Target::printed(128).with_threads(2);
    compile(Images::declared(), Purpose::Train(&config), target).text(Stage::Plan).expect("it compiles")
}

#[test]
fn each_thread_merges_the_sums_of_its_own_blocks() {
    let text = plan();
    let merged: Vec<&str> = text.lines().filter(|line| line.contains("merged ahead")).take(3).collect();
    assert_snapshot!(merged.join("\n"), @"
    parallel region 0: kernel 0 by 1024 rows; then sums of kernel 0 (16 blocks at a time merged ahead), kernel 1
    parallel region 3: kernels 2, 3 by 1024 rows, up to 256 rows of kernel 3 by 256 rows; then sums of kernel 3 (16 blocks at a time merged ahead), kernel 4
    parallel region 6: kernels 5 to 7 by 1024 rows, up to 64 rows of kernel 7 by 64 rows; then sums of kernel 7 (4 blocks at a time merged ahead), kernel 8
    ");
}

/// How kernels with such a line are cut.
fn cut(kernel: &str) -> String {
    let text = plan();
    let (mut found, mut lines) = (Vec::new(), text.lines());
    while lines.find(|line| line.starts_with("kernel ") && line.ends_with(kernel)).is_some() {
        let cut = lines.find(|line| line.contains("in units") || line.contains("on one thread"));
        found.push(cut.expect("every kernel is cut or not").trim().to_string());
    }
    found.join("; ")
}

#[test]
fn few_rows_are_shared_if_they_are_long() {
    assert_snapshot!(cut(": b B, i 64, j 64"), @"in units of 8 rows: a block; on one thread: about 1830 ns; in units of 64 rows: a block");
}

#[test]
fn few_rows_are_shared_if_many_terms_are_added_up() {
    assert_snapshot!(cut(": 16 x 64, terms by 256"), @"in units of 8 rows: each reads all of both operands");
}

network! {
    /// Two convolutions in squares, whose weights are large and whose rows are few.
    Squares<image: [B, 64, 14, 14] -> y: [B, 2]> {
        Conv2d(256, 3, pad = 1), relu, Conv2d(256, 3, pad = 1), relu, global_avg_pool, Dense(2),
    }
    loss(target: [B, 2]) = mse(y, target);
}

network! {
    /// The same with sums over its rows.
    Normed<image: [B, 3, 7, 7] -> logits: [B, 4]> {
        Conv2d(176, 3, pad = 1, bias = false), BatchNorm, relu,
        Conv2d(176, 3, pad = 1, bias = false), BatchNorm, relu,
        Conv2d(176, 3, pad = 1, bias = false), BatchNorm, relu,
        global_avg_pool, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

fn some(shape: [usize; 4]) -> Array4<f32> {
    let [_, channels, height, width] = shape;
    Array4::from_shape_fn(shape, |(i, j, k, l)| {
        let at = ((i * channels + j) * height + k) * width + l;
        ((37 * at) % 101) as f32 / 50.0 - 1.0
    })
}

#[test]
fn few_rows_of_squares_are_cut_between_squares() {
    let predicted = |rows: usize, threads: usize| {
        let trainer = Squares::trainer(Sgd::new(0.05)).max_batch(rows).seed(3).threads(threads);
        let mut net = trainer.build().expect("it builds");
        let y = net.predict(some([rows, 64, 14, 14]).view()).expect("it predicts");
        y.iter().map(|x| x.to_bits()).collect::<Vec<u32>>()
    };
    for rows in 1..=3 {
        let one = predicted(rows, 1);
        assert!([2, 3].iter().all(|&threads| predicted(rows, threads) == one), "{rows} images");
    }
}

#[test]
fn sums_of_few_rows_of_squares_are_cut_between_their_blocks() {
    let trained = |threads: usize| {
        let trainer = Normed::trainer(Sgd::new(0.05)).max_batch(32).seed(3).threads(threads);
        let mut net = trainer.build().expect("it builds");
        let labels = Array1::from_shape_fn(32, |row| (row % 4) as u8);
        let steps = (0..3).map(|_| net.step(some([32, 3, 7, 7]).view(), labels.view()).expect("the step is taken"));
        steps.map(|step| step.loss.to_bits()).collect::<Vec<u32>>()
    };
    let one = trained(1);
    assert!([2, 3].iter().all(|&threads| trained(threads) == one));
}
