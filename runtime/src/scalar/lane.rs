//! One lane of f32 whose registers are the values themselves: a body becomes an ordinary function of numbers, which the
//! compiler of this crate turns into vectors of whatever width it is told.
//!
//! In: values as registers. Out: the same. The operations are those of `Host32`, of which this is the fast form.

use super::{Cmp, Reg, Scalar};

/// Arithmetic in f32 on bit patterns; `mul_add` rounds once if `FUSED`.
#[derive(Clone, Copy, Debug)]
pub struct Lane<const FUSED: bool>;

#[inline(always)]
fn float(x: Reg) -> f32 {
    f32::from_bits(x.0)
}

#[inline(always)]
fn reg(x: f32) -> Reg {
    Reg(x.to_bits())
}

#[inline(always)]
fn int(x: Reg) -> i32 {
    x.0 as i32
}

#[inline(always)]
fn mask(p: bool) -> Reg {
    Reg(u32::from(p))
}

macro_rules! operations {
    ($($name:ident($($x:ident),*) = $result:expr;)*) => {$(
        #[inline(always)]
        fn $name(&mut self, $($x: Reg),*) -> Reg {
            $result
        }
    )*};
}

impl<const FUSED: bool> Scalar for Lane<FUSED> {
    #[inline(always)]
    fn float(&mut self, c: f64) -> Reg {
        reg(c as f32)
    }
    #[inline(always)]
    fn int(&mut self, c: i32) -> Reg {
        Reg(c as u32)
    }

    operations! {
        add(x, y) = reg(float(x) + float(y));
        sub(x, y) = reg(float(x) - float(y));
        mul(x, y) = reg(float(x) * float(y));
        div(x, y) = reg(float(x) / float(y));
        mul_add(x, y, z) = reg(if FUSED { float(x).mul_add(float(y), float(z)) } else { float(x) * float(y) + float(z) });
        neg(x) = reg(-float(x));
        abs(x) = reg(float(x).abs());
        sqrt(x) = reg(float(x).sqrt());
        round(x) = reg(float(x).round_ties_even());
        int_eq(x, y) = mask(x == y);
        and(p, q) = Reg(p.0 & q.0);
        or(p, q) = Reg(p.0 | q.0);
        not(p) = mask(p.0 == 0);
        select(p, x, y) = if p.0 != 0 { x } else { y };
        to_int(x) = Reg(float(x) as i32 as u32);
        to_float(x) = reg(int(x) as f32);
        bits(x) = x;
        from_bits(x) = x;
        int_add(x, y) = Reg(x.0.wrapping_add(y.0));
        int_sub(x, y) = Reg(x.0.wrapping_sub(y.0));
        int_mul(x, y) = Reg(x.0.wrapping_mul(y.0));
        int_and(x, y) = Reg(x.0 & y.0);
        int_or(x, y) = Reg(x.0 | y.0);
        int_xor(x, y) = Reg(x.0 ^ y.0);
    }

    #[inline(always)]
    fn cmp(&mut self, op: Cmp, x: Reg, y: Reg) -> Reg {
        let (x, y) = (float(x), float(y));
        mask(match op {
            Cmp::Eq => x == y,
            Cmp::Ne => x != y,
            Cmp::Lt => x < y,
            Cmp::Le => x <= y,
            Cmp::Gt => x > y,
            Cmp::Ge => x >= y,
        })
    }
    #[inline(always)]
    fn shl(&mut self, x: Reg, bits: u32) -> Reg {
        Reg(x.0 << bits)
    }
    #[inline(always)]
    fn sar(&mut self, x: Reg, bits: u32) -> Reg {
        Reg((int(x) >> bits) as u32)
    }
    #[inline(always)]
    fn shr(&mut self, x: Reg, bits: u32) -> Reg {
        Reg(x.0 >> bits)
    }
}
