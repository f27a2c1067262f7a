//! Training over many epochs: shuffling, validation, early stopping, the best epoch, callbacks, progress, Ctrl-C.
//!
//! In: a session and a dataset. Out: the history of the training. Everything here is made of steps and evaluations that a
//! user could call as well, with the same bits; what a step computes is not this module's business.

mod batches;
mod best;
mod error;
mod find_rate;
mod history;
mod numbers;
mod progress;
mod source;
mod stepper;
mod supervised;
mod sweep;
#[cfg_attr(not(feature = "terminal"), path = "no_terminal.rs")]
mod terminal;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use crate::dataset::{Rows, StreamError};
use crate::error::BuildError;
use crate::session::{Network, Pass, Session};
use best::Best;
use numbers::Numbers;
use progress::Display;
use source::{Batches, Cut, Source};
use stepper::Stepper;
use terminal::Interrupt;

pub use error::{FitCause, FitError};
pub use find_rate::{FindRate, RateCurve};
pub use history::{Ending, Epoch, History};
pub use supervised::{DatasetOf, StreamOf, Supervised};
pub use sweep::{Sweep, Swept, Trial, TrialError};

/// What is shown while a training runs, on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A bar in a terminal, lines elsewhere and for a stream. Without the feature `terminal`, lines. Nothing within a [`Sweep`], which
    /// says a line for each training.
    #[default]
    Auto,
    /// A line an epoch.
    Lines,
    /// Nothing.
    Quiet,
}

/// What a callback may answer: nothing, or whether to go on.
pub trait Answer {
    /// Whether to go on.
    fn flow(self) -> ControlFlow<()>;
}

impl Answer for () {
    fn flow(self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl Answer for ControlFlow<()> {
    fn flow(self) -> ControlFlow<()> {
        self
    }
}

/// Is told of a step or of an epoch.
type Callback<'f, N, What> = Box<dyn FnMut(&mut Session<N>, &What) -> ControlFlow<()> + 'f>;

/// The settings of a training, made by [`Session::fit`] or [`Session::fit_stream`] and started by [`Fit::run`].
pub struct Fit<'f, N: Supervised> {
    session: &'f mut Session<N>,
    source: Source<'f, N>,
    epochs: usize,
    batch: Option<usize>,
    validation: Validation<'f, N>,
    best: Best<'f, N>,
    on_step: Option<Callback<'f, N, N::Metrics>>,
    on_epoch: Option<Callback<'f, N, Epoch<N>>>,
    progress: Progress,
    interruptible: bool,
}

/// What is evaluated after every epoch.
enum Validation<'f, N: Supervised> {
    None,
    /// A share of the data.
    Split(f64),
    Set(&'f DatasetOf<N>),
}

impl<N: Supervised> fmt::Debug for Fit<'_, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fit { epochs, batch, best, progress, interruptible, .. } = self;
        write!(f, "Fit {{ epochs: {epochs}, batch: {batch:?}, best: {best:?}, {progress:?}, {interruptible} }}")
    }
}

impl<N: Network> Session<N> {
    /// Trains on a dataset: `net.fit(&mut train).epochs(20).batch_size(32).validation(&test).run()?`.
    ///
    /// Each epoch shuffles the data, as [`Dataset::batches`](crate::dataset::Dataset::batches) does, and makes a step on every
    /// batch: with the same seeds the same bits as that loop. With batch norm, a last batch of one row, which has no variance,
    /// joins the batch before if `max_batch` allows; else that gives it one of its rows.
    ///
    /// The order of the rows follows from the seed of the data and the number of the epoch, and so do the rows that a
    /// [`Fit::validation_split`] keeps out from the seed alone. The session counts the epochs, also through [`Session::save`]
    /// and [`Session::load`]: two trainings of two epochs are one of four, to the bit, whoever makes them. One that was ended in
    /// the middle of an epoch, by Ctrl-C, a callback or an error, is gone on with where it stood: the next `fit` on data of the
    /// same seed and number of rows, with as many of them kept out, first makes the steps that the epoch lacks, with whatever
    /// `batch_size`, and reports all of it; that counts as one of its epochs. On other data the epoch begins anew. What is monitored
    /// for [`Fit::early_stopping`] and [`Fit::restore_best`] each `fit` compares among its own epochs.
    pub fn fit<'f>(&'f mut self, data: &'f mut DatasetOf<N>) -> Fit<'f, N>
    where
        N: Supervised,
    {
        Fit::new(self, Source::Set(data))
    }

