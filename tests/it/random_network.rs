//! Networks drawn at random: a specification that proptest makes smaller, and the definition that it stands for.

use gradloom_runtime::layers::initializers::{self, Initializer};
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::{At, BinaryOp, Clause, Definition, Expr, Kind, Stage};
use gradloom_runtime::optim::TrainingConfig;
use gradloom_runtime::types::{DType, Dim, Shape};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::draw::Target;
use crate::handmade::{self, binary, leak};
use crate::optimizations;
use crate::random_flows::{self, Flows, Lines, flows};
use crate::random_function::{Function, NUMBERS, function};
use crate::random_image::{self, ImageLayer, ending, image_layer};
use crate::random_loss::{self, Criterion, TERMS, mean, value_of};

/// What a network is drawn as.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Extents of a sample; several are flattened first.
    pub input: Vec<usize>,
    /// An activation of such a sample.
    pub first: Option<&'static LayerDef>,
    /// Whether such a sample is made of bytes, which become numbers by means and deviations of each channel or of all.
    pub bytes: Option<bool>,
    /// What is done to a sample of two or three extents, and what becomes of all positions in the end, before it is flattened.
    pub image: (Vec<ImageLayer>, Option<&'static LayerDef>),
    /// What follows.
    pub stages: Vec<Layer>,
    /// What follows them, if the network is written as lines.
    pub flows: Option<Flows>,
    /// Functions of the user's own.
    pub functions: Vec<Function>,
    /// Columns of the output, by one more `Dense`.
    pub outputs: usize,
    /// The main term of the loss, if there is one.
    pub loss: Option<Criterion>,
    /// A further term of the loss: which one, and of which value; those after the last of `TERMS` are functions of the
    /// user's own.
    pub term: Option<(usize, usize)>,
    /// Beside those that need no target; `None` for no metric at all.
    pub metrics: Option<Vec<Criterion>>,
    pub optimizer: usize,
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
    /// Two bodies, whose results stand side by side.
    Beside(Vec<Layer>, Vec<Layer>),
    /// The body ends as wide as it began.
    Repeat {
        count: usize,
        body: Vec<Layer>,
    },
}

/// The largest batch of images.
const MOST_IMAGES: usize = 80;
/// How many functions a network has.
const FUNCTIONS: usize = 2;

/// Networks with batches of up to `most` rows.
pub fn specs(most: usize) -> impl Strategy<Value = Spec> {
    let input = prop_oneof![5 => vec(1..=40usize, 1), 2 => vec(1..=6usize, 2), 5 => vec(1..=6usize, 3)];
    let image = (vec(image_layer(), 1..=5), ending());
    let loss = option::weighted(0.9, random_loss::loss());
    let first = (option::of(prop::sample::select(activations())), option::weighted(0.3, any::<bool>()));
    let shape = (input, first, image, vec(stage(), 0..=6), option::weighted(0.4, flows()), 1..=40usize, loss);
    let term = option::weighted(0.8, (0..TERMS.len() + FUNCTIONS, any::<usize>()));
    let judged = (term, vec(random_loss::metric(), 0..=3));
    let rest = (vec(function(), FUNCTIONS), judged, 0..optimizations::all().len(), 1..=most, 0.0..1.0, any::<u64>());
    (shape, rest).prop_map(|(shape, (functions, (term, metrics), optimizer, max_batch, share, seed))| {
        let (input, (first, bytes), image, stages, flows, outputs, loss) = shape;
        Spec {
            input,
            first,
            bytes,
            image,
            stages,
            flows,
            functions,
            outputs,
            loss,
            term,
            metrics: Some(metrics),
            optimizer,
            max_batch,
            share,
            seed,
        }
    })
}

/// All activations, the one with a parameter among them.
fn activations() -> Vec<&'static LayerDef> {
    layers::ALL.iter().copied().filter(|layer| layer.gain.is_some()).collect()
}

