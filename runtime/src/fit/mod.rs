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
#[cfg_attr(not(feature = "terminal"), path = "no_terminal.rs")]
mod terminal;

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use ndarray::{ArrayView, Dimension, RemoveAxis};

use crate::dataset::Dataset;
use crate::error::BuildError;
use crate::session::{Network, Session};
use batches::batches;
use best::Best;
use numbers::{Means, Numbers};
use progress::Display;
use terminal::Interrupt;

pub use error::{FitCause, FitError};
pub use history::{Ending, Epoch, History};

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
pub struct Fit<'f, N: Network, T, I: Dimension, D: Dimension> {
    session: &'f mut Session<N>,
    data: &'f mut Dataset<T, I, D>,
    epochs: usize,
    batch: usize,
    validation: Validation<'f, T, I, D>,
    best: Best<'f, N>,
    on_step: Option<Callback<'f, N, N::Step>>,
    on_epoch: Option<Callback<'f, N, Epoch<N>>>,
    progress: Progress,
    interruptible: bool,
}

/// What is evaluated after every epoch.
#[derive(Debug)]
enum Validation<'f, T, I: Dimension, D: Dimension> {
    None,
    /// A share of the data.
    Split(f64),
    Set(&'f Dataset<T, I, D>),
}

impl<N: Network, T, I: Dimension, D: Dimension> fmt::Debug for Fit<'_, N, T, I, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fit { epochs, batch, best, progress, interruptible, .. } = self;
        write!(f, "Fit {{ epochs: {epochs}, batch: {batch}, best: {best:?}, {progress:?}, {interruptible} }}")
    }
}

