//! Loops of the user's own: networks as they are written, against the same loops written out.

use std::collections::HashSet;

use gradloom::ndarray::{Array1, Array2, Array3, Axis, s};
use gradloom::{Adam, Network, Sgd, SizesOf, Stage, network};
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Graph, Role};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::{check, lower, trainable};
use gradloom_runtime::network::Definition;
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::oracle::agreement::{Verdict, agree};
use crate::{draw, finite_difference};

network! {
    /// The minimal gated unit of Zhou et al. 2016.
    Gated<x: [B, 4, 3] -> y: [B, 4, 5]> {
        scan(5) |x, h| {
            let f = (x, h) -> concat, Dense(5), sigmoid;
            let new = (x, f * h) -> concat, Dense(5), tanh;
            (1.0 - f) * h + f * new
        },
    }
    loss(t: [B, 4, 5]) = mse(y, t);

    /// An exponential moving average.
    Average<x: [B, 6, 3] -> y: [B, 3]> { scan(last = true) |x, h, decay = 0.9| decay * h + (1.0 - decay) * x }
    loss(t: [B, 3]) = mse(y, t);

    /// A linear state-space layer.
    StateSpace<x: [B, 5, 2] -> y: [B, 5, 3]> {
        scan(4) |x, h| {
            let kept = h -> Dense(4, bias = false);
            let added = x -> Dense(4, bias = false);
            kept + added
        },
        Dense(3, bias = false),
    }
    loss(t: [B, 5, 3]) = mse(y, t);

    /// An ordinary differential equation, by the method of Euler.
    Euler<(u: [B, 6, 2], start: [B, 3]) -> end: [B, 3]> {
        end = u -> scan(last = true, initial = start) |u, s| {
            let slope = (s, u) -> concat, Dense(4), tanh, Dense(3);
            s + 0.1 * slope
        };
    }
    loss(t: [B, 3]) = mse(end, t);

    /// Rows of different lengths, from the last position.
    Ragged<(x: [B, 4, 2], n: [u8; B]) -> (states: [B, 4, 3], end: [B, 3])> {
        let start = x[.., 0, ..] -> Dense(3);
        states = x -> scan(3, reverse = true, initial = start, lengths = n) |x, h| { (x, h) -> concat, Dense(3), tanh };
        end = x -> scan(3, last = true, lengths = n) |x, h| { (x, h) -> concat, Dense(3), tanh };
    }
    loss(t: [B, 3]) = mse(end, t) + mean(square(states));
}

network! {
    block Cell(n) {
        scan(n) |x, h, scale = 0.5| {
            let (a, b) = (x, h) -> concat, Dense(2 * n) as both, split;
            scale * a * tanh(b) + h
        }
    }
    act bent = |x, slope = 0.3| if x > 0.0 { x } else { slope * x };

    /// Two directions side by side.
    Both<x: [B, 5, 3] -> y: [B, 2]> {
        let ahead = x -> scan(4) |x, h| { (x, h) -> concat, Dense(4), tanh };
        let back = x -> scan(4, reverse = true) |x, h| { (x, h) -> concat, Dense(4), tanh };
        let all = (ahead, back) -> concat;
        y = max(all, axis = 1) -> Dense(2);
    }
    loss(t: [B, 2]) = mse(y, t);

    /// Loops above one another, from a block, with all that a body may have.
    Stacked<x: [B, 4, 3] -> y: [B, 4, 3]> {
        repeat(2) { residual { Cell(3), Dropout(0.25) } },
        scan |x, h| {
            let seen = x -> LayerNorm, Dropout(0.5), residual { Dense(3) as inner, bent } as around;
            let kept = if h > x { h } else { seen + h * around.inner * seen.layer_norm1.gamma };
            (kept, seen) -> concat, repeat(2) { Dense(3), bent }, |x| x * 0.5
        } as last,
    }
    loss(t: [B, 4, 3]) = mse(y, t) + mean(square(last)) + mean(square(last.repeat1.1.dense1.weight));

    /// Values from outside, layers that others share, elements of more axes.
    Outside<(x: [B, 3, 4, 2], gain: [B, 4, 3]) -> (y: [B, 3, 4, 3], z: [B, 4, 3])> {
        layer mix = { Dense(3), tanh };
        let first = x[.., 0, .., ..] -> mix;
        y = x -> scan(initial = first) |element, state| {
            let x = element -> mix;
            gain * x + state * first * mix.dense1.bias
        };
        layer run = scan(initial = first, last = true) |element, state, g = 0.5| g * gain * state + sum(element, axis = -1, keep = true);
        let once = x -> run;
        let twice = y[.., .., .., ..2] -> run;
        z = once + twice;
    }
    loss(t: [B, 4, 3]) = mse(z, t) + mean(square(y));
}

