//! A training that was interrupted goes on where it stood: the same rows in the same order, with the same bits.

use std::ops::ControlFlow;
use std::path::PathBuf;

use gradloom::ndarray::{Array1, Array2, s};
use gradloom::{Adam, Dataset, Ending, Fit, History, Progress, Session, Sgd, network};

use crate::train::state;

network! {
    /// Whose batches need two rows, and whose masks follow from the number of the forward pass.
    Net<x: [B, 3] -> y: [B, 2]> { Dense(6, bias = false), BatchNorm(every = 3), tanh, Dropout(0.25), Dense(2) }
    loss(k: [u8; B]) = cross_entropy(y, k);
    metric accuracy = mean(argmax(y) == k);

    /// Whose metric says which rows it saw, if those are different powers of two.
    Ids<x: [B, 1] -> y: [B, 1]> { Dense(1, init = zeros) }
    loss(t: [B, 1]) = mse(y, t);
    metric ids = sum(x);
}

const ROWS: usize = 21;

/// As another process would make it again.
fn data(seed: u64) -> Dataset<Array2<f32>, Array1<u8>> {
    let x = Array2::from_shape_fn((ROWS, 3), |(i, j)| ((i * 31 + j * 17) % 23) as f32 / 11.0 - 1.0);
    Dataset::new(x, Array1::from_shape_fn(ROWS, |i| (i * i % 7 % 2) as u8)).expect("rows agree").seed(seed)
}

fn net(max_batch: usize) -> Session<Net> {
    Net::trainer(Adam::new(0.01)).max_batch(max_batch).seed(5).build().expect("it builds")
}

/// Seventeen rows to train with, four to validate with.
fn training<'f>(
    net: &'f mut Session<Net>,
    data: &'f mut Dataset<Array2<f32>, Array1<u8>>,
    epochs: usize,
) -> Fit<'f, Net> {
    net.fit(data).epochs(epochs).batch_size(4).validation_split(0.2).progress(Progress::Quiet)
}

/// Line by line, without the names and the times.
fn lines(history: &History<Net>) -> Vec<String> {
    let csv = history.to_csv();
    let lines = csv.lines().skip(1).map(|line| line.rsplit_once(',').expect("the time comes last").0.to_string());
    lines.collect()
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("gradloom-{}-{name}.safetensors", std::process::id()))
}

/// The session as another process has it: from a file.
fn reloaded(net: &Session<Net>, name: &str, max_batch: usize) -> Session<Net> {
    let path = file(name);
    net.save(&path).expect("it is written");
    let mut other = Net::trainer(Adam::new(0.5)).max_batch(max_batch).seed(1).build().expect("it builds");
    other.load(&path).expect("it is read");
    std::fs::remove_file(path).expect("it was written");
    other
}

#[test]
fn two_epochs_and_two_more_from_a_checkpoint_are_four() {
    let mut whole = net(8);
    let history = training(&mut whole, &mut data(9), 4).run().expect("it trains");
    let mut first = net(8);
    let mut told = lines(&training(&mut first, &mut data(9), 2).run().expect("it trains"));
    let mut second = reloaded(&first, "two-and-two", 8);
    assert_eq!(second.epochs(), 2);
    told.extend(lines(&training(&mut second, &mut data(9), 2).run().expect("it trains")));
    assert_eq!(told, lines(&history));
    assert_eq!((state(&second), second.epochs()), (state(&whole), 4));
    // In one process too, whatever was done with the data meanwhile.
    let (mut same, mut used) = (net(8), data(9));
    for _ in 0..4 {
        training(&mut same, &mut used, 1).run().expect("it trains");
        used.batches(5).for_each(drop);
    }
    assert_eq!(state(&same), state(&whole));
}

