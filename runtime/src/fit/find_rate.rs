//! The search for a learning rate: steps whose rate grows until the loss does.
//!
//! In: a session and a dataset. Out: the loss of each rate, and one of the rates. Session and dataset are then as they were, to the
//! bit: parameters, running statistics, the optimizer's state, counts of steps, epochs and random numbers, the schedule, the order of
//! the rows.

use std::fmt::{self, Display, Write};
use std::ops::Range;

use super::Supervised;
use super::batches::batches;
use super::history::short;
use super::supervised::DatasetOf;
use crate::chart::{Chart, Curve, Panel, Scale, Style, letters};
use crate::error::{BuildError, RunError};
use crate::schedule::Schedule;
use crate::session::{Error, Session};

/// The settings of a search for a learning rate, made by [`Session::find_rate`] and started by [`FindRate::run`].
#[derive(Debug)]
pub struct FindRate<'f, N: Supervised> {
    session: &'f mut Session<N>,
    data: &'f mut DatasetOf<N>,
    batch: Option<usize>,
    range: (f64, f64),
    steps: usize,
}

/// What a search for a learning rate found.
///
/// `{}` prints the losses as a curve in letters; [`RateCurve::to_svg`] draws it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RateCurve {
    /// The rates, each larger than the one before by the same factor. Where the loss grew far beyond what it was at first, or a number
    /// was no longer finite, larger ones were not tried.
    pub rates: Vec<f64>,
    /// The loss of the step with each rate, before its update.
    pub losses: Vec<f32>,
    /// The same without most of the noise that comes from other rows in every batch.
    pub smoothed: Vec<f64>,
    /// A rate to train with: the one at which the loss falls fastest, and no more than a tenth of that at which it is least. None if
    /// it never falls by more than it varies from batch to batch.
    pub suggestion: Option<f64>,
}

impl<N: Supervised> Session<N> {
    /// Looks for a learning rate: steps on the batches of the data, each with a larger rate than the one before, until the loss
    /// grows; `println!("{}", net.find_rate(&mut train).run()?)`.
    ///
    /// Afterwards the session is what it was before, to the bit, and so is the order of the data: a training that follows is the one
    /// that would have been without. Groups keep their multiples of the rate, and a schedule takes no part.
    ///
    /// Source: Smith 2017, section 3.3, with the ways of fastai's `lr_find`.
    pub fn find_rate<'f>(&'f mut self, data: &'f mut DatasetOf<N>) -> FindRate<'f, N> {
        FindRate { session: self, data, batch: None, range: (1e-7, 10.0), steps: 100 }
    }
}

impl<N: Supervised> FindRate<'_, N> {
    /// Rows of a batch, from 1 to `max_batch`; `max_batch` unless said otherwise.
    pub fn batch_size(self, rows: usize) -> Self {
        FindRate { batch: Some(rows), ..self }
    }

    /// The first rate and the last, both above 0; from 1e-7 to 10 unless said otherwise.
    pub fn range(self, first: f64, last: f64) -> Self {
        FindRate { range: (first, last), ..self }
    }

    /// How many rates are tried at most, from 10; 100 unless said otherwise. More of them are less noisy.
    pub fn steps(self, steps: usize) -> Self {
        FindRate { steps, ..self }
    }

    /// Searches.
    ///
    /// # Errors
    /// Settings out of range; data that the network does not fit; a loss that is not finite with the smallest rate already.
    pub fn run(self) -> Result<RateCurve, Error> {
        let FindRate { session, data, batch, range: (first, last), steps } = self;
        let setting = |name, wanted, actual| Err(BuildError::Setting { name, wanted, actual }.into());
        let size = batch.unwrap_or(session.max_batch());
        if size == 0 || size > session.max_batch() {
            return setting("batch_size", "from 1 to `max_batch`", size.to_string());
        }
        if !(first > 0.0 && first < last && last < f64::INFINITY) {
            return setting("range", "from a rate above 0 to a larger one", format!("{first} to {last}"));
        }
        if steps < LEAST_STEPS {
            return setting("steps", "at least 10", steps.to_string());
        }
        session.check_rate(first)?;
        session.check_rate(last)?;
        session.check(data.inputs(), data.targets())?;
        let cut = batches(0..data.len(), size, session.least_rows(), session.max_batch());
        cut.iter().try_for_each(|rows| session.check_rows(rows.len()))?;

        let order = data.order().ok_or(RunError::NoMemory { what: "the order of the data" })?;
        let (state, schedule) = (session.snapshot(None)?, session.schedule());
        let factor = libm::pow(last / first, 1.0 / (steps - 1) as f64);
        let rates = (0..steps).map(|step| (first * libm::pow(factor, step as f64)).min(last));
        let found = search(session, data, &cut, rates);
        session.restore(&state);
        session.follow(schedule);
        data.restore(&order);
        let (rates, losses) = found?;
        Ok(RateCurve::of(rates, losses, steps))
    }
}

