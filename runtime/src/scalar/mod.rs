//! The scalar instruction set in which every element-wise body is written, once.
//!
//! In: nothing but the trait. Out: bodies that the interpreter runs in f32 and f64, that the code generator emits as CLIF,
//! four lanes at a time, or as machine code with wider vectors. A register is a handle, so that a body is an ordinary function that
//! fits in a `const`.
//! Absent on purpose: memory, loops, reductions and anything that names Cranelift.

mod elementary;
mod host;

pub use host::{Host32, Host64};

/// A value of the body being built: a float, an integer or a mask, as the implementor numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u32);

/// The six IEEE-754 comparisons. Every one but `Ne` is false when an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cmp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// One lane of arithmetic. Floats are f32 in compiled code; integers are 32 bits and wrap; masks come from comparisons.
///
/// The transcendental functions have a default body: a polynomial in the operations above them, at most 2 ulp from the
/// exact value in f32 (`softplus`, a composition, and slopes 4, `normal_cdf` 5). The f64 interpreter overrides them with those of `libm`.
#[allow(clippy::wrong_self_convention, reason = "the receiver is the code being built, not the value")]
pub trait Scalar {
    /// The float constant `c`.
    fn float(&mut self, c: f64) -> Reg;
    /// The 32-bit integer constant `c`.
    fn int(&mut self, c: i32) -> Reg;

    /// `x + y`.
    fn add(&mut self, x: Reg, y: Reg) -> Reg;
    /// `x - y`.
    fn sub(&mut self, x: Reg, y: Reg) -> Reg;
    /// `x y`.
    fn mul(&mut self, x: Reg, y: Reg) -> Reg;
    /// `x / y`.
    fn div(&mut self, x: Reg, y: Reg) -> Reg;
    /// `x * y + z`, rounded once where the machine has FMA and twice where it has not.
    fn mul_add(&mut self, x: Reg, y: Reg, z: Reg) -> Reg;
    /// `-x`: the sign bit inverted, of NaN too.
    fn neg(&mut self, x: Reg) -> Reg;
    /// `|x|`: the sign bit cleared.
    fn abs(&mut self, x: Reg) -> Reg;
    /// The square root, correctly rounded; NaN below 0.
    fn sqrt(&mut self, x: Reg) -> Reg;
    /// To the nearest integer, ties to even.
    fn round(&mut self, x: Reg) -> Reg;

    /// A comparison of floats.
    fn cmp(&mut self, op: Cmp, x: Reg, y: Reg) -> Reg;
    /// A comparison of integers for equality.
    fn int_eq(&mut self, x: Reg, y: Reg) -> Reg;
    /// Both masks.
    fn and(&mut self, p: Reg, q: Reg) -> Reg;
    /// Either mask.
    fn or(&mut self, p: Reg, q: Reg) -> Reg;
    /// Where the mask does not hold.
    fn not(&mut self, p: Reg) -> Reg;
    /// `x` where the mask holds, `y` elsewhere; floats or integers.
    fn select(&mut self, mask: Reg, x: Reg, y: Reg) -> Reg;

    /// The integer value of a float that is already integral and within i32.
    fn to_int(&mut self, x: Reg) -> Reg;
    /// The float value of an i32, rounded to nearest.
    fn to_float(&mut self, x: Reg) -> Reg;
    /// The bit pattern of an f32.
    fn bits(&mut self, x: Reg) -> Reg;
    /// The f32 with this bit pattern.
    fn from_bits(&mut self, x: Reg) -> Reg;
    /// `x + y`, wrapping.
    fn int_add(&mut self, x: Reg, y: Reg) -> Reg;
    /// `x - y`, wrapping.
    fn int_sub(&mut self, x: Reg, y: Reg) -> Reg;
    /// `x y`, wrapping.
    fn int_mul(&mut self, x: Reg, y: Reg) -> Reg;
    /// The bits in both.
    fn int_and(&mut self, x: Reg, y: Reg) -> Reg;
    /// The bits in either.
    fn int_or(&mut self, x: Reg, y: Reg) -> Reg;
    /// The bits in one and not the other.
    fn int_xor(&mut self, x: Reg, y: Reg) -> Reg;
    /// Left shift by a constant.
    fn shl(&mut self, x: Reg, bits: u32) -> Reg;
    /// Arithmetic right shift by a constant.
    fn sar(&mut self, x: Reg, bits: u32) -> Reg;
    /// Logical right shift by a constant.
    fn shr(&mut self, x: Reg, bits: u32) -> Reg;

    /// The larger of two; NaN in either gives NaN. At a tie the second, so `max(0.0, -0.0)` is `-0.0`.
    fn max(&mut self, x: Reg, y: Reg) -> Reg {
        let greater = self.cmp(Cmp::Gt, x, y);
        let nan = self.cmp(Cmp::Ne, x, x);
        let take = self.or(greater, nan);
        self.select(take, x, y)
    }
    /// The smaller of two; NaN in either gives NaN. At a tie the second.
    fn min(&mut self, x: Reg, y: Reg) -> Reg {
        let less = self.cmp(Cmp::Lt, x, y);
        let nan = self.cmp(Cmp::Ne, x, x);
        let take = self.or(less, nan);
        self.select(take, x, y)
    }

    /// `e^x`.
    fn exp(&mut self, x: Reg) -> Reg {
        elementary::exp(self, x)
    }
    /// `e^x - 1` without cancellation near zero.
    fn expm1(&mut self, x: Reg) -> Reg {
        elementary::expm1(self, x)
    }
    /// The natural logarithm; NaN below 0, `-inf` at 0.
    fn ln(&mut self, x: Reg) -> Reg {
        elementary::ln(self, x)
    }
    /// `ln(1 + x)` without cancellation near zero.
    fn log1p(&mut self, x: Reg) -> Reg {
        elementary::log1p(self, x)
    }
    /// The hyperbolic tangent.
    fn tanh(&mut self, x: Reg) -> Reg {
        elementary::tanh(self, x)
    }
    /// `1 / (1 + e^-x)`.
    fn sigmoid(&mut self, x: Reg) -> Reg {
        elementary::sigmoid(self, x)
    }
    /// The slope of the hyperbolic tangent, with all its digits.
    fn tanh_slope(&mut self, x: Reg) -> Reg {
        elementary::tanh_slope(self, x)
    }
    /// The slope of `sigmoid`, with all its digits.
    fn sigmoid_slope(&mut self, x: Reg) -> Reg {
        elementary::sigmoid_slope(self, x)
    }
    /// `sigmoid` and its slope, to the bit, which have most of their work in common.
    fn sigmoid_and_slope(&mut self, x: Reg) -> [Reg; 2] {
        elementary::sigmoid_and_slope(self, x)
    }
    /// `ln(1 + e^x)`.
    fn softplus(&mut self, x: Reg) -> Reg {
        elementary::softplus(self, x)
    }
    /// The error function.
    fn erf(&mut self, x: Reg) -> Reg {
        elementary::erf(self, x)
    }
    /// The distribution function of the normal distribution, with all digits of its lower tail.
    fn normal_cdf(&mut self, x: Reg) -> Reg {
        elementary::normal_cdf(self, x)
    }
}
