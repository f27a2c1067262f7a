//! The lines that a random network is written as: values taken apart, joined, reduced, turned and disturbed by noise, and a
//! layer used twice.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::initializers::{AUTO, NORMAL};
use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::network::{At, BinaryOp, Expr, Flow, Kind, Port, Scan, Span, Split, Stage};
use gradloom_runtime::types::{DType, Dim};
use proptest::prelude::*;

use crate::handmade::{self, binary, call, flow, leak, number};

/// What follows the stages of a network that is written as lines.
#[derive(Clone, Debug)]
pub struct Flows {
    /// Whether the layer that is used twice is a body.
    pub body: bool,
    /// What is made of each row.
    pub reduction: usize,
    /// Where the part that is taken begins, as a share of a row.
    pub from: f64,
    /// The columns of a second input.
    pub aside: Option<usize>,
    /// How many classes there are of an input of ids.
    pub classes: Option<u64>,
    /// Whether there is a second output.
    pub second: bool,
}

/// Lines that are drawn.
#[derive(Default)]
pub struct Lines {
    pub layers: Vec<Stage<'static>>,
    pub flows: Vec<Flow<'static>>,
    /// The inputs and outputs beside the first.
    pub inputs: Vec<Port<'static>>,
    pub outputs: Vec<Port<'static>>,
}

/// The names of values that all have a column for each that comes from the stages.
pub const VALUES: [&str; 3] = ["once", "twice", "turned"];
/// The weights of the layer that is used twice.
pub const SHARED: [&str; 2] = ["shared.weight", "shared.dense1.weight"];

const REDUCTIONS: [&FunctionDef; 5] =
    [&functions::MEAN, &functions::SUM, &functions::MAX, &functions::MIN, &functions::VAR];

pub fn flows() -> impl Strategy<Value = Flows> {
    let inputs = (prop::option::of(1..=9usize), prop::option::of(1..=6u64));
    let drawn = (any::<bool>(), 0..REDUCTIONS.len(), 0.0..1.0, inputs, any::<bool>());
    drawn.prop_map(|(body, reduction, from, (aside, classes), second)| Flows {
        body,
        reduction,
        from,
        aside,
        classes,
        second,
    })
}

impl Flows {
    /// The lines of a network: `stages` give rows of so many columns, of which `last` makes the output.
    pub fn lines(&self, stages: Vec<Stage<'static>>, last: Stage<'static>, width: usize) -> Lines {
        let rows = |columns: &[i64]| Arg::Ints(leak(columns.to_vec()));
        let named = |name| Expr::Name(name);
        let shared = || {
            let used = handmade::stage(&layers::TANH, &[], "shared1");
            vec![Stage { kind: Kind::Shared(0), ..used }]
        };
        let halves = if width.is_multiple_of(2) { 2 } else { 1 };
        let mut flows = vec![
            flow("u", vec![named("x")], stages),
            flow("once", vec![named("u")], shared()),
            flow("twice", vec![binary(BinaryOp::Mul, Expr::Number(-0.5), named("once"))], shared()),
        ];

        // Rows are columns for a while.
        let axis = Arg::Ints(&[-1]);
        let level = call(REDUCTIONS[self.reduction], &[axis, Arg::Flag(true)], vec![named("once")]);
        let level = binary(BinaryOp::Mul, Expr::Number(0.25), level);
        let noisy = binary(BinaryOp::Add, binary(BinaryOp::Sub, named("u"), named("level")), named("noise"));
        let apart = call(&functions::RESHAPE, &[rows(&[halves as i64, (width / halves) as i64])], vec![noisy]);
        let normal = handmade::stage(&layers::NORMAL_NOISE, &[Arg::Float(0.25)], "normal1");
        let turned = call(&functions::TRANSPOSE, &[Arg::Ints(&[])], vec![named("crossed")]);
        let turned = call(&functions::RESHAPE, &[rows(&[width as i64])], vec![turned]);
        let looking = [Arg::Int(1), Arg::Word("heads"), Arg::Float(0.0), Arg::Flag(self.body), Arg::Init(&AUTO, None)];
        let crossed = handmade::stage(&layers::CROSS_ATTENTION, &looking, "cross_attention1");
        let memory = binary(BinaryOp::Add, named("apart"), named("apart"));
        let placed = match self.second {
            true => handmade::stage(&layers::POSITIONS, &[Arg::Word("sinusoidal")], "positions1"),
            false => handmade::stage(&layers::POSITIONAL, &[Arg::Init(&NORMAL, Some(0.5))], "positional1"),
        };
        flows.extend([
            flow("level", vec![level], vec![]),
            flow("noise", vec![named("u")], vec![normal]),
            flow("apart", vec![apart], vec![]),
            flow("placed", vec![named("apart")], vec![placed]),
            flow("crossed", vec![named("placed"), memory], vec![crossed]),
            flow("turned", vec![turned], vec![]),
            flow("carried", vec![named("apart")], vec![self.carried(width / halves)]),
        ]);

        let from = (self.from * width as f64) as usize;
        let spans = leak([Span::All, Span::Range((from > 0).then(|| number(from)), None)]);
        flows.push(flow("part", vec![Expr::Part(At(0), leak(named("twice")), spans)], vec![]));
        let mut joined = vec![named("turned"), named("part"), named("carried")];
        if halves == 2 {
            let split = Split { names: &["first", "second"], axis: handmade::axis(-1), at: At(0) };
            flows.push(Flow { split: Some(split), ..flow("first", vec![named("once")], vec![]) });
            joined.push(binary(BinaryOp::Mul, named("first"), named("second")));
        }
        joined.extend(self.aside.map(|_| named("aside")));
        if let Some(classes) = self.classes {
            let args = [Arg::Int(classes), Arg::Int(3), Arg::Init(&NORMAL, Some(0.5))];
            flows.push(flow(
                "known",
                vec![named("ids")],
                vec![handmade::stage(&layers::EMBEDDING, &args, "embedding1")],
            ));
            joined.push(named("known"));
        }
        let concat = Stage { kind: Kind::Concat(handmade::axis(-1)), ..handmade::stage(&layers::TANH, &[], "concat1") };
        flows.push(flow("out", joined, vec![concat, Stage { named: true, ..last }]));
        if self.second {
            flows.push(flow("side", vec![binary(BinaryOp::Add, named("level"), named("part"))], vec![]));
        }

        let ids = self.classes.map(|_| handmade::port_of(DType::U16, "ids", &[Dim::B]));
        let port = |name, n| handmade::port(name, &[Dim::B, Dim::Fixed(n)]);
        Lines {
            layers: vec![self.shared(width)],
            flows,
            inputs: self.aside.map(|n| port("aside", n)).into_iter().chain(ids).collect(),
            outputs: self.second.then(|| port("side", width - from)).into_iter().collect(),
        }
    }

