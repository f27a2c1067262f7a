//! Slopes by central differences, and how far they can be trusted.
//!
//! Differences over steps of several sizes are extrapolated to a step of nothing (Ridders 1982, "Accurate computation of F'(x)
//! and F'(x) F''(x)"); how much the last extrapolations differ says how far off the best of them is.

use super::decisions::Decisions;

/// The slope of a function at a place.
#[derive(Clone, Copy, Debug)]
pub struct Slope {
    pub value: f64,
    /// How far from the right one it may be.
    pub error: f64,
}

/// The largest step, and how many times smaller each of the others is.
const STEP: f64 = 1.0 / 64.0;
const SHRINK: f64 = 4.0;
const STEPS: usize = 6;

/// The slope of `f` at 0, where `f` gives a value and the decisions that it took. None where a decision falls differently
/// however small the step, or nothing is finite.
pub fn slope(center: &Decisions, mut f: impl FnMut(f64) -> (f64, Decisions)) -> Option<Slope> {
    // The differences, each followed by its extrapolations with those before.
    let mut before: Vec<f64> = Vec::new();
    let mut best: Option<Slope> = None;
    for step in (0..STEPS).map(|at| STEP / SHRINK.powi(at as i32)) {
        let [(above, right), (below, left)] = [f(step), f(-step)];
        if [right.hash, left.hash] != [center.hash; 2] || !(above - below).is_finite() {
            (before, best) = (Vec::new(), None);
            continue;
        }
        let rounding = 4.0 * f64::EPSILON * above.abs().max(below.abs()) / step;
        let mut row = vec![(above - below) / (2.0 * step)];
        for (at, &coarser) in before.iter().enumerate() {
            let factor = SHRINK.powi(2 * (at as i32 + 1));
            let finer = row[at];
            let value = (factor * finer - coarser) / (factor - 1.0);
            let error = (value - finer).abs().max((value - coarser).abs()) + rounding;
            if best.is_none_or(|best| error < best.error) {
                best = Some(Slope { value, error });
            }
            row.push(value);
        }
        // Smaller steps have larger roundings, and tell nothing more.
        if best.is_some_and(|best| best.error <= 4.0 * rounding) {
            break;
        }
        before = row;
    }
    best
}

#[test]
fn a_slope_is_known_to_many_digits_but_at_a_kink() {
    let of = |f: fn(f64) -> f64| {
        let at = |x: f64| {
            let mut decisions = Decisions::default();
            decisions.above(f(x), 0.0);
            (f(x), decisions)
        };
        slope(&at(0.0).1, at)
    };
    let found = of(|x| (0.7 + x).exp()).expect("it is smooth");
    assert!((found.value - 0.7f64.exp()).abs() < found.error && found.error < 1e-9, "{found:?}");
    let near = of(|x| if x > -1e-3 { 1.0 + 3.0 * x } else { 0.0 }).expect("it is smooth nearby");
    assert!((near.value - 3.0).abs() < 1e-8, "{near:?}");
    assert!(of(|x| x.max(0.0)).is_none());
}
