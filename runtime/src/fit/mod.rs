//! Training over many epochs: shuffling, validation, early stopping, the best epoch, callbacks, progress, Ctrl-C.
//!
//! In: a session and a dataset. Out: the history of the training. Everything here is made of steps and evaluations that a
//! user could call as well, with the same bits; what a step computes is not this module's business.

mod batches;
mod best;
mod error;
mod history;
mod numbers;
mod progress;
mod supervised;
#[cfg_attr(not(feature = "terminal"), path = "no_terminal.rs")]
mod terminal;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use crate::error::BuildError;
use crate::session::{Network, Pass, Session, Shuffling};
use batches::batches;
use best::Best;
use numbers::Numbers;
use progress::Display;
use terminal::Interrupt;

pub use error::{FitCause, FitError};
pub use history::{Ending, Epoch, History};
pub use supervised::{DatasetOf, Supervised};

/// What is shown while a training runs, on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar in a terminal, lines elsewhere. Without the feature `terminal`, lines.
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

/// The settings of a training, made by [`Session::fit`] and started by [`Fit::run`].
pub struct Fit<'f, N: Supervised> {
    session: &'f mut Session<N>,
    data: &'f mut DatasetOf<N>,
    epochs: usize,
    batch: usize,
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
        write!(f, "Fit {{ epochs: {epochs}, batch: {batch}, best: {best:?}, {progress:?}, {interruptible} }}")
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
        Fit {
            batch: self.max_batch(),
            session: self,
            data,
            epochs: 1,
            validation: Validation::None,
            best: Best::by_loss(),
            on_step: None,
            on_epoch: None,
            progress: Progress::Auto,
            interruptible: true,
        }
    }
}

impl<'f, N: Supervised> Fit<'f, N> {
    /// How many passes over the data, from 1, those before not counted; 1 unless said otherwise. To have so many in all, however
    /// often the training was interrupted: `epochs(all - net.epochs())`.
    pub fn epochs(self, epochs: usize) -> Self {
        Fit { epochs, ..self }
    }

    /// Rows of a batch, from 1 to `max_batch`; `max_batch` unless said otherwise.
    pub fn batch_size(self, rows: usize) -> Self {
        Fit { batch: rows, ..self }
    }

    /// Evaluates this set after every epoch.
    pub fn validation(self, set: &'f DatasetOf<N>) -> Self {
        Fit { validation: Validation::Set(set), ..self }
    }

