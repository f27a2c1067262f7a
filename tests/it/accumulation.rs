//! One update from the gradients of several batches: what it equals, in which bits, and what a checkpoint keeps of it.

use std::fs;
use std::ops::ControlFlow;

use gradloom::ndarray::{Array2, array, s};
use gradloom::{
    Adam, BuildError, CheckpointError, Dataset, Error, Group, Network, Progress, RunError, Schedule, Session, Sgd,
    Trainer, network,
};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::fuse;
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::checkpoint::folder;
use crate::train::{Classifier, samples, state};

network! {
    /// One product and nothing else.
    Bare<x: [B, 2] -> y: [B, 1]> { Dense(1, bias = false) }
    loss(target: [B, 1]) = mse(y, target);

    /// Every batch has other masks.
    Masked<x: [B, 5] -> logits: [B, 3]> { Dense(32), relu, Dropout(0.5), Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// Large enough for several threads, with all that depends on the batch and its number.
    Shared<x: [B, 5] -> logits: [B, 3]> { Dense(256, bias = false), BatchNorm, relu, Dropout(0.25), Dense(128), tanh, Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// The statistics of the input itself.
    Normed<x: [B, 3] -> y: [B, 3]> { BatchNorm(momentum = 0.75, every = 2) }
    loss(t: [B, 3]) = mse(y, t);
}

fn build(trainer: Trainer<Classifier>) -> Session<Classifier> {
    trainer.max_batch(16).seed(3).build().expect("it builds")
}

network! {
    /// Without batch norm; the penalty does not depend on the rows.
    pub Rowwise<x: [B, 5] -> logits: [B, 3]> { Dense(7), LayerNorm, tanh, Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label) + 1e-2 * l2(weights);
    metric accuracy = mean(argmax(logits) == label);
}

/// Parameters and state, in f64.
fn numbers<N: Network>(net: &Session<N>) -> Vec<f64> {
    let numbers = |(_, bits): (String, Vec<u32>)| bits.into_iter().map(|bits| f64::from(f32::from_bits(bits)));
    state(net).into_iter().flat_map(numbers).collect()
}

#[test]
fn accumulated_batches_of_any_sizes_make_the_step_of_one_large_batch() {
    let trainers: [fn() -> Trainer<Rowwise>; 4] = [
        || Rowwise::trainer(Sgd::new(0.5).momentum(0.9)),
        || Rowwise::trainer(Sgd::new(0.5).weight_decay(0.1)).clip_norm(0.1),
        || Rowwise::trainer(Adam::new(Schedule::cosine(0.01, 4)).eps(1e-2).l2(0.1)).clip_value(0.05),
        || Rowwise::trainer(Sgd::new(0.5)).group(Group::new("*.bias").rate_factor(0.1)).freeze("dense1.weight"),
    ];
    for trainer in trainers {
        let (x, labels) = samples(40);
        let (mut whole, mut parts) =
            (trainer().max_batch(40).build().expect("it builds"), trainer().max_batch(17).build().expect("it builds"));
        for _ in 0..4 {
            let loss = whole.step(x.view(), labels.view()).expect("the batch fits").loss;
            let (mut from, mut mean) = (0, 0.0);
            for rows in [17, 1, 9, 13] {
                let (x, labels) = (x.slice(s![from..from + rows, ..]), labels.slice(s![from..from + rows]));
                mean += rows as f32 / 40.0 * parts.accumulate(x, labels).expect("the batch fits").loss;
                from += rows;
            }
            assert_eq!(parts.accumulated_rows(), 40);
            parts.update().expect("there are gradients");
            assert!((loss - mean).abs() < 1e-5, "{loss} and {mean}");
            Bound { relative: 1e-4, absolute: 2e-6 }.check("parameters and state", &numbers(&parts), &numbers(&whole));
            assert_eq!((parts.steps(), parts.learning_rate()), (whole.steps(), whole.learning_rate()));
        }
    }
}

#[test]
fn a_batch_that_is_refused_leaves_what_was_accumulated() {
    let (x, labels) = samples(8);
    let spoilt = x.mapv(|_| f32::NAN);
    let (mut net, mut twin) = (build(Classifier::trainer(Adam::new(0.1))), build(Classifier::trainer(Adam::new(0.1))));
    assert_eq!(net.update(), Err(RunError::NothingAccumulated));
    for round in 0..2 {
        for net in [&mut net, &mut twin] {
            net.accumulate(x.view(), labels.view()).expect("the batch fits");
        }
        let before = state(&net);
        assert!(net.accumulate(spoilt.view(), labels.view()).is_err());
        assert!(net.accumulate(x.view(), labels.mapv(|_| 3).view()).is_err());
        assert_eq!((state(&net), net.accumulated_rows()), (before, 8));
        for net in [&mut net, &mut twin] {
            net.update().expect("there are gradients");
        }
        assert_eq!(state(&net), state(&twin), "after update {round}");
    }
    assert_eq!(net.update(), Err(RunError::NothingAccumulated));
}

#[test]
fn accumulating_merges_in_the_tile_and_the_update_reads_what_was_merged() {
    let how = Sgd::new(0.1).into();
    let fused = |purpose| fuse(&simplified(Bare::declared(), purpose).expect("it is sound")).to_string();
    let text = fused(Purpose::Accumulate(&how));
    let (_, sums) = text.split_once("check that the loss is finite\n").expect("the loss is checked");
    assert_snapshot!(sums, @"
    kernel 2: 2 x 1, 4*B + 12 FLOP, 12*B + 16 bytes                  # a matmul
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = ne first, 0 : bool[]                                     # accumulation
      %18 = neg share : f32[]                                        # dense1.weight
      %21 = mul_add %18.one, dense1.weight.accumulated, dense1.weight.accumulated : f32[2,1] # dense1.weight
      %22 = mul_add share, %13, %21 : f32[2,1]                       # dense1.weight
      %24 = select %15.one, %13, %22 : f32[2,1]                      # dense1.weight
      dense1.weight.accumulated <- %24
    in all: 3 kernels, 13*B + 14 FLOP, 28*B + 36 bytes
    unfused: 13*B + 14 FLOP, 64*B + 116 bytes
    ");
    assert_snapshot!(fused(Purpose::Update(&how)), @"
    kernel 0: 2 x 1, 5 FLOP, 24 bytes
      %3 = neg rate : f32[]                                          # dense1.weight
      %5 = mul_add %3.one, dense1.weight.accumulated, dense1.weight : f32[2,1] # dense1.weight
      dense1.weight <- %5
    in all: 1 kernel, 5 FLOP, 24 bytes
    unfused: 5 FLOP, 32 bytes
    ");
}

/// Half a unit in the last place of 1.
const EPS: f64 = f32::EPSILON as f64 / 2.0;

#[test]
fn every_accumulated_batch_is_a_pass_of_its_own_for_dropout() {
    const RATE: f64 = 0.5;
    const PARTS: [usize; 4] = [17, 1, 9, 13];
    let (x, labels) = samples(40);
    let build = || Masked::trainer(Sgd::new(RATE)).max_batch(17).seed(4).build().expect("it builds");
    let (mut net, mut twin) = (build(), build());
    let before = numbers(&twin);
    let (mut sums, mut sizes) = (vec![0.0; before.len()], vec![0.0; before.len()]);
    let mut from = 0;
    for (pass, rows) in PARTS.into_iter().enumerate() {
        let (x, labels) = (x.slice(s![from..from + rows, ..]), labels.slice(s![from..from + rows]));
        assert_eq!(net.forward_count(), pass as u64);
        net.accumulate(x, labels).expect("the batch fits");
        // The masks of this pass, and no others, whatever was drawn before.
        twin.set_forward_count(pass as u64);
        let gradients = twin.gradients(x, labels).expect("the batch fits");
        let gradients = gradients.iter().flat_map(|(_, gradient)| gradient.iter().copied().collect::<Vec<f32>>());
        for ((sum, size), gradient) in sums.iter_mut().zip(&mut sizes).zip(gradients) {
            let share = f64::from(gradient) * rows as f64 / 40.0;
            *sum += share;
            *size += share.abs();
        }
        from += rows;
    }
    net.update().expect("there are gradients");
    // Each term is rounded when it is multiplied by its rows, at most once for each of the four when it is added, once when the
    // sum is divided and once when it is multiplied by the rate; the parameter once more, and each operation by half a unit.
    let allowed = |p: f64, size: f64| EPS * (7.0 * RATE * size + p.abs());
    for (((p, sum), size), after) in before.iter().zip(&sums).zip(&sizes).zip(numbers(&net)) {
        let wanted = p - RATE * sum;
        assert!((after - wanted).abs() <= allowed(wanted, *size), "{p} becomes {after} instead of {wanted}");
    }
    assert!(sizes.iter().filter(|size| **size > 1e-4).count() > sizes.len() / 2, "most gradients are not zero");
}

#[test]
fn any_number_of_threads_accumulates_the_same_bits() {
    let (x, labels) = samples(600);
    let run = |threads| {
        let trainer = Shared::trainer(Adam::new(1e-2)).clip_norm(0.5);
        let mut net = trainer.max_batch(600).seed(5).threads(threads).build().expect("it builds");
        for sizes in [&[600, 129][..], &[2, 511, 64]] {
            for &rows in sizes {
                net.accumulate(x.slice(s![..rows, ..]), labels.slice(s![..rows])).expect("the batch fits");
            }
            net.update().expect("there are gradients");
        }
        state(&net)
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == one, "{threads} threads accumulate other bits than one");
    }
}

#[test]
fn every_accumulated_batch_moves_the_running_statistics_of_a_step_that_is_due() {
    let mut net = Normed::trainer(Sgd::new(0.1)).max_batch(8).build().expect("it builds");
    let mut expected = [[0.0, 1.0]; 3];
    for step in 0..3 {
        for batch in 0..3 {
            let rows = 4 + 2 * (batch % 2);
            let value =
                |(i, j): (usize, usize)| (((5 * i + 3 * j + 7 * step + batch) % 11) as f32 - 4.0) * (j + 1) as f32;
            let x = Array2::from_shape_fn((rows, 3), value);
            net.accumulate(x.view(), x.view()).expect("the batch fits");
            for (column, [mean, variance]) in x.columns().into_iter().zip(&mut expected) {
                let n = rows as f64;
                let own = column.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
                let unbiased = column.iter().map(|&x| (f64::from(x) - own).powi(2)).sum::<f64>() / (n - 1.0);
                if step % 2 == 0 {
                    *mean = 0.75 * *mean + 0.25 * own;
                    *variance = 0.75 * *variance + 0.25 * unbiased;
                }
            }
        }
        net.update().expect("there are gradients");
        let read =
            |name: &str| net.param(name).expect("the name exists").iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let bound = Bound { relative: 1e-6, absolute: 1e-6 };
        bound.check("mean", &read("batch_norm1.running_mean"), &expected.map(|[mean, _]| mean));
        bound.check("variance", &read("batch_norm1.running_var"), &expected.map(|[_, variance]| variance));
    }
}

// ---- Checkpoints in between -----------------------------------------------------------------------------------------

/// Accumulates these rows.
fn accumulate(net: &mut Session<Masked>, rows: std::ops::Range<usize>) -> u32 {
    let (x, labels) = samples(40);
    let report = net.accumulate(x.slice(s![rows.clone(), ..]), labels.slice(s![rows]));
    report.expect("the batch fits").loss.to_bits()
}

fn masked(seed: u64) -> Session<Masked> {
    let trainer = Masked::trainer(Adam::new(1e-2)).clip_norm(0.5).freeze("dense1.bias");
    trainer.max_batch(20).seed(seed).build().expect("it builds")
}

#[test]
fn a_session_that_stops_between_two_batches_goes_on_with_the_bits_of_one_that_does_not() {
    let path = folder("accumulated").join("net.safetensors");
    let mut whole = masked(1);
    accumulate(&mut whole, 0..9);
    whole.update().expect("there are gradients");
    accumulate(&mut whole, 0..20);
    accumulate(&mut whole, 20..27);
    whole.save(&path).expect("the folder can be written");

    // One that has accumulated nothing, and one whose own sums are given up.
    let (fresh, mut other) = (masked(2), masked(3));
    accumulate(&mut other, 3..10);
    for mut resumed in [fresh, other] {
        resumed.load(&path).expect("the checkpoint is of this network");
        assert_eq!((resumed.accumulated_rows(), resumed.forward_count()), (27, 3));
        let again = path.with_file_name("again.safetensors");
        resumed.save(&again).expect("the folder can be written");
        assert_eq!(fs::read(again).expect("it was written"), fs::read(&path).expect("it was written"));
        let mut whole = masked(1);
        whole.load(&path).expect("the checkpoint is of this network");
        for net in [&mut whole, &mut resumed] {
            accumulate(net, 27..40);
            net.update().expect("there are gradients");
        }
        assert_eq!(state(&resumed), state(&whole));
    }
    accumulate(&mut whole, 27..40);
    whole.update().expect("there are gradients");
    let mut resumed = masked(9);
    resumed.load(&path).expect("the checkpoint is of this network");
    accumulate(&mut resumed, 27..40);
    resumed.update().expect("there are gradients");
    assert_eq!(state(&resumed), state(&whole), "that of the session that was never stopped");
}

#[test]
fn a_checkpoint_from_after_an_update_ends_what_was_accumulated() {
    let path = folder("after_an_update").join("net.safetensors");
    let mut net = masked(1);
    accumulate(&mut net, 0..9);
    net.update().expect("there are gradients");
    net.save(&path).expect("the folder can be written");
    let bytes = fs::read(&path).expect("it was written");
    assert!(!String::from_utf8_lossy(&bytes).contains("accumulated"), "there is nothing to keep");
    let after = state(&net);
    accumulate(&mut net, 9..20);
    net.load(&path).expect("the checkpoint is of this network");
    assert_eq!((net.accumulated_rows(), state(&net)), (0, after));
    assert_eq!(net.update(), Err(RunError::NothingAccumulated));
}

#[test]
fn accumulated_gradients_that_do_not_fit_are_named_and_leave_everything_as_it_was() {
    let path = folder("sums").join("net.safetensors");
    let mut saved = masked(1);
    accumulate(&mut saved, 0..9);
    saved.save(&path).expect("the folder can be written");
    let trainer = Masked::trainer(Adam::new(1e-2)).freeze("dense2.weight");
    let mut net = trainer.max_batch(20).build().expect("it builds");
    accumulate(&mut net, 3..10);
    let before = (state(&net), net.accumulated_rows());
    let Err(CheckpointError::Mismatch { mistakes, .. }) = net.load(&path) else { panic!("another layer is frozen") };
    assert_snapshot!(mistakes.join("\n"), @"
    `clip_norm = 0.5` there is `clip_norm = none` here
    `dense1.bias: frozen` there is `dense2.weight: frozen` here
    `load_params` takes its parameters and running statistics alone
    `dense1.bias.m` is missing there
    `dense1.bias.v` is missing there
    `dense1.bias.accumulated` is missing there
    `dense2.weight.m` is unknown here
    `dense2.weight.v` is unknown here
    `dense2.weight.accumulated` is unknown here
    ");
    assert_eq!((state(&net), net.accumulated_rows()), before);
    // Parameters alone are in the file as in any other.
    net.load_params(&path).expect("the parameters fit");
    assert_eq!(net.param("dense1.weight"), saved.param("dense1.weight"));
    assert_eq!(net.accumulated_rows(), 7);
}

#[test]
fn nothing_is_compiled_for_a_checkpoint_that_does_not_fit() {
    let path = folder("nothing_compiled").join("net.safetensors");
    let mut saved = masked(1);
    accumulate(&mut saved, 0..9);
    saved.save(&path).expect("the folder can be written");
    let mut net = Masked::trainer(Adam::new(1e-2)).freeze("dense2.weight").max_batch(20).build().expect("it builds");
    let error = net.load(&path).expect_err("another layer is frozen");
    assert!(matches!(error, CheckpointError::Mismatch { .. }) && format!("{net:?}").contains("accumulation: None"));
    let mut net = masked(1);
    net.load(&path).expect("the checkpoint is of this network");
    assert!(!format!("{net:?}").contains("accumulation: None"));
}

#[test]
fn gradients_may_be_accumulated_between_the_epochs_of_a_fit() {
    let (x, labels) = samples(20);
    let mut data = Dataset::new(x.clone(), labels.clone()).expect("as many labels as rows").seed(1);
    let mut net = masked(1);
    let fit = net.fit(&mut data).epochs(3).batch_size(10).restore_best(true).progress(Progress::Quiet);
    let history = fit.on_epoch(|net, _| {
        net.accumulate(x.view(), labels.view()).expect("the batch fits");
        ControlFlow::Continue(())
    });
    assert!(history.run().expect("every loss is finite").restored);
    assert_eq!(net.accumulated_rows(), 60);
}

// ---- The range of numbers -------------------------------------------------------------------------------------------

network! {
    /// The gradient of the weight is the mean of `g x`.
    Plain<x: [B, 2] -> y: [B, 1]> { Dense(1, bias = false, init = zeros) }
    loss(g: [B, 1]) = mean(g * y);

    /// A slope of infinity where `y` is `t`.
    Root<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss(t: [B, 1]) = mean(sqrt(square(y - t)));
}

#[test]
fn gradients_of_batches_overflow_no_earlier_than_that_of_all_rows() {
    let x = Array2::<f32>::ones((64, 2));
    for (sizes, size) in [(&[64][..], 1e37), (&[64, 1, 64, 64, 7], 3.4e38), (&[1; 5], -3.4e38), (&[3, 64], 1e-37)] {
        let mut net = Plain::trainer(Sgd::new(1e-37)).max_batch(64).build().expect("it builds");
        net.set_learning_rate(if size == 1e-37 { 1.0 } else { 2e-38 }).expect("it is a rate");
        for &rows in sizes {
            let g = Array2::from_elem((rows, 1), size as f32);
            net.accumulate(x.slice(s![..rows, ..]), g.view()).expect("the loss is finite");
        }
        let rate = net.learning_rate();
        net.update().expect("there are gradients");
        let wanted = -rate * size;
        let found = f64::from(net.param("dense1.weight").expect("it exists")[[0, 0]]);
        assert!((found - wanted).abs() <= 1e-5 * wanted.abs(), "{found}, want {wanted}");
    }
    // From one end of the range to the other.
    let mut net = Plain::trainer(Sgd::new(2e-38)).build().expect("it builds");
    for g in [3.4e38, -3.4e38, -3.4e38, -3.4e38] {
        net.accumulate(array![[1.0, 0.0]].view(), array![[g]].view()).expect("the loss is finite");
    }
    net.update().expect("there are gradients");
    let found = net.param("dense1.weight").expect("it exists")[[0, 0]];
    assert!((found - 3.4).abs() < 1e-5, "{found}");
}

#[test]
fn one_batch_and_an_update_are_a_step_to_the_bit() {
    let (x, labels) = samples(40);
    // A norm is added up in another order where the gradients come from memory.
    for trainer in [|| Rowwise::trainer(Sgd::new(0.5)), || Rowwise::trainer(Adam::new(0.1).l2(0.1)).clip_value(0.01)] {
        let [mut whole, mut parts] = [trainer(), trainer()].map(|t| t.max_batch(40).build().expect("it builds"));
        for _ in 0..3 {
            whole.step(x.view(), labels.view()).expect("the batch fits");
            parts.accumulate(x.view(), labels.view()).expect("the batch fits");
            parts.update().expect("there are gradients");
            assert_eq!(state(&parts), state(&whole));
        }
    }
}

/// Makes what is not finite finite again.
type Repair<'a> = &'a dyn Fn(&mut Session<Root>);

#[test]
fn nothing_that_was_accumulated_before_an_update_is_part_of_the_next() {
    let path = folder("poisoned").join("net.safetensors");
    let x = array![[1.0f32, 2.0], [0.5, -1.0]];
    let build = || Root::trainer(Sgd::new(0.1).momentum(0.9)).seed(1).build().expect("it builds");
    let (mut net, mut twin) = (build(), build());
    net.save(&path).expect("the folder can be written");
    let y = net.predict(x.view()).expect("the batch fits").to_owned();
    let t = &y + 1.0;
    let repairs: [Repair<'_>; 3] = [
        &|net| net.load(&path).expect("it is of this network"),
        &|net| net.load_params(&path).map(drop).expect("it is of this network"),
        &|net| {
            for name in ["dense1.weight", "dense1.bias"] {
                let value = build().param(name).expect("it exists").to_owned();
                net.set_param(name, value.view()).expect("it fits");
            }
        },
    ];
    twin.step(x.view(), t.view()).expect("the batch fits");
    for repair in repairs {
        net.load(&path).expect("it is of this network");
        net.accumulate(x.view(), y.view()).expect("the loss is 0");
        net.update().expect("there are gradients");
        assert!(net.param("dense1.weight").expect("it exists").iter().all(|w| w.is_nan()));
        repair(&mut net);
        for name in ["dense1.weight.velocity", "dense1.bias.velocity"] {
            let zero = net.param(name).expect("it exists").mapv(|_| 0.0);
            net.set_param(name, zero.view()).expect("it fits");
        }
        net.accumulate(x.view(), t.view()).expect("the batch fits");
        net.update().expect("there are gradients");
        assert_eq!(state(&net), state(&twin));
    }
}

#[test]
fn an_epoch_that_is_restored_leaves_what_has_been_accumulated_since() {
    let (x, labels) = samples(20);
    let run = |restore| {
        let mut data = Dataset::new(x.clone(), labels.clone()).expect("as many labels as rows").seed(1);
        let mut net = masked(1);
        net.accumulate(x.view(), labels.view()).expect("the batch fits");
        // The first epoch is the best.
        let fit = net.fit(&mut data).epochs(3).batch_size(10).progress(Progress::Quiet).restore_best(restore);
        let epochs = std::cell::Cell::new(0.0);
        let fit = fit.minimize(move |_| {
            epochs.set(epochs.get() + 1.0);
            epochs.get()
        });
        let history = fit.on_epoch(|net, _| {
            net.accumulate(x.view(), labels.view()).expect("the batch fits");
            ControlFlow::Continue(())
        });
        assert_eq!(history.run().expect("every loss is finite").restored, restore);
        let path = folder("restored").join(format!("{restore}.safetensors"));
        net.save(&path).expect("the folder can be written");
        accumulated(&path)
    };
    assert_eq!(run(true), run(false));
}

/// The bytes of the first accumulated gradient in a checkpoint.
fn accumulated(path: &std::path::Path) -> Vec<u8> {
    let bytes = fs::read(path).expect("it was written");
    let len = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header = String::from_utf8_lossy(&bytes[8..8 + len]).into_owned();
    let (_, after) = header.split_once("\"dense1.weight.accumulated\"").expect("it is there");
    let (_, offsets) = after.split_once("\"data_offsets\":[").expect("it has offsets");
    let (offsets, _) = offsets.split_once(']').expect("they end");
    let [from, to] = offsets.split(',').map(|at| at.trim().parse::<usize>().expect("a number")).collect::<Vec<_>>()[..]
    else {
        panic!("{offsets}")
    };
    bytes[8 + len + from..8 + len + to].to_vec()
}

// ---- What the loss says ---------------------------------------------------------------------------------------------

network! {
    /// A sum over rows.
    Summed<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = sum(square(y - t));

    /// A sum and terms that stand beside it once, however they are written.
    Ridge<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = 0.5 * (sum(square(y - t)) - sum(y) + 0.25 * l2(weights)) + l1(weights) / 4.0;

    /// A number that stands beside the sum, and scales it as well.
    Noisy<x: [B, 3] -> y: [B, 2]> { Dense(2), |x, s = 0.5| x + s }
    loss(t: [B, 2]) = sum(square(y - t)) * exp(-lambda1.s) + lambda1.s + 2.0 * l2(lambda1.s);

    /// A penalty in every row.
    Rowly<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = sum(square(y - t) + 0.125 * l2(weights));

    /// Means, of which one is divided by hand.
    Mixed<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = sum(square(y - t)) / sum(square(t - t) + 1.0) + 0.5 * mse(y, t) + 0.125 * l2(weights);

    /// The root of a mean, which each batch has of its own.
    Rooted<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = sqrt(mse(y, t));

    /// Grows in part.
    Partly<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = mse(y, t) + 1e-2 * sum(square(y));

    /// Grows with the square.
    Squared<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = square(sum(y - t));

    /// Grows in no power.
    Logged<x: [B, 3] -> y: [B, 2]> { Dense(2) }
    loss(t: [B, 2]) = ln(1.0 + sum(square(y - t)));
}

/// Rows and targets.
fn points() -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((10, 3), |(i, j)| ((7 * i + 5 * j) % 11) as f32 / 4.0 - 1.0);
    let t = Array2::from_shape_fn((10, 2), |(i, j)| ((3 * i + 4 * j) % 7) as f32 / 2.0 - 1.5);
    (x, t)
}

/// The step of ten rows, and what three batches of them and an update make.
fn both<'n, N>(trainer: impl Fn() -> Trainer<N>) -> [Vec<f64>; 2]
where
    N: Network<
            Inputs<'n> = gradloom::ndarray::ArrayView2<'n, f32>,
            Targets<'n> = gradloom::ndarray::ArrayView2<'n, f32>,
        >,
{
    let (x, t) = points();
    let (x, t): (&'n Array2<f32>, &'n Array2<f32>) = (Box::leak(Box::new(x)), Box::leak(Box::new(t)));
    let [mut whole, mut parts] = [trainer(), trainer()].map(|trainer| trainer.seed(2).build().expect("it builds"));
    for _ in 0..2 {
        whole.step(x.view(), t.view()).expect("the batch fits");
        for rows in [0..3, 3..4, 4..10] {
            parts.accumulate(x.slice(s![rows.clone(), ..]), t.slice(s![rows, ..])).expect("the batch fits");
        }
        parts.update().expect("there are gradients");
    }
    [numbers(&parts), numbers(&whole)]
}

#[test]
fn a_sum_over_rows_is_added_up_and_a_mean_is_averaged() {
    let bound = Bound { relative: 1e-5, absolute: 1e-6 };
    for (what, [parts, whole]) in [
        ("a sum", both(|| Summed::trainer(Sgd::new(1e-2)))),
        ("a sum beside penalties", both(|| Ridge::trainer(Sgd::new(1e-2)))),
        ("a sum scaled by what stands beside it", both(|| Noisy::trainer(Sgd::new(1e-2)))),
        ("a sum of penalties", both(|| Rowly::trainer(Sgd::new(1e-2)))),
        ("means", both(|| Mixed::trainer(Sgd::new(1e-2)))),
        ("a sum for Adam", both(|| Summed::trainer(Adam::new(1e-2)).clip_norm(1.0))),
    ] {
        bound.check(what, &parts, &whole);
    }
}

#[test]
fn the_gradient_of_a_sum_with_a_penalty_is_that_of_f64() {
    let (x, t) = points();
    let mut net = Ridge::trainer(Sgd::new(1e-2)).seed(2).build().expect("it builds");
    let read = |net: &Session<Ridge>, name: &str| net.param(name).expect("it exists").mapv(f64::from);
    let (w, b) = (read(&net, "dense1.weight"), read(&net, "dense1.bias"));
    for rows in [0..4, 4..10] {
        net.accumulate(x.slice(s![rows.clone(), ..]), t.slice(s![rows, ..])).expect("the batch fits");
    }
    net.update().expect("there are gradients");
    for (i, j) in (0..3).flat_map(|i| [0, 1].map(|j| (i, j))) {
        let mut gradient = 0.25 * w[[i, j]] + 0.25 * w[[i, j]].signum();
        for row in 0..10 {
            let y = b[[j]] + (0..3).map(|i| f64::from(x[[row, i]]) * w[[i, j]]).sum::<f64>();
            gradient += f64::from(x[[row, i]]) * (y - f64::from(t[[row, j]]) - 0.5);
        }
        let (found, wanted) = (read(&net, "dense1.weight")[[i, j]], w[[i, j]] - 1e-2 * gradient);
        assert!((found - wanted).abs() < 1e-5, "{found}, want {wanted}");
    }
}

#[test]
fn what_is_taken_of_a_whole_batch_is_averaged_over_the_batches() {
    let (x, t) = points();
    let mut net = Rooted::trainer(Sgd::new(1e-2)).seed(2).build().expect("it builds");
    let mut wanted = numbers(&net);
    for rows in [0..3, 3..10] {
        let (x, t) = (x.slice(s![rows.clone(), ..]), t.slice(s![rows.clone(), ..]));
        let gradients = net.gradients(x, t).expect("the batch fits");
        let all = gradients.iter().flat_map(|(_, gradient)| gradient.iter().copied().collect::<Vec<f32>>());
        wanted.iter_mut().zip(all).for_each(|(w, g)| *w -= 1e-2 * f64::from(g) * rows.len() as f64 / 10.0);
        net.accumulate(x, t).expect("the batch fits");
    }
    net.update().expect("there are gradients");
    Bound { relative: 1e-6, absolute: 1e-6 }.check("averaged", &numbers(&net), &wanted);
}

#[test]
fn a_loss_that_is_neither_a_mean_nor_a_sum_is_refused() {
    let (x, t) = points();
    fn refusal<T>(result: Result<T, Error>, rows: usize) -> String {
        match result {
            Err(Error::Build(error @ BuildError::Accumulate { .. })) if rows == 0 => error.to_string(),
            other => panic!("{:?}", other.map(drop)),
        }
    }
    macro_rules! refused {
        ($($network:ident)*) => {[$({
            let mut net = $network::trainer(Sgd::new(0.1)).build().expect("it builds");
            let before = state(&net);
            let result = net.accumulate(x.view(), t.view()).map(drop);
            let text = refusal(result, net.accumulated_rows());
            assert_eq!(state(&net), before);
            net.step(x.view(), t.view()).expect("a step can be made");
            text
        }),*]};
    }
    assert_snapshot!(refused!(Partly Squared Logged).join("\n"), @"
    the gradients of `Partly` can't be accumulated: its loss is neither a mean nor a sum over the rows, for it adds up terms that grow with the rows and terms that do not
    the gradients of `Squared` can't be accumulated: its loss is neither a mean nor a sum over the rows, for one of its terms grows with the power 2 of the rows
    the gradients of `Logged` can't be accumulated: its loss is neither a mean nor a sum over the rows, for in `loss (stable-ln-one-plus)`, `log1p` is taken of what grows with the rows
    ");
}

network! {
    /// The mean of the rows that count, each by the weight of its class.
    Counted<x: [B, 3] -> logits: [B, 3]> { Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label, ignore = 0)
        + cross_entropy(logits, label, class_weights = [0.5, 1.0, 3.0], ignore = 2);
}

#[test]
fn a_mean_of_the_rows_that_count_is_averaged_over_the_batches() {
    let x = Array2::from_shape_fn((10, 3), |(row, column)| ((row * 5 + column * 3) % 7) as f32 / 3.0 - 1.0);
    // The first batch has one row that the first loss counts, the last one none.
    let labels = array![0u8, 0, 1, 2, 1, 1, 2, 0, 0, 0];
    let mut net = Counted::trainer(Sgd::new(1e-2)).seed(2).build().expect("it builds");
    let mut wanted = numbers(&net);
    for rows in [0..3, 3..7, 7..10] {
        let (x, t) = (x.slice(s![rows.clone(), ..]), labels.slice(s![rows.clone()]));
        let gradients = net.gradients(x, t).expect("the batch fits");
        let all = gradients.iter().flat_map(|(_, gradient)| gradient.iter().copied().collect::<Vec<f32>>());
        wanted.iter_mut().zip(all).for_each(|(w, g)| *w -= 1e-2 * f64::from(g) * rows.len() as f64 / 10.0);
        net.accumulate(x, t).expect("the batch fits");
    }
    net.update().expect("there are gradients");
    Bound { relative: 1e-6, absolute: 1e-6 }.check("averaged", &numbers(&net), &wanted);
}
