//! The types of expressions.

use super::numbers::position;
use super::{Context, words};
use crate::axes::axis_of;
use crate::functions::{ARGMAX, FunctionDef};
use crate::layers::{LayerDef, ints};
use crate::network::{Act, At, BinaryOp, Expr, Number, Span, Value, fits_f32};
use crate::types::{DType, Dim, Shape, TensorType};

/// The names of a function of the user's own, and their types.
pub(super) type Names<'n> = &'n [(&'n str, TensorType)];

impl<'a> Context<'a> {
    /// The type of an expression, if it is known and makes sense. Inside a function of the user's own there are its names
    /// alone.
    pub(super) fn expr(&mut self, expr: &Expr<'a>, names: Option<Names<'_>>) -> Option<TensorType> {
        match *expr {
            Expr::Number(_) => Some(TensorType::scalar()),
            Expr::Constant(value, at) => {
                if !value.is_finite() {
                    self.report(at, words::not_finite(value));
                    return None;
                }
                if !fits_f32(value) {
                    self.report(at, words::beyond_f32(&format!("{value:?}"), value));
                    return None;
                }
                Some(TensorType::scalar())
            }
            Expr::Name(name) => match names {
                Some(names) => names.iter().find(|(known, _)| *known == name).map(|(_, ty)| ty.clone()),
                None => self.type_of(name),
            },
            Expr::Path(path, at) => self.path(path, at),
            Expr::Weights(at) => {
                self.report(at, words::weights_alone());
                None
            }
            Expr::Neg(at, x) => {
                let ty = self.expr(x, names)?;
                if ty.dtype != DType::F32 {
                    self.report(at, format!("`-` does not apply to {}", ty.dtype));
                    return None;
                }
                Some(ty)
            }
            Expr::Not(at, x) => {
                let ty = self.expr(x, names)?;
                if ty.dtype != DType::Bool {
                    self.report(at, words::no_truth_value(ty.dtype));
                    return None;
                }
                Some(ty)
            }
            Expr::Binary(op, at, x, y) => {
                let (left, right) = (self.expr(x, names), self.expr(y, names));
                let (left, right) = (left?, right?);
                let result = match class_id((&left, &right), (x, y)) {
                    Some((index, id)) if op.is_comparison() => is_class_id(op, index, id),
                    _ => op.result(&left, &right),
                };
                result.map_err(|reason| self.report(at, reason)).ok()
            }
            Expr::If(at, condition, x, y) => {
                let condition = self.expr(condition, names);
                let (x, y) = (self.expr(x, names), self.expr(y, names));
                let result = choice(&condition?, &x?, &y?);
                result.map_err(|reason| self.report(at, reason)).ok()
            }
            Expr::Call(function, at, args, operands) => self.call(function, at, args, operands, names),
            Expr::Apply(layer, at, args, x) => self.apply(layer, at, args, x, names),
            Expr::Part(at, x, spans) => {
                let ty = self.expr(x, names)?;
                match parts(&ty.shape, spans) {
                    Ok(parts) => {
                        let kept = parts.iter().filter(|part| !part.is_one).map(|part| part.dim);
                        Some(TensorType { dtype: ty.dtype, shape: Shape(kept.collect()) })
                    }
                    Err(None) => None,
                    Err(Some(message)) => {
                        self.report(at, message);
                        None
                    }
                }
            }
            Expr::Inline(index, at, operands) => {
                let types: Vec<Option<TensorType>> = operands.iter().map(|x| self.expr(x, names)).collect();
                let types = types.into_iter().collect::<Option<Vec<TensorType>>>()?;
                let act = &self.definition.acts[index];
                let (x, numbers) = types.split_first()?;
                if x.dtype != DType::F32 {
                    self.report(at, format!("`{}` needs f32, found {}", act.name.unwrap_or("|x| .."), x.dtype));
                    return None;
                }
                self.function(act, x, numbers)
            }
            // The operands may have mistakes of their own.
            Expr::Elsewhere(_, operands) => {
                operands.iter().for_each(|operand| drop(self.expr(operand, names)));
                None
            }
            Expr::Broken => None,
        }
    }

    /// The type that a function of the user's own gives.
    pub(super) fn function(&mut self, act: &'a Act<'a>, x: &TensorType, numbers: &[TensorType]) -> Option<TensorType> {
        let extras = act.extras.iter().map(|(name, _)| *name).zip(numbers.iter().cloned());
        let names: Vec<(&str, TensorType)> = std::iter::once((act.operand, x.clone())).chain(extras).collect();
        self.expr(&act.expr, Some(&names))
    }

    fn call(
        &mut self,
        function: &'static FunctionDef,
        at: At,
        args: &[Value<'a>],
        operands: &[Expr<'a>],
        names: Option<Names<'_>>,
    ) -> Option<TensorType> {
        let args = self.args(function.name, function.args, args);
        if names.is_some() && !function.elementwise {
            self.report(at, words::not_elementwise(function.name));
            return None;
        }
        if function.over_weights && is_weights(operands) {
            if !self.has_weights && self.complete {
                self.report(at, words::no_weights(self.definition.name));
                return None;
            }
            return Some(TensorType::scalar());
        }
        let mut positions = None;
        let mut types: Vec<Option<TensorType>> = Vec::with_capacity(operands.len());
        for operand in operands {
            self.positions = None;
            types.push(self.expr(operand, names));
            positions = self.positions.take();
        }
        let types: Vec<&TensorType> = types.iter().map(Option::as_ref).collect::<Option<_>>()?;
        let last = |ty: &TensorType| ty.shape.0.last().map_or(1, |extent| extent.factor());
        let args = args?;
        let result = (function.ty)(&types, &args).and_then(|ty| match (&types[..], positions) {
            // What takes rows of classes and class ids takes those that `argmax` gives, if they are among the classes. Those that
            // come in are looked at when they do.
            ([rows, ids], Some(found)) if ids.dtype.is_index() && found > last(rows) => {
                Err(words::too_few_classes(last(rows), found))
            }
            _ => Ok(ty),
        });
        if function.name == ARGMAX.name && result.is_ok() {
            let axis = axis_of(&types[0].shape, ints(&args, 0)[0]);
            self.positions = axis.ok().map(|axis| types[0].shape.0[axis].factor());
        } else {
            self.positions = None;
        }
        let has_batch = |ty: &TensorType| ty.shape.0.iter().any(|dim| dim.is_batch());
        if self.in_flow && types.iter().any(|ty| has_batch(ty)) && result.as_ref().is_ok_and(|ty| !has_batch(ty)) {
            self.report(at, words::batch_is_gone(function.name));
            return None;
        }
        result.map_err(|reason| self.report(at, format!("`{}` {reason}", function.name))).ok()
    }

    fn apply(
        &mut self,
        layer: &'static LayerDef,
        at: At,
        args: &[Value<'a>],
        x: &Expr<'a>,
        names: Option<Names<'_>>,
    ) -> Option<TensorType> {
        let args = self.args(layer.name, layer.args, args);
        let x = self.expr(x, names)?;
        if x.dtype != DType::F32 {
            self.report(at, format!("`{}` needs f32, found {}", layer.name, x.dtype));
            return None;
        }
        match (layer.shape)(&x.shape, &args?) {
            Ok(shape) => Some(TensorType::f32(shape)),
            Err(misfit) => {
                let found = x.shape.declared();
                self.report(at, format!("`{}` needs {}, found {found}", layer.name, misfit.needs));
                None
            }
        }
    }
}

/// The type of `if p { x } else { y }`, or what does not fit, in words.
pub(crate) fn choice(condition: &TensorType, x: &TensorType, y: &TensorType) -> Result<TensorType, String> {
    if condition.dtype != DType::Bool {
        return Err(format!("`if` needs a truth value, such as `x > 0`, found {}", condition.dtype));
    }
    if let Some(other) = [x, y].into_iter().find(|ty| ty.dtype != DType::F32) {
        return Err(format!("the branches of `if` must be f32, found {}", other.dtype));
    }
    let branches = BinaryOp::Add.result(x, y).map_err(|_| {
        let [x, y] = [x, y].map(|ty| ty.shape.declared());
        format!("the branches of `if` have different shapes, {x} and {y}")
    })?;
    match Shape::broadcast([&condition.shape, &branches.shape]) {
        Some(shape) => Ok(TensorType::f32(shape)),
        None => {
            let [x, y]: [&Shape; 2] = [&condition.shape, &branches.shape];
            Err(format!("the condition of `if` is {} and its branches are {}", x.declared(), y.declared()))
        }
    }
}

/// What is taken along an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// The first element.
    pub start: usize,
    /// How many.
    pub dim: Dim,
    /// Whether the axis is gone.
    pub is_one: bool,
}

/// What is taken along each axis of a shape; an error with nothing to say where a number is not known.
pub(crate) fn parts(shape: &Shape, spans: &[Span<'_>]) -> Result<Vec<Taken>, Option<String>> {
    if spans.len() != shape.rank() {
        return Err(Some(words::spans_and_axes(spans.len(), shape)));
    }
    let axes = shape.0.iter().zip(spans).enumerate();
    axes.map(|(axis, (&dim, span))| match span {
        Span::All => Ok(Taken { start: 0, dim, is_one: false }),
        _ if dim.is_batch() => Err(Some(words::part_of_batch())),
        Span::One(at) => {
            let index = bound(at, dim.factor(), axis, shape)?;
            if index >= dim.factor() {
                return Err(Some(words::out_of_range(&format!("`{}`", at.text), axis, shape)));
            }
            Ok(Taken { start: index, dim: Dim::Fixed(1), is_one: true })
        }
        Span::Range(from, to) => {
            let from_at = from.as_ref().map_or(Ok(0), |from| bound(from, dim.factor(), axis, shape))?;
            let to_at = to.as_ref().map_or(Ok(dim.factor()), |to| bound(to, dim.factor(), axis, shape))?;
            if from_at >= to_at {
                let text =
                    |number: &Option<Number<'_>>| number.map(|number| number.text.to_string()).unwrap_or_default();
                return Err(Some(words::empty_part(&format!("`{}..{}`", text(from), text(to)))));
            }
            Ok(Taken { start: from_at, dim: Dim::Fixed(to_at - from_at), is_one: false })
        }
    })
    .collect()
}

/// A number along an axis, counted from its start.
fn bound(number: &Number<'_>, extent: usize, axis: usize, shape: &Shape) -> Result<usize, Option<String>> {
    let at = position(number).map_err(Some)?.ok_or(None)?;
    let from_start = if at < 0 { at + extent as i64 } else { at };
    match usize::try_from(from_start) {
        Ok(found) if found <= extent => Ok(found),
        _ => Err(Some(words::out_of_range(&format!("`{}`", number.text), axis, shape))),
    }
}

/// Of two operands, the type of the one that is class ids, and the number that the other is, if they are so.
pub(crate) fn class_id<'t>(
    (x, y): (&'t TensorType, &'t TensorType),
    operands: (&Expr<'_>, &Expr<'_>),
) -> Option<(&'t TensorType, f64)> {
    match (x.dtype.is_index(), y.dtype.is_index(), operands) {
        (true, false, (_, &(Expr::Number(id) | Expr::Constant(id, _)))) => Some((x, id)),
        (false, true, (&(Expr::Number(id) | Expr::Constant(id, _)), _)) => Some((y, id)),
        _ => None,
    }
}

/// The type of a comparison of class ids with a number.
fn is_class_id(op: BinaryOp, index: &TensorType, id: f64) -> Result<TensorType, String> {
    let most = match index.dtype {
        DType::U8 => 1 << 8,
        DType::U16 => 1 << 16,
        // From there on, not all integers are numbers of f32.
        _ => 1 << 24,
    } - 1;
    match id.fract() == 0.0 && (0.0..=most as f64).contains(&id) {
        true => Ok(TensorType { dtype: DType::Bool, shape: index.shape.clone() }),
        false => Err(words::no_class_id(op.symbol(), index.dtype, most, id)),
    }
}

/// Whether an expression names all weights at once.
fn is_weights(operands: &[Expr<'_>]) -> bool {
    matches!(operands, [Expr::Weights(_)])
}