/// The fewest rates that show how a loss goes.
const LEAST_STEPS: usize = 10;

/// How much of what is seen so far counts for whether the loss grows: the mean of some ten losses.
const REMEMBERED: f64 = 0.9;

/// A step for each rate, on batch after batch, until the loss grows.
fn search<N: Supervised>(
    session: &mut Session<N>,
    data: &mut DatasetOf<N>,
    cut: &[Range<usize>],
    rates: impl ExactSizeIterator<Item = f64>,
) -> Result<(Vec<f64>, Vec<f32>), Error> {
    let (mut known, mut losses) = (Vec::new(), Vec::new());
    let first = rates.len() / 10;
    let (mut mean, mut weight, mut limit) = (0.0, 0.0, f64::INFINITY);
    let epochs = session.epochs() as u64;
    for (step, rate) in rates.enumerate() {
        if step % cut.len() == 0 {
            data.shuffle(epochs.saturating_add(1 + (step / cut.len()) as u64), 0);
        }
        let (inputs, targets) = data.rows(cut[step % cut.len()].clone());
        session.follow(Schedule::constant(rate));
        let Some(loss) = session.try_step(inputs, targets)? else {
            if losses.is_empty() {
                // The same step once more, for its error.
                let (inputs, targets) = data.rows(cut[0].clone());
                session.step(inputs, targets)?;
            }
            break;
        };
        known.push(rate);
        losses.push(loss);
        mean = REMEMBERED * mean + (1.0 - REMEMBERED) * f64::from(loss);
        weight = REMEMBERED * weight + (1.0 - REMEMBERED);
        if step + 1 == first {
            limit = self::limit(&losses, mean / weight);
        }
        if mean / weight > limit {
            break;
        }
    }
    Ok((known, losses))
}

/// The loss that says that a rate is too large: above what it was at first by as much as that is apart from 0.
fn limit(first: &[f32], mean: f64) -> f64 {
    let most = first.iter().fold(mean.abs(), |most, &loss| most.max(f64::from(loss).abs()));
    mean + most
}

impl RateCurve {
    /// Of losses whose rates grow by one factor, of which there were to be so many.
    fn of(rates: Vec<f64>, losses: Vec<f32>, steps: usize) -> RateCurve {
        let first = &losses[..losses.len().min(steps / 10)];
        let limit = limit(first, first.iter().map(|&loss| f64::from(loss)).sum::<f64>() / first.len().max(1) as f64);
        // What is far beyond would reach the mean of everything near it.
        let near: Vec<f64> = losses.iter().map(|&loss| f64::from(loss).min(limit)).collect();
        let width = (steps / 30).max(2);
        let smoothed: Vec<f64> = (0..near.len()).map(|at| blurred(&near, at, width)).collect();
        let suggestion =
            fall(&near, &smoothed, width).map(|[steepest, least]| rates[steepest].min(rates[least] / 10.0));
        RateCurve { rates, losses, smoothed, suggestion }
    }

