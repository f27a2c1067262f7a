//! The decisions that an evaluation makes: as long as none falls differently, it computes one smooth function.

use std::cmp::Ordering;

/// How the decisions of an evaluation fell.
#[derive(Clone, Debug)]
pub struct Decisions {
    /// All of them in one number.
    pub hash: u64,
    /// The smallest distance of two numbers that were compared and differ, beside their size or 1.
    pub nearest: f64,
}

impl Default for Decisions {
    fn default() -> Decisions {
        Decisions { hash: 0, nearest: f64::INFINITY }
    }
}

impl Decisions {
    /// Compares two numbers; NaN with nothing.
    pub fn compare(&mut self, x: f64, y: f64) -> Option<Ordering> {
        let order = x.partial_cmp(&y);
        if x != y && (x - y).is_finite() {
            self.nearest = self.nearest.min((x - y).abs() / x.abs().max(y.abs()).max(1.0));
        }
        self.choose(match order {
            None => 0,
            Some(Ordering::Less) => 1,
            Some(Ordering::Equal) => 2,
            Some(Ordering::Greater) => 3,
        });
        order
    }

    /// Whether `x > y`.
    pub fn above(&mut self, x: f64, y: f64) -> bool {
        self.compare(x, y) == Some(Ordering::Greater)
    }

    /// The larger; of equals the first, and NaN.
    pub fn larger(&mut self, x: f64, y: f64) -> f64 {
        match self.compare(x, y) {
            Some(Ordering::Less) => y,
            Some(_) => x,
            None => f64::NAN,
        }
    }

    /// The smaller; of equals the first, and NaN.
    pub fn smaller(&mut self, x: f64, y: f64) -> f64 {
        -self.larger(-x, -y)
    }

    /// The first of the largest; of numbers of which one is NaN, the first NaN.
    pub fn largest(&mut self, numbers: &[f64]) -> usize {
        let mut best = 0;
        for (at, &x) in numbers.iter().enumerate().skip(1) {
            if !numbers[best].is_nan() && (x.is_nan() || self.above(x, numbers[best])) {
                best = at;
            }
        }
        self.choose(best as u64);
        best
    }

    /// A number that should be finite: nothing is clear about what follows from another one.
    pub fn finite(&mut self, x: f64) -> f64 {
        if !x.is_finite() {
            self.nearest = 0.0;
        }
        x
    }

    /// One of several.
    fn choose(&mut self, which: u64) {
        self.hash = (self.hash ^ which).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    }
}
