//! Bodies: layers, activations, structures and functions of the user's own, whatever the rank of what comes in.

use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg, LayerDef};
use gradloom_runtime::network::{At, Expr, Kind, Stage};
use gradloom_runtime::types::{Dim, Shape};

use super::expressions::{DrawnAct, SCALE};
use super::tape::Tape;
use crate::handmade::{self, leak};

/// A body while it is drawn, and what expressions may read of it.
pub struct Body<'t, 'n> {
    tape: &'t mut Tape<'n>,
    acts: &'t [DrawnAct],
    /// Named values and parameters.
    pub known: Vec<(Expr<'static>, Shape)>,
    pub output: Shape,
    pub has_norm: bool,
    pub has_dense: bool,
    count: usize,
}

impl<'t, 'n> Body<'t, 'n> {
    pub fn new(tape: &'t mut Tape<'n>, acts: &'t [DrawnAct]) -> Body<'t, 'n> {
        Body { tape, acts, known: Vec::new(), output: Shape::scalar(), has_norm: false, has_dense: false, count: 0 }
    }

    /// The stages of a network: at least one with parameters, and others if there are to be `several`.
    pub fn outermost(&mut self, x: &Shape, several: bool) -> Vec<Stage<'static>> {
        let prefixes = [String::new()];
        let dense = x.rank() == 2 && !self.tape.chance(30);
        let (first, y) = if dense { self.dense(x, &prefixes) } else { self.act_of(SCALE, x, &prefixes) };
        let (rest, output) = if several { self.stages(&y, &prefixes, 2) } else { (Vec::new(), y) };
        self.output = output;
        std::iter::once(first).chain(rest).collect()
    }

    /// Stages that stand at these paths, one for each copy.
    fn stages(&mut self, x: &Shape, prefixes: &[String], depth: usize) -> (Vec<Stage<'static>>, Shape) {
        let mut x = x.clone();
        let mut stages = Vec::new();
        let most = if depth == 2 { 6 } else { 3 };
        while stages.is_empty() || stages.len() < most && self.tape.chance(65) {
            let (stage, y) = self.stage(&x, prefixes, depth);
            let named = self.tape.chance(30);
            if named {
                self.know(prefixes, stage.segment, "", &y);
            }
            stages.push(Stage { named, ..stage });
            x = y;
        }
        (stages, x)
    }

    /// A stage of the same shape, or one that may change it.
    fn stage(&mut self, x: &Shape, prefixes: &[String], depth: usize) -> (Stage<'static>, Shape) {
        match (self.tape.below(100), x.rank()) {
            (0..30, 2) => self.dense(x, prefixes),
            (30..38, 2) => {
                self.has_norm = true;
                let momentum = self.tape.pick(&[0.9, 0.0, 1.0, 0.5]);
                let args = [Arg::Float(momentum), Arg::Float(1e-5), Arg::Int(1 + self.tape.below(3) as u64)];
                let (stage, y) = self.layer(&layers::BATCH_NORM, &args, x, prefixes);
                self.affine(&stage, x, prefixes);
                (stage, y)
            }
            (38..46, 2) => {
                let (stage, y) = self.layer(&layers::LAYER_NORM, &[Arg::Float(1e-2)], x, prefixes);
                self.affine(&stage, x, prefixes);
                (stage, y)
            }
            (46..52, 3..) | (46..48, _) => {
                let width = x.0[1..].iter().map(|dim| dim.factor()).product();
                let (stage, _) = self.layer(&layers::FLATTEN, &[], x, prefixes);
                (stage, Shape(vec![Dim::B, Dim::Fixed(width)]))
            }
            (52..58, _) => {
                let p = self.tape.pick(&[0.0, 0.25, 0.5]);
                self.layer(&layers::DROPOUT, &[Arg::Float(p)], x, prefixes)
            }
            (58..72, _) => self.act(x, prefixes),
            (72..84, _) if depth > 0 => self.structure(x, prefixes, depth - 1),
            (84..90, _) => self.own(&layers::PRELU, x, prefixes),
            _ => {
                let rows = x.rank() >= 2;
                let all = layers::ALL.iter().copied().filter(|layer| layer.function.is_some());
                let fitting: Vec<&LayerDef> = all.filter(|layer| rows || !layer.name.ends_with("softmax")).collect();
                let layer = self.tape.pick(&fitting);
                let args = arguments(layer, self.tape);
                self.layer(layer, &args, x, prefixes)
            }
        }
    }

    fn dense(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let n = self.tape.pick(&[2, 3, 1, 4]);
        self.dense_of(n, x, prefixes)
    }

    fn dense_of(&mut self, n: usize, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let bias = !self.tape.chance(30);
        let args = [Arg::Int(n as u64), Arg::Flag(bias), Arg::Init(&AUTO, None)];
        let (stage, _) = self.layer(&layers::DENSE, &args, x, prefixes);
        self.know(prefixes, stage.segment, ".weight", &Shape(vec![Dim::Fixed(x.0[1].factor()), Dim::Fixed(n)]));
        if bias {
            self.know(prefixes, stage.segment, ".bias", &Shape(vec![Dim::Fixed(n)]));
        }
        (stage, Shape(vec![x.0[0], Dim::Fixed(n)]))
    }

