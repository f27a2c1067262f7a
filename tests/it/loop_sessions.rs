//! Sessions of networks with a state: what a checkpoint holds in the middle of a series, what statistics of all rows are made of, and
//! where the time of a loop goes.

use std::fs;

use gradloom::ndarray::{Array1, Array2, Array3, Axis, s};
use gradloom::{AdamW, Profile, Session, Sgd, Trainer, network};
use gradloom_runtime::init::Random;

use crate::bound::Bound;
use crate::checkpoint::{everything, folder};
use crate::train::state;

network! {
    /// A part of a series with all that a state may have around it and inside: dropout, statistics, a loop of one's own, and a loop in
    /// its body. Each part begins with what the one before it has left of both states.
    Part<(x: [B, 4, 3], before: [B, 10], mean: [B, 3], n: [u8; B]) -> (y: [B, 4, 2], state: [B, 10], average: [B, 3])> {
        let normal = x -> BatchNorm(every = 2);
        let all = normal -> Lstm(5, initial = before, cell = true);
        state = all[.., -1, ..];
        let shown = all[.., .., 0..5] -> Dropout(0.25);
        let averages = x -> scan(initial = mean, lengths = n) |x, h, decay = 0.9| {
            let words = reshape(x, [B, 3, 1]) -> scan(2, last = true) |word, s| { (word, s) -> concat, Dense(2), tanh };
            decay * h + (1.0 - decay) * x * mean(words, axis = -1, keep = true)
        };
        average = averages[.., -1, ..];
        y = (shown, averages) -> concat, BatchNorm, Dense(2);
    }
    loss(t: [B, 4, 2]) = mse(y, t);
}

const STEPS: usize = 5;

fn normal(shape: (usize, usize, usize), seed: u64) -> Array3<f32> {
    let mut random = Random::new(seed, 1);
    Array3::from_shape_simple_fn(shape, || random.normal() as f32)
}

/// A training that goes through a series part by part.
struct Series {
    net: Session<Part>,
    state: Array2<f32>,
    average: Array2<f32>,
}

impl Series {
    fn new(seed: u64, set: impl FnOnce(Trainer<Part>) -> Trainer<Part>) -> Series {
        let trainer = Part::trainer(AdamW::new(1e-2)).clip_norm(1.0).seed(seed);
        let net = set(trainer).build().expect("it builds");
        Series { net, state: Array2::zeros((3, 10)), average: Array2::zeros((3, 3)) }
    }

    /// Two batches make a step. What a part leaves, by the parameters of before it.
    fn part(&mut self, number: usize) -> u32 {
        let (x, t) = (normal((3, 4, 3), 10 + number as u64), normal((3, 4, 2), 20 + number as u64));
        let n = Array1::from_vec(vec![4u8, (number % 5) as u8, 3]);
        let inputs = (x.view(), self.state.view(), self.average.view(), n.view());
        let left = self.net.predict(inputs).expect("it fits");
        let (state, average) = (left.state.to_owned(), left.average.to_owned());
        let loss = match number % 2 {
            0 => self.net.accumulate(inputs, t.view()).expect("it fits").loss,
            _ => self.net.step(inputs, t.view()).expect("it fits").loss,
        };
        (self.state, self.average) = (state, average);
        loss.to_bits()
    }
}

#[test]
fn a_series_goes_on_from_a_checkpoint_between_any_two_of_its_parts() {
    for stop in [1, 2, 5] {
        let path = folder(&format!("series_{stop}")).join("net.safetensors");
        let mut whole = Series::new(3, |trainer| trainer.max_batch(3));
        (0..stop).for_each(|number| _ = whole.part(number));
        whole.net.save(&path).expect("the folder can be written");

        let mut resumed = Series::new(8, |trainer| trainer.max_batch(7).threads(2));
        resumed.part(4);
        assert_ne!(everything(&resumed.net), everything(&whole.net));
        resumed.net.load(&path).expect("the checkpoint is of this network");
        assert_eq!(everything(&resumed.net), everything(&whole.net), "right after loading");
        // The states are the user's, as the data are.
        (resumed.state, resumed.average) = (whole.state.clone(), whole.average.clone());
        for number in stop..2 * STEPS {
            assert_eq!(resumed.part(number), whole.part(number), "stopped after {stop}: the loss of part {number}");
            assert_eq!((&resumed.state, &resumed.average), (&whole.state, &whole.average), "after part {number}");
        }
        assert_eq!(everything(&resumed.net), everything(&whole.net), "after all parts");
        let again = path.with_file_name("again.safetensors");
        resumed.net.save(&again).expect("the folder can be written");
        whole.net.save(&path).expect("the file can be replaced");
        assert_eq!(fs::read(again).expect("it was written"), fs::read(path).expect("it was written"), "the files");
    }
}

