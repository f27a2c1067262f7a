//! Sessions of networks with a loop in the body of a loop: what diagnostics say of both, checks of gradients, statistics after them, and
//! evaluation in pieces.

use gradloom::ndarray::{Array1, Array2, Array4, Axis, s};
use gradloom::{Sgd, network};
use gradloom_runtime::init::Random;

use crate::bound::Bound;
use crate::checkpoint::everything;

network! {
    /// States that shrink by one factor with each word of a sentence.
    Fading<x: [B, 6, 3, 2] -> y: [B, 2]> {
        scan(2, last = true) |words, h| { words -> scan(initial = h, last = true) |word, s, keep = 0.5| keep * s + word }
    }
    loss = sum(y);

    /// Statistics before and after both loops; the values that the later ones are of.
    Read<(x: [B, 3, 4, 2], n: [u8; B]) -> (seen: [B, 3], y: [B, 2])> {
        let normal = x -> Standardize;
        seen = normal -> scan(3, last = true, lengths = n) |words, h, mix = 0.5| {
            let start = mix * h;
            let read = words -> scan(3, last = true, initial = start, lengths = n) |word, s| { (word, s, h) -> concat, Dense(3), tanh };
            (read, h) -> concat, Dense(3), Dropout(0.25), tanh
        };
        y = seen -> BatchNorm, Dense(2);
    }
    loss(t: [B, 2]) = mse(y, t);
    metric worst = max(abs(y - t));
}

fn drawn(shape: (usize, usize, usize, usize), seed: u64) -> Array4<f32> {
    let mut random = Random::new(seed, 1);
    Array4::from_shape_simple_fn(shape, || random.normal() as f32)
}

#[test]
fn a_gradient_goes_through_all_steps_inside_of_each_step() {
    let mut net = Fading::trainer(Sgd::new(0.1)).max_batch(3).build().expect("it builds");
    let said = net.diagnose(Array4::ones((3, 6, 3, 2)).view(), ()).expect("the batch fits");
    let outer = said.layer("scan1").unwrap_or_else(|| panic!("it is measured in\n{said}"));
    // Six numbers, and an eighth of their gradient for each sentence after the state.
    let wanted: Vec<f32> = (0..6).map(|step| (6.0_f64.sqrt() * 0.125_f64.powi(5 - step)) as f32).collect();
    assert_eq!(outer.state_gradients.as_ref(), Some(&wanted), "{said}");
    let inner = said.layer("scan1.scan1").unwrap_or_else(|| panic!("it is measured in\n{said}"));
    assert!(inner.gradient.is_some_and(|size| size > 0.0), "{said}");
    // Its states are others at each step of the loop around.
    assert!(inner.state_gradients.is_none() && inner.output_gradient.is_none(), "{said}");
}

#[test]
fn gradients_through_loops_inside_of_loops_pass_their_check() {
    let (x, n, t) = (drawn((4, 3, 4, 2), 1), Array1::from_vec(vec![0u8, 1, 3, 2]), Array2::ones((4, 2)));
    let mut net = Read::trainer(Sgd::new(0.1)).max_batch(4).seed(3).build().expect("it builds");
    for _ in 0..3 {
        net.step((x.view(), n.view()), t.view()).expect("it runs");
    }
    let report = net.gradcheck((x.view(), n.view()), t.view()).expect("it runs");
    assert!(report.passed(), "{report}");
    for name in ["seen.scan1.mix", "seen.scan1.read.scan1.dense1.weight", "seen.scan1.dense1.bias"] {
        assert!(
            report.get(name).is_some_and(|param| param.moved > 0 && param.symbolic.worst < 1e-6),
            "{name} in\n{report}"
        );
    }
}

#[test]
fn statistics_after_loops_inside_of_loops_are_those_of_all_rows() {
    const ROWS: usize = 50;
    let (x, n) = (drawn((ROWS, 3, 4, 2), 2), Array1::from_shape_fn(ROWS, |row| (row % 4) as u8));
    let mut all = Vec::new();
    for (max_batch, threads) in [(ROWS, 1), (ROWS, 3), (16, 1), (7, 2)] {
        let trainer = Read::trainer(Sgd::new(0.1)).max_batch(max_batch).threads(threads).seed(3);
        let mut net = trainer.build().expect("it builds");
        net.recalibrate((x.view(), n.view())).expect("any number of rows");
        let mut seen = Array2::<f64>::zeros((ROWS, 3));
        for from in (0..ROWS).step_by(max_batch) {
            let rows = from..(from + max_batch).min(ROWS);
            let found = net.predict((x.slice(s![rows.clone(), .., .., ..]), n.slice(s![rows.clone()])));
            seen.slice_mut(s![rows, ..]).assign(&found.expect("it fits").seen.mapv(f64::from));
        }
        assert!(seen.var_axis(Axis(0), 0.0).iter().all(|&variance| variance > 1e-3), "{seen}");
        let expected = [
            ("running_mean", seen.mean_axis(Axis(0)).expect("there are rows")),
            ("running_var", seen.var_axis(Axis(0), 1.0)),
        ];
        for (name, expected) in expected {
            let found = net.param(&format!("y.batch_norm1.{name}")).expect("it is kept");
            let found: Vec<f64> = found.iter().map(|&x| x.into()).collect();
            let bound = Bound { relative: 1e-5, absolute: 1e-6 };
            bound.check(name, &found, expected.as_slice().expect("in a row"));
        }
        if max_batch == ROWS {
            all.push(everything(&net));
        }
    }
    assert!(all[0] == all[1], "threads change no bit");
}

#[test]
fn an_evaluation_in_pieces_is_that_of_all_rows() {
    const ROWS: usize = 50;
    let (x, n) = (drawn((ROWS, 3, 4, 2), 4), Array1::from_shape_fn(ROWS, |row| (row % 4) as u8));
    let t = Array2::from_shape_fn((ROWS, 2), |(row, at)| ((3 * row + at) % 7) as f32 / 3.0 - 1.0);
    let evaluate = |max_batch: usize, threads: usize| {
        let mut net =
            Read::trainer(Sgd::new(0.1)).max_batch(max_batch).threads(threads).seed(3).build().expect("it builds");
        let found = net.evaluate((x.view(), n.view()), t.view()).expect("it runs");
        [f64::from(found.loss), f64::from(found.worst)]
    };
    let expected = evaluate(ROWS, 1);
    for (max_batch, threads) in [(ROWS, 2), (16, 1), (7, 3), (1, 1)] {
        let bound = Bound { relative: 1e-6, absolute: 0.0 };
        bound.check(&format!("pieces of {max_batch}"), &evaluate(max_batch, threads), &expected);
    }
}
