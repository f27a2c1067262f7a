//! Bodies: layers, activations, structures and functions of the user's own, whatever the rank of what comes in.

use std::collections::HashSet;

use gradloom_runtime::layers::initializers::{self, AUTO};
use gradloom_runtime::layers::{self, Arg, ArgDef, LayerDef};
use gradloom_runtime::network::{At, Expr, Kind, Stage, Value};
use gradloom_runtime::types::{Dim, Shape};

use super::expressions::{DrawnAct, SCALE};
use super::names::{Scope, SourcePlace};
use super::numbers::{argument, size};
use super::tape::Tape;
use crate::handmade::{completed, leak};

/// A body while it is drawn, and what expressions may read of it.
pub struct Body<'t, 'n> {
    pub(super) tape: &'t mut Tape<'n>,
    /// What the paths of the flow begin with that is drawn; those of stages with names do not.
    pub(super) flow: Option<String>,
    acts: &'t [DrawnAct],
    /// Named values and parameters.
    pub known: Vec<(Expr<'static>, Shape)>,
    pub output: Shape,
    pub has_norm: bool,
    pub has_dense: bool,
    /// The names of the bodies that this one is in, the outermost first.
    pub scopes: Vec<Scope>,
    /// In the body of a loop, how many bodies its lines are in.
    pub(super) in_loop: Option<usize>,
    /// In how many loops inside one another it is.
    pub(super) loops: usize,
}

impl<'t, 'n> Body<'t, 'n> {
    /// A body where the ports have these names.
    pub fn new(tape: &'t mut Tape<'n>, acts: &'t [DrawnAct], ports: HashSet<String>) -> Body<'t, 'n> {
        let scopes = vec![Scope { taken: ports, ..Scope::default() }];
        Body {
            tape,
            flow: None,
            acts,
            known: Vec::new(),
            output: Shape::scalar(),
            has_norm: false,
            has_dense: false,
            scopes,
            in_loop: None,
            loops: 0,
        }
    }

    /// The stages of a network: at least one with parameters, and others if there are to be `several`. What comes in may be
    /// ids of so many classes, or the bytes of images.
    pub fn outermost(
        &mut self,
        x: &Shape,
        classes: Option<usize>,
        of_bytes: bool,
        several: bool,
    ) -> Vec<Stage<'static>> {
        let prefixes = [String::new()];
        let converted = of_bytes.then(|| self.normalize(x).0);
        let dense = x.rank() >= 2 && !self.tape.chance(30);
        let (first, y) = match classes {
            Some(classes) => self.embedding(x, classes, &prefixes),
            None if dense => self.dense(x, &prefixes),
            None => self.act_of(SCALE, x, &prefixes),
        };
        self.know_value(&prefixes, &first, &y);
        let mut stages: Vec<Stage<'static>> = converted.into_iter().chain([first]).collect();
        if several && self.tape.chance(4) {
            stages.extend(self.eleven(&y, &prefixes));
        }
        let (rest, output) = if several { self.stages(&y, &prefixes, 2) } else { (Vec::new(), y) };
        self.output = output;
        stages.extend(rest);
        stages
    }

