//! What the trainings of a sweep were like: a table for people, CSV for programs, a picture.

use std::fmt::{self, Display};

use super::super::history::{Ending, Epoch, History, short};
use super::super::numbers::Numbers;
use super::{Trial, TrialError, described};
use crate::chart::{Chart, Curve, Panel, Scale, Style};
use crate::session::Network;

/// The trainings of a sweep.
///
/// `{}` prints a table: for every training its settings, the number of its epochs, and loss and metrics of the best one, those of the
/// validation if there is one. [`Swept::to_csv`] has the same with all digits, [`Swept::to_svg`] draws it.
#[derive(Clone, Debug)]
pub struct Swept<S, N: Network> {
    /// The trainings, in the order of the settings: the last setting changes first.
    pub trials: Vec<Trial<S, N>>,
    names: Vec<String>,
}

impl<S, N: Network> Swept<S, N> {
    pub(super) fn new(names: Vec<String>, trials: Vec<Trial<S, N>>) -> Swept<S, N> {
        Swept { trials, names }
    }

    /// The training that is best by what was monitored, in its best epoch: the loss, unless `minimize` or `maximize` of its `fit` says
    /// otherwise, of the validation if there is one. None if none was completed with a number. Of equals the first.
    pub fn best(&self) -> Option<&Trial<S, N>> {
        self.best_index().map(|index| &self.trials[index])
    }

    fn best_index(&self) -> Option<usize> {
        let values = self.trials.iter().enumerate().filter_map(|(index, trial)| {
            let value = trial.result.as_ref().ok()?.best_epoch()?.monitored;
            (!value.is_nan()).then_some((index, value))
        });
        values.min_by(|x, y| x.1.total_cmp(&y.1)).map(|(index, _)| index)
    }

    /// Comma-separated values (RFC 4180): a line of names, then one for each training: settings, epochs made, the best of them, its
    /// loss and metrics in training and in validation, seconds, and the error of one that failed.
    pub fn to_csv(&self) -> String {
        let mut text = String::new();
        for row in [self.columns()].into_iter().chain(self.trials.iter().map(|trial| self.cells(trial, true))) {
            let row: Vec<String> = row.into_iter().map(quoted).collect();
            text.push_str(&row.join(","));
            text.push('\n');
        }
        text
    }

    /// Loss and metrics of the best epoch of each training over the last setting, as the text of an SVG file: a curve for each
    /// combination of the others.
    pub fn to_svg(&self) -> String {
        let Some((last, others)) = self.names.split_last() else { return Chart::default().svg() };
        let values: Vec<Option<f64>> = self.trials.iter().map(|trial| trial.shown.last()?.parse().ok()).collect();
        let numbers: Option<Vec<f64>> = values.into_iter().collect();
        // What is no number has its place by its turn.
        let mut words: Vec<&String> = Vec::new();
        let mut places = Vec::new();
        for value in self.trials.iter().filter_map(|trial| trial.shown.last()) {
            let known = words.iter().position(|word| *word == value);
            places.push(known.unwrap_or(words.len()) as f64);
            words.extend(known.is_none().then_some(value));
        }
        let is_number = numbers.is_some();
        let places = numbers.unwrap_or(places);
        let axis = if is_number {
            last.clone()
        } else {
            let words: Vec<String> = words.iter().enumerate().map(|(at, word)| format!("{at} {word}")).collect();
            format!("{last}: {}", words.join(", "))
        };
        let scale = Scale::of(&places);
        let validated = self.has_validation();
        let panels = Numbers::names::<N>().enumerate().map(|(index, name)| {
            let mut curves: Vec<Curve> = Vec::new();
            for (trial, &x) in self.trials.iter().zip(&places) {
                let name = described(others, &trial.shown);
                let y = trial.numbers(validated).and_then(|numbers| numbers.iter().nth(index));
                let point = (x, y.map_or(f64::NAN, f64::from));
                match curves.iter_mut().find(|curve| curve.name == name) {
                    Some(curve) => curve.points.push(point),
                    None => {
                        let color = curves.len();
                        curves.push(Curve { name, color, style: Style::Dots, points: vec![point] });
                    }
                }
            }
            let title = if validated { format!("validation {name}") } else { name.to_string() };
            Panel { title, x: (axis.clone(), scale), curves, most: None, mark: None }
        });
        Chart { panels: panels.collect() }.svg()
    }

    fn has_validation(&self) -> bool {
        self.trials.iter().any(|trial| trial.history().is_some_and(History::has_validation))
    }