network! {
    block Words(n) { scan(n, last = true, reverse = true) |word, s, keep = 0.5| { let seen = (word, s) -> concat, Dense(n); keep * tanh(seen) } }

    /// A loop over sentences, in which a loop goes over their words.
    Sentences<x: [B, 3, 4, 2] -> y: [B, 3, 5]> {
        scan(5) |sentence, h| {
            let words = sentence -> scan(3, last = true) |word, s, keep = 0.5| {
                let seen = (word, h) -> concat, Dense(3);
                tanh(seen + keep * s)
            };
            (words, h) -> concat, Dense(5), tanh
        },
    }
    loss(t: [B, 3, 5]) = mse(y, t);

    /// Layers with a state in the body of a loop.
    Read<x: [B, 3, 4, 2] -> y: [B, 4]> {
        scan(4, last = true, reverse = true) |sentence, h| {
            let read = sentence -> Lstm(3, reverse = true), Dropout(0.25), Gru(4, initial = h, last = true);
            0.5 * h + read
        },
    }
    loss(t: [B, 4]) = mse(y, t);

    /// Three inside one another, with states and lengths from outside, sequences that are made in the body, and a block.
    Books<(x: [B, 2, 3, 2, 2], n: [u8; B], first: [B, 3]) -> y: [B, 2, 3]> {
        y = x -> scan(initial = first) |chapter, h, rate = 0.5| {
            let all = chapter -> scan(initial = h, lengths = n) |sentence, g, twice = 2.0| {
                let words = sentence -> Words(3);
                let others = sentence -> Rnn(3, initial = g), |x| 0.5 * x, scan(initial = words) |e, s| tanh(e + s * g * h * rate);
                twice * words + g + others[.., 1, ..]
            };
            let again = all -> scan(2) |e, s| { (e, s) -> concat, Dense(2) };
            rate * mean(all, axis = 1) + 0.1 * mean(again, axis = [1, 2], keep = true)[.., 0, ..]
        };
    }
    loss(t: [B, 2, 3]) = mse(y, t);
}

network! {
    /// Values without a name of their own, beside others that have the names which those would get.
    Alike<x: [B, 3, 2] -> y: [B, 3, 2]> {
        scan |x, h| { let next = x -> Dense(2); next + h },
        scan |x, next, next_2 = 0.5| next * next_2 + x,
        scan |x, h| {
            let from1 = x * h;
            let from2 = from1 -> Dense(2);
            (2.0 * x, from1 + 1.0, from2) -> concat, Dense(2)
        },
    }
    loss(t: [B, 3, 2]) = mse(y, t);
}

pub(crate) const ROWS: usize = 3;
const BOUND: Bound = Bound { relative: 1e-12, absolute: 1e-13 };

/// A network with values for everything in it.
pub(crate) struct Case {
    graph: Graph,
    values: Values,
}

impl Case {
    pub(crate) fn of<N: Network>() -> Case {
        let graph = lower(N::declared(), Mode::Infer).expect("it compiles");
        let values = draw::values(&graph, ROWS, 5);
        Case { graph, values }
    }

    pub(crate) fn input(&self, name: &str) -> &Tensor {
        let index = self.graph.slots.inputs.iter().position(|slot| slot.name == name);
        &self.values.inputs[index.expect("there is one")]
    }

    /// A matrix, by rows.
    pub(crate) fn weight(&self, name: &str) -> (&[f64], usize) {
        let index = self.graph.slots.params.iter().position(|slot| slot.name == name);
        let tensor = &self.values.params[index.unwrap_or_else(|| panic!("there is no {name}"))];
        (tensor.as_floats(), tensor.shape.last().copied().unwrap_or(1))
    }

    /// `x W`, or `x W + b` where there is a bias.
    pub(crate) fn dense(&self, path: &str, x: &[f64]) -> Vec<f64> {
        let (weight, columns) = self.weight(&format!("{path}.weight"));
        let bias = format!("{path}.bias");
        let has_bias = self.graph.slots.params.iter().any(|slot| slot.name == bias);
        let sum = |column: usize| {
            let products = x.iter().enumerate().map(|(row, x)| x * weight[row * columns + column]);
            products.sum::<f64>() + if has_bias { self.weight(&bias).0[column] } else { 0.0 }
        };
        (0..columns).map(sum).collect()
    }

    /// The elements of a row of an input `[B, T, n]`.
    fn elements(&self, name: &str, row: usize) -> Vec<Vec<f64>> {
        let x = self.input(name);
        let (steps, n) = (x.shape[1], x.shape[2]);
        x.as_floats()[row * steps * n..][..steps * n].chunks(n).map(<[f64]>::to_vec).collect()
    }

