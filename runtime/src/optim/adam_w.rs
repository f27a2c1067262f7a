//! AdamW: Adam with decoupled weight decay.

use super::{Adam, At, Optimizer, Settings, settings};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

/// AdamW (Loshchilov & Hutter 2019, algorithm 2): [`Adam`] with a decoupled decay of 0.01 unless `weight_decay` says otherwise, on
/// every parameter that no group excludes. State: `m`, `v`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    settings: Settings,
    adam: Adam,
}

impl AdamW {
    /// With this learning rate, `beta1 = 0.9`, `beta2 = 0.999`, `eps = 1e-8` and a decay of 0.01.
    pub fn new(rate: impl Into<Schedule>) -> AdamW {
        let settings = Settings { decay: 0.01, ..Settings::new(rate) };
        AdamW { settings, adam: Adam::new(settings.rate) }
    }

    /// The decay rates of the two moments, each from 0 up to but not including 1.
    pub fn betas(self, beta1: f64, beta2: f64) -> AdamW {
        AdamW { adam: self.adam.betas(beta1, beta2), ..self }
    }

    /// The number added to the root of the second moment: from 1e-18.
    pub fn eps(self, eps: f64) -> AdamW {
        AdamW { adam: self.adam.eps(eps), ..self }
    }
}

settings!(AdamW);

impl Optimizer for AdamW {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let AdamW { settings: _, adam } = self;
        adam.hyperparameters()
    }

    fn check(&self) -> Result<(), BuildError> {
        self.adam.check()
    }

    fn state(&self) -> &'static [&'static str] {
        self.adam.state()
    }

    fn scalars(&self) -> &'static [&'static str] {
        self.adam.scalars()
    }

    fn values(&self, rate: f64, step: u64, values: &mut [f32]) {
        self.adam.values(rate, step, values);
    }

    fn largest(&self) -> Option<f64> {
        self.adam.largest()
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        self.adam.update(b, at)
    }
}
