//! RMSProp: steps scaled by a running root mean square of the gradient.

use super::{At, LARGEST_SQUARED, Optimizer, Settings, decayed, descend, moment, root_eps, settings, share};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

/// RMSProp (Tieleman & Hinton 2012, lecture 6.5): `s = a s + (1 - a) g^2; p -= rate g / (sqrt(s) + eps)`. Centered (Graves
/// 2013, section 4.2): the root is of `s - m^2` with `m = a m + (1 - a) g`. With momentum the quotient `q` goes through
/// `v = momentum v + q; p -= rate v`. State: `square`, `mean` if centered, `velocity` with momentum. As in PyTorch.
/// An element of a gradient beyond 9.2e18 counts as 9.2e18, as for [`Adam`](super::Adam).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsProp {
    settings: Settings,
    alpha: f64,
    eps: f64,
    momentum: f64,
    centered: bool,
}

impl RmsProp {
    /// With this learning rate, `alpha = 0.99` and `eps = 1e-8`, neither centered nor with momentum. Rates of about 0.001
    /// are usual.
    pub fn new(rate: impl Into<Schedule>) -> RmsProp {
        RmsProp { settings: Settings::new(rate), alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false }
    }

    /// How much of the running mean square is kept, from 0 up to but not including 1.
    pub fn alpha(self, alpha: f64) -> RmsProp {
        RmsProp { alpha, ..self }
    }

    /// The number added to the root: from 1e-18.
    pub fn eps(self, eps: f64) -> RmsProp {
        RmsProp { eps, ..self }
    }

    /// How much of the last step's velocity is kept, from 0 up to but not including 1.
    pub fn momentum(self, momentum: f64) -> RmsProp {
        RmsProp { momentum, ..self }
    }

    /// Scales by the standard deviation of the gradient rather than its root mean square.
    pub fn centered(self) -> RmsProp {
        RmsProp { centered: true, ..self }
    }
}

settings!(RmsProp);

impl Optimizer for RmsProp {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let RmsProp { settings: _, alpha, eps, momentum, centered } = self;
        vec![("alpha", *alpha), ("eps", *eps), ("momentum", *momentum), ("centered", f64::from(u8::from(*centered)))]
    }

    fn check(&self) -> Result<(), BuildError> {
        share("alpha", self.alpha)?;
        share("momentum", self.momentum)?;
        root_eps(self.eps)
    }

    fn state(&self) -> &'static [&'static str] {
        match (self.centered, self.momentum > 0.0) {
            (false, false) => &["square"],
            (true, false) => &["square", "mean"],
            (false, true) => &["square", "velocity"],
            (true, true) => &["square", "mean", "velocity"],
        }
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
        let square = b.mul(at.gradient, at.gradient);
        let square = moment(b, at.state[0], square, self.alpha);
        let mut state = vec![square];
        let mut spread = square;
        if self.centered {
            let mean = moment(b, at.state[1], at.gradient, self.alpha);
            let mean_square = b.mul(mean, mean);
            let variance = b.sub(square, mean_square);
            // By rounding, a variance of zero may come out negative.
            let zero = b.constant_like(0.0, variance);
            spread = b.max(variance, zero);
            state.push(mean);
        }
        let root = b.sqrt(spread);
        let denominator = b.offset(root, self.eps);
        let mut direction = b.div(at.gradient, denominator);
        if self.momentum > 0.0 {
            direction = decayed(b, at.state[state.len()], self.momentum, direction);
            state.push(direction);
        }
        (descend(b, at.param, at.scalars[0], direction), state)
    }
}