    /// Holds an output against the rows expected, and all gradients against differences.
    #[track_caller]
    pub(crate) fn check(&self, expected: &[f64]) {
        let evaluation = evaluate(&self.graph, Precision::F64, ROWS, &self.values);
        BOUND.check("values", evaluation.output(&Role::Output(0)).as_floats(), expected);
        self.check_gradients();
    }

    #[track_caller]
    fn check_gradients(&self) {
        let wanted: Vec<usize> = trainable(&self.graph).collect();
        finite_difference::check("gradients", &self.graph, ROWS, &self.values, &wanted, finite_difference::STEP);
    }
}

fn sigmoid(x: &f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn tanh(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x.tanh()).collect()
}

/// All states of a row.
fn states(elements: &[Vec<f64>], first: Vec<f64>, step: impl Fn(&[f64], &[f64]) -> Vec<f64>) -> Vec<Vec<f64>> {
    let mut state = first;
    let next = |x: &Vec<f64>| {
        state = step(x, &state);
        state.clone()
    };
    elements.iter().map(next).collect()
}

#[test]
fn a_gated_unit_is_its_steps_one_after_the_other() {
    let case = Case::of::<Gated>();
    let row = |row| {
        states(&case.elements("x", row), vec![0.0; 5], |x, h| {
            let f: Vec<f64> = case.dense("scan1.f.dense1", &[x, h].concat()).iter().map(sigmoid).collect();
            let gated: Vec<f64> = f.iter().zip(h).map(|(f, h)| f * h).collect();
            let new = tanh(&case.dense("scan1.new.dense1", &[x, &gated].concat()));
            (0..5).map(|at| (1.0 - f[at]) * h[at] + f[at] * new[at]).collect()
        })
    };
    case.check(&(0..ROWS).flat_map(row).flatten().collect::<Vec<f64>>());
}

#[test]
fn an_average_trains_its_decay() {
    let case = Case::of::<Average>();
    let decay = case.weight("scan1.decay").0[0];
    let row = |row| {
        let states = states(&case.elements("x", row), vec![0.0; 3], |x, h| {
            (0..3).map(|at| decay * h[at] + (1.0 - decay) * x[at]).collect()
        });
        states[5].clone()
    };
    case.check(&(0..ROWS).flat_map(row).collect::<Vec<f64>>());
}

#[test]
fn a_state_space_layer_is_linear_in_its_input() {
    let case = Case::of::<StateSpace>();
    let row = |row| {
        let states = states(&case.elements("x", row), vec![0.0; 4], |x, h| {
            let (kept, added) = (case.dense("scan1.kept.dense1", h), case.dense("scan1.added.dense1", x));
            kept.iter().zip(added).map(|(kept, added)| kept + added).collect()
        });
        states.iter().map(|h| case.dense("dense1", h)).collect::<Vec<_>>()
    };
    case.check(&(0..ROWS).flat_map(row).flatten().collect::<Vec<f64>>());
}

#[test]
fn an_equation_is_integrated_from_where_it_starts() {
    let case = Case::of::<Euler>();
    let row = |row| {
        let start = case.input("start").as_floats()[3 * row..][..3].to_vec();
        let states = states(&case.elements("u", row), start, |u, s| {
            let hidden = tanh(&case.dense("end.scan1.slope.dense1", &[s, u].concat()));
            let slope = case.dense("end.scan1.slope.dense2", &hidden);
            s.iter().zip(slope).map(|(s, slope)| s + 0.1 * slope).collect()
        });
        states[5].clone()
    };
    case.check(&(0..ROWS).flat_map(row).collect::<Vec<f64>>());
}

#[test]
fn a_row_has_as_many_steps_as_its_length_says() {
    let mut case = Case::of::<Ragged>();
    for lengths in [[0, 1, 4], [2, 3, 0], [4, 4, 4]] {
        let slot = case.graph.slots.inputs.iter().position(|slot| slot.name == "n").expect("there are lengths");
        case.values.inputs[slot] = Tensor::indices(&[ROWS], lengths.map(|n| n as u32).to_vec());
        let (mut all, mut last) = (Vec::new(), Vec::new());
        for (row, &length) in lengths.iter().enumerate() {
            let elements = &case.elements("x", row);
            let step = |path: &'static str| {
                let case = &case;
                move |x: &[f64], h: &[f64]| tanh(&case.dense(path, &[x, h].concat()))
            };
            let reversed: Vec<Vec<f64>> = elements[..length].iter().rev().cloned().collect();
            let start = case.dense("start.dense1", &elements[0]);
            let mut back = states(&reversed, start, step("states.scan1.dense1"));
            back.reverse();
            back.resize(4, vec![0.0; 3]);
            all.extend(back.concat());
            let ahead = states(&elements[..length], vec![0.0; 3], step("end.scan1.dense1"));
            last.extend(ahead.last().cloned().unwrap_or(vec![0.0; 3]));
        }
        case.check(&all);
        let evaluation = evaluate(&case.graph, Precision::F64, ROWS, &case.values);
        BOUND.check("last states", evaluation.output(&Role::Output(1)).as_floats(), &last);
    }
}

