//! Operations on one element of each operand, all of one shape `S`.

use super::{At, Body, OpDef};
use crate::ir::{Builder, NodeId, Op};
use crate::scalar::Cmp;
use crate::types::{DType, TensorType};

/// Operands of one shape and type; the result is like them.
fn same(_: &Op, x: &[&TensorType]) -> Result<TensorType, String> {
    all_like(x, DType::F32)?;
    Ok(x[0].clone())
}

/// Operands of one shape and type; the result is a truth value of their shape.
fn truth(_: &Op, x: &[&TensorType]) -> Result<TensorType, String> {
    all_like(x, DType::F32)?;
    Ok(x[0].with(DType::Bool))
}

fn all_like(x: &[&TensorType], dtype: DType) -> Result<(), String> {
    let expected = x[0].with(dtype);
    match x.iter().find(|ty| ***ty != expected) {
        Some(other) => Err(format!("operands {expected} and {other} differ")),
        None => Ok(()),
    }
}

/// No gradient passes through a result that does not vary smoothly.
fn no_gradient(_: &mut Builder, at: &At) -> Vec<Option<NodeId>> {
    vec![None; at.x.len()]
}

/// Negation: `y = -x`. `f32[S] -> f32[S]`.
pub const NEG: OpDef =
    OpDef { name: "neg", ty: same, vjp: |b, at| vec![Some(b.neg(at.dy))], body: Body::Map(|s, _, x| s.neg(x[0])) };

/// Absolute value: `y = |x|`. `f32[S] -> f32[S]`. The gradient at 0 is 0.
pub const ABS: OpDef = OpDef {
    name: "abs",
    ty: same,
    vjp: |b, at| {
        let zero = b.constant_like(0.0, at.dy);
        let positive = b.compare(Cmp::Gt, at.x[0], zero);
        let negative = b.compare(Cmp::Lt, at.x[0], zero);
        let minus = b.neg(at.dy);
        let below = b.select(negative, minus, zero);
        vec![Some(b.select(positive, at.dy, below))]
    },
    body: Body::Map(|s, _, x| s.abs(x[0])),
};

/// Natural exponential: `y = e^x`. `f32[S] -> f32[S]`. Overflows to `inf` above x = 88.72.
pub const EXP: OpDef = OpDef {
    name: "exp",
    ty: same,
    vjp: |b, at| vec![Some(b.mul(at.dy, at.y))],
    body: Body::Map(|s, _, x| s.exp(x[0])),
};

/// `y = e^x - 1`, exact near 0. `f32[S] -> f32[S]`. `dx = dy e^x`.
pub const EXPM1: OpDef = OpDef {
    name: "expm1",
    ty: same,
    vjp: |b, at| {
        // Not y + 1: from -17 on, y is -1.
        let exp = b.exp(at.x[0]);
        vec![Some(b.mul(at.dy, exp))]
    },
    body: Body::Map(|s, _, x| s.expm1(x[0])),
};

/// Natural logarithm: `y = ln x`. `f32[S] -> f32[S]`. NaN below 0, `-inf` at 0.
pub const LN: OpDef = OpDef {
    name: "ln",
    ty: same,
    vjp: |b, at| vec![Some(b.div(at.dy, at.x[0]))],
    body: Body::Map(|s, _, x| s.ln(x[0])),
};

/// `y = ln(1 + x)`, exact near 0. `f32[S] -> f32[S]`.
pub const LOG1P: OpDef = OpDef {
    name: "log1p",
    ty: same,
    vjp: |b, at| {
        let sum = b.offset(at.x[0], 1.0);
        vec![Some(b.div(at.dy, sum))]
    },
    body: Body::Map(|s, _, x| s.log1p(x[0])),
};

/// Logistic function: `y = 1 / (1 + e^-x)`. `f32[S] -> f32[S]`, in [0, 1]. `dx = dy sigmoid_slope(x)`: not `y (1 - y)`, since
/// above 17 y is 1.
pub const SIGMOID: OpDef = OpDef {
    name: "sigmoid",
    ty: same,
    vjp: |b, at| {
        let slope = b.sigmoid_slope(at.x[0]);
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| s.sigmoid(x[0])),
};

