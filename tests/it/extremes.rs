//! Optimizers at both ends of the range of numbers, and beside what is no number: against f64, with what an f32 can't hold bounded
//! or refused.

use gradloom::ndarray::{Array2, array};
use gradloom::{
    AdaDelta, AdaGrad, Adam, AdamW, BuildError, Group, Lion, RmsProp, RunError, Schedule, Session, Sgd, Trainer,
    network,
};
use insta::assert_snapshot;

network! {
    /// In one row `x` and with a target of 1, the gradient of the weight is `x`, to the bit.
    Plain<x: [B, 4] -> y: [B, 1]> { Dense(1, bias = false, init = zeros) }
    loss(g: [B, 1]) = mean(g * y);

    /// Two parameters, with gradients `1e-30 x` and, for outputs of the first layer of 0, `x` times the weight of the second.
    Deep<x: [B, 2] -> y: [B, 2]> { Dense(2, bias = false, init = zeros), Dense(2, init = zeros) }
    loss(g: [B, 2]) = sum(g * y);

    /// The slope of the root at 0 is infinite.
    Root<x: [B, 1] -> y: [B, 1]> { Dense(1) }
    loss = mean(sqrt(y));
}

type Four = [f32; 4];

fn built(trainer: Trainer<Plain>) -> Session<Plain> {
    trainer.build().expect("it builds")
}

/// A step with this gradient.
fn follow(net: &mut Session<Plain>, gradient: Four) -> Result<(), RunError> {
    net.step(array![gradient].view(), array![[1.0]].view()).map(drop)
}

fn weight(net: &Session<Plain>) -> Vec<f64> {
    net.param("dense1.weight").expect("it exists").iter().map(|&w| f64::from(w)).collect()
}

/// Within a few roundings of what is wanted, or as near as the least number there is.
#[track_caller]
fn close(found: &[f64], wanted: &[f64], relative: f64) {
    let near = |found: f64, wanted: f64| (found - wanted).abs() <= relative * wanted.abs() + 3e-45;
    let all = found.iter().zip(wanted).all(|(&found, &wanted)| near(found, wanted));
    assert!(all && found.len() == wanted.len(), "{found:?}, want {wanted:?}");
}

// ---- Clipping by norm -----------------------------------------------------------------------------------------------

#[test]
fn a_norm_whose_squares_overflow_clips_as_any_other() {
    let gradients = [
        [3e19, 4e19, 0.0, 0.0],
        [-3e38, 3e38, 3e38, -3e38],
        [3e38, 1e19, 1.0, 1e-15],
        [1.9e19, 0.0, 0.0, 0.0],
        [1e19, 1e19, 1e19, 1e19],
        [1e-25, 2e-25, 0.0, -1e-30],
        [3.0, 4.0, 1e-20, 0.0],
    ];
    for (gradient, limit) in
        gradients.into_iter().flat_map(|gradient| [1.0, 1e-6, 1e18, 1e30].map(|limit| (gradient, limit)))
    {
        let mut net = built(Plain::trainer(Sgd::new(1.0)).clip_norm(limit).sentinel(true));
        follow(&mut net, gradient).expect("all of it is finite");
        let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let factor = (limit / (norm + 1e-6)).min(1.0);
        let wanted: Vec<f64> = gradient.iter().map(|&g| -factor * f64::from(g)).collect();
        close(&weight(&net), &wanted, 1e-6);
    }
}

#[test]
fn the_norm_is_that_of_all_parameters_also_where_only_one_overflows() {
    let mut net = Deep::trainer(Sgd::new(1.0)).clip_norm(2.0).build().expect("it builds");
    net.set_param("dense2.weight", array![[1e-20f32, 0.0], [0.0, 1e-20]].view()).expect("it fits");
    let x = array![[1.0f32, 0.5]];
    net.step(x.view(), array![[6e19, 8e19]].view()).expect("all of it is finite");
    let read = |name: &str| net.param(name).expect("it exists").iter().map(|&w| f64::from(w)).collect::<Vec<f64>>();
    close(&read("dense2.bias"), &[-1.2, -1.6], 1e-6);
    let wanted = [1.0, 0.5].map(|x| [0.6, 0.8].map(|g| -x * g / 5e19)).concat();
    close(&read("dense1.weight"), &wanted, 1e-5);
}