    /// Scale and shift of a norm.
    fn affine(&mut self, stage: &Stage<'static>, x: &Shape, prefixes: &[String]) {
        for name in [".gamma", ".beta"] {
            self.know(prefixes, stage.segment, name, &Shape(vec![x.0[1]]));
        }
    }

    /// The rectifier that owns its slope.
    fn own(&mut self, layer: &'static LayerDef, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let (stage, y) = self.layer(layer, &[], x, prefixes);
        self.know(prefixes, stage.segment, ".slope", &Shape::scalar());
        (stage, y)
    }

    fn layer(&mut self, layer: &'static LayerDef, args: &[Arg], x: &Shape, _: &[String]) -> (Stage<'static>, Shape) {
        let segment = self.segment(layer.stem);
        (handmade::stage(layer, args, segment), x.clone())
    }

    fn act(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let fitting = (0..self.acts.len()).filter(|&at| x.rank() >= 2 || !self.acts[at].needs_rows);
        let fitting: Vec<usize> = fitting.collect();
        let index = self.tape.pick(&fitting);
        self.act_of(index, x, prefixes)
    }

    fn act_of(&mut self, index: usize, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let segment = self.segment("own");
        let extras = self.acts[index].act.extras;
        let starts: Vec<f64> = extras.iter().map(|_| self.tape.pick(&[1.0, 0.5, -0.5])).collect();
        for (name, _) in extras {
            self.know(prefixes, segment, leak(format!(".{name}")), &Shape::scalar());
        }
        (stage(Kind::Act(index, leak(starts)), segment), x.clone())
    }

    fn structure(&mut self, x: &Shape, prefixes: &[String], depth: usize) -> (Stage<'static>, Shape) {
        let within = |segment: &str, inside: &str| -> Vec<String> {
            prefixes.iter().map(|prefix| format!("{prefix}{segment}.{inside}")).collect()
        };
        match self.tape.below(4) {
            0 => {
                let segment = self.segment("block");
                let (body, y) = self.stages(x, &within(segment, ""), depth);
                (stage(Kind::Block(leak(body)), segment), y)
            }
            1 => {
                let segment = self.segment("residual");
                let prefixes = within(segment, "");
                let body = self.stages_to(x, x, &prefixes, depth);
                (stage(Kind::Residual { body, skip: None }, segment), x.clone())
            }
            2 => {
                let segment = self.segment("residual");
                let (body, y) = self.stages(x, &within(segment, ""), depth);
                let skip = Some(self.stages_to(x, &y, &within(segment, "skip."), depth));
                (stage(Kind::Residual { body: leak(body), skip }, segment), y)
            }
            _ => {
                let segment = self.segment("repeat");
                let count = 1 + self.tape.below(2);
                let copies: Vec<String> = (1..=count).flat_map(|copy| within(segment, &format!("{copy}."))).collect();
                let body = self.stages_to(x, x, &copies, depth);
                (stage(Kind::Repeat { count: handmade::number(count), body }, segment), x.clone())
            }
        }
    }

    /// Stages that give this shape.
    fn stages_to(&mut self, x: &Shape, wanted: &Shape, prefixes: &[String], depth: usize) -> &'static [Stage<'static>] {
        let before = self.known.len();
        let (mut stages, mut y) = self.stages(x, prefixes, depth);
        if y != *wanted && wanted.rank() == 2 {
            if y.rank() != 2 {
                let width = y.0[1..].iter().map(|dim| dim.factor()).product();
                stages.push(self.layer(&layers::FLATTEN, &[], &y, prefixes).0);
                y = Shape(vec![Dim::B, Dim::Fixed(width)]);
            }
            stages.push(self.dense_of(wanted.0[1].factor(), &y, prefixes).0);
        } else if y != *wanted {
            // Nothing gives an axis back.
            self.known.truncate(before);
            stages = vec![self.own(&layers::PRELU, x, prefixes).0];
        }
        leak(stages)
    }

    /// A name that nothing else has.
    fn segment(&mut self, stem: &str) -> &'static str {
        self.count += 1;
        leak(format!("{stem}{}", self.count))
    }

    fn know(&mut self, prefixes: &[String], segment: &str, name: &str, shape: &Shape) {
        for prefix in prefixes {
            let path: &'static str = leak(format!("{prefix}{segment}{name}"));
            let expr = if path.contains('.') { Expr::Path(path, At(0)) } else { Expr::Name(path) };
            self.known.push((expr, shape.clone()));
        }
    }
}

/// Values for the arguments of an activation.
pub fn arguments(layer: &LayerDef, tape: &mut Tape<'_>) -> Vec<Arg> {
    let value = |default: Arg, tape: &mut Tape<'_>| match default {
        Arg::Word(_) => Arg::Word(tape.pick(&["none", "tanh"])),
        Arg::Float(number) => Arg::Float(tape.pick(&[number, 0.5, 1.5])),
        other => other,
    };
    layer.args.iter().map(|arg| value(arg.default.expect("an activation has defaults"), tape)).collect()
}

fn stage(kind: Kind<'static>, segment: &'static str) -> Stage<'static> {
    Stage { kind, segment, named: false, text: segment, at: At(0) }
}
