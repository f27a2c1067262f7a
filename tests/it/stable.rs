//! Expressions that would lose their digits: what becomes of them, and that the numbers are right where they were not.

use gradloom::{Network, Sgd, Stage, network};
use gradloom_runtime::stabilize::RULES;
use insta::assert_snapshot;
use ndarray::array;

network! {
    LnOnePlusExp<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h, |x| ln(1 + exp(x)) } loss = sum(y);
    LnSigmoid<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h, |x| ln(sigmoid(x)) } loss = sum(y);
    LnOneMinusSigmoid<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h, |x| ln(1 - sigmoid(x)) } loss = sum(y);
    LnOnePlus<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h, |x| ln(x + 1) } loss = sum(y);
    ExpMinusOne<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h, |x| exp(x) - 1 } loss = sum(y);
    Logistic<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h, |x| 1 / (1 + exp(-x)) } loss = sum(y);
    Apart<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h } loss = sum((y - mean(x)) * (y - sum(y) / 3));
    LnSoftmax<x: [B, 2] -> y: [B, 2]> { Dense(2, bias = false) as h } loss = mean(ln(softmax(y)));
    Deviation<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false) as h } loss = mean((y - mean(y)) * (y - mean(y)));
    Left<x: [B, 1] -> y: [B, 1]> { |x| ln(2 + exp(x)) + (exp(x) - 2) + ln(1 + 2 / x) + 2 / (1 + exp(-x)) + ln(x - 1) } loss = sum(y);
}

/// Loss and gradient by the weight for one input, with a weight of 1.
fn at<N>(x: f32) -> (f32, f32)
where
    N: for<'a> Network<Inputs<'a> = ndarray::ArrayView2<'a, f32>, Targets<'a> = ()>,
{
    let mut net = gradloom::Trainer::<N>::new(Sgd::new(0.1)).build().expect("it builds");
    net.set_param("h.weight", array![[1.0f32]].view()).expect("it has a weight");
    let x = array![[x]];
    let gradients = net.gradients(x.view(), ()).expect("the loss is finite");
    (gradients.loss, gradients.get("h.weight").expect("it is there").sum() / x[[0, 0]])
}

#[track_caller]
fn close((loss, slope): (f32, f32), (wanted_loss, wanted_slope): (f64, f64)) {
    let near = |found: f32, wanted: f64| (f64::from(found) - wanted).abs() <= 1e-6 * wanted.abs().max(1e-30);
    assert!(near(loss, wanted_loss) && near(slope, wanted_slope), "{loss} {slope}, not {wanted_loss} {wanted_slope}");
}

#[test]
fn nothing_overflows_and_nothing_is_lost() {
    close(at::<LnOnePlusExp>(100.0), (100.0, 1.0));
    close(at::<LnOnePlusExp>(-20.0), (2.061153620314381e-9, 2.061153618190204e-9));
    close(at::<LnSigmoid>(-200.0), (-200.0, 1.0));
    close(at::<LnSigmoid>(20.0), (-2.061153620314381e-9, 2.061153618190204e-9));
    close(at::<LnOneMinusSigmoid>(100.0), (-100.0, -1.0));
    close(at::<LnOnePlus>(1e-10), (1e-10, 1.0));
    close(at::<ExpMinusOne>(1e-10), (1e-10, 1.0));
    close(at::<Logistic>(-87.0), (1.6458114310822737e-38, 1.6458114310822737e-38));
}

#[test]
fn a_probability_of_zero_has_a_logarithm() {
    let mut net = LnSoftmax::trainer(Sgd::new(0.1)).build().expect("it builds");
    net.set_param("h.weight", array![[1.0f32, 0.0], [0.0, 1.0]].view()).expect("it has a weight");
    let x = array![[300.0f32, -300.0]];
    let gradients = net.gradients(x.view(), ()).expect("the loss is finite");
    assert_eq!(gradients.loss, -300.0);
    assert!(gradients.get("h.weight").expect("it is there").iter().all(|x| x.is_finite()));
}

#[test]
fn the_line_names_the_rule() {
    assert_snapshot!(LnSigmoid::ir(Stage::Forward), @r"
    %0 = input x : f32[B,1]
    %1 = param h.weight : f32[1,1]                                   # h
    %2 = dot %0, %1 : f32[B,1]                                       # h
    %3 = neg %2 : f32[B,1]                                           # lambda1 (stable-ln-sigmoid)
    %4 = softplus %3 : f32[B,1]                                      # lambda1 (stable-ln-sigmoid)
    %5 = neg %4 : f32[B,1]                                           # lambda1 (stable-ln-sigmoid)
    %6 = sum %5 over 0,1 : f32[]                                     # loss
    output y = %5
    loss = %6
    ");
}

#[test]
fn every_rule_is_shown_here() {
    let texts = [
        LnOnePlusExp::ir(Stage::Forward),
        LnSigmoid::ir(Stage::Forward),
        LnOneMinusSigmoid::ir(Stage::Forward),
        LnOnePlus::ir(Stage::Forward),
        ExpMinusOne::ir(Stage::Forward),
        Logistic::ir(Stage::Forward),
        LnSoftmax::ir(Stage::Forward),
        Deviation::ir(Stage::Forward),
    ]
    .concat();
    let shown = |rule: &&gradloom_runtime::ir::Rule| texts.matches(&format!("({})", rule.name)).count() > 0;
    assert_eq!(RULES.iter().filter(shown).count(), RULES.len(), "{texts}");
}

#[test]
fn what_only_looks_alike_is_left_alone() {
    let text = Left::ir(Stage::Forward);
    assert_eq!(text.matches("(stable-").count(), 1, "{text}");
    assert!(text.contains("(stable-ln-one-plus)"), "{text}");
    // Neither the mean of something else nor something else than a mean.
    assert!(!Apart::ir(Stage::Forward).contains("(stable-"), "{}", Apart::ir(Stage::Forward));
}