#[test]
fn loops_compute_what_their_declarations_say() {
    let all: [(&str, &'static Definition<'static>); 12] = [
        ("gated", Gated::declared()),
        ("average", Average::declared()),
        ("state space", StateSpace::declared()),
        ("euler", Euler::declared()),
        ("ragged", Ragged::declared()),
        ("both", Both::declared()),
        ("stacked", Stacked::declared()),
        ("outside", Outside::declared()),
        ("sentences", Sentences::declared()),
        ("read", Read::declared()),
        ("books", Books::declared()),
        ("alike", Alike::declared()),
    ];
    for (name, definition) in all {
        for seed in 0..3 {
            match agree(definition, 3, seed) {
                Ok(Verdict::Agrees { slopes, unknown, .. }) => {
                    assert!(slopes > 3 * unknown, "{name}, {seed}: {slopes} slopes are known, {unknown} not");
                }
                other => panic!("{name}, {seed}: {other:?}"),
            }
        }
    }
}

mod cells {
    gradloom::network! {
        pub block Cell(n, keep = 0.5) {
            scan(n) |x, h, kept = 0.5| { let new = (x, h) -> concat, Dense(n), tanh, Dropout(1 - keep); kept * h + keep * new }
        }
    }
}

network! {
    /// Sizes that are chosen, and a loop from elsewhere.
    Chosen(hidden: usize = 3, depth: usize = 2)<x: [B, 4, 2] -> y: [B, 1]> {
        repeat(depth) { cells::Cell(hidden, keep = 0.75) }, scan(2 * hidden, last = true) |x, h| { (x, h) -> concat, Dense(2 * hidden), tanh },
        Dense(1),
    }
    loss(t: [B, 1]) = mse(y, t);
}

#[test]
fn loops_have_sizes_that_are_chosen_and_come_from_elsewhere() {
    for hidden in [1, 3] {
        let definition = Chosen::definition(&SizesOf::<Chosen> { hidden, ..Default::default() });
        let verdict = agree(definition, 3, 1);
        assert!(matches!(verdict, Ok(Verdict::Agrees { .. })), "{verdict:?}");
        let graph = lower(definition, Mode::Train).expect("it compiles");
        let shape =
            |name: &str| graph.slots.params.iter().find(|slot| slot.name == name).map(|slot| slot.shape.clone());
        assert_eq!(shape("repeat1.2.cell1.scan1.new.dense1.weight"), Some(vec![2 * hidden, hidden]));
        assert_eq!(shape("scan1.dense1.weight"), Some(vec![3 * hidden, 2 * hidden]));
    }
}

network! {
    Plain<x: [B, 4, 2] -> y: [B, 4, 2]> { scan |x, h, a = 0.5| { let z = x -> Dense(2); a * h + z } }
    loss(t: [B, 4, 2]) = mse(y, t);

    OtherStart<x: [B, 4, 2] -> y: [B, 4, 2]> { scan |x, h, a = 0.75| { let z = x -> Dense(2); a * h + z } }
    loss(t: [B, 4, 2]) = mse(y, t);

    OtherWay<x: [B, 4, 2] -> y: [B, 4, 2]> { scan(reverse = true) |x, h, a = 0.5| { let z = x -> Dense(2); a * h + z } }
    loss(t: [B, 4, 2]) = mse(y, t);

    OtherValue<x: [B, 4, 2] -> y: [B, 4, 2]> { scan |x, h, a = 0.5| { let z = h -> Dense(2); a * h + z + x } }
    loss(t: [B, 4, 2]) = mse(y, t);

    OtherNext<x: [B, 4, 2] -> y: [B, 4, 2]> { scan |x, h, a = 0.5| { let z = x -> Dense(2); a * z + h } }
    loss(t: [B, 4, 2]) = mse(y, t);

    Outer<(x: [B, 4, 2], s: [B, 2], r: [B, 2]) -> y: [B, 4, 2]> {
        y = x -> scan(initial = s) |x, h, a = 0.5| { let z = x -> Dense(2); a * h + z + r };
    }
    loss(t: [B, 4, 2]) = mse(y, t);

    OtherInitial<(x: [B, 4, 2], s: [B, 2], r: [B, 2]) -> y: [B, 4, 2]> {
        y = x -> scan(initial = r) |x, h, a = 0.5| { let z = x -> Dense(2); a * h + z + s };
    }
    loss(t: [B, 4, 2]) = mse(y, t);
}

