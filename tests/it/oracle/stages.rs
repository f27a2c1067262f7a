//! Stages: layers, structures and functions of the user's own, one after the other.

use gradloom_runtime::layers::{Arg, LayerDef, Mode};
use gradloom_runtime::network::{Flow, Kind, Stage};

use super::Evaluator;
use super::activations::{activation, erf};
use super::array::{Array, Value};
use super::expressions::{settle, size};
use super::functions::function;
use super::images::normalized;
use super::sequences::sinusoidal;
use crate::handmade::leak;

/// Where stages stand: what their own paths and those of their parameters begin with, and whether they are those of a flow.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) owner: String,
    /// What those of stages with names begin with, in the outermost body of a flow.
    of_names: Option<[String; 2]>,
}

impl Place {
    fn and(&self, segment: &str) -> Place {
        let [path, owner] = [&self.path, &self.owner].map(|prefix| format!("{prefix}{segment}"));
        Place { path, owner, of_names: None }
    }

    /// The path of a stage.
    fn stage(&self, stage: &Stage<'_>) -> Place {
        match &self.of_names {
            Some([path, owner]) if stage.named => {
                Place { path: path.clone(), owner: owner.clone(), of_names: None }.and(stage.segment)
            }
            _ => self.and(stage.segment),
        }
    }

    /// What the random numbers of a stage go by.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl Evaluator<'_> {
    /// One line of a body of flows.
    pub(super) fn flow(&mut self, flow: &Flow<'static>) {
        let value = self.line(flow);
        let before = self.inside.last().map_or("", |[path, _]| path).to_string();
        match &flow.split {
            None => _ = self.names.insert(format!("{before}{}", flow.name), value),
            Some(split) => {
                let x = value.floats();
                let rank = x.shape.len() as i64;
                let axis = size(&split.axis);
                let axis = if axis < 0 { rank + axis } else { axis } as usize;
                let mut shape = x.shape.clone();
                shape[axis] /= split.names.len();
                for (index, name) in split.names.iter().enumerate() {
                    let part = Array::of(&shape, |place| {
                        let mut place = place.to_vec();
                        place[axis] += index * shape[axis];
                        x.at(&place)
                    });
                    self.names.insert(format!("{before}{name}"), Value::Floats(part));
                }
            }
        }
    }

    /// What a line comes to, before it is taken apart.
    pub(super) fn line(&mut self, flow: &Flow<'static>) -> Value {
        let before = self.inside.last().cloned().unwrap_or_default();
        let own = if flow.name.is_empty() { String::new() } else { format!("{}.", flow.name) };
        let [path, owner] = [0, 1].map(|which: usize| format!("{}{own}", before[which]));
        let at = Place { path, owner, of_names: Some(before.clone()) };
        let sources: Vec<Value> = flow.sources.iter().map(|source| self.expr(source, None)).collect();
        match (&sources[..], flow.stages) {
            ([one], []) => one.clone(),
            ([one], stages) => self.body(stages, &at, one.clone()),
            (several, [first, stages @ ..]) => {
                let joined = match (&first.kind, several) {
                    (Kind::Concat(axis), _) => {
                        let args = [Arg::Ints(leak([size(axis)]))];
                        function("concat", &args, several, &mut self.decisions).expect("it is a function")
                    }
                    (Kind::Layer(layer, args), [x, memory]) => {
                        let args = settle(layer.args, args);
                        Value::Floats(self.cross_attention(&at.stage(first), &args, x.floats(), memory.floats()))
                    }
                    (kind, _) => panic!("{kind:?} takes no {} values", several.len()),
                };
                if first.named {
                    self.names.insert(format!("{}{}", before[0], first.segment), joined.clone());
                }
                self.body(stages, &at, joined)
            }
            (several, []) => panic!("{} values and nothing to join them", several.len()),
        }
    }

