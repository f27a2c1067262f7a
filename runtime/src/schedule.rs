//! Learning rates that change from step to step.
//!
//! In: how many steps have been made. Out: the rate of the next one, computed on the host in f64; compiled code reads it as
//! a number, so that no schedule recompiles anything.

use std::fmt;

use crate::error::BuildError;
use crate::network::is_normal_f32;

/// The learning rate of every step. A plain number is a constant one: wherever an optimizer takes a rate, it takes a
/// schedule too.
///
/// ```
/// # use gradloom_runtime::{optim::Adam, schedule::Schedule};
/// let adam = Adam::new(Schedule::cosine(1e-3, 10_000).warm_up(500));
/// let schedule = Schedule::step(0.1, 30, 0.5);
/// assert_eq!((schedule.rate(29), schedule.rate(30), schedule.rate(60)), (0.1, 0.05, 0.025));
/// ```
///
/// In the formulas `t` is the number of steps made before, so 0 at the first, and `r` the rate given. They are those of
/// PyTorch's schedulers, moved on once per step. The rate of a schedule with an end stays what it is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    rate: f64,
    end: Option<f64>,
    warm_up: u64,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Constant,
    Step { every: u64, factor: f64 },
    Exponential { factor: f64 },
    Polynomial { steps: u64, power: f64 },
    Cosine { steps: u64 },
    OneCycle { steps: u64 },
}

/// The share of one cycle in which the rate rises.
const RISE: f64 = 0.3;
/// The peak of one cycle as a multiple of its start, and its start as a multiple of its end.
const CYCLE: (f64, f64) = (25.0, 1e4);

impl Schedule {
    fn new(rate: f64, form: Form) -> Schedule {
        Schedule { rate, end: None, warm_up: 0, form }
    }

    /// The rate, if it is the same at every step.
    pub fn fixed(&self) -> Option<f64> {
        (*self == Schedule::constant(self.rate)).then_some(self.rate)
    }

    /// The same rate at every step.
    pub fn constant(rate: f64) -> Schedule {
        Schedule::new(rate, Form::Constant)
    }

    /// `r factor^floor(t / every)`: the rate is multiplied by `factor`, a number above 0 and at most 1, after every
    /// `every` steps, from 1 up.
    pub fn step(rate: f64, every: u64, factor: f64) -> Schedule {
        Schedule::new(rate, Form::Step { every, factor })
    }

    /// `r factor^t`, with a factor above 0 and at most 1.
    pub fn exponential(rate: f64, factor: f64) -> Schedule {
        Schedule::new(rate, Form::Exponential { factor })
    }

    /// `end + (r - end) (1 - t / steps)^power`, with at least 1 step and a power above 0: 1 is a straight line. It ends at 0
    /// unless [`Schedule::to`] says otherwise.
    pub fn polynomial(rate: f64, steps: u64, power: f64) -> Schedule {
        Schedule::new(rate, Form::Polynomial { steps, power })
    }

    /// `end + (r - end) (1 + cos(pi t / steps)) / 2`, with at least 1 step: half a wave. It ends at 0 unless
    /// [`Schedule::to`] says otherwise. Source: Loshchilov & Hutter 2017, equation 5.
    pub fn cosine(rate: f64, steps: u64) -> Schedule {
        Schedule::new(rate, Form::Cosine { steps })
    }

    /// One rise and one fall in at least 2 steps, each along half a wave: from `peak / 25` to `peak` in the first 30 % of
    /// the steps, then to `peak / 250,000`, or where [`Schedule::to`] says. Source: Smith & Topin 2018, with the numbers
    /// and the form of PyTorch's `OneCycleLR`.
    pub fn one_cycle(peak: f64, steps: u64) -> Schedule {
        Schedule::new(peak, Form::OneCycle { steps })
    }

    /// Where the rate ends, a finite number of at least 0. A constant, step or exponential schedule has no end and falls no
    /// lower than this.
    pub fn to(self, end: f64) -> Schedule {
        Schedule { end: Some(end), ..self }
    }

    /// So many steps before the schedule begins, in which the rate rises in a straight line, `r (t + 1) / (steps + 1)`, to
    /// what it begins with. Source: Goyal et al. 2017, section 2.2.
    pub fn warm_up(self, steps: u64) -> Schedule {
        Schedule { warm_up: steps, ..self }
    }

    /// The largest rate of all steps.
    pub(crate) fn peak(&self) -> f64 {
        self.rate.max(self.end.unwrap_or(0.0))
    }

