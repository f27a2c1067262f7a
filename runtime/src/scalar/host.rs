//! The host implementations of `Scalar`: one lane, computed at once by the reference interpreter.
//!
//! In: operands, pushed as registers. Out: results, read back by register. `Host32` does in f32 what compiled code
//! does, polynomials included; `Host64` is the arbiter in f64, with the transcendental functions of `libm`.
//! Absent on purpose: speed. Every operation appends its value to a vector, which `clear` empties for the next
//! element.

use super::{Cmp, Reg, Scalar};

/// What a register holds.
#[derive(Clone, Copy, Debug)]
enum Value<F> {
    Float(F),
    Int(i32),
    Mask(bool),
}

/// The values computed so far, in the order of their registers.
#[derive(Clone, Debug)]
struct Values<F>(Vec<Value<F>>);

impl<F: Copy + PartialOrd> Values<F> {
    #[inline]
    fn push(&mut self, value: Value<F>) -> Reg {
        let reg = Reg(u32::try_from(self.0.len()).expect("a body has fewer than 2^32 operations"));
        self.0.push(value);
        reg
    }

    fn float(&self, reg: Reg) -> F {
        match self.0[reg.0 as usize] {
            Value::Float(x) => x,
            Value::Int(_) | Value::Mask(_) => panic!("{reg:?} was used as a float and holds none"),
        }
    }

    fn int(&self, reg: Reg) -> i32 {
        match self.0[reg.0 as usize] {
            Value::Int(x) => x,
            Value::Float(_) | Value::Mask(_) => panic!("{reg:?} was used as an integer and holds none"),
        }
    }

    fn mask(&self, reg: Reg) -> bool {
        match self.0[reg.0 as usize] {
            Value::Mask(x) => x,
            Value::Float(_) | Value::Int(_) => panic!("{reg:?} was used as a mask and holds none"),
        }
    }

    fn compare(&self, op: Cmp, x: Reg, y: Reg) -> bool {
        let (x, y) = (self.float(x), self.float(y));
        match op {
            Cmp::Eq => x == y,
            Cmp::Ne => x != y,
            Cmp::Lt => x < y,
            Cmp::Le => x <= y,
            Cmp::Gt => x > y,
            Cmp::Ge => x >= y,
        }
    }
}

/// Arithmetic in f32, as compiled code performs it.
#[derive(Clone, Debug)]
pub struct Host32 {
    values: Values<f32>,
    fused: bool,
}

impl Host32 {
    /// As a machine with FMA computes.
    pub fn new() -> Self {
        Self { values: Values(Vec::new()), fused: true }
    }

    /// As a machine without FMA computes: `mul_add` rounds twice.
    pub fn without_fma() -> Self {
        Self { fused: false, ..Self::new() }
    }
}

/// Arithmetic in f64, against which f32 is judged.
#[derive(Clone, Debug)]
pub struct Host64 {
    values: Values<f64>,
}

impl Host64 {
    /// A host without registers.
    pub fn new() -> Self {
        Self { values: Values(Vec::new()) }
    }
}