    /// Keeps this share of the data, between 0 and 1, out of the training, and evaluates it after every epoch. The seed of the
    /// data decides which rows those are, the same in every training. A share of 0 is no validation.
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
        let Fit { session, data, batch, validation, best, .. } = self;
        let setting = |name, wanted, actual| BuildError::Setting { name, wanted, actual };
        if batch == 0 || batch > session.max_batch() {
            return Err(setting("batch_size", "from 1 to `max_batch`", batch.to_string()).into());
        }
        for (name, count) in [("epochs", Some(self.epochs)), ("early_stopping", best.patience)] {
            if count == Some(0) {
                return Err(setting(name, "at least 1", "0".to_string()).into());
            }
        }
        if !(0.0..f64::INFINITY).contains(&best.min_delta) {
            return Err(setting("min_delta", "a finite number of at least 0", best.min_delta.to_string()).into());
        }
        session.check(data.inputs(), data.targets())?;
        if let Validation::Set(set) = validation {
            session.check(set.inputs(), set.targets())?;
        }
        let train = match validation {
            Validation::Split(share) => data.rows_without(share, ["the training", "the validation"])?,
            _ => data.len(),
        };
        let validation = if train == data.len() { validation.without_split() } else { validation };
        let shuffling = data.shuffling(data.len() - train);
        let begun = session.position().pass.clone().filter(|pass| pass.shuffling == shuffling && pass.rows <= train);
        let (least, most) = (session.least_rows(), session.max_batch());
        let whole = batches(0..train, batch, least, most);
        let rest = begun.as_ref().map(|pass| batches(pass.rows..train, batch, least, most));
        for rows in whole.iter().chain(rest.iter().flatten()) {
            session.check_rows(rows.len())?;
        }
        Ok(Run {
            interrupt: self.interruptible.then(Interrupt::listen),
            display: Display::new(self.progress, session.epochs(), self.epochs, train),
            session,
            data,
            epochs: self.epochs,
            batches: whole,
            begun: begun.zip(rest),
            shuffling,
            train,
            validation,
            best,
            on_step: self.on_step,
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
    session: &'f mut Session<N>,
    data: &'f mut DatasetOf<N>,
    epochs: usize,
    batches: Vec<Range<usize>>,
    /// The epoch that an earlier training did not complete, and the batches that it lacks.
    begun: Option<(Pass, Vec<Range<usize>>)>,
    shuffling: Shuffling,
    /// How many rows, the first ones, are for training.
    train: usize,
    validation: Validation<'f, N>,
    best: Best<'f, N>,
    on_step: Option<Callback<'f, N, N::Metrics>>,
    on_epoch: Option<Callback<'f, N, Epoch<N>>>,
    display: Display,
    interrupt: Option<Interrupt>,
}

impl<N: Supervised> Run<'_, N> {
    fn epochs(&mut self, history: &mut History<N>) -> Result<Ending, FitCause> {
        let before = self.session.epochs();
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
        let (mut pass, rest) = match self.begun.take() {
            Some((pass, rest)) => (pass, Some(rest)),
            None => (Pass::new::<N>(self.shuffling, self.session.learning_rate()), None),
        };
        let passed = self.pass(epoch, &mut pass, rest);
        let validated = match passed {
            Ok(None) => self.validate(),
            _ => Ok(None),
        };
        let complete = matches!((&passed, &validated), (Ok(None), Ok(_)));
        if complete {
            self.session.complete(epoch);
        }
        if pass.steps > 0 {
            let (train, validation) = (Numbers::means(&pass), validated.clone().ok().flatten());
            history.epochs.push(Epoch {
                epoch,
                steps: pass.steps,
                train: train.named::<N>(),
                validation: validation.as_ref().map(Numbers::named::<N>),
                rate: pass.rate,
                seconds: start.elapsed().as_secs_f64(),
                complete,
                train_numbers: train,
                validation_numbers: validation,
            });
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
        self.data.shuffle(epoch as u64, self.shuffling.kept_out);
        for rows in rest.as_ref().unwrap_or(&self.batches) {
            let (inputs, targets) = self.data.rows(rows.clone());
            let report = self.session.advance(inputs, targets)?;
            pass.add(rows.len(), &report);
            let metrics = self.on_step.as_ref().map(|_| N::metrics(&report));
            self.session.stand(epoch.saturating_sub(1), pass);
            if let (Some(callback), Some(metrics)) = (&mut self.on_step, metrics)
                && callback(self.session, &metrics).is_break()
            {
                return Ok(Some(Ending::Callback));
            }
            if self.interrupt.as_ref().is_some_and(Interrupt::requested) {
                return Ok(Some(Ending::Interrupted));
            }
            self.display.step::<N>(epoch, || (pass.rows, Numbers::means(pass)));
        }
        Ok(None)
    }

    fn validate(&mut self) -> Result<Option<Numbers>, FitCause> {
        let (inputs, targets) = match self.validation {
            Validation::None => return Ok(None),
            Validation::Split(_) => self.data.rows(self.train..self.data.len()),
            Validation::Set(set) => (set.inputs(), set.targets()),
        };
        let report = self.session.assess(inputs, targets)?;
        Ok(Some(Numbers::of(&report)))
    }

    /// What follows a complete epoch, and whether it is the last.
    fn after(&mut self, epoch: &Epoch<N>) -> Result<Option<Ending>, FitCause> {
        self.display.epoch(epoch);
        let enough = self.best.consider(epoch, self.session)?;
        if let Some(callback) = &mut self.on_epoch
            && callback(self.session, epoch).is_break()
        {
            return Ok(Some(Ending::Callback));
        }
        if self.interrupt.as_ref().is_some_and(Interrupt::requested) {
            return Ok(Some(Ending::Interrupted));
        }
        Ok(enough.then_some(Ending::EarlyStopping))
    }

    fn finish(&mut self, history: &mut History<N>, end: Ending) {
        history.end = end;
        history.best = self.best.epoch();
        history.restored = self.best.restore(self.session);
        self.display.end(history);
    }
}
