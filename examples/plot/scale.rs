//! Axes: from numbers to pixels, in equal steps or equal factors, with marks at round numbers.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// What an axis shows, and how.
#[derive(Clone)]
pub struct Axis {
    /// With its unit.
    pub label: String,
    logarithmic: bool,
    range: Option<(f64, f64)>,
}

impl Axis {
    /// In equal steps.
    pub fn linear(label: &str) -> Axis {
        Axis { label: label.to_string(), logarithmic: false, range: None }
    }

    /// In equal factors; numbers above 0 alone.
    pub fn logarithmic(label: &str) -> Axis {
        Axis { label: label.to_string(), logarithmic: true, range: None }
    }

    /// From here to there, instead of as far as there are points.
    pub fn range(self, low: f64, high: f64) -> Axis {
        Axis { range: Some((low, high)), ..self }
    }

    /// The scale that shows these numbers.
    pub(super) fn over(&self, numbers: impl Iterator<Item = f64>) -> Scale {
        let fits = |x: &f64| x.is_finite() && (!self.logarithmic || *x > 0.0);
        let found = numbers.filter(fits).fold(None, |range: Option<(f64, f64)>, x| {
            let (low, high) = range.unwrap_or((x, x));
            Some((low.min(x), high.max(x)))
        });
        let (low, high) = self.range.or(found).unwrap_or((1.0, 2.0));
        match (self.range.is_some(), self.logarithmic) {
            (true, logarithmic) => Scale { low, high, logarithmic },
            (false, true) => Scale { low: low / 1.2, high: high * 1.2, logarithmic: true },
            (false, false) => {
                let room = 0.03 * (high - low).max(1e-9);
                Scale { low: low - room, high: high + room, logarithmic: false }
            }
        }
    }
}

/// An axis with its ends.
#[derive(Clone)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    pub fn contains(&self, x: f64) -> bool {
        (self.low..=self.high).contains(&x)
    }

    /// The first of 1, 2, 5, 10, 20, .. times a power of ten that gives at most so many marks.
    fn step(&self, marks: usize) -> f64 {
        let least = (self.high - self.low) / marks as f64;
        let power = 10f64.powf(least.log10().floor());
        [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
    }
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, x: &f64, (from, to): (i32, i32)) -> i32 {
        let share = match self.logarithmic {
            true => (x / self.low).ln() / (self.high / self.low).ln(),
            false => (x - self.low) / (self.high - self.low),
        };
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let marks = hint.bold_points().max(1);
        if self.logarithmic {
            let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
            let skip = (last - first).max(0) as usize / marks + 1;
            // Within less than two powers of ten there are marks in between.
            let factors: &[f64] = if last - first < 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            let powers = (first - 1..=last).rev().step_by(skip).map(|power| 10f64.powi(power));
            let marks = powers.flat_map(|power| factors.iter().map(move |factor| factor * power));
            return marks.filter(|x| self.contains(*x)).collect();
        }
        let step = self.step(marks);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, x: &f64) -> String {
        if self.logarithmic && *x < 1e-3 {
            // One digit times a power of ten.
            return format!("{x:.0e}");
        }
        // What a step gathers of rounding is far below its digits.
        let x = (x * 1e9).round() / 1e9;
        match x.abs() {
            size if size >= 1e5 || (size < 1e-3 && x != 0.0) => format!("{x:e}"),
            _ => x.to_string(),
        }
    }
}
