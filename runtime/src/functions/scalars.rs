//! Functions of numbers, applied to every element. Of several operands, each is of the shape of the others or one number.

use super::FunctionDef;
use crate::ir::{Builder, NodeId};
use crate::layers::{Arg, ArgDef, ArgKind, int};
use crate::scalar::Cmp;
use crate::types::{DType, Shape, TensorType};

/// The largest power that is computed as products: at most ten of them.
const MOST: usize = 64;

/// One operand; the result is like it.
fn elementwise(x: &[&TensorType], _: &[Arg]) -> Result<TensorType, String> {
    match x[0].dtype {
        DType::F32 => Ok(x[0].clone()),
        other => Err(format!("needs f32, found {other}")),
    }
}

/// Several operands; the result has the shape that they have together.
fn alike(x: &[&TensorType], _: &[Arg]) -> Result<TensorType, String> {
    for ty in x {
        elementwise(&[ty], &[])?;
    }
    match Shape::broadcast(x.iter().map(|ty| &ty.shape)) {
        Some(shape) => Ok(TensorType::f32(shape)),
        None => {
            let shapes: Vec<&Shape> = x.iter().map(|ty| &ty.shape).collect();
            let mut pairs = shapes.iter().enumerate().flat_map(|(at, y)| shapes[..at].iter().map(move |x| [*x, *y]));
            let [x, y] = pairs.find(|pair| Shape::broadcast(*pair).is_none()).unwrap_or([shapes[0], shapes[1]]);
            Err(format!("needs {}", x.misfit(y)))
        }
    }
}

/// The operands, stretched to one shape.
fn spread<const N: usize>(b: &mut Builder, x: &[NodeId]) -> [NodeId; N] {
    let shapes: Vec<Shape> = x.iter().map(|&x| b.shape(x)).collect();
    let shape = Shape::broadcast(&shapes).expect("the operands were checked");
    std::array::from_fn(|at| b.spread(x[at], &shape))
}

/// The natural exponential.
///
/// - Value: `e^x` of every element; infinite above 88.7
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `e^x`
pub const EXP: FunctionDef = FunctionDef {
    name: "exp",
    item: "EXP",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.exp(x[0]),
};

/// The natural logarithm.
///
/// - Value: `ln x` of every element; minus infinity at 0, NaN below
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `1 / x`; infinite at 0
pub const LN: FunctionDef = FunctionDef {
    name: "ln",
    item: "LN",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.ln(x[0]),
};

/// The square root.
///
/// - Value: `sqrt(x)` of every element; NaN below 0
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `1 / (2 sqrt(x))`; infinite at 0
pub const SQRT: FunctionDef = FunctionDef {
    name: "sqrt",
    item: "SQRT",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.sqrt(x[0]),
};

/// The absolute value.
///
/// - Value: `|x|` of every element
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: the sign of `x`; at 0 it is 0
pub const ABS: FunctionDef = FunctionDef {
    name: "abs",
    item: "ABS",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.abs(x[0]),
};

/// The exponential minus one.
///
/// - Value: `e^x - 1` of every element, with all digits near 0
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `e^x`
pub const EXPM1: FunctionDef = FunctionDef {
    name: "expm1",
    item: "EXPM1",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.expm1(x[0]),
};

/// The logarithm of one more.
///
/// - Value: `ln(1 + x)` of every element, with all digits near 0; minus infinity at -1, NaN below
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `1 / (1 + x)`; infinite at -1
pub const LOG1P: FunctionDef = FunctionDef {
    name: "log1p",
    item: "LOG1P",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.log1p(x[0]),
};

/// The reciprocal square root.
///
/// - Value: `1 / sqrt(x)` of every element, rounded twice; infinite at 0, NaN below
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `-1 / (2 x sqrt(x))`; infinite at 0
pub const RSQRT: FunctionDef = FunctionDef {
    name: "rsqrt",
    item: "RSQRT",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.rsqrt(x[0]),
};

/// The square.
///
/// - Value: `x x` of every element
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `2 x`
pub const SQUARE: FunctionDef = FunctionDef {
    name: "square",
    item: "SQUARE",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.mul(x[0], x[0]),
};