#[test]
fn gradients_that_are_no_numbers_are_not_clipped_into_numbers() {
    for wrong in [f32::NAN, f32::INFINITY] {
        let trainer = || Root::trainer(Sgd::new(1.0)).clip_norm(1.0);
        let run = |trainer: Trainer<Root>| {
            let mut net = trainer.build().expect("it builds");
            net.set_param("dense1.weight", array![[0.0f32]].view()).expect("it fits");
            let result = net.step(array![[if wrong.is_nan() { 0.0 } else { 1.0 }]].view(), ()).map(drop);
            (result, net.param("dense1.bias").expect("it exists")[[0]])
        };
        let (result, bias) = run(trainer());
        assert!(result.is_ok() && bias.is_nan(), "{bias}");
        assert!(matches!(run(trainer().sentinel(true)), (Err(RunError::Update { .. }), 0.0)));
    }
}

// ---- Squares in the state -------------------------------------------------------------------------------------------

/// So many steps of an optimizer with one gradient, in f64.
fn reference(gradient: f64, steps: i32, rule: impl Fn(&mut [f64; 3], f64, i32) -> f64) -> f64 {
    let mut state = [0.0; 3];
    (1..=steps).map(|t| -rule(&mut state, gradient, t)).sum()
}

type Make = fn() -> Trainer<Plain>;
type Rule = fn(&mut [f64; 3], f64, i32) -> f64;

/// Small enough for products of weights and the largest numbers.
const RATE: f64 = 1e-3;

