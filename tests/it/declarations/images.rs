//! Layers over images and signals: scaling, augmentation, convolutions, pooling, enlargement.

use gradloom_runtime::layers::initializers::AUTO;
use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::network::{Stage, Value};
use gradloom_runtime::types::{Dim, Shape};

use super::bodies::Body;
use super::numbers::argument;
use crate::handmade::leak;

impl Body<'_, '_> {
    /// A convolution, of one weight for each channel if what is drawn does not fit.
    pub(super) fn conv(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let channels = x.0[1].factor() as u64;
        let sizes = [Arg::Int(1), Arg::Int(2), Arg::Int(3), Arg::Pair(1, 2), Arg::Pair(3, 1)];
        let n = self.tape.pick(&[channels, 2, 4, 3, 1]);
        let groups = self.tape.pick(&[1, 1, channels, 2]);
        let [stride, dilation] = [0, 1].map(|_| self.tape.pick(&[Arg::Int(1), Arg::Int(2), Arg::Pair(2, 1)]));
        let pad = self.tape.pick(&[Arg::Word("same"), Arg::Int(1), Arg::Int(0), Arg::Pair(0, 1)]);
        let stride = if pad == Arg::Word("same") { Arg::Int(1) } else { stride };
        let bias = Arg::Flag(!self.tape.chance(30));
        let kernel = self.tape.pick(&sizes);
        let init = Arg::Init(&AUTO, None);
        let mut args = [Arg::Int(n), kernel, stride, pad, dilation, Arg::Int(groups), bias, init];
        if (layers::CONV2D.shape)(x, &args).is_err() {
            let one = Arg::Int(1);
            args = [Arg::Int(n), one, one, Arg::Int(0), one, one, bias, init];
        }
        let y = (layers::CONV2D.shape)(x, &args).expect("a window of one position fits");
        let usual = args.each_ref().map(std::slice::from_ref);
        let mut values = self.arguments(&layers::CONV2D, &usual[..7]);
        values.push(self.initializer());
        let (stage, _) = self.layer(&layers::CONV2D, values, x);
        let [height, width] = match args[1] {
            Arg::Pair(height, width) => [height, width],
            Arg::Int(size) => [size; 2],
            other => panic!("a window has extents, found {other:?}"),
        };
        let Arg::Int(groups) = args[5] else { panic!("groups are counted") };
        let weight = [n, channels / groups, height, width].map(|extent| Dim::Fixed(extent as usize));
        self.know(prefixes, &stage, ".weight", &Shape(weight.to_vec()));
        if bias == Arg::Flag(true) {
            self.know(prefixes, &stage, ".bias", &Shape(vec![y.0[1]]));
        }
        (stage, y)
    }

    /// A convolution of a signal, of one weight for each channel if what is drawn does not fit.
    pub(super) fn conv1d(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let channels = x.0[1].factor() as u64;
        let n = self.tape.pick(&[channels, 2, 4, 3, 1]);
        let groups = self.tape.pick(&[1, 1, channels]);
        let kernel = self.tape.pick(&[2, 3, 1]);
        let [stride, dilation] = [0, 1].map(|_| self.tape.pick(&[1, 2]));
        let pad = self.tape.pick(&[Arg::Word("same"), Arg::Int(1), Arg::Int(0)]);
        let stride = if pad == Arg::Word("same") { 1 } else { stride };
        let bias = Arg::Flag(!self.tape.chance(30));
        let init = Arg::Init(&AUTO, None);
        let int = Arg::Int;
        let mut args = [int(n), int(kernel), int(stride), pad, int(dilation), int(groups), bias, init];
        if (layers::CONV1D.shape)(x, &args).is_err() {
            args = [int(n), int(1), int(1), int(0), int(1), int(1), bias, init];
        }
        let y = (layers::CONV1D.shape)(x, &args).expect("a window of one position fits");
        let usual = args.each_ref().map(std::slice::from_ref);
        let mut values = self.arguments(&layers::CONV1D, &usual[..7]);
        values.push(self.initializer());
        let (stage, _) = self.layer(&layers::CONV1D, values, x);
        let [Arg::Int(kernel), Arg::Int(groups)] = [args[1], args[5]] else { panic!("both are integers") };
        let weight = [n, channels / groups, kernel].map(|extent| Dim::Fixed(extent as usize));
        self.know(prefixes, &stage, ".weight", &Shape(weight.to_vec()));
        if bias == Arg::Flag(true) {
            self.know(prefixes, &stage, ".bias", &Shape(vec![y.0[1]]));
        }
        (stage, y)
    }