    /// Trains on a stream of batches, for data that do not fit in memory: `net.fit_stream(&mut stream).epochs(3).run()?`.
    ///
    /// Each epoch is a pass of the stream, by the number of the epoch, and makes a step on every batch as it comes: nothing is
    /// shuffled, cut or joined. So the iterator decides the sizes, from 1 to `max_batch` (from 2 with batch norm), and
    /// [`Fit::batch_size`] and [`Fit::validation_split`] are refused; [`Fit::validation`] takes a dataset. An epoch that was not
    /// completed begins anew with the next training.
    ///
    /// An error of the iterator ends the training with [`FitCause::Stream`]; the steps before it stay made.
    pub fn fit_stream<'f>(&'f mut self, stream: &'f mut StreamOf<N>) -> Fit<'f, N>
    where
        N: Supervised,
    {
        Fit::new(self, Source::Stream(stream))
    }
}

impl<'f, N: Supervised> Fit<'f, N> {
    fn new(session: &'f mut Session<N>, source: Source<'f, N>) -> Fit<'f, N> {
        Fit {
            session,
            source,
            epochs: 1,
            batch: None,
            validation: Validation::None,
            best: Best::by_loss(),
            on_step: None,
            on_epoch: None,
            progress: Progress::Auto,
            interruptible: true,
        }
    }

    /// How many passes over the data, from 1, those before not counted; 1 unless said otherwise. To have so many in all, however
    /// often the training was interrupted: `epochs(all - net.epochs())`.
    pub fn epochs(self, epochs: usize) -> Self {
        Fit { epochs, ..self }
    }

    /// Rows of a batch, from 1 to `max_batch`; `max_batch` unless said otherwise. Not for a stream, whose iterator decides.
    pub fn batch_size(self, rows: usize) -> Self {
        Fit { batch: Some(rows), ..self }
    }

    /// Evaluates this set after every epoch.
    pub fn validation(self, set: &'f DatasetOf<N>) -> Self {
        Fit { validation: Validation::Set(set), ..self }
    }

    /// Keeps this share of the data, between 0 and 1, out of the training, and evaluates it after every epoch. The seed of the
    /// data decides which rows those are, the same in every training. A share of 0 is no validation. Not for a stream.
    pub fn validation_split(self, share: f64) -> Self {
        Fit { validation: Validation::Split(share), ..self }
    }

    /// Ends the training once this many epochs in a row, from 1, brought no progress in what is monitored: the loss,
    /// unless [`Fit::minimize`] or [`Fit::maximize`] says otherwise, of the validation if there is one, else of the training.
    pub fn early_stopping(mut self, patience: usize) -> Self {
        self.best.patience = Some(patience);
        self
    }

    /// How much better than at the last progress something must be to count as progress, from 0; 0 unless said otherwise.
    /// The best epoch is the best by whatever margin.
    pub fn min_delta(mut self, min_delta: f64) -> Self {
        self.best.min_delta = min_delta;
        self
    }

    /// Monitors another number, the smaller the better: `minimize(|metrics| metrics.error)`.
    pub fn minimize(self, value: impl Fn(&N::Metrics) -> f32 + 'f) -> Self {
        Fit { best: self.best.by(move |metrics| f64::from(value(metrics))), ..self }
    }

    /// Monitors another number, the larger the better: `maximize(|metrics| metrics.accuracy)`.
    pub fn maximize(self, value: impl Fn(&N::Metrics) -> f32 + 'f) -> Self {
        Fit { best: self.best.by(move |metrics| -f64::from(value(metrics))), ..self }
    }

    /// Puts the session back, in the end, to where it was after the best epoch: parameters, statistics, the state of the
    /// optimizer and the counts of steps and epochs. However the training ends, also by an error. If what is monitored was NaN in
    /// every epoch there is no such epoch, and that is an error in the end; the session is then as the last one left it.
    pub fn restore_best(mut self, restore: bool) -> Self {
        self.best.keep = restore;
        self
    }

    /// Is told of every step: loss and metrics, before the update. `Break` ends the training after the step.
    pub fn on_step<A: Answer>(self, mut callback: impl FnMut(&mut Session<N>, &N::Metrics) -> A + 'f) -> Self {
        Fit { on_step: Some(Box::new(move |net, metrics| callback(net, metrics).flow())), ..self }
    }

    /// Is told of every complete epoch. `Break` ends the training.
    pub fn on_epoch<A: Answer>(self, mut callback: impl FnMut(&mut Session<N>, &Epoch<N>) -> A + 'f) -> Self {
        Fit { on_epoch: Some(Box::new(move |net, epoch| callback(net, epoch).flow())), ..self }
    }

    /// What is shown meanwhile.
    pub fn progress(self, progress: Progress) -> Self {
        Fit { progress, ..self }
    }

    /// Whether Ctrl-C ends the training after the step that runs, with the history so far; a second one ends the process, as
    /// one does at any other time. That takes a handler, which the first such training installs for the rest of the process,
    /// unless there is one: then Ctrl-C is left to that. True unless said otherwise; without the feature `terminal`, false.
    pub fn interruptible(self, interruptible: bool) -> Self {
        Fit { interruptible, ..self }
    }

    /// Trains.
    ///
    /// # Errors
    /// Settings out of range; data that the network does not fit, before anything is trained; a loss that is not finite; no best
    /// epoch to go back to. The error carries the history so far.
    pub fn run(self) -> Result<History<N>, FitError<N>> {
        let mut history = History::after(self.session.epochs());
        match self.checked() {
            Ok(mut run) => {
                let result = run.epochs(&mut history);
                let (end, cause) = result.map_or_else(|cause| (Ending::Failed, Some(cause)), |end| (end, None));
                run.finish(&mut history, end);
                let complete = history.epochs.iter().filter(|epoch| epoch.complete).count();
                let lacks_best = run.best.keep && history.best.is_none() && complete > 0;
                match cause.or_else(|| lacks_best.then_some(FitCause::NoBest { epochs: complete })) {
                    Some(cause) => Err(FitError { cause, history }),
                    None => Ok(history),
                }
            }
            Err(cause) => {
                history.end = Ending::Failed;
                Err(FitError { cause, history })
            }
        }
    }

    /// Looks at settings and data, and only then shares out the rows.
    fn checked(self) -> Result<Run<'f, N>, FitCause> {
        let Fit { session, source, batch, validation, best, .. } = self;
        let setting = |name, wanted, actual| BuildError::Setting { name, wanted, actual };
        for (name, count) in [("epochs", Some(self.epochs)), ("early_stopping", best.patience)] {
            if count == Some(0) {
                return Err(setting(name, "at least 1", "0".to_string()).into());
            }
        }
        if !(0.0..f64::INFINITY).contains(&best.min_delta) {
            return Err(setting("min_delta", "a finite number of at least 0", best.min_delta.to_string()).into());
        }
        let batches = source.checked(session, batch, &validation)?;
        if let Validation::Set(set) = validation {
            session.check(set.inputs(), set.targets())?;
        }
        Ok(Run {
            stepper: Stepper {
                interrupt: self.interruptible.then(Interrupt::listen),
                display: Display::new(self.progress, session.epochs(), self.epochs, batches.rows()),
                on_step: self.on_step,
                session,
            },
            epochs: self.epochs,
            validation: if batches.keeps_out() { validation } else { validation.without_split() },
            batches,
            best,
            on_epoch: self.on_epoch,
        })
    }
}

