//! Declarations drawn at random, from all of the language, and made smaller where something is wrong with one.

mod bodies;
mod conditions;
mod criteria;
mod expressions;
mod reductions;
mod sweep;
mod tape;

use gradloom_runtime::functions;
use gradloom_runtime::network::{Act, BinaryOp, Definition, Expr, Port};
use gradloom_runtime::types::{DType, Dim, Shape};

use crate::draw::Target;
use crate::handmade::{self, binary, leak};
use bodies::Body;
use expressions::{Context, ShapedId};
use tape::Tape;

pub use sweep::{sweep, words};

/// What declarations are drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Whether losses and metrics have `if`.
    pub branches: bool,
    /// Whether there are functions of the user's own, and whether they have `if`.
    pub acts: Option<bool>,
    /// Whether the loss is one criterion of a simple network.
    pub criterion: bool,
}

/// A declaration, and how many rows to try it with.
pub struct Declared {
    pub definition: &'static Definition<'static>,
    pub rows: usize,
    pub seed: u64,
}

/// The declaration that a tape stands for.
pub fn declared(family: Family, numbers: &[u32]) -> Declared {
    let mut tape = Tape::new(numbers);
    let seed = tape.below(1 << 20) as u64;
    let rows = tape.pick(&[3, 2, 5, 1, 4, 7, 70]);
    let input = input(&mut tape);
    let acts =
        family.acts.map_or_else(|| vec![expressions::scale()], |branches| expressions::acts(&mut tape, branches));

    let mut body = Body::new(&mut tape, &acts);
    let stages = body.outermost(&input, !family.criterion);
    let Body { known, output, has_norm, has_dense, .. } = body;
    let (first, _) = known[0];

    let mut context = Context::new(&mut tape, &acts, family.branches);
    context.reduces = true;
    context.has_weights = has_dense;
    let names = [("x", &input), ("out", &output)];
    context.floats.extend(names.map(|(name, shape)| (Expr::Name(name), shape.clone())));
    context.floats.extend(known);
    let targets = targets(&output);
    for target in &targets {
        let expr = Expr::Name(target.name);
        match target.dtype {
            DType::F32 => context.floats.push((expr, target.known().shape)),
            _ => context.ids.push(ShapedId { expr, shape: target.known().shape }),
        }
    }
    let drawn = if family.criterion { context.criterion(1) } else { context.loss() };
    // A loss without a gradient is refused.
    let trained = handmade::call(&functions::MEAN, &[], vec![first]);
    let loss = binary(BinaryOp::Add, drawn, binary(BinaryOp::Mul, Expr::Number(0.125), trained));
    let mut metrics = Vec::new();
    for name in ["first", "second"] {
        if context.tape.chance(50) {
            metrics.push(handmade::clause(name, context.scalar(3)));
        }
    }
    let used = context.used.clone();
    let definition = Definition {
        name: "Random",
        inputs: leak([handmade::port("x", &input.0)]),
        outputs: leak([handmade::port("out", &output.0)]),
        targets: leak(targets.into_iter().filter(|target| used.contains(&target.name)).collect::<Vec<Port<'_>>>()),
        acts: leak(acts.into_iter().map(|act| act.act).collect::<Vec<Act<'_>>>()),
        body: leak(stages),
        loss: Some(handmade::clause("loss", loss)),
        metrics: leak(metrics),
        places: &[],
    };
    Declared { definition: leak(definition), rows: if has_norm { rows.max(3) } else { rows }, seed }
}

/// Of one to four axes.
fn input(tape: &mut Tape<'_>) -> Shape {
    let rank = tape.pick(&[2, 1, 3, 2, 4, 2, 3]);
    let extents = (1..rank).map(|_| Dim::Fixed(tape.pick(&[2, 3, 1, 4])));
    Shape([Dim::B].into_iter().chain(extents).collect())
}

/// Everything that an output of this shape may be compared with.
fn targets(output: &Shape) -> Vec<Port<'static>> {
    let floats = [Target::Values, Target::Signs, Target::Labels, Target::Probabilities];
    let mut targets: Vec<Port<'static>> =
        floats.into_iter().map(|target| handmade::port(target.name(), &output.0)).collect();
    targets.push(handmade::port("row", &[Dim::B]));
    if output.rank() >= 2 {
        targets.push(handmade::port(Target::Distribution.name(), &output.0));
        let classes = &output.0[..output.rank() - 1];
        targets.push(handmade::port_of(DType::U8, Target::Classes.name(), classes));
        targets.push(handmade::port_of(DType::U32, "others", classes));
    }
    targets
}