    /// What a body makes of a value.
    pub(super) fn body(&mut self, stages: &[Stage<'static>], at: &Place, x: Value) -> Value {
        stages.iter().fold(x, |x, stage| self.stage(stage, at, x))
    }

    fn stage(&mut self, stage: &Stage<'static>, at: &Place, x: Value) -> Value {
        let at = at.stage(stage);
        let y = self.kind(&stage.kind, &at, x);
        if stage.named {
            self.names.insert(at.path, y.clone());
        }
        y
    }

    fn kind(&mut self, kind: &Kind<'static>, at: &Place, x: Value) -> Value {
        match (kind, x) {
            (Kind::Layer(layer, args), Value::Ids(bytes)) if layer.name == "normalize" => {
                let numbers = bytes.map(|byte| f64::from(byte) / 255.0);
                Value::Floats(normalized(&settle(layer.args, args), &numbers))
            }
            (Kind::Layer(..), Value::Ids(ids)) => Value::Floats(self.embedding(&at.owner, &ids)),
            (Kind::Block(body), x) => self.body(body, &at.and("."), x),
            (_, x) => Value::Floats(self.of_floats(kind, at, x.floats().clone())),
        }
    }

    /// What a body makes of numbers.
    fn inner(&mut self, stages: &[Stage<'static>], at: &Place, x: Array<f64>) -> Array<f64> {
        self.body(stages, at, Value::Floats(x)).floats().clone()
    }

    fn of_floats(&mut self, kind: &Kind<'static>, at: &Place, x: Array<f64>) -> Array<f64> {
        let inside = at.and(".");
        match kind {
            Kind::Layer(layer, args) => self.layer(layer, &settle(layer.args, args), at, x),
            Kind::Act(index, _) => {
                let shape = x.shape.clone();
                let extras = self.definition.acts[*index].extras;
                let numbers = extras.iter().map(|(name, _)| Value::Floats(self.param(&at.owner, name)));
                let operands = std::iter::once(Value::Floats(x)).chain(numbers).collect();
                self.act(*index, operands).floats().spread(&shape)
            }
            Kind::Residual { body, skip } => {
                let long = self.inner(body, &inside, x.clone());
                let short = match skip {
                    Some(skip) => self.inner(skip, &inside.and("skip."), x),
                    None => x,
                };
                long.with(&short, |long, short| long + short)
            }
            Kind::Repeat { count, body } => {
                (1..=size(count)).fold(x, |x, copy| self.inner(body, &inside.and(&format!("{copy}.")), x))
            }
            Kind::Branches { bodies } => {
                let branch = |(index, body): (usize, &&'static [Stage<'static>])| {
                    self.inner(body, &inside.and(&format!("{}.", index + 1)), x.clone())
                };
                joined(&bodies.iter().enumerate().map(branch).collect::<Vec<_>>())
            }
            Kind::Scan(scan) => self.scan(scan, at, x),
            // The parameters go by the name of the layer, wherever it stands.
            Kind::Shared(index) => {
                let layer = &self.definition.layers[*index];
                let at = Place { path: at.path.clone(), owner: layer.segment.to_string(), of_names: None };
                self.kind(&layer.kind, &at, Value::Floats(x)).floats().clone()
            }
            Kind::Block(_) | Kind::Concat(_) | Kind::Elsewhere | Kind::Broken => {
                panic!("no network that compiles has this")
            }
        }
    }

    fn layer(&mut self, layer: &'static LayerDef, args: &[Arg], at: &Place, x: Array<f64>) -> Array<f64> {
        let path = &at.owner;
        match (layer.name, args) {
            ("Dense", [_, bias, _, Arg::Path("")]) => self.dense(path, *bias == Arg::Flag(true), &x),
            ("Dense", [_, bias, _, Arg::Path(other)]) => {
                let other = self.value(other).floats().clone();
                let weight = Array::of(&[other.shape[1], other.shape[0]], |at| other.at(&[at[1], at[0]]));
                self.rows_times(&weight, path, *bias == Arg::Flag(true), &x)
            }
            ("BatchNorm", &[Arg::Float(momentum), Arg::Float(eps), Arg::Int(every)]) => {
                self.batch_norm(path, momentum, eps, every, &x)
            }
            ("LayerNorm", &[Arg::Float(eps)]) => {
                let rows = x.rows().flat_map(|row| {
                    let (mean, variance) = moments(row);
                    row.iter().map(|x| (x - mean) / (variance + eps).sqrt()).collect::<Vec<f64>>()
                });
                let normalized = Array::new(&x.shape, rows.collect());
                let last = x.shape[x.shape.len() - 1];
                self.scaled(path, normalized, |at| at % last)
            }
            ("Standardize", _) => self.placed(path, &x, "running_mean", "running_var", |_, variance| variance.sqrt()),
            ("MinMax", _) => self.placed(path, &x, "running_min", "running_max", |least, most| most - least),
            ("RmsNorm", &[Arg::Float(eps)]) => self.rms_norm(path, eps, &x),
            ("Positional", _) => self.positional(path, &x),
            ("positions", _) => sinusoidal(&x),
            ("Attention", args) => self.attention(at, args, &x),
            ("Rnn" | "Gru" | "Lstm", args) => self.recurrent(layer.name, path, args, &x),
            ("Dropout", &[Arg::Float(p), channels]) => self.dropout(&at.path, p, channels == Arg::Flag(true), x),
            ("normalize", args) => normalized(args, &x),
            ("random_crop", &[pad]) => self.random_crop(&at.path, pad, x),
            ("random_flip", &[Arg::Float(p)]) => self.random_flip(&at.path, p, x),
            ("Conv2d", args) => self.conv2d(path, args, &x),
            ("Conv1d", args) => self.conv1d(path, args, &x),
            ("ConvTranspose2d", args) => self.conv_transpose2d(path, args, &x),
            ("upsample", args) => self.upsample(args, &x),
            ("GroupNorm", args) => self.group_norm(path, args, &x),
            ("max_pool", args) => self.max_pool(args, &x),
            ("avg_pool", args) => self.avg_pool(args, &x),
            ("global_avg_pool", _) => self.global_pool(false, &x),
            ("global_max_pool", _) => self.global_pool(true, &x),
            ("Normal", &[Arg::Float(deviation)]) => self.normal(&at.path, deviation, x),
            ("flatten", _) => {
                let width = x.shape[1..].iter().product();
                Array::new(&[x.shape[0], width], x.data)
            }
            ("prelu", _) => {
                let slope = self.param(path, "slope").data[0];
                x.map(|x| if self.decisions.above(x, 0.0) { x } else { slope * x })
            }
            (name, args) => activation(name, args, &x, &mut self.decisions),
        }
    }

    /// Each feature as its distance from one statistic, divided by what both make; not divided where that is nothing.
    fn placed(&self, path: &str, x: &Array<f64>, from: &str, other: &str, scale: fn(f64, f64) -> f64) -> Array<f64> {
        let (from, other) = (self.param(path, from).data, self.param(path, other).data);
        let last = x.shape.len() - 1;
        Array::of(&x.shape, |place| {
            let (from, scale) = (from[place[last]], scale(from[place[last]], other[place[last]]));
            (x.at(place) - from) / if scale > 0.0 { scale } else { 1.0 }
        })
    }

    pub(super) fn dense(&self, path: &str, has_bias: bool, x: &Array<f64>) -> Array<f64> {
        self.rows_times(&self.param(path, "weight"), path, has_bias, x)
    }

    fn rows_times(&self, weight: &Array<f64>, path: &str, has_bias: bool, x: &Array<f64>) -> Array<f64> {
        let n = weight.shape[1];
        let bias = if has_bias { self.param(path, "bias").data } else { vec![0.0; n] };
        let mut y = Vec::new();
        for row in x.rows() {
            for (column, bias) in bias.iter().enumerate() {
                let products = row.iter().enumerate().map(|(at, x)| x * weight.data[at * n + column]);
                y.push(products.sum::<f64>() + bias);
            }
        }
        let shape: Vec<usize> = x.shape[..x.shape.len() - 1].iter().copied().chain([n]).collect();
        Array::new(&shape, y)
    }

    fn batch_norm(&mut self, path: &str, momentum: f64, eps: f64, every: u64, x: &Array<f64>) -> Array<f64> {
        let mut mean = self.param(path, "running_mean").data;
        let mut variance = self.param(path, "running_var").data;
        if self.mode == Mode::Train {
            let is_due = (self.step - 1).is_multiple_of(every);
            for at in 0..mean.len() {
                let own = x.data.iter().enumerate().filter(|(element, _)| channel(&x.shape, *element) == at);
                let column: Vec<f64> = own.map(|(_, x)| *x).collect();
                let rows = column.len() as f64;
                let (batch_mean, batch_variance) = moments(&column);
                let unbiased = batch_variance * rows / (rows - 1.0);
                let next = |running: f64, batch: f64| {
                    if is_due { momentum * running + (1.0 - momentum) * batch } else { running }
                };
                let updates =
                    [("running_mean", next(mean[at], batch_mean)), ("running_var", next(variance[at], unbiased))];
                for (name, next) in updates {
                    self.updates.entry(format!("{path}.{name}")).or_default().push(next);
                }
                (mean[at], variance[at]) = (batch_mean, batch_variance);
            }
        }
        let normalized = x.data.iter().enumerate().map(|(at, number)| {
            let column = channel(&x.shape, at);
            (number - mean[column]) / (variance[column] + eps).sqrt()
        });
        let normalized = Array::new(&x.shape, normalized.collect());
        self.scaled(path, normalized, |at| channel(&x.shape, at))
    }

    /// `gamma x + beta`, with the number of gamma and beta for each element
    pub(super) fn scaled(&self, path: &str, x: Array<f64>, column: impl Fn(usize) -> usize) -> Array<f64> {
        let (gamma, beta) = (self.param(path, "gamma").data, self.param(path, "beta").data);
        let numbers = x.data.iter().enumerate().map(|(at, number)| {
            let column = column(at);
            gamma[column] * number + beta[column]
        });
        Array::new(&x.shape, numbers.collect())
    }

    fn dropout(&mut self, path: &str, p: f64, of_channels: bool, x: Array<f64>) -> Array<f64> {
        if self.mode != Mode::Train || p == 0.0 {
            return x;
        }
        let key = self.values.keys[path];
        // Whole channels are the elements of a matrix with a row for each sample.
        let positions = if of_channels { x.shape[2..].iter().product() } else { 1 };
        let width = match x.shape[..] {
            [_, channels, ..] if of_channels => channels,
            [_, .., last] => last,
            _ => 1,
        };
        let numbers = x.data.iter().enumerate().map(|(at, x)| {
            let at = at / positions;
            dropped(key, p, [at / width, at % width], *x)
        });
        Array::new(&x.shape, numbers.collect())
    }

    fn normal(&mut self, path: &str, deviation: f64, x: Array<f64>) -> Array<f64> {
        if self.mode != Mode::Train || deviation == 0.0 {
            return x.map(|_| 0.0);
        }
        let width = if x.shape.len() == 1 { 1 } else { x.shape[x.shape.len() - 1] };
        let middle = 0.5 / f64::from(1 << 24);
        let numbers = (0..x.data.len()).map(|at| deviation * quantile(self.uniform(path, at, width) + middle));
        Array::new(&x.shape, numbers.collect())
    }

    /// A random number in [0, 1), for an element of a matrix of so many columns.
    fn uniform(&self, path: &str, at: usize, width: usize) -> f64 {
        uniform(self.values.keys[path], [at / width, at % width])
    }
}

/// The number below which the normal distribution has this probability: a start that is right to three digits (Abramowitz &
/// Stegun 1964, 26.2.23), then Newton's method.
fn quantile(p: f64) -> f64 {
    let t = (-2.0 * p.min(1.0 - p).ln()).sqrt();
    let start = t
        - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
            / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t);
    let mut z = if p < 0.5 { -start } else { start };
    for _ in 0..4 {
        let below = (1.0 + erf(z / 2f64.sqrt())) / 2.0;
        z -= (below - p) / ((-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt());
    }
    z
}

#[test]
fn quantiles_are_those_of_tables() {
    for (p, z) in
        [(0.5, 0.0), (0.975, 1.959_963_984_540_054), (0.01, -2.326_347_874_040_841), (0.3, -0.524_400_512_708_041)]
    {
        assert!((quantile(p) - z).abs() < 1e-12, "{p}: {}", quantile(p));
    }
}

/// What is left of the number in this row and column, where each is dropped with probability `p`.
pub(super) fn dropped(key: [u32; 2], p: f64, [row, column]: [usize; 2], x: f64) -> f64 {
    let p = (p * f64::from(1 << 24)).ceil() / f64::from(1 << 24);
    if uniform(key, [row, column]) >= p { x / (1.0 - p) } else { 0.0 }
}

/// A random number in [0, 1), for this row and column.
pub(super) fn uniform(key: [u32; 2], [row, column]: [usize; 2]) -> f64 {
    f64::from(pcg4d([column as u32, row as u32, key[0], key[1]]) >> 8) / f64::from(1 << 24)
}

/// The values one after the other along their second axis.
fn joined(parts: &[Array<f64>]) -> Array<f64> {
    let inner = |part: &Array<f64>| part.shape[1..].iter().product::<usize>();
    let mut shape = parts[0].shape.clone();
    shape[1] = parts.iter().map(|part| part.shape[1]).sum();
    let rows = (0..shape[0])
        .flat_map(|row| parts.iter().flat_map(move |part| part.data[row * inner(part)..][..inner(part)].to_vec()));
    Array::new(&shape, rows.collect())
}

/// Which feature or channel an element belongs to.
pub(super) fn channel(shape: &[usize], at: usize) -> usize {
    at / shape[2..].iter().product::<usize>() % shape[1]
}

/// Mean, and biased variance.
pub(super) fn moments(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (mean, x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n)
}

/// The first of the four words that Jarzynski & Olano 2020 make of four.
fn pcg4d(words: [u32; 4]) -> u32 {
    let [mut x, mut y, mut z, mut w] = words.map(|word| word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    for round in 0..2 {
        x = x.wrapping_add(y.wrapping_mul(w));
        y = y.wrapping_add(z.wrapping_mul(x));
        z = z.wrapping_add(x.wrapping_mul(y));
        w = w.wrapping_add(y.wrapping_mul(z));
        if round == 0 {
            [x, y, z, w] = [x, y, z, w].map(|word| word ^ word >> 16);
        }
    }
    x
}
