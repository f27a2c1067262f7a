//! Beside items of the user's that are called what the expansion might call its own.

#![allow(dead_code, non_camel_case_types, non_snake_case, non_upper_case_globals, unused_macros)]

use gradloom::network;

pub struct NetMetrics;
impl NetMetrics {
    const WIDTH: ::core::primitive::usize = 4;
}
pub struct Step;
pub struct Metrics;
pub struct Supervised;
pub struct Network;
pub struct Definition;
pub struct Tensor;
pub struct Stage;
pub struct Trainer;
pub struct Report;
pub struct Error;
pub struct Optimizer;
pub struct Outcome;
pub struct Kind;
pub struct Expr;
pub struct At;
pub struct Option;
pub struct Result;
pub struct String;
pub trait Clone {}
pub trait Copy {}
pub trait Debug {}
pub trait Into {}
pub trait FnMut {}
pub trait Iterator {}
pub trait IntoIterator {}
pub enum Some {}
pub enum None {}
type f32 = bool;
type f64 = bool;
type u8 = bool;
type str = bool;
type usize = bool;

// As patterns these would be taken for themselves.
struct visit;
struct report;
struct next;
const inputs: () = ();
struct metrics;
const targets: () = ();
static optimizer: () = ();
static stage: () = ();
const number: () = ();
struct x;
struct label;
const y: () = ();
const h: () = ();
const args: () = ();
const base: () = ();
struct assembly;
static sizes: () = ();
struct operands;
const param: () = ();
const values: () = ();
const act: () = ();
struct declared;
struct ChosenSizes;
const swish: () = ();
const beta: () = ();

mod core {}
mod std {}
mod ndarray {}
mod layers {}
mod functions {}
mod __private {}

macro_rules! place {
    () => {};
}
macro_rules! line {
    () => {};
}
macro_rules! compile_error {
    () => {};
}

const SLOPE: ::core::primitive::f64 = 0.5;

network! {
    act swish = |x, beta = 1.0| x * sigmoid(beta * x);
    block Step(n) { Dense(n), swish }
    pub Net<x: [B, NetMetrics::WIDTH] -> y: [B, 3]> { Step(4) as h, leaky_relu(crate::SLOPE), Dense(3) }
    loss(label: [u8; B]) = cross_entropy(y, label) + 1e-4 * l2(weights) + mean(abs(h)) + crate::SLOPE;
    metric accuracy = mean(argmax(y) == label);
    metric next = mean(y);
    metric found = mean(y > 0.0 && y < 1.0);
    metric report = mean(y);

    /// Used by its path, with names that the expansion uses.
    pub block Wide(args, base = 2 * args, param = true) { Dense(base, bias = param), self::soft(values = 0.5), Dense(args) }
    pub act soft = |sizes, values = 1.0| sizes * sigmoid(values * sizes);

    /// Assembled when the program runs.
    pub Chosen(assembly: usize = 4, declared: usize = 2, Sizes: usize = 1)<x: [B, assembly] -> y: [B, 3]> {
        self::Wide(declared) as operands, Dense(NetMetrics::WIDTH * Sizes), Dense(3),
    }
    loss(act: [B, 3]) = mse(y, act) + self::soft(mean(operands), values = crate::SLOPE);

    /// Beside the metrics of `Net`.
    pub Net_Step<[B, 4] -> [B, 1]> { Dense(1) }
}

mod two {
    super::network! {
        pub A<[B, 4] -> [B, 1]> { Dense(1) }
        loss = mean(out);
        pub AMetrics<[B, 4] -> [B, 1]> { Dense(1) }
        loss = mean(out);
        pub AMetricsMetrics<[B, 4] -> [B, 1]> { Dense(1) }
    }
}

fn main() {
    let sum = |step: gradloom::MetricsOf<Net>| step.loss + step.accuracy + step.next + step.report;
    let _ = (sum, Net::trainer(gradloom::Adam::new(1e-3)), Net::predictor(), two::A, two::AMetrics, two::AMetricsMetrics);
    let _ = Chosen::predictor().with(|chosen| chosen.declared = 3);
    let _ = (Net, Net_Step::ir(gradloom::Stage::Static), NetMetrics);
}
