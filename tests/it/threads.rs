//! Several threads: the same bits as one, for every batch, also beside other sessions, and errors that leave everything as
//! it was.

use gradloom::ndarray::{Array1, Array2};
use gradloom::{Adam, Network, Session, Sgd, Stage, network};
use insta::assert_snapshot;

network! {
    /// Products of every kind, row and column sums, updates: all that is shared.
    Wide<x: [B, 96] -> logits: [B, 10]> {
        Dense(256, bias = false), BatchNorm, relu, residual { LayerNorm, Dense(256), gelu }, Dense(200), tanh, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label) + 1e-4 * l2(weights);
    metric accuracy = mean(argmax(logits) == label);
}

network! {
    /// A right operand of 2 MiB, which is rearranged once for many rows.
    Packed<x: [B, 1024] -> y: [B, 512]> { Dense(512), relu, Dense(512) }
    loss(t: [B, 512]) = mse(y, t);
}

network! {
    Tiny<x: [B, 3] -> y: [B, 1]> { Dense(4), tanh, Dense(1) }
    loss(t: [B, 1]) = mse(y, t);
}

network! {
    Digits<image: [B, 784] -> logits: [B, 10]> { Dense(256, bias = false), BatchNorm, relu, Dense(10) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

fn inputs(rows: usize, cols: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((37 * i + 11 * j + i * j % 7) % 101) as f32 / 50.0 - 1.0)
}

fn labels(rows: usize) -> Array1<u8> {
    Array1::from_shape_fn(rows, |i| (7 * i % 10) as u8)
}

fn bits<N: Network>(net: &Session<N>) -> Vec<u32> {
    let names: Vec<String> = net.names().map(str::to_string).collect();
    let values = names
        .iter()
        .flat_map(|name| net.param(name).expect("the name is its own").iter().copied().collect::<Vec<f32>>());
    values.map(f32::to_bits).collect()
}

fn wide(threads: usize) -> Session<Wide> {
    Wide::trainer(Adam::new(1e-3)).max_batch(700).seed(3).threads(threads).build().expect("it builds")
}

/// Trains on batches of several sizes; gives all bits that there are in the end, and those of a prediction.
fn trained(threads: usize) -> (Vec<u32>, Vec<u32>) {
    let mut net = wide(threads);
    for rows in [700, 129, 128, 65, 2, 511, 700] {
        let step = net.step(inputs(rows, 96).view(), labels(rows).view()).expect("the step is taken");
        assert!(step.loss.is_finite());
    }
    let (x, y) = (inputs(1500, 96), labels(1500));
    let evaluated = net.evaluate(x.view(), y.view()).expect("it is evaluated");
    let gradients = net.gradients(inputs(300, 96).view(), labels(300).view()).expect("there are gradients");
    let mut seen: Vec<u32> =
        gradients.iter().flat_map(|(_, value)| value.iter().map(|x| x.to_bits()).collect::<Vec<_>>()).collect();
    seen.extend([evaluated.loss.to_bits(), evaluated.accuracy.to_bits()]);
    seen.extend(net.predict(x.view()).expect("it predicts").iter().map(|x| x.to_bits()));
    (bits(&net), seen)
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let one = trained(1);
    for threads in [2, 3, 7] {
        assert!(trained(threads) == one, "{threads} threads give other bits than one");
    }
}

#[test]
fn a_rearranged_operand_is_shared_with_the_same_bits() {
    let run = |threads| {
        let mut net =
            Packed::trainer(Sgd::new(0.1).momentum(0.9)).max_batch(600).threads(threads).build().expect("it builds");
        for rows in [600, 128, 129, 600] {
            net.step(inputs(rows, 1024).view(), inputs(rows, 512).view()).expect("the step is taken");
        }
        bits(&net)
    };
    assert!(run(2) == run(1));
}

#[test]
fn many_steps_of_several_sessions_at_once_give_the_bits_of_one_alone() {
    let run = |threads: usize| {
        let mut net = wide(threads);
        let (x, y) = (inputs(200, 96), labels(200));
        (0..60).for_each(|_| _ = net.step(x.view(), y.view()).expect("the step is taken"));
        bits(&net)
    };
    let alone = run(1);
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| run(2))).collect();
        others.into_iter().for_each(|other| assert!(other.join().expect("no thread panics") == alone));
    });
}

#[test]
fn a_refused_step_leaves_everything_as_it_was() {
    let mut net = wide(2);
    let (x, y) = (inputs(700, 96), labels(700));
    net.step(x.view(), y.view()).expect("the step is taken");
    let before = bits(&net);
    let mut broken = x.clone();
    broken[[650, 3]] = f32::NAN;
    assert!(net.step(broken.view(), y.view()).is_err());
    assert!(bits(&net) == before);
    net.step(x.view(), y.view()).expect("the next step is taken");
    let mut other = wide(1);
    (0..2).for_each(|_| _ = other.step(x.view(), y.view()).expect("the step is taken"));
    assert!(bits(&net) == bits(&other));
}

#[test]
fn small_networks_train_with_threads_too() {
    let run = |threads| {
        let mut net = Tiny::trainer(Sgd::new(0.1)).max_batch(8).threads(threads).build().expect("it builds");
        (0..20).for_each(|_| _ = net.step(inputs(8, 3).view(), inputs(8, 1).view()).expect("the step is taken"));
        bits(&net)
    };
    assert_eq!(run(4), run(1));
}

#[test]
fn a_number_of_threads_out_of_range_is_an_error() {
    for threads in [0, 257] {
        let error =
            Tiny::trainer(Sgd::new(0.1)).threads(threads).build().map(|_| ()).expect_err("the number is refused");
        assert_eq!(error.to_string(), format!("threads must be from 1 to 256, got {threads}"));
    }
}

#[test]
fn threads_meet_where_data_crosses_and_small_kernels_are_done_in_passing() {
    let text = Digits::trainer(Sgd::new(0.1)).max_batch(128).ir(Stage::Plan);
    let phases: Vec<&str> = text.lines().filter(|line| line.starts_with("phase")).collect();
    assert_snapshot!(phases.join("\n"), @"
    phase 0: kernel 0 by 64 rows; then sums of kernel 0, kernel 1
    phase 1: kernel 2 by 64 rows
    phase 2: kernel 3 by 64 rows; then sums of kernel 3, kernel 4, check of the loss
    phase 3: kernel 5 by 64 rows; then kernel 12
    phase 4: kernel 6 by 64 rows; then sums of kernel 6, kernel 7, kernel 11
    phase 5: kernel 8 by 64 rows; then kernel 10
    phase 6: kernel 9 by 64 rows
    ");
}
