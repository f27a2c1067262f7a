//! What each primitive operation is: one `const` per operation, and the table that finds it.

mod contract;
mod elementwise;
mod leaf;
mod loops;
mod movement;
mod random;
mod reduce;
mod rows;
mod windows;

use super::{Builder, NodeId, Op};
use crate::scalar::{Reg, Scalar};
use crate::types::TensorType;

pub use contract::{DotAxes, OperandAxes};
pub use elementwise::{is_transcendental, sloped};
pub use movement::Coordinate;
pub use random::key;
pub use reduce::{Form, Reduction, SUM, Total};
pub use windows::Window;

/// The definition of an operation.
#[derive(Debug)]
pub struct OpDef {
    /// As it is printed.
    pub name: &'static str,
    /// The type of the result, or what does not fit, in words.
    pub ty: fn(&Op, &[&TensorType]) -> Result<TensorType, String>,
    /// From the cotangent of the result, the cotangent of each operand; `None` if it gets none.
    pub vjp: fn(&mut Builder, &At) -> Vec<Option<NodeId>>,
    /// How elements of the result are computed.
    pub body: Body,
}

/// Where a gradient rule is applied.
#[derive(Debug)]
pub struct At {
    /// The operation.
    pub op: Op,
    /// Its operands.
    pub x: Vec<NodeId>,
    /// Its result.
    pub y: NodeId,
    /// The cotangent of the result.
    pub dy: NodeId,
}

/// A scalar body: from one element of each operand, one element of the result.
pub type MapBody = fn(&mut dyn Scalar, &Op, &[Reg]) -> Reg;

/// How elements of a result are computed.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// From outside.
    Leaf,
    /// One element from one element of each operand.
    Map(MapBody),
    /// The operand's elements under another shape.
    View,
    /// Elements of the operands at other places: [`Op::coordinates`] says from where.
    Move,
    /// Rows of the first operand, whose numbers are the second operand.
    Gather,
    /// Sums of those rows of the first operand that have the same number in the second.
    Scatter,
    /// Sums of elements under overlapping windows.
    Fold,
    /// One element from many.
    Reduce(&'static Reduction),
    /// Sums of products.
    Contract,
    /// The head of a loop, what it reads for each step, and what leads out of it.
    Loop,
}

impl OpDef {
    /// The reduction that it is.
    pub const fn reduction(&self) -> Option<&'static Reduction> {
        match self.body {
            Body::Reduce(reduction) => Some(reduction),
            _ => None,
        }
    }
}

macro_rules! op_table {
    ($($op:pat => $definition:expr,)*) => {
        /// The definition of every operation.
        pub const ALL: &[&OpDef] = &[$(&$definition),*];

        impl Op {
            /// The definition.
            pub fn def(&self) -> &'static OpDef {
                match self {
                    $($op => &$definition,)*
                }
            }
        }
    };
}

op_table! {
    Op::Input(_) => leaf::INPUT,
    Op::Param(_) => leaf::PARAM,
    Op::Scalar(_) => leaf::SCALAR,
    Op::Const(_) => leaf::CONST,
    Op::Iota(_) => leaf::IOTA,
    Op::Count(_) => leaf::COUNT,
    Op::Neg => elementwise::NEG,
    Op::Abs => elementwise::ABS,
    Op::Exp => elementwise::EXP,
    Op::Expm1 => elementwise::EXPM1,
    Op::Ln => elementwise::LN,
    Op::Log1p => elementwise::LOG1P,
    Op::Sigmoid => elementwise::SIGMOID,
    Op::Tanh => elementwise::TANH,
    Op::SigmoidSlope => elementwise::SIGMOID_SLOPE,
    Op::TanhSlope => elementwise::TANH_SLOPE,
    Op::Softplus => elementwise::SOFTPLUS,
    Op::Erf => elementwise::ERF,
    Op::NormalCdf => elementwise::NORMAL_CDF,
    Op::Sqrt => elementwise::SQRT,
    Op::Rsqrt => elementwise::RSQRT,
    Op::ToFloat => elementwise::TO_FLOAT,
    Op::ToIndex => elementwise::TO_INDEX,
    Op::Not => elementwise::NOT,
    Op::Add => elementwise::ADD,
    Op::Sub => elementwise::SUB,
    Op::Mul => elementwise::MUL,
    Op::Div => elementwise::DIV,
    Op::Max => elementwise::MAX,
    Op::Min => elementwise::MIN,
    Op::Compare(_) => elementwise::COMPARE,
    Op::IndexEq => elementwise::INDEX_EQ,
    Op::MulAdd => elementwise::MUL_ADD,
    Op::Select => elementwise::SELECT,
    Op::Detach => elementwise::DETACH,
    Op::WithSlope => elementwise::WITH_SLOPE,
    Op::Uniform => random::UNIFORM,
    Op::Reshape => movement::RESHAPE,
    Op::Broadcast(_) => movement::BROADCAST,
    Op::Transpose(_) => movement::TRANSPOSE,
    Op::Slice { .. } => movement::SLICE,
    Op::Pad { .. } => movement::PAD,
    Op::Concat(_) => movement::CONCAT,
    Op::Patches { .. } => windows::PATCHES,
    Op::Skew { .. } => windows::SKEW,
    Op::Fold { .. } => windows::FOLD,
    Op::Gather => rows::GATHER,
    Op::ScatterAdd { .. } => rows::SCATTER_ADD,
    Op::Sum(_) => reduce::SUM,
    Op::MaxOver(_) => reduce::MAX_OVER,
    Op::Mean(_) => reduce::MEAN,
    Op::Variance(_) => reduce::VARIANCE,
    Op::Dot(_) => contract::DOT,
    Op::DotByColumn(_) => contract::DOT_BY_COLUMN,
    Op::Carry { .. } => loops::CARRY,
    Op::Element => loops::ELEMENT,
    Op::History { .. } => loops::HISTORY,
    Op::Collect { .. } => loops::COLLECT,
}

impl Op {
    /// Whether an element of the result depends on one element of each operand.
    pub fn is_map(&self) -> bool {
        matches!(self.def().body, Body::Map(_))
    }

    /// Whether it is part of the frame of a loop.
    pub fn is_of_loop(&self) -> bool {
        matches!(self.def().body, Body::Loop)
    }

    /// Whether it comes from outside the graph.
    pub fn is_leaf(&self) -> bool {
        matches!(self.def().body, Body::Leaf)
    }

    /// Whether it only gives the operand's elements another shape.
    pub fn is_view(&self) -> bool {
        matches!(self.def().body, Body::View)
    }
}