    /// Comma-separated values (RFC 4180): a line of names, then a line for each rate: `rate,loss,smoothed`.
    pub fn to_csv(&self) -> String {
        let mut text = "rate,loss,smoothed\n".to_string();
        for ((rate, loss), smoothed) in self.rates.iter().zip(&self.losses).zip(&self.smoothed) {
            let _ = writeln!(text, "{rate},{loss},{smoothed}");
        }
        text
    }

    /// The losses over the rates, as the text of an SVG file.
    pub fn to_svg(&self) -> String {
        let losses = self.losses.iter().map(|&loss| f64::from(loss));
        let points = |values: &mut dyn Iterator<Item = f64>| self.rates.iter().copied().zip(values).collect();
        let losses =
            Curve { name: "loss".into(), color: 5, style: Style::Line, points: points(&mut losses.into_iter()) };
        let mut panel = self.panel();
        // What grew beyond all bounds would leave no room for the rest.
        panel.most = self.smoothed.iter().copied().reduce(f64::max);
        panel.curves.insert(0, losses);
        Chart { panels: vec![panel] }.svg()
    }

    fn panel(&self) -> Panel {
        let points = self.rates.iter().copied().zip(self.smoothed.iter().copied()).collect();
        Panel {
            title: "loss by learning rate".to_string(),
            x: ("learning rate".to_string(), Scale::Logarithmic),
            curves: vec![Curve { name: "smoothed".into(), color: 0, style: Style::Line, points }],
            most: None,
            mark: self.suggestion.map(|rate| (rate, format!("suggested: {}", brief(rate)))),
        }
    }
}

/// The curve in letters, and what is suggested.
impl Display for RateCurve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&letters(&self.panel()))?;
        match (self.suggestion, self.smoothed.iter().copied().reduce(f64::min)) {
            (Some(rate), Some(least)) => {
                writeln!(f, "suggested learning rate: {}; the loss falls to {}", brief(rate), short(least))
            }
            _ => writeln!(f, "no learning rate is suggested: the loss falls with none"),
        }
    }
}

/// Two digits, as the search knows no more.
fn brief(rate: f64) -> String {
    format!("{rate:.1e}")
}

/// The mean around a place, by the bell of so many steps, as far as two of them.
fn blurred(values: &[f64], at: usize, width: usize) -> f64 {
    let around = at.saturating_sub(2 * width)..(at + 2 * width + 1).min(values.len());
    let weighted = around.map(|other| {
        let distance = other.abs_diff(at) as f64 / width as f64;
        (libm::exp(-distance * distance / 2.0), values[other])
    });
    let (weight, sum) = weighted.fold((0.0, 0.0), |(weight, sum), (w, value)| (weight + w, sum + w * value));
    sum / weight
}

/// Where the loss falls fastest, and where it is least.
fn fall(losses: &[f64], smoothed: &[f64], width: usize) -> Option<[usize; 2]> {
    let (least, _) = smoothed.iter().enumerate().min_by(|x, y| x.1.total_cmp(y.1))?;
    let before = &smoothed[..=least];
    let noise = losses.iter().zip(before).map(|(loss, mean)| (loss - mean) * (loss - mean)).sum::<f64>();
    let noise = libm::sqrt(noise / before.len() as f64);
    let most = before.iter().copied().reduce(f64::max)?;
    // A fall of rounding alone is none.
    if most - smoothed[least] <= noise.max(1e-3 * most.abs()) {
        return None;
    }
    let slope = |at: usize| {
        let (from, to) = (at.saturating_sub(width), (at + width).min(least));
        (smoothed[to] - smoothed[from]) / (to - from).max(1) as f64
    };
    let steepest = (0..=least).min_by(|&x, &y| slope(x).total_cmp(&slope(y)))?;
    Some([steepest, least])
}
