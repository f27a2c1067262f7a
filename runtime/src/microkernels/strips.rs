//! The transcendental functions over a strip of elements, with vectors as wide as the machine has. Compiled kernels have
//! four lanes and would spend most of their time in these polynomials.
//!
//! In: addresses and a length. Out: a function of every element, bit by bit what the same body gives element by element.
//! The bodies are those of [`Scalar`], written once.

use super::gemm::Isa;
use crate::scalar::{Function, Lane, Reg, Scalar};

/// From so many floats to as many, which may be the same ones.
pub type Strip = extern "C" fn(x: *const f32, y: *mut f32, count: usize);

/// Elements that are computed at a time: four registers of AVX-512, so that the latency of one hides behind the others.
const AT_ONCE: usize = 64;

/// Applies `f` to every element.
/// # Safety
/// `x` is valid for reads of `count` floats, `y` for writes. They are the same or apart.
#[inline(always)]
unsafe fn each(x: *const f32, y: *mut f32, count: usize, f: impl Fn(Reg) -> Reg) {
    let apply = |values: &mut [f32; AT_ONCE]| {
        values.iter_mut().for_each(|value| *value = f32::from_bits(f(Reg(value.to_bits())).0));
    };
    let whole = count - count % AT_ONCE;
    for at in (0..whole).step_by(AT_ONCE) {
        // SAFETY: `at + AT_ONCE` is at most `count`; a float is aligned as an array of floats is.
        unsafe {
            let mut values = x.add(at).cast::<[f32; AT_ONCE]>().read();
            apply(&mut values);
            y.add(at).cast::<[f32; AT_ONCE]>().write(values);
        }
    }
    if whole < count {
        let mut values = [0.0; AT_ONCE];
        // SAFETY: the rest is shorter than `values`.
        unsafe {
            x.add(whole).copy_to_nonoverlapping(values.as_mut_ptr(), count - whole);
            apply(&mut values);
            values.as_ptr().copy_to_nonoverlapping(y.add(whole), count - whole);
        }
    }
}

