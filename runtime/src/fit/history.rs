//! What a training was like: one entry an epoch, as a table for people and as CSV for programs.

use std::fmt::{self, Display, Write};

use super::numbers::Numbers;
use crate::chart::{Chart, Curve, Panel, Scale, Style};
use crate::network::COLUMNS;
use crate::session::Network;

/// What a training was like.
#[derive(Clone, Debug)]
pub struct History<N: Network> {
    /// The epochs in order. The last is not complete if something ended the training in its middle.
    pub epochs: Vec<Epoch<N>>,
    /// Why the training ended.
    pub end: Ending,
    /// The number of the epoch with the best value of what was monitored; none if no epoch was completed, or none with a number.
    pub best: Option<usize>,
    /// Whether the session was put back to where it was after the best epoch.
    pub restored: bool,
    /// How many epochs there were before, in few bits: an error carries a history.
    before: u32,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// All epochs were made.
    Completed,
    /// What was monitored became no better for as many epochs as early stopping waits.
    EarlyStopping,
    /// A callback said so.
    Callback,
    /// Ctrl-C.
    Interrupted,
    /// An error.
    Failed,
}

/// One pass over the data.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Epoch<N: Network> {
    /// Which, from 1, counted through all trainings of the session: see [`Session::epochs`](crate::session::Session::epochs).
    pub epoch: usize,
    /// How many steps were made in it, those before an interruption included.
    pub steps: usize,
    /// Loss and metrics as the steps reported them, before each update: their means, weighted by the rows of the batches.
    pub train: N::Metrics,
    /// Loss and metrics of the validation set after the epoch, in inference mode; none without such a set, and for an epoch
    /// that is not complete.
    pub validation: Option<N::Metrics>,
    /// The learning rate of its first step.
    pub rate: f64,
    /// How long it took in this training, validation included.
    pub seconds: f64,
    /// Whether every batch had its step.
    pub complete: bool,
    /// What is monitored, to be small.
    pub(super) monitored: f64,
    pub(super) train_numbers: Numbers,
    pub(super) validation_numbers: Option<Numbers>,
}

impl<N: Network> History<N> {
    /// None yet, after so many of earlier trainings.
    pub(super) fn after(before: usize) -> History<N> {
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        History { epochs: Vec::new(), end: Ending::Completed, best: None, restored: false, before }
    }

    /// The best epoch.
    pub fn best_epoch(&self) -> Option<&Epoch<N>> {
        self.epochs.iter().find(|epoch| Some(epoch.epoch) == self.best)
    }

    /// Comma-separated values (RFC 4180): a line of names, then one line an epoch. Numbers are as short as they can be without
    /// losing digits; the columns of the validation are there if there was one, and empty for an epoch without.
    pub fn to_csv(&self) -> String {
        let mut text = self.columns().join(",");
        text.push('\n');
        for epoch in &self.epochs {
            text.push_str(&self.cells(epoch, true).join(","));
            text.push('\n');
        }
        text
    }

    /// The loss and each metric over the epochs, as the text of an SVG file: of the training as lines, of the validation dashed. The
    /// best epoch is marked.
    pub fn to_svg(&self) -> String {
        let epochs = || self.epochs.iter();
        let points = |numbers: &dyn Fn(&Epoch<N>) -> Option<f32>| -> Vec<(f64, f64)> {
            epochs().map(|epoch| (epoch.epoch as f64, numbers(epoch).map_or(f64::NAN, f64::from))).collect()
        };
        let panels = Numbers::names::<N>().enumerate().map(|(index, name)| {
            let train = points(&|epoch| epoch.train_numbers.iter().nth(index));
            let validation = points(&|epoch| epoch.validation_numbers.as_ref()?.iter().nth(index));
            let train = Curve { name: "training".into(), color: 0, style: Style::Line, points: train };
            let validation = Curve { name: "validation".into(), color: 1, style: Style::Dashes, points: validation };
            let curves = [Some(train), self.has_validation().then_some(validation)];
            Panel {
                title: name.to_string(),
                x: ("epoch".to_string(), Scale::Linear),
                curves: curves.into_iter().flatten().collect(),
                most: None,
                mark: self.best.map(|best| (best as f64, "best".to_string())),
            }
        });
        Chart { panels: panels.collect() }.svg()
    }

    /// The epoch that was not completed.
    pub(super) fn failed_in(&self) -> usize {
        let next = |epoch: usize| epoch.saturating_add(1);
        self.epochs
            .last()
            .map_or(next(self.before as usize), |last| if last.complete { next(last.epoch) } else { last.epoch })
    }

    pub(super) fn has_validation(&self) -> bool {
        self.epochs.iter().any(|epoch| epoch.validation_numbers.is_some())
    }

    /// `epoch,steps,loss,accuracy,validation_loss,validation_accuracy,rate,seconds`
    fn columns(&self) -> Vec<String> {
        let names = || Numbers::names::<N>();
        // No metric has one of these names.
        let [epoch, steps, rate, seconds] = COLUMNS.map(str::to_string);
        let mut columns = vec![epoch, steps];
        columns.extend(names().map(str::to_string));
        if self.has_validation() {
            columns.extend(names().map(|name| format!("validation_{name}")));
        }
        columns.extend([rate, seconds]);
        columns
    }

    /// With all digits, or with a few.
    fn cells(&self, epoch: &Epoch<N>, exact: bool) -> Vec<String> {
        let number = |x: f32| if exact { x.to_string() } else { short(f64::from(x)) };
        let mut cells = vec![epoch.epoch.to_string(), epoch.steps.to_string()];
        cells.extend(epoch.train_numbers.iter().map(number));
        if self.has_validation() {
            match &epoch.validation_numbers {
                Some(numbers) => cells.extend(numbers.iter().map(number)),
                None => cells.extend(Numbers::names::<N>().map(|_| String::new())),
            }
        }
        let Epoch { rate, seconds, .. } = epoch;
        match exact {
            true => cells.extend([rate.to_string(), seconds.to_string()]),
            false => cells.extend([short(*rate), format!("{seconds:.2}")]),
        }
        cells
    }
}

/// A table, one line an epoch.
impl<N: Network> Display for History<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<String> = self.columns().into_iter().map(|name| name.replace('_', " ")).collect();
        let rows: Vec<Vec<String>> = self.epochs.iter().map(|epoch| self.cells(epoch, false)).collect();
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].len());
            cells.chain([columns[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns.len()).map(width).collect();
        for row in std::iter::once(&columns).chain(&rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let gap = if line.is_empty() { "" } else { "  " };
                write!(line, "{gap}{cell:>width$}")?;
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

/// Four digits after the point where that says something, else an exponent.
pub(super) fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_string(),
        size if (1e-3..1e6).contains(&size) || !size.is_finite() => format!("{x:.4}"),
        _ => format!("{x:.3e}"),
    }
}
