//! Optimisers as a user sees them: schedules, clipping, decay and groups in a session, and what each costs in kernels.

use gradloom::ndarray::{Array1, Array2, ArrayD, IxDyn, s};
use gradloom::{
    AdaDelta, AdaGrad, Adam, AdamW, BuildError, Group, Lion, Network, RmsProp, RunError, Schedule, Session, Sgd, Stage,
    Trainer, network,
};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::fuse;
use insta::assert_snapshot;

use crate::bound::Bound;
use crate::train::{Classifier, samples, state};

network! {
    /// One product and nothing else.
    pub Bare<x: [B, 2] -> y: [B, 1]> { Dense(1, bias = false) }
    loss(target: [B, 1]) = mse(y, target);

    /// Two, to freeze the first, the second or both.
    pub Pair<x: [B, 2] -> y: [B, 1]> { Dense(3), tanh, Dense(1) }
    loss(target: [B, 1]) = mse(y, target);
}

/// What runs once the loss is known to be finite.
fn updates<N: Network>(trainer: &Trainer<N>) -> String {
    let text = trainer.ir(Stage::Fused);
    let (_, updates) = text.split_once("check that the loss is finite\n").expect("a training step checks its loss");
    updates.to_string()
}

// ---- What each choice costs -----------------------------------------------------------------------------------------

#[test]
fn plain_descent_subtracts_the_gradient_from_the_weight_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = neg rate : f32[]                                         # dense1.weight
      %17 = mul_add %15.one, %13, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %17
    ");
}

#[test]
fn clipping_by_value_costs_two_operations_in_the_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1)).clip_value(1.0)), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = max %13, -1 : f32[2,1]                                   # optimiser
      %16 = min %15, 1 : f32[2,1]                                    # optimiser
      %17 = neg rate : f32[]                                         # dense1.weight
      %19 = mul_add %17.one, %16, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %19
    ");
}

#[test]
fn clipping_by_norm_keeps_the_gradient_and_passes_over_it_again() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1)).clip_norm(1.0)), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = mul %13, %13 : f32[2,1]                                  # optimiser
      %16 = sum %15 over 0,1 : f32[]                                 # optimiser
      keep %13
    kernel 3: 2 x 1
      %17 = sqrt %16.one : f32[]                                     # optimiser
      %18 = add %17.one, 1e-6 : f32[]                                # optimiser
      %19 = div 1, %18.one : f32[]                                   # optimiser
      %20 = min %19.one, 1 : f32[]                                   # optimiser
      %22 = mul %13, %20.one : f32[2,1]                              # optimiser
      %23 = neg rate : f32[]                                         # dense1.weight
      %25 = mul_add %23.one, %22, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %25
    ");
}

#[test]
fn l2_decay_costs_one_operation_in_the_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1).l2(0.5))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %15 = mul_add dense1.weight, 0.5, %13 : f32[2,1]               # dense1.weight
      %16 = neg rate : f32[]                                         # dense1.weight
      %18 = mul_add %16.one, %15, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %18
    ");
}

#[test]
fn decoupled_decay_costs_one_operation_in_the_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1).decay(0.5))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = mul dense1.weight, keep(0.5) : f32[2,1]                  # dense1.weight
      %18 = neg rate : f32[]                                         # dense1.weight
      %20 = mul_add %18.one, %13, %17 : f32[2,1]                     # dense1.weight
      dense1.weight <- %20
    ");
}

#[test]
fn nesterov_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Sgd::new(0.1).momentum(0.9).nesterov())), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %16 = mul_add dense1.weight.velocity, 0.9, %13 : f32[2,1]      # dense1.weight
      %17 = mul_add %16, 0.9, %13 : f32[2,1]                         # dense1.weight
      %18 = neg rate : f32[]                                         # dense1.weight
      %20 = mul_add %18.one, %17, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %20
      dense1.weight.velocity <- %16
    ");
}

#[test]
fn ada_grad_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(AdaGrad::new(0.1))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %16 = mul_add %13, %13, dense1.weight.sum : f32[2,1]           # dense1.weight
      %17 = sqrt %16 : f32[2,1]                                      # dense1.weight
      %18 = add %17, 1e-10 : f32[2,1]                                # dense1.weight
      %19 = div %13, %18 : f32[2,1]                                  # dense1.weight
      %20 = neg rate : f32[]                                         # dense1.weight
      %22 = mul_add %20.one, %19, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %22
      dense1.weight.sum <- %16
    ");
}

