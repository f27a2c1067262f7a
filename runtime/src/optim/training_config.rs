//! An optimizer and what surrounds it: clipping before it, and parameter groups.

use super::group::{self, Treatment};
use super::{Group, Optimizer, positive};
use crate::error::BuildError;
use crate::ir::{Graph, SlotKind};
use crate::layers::Frozen;
use crate::schedule::{Shown, check_rate, magnitude, setting};

/// How a network is trained: the optimizer, which gradients it sees, and which parameters are treated differently.
#[derive(Debug)]
pub struct TrainingConfig {
    /// The optimizer.
    pub optimizer: Box<dyn Optimizer>,
    /// The largest magnitude of an element of a gradient.
    pub clip_value: Option<f64>,
    /// The largest norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// In the order of their declaration.
    pub groups: Vec<Group>,
    /// After how many steps all running statistics are frozen.
    pub statistics_after: Option<u64>,
    /// Whether every update is checked, so that numbers beyond f32 are refused rather than bounded.
    pub sentinel: bool,
    /// Whether products of windows may have the form of Winograd, which rounds otherwise.
    pub winograd: bool,
}

impl TrainingConfig {
    /// With this optimizer and nothing else.
    pub fn new(optimizer: Box<dyn Optimizer>) -> TrainingConfig {
        let (clip_value, clip_norm, groups) = (None, None, Vec::new());
        TrainingConfig {
            optimizer,
            clip_value,
            clip_norm,
            groups,
            statistics_after: None,
            sentinel: false,
            winograd: true,
        }
    }

    /// Says which setting is out of range, if one is.
    ///
    /// # Errors
    /// [`BuildError::Setting`].
    pub fn check(&self) -> Result<(), BuildError> {
        let settings = self.optimizer.settings();
        settings.rate.check()?;
        magnitude("l2", settings.l2)?;
        magnitude("weight_decay", settings.decay)?;
        self.optimizer.check()?;
        for (name, limit) in [("clip_value", self.clip_value), ("clip_norm", self.clip_norm)] {
            limit.map_or(Ok(()), |limit| positive(name, limit))?;
        }
        self.groups.iter().try_for_each(Group::check)?;
        self.check_rate(settings.rate.peak())
    }

    /// Checks that a learning rate, and what compiled code makes of it, stays in the range of an f32.
    ///
    /// # Errors
    /// [`BuildError::Setting`].
    pub fn check_rate(&self, rate: f64) -> Result<(), BuildError> {
        check_rate(rate)?;
        let own = || self.groups.iter().map(Group::own);
        for factor in own().filter_map(|(factor, _)| factor).chain([1.0]).filter(|factor| *factor != 0.0) {
            let rate = rate * factor;
            magnitude("the learning rate times the `rate_factor` of a group", rate)?;
            let (wanted, scalars) = ("at most 3.4e38, the largest f32", self.optimizer.scalars());
            let mut numbers = vec![0.0; scalars.len()];
            self.optimizer.values(rate, 1, &mut numbers);
            for (name, number) in scalars.iter().copied().zip(numbers) {
                setting(name, number, number.is_finite(), wanted)?;
            }
            for decay in own().filter_map(|(_, decay)| decay).chain([self.optimizer.settings().decay]) {
                let lost = rate * decay;
                setting("the learning rate times `weight_decay`", Shown(lost), (lost as f32).is_finite(), wanted)?;
            }
        }
        Ok(())
    }

    /// The parameters that are trained: those that no group freezes.
    ///
    /// # Errors
    /// [`BuildError::Pattern`] for a group without parameters, although a frozen one may name running statistics instead;
    /// [`BuildError::AllFrozen`] if groups freeze all parameters.
    pub fn trained(&self, graph: &Graph) -> Result<Vec<usize>, BuildError> {
        let slots = graph.slots.params.iter().enumerate();
        let trainable: Vec<(usize, &str)> = slots
            .filter(|(_, slot)| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter))
            .map(|(index, slot)| (index, slot.name.as_str()))
            .collect();
        let names: Vec<&str> = trainable.iter().map(|(_, name)| *name).collect();
        let running = graph.slots.params.iter().filter(|slot| slot.kind == SlotKind::Running);
        let running: Vec<&str> = running.map(|slot| slot.name.as_str()).collect();
        group::check_names(&self.groups, &names, &running)?;
        let trained = trainable.iter().filter(|(_, name)| !self.treatment(name).frozen);
        let trained: Vec<usize> = trained.map(|(index, _)| *index).collect();
        match trained.is_empty() && !trainable.is_empty() {
            true => Err(BuildError::AllFrozen),
            false => Ok(trained),
        }
    }

    /// Whether a group freezes the parameter or running statistic of this name.
    pub fn freezes(&self, name: &str) -> bool {
        self.treatment(name).frozen
    }

    /// The running statistics that are frozen: those that `named` says, and after some step all of them.
    pub fn frozen<'f>(&self, named: &'f dyn Fn(&str) -> bool) -> Frozen<'f> {
        Frozen { named, after: self.statistics_after }
    }

    pub(super) fn treatment(&self, name: &str) -> Treatment {
        group::treatment(&self.groups, self.optimizer.settings(), name)
    }
}

impl<O: Optimizer + 'static> From<O> for TrainingConfig {
    fn from(optimizer: O) -> TrainingConfig {
        TrainingConfig::new(Box::new(optimizer))
    }
}
