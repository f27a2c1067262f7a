//! Trainings that differ in their settings, several at a time.
//!
//! In: values for some settings, and a function that trains with one of each. Out: the history of every training, or why it has none.
//! Threads take the trainings in turn; what one of them computes is what it would compute alone.

mod found;
mod settings;

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::error::FitError;
use super::history::{Ending, History};
use super::progress::within_sweep;
use super::terminal::Interrupt;
use super::{FitCause, Progress};
use crate::error::BuildError;
use crate::session::Network;

pub use found::Swept;
pub use settings::Settings;

/// Trainings with every combination of some settings, several at a time:
///
/// ```text
/// let found = Sweep::new().over("hidden", [16, 64]).over("rate", [1e-3, 1e-2]).run(|(hidden, rate)| {
///     let mut net = Mlp::trainer(Adam::new(rate)).with(|sizes| sizes.hidden = hidden).build()?;
///     net.fit(&mut train.clone()).epochs(20).validation(&test).run()
/// })?;
/// println!("{found}");
/// ```
///
/// The function gets a tuple with a value for each setting, in the order of [`Sweep::over`], and may be called by several threads at
/// once: it builds a session and clones the data. What a training computes depends on its settings alone, so that it has the same
/// bits in a sweep, whatever the number of threads, and by itself.
#[derive(Clone, Debug)]
pub struct Sweep<S> {
    names: Vec<String>,
    /// The settings of each training, and how they are shown.
    points: Vec<(S, Vec<String>)>,
    threads: Option<usize>,
    progress: Progress,
}

/// The history of a training, or why there is none.
type Outcome<N> = Result<History<N>, TrialError<N>>;

/// A training of a sweep.
#[derive(Clone, Debug)]
pub struct Trial<S, N: Network> {
    /// Its settings, a tuple in the order of [`Sweep::over`].
    pub settings: S,
    /// What it was like, or why it failed.
    pub result: Result<History<N>, TrialError<N>>,
    shown: Vec<String>,
}

/// Why a training of a sweep has no history.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError<N: Network> {
    /// It could not be built, or ended with an error; what it was until then is in there.
    #[error(transparent)]
    Failed(FitError<N>),
    /// The function panicked, with this message.
    #[error("panicked: {0}")]
    Panicked(String),
    /// Ctrl-C came before it began.
    #[error("not begun: interrupted")]
    Interrupted,
}

/// The text, as of every error.
impl<N: Network> fmt::Debug for TrialError<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Default for Sweep<()> {
    fn default() -> Sweep<()> {
        Sweep::new()
    }
}

impl Sweep<()> {
    /// Of no setting so far: one training.
    pub fn new() -> Sweep<()> {
        Sweep { names: Vec::new(), points: vec![((), Vec::new())], threads: None, progress: Progress::Auto }
    }
}

impl<S: Settings> Sweep<S> {
    /// A further setting, with the values that it takes: of any type, shown as it prints. Every combination with those of the
    /// settings before is a training. Up to eight settings.
    pub fn over<T: Clone + Display>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Sweep<S::With<T>>
    where
        S: Clone,
    {
        let Sweep { mut names, points, threads, progress } = self;
        names.push(name.into());
        let values: Vec<T> = values.into_iter().collect();
        let with = |(settings, shown): &(S, Vec<String>)| {
            let (settings, shown) = (settings.clone(), shown.clone());
            let values = values.clone();
            values.into_iter().map(move |value| {
                let text = value.to_string();
                (settings.clone().with(value), shown.iter().cloned().chain([text]).collect())
            })
        };
        Sweep { names, points: points.iter().flat_map(with).collect(), threads, progress }
    }
}

impl<S> Sweep<S> {
    /// How many trainings run at a time, from 1; as many as there are cores unless said otherwise. Each may have threads of its own.
    pub fn threads(self, threads: usize) -> Sweep<S> {
        Sweep { threads: Some(threads), ..self }
    }

    /// What is shown meanwhile, on standard error: a line for each training that ends, or nothing.
    pub fn progress(self, progress: Progress) -> Sweep<S> {
        Sweep { progress, ..self }
    }

