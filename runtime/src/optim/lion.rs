//! Lion: steps of one size, in the direction of the sign.

use super::{At, Optimizer, Settings, moment, settings, share};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::scalar::Cmp;
use crate::schedule::Schedule;

/// Lion (Chen et al. 2023, algorithm 2): `p -= rate sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g`, where the sign of 0
/// is 0. State: `m`. The decay of the paper is [`Lion::weight_decay`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lion {
    settings: Settings,
    beta1: f64,
    beta2: f64,
}

impl Lion {
    /// With this learning rate, `beta1 = 0.9` and `beta2 = 0.99`. The paper advises a rate of a third to a tenth of Adam's.
    pub fn new(rate: impl Into<Schedule>) -> Lion {
        Lion { settings: Settings::new(rate), beta1: 0.9, beta2: 0.99 }
    }

    /// How much of the moment counts in a step, and how much of it is kept, each from 0 up to but not including 1.
    pub fn betas(self, beta1: f64, beta2: f64) -> Lion {
        Lion { beta1, beta2, ..self }
    }
}

settings!(Lion);

impl Optimizer for Lion {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let Lion { settings: _, beta1, beta2 } = self;
        vec![("beta1", *beta1), ("beta2", *beta2)]
    }

    fn check(&self) -> Result<(), BuildError> {
        share("beta1", self.beta1)?;
        share("beta2", self.beta2)
    }

    fn state(&self) -> &'static [&'static str] {
        &["m"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["rate"]
    }

    fn values(&self, rate: f64, _: u64, values: &mut [f32]) {
        values[0] = rate as f32;
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let direction = moment(b, at.state[0], at.gradient, self.beta1);
        let zero = b.constant_like(0.0, direction);
        let back = b.neg(at.scalars[0]);
        let above = b.compare(Cmp::Gt, direction, zero);
        let below = b.compare(Cmp::Lt, direction, zero);
        // What is neither is 0 or NaN, and stays so.
        let rest = b.select(below, at.scalars[0], direction);
        let step = b.select(above, back, rest);
        let m = moment(b, at.state[0], at.gradient, self.beta2);
        (b.add(at.param, step), vec![m])
    }
}
