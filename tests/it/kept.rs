//! What depends on parameters alone is made once, and made anew when they change: with the bits of what is made in every run.

use std::cell::{Cell, RefCell};
use std::fs;

use gradloom::ndarray::{Array, Array1, Array2, ArrayD, Axis, Dimension, Ix4, s};
use gradloom::{Adam, Dataset, NameMap, Network, Predictor, Progress, Session, Sgd, Stage, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::ir::{Builder, Graph, Role};
use gradloom_runtime::kernel::WinogradUse;
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::network::Definition;
use gradloom_runtime::tiling::Keep;
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::checkpoint::folder;
use crate::compiled::{Compiled, with_isa, with_kept, with_winograd};
use crate::{draw, handmade};

network! {
    /// Has everything that is kept: factors of batch norm, transformed taps, a right operand that is rearranged.
    pub Images<image: [B, 16, 8, 8] -> y: [B, 3]> {
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu, Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu,
        max_pool(2), flatten, Dense(1024), relu, Dense(3),
    }
    loss(target: [B, 3]) = mse(y, target);
}

network! {
    /// Products of several kinds.
    pub Chain<x: [B, 37] -> y: [B, 5]> {
        Dense(130, bias = false), BatchNorm, tanh, Dense(70), LayerNorm, relu, Dense(33), sigmoid, Dense(5),
    }

    /// A product at every step.
    pub Recurrent<x: [B, 5, 20] -> y: [B, 5, 40]> { Lstm(40) }

    /// Products of every position.
    pub Attentive<x: [B, 6, 32] -> y: [B, 6, 32]> {
        residual { LayerNorm, Attention(4, causal = true) }, residual { LayerNorm, Dense(48), relu, Dense(32) },
    }
}

/// A product of two parameters, its transpose, and a sum over a parameter: what only parameters go into.
fn constants() -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(40)])));
    let [u, v, w] = [("u", [60, 12]), ("v", [12, 40]), ("w", [60, 50])]
        .map(|(name, shape)| handmade::parameter(&mut b, name, &shape));
    let low = b.dot(u, v, false, false);
    let y = b.dot(x, low, false, true);
    let bent = b.tanh(y);
    let shape = b.shape(bent);
    let total = b.sum(w, &[1]);
    let total = b.broadcast(total, &shape, &[1]);
    let moved = b.add(bent, total);
    let z = b.dot(moved, w, false, false);
    handmade::output(&mut b, Role::Output(0), moved);
    handmade::output(&mut b, Role::Output(1), z);
    b.finish()
}

fn graphs() -> Vec<(&'static str, Graph)> {
    let of = |definition: &'static Definition<'static>| simplified(definition, Purpose::Predict).expect("it is sound");
    vec![
        ("images", of(Images::declared())),
        ("chain", of(Chain::declared())),
        ("recurrent", of(Recurrent::declared())),
        ("attentive", of(Attentive::declared())),
        ("constants", constants()),
    ]
}

