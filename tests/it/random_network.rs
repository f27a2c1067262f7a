//! Networks drawn at random: a specification that proptest makes smaller, and the definition that it stands for.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::initialisers::{self, Initialiser};
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::{At, BinaryOp, Clause, Definition, Expr, Kind, Port, Stage};
use gradloom_runtime::optim::{AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, Optimisation, RmsProp, Sgd};
use gradloom_runtime::types::{DType, Dim, Shape};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::handmade::{self, binary, leak};
use crate::random_function::{Function, NUMBERS, function};

/// What a network is drawn as.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Extents of a sample; several are flattened first.
    pub input: Vec<usize>,
    /// An activation of such a sample.
    pub first: Option<&'static LayerDef>,
    /// What follows.
    pub stages: Vec<Layer>,
    /// Functions of the user's own.
    pub functions: Vec<Function>,
    /// Columns of the output, by one more `Dense`.
    pub outputs: usize,
    pub loss: Loss,
    /// A further term of the loss: which one, and of which value; those behind the last of `TERMS` are functions of the
    /// user's own.
    pub term: Option<(usize, usize)>,
    pub optimiser: usize,
    pub max_batch: usize,
    /// A smaller batch, as a share of the largest.
    pub share: f64,
    pub seed: u64,
}

/// A stage.
#[derive(Clone, Debug)]
pub enum Layer {
    Dense {
        n: usize,
        bias: bool,
        init: Arg,
    },
    BatchNorm {
        momentum: f64,
        every: u64,
    },
    /// `LayerNorm`.
    RowNorm {
        eps: f64,
    },
    Dropout {
        p: f64,
    },
    Activation {
        layer: &'static LayerDef,
        args: Vec<Arg>,
    },
    /// One of the user's functions, and how its trainable numbers start.
    Act {
        index: usize,
        starts: [f64; NUMBERS.len()],
    },
    Block(Vec<Layer>),
    /// Without a shortcut the body ends as wide as it began; with one, both are brought to this width.
    Residual {
        body: Vec<Layer>,
        skip: Option<(Vec<Layer>, usize)>,
    },
    /// The body ends as wide as it began.
    Repeat {
        count: usize,
        body: Vec<Layer>,
    },
}

/// What a network is asked for, so that a comparison of many knows that it has seen all.
pub const KINDS: [&str; 9] =
    ["norm", "dropout", "act", "branch", "block", "residual", "shortcut", "repeat", "act in the loss"];

/// How many functions a network has.
const FUNCTIONS: usize = 2;

/// The main term of a loss.
#[derive(Clone, Copy, Debug)]
pub enum Loss {
    CrossEntropy,
    /// Of smoothed labels.
    Smoothed,
    /// With a weight for each class, none or some smoothing.
    Weighted,
    BceWithLogits,
    Mse,
    Mae,
    Huber,
    Hinge,
    /// None: only the further term.
    Value,
}

/// Networks with batches of up to `most` rows.
pub fn specs(most: usize) -> impl Strategy<Value = Spec> {
    let input = prop_oneof![3 => vec(1..=40usize, 1), 1 => vec(1..=6usize, 2..=3)];
    use Loss::{BceWithLogits, CrossEntropy, Hinge, Huber, Mae, Mse, Smoothed, Value, Weighted};
    let loss = [CrossEntropy, CrossEntropy, Smoothed, Weighted, BceWithLogits, Mse, Mae, Huber, Hinge, Value];
    let loss = prop::sample::select(loss.to_vec());
    let shape = (input, option::of(prop::sample::select(activations())), vec(stage(), 0..=6), 1..=40usize, loss);
    let term = option::weighted(0.6, (0..TERMS.len() + FUNCTIONS, any::<usize>()));
    let rest = (vec(function(), FUNCTIONS), term, 0..12usize, 1..=most, 0.0..1.0, any::<u64>());
    (shape, rest).prop_map(|(shape, (functions, term, optimiser, max_batch, share, seed))| {
        let (input, first, stages, outputs, loss) = shape;
        Spec { input, first, stages, functions, outputs, loss, term, optimiser, max_batch, share, seed }
    })
}

/// All activations, the one with a parameter among them.
fn activations() -> Vec<&'static LayerDef> {
    layers::ALL.iter().copied().filter(|layer| layer.gain.is_some()).collect()
}

