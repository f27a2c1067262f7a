//! Adam and AdamW: steps scaled by running moments of the gradient.

use super::{At, Optimiser, check_rate, within};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};

/// Adam (Kingma & Ba 2015, algorithm 1): `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// p -= rate m^ / (sqrt(v^) + eps)` with `m^ = m / (1 - b1^t)` and `v^ = v / (1 - b2^t)`. State: `m`, `v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam(Settings);

/// AdamW (Loshchilov & Hutter 2019, algorithm 2): Adam, and apart from it `p -= rate decay p`, on every parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    adam: Settings,
    decay: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    rate: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl Settings {
    fn new(rate: f64) -> Settings {
        Settings { rate, beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }

    fn check(&self) -> Result<(), BuildError> {
        check_rate(self.rate)?;
        within("beta1", self.beta1, 1.0, "at least 0 and below 1")?;
        within("beta2", self.beta2, 1.0, "at least 0 and below 1")?;
        within("eps", self.eps, f64::INFINITY, "a finite number of at least 0")
    }

    /// `rate / (1 - b1^t)` and `1 / sqrt(1 - b2^t)`.
    fn corrections(&self, rate: f64, step: u64) -> [f32; 2] {
        let power = |beta: f64| beta.powf(step as f64);
        [(rate / (1.0 - power(self.beta1))) as f32, (1.0 / (1.0 - power(self.beta2)).sqrt()) as f32]
    }

    /// The amount to subtract from the parameter, and the next moments.
    fn step(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let &[m, v] = at.state else { unreachable!("Adam has two moments") };
        let m = moment(b, m, at.gradient, self.beta1);
        let square = b.mul(at.gradient, at.gradient);
        let v = moment(b, v, square, self.beta2);
        let root = b.sqrt(v);
        let root = b.mul(root, at.scalars[1]);
        let denominator = b.offset(root, self.eps);
        let direction = b.div(m, denominator);
        (b.mul(at.scalars[0], direction), vec![m, v])
    }
}

/// `beta old + (1 - beta) new`.
fn moment(b: &mut Builder, old: NodeId, new: NodeId, beta: f64) -> NodeId {
    let kept = b.scale(old, beta);
    let added = b.scale(new, 1.0 - beta);
    b.add(kept, added)
}

impl Adam {
    /// With this learning rate, `beta1 = 0.9`, `beta2 = 0.999` and `eps = 1e-8`.
    pub fn new(rate: f64) -> Adam {
        Adam(Settings::new(rate))
    }

    /// The decay rates of the two moments, each from 0 up to but not including 1.
    pub fn betas(self, beta1: f64, beta2: f64) -> Adam {
        Adam(Settings { beta1, beta2, ..self.0 })
    }

    /// The number added to the root of the second moment.
    pub fn eps(self, eps: f64) -> Adam {
        Adam(Settings { eps, ..self.0 })
    }
}

impl Optimiser for Adam {
    fn rate(&self) -> f64 {
        self.0.rate
    }

    fn check(&self) -> Result<(), BuildError> {
        self.0.check()
    }

    fn state(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["step_size", "root_correction"]
    }

    fn values(&self, rate: f64, step: u64, values: &mut [f32]) {
        values.copy_from_slice(&self.0.corrections(rate, step));
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let (amount, state) = self.0.step(b, at);
        (b.sub(at.param, amount), state)
    }
}

impl AdamW {
    /// With this learning rate, `beta1 = 0.9`, `beta2 = 0.999`, `eps = 1e-8` and a decay of 0.01.
    pub fn new(rate: f64) -> AdamW {
        AdamW { adam: Settings::new(rate), decay: 0.01 }
    }

    /// The decay rates of the two moments, each from 0 up to but not including 1.
    pub fn betas(self, beta1: f64, beta2: f64) -> AdamW {
        AdamW { adam: Settings { beta1, beta2, ..self.adam }, ..self }
    }

    /// The number added to the root of the second moment.
    pub fn eps(self, eps: f64) -> AdamW {
        AdamW { adam: Settings { eps, ..self.adam }, ..self }
    }

    /// The share of a parameter, times the learning rate, that each step takes off it.
    pub fn decay(self, decay: f64) -> AdamW {
        AdamW { decay, ..self }
    }
}

impl Optimiser for AdamW {
    fn rate(&self) -> f64 {
        self.adam.rate
    }

    fn check(&self) -> Result<(), BuildError> {
        self.adam.check()?;
        within("decay", self.decay, f64::INFINITY, "a finite number of at least 0")
    }

    fn state(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["step_size", "root_correction", "keep"]
    }

    fn values(&self, rate: f64, step: u64, values: &mut [f32]) {
        values[..2].copy_from_slice(&self.adam.corrections(rate, step));
        values[2] = (1.0 - rate * self.decay) as f32;
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let (amount, state) = self.adam.step(b, at);
        let kept = b.mul(at.param, at.scalars[2]);
        (b.sub(kept, amount), state)
    }
}
