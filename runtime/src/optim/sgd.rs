//! Gradient descent on batches, plain and with momentum.

use super::{At, Optimizer, Settings, decayed, descend, settings, share};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

/// Stochastic gradient descent: `p -= rate g` (Robbins & Monro 1951). With momentum: `v = momentum v + g; p -= rate v`
/// (Polyak 1964); Nesterov's: `p -= rate (g + momentum v)` with the new `v` (Sutskever et al. 2013, section 2, in the form
/// of PyTorch). State: `velocity`, only with momentum.
///
/// A velocity can grow to `g / (1 - momentum)`, so gradients above `3.4e38 (1 - momentum)` can make it infinite, and the parameter
/// with it, permanently. The next step is then refused, since its loss is NaN; a sentinel refuses the step that overflows.
///
/// With the whole data set as one batch it is gradient descent. For a larger set, `Session::accumulate` merges the gradients of
/// several batches first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    settings: Settings,
    momentum: f64,
    nesterov: bool,
}

impl Sgd {
    /// Plain descent with this learning rate.
    pub fn new(rate: impl Into<Schedule>) -> Sgd {
        Sgd { settings: Settings::new(rate), momentum: 0.0, nesterov: false }
    }

    /// How much of the last step's velocity is kept, from 0 up to but not including 1.
    pub fn momentum(self, momentum: f64) -> Sgd {
        Sgd { momentum, ..self }
    }

    /// Looks ahead along the velocity. Needs a momentum above 0.
    pub fn nesterov(self) -> Sgd {
        Sgd { nesterov: true, ..self }
    }
}

settings!(Sgd);

impl Optimizer for Sgd {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn hyperparameters(&self) -> Vec<(&'static str, f64)> {
        let Sgd { settings: _, momentum, nesterov } = self;
        vec![("momentum", *momentum), ("nesterov", f64::from(u8::from(*nesterov)))]
    }

    fn check(&self) -> Result<(), BuildError> {
        share("momentum", self.momentum)?;
        match self.nesterov && self.momentum == 0.0 {
            true => {
                Err(BuildError::Setting { name: "Nesterov's momentum", wanted: "above 0", actual: "0".to_string() })
            }
            false => Ok(()),
        }
    }

    fn state(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["velocity"] }
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["rate"]
    }

    fn values(&self, rate: f64, _: u64, values: &mut [f32]) {
        values[0] = rate as f32;
    }

    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>) {
        let mut state = Vec::new();
        let mut direction = at.gradient;
        if let [velocity] = *at.state {
            let velocity = decayed(b, velocity, self.momentum, at.gradient);
            direction = velocity;
            if self.nesterov {
                direction = decayed(b, velocity, self.momentum, at.gradient);
            }
            state.push(velocity);
        }
        (descend(b, at.param, at.scalars[0], direction), state)
    }
}