    /// A transposed convolution, of one weight for each pair of channels if what is drawn does not fit.
    pub(super) fn conv_transpose(&mut self, x: &Shape, prefixes: &[String]) -> (Stage<'static>, Shape) {
        self.has_dense = true;
        let channels = x.0[1].factor() as u64;
        let n = self.tape.pick(&[channels, 2, 1]);
        let groups = self.tape.pick(&[1, 1, channels]);
        let kernel = self.tape.pick(&[Arg::Int(2), Arg::Int(1), Arg::Pair(1, 2)]);
        let stride = self.tape.pick(&[Arg::Int(2), Arg::Int(1), Arg::Pair(1, 2)]);
        let dilation = self.tape.pick(&[Arg::Int(1), Arg::Int(2)]);
        let [pad, more] = [0, 1].map(|_| self.tape.pick(&[Arg::Int(0), Arg::Int(1), Arg::Pair(0, 1)]));
        let bias = Arg::Flag(!self.tape.chance(30));
        let init = Arg::Init(&AUTO, None);
        let mut args = [Arg::Int(n), kernel, stride, pad, more, dilation, Arg::Int(groups), bias, init];
        let fits = |args: &[Arg]| {
            let y = (layers::CONV_TRANSPOSE2D.shape)(x, args);
            // Larger images take longer and show nothing more.
            y.is_ok_and(|y| y.0[2].factor() * y.0[3].factor() <= 40)
        };
        if !fits(&args) {
            args[3] = Arg::Int(0);
        }
        if !fits(&args) {
            let (zero, one) = (Arg::Int(0), Arg::Int(1));
            args = [Arg::Int(n), one, one, zero, zero, one, one, bias, init];
        }
        let y = (layers::CONV_TRANSPOSE2D.shape)(x, &args).expect("a window of one position fits");
        let usual = args.each_ref().map(std::slice::from_ref);
        let mut values = self.arguments(&layers::CONV_TRANSPOSE2D, &usual[..8]);
        values.push(self.initializer());
        let (stage, _) = self.layer(&layers::CONV_TRANSPOSE2D, values, x);
        let [height, width] = match args[1] {
            Arg::Pair(height, width) => [height, width],
            Arg::Int(size) => [size; 2],
            other => panic!("a window has extents, found {other:?}"),
        };
        let Arg::Int(groups) = args[6] else { panic!("groups are counted") };
        let weight = [channels, n / groups, height, width].map(|extent| Dim::Fixed(extent as usize));
        self.know(prefixes, &stage, ".weight", &Shape(weight.to_vec()));
        if bias == Arg::Flag(true) {
            self.know(prefixes, &stage, ".bias", &Shape(vec![y.0[1]]));
        }
        (stage, y)
    }

    /// An image of more positions, unless it has many already.
    pub(super) fn upsample(&mut self, x: &Shape) -> (Stage<'static>, Shape) {
        let few = x.0[2].factor() * x.0[3].factor() <= 12;
        let factor = if few { self.tape.pick(&[Arg::Int(2), Arg::Pair(1, 3), Arg::Int(1)]) } else { Arg::Int(1) };
        let args = [factor, self.tape.pick(&["bilinear", "nearest"].map(Arg::Word))];
        let y = (layers::UPSAMPLE.shape)(x, &args).expect("every image fits");
        let values = self.arguments(&layers::UPSAMPLE, &args.each_ref().map(std::slice::from_ref));
        let (stage, _) = self.layer(&layers::UPSAMPLE, values, x);
        (stage, y)
    }

    /// What is known of every channel taken off: the same numbers for all, or a list.
    pub(super) fn normalize(&mut self, x: &Shape) -> (Stage<'static>, Shape) {
        let mut values = Vec::new();
        for (arg, numbers) in layers::NORMALIZE.args.iter().zip([[0.5, 0.25, -1.0], [0.5, 2.0, 0.25]]) {
            let list = x.rank() > 1 && self.tape.chance(40);
            values.push(match list {
                true => {
                    let channels = 0..x.0[1].factor();
                    let first = self.tape.below(3);
                    let list: Vec<f64> = channels.map(|channel| numbers[(first + channel) % 3]).collect();
                    Value::Known(Arg::Numbers(leak(list)))
                }
                false => argument(self.tape, arg, &numbers.map(Arg::Float)),
            });
        }
        self.layer(&layers::NORMALIZE, values, x)
    }

    /// An image moved or mirrored by chance.
    pub(super) fn augment(&mut self, x: &Shape) -> (Stage<'static>, Shape) {
        if self.tape.chance(50) {
            let values = self.arguments(&layers::RANDOM_FLIP, &[&[0.5, 0.75, 0.25].map(Arg::Float)]);
            return self.layer(&layers::RANDOM_FLIP, values, x);
        }
        let fitting = [Arg::Int(1), Arg::Pair(1, 2), Arg::Pair(0, 1), Arg::Int(3), Arg::Int(0)];
        let fits = |pad: &Arg| (layers::RANDOM_CROP.shape)(x, &[*pad]).is_ok();
        let fitting: Vec<Arg> = fitting.into_iter().filter(fits).collect();
        let values = self.arguments(&layers::RANDOM_CROP, &[&fitting]);
        self.layer(&layers::RANDOM_CROP, values, x)
    }

    /// Pooling, over single elements if what is drawn does not fit.
    pub(super) fn pool(&mut self, x: &Shape) -> (Stage<'static>, Shape) {
        let layer = self.tape.pick(&[&layers::MAX_POOL, &layers::AVG_POOL]);
        let kernel = self.tape.pick(&[Arg::Int(2), Arg::Int(3), Arg::Pair(2, 1), Arg::Int(1)]);
        let stride = self.tape.pick(&[Arg::Int(1), Arg::Int(2), Arg::Word("kernel"), Arg::Pair(1, 2)]);
        let pad = self.tape.pick(&[Arg::Int(1), Arg::Int(0), Arg::Pair(1, 0)]);
        let (one, none) = (Arg::Int(1), Arg::Int(0));
        let tried = [[kernel, stride, pad], [kernel, stride, none], [one, stride, none]];
        let args = tried.into_iter().find(|args| (layer.shape)(x, args).is_ok()).expect("single elements fit");
        let y = (layer.shape)(x, &args).expect("a window of one position fits");
        let values = self.arguments(layer, &args.each_ref().map(std::slice::from_ref));
        let (stage, _) = self.layer(layer, values, x);
        (stage, y)
    }
}
