//! Expressions of a wanted shape, none of which grows much faster than what it is made of.

use std::collections::{BTreeSet, HashSet};

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::{Act, At, BinaryOp, Expr, Value};
use gradloom_runtime::types::{Dim, Shape};

use super::bodies::arguments;
use super::names::SourcePlace;
use super::numbers::{argument, single};
use super::tape::Tape;
use crate::handmade::{self, binary, leak};

/// A function of the user's own.
pub struct DrawnAct {
    pub act: Act<'static>,
    /// Whether it normalizes rows.
    pub needs_rows: bool,
}

/// Class ids.
#[derive(Clone)]
pub struct ShapedId {
    pub expr: Expr<'static>,
    pub shape: Shape,
}

/// What an expression may be made of.
pub struct Context<'t, 'n> {
    pub tape: &'t mut Tape<'n>,
    acts: &'t [DrawnAct],
    pub floats: Vec<(Expr<'static>, Shape)>,
    pub ids: Vec<ShapedId>,
    /// Whether something that looks at more than one element is allowed.
    pub reduces: bool,
    pub has_weights: bool,
    branches: bool,
    /// The target that may be any numbers.
    pub values: &'static str,
    /// The names that were read.
    pub used: BTreeSet<&'static str>,
    /// Whether rows were normalized.
    normalizes: bool,
}

/// The index of the function that is always there: `|x, a = 1.0| a * x`.
pub const SCALE: usize = 0;

/// The one that is always there.
pub fn scale() -> DrawnAct {
    let expr = binary(BinaryOp::Mul, Expr::Name("a"), Expr::Name("x"));
    DrawnAct { act: Act { name: None, operand: "x", extras: &[("a", 1.0)], expr }, needs_rows: false }
}

/// Up to three more functions of the user's own; each may use those before it.
pub fn acts(tape: &mut Tape<'_>, branches: bool) -> Vec<DrawnAct> {
    let mut acts = vec![scale()];
    let mut taken = HashSet::new();
    while acts.len() < 2 || acts.len() < 4 && tape.chance(60) {
        let mut own = HashSet::new();
        let operand = SourcePlace::Operand.name(tape, "x", &mut own);
        let numbers = ["a", "b"].map(|usual| SourcePlace::Extra.name(tape, usual, &mut own));
        let shape = if tape.chance(50) { Shape(vec![Dim::B, Dim::Fixed(3)]) } else { Shape(vec![Dim::B]) };
        let mut context = Context::new(tape, &acts, branches);
        context.floats.push((Expr::Name(operand), shape.clone()));
        context.floats.extend(numbers.map(|name| (Expr::Name(name), Shape::scalar())));
        let expr = context.float(&shape, 3);
        let count = numbers.iter().rposition(|name| context.used.contains(name)).map_or(0, |at| at + 1);
        let needs_rows = context.normalizes;
        let extras: Vec<(&str, f64)> = numbers.into_iter().take(count).map(|name| (name, 1.0)).collect();
        let name = if tape.chance(30) { None } else { Some(SourcePlace::Act.name(tape, "f", &mut taken)) };
        let act = Act { name, operand, extras: leak(extras), expr };
        acts.push(DrawnAct { act, needs_rows });
    }
    acts
}

impl<'t, 'n> Context<'t, 'n> {
    pub fn new(tape: &'t mut Tape<'n>, acts: &'t [DrawnAct], branches: bool) -> Context<'t, 'n> {
        Context {
            tape,
            acts,
            floats: Vec::new(),
            ids: Vec::new(),
            reduces: false,
            has_weights: false,
            branches,
            values: "",
            used: BTreeSet::new(),
            normalizes: false,
        }
    }

    /// An expression of this shape, of which there has to be a value, or a single number.
    pub fn float(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        if depth == 0 {
            return self.leaf(shape);
        }
        let depth = depth - 1;
        let reduces = shape.rank() == 0 && self.reduces;
        match self.tape.below(100) {
            0..10 => self.leaf(shape),
            10..13 => self.ends(shape, depth),
            13..16 => Expr::Neg(At(0), leak(self.float(shape, depth))),
            16..26 => {
                let op = self.tape.pick(&[BinaryOp::Add, BinaryOp::Sub]);
                let (x, y) = self.two(shape, depth);
                binary(op, x, y)
            }
            26..34 => {
                let (x, y) = self.two(shape, depth);
                binary(BinaryOp::Mul, x, apply(&layers::TANH, &[], y))
            }
            34..38 => {
                let (x, y) = self.two(shape, depth);
                binary(BinaryOp::Div, x, binary(BinaryOp::Add, Expr::Number(1.0), square(y)))
            }
            38..62 if self.branches => self.choice(shape, depth),
            62..90 if reduces => self.reduction(depth),
            62..68 => {
                let rows = shape.rank() >= 2;
                let all = layers::ALL.iter().copied().filter(|layer| layer.function.is_some());
                let fitting: Vec<&LayerDef> = all.filter(|layer| rows || !layer.name.ends_with("softmax")).collect();
                let layer = self.tape.pick(&fitting);
                self.normalizes |= layer.name.ends_with("softmax");
                let args = arguments(layer, self.tape);
                let x = self.float(shape, depth);
                Expr::Apply(layer, At(0), leak(args), leak(x))
            }
            68..76 if shape.rank() >= 2 => {
                self.normalizes = true;
                let layer = self.tape.pick(&[&layers::SOFTMAX, &layers::LOG_SOFTMAX]);
                apply(layer, &[], self.float(shape, depth))
            }
            76..86 => self.inlined(shape, depth),
            _ => self.elementwise(shape, depth),
        }
    }

