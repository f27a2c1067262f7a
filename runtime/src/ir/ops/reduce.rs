//! Operations that make one element out of many, along axes that disappear.

use super::{ALL, Body, OpDef};
use crate::ir::{Builder, NodeId, Op};
use crate::scalar::{Cmp, Reg, Scalar};
use crate::types::{DType, Shape, TensorType};

/// How many elements become one: all that fusion, code generation, the interpreter and chunked evaluation know of it.
#[derive(Debug)]
pub struct Reduction {
    /// The name of its operation, by which reductions are told apart.
    pub name: &'static str,
    /// What becomes of no elements.
    pub of_none: f64,
    /// Floating-point operations for each element.
    pub flops: u64,
    /// With which power of its elements it grows.
    pub power: f64,
    /// Whether it grows with their number.
    pub adds_up: bool,
    /// How they are taken together.
    pub form: Form,
}

/// How elements are taken together.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// One after the other into a total, and totals of parts into that of all.
    Total(Total),
    /// Relative to a sample, so that nothing cancels or overflows: this is the mean.
    Mean,
    /// In the same way, the mean squared deviation from the mean.
    Variance,
}

/// A total, and what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Total {
    /// That of no elements, which changes no other.
    pub identity: f64,
    /// One more element into a total: the element, then the total.
    pub combine: fn(&mut dyn Scalar, Reg, Reg) -> Reg,
    /// Some totals side by side, each with one of later elements.
    pub merge: fn(&mut [f64], &[f64]),
    /// Whether `combine` reads the total once, so that a load can fold into it.
    pub reads_once: bool,
}

impl Reduction {
    /// The total that is made of elements, if it is one.
    pub const fn total(&self) -> Option<&Total> {
        match &self.form {
            Form::Total(total) => Some(total),
            Form::Mean | Form::Variance => None,
        }
    }

    /// All there are.
    pub fn all() -> impl Iterator<Item = &'static Reduction> {
        ALL.iter().filter_map(|def| def.reduction())
    }

    /// Its place among all, by which compiled code names it.
    pub fn number(&self) -> usize {
        Reduction::all().position(|other| other == self).expect("it stands in the table of operations")
    }
}

impl PartialEq for Reduction {
    fn eq(&self, other: &Reduction) -> bool {
        self.name == other.name
    }
}

impl Eq for Reduction {}

impl Op {
    /// The axes of a reduction.
    pub fn axes(&self) -> Option<&[usize]> {
        match self {
            Op::Sum(axes) | Op::MaxOver(axes) | Op::Mean(axes) | Op::Variance(axes) => Some(axes),
            _ => None,
        }
    }

    /// The same reduction over other axes.
    pub fn over(&self, axes: Vec<usize>) -> Op {
        match self {
            Op::Sum(_) => Op::Sum(axes),
            Op::MaxOver(_) => Op::MaxOver(axes),
            Op::Mean(_) => Op::Mean(axes),
            Op::Variance(_) => Op::Variance(axes),
            other => other.clone(),
        }
    }
}

fn dropped(op: &Op, x: &[&TensorType]) -> Result<TensorType, String> {
    let axes = op.axes().expect("a reduction has axes");
    let in_order = axes.windows(2).all(|pair| pair[0] < pair[1]);
    if x[0].dtype != DType::F32 || !in_order || axes.last().is_none_or(|&last| last >= x[0].shape.rank()) {
        return Err(format!("no reduction of {} over {axes:?}", x[0]));
    }
    Ok(TensorType::f32(x[0].shape.without(axes)))
}

/// Sum over axes. `f32[S] -> f32[S without axes]`.
pub const SUM: OpDef = OpDef {
    name: "sum",
    ty: dropped,
    vjp: |b, at| {
        let shape = b.shape(at.x[0]);
        vec![Some(b.broadcast_over(at.dy, &shape, at.op.axes().expect("a reduction has axes")))]
    },
    body: Body::Reduce(&Reduction {
        name: "sum",
        of_none: 0.0,
        flops: 1,
        power: 1.0,
        adds_up: true,
        form: Form::Total(Total {
            identity: 0.0,
            combine: |s, x, total| s.add(total, x),
            merge: |totals, later| totals.iter_mut().zip(later).for_each(|(total, x)| *total += x),
            reads_once: true,
        }),
    }),
};

