//! Optimizers as a user sees them: schedules, clipping, decay and groups in a session.

use gradloom::ndarray::{Array1, Array2, ArrayD, IxDyn};
use gradloom::{AdaDelta, AdaGrad, Adam, BuildError, Group, Lion, RmsProp, Schedule, Session, Sgd, Trainer, network};
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::optimizer_kernels::Bare;
use crate::train::{Classifier, samples, state};

// ---- Schedules ------------------------------------------------------------------------------------------------------

fn build(trainer: Trainer<Classifier>) -> Session<Classifier> {
    trainer.max_batch(16).seed(3).build().expect("it builds")
}

#[test]
fn a_schedule_sets_the_rate_of_every_step() {
    let (x, labels) = samples(16);
    let schedule = Schedule::cosine(0.5, 6).to(0.1).warm_up(2);
    let (mut scheduled, mut by_hand) =
        (build(Classifier::trainer(Adam::new(schedule))), build(Classifier::trainer(Adam::new(1.0))));
    for t in 0..10 {
        assert_eq!(scheduled.learning_rate(), schedule.rate(t));
        by_hand.set_learning_rate(schedule.rate(t)).expect("the rate is fine");
        scheduled.step(x.view(), labels.view()).expect("the batch fits");
        by_hand.step(x.view(), labels.view()).expect("the batch fits");
        assert_eq!(state(&scheduled), state(&by_hand), "after step {t}");
    }
    assert_eq!(scheduled.learning_rate(), 0.1);
    scheduled.set_learning_rate(0.25).expect("the rate is fine");
    scheduled.step(x.view(), labels.view()).expect("the batch fits");
    assert_eq!(scheduled.learning_rate(), 0.25, "a rate that is set stays");
}

#[test]
fn schedules_begin_and_end_where_they_should() {
    let third = Schedule::cosine(0.3, 100).warm_up(2);
    assert_eq!([0, 1, 2].map(|t| (10.0 * third.rate(t)).round()), [1.0, 2.0, 3.0], "a straight line up to the rate");
    for (schedule, first, last) in [
        (Schedule::constant(0.1), 0.1, 0.1),
        (Schedule::step(0.1, 10, 0.1).to(1e-3), 0.1, 1e-3),
        (Schedule::exponential(0.1, 0.5).to(1e-3), 0.1, 1e-3),
        (Schedule::polynomial(0.1, 50, 3.0), 0.1, 0.0),
        (Schedule::polynomial(0.1, 50, 3.0).to(0.02), 0.1, 0.02),
        (Schedule::cosine(0.1, 50), 0.1, 0.0),
        (Schedule::one_cycle(0.1, 50), 0.1 / 25.0, 0.1 / 25.0 / 1e4),
        (Schedule::one_cycle(0.1, 2), 0.1, 0.1 / 25.0 / 1e4),
        (Schedule::one_cycle(0.1, 50).to(0.01), 0.1 / 25.0, 0.01),
    ] {
        let close = |rate: f64, wanted: f64| (rate - wanted).abs() <= 0.05 * wanted.max(1e-9);
        assert!(schedule.check().is_ok(), "{schedule:?}");
        assert!(close(schedule.rate(0), first) || schedule == Schedule::one_cycle(0.1, 2), "{schedule:?}");
        for t in [1000, u64::MAX - 1] {
            assert!(close(schedule.rate(t), last), "{schedule:?} at {t}: {}", schedule.rate(t));
        }
        let rates = (0..100).map(|t| schedule.rate(t));
        assert!(rates.into_iter().all(|rate| (0.0..=0.1 + 1e-12).contains(&rate)), "{schedule:?}");
    }
    let cycle = Schedule::one_cycle(0.1, 50);
    assert!((cycle.rate(14) - 0.1).abs() < 1e-12, "the peak is after 30 %");
}