/// Hyperbolic tangent. `f32[S] -> f32[S]`, in [-1, 1]. `dx = dy tanh_slope(x)`: not `1 - y^2`, since beyond 9 y is 1.
pub const TANH: OpDef = OpDef {
    name: "tanh",
    ty: same,
    vjp: |b, at| {
        let slope = b.tanh_slope(at.x[0]);
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| s.tanh(x[0])),
};

/// The slope of `sigmoid`, `y = e^-|x| / (1 + e^-|x|)^2`. `f32[S] -> f32[S]`, in [0, 1/4]. `dx = -dy y tanh(x / 2)`.
pub const SIGMOID_SLOPE: OpDef = OpDef {
    name: "sigmoid_slope",
    ty: same,
    vjp: |b, at| {
        let half = b.scale(at.x[0], -0.5);
        let share = b.tanh(half);
        let slope = b.mul(at.y, share);
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| s.sigmoid_slope(x[0])),
};

/// The slope of `tanh`, `y = 4 e^-2|x| / (1 + e^-2|x|)^2`. `f32[S] -> f32[S]`, in [0, 1]. `dx = -2 dy y tanh(x)`.
pub const TANH_SLOPE: OpDef = OpDef {
    name: "tanh_slope",
    ty: same,
    vjp: |b, at| {
        let share = b.tanh(at.x[0]);
        let share = b.scale(share, -2.0);
        let slope = b.mul(at.y, share);
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| s.tanh_slope(x[0])),
};

/// `y = ln(1 + e^x)` without overflow. `f32[S] -> f32[S]`. `dx = dy sigmoid(x)`.
pub const SOFTPLUS: OpDef = OpDef {
    name: "softplus",
    ty: same,
    vjp: |b, at| {
        let slope = b.sigmoid(at.x[0]);
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| s.softplus(x[0])),
};

/// Error function. `f32[S] -> f32[S]`, in [-1, 1]. `dx = dy 2/sqrt(pi) e^(-x^2)`.
pub const ERF: OpDef = OpDef {
    name: "erf",
    ty: same,
    vjp: |b, at| {
        let bell = b.bell(at.x[0], 1.0);
        let slope = b.scale(bell, std::f64::consts::FRAC_2_SQRT_PI);
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| s.erf(x[0])),
};

/// The distribution function of the normal distribution: the probability below `x`, `y = (1 + erf(x / sqrt 2)) / 2`.
/// `f32[S] -> f32[S]`, in [0, 1]. `dx = dy e^(-x^2 / 2) / sqrt(2 pi)`. The lower tail is not computed as a difference, so it keeps
/// its digits.
pub const NORMAL_CDF: OpDef = OpDef {
    name: "normal_cdf",
    ty: same,
    vjp: |b, at| {
        let bell = b.bell(at.x[0], 0.5);
        let slope = b.scale(bell, (0.5 * std::f64::consts::FRAC_1_PI).sqrt());
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| s.normal_cdf(x[0])),
};

/// Square root. `f32[S] -> f32[S]`. NaN below 0; the gradient at 0 is infinite, at -0 as well.
pub const SQRT: OpDef = OpDef {
    name: "sqrt",
    ty: same,
    vjp: |b, at| {
        let half = b.scale(at.dy, 0.5);
        let root = b.abs(at.y);
        vec![Some(b.div(half, root))]
    },
    body: Body::Map(|s, _, x| s.sqrt(x[0])),
};

/// Reciprocal square root, rounded twice: `y = 1 / sqrt(x)`. `f32[S] -> f32[S]`. `dx = -1/2 dy y^3`.
pub const RSQRT: OpDef = OpDef {
    name: "rsqrt",
    ty: same,
    vjp: |b, at| {
        // Halved first: half of the cube may be finite where the cube is not.
        let square = b.mul(at.y, at.y);
        let half = b.scale(at.y, -0.5);
        let slope = b.mul(half, square);
        vec![Some(b.mul(at.dy, slope))]
    },
    body: Body::Map(|s, _, x| {
        let one = s.float(1.0);
        let root = s.sqrt(x[0]);
        s.div(one, root)
    }),
};

