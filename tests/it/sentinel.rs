//! Numbers that are not finite: the error names the layer, the pass, the element and its operands, and nothing is lost.

use gradloom::ndarray::{Array2, array, s};
use gradloom::{Adam, Dataset, Error, Fault, Given, Group, Network, Pass, Progress, RunError, Session, Sgd, Trainer};
use insta::assert_snapshot;

use crate::planted::{Chain, Distance, Dropped, Exps, Large, Line, Logs, Nested, Norm, Sum, Total};
use crate::train::{classifier, samples, state};

/// With these weights in its first layer.
fn with<N: Network>(trainer: Trainer<N>, name: &str, value: f32) -> Session<N> {
    let mut net = trainer.max_batch(4).seed(1).build().expect("it builds");
    let filled = net.param(name).expect("it exists").mapv(|_| value);
    net.set_param(name, filled.view()).expect("it fits");
    net
}

/// The error of a step that loses nothing.
#[track_caller]
fn refusal<N: Network, T>(net: &mut Session<N>, step: impl FnOnce(&mut Session<N>) -> Result<T, RunError>) -> RunError {
    let before = (state(net), net.steps(), net.forward_count(), net.accumulated_rows());
    let error = step(net).map(drop).expect_err("it is not finite");
    assert_eq!((state(net), net.steps(), net.forward_count(), net.accumulated_rows()), before);
    error
}

fn run_error(error: Error) -> RunError {
    match error {
        Error::Run(error) => error,
        other => panic!("{other}"),
    }
}

fn fault(error: &RunError) -> &Fault {
    match error {
        RunError::NotFinite { fault: Some(fault), .. } | RunError::Update { fault: Some(fault), .. } => fault,
        other => panic!("{other:?} knows no origin"),
    }
}

#[test]
fn the_forward_pass_names_layer_element_and_operand() {
    let x = array![[1.0, 1.0], [2.0, -3.0]];
    let t = array![[0.0], [0.0]];
    let mut net = with(Logs::trainer(Sgd::new(0.1)), "dense1.weight", 0.25);
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is NaN: in the forward pass of `logs` (tests/it/planted.rs:8:19), element [1, 0] is ln(-0.25) = NaN; parameters and statistics are as before the step");
    let mut net = with(Exps::trainer(Sgd::new(0.1)), "dense1.weight", 100.0);
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is NaN: in the forward pass of `exps` (tests/it/planted.rs:12:50), element [0, 0] is exp(200) = inf; parameters and statistics are as before the step");
    let mut net = with(Line::trainer(Sgd::new(0.1)), "dense1.weight", 3e38);
    let x = x.mapv(|x: f32| x.abs());
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is inf: in the forward pass of `dense1` (tests/it/planted.rs:27:40), element [0, 0] is inf, the sum of 2 products, the largest 1 * 3e38, where x[0, 1] is 1 and dense1.weight[1, 0] is 3e38; parameters and statistics are as before the step");
}

#[test]
fn public_fields_say_the_same() {
    let mut net = with(Logs::trainer(Sgd::new(0.1)), "dense1.weight", 0.25);
    let error = refusal(&mut net, |net| net.step(array![[2.0, -3.0]].view(), array![[0.0]].view()));
    let Fault::Made { layer, place: Some(place), pass, operation, operands, terms, element, value, steps } =
        fault(&error)
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (layer.as_str(), *pass, *operation, &element[..], *terms),
        ("logs", Pass::Forward, "ln", &[0, 0][..], 1)
    );
    assert_eq!((operands.len(), operands[0].value, &operands[0].source), (1, -0.25, &None));
    assert!(value.is_nan() && steps.is_empty() && place.file.ends_with("planted.rs"));
    let source = include_str!("planted.rs").lines().nth(place.line as usize - 1).expect("the line exists");
    assert!(source[place.column as usize - 1..].starts_with("|x| ln(x) as logs"), "{place:?}");
}

