//! Adam: steps scaled by running moments of the gradient.

use super::{At, LARGEST_SQUARED, Optimizer, Settings, descend, moment, root_eps, settings, share};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

/// Adam (Kingma & Ba 2015, algorithm 1): `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// p -= rate m^ / (sqrt(v^) + eps)` with `m^ = m / (1 - b1^t)` and `v^ = v / (1 - b2^t)`. State: `m`, `v`.
/// An element of a gradient beyond 9.2e18, near which squares leave the range of f32, counts as 9.2e18; a sentinel refuses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    settings: Settings,
    beta1: f64,
    beta2: f64,
    eps: f64,
}

impl Adam {
    /// With this learning rate, `beta1 = 0.9`, `beta2 = 0.999` and `eps = 1e-8`.
    pub fn new(rate: impl Into<Schedule>) -> Adam {
        Adam { settings: Settings::new(rate), beta1: 0.9, beta2: 0.999, eps: 1e-8 }
    }

    /// The decay rates of the two moments, each from 0 up to but not including 1.
    pub fn betas(self, beta1: f64, beta2: f64) -> Adam {
        Adam { beta1, beta2, ..self }
    }

    /// The number added to the root of the second moment: from 1e-18.
    pub fn eps(self, eps: f64) -> Adam {
        Adam { eps, ..self }
    }
}

settings!(Adam);

impl Optimizer for Adam {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let Adam { settings: _, beta1, beta2, eps } = self;
        vec![("beta1", *beta1), ("beta2", *beta2), ("eps", *eps)]
    }

    fn check(&self) -> Result<(), BuildError> {
        share("beta1", self.beta1)?;
        share("beta2", self.beta2)?;
        root_eps(self.eps)
    }

    fn state(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["step_size", "root_correction"]
    }

    /// `rate / (1 - b1^t)` and `1 / sqrt(1 - b2^t)`.
    fn values(&self, rate: f64, step: u64, values: &mut [f32]) {
        let power = |beta: f64| libm::pow(beta, step as f64);
        values[0] = (rate / (1.0 - power(self.beta1))) as f32;
        values[1] = (1.0 / (1.0 - power(self.beta2)).sqrt()) as f32;
    }

    fn largest(&self) -> Option<f64> {
        Some(LARGEST_SQUARED)
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let &[m, v] = at.state else { unreachable!("Adam has two moments") };
        let m = moment(b, m, at.gradient, self.beta1);
        let square = b.mul(at.gradient, at.gradient);
        let v = moment(b, v, square, self.beta2);
        let root = b.sqrt(v);
        let root = b.mul(root, at.scalars[1]);
        let denominator = b.offset(root, self.eps);
        let direction = b.div(m, denominator);
        (descend(b, at.param, at.scalars[0], direction), vec![m, v])
    }
}