    /// The rate of the step that follows `t` others.
    pub fn rate(&self, t: u64) -> f64 {
        match t.checked_sub(self.warm_up) {
            Some(t) => self.after_warm_up(t),
            None => self.after_warm_up(0) * (t as f64 + 1.0) / (self.warm_up as f64 + 1.0),
        }
    }

    fn after_warm_up(&self, t: u64) -> f64 {
        let Schedule { rate, end, .. } = *self;
        let fall = |share: f64| end.unwrap_or(0.0) + (rate - end.unwrap_or(0.0)) * share;
        let passed = |steps: u64| t.min(steps) as f64 / steps as f64;
        match self.form {
            Form::Constant => rate.max(end.unwrap_or(0.0)),
            Form::Step { every, factor } => (rate * libm::pow(factor, (t / every) as f64)).max(end.unwrap_or(0.0)),
            Form::Exponential { factor } => (rate * libm::pow(factor, t as f64)).max(end.unwrap_or(0.0)),
            Form::Polynomial { steps, power } => fall(libm::pow(1.0 - passed(steps), power)),
            Form::Cosine { steps } => fall(half_wave(passed(steps))),
            Form::OneCycle { steps } => {
                let start = rate / CYCLE.0;
                let end = end.unwrap_or(start / CYCLE.1);
                let (top, last) = (RISE * steps as f64 - 1.0, steps as f64 - 1.0);
                let t = (t as f64).min(last);
                match t < top {
                    true => rate + (start - rate) * half_wave(t / top),
                    false => end + (rate - end) * half_wave((t - top) / (last - top)),
                }
            }
        }
    }

    /// Says which setting is out of range, if one is.
    ///
    /// # Errors
    /// [`BuildError::Setting`].
    pub fn check(&self) -> Result<(), BuildError> {
        check_rate(self.rate)?;
        if let Some(end) = self.end {
            magnitude("the end of a schedule", end)?;
        }
        let factor = |factor: f64| {
            setting("the factor of a schedule", factor, factor > 0.0 && factor <= 1.0, "above 0 and at most 1")
        };
        let steps = |steps: u64| setting("the steps of a schedule", steps, steps >= 1, "at least 1");
        match self.form {
            Form::Constant => Ok(()),
            Form::Step { every, factor: by } => steps(every).and_then(|()| factor(by)),
            Form::Exponential { factor: by } => factor(by),
            Form::Polynomial { steps: of, power } => steps(of).and_then(|()| {
                let fits = power > 0.0 && power.is_finite();
                setting("the power of a schedule", power, fits, "a finite number above 0")
            }),
            Form::Cosine { steps: of } => steps(of),
            Form::OneCycle { steps } => setting("the steps of one cycle", steps, steps >= 2, "at least 2"),
        }
    }
}

impl From<f64> for Schedule {
    fn from(rate: f64) -> Schedule {
        Schedule::constant(rate)
    }
}

/// From 1 down to 0, while `x` goes from 0 to 1.
fn half_wave(x: f64) -> f64 {
    (1.0 + libm::cos(std::f64::consts::PI * x)) / 2.0
}

/// A learning rate: positive and finite, or zero to hold everything still.
pub fn check_rate(rate: f64) -> Result<(), BuildError> {
    magnitude("learning rate", rate)
}

/// A setting of at least 0. Compiled code has it as an f32, so it has to be one that is neither infinite nor 0 if it is not.
pub(crate) fn magnitude(name: &'static str, value: f64) -> Result<(), BuildError> {
    setting(name, Shown(value), (0.0..f64::INFINITY).contains(&value), "a finite number of at least 0")?;
    setting(
        name,
        Shown(value),
        value == 0.0 || is_normal_f32(value),
        "0 or from 1.2e-38 to 3.4e38, the range of an f32",
    )
}

/// A number in few letters, however large or small it is.
pub(crate) struct Shown(pub f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_finite() && value != 0.0 && !(1e-4..1e7).contains(&value.abs()) => write!(f, "{value:e}"),
            value => write!(f, "{value}"),
        }
    }
}

/// A setting that fits or not.
pub(crate) fn setting(
    name: &'static str,
    actual: impl ToString,
    fits: bool,
    wanted: &'static str,
) -> Result<(), BuildError> {
    match fits {
        true => Ok(()),
        false => Err(BuildError::Setting { name, wanted, actual: actual.to_string() }),
    }
}