impl<N: Network> Session<N> {
    /// Trains on a dataset: `net.fit(&mut train).epochs(20).batch(32).validation(&test).run()?`.
    ///
    /// Each epoch shuffles the data, as [`Dataset::batches`] does, and makes a step on every batch: with the same seeds the
    /// same bits as that loop. With batch norm, a last batch of one row, which has no variance, joins the batch before if
    /// `max_batch` allows; else that gives it one of its rows.
    pub fn fit<'f, T, I, D>(&'f mut self, data: &'f mut Dataset<T, I, D>) -> Fit<'f, N, T, I, D>
    where
        T: Clone,
        I: RemoveAxis,
        D: RemoveAxis,
        N: for<'a> Network<Inputs<'a> = ArrayView<'a, f32, I>, Targets<'a> = ArrayView<'a, T, D>>,
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

impl<'f, N, T, I, D> Fit<'f, N, T, I, D>
where
    T: Clone,
    I: RemoveAxis,
    D: RemoveAxis,
    N: for<'a> Network<Inputs<'a> = ArrayView<'a, f32, I>, Targets<'a> = ArrayView<'a, T, D>>,
{
    /// How many passes over the data; 1 unless said otherwise.
    pub fn epochs(self, epochs: usize) -> Self {
        Fit { epochs, ..self }
    }

    /// Rows of a batch, from 1 to `max_batch`; `max_batch` unless said otherwise.
    pub fn batch(self, rows: usize) -> Self {
        Fit { batch: rows, ..self }
    }

    /// Evaluates this set after every epoch.
    pub fn validation(self, set: &'f Dataset<T, I, D>) -> Self {
        Fit { validation: Validation::Set(set), ..self }
    }

    /// Keeps this share of the data, between 0 and 1, out of the training, and evaluates it after every epoch. The data are
    /// shuffled first, unless an earlier training kept the same rows out: then it is those again.
    pub fn validation_split(self, share: f64) -> Self {
        Fit { validation: Validation::Split(share), ..self }
    }

    /// Ends the training once this many epochs in a row, at least 1, brought no progress in what is monitored: the loss,
    /// unless [`Fit::minimise`] or [`Fit::maximise`] says otherwise, of the validation if there is one, else of the training.
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

    /// Monitors another number, the smaller the better: `minimise(|step| step.error)`.
    pub fn minimise(self, value: impl Fn(&N::Step) -> f32 + 'f) -> Self {
        Fit { best: self.best.by(move |step| f64::from(value(step))), ..self }
    }

    /// Monitors another number, the larger the better: `maximise(|step| step.accuracy)`.
    pub fn maximise(self, value: impl Fn(&N::Step) -> f32 + 'f) -> Self {
        Fit { best: self.best.by(move |step| -f64::from(value(step))), ..self }
    }

    /// Puts the session back, in the end, to where it was after the best epoch: parameters, statistics, the state of the
    /// optimiser and the count of steps. However the training ends, also by an error.
    pub fn restore_best(mut self, restore: bool) -> Self {
        self.best.keep = restore;
        self
    }

    /// Is told of every step: loss and metrics, before the update. `Break` ends the training after the step.
    pub fn on_step<A: Answer>(self, mut callback: impl FnMut(&mut Session<N>, &N::Step) -> A + 'f) -> Self {
        Fit { on_step: Some(Box::new(move |net, step| callback(net, step).flow())), ..self }
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
    /// Settings out of range; data that the network does not fit, before anything is trained; a loss that is not finite. The
    /// error carries the history so far.
    pub fn run(self) -> Result<History<N>, FitError<N>> {
        let mut history = History::new();
        match self.checked() {
            Ok(mut run) => {
                let result = run.epochs(&mut history);
                let (end, cause) = result.map_or_else(|cause| (Ending::Failed, Some(cause)), |end| (end, None));
                run.finish(&mut history, end);
                match cause {
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
    fn checked(self) -> Result<Run<'f, N, T, I, D>, FitCause> {
        let Fit { session, data, batch, validation, best, .. } = self;
        let setting = |name, wanted, actual| BuildError::Setting { name, wanted, actual };
        if batch == 0 || batch > session.max_batch() {
            return Err(setting("batch", "from 1 to `max_batch`", batch.to_string()).into());
        }
        if !(0.0..f64::INFINITY).contains(&best.min_delta) {
            return Err(setting("min_delta", "a finite number of at least 0", best.min_delta.to_string()).into());
        }
        session.check(data.inputs(), data.targets())?;
        if let Validation::Set(set) = validation {
            session.check(set.inputs(), set.targets())?;
        }
        let train = match validation {
            Validation::Split(share) => data.rows_without(share)?,
            _ => data.len(),
        };
        let least = session.least_rows();
        let batches = batches(train, batch, least, session.max_batch());
        for rows in &batches {
            session.check_rows(rows.len())?;
        }
        data.keep_out(data.len() - train);
        Ok(Run {
            interrupt: self.interruptible.then(Interrupt::listen),
            display: Display::new(self.progress, self.epochs, train),
            session,
            data,
            epochs: self.epochs,
            batches,
            train,
            validation,
            best,
            on_step: self.on_step,
            on_epoch: self.on_epoch,
        })
    }
}

/// A training under way.
struct Run<'f, N: Network, T, I: Dimension, D: Dimension> {
    session: &'f mut Session<N>,
    data: &'f mut Dataset<T, I, D>,
    epochs: usize,
    batches: Vec<Range<usize>>,
    /// How many rows, the first ones, are for training.
    train: usize,
    validation: Validation<'f, T, I, D>,
    best: Best<'f, N>,
    on_step: Option<Callback<'f, N, N::Step>>,
    on_epoch: Option<Callback<'f, N, Epoch<N>>>,
    display: Display,
    interrupt: Option<Interrupt>,
}

impl<N, T, I, D> Run<'_, N, T, I, D>
where
    T: Clone,
    I: RemoveAxis,
    D: RemoveAxis,
    N: for<'a> Network<Inputs<'a> = ArrayView<'a, f32, I>, Targets<'a> = ArrayView<'a, T, D>>,
{
    fn epochs(&mut self, history: &mut History<N>) -> Result<Ending, FitCause> {
        for epoch in 1..=self.epochs {
            if let Some(end) = self.epoch(epoch, history)? {
                return Ok(end);
            }
        }
        Ok(Ending::Completed)
    }

    /// One epoch, and whether it is the last.
    fn epoch(&mut self, epoch: usize, history: &mut History<N>) -> Result<Option<Ending>, FitCause> {
        let (start, rate) = (Instant::now(), self.session.learning_rate());
        let mut means = Means::new::<N>();
        let passed = self.pass(epoch, &mut means);
        let validated = match passed {
            Ok(None) => self.validate(),
            _ => Ok(None),
        };
        let complete = matches!((&passed, &validated), (Ok(None), Ok(_)));
        if means.steps > 0 {
            let (train, validation) = (means.numbers(), validated.clone().ok().flatten());
            history.epochs.push(Epoch {
                epoch,
                steps: means.steps,
                train: train.step::<N>(),
                validation: validation.as_ref().map(Numbers::step::<N>),
                rate,
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

    /// A step on every batch, unless something ends it.
    fn pass(&mut self, epoch: usize, means: &mut Means) -> Result<Option<Ending>, FitCause> {
        self.data.shuffle_first(self.train);
        for rows in &self.batches {
            let (inputs, targets) = self.data.rows(rows.clone());
            let report = self.session.advance(inputs, targets)?;
            means.add(rows.len(), &report);
            if let Some(callback) = &mut self.on_step {
                let step = N::step(&report);
                if callback(self.session, &step).is_break() {
                    return Ok(Some(Ending::Callback));
                }
            }
            if self.interrupt.as_ref().is_some_and(Interrupt::requested) {
                return Ok(Some(Ending::Interrupted));
            }
            self.display.step::<N>(epoch, || (means.rows, means.numbers()));
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