network! {
    /// Statistics before, between and after loops: of what is there at each position of each row.
    Between<(x: [B, 5, 2], n: [u8; B]) -> y: [B, 3]> {
        let first = x -> Standardize, Rnn(3, lengths = n), BatchNorm(momentum = 0.5, every = 3), Dropout(0.5);
        y = first -> scan(last = true, lengths = n) |x, h, keep = 0.5| {
            let shaken = x -> Dropout(0.5);
            keep * h + shaken
        }, BatchNorm;
    }
    loss(t: [B, 3]) = mse(y, t);
}

/// Mean and unbiased variance of each column, as a batch norm keeps them.
fn statistics(columns: &Array2<f64>) -> [Array1<f64>; 2] {
    [columns.mean_axis(Axis(0)).expect("there are rows"), columns.var_axis(Axis(0), 1.0)]
}

#[test]
fn statistics_between_loops_are_those_of_all_rows() {
    const ROWS: usize = 90;
    let x = 3.0 * normal((ROWS, 5, 2), 1) + 7.0;
    let n = Array1::from_shape_fn(ROWS, |row| (row % 6) as u8);
    let t = Array2::zeros((10, 3));
    let mut all = Vec::new();
    for (max_batch, threads) in [(ROWS, 1), (ROWS, 2), (ROWS, 3), (32, 1), (32, 3), (10, 2)] {
        let trainer = Between::trainer(Sgd::new(0.1)).max_batch(max_batch).threads(threads).seed(3);
        let mut net = trainer.build().expect("it builds");
        net.step((x.slice(s![..10, .., ..]), n.slice(s![..10])), t.view()).expect("it fits");
        let before = everything(&net);
        net.recalibrate((x.view(), n.view())).expect("any number of rows");
        for (old, new) in before.2.iter().zip(state(&net)) {
            assert_eq!(*old == new, !old.0.contains(".running_"), "{}", old.0);
        }
        let of = |name: &str| {
            let known: Vec<&str> = net.names().collect();
            let found = net.param(name).unwrap_or_else(|_| panic!("{name} is none of {known:?}"));
            found.iter().map(|&x| f64::from(x)).collect::<Vec<f64>>()
        };
        let check = |layer: &str, expected: &[Array1<f64>; 2]| {
            for (name, expected) in ["running_mean", "running_var"].into_iter().zip(expected) {
                let (name, bound) = (format!("{layer}.{name}"), Bound { relative: 1e-4, absolute: 1e-5 });
                bound.check(&name, &of(&name), expected.as_slice().expect("in a row"));
            }
        };

        // The network again, a row and a step at a time.
        let flat = x.mapv(f64::from).into_shape_with_order((ROWS * 5, 2)).expect("it has as many");
        let (mean, variance) = (flat.mean_axis(Axis(0)).expect("there are rows"), flat.var_axis(Axis(0), 0.0));
        check("first.standardize1", &[mean.clone(), variance.clone()]);
        let standard = (flat - mean) / variance.mapv(f64::sqrt);
        let [w, u, a, b] = ["input.weight", "recurrent.weight", "input.bias", "recurrent.bias"]
            .map(|name| of(&format!("first.rnn1.{name}")));
        // The channels of a batch norm are the positions.
        let mut states = Array3::<f64>::zeros((ROWS, 5, 3));
        for row in 0..ROWS {
            let mut h = [0.0; 3];
            for step in 0..usize::from(n[row]) {
                let x = standard.row(5 * row + step);
                h = std::array::from_fn(|i| {
                    let sum: f64 = (0..2).map(|k| x[k] * w[3 * k + i]).chain((0..3).map(|k| h[k] * u[3 * k + i])).sum();
                    (sum + a[i] + b[i]).tanh()
                });
                (0..3).for_each(|i| states[(row, step, i)] = h[i]);
            }
        }
        let columns = Array2::from_shape_fn((3 * ROWS, 5), |(at, step)| states[(at / 3, step, at % 3)]);
        let expected = statistics(&columns);
        check("first.batch_norm1", &expected);
        let [mean, variance] = expected;
        let (count, [gamma, beta]) =
            ((3 * ROWS) as f64, ["gamma", "beta"].map(|name| of(&format!("first.batch_norm1.{name}"))));
        let scale = |step: usize| gamma[step] / (variance[step] * (count - 1.0) / count + 1e-5).sqrt();
        let keep = of("y.scan1.keep")[0];
        let ends = Array2::from_shape_fn((ROWS, 3), |(row, i)| {
            let normal = |step: usize| (states[(row, step, i)] - mean[step]) * scale(step) + beta[step];
            (0..usize::from(n[row])).fold(0.0, |h, step| keep * h + normal(step))
        });
        check("y.batch_norm1", &statistics(&ends));
        if max_batch == ROWS {
            all.push(everything(&net));
        }
    }
    assert!(all.iter().all(|one| *one == all[0]), "threads change no bit");
}

