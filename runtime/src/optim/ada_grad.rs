//! AdaGrad: steps that shrink with the sum of all squared gradients so far.

use super::{At, Optimizer, Settings, descend, root_eps, settings};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

/// AdaGrad (Duchi, Hazan & Singer 2011, section 1, with the diagonal of the matrix): `s = s + g^2;
/// p -= rate g / (sqrt(s) + eps)`. State: `sum`. As in PyTorch. An element of a gradient beyond 2.9e17 counts as 2.9e17, so that
/// 4096 of its squares can be added up, and the sum stops growing at the largest f32; a sentinel refuses a step that would exceed
/// it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaGrad {
    settings: Settings,
    eps: f64,
}

impl AdaGrad {
    /// With this learning rate and `eps = 1e-10`. Rates of about 0.01 are usual.
    pub fn new(rate: impl Into<Schedule>) -> AdaGrad {
        AdaGrad { settings: Settings::new(rate), eps: 1e-10 }
    }

    /// The number added to the root of the sum: from 1e-18.
    pub fn eps(self, eps: f64) -> AdaGrad {
        AdaGrad { eps, ..self }
    }
}

settings!(AdaGrad);

/// 2^58: 4096 squares of it add up to just about the largest f32.
const LARGEST: f64 = (1u64 << 58) as f64;

impl Optimizer for AdaGrad {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let AdaGrad { settings: _, eps } = self;
        vec![("eps", *eps)]
    }

    fn check(&self) -> Result<(), BuildError> {
        root_eps(self.eps)
    }

    fn state(&self) -> &'static [&'static str] {
        &["sum"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["rate"]
    }

    fn values(&self, rate: f64, _: u64, values: &mut [f32]) {
        values[0] = rate as f32;
    }

    fn largest(&self) -> Option<f64> {
        Some(LARGEST)
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let square = b.mul(at.gradient, at.gradient);
        let mut sum = b.add(at.state[0], square);
        if at.saturates {
            let largest = b.constant_like(f64::from(f32::MAX), sum);
            sum = b.min(largest, sum);
        }
        let root = b.sqrt(sum);
        let denominator = b.offset(root, self.eps);
        let direction = b.div(at.gradient, denominator);
        (descend(b, at.param, at.scalars[0], direction), vec![sum])
    }
}