#[test]
fn a_training_goes_on_from_the_middle_of_an_epoch_to_the_bit() {
    // Seventeen rows as 4, 4, 4 and 5, and as 4, 4, 4, 3 and 2.
    for (max_batch, steps) in [(8, 4), (4, 5)] {
        let mut whole = net(max_batch);
        let history = training(&mut whole, &mut data(9), 3).run().expect("it trains");
        assert_eq!(whole.steps(), 3 * steps);
        for stop in 1..3 * steps {
            let (mut first, mut used) = (net(max_batch), data(9));
            let broken = training(&mut first, &mut used, 3).on_step(|net, _| match net.steps() {
                steps if steps == stop => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            });
            let broken = broken.run().expect("it trains");
            assert_eq!((broken.end, first.epochs() as u64), (Ending::Callback, (stop - 1) / steps));
            let mut second = reloaded(&first, &format!("middle-{max_batch}-{stop}"), max_batch);
            let left = 3 - second.epochs();
            let rest = training(&mut second, &mut data(9), left).run().expect("it trains");
            assert_eq!(lines(&rest), lines(&history)[3 - left..], "after {stop} steps");
            assert_eq!(state(&second), state(&whole), "after {stop} steps");
            let counts = |net: &Session<Net>| (net.steps(), net.forward_count(), net.epochs());
            assert_eq!(counts(&second), counts(&whole), "after {stop} steps");
        }
    }
}

#[test]
fn what_a_callback_saves_is_gone_on_with() {
    let path = file("callback");
    let mut whole = net(8);
    let history = training(&mut whole, &mut data(9), 3).run().expect("it trains");
    for at_step in [true, false] {
        let mut first = net(8);
        let fit = |net: &mut Session<Net>, wanted: bool| {
            if wanted && net.steps() == 8 {
                net.save(&path).expect("it is written");
            }
        };
        let mut used = data(9);
        let saving = training(&mut first, &mut used, 3);
        let saving = saving.on_step(|net, _| fit(net, at_step)).on_epoch(|net, _| fit(net, !at_step));
        saving.run().expect("it trains");
        // After its last step the second epoch lacks its validation.
        let mut second = net(8);
        second.load(&path).expect("it is read");
        assert_eq!(second.epochs(), if at_step { 1 } else { 2 });
        let left = 3 - second.epochs();
        let rest = training(&mut second, &mut data(9), left).run().expect("it trains");
        assert_eq!((lines(&rest), state(&second)), (lines(&history)[3 - left..].to_vec(), state(&whole)));
    }
    std::fs::remove_file(path).expect("it was written");
}

#[test]
fn a_refused_step_is_made_again_by_the_next_training() {
    let mut whole = net(8);
    let history = training(&mut whole, &mut data(9), 2).run().expect("it trains");
    let (mut net, mut used) = (net(8), data(9));
    let bias = net.param("dense2.bias").expect("the network has a bias").to_owned();
    let mut kept = bias.clone();
    let failing = training(&mut net, &mut used, 2).on_step(|net, _| {
        if net.steps() == 6 {
            kept.assign(&net.param("dense2.bias").expect("the network has a bias"));
            net.set_param("dense2.bias", bias.mapv(|_| f32::NAN).view()).expect("the network has a bias");
        }
    });
    assert_eq!(failing.run().expect_err("the loss is NaN").history.epochs.len(), 2);
    net.set_param("dense2.bias", kept.view()).expect("the network has a bias");
    let rest = training(&mut net, &mut used, 1).run().expect("it trains");
    assert_eq!((lines(&rest), state(&net)), (lines(&history)[1..].to_vec(), state(&whole)));
}

/// Row `n` is `2^n`; all targets are 2.
fn powers(rows: usize, seed: u64) -> Dataset<Array2<f32>, Array2<f32>> {
    let x = Array2::from_shape_fn((rows, 1), |(row, _)| (1u32 << row) as f32);
    Dataset::new(x, Array2::from_elem((rows, 1), 2.0)).expect("rows agree").seed(seed)
}