#[test]
fn what_came_in_is_named_as_such() {
    let (mut x, mut t) = (array![[1.0, 1.0], [2.0, 3.0]], array![[0.0], [0.0]]);
    let mut net = with(Line::trainer(Sgd::new(0.1)), "dense1.weight", 0.25);
    x[[1, 0]] = f32::NAN;
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is NaN: element [1, 0] of the input `x` is NaN; parameters and statistics are as before the step");
    x[[1, 0]] = 0.0;
    t[[0, 0]] = f32::NEG_INFINITY;
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is inf: element [0, 0] of the target `t` is -inf; parameters and statistics are as before the step");
    t[[0, 0]] = 0.0;
    net.set_param("dense1.bias", array![f32::NAN].view()).expect("it fits");
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is NaN: element [0] of `dense1.bias` was NaN before the step (a trainer's `sentinel(true)` refuses the update that makes it so); parameters and statistics are as before the step");
}

#[test]
fn the_loss_and_layers_within_structures_are_named_by_their_paths() {
    let (x, t) = (array![[1.0, 1.0], [2.0, 3.0]], array![[1.0], [1.0]]);
    let mut net = with(Nested::trainer(Sgd::new(0.1)), "dense1.weight", -0.5);
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is NaN: in the forward pass of `loss` (tests/it/planted.rs:21:23), element [0, 0] is ln(-1) = NaN; parameters and statistics are as before the step");
    let inner = array![[2e38, 2e38], [2e38, 2e38]];
    net.set_param("repeat1.2.residual1.inner1.dense1.weight", inner.view()).expect("it fits");
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 1 is NaN: in the forward pass of `repeat1.2.residual1.inner1.dense1` (tests/it/planted.rs:16:22), element [0, 0] is inf, the sum of 2 products, the largest 1 * 2e38, where repeat1.2.residual1.inner1.dense1.weight[1, 0] is 2e38; parameters and statistics are as before the step");
}

#[test]
fn a_gradient_that_is_not_finite_is_found_at_the_step_that_makes_it() {
    let (x, t) = (array![[2.0], [4.0]], array![[1.0], [2.0]]);
    let mut net = with(Distance::trainer(Adam::new(0.1)).sentinel(true), "dense1.weight", 0.5);
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"step 1 would make `dense1.weight` NaN: in the backward pass of `loss` (tests/it/planted.rs:25:23), the result is 0.5 / 0 = inf; parameters and statistics are as before the step");
    // It goes on as if nothing had been.
    let mut other = with(Distance::trainer(Adam::new(0.1)), "dense1.weight", 0.5);
    for net in [&mut net, &mut other] {
        net.step(x.view(), array![[1.0], [3.0]].view()).expect("the distance is not 0");
    }
    assert_eq!(state(&net), state(&other));

    // Without a sentinel, the step after it finds the parameter.
    let mut net = with(Distance::trainer(Sgd::new(0.1)), "dense1.weight", 0.5);
    assert_eq!(net.step(x.view(), t.view()).expect("the loss is finite").loss, 0.0);
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"the loss of step 2 is NaN: element [0, 0] of `dense1.weight` was NaN before the step (a trainer's `sentinel(true)` refuses the update that makes it so); parameters and statistics are as before the step");
}

#[test]
fn an_update_that_is_not_finite_is_taken_back() {
    let (x, t) = (array![[1.0, 1.0], [2.0, 3.0]], array![[9.0], [9.0]]);
    let mut net = with(Line::trainer(Sgd::new(3e37)).sentinel(true), "dense1.weight", 0.25);
    assert_snapshot!(refusal(&mut net, |net| net.step(x.view(), t.view())), @"step 1 would make `dense1.weight` inf: in the update of `dense1.weight` (tests/it/planted.rs:27:40), element [0, 0] is 3e37 * -24 = -inf, where rate is 3e37; parameters and statistics are as before the step");
    net.set_learning_rate(0.1).expect("it is a rate");
    net.step(x.view(), t.view()).expect("the rate was too large");

    // The parameters would stay finite, and never move again.
    let trainer = Sum::trainer(Adam::new(0.1)).sentinel(true);
    let mut net = with(trainer.group(Group::new("*.bias").frozen()), "dense1.weight", 0.0);
    let far = array![[1e25, 1e20], [1e25, 1.0]];
    assert_snapshot!(refusal(&mut net, |net| net.step(far.view(), ())), @"step 1 would make `dense1.weight.v` inf: in the update of `dense1.weight` (tests/it/planted.rs:30:39), element [0, 0] is 1e25 * 1e25 = inf; parameters and statistics are as before the step");
}