/// Every optimizer whose state has squares, with its rule.
fn squaring() -> Vec<(Make, Rule)> {
    let adam: Rule = |[m, v, _], g, t| {
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.999 * *v + 0.001 * g * g;
        RATE * (*m / (1.0 - 0.9f64.powi(t))) / ((*v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8)
    };
    vec![
        (|| Plain::trainer(Adam::new(RATE)), adam),
        (|| Plain::trainer(AdamW::new(RATE).weight_decay(0.0)), adam),
        (
            || Plain::trainer(AdaGrad::new(RATE)),
            |[s, ..], g, _| {
                *s += g * g;
                RATE * g / (s.sqrt() + 1e-10)
            },
        ),
        (
            || Plain::trainer(RmsProp::new(RATE)),
            |[s, ..], g, _| {
                *s = 0.99 * *s + 0.01 * g * g;
                RATE * g / (s.sqrt() + 1e-8)
            },
        ),
        (
            || Plain::trainer(RmsProp::new(RATE).centered().momentum(0.5)),
            |[s, m, v], g, _| {
                *s = 0.99 * *s + 0.01 * g * g;
                *m = 0.99 * *m + 0.01 * g;
                *v = 0.5 * *v + g / ((*s - *m * *m).sqrt() + 1e-8);
                RATE * *v
            },
        ),
        (
            || Plain::trainer(AdaDelta::new(RATE)),
            |[s, u, _], g, _| {
                *s = 0.9 * *s + 0.1 * g * g;
                let step = g * (*u + 1e-6).sqrt() / (*s + 1e-6).sqrt();
                *u = 0.9 * *u + 0.1 * step * step;
                RATE * step
            },
        ),
    ]
}

#[test]
fn gradients_whose_squares_overflow_make_the_steps_that_they_should() {
    let gradient = [1e20f32, -3e38, 1.5e19, 1e-25];
    for (trainer, rule) in squaring() {
        let mut net = built(trainer());
        for steps in 1..=6 {
            follow(&mut net, gradient).expect("all of it is finite");
            let wanted = gradient.map(|g| reference(f64::from(g), steps, rule));
            close(&weight(&net), &wanted, 1e-4);
        }
    }
}

#[test]
fn a_parameter_goes_on_after_gradients_that_overflowed() {
    for (trainer, _) in squaring() {
        let mut net = built(trainer());
        for _ in 0..20 {
            follow(&mut net, [1e25, 1e38, -1e30, 1e20]).expect("all of it is finite");
        }
        let before = weight(&net);
        follow(&mut net, [1e25, 1e38, -1e30, 1e20]).expect("all of it is finite");
        assert!(before.iter().zip(weight(&net)).all(|(old, new)| (old - new).abs() > 1e-7), "{before:?}");
        let sound = |name: &str| net.param(name).expect("it exists").iter().all(|x| x.is_finite());
        assert!(net.names().all(sound));
    }
}

#[test]
fn a_sentinel_refuses_squares_that_overflow() {
    for (trainer, _) in squaring() {
        let mut net = built(trainer().sentinel(true));
        let error = follow(&mut net, [1.0, 1e25, 0.0, 1.0]).expect_err("a square overflows");
        assert!(error.to_string().contains("1e25 * 1e25 = inf"), "{error}");
        assert!(weight(&net) == [0.0; 4]);
    }
}

#[test]
fn infinite_gradients_are_not_bounded_into_numbers() {
    for (trainer, _) in squaring() {
        // The overflow is in the sum over rows: x and g are finite.
        let step = |net: &mut Session<Plain>| {
            net.step(array![[3e38, 1.0, 1.0, 1.0], [3e38, 1.0, 1.0, 1.0]].view(), array![[2.0], [2.0]].view()).map(drop)
        };
        let mut net = built(trainer());
        step(&mut net).expect("the loss is finite");
        assert!(weight(&net)[0].is_nan() && weight(&net)[1] < 0.0);
        let mut net = built(trainer().sentinel(true));
        assert!(matches!(step(&mut net), Err(RunError::Update { .. })));
        assert!(weight(&net) == [0.0; 4]);
    }
}

// ---- What is multiplied by 0 ----------------------------------------------------------------------------------------

#[test]
fn a_rate_factor_of_0_moves_nothing_beside_any_gradient() {
    let trainers: [fn() -> Trainer<Root>; 3] = [
        || Root::trainer(Sgd::new(0.1).momentum(0.9).weight_decay(0.1)),
        || Root::trainer(Adam::new(0.1)),
        || Root::trainer(Lion::new(0.1).l2(0.1)),
    ];
    for trainer in trainers {
        let mut net = trainer().group(Group::new("*.weight").rate_factor(0.0)).build().expect("it builds");
        net.set_param("dense1.weight", array![[0.25f32]].view()).expect("it fits");
        net.set_param("dense1.bias", array![-0.25f32].view()).expect("it fits");
        net.step(array![[1.0]].view(), ()).expect("the loss is 0");
        assert_eq!(net.param("dense1.weight").expect("it exists")[[0, 0]], 0.25);
        assert_ne!(net.param("dense1.bias").expect("it exists")[[0]], -0.25);
        let report = net.diagnose(array![[1.0]].view(), ());
        assert!(report.is_ok(), "{report:?}");
    }
}

#[test]
fn what_nothing_is_kept_of_plays_no_part() {
    let trainers: [(Make, &[&str]); 5] = [
        (|| Plain::trainer(Adam::new(0.5).betas(0.0, 0.0)), &["m", "v"]),
        (|| Plain::trainer(RmsProp::new(0.5).alpha(0.0).centered()), &["square", "mean"]),
        (|| Plain::trainer(AdaDelta::new(0.5).rho(0.0)), &["square"]),
        (|| Plain::trainer(Lion::new(0.5).betas(0.0, 0.0)), &["m"]),
        (|| Plain::trainer(Sgd::new(0.5).momentum(1e-60)), &["velocity"]),
    ];
    for (trainer, state) in trainers {
        let (mut net, mut twin) = (built(trainer()), built(trainer()));
        for (wrong, name) in
            [f32::NAN, f32::INFINITY].into_iter().flat_map(|wrong| state.iter().map(move |name| (wrong, name)))
        {
            let poison = Array2::from_elem((4, 1), wrong);
            net.set_param(&format!("dense1.weight.{name}"), poison.view()).expect("it fits");
            for net in [&mut net, &mut twin] {
                follow(net, [1.0, -2.0, 0.5, 1e-3]).expect("all of it is finite");
            }
            assert_eq!(weight(&net), weight(&twin));
        }
    }
}

// ---- Settings beyond an f32 -----------------------------------------------------------------------------------------

#[test]
fn settings_that_no_f32_holds_are_refused_by_name() {
    let refusal = |trainer: Trainer<Plain>| match trainer.build() {
        Err(error @ BuildError::Setting { .. }) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    };
    let plain = |optimizer: Sgd| Plain::trainer(optimizer);
    let group = |group: fn(Group) -> Group| Plain::trainer(Sgd::new(1e-20)).group(group(Group::new("*")));
    let almost = 1.0 - 1e-9;
    let refusals = [
        refusal(plain(Sgd::new(1e-50))),
        refusal(plain(Sgd::new(1e50))),
        refusal(plain(Sgd::new(Schedule::cosine(1e50, 10)))),
        refusal(plain(Sgd::new(Schedule::exponential(0.1, 0.9).to(1e-50)))),
        refusal(plain(Sgd::new(0.1).l2(1e-50))),
        refusal(plain(Sgd::new(0.1).weight_decay(1e39))),
        refusal(plain(Sgd::new(1e30).weight_decay(1e10))),
        refusal(plain(Sgd::new(0.1).momentum(almost))),
        refusal(group(|group| group.rate_factor(1e-30))),
        refusal(group(|group| group.rate_factor(1e-60))),
        refusal(group(|group| group.l2(1e50))),
        refusal(plain(Sgd::new(0.1)).clip_norm(1e-50)),
        refusal(plain(Sgd::new(0.1)).clip_value(1e50)),
        refusal(Plain::trainer(Adam::new(0.1).betas(almost, 0.9))),
        refusal(Plain::trainer(Adam::new(0.1).betas(0.9, almost))),
        refusal(Plain::trainer(Adam::new(1e38))),
        refusal(Plain::trainer(Adam::new(0.1).eps(0.0))),
        refusal(Plain::trainer(AdamW::new(0.1).eps(1e-50))),
        refusal(Plain::trainer(AdaGrad::new(0.1).eps(0.0))),
        refusal(Plain::trainer(RmsProp::new(0.1).eps(1e-30))),
        refusal(Plain::trainer(RmsProp::new(0.1).alpha(almost))),
        refusal(Plain::trainer(AdaDelta::new(1.0).eps(1e-50))),
        refusal(Plain::trainer(AdaDelta::new(1.0).rho(almost))),
        refusal(Plain::trainer(Lion::new(0.1).betas(0.9, almost))),
    ];
    assert_snapshot!(refusals.join("\n"), @"
    learning rate must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    learning rate must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e50
    learning rate must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e50
    the end of a schedule must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    l2 must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    weight_decay must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e39
    the learning rate times `weight_decay` must be at most 3.4e38, the largest f32, got 1e40
    momentum must be at most 0.99999994, the last f32 before 1, got 0.999999999
    the learning rate times the `rate_factor` of a group must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    rate_factor of a group must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e-60
    l2 of a group must be 0 or from 1.2e-38 to 3.4e38, the range of an f32, got 1e50
    clip_norm must be from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    clip_value must be from 1.2e-38 to 3.4e38, the range of an f32, got 1e50
    beta1 must be at most 0.99999994, the last f32 before 1, got 0.999999999
    beta2 must be at most 0.99999994, the last f32 before 1, got 0.999999999
    step_size must be at most 3.4e38, the largest f32, got inf
    eps must be from 1e-18 to 3.4e38, got 0
    eps must be from 1e-18 to 3.4e38, got 1e-50
    eps must be from 1e-18 to 3.4e38, got 0
    eps must be from 1e-18 to 3.4e38, got 1e-30
    alpha must be at most 0.99999994, the last f32 before 1, got 0.999999999
    eps must be from 1.2e-38 to 3.4e38, the range of an f32, got 1e-50
    rho must be at most 0.99999994, the last f32 before 1, got 0.999999999
    beta2 must be at most 0.99999994, the last f32 before 1, got 0.999999999
    ");
    let mut net = built(Plain::trainer(Sgd::new(0.1)).group(Group::new("*").rate_factor(1e-10)));
    for rate in [1e-50, 1e-30, 1e40] {
        assert!(net.set_learning_rate(rate).is_err(), "{rate}");
    }
    assert_eq!(net.learning_rate(), 0.1);
    net.set_learning_rate(0.0).expect("0 holds everything still");
}

#[test]
fn a_schedule_may_fall_below_what_an_f32_holds() {
    let mut net = built(Plain::trainer(Sgd::new(Schedule::exponential(1.0, 1e-30))));
    for _ in 0..5 {
        follow(&mut net, [1.0; 4]).expect("all of it is finite");
    }
    assert_eq!(weight(&net), [-1.0; 4]);
}

/// A gradient of zero moves nothing, and makes nothing that is no number, at the least `eps` there is.
#[test]
fn a_gradient_of_zero_moves_nothing() {
    for (trainer, _) in squaring() {
        let mut net = built(trainer());
        follow(&mut net, [0.0; 4]).expect("all of it is finite");
        assert_eq!(weight(&net), [0.0; 4]);
    }
    for trainer in [
        Plain::trainer(Adam::new(0.5).eps(1e-18)),
        Plain::trainer(AdaGrad::new(0.5).eps(1e-18)),
        Plain::trainer(RmsProp::new(0.5).eps(1e-18)),
        Plain::trainer(AdaDelta::new(0.5).eps(1.2e-38)),
    ] {
        let mut net = built(trainer);
        for gradient in [[0.0; 4], [0.0, 1e-25, -1e-38, 1e-17]] {
            follow(&mut net, gradient).expect("all of it is finite");
            assert!(weight(&net).iter().all(|w| w.abs() < 6.0), "{:?}", weight(&net));
        }
    }
}