#[test]
fn a_loop_that_computes_something_else_has_another_identity() {
    let identity = |definition| gradloom_runtime::elaborate::elaborate(definition).0.identity();
    let plain = identity(Plain::declared());
    assert_eq!(identity(OtherStart::declared()), plain);
    let others = [OtherWay::declared(), OtherValue::declared(), OtherNext::declared()];
    assert!(others.into_iter().all(|other| identity(other) != plain));
    assert_ne!(identity(Outer::declared()), identity(OtherInitial::declared()));
    assert_snapshot!(plain.join("\n"), @"
    x: f32[B,4,2] -> y: f32[B,4,2]
    scan1.a = a, trained
    scan1.h = () -> state, zero before 4 steps
    scan1.x = (scan1.h, x) -> element of x
    scan1.z.dense1 = (scan1.x) -> Dense(2)
    scan1.next = () -> a * h + z
    scan1 = scan of scan1.next
    loss(t: f32[B,4,2]) = mse(y, t)
    ");
}

#[test]
fn what_is_inside_of_a_loop_is_measured_by_its_parameters() {
    let mut net = Stacked::trainer(Sgd::new(0.1)).max_batch(4).build().expect("it builds");
    let x = Array3::from_shape_fn((4, 4, 3), |(row, t, at)| ((row + 2 * t + 3 * at) % 5) as f32 - 2.0);
    let measured = net.diagnose(x.view(), x.view()).expect("it runs");
    let of = |path: &str| measured.layer(path).unwrap_or_else(|| panic!("`{path}` is measured in\n{measured}"));
    let inside = of("last.repeat1.1.dense1");
    assert!(inside.gradient.is_some_and(|size| size > 0.0) && inside.output_gradient.is_none(), "{measured}");
    assert!(of("last").output_gradient.is_some_and(|size| size > 0.0), "{measured}");
    assert!(of("repeat1.1.residual1.cell1.scan1").gradient.is_some(), "{measured}");
}

#[test]
fn networks_of_loops_train_as_they_are_written() {
    let x = Array3::from_shape_fn((8, 4, 3), |(row, t, at)| ((row * (t + 1) + at) % 5) as f32 / 2.0 - 1.0);
    let t = Array3::from_shape_fn((8, 4, 5), |(row, t, at)| x[[row, t / 2, at % 3]] * 0.5);
    let mut net = Gated::trainer(Adam::new(2e-2)).max_batch(8).build().expect("it builds");
    let first = net.step(x.view(), t.view()).expect("it runs").loss;
    let last = (0..200).fold(first, |_, _| net.step(x.view(), t.view()).expect("it runs").loss);
    assert!(last < 0.3 * first, "{last} after {first}");
    let [row, rest] = [0..1, 1..8].map(|rows| x.slice(s![rows, .., ..]).to_owned());
    let together = net.predict(x.view()).expect("it runs").to_owned();
    for (x, from) in [(row, 0), (rest, 1)] {
        let alone = net.predict(x.view()).expect("it runs");
        assert_eq!(alone, together.slice(s![from..from + x.dim().0, .., ..]));
    }
}

#[test]
fn every_kind_of_loop_learns() {
    let drawn = |shape: (usize, usize, usize)| {
        Array3::from_shape_fn(shape, |(row, t, at)| ((5 * row + 3 * t + 2 * at) % 7) as f32 / 3.0 - 1.0)
    };
    // What another decay has made of it.
    let x = drawn((8, 6, 3));
    let mut t = Array2::<f32>::zeros((8, 3));
    x.axis_iter(Axis(1)).for_each(|x| t = 0.4 * &t + 0.6 * &x);
    let mut net = Average::trainer(Adam::new(2e-2)).max_batch(8).build().expect("it builds");
    (0..300).for_each(|_| _ = net.step(x.view(), t.view()).expect("it runs"));
    let decay = net.param("scan1.decay").expect("it is trained")[[]];
    assert!((decay - 0.4).abs() < 1e-3, "{decay}");

    let (x, t) = (drawn((8, 5, 2)), drawn((8, 5, 3)).mapv(|t| 0.1 * t));
    let mut net = StateSpace::trainer(Adam::new(2e-2)).max_batch(8).build().expect("it builds");
    let first = net.step(x.view(), t.view()).expect("it runs").loss;
    let last = (0..300).fold(first, |_, _| net.step(x.view(), t.view()).expect("it runs").loss);
    assert!(last < 0.5 * first, "{last} after {first}");

    // A decay towards what comes in, from each start.
    let (u, start) = (drawn((8, 6, 2)), drawn((8, 1, 3)).index_axis_move(Axis(1), 0));
    let end = u.axis_iter(Axis(1)).fold(start.clone(), |s, u| &s - &(0.1 * &(&s - &u.slice(s![.., ..1]))));
    let mut net = Euler::trainer(Adam::new(2e-2)).max_batch(8).build().expect("it builds");
    let first = net.step((u.view(), start.view()), end.view()).expect("it runs").loss;
    let last = (0..300).fold(first, |_, _| net.step((u.view(), start.view()), end.view()).expect("it runs").loss);
    assert!(last < 0.1 * first, "{last} after {first}");
}

#[test]
fn all_paths_differ_in_a_body() {
    for definition in [Alike::declared(), Books::declared(), Stacked::declared()] {
        let network = check(definition).expect("it is sound");
        let mut paths = HashSet::new();
        let twice: Vec<&str> =
            network.steps.iter().map(|step| &*step.path).filter(|path| !paths.insert(*path)).collect();
        assert!(twice.is_empty(), "{twice:?} in\n{network}");
    }
    assert_snapshot!(Alike::ir(Stage::Static), @"
    network Alike<x: f32[B,3,2] -> y: f32[B,3,2]>
      scan1.h             state, zero before 3 steps                                            f32[B,2]
      scan1.x             element of x                                                          f32[B,2]
      scan1.next.dense1   Dense(2)                                                              f32[B,2]     6 parameters
      scan1.next_2        next + h                                                              f32[B,2]
      scan1               scan of scan1.next_2                                                  f32[B,3,2]
      scan2.next_2        next_2 = 0.5, trained                                                 f32[]        1 parameter
      scan2.next          state, zero before 3 steps                                            f32[B,2]
      scan2.x             element of scan1                                                      f32[B,2]
      scan2.next_3        next * next_2 + x                                                     f32[B,2]
      scan2               scan of scan2.next_3                                                  f32[B,3,2]
      scan3.h             state, zero before 3 steps                                            f32[B,2]
      scan3.x             element of scan2                                                      f32[B,2]
      scan3.from1         x * h                                                                 f32[B,2]
      scan3.from2.dense1  Dense(2)                                                              f32[B,2]     6 parameters
      scan3.from1_2       2 * x                                                                 f32[B,2]
      scan3.from2_2       from1 + 1                                                             f32[B,2]
      scan3.concat1       concat(axis = 1) of scan3.from1_2, scan3.from2_2, scan3.from2.dense1  f32[B,6]
      scan3.dense1        Dense(2)                                                              f32[B,2]    14 parameters
      scan3               scan of scan3.dense1                                                  f32[B,3,2]
      loss(t: f32[B,3,2]) = mse(y, t)
      27 parameters
    ");
}

#[test]
fn a_loop_inside_of_a_loop_goes_over_each_element() {
    let case = Case::of::<Sentences>();
    let x = case.input("x").as_floats();
    let mut expected = Vec::new();
    for row in 0..ROWS {
        let mut h = vec![0.0; 5];
        for sentence in 0..3 {
            let mut s = vec![0.0; 3];
            let keep = case.weight("scan1.words.scan1.keep").0[0];
            for word in 0..4 {
                let at = ((row * 3 + sentence) * 4 + word) * 2;
                let seen = case.dense("scan1.words.scan1.seen.dense1", &[&x[at..at + 2], &h].concat());
                s = seen.iter().zip(&s).map(|(seen, s)| (seen + keep * s).tanh()).collect();
            }
            h = tanh(&case.dense("scan1.dense1", &[s, h].concat()));
            expected.extend(&h);
        }
    }
    case.check(&expected);
}

#[test]
fn a_length_beyond_the_sequence_is_refused() {
    let mut net = Ragged::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let x = Array3::zeros((2, 4, 2));
    assert!(net.predict((x.view(), Array1::from_vec(vec![0, 4]).view())).is_ok());
    let refused = net.predict((x.view(), Array1::from_vec(vec![0, 5]).view())).map(|_| ());
    assert_snapshot!(refused.expect_err("there are four positions"), @"`n` has class id 5 in row 1, but there are 5 classes (0 to 4)");
}

#[test]
fn the_steps_of_a_loop_are_printed() {
    assert_snapshot!(Gated::trainer(Adam::new(0.1)).max_batch(2).to_string(), @"
    network Gated<x: f32[B,4,3] -> y: f32[B,4,5]>
                                                                                   parameters  FLOPs forward  FLOPs step
      scan1.h            state, zero before 4 steps                    f32[B,5]
      scan1.x            element of x                                  f32[B,3]                                      320
      scan1.f.concat1    concat(axis = 1) of scan1.x, scan1.h          f32[B,8]                                       20
      scan1.f.dense1     Dense(5)                                      f32[B,5]            45            340         985
      scan1.f.sigmoid1   sigmoid                                       f32[B,5]                           20          80
      scan1.new.from2    f * h                                         f32[B,5]                           20         120
      scan1.new.concat1  concat(axis = 1) of scan1.x, scan1.new.from2  f32[B,8]
      scan1.new.dense1   Dense(5)                                      f32[B,5]            45            340         685
      scan1.new.tanh1    tanh                                          f32[B,5]                           20          80
      scan1.next         (1 - f) * h + f * new                         f32[B,5]                           80         200
      scan1              scan(5) of scan1.next                         f32[B,4,5]                                     40
      loss                                                                                                           100
      for each row of a batch                                                              90            820       2,630
      and once a batch                                                                                             1,533
      360 bytes of parameters, 180 numbers of the optimizer
    ");
    assert_snapshot!(Stacked::ir(Stage::Static), @"
    network Stacked<x: f32[B,4,3] -> y: f32[B,4,3]>
      act bent = |x, slope = 0.3| if x > 0 { x } else { slope * x }
      repeat1.1.residual1.cell1.scan1.scale      scale = 0.5, trained                                                                      f32[]        1 parameter
      repeat1.1.residual1.cell1.scan1.h          state, zero before 4 steps                                                                f32[B,3]
      repeat1.1.residual1.cell1.scan1.x          element of x                                                                              f32[B,3]
      repeat1.1.residual1.cell1.scan1.a.concat1  concat(axis = 1) of repeat1.1.residual1.cell1.scan1.x, repeat1.1.residual1.cell1.scan1.h  f32[B,6]
      repeat1.1.residual1.cell1.scan1.both       Dense(6)                                                                                  f32[B,6]    42 parameters
      repeat1.1.residual1.cell1.scan1.a          a part of repeat1.1.residual1.cell1.scan1.both                                            f32[B,3]
      repeat1.1.residual1.cell1.scan1.b          a part of repeat1.1.residual1.cell1.scan1.both                                            f32[B,3]
      repeat1.1.residual1.cell1.scan1.next       scale * a * tanh(b) + h                                                                   f32[B,3]
      repeat1.1.residual1.cell1.scan1            scan(3) of repeat1.1.residual1.cell1.scan1.next                                           f32[B,4,3]
      repeat1.1.residual1.dropout1               Dropout(0.25)                                                                             f32[B,4,3]
      repeat1.1.residual1                        residual                                                                                  f32[B,4,3]
      repeat1.2.residual1.cell1.scan1.scale      scale = 0.5, trained                                                                      f32[]        1 parameter
      repeat1.2.residual1.cell1.scan1.h          state, zero before 4 steps                                                                f32[B,3]
      repeat1.2.residual1.cell1.scan1.x          element of repeat1.1.residual1                                                            f32[B,3]
      repeat1.2.residual1.cell1.scan1.a.concat1  concat(axis = 1) of repeat1.2.residual1.cell1.scan1.x, repeat1.2.residual1.cell1.scan1.h  f32[B,6]
      repeat1.2.residual1.cell1.scan1.both       Dense(6)                                                                                  f32[B,6]    42 parameters
      repeat1.2.residual1.cell1.scan1.a          a part of repeat1.2.residual1.cell1.scan1.both                                            f32[B,3]
      repeat1.2.residual1.cell1.scan1.b          a part of repeat1.2.residual1.cell1.scan1.both                                            f32[B,3]
      repeat1.2.residual1.cell1.scan1.next       scale * a * tanh(b) + h                                                                   f32[B,3]
      repeat1.2.residual1.cell1.scan1            scan(3) of repeat1.2.residual1.cell1.scan1.next                                           f32[B,4,3]
      repeat1.2.residual1.dropout1               Dropout(0.25)                                                                             f32[B,4,3]
      repeat1.2.residual1                        residual                                                                                  f32[B,4,3]
      last.h                                     state, zero before 4 steps                                                                f32[B,3]
      last.x                                     element of repeat1.2.residual1                                                            f32[B,3]
      last.seen.layer_norm1                      LayerNorm                                                                                 f32[B,3]     6 parameters
      last.seen.dropout1                         Dropout(0.5)                                                                              f32[B,3]
      last.around.inner                          Dense(3)                                                                                  f32[B,3]    12 parameters
      last.around.bent1                          bent                                                                                      f32[B,3]     1 parameter
      last.around                                residual                                                                                  f32[B,3]
      last.kept                                  if h > x { h } else { seen + h * around.inner * seen.layer_norm1.gamma }                  f32[B,3]
      last.concat1                               concat(axis = 1) of last.kept, last.around                                                f32[B,6]
      last.repeat1.1.dense1                      Dense(3)                                                                                  f32[B,3]    21 parameters
      last.repeat1.1.bent1                       bent                                                                                      f32[B,3]     1 parameter
      last.repeat1.2.dense1                      Dense(3)                                                                                  f32[B,3]    12 parameters
      last.repeat1.2.bent1                       bent                                                                                      f32[B,3]     1 parameter
      last.lambda1                               |x| x * 0.5                                                                               f32[B,3]
      last                                       scan of last.lambda1                                                                      f32[B,4,3]
      loss(t: f32[B,4,3]) = mse(y, t) + mean(square(last)) + mean(square(last.repeat1.1.dense1.weight))
      140 parameters
    ");
    assert_snapshot!(Outside::ir(Stage::Static), @"
    network Outside<(x: f32[B,3,4,2], gain: f32[B,4,3]) -> (y: f32[B,3,4,3], z: f32[B,4,3])>
      first.from1            x[.., 0, .., ..]                                         f32[B,4,2]
      first.mix1.dense1      Dense(3)                                                 f32[B,4,3]    9 parameters
      first.mix1.tanh1       tanh                                                     f32[B,4,3]
      y.scan1.state          state, first.mix1.tanh1 before 3 steps                   f32[B,4,3]
      y.scan1.element        element of x                                             f32[B,4,2]
      y.scan1.x.mix1.dense1  Dense(3), parameters of mix.dense1                       f32[B,4,3]
      y.scan1.x.mix1.tanh1   tanh                                                     f32[B,4,3]
      y.scan1.next           gain * x + state * first * mix.dense1.bias               f32[B,4,3]
      y.scan1                scan(initial = first) of y.scan1.next                    f32[B,3,4,3]
      once.run1.g            g = 0.5, trained                                         f32[]         1 parameter
      once.run1.state        state, first.mix1.tanh1 before 3 steps                   f32[B,4,3]
      once.run1.element      element of x                                             f32[B,4,2]
      once.run1.next         g * gain * state + sum(element, axis = -1, keep = true)  f32[B,4,3]
      once.run1              scan(last = true, initial = first) of once.run1.next     f32[B,4,3]
      twice.from1            y[.., .., .., ..2]                                       f32[B,3,4,2]
      twice.run1.g           g = 0.5, trained, parameters of run                      f32[]
      twice.run1.state       state, first.mix1.tanh1 before 3 steps                   f32[B,4,3]
      twice.run1.element     element of twice.from1                                   f32[B,4,2]
      twice.run1.next        g * gain * state + sum(element, axis = -1, keep = true)  f32[B,4,3]
      twice.run1             scan(last = true, initial = first) of twice.run1.next    f32[B,4,3]
      z                      once + twice                                             f32[B,4,3]
      loss(t: f32[B,4,3]) = mse(z, t) + mean(square(y))
      10 parameters
    ");
    assert_snapshot!(Average::ir(Stage::Forward), @"
    %0 = input x : f32[B,6,3]
    %1 = param scan1.decay : f32[]                                   # scan1.decay
    %2 = carry 0 for 6 steps : f32[B,3]                              # scan1.h
    %3 = transpose %0 by 1,0,2 : f32[6,B,3]                          # scan1.x
    %4 = element %2, %3 : f32[B,3]                                   # scan1.x
    %5 = broadcast %1 : f32[B,3]                                     # scan1.next
    %6 = mul %5, %2 : f32[B,3]                                       # scan1.next
    %7 = sub 1, %1 : f32[]                                           # scan1.next
    %8 = broadcast %7 : f32[B,3]                                     # scan1.next
    %9 = mul %8, %4 : f32[B,3]                                       # scan1.next
    %10 = add %6, %9 : f32[B,3]                                      # scan1.next
    %11 = history %2, %10 : f32[7,B,3]                               # scan1
    %12 = slice %11 axis 0, 1 from 6 : f32[1,B,3]                    # scan1
    %13 = reshape %12 : f32[B,3]                                     # scan1
    %14 = target t : f32[B,3]
    %15 = sub %13, %14 : f32[B,3]                                    # loss
    %16 = mul %15, %15 : f32[B,3]                                    # loss
    %17 = sum %16 over 0,1 : f32[]                                   # loss
    %18 = count 3*B : f32[]                                          # loss
    %19 = div %17, %18 : f32[]                                       # loss
    output y = %13
    loss = %19
    ");
}