#[test]
fn schedules_out_of_range_are_refused() {
    let refusal = |schedule: Schedule| match Bare::trainer(Sgd::new(schedule)).build() {
        Err(error @ BuildError::Setting { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    };
    let refusals = [
        refusal(Schedule::constant(-0.1)),
        refusal(Schedule::cosine(f64::NAN, 10)),
        refusal(Schedule::cosine(0.1, 0)),
        refusal(Schedule::step(0.1, 0, 0.5)),
        refusal(Schedule::step(0.1, 10, 0.0)),
        refusal(Schedule::exponential(0.1, 1.5)),
        refusal(Schedule::polynomial(0.1, 0, 1.0)),
        refusal(Schedule::polynomial(0.1, 10, 0.0)),
        refusal(Schedule::one_cycle(0.1, 1)),
        refusal(Schedule::cosine(0.1, 10).to(-1.0)),
    ];
    assert_snapshot!(refusals.join("\n"), @"
    learning rate must be a finite number of at least 0, got -0.1
    learning rate must be a finite number of at least 0, got NaN
    the steps of a schedule must be at least 1, got 0
    the steps of a schedule must be at least 1, got 0
    the factor of a schedule must be above 0 and at most 1, got 0
    the factor of a schedule must be above 0 and at most 1, got 1.5
    the steps of a schedule must be at least 1, got 0
    the power of a schedule must be a finite number above 0, got 0
    the steps of one cycle must be at least 2, got 1
    the end of a schedule must be a finite number of at least 0, got -1
    ");
}

// ---- Clipping and decay ---------------------------------------------------------------------------------------------

/// Every parameter of the network, in f64, with its name.
fn parameters(net: &Session<Classifier>) -> Vec<(String, Vec<f64>)> {
    let names: Vec<String> = net.names().filter(|name| !name.contains("running")).map(str::to_string).collect();
    let value = |name: &str| net.param(name).expect("the name exists").iter().map(|&x| f64::from(x)).collect();
    names.into_iter().map(|name| (name.clone(), value(&name))).collect()
}

/// The parameters after a step of plain descent at rate 0.5, and what they should be: from the old ones and the gradients.
#[track_caller]
fn check_step(what: &str, trainer: Trainer<Classifier>, scale: f32, wanted: impl Fn(&str, f64, f64, f64) -> f64) {
    let (x, labels) = samples(16);
    let x = x.mapv(|x| scale * x);
    let mut net = build(trainer);
    let before = parameters(&net);
    let gradients = net.gradients(x.view(), labels.view()).expect("the batch fits");
    let gradients: Vec<Vec<f64>> = before
        .iter()
        .map(|(name, value)| match gradients.get(name) {
            Ok(gradient) => gradient.iter().map(|&g| f64::from(g)).collect(),
            Err(_) => vec![0.0; value.len()],
        })
        .collect();
    let norm = gradients.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
    net.step(x.view(), labels.view()).expect("the batch fits");
    for (((name, old), gradient), (_, new)) in before.iter().zip(&gradients).zip(parameters(&net)) {
        let expected: Vec<f64> = old.iter().zip(gradient).map(|(&p, &g)| wanted(name, p, g, norm)).collect();
        Bound { relative: 1e-6, absolute: 1e-7 }.check(&format!("{what}: {name}"), &new, &expected);
    }
}

#[test]
fn clipping_by_value_bounds_every_element_of_a_gradient() {
    let trainer = Classifier::trainer(Sgd::new(0.5)).clip_value(0.02);
    check_step("by value", trainer, 1.0, |_, p, g, _| p - 0.5 * g.clamp(-0.02, 0.02));
}

#[test]
fn clipping_by_norm_shortens_all_gradients_alike_and_lengthens_none() {
    for limit in [0.05, 1e3] {
        let trainer = Classifier::trainer(Sgd::new(0.5)).clip_norm(limit);
        check_step("by norm", trainer, 1.0, |_, p, g, norm| p - 0.5 * g * (limit / (norm + 1e-6)).min(1.0));
    }
}

#[test]
fn decay_comes_behind_clipping() {
    let trainer = Classifier::trainer(Sgd::new(0.5).l2(0.3)).clip_value(0.02);
    check_step("l2", trainer, 1.0, |_, p, g, _| p - 0.5 * (g.clamp(-0.02, 0.02) + 0.3 * p));
    let trainer = Classifier::trainer(Sgd::new(0.5).weight_decay(0.3)).clip_value(0.02);
    check_step("decoupled", trainer, 1.0, |_, p, g, _| p * (1.0 - 0.5 * 0.3) - 0.5 * g.clamp(-0.02, 0.02));
}

// ---- Groups ---------------------------------------------------------------------------------------------------------

#[test]
fn groups_have_their_own_rates_and_decay() {
    let trainer = Classifier::trainer(Sgd::new(0.5).weight_decay(0.3))
        .group(Group::new("*.bias").no_weight_decay())
        .group(Group::new("batch_norm*").no_weight_decay())
        .group(Group::new("dense1.*").rate_factor(0.1))
        .group(Group::new("*").l2(0.2));
    check_step("groups", trainer, 1.0, |name, p, g, _| {
        let rate = if name.starts_with("dense1.") { 0.05 } else { 0.5 };
        let decay = if name.ends_with(".weight") { 0.3 } else { 0.0 };
        p * (1.0 - rate * decay) - rate * (g + 0.2 * p)
    });
}

#[test]
fn frozen_parameters_stay_and_have_neither_gradients_nor_state() {
    let trainer =
        || Classifier::trainer(Sgd::new(0.5).momentum(0.9).weight_decay(0.3)).freeze("dense?.weight").freeze("*2.beta");
    let frozen = |name: &str| name.starts_with("dense") && name.ends_with("weight") || name == "batch_norm2.beta";
    let (x, labels) = samples(16);
    let mut net = build(trainer());
    let before = state(&net);
    for _ in 0..3 {
        net.step(x.view(), labels.view()).expect("the batch fits");
    }
    for ((name, old), (_, new)) in before.iter().zip(state(&net)) {
        assert_eq!(*old == new, frozen(name), "{name}");
    }
    assert!(net.names().all(|name| !frozen(name.trim_end_matches(".velocity")) || frozen(name)), "no state");
    let gradients = net.gradients(x.view(), labels.view()).expect("the batch fits");
    assert!(gradients.iter().all(|(name, _)| !frozen(name)) && gradients.get("batch_norm2.beta").is_err());
    assert!(gradients.get("batch_norm1.beta").is_ok());
    assert!(net.gradcheck(x.view(), labels.view()).is_ok(), "what is frozen is not checked");
}

#[test]
fn something_has_to_be_trained() {
    for trainer in [
        Bare::trainer(Adam::new(0.1)).clip_norm(1.0).freeze("*"),
        Bare::trainer(Sgd::new(0.1)).group(Group::new("*.weight").frozen().rate_factor(0.5)),
    ] {
        let shown = trainer.to_string();
        let error = trainer.build().map(drop).expect_err("nothing is left to train");
        assert_eq!(
            (&error, error.to_string().as_str()),
            (&BuildError::AllFrozen, "every parameter is frozen, so there is nothing to train")
        );
        assert!(!shown.is_empty());
    }
    assert!(
        Classifier::trainer(Sgd::new(0.1)).freeze("*.weight").freeze("*.bias").build().is_ok(),
        "batch norms are left"
    );
}

#[test]
fn a_pattern_without_parameters_is_refused_with_a_suggestion() {
    let refused = |group: Group| match Classifier::trainer(Sgd::new(0.1)).group(group).build() {
        Err(error @ BuildError::Pattern { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    };
    let refusal = |pattern: &str| refused(Group::new(pattern).frozen());
    // A statistic can be frozen, and nothing else.
    let statistic = refused(Group::new("batch_norm1.running_mean").no_weight_decay());
    assert_snapshot!([refusal("batchnorm*"), refusal("dense1"), statistic, refusal("head.*")].join("\n"), @"
    no trained parameter matches `batchnorm*`; did you mean `batch_norm*`?
    no trained parameter matches `dense1`; did you mean `dense1.*`?
    no trained parameter matches `batch_norm1.running_mean`
    no trained parameter matches `head.*`
    ");
}

#[test]
fn settings_of_optimizers_out_of_range_are_refused() {
    let refusal = |trainer: Trainer<Bare>| match trainer.build() {
        Err(error @ BuildError::Setting { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    };
    let sgd = || Sgd::new(0.1);
    let refusals = [
        refusal(Bare::trainer(sgd().l2(-0.1))),
        refusal(Bare::trainer(sgd().weight_decay(f64::INFINITY))),
        refusal(Bare::trainer(sgd().nesterov())),
        refusal(Bare::trainer(AdaGrad::new(0.1).eps(-1.0))),
        refusal(Bare::trainer(RmsProp::new(0.1).alpha(1.0))),
        refusal(Bare::trainer(RmsProp::new(0.1).momentum(1.0))),
        refusal(Bare::trainer(AdaDelta::new(1.0).rho(-0.1))),
        refusal(Bare::trainer(AdaDelta::new(1.0).eps(0.0))),
        refusal(Bare::trainer(Lion::new(0.1).betas(0.9, 1.0))),
        refusal(Bare::trainer(sgd()).clip_value(0.0)),
        refusal(Bare::trainer(sgd()).clip_norm(f64::NAN)),
        refusal(Bare::trainer(sgd()).group(Group::new("*").rate_factor(-1.0))),
        refusal(Bare::trainer(sgd()).group(Group::new("*").weight_decay(f64::NAN))),
    ];
    assert_snapshot!(refusals.join("\n"), @"
    l2 must be a finite number of at least 0, got -0.1
    weight_decay must be a finite number of at least 0, got inf
    Nesterov's momentum must be above 0, got 0
    eps must be from 1e-18 to 3.4e38, got -1
    alpha must be at least 0 and below 1, got 1
    momentum must be at least 0 and below 1, got 1
    rho must be at least 0 and below 1, got -0.1
    eps must be a finite number above 0, got 0
    beta2 must be at least 0 and below 1, got 1
    clip_value must be a finite number above 0, got 0
    clip_norm must be a finite number above 0, got NaN
    rate_factor of a group must be a finite number of at least 0, got -1
    weight_decay of a group must be a finite number of at least 0, got NaN
    ");
}

// ---- Lion, whose steps have one size --------------------------------------------------------------------------------

#[test]
fn lion_moves_every_parameter_by_its_rate_or_not_at_all() {
    let (x, labels) = samples(16);
    let mut net = build(Classifier::trainer(Lion::new(0.25)));
    let zero = ArrayD::zeros(IxDyn(&[5, 9]));
    net.set_param("dense1.weight", zero.view()).expect("the shape is the parameter's");
    net.step(x.view(), labels.view()).expect("the batch fits");
    let weights = net.param("dense1.weight").expect("the name exists");
    assert!(weights.iter().all(|w| [-0.25, 0.0, 0.25].contains(w)), "{weights}");
    let labels: Array1<u8> = labels.mapv(|_| 9);
    assert!(net.step(x.view(), labels.view()).is_err());
}

// ---- What no f32 holds ----------------------------------------------------------------------------------------------

network! {
    /// Of a gradient of 3e38.
    Steep<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false, init = zeros) }
    loss = 3e38 * mean(y);
}

#[test]
fn a_velocity_beyond_f32_is_refused_by_a_sentinel_and_shows_in_the_next_step_without() {
    let x = Array2::<f32>::ones((1, 1));
    let build = |sentinel| {
        let trainer = Steep::trainer(Sgd::new(0.0).momentum(0.9)).sentinel(sentinel);
        let mut net = trainer.max_batch(1).build().expect("it builds");
        net.step(x.view(), ()).expect("3e38 is an f32");
        assert_eq!(net.param("dense1.weight.velocity").expect("it exists")[[0, 0]], 3e38);
        net
    };
    assert_snapshot!(build(true).step(x.view(), ()).expect_err("1.9 times 3e38 is none"), @"step 2 would make `dense1.weight` NaN: in the update of `dense1.weight` (tests/it/optimizers.rs:282:37), element [0, 0] is 3e38 * 0.9 + 3e38 = inf, where dense1.weight.velocity[0, 0] is 3e38; parameters and statistics are as before the step");
    let mut net = build(false);
    net.step(x.view(), ()).expect("nobody looks");
    assert_snapshot!(net.step(x.view(), ()).expect_err("0 times infinity is NaN"), @"the loss of step 3 is NaN: element [0, 0] of `dense1.weight` was NaN before the step (a trainer's `sentinel(true)` refuses the update that makes it so); parameters and statistics are as before the step");
    // As long as it is one, it does not matter how often it is added to.
    let mut net = build(false);
    net.set_param("dense1.weight.velocity", Array2::<f32>::zeros((1, 1)).view()).expect("it fits");
    for _ in 0..300 {
        net.step(Array2::from_elem((1, 1), 0.1).view(), ()).expect("3e37 / (1 - 0.9) is an f32");
    }
    let velocity = net.param("dense1.weight.velocity").expect("it exists")[[0, 0]];
    assert!((f64::from(velocity) / 3e38 - 1.0).abs() < 1e-5, "{velocity}");
}
