//! An optimiser and what is done around it: clipping before, groups beside.

use super::group::{self, Treatment};
use super::{Group, Optimiser, within};
use crate::error::BuildError;
use crate::ir::{Graph, SlotKind};
use crate::schedule::check_f32;

/// How a network is trained: the optimiser, which gradients it sees, and which parameters are treated differently.
#[derive(Debug)]
pub struct Optimisation {
    /// The rule.
    pub optimiser: Box<dyn Optimiser>,
    /// The largest element of a gradient, either sign.
    pub clip_value: Option<f64>,
    /// The largest norm of all gradients together.
    pub clip_norm: Option<f64>,
    /// In the order of their declaration.
    pub groups: Vec<Group>,
}

impl Optimisation {
    /// With this optimiser and nothing else.
    pub fn new(optimiser: Box<dyn Optimiser>) -> Optimisation {
        Optimisation { optimiser, clip_value: None, clip_norm: None, groups: Vec::new() }
    }

    /// Says which setting is out of range, if one is.
    ///
    /// # Errors
    /// [`BuildError::Setting`].
    pub fn check(&self) -> Result<(), BuildError> {
        let settings = self.optimiser.settings();
        settings.rate.check()?;
        within("l2", settings.l2, f64::INFINITY, "a finite number of at least 0")?;
        within("decay", settings.decay, f64::INFINITY, "a finite number of at least 0")?;
        self.optimiser.check()?;
        for (name, limit) in [("clip_value", self.clip_value), ("clip_norm", self.clip_norm)] {
            let fits = limit.is_none_or(|limit| limit > 0.0 && limit.is_finite());
            if let Some(limit) = limit.filter(|_| !fits) {
                let (wanted, actual) = ("a finite number above 0", limit.to_string());
                return Err(BuildError::Setting { name, wanted, actual });
            }
            limit.map_or(Ok(()), |limit| check_f32(name, limit))?;
        }
        self.groups.iter().try_for_each(Group::check)
    }

    /// The parameters that are trained: those that no group freezes.
    ///
    /// # Errors
    /// [`BuildError::Pattern`] for a group without parameters.
    pub fn trained(&self, graph: &Graph) -> Result<Vec<usize>, BuildError> {
        let slots = graph.slots.params.iter().enumerate();
        let trainable: Vec<(usize, &str)> = slots
            .filter(|(_, slot)| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter))
            .map(|(index, slot)| (index, slot.name.as_str()))
            .collect();
        let names: Vec<&str> = trainable.iter().map(|(_, name)| *name).collect();
        group::check_names(&self.groups, &names)?;
        let trained = trainable.into_iter().filter(|(_, name)| !self.treatment(name).frozen);
        Ok(trained.map(|(index, _)| index).collect())
    }

    pub(super) fn treatment(&self, name: &str) -> Treatment {
        group::treatment(&self.groups, self.optimiser.settings(), name)
    }
}

impl<O: Optimiser + 'static> From<O> for Optimisation {
    fn from(optimiser: O) -> Optimisation {
        Optimisation::new(Box::new(optimiser))
    }
}
