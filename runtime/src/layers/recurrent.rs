//! `Rnn`, `Gru` and `Lstm`: a state that goes through a sequence, position by position.
//!
//! All three are one loop. What the elements give to the gates needs no state, so it is one product over the whole sequence; at each
//! step the state's own product is added, and the cell makes the next state of both. Gates stand in the order of PyTorch.

use super::initializers::{AUTO, ORTHOGONAL, Weights};
use super::positions::sequence;
use super::steps::{Taken, ended, lengths_of, positions_first, states, without_padding};
use super::{
    Arg, ArgDef, ArgKind, Gain, LayerDef, Layout, Misfit, Named, ParamDef, Scope, Takes, flag, init, int, path, word,
};
use crate::init::Init;
use crate::ir::{Builder, DotAxes, NodeId, SlotKind};
use crate::types::{Dim, Shape};

const SIZE: ArgDef =
    ArgDef { name: "n", kind: ArgKind::Size, default: None, doc: "how many numbers the layer gives at a position" };
const LAST: ArgDef = ArgDef {
    name: "last",
    kind: ArgKind::Flag,
    default: Some(Arg::Flag(false)),
    doc: "whether to give what is there after the last step alone",
};
const REVERSE: ArgDef = ArgDef {
    name: "reverse",
    kind: ArgKind::Flag,
    default: Some(Arg::Flag(false)),
    doc: "whether to begin with the last position",
};
const BIAS: ArgDef =
    ArgDef { name: "bias", kind: ArgKind::Flag, default: Some(Arg::Flag(true)), doc: "whether to add biases" };
const INIT: ArgDef = ArgDef {
    name: "init",
    kind: ArgKind::Init,
    default: Some(Arg::Init(&AUTO, None)),
    doc: "how the weights of the input start",
};
const RECURRENT: ArgDef = ArgDef {
    name: "recurrent_init",
    kind: ArgKind::Init,
    default: Some(Arg::Init(&ORTHOGONAL, Some(1.0))),
    doc: "how the weights of the state start",
};
const LENGTHS: ArgDef = ArgDef {
    name: "lengths",
    kind: ArgKind::Value(Named::Lengths),
    default: Some(Arg::Path("")),
    doc: "how many positions each row has",
};

const fn initial(state: Named) -> ArgDef {
    ArgDef {
        name: "initial",
        kind: ArgKind::Value(state),
        default: Some(Arg::Path("")),
        doc: "the state before the first step",
    }
}