impl<N: Supervised> Validation<'_, N> {
    /// The same, but for a split that keeps nothing out.
    fn without_split(self) -> Self {
        match self {
            Validation::Split(_) => Validation::None,
            other => other,
        }
    }
}

/// A training under way.
struct Run<'f, N: Supervised> {
    stepper: Stepper<'f, N>,
    batches: Batches<'f, N>,
    epochs: usize,
    validation: Validation<'f, N>,
    best: Best<'f, N>,
    on_epoch: Option<Callback<'f, N, Epoch<N>>>,
}

impl<N: Supervised> Run<'_, N> {
    fn epochs(&mut self, history: &mut History<N>) -> Result<Ending, FitCause> {
        let before = self.stepper.session.epochs();
        for epoch in 1..=self.epochs {
            if let Some(end) = self.epoch(before.saturating_add(epoch), history)? {
                return Ok(end);
            }
        }
        Ok(Ending::Completed)
    }

    /// One epoch, and whether it is the last.
    fn epoch(&mut self, epoch: usize, history: &mut History<N>) -> Result<Option<Ending>, FitCause> {
        let start = Instant::now();
        let (mut pass, rest) = match self.batches.take_begun() {
            Some((pass, rest)) => (pass, Some(rest)),
            None => (Pass::new::<N>(self.batches.shuffling(), self.stepper.session.learning_rate()), None),
        };
        let passed = self.pass(epoch, &mut pass, rest);
        let validated = match passed {
            Ok(None) => self.validate(),
            _ => Ok(None),
        };
        let complete = matches!((&passed, &validated), (Ok(None), Ok(_)));
        if complete {
            self.stepper.session.complete(epoch);
        }
        if pass.steps > 0 {
            let (train, validation) = (Numbers::means(&pass), validated.clone().ok().flatten());
            let mut epoch = Epoch {
                epoch,
                steps: pass.steps,
                train: train.named::<N>(),
                validation: validation.as_ref().map(Numbers::named::<N>),
                rate: pass.rate,
                seconds: start.elapsed().as_secs_f64(),
                complete,
                monitored: f64::NAN,
                train_numbers: train,
                validation_numbers: validation,
            };
            epoch.monitored = self.best.value(&epoch);
            history.epochs.push(epoch);
        }
        validated?;
        match (passed?, history.epochs.last()) {
            (None, Some(done)) => self.after(done),
            (end, _) => Ok(end),
        }
    }

    /// A step on every batch, or on those that an epoch lacks, unless something ends it.
    fn pass(
        &mut self,
        epoch: usize,
        pass: &mut Pass,
        rest: Option<Vec<Range<usize>>>,
    ) -> Result<Option<Ending>, FitCause> {
        let Run { stepper, batches, .. } = self;
        match batches {
            Batches::Set(Cut { data, batches, shuffling, .. }) => {
                data.shuffle(epoch as u64, shuffling.kept_out);
                for rows in rest.as_ref().unwrap_or(batches) {
                    let end = stepper.step(epoch, pass, rows.len(), data.rows(rows.clone()), true)?;
                    if end.is_some() {
                        return Ok(end);
                    }
                }
            }
            Batches::Stream(stream) => {
                // Whatever an earlier training left of an epoch, this one begins anew.
                stepper.session.complete(epoch.saturating_sub(1));
                for batch in stream.pass(epoch)? {
                    let (inputs, targets) = batch?;
                    let rows = inputs.counts().first().copied().unwrap_or(0);
                    let end = stepper.step(epoch, pass, rows, (inputs.views(), targets.views()), false)?;
                    if end.is_some() {
                        return Ok(end);
                    }
                }
                if pass.steps == 0 {
                    return Err(StreamError::Empty { pass: epoch }.into());
                }
            }
        }
        Ok(None)
    }

    fn validate(&mut self) -> Result<Option<Numbers>, FitCause> {
        let (inputs, targets) = match (&self.validation, &self.batches) {
            (Validation::Set(set), _) => (set.inputs(), set.targets()),
            (Validation::Split(_), Batches::Set(cut)) => cut.data.rows(cut.train..cut.data.len()),
            _ => return Ok(None),
        };
        let report = self.stepper.session.assess(inputs, targets)?;
        Ok(Some(Numbers::of(&report)))
    }

    /// What follows a complete epoch, and whether it is the last.
    fn after(&mut self, epoch: &Epoch<N>) -> Result<Option<Ending>, FitCause> {
        self.stepper.display.epoch(epoch);
        let enough = self.best.consider(epoch, self.stepper.session)?;
        if let Some(callback) = &mut self.on_epoch
            && callback(self.stepper.session, epoch).is_break()
        {
            return Ok(Some(Ending::Callback));
        }
        if self.stepper.is_interrupted() {
            return Ok(Some(Ending::Interrupted));
        }
        Ok(enough.then_some(Ending::EarlyStopping))
    }

    fn finish(&mut self, history: &mut History<N>, end: Ending) {
        history.end = end;
        history.best = self.best.epoch();
        history.restored = self.best.restore(self.stepper.session);
        self.stepper.display.end(history);
    }
}