    fn columns(&self) -> Vec<String> {
        let mut columns = self.names.clone();
        columns.extend(["epochs", "best"].map(String::from));
        columns.extend(Numbers::names::<N>().map(String::from));
        if self.has_validation() {
            columns.extend(Numbers::names::<N>().map(|name| format!("validation_{name}")));
        }
        columns.extend(["seconds", "error"].map(String::from));
        columns
    }

    /// With all digits, or with a few.
    fn cells(&self, trial: &Trial<S, N>, exact: bool) -> Vec<String> {
        let number = |x: f32| if exact { x.to_string() } else { short(f64::from(x)) };
        // One that was never begun has neither epochs nor seconds.
        let (history, epoch) = (trial.history().filter(|history| !history.epochs.is_empty()), trial.epoch());
        let mut cells = trial.shown.clone();
        cells.push(history.map_or(String::new(), |history| history.epochs.len().to_string()));
        cells.push(epoch.map_or(String::new(), |epoch| epoch.epoch.to_string()));
        let sides =
            [Some(epoch.map(|epoch| &epoch.train_numbers)), self.has_validation().then_some(trial.numbers(true))];
        for numbers in sides.into_iter().flatten() {
            match numbers {
                Some(numbers) => cells.extend(numbers.iter().map(number)),
                None => cells.extend(Numbers::names::<N>().map(|_| String::new())),
            }
        }
        let seconds = history.map(|history| history.epochs.iter().map(|epoch| epoch.seconds).sum::<f64>());
        let digits = |seconds: f64| if exact { seconds.to_string() } else { format!("{seconds:.2}") };
        cells.push(seconds.map_or(String::new(), digits));
        cells.push(match &trial.result {
            Ok(_) => String::new(),
            Err(error) if exact => error.to_string(),
            Err(error) => one_line(error),
        });
        cells
    }
}

impl<S, N: Network> Trial<S, N> {
    /// What it was like, until it failed if it did.
    fn history(&self) -> Option<&History<N>> {
        self.result.as_ref().map_or_else(TrialError::history, Some)
    }

    /// Its best epoch, if it did not fail.
    fn epoch(&self) -> Option<&Epoch<N>> {
        self.result.as_ref().ok()?.best_epoch()
    }

    /// Loss and metrics of its best epoch, in validation or in training.
    fn numbers(&self, validated: bool) -> Option<&Numbers> {
        let epoch = self.epoch()?;
        if validated { epoch.validation_numbers.as_ref() } else { Some(&epoch.train_numbers) }
    }
}

/// The loss and the metrics of the best epoch, in a line.
pub(super) fn outcome<N: Network>(history: &History<N>) -> String {
    let Some(epoch) = history.best_epoch() else { return "no epoch has a loss".to_string() };
    let (prefix, numbers) = match &epoch.validation_numbers {
        Some(numbers) => ("validation ", numbers),
        None => ("", &epoch.train_numbers),
    };
    let numbers = Numbers::names::<N>().zip(numbers.iter()).map(|(name, x)| format!("{name} {}", short(f64::from(x))));
    let interrupted = if history.end == Ending::Interrupted { "  interrupted" } else { "" };
    format!("{prefix}{}{interrupted}", numbers.collect::<Vec<String>>().join("  "))
}

/// An error without line ends.
pub(super) fn one_line(error: &impl Display) -> String {
    error.to_string().split('\n').map(str::trim).collect::<Vec<&str>>().join("; ")
}

/// A cell of a file: in quotes if it needs them.
fn quoted(cell: String) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    }
}

/// A table, one line a training; below it the best.
impl<S, N: Network> Display for Swept<S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.columns().into_iter().map(|name| name.replace('_', " "));
        let mut rows: Vec<Vec<String>> = vec![names.collect()];
        rows.extend(self.trials.iter().map(|trial| self.cells(trial, false)));
        // What went wrong stands at the end, however long it is, where anything did.
        let errors: Vec<String> = rows.iter_mut().filter_map(Vec::pop).collect();
        let widths: Vec<usize> = (0..rows[0].len())
            .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for (index, (row, error)) in rows.iter().zip(&errors).enumerate() {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            let error = if index == 0 { "" } else { error };
            writeln!(f, "{}", format!("{}  {error}", cells.join("  ")).trim_end())?;
        }
        match self.best() {
            Some(Trial { shown, result: Ok(history), .. }) if !shown.is_empty() => {
                writeln!(f, "best: {}, {}", described(&self.names, shown), outcome(history))
            }
            Some(_) => Ok(()),
            None => writeln!(f, "no training has a best epoch"),
        }
    }
}
