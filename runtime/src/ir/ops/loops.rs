//! Loops over steps. A loop is a head, a body of any nodes that depend on the head, and exits; [`Loop`](crate::ir::Loop) finds them.
//! The first axis of a sequence, of the history and of what is collected are the positions of the steps. No rule here has a gradient:
//! that of a loop as a whole is a loop in the other direction, and `autodiff` makes it.

use super::{Body, OpDef};
use crate::ir::Op;
use crate::types::{DType, Dim, TensorType};

/// The state before a step: the first time the operand, then what the step before has made of it. `f32[S..] -> f32[S..]`. A second
/// operand is the head of the loop around.
pub const CARRY: OpDef = OpDef {
    name: "carry",
    ty: |op, x| match (op, x[0].dtype) {
        (Op::Carry { steps: 0, .. }, _) => Err("a loop of no steps".to_string()),
        (_, DType::F32) => Ok(x[0].clone()),
        _ => Err(format!("carry needs numbers, found {}", x[0])),
    },
    vjp: |_, at| vec![None; at.x.len()],
    body: Body::Loop,
};

/// One element of a sequence, that of the step: `f32[S..], T[N, R..] -> T[R..]`, where the first operand is the head of the loop,
/// and N the number of its steps.
pub const ELEMENT: OpDef = OpDef {
    name: "element",
    ty: |_, x| match x[1].shape.0.first() {
        Some(Dim::Fixed(_)) => Ok(TensorType { dtype: x[1].dtype, shape: x[1].shape.without(&[0]) }),
        _ => Err(format!("element of {}, which has no fixed number of them", x[1])),
    },
    vjp: |_, at| vec![None; at.x.len()],
    body: Body::Loop,
};

/// All states of a loop, the first one included: `f32[S..], f32[S..] -> f32[N + 1, S..]`, where the operands are the head of the loop
/// and the state after a step.
pub const HISTORY: OpDef = OpDef {
    name: "history",
    ty: |op, x| {
        let &Op::History { steps } = op else { unreachable!("the type of a history") };
        match x[0] == x[1] {
            true => Ok(TensorType { shape: x[0].shape.stacked(steps + 1), ..*x[0] }),
            false => Err(format!("history of {}, which a step makes {}", x[0], x[1])),
        }
    },
    vjp: |_, at| vec![None; at.x.len()],
    body: Body::Loop,
};

/// A value of the body at every step: `f32[N + 1, S..], T[R..] -> T[N, R..]`, where the first operand is the history of the loop.
pub const COLLECT: OpDef = OpDef {
    name: "collect",
    ty: |op, x| {
        let &Op::Collect { steps } = op else { unreachable!("the type of what is collected") };
        Ok(TensorType { shape: x[1].shape.stacked(steps), ..*x[1] })
    },
    vjp: |_, at| vec![None; at.x.len()],
    body: Body::Loop,
};
