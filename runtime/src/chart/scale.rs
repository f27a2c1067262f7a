//! Axes: from numbers to places between 0 and 1, in equal steps or equal factors, with marks at round numbers.

/// How an axis goes from number to number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// In equal steps.
    Linear,
    /// In equal factors; numbers above 0 alone.
    Logarithmic,
}

impl Scale {
    /// Numbers above 0 that lie further apart than a factor of eight are shown in equal factors.
    pub(crate) fn of(numbers: &[f64]) -> Scale {
        let (least, most) =
            numbers.iter().fold((f64::INFINITY, 0.0f64), |(least, most), &x| (least.min(x), most.max(x)));
        if least > 0.0 && most > 8.0 * least { Scale::Logarithmic } else { Scale::Linear }
    }

    /// A number in equal steps; none where the axis has no place for it.
    fn even(self, x: f64) -> Option<f64> {
        match self {
            Scale::Linear => Some(x),
            Scale::Logarithmic => (x > 0.0).then(|| libm::log10(x)),
        }
        .filter(|x| x.is_finite())
    }
}

/// An axis over some numbers.
#[derive(Clone, Debug)]
pub(super) struct Ticks {
    scale: Scale,
    low: f64,
    high: f64,
    /// Where a mark stands, and what it says.
    pub(super) marks: Vec<(f64, String)>,
}

impl Ticks {
    /// An axis that shows all of these numbers that it has a place for, with about so many marks at most.
    pub(super) fn over(scale: Scale, numbers: impl Iterator<Item = f64>, most: usize) -> Ticks {
        let even = numbers.filter_map(|x| scale.even(x));
        let range = even.fold(None, |range: Option<(f64, f64)>, x| {
            let (low, high) = range.unwrap_or((x, x));
            Some((low.min(x), high.max(x)))
        });
        let (low, high) = range.unwrap_or((0.0, 1.0));
        // Halves, so that the difference of the largest numbers is one as well.
        let room = (0.03 * (high / 2.0 - low / 2.0) * 2.0).max(1e-6 * high.abs()).max(1e-12);
        let (low, high) = ((low - room).max(f64::MIN), (high + room).min(f64::MAX));
        let mut ticks = Ticks { scale, low, high, marks: Vec::new() };
        ticks.marks = match scale {
            Scale::Linear => ticks.steps(most),
            Scale::Logarithmic => ticks.powers(most),
        };
        ticks
    }

    /// Where a number stands, from 0 to 1 if it is shown; further up it may be cut off.
    pub(super) fn place(&self, x: f64) -> Option<f64> {
        let (x, width) = (self.scale.even(x)?, self.high / 2.0 - self.low / 2.0);
        let place = (x / 2.0 - self.low / 2.0) / width;
        // Far enough outside, and no more than a picture can say.
        Some(place.clamp(-10.0, 10.0))
    }

    /// At multiples of 1, 2 or 5 times a power of ten.
    fn steps(&self, most: usize) -> Vec<(f64, String)> {
        let least = (self.high / 2.0 - self.low / 2.0) / most as f64 * 2.0;
        let power = libm::pow(10.0, libm::log10(least).floor());
        let step = [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power);
        if !step.is_finite() || step <= 0.0 {
            return Vec::new();
        }
        let first = (self.low / step).ceil();
        let marks = (0..=most).map(|n| (first + n as f64) * step).take_while(|x| *x <= self.high);
        marks.filter_map(|x| Some((self.place(x)?, number(x, step)))).collect()
    }

    /// At powers of ten; within less than two of them, at 2 and 5 times one as well.
    fn powers(&self, most: usize) -> Vec<(f64, String)> {
        let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
        let skip = (last - first).max(0) as usize / most + 1;
        let factors: &[f64] = if self.high - self.low < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let powers = (first..=last).filter(|power| power.rem_euclid(skip as i32) == 0);
        let numbers = powers.flat_map(|power| factors.iter().map(move |factor| (*factor, power)));
        let marks = numbers.filter_map(|(factor, power)| {
            let x = factor * libm::pow(10.0, f64::from(power));
            let place = self.place(x).filter(|place| (0.0..=1.0).contains(place))?;
            let text = if (-3..4).contains(&power) { number(x, x) } else { format!("{factor}e{power}") };
            Some((place, text))
        });
        marks.collect()
    }
}

/// A multiple of a step, without the digits that rounding adds.
fn number(x: f64, step: f64) -> String {
    let digits = (-libm::log10(step).floor()).clamp(0.0, 300.0) as usize;
    match x.abs() {
        size if size != 0.0 && !(1e-4..1e5).contains(&size) => format!("{x:.1e}"),
        _ => format!("{x:.digits$}"),
    }
}

/// A place in a picture, to a tenth of a pixel.
pub(super) fn coordinate(x: f64) -> String {
    format!("{x:.1}")
}

#[cfg(test)]
mod tests {
    use super::{Scale, Ticks};

    fn texts(scale: Scale, numbers: &[f64]) -> Vec<String> {
        Ticks::over(scale, numbers.iter().copied(), 6).marks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn marks_stand_at_round_numbers() {
        assert_eq!(texts(Scale::Linear, &[0.07, 0.61]), ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]);
        assert_eq!(texts(Scale::Linear, &[1.0, 20.0]), ["5", "10", "15", "20"]);
        assert_eq!(texts(Scale::Linear, &[-2e6, 3e6]), ["-2.0e6", "-1.0e6", "0", "1.0e6", "2.0e6", "3.0e6"]);
        assert_eq!(texts(Scale::Logarithmic, &[1e-7, 10.0]), ["1e-6", "1e-4", "0.01", "1"]);
        assert_eq!(texts(Scale::Logarithmic, &[0.01, 0.1]), ["0.01", "0.02", "0.05", "0.1"]);
    }

    #[test]
    fn a_number_has_its_place_by_its_scale() {
        let middle = |scale, numbers: [f64; 3]| {
            let ticks = Ticks::over(scale, numbers.into_iter(), 6);
            numbers.map(|x| (100.0 * ticks.place(x).expect("it is shown")).round())
        };
        assert_eq!(middle(Scale::Linear, [0.0, 1.0, 2.0])[1], 50.0);
        assert_eq!(middle(Scale::Logarithmic, [1e-4, 1e-2, 1.0])[1], 50.0);
        assert_eq!(middle(Scale::Linear, [-f64::MAX, 0.0, f64::MAX])[1], 50.0);
        assert_eq!(Ticks::over(Scale::Logarithmic, [1.0, 10.0].into_iter(), 6).place(-1.0), None);
    }

    #[test]
    fn numbers_far_apart_are_shown_in_equal_factors() {
        assert_eq!(Scale::of(&[1e-4, 1e-3, 1e-2]), Scale::Logarithmic);
        assert_eq!(Scale::of(&[16.0, 32.0, 64.0]), Scale::Linear);
        assert_eq!(Scale::of(&[0.0, 1.0, 100.0]), Scale::Linear);
        assert_eq!(Scale::of(&[]), Scale::Linear);
    }
}
