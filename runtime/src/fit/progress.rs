//! What is shown while a training runs, on standard error: a bar in a terminal, a line an epoch elsewhere, or nothing.

use std::cell::Cell;
use std::io::{self, Write};

use super::history::{Epoch, History, short};
use super::numbers::Numbers;
use super::terminal::Bar;
use super::{Ending, Progress};
use crate::session::Network;

thread_local! {
    /// Whether this thread makes trainings of a sweep.
    static SWEEPS: Cell<bool> = const { Cell::new(false) };
}

/// Makes a training within a sweep, which shows nothing unless it was asked to.
pub(super) fn within_sweep<R>(train: impl FnOnce() -> R) -> R {
    let before = SWEEPS.replace(true);
    let result = train();
    SWEEPS.set(before);
    result
}

/// Shows how a training goes on.
pub(super) struct Display {
    bar: Option<Bar>,
    lines: bool,
    /// Epochs of earlier trainings.
    before: usize,
    /// The number of the last epoch.
    last: usize,
}

impl Display {
    /// For so many epochs of so many rows, after some of earlier trainings. Without the number of rows there is no bar.
    pub(super) fn new(progress: Progress, before: usize, epochs: usize, rows: Option<usize>) -> Display {
        let progress = if progress == Progress::Auto && SWEEPS.get() { Progress::Quiet } else { progress };
        let rows = rows.filter(|_| progress == Progress::Auto);
        let bar = rows.and_then(|rows| Bar::on_terminal(epochs, rows));
        let last = before.saturating_add(epochs);
        Display { lines: progress != Progress::Quiet && bar.is_none(), bar, before, last }
    }

    /// Called after every step, and cheap. `seen` is asked only if something is to be shown: the rows of this epoch so far and
    /// the means over them.
    pub(super) fn step<N: Network>(&mut self, epoch: usize, seen: impl FnOnce() -> (usize, Numbers)) {
        if let Some(bar) = &mut self.bar
            && bar.is_due()
        {
            let (rows, numbers) = seen();
            bar.show(&title(epoch, self.last), epoch - self.before, rows, &named::<N>(&numbers, ""));
        }
    }

    /// Called after every epoch.
    pub(super) fn epoch<N: Network>(&self, epoch: &Epoch<N>) {
        self.say(|| {
            let validation = epoch.validation_numbers.as_ref();
            let validation =
                validation.map(|numbers| format!("  {}", named::<N>(numbers, "validation "))).unwrap_or_default();
            let (title, train) = (title(epoch.epoch, self.last), named::<N>(&epoch.train_numbers, ""));
            format!("{title}  {train}{validation}  {:.2} s", epoch.seconds)
        });
    }

    /// Called once, however the training ended.
    pub(super) fn end<N: Network>(&self, history: &History<N>) {
        let last = history.epochs.last().map_or(0, |epoch| epoch.epoch);
        match history.end {
            Ending::Completed => {}
            Ending::EarlyStopping => self.say(|| format!("no progress any more: stopped after epoch {last}")),
            Ending::Callback => self.say(|| format!("stopped by a callback in epoch {last}")),
            Ending::Interrupted => self.say(|| format!("interrupted in epoch {last}")),
            Ending::Failed => self.say(|| format!("failed in epoch {}", history.failed_in())),
        }
        if let (true, Some(best)) = (history.restored, history.best) {
            self.say(|| format!("put back to the best epoch, {best}"));
        }
        if let Some(bar) = &self.bar {
            bar.end();
        }
    }

    /// A line that stays.
    fn say(&self, line: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.say(&line());
        } else if self.lines {
            // A full disk, or a reader that went away, is no reason to end a training.
            let _ = writeln!(io::stderr(), "{}", line());
        }
    }
}

/// `epoch  3/20`
fn title(epoch: usize, epochs: usize) -> String {
    let width = epochs.to_string().len();
    format!("epoch {epoch:>width$}/{epochs}")
}

/// `loss 0.4321  accuracy 0.8710`
fn named<N: Network>(numbers: &Numbers, prefix: &str) -> String {
    let pairs = Numbers::names::<N>().zip(numbers.iter());
    let texts: Vec<String> = pairs.map(|(name, x)| format!("{name} {}", short(f64::from(x)))).collect();
    format!("{prefix}{}", texts.join("  "))
}
