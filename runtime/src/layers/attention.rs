//! `Attention` and `CrossAttention`: every position a mean of others, weighted by how well they answer it.

use super::attend::{self, Heads};
use super::initializers::AUTO;
use super::positions::sequence;
use super::{
    Arg, ArgDef, ArgKind, Gain, LayerDef, Layout, Misfit, Named, ParamDef, Takes, dense, flag, float, init, int, path,
};

const HEADS: ArgDef =
    ArgDef { name: "heads", kind: ArgKind::Size, default: None, doc: "how many ways there are of looking" };
const KV: ArgDef = ArgDef {
    name: "kv",
    kind: ArgKind::SizeOr { least: 1, word: "heads" },
    default: Some(Arg::Word("heads")),
    doc: "how many heads have keys and values of their own",
};
const DROPOUT: ArgDef = ArgDef {
    name: "dropout",
    kind: ArgKind::Number { least: 0.0, most: 0.99, range: "between 0 and 0.99" },
    default: Some(Arg::Float(0.0)),
    doc: "the probability that a weight is dropped in training",
};
const BIAS: ArgDef =
    ArgDef { name: "bias", kind: ArgKind::Flag, default: Some(Arg::Flag(true)), doc: "whether to add biases" };
const MASK: ArgDef = ArgDef {
    name: "mask",
    kind: ArgKind::Value(Named::Mask),
    default: Some(Arg::Path("")),
    doc: "a value with 0 where there is nothing to look at",
};
const INIT: ArgDef =
    ArgDef { name: "init", kind: ArgKind::Init, default: Some(Arg::Init(&AUTO, None)), doc: "how the weights start" };