/// The rows of each step of an epoch, ended after so many steps.
fn steps(net: &mut Session<Ids>, data: &mut Dataset<Array2<f32>, Array2<f32>>, batch: usize, most: usize) -> Vec<u32> {
    let mut seen = Vec::new();
    let fit = net.fit(data).batch_size(batch).progress(Progress::Quiet).on_step(|_, metrics| {
        seen.push(metrics.ids as u32);
        if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    fit.run().expect("it trains");
    seen
}

#[test]
fn another_batch_size_goes_on_and_other_data_begin_anew() {
    let still = || Ids::trainer(Sgd::new(0.0)).max_batch(8).build().expect("it builds");
    let whole = steps(&mut still(), &mut powers(12, 3), 1, 99);
    assert_eq!(whole.len(), 12);
    let sums = |size: usize| whole[4..].chunks(size).map(|ids| ids.iter().sum()).collect::<Vec<u32>>();
    for size in [1, 2, 3, 8] {
        let mut net = still();
        let begun = steps(&mut net, &mut powers(12, 3), 4, 1);
        assert_eq!(begun, [whole[..4].iter().sum::<u32>()]);
        assert_eq!(steps(&mut net, &mut powers(12, 3), size, 99), sums(size), "batches of {size}");
        assert_eq!(net.epochs(), 1);
    }
    // Another seed, another number of rows, another share for validation.
    for (rows, seed) in [(12, 4), (11, 3)] {
        let mut net = still();
        steps(&mut net, &mut powers(12, 3), 4, 1);
        assert_eq!(steps(&mut net, &mut powers(rows, seed), 1, 99).len(), rows);
        assert_eq!(net.epochs(), 1);
    }
    let mut net = still();
    steps(&mut net, &mut powers(12, 3), 4, 1);
    let mut data = powers(12, 3);
    let fit = net.fit(&mut data).batch_size(1).validation_split(0.25).progress(Progress::Quiet);
    assert_eq!(fit.run().expect("it trains").epochs[0].steps, 9);
}

#[test]
fn a_pass_over_the_data_is_the_epoch_of_its_number() {
    let order = |rows: &mut dyn Iterator<Item = f32>| rows.map(|x| x as u32).collect::<Vec<u32>>();
    let mut net = Ids::trainer(Sgd::new(0.0)).max_batch(8).build().expect("it builds");
    let (mut fitted, mut passed) = (powers(12, 3), powers(12, 3));
    for _ in 0..3 {
        let epoch = steps(&mut net, &mut fitted, 1, 99);
        let pass = order(&mut passed.batches(5).flat_map(|(x, _)| x.iter().copied().collect::<Vec<f32>>()));
        assert_eq!(epoch, pass);
    }
    // Neither counts for the other.
    fitted.batches(5).for_each(drop);
    steps(&mut net, &mut passed, 1, 99);
    let [fourth, second] = [&mut passed, &mut fitted]
        .map(|data| order(&mut data.batches(12).flat_map(|(x, _)| x.iter().copied().collect::<Vec<f32>>())));
    let mut fresh = powers(12, 3);
    let all =
        [(); 4].map(|()| order(&mut fresh.batches(12).flat_map(|(x, _)| x.iter().copied().collect::<Vec<f32>>())));
    assert_eq!([fourth, second], [all[3].clone(), all[1].clone()]);
}

#[test]
fn a_split_takes_the_rows_that_validation_keeps_out() {
    let mut net = Ids::trainer(Sgd::new(0.0)).max_batch(16).build().expect("it builds");
    let mut data = powers(16, 7);
    data.batches(3).for_each(drop);
    let history = net.fit(&mut data).validation_split(0.25).progress(Progress::Quiet).run().expect("it trains");
    let kept_out = history.epochs[0].validation.expect("there is a split").ids as u32;
    let (_, second) = data.split(0.25).expect("both sides have rows");
    assert_eq!(second.inputs().slice(s![.., 0]).iter().map(|&x| x as u32).sum::<u32>(), kept_out);
}

#[test]
fn numbers_of_epochs_go_on_and_the_best_one_is_gone_back_to() {
    let (mut net, mut data) = (net(8), data(9));
    training(&mut net, &mut data, 2).run().expect("it trains");
    let mut values = [3.0, 1.0, 2.0].into_iter();
    let values = std::cell::RefCell::new(&mut values);
    let fit = training(&mut net, &mut data, 3).restore_best(true);
    let history = fit.minimize(|_| values.borrow_mut().next().expect("three epochs")).run().expect("it trains");
    assert_eq!(history.epochs.iter().map(|epoch| epoch.epoch).collect::<Vec<usize>>(), [3, 4, 5]);
    assert_eq!((history.best, net.epochs(), net.steps()), (Some(4), 4, 16));
    assert_eq!(history.best_epoch().expect("there is one").epoch, 4);
}