/// A state that each step mixes with the element and bends.
///
/// - Value: `h_t = tanh(x_t W + b + h_(t-1) U + c)` for `t` from 0 to `T - 1`, or with `reverse = true` from `T - 1` to 0. The first
///   state is zero, or the value that `initial` names. With `lengths = n`, a value `[B]`, positions from `n` on leave the state
///   as it is, and give zeros. With `last = true` the layer gives the state after the last step alone
/// - Shapes: `f32[B, T, in] -> f32[B, T, n]`, or `f32[B, n]` with `last = true`
/// - Argument `n`: how many numbers the layer gives at a position; an integer of at least 1
/// - Argument `activation = tanh`: what bends the sum; `tanh` or `relu`
/// - Argument `last = false`: whether to give what is there after the last step alone; `true` or `false`
/// - Argument `reverse = false`: whether to begin with the last position; `true` or `false`
/// - Argument `bias = true`: whether to add biases; `true` or `false`
/// - Argument `init = auto`: how the weights of the input start; an initializer
/// - Argument `recurrent_init = orthogonal(1.0)`: how the weights of the state start; an initializer
/// - Argument `initial = none`: the state before the first step; the name of a value
/// - Argument `lengths = none`: how many positions each row has; the name of a value
/// - Parameters: `input.weight [in, n]` and `recurrent.weight [n, n]`, the transposes of `weight_ih_l0` and `weight_hh_l0` of
///   PyTorch's `RNN`; `input.bias [n]` and `recurrent.bias [n]`, zero, unless `bias = false`
/// - Gradient: through all steps, which shrinks or grows with each of them
/// - Source: Elman 1990; Werbos 1990 for the gradient
pub const RNN: LayerDef = LayerDef {
    name: "Rnn",
    item: "RNN",
    stem: "rnn",
    args: &[
        SIZE,
        ArgDef {
            name: "activation",
            kind: ArgKind::Word(&["tanh", "relu"]),
            default: Some(Arg::Word("tanh")),
            doc: "what bends the sum",
        },
        LAST,
        REVERSE,
        BIAS,
        INIT,
        RECURRENT,
        initial(Named::State(|args| int(args, 0))),
        LENGTHS,
    ],
    shape: |x, args| shape(x, int(args, 0), flag(args, 2)),
    params: |x, args, _| params(x, args, 1, [4, 5, 6]),
    lower: |scope, x| {
        let relu = word(scope.args, 1) == "relu";
        let step = Step { gates: 1, states: 1, separate: false };
        let [last, reverse, biased] = [2, 3, 4].map(|position| flag(scope.args, position));
        run(scope, x, step, biased, reverse, |b, x, own, _| {
            let sum = b.add(x, own);
            match relu {
                true => {
                    let zero = b.constant_like(0.0, sum);
                    vec![b.max(zero, sum)]
                }
                false => vec![b.tanh(sum)],
            }
        })
        .given(scope, 1, last)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |args| goes_on(args, 3, [7, 8]),
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// A state that is kept or replaced, number by number, as two gates say.
///
/// - Value: with `r`, `z` and `m` the three parts of `x_t W + b`, and `r'`, `z'` and `m'` those of `h_(t-1) U + c`:
///   `r = sigmoid(r + r')`, `z = sigmoid(z + z')`, `m = tanh(m + r m')`, `h_t = (1 - z) m + z h_(t-1)`. `initial`, `lengths`,
///   `reverse` and `last` are those of `Rnn`
/// - Shapes: `f32[B, T, in] -> f32[B, T, n]`, or `f32[B, n]` with `last = true`
/// - Argument `n`: how many numbers the layer gives at a position; an integer of at least 1
/// - Argument `last = false`: whether to give what is there after the last step alone; `true` or `false`
/// - Argument `reverse = false`: whether to begin with the last position; `true` or `false`
/// - Argument `bias = true`: whether to add biases; `true` or `false`
/// - Argument `init = auto`: how the weights of the input start; an initializer
/// - Argument `recurrent_init = orthogonal(1.0)`: how the weights of the state start; an initializer
/// - Argument `initial = none`: the state before the first step; the name of a value
/// - Argument `lengths = none`: how many positions each row has; the name of a value
/// - Parameters: `input.weight [in, 3 n]` and `recurrent.weight [n, 3 n]`, the transposes of `weight_ih_l0` and `weight_hh_l0` of
///   PyTorch's `GRU`; `input.bias [3 n]` and `recurrent.bias [3 n]`, zero, unless `bias = false`
/// - Gradient: through all steps
/// - Source: Cho et al. 2014, section 2.3, with the reset gate after the product as in cuDNN
pub const GRU: LayerDef = LayerDef {
    name: "Gru",
    item: "GRU",
    stem: "gru",
    args: &[SIZE, LAST, REVERSE, BIAS, INIT, RECURRENT, initial(Named::State(|args| int(args, 0))), LENGTHS],
    shape: |x, args| shape(x, int(args, 0), flag(args, 1)),
    params: |x, args, _| params(x, args, 3, [3, 4, 5]),
    lower: |scope, x| {
        let step = Step { gates: 3, states: 1, separate: true };
        let [last, reverse, biased] = [1, 2, 3].map(|position| flag(scope.args, position));
        run(scope, x, step, biased, reverse, |b, x, own, state| {
            let n = b.shape(state).0[1].factor();
            let [x, own] = [x, own].map(|all| [0, 1, 2].map(|gate| b.slice(all, 1, gate * n, n, 1)));
            let [reset, keep] = [0, 1].map(|gate| {
                let sum = b.add(x[gate], own[gate]);
                b.sigmoid(sum)
            });
            let left = b.mul(reset, own[2]);
            let sum = b.add(x[2], left);
            let new = b.tanh(sum);
            // (1 - z) m + z h
            let apart = b.sub(state, new);
            let kept = b.mul(keep, apart);
            vec![b.add(new, kept)]
        })
        .given(scope, 1, last)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |args| goes_on(args, 2, [6, 7]),
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// A cell that keeps what it is told to, and a state that shows of it what it is told to.
///
/// - Value: with `i`, `f`, `g` and `o` the four parts of `x_t W + b + h_(t-1) U + c`:
///   `c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g)` and `h_t = sigmoid(o) tanh(c_t)`. The layer gives `h`; with `cell = true`, `h`
///   and after it `c`. The state that `initial` names is `h` and after it `c`, `[B, 2 n]`. `lengths`, `reverse` and `last`
///   are those of `Rnn`
/// - Shapes: `f32[B, T, in] -> f32[B, T, n]`, or `f32[B, n]` with `last = true`; with `cell = true` of `2 n` numbers
/// - Argument `n`: how many numbers the layer gives at a position; an integer of at least 1
/// - Argument `last = false`: whether to give what is there after the last step alone; `true` or `false`
/// - Argument `reverse = false`: whether to begin with the last position; `true` or `false`
/// - Argument `bias = true`: whether to add biases; `true` or `false`
/// - Argument `init = auto`: how the weights of the input start; an initializer
/// - Argument `recurrent_init = orthogonal(1.0)`: how the weights of the state start; an initializer
/// - Argument `initial = none`: the state before the first step; the name of a value
/// - Argument `lengths = none`: how many positions each row has; the name of a value
/// - Argument `cell = false`: whether to give the cell after the state; `true` or `false`
/// - Parameters: `input.weight [in, 4 n]` and `recurrent.weight [n, 4 n]`, the transposes of `weight_ih_l0` and `weight_hh_l0` of
///   PyTorch's `LSTM`; `input.bias [4 n]`, 1 for `f`, which keeps the cell at first, and zero for all others, and
///   `recurrent.bias [4 n]`, zero, unless `bias = false`
/// - Gradient: through all steps
/// - Source: Hochreiter & Schmidhuber 1997; Gers et al. 2000 for `f`; Jozefowicz et al. 2015, section 2.2, for its bias
pub const LSTM: LayerDef = LayerDef {
    name: "Lstm",
    item: "LSTM",
    stem: "lstm",
    args: &[
        SIZE,
        LAST,
        REVERSE,
        BIAS,
        INIT,
        RECURRENT,
        initial(Named::State(|args| int(args, 0).saturating_mul(2))),
        LENGTHS,
        ArgDef {
            name: "cell",
            kind: ArgKind::Flag,
            default: Some(Arg::Flag(false)),
            doc: "whether to give the cell after the state",
        },
    ],
    shape: |x, args| shape(x, int(args, 0).saturating_mul(if flag(args, 8) { 2 } else { 1 }), flag(args, 1)),
    params: |x, args, _| {
        let mut params = params(x, args, 4, [3, 4, 5]);
        let n = int(args, 0);
        let bias = params.iter_mut().find(|param| param.name == "input.bias");
        bias.into_iter().for_each(|bias| bias.init = Init::Part { from: n, len: n, value: 1.0 });
        params
    },
    lower: |scope, x| {
        let step = Step { gates: 4, states: 2, separate: false };
        let [last, reverse, biased] = [1, 2, 3].map(|position| flag(scope.args, position));
        let given = if flag(scope.args, 8) { 2 } else { 1 };
        run(scope, x, step, biased, reverse, |b, x, own, state| {
            let sum = b.add(x, own);
            let n = b.shape(state).0[1].factor() / 2;
            let [input, forget, new, show] = [0, 1, 2, 3].map(|gate| b.slice(sum, 1, gate * n, n, 1));
            let cell = b.slice(state, 1, n, n, 1);
            let [input, forget, show] = [input, forget, show].map(|gate| b.sigmoid(gate));
            let new = b.tanh(new);
            let (kept, added) = (b.mul(forget, cell), b.mul(input, new));
            let cell = b.add(kept, added);
            let bent = b.tanh(cell);
            vec![b.mul(show, bent), cell]
        })
        .given(scope, given, last)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |args| goes_on(args, 2, [6, 7]),
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

fn shape(x: &Shape, n: usize, last: bool) -> Result<Shape, Misfit> {
    let [positions, _] = sequence(x)?;
    let row = [Dim::Fixed(n)];
    Ok(Shape(if last { vec![x.0[0], row[0]] } else { vec![x.0[0], Dim::Fixed(positions), row[0]] }))
}

/// The parameters of so many gates, where `[bias, init, recurrent_init]` are among the arguments.
fn params(x: &Shape, args: &[Arg], gates: usize, [bias, first, recurrent]: [usize; 3]) -> Vec<ParamDef> {
    let (inputs, n) = (x.0.last().map_or(1, |dim| dim.factor()), int(args, 0));
    let width = n.saturating_mul(gates);
    // Each gate is a layer of its own.
    let weights = |fan_in| Weights { fan_in, fan_out: n, rows: fan_in, next: Gain::Xavier };
    let mut params = vec![
        ParamDef::new("input.weight", vec![inputs, width], init(args, first, &weights(inputs)), SlotKind::Weight),
        ParamDef::new("recurrent.weight", vec![n, width], init(args, recurrent, &weights(n)), SlotKind::Weight),
    ];
    if flag(args, bias) {
        let bias = |name| ParamDef::new(name, vec![width], Init::Constant(0.0), SlotKind::Parameter);
        params.extend([bias("input.bias"), bias("recurrent.bias")]);
    }
    params
}

/// Whether a position needs nothing but the state before it, where `reverse` and `[initial, lengths]` are among the arguments.
fn goes_on(args: &[Arg], reverse: usize, named: [usize; 2]) -> bool {
    !flag(args, reverse) && named.into_iter().all(|position| path(args, position).is_none())
}

/// What the cells of the three layers have different.
struct Step {
    /// How many products of a state's size there are.
    gates: usize,
    /// Of how many parts a state consists.
    states: usize,
    /// Whether the cell needs the state's product, biases included, apart from that of the element.
    separate: bool,
}

/// A loop that has run.
struct Ran {
    /// All states, the first one included, `[T + 1, B, states n]`.
    history: NodeId,
    reverse: bool,
    n: usize,
    /// `f32[B]`: how many positions each row has; none if it has all.
    lengths: Option<NodeId>,
}

/// Runs a cell over `x`: from the projections of the element and of the state, and the state, the parts of the next one.
fn run(
    scope: &mut Scope<'_>,
    x: NodeId,
    step: Step,
    biased: bool,
    reverse: bool,
    cell: impl Fn(&mut Builder, NodeId, NodeId, NodeId) -> Vec<NodeId>,
) -> Ran {
    let n = int(scope.args, 0);
    let (initial, lengths) = (scope.value("initial"), scope.value("lengths"));
    let [input, recurrent] = ["input.weight", "recurrent.weight"].map(|name| scope.param(name));
    let biases = biased.then(|| ["input.bias", "recurrent.bias"].map(|name| scope.param(name)));
    let b = &mut *scope.b;
    let (rows, steps) = match b.shape(x).0[..] {
        [rows, Dim::Fixed(steps), _] => (rows, steps),
        ref other => unreachable!("the shape was checked to be that of a sequence, found {other:?}"),
    };
    let lengths = lengths.map(|lengths| lengths_of(b, lengths, steps));
    let mut sequence = positions_first(b, x);
    if let Some(lengths) = lengths {
        sequence = without_padding(b, sequence, lengths);
    }
    let mut projected = b.product(sequence, input, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
    let whole = Shape(vec![Dim::Fixed(steps), rows, Dim::Fixed(step.gates * n)]);
    for bias in biases.iter().flat_map(|[own, other]| [Some(*own), Some(*other).filter(|_| !step.separate)]).flatten() {
        let bias = b.broadcast(bias, &whole, &[2]);
        projected = b.add(projected, bias);
    }

    let size = Shape(vec![rows, Dim::Fixed(step.states * n)]);
    // One position alone begins with what the position before it left, and is no loop.
    let alone = scope.next.is_some();
    let (state, element) = match alone {
        true => {
            let state = scope.state(&size);
            let one = Shape(vec![rows, Dim::Fixed(step.gates * n)]);
            (state, scope.b.reshape(projected, one))
        }
        false => {
            let initial = initial.unwrap_or_else(|| b.constant(0.0, &size));
            let state = b.carry(initial, steps, reverse);
            (state, b.element(state, projected))
        }
    };
    let b = &mut *scope.b;
    let shown = if step.states == 1 { state } else { b.slice(state, 1, 0, n, 1) };
    let mut own = b.dot(shown, recurrent, false, false);
    if let Some([_, bias]) = biases.filter(|_| step.separate) {
        let shape = b.shape(own);
        let bias = b.broadcast(bias, &shape, &[1]);
        own = b.add(own, bias);
    }
    let parts = cell(b, element, own, state);
    let next = if parts.len() == 1 { parts[0] } else { b.concat(&parts, 1) };
    if alone {
        scope.kept.push(next);
        let both = [state, next].map(|state| scope.b.reshape(state, Shape(vec![Dim::Fixed(1), rows, size.0[1]])));
        let history = scope.b.concat(&both, 0);
        return Ran { history, reverse, n, lengths };
    }
    let history = ended(b, state, next, lengths);
    Ran { history, reverse, n, lengths }
}

impl Ran {
    /// What the layer gives: so many parts of each state, or of the last one.
    fn given(self, scope: &mut Scope<'_>, parts: usize, last: bool) -> NodeId {
        let b = &mut *scope.b;
        let size = b.shape(self.history).0[2].factor();
        let columns = Some(parts * self.n).filter(|&columns| columns < size);
        states(b, self.history, self.lengths, &Taken { last, reverse: self.reverse, columns })
    }
}