fn layer() -> impl Strategy<Value = Layer> {
    let start = |known: &'static Initialiser| Just(Arg::Init(known, None));
    let init = prop_oneof![
        6 => start(&initialisers::AUTO),
        1 => start(&initialisers::ZEROS),
        1 => start(&initialisers::HE_NORMAL),
        1 => start(&initialisers::XAVIER_UNIFORM),
    ];
    let dense = (1..=40usize, any::<bool>(), init).prop_map(|(n, bias, init)| Layer::Dense { n, bias, init });
    let norm = (0.0..=1.0, 1..=3u64).prop_map(|(momentum, every)| Layer::BatchNorm { momentum, every });
    let activation =
        (prop::sample::select(activations()), any::<bool>()).prop_map(|(layer, other)| Layer::Activation {
            layer,
            args: layer
                .args
                .iter()
                .map(|arg| variant(arg.default.expect("an activation has defaults"), other))
                .collect(),
        });
    let layer_norm = prop_oneof![Just(1e-5), Just(1e-2)].prop_map(|eps| Layer::RowNorm { eps });
    let dropout = prop::sample::select(vec![0.0, 0.1, 0.5, 0.8]).prop_map(|p| Layer::Dropout { p });
    let start = || prop_oneof![Just(1.0), Just(0.25), Just(-0.5)];
    let act = (0..FUNCTIONS, [start(), start()]).prop_map(|(index, starts)| Layer::Act { index, starts });
    prop_oneof![3 => dense, 2 => norm, 1 => layer_norm, 2 => dropout, 6 => activation, 2 => act]
}

/// A layer, or a structure of some.
fn stage() -> impl Strategy<Value = Layer> {
    layer().prop_recursive(2, 12, 3, |inner| {
        let body = vec(inner, 1..=3);
        let skip = option::of((vec(layer(), 0..=2), 1..=24usize));
        prop_oneof![
            body.clone().prop_map(Layer::Block),
            (body.clone(), skip).prop_map(|(body, skip)| Layer::Residual { body, skip }),
            (1..=3usize, body).prop_map(|(count, body)| Layer::Repeat { count, body }),
        ]
    })
}

fn variant(default: Arg, other: bool) -> Arg {
    match default {
        Arg::Word(_) if other => Arg::Word("tanh"),
        Arg::Float(value) if other => Arg::Float(1.7 * value + 0.1),
        default => default,
    }
}

impl Spec {
    /// The least number of rows of a training batch here: few rows make a variance that is next to nothing.
    pub fn least_rows(&self) -> usize {
        fn norms(layers: &[Layer]) -> bool {
            layers.iter().any(|layer| match layer {
                Layer::BatchNorm { .. } => true,
                Layer::Block(body) | Layer::Repeat { body, .. } => norms(body),
                Layer::Residual { body, skip } => norms(body) || skip.as_ref().is_some_and(|(skip, _)| norms(skip)),
                _ => false,
            })
        }
        if norms(&self.stages) { 4 } else { 1 }
    }

