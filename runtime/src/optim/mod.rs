//! Optimizers: the update of a parameter as IR, compiled and fused with everything else.
//!
//! In: a graph with gradients. Out: the graph in which each gradient is replaced by the next parameter and the next state. What
//! varies from step to step (learning rate, bias corrections) enters as run-time scalars, computed on the host in f64, so that
//! nothing recompiles. Each optimizer is a file here; what all share (decay, clipping, groups) is done by [`attach`].

mod accumulation;
mod ada_delta;
mod ada_grad;
mod adam;
mod adam_w;
mod attach;
mod group;
mod identity;
mod lion;
mod merge;
mod training_config;
mod rms_prop;
mod sgd;

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::error::BuildError;
use crate::ir::{Builder, NodeId, Op};
use crate::network::is_normal_f32;
use crate::schedule::{Schedule, Shown, setting};

pub use accumulation::{accumulate, accumulated, once, update};
pub use ada_delta::AdaDelta;
pub use ada_grad::AdaGrad;
pub use adam::Adam;
pub use adam_w::AdamW;
pub use attach::{attach, fill};
pub use group::Group;
pub use lion::Lion;
pub use merge::{GradientMerge, Merging, merging};
pub use rms_prop::RmsProp;
pub use sgd::Sgd;
pub use training_config::TrainingConfig;

/// A rule that turns gradients into updates. It consists of settings only, so that a session can be sent to other threads and
/// shared with them.
pub trait Optimizer: Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// The learning rate and the weight decay.
    fn settings(&self) -> &Settings;
    /// Its name in checkpoints: that of the type.
    fn name(&self) -> &'static str {
        let path = std::any::type_name::<Self>();
        path.rsplit("::").next().unwrap_or(path)
    }
    /// Its own settings by name, 1 for what is switched on: everything an update depends on besides the gradient, the state, the
    /// learning rate and the decay. Checkpoints contain them, so that no other optimizer continues from one.
    fn hyperparameters(&self) -> Vec<(&'static str, f64)>;
    /// Says which of its own settings is out of range, if one is.
    fn check(&self) -> Result<(), BuildError>;
    /// What is remembered about each parameter, by name; zero at first.
    fn state(&self) -> &'static [&'static str];
    /// The run-time scalars, by name.
    fn scalars(&self) -> &'static [&'static str];
    /// Their values at a step, counted from 1, in the order of `scalars`.
    fn values(&self, rate: f64, step: u64, values: &mut [f32]);
    /// The largest magnitude of a gradient whose squares its state can hold, if it holds any; a larger one counts as this.
    fn largest(&self) -> Option<f64> {
        None
    }
    /// Adds the update of one parameter to the graph: its next value, then the next state. Weight decay is done before.
    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>);
}

/// What every optimizer has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The learning rate.
    pub rate: Schedule,
    /// This multiple of the parameter is added to the gradient. Finite and at least 0.
    pub l2: f64,
    /// This share of a parameter, times the learning rate, is subtracted first in each step. Finite and at least 0.
    pub decay: f64,
}

impl Settings {
    /// Without decay.
    pub fn new(rate: impl Into<Schedule>) -> Settings {
        Settings { rate: rate.into(), l2: 0.0, decay: 0.0 }
    }
}

/// What an update is made from; all tensors have the parameter's shape.
#[derive(Debug)]
pub struct At<'a> {
    /// The parameter, after decoupled decay.
    pub param: NodeId,
    /// The gradient of the loss, clipped and with L2 decay added.
    pub gradient: NodeId,
    /// The state, in the order of `Optimizer::state`.
    pub state: &'a [NodeId],
    /// The run-time scalars, in the order of `Optimizer::scalars`.
    pub scalars: &'a [NodeId],
    /// Whether sums of squares stay at the largest number rather than become infinite.
    pub saturates: bool,
}

/// The methods for the settings that every optimizer has.
macro_rules! settings {
    ($optimizer:ident) => {
        impl $optimizer {
            /// L2 regularization, the `weight_decay` of PyTorch's optimizers other than `AdamW`: adds `l2 p` to the gradient,
            /// the gradient of `l2 / 2` times the sum of squares, after clipping and before the optimizer sees it. Finite and at
            /// least 0; on every parameter that no [`Group`](crate::optim::Group) excludes.
            pub fn l2(self, l2: f64) -> $optimizer {
                $optimizer { settings: Settings { l2, ..self.settings }, ..self }
            }

            /// Decoupled weight decay (Loshchilov & Hutter 2019), for every optimizer: `p -= rate decay p` at the beginning of
            /// each step, of which the optimizer's state sees nothing. The `weight_decay` of PyTorch's `AdamW`; that of its
            /// `Adam` and others is [`l2`](Self::l2) here. Finite and at least 0; on every parameter that no
            /// [`Group`](crate::optim::Group) excludes.
            pub fn weight_decay(self, decay: f64) -> $optimizer {
                $optimizer { settings: Settings { decay, ..self.settings }, ..self }
            }
        }
    };
}
use settings;

/// A number whose square fits an f32, as does every running mean of such squares, however its weights are rounded: 2^63, 9.2e18.
const LARGEST_SQUARED: f64 = (1u64 << 63) as f64;

/// The least number that may be added to a root of squares. The squares of gradients below 1e-19 lose their digits and may be 0; a
/// smaller number would not keep the step from being divided by that.
const LEAST_EPS: f64 = 1e-18;

/// A running mean: `kept old + (1 - kept) new`, and `new` alone, whatever the old one was, if nothing is kept.
fn moment(b: &mut Builder, old: NodeId, new: NodeId, kept: f64) -> NodeId {
    let new = b.scale(new, 1.0 - kept);
    decayed(b, old, kept, new)
}

/// `kept old + new`.
fn decayed(b: &mut Builder, old: NodeId, kept: f64, new: NodeId) -> NodeId {
    if kept as f32 == 0.0 {
        return new;
    }
    let kept = b.constant_like(kept, old);
    b.mul_add(old, kept, new)
}

/// A step down: `param - rate direction`.
fn descend(b: &mut Builder, param: NodeId, rate: NodeId, direction: NodeId) -> NodeId {
    // A parameter that decays is a product, and of two products neither is contracted unless the graph says so.
    if b.graph()[param].op == Op::Mul {
        let back = b.neg(rate);
        return b.mul_add(back, direction, param);
    }
    let step = b.mul(rate, direction);
    b.sub(param, step)
}

/// A setting above 0, in the range of an f32.
fn positive(name: &'static str, value: f64) -> Result<(), BuildError> {
    setting(name, Shown(value), value > 0.0 && value.is_finite(), "a finite number above 0")?;
    setting(name, Shown(value), is_normal_f32(value), "from 1.2e-38 to 3.4e38, the range of an f32")
}

/// A share that is kept: `0 <= value < 1`, also as an f32.
fn share(name: &'static str, value: f64) -> Result<(), BuildError> {
    setting(name, Shown(value), (0.0..1.0).contains(&value), "at least 0 and below 1")?;
    setting(name, Shown(value), (value as f32) < 1.0, "at most 0.99999994, the last f32 before 1")
}

/// What is added to a root of squares.
fn root_eps(value: f64) -> Result<(), BuildError> {
    setting("eps", Shown(value), value >= LEAST_EPS && is_normal_f32(value), "from 1e-18 to 3.4e38")
}