#[test]
fn rms_prop_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(RmsProp::new(0.1))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %16 = mul %13, %13 : f32[2,1]                                  # dense1.weight
      %17 = mul %16, 0.01 : f32[2,1]                                 # dense1.weight
      %18 = mul_add dense1.weight.square, 0.99, %17 : f32[2,1]       # dense1.weight
      %19 = sqrt %18 : f32[2,1]                                      # dense1.weight
      %20 = add %19, 1e-8 : f32[2,1]                                 # dense1.weight
      %21 = div %13, %20 : f32[2,1]                                  # dense1.weight
      %22 = neg rate : f32[]                                         # dense1.weight
      %24 = mul_add %22.one, %21, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %24
      dense1.weight.square <- %18
    ");
}

#[test]
fn centred_rms_prop_with_momentum_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(RmsProp::new(0.1).centred().momentum(0.9))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %18 = mul %13, %13 : f32[2,1]                                  # dense1.weight
      %19 = mul %18, 0.01 : f32[2,1]                                 # dense1.weight
      %20 = mul_add dense1.weight.square, 0.99, %19 : f32[2,1]       # dense1.weight
      %21 = mul %13, 0.01 : f32[2,1]                                 # dense1.weight
      %22 = mul_add dense1.weight.mean, 0.99, %21 : f32[2,1]         # dense1.weight
      %23 = neg %22 : f32[2,1]                                       # dense1.weight
      %24 = mul_add %23, %22, %20 : f32[2,1]                         # dense1.weight
      %25 = max %24, 0 : f32[2,1]                                    # dense1.weight
      %26 = sqrt %25 : f32[2,1]                                      # dense1.weight
      %27 = add %26, 1e-8 : f32[2,1]                                 # dense1.weight
      %28 = div %13, %27 : f32[2,1]                                  # dense1.weight
      %29 = mul_add dense1.weight.velocity, 0.9, %28 : f32[2,1]      # dense1.weight
      %30 = neg rate : f32[]                                         # dense1.weight
      %32 = mul_add %30.one, %29, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %32
      dense1.weight.square <- %20
      dense1.weight.mean <- %22
      dense1.weight.velocity <- %29
    ");
}

#[test]
fn ada_delta_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(AdaDelta::new(1.0))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = mul %13, %13 : f32[2,1]                                  # dense1.weight
      %18 = mul %17, 0.1 : f32[2,1]                                  # dense1.weight
      %19 = mul_add dense1.weight.square, 0.9, %18 : f32[2,1]        # dense1.weight
      %20 = add dense1.weight.delta, 1e-6 : f32[2,1]                 # dense1.weight
      %21 = sqrt %20 : f32[2,1]                                      # dense1.weight
      %22 = add %19, 1e-6 : f32[2,1]                                 # dense1.weight
      %23 = sqrt %22 : f32[2,1]                                      # dense1.weight
      %24 = div %21, %23 : f32[2,1]                                  # dense1.weight
      %25 = mul %24, %13 : f32[2,1]                                  # dense1.weight
      %26 = mul %25, %25 : f32[2,1]                                  # dense1.weight
      %27 = mul %26, 0.1 : f32[2,1]                                  # dense1.weight
      %28 = mul_add dense1.weight.delta, 0.9, %27 : f32[2,1]         # dense1.weight
      %29 = neg rate : f32[]                                         # dense1.weight
      %31 = mul_add %29.one, %25, dense1.weight : f32[2,1]           # dense1.weight
      dense1.weight <- %31
      dense1.weight.square <- %19
      dense1.weight.delta <- %28
    ");
}

#[test]
fn adam_w_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(AdamW::new(0.1))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %21 = mul dense1.weight, keep(0.01) : f32[2,1]                 # dense1.weight
      %22 = mul %13, 0.1 : f32[2,1]                                  # dense1.weight
      %23 = mul_add dense1.weight.m, 0.9, %22 : f32[2,1]             # dense1.weight
      %24 = mul %13, %13 : f32[2,1]                                  # dense1.weight
      %25 = mul %24, 0.001 : f32[2,1]                                # dense1.weight
      %26 = mul_add dense1.weight.v, 0.999, %25 : f32[2,1]           # dense1.weight
      %27 = sqrt %26 : f32[2,1]                                      # dense1.weight
      %28 = mul_add %27, root_correction, 1e-8 : f32[2,1]            # dense1.weight
      %29 = div %23, %28 : f32[2,1]                                  # dense1.weight
      %30 = neg step_size : f32[]                                    # dense1.weight
      %32 = mul_add %30.one, %29, %21 : f32[2,1]                     # dense1.weight
      dense1.weight <- %32
      dense1.weight.m <- %23
      dense1.weight.v <- %26
    ");
}

