//! AdaDelta: steps in the unit of the parameter.

use super::{At, LARGEST_SQUARED, Optimizer, Settings, descend, moment, positive, settings, share};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

/// AdaDelta (Zeiler 2012, algorithm 1): `s = rho s + (1 - rho) g^2; d = g sqrt(u + eps) / sqrt(s + eps);
/// u = rho u + (1 - rho) d^2; p -= rate d`. State: `square` is `s`, `delta` is `u`. The paper has no rate, which is a rate
/// of 1. As in PyTorch. An element of a gradient beyond 9.2e18 counts as 9.2e18, as for [`Adam`](super::Adam).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaDelta {
    settings: Settings,
    rho: f64,
    eps: f64,
}

impl AdaDelta {
    /// With this learning rate, `rho = 0.9` and `eps = 1e-6`.
    pub fn new(rate: impl Into<Schedule>) -> AdaDelta {
        AdaDelta { settings: Settings::new(rate), rho: 0.9, eps: 1e-6 }
    }

    /// How much of the running mean squares is kept, from 0 up to but not including 1.
    pub fn rho(self, rho: f64) -> AdaDelta {
        AdaDelta { rho, ..self }
    }

    /// The number added under the roots, finite and above 0: with 0 nothing would ever move.
    pub fn eps(self, eps: f64) -> AdaDelta {
        AdaDelta { eps, ..self }
    }
}

settings!(AdaDelta);

impl Optimizer for AdaDelta {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let AdaDelta { settings: _, rho, eps } = self;
        vec![("rho", *rho), ("eps", *eps)]
    }

    fn check(&self) -> Result<(), BuildError> {
        share("rho", self.rho)?;
        positive("eps", self.eps)
    }

    fn state(&self) -> &'static [&'static str] {
        &["square", "delta"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["rate"]
    }

    fn values(&self, rate: f64, _: u64, values: &mut [f32]) {
        values[0] = rate as f32;
    }

    fn largest(&self) -> Option<f64> {
        Some(LARGEST_SQUARED)
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let &[square, delta] = at.state else { unreachable!("AdaDelta has two mean squares") };
        let new = b.mul(at.gradient, at.gradient);
        let square = moment(b, square, new, self.rho);
        let above = b.offset(delta, self.eps);
        let above = b.sqrt(above);
        let below = b.offset(square, self.eps);
        let below = b.sqrt(below);
        let ratio = b.div(above, below);
        let step = b.mul(ratio, at.gradient);
        let new = b.mul(step, step);
        let delta = moment(b, delta, new, self.rho);
        (descend(b, at.param, at.scalars[0], step), vec![square, delta])
    }
}