    /// Which of `KINDS` it has.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        self.add_kinds(&self.stages, &mut kinds);
        kinds.extend(self.term.filter(|(term, _)| *term >= TERMS.len()).map(|_| "act in the loss"));
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }

    fn add_kinds(&self, layers: &[Layer], kinds: &mut Vec<&'static str>) {
        for layer in layers {
            match layer {
                Layer::BatchNorm { .. } | Layer::RowNorm { .. } => kinds.push("norm"),
                Layer::Dropout { p } => kinds.extend((*p > 0.0).then_some("dropout")),
                Layer::Act { index, .. } => {
                    kinds.push("act");
                    kinds.extend(self.functions[*index].has_branches().then_some("branch"));
                }
                Layer::Block(body) => {
                    kinds.push("block");
                    self.add_kinds(body, kinds);
                }
                Layer::Residual { body, skip } => {
                    kinds.push("residual");
                    self.add_kinds(body, kinds);
                    if let Some((skip, _)) = skip {
                        kinds.push("shortcut");
                        self.add_kinds(skip, kinds);
                    }
                }
                Layer::Repeat { count, body } => {
                    kinds.extend((*count > 1).then_some("repeat"));
                    self.add_kinds(body, kinds);
                }
                Layer::Dense { .. } | Layer::Activation { .. } => {}
            }
        }
    }

    /// The largest batch, and a smaller one.
    pub fn batches(&self) -> [usize; 2] {
        let least = self.least_rows();
        let most = self.max_batch.max(least);
        [most, least + ((most - least) as f64 * self.share) as usize]
    }

    pub fn optimiser(&self) -> Optimisation {
        match self.optimiser {
            0 => Sgd::new(0.1).into(),
            1 => Sgd::new(0.05).momentum(0.9).into(),
            2 => Sgd::new(0.05).momentum(0.9).nesterov().l2(0.1).into(),
            3 => AdaGrad::new(1e-2).into(),
            4 => RmsProp::new(1e-2).into(),
            5 => RmsProp::new(1e-2).centred().momentum(0.9).decay(0.1).into(),
            6 => AdaDelta::new(1.0).into(),
            7 => Adam::new(1e-2).into(),
            8 => AdamW::new(1e-2).decay(0.1).into(),
            9 => Lion::new(1e-2).decay(0.1).into(),
            10 => Optimisation { clip_norm: Some(0.5), clip_value: Some(0.1), ..Adam::new(1e-2).l2(0.1).into() },
            _ => {
                let groups = vec![Group::new("*.weight").rate_factor(0.1).decay(0.2), Group::new("*").l2(0.1)];
                Optimisation { clip_norm: Some(0.5), groups, ..Sgd::new(0.1).momentum(0.9).decay(0.1).into() }
            }
        }
    }

    /// As `network!` would declare it.
    pub fn definition(&self) -> &'static Definition<'static> {
        let sample: Vec<Dim> = [Dim::B].into_iter().chain(self.input.iter().map(|&n| Dim::Fixed(n))).collect();
        let (body, mut names) = self.body();
        names.extend(["x", "out", "last.weight"]);
        let output = Shape(vec![Dim::B, Dim::Fixed(self.outputs)]);
        let (targets, loss) = self.main_term(&output);
        let term = self.term.map(|(term, value)| {
            let name = names[value % names.len()];
            TERMS.get(term).map_or_else(|| mean(self.inlined(term - TERMS.len(), name)), |term| term(name))
        });
        let loss = match (loss, term) {
            (Some(loss), Some(term)) => binary(BinaryOp::Add, loss, binary(BinaryOp::Mul, Expr::Number(0.3), term)),
            (Some(loss), None) => loss,
            (None, term) => term.unwrap_or_else(|| (TERMS[0])("out")),
        };
        leak(Definition {
            name: "Random",
            inputs: leak([handmade::port("x", &sample)]),
            outputs: leak([handmade::port("out", &output.0)]),
            targets: leak(targets),
            body: leak(body),
            acts: leak(self.functions.iter().map(Function::act).collect::<Vec<_>>()),
            loss: Some(handmade::clause("loss", loss)),
            places: &[],
            metrics: leak(self.metrics(names[self.seed as usize % names.len()])),
        })
    }

    /// The stages, and the names of their values.
    fn body(&self) -> (Vec<Stage<'static>>, Vec<&'static str>) {
        let mut body: Vec<Stage<'static>> = Vec::new();
        if self.input.len() > 1 {
            if let Some(layer) = self.first {
                let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.expect("it has defaults")).collect();
                body.push(handmade::stage(layer, &args, "first"));
            }
            body.push(handmade::stage(&layers::FLATTEN, &[], "flatten1"));
        }
        let mut names = Vec::new();
        body.extend(stages(&self.stages, self.input.iter().product(), "", &mut names).0);
        let last = handmade::stage(&layers::DENSE, &dense(self.outputs), "last");
        body.push(last);
        (body, names)
    }

    /// One of the user's functions, of this value.
    fn inlined(&self, index: usize, value: &'static str) -> Expr<'static> {
        let numbers = [Expr::Number(0.5), Expr::Number(-0.25)].into_iter().take(self.functions[index].n_numbers());
        let operands: Vec<Expr<'static>> = [value_of(value)].into_iter().chain(numbers).collect();
        Expr::Inline(index, At(0), leak(operands))
    }

    fn main_term(&self, output: &Shape) -> (Vec<Port<'static>>, Option<Expr<'static>>) {
        let ids = handmade::port_of(DType::U8, "target", &[Dim::B]);
        let floats = handmade::port("target", &output.0);
        let call = |function| Some(call(function, vec![Expr::Name("out"), Expr::Name("target")]));
        match self.loss {
            Loss::CrossEntropy => (vec![ids], call(&functions::CROSS_ENTROPY)),
            Loss::BceWithLogits => (vec![floats], call(&functions::BCE_WITH_LOGITS)),
            Loss::Smoothed => {
                let operands = vec![Expr::Name("out"), Expr::Name("target")];
                (
                    vec![ids],
                    Some(handmade::call(&functions::CROSS_ENTROPY, &[Arg::Float(0.1), Arg::Numbers(&[])], operands)),
                )
            }
            Loss::Weighted => {
                let weights: Vec<f64> = (0..self.outputs).map(|class| 0.5 + (class % 4) as f64).collect();
                let smoothing = if self.seed.is_multiple_of(2) { 0.0 } else { 0.1 };
                let args = [Arg::Float(smoothing), Arg::Numbers(leak(weights))];
                let operands = vec![Expr::Name("out"), Expr::Name("target")];
                (vec![ids], Some(handmade::call(&functions::CROSS_ENTROPY, &args, operands)))
            }
            Loss::Mse => (vec![floats], call(&functions::MSE)),
            Loss::Mae => (vec![floats], call(&functions::MAE)),
            Loss::Huber => (vec![floats], call(&functions::HUBER)),
            Loss::Hinge => (vec![floats], call(&functions::HINGE)),
            Loss::Value => (Vec::new(), None),
        }
    }

    fn metrics(&self, value: &'static str) -> Vec<Clause<'static>> {
        let size = mean(call(&functions::ABS, vec![value_of(value)]));
        let positive = mean(binary(BinaryOp::Gt, Expr::Name("out"), Expr::Number(0.0)));
        let mut metrics = vec![handmade::clause("size", size), handmade::clause("positive", positive)];
        // A quotient of means, and a mean that needs another mean first.
        let least = binary(BinaryOp::Add, mean(square("out")), Expr::Number(1.0));
        metrics.push(handmade::clause("ratio", binary(BinaryOp::Div, mean(value_of(value)), least)));
        if !self.seed.is_multiple_of(3) {
            let deviation = || binary(BinaryOp::Sub, Expr::Name("out"), mean(Expr::Name("out")));
            let spread = mean(binary(BinaryOp::Mul, deviation(), deviation()));
            metrics.push(handmade::clause("spread", spread));
        }
        let against = |function| call(function, vec![Expr::Name("out"), Expr::Name("target")]);
        if matches!(self.loss, Loss::Mae) {
            metrics.push(handmade::clause("error", against(&functions::MEAN_ABS_ERROR)));
        }
        if matches!(self.loss, Loss::CrossEntropy | Loss::Smoothed | Loss::Weighted) {
            if self.outputs > 1 {
                metrics.push(handmade::clause("precision", against(&functions::PRECISION)));
                metrics.push(handmade::clause("recall", against(&functions::RECALL)));
            }
            metrics.push(handmade::clause("best", against(&functions::TOP_K)));
            let best = call(&functions::ARGMAX, vec![Expr::Name("out")]);
            metrics.push(handmade::clause("accuracy", mean(binary(BinaryOp::Eq, best, Expr::Name("target")))));
        }
        metrics
    }
}

/// The stages of a body that is given `width` columns, and how many it gives. Adds the paths of their values to `names`.
fn stages(layers: &[Layer], width: usize, prefix: &str, names: &mut Vec<&'static str>) -> (Vec<Stage<'static>>, usize) {
    let mut body = Vec::new();
    let mut width = width;
    for (index, layer) in layers.iter().enumerate() {
        let (stage, after) = stage_of(layer, index, width, prefix, names);
        names.push(leak(format!("{prefix}{}", stage.segment)));
        body.push(Stage { named: true, ..stage });
        width = after;
    }
    (body, width)
}

/// The same, brought to `wanted` columns.
fn stages_to(
    layers: &[Layer],
    width: usize,
    wanted: usize,
    prefix: &str,
    names: &mut Vec<&'static str>,
) -> &'static [Stage<'static>] {
    let (mut body, found) = stages(layers, width, prefix, names);
    if found != wanted {
        body.push(handmade::stage(&layers::DENSE, &dense(wanted), "fit"));
    }
    leak(body)
}