/// A class id or position as a number. `u32[S] -> f32[S]`. Exact up to 2^24.
pub const TO_FLOAT: OpDef = OpDef {
    name: "to_float",
    ty: |_, x| match x[0].dtype.is_index() {
        true => Ok(x[0].with(DType::F32)),
        false => Err(format!("to_float needs an index, found {}", x[0])),
    },
    vjp: no_gradient,
    body: Body::Map(|s, _, x| s.to_float(x[0])),
};

/// An integral number as a position. `f32[S] -> u32[S]`, for 0 <= x <= 2^24.
pub const TO_INDEX: OpDef = OpDef {
    name: "to_index",
    ty: |_, x| all_like(x, DType::F32).map(|()| x[0].with(DType::U32)),
    vjp: no_gradient,
    body: Body::Map(|s, _, x| s.to_int(x[0])),
};

/// Negation of a truth value. `bool[S] -> bool[S]`.
pub const NOT: OpDef = OpDef {
    name: "not",
    ty: |_, x| all_like(x, DType::Bool).map(|()| x[0].clone()),
    vjp: no_gradient,
    body: Body::Map(|s, _, x| s.not(x[0])),
};

/// `y = a + b`. `f32[S], f32[S] -> f32[S]`.
pub const ADD: OpDef = OpDef {
    name: "add",
    ty: same,
    vjp: |_, at| vec![Some(at.dy), Some(at.dy)],
    body: Body::Map(|s, _, x| s.add(x[0], x[1])),
};

/// `y = a - b`. `f32[S], f32[S] -> f32[S]`.
pub const SUB: OpDef = OpDef {
    name: "sub",
    ty: same,
    vjp: |b, at| vec![Some(at.dy), Some(b.neg(at.dy))],
    body: Body::Map(|s, _, x| s.sub(x[0], x[1])),
};

/// `y = a b`. `f32[S], f32[S] -> f32[S]`.
pub const MUL: OpDef = OpDef {
    name: "mul",
    ty: same,
    vjp: |b, at| vec![Some(b.mul(at.dy, at.x[1])), Some(b.mul(at.dy, at.x[0]))],
    body: Body::Map(|s, _, x| s.mul(x[0], x[1])),
};

/// `y = a / b`. `f32[S], f32[S] -> f32[S]`. `da = dy / b`, `db = -dy y / b`.
pub const DIV: OpDef = OpDef {
    name: "div",
    ty: same,
    vjp: |b, at| {
        let da = b.div(at.dy, at.x[1]);
        let product = b.mul(da, at.y);
        vec![Some(da), Some(b.neg(product))]
    },
    body: Body::Map(|s, _, x| s.div(x[0], x[1])),
};

/// The larger of two. `f32[S], f32[S] -> f32[S]`. NaN in either passes; at a tie the gradient is the first operand's, so
/// that `max(0, x)`, which is relu, has gradient 0 at 0.
pub const MAX: OpDef = OpDef {
    name: "max",
    ty: same,
    vjp: |b, at| {
        let second = b.compare(Cmp::Gt, at.x[1], at.x[0]);
        choose(b, second, at.dy)
    },
    body: Body::Map(|s, _, x| s.max(x[0], x[1])),
};

/// The smaller of two. `f32[S], f32[S] -> f32[S]`. NaN in either passes; at a tie the gradient is the first operand's.
pub const MIN: OpDef = OpDef {
    name: "min",
    ty: same,
    vjp: |b, at| {
        let second = b.compare(Cmp::Lt, at.x[1], at.x[0]);
        choose(b, second, at.dy)
    },
    body: Body::Map(|s, _, x| s.min(x[0], x[1])),
};

/// The cotangents of two operands; `second` says where the second was taken.
fn choose(b: &mut Builder, second: NodeId, dy: NodeId) -> Vec<Option<NodeId>> {
    let zero = b.constant_like(0.0, dy);
    vec![Some(b.select(second, zero, dy)), Some(b.select(second, dy, zero))]
}

