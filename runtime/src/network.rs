//! The static description of a declared network: what `network!` expands to, in constants.
//!
//! In: the declaration, parsed, resolved and checked by the macro. Out: what `lower` turns into a graph. Names are
//! resolved (a stage points at its layer, a call at its function); sizes are numbers; nothing is computed here.

mod print;

use crate::functions::FunctionDef;
use crate::layers::{Arg, LayerDef};
use crate::types::{DType, Dim, Shape, TensorType};

/// A declared network.
#[derive(Debug)]
pub struct Definition {
    /// The name of the type.
    pub name: &'static str,
    /// What flows in.
    pub inputs: &'static [Port],
    /// What flows out.
    pub outputs: &'static [Port],
    /// What the loss and the metrics compare with.
    pub targets: &'static [Port],
    /// The stages, each applied to the result of the one before.
    pub body: &'static [Stage],
    /// What training makes small: an expression without axes.
    pub loss: Option<Expr>,
    /// What is reported beside the loss.
    pub metrics: &'static [Metric],
}

/// A named tensor at the edge of a network.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// The name in the declaration.
    pub name: &'static str,
    /// The element type.
    pub dtype: DType,
    /// The extents.
    pub dims: &'static [Dim],
}

impl Port {
    /// The type of the tensor.
    pub fn ty(&self) -> TensorType {
        TensorType { dtype: self.dtype, shape: Shape(self.dims.to_vec()) }
    }
}

/// One stage of a body: a layer and its arguments, all of them, defaults filled in.
#[derive(Debug)]
pub struct Stage {
    /// The layer.
    pub layer: &'static LayerDef,
    /// One value for each of the layer's declared arguments, in their order.
    pub args: &'static [Arg],
    /// The path that names its parameters and its lines in the IR: `dense1`, or the name given with `as`.
    pub path: &'static str,
    /// The name under which losses and metrics know the result.
    pub name: Option<&'static str>,
    /// As the declaration writes it: `Dense(256)`.
    pub text: &'static str,
    /// Where the declaration writes it.
    pub place: Place,
}

/// A position in the user's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as rustc names it.
    pub file: &'static str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

/// A metric: its name and its expression.
#[derive(Debug)]
pub struct Metric {
    /// The name of the field in the step's report.
    pub name: &'static str,
    /// The expression, without axes.
    pub expr: Expr,
}

/// An expression over outputs, named values, targets and parameters.
#[derive(Debug)]
pub enum Expr {
    /// A literal.
    Number(f64),
    /// An output, a value named with `as`, a target, an input, or a parameter by its path (`dense1.weight`).
    Name(&'static str),
    /// `-x`.
    Neg(&'static Expr),
    /// `x + y` and the like; a scalar operand spreads over the other's shape.
    Binary(BinaryOp, &'static Expr, &'static Expr),
    /// `huber(x, y, delta = 2.0)`: a function, the values of all its options, and its operands.
    Call(&'static FunctionDef, &'static [Arg], &'static [Expr]),
    /// `gelu(x)`: a layer without parameters, applied to a value, with its arguments.
    Apply(&'static LayerDef, &'static [Arg], &'static Expr),
}

/// The infix operators of expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl BinaryOp {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
        }
    }

    /// Whether the result is a truth value.
    pub fn is_comparison(self) -> bool {
        !matches!(self, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div)
    }

    /// The type of `x op y`, or what does not fit, in words.
    pub fn result(self, x: &TensorType, y: &TensorType) -> Result<TensorType, String> {
        let symbol = self.symbol();
        let shape = spread(x, y).ok_or_else(|| {
            format!("`{symbol}` needs operands of one shape, found {} and {}", x.shape.declared(), y.shape.declared())
        })?;
        let fits = match (x.dtype, y.dtype) {
            (DType::F32, DType::F32) => true,
            (x, y) => x.is_index() && y.is_index() && matches!(self, BinaryOp::Eq | BinaryOp::Ne),
        };
        if !fits {
            return Err(format!("`{symbol}` does not apply to {} and {}", x.dtype, y.dtype));
        }
        Ok(TensorType { dtype: if self.is_comparison() { DType::Bool } else { DType::F32 }, shape })
    }
}

/// The shape of an element-wise operation on `x` and `y`: theirs if equal, the other's if one is a single value.
fn spread(x: &TensorType, y: &TensorType) -> Option<Shape> {
    if x.shape == y.shape || y.shape.rank() == 0 {
        Some(x.shape.clone())
    } else if x.shape.rank() == 0 {
        Some(y.shape.clone())
    } else {
        None
    }
}