/// Largest element over axes. `f32[S] -> f32[S without axes]`. NaN passes. The gradient goes to the first of equal elements, in
/// row-major order; of those under a window, to none outside of what the window moves over.
pub const MAX_OVER: OpDef = OpDef {
    name: "max",
    ty: dropped,
    vjp: |b, at| {
        let axes = at.op.axes().expect("a reduction has axes");
        let shape = b.shape(at.x[0]);
        let top = b.broadcast_over(at.y, &shape, axes);
        let is_top = b.compare(Cmp::Eq, at.x[0], top);
        let [never, nowhere] = [f64::NEG_INFINITY, f64::INFINITY].map(|value| b.constant(value, &shape));
        let padded = padding(b, at.x[0]);
        let mut is_first = None;
        // The first position along the outermost axes; among those, the first along the next axes. Where the largest is NaN there is
        // none.
        for axes_of_one_number in numbered(&shape, axes) {
            let position = position(b, &shape, &axes_of_one_number);
            let minus = b.neg(position);
            let left = is_first.map_or(minus, |so_far| b.select(so_far, minus, never));
            let mut candidate = b.select(is_top, left, never);
            for &is_outside in &padded {
                candidate = b.select(is_outside, never, candidate);
            }
            let first = b.max_over(candidate, axes);
            let first = b.broadcast_over(first, &shape, axes);
            let left = is_first.map_or(minus, |so_far| b.select(so_far, minus, nowhere));
            is_first = Some(b.compare(Cmp::Eq, left, first));
        }
        let dy = b.broadcast_over(at.dy, &shape, axes);
        vec![Some(b.mask(is_first.expect("a reduction has axes"), dy))]
    },
    body: Body::Reduce(&Reduction {
        name: "max",
        of_none: f64::NEG_INFINITY,
        flops: 1,
        power: 1.0,
        adds_up: false,
        form: Form::Total(Total {
            identity: f64::NEG_INFINITY,
            combine: |s, x, total| s.max(x, total),
            merge: |totals, later| {
                let larger = |total: f64, x: f64| if x > total || x.is_nan() { x } else { total };
                totals.iter_mut().zip(later).for_each(|(total, &x)| *total = larger(*total, x));
            },
            reads_once: false,
        }),
    }),
};

/// Where a window is over its padding, if what is read there is an infinity that no element is below: one truth value for either
/// side of each axis that has any. An element that is such an infinity itself has the gradient, not the padding.
fn padding(b: &mut Builder, x: NodeId) -> Vec<NodeId> {
    let shape = b.shape(x);
    // For each axis of the tensor so far, the axis of `x` that it is.
    let mut axes: Vec<Option<usize>> = (0..shape.rank()).map(Some).collect();
    let (mut windows, mut under) = (Vec::new(), x);
    while let Op::Patches { axis, window, value: f64::NEG_INFINITY } = b[under].op {
        under = b[under].operands[0];
        if let (Some(position), Some(tap)) = (axes[axis], axes[axis + 1]) {
            windows.push((position, tap, window, b.shape(under).0[axis].factor()));
        }
        axes.remove(axis + 1);
        axes[axis] = None;
    }
    let mut outside = Vec::new();
    for (position, tap, window, extent) in windows {
        let [position, tap] = [position, tap].map(|axis| {
            let number = b.iota(axis, &shape);
            b.to_float(number)
        });
        let [position, tap] = [(position, window.stride), (tap, window.dilation)]
            .map(|(number, step)| if step == 1 { number } else { b.scale(number, step as f64) });
        let element = b.add(position, tap);
        let ends = [(Cmp::Lt, window.before, window.before), (Cmp::Ge, window.before + extent, window.after)];
        for (cmp, end, _) in ends.into_iter().filter(|(_, _, elements)| *elements > 0) {
            let end = b.constant(end as f64, &shape);
            outside.push(b.compare(cmp, element, end));
        }
    }
    outside
}

