//! The functions in f32 against those of `libm` in f64: bounds in ulp over the whole range, and the special values.
//!
//! In: nothing. Out: the worst error of each function, printed with `--nocapture`, with and without FMA.
//! Absent on purpose: all 2^32 arguments, which take minutes rather than a second.

use super::super::{Host32, Host64, Reg, Scalar};

type Unary32 = fn(&mut Host32, Reg) -> Reg;
type Unary64 = fn(&mut Host64, Reg) -> Reg;

/// Every exponent and sign, NaN and infinities among them, then densely where the functions bend.
fn samples() -> impl Iterator<Item = f32> {
    let all = (0..1_u32 << 20).map(|i| f32::from_bits(i.wrapping_mul(4093)));
    let dense = (0..=1_u32 << 18).map(|i| i as f32 * (40.0 / (1 << 18) as f32) - 20.0);
    all.chain(dense)
}

/// The distance from one f32 to the next, of the magnitude of `x`.
fn ulp(x: f32) -> f64 {
    let exponent = (x.abs().to_bits() >> 23).max(1) as i32;
    2.0_f64.powi(exponent - 127 - 23)
}

/// How far `actual` is from `exact`, in ulp of the correctly rounded result. Infinite where only one of them overflows.
fn error(actual: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if rounded.is_nan() || rounded.is_infinite() || actual.is_nan() || actual.is_infinite() {
        let same = actual == rounded || actual.is_nan() && rounded.is_nan();
        return if same { 0.0 } else { f64::INFINITY };
    }
    (f64::from(actual) - exact).abs() / ulp(rounded)
}

fn call32(host: &mut Host32, f: Unary32, x: f32) -> f32 {
    host.clear();
    let x = host.push_float(x);
    let y = f(host, x);
    host.get_float(y)
}

fn call64(host: &mut Host64, f: Unary64, x: f64) -> f64 {
    host.clear();
    let x = host.push_float(x);
    let y = f(host, x);
    host.get_float(y)
}

/// The worst error over the samples stays within `bound`, with and without FMA.
fn check(name: &str, bound: f64, f: Unary32, exact: Unary64) {
    let mut reference = Host64::new();
    let mut hosts = [("fma", Host32::new(), (0.0, 0.0)), ("no fma", Host32::without_fma(), (0.0, 0.0))];
    for x in samples() {
        let exact = call64(&mut reference, exact, f64::from(x));
        for (_, host, worst) in &mut hosts {
            let error = error(call32(host, f, x), exact);
            if error > worst.0 {
                *worst = (error, x);
            }
        }
    }
    for (mode, _, (error, x)) in hosts {
        println!("{name:8} {mode:6} {error:.3} ulp at {x:e}");
        assert!(error <= bound, "{name} ({mode}) is {error} ulp off at {x:e}");
    }
}

/// The results are these, bit for bit (NaN of any kind for NaN), with and without FMA.
fn check_special(f: Unary32, expected: &[(f32, f32)]) {
    for mut host in [Host32::new(), Host32::without_fma()] {
        for &(x, y) in expected.iter().chain(&[(f32::NAN, f32::NAN), (-f32::NAN, f32::NAN)]) {
            let actual = call32(&mut host, f, x);
            let same = actual.to_bits() == y.to_bits() || actual.is_nan() && y.is_nan();
            assert!(same, "at {x:e}: {actual:e} instead of {y:e}");
        }
    }
}

const INF: f32 = f32::INFINITY;
/// The smallest subnormal, and the largest.
const TINY: f32 = f32::from_bits(1);
const SUBNORMAL: f32 = f32::from_bits(0x007f_ffff);

#[test]
fn exp_is_within_two_ulp() {
    check("exp", 2.0, Scalar::exp, Scalar::exp);
}

#[test]
fn expm1_is_within_two_ulp() {
    check("expm1", 2.0, Scalar::expm1, Scalar::expm1);
}

#[test]
fn ln_is_within_two_ulp() {
    check("ln", 2.0, Scalar::ln, Scalar::ln);
}

#[test]
fn log1p_is_within_two_ulp() {
    check("log1p", 2.0, Scalar::log1p, Scalar::log1p);
}

#[test]
fn tanh_is_within_two_ulp() {
    check("tanh", 2.0, Scalar::tanh, Scalar::tanh);
}

#[test]
fn sigmoid_is_within_two_ulp() {
    check("sigmoid", 2.0, Scalar::sigmoid, Scalar::sigmoid);
}

#[test]
fn slopes_are_within_four_ulp() {
    check("sigmoid_slope", 3.0, Scalar::sigmoid_slope, Scalar::sigmoid_slope);
    check("tanh_slope", 4.0, Scalar::tanh_slope, Scalar::tanh_slope);
}

#[test]
fn the_slope_of_sigmoid_beside_it_is_within_three_ulp() {
    check("sigmoid's", 3.0, |s, x| s.sigmoid_and_slope(x)[1], Scalar::sigmoid_slope);
}

