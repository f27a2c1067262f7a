//! Slips in declarations that are sound otherwise: each has to be refused, in the right words.

use gradloom_runtime::functions;
use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::network::{At, BinaryOp, Definition, Expr, Kind, Number, Outcome, Stage, Value};

use crate::handmade::{self, binary, call, leak};

/// A number that is calculated from a Rust constant.
fn number(value: Outcome, text: &'static str) -> Number<'static> {
    Number { value, text, at: At(0) }
}

/// What is wrong with a declaration, and the words for it.
pub fn slips(definition: &Definition<'static>) -> Vec<(Definition<'static>, &'static str)> {
    let n = Outcome::Int;
    let counts = [
        (number(n(0), "N"), "a size is an integer of at least 1, found `N` = 0"),
        (number(n(1).div(n(2)), "1 / N"), "a size is an integer of at least 1, found `1 / N` = 0"),
        (number(n(-3).div(n(2)), "-3 / N"), "a size is an integer of at least 1, found `-3 / N` = -1"),
        (number(n(3).mul(Outcome::Float(0.5)), "3 * N"), "a size is an integer of at least 1, found `3 * N` = 1.5"),
        (number(n(3).div(n(0)), "3 / N"), "`3 / N` divides by zero"),
        (number(n(i64::MAX).add(n(1)), "N + 1"), "`N + 1` overflows"),
        (number(n(1 << 41), "N"), "`N` is too large"),
        (number(n(10_001), "N"), "this network has more than 10000 stages"),
    ];
    let arguments = [
        (number(n(1).ratio(n(0)), "1 / N"), "`1 / N` divides by zero"),
        (number(n(3).ratio(n(2)), "3 / N"), "`p` of `Dropout` must be a number of at least 0"),
        (number(n(-1).ratio(n(1000)), "-1 / N"), "`p` of `Dropout` must be a number of at least 0"),
        (number(Outcome::Float(1e-50), "N"), "`N` is 0 in f32, whose least number above 0 is 1.4e-45"),
    ];
    let constants = [
        (f64::NAN, "a constant in an expression must be finite, found NaN"),
        (f64::NEG_INFINITY, "a constant in an expression must be finite, found -inf"),
        (1e39, "is beyond f32, whose largest number is 3.4e38"),
        (-3.5e38, "is beyond f32, whose largest number is 3.4e38"),
        (1e-46, "is 0 in f32, whose least number above 0 is 1.4e-45"),
    ];
    let own = leak([handmade::stage(&layers::PRELU, &[], "prelu1")]);
    let counts = counts.into_iter().map(|(count, words)| {
        let stage = Stage { kind: Kind::Repeat { count, body: own }, ..handmade::stage(&layers::PRELU, &[], "slip1") };
        (with_stage(definition, stage), words)
    });
    let arguments = arguments.into_iter().map(|(p, words)| {
        let kind = Kind::Layer(&layers::DROPOUT, leak([Value::Calculated(p), Value::Known(Arg::Flag(false))]));
        (with_stage(definition, Stage { kind, ..handmade::stage(&layers::DROPOUT, &[], "slip1") }), words)
    });
    let constants = constants.into_iter().map(|(x, words)| (with_term(definition, Expr::Constant(x, At(0))), words));
    let mean = |x| call(&functions::MEAN, &[], vec![x]);
    let stage = definition.body.iter().find(|stage| !stage.named);
    let terms = [
        Some((Expr::Weights(At(0)), "`weights` stands for the weights of all layers")),
        Some((mean(Expr::Path("nothing.here", At(0))), "unknown parameter `nothing.here`")),
        stage.map(|stage| (mean(Expr::Path(stage.segment, At(0))), "is a stage; write `as` and a name after it")),
        Some((binary(BinaryOp::Gt, Expr::Number(1.0), Expr::Number(0.0)), "does not apply to")),
        Some((Expr::Name(definition.outputs[0].name), "the loss must be a single number, found ")),
    ];
    let terms = terms.into_iter().flatten().map(|(term, words)| (with_term(definition, term), words));
    counts.chain(arguments).chain(constants).chain(terms).collect()
}

fn with_stage(of: &Definition<'static>, stage: Stage<'static>) -> Definition<'static> {
    let body = of.body.iter().map(copy).chain([stage]).collect::<Vec<_>>();
    Definition { body: leak(body), ..parts(of) }
}

fn with_term(of: &Definition<'static>, term: Expr<'static>) -> Definition<'static> {
    let loss = of.loss.as_ref().map(|loss| handmade::clause("loss", binary(BinaryOp::Add, loss.expr, term)));
    Definition { loss, ..parts(of) }
}

/// The same declaration.
fn parts(of: &Definition<'static>) -> Definition<'static> {
    let loss = of.loss.as_ref().map(|loss| handmade::clause("loss", loss.expr));
    let Definition {
        name,
        inputs,
        outputs,
        targets,
        acts,
        scalars,
        layers,
        body,
        flows,
        metrics,
        places,
        assembled,
        ..
    } = *of;
    Definition { name, inputs, outputs, targets, acts, scalars, layers, body, flows, loss, metrics, places, assembled }
}

fn copy(stage: &Stage<'static>) -> Stage<'static> {
    let kind = match stage.kind {
        Kind::Layer(layer, args) => Kind::Layer(layer, args),
        Kind::Act(index, starts) => Kind::Act(index, starts),
        Kind::Block(body) => Kind::Block(body),
        Kind::Residual { body, skip } => Kind::Residual { body, skip },
        Kind::Repeat { count, body } => Kind::Repeat { count, body },
        Kind::Branches { bodies } => Kind::Branches { bodies },
        Kind::Scan(scan) => Kind::Scan(scan),
        Kind::Shared(index) => Kind::Shared(index),
        Kind::Concat(axis) => Kind::Concat(axis),
        Kind::Elsewhere | Kind::Broken => Kind::Broken,
    };
    Stage { kind, ..*stage }
}