/// Every position looks at all positions of its sequence, and becomes a mean of what it finds.
///
/// - Value: `y = concat(softmax(q k^T / sqrt(d / heads)) v) W + b` over the heads, where `q`, `k` and `v` are parts of
///   `x W_qkv + b_qkv`. With `causal = true` a position looks at none after it. With `kv = g` only `g` heads have keys and
///   values, each for `heads / g` neighboring heads of queries. With `rope = true` queries and keys are turned by angles
///   that grow with their position, the halves of a head as pairs: the `k`th of `n` pairs by `t / 10000^(k / n)`. With
///   `dropout = p` weights are dropped as numbers are by `Dropout`, those of a position and head being a row. `mask` names a
///   value `f32[B, T]` with 0 at positions that nobody looks at; where there is nothing to look at, the mean is 0
/// - Shapes: `f32[B, T, d] -> f32[B, T, d]`, where `heads` divides `d`
/// - Argument `heads`: how many ways there are of looking; an integer of at least 1
/// - Argument `causal = false`: whether no position looks at later ones; `true` or `false`
/// - Argument `kv = heads`: how many heads have keys and values of their own; an integer of at least 1, or `heads`
/// - Argument `dropout = 0.0`: the probability that a weight is dropped in training; a number between 0 and 0.99
/// - Argument `bias = true`: whether to add biases; `true` or `false`
/// - Argument `rope = false`: whether queries and keys are turned by their position; `true` or `false`
/// - Argument `init = auto`: how the weights start; an initializer
/// - Argument `mask = none`: a value with 0 where there is nothing to look at; the name of a value
/// - Parameters: `qkv.weight [d, d + 2 g d / heads]` and `out.weight [d, d]`, the transposes of `in_proj_weight` and
///   `out_proj.weight` of PyTorch's `MultiheadAttention`; `qkv.bias [d + 2 g d / heads]` and `out.bias [d]`, zero, unless
///   `bias = false`
/// - Gradient: of all products, and of the softmax
/// - Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023 for `kv`; Su et al. 2021, section 3.4, for `rope`
pub const ATTENTION: LayerDef = LayerDef {
    name: "Attention",
    item: "ATTENTION",
    stem: "attention",
    args: &[
        HEADS,
        ArgDef {
            name: "causal",
            kind: ArgKind::Flag,
            default: Some(Arg::Flag(false)),
            doc: "whether no position looks at later ones",
        },
        KV,
        DROPOUT,
        BIAS,
        ArgDef {
            name: "rope",
            kind: ArgKind::Flag,
            default: Some(Arg::Flag(false)),
            doc: "whether queries and keys are turned by their position",
        },
        INIT,
        MASK,
    ],
    shape: |x, args| {
        let heads = Heads::of(x, int(args, 0), kv(args, 2))?;
        match flag(args, 5) && heads.size % 2 == 1 {
            true => Err(Misfit { needs: "heads of an even size where `rope = true`".to_string(), hint: None }),
            false => Ok(x.clone()),
        }
    },
    params: |x, args, next| {
        let Ok(heads) = Heads::of(x, int(args, 0), kv(args, 2)) else { return Vec::new() };
        let make = |name, inputs, outputs, next| projection(name, [inputs, outputs], args, [6, 4], next);
        let qkv = make(["qkv.weight", "qkv.bias"], heads.width(), heads.width() + 2 * heads.kv_width(), Gain::Xavier);
        [qkv, make(["out.weight", "out.bias"], heads.width(), heads.width(), next)].concat()
    },
    lower: |scope, x| {
        let heads = Heads::of(&scope.b.shape(x), int(scope.args, 0), kv(scope.args, 2)).expect("it was checked");
        let biased = flag(scope.args, 4);
        let all = dense::rows_times(scope, x, ["qkv.weight", "qkv.bias"], biased);
        let (width, kv_width) = (heads.width(), heads.kv_width());
        let [q, k, v] = [(0, width), (width, kv_width), (width + kv_width, kv_width)]
            .map(|(start, len)| scope.b.slice(all, 2, start, len, 1));
        let (causal, dropout, rope) = (flag(scope.args, 1), float(scope.args, 3), flag(scope.args, 5));
        let y = attend::attend(scope, &heads, [q, k, v], causal, rope, dropout);
        dense::rows_times(scope, y, ["out.weight", "out.bias"], biased)
    },
    takes: Takes::Numbers,
    least_rows: |_| 1,
    by_position: |args| flag(args, 1) && path(args, 7).is_none(),
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// Every position of one sequence looks at all positions of another: `(x, memory) -> CrossAttention(heads)`.
///
/// - Value: as of `Attention`, with `q = x W_query + b_query`, and `k` and `v` parts of `memory W_kv + b_kv`. A `mask` is
///   `f32[B, S]`
/// - Shapes: `f32[B, T, d], f32[B, S, d] -> f32[B, T, d]`, where `heads` divides `d`
/// - Argument `heads`: how many ways there are of looking; an integer of at least 1
/// - Argument `kv = heads`: how many heads have keys and values of their own; an integer of at least 1, or `heads`
/// - Argument `dropout = 0.0`: the probability that a weight is dropped in training; a number between 0 and 0.99
/// - Argument `bias = true`: whether to add biases; `true` or `false`
/// - Argument `init = auto`: how the weights start; an initializer
/// - Argument `mask = none`: a value with 0 where there is nothing to look at; the name of a value
/// - Parameters: `query.weight [d, d]`, `kv.weight [d, 2 g d / heads]` with `g` the number of `kv` heads, and
///   `out.weight [d, d]`; `query.bias [d]`, `kv.bias [2 g d / heads]` and `out.bias [d]`, zero, unless `bias = false`
/// - Gradient: of all products, and of the softmax, to both sequences
/// - Source: Vaswani et al. 2017, section 3.2.3
pub const CROSS_ATTENTION: LayerDef = LayerDef {
    name: "CrossAttention",
    item: "CROSS_ATTENTION",
    stem: "cross_attention",
    args: &[HEADS, KV, DROPOUT, BIAS, INIT, MASK],
    shape: |x, args| Heads::of(x, int(args, 0), kv(args, 1)).map(|_| x.clone()),
    params: |x, args, next| {
        let Ok(heads) = Heads::of(x, int(args, 0), kv(args, 1)) else { return Vec::new() };
        let make = |name, outputs, next| projection(name, [heads.width(), outputs], args, [4, 3], next);
        let query = make(["query.weight", "query.bias"], heads.width(), Gain::Xavier);
        let kv = make(["kv.weight", "kv.bias"], 2 * heads.kv_width(), Gain::Xavier);
        [query, kv, make(["out.weight", "out.bias"], heads.width(), next)].concat()
    },
    lower: |scope, x| {
        let heads = Heads::of(&scope.b.shape(x), int(scope.args, 0), kv(scope.args, 1)).expect("it was checked");
        let memory = scope.memory.expect("two values flow in");
        let biased = flag(scope.args, 3);
        let q = dense::rows_times(scope, x, ["query.weight", "query.bias"], biased);
        let both = dense::rows_times(scope, memory, ["kv.weight", "kv.bias"], biased);
        let width = heads.kv_width();
        let [k, v] = [0, width].map(|start| scope.b.slice(both, 2, start, width, 1));
        let dropout = float(scope.args, 2);
        let y = attend::attend(scope, &heads, [q, k, v], false, false, dropout);
        dense::rows_times(scope, y, ["out.weight", "out.bias"], biased)
    },
    takes: Takes::Memory(|x, memory, _| match (sequence(x), sequence(memory)) {
        (Ok([_, features]), Ok([_, others])) if features == others => Ok(()),
        (Ok([_, features]), _) => Err(Misfit { needs: format!("a memory [B, S, {features}]"), hint: None }),
        (Err(misfit), _) => Err(misfit),
    }),
    least_rows: |_| 1,
    by_position: |_| false,
    layout: Some(Layout::Declared),
    gain: None,
    function: None,
};

/// The heads with keys and values of their own, if their number was given.
fn kv(args: &[Arg], position: usize) -> Option<usize> {
    matches!(args[position], Arg::Int(_)).then(|| int(args, position))
}

/// Weights and biases of a product, where `[init, bias]` are among the arguments.
fn projection(
    names: [&'static str; 2],
    sizes: [usize; 2],
    args: &[Arg],
    [at_init, at_bias]: [usize; 2],
    next: Gain,
) -> Vec<ParamDef> {
    dense::params(names, sizes, flag(args, at_bias), |weights| init(args, at_init, weights), next)
}