#[test]
fn sigmoid_and_its_slope_together_are_what_they_are_alone() {
    for mut host in [Host32::new(), Host32::without_fma()] {
        for x in samples().step_by(16) {
            host.clear();
            let x = host.push_float(x);
            let together = host.sigmoid_and_slope(x);
            let alone = [host.sigmoid(x), host.sigmoid_slope(x)];
            for (together, alone) in together.into_iter().zip(alone) {
                let [x, together, alone] = [x, together, alone].map(|reg| host.get_float(reg));
                let same = together.to_bits() == alone.to_bits() || together.is_nan() && alone.is_nan();
                assert!(same, "at {x:e}: {together:e} and {alone:e}");
            }
        }
    }
}

#[test]
fn softplus_is_within_four_ulp() {
    check("softplus", 4.0, Scalar::softplus, Scalar::softplus);
}

#[test]
fn normal_cdf_is_within_five_ulp() {
    check("normal_cdf", 5.0, Scalar::normal_cdf, Scalar::normal_cdf);
}

#[test]
fn erf_is_within_two_ulp() {
    check("erf", 2.0, Scalar::erf, Scalar::erf);
}

#[test]
fn exp_and_expm1_overflow_at_the_last_finite_result() {
    let (last, first) = (88.722_83, 88.722_84);
    for (f, exact) in [(Scalar::exp as Unary32, Scalar::exp as Unary64), (Scalar::expm1, Scalar::expm1)] {
        let mut reference = Host64::new();
        assert!((call64(&mut reference, exact, f64::from(last)) as f32).is_finite());
        assert!((call64(&mut reference, exact, f64::from(first)) as f32).is_infinite());
        for mut host in [Host32::new(), Host32::without_fma()] {
            assert!(call32(&mut host, f, last).is_finite());
            assert_eq!(call32(&mut host, f, first), INF);
        }
    }
}

#[test]
fn exponentials_have_their_limits() {
    let one = [(0.0, 1.0), (-0.0, 1.0), (TINY, 1.0), (INF, INF), (f32::MAX, INF)];
    check_special(Scalar::exp, &one);
    check_special(Scalar::exp, &[(-INF, 0.0), (f32::MIN, 0.0), (-104.0, 0.0), (-103.9, TINY), (-102.7, 2.0 * TINY)]);
    check_special(
        Scalar::expm1,
        &[(0.0, 0.0), (-0.0, -0.0), (INF, INF), (f32::MAX, INF), (-INF, -1.0), (f32::MIN, -1.0)],
    );
    check_special(Scalar::expm1, &[(TINY, TINY), (-TINY, -TINY), (SUBNORMAL, SUBNORMAL), (-3e-38, -3e-38)]);
}

#[test]
fn logarithms_have_their_limits() {
    check_special(Scalar::ln, &[(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF)]);
    check_special(Scalar::ln, &[(-TINY, f32::NAN), (-1.0, f32::NAN), (f32::MIN, f32::NAN), (-INF, f32::NAN)]);
    check_special(Scalar::log1p, &[(0.0, 0.0), (-0.0, -0.0), (-1.0, -INF), (INF, INF)]);
    check_special(Scalar::log1p, &[(-1.000_000_1, f32::NAN), (f32::MIN, f32::NAN), (-INF, f32::NAN)]);
    check_special(Scalar::log1p, &[(TINY, TINY), (-TINY, -TINY), (SUBNORMAL, SUBNORMAL), (-3e-38, -3e-38)]);
}

#[test]
fn odd_functions_keep_the_sign_of_zero_and_saturate_at_one() {
    for f in [Scalar::tanh as Unary32, Scalar::erf] {
        check_special(f, &[(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (f32::MAX, 1.0), (f32::MIN, -1.0)]);
    }
    check_special(Scalar::tanh, &[(TINY, TINY), (-TINY, -TINY), (SUBNORMAL, SUBNORMAL)]);
    check_special(Scalar::erf, &[(TINY, TINY), (-TINY, -TINY)]);
    let mut host = Host32::new();
    for x in samples().filter(|x| !x.is_nan()) {
        assert!(call32(&mut host, Scalar::erf, x).abs() <= 1.0, "erf leaves [-1, 1] at {x:e}");
        assert!(call32(&mut host, Scalar::tanh, x).abs() <= 1.0, "tanh leaves [-1, 1] at {x:e}");
    }
}

#[test]
fn sigmoid_and_softplus_have_their_limits() {
    check_special(
        Scalar::sigmoid,
        &[(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (f32::MAX, 1.0), (f32::MIN, 0.0)],
    );
    check_special(Scalar::sigmoid, &[(-103.9, TINY), (-102.7, 2.0 * TINY), (-104.0, 0.0), (20.0, 1.0)]);
    check_special(Scalar::softplus, &[(INF, INF), (-INF, 0.0), (f32::MAX, f32::MAX), (f32::MIN, 0.0), (100.0, 100.0)]);
    check_special(Scalar::softplus, &[(-103.9, TINY), (-102.7, 2.0 * TINY), (-104.0, 0.0)]);
}
