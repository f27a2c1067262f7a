//! Networks drawn at random: a specification that proptest makes smaller, and the definition that it stands for.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::initialisers::{self, Initialiser};
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::{At, BinaryOp, Clause, Definition, Expr, Port, Stage};
use gradloom_runtime::optim::{AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, Optimisation, RmsProp, Sgd};
use gradloom_runtime::types::{DType, Dim, Shape};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::handmade::{self, binary, leak};

/// What a network is drawn as.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Extents of a sample; several are flattened first.
    pub input: Vec<usize>,
    /// An activation of such a sample.
    pub first: Option<&'static LayerDef>,
    /// What follows.
    pub stages: Vec<Layer>,
    /// Columns of the output, by one more `Dense`.
    pub outputs: usize,
    pub loss: Loss,
    /// A further term of the loss: which function, and of which value.
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
    Activation {
        layer: &'static LayerDef,
        args: Vec<Arg>,
    },
}

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
    let shape = (input, option::of(prop::sample::select(activations())), vec(layer(), 0..=6), 1..=40usize, loss);
    let rest = (option::weighted(0.6, (0..TERMS.len(), any::<usize>())), 0..12usize, 1..=most, 0.0..1.0, any::<u64>());
    (shape, rest).prop_map(|((input, first, stages, outputs, loss), (term, optimiser, max_batch, share, seed))| Spec {
        input,
        first,
        stages,
        outputs,
        loss,
        term,
        optimiser,
        max_batch,
        share,
        seed,
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
    prop_oneof![3 => dense, 2 => norm, 1 => layer_norm, 6 => activation]
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
        let norms = self.stages.iter().any(|layer| matches!(layer, Layer::BatchNorm { .. }));
        if norms { 4 } else { 1 }
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
        let body = self.body();
        let weight: &'static str = leak(format!("{}.weight", body[body.len() - 1].segment));
        let named = body.iter().filter(|stage| stage.named).map(|stage| stage.segment);
        let names: Vec<&'static str> = named.chain(["x", "out", weight]).collect();
        let output = Shape(vec![Dim::B, Dim::Fixed(self.outputs)]);
        let (targets, loss) = self.main_term(&output);
        let term = self.term.map(|(term, value)| (TERMS[term])(names[value % names.len()]));
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
            acts: &[],
            loss: Some(handmade::clause("loss", loss)),
            places: &[],
            metrics: leak(self.metrics(names[self.seed as usize % names.len()])),
        })
    }

    fn body(&self) -> Vec<Stage<'static>> {
        let mut body: Vec<Stage<'static>> = Vec::new();
        if self.input.len() > 1 {
            if let Some(layer) = self.first {
                let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.expect("it has defaults")).collect();
                body.push(handmade::stage(layer, &args, "first"));
            }
            body.push(handmade::stage(&layers::FLATTEN, &[], "flatten1"));
        }
        let last = Layer::Dense { n: self.outputs, bias: true, init: Arg::Init(&initialisers::AUTO, None) };
        for (index, layer) in self.stages.iter().chain([&last]).enumerate() {
            let (definition, args): (&'static LayerDef, Vec<Arg>) = match layer {
                Layer::Dense { n, bias, init } => (&layers::DENSE, vec![Arg::Int(*n as u64), Arg::Flag(*bias), *init]),
                Layer::BatchNorm { momentum, every } => {
                    (&layers::BATCH_NORM, vec![Arg::Float(*momentum), Arg::Float(1e-5), Arg::Int(*every)])
                }
                Layer::RowNorm { eps } => (&layers::LAYER_NORM, vec![Arg::Float(*eps)]),
                Layer::Activation { layer, args } => (layer, args.clone()),
            };
            let path = leak(format!("{}{index}", definition.stem));
            let stage = handmade::stage(definition, &args, path);
            body.push(Stage { named: index < self.stages.len(), ..stage });
        }
        body
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