/// Every instruction set, one thread and three, few rows and many, with and without what is optional.
#[test]
fn what_is_kept_changes_no_bit() {
    for (name, graph) in graphs() {
        let mut kept = 0;
        for (isa, threads) in Isa::available().into_iter().flat_map(|isa| [1, 3].map(|threads| (isa, threads))) {
            let compile = |keep, packs| {
                let new = || Compiled::for_threads(&graph, 150, threads);
                with_isa(isa, || with_winograd(WinogradUse::Everywhere, || with_kept(keep, packs, new)))
            };
            let mut plain = compile(Keep::Nothing, true);
            let mut others = [(Keep::WherePays, true), (Keep::Everything, true), (Keep::Everything, false)]
                .map(|(keep, packs)| compile(keep, packs));
            assert_eq!(plain.kept_lens(), [0, 0]);
            kept += others[1].kept_lens().iter().sum::<usize>();
            for batch in [1, 5, 13, 129, 150] {
                let values = draw::values(&graph, batch, 3);
                let expected = plain.run(batch, &values).bits();
                for (number, other) in others.iter_mut().enumerate() {
                    let what = format!("{name}, {batch} rows, {isa:?}, {threads} threads, way {number}");
                    assert_eq!(other.run(batch, &values).bits(), expected, "{what}");
                }
            }
        }
        assert!(kept > 0, "{name} keeps something");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_kept_lies_in_its_own_memory() {
    for (name, graph) in graphs() {
        for (isa, threads) in Isa::available().into_iter().flat_map(|isa| [1, 3].map(|threads| (isa, threads))) {
            let new = || Compiled::for_threads(&graph, 40, threads);
            let kept = || with_kept(Keep::Everything, true, new);
            let mut compiled = with_isa(isa, || with_winograd(WinogradUse::Everywhere, kept));
            for batch in [1, 7, 40] {
                let values = draw::values(&graph, batch, 3);
                let expected = compiled.run(batch, &values).bits();
                for after in [true, false] {
                    let beside = compiled.run_beside_pages(batch, &values, after).bits();
                    assert_eq!(beside, expected, "{name}, {batch} rows, {isa:?}, {threads} threads");
                }
            }
        }
    }
}

const ROWS: usize = 40;

fn rows() -> (Array<f32, Ix4>, Array2<f32>) {
    let x = Array::from_shape_fn((ROWS, 16, 8, 8), |(b, c, y, x)| {
        ((7 * b + 3 * c + 5 * y + 11 * x) % 17) as f32 / 17.0 - 0.5
    });
    (x, Array2::from_shape_fn((ROWS, 3), |(b, c)| ((b + c) % 3) as f32))
}

fn session(threads: usize) -> Session<Images> {
    let trainer = Images::trainer(Adam::new(1e-3)).max_batch(ROWS).threads(threads).seed(1);
    trainer.build().expect("it builds")
}

fn bits<D: Dimension>(y: gradloom::ndarray::ArrayView<'_, f32, D>) -> Vec<u32> {
    y.iter().map(|y| y.to_bits()).collect()
}

/// Few rows and many, each twice: what is optional is there the second time at the latest.
fn predicted(mut predict: impl FnMut(gradloom::ndarray::ArrayView4<'_, f32>) -> Vec<u32>) -> Vec<Vec<u32>> {
    let (x, _) = rows();
    let parts = [1, ROWS, 30, 1, 30, ROWS];
    parts.map(|rows| predict(x.slice(s![..rows, .., .., ..]))).to_vec()
}

fn of_session(net: &mut Session<Images>) -> Vec<Vec<u32>> {
    predicted(|x| bits(net.predict(x).expect("the batch fits")))
}

fn of_predictor(net: &mut Predictor<Images>) -> Vec<Vec<u32>> {
    predicted(|x| bits(net.predict(x).expect("the batch fits")))
}

/// What a predictor gives that has never seen other parameters.
fn fresh(net: &Session<Images>) -> Vec<Vec<u32>> {
    of_predictor(&mut Images::predictor().max_batch(ROWS).build_from(net).expect("it builds"))
}

/// All ways in which parameters of a session change, each between predictions.
#[test]
fn no_session_predicts_with_what_was_made_of_other_parameters() {
    let path = folder("kept").join("kept.safetensors");
    let (x, target) = rows();
    type Change<'a> = (&'static str, Box<dyn Fn(&mut Session<Images>) + 'a>);
    let step = |net: &mut Session<Images>| _ = net.step(x.view(), target.view()).expect("the batch fits");
    let mut other = session(1);
    step(&mut other);
    other.save(&path).expect("it can be written");
    let renamed = NameMap::new();
    let changes: Vec<Change<'_>> = vec![
        ("step", Box::new(step)),
        (
            "accumulated gradients",
            Box::new(|net| {
                net.accumulate(x.view(), target.view()).expect("the batch fits");
                net.update().expect("something was accumulated");
            }),
        ),
        (
            "weight of a product",
            Box::new(|net| {
                let weight = net.param("dense1.weight").expect("it is one").mapv(|x| -x);
                net.set_param("dense1.weight", weight.view()).expect("it has this shape");
            }),
        ),
        (
            "taps",
            Box::new(|net| {
                let weight = net.param("conv2.weight").expect("it is one").mapv(|x| 0.5 - x);
                net.set_param("conv2.weight", weight.view()).expect("it has this shape");
            }),
        ),
        (
            "running statistic",
            Box::new(|net| {
                let variance = Array1::from_elem(16, 0.7);
                net.set_param("batch_norm2.running_var", variance.view()).expect("it has this shape");
            }),
        ),
        ("recalibration", Box::new(|net| net.recalibrate(x.view()).expect("there are rows"))),
        ("checkpoint", Box::new(|net| net.load(&path).expect("it can be read"))),
        ("step once more", Box::new(step)),
        ("parameters of a file", Box::new(|net| net.load_params(&path).expect("it can be read"))),
        ("step after that", Box::new(step)),
        ("parameters by name", Box::new(|net| net.load_mapped(&path, &renamed).expect("it can be read"))),
    ];
    for threads in [1, 2] {
        let mut net = session(threads);
        let mut before = of_session(&mut net);
        for (name, change) in &changes {
            change(&mut net);
            let after = of_session(&mut net);
            assert_eq!(after, fresh(&net), "{name}, {threads} threads");
            assert_ne!(after, before, "{name} changes predictions");
            assert_eq!(of_session(&mut net), after, "{name}: and again");
            before = after;
        }
    }
    fs::remove_dir_all(path.parent().expect("it is in a folder")).expect("it was made here");
}

#[test]
fn predictions_between_epochs_and_after_the_way_back_to_the_best_one_are_of_their_parameters() {
    let (x, target) = rows();
    let (mut net, mut data) = (session(1), Dataset::new(x, target).expect("rows agree"));
    let (seen, epochs) = (RefCell::new(Vec::new()), Cell::new(0.0));
    let history = net
        .fit(&mut data)
        .epochs(3)
        // The second epoch is the best.
        .minimize(|_| {
            epochs.set(epochs.get() + 1.0_f32);
            (epochs.get() - 2.0).abs()
        })
        .restore_best(true)
        .on_epoch(|net, _| {
            let predicted = of_session(net);
            assert_eq!(predicted, fresh(net));
            seen.borrow_mut().push(predicted);
        })
        .progress(Progress::Quiet)
        .run()
        .expect("it trains");
    assert!(history.restored);
    let seen = seen.into_inner();
    assert_ne!(seen[1], seen[2]);
    assert_eq!(of_session(&mut net), seen[1]);
}

#[test]
fn a_refused_step_leaves_predictions_as_they_were() {
    let (x, target) = rows();
    let trainer = Images::trainer(Sgd::new(1e30)).max_batch(ROWS).sentinel(true).seed(1);
    let mut net = trainer.build().expect("it builds");
    let before = of_session(&mut net);
    let wrong = target.mapv(|_| f32::NAN);
    net.step(x.view(), wrong.view()).map(drop).expect_err("the loss is not finite");
    assert_eq!(of_session(&mut net), before);
    assert_eq!(of_session(&mut net), fresh(&net));
}

#[test]
fn no_predictor_predicts_with_what_was_made_of_other_parameters() {
    let path = folder("kept_predictor").join("kept.safetensors");
    let (x, target) = rows();
    let mut net = session(1);
    let mut predictor = net.predictor().expect("it builds");
    let (first, mut early) = (of_predictor(&mut predictor), predictor.clone());
    assert_eq!(first, of_session(&mut net));
    net.step(x.view(), target.view()).expect("the batch fits");
    assert_eq!(of_predictor(&mut predictor), first, "a session's step is not the predictor's");
    for name in ["dense1.weight", "conv2.weight", "batch_norm2.running_var", "batch_norm1.gamma"] {
        let before = of_predictor(&mut predictor);
        let shifted: ArrayD<f32> = predictor.param(name).expect("it is one").mapv(|x| 0.25 + x);
        predictor.set_param(name, shifted.view()).expect("it has this shape");
        let mut other = session(1);
        for name in predictor.names().map(str::to_string).collect::<Vec<String>>() {
            other.set_param(&name, predictor.param(&name).expect("it is one")).expect("it has this shape");
        }
        let after = of_predictor(&mut predictor);
        assert_eq!(after, fresh(&other), "{name}");
        assert_ne!(after, before, "{name}");
        // Now nobody else has these parameters: they are changed where they lie.
        predictor.set_param(name, shifted.mapv(|x| x - 0.25).view()).expect("it has this shape");
    }
    net.save(&path).expect("it can be written");
    predictor.load(&path).expect("it can be read");
    assert_eq!(of_predictor(&mut predictor), fresh(&net));
    assert_eq!(of_predictor(&mut early), first, "an earlier clone keeps what it has");
    fs::remove_dir_all(path.parent().expect("it is in a folder")).expect("it was made here");
}

#[test]
fn clones_share_what_is_made_in_any_of_their_threads() {
    let mut net = session(1);
    let predictor = net.predictor().expect("it builds");
    let expected = of_session(&mut net);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let (mut own, expected) = (predictor.clone(), &expected);
            scope.spawn(move || assert_eq!(of_predictor(&mut own), *expected));
        }
    });
}

#[test]
fn rows_are_taken_as_many_at_a_time_as_there_is_room_for() {
    let mut net = session(1);
    let (x, _) = rows();
    let whole = bits(net.predict(x.view()).expect("the batch fits"));
    for max_batch in [1, 7, 30, 100] {
        let mut other = Images::predictor().max_batch(max_batch).build_from(&net).expect("it builds");
        for _ in 0..2 {
            let predicted = bits(other.predict(x.view()).expect("any number of rows"));
            assert_eq!(predicted, whole, "{max_batch} at a time");
        }
    }
    let one: Vec<u32> =
        x.axis_iter(Axis(0)).flat_map(|x| bits(net.predict(x.insert_axis(Axis(0))).expect("one"))).collect();
    assert_eq!(one, whole);
}

#[test]
fn the_plan_says_what_is_kept_and_why() {
    let text = Images::predictor().max_batch(ROWS).ir(Stage::Plan);
    assert_snapshot!(text);
}