network! {
    /// A layer with a state, a loop of one's own, and one inside of that.
    Timed<x: [B, 6, 8] -> y: [B, 16]> {
        Lstm(16, bias = false),
        scan(last = true) |x, h| {
            let words = reshape(x, [B, 2, 8]) -> scan(3, last = true) |w, s| { (w, s) -> concat, Dense(3, bias = false), tanh };
            let next = (x, words, h) -> concat, Dense(16, bias = false), tanh;
            next
        },
    }
    loss(t: [B, 16]) = mse(y, t);

    /// Many steps, so that one of them is nothing beside all.
    Long<x: [B, 500, 8] -> y: [B, 32]> { Gru(32, last = true) }
    loss(t: [B, 32]) = mse(y, t);
}

fn of_layer<'p>(profile: &'p Profile, name: &str) -> &'p gradloom::LayerProfile {
    let found = profile.layers.iter().find(|layer| layer.layer == name);
    found.unwrap_or_else(|| panic!("{name} is part of\n{profile}"))
}

#[test]
fn the_work_of_a_loop_is_that_of_all_its_steps() {
    let mut net = Timed::trainer(Sgd::new(0.1)).max_batch(16).seed(1).build().expect("it builds");
    let (x, t) = (normal((10, 6, 8), 1), Array2::zeros((10, 16)));
    net.step(x.view(), t.view()).expect("it fits");
    let before = everything(&net);
    let profile = net.profile(x.view(), t.view()).expect("it fits");
    assert_eq!(everything(&net), before, "the session is as it was");
    for name in ["lstm1", "scan1.words.scan1.dense1", "scan1.next.dense1"] {
        let layer = of_layer(&profile, name);
        assert!(layer.forward.seconds > 0.0 && layer.backward.seconds > 0.0 && layer.update.seconds > 0.0, "{layer:?}");
    }
    // With 10 rows: a product of [60, 8] and [8, 64] before the first loop, and one of [10, 16] and [16, 64] in each of its steps;
    // 20 operations for each number of the state, as the summary counts them.
    let lstm = of_layer(&profile, "lstm1").forward.flops;
    let products = 2.0 * 60.0 * (8.0 + 16.0) * 64.0;
    assert!(lstm > products && lstm < products + 60.0 * 16.0 * 30.0, "{lstm} operations, {products} in products");
    // A product of [10, 35] and [35, 16] in each step of the second, and two of [10, 11] and [11, 3].
    assert_eq!(of_layer(&profile, "scan1.next.dense1").forward.flops, 6.0 * 2.0 * 10.0 * 35.0 * 16.0);
    assert_eq!(of_layer(&profile, "scan1.words.scan1.dense1").forward.flops, 2.0 * 6.0 * 2.0 * 10.0 * 11.0 * 3.0);
    // One of two sessions was profiled, and both go on alike.
    let mut other = Timed::trainer(Sgd::new(0.1)).max_batch(16).seed(1).build().expect("it builds");
    other.step(x.view(), t.view()).expect("it fits");
    let losses = [&mut net, &mut other].map(|net| net.step(x.view(), t.view()).expect("it fits").loss.to_bits());
    assert_eq!(losses[0], losses[1]);
    assert_eq!(everything(&net), everything(&other));
}

#[test]
fn the_time_of_a_loop_is_that_of_all_its_steps() {
    let mut net = Long::trainer(Sgd::new(0.1)).max_batch(16).build().expect("it builds");
    let (x, t) = (normal((16, 500, 8), 1), Array2::zeros((16, 32)));
    let profile = net.profile(x.view(), t.view()).expect("it fits");
    for kernel in &profile.kernels {
        // Nothing is twenty times as fast as the machine is, as a single step would be.
        assert!(kernel.work.of_roofline(&profile.peak) < 20.0, "{kernel:?}");
    }
    let kernels: f64 = profile.kernels.iter().map(|kernel| kernel.work.seconds).sum();
    assert!(kernels > 0.3 * profile.step, "{profile:#}");
}
