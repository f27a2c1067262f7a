//! How many rows a batch needs: two where a layer normalizes by its statistics, otherwise one.

use super::any::AnySession;
use super::{Network, Session};
use crate::compile::Program;
use crate::error::{BuildError, RunError};
use crate::ir::{ParamSlot, SlotKind};
use crate::lower::check;
use crate::network::Definition;
use crate::optim::TrainingConfig;

impl<N: Network> Session<N> {
    /// The fewest rows of a batch.
    pub(crate) fn least_rows(&self) -> usize {
        if self.any.layer_by_batch().is_some() { 2 } else { 1 }
    }

    /// A batch norm in training needs the variance of several rows.
    pub(crate) fn check_rows(&self, rows: usize) -> Result<(), RunError> {
        self.any.check_rows(rows)
    }
}

impl AnySession {
    /// A batch norm in training needs the variance of several rows.
    pub(super) fn check_rows(&self, rows: usize) -> Result<(), RunError> {
        enough(rows, self.layer_by_batch())
    }

    /// A layer that the next step normalizes by the statistics of its batch.
    fn layer_by_batch(&self) -> Option<&str> {
        let frozen = self.config.statistics_after.is_some_and(|after| self.steps >= after);
        self.needs_rows.as_deref().filter(|_| !frozen)
    }
}

/// The first layer that is trained by the statistics of its batch, unless all are frozen after some steps.
pub(super) fn layer_by_batch(
    definition: &'static Definition<'static>,
    train: &Program,
    config: &TrainingConfig,
) -> Result<Option<String>, BuildError> {
    let is_frozen = |path: &&str| {
        let own = |slot: &&ParamSlot| slot.name.rsplit_once('.').is_some_and(|(owner, _)| owner == *path);
        let running = train.slots.params.iter().filter(|slot| slot.kind == SlotKind::Running);
        running.filter(own).any(|slot| config.freezes(&slot.name))
    };
    // With the statistics of a batch go running ones. Without any, nothing has to be checked once more.
    if train.slots.params.iter().all(|slot| slot.kind != SlotKind::Running) {
        return Ok(None);
    }
    Ok(check(definition)?.needs_more_than(1).into_iter().find(|path| !is_frozen(path)).map(str::to_string))
}

/// One row is not enough for a layer that normalizes by the statistics of several.
#[inline]
pub(super) fn enough(rows: usize, layer: Option<&str>) -> Result<(), RunError> {
    match layer {
        Some(layer) if rows == 1 => Err(RunError::OneRow { layer: layer.to_string() }),
        _ => Ok(()),
    }
}