/// A module of strips for each instruction set, all of the same functions: their variants and what [`Scalar`] calls them.
macro_rules! strips {
    ($functions:tt $($(#[$when:meta])? $module:ident, $fused:expr, $feature:meta;)*) => {
        strips! { @list $functions }
        $($(#[$when])? strips! { @module $functions $module, $fused, $feature })*
    };
    (@list { $($variant:ident $name:ident,)* }) => {
        /// All functions.
        pub const FUNCTIONS: [Function; [$(Function::$variant),*].len()] = [$(Function::$variant),*];

        /// The symbol by which compiled code calls a function of strips.
        pub fn symbol(function: Function) -> &'static str {
            match function {
                $(Function::$variant => concat!("gradloom_", stringify!($name)),)*
            }
        }
    };
    (@module { $($variant:ident $name:ident,)* } $module:ident, $fused:expr, $feature:meta) => {
        mod $module {
            use super::*;

            pub fn of(function: Function) -> Strip {
                match function {
                    $(Function::$variant => $name,)*
                }
            }

            $(extern "C" fn $name(x: *const f32, y: *mut f32, count: usize) {
                #[$feature]
                unsafe fn wide(x: *const f32, y: *mut f32, count: usize) {
                    // SAFETY: the caller's promise.
                    unsafe { each(x, y, count, |x| Lane::<{ $fused }>.$name(x)) }
                }
                // SAFETY: code generation passes strips of this length, and `strip` is asked for an instruction set that
                // the machine has.
                unsafe { wide(x, y, count) }
            })*
        }
    };
}

strips! {
    {
        Exp exp, Expm1 expm1, Ln ln, Log1p log1p, Sigmoid sigmoid, Tanh tanh, Softplus softplus, Erf erf,
        NormalCdf normal_cdf, SigmoidSlope sigmoid_slope, TanhSlope tanh_slope,
    }
    #[cfg(target_arch = "x86_64")]
    avx512, true, target_feature(enable = "avx512f,fma");
    #[cfg(target_arch = "x86_64")]
    avx2, true, target_feature(enable = "avx2,fma");
    portable, Isa::Portable.fuses(), inline;
}

/// The strip of a function, for an instruction set that the machine has. All that [fuse](Isa::fuses) give the same bits.
/// `Neon` runs plain Rust, which aarch64 turns into vectors of four lanes.
pub fn strip(isa: Isa, function: Function) -> Strip {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::of(function),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::of(function),
        _ => portable::of(function),
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, strip};
    use crate::microkernels::gemm::Isa;
    use crate::scalar::{Function, Host32, Reg, Scalar};

    type Body = fn(&mut Host32, Reg) -> Reg;

    const FUNCTIONS: [(Function, Body); 11] = [
        (Function::Exp, |s, x| s.exp(x)),
        (Function::Expm1, |s, x| s.expm1(x)),
        (Function::Ln, |s, x| s.ln(x)),
        (Function::Log1p, |s, x| s.log1p(x)),
        (Function::Sigmoid, |s, x| s.sigmoid(x)),
        (Function::Tanh, |s, x| s.tanh(x)),
        (Function::Softplus, |s, x| s.softplus(x)),
        (Function::Erf, |s, x| s.erf(x)),
        (Function::NormalCdf, |s, x| s.normal_cdf(x)),
        (Function::SigmoidSlope, |s, x| s.sigmoid_slope(x)),
        (Function::TanhSlope, |s, x| s.tanh_slope(x)),
    ];

    fn host(isa: Isa) -> Host32 {
        if isa.fuses() { Host32::new() } else { Host32::without_fma() }
    }

    fn one_by_one(host: &mut Host32, body: Body, x: f32) -> f32 {
        host.clear();
        let x = host.push_float(x);
        let y = body(host, x);
        host.get_float(y)
    }

    fn same(x: f32, y: f32) -> bool {
        x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan())
    }

    #[test]
    fn a_strip_has_the_bits_of_its_elements_one_by_one() {
        // Every exponent and sign, zeros, infinities and NaN among them, then densely where the functions bend.
        let all = (0..1_u32 << 16).map(|i| f32::from_bits(i << 16 | i >> 4));
        let x: Vec<f32> = all.chain((0..=1_u32 << 14).map(|i| i as f32 * (40.0 / 16384.0) - 20.0)).collect();
        for isa in Isa::available() {
            let mut host = host(isa);
            for (function, body) in FUNCTIONS {
                let mut y = vec![0.0; x.len()];
                strip(isa, function)(x.as_ptr(), y.as_mut_ptr(), x.len());
                for (&x, &y) in x.iter().zip(&y) {
                    let wanted = one_by_one(&mut host, body, x);
                    assert!(same(y, wanted), "{isa:?} {function:?} of {x:e}: {y:e} instead of {wanted:e}");
                }
            }
        }
    }

    #[test]
    fn strips_of_any_length_end_where_they_should_in_place_too() {
        const PAST: f32 = 1234.5;
        for isa in Isa::available() {
            let mut host = host(isa);
            for (function, body) in FUNCTIONS {
                for count in (0..=AT_ONCE + 1).chain([2 * AT_ONCE - 1, 2 * AT_ONCE, 2 * AT_ONCE + 3]) {
                    let x: Vec<f32> = (0..count).map(|i| i as f32 / 7.0).collect();
                    let mut apart = vec![PAST; count + 1];
                    strip(isa, function)(x.as_ptr(), apart.as_mut_ptr(), count);
                    let mut in_place = x.clone();
                    let at = in_place.as_mut_ptr();
                    strip(isa, function)(at, at, count);
                    assert_eq!(apart[count], PAST, "{isa:?} {function:?} of {count}");
                    for ((&x, &y), &z) in x.iter().zip(&apart).zip(&in_place) {
                        let wanted = one_by_one(&mut host, body, x);
                        assert!(same(y, wanted) && same(z, wanted), "{isa:?} {function:?} of {count}: {y:e} and {z:e}");
                    }
                }
            }
        }
    }
}
