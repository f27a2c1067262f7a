//! How far a result may be from what is expected.

/// A bound on the distance of two numbers: `|actual - expected| <= relative |expected| + absolute`.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The share of the expected number.
    pub relative: f64,
    /// What is allowed near zero.
    pub absolute: f64,
}

impl Bound {
    /// Panics with the element that is furthest out of bounds, if any is. NaN matches NaN, infinities themselves.
    #[track_caller]
    pub fn check(self, what: &str, actual: &[f64], expected: &[f64]) {
        assert_eq!(actual.len(), expected.len(), "{what}: number of elements");
        let pairs = actual.iter().zip(expected).enumerate();
        let errors = pairs.map(|(at, (&actual, &expected))| (at, actual, expected, self.error(actual, expected)));
        let (at, actual, expected, error) =
            errors.max_by(|x, y| x.3.total_cmp(&y.3)).expect("there is something to compare");
        assert!(error <= 1.0, "{what}: element {at} is {actual:e} instead of {expected:e}, {error:.3} times {self:?}");
    }

    /// The distance as a multiple of the bound.
    fn error(self, actual: f64, expected: f64) -> f64 {
        if actual == expected || actual.is_nan() && expected.is_nan() {
            return 0.0;
        }
        let error = (actual - expected).abs() / (self.relative * expected.abs() + self.absolute);
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

#[test]
fn a_bound_tells_nan_and_infinities_from_numbers() {
    let bound = Bound { relative: 0.1, absolute: 0.0 };
    assert_eq!(bound.error(f64::NAN, f64::NAN), 0.0);
    assert_eq!(bound.error(f64::INFINITY, f64::INFINITY), 0.0);
    for (actual, expected) in [(f64::NAN, 1.0), (1.0, f64::NAN), (f64::INFINITY, 1.0), (1.0, f64::INFINITY), (1.0, 0.0)]
    {
        assert!(bound.error(actual, expected) > 1.0, "{actual} is not {expected}");
    }
}