    /// A single number.
    pub fn scalar(&mut self, depth: usize) -> Expr<'static> {
        self.float(&Shape::scalar(), depth)
    }

    /// Of this shape, or a single number.
    pub fn either(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        if self.tape.chance(35) { self.scalar(depth) } else { self.float(shape, depth) }
    }

    /// Two operands, at least one of this shape.
    pub fn two(&mut self, shape: &Shape, depth: usize) -> (Expr<'static>, Expr<'static>) {
        let (x, y) = (self.float(shape, depth), self.either(shape, depth));
        if self.tape.chance(50) { (y, x) } else { (x, y) }
    }

    /// A value of this shape.
    pub fn leaf(&mut self, shape: &Shape) -> Expr<'static> {
        let fitting: Vec<Expr<'static>> =
            self.floats.iter().filter(|(_, known)| known == shape).map(|(expr, _)| *expr).collect();
        if shape.rank() == 0 {
            if self.reduces && self.tape.chance(40) {
                let shape = self.any_shape();
                return handmade::call(&functions::MEAN, &[], vec![self.leaf(&shape)]);
            }
            if fitting.is_empty() || self.tape.chance(40) {
                return single(self.tape);
            }
        }
        let expr = self.tape.pick(&fitting);
        if let Expr::Name(name) | Expr::Path(name, _) = expr {
            self.used.insert(name);
        }
        expr
    }

    /// The shape of one of the values, with an axis at least.
    pub fn any_shape(&mut self) -> Shape {
        let shapes: Vec<Shape> =
            self.floats.iter().map(|(_, shape)| shape).filter(|shape| shape.rank() > 0).cloned().collect();
        self.tape.pick(&shapes)
    }

    /// The shape of one of the values that this holds for, if there is one.
    pub fn shape_with(&mut self, fits: impl Fn(&Shape) -> bool) -> Option<Shape> {
        let shapes: Vec<Shape> =
            self.floats.iter().map(|(_, shape)| shape).filter(|shape| fits(shape)).cloned().collect();
        if shapes.is_empty() { None } else { Some(self.tape.pick(&shapes)) }
    }

    /// A function of every element, of what is kept to where it is defined and flat enough.
    fn elementwise(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let all: Vec<&'static FunctionDef> =
            functions::ALL.iter().copied().filter(|function| function.elementwise).collect();
        let function = self.tape.pick(&all);
        let (first, second) = self.two(shape, depth);
        let operands = match function.operands.len() {
            1 => {
                let x = if matches!(second, Expr::Number(_)) { first } else { self.float(shape, depth) };
                vec![guarded(function, x)]
            }
            2 => vec![first, second],
            _ => vec![first, second, self.either(shape, depth)],
        };
        let exponents = [1, 2, 3, 4, 5, 12].map(Arg::Int);
        let args: Vec<Value<'static>> = function.args.iter().map(|arg| argument(self.tape, arg, &exponents)).collect();
        Expr::Call(function, At(0), leak(args), leak(operands))
    }

    /// One of the user's functions, if there is one that fits.
    fn inlined(&mut self, shape: &Shape, depth: usize) -> Expr<'static> {
        let named = |act: &DrawnAct| act.act.name.is_some();
        let fits = |act: &DrawnAct| named(act) && (shape.rank() >= 2 || !act.needs_rows);
        let fitting: Vec<usize> = (0..self.acts.len()).filter(|&at| fits(&self.acts[at])).collect();
        if fitting.is_empty() {
            return self.leaf(shape);
        }
        let index = self.tape.pick(&fitting);
        self.normalizes |= self.acts[index].needs_rows;
        let mut operands = vec![self.float(shape, depth)];
        for _ in self.acts[index].act.extras {
            operands.push(self.either(shape, depth));
        }
        Expr::Inline(index, At(0), leak(operands))
    }
}

/// An activation of an expression.
pub fn apply(layer: &'static LayerDef, args: &[Arg], x: Expr<'static>) -> Expr<'static> {
    Expr::Apply(layer, At(0), leak(handmade::values(args)), leak(x))
}

/// `x x`
pub fn square(x: Expr<'static>) -> Expr<'static> {
    binary(BinaryOp::Mul, x, x)
}

/// What a function of one operand is applied to.
fn guarded(function: &FunctionDef, x: Expr<'static>) -> Expr<'static> {
    match function.name {
        "abs" | "erf" | "sign" => x,
        "ln" | "sqrt" | "rsqrt" => binary(BinaryOp::Add, square(x), Expr::Number(0.5)),
        "log1p" => square(x),
        "exp" | "expm1" => Expr::Neg(At(0), leak(square(x))),
        "square" | "pow" => apply(&layers::TANH, &[], x),
        other => panic!("say where {other} is defined and flat enough"),
    }
}
