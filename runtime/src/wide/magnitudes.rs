//! What is known of a value from the instruction that made it: whether it is a number, and has a sign.
//!
//! Functions that are symmetric take the magnitude of what others have taken it of before, and ask on which side of zero it is. Absent
//! on purpose: what would change a bit, of NaN and zeros as well.

use super::body::{Binary, Recorder, Step};
use crate::scalar::Reg;

/// The sign of a number, as bits.
const SIGN: u32 = 1 << 31;

impl Recorder {
    /// The instruction of a value.
    fn step(&self, value: u32) -> Step {
        self.body.steps[value as usize]
    }

    /// Whether it is a number for certain.
    pub(super) fn is_number(&self, x: Reg) -> bool {
        matches!(self.step(x.0), Step::Const(bits) if !f32::from_bits(bits).is_nan())
    }

    /// The magnitude of a value, if it is one, or one with its sign turned.
    pub(super) fn known_magnitude(&self, x: Reg) -> Option<Reg> {
        match self.step(x.0) {
            Step::Binary(Binary::And, _, mask) if self.step(mask) == Step::Const(!SIGN) => Some(x),
            Step::Binary(Binary::Xor, of, mask) if self.step(mask) == Step::Const(SIGN) => {
                self.known_magnitude(Reg(of)).filter(|magnitude| magnitude.0 == of)
            }
            _ => None,
        }
    }

    /// Whether no comparison finds a value above another: a magnitude with its sign turned above zero.
    pub(super) fn is_never_above(&self, x: u32, limit: u32) -> bool {
        let turned = self.known_magnitude(Reg(x)).is_some_and(|magnitude| magnitude.0 != x);
        turned && self.step(limit) == Step::Const(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::{Cmp, Scalar};
    use crate::wide::Element;

    #[test]
    fn magnitudes_are_taken_once_and_their_side_is_known() {
        let mut recorder = Recorder::default();
        let address = recorder.address();
        let x = recorder.load(Element { address, offset: 0 });
        let magnitude = recorder.abs(x);
        let turned = recorder.neg(magnitude);
        assert_eq!([magnitude, turned].map(|value| recorder.abs(value)), [magnitude; 2]);
        let other = recorder.neg(x);
        assert_ne!(recorder.abs(other), magnitude, "it is the same number, but made of another");
        let (zero, minus) = (recorder.float(0.0), recorder.float(-0.0));
        let mut side = |limit: Reg, of: Reg| {
            let above = recorder.cmp(Cmp::Lt, limit, of);
            recorder.select(above, x, other)
        };
        assert_eq!(side(zero, turned), other);
        assert!(
            [(zero, magnitude), (zero, x), (minus, turned)].into_iter().all(|(limit, of)| side(limit, of) != other)
        );
    }
}