fn stage_of(
    layer: &Layer,
    index: usize,
    width: usize,
    prefix: &str,
    names: &mut Vec<&'static str>,
) -> (Stage<'static>, usize) {
    let of = |layer: &'static LayerDef, args: &[Arg]| {
        handmade::stage(layer, args, leak(format!("{}{index}", layer.stem)).as_str())
    };
    let structure = |text: &'static str| -> &'static str { leak(format!("{text}{index}")) };
    let stage = |kind, segment| Stage { kind, segment, named: false, text: segment, at: At(0) };
    match layer {
        Layer::Dense { n, bias, init } => (of(&layers::DENSE, &[Arg::Int(*n as u64), Arg::Flag(*bias), *init]), *n),
        Layer::BatchNorm { momentum, every } => {
            (of(&layers::BATCH_NORM, &[Arg::Float(*momentum), Arg::Float(1e-5), Arg::Int(*every)]), width)
        }
        Layer::RowNorm { eps } => (of(&layers::LAYER_NORM, &[Arg::Float(*eps)]), width),
        Layer::Dropout { p } => (of(&layers::DROPOUT, &[Arg::Float(*p)]), width),
        Layer::Activation { layer, args } => (of(layer, args), width),
        Layer::Act { index: function, starts } => (stage(Kind::Act(*function, leak(*starts)), structure("act")), width),
        Layer::Block(layers) => {
            let segment = structure("block");
            let (body, after) = stages(layers, width, &format!("{prefix}{segment}."), names);
            (stage(Kind::Block(leak(body)), segment), after)
        }
        Layer::Residual { body, skip } => {
            let segment = structure("residual");
            let inside = format!("{prefix}{segment}.");
            let after = skip.as_ref().map_or(width, |(_, after)| *after);
            let body = stages_to(body, width, after, &inside, names);
            let skip = skip.as_ref().map(|(skip, _)| stages_to(skip, width, after, &format!("{inside}skip."), names));
            (stage(Kind::Residual { body, skip }, segment), after)
        }
        Layer::Repeat { count, body } => {
            let segment = structure("repeat");
            let body = stages_to(body, width, width, &format!("{prefix}{segment}.{count}."), names);
            (stage(Kind::Repeat { count: handmade::number(*count), body }, segment), width)
        }
    }
}