    /// A loop over rows of so many columns, of which the last state is left.
    fn carried(&self, n: usize) -> Stage<'static> {
        let [x, h, keep] = ["x", "h", "keep"].map(Expr::Name);
        let kept = binary(BinaryOp::Mul, keep, h);
        let bent = |x| Expr::Apply(&layers::TANH, At(0), &[], leak(x));
        let mut lines = Vec::new();
        let next = match self.second {
            true => binary(BinaryOp::Add, kept, bent(x)),
            false => {
                let args = [Arg::Int(n as u64), Arg::Flag(true), Arg::Init(&AUTO, None)];
                let concat = Kind::Concat(handmade::axis(-1));
                let concat = Stage { kind: concat, ..handmade::stage(&layers::TANH, &[], "concat1") };
                lines.push(flow("u", vec![x, h], vec![concat, handmade::stage(&layers::DENSE, &args, "dense1")]));
                binary(BinaryOp::Sub, kept, bent(Expr::Name("u")))
            }
        };
        lines.push(flow("", vec![next], vec![]));
        let args = [Arg::Word("auto"), Arg::Flag(true), Arg::Flag(self.body), Arg::Path(""), Arg::Path("")];
        let scan = Scan {
            args: leak(handmade::values(&args)),
            element: "x",
            state: "h",
            numbers: &[("keep", 0.5)],
            lines: leak(lines),
            at: At(0),
        };
        Stage { kind: Kind::Scan(leak(scan)), ..handmade::stage(&layers::TANH, &[], "scan1") }
    }

    /// The weights of the layer that is used twice.
    pub fn weight(&self) -> &'static str {
        SHARED[usize::from(self.body)]
    }

    fn shared(&self, width: usize) -> Stage<'static> {
        let args = [Arg::Int(width as u64), Arg::Flag(true), Arg::Init(&AUTO, None)];
        let dense = handmade::stage(&layers::DENSE, &args, "dense1");
        if !self.body {
            return Stage { segment: "shared", ..dense };
        }
        let body = vec![dense, handmade::stage(&layers::PRELU, &[], "prelu1")];
        Stage { kind: Kind::Block(leak(body)), ..handmade::stage(&layers::TANH, &[], "shared") }
    }
}