    /// As many copies of a function or of the rectifier that owns its slope.
    fn eleven(&mut self, x: &Shape, prefixes: &[String]) -> Vec<Stage<'static>> {
        let own = self.tape.chance(30);
        let index = self.fitting_act(x);
        let stage = |body: &mut Self| {
            let (stage, _) = if own { body.own(&layers::PRELU, x, prefixes) } else { body.act_of(index, x, prefixes) };
            body.know_value(prefixes, &stage, x);
            stage
        };
        (0..11).map(|_| stage(self)).collect()
    }

    /// What stands inside of a structure, with names of its own.
    pub(super) fn within<T>(&mut self, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.scopes.push(Scope::default());
        let result = inside(self);
        self.scopes.pop();
        result
    }

    /// Stages that stand at these paths, one for each copy.
    pub(super) fn stages(&mut self, x: &Shape, prefixes: &[String], depth: usize) -> (Vec<Stage<'static>>, Shape) {
        let mut x = x.clone();
        let mut stages = Vec::new();
        let most = if depth == 2 { 6 } else { 3 };
        while stages.is_empty() || stages.len() < most && self.tape.chance(65) {
            let (stage, y) = self.stage(&x, prefixes, depth);
            self.know_value(prefixes, &stage, &y);
            stages.push(stage);
            x = y;
        }
        (stages, x)
    }

    /// A stage of the same shape, or one that may change it.
    fn stage(&mut self, x: &Shape, prefixes: &[String], depth: usize) -> (Stage<'static>, Shape) {
        match (self.tape.below(100), x.rank()) {
            (0..30, 2) | (12..24, 3) => self.dense(x, prefixes),
            (0..12, 4) => self.conv(x, prefixes),
            (0..12, 3) => self.conv1d(x, prefixes),
            (12..16, 4) => self.conv_transpose(x, prefixes),
            (16..21, 4) => self.pool(x),
            (21..24, 4) => self.upsample(x),
            (24..28, 3..) => self.dense(x, prefixes),
            (28..30, 3..) => {
                let layer = self.tape.pick(&[&layers::GLOBAL_AVG_POOL, &layers::GLOBAL_MAX_POOL]);
                let (stage, _) = self.layer(layer, Vec::new(), x);
                (stage, Shape(x.0[..2].to_vec()))
            }
            (30..38, 2..) if self.in_loop.is_none() => {
                self.has_norm = true;
                let momentum = [0.9, 0.0, 1.0, 0.5].map(Arg::Float);
                let usual = [&momentum[..], &[Arg::Float(1e-5)], &[1, 2, 3, 1000].map(Arg::Int)];
                let args = self.arguments(&layers::BATCH_NORM, &usual);
                let (stage, y) = self.layer(&layers::BATCH_NORM, args, x);
                self.affine(&stage, x.0[1], prefixes);
                (stage, y)
            }
            (38..44, 3..) => {
                let channels = x.0[1].factor() as u64;
                let groups = self.tape.pick(&[1, channels]);
                let args = self.arguments(&layers::GROUP_NORM, &[&[Arg::Int(groups)], &[Arg::Float(1e-2)]]);
                let (stage, y) = self.layer(&layers::GROUP_NORM, args, x);
                self.affine(&stage, x.0[1], prefixes);
                (stage, y)
            }
            (44..46, 4) => self.augment(x),
            (38..46, 2..) => {
                let args = self.arguments(&layers::LAYER_NORM, &[&[Arg::Float(1e-2)]]);
                let (stage, y) = self.layer(&layers::LAYER_NORM, args, x);
                self.affine(&stage, x.0[x.rank() - 1], prefixes);
                (stage, y)
            }
            (46..52, 3) => self.of_sequence(x, prefixes),
            (48..50, 2) => self.rms_norm(x, prefixes),
            (46..52, 3..) | (46..48, _) => {
                let width = x.0[1..].iter().map(|dim| dim.factor()).product();
                let (stage, _) = self.layer(&layers::FLATTEN, Vec::new(), x);
                (stage, Shape(vec![Dim::B, Dim::Fixed(width)]))
            }
            (52, _) => {
                let args = self.arguments(&layers::NORMAL_NOISE, &[&[1.0, 0.25, 0.0].map(Arg::Float)]);
                self.layer(&layers::NORMAL_NOISE, args, x)
            }
            (53..58, _) => {
                let channels = x.rank() > 1 && self.tape.chance(30);
                let usual = [&[0.0, 0.25, 0.5].map(Arg::Float)[..], &[Arg::Flag(channels)]];
                let args = self.arguments(&layers::DROPOUT, &usual);
                self.layer(&layers::DROPOUT, args, x)
            }
            (58..72, _) => self.act(x, prefixes),
            (72..84, _) if depth > 0 => self.structure(x, prefixes, depth - 1),
            (84..90, _) => self.own(&layers::PRELU, x, prefixes),
            (90..93, _) => self.normalize(x),
            (93, 2..) => {
                let layer = self.tape.pick(&[&layers::STANDARDIZE, &layers::MIN_MAX]);
                self.layer(layer, Vec::new(), x)
            }
            _ => {
                let rows = x.rank() >= 2;
                let all = layers::ALL.iter().copied().filter(|layer| layer.function.is_some());
                let fitting: Vec<&LayerDef> = all.filter(|layer| rows || !layer.name.ends_with("softmax")).collect();
                let layer = self.tape.pick(&fitting);
                let args = arguments(layer, self.tape);
                self.layer(layer, args, x)
            }
        }
    }

    fn dense(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let n = self.tape.pick(&[2, 3, 1, 4]);
        self.dense_of(n, x, prefixes)
    }

    pub(super) fn dense_of(&mut self, n: usize, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let bias = !self.tape.chance(30);
        let mut args = self.arguments(&layers::DENSE, &[&[Arg::Int(n as u64)], &[Arg::Flag(bias)]]);
        args.push(self.initializer());
        let (stage, _) = self.layer(&layers::DENSE, args, x);
        let (leading, fan_in) = (&x.0[..x.rank() - 1], x.0[x.rank() - 1].factor());
        self.know(prefixes, &stage, ".weight", &Shape(vec![Dim::Fixed(fan_in), Dim::Fixed(n)]));
        if bias {
            self.know(prefixes, &stage, ".bias", &Shape(vec![Dim::Fixed(n)]));
        }
        (stage, Shape(leading.iter().copied().chain([Dim::Fixed(n)]).collect()))
    }

    /// Scale and shift of a norm, along an axis of so many numbers.
    fn affine(&mut self, stage: &Stage<'static>, along: Dim, prefixes: &[String]) {
        for name in [".gamma", ".beta"] {
            self.know(prefixes, stage, name, &Shape(vec![along]));
        }
    }

    /// The rectifier that owns its slope.
    fn own(&mut self, layer: &'static LayerDef, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let (stage, y) = self.layer(layer, Vec::new(), x);
        self.know(prefixes, &stage, ".slope", &Shape::scalar());
        (stage, y)
    }

    pub(super) fn layer(
        &mut self,
        layer: &'static LayerDef,
        args: Vec<Value<'static>>,
        x: &Shape,
    ) -> (Stage<'static>, Shape) {
        let stage = self.named(Kind::Layer(layer, leak(completed(layer, args))), layer.stem);
        (Stage { text: layer.name, ..stage }, x.clone())
    }

    /// The first arguments of a layer, each usually one of these.
    pub(super) fn arguments(&mut self, layer: &LayerDef, usual: &[&[Arg]]) -> Vec<Value<'static>> {
        layer.args.iter().zip(usual).map(|(arg, usual)| argument(self.tape, arg, usual)).collect()
    }

    pub(super) fn initializer(&mut self) -> Value<'static> {
        if !self.tape.chance(30) {
            return Value::Known(Arg::Init(&AUTO, None));
        }
        let initializer = self.tape.pick(initializers::ALL);
        let number = initializer.number.as_ref();
        let values: Vec<Value<'static>> =
            number.map(|arg| argument(self.tape, arg, &[Arg::Float(0.5), Arg::Float(1.0)])).into_iter().collect();
        Value::Init(initializer, At(0), leak(values))
    }

    fn act(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let index = self.fitting_act(x);
        self.act_of(index, x, prefixes)
    }

    fn fitting_act(&mut self, x: &Shape) -> usize {
        let fitting = (0..self.acts.len()).filter(|&at| x.rank() >= 2 || !self.acts[at].needs_rows);
        let fitting: Vec<usize> = fitting.collect();
        self.tape.pick(&fitting)
    }

    pub(super) fn act_of(&mut self, index: usize, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let act = &self.acts[index].act;
        let starts: Vec<f64> = act.extras.iter().map(|_| self.tape.pick(&[1.0, 0.5, -0.5])).collect();
        let stage = self.named(Kind::Act(index, leak(starts)), act.name.unwrap_or("lambda"));
        for (name, _) in act.extras {
            self.know(prefixes, &stage, leak(format!(".{name}")), &Shape::scalar());
        }
        (stage, x.clone())
    }

    fn structure(&mut self, x: &Shape, prefixes: &[String], depth: usize) -> (Stage<'static>, Shape) {
        let flow = self.flow.clone();
        let at = |stage: &Stage<'static>, inside: &str| -> Vec<String> {
            prefixes.iter().map(|prefix| format!("{}.{inside}", path(flow.as_deref(), prefix, stage))).collect()
        };
        match self.tape.below(6) {
            5 if x.rank() > 2 && self.loops < 2 => self.scan(x, prefixes, depth, None),
            4 if x.rank() > 1 => {
                let stage = self.named(Kind::Broken, "concat");
                let [first, second] = ["1.", "2."].map(|inside| at(&stage, inside));
                let (body, y) = self.within(|inner| inner.stages(x, &first, depth));
                if y.rank() > 2 && y != *x {
                    // Nothing else is sure to give this shape.
                    let bodies = leak([leak(body).as_slice()]);
                    return (Stage { kind: Kind::Branches { bodies }, ..stage }, y);
                }
                let other = self.within(|inner| inner.stages_to(x, &y, &second, depth));
                let mut shape = y;
                shape.0[1] = Dim::Fixed(2 * shape.0[1].factor());
                let bodies = leak([leak(body).as_slice(), other]);
                (Stage { kind: Kind::Branches { bodies }, ..stage }, shape)
            }
            0 => {
                let stem = self.tape.pick(&["block", "dense", "f1"]);
                let stage = self.named(Kind::Broken, stem);
                let prefixes = at(&stage, "");
                let (body, y) = self.within(|inner| inner.stages(x, &prefixes, depth));
                (Stage { kind: Kind::Block(leak(body)), ..stage }, y)
            }
            1 => {
                let stage = self.named(Kind::Broken, "residual");
                let prefixes = at(&stage, "");
                let body = self.within(|inner| inner.stages_to(x, x, &prefixes, depth));
                (Stage { kind: Kind::Residual { body, skip: None }, ..stage }, x.clone())
            }
            2 => {
                let stage = self.named(Kind::Broken, "residual");
                let [long, short] = ["", "skip."].map(|inside| at(&stage, inside));
                let (body, y) = self.within(|inner| inner.stages(x, &long, depth));
                if y.rank() > 2 && y != *x {
                    // Nothing else is sure to give this shape.
                    return (Stage { kind: Kind::Block(leak(body)), ..stage }, y);
                }
                let skip = Some(self.within(|inner| inner.stages_to(x, &y, &short, depth)));
                (Stage { kind: Kind::Residual { body: leak(body), skip }, ..stage }, y)
            }
            _ => {
                let stage = self.named(Kind::Broken, "repeat");
                let many = prefixes.len() == 1 && self.tape.chance(15);
                let count = if many { self.tape.pick(&[10, 11, 3]) } else { 1 + self.tape.below(2) };
                let copies: Vec<String> = (1..=count).flat_map(|copy| at(&stage, &format!("{copy}."))).collect();
                let body = match many {
                    false => self.within(|inner| inner.stages_to(x, x, &copies, depth)),
                    true => self.within(|inner| {
                        let (only, _) = inner.act(x, &copies);
                        inner.know_value(&copies, &only, x);
                        leak(vec![only]).as_slice()
                    }),
                };
                (Stage { kind: Kind::Repeat { count: size(self.tape, count), body }, ..stage }, x.clone())
            }
        }
    }

    /// Stages that give this shape.
    pub(super) fn stages_to(
        &mut self,
        x: &Shape,
        wanted: &Shape,
        prefixes: &[String],
        depth: usize,
    ) -> &'static [Stage<'static>] {
        let before = self.known.len();
        let (mut stages, mut y) = self.stages(x, prefixes, depth);
        if y != *wanted && wanted.rank() == 2 {
            if y.rank() != 2 {
                let width = y.0[1..].iter().map(|dim| dim.factor()).product();
                let flatten = self.layer(&layers::FLATTEN, Vec::new(), &y).0;
                y = Shape(vec![Dim::B, Dim::Fixed(width)]);
                self.know_value(prefixes, &flatten, &y);
                stages.push(flatten);
            }
            let dense = self.dense_of(wanted.0[1].factor(), &y, prefixes).0;
            self.know_value(prefixes, &dense, wanted);
            stages.push(dense);
        } else if y != *wanted {
            // Nothing gives an axis back.
            self.known.truncate(before);
            let scope = self.scopes.last_mut().expect("a body has names");
            *scope = Scope::default();
            let own = self.own(&layers::PRELU, x, prefixes).0;
            self.know_value(prefixes, &own, x);
            stages = vec![own];
        }
        leak(stages)
    }

    /// A stage, with the name that it has in this body.
    pub(super) fn named(&mut self, kind: Kind<'static>, stem: &str) -> Stage<'static> {
        let place = if self.scopes.len() == 1 { SourcePlace::Value } else { SourcePlace::Inner };
        if self.in_loop == Some(self.scopes.len()) {
            // Those of the lines of a loop are drawn without names of their own.
            let scope = self.scopes.last_mut().expect("a body has names");
            let segment: &'static str = leak(scope.number(stem));
            return Stage { kind, segment, named: false, text: segment, at: At(0) };
        }
        let scope = self.scopes.last_mut().expect("a body has names");
        let (segment, named) = scope.segment(self.tape, stem, place);
        Stage { kind, segment, named, text: segment, at: At(0) }
    }

    /// What a stage gives, if its name is known.
    pub(super) fn know_value(&mut self, prefixes: &[String], stage: &Stage<'static>, y: &Shape) {
        if stage.named && self.in_loop.is_none() {
            self.know(prefixes, stage, "", y);
        }
    }

    pub(super) fn know(&mut self, prefixes: &[String], stage: &Stage<'static>, name: &str, shape: &Shape) {
        for prefix in prefixes {
            let path: &'static str = leak(format!("{}{name}", path(self.flow.as_deref(), prefix, stage)));
            let expr = if path.contains('.') { Expr::Path(path, At(0)) } else { Expr::Name(path) };
            self.known.push((expr, shape.clone()));
        }
    }
}

/// The path of a stage: in the outermost body of a flow, its name alone if it has one.
pub(super) fn path(flow: Option<&str>, prefix: &str, stage: &Stage<'static>) -> String {
    match stage.named && flow == Some(prefix) {
        true => stage.segment.to_string(),
        false => format!("{prefix}{}", stage.segment),
    }
}

/// Values for the arguments of an activation.
pub fn arguments(layer: &LayerDef, tape: &mut Tape<'_>) -> Vec<Value<'static>> {
    let value = |arg: &ArgDef, tape: &mut Tape<'_>| match arg.default.expect("an activation has defaults") {
        Arg::Word(_) => argument(tape, arg, &["none", "tanh"].map(Arg::Word)),
        number => argument(tape, arg, &[number, Arg::Float(0.5), Arg::Float(1.5)]),
    };
    layer.args.iter().map(|arg| value(arg, tape)).collect()
}