/// The arguments of a `Dense` of this width.
fn dense(n: usize) -> [Arg; 3] {
    [Arg::Int(n as u64), Arg::Flag(true), Arg::Init(&initialisers::AUTO, None)]
}

fn call(function: &'static FunctionDef, operands: Vec<Expr<'static>>) -> Expr<'static> {
    let args: Vec<Arg> = function.args.iter().map(|arg| arg.default.unwrap_or(Arg::Int(1))).collect();
    handmade::call(function, &args, operands)
}

/// A value or, with a point in it, a parameter.
fn value_of(name: &'static str) -> Expr<'static> {
    if name.contains('.') { Expr::Path(name, At(0)) } else { Expr::Name(name) }
}

fn mean(x: Expr<'static>) -> Expr<'static> {
    call(&functions::MEAN, vec![x])
}

fn square(name: &'static str) -> Expr<'static> {
    binary(BinaryOp::Mul, value_of(name), value_of(name))
}

/// Terms of a loss, each of one value.
const TERMS: [fn(&'static str) -> Expr<'static>; 10] = [
    |name| mean(square(name)),
    |name| mean(call(&functions::ABS, vec![value_of(name)])),
    |name| mean(call(&functions::SQRT, vec![binary(BinaryOp::Add, square(name), Expr::Number(1.0))])),
    |name| mean(call(&functions::EXP, vec![Expr::Neg(At(0), leak(square(name)))])),
    |name| call(&functions::MAX, vec![value_of(name)]),
    |name| binary(BinaryOp::Mul, Expr::Number(1e-2), call(&functions::L1, vec![value_of(name)])),
    |name| binary(BinaryOp::Mul, Expr::Number(1e-2), call(&functions::L2, vec![value_of(name)])),
    |name| {
        let sum = call(&functions::SUM, vec![binary(BinaryOp::Sub, value_of(name), Expr::Number(0.1))]);
        binary(BinaryOp::Mul, sum, Expr::Number(1e-2))
    },
    |name| {
        let padded = binary(BinaryOp::Add, square(name), Expr::Number(0.5));
        mean(binary(
            BinaryOp::Div,
            value_of(name),
            call(&functions::LN, vec![binary(BinaryOp::Add, padded, Expr::Number(1.0))]),
        ))
    },
    |name| {
        let soft = Expr::Apply(&layers::SOFTMAX, At(0), &[], leak(value_of(name)));
        mean(binary(BinaryOp::Mul, soft, value_of(name)))
    },
];