/// The error function.
///
/// - Value: `2 / sqrt(pi)` times the integral of `e^(-t^2)` from 0 to `x`, in [-1, 1]
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: `2 / sqrt(pi) e^(-x^2)`
/// - Source: Abramowitz & Stegun 1964, 7.1.1
pub const ERF: FunctionDef = FunctionDef {
    name: "erf",
    item: "ERF",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| b.erf(x[0]),
};

/// The sign.
///
/// - Value: 1 above 0, -1 below, and a zero or NaN as it is
/// - Shapes: `f32[S] -> f32[S]`
/// - Gradient: 0 everywhere
pub const SIGN: FunctionDef = FunctionDef {
    name: "sign",
    item: "SIGN",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: elementwise,
    lower: |b, _, x| {
        let zero = b.constant_like(0.0, x[0]);
        let one = b.constant_like(1.0, x[0]);
        let minus_one = b.constant_like(-1.0, x[0]);
        let fixed = b.detach(x[0]);
        let above = b.compare(Cmp::Gt, x[0], zero);
        let below = b.compare(Cmp::Lt, x[0], zero);
        let rest = b.select(below, minus_one, fixed);
        b.select(above, one, rest)
    },
};

/// A whole power, as products: `x^13 = x^8 x^4 x`.
///
/// - Value: `x^n` of every element, `n` from 1 to 64. For other powers there are `sqrt`, `rsqrt`, `1 / pow(x, n = 2)`
///   and `exp(p * ln(x))`
/// - Shapes: `f32[S] -> f32[S]`
/// - Argument `n`: the exponent; an integer of at least 1
/// - Gradient: `n x^(n - 1)`
/// - Source: Knuth 1997, 4.6.3
pub const POW: FunctionDef = FunctionDef {
    name: "pow",
    item: "POW",
    operands: &["x"],
    over_weights: false,
    elementwise: true,
    args: &[ArgDef { name: "n", kind: ArgKind::Size, default: None, doc: "the exponent" }],
    ty: |x, args| match int(args, 0) {
        n if n > MOST => Err(format!("needs an exponent `n` of at most {MOST}, found {n}")),
        _ => elementwise(x, args),
    },
    lower: |b, args, x| {
        let (mut n, mut square, mut product) = (int(args, 0), x[0], None);
        loop {
            if n % 2 == 1 {
                product = Some(product.map_or(square, |product| b.mul(product, square)));
            }
            n /= 2;
            match product {
                Some(product) if n == 0 => return product,
                _ => square = b.mul(square, square),
            }
        }
    },
};

/// The larger of two, for every element. The largest of one tensor is `max`.
///
/// - Value: `max(a, b)`; NaN in either passes
/// - Shapes: `f32[S], f32[S] -> f32[S]`, where either may be one number
/// - Gradient: 1 to the larger; where both are equal, to `a`
pub const MAXIMUM: FunctionDef = FunctionDef {
    name: "maximum",
    item: "MAXIMUM",
    operands: &["a", "b"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: alike,
    lower: |b, _, x| {
        let [first, second] = spread(b, x);
        b.max(first, second)
    },
};

/// The smaller of two, for every element.
///
/// - Value: `min(a, b)`; NaN in either passes
/// - Shapes: `f32[S], f32[S] -> f32[S]`, where either may be one number
/// - Gradient: 1 to the smaller; where both are equal, to `a`
pub const MINIMUM: FunctionDef = FunctionDef {
    name: "minimum",
    item: "MINIMUM",
    operands: &["a", "b"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: alike,
    lower: |b, _, x| {
        let [first, second] = spread(b, x);
        b.min(first, second)
    },
};

/// A number kept between two bounds, for every element.
///
/// - Value: `min(max(x, low), high)`; NaN passes; `high` where `low` is above it
/// - Shapes: `f32[S], f32[S], f32[S] -> f32[S]`, where any may be one number
/// - Gradient: by `x`: 1 between the bounds and at the bounds themselves, as in PyTorch, 0 outside, where it goes to
///   the bound
pub const CLAMP: FunctionDef = FunctionDef {
    name: "clamp",
    item: "CLAMP",
    operands: &["x", "low", "high"],
    over_weights: false,
    elementwise: true,
    args: &[],
    ty: alike,
    lower: |b, _, x| {
        let [x, low, high] = spread(b, x);
        let y = b.max(x, low);
        b.min(y, high)
    },
};
