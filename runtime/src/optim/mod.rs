//! Optimisers: the update of a parameter as IR, compiled and fused with everything else.
//!
//! In: a graph with gradients. Out: the graph with, for each gradient, the next parameter and the next state in its
//! place. What varies from step to step (learning rate, bias corrections) enters as run-time scalars, computed on the host
//! in f64, so that nothing recompiles. An optimiser is a file here; what all share (decay, clipping, groups) is outside of
//! them, in [`attach`].

mod accumulation;
mod ada_delta;
mod ada_grad;
mod adam;
mod adam_w;
mod attach;
mod group;
mod identity;
mod lion;
mod optimisation;
mod rms_prop;
mod sgd;

use std::fmt::Debug;

use crate::error::BuildError;
use crate::ir::{Builder, NodeId};
use crate::schedule::Schedule;

pub use accumulation::{accumulate, update};
pub use ada_delta::AdaDelta;
pub use ada_grad::AdaGrad;
pub use adam::Adam;
pub use adam_w::AdamW;
pub use attach::{attach, fill};
pub use group::Group;
pub use lion::Lion;
pub use optimisation::Optimisation;
pub use rms_prop::RmsProp;
pub use sgd::Sgd;

/// A rule that turns gradients into updates.
pub trait Optimiser: Debug + Send {
    /// The learning rate and the weight decay.
    fn settings(&self) -> &Settings;
    /// What it is called in checkpoints: the name of the type.
    fn name(&self) -> &'static str {
        let path = std::any::type_name::<Self>();
        path.rsplit("::").next().unwrap_or(path)
    }
    /// The settings of its own by name, 1 for what is switched on: what an update depends on beside the gradient, the state, the learning rate
    /// and the decay. A checkpoint has them, so that no other optimiser goes on from it.
    fn hyperparameters(&self) -> Vec<(&'static str, f64)>;
    /// Says which setting of its own is out of range, if one is.
    fn check(&self) -> Result<(), BuildError>;
    /// What is remembered of each parameter, by name; zero at first.
    fn state(&self) -> &'static [&'static str];
    /// The run-time scalars, by name.
    fn scalars(&self) -> &'static [&'static str];
    /// Their values at a step, counted from 1, in the order of `scalars`.
    fn values(&self, rate: f64, step: u64, values: &mut [f32]);
    /// Adds the update of one parameter to the graph: its next value, then the next state. Weight decay is done before.
    fn update(&self, b: &mut Builder, at: &At<'_>) -> (NodeId, Vec<NodeId>);
}

/// What every optimiser has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The learning rate.
    pub rate: Schedule,
    /// Added to the gradient: so many times the parameter. Finite and at least 0.
    pub l2: f64,
    /// The share of a parameter, times the learning rate, that each step takes off it first. Finite and at least 0.
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
    /// The parameter, with decoupled decay taken off.
    pub param: NodeId,
    /// The gradient of the loss, clipped and with L2 decay added.
    pub gradient: NodeId,
    /// The state, in the order of `Optimiser::state`.
    pub state: &'a [NodeId],
    /// The run-time scalars, in the order of `Optimiser::scalars`.
    pub scalars: &'a [NodeId],
}

/// The settings that every optimiser has, as methods.
macro_rules! settings {
    ($optimiser:ident) => {
        impl $optimiser {
            /// L2 regularisation, as `weight_decay` of most of PyTorch's optimisers: adds `l2 p` to the gradient, the
            /// gradient of `l2 / 2` times the sum of squares, before the optimiser sees it. Finite and at least 0; on every
            /// parameter that no [`Group`](crate::optim::Group) excludes.
            pub fn l2(self, l2: f64) -> $optimiser {
                $optimiser { settings: Settings { l2, ..self.settings }, ..self }
            }

            /// Decoupled weight decay (Loshchilov & Hutter 2019): `p -= rate decay p` at the beginning of each step, of
            /// which the optimiser's state sees nothing. Finite and at least 0; on every parameter that no
            /// [`Group`](crate::optim::Group) excludes.
            pub fn decay(self, decay: f64) -> $optimiser {
                $optimiser { settings: Settings { decay, ..self.settings }, ..self }
            }
        }
    };
}
use settings;

/// A running mean: `kept old + (1 - kept) new`.
fn moment(b: &mut Builder, old: NodeId, new: NodeId, kept: f64) -> NodeId {
    let old = b.scale(old, kept);
    let new = b.scale(new, 1.0 - kept);
    b.add(old, new)
}

/// A setting that must lie in `0 <= value < limit`.
fn within(name: &'static str, value: f64, limit: f64, wanted: &'static str) -> Result<(), BuildError> {
    match (0.0..limit).contains(&value) {
        true => Ok(()),
        false => Err(BuildError::Setting { name, wanted, actual: value.to_string() }),
    }
}
