//! A step of a training, and what goes with it: sums, position, callback, display, Ctrl-C.

use super::numbers::Numbers;
use super::progress::Display;
use super::terminal::Interrupt;
use super::{Callback, Ending, FitCause, Supervised};
use crate::session::{Pass, Session};

/// Makes the steps of a training.
pub(super) struct Stepper<'f, N: Supervised> {
    pub(super) session: &'f mut Session<N>,
    pub(super) on_step: Option<Callback<'f, N, N::Metrics>>,
    pub(super) display: Display,
    pub(super) interrupt: Option<Interrupt>,
}

impl<N: Supervised> Stepper<'_, N> {
    /// A step on so many rows, and whether it is the last. Where an epoch stands is noted if another training could go on with
    /// it.
    pub(super) fn step<'a>(
        &mut self,
        epoch: usize,
        pass: &mut Pass,
        rows: usize,
        (inputs, targets): (N::Inputs<'a>, N::Targets<'a>),
        resumable: bool,
    ) -> Result<Option<Ending>, FitCause> {
        let report = self.session.advance(inputs, targets)?;
        pass.add(rows, &report);
        let metrics = self.on_step.as_ref().map(|_| N::metrics(&report));
        if resumable {
            self.session.stand(epoch.saturating_sub(1), pass);
        }
        if let (Some(callback), Some(metrics)) = (&mut self.on_step, metrics)
            && callback(self.session, &metrics).is_break()
        {
            return Ok(Some(Ending::Callback));
        }
        if self.is_interrupted() {
            return Ok(Some(Ending::Interrupted));
        }
        self.display.step::<N>(epoch, || (pass.rows, Numbers::means(pass)));
        Ok(None)
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(Interrupt::requested)
    }
}
