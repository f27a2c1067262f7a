//! AdaGrad: steps that shrink with all that a parameter has been moved by.

use super::{At, Optimiser, Settings, settings, within};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

/// AdaGrad (Duchi, Hazan & Singer 2011, section 1, with the diagonal of the matrix): `s = s + g^2;
/// p -= rate g / (sqrt(s) + eps)`. State: `sum`. As in PyTorch.
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

    /// The number added to the root of the sum: finite and at least 0.
    pub fn eps(self, eps: f64) -> AdaGrad {
        AdaGrad { eps, ..self }
    }
}

settings!(AdaGrad);

impl Optimiser for AdaGrad {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let AdaGrad { settings: _, eps } = self;
        vec![("eps", *eps)]
    }

    fn check(&self) -> Result<(), BuildError> {
        within("eps", self.eps, f64::INFINITY, "a finite number of at least 0")
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

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let square = b.mul(at.gradient, at.gradient);
        let sum = b.add(at.state[0], square);
        let root = b.sqrt(sum);
        let denominator = b.offset(root, self.eps);
        let direction = b.div(at.gradient, denominator);
        let step = b.mul(at.scalars[0], direction);
        (b.sub(at.param, step), vec![sum])
    }
}