#[test]
fn what_overflows_in_the_compiled_order_alone_has_no_origin() {
    // The deviations fit an f32, the distance of the two rows squared does not.
    let mut net = Norm::trainer(Sgd::new(0.1)).max_batch(2).build().expect("it builds");
    let wide = array![[1.0, 1e19], [2.0, -1e19]];
    assert_snapshot!(refusal(&mut net, |net| net.step(wide.view(), Array2::zeros((2, 2)).view())), @"the loss of step 1 is NaN; parameters and statistics are as before the step");
}

#[test]
fn batches_that_are_added_up_are_watched_as_well() {
    let (x, t) = (array![[1.0, 1.0], [2.0, 3.0]], array![[9.0], [9.0]]);
    let mut net = with(Line::trainer(Sgd::new(3e37)).sentinel(true), "dense1.weight", 0.25);
    net.accumulate(x.view(), t.view()).expect("the batch fits");
    let nan = array![[1.0, f32::NAN], [2.0, 3.0]];
    let error = refusal(&mut net, |net| net.accumulate(nan.view(), t.view()).map_err(run_error));
    assert!(error.to_string().contains("element [0, 1] of the input `x` is NaN"), "{error}");
    assert_snapshot!(refusal(&mut net, Session::update), @"step 1 would make `dense1.weight` inf: in the update of `dense1.weight` (tests/it/planted.rs:27:40), element [0, 0] is 3e37 * -24 = -inf, where rate is 3e37 and dense1.weight.accumulated[0, 0] is -24; parameters and statistics are as before the step");
    net.set_learning_rate(0.1).expect("it is a rate");
    net.update().expect("what was added up is still there");
    assert_eq!((net.steps(), net.accumulated_rows()), (1, 0));

    let mut net = with(Total::trainer(Sgd::new(0.1)).sentinel(true), "dense1.weight", 0.0);
    let far = array![[3e38, 0.0]];
    net.accumulate(far.view(), ()).expect("the gradient is finite");
    assert_snapshot!(refusal(&mut net, |net| net.accumulate(far.view(), ()).map_err(run_error)), @"step 1 would make `dense1.weight.accumulated` inf: in the update of `dense1.weight` (tests/it/planted.rs:51:41), element [0, 0] is 3e38 + 3e38 = inf, where dense1.weight.accumulated[0, 0] is 3e38; parameters and statistics are as before the step");
}

#[test]
fn one_spoilt_number_is_found_wherever_it_is() {
    let (x, labels) = samples(20);
    let fresh = || Chain::trainer(Adam::new(1e-2)).max_batch(20).seed(9).build().expect("it builds");
    let names: Vec<String> = fresh().names().map(str::to_string).collect();
    let mut found = 0;
    for name in names.iter().filter(|name| !name.contains("running") && !name.ends_with(".m") && !name.ends_with(".v"))
    {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut net = fresh();
            let mut value = net.param(name).expect("it exists").to_owned();
            let element: Vec<usize> = value.shape().iter().map(|extent| extent / 2).collect();
            value[&element[..]] = wrong;
            net.set_param(name, value.view()).expect("it fits");
            // Where a unit saturates, an infinity may have no consequence.
            let Err(error) = net.step(x.view(), labels.view()) else { continue };
            let Fault::Given { with, name: actual, element: at, value } = fault(&error) else { panic!("{error}") };
            assert_eq!((*with, actual, at), (Given::Parameter, name, &element), "{wrong}: {error}");
            assert_eq!(value.to_bits(), wrong.to_bits());
            found += 1;
        }
    }
    let own =
        names.iter().filter(|name| fresh().gradients(x.view(), labels.view()).expect("it fits").get(name).is_ok());
    assert!(found >= 2 * own.clone().count(), "{found} for {} parameters", own.count());
}