    /// Makes the trainings. One that fails, or panics, is an error in its place and leaves the others alone. Ctrl-C ends those that
    /// run after their step, as in every `fit`, and begins no others.
    ///
    /// # Errors
    /// Settings out of range: no trainings, no threads.
    pub fn run<N: Network>(
        self,
        train: impl Fn(S) -> Result<History<N>, FitError<N>> + Sync,
    ) -> Result<Swept<S, N>, BuildError>
    where
        S: Clone + Send + Sync,
    {
        let Sweep { names, points, threads, progress } = self;
        let setting = |name, wanted| Err(BuildError::Setting { name, wanted, actual: "0".to_string() });
        if points.is_empty() {
            return setting("the number of trainings of a sweep", "at least 1");
        }
        let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        if threads == 0 {
            return setting("threads", "at least 1");
        }
        let work = Work {
            points: &points,
            next: AtomicUsize::new(0),
            interrupt: Interrupt::listen(),
            interrupted: AtomicBool::new(false),
            results: points.iter().map(|_| Mutex::new(None)).collect(),
            names: &names,
            lines: progress != Progress::Quiet,
        };
        thread::scope(|scope| {
            // Where the system gives no further thread, the others do the work.
            for _ in 1..threads.min(points.len()) {
                let _ = thread::Builder::new().spawn_scoped(scope, || work.go(&train));
            }
            work.go(&train);
        });
        let results: Vec<_> = work.results.into_iter().map(|result| result.into_inner()).collect();
        let trials = points.into_iter().zip(results).map(|((settings, shown), result)| {
            let result = result.ok().flatten().unwrap_or(Err(TrialError::Interrupted));
            Trial { settings, result, shown }
        });
        Ok(Swept::new(names, trials.collect()))
    }
}

/// What threads share.
struct Work<'a, S, N: Network> {
    points: &'a [(S, Vec<String>)],
    next: AtomicUsize,
    interrupt: Interrupt,
    /// Whether a training said so.
    interrupted: AtomicBool,
    results: Vec<Mutex<Option<Outcome<N>>>>,
    names: &'a [String],
    lines: bool,
}

impl<S: Clone, N: Network> Work<'_, S, N> {
    /// Makes one training after the other, until there are none left.
    fn go(&self, train: &(impl Fn(S) -> Result<History<N>, FitError<N>> + Sync)) {
        while !self.interrupt.requested() && !self.interrupted.load(Ordering::SeqCst) {
            let index = self.next.fetch_add(1, Ordering::SeqCst);
            let Some((settings, shown)) = self.points.get(index) else { return };
            // What a panic leaves behind is the function's own, and this training's.
            let trained = catch_unwind(AssertUnwindSafe(|| within_sweep(|| train(settings.clone()))));
            let result = match trained {
                Ok(result) => result.map_err(TrialError::Failed),
                Err(panic) => Err(TrialError::Panicked(message(&*panic))),
            };
            if result.as_ref().is_ok_and(|history| history.end == Ending::Interrupted) {
                self.interrupted.store(true, Ordering::SeqCst);
            }
            self.say(index, shown, &result);
            if let Ok(mut place) = self.results[index].lock() {
                *place = Some(result);
            }
        }
    }

    fn say(&self, index: usize, shown: &[String], result: &Outcome<N>) {
        if !self.lines {
            return;
        }
        let settings = described(self.names, shown);
        let outcome = match result {
            Ok(history) => found::outcome(history),
            Err(error) => found::one_line(error),
        };
        // A reader that went away is no reason to end a training.
        let _ = writeln!(io::stderr(), "training {} of {}  {settings}  {outcome}", index + 1, self.points.len());
    }
}

/// `hidden 16, rate 0.001`
fn described(names: &[String], shown: &[String]) -> String {
    names.iter().zip(shown).map(|(name, value)| format!("{name} {value}")).collect::<Vec<String>>().join(", ")
}

/// What a panic says.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_string())
}

impl<N: Network> TrialError<N> {
    /// What a training that failed was until then.
    pub fn history(&self) -> Option<&History<N>> {
        match self {
            TrialError::Failed(error) => Some(&error.history),
            TrialError::Panicked(_) | TrialError::Interrupted => None,
        }
    }

    /// Why it failed, of a training that did.
    pub fn cause(&self) -> Option<&FitCause> {
        match self {
            TrialError::Failed(error) => Some(&error.cause),
            TrialError::Panicked(_) | TrialError::Interrupted => None,
        }
    }
}
