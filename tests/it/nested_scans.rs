//! Loops of the user's own inside of others, with more steps than anybody would write out.

use gradloom::ndarray::{Array2, Array4, ArrayD};
use gradloom::{Fault, RunError, Sgd, network};

use crate::bound::Bound;
use crate::scans::{Case, ROWS, tanh};

network! {
    /// A loop of many steps at each step of another.
    Long<x: [B, 2, 400, 2] -> y: [B, 3]> {
        scan(3, last = true) |text, h| {
            let read = text -> scan(2, last = true) |word, s, keep = 0.9| {
                let seen = (word, s) -> concat, Dense(2), tanh;
                0.5 * s + 0.1 * keep * seen
            };
            (read, h) -> concat, Dense(3), tanh
        },
    }
    loss(t: [B, 3]) = mse(y, t);
}

#[test]
fn a_long_loop_inside_of_a_loop_is_its_steps_one_after_the_other() {
    let case = Case::of::<Long>();
    let x = case.input("x").as_floats();
    let mut expected = Vec::new();
    for row in 0..ROWS {
        let mut h = vec![0.0; 3];
        for text in 0..2 {
            let mut s = vec![0.0; 2];
            let keep = case.weight("scan1.read.scan1.keep").0[0];
            for word in 0..400 {
                let at = ((row * 2 + text) * 400 + word) * 2;
                let seen = tanh(&case.dense("scan1.read.scan1.seen.dense1", &[&x[at..at + 2], &s].concat()));
                s = seen.iter().zip(&s).map(|(seen, s)| 0.5 * s + 0.1 * keep * seen).collect();
            }
            h = tanh(&case.dense("scan1.dense1", &[s, h].concat()));
        }
        expected.extend(&h);
    }
    case.check(&expected);
    // As it is compiled, with gradients, whoever shares the rows.
    let (x, t) =
        (Array4::from_shape_vec((ROWS, 2, 400, 2), x.iter().map(|&x| x as f32).collect()), Array2::zeros((ROWS, 3)));
    let x = x.expect("it has as many");
    let mut all = Vec::new();
    for (max_batch, threads) in [(ROWS, 1), (ROWS, 2), (9, 3)] {
        let mut net = Long::trainer(Sgd::new(0.1)).max_batch(max_batch).threads(threads).build().expect("it builds");
        let names: Vec<String> = net.names().map(str::to_string).collect();
        for name in &names {
            let (found, _) = case.weight(name);
            let shape = net.param(name).expect("it is one of its parameters").raw_dim();
            let value = ArrayD::from_shape_vec(shape, found.iter().map(|&x| x as f32).collect());
            net.set_param(name, value.expect("it has as many").view()).expect("it fits");
        }
        let y = net.predict(x.view()).expect("it runs").to_owned();
        let bound = Bound { relative: 1e-4, absolute: 1e-5 };
        bound.check("compiled", &y.iter().map(|&y| y.into()).collect::<Vec<f64>>(), &expected);
        net.step(x.view(), t.view()).expect("it is finite");
        all.push((y, crate::train::state(&net)));
    }
    assert!(all.iter().all(|one| *one == all[0]), "neither threads nor the largest batch change a bit");
}

network! {
    /// A state that grows a thousandfold with every word of a sentence.
    Louder<x: [B, 3, 5, 1] -> y: [B, 3, 1]> {
        scan(1) |words, h| { let said = words -> scan(last = true) |word, s, gain = 1000.0| gain * s + word; 0.5 * h + said },
    }
    loss = mean(y);
}

#[test]
fn a_number_that_is_not_finite_is_named_with_its_step_in_every_loop() {
    let mut net = Louder::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let mut x = Array4::zeros((2, 3, 5, 1));
    x[(1, 2, 1, 0)] = 1e34f32;
    let error = net.step(x.view(), ()).expect_err("it overflows");
    let RunError::NotFinite { fault: Some(fault), .. } = &error else { panic!("{error:?}") };
    let Fault::Made { layer, steps, element, .. } = &**fault else { panic!("{error:?}") };
    // The third sentence; a thousand times as much with the third word, and beyond all numbers with the fourth.
    assert_eq!((layer.as_str(), &steps[..], &element[..]), ("scan1.said.scan1.next", &[2, 3][..], &[1, 0][..]));
    assert!(error.to_string().contains("of `scan1.said.scan1.next` at step 2, in it at step 3 ("), "{error}");
}