#[test]
fn masks_are_replayed() {
    let x = Array2::from_elem((4, 8), 1.0);
    let mut net = Dropped::trainer(Sgd::new(0.1)).max_batch(4).seed(1).build().expect("it builds");
    let dropped = |net: &mut Session<Dropped>, count: u64| {
        net.set_forward_count(count);
        match fault(&refusal(net, |net| net.step(x.view(), ()))) {
            Fault::Made { layer, operation: "ln", operands, element, .. }
                if layer == "logs" && operands[0].value == 0.0 =>
            {
                element.clone()
            }
            other => panic!("{other:?}"),
        }
    };
    let elements: Vec<Vec<usize>> = (0..8).map(|count| dropped(&mut net, count)).collect();
    assert!(elements.iter().any(|element| *element != elements[0]), "every pass drops others: {elements:?}");
    assert_eq!(elements, (0..8).map(|count| dropped(&mut net, count)).collect::<Vec<_>>());
}

#[test]
fn threads_and_batch_sizes_change_no_word() {
    let mut x = Array2::from_elem((128, 256), 0.01);
    x[[97, 3]] = 1e5;
    let t = Array2::zeros((128, 64));
    let messages = [(1, 128), (2, 128), (2, 98)].map(|(threads, rows)| {
        let mut net =
            Large::trainer(Adam::new(0.1)).max_batch(128).threads(threads).seed(1).build().expect("it builds");
        let error = refusal(&mut net, |net| net.step(x.slice(s![..rows, ..]), t.slice(s![..rows, ..])));
        let Fault::Made { layer, element, .. } = fault(&error) else { panic!("{error}") };
        assert_eq!((layer.as_str(), element[0]), ("exps", 97));
        error.to_string()
    });
    assert_eq!(messages[0], messages[1]);
    assert_eq!(messages[0], messages[2]);
}

#[test]
fn fit_stops_with_the_message() {
    let (mut x, labels) = samples(30);
    x[[17, 2]] = f32::NAN;
    let mut data = Dataset::new(x, labels).expect("the rows agree").seed(1);
    let mut net = classifier(10);
    let error = net.fit(&mut data).epochs(2).progress(Progress::Quiet).run().expect_err("one row is spoilt");
    assert_snapshot!(error, @"in epoch 1: the loss of step 2 is NaN: element [1, 2] of the input `x` is NaN; parameters and statistics are as before the step");
}

#[test]
fn a_sentinel_changes_no_bit_and_none_is_there_unless_asked_for() {
    let (x, labels) = samples(20);
    let build = |sentinel| {
        let trainer = crate::train::Classifier::trainer(Adam::new(1e-2)).max_batch(20).seed(3);
        trainer.sentinel(sentinel).build().expect("it builds")
    };
    let (mut watched, mut plain) = (build(true), build(false));
    assert!(format!("{plain:?}").contains("kept: None"));
    for net in [&mut watched, &mut plain] {
        for rows in [20, 7, 20] {
            net.step(x.slice(s![..rows, ..]), labels.slice(s![..rows])).expect("the batch fits");
        }
        net.accumulate(x.view(), labels.view()).expect("the batch fits");
        net.update().expect("there are gradients");
    }
    assert_eq!(state(&watched), state(&plain));
}

#[test]
fn a_setting_too_large_for_a_float_is_named() {
    let (x, t) = (array![[1.0, 1.0]], array![[9.0]]);
    let error = Line::trainer(Sgd::new(1e300)).sentinel(true).build().map(drop).expect_err("no f32 holds it");
    assert_snapshot!(error, @"learning rate must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e300");
    let mut net = with(Line::trainer(Sgd::new(0.1)).sentinel(true), "dense1.weight", 0.25);
    assert_eq!(net.set_learning_rate(1e300), Err(error));
    net.step(x.view(), t.view()).expect("the rate is as it was");
}