/// Up to this number every position is exact as an f32.
const EXACT: usize = 1 << 24;

/// These axes in runs, so that one f32 tells all positions of a run apart. The stride of an axis before the batch would depend on
/// the size of the batch, so the batch is a run of its own.
fn numbered(shape: &Shape, axes: &[usize]) -> Vec<Vec<usize>> {
    let mut runs: Vec<Vec<usize>> = Vec::new();
    let mut positions = None;
    for &axis in axes {
        let extent = shape.0[axis];
        let together = positions.and_then(|n: usize| n.checked_mul(extent.factor())).filter(|&n| n <= EXACT);
        match (runs.last_mut(), together.filter(|_| !extent.is_batch())) {
            (Some(run), Some(n)) => {
                run.push(axis);
                positions = Some(n);
            }
            _ => {
                runs.push(vec![axis]);
                positions = Some(extent.factor()).filter(|_| !extent.is_batch());
            }
        }
    }
    runs
}

/// The position along several axes in row-major order, as a float of this shape.
fn position(b: &mut Builder, shape: &Shape, axes: &[usize]) -> NodeId {
    let mut step = 1.0;
    let mut sum = None;
    for &axis in axes.iter().rev() {
        let own = b.iota(axis, shape);
        let own = b.to_float(own);
        let own = if step == 1.0 { own } else { b.scale(own, step) };
        sum = Some(sum.map_or(own, |inner| b.add(own, inner)));
        step *= shape.0[axis].factor() as f64;
    }
    sum.expect("a reduction has axes")
}

/// Mean over axes. `f32[S] -> f32[S without axes]`. `dx = dy / n`. Computed relative to a sample, like a variance and together with
/// it: the mean of equal numbers is that number to the bit, and no sum overflows. Where neither matters, [`Builder::mean`] is less
/// work.
///
/// [`Builder::mean`]: crate::ir::Builder::mean
pub const MEAN: OpDef = OpDef {
    name: "mean",
    ty: dropped,
    vjp: |b, at| {
        let axes = at.op.axes().expect("a reduction has axes");
        let shape = b.shape(at.x[0]);
        let count = b.count(&shape, axes);
        let kept = b.shape(at.dy);
        let count = b.spread(count, &kept);
        let share = b.div(at.dy, count);
        vec![Some(b.broadcast_over(share, &shape, axes))]
    },
    body: Body::Reduce(&Reduction {
        name: "mean",
        of_none: f64::NAN,
        flops: 1,
        power: 1.0,
        adds_up: false,
        form: Form::Mean,
    }),
};

/// Biased variance over axes: the mean squared deviation from the mean. `f32[S] -> f32[S without axes]`.
/// `dx = dy 2 (x - mean) / n`. Computed without cancellation: shifted by a sample, merged by Chan's formula
/// (Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance"). NaN if it exceeds the largest f32: an infinite
/// variance would make zeros of everything that is divided by its root.
pub const VARIANCE: OpDef = OpDef {
    name: "variance",
    ty: dropped,
    vjp: |b, at| {
        let axes = at.op.axes().expect("a reduction has axes");
        let shape = b.shape(at.x[0]);
        let mean = b.center(at.x[0], axes);
        let mean = b.broadcast_over(mean, &shape, axes);
        let deviation = b.sub(at.x[0], mean);
        let two = b.scale(at.dy, 2.0);
        let count = b.count(&shape, axes);
        let kept = b.shape(at.dy);
        let count = b.spread(count, &kept);
        let factor = b.div(two, count);
        let factor = b.broadcast_over(factor, &shape, axes);
        vec![Some(b.mul(factor, deviation))]
    },
    body: Body::Reduce(&Reduction {
        name: "variance",
        of_none: f64::NAN,
        flops: 3,
        power: 2.0,
        adds_up: false,
        form: Form::Variance,
    }),
};
