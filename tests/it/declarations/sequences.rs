//! Layers over sequences: rows of classes, positions, attention, and the norm that is at home there.

use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::network::Stage;
use gradloom_runtime::types::{Dim, Shape};

use super::bodies::Body;
use crate::handmade::leak;

impl Body<'_, '_> {
    pub(super) fn rms_norm(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        let args = self.arguments(&layers::RMS_NORM, &[&[Arg::Float(1e-2)]]);
        let (stage, y) = self.layer(&layers::RMS_NORM, args, x);
        self.know(prefixes, &stage, ".gamma", &Shape(vec![x.0[x.rank() - 1]]));
        (stage, y)
    }

    /// A layer that looks at positions.
    pub(super) fn of_sequence(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        match self.tape.below(7) {
            0 => self.rms_norm(x, prefixes),
            3 | 4 => self.recurrent(x, prefixes),
            1 => {
                let args = vec![self.initializer()];
                let (stage, y) = self.layer(&layers::POSITIONAL, args, x);
                self.know(prefixes, &stage, ".weight", &Shape(x.0[1..].to_vec()));
                (stage, y)
            }
            2 => {
                let args = self.arguments(&layers::POSITIONS, &[&[Arg::Word("sinusoidal")]]);
                self.layer(&layers::POSITIONS, args, x)
            }
            _ => self.attention(x, prefixes),
        }
    }

    /// A layer with a state.
    fn recurrent(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let layer = self.tape.pick(&[&layers::LSTM, &layers::GRU, &layers::RNN]);
        let n = Arg::Int(self.tape.pick(&[2, 3, 1]));
        let [last, reverse, biased] = [20, 40, 70].map(|percent| Arg::Flag(self.tape.chance(percent)));
        let bend = Arg::Word(self.tape.pick(&["tanh", "relu"]));
        let auto = Arg::Init(&AUTO, None);
        let args = match layer.name {
            "Rnn" => vec![n, bend, last, reverse, biased],
            _ => vec![n, last, reverse, biased],
        };
        let usual: Vec<&[Arg]> = args.iter().map(std::slice::from_ref).collect();
        let mut values = self.arguments(layer, &usual);
        values.extend([self.initializer(), self.initializer()]);
        let args: Vec<Arg> = args.into_iter().chain([auto, auto]).collect();
        let rest = layer.args[args.len()..].iter().map(|arg| arg.default.expect("the rest may be left out"));
        let args: Vec<Arg> = args.iter().copied().chain(rest).collect();
        let (stage, _) = self.layer(layer, values, x);
        for param in (layer.params)(x, &args, layers::Gain::Xavier) {
            self.know(prefixes, &stage, leak(format!(".{}", param.name)), &Shape::fixed(&param.shape));
        }
        (stage, (layer.shape)(x, &args).expect("it is a sequence"))
    }

    /// Attention, of one head if what is drawn does not fit.
    fn attention(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let flag = |yes| Arg::Flag(yes);
        let [causal, biased, rope] = [50, 70, 40].map(|percent| self.tape.chance(percent));
        let kv = self.tape.pick(&[Arg::Word("heads"), Arg::Int(1)]);
        let dropout = Arg::Float(self.tape.pick(&[0.0, 0.25]));
        let heads = self.tape.pick(&[1, 2, 3]);
        let init = Arg::Init(&AUTO, None);
        let args = |heads, rope| [Arg::Int(heads), flag(causal), kv, dropout, flag(biased), flag(rope), init];
        let tried = [args(heads, rope), args(heads, false), args(1, false)];
        let args = tried.into_iter().find(|args| (layers::ATTENTION.shape)(x, args).is_ok()).expect("one head fits");
        let usual = args.each_ref().map(std::slice::from_ref);
        let mut values = self.arguments(&layers::ATTENTION, &usual[..6]);
        values.push(self.initializer());
        let (stage, y) = self.layer(&layers::ATTENTION, values, x);
        for param in (layers::ATTENTION.params)(x, &args, layers::Gain::Xavier) {
            self.know(prefixes, &stage, leak(format!(".{}", param.name)), &Shape::fixed(&param.shape));
        }
        (stage, y)
    }

    /// Attention from one sequence to another, both of this many features.
    pub(super) fn cross_attention(&mut self, x: &Shape, prefixes: &[String]) -> Stage<'static> {
        self.has_dense = true;
        let width = x.0[2].factor();
        let heads: Vec<Arg> =
            (1..=3).filter(|heads| width.is_multiple_of(*heads)).map(|n| Arg::Int(n as u64)).collect();
        let [kv, dropout] = [[Arg::Word("heads"), Arg::Int(1)], [0.0, 0.25].map(Arg::Float)];
        let flags = [true, false].map(Arg::Flag);
        let mut values = self.arguments(&layers::CROSS_ATTENTION, &[&heads, &kv, &dropout, &flags]);
        values.push(self.initializer());
        let (stage, _) = self.layer(&layers::CROSS_ATTENTION, values, x);
        let square = Shape::fixed(&[width, width]);
        for name in [".query.weight", ".out.weight"] {
            self.know(prefixes, &stage, name, &square);
        }
        stage
    }

    /// Rows of numbers for class ids.
    pub(super) fn embedding(&mut self, ids: &Shape, classes: usize, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let width = self.tape.pick(&[2, 3, 1]);
        let usual = [Arg::Int(classes as u64), Arg::Int(width as u64)];
        let mut values = self.arguments(&layers::EMBEDDING, &[&usual[..1], &usual[1..]]);
        values.push(self.initializer());
        let (stage, _) = self.layer(&layers::EMBEDDING, values, ids);
        self.know(prefixes, &stage, ".weight", &Shape::fixed(&[classes, width]));
        (stage, Shape(ids.0.iter().copied().chain([Dim::Fixed(width)]).collect()))
    }
}