#[test]
fn lion_in_its_tile() {
    assert_snapshot!(updates(&Bare::trainer(Lion::new(0.1))), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = mul %13, 0.1 : f32[2,1]                                  # dense1.weight
      %18 = mul_add dense1.weight.m, 0.9, %17 : f32[2,1]             # dense1.weight
      %19 = neg rate : f32[]                                         # dense1.weight
      %21 = gt %18, 0 : bool[2,1]                                    # dense1.weight
      %22 = lt %18, 0 : bool[2,1]                                    # dense1.weight
      %23 = select %22, rate, %18 : f32[2,1]                         # dense1.weight
      %24 = select %21, %19.one, %23 : f32[2,1]                      # dense1.weight
      %25 = mul %13, 0.01 : f32[2,1]                                 # dense1.weight
      %26 = mul_add dense1.weight.m, 0.99, %25 : f32[2,1]            # dense1.weight
      %27 = add dense1.weight, %24 : f32[2,1]                        # dense1.weight
      dense1.weight <- %27
      dense1.weight.m <- %26
    ");
}

#[test]
fn a_group_with_a_rate_of_its_own_has_a_scalar_of_its_own() {
    let trainer = Bare::trainer(Sgd::new(0.1).decay(0.5)).group(Group::new("dense1.*").rate_factor(0.25));
    assert_snapshot!(updates(&trainer), @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %17 = mul dense1.weight, keep(0.5)@0.25 : f32[2,1]             # dense1.weight
      %18 = neg rate@0.25 : f32[]                                    # dense1.weight
      %20 = mul_add %18.one, %13, %17 : f32[2,1]                     # dense1.weight
      dense1.weight <- %20
    ");
}

#[test]
fn nothing_is_computed_backwards_of_the_first_layer_that_is_trained() {
    let trainer = Pair::trainer(Sgd::new(0.1)).freeze("dense1.*");
    assert_snapshot!(updates(&trainer), @"
    kernel 3: 3 x 1
      %23 = dot %6.T, %21 : f32[3,1]                                 # dense2
      %25 = neg rate : f32[]                                         # optimiser
      %27 = mul_add %25.one, %23, dense2.weight : f32[3,1]           # dense2.weight
      dense2.weight <- %27
    kernel 4: 1 x 1
      %25 = neg rate : f32[]                                         # optimiser
      %29 = mul_add %25.one, %22, dense2.bias : f32[1]               # dense2.bias
      dense2.bias <- %29
    ");
    let text = trainer.ir(Stage::Backward);
    let (_, backwards) = text.split_once("# loss\n").expect("there is a loss");
    assert_snapshot!(backwards, @"
    %14 = mul %13, %13 : f32[B,1]                                    # loss
    %15 = sum %14 over 0,1 : f32[]                                   # loss
    %16 = count B : f32[]                                            # loss
    %17 = div %15, %16 : f32[]                                       # loss
    %18 = div 1, %16 : f32[]                                         # loss
    %19 = broadcast %18 : f32[B,1]                                   # loss
    %20 = mul %19, %13 : f32[B,1]                                    # loss
    %21 = mul %19, %13 : f32[B,1]                                    # loss
    %22 = add %20, %21 : f32[B,1]                                    # loss
    %23 = sum %22 over 0 : f32[1]                                    # dense2
    %24 = dot %6.T, %22 : f32[3,1]                                   # dense2
    loss = %17
    d dense2.weight = %24
    d dense2.bias = %23
    ");
}

#[test]
fn a_frozen_layer_has_no_product_for_its_gradient() {
    let trainer = Pair::trainer(Sgd::new(0.1)).freeze("dense2.weight");
    assert_snapshot!(updates(&trainer), @"
    kernel 3: B x 3
      %23 = dot %21, dense2.weight.T : f32[B,3]                      # dense2
      %24 = neg %6 : f32[B,3]                                        # tanh1
      %25 = mul_add %24, %6, 1 : f32[B,3]                            # tanh1
      %26 = mul %23, %25 : f32[B,3]                                  # tanh1
      %27 = sum %26 over 0 : f32[3]                                  # dense1
      keep %26
    kernel 4: 2 x 3
      %28 = dot x.T, %26 : f32[2,3]                                  # dense1
      %30 = neg rate : f32[]                                         # optimiser
      %32 = mul_add %30.one, %28, dense1.weight : f32[2,3]           # dense1.weight
      dense1.weight <- %32
    kernel 5: 1 x 3
      %30 = neg rate : f32[]                                         # optimiser
      %34 = mul_add %30.one, %27, dense1.bias : f32[3]               # dense1.bias
      dense1.bias <- %34
    kernel 6: 1 x 1
      %30 = neg rate : f32[]                                         # optimiser
      %36 = mul_add %30.one, %22, dense2.bias : f32[1]               # dense2.bias
      dense2.bias <- %36
    ");
}

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
    let trainer = Classifier::trainer(Sgd::new(0.5).decay(0.3)).clip_value(0.02);
    check_step("decoupled", trainer, 1.0, |_, p, g, _| p * (1.0 - 0.5 * 0.3) - 0.5 * g.clamp(-0.02, 0.02));
}

// ---- Groups ---------------------------------------------------------------------------------------------------------

#[test]
fn groups_have_their_own_rates_and_decay() {
    let trainer = Classifier::trainer(Sgd::new(0.5).decay(0.3))
        .group(Group::new("*.bias").no_decay())
        .group(Group::new("batch_norm*").no_decay())
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
        || Classifier::trainer(Sgd::new(0.5).momentum(0.9).decay(0.3)).freeze("dense?.weight").freeze("*2.beta");
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
fn everything_may_be_frozen() {
    let mut net = Bare::trainer(Adam::new(0.1)).clip_norm(1.0).freeze("*").build().expect("it builds");
    let before = state(&net);
    net.step(Array2::ones((3, 2)).view(), Array2::ones((3, 1)).view()).expect("the batch fits");
    assert_eq!(state(&net), before);
}

#[test]
fn a_pattern_without_parameters_is_refused_with_a_suggestion() {
    let refusal = |pattern: &str| match Classifier::trainer(Sgd::new(0.1)).freeze(pattern).build() {
        Err(error @ BuildError::Pattern { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    };
    assert_snapshot!([refusal("batchnorm*"), refusal("dense1"), refusal("batch_norm1.running_mean"), refusal("head.*")].join("\n"), @"
    no trained parameter matches `batchnorm*`; did you mean `batch_norm*`?
    no trained parameter matches `dense1`; did you mean `dense1.*`?
    no trained parameter matches `batch_norm1.running_mean`
    no trained parameter matches `head.*`
    ");
}

#[test]
fn settings_of_optimisers_out_of_range_are_refused() {
    let refusal = |trainer: Trainer<Bare>| match trainer.build() {
        Err(error @ BuildError::Setting { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    };
    let sgd = || Sgd::new(0.1);
    let refusals = [
        refusal(Bare::trainer(sgd().l2(-0.1))),
        refusal(Bare::trainer(sgd().decay(f64::INFINITY))),
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
        refusal(Bare::trainer(sgd()).group(Group::new("*").decay(f64::NAN))),
    ];
    assert_snapshot!(refusals.join("\n"), @"
    l2 must be a finite number of at least 0, got -0.1
    decay must be a finite number of at least 0, got inf
    Nesterov's momentum must be above 0, got 0
    eps must be a finite number of at least 0, got -1
    alpha must be at least 0 and below 1, got 1
    momentum must be at least 0 and below 1, got 1
    rho must be at least 0 and below 1, got -0.1
    eps must be a finite number above 0, got 0
    beta2 must be at least 0 and below 1, got 1
    clip_value must be a finite number above 0, got 0
    clip_norm must be a finite number above 0, got NaN
    rate_factor of a group must be a finite number of at least 0, got -1
    decay of a group must be a finite number of at least 0, got NaN
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

// ---- Accumulation ---------------------------------------------------------------------------------------------------

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
        || Rowwise::trainer(Sgd::new(0.5).decay(0.1)).clip_norm(0.1),
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
fn accumulating_adds_in_the_tile_and_the_update_reads_the_sum() {
    let how = Sgd::new(0.1).into();
    let fused = |purpose| fuse(&simplified(Bare::DEFINITION, purpose).expect("it is sound")).to_string();
    let text = fused(Purpose::Accumulate(&how));
    let (_, sums) = text.split_once("check that the loss is finite\n").expect("the loss is checked");
    assert_snapshot!(sums, @"
    kernel 2: 2 x 1
      %13 = dot x.T, %12 : f32[2,1]                                  # dense1
      %18 = mul %13, B : f32[2,1]                                    # dense1.weight
      %19 = mul_add dense1.weight.accumulated, kept, %18 : f32[2,1]  # dense1.weight
      dense1.weight.accumulated <- %19
    ");
    assert_snapshot!(fused(Purpose::Update(&how)), @"
    kernel 0: 2 x 1
      %3 = div dense1.weight.accumulated, rows : f32[2,1]            # dense1.weight
      %6 = neg rate : f32[]                                          # dense1.weight
      %8 = mul_add %6.one, %3, dense1.weight : f32[2,1]              # dense1.weight
      dense1.weight <- %8
    ");
}
