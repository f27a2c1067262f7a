//! Declarations drawn at random, from all of the language, and made smaller where something is wrong with one.

mod bodies;
mod conditions;
mod criteria;
mod edges;
mod expressions;
mod flows;
mod images;
mod loops;
mod names;
mod numbers;
mod reductions;
mod sequences;
mod slips;
mod sweep;
mod tape;

use std::collections::HashSet;

use gradloom_runtime::functions;
use gradloom_runtime::network::{Act, At, BinaryOp, Definition, Expr, Extent, Port};
use gradloom_runtime::types::{DType, Dim, Shape};

use crate::draw::Target;
use crate::handmade::{self, binary, leak};
use bodies::Body;
use expressions::{Context, ShapedId};
use names::SourcePlace;
use numbers::size;
use tape::Tape;

pub use sweep::{edges_left_out, slips, sweep, words};

/// What declarations are drawn from.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Whether losses and metrics have `if`.
    pub branches: bool,
    /// Whether there are functions of the user's own, and whether they have `if`.
    pub acts: Option<bool>,
    /// Whether the loss is one criterion of a simple network.
    pub criterion: bool,
    /// Whether the body is made of named flows, from one input or two to one output or two.
    pub flows: bool,
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

    // Of the last axis there is nothing left where the first stage makes rows of ids.
    let of_ids = !family.flows && input.rank() < 4 && tape.chance(12);
    let classes = of_ids.then(|| tape.pick(&[3, 1, 5]));
    // Bytes become numbers by the first stage.
    let of_bytes = !family.flows && !of_ids && tape.chance(12);
    let dtype = match () {
        () if of_ids => tape.pick(&[DType::U8, DType::U16, DType::U32]),
        () if of_bytes => DType::U8,
        () => DType::F32,
    };

    let mut taken = HashSet::new();
    let names = [(SourcePlace::Input, "x"), (SourcePlace::Output, "out")]
        .map(|(place, usual)| place.name(&mut tape, usual, &mut taken));
    let [x, out] = names;

    let several = family.flows && tape.chance(60);
    let more = family.flows && tape.chance(60);
    let inputs = [(x, input.clone()), ("second_input", input.clone())];
    let inputs = &inputs[..if several { 2 } else { 1 }];
    let outs = [out, "second_output"];
    let mut body = Body::new(&mut tape, &acts, taken);
    let (mut stages, mut layers, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let mut outputs = Vec::new();
    if family.flows {
        let drawn = body.flows(inputs, &outs[..if more { 2 } else { 1 }]);
        (layers, lines, outputs) = (drawn.layers, drawn.flows, drawn.outputs);
    } else {
        stages = body.outermost(&input, classes, of_bytes, !family.criterion);
    }
    let Body { known, output, has_norm, has_dense, mut scopes, .. } = body;
    let (first, _) = known[0];
    let mut taken = scopes.pop().expect("the outermost body has names").taken;
    let targets = targets(&mut tape, &output, &mut taken);
    if outputs.is_empty() {
        outputs.push((out, output.clone()));
    }
    let mut ends = |dtype, of: &[(&'static str, Shape)]| -> Vec<Port<'static>> {
        of.iter().map(|(name, shape)| port(&mut tape, dtype, name, &shape.0)).collect()
    };
    let (input_ports, output_ports) = (ends(dtype, inputs), ends(DType::F32, &outputs));

    let mut context = Context::new(&mut tape, &acts, family.branches);
    context.reduces = true;
    context.has_weights = has_dense;
    context.values = targets[0].name;
    let of_numbers = if dtype == DType::F32 { inputs } else { &[] };
    context.floats.extend(of_numbers.iter().chain(&outputs).map(|(name, shape)| (Expr::Name(name), shape.clone())));
    context.floats.extend(known);
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
    let (mut metrics, mut taken) = (Vec::new(), HashSet::new());
    for usual in ["first", "second"] {
        if context.tape.chance(50) {
            let name = SourcePlace::Metric.name(context.tape, usual, &mut taken);
            metrics.push(handmade::clause(name, context.scalar(3)));
        }
    }
    let used = context.used.clone();
    let definition = Definition {
        name: "Random",
        inputs: leak(input_ports),
        outputs: leak(output_ports),
        targets: leak(targets.into_iter().filter(|target| used.contains(&target.name)).collect::<Vec<Port<'_>>>()),
        acts: leak(acts.into_iter().map(|act| act.act).collect::<Vec<Act<'_>>>()),
        scalars: &[],
        layers: leak(layers),
        flows: leak(lines),
        body: leak(stages),
        loss: Some(handmade::clause("loss", loss)),
        metrics: leak(metrics),
        places: &[],
        assembled: None,
    };
    Declared { definition: leak(definition), rows: if has_norm { rows.max(3) } else { rows }, seed }
}

/// The shape of an expression of these values that was drawn along axes.
fn shape_of(expr: &Expr<'static>, values: &[(&'static str, Shape)]) -> Shape {
    let rows = 2;
    let names = values.iter().map(|(name, shape)| {
        let extents = shape.at(rows);
        let zeros = vec![0.0; extents.iter().product()];
        (*name, crate::oracle::array::Value::Floats(crate::oracle::array::Array::new(&extents, zeros)))
    });
    let found = crate::oracle::shape_of(expr, &names.collect::<Vec<_>>());
    Shape([Dim::B].into_iter().chain(found[1..].iter().map(|&n| Dim::Fixed(n))).collect())
}

/// Of one to four axes.
fn input(tape: &mut Tape<'_>) -> Shape {
    let rank = tape.pick(&[2, 1, 4, 2, 3, 4, 2, 3]);
    let extents = (1..rank).map(|_| Dim::Fixed(tape.pick(&[2, 3, 1, 4])));
    Shape([Dim::B].into_iter().chain(extents).collect())
}

/// A port whose extents may be written as quotients.
fn port(tape: &mut Tape<'_>, dtype: DType, name: &'static str, dims: &[Dim]) -> Port<'static> {
    let extents = dims.iter().map(|dim| match *dim {
        Dim::Batch(_) => Extent::Batch(At(0)),
        Dim::Fixed(n) => Extent::Size(size(tape, n)),
    });
    let dims = leak(extents.collect::<Vec<_>>());
    Port { dims, ..handmade::port_of(dtype, name, &[]) }
}

/// Everything that an output of this shape may be compared with, first what may be any numbers.
fn targets(tape: &mut Tape<'_>, output: &Shape, taken: &mut HashSet<String>) -> Vec<Port<'static>> {
    let mut own = |usual: &'static str, tape: &mut Tape<'_>| SourcePlace::Target.name(tape, usual, taken);
    let values = own(Target::Values.name(), tape);
    let named = [Target::Signs, Target::Labels, Target::Probabilities].map(Target::name);
    let mut targets: Vec<Port<'static>> =
        [values].into_iter().chain(named).map(|name| port(tape, DType::F32, name, &output.0)).collect();
    let row = own("row", tape);
    targets.push(port(tape, DType::F32, row, &[Dim::B]));
    if output.rank() >= 2 {
        targets.push(port(tape, DType::F32, Target::Distribution.name(), &output.0));
        let classes = &output.0[..output.rank() - 1];
        for (dtype, usual) in [(DType::U8, Target::Classes.name()), (DType::U32, "others")] {
            let name = own(usual, tape);
            targets.push(port(tape, dtype, name, classes));
        }
    }
    targets
}