/// What the two hosts share besides `Scalar`: values in, values out.
macro_rules! host_values {
    ($host:ident, $float:ident) => {
        impl Default for $host {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $host {
            /// Forgets every register and keeps the memory.
            pub fn clear(&mut self) {
                self.values.0.clear();
            }
            /// A new register, as are the two below.
            pub fn push_float(&mut self, x: $float) -> Reg {
                self.values.push(Value::Float(x))
            }
            /// An integer, or the bits of a u32.
            pub fn push_int(&mut self, x: i32) -> Reg {
                self.values.push(Value::Int(x))
            }
            /// A condition, as a comparison gives it.
            pub fn push_mask(&mut self, x: bool) -> Reg {
                self.values.push(Value::Mask(x))
            }
            /// The float in a register. Panics, as the two below, if it holds a value of another kind.
            pub fn get_float(&self, reg: Reg) -> $float {
                self.values.float(reg)
            }
            /// The integer in a register.
            pub fn get_int(&self, reg: Reg) -> i32 {
                self.values.int(reg)
            }
            /// The condition in a register.
            pub fn get_mask(&self, reg: Reg) -> bool {
                self.values.mask(reg)
            }
        }
    };
}

/// The operations that read the same in f32 and f64.
macro_rules! primitive_operations {
    ($float:ident) => {
        fn int(&mut self, c: i32) -> Reg {
            self.push_int(c)
        }

        fn add(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_float(self.get_float(x) + self.get_float(y))
        }
        fn sub(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_float(self.get_float(x) - self.get_float(y))
        }
        fn mul(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_float(self.get_float(x) * self.get_float(y))
        }
        fn div(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_float(self.get_float(x) / self.get_float(y))
        }
        fn neg(&mut self, x: Reg) -> Reg {
            self.push_float(-self.get_float(x))
        }
        fn abs(&mut self, x: Reg) -> Reg {
            self.push_float(self.get_float(x).abs())
        }
        fn sqrt(&mut self, x: Reg) -> Reg {
            self.push_float(self.get_float(x).sqrt())
        }
        fn round(&mut self, x: Reg) -> Reg {
            self.push_float(self.get_float(x).round_ties_even())
        }

        fn cmp(&mut self, op: Cmp, x: Reg, y: Reg) -> Reg {
            self.push_mask(self.values.compare(op, x, y))
        }
        fn int_eq(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_mask(self.get_int(x) == self.get_int(y))
        }
        fn and(&mut self, p: Reg, q: Reg) -> Reg {
            self.push_mask(self.get_mask(p) && self.get_mask(q))
        }
        fn or(&mut self, p: Reg, q: Reg) -> Reg {
            self.push_mask(self.get_mask(p) || self.get_mask(q))
        }
        fn not(&mut self, p: Reg) -> Reg {
            self.push_mask(!self.get_mask(p))
        }
        fn select(&mut self, mask: Reg, x: Reg, y: Reg) -> Reg {
            let taken = if self.get_mask(mask) { x } else { y };
            self.values.push(self.values.0[taken.0 as usize])
        }

        fn to_int(&mut self, x: Reg) -> Reg {
            self.push_int(self.get_float(x) as i32)
        }
        fn to_float(&mut self, x: Reg) -> Reg {
            self.push_float(self.get_int(x) as $float)
        }
        fn int_add(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_int(self.get_int(x).wrapping_add(self.get_int(y)))
        }
        fn int_sub(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_int(self.get_int(x).wrapping_sub(self.get_int(y)))
        }
        fn int_mul(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_int(self.get_int(x).wrapping_mul(self.get_int(y)))
        }
        fn int_and(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_int(self.get_int(x) & self.get_int(y))
        }
        fn int_or(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_int(self.get_int(x) | self.get_int(y))
        }
        fn int_xor(&mut self, x: Reg, y: Reg) -> Reg {
            self.push_int(self.get_int(x) ^ self.get_int(y))
        }
        fn shl(&mut self, x: Reg, bits: u32) -> Reg {
            self.push_int(self.get_int(x) << bits)
        }
        fn sar(&mut self, x: Reg, bits: u32) -> Reg {
            self.push_int(self.get_int(x) >> bits)
        }
        fn shr(&mut self, x: Reg, bits: u32) -> Reg {
            self.push_int((self.get_int(x) as u32 >> bits) as i32)
        }
    };
}

host_values!(Host32, f32);
host_values!(Host64, f64);

impl Scalar for Host32 {
    primitive_operations!(f32);

    fn float(&mut self, c: f64) -> Reg {
        self.push_float(c as f32)
    }
    fn mul_add(&mut self, x: Reg, y: Reg, z: Reg) -> Reg {
        let (x, y, z) = (self.get_float(x), self.get_float(y), self.get_float(z));
        self.push_float(if self.fused { x.mul_add(y, z) } else { x * y + z })
    }
    fn bits(&mut self, x: Reg) -> Reg {
        self.push_int(self.get_float(x).to_bits() as i32)
    }
    fn from_bits(&mut self, x: Reg) -> Reg {
        self.push_float(f32::from_bits(self.get_int(x) as u32))
    }
}

impl Scalar for Host64 {
    primitive_operations!(f64);

    fn float(&mut self, c: f64) -> Reg {
        self.push_float(c)
    }
    fn mul_add(&mut self, x: Reg, y: Reg, z: Reg) -> Reg {
        self.push_float(self.get_float(x).mul_add(self.get_float(y), self.get_float(z)))
    }
    // Integers have 32 bits, so that a bit pattern is that of the nearest f32. Only the polynomials of `elementary`
    // look at bits, and this host runs none of them.
    fn bits(&mut self, x: Reg) -> Reg {
        self.push_int((self.get_float(x) as f32).to_bits() as i32)
    }
    fn from_bits(&mut self, x: Reg) -> Reg {
        self.push_float(f64::from(f32::from_bits(self.get_int(x) as u32)))
    }

    fn exp(&mut self, x: Reg) -> Reg {
        self.push_float(libm::exp(self.get_float(x)))
    }
    fn expm1(&mut self, x: Reg) -> Reg {
        self.push_float(libm::expm1(self.get_float(x)))
    }
    fn ln(&mut self, x: Reg) -> Reg {
        self.push_float(libm::log(self.get_float(x)))
    }
    fn log1p(&mut self, x: Reg) -> Reg {
        self.push_float(libm::log1p(self.get_float(x)))
    }
    fn tanh(&mut self, x: Reg) -> Reg {
        self.push_float(libm::tanh(self.get_float(x)))
    }
    fn sigmoid(&mut self, x: Reg) -> Reg {
        // Of the two ways to write it, the one whose exponential cannot overflow.
        let x = self.get_float(x);
        let e = libm::exp(-x.abs());
        self.push_float(if x < 0.0 { e } else { 1.0 } / (1.0 + e))
    }
    fn tanh_slope(&mut self, x: Reg) -> Reg {
        let e = libm::exp(-2.0 * self.get_float(x).abs());
        self.push_float(4.0 * e / ((1.0 + e) * (1.0 + e)))
    }
    fn sigmoid_slope(&mut self, x: Reg) -> Reg {
        let e = libm::exp(-self.get_float(x).abs());
        self.push_float(e / ((1.0 + e) * (1.0 + e)))
    }
    fn sigmoid_and_slope(&mut self, x: Reg) -> [Reg; 2] {
        [self.sigmoid(x), self.sigmoid_slope(x)]
    }
    fn softplus(&mut self, x: Reg) -> Reg {
        let x = self.get_float(x);
        let positive = if x < 0.0 { 0.0 } else { x };
        self.push_float(positive + libm::log1p(libm::exp(-x.abs())))
    }
    fn erf(&mut self, x: Reg) -> Reg {
        self.push_float(libm::erf(self.get_float(x)))
    }
    fn normal_cdf(&mut self, x: Reg) -> Reg {
        self.push_float(0.5 * libm::erfc(-self.get_float(x) * std::f64::consts::FRAC_1_SQRT_2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_and_min_keep_nan_and_the_second_of_a_tie() {
        let mut host = Host32::new();
        let (one, nan) = (host.push_float(1.0), host.push_float(f32::NAN));
        let (minus_zero, zero) = (host.push_float(-0.0), host.push_float(0.0));
        for (x, y) in [(one, nan), (nan, one), (nan, nan)] {
            let (max, min) = (host.max(x, y), host.min(x, y));
            assert!(host.get_float(max).is_nan() && host.get_float(min).is_nan());
        }
        let (max, min) = (host.max(zero, minus_zero), host.min(minus_zero, zero));
        assert!(host.get_float(max).is_sign_negative());
        assert!(host.get_float(min).is_sign_positive());
        let (max, min) = (host.max(zero, one), host.min(zero, one));
        assert_eq!((host.get_float(max), host.get_float(min)), (1.0, 0.0));
    }

    #[test]
    fn rounding_is_to_even_and_shifts_differ_in_the_sign() {
        let mut host = Host32::new();
        let half = host.push_float(2.5);
        let rounded = host.round(half);
        let int = host.to_int(rounded);
        assert_eq!((host.get_float(rounded), host.get_int(int)), (2.0, 2));
        let minus_one = host.push_int(-1);
        let (sar, shr) = (host.sar(minus_one, 31), host.shr(minus_one, 31));
        assert_eq!((host.get_int(sar), host.get_int(shr)), (-1, 1));
    }

    #[test]
    fn mul_add_rounds_once_or_twice() {
        let below_one = 1.0 - f32::EPSILON;
        let product_error = |mut host: Host32| {
            let (x, y) = (host.push_float(below_one), host.push_float(-(below_one * below_one)));
            let error = host.mul_add(x, x, y);
            host.get_float(error)
        };
        assert_eq!(product_error(Host32::new()), f32::EPSILON * f32::EPSILON);
        assert_eq!(product_error(Host32::without_fma()), 0.0);
    }

    #[test]
    fn clearing_starts_the_numbering_again() {
        let mut host = Host64::new();
        let first = host.push_float(1.0);
        host.clear();
        assert_eq!(host.push_mask(true), first);
        assert!(host.get_mask(first));
    }

    #[test]
    fn sigmoid_and_softplus_of_f64_neither_overflow_nor_cancel() {
        let mut host = Host64::new();
        for (x, sigmoid, softplus) in [
            (-700.0, libm::exp(-700.0), libm::exp(-700.0)),
            (0.0, 0.5, std::f64::consts::LN_2),
            (800.0, 1.0, 800.0),
            (f64::NEG_INFINITY, 0.0, 0.0),
            (f64::INFINITY, 1.0, f64::INFINITY),
        ] {
            let x = host.push_float(x);
            let (a, b) = (host.sigmoid(x), host.softplus(x));
            assert_eq!((host.get_float(a), host.get_float(b)), (sigmoid, softplus));
        }
        let nan = host.push_float(f64::NAN);
        let (a, b) = (host.sigmoid(nan), host.softplus(nan));
        assert!(host.get_float(a).is_nan() && host.get_float(b).is_nan());
    }
}
