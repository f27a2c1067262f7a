//! Loops of the user's own.

use gradloom_runtime::functions;
use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::network::{At, BinaryOp, Expr, Flow, Kind, Scan, Stage};
use gradloom_runtime::types::{Dim, Shape};

use super::bodies::{Body, path};
use super::expressions::apply;
use super::numbers::argument;
use crate::handmade::{self, binary, call, flow, leak};

/// What the body calls the element, the state and its number: the first is also the usual name of an input.
const NAMES: [&str; 3] = ["x", "h", "decay"];
/// What the lines of the body make.
const LINES: [&str; 2] = ["u", "v"];

impl<'t, 'n> Body<'t, 'n> {
    /// Lines that make a first state and lengths of a sequence, and the loop over it; each with its shape.
    pub(super) fn loop_of(&mut self, source: &'static str, x: &Shape) -> Vec<(Flow<'static>, Shape)> {
        let all: Vec<i64> = (1..x.rank() as i64).collect();
        let over = |function, axes: Vec<i64>| {
            call(function, &[Arg::Ints(leak(axes)), Arg::Flag(false)], vec![Expr::Name(source)])
        };
        let first = flow("first_0", vec![over(&functions::MEAN, vec![1])], Vec::new());
        let half = binary(BinaryOp::Mul, Expr::Number(0.5), over(&functions::SUM, all));
        let count = flow("count_0", vec![binary(BinaryOp::Add, half, Expr::Number(1.5))], Vec::new());
        let name = "loop_0";
        self.flow = Some(format!("{name}."));
        let (stage, y) = self.scan(x, &[format!("{name}.")], 1, Some(["first_0", "count_0"]));
        self.flow = None;
        let run = flow(name, vec![Expr::Name(source)], vec![stage]);
        vec![(first, x.without(&[1])), (count, Shape(vec![Dim::B])), (run, y)]
    }

    /// A loop over a sequence; the names are those of a first state of the shape of an element, and of lengths.
    pub(super) fn scan(
        &mut self,
        x: &Shape,
        prefixes: &[String],
        depth: usize,
        outside: Option<[&'static str; 2]>,
    ) -> (Stage<'static>, Shape) {
        let element = x.without(&[1]);
        let own_size = self.tape.chance(40).then(|| self.tape.pick(&[2, 3, 1]));
        let state = own_size.map_or(element.clone(), |n| Shape(vec![Dim::B, Dim::Fixed(n)]));
        let [last, reverse] = [(); 2].map(|()| self.tape.chance(40));
        let [initial, lengths] =
            outside.map_or([""; 2], |names| names.map(|name| if self.tape.chance(70) { name } else { "" }));
        let initial = if own_size.is_none() { initial } else { "" };
        let size = own_size.map_or(Arg::Word("auto"), |n| Arg::Int(n as u64));
        let args = [size, Arg::Flag(last), Arg::Flag(reverse), Arg::Path(initial), Arg::Path(lengths)];
        let args = Scan::ARGS.iter().zip(args).map(|(arg, value)| argument(self.tape, arg, &[value]));
        let args: Vec<_> = args.collect();

        let stage = self.named(Kind::Broken, "scan");
        let flow_prefix = self.flow.take();
        let at = |name: &str| -> Vec<String> {
            let own = prefixes.iter().map(|prefix| path(flow_prefix.as_deref(), prefix, &stage));
            own.map(|own| format!("{own}.{name}")).collect()
        };
        let [of_state, of_element] = LINES.map(|name| at(&format!("{name}.")));
        let of_next = at("");
        let around = self.in_loop.replace(self.scopes.len() + 1);
        self.loops += 1;
        let kept = self.within(|inner| inner.stages_to(&state, &state, &of_state, depth));
        let added = self.within(|inner| inner.stages_to(&element, &state, &of_element, depth));
        let [e, h, decay, u, v] = [NAMES[0], NAMES[1], NAMES[2], LINES[0], LINES[1]].map(Expr::Name);
        let bent = |x| apply(&layers::TANH, &[], x);
        let next = match self.tape.below(4) {
            0 if state.rank() == 2 => {
                let concat =
                    Stage { kind: Kind::Concat(handmade::axis(-1)), ..handmade::stage(&layers::TANH, &[], "concat1") };
                let wide = Shape(vec![Dim::B, Dim::Fixed(2 * state.0[1].factor())]);
                let (dense, _) = self.within(|inner| inner.dense_of(state.0[1].factor(), &wide, &of_next));
                flow("", vec![u, bent(v)], vec![concat, dense])
            }
            1 => flow("", vec![binary(BinaryOp::Add, binary(BinaryOp::Mul, decay, bent(u)), bent(v))], Vec::new()),
            2 if state == element => {
                let seen = binary(BinaryOp::Mul, bent(e), bent(v));
                flow("", vec![binary(BinaryOp::Add, seen, binary(BinaryOp::Mul, decay, bent(u)))], Vec::new())
            }
            _ => {
                let sum = binary(BinaryOp::Add, bent(u), binary(BinaryOp::Mul, decay, h));
                flow("", vec![binary(BinaryOp::Sub, sum, bent(v))], Vec::new())
            }
        };
        (self.in_loop, self.loops) = (around, self.loops - 1);
        self.flow = flow_prefix;
        self.know(prefixes, &stage, ".decay", &Shape::scalar());
        let lines = vec![
            Flow { stages: kept, ..flow(LINES[0], vec![h], Vec::new()) },
            Flow { stages: added, ..flow(LINES[1], vec![e], Vec::new()) },
            next,
        ];
        let start = self.tape.pick(&[0.5, -0.25, 0.0]);
        let scan = Scan {
            args: leak(args),
            element: NAMES[0],
            state: NAMES[1],
            numbers: leak([(NAMES[2], start)]),
            lines: leak(lines),
            at: At(0),
        };
        let y = match last {
            true => state,
            false => Shape([&x.0[..2], &state.0[1..]].concat()),
        };
        (Stage { kind: Kind::Scan(leak(scan)), ..stage }, y)
    }
}
