//! Gradient descent on batches, plain and with momentum.

use super::{At, Optimiser, check_rate, within};
use crate::error::BuildError;
use crate::ir::{Builder, NodeId};

/// Stochastic gradient descent: `p -= rate g`. With momentum: `v = momentum v + g; p -= rate v`
/// (Polyak 1964; Sutskever et al. 2013). State: `velocity`, only with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    rate: f64,
    momentum: f64,
}

impl Sgd {
    /// Plain descent with this learning rate.
    pub fn new(rate: f64) -> Sgd {
        Sgd { rate, momentum: 0.0 }
    }

    /// How much of the last step's velocity is kept, from 0 up to but not including 1.
    pub fn momentum(self, momentum: f64) -> Sgd {
        Sgd { momentum, ..self }
    }
}

impl Optimiser for Sgd {
    fn rate(&self) -> f64 {
        self.rate
    }

    fn check(&self) -> Result<(), BuildError> {
        check_rate(self.rate)?;
        within("momentum", self.momentum, 1.0, "at least 0 and below 1")
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
            let kept = b.scale(velocity, self.momentum);
            direction = b.add(kept, at.gradient);
            state.push(direction);
        }
        let step = b.mul(at.scalars[0], direction);
        (b.sub(at.param, step), state)
    }
}