fn layer() -> impl Strategy<Value = Layer> {
    let init = prop_oneof![
        1 => Just(start(&initializers::AUTO)),
        1 => prop::sample::select(initializers::ALL.to_vec()).prop_map(start),
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
        let skip = option::weighted(0.7, (vec(layer(), 0..=2), 1..=24usize));
        let second = vec(layer(), 1..=2);
        prop_oneof![
            2 => body.clone().prop_map(Layer::Block),
            3 => (body.clone(), skip).prop_map(|(body, skip)| Layer::Residual { body, skip }),
            2 => (body.clone(), second).prop_map(|(first, second)| Layer::Beside(first, second)),
            2 => (1..=3usize, body).prop_map(|(count, body)| Layer::Repeat { count, body }),
        ]
    })
}

/// A `Dense` of this width.
pub fn linear(n: usize, bias: bool) -> Layer {
    Layer::Dense { n, bias, init: start(&initializers::AUTO) }
}

/// An initializer, with a number that suits it if it takes one.
fn start(initializer: &'static Initializer) -> Arg {
    Arg::Init(
        initializer,
        initializer.number.as_ref().map(|_| if initializer.name == "orthogonal" { 1.5 } else { 0.2 }),
    )
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
                Layer::Beside(first, second) => norms(first) || norms(second),
                Layer::Residual { body, skip } => norms(body) || skip.as_ref().is_some_and(|(skip, _)| norms(skip)),
                _ => false,
            })
        }
        let of_image = self.input.len() > 1 && self.image.0.iter().any(|layer| matches!(layer, ImageLayer::Norm));
        if norms(&self.stages) || of_image { 4 } else { 1 }
    }

    /// The largest batch, and a smaller one.
    pub fn batches(&self) -> [usize; 2] {
        let least = self.least_rows();
        // Of images a row more than a block is enough: they take their time to interpret.
        let most = if self.input.len() > 1 { self.max_batch.min(MOST_IMAGES) } else { self.max_batch };
        let most = most.max(least);
        [most, least + ((most - least) as f64 * self.share) as usize]
    }

    pub fn optimizer(&self) -> TrainingConfig {
        optimizations::all().swap_remove(self.optimizer).1
    }

    /// As `network!` would declare it.
    pub fn definition(&self) -> &'static Definition<'static> {
        let sample: Vec<Dim> = [Dim::B].into_iter().chain(self.input.iter().map(|&n| Dim::Fixed(n))).collect();
        let (mut body, width, mut names) = self.body();
        let bytes = self.input.len() > 1 && self.bytes.is_some();
        let dtype = if bytes { DType::U8 } else { DType::F32 };
        // What is calculated with are numbers.
        names.extend(if bytes { ["converted", "out", "last.weight"] } else { ["x", "out", "last.weight"] });
        let last = handmade::stage(&layers::DENSE, &dense(self.outputs), "last");
        let lines = match &self.flows {
            Some(flows) => {
                names.extend(random_flows::VALUES);
                names.push(flows.weight());
                flows.lines(std::mem::take(&mut body), last, width)
            }
            None => {
                body.push(last);
                Lines::default()
            }
        };
        let output = Shape(vec![Dim::B, Dim::Fixed(self.outputs)]);
        let loss = self.loss.map(|loss| loss.expr(self.outputs));
        let term = self.term.map(|(term, value)| {
            let name = names[value % names.len()];
            TERMS.get(term).map_or_else(|| mean(self.inlined(term - TERMS.len(), name)), |term| term(name))
        });
        let loss = match (loss, term) {
            (Some(loss), Some(term)) => binary(BinaryOp::Add, loss, binary(BinaryOp::Mul, Expr::Number(0.3), term)),
            (Some(loss), None) => loss,
            (None, term) => term.unwrap_or_else(|| (TERMS[0])("out")),
        };
        let targets = self.targets();
        leak(Definition {
            name: "Random",
            inputs: leak([vec![handmade::port_of(dtype, "x", &sample)], lines.inputs].concat()),
            outputs: leak([vec![handmade::port("out", &output.0)], lines.outputs].concat()),
            targets: leak(targets.iter().map(|&target| random_loss::port(target, self.outputs)).collect::<Vec<_>>()),
            scalars: &[],
            layers: leak(lines.layers),
            body: leak(body),
            flows: leak(lines.flows),
            acts: leak(self.functions.iter().map(Function::act).collect::<Vec<_>>()),
            loss: Some(handmade::clause("loss", loss)),
            places: &[],
            assembled: None,
            metrics: leak(self.metrics(names[self.seed as usize % names.len()], targets.contains(&Target::Classes))),
        })
    }

    /// The stages in front of the last, how many columns they give, and the names of their values.
    fn body(&self) -> (Vec<Stage<'static>>, usize, Vec<&'static str>) {
        let mut body: Vec<Stage<'static>> = Vec::new();
        let mut width = self.input.iter().product();
        if self.input.len() > 1 {
            let dims = [Dim::B].into_iter().chain(self.input.iter().map(|&n| Dim::Fixed(n)));
            let sample = Shape(dims.collect());
            if let Some(each) = self.bytes {
                let args = random_image::normalization(&sample, each);
                body.push(Stage { named: true, ..handmade::stage(&layers::NORMALIZE, &args, "converted") });
            }
            if let Some(layer) = self.first {
                let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.expect("it has defaults")).collect();
                body.push(handmade::stage(layer, &args, "first"));
            }
            let (image, after) = random_image::stages(&self.image.0, &sample);
            body.extend(image);
            width = after.0[1..].iter().map(|dim| dim.factor()).product();
            if let Some(ending) = self.image.1 {
                body.push(handmade::stage(ending, &[], "ending"));
                width = after.0[1].factor();
            }
            body.push(handmade::stage(&layers::FLATTEN, &[], "flatten1"));
        }
        let mut names = Vec::new();
        let (rest, width) = stages(&self.stages, width, "", &mut names);
        body.extend(rest);
        (body, width, names)
    }

    /// One of the user's functions, of this value.
    fn inlined(&self, index: usize, value: &'static str) -> Expr<'static> {
        let numbers = [Expr::Number(0.5), Expr::Number(-0.25)].into_iter().take(self.functions[index].n_numbers());
        let operands: Vec<Expr<'static>> = [value_of(value)].into_iter().chain(numbers).collect();
        Expr::Inline(index, At(0), leak(operands))
    }

    /// What the loss and the metrics compare the output with, each once.
    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for criterion in self.loss.iter().chain(self.metrics.iter().flatten()) {
            let target = criterion.target(self.outputs);
            targets.extend((!targets.contains(&target)).then_some(target));
        }
        targets
    }

    fn metrics(&self, value: &'static str, has_classes: bool) -> Vec<Clause<'static>> {
        let Some(criteria) = &self.metrics else { return Vec::new() };
        let mut metrics = random_loss::measures(value, !self.seed.is_multiple_of(3));
        metrics.extend(has_classes.then(|| random_loss::of_classes(self.outputs)).into_iter().flatten());
        metrics.extend(
            criteria.iter().enumerate().map(|(index, criterion)| {
                handmade::clause(leak(format!("metric{index}")), criterion.expr(self.outputs))
            }),
        );
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
        Layer::Dropout { p } => (of(&layers::DROPOUT, &[Arg::Float(*p), Arg::Flag(false)]), width),
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
        Layer::Beside(first, second) => {
            let segment = structure("concat");
            let (first, left) = stages(first, width, &format!("{prefix}{segment}.1."), names);
            let (second, right) = stages(second, width, &format!("{prefix}{segment}.2."), names);
            let bodies = leak([leak(first).as_slice(), leak(second).as_slice()]);
            (stage(Kind::Branches { bodies }, segment), left + right)
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
    [Arg::Int(n as u64), Arg::Flag(true), Arg::Init(&initializers::AUTO, None)]
}