/// An IEEE-754 comparison. `f32[S], f32[S] -> bool[S]`. Has no gradient.
pub const COMPARE: OpDef = OpDef {
    name: "compare",
    ty: truth,
    vjp: no_gradient,
    body: Body::Map(|s, op, x| match op {
        Op::Compare(cmp) => s.cmp(*cmp, x[0], x[1]),
        _ => unreachable!("the body of a comparison"),
    }),
};

/// Whether two class ids are the same. `u32[S], u8[S] -> bool[S]`: any two index types.
pub const INDEX_EQ: OpDef = OpDef {
    name: "index_eq",
    ty: |_, x| match x[0].dtype.is_index() && x[1].dtype.is_index() && x[0].shape == x[1].shape {
        true => Ok(x[0].with(DType::Bool)),
        false => Err(format!("index_eq needs indices of one shape, found {} and {}", x[0], x[1])),
    },
    vjp: no_gradient,
    body: Body::Map(|s, _, x| s.int_eq(x[0], x[1])),
};

/// `y = a b + c`, rounded once. `f32[S], f32[S], f32[S] -> f32[S]`. Made by the rule `mul-add`, after differentiation.
pub const MUL_ADD: OpDef = OpDef {
    name: "mul_add",
    ty: same,
    vjp: |b, at| vec![Some(b.mul(at.dy, at.x[1])), Some(b.mul(at.dy, at.x[0])), Some(at.dy)],
    body: Body::Map(|s, _, x| s.mul_add(x[0], x[1], x[2])),
};

/// `a` where the mask holds, `b` elsewhere. `bool[S], f32[S], f32[S] -> f32[S]`. An element that is not taken gets no gradient,
/// not even NaN.
pub const SELECT: OpDef = OpDef {
    name: "select",
    ty: |_, x| {
        all_like(&x[1..], DType::F32)?;
        match *x[0] == x[1].with(DType::Bool) {
            true => Ok(x[1].clone()),
            false => Err(format!("select needs a mask of the shape of {}, found {}", x[1], x[0])),
        }
    },
    vjp: |b, at| {
        let zero = b.constant_like(0.0, at.dy);
        vec![None, Some(b.select(at.x[0], at.dy, zero)), Some(b.select(at.x[0], zero, at.dy))]
    },
    body: Body::Map(|s, _, x| s.select(x[0], x[1], x[2])),
};

/// The identity, through which no gradient flows. `f32[S] -> f32[S]`.
pub const DETACH: OpDef =
    OpDef { name: "detach", ty: |_, x| Ok(x[0].clone()), vjp: no_gradient, body: Body::Map(|_, _, x| x[0]) };

/// `value`, with a gradient to `x` as well: `dvalue = dy`, `dx = dy slope`. `f32[S], f32[S], f32[S] -> f32[S]`. For a slope that would
/// lose its digits, or overflow, in the form that follows from the value; the value is then detached. No gradient flows to the
/// slope.
pub const WITH_SLOPE: OpDef = OpDef {
    name: "with_slope",
    ty: same,
    vjp: |b, at| vec![Some(at.dy), Some(b.mul(at.dy, at.x[2])), None],
    body: Body::Map(|_, _, x| x[0]),
};

/// Whether it takes a polynomial of some length.
pub fn is_transcendental(op: &Op) -> bool {
    matches!(
        op,
        Op::Exp
            | Op::Expm1
            | Op::Ln
            | Op::Log1p
            | Op::Sigmoid
            | Op::Tanh
            | Op::SigmoidSlope
            | Op::TanhSlope
            | Op::Softplus
            | Op::Erf
            | Op::NormalCdf
    )
}

/// The operation that this one is the slope of, if it is a slope. Computing both of one operand takes little more than either.
pub fn sloped(op: &Op) -> Option<Op> {
    match op {
        Op::SigmoidSlope => Some(Op::Sigmoid),
        Op::TanhSlope => Some(Op::Tanh),
        _ => None,
    }
}
