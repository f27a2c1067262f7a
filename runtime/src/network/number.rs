//! Numbers of a declaration that come from Rust constants.
//!
//! The macro sees `crate::HIDDEN` and not its value, so it writes the calculation out and rustc does it, in these
//! functions. What goes wrong becomes a value: `elaborate` reports it in the words of the macro.

use super::At;

/// A number and how the declaration writes it.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    /// What it comes to.
    pub value: Outcome,
    /// As the declaration writes it: `4 * crate::HIDDEN`.
    pub text: &'a str,
    /// Where.
    pub at: At,
}

/// What a calculation comes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// An integer.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A truth value, which an argument of a block may be.
    Flag(bool),
    /// More than 64 bits hold, or not finite.
    Overflow,
    /// A division by zero.
    DivisionByZero,
    /// A calculation with a truth value.
    NoNumber,
    /// Not known yet, or a mistake that the macro has reported; never in a program that compiles.
    Unknown,
}

impl Outcome {
    /// A size of the user's.
    pub const fn size(value: usize) -> Outcome {
        if value > i64::MAX as usize { Outcome::Overflow } else { Outcome::Int(value as i64) }
    }

    /// `-x`.
    pub const fn neg(self) -> Outcome {
        Outcome::Int(0).combine(self, Calculation::Sub)
    }

    /// `x + y`.
    pub const fn add(self, other: Outcome) -> Outcome {
        self.combine(other, Calculation::Add)
    }

    /// `x - y`.
    pub const fn sub(self, other: Outcome) -> Outcome {
        self.combine(other, Calculation::Sub)
    }

    /// `x * y`.
    pub const fn mul(self, other: Outcome) -> Outcome {
        self.combine(other, Calculation::Mul)
    }

    /// `x / y`, towards zero between integers.
    pub const fn div(self, other: Outcome) -> Outcome {
        self.combine(other, Calculation::Div)
    }

    /// `x / y` as numbers, where a fraction is wanted: `1 / 2` is 0.5.
    pub const fn ratio(self, other: Outcome) -> Outcome {
        match (self, other) {
            (Outcome::Int(x), Outcome::Int(y)) => match x.checked_rem(y) {
                Some(0) | None => self.div(other),
                Some(_) => floats(x as f64, y as f64, Calculation::Div),
            },
            _ => self.div(other),
        }
    }

    /// `x % y`, of integers.
    pub const fn rem(self, other: Outcome) -> Outcome {
        self.combine(other, Calculation::Rem)
    }

    /// As a number of an expression; NaN if there is none.
    pub const fn to_f64(self) -> f64 {
        match self {
            Outcome::Int(n) => n as f64,
            Outcome::Float(x) => x,
            Outcome::Flag(_) | Outcome::Overflow | Outcome::DivisionByZero | Outcome::NoNumber | Outcome::Unknown => {
                f64::NAN
            }
        }
    }

    const fn combine(self, other: Outcome, calculation: Calculation) -> Outcome {
        match (self, other) {
            (Outcome::Int(x), Outcome::Int(y)) => ints(x, y, calculation),
            (Outcome::Int(x), Outcome::Float(y)) => floats(x as f64, y, calculation),
            (Outcome::Float(x), Outcome::Int(y)) => floats(x, y as f64, calculation),
            (Outcome::Float(x), Outcome::Float(y)) => floats(x, y, calculation),
            // The first thing that went wrong is the one to tell.
            (Outcome::Flag(_), _) | (Outcome::Int(_) | Outcome::Float(_), Outcome::Flag(_)) => Outcome::NoNumber,
            (Outcome::Int(_) | Outcome::Float(_), wrong) => wrong,
            (wrong, _) => wrong,
        }
    }
}

/// Whether a number of a declaration is one in f32 as well: finite, and 0 only if it is 0.
pub const fn fits_f32(value: f64) -> bool {
    let rounded = value as f32;
    rounded.is_finite() && (rounded != 0.0 || value == 0.0)
}

/// Whether a setting is a number that f32 holds with all its digits. Stricter than [`fits_f32`], as a setting is a factor or a
/// divisor of everything that is trained: of a number below 1.2e-38 f32 has fewer digits, down to none, and of its reciprocal
/// infinity.
pub(crate) fn is_normal_f32(value: f64) -> bool {
    (value as f32).is_normal()
}

enum Calculation {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
}

const fn ints(x: i64, y: i64, calculation: Calculation) -> Outcome {
    let result = match calculation {
        Calculation::Add => x.checked_add(y),
        Calculation::Sub => x.checked_sub(y),
        Calculation::Mul => x.checked_mul(y),
        Calculation::Div | Calculation::Rem if y == 0 => return Outcome::DivisionByZero,
        Calculation::Div => x.checked_div(y),
        Calculation::Rem => x.checked_rem(y),
    };
    match result {
        Some(value) => Outcome::Int(value),
        None => Outcome::Overflow,
    }
}

const fn floats(x: f64, y: f64, calculation: Calculation) -> Outcome {
    let result = match calculation {
        Calculation::Add => x + y,
        Calculation::Sub => x - y,
        Calculation::Mul => x * y,
        Calculation::Div if y == 0.0 => return Outcome::DivisionByZero,
        Calculation::Div => x / y,
        // The macro refuses the remainder of numbers that it can see are no integers.
        Calculation::Rem => return Outcome::Overflow,
    };
    if result.is_finite() { Outcome::Float(result) } else { Outcome::Overflow }
}

#[cfg(test)]
mod tests {
    use super::Outcome::{DivisionByZero, Flag, Float, Int, NoNumber, Overflow};

    #[test]
    fn integers_are_calculated_exactly() {
        assert_eq!(Int(7).mul(Int(6)).sub(Int(2)).div(Int(3)), Int(13));
        assert_eq!((Int(-7).rem(Int(4)), Int(5).neg(), Int(1).add(Int(1))), (Int(-3), Int(-5), Int(2)));
    }

    #[test]
    fn what_goes_wrong_first_is_told() {
        assert_eq!(Int(i64::MAX).add(Int(1)).div(Int(0)), Overflow);
        assert_eq!(Int(1).div(Int(0)).add(Int(i64::MAX)), DivisionByZero);
        assert_eq!(
            (Int(1).rem(Int(0)), Int(i64::MIN).neg(), Int(i64::MIN).div(Int(-1))),
            (DivisionByZero, Overflow, Overflow)
        );
    }

    #[test]
    fn truth_values_are_no_numbers() {
        assert_eq!(
            (Flag(true).add(Int(1)), Int(1).ratio(Flag(false)), Flag(true).neg()),
            (NoNumber, NoNumber, NoNumber)
        );
        assert_eq!((Flag(true).mul(Flag(true)), Int(1).div(Int(0)).add(Flag(true))), (NoNumber, DivisionByZero));
        assert_eq!(Flag(true).add(Int(1)).add(Int(1)), NoNumber);
    }

    #[test]
    fn a_ratio_is_the_quotient_of_numbers() {
        assert_eq!(
            (Int(1).ratio(Int(2)), Int(6).ratio(Int(-3)), Float(1.0).ratio(Int(4))),
            (Float(0.5), Int(-2), Float(0.25))
        );
        assert_eq!((Int(1).ratio(Int(0)), Int(i64::MIN).ratio(Int(-1))), (DivisionByZero, Overflow));
    }

    #[test]
    fn a_fraction_makes_the_result_one() {
        assert_eq!((Int(1).div(Float(4.0)), Float(1e308).mul(Int(10))), (Float(0.25), Overflow));
    }
}
