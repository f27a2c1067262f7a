//! Blocks and functions of other `network! { .. }`, by their path, and sizes that are chosen when the program runs.

use gradloom::ndarray::{Array2, Array3, Axis, concatenate};
use gradloom::{Adam, BuildError, CheckpointError, Network, Session, Sgd, SizesOf, Stage, network};
use insta::assert_snapshot;

use crate::checkpoint::folder;

/// What other networks use.
mod blocks {
    use gradloom::network;

    network! {
        const FACTOR = 2;

        /// Not seen from outside.
        act half = |x| 0.5 * x;

        /// Passes on a share of what is below zero.
        pub act leak = |x, slope = 0.1| if x > 0.0 { x } else { slope * half(x) };

        /// Two layers beside a way around them.
        pub block Res(width, inner = FACTOR * width, norm = true) {
            residual { Dense(inner, bias = norm), leak(slope = 0.2), Dense(width) },
            Square,
        }

        block Square { |x| x * half(x) }

        /// A block in terms of another one, by its path.
        pub(crate) block Twice(width) { repeat(2) { self::Res(width, norm = false) } }
    }
}

/// The same network twice: with what the macro sees, and with what it does not.
mod both {
    use super::blocks;
    use gradloom::network;

    network! {
        act half = |x| 0.5 * x;
        act leak = |x, slope = 0.1| if x > 0.0 { x } else { slope * half(x) };
        block Square { |x| x * half(x) }
        block Res(width, inner = 2 * width, norm = true) {
            residual { Dense(inner, bias = norm), leak(slope = 0.2), Dense(width) },
            Square,
        }
        block Twice(width) { repeat(2) { Res(width, norm = false) } }

        pub Here<x: [B, 3] -> y: [B, 2]> {
            Dense(4), Res(4), Twice(4), Res(4, inner = 7 / 2, norm = false) as h, leak, Dense(2),
        }
        loss(t: [B, 2]) = mse(leak(y, slope = 0.3), t) + 0.1 * l2(weights);

        pub Elsewhere<x: [B, 3] -> y: [B, 2]> {
            Dense(4), blocks::Res(4), blocks::Twice(4), blocks::Res(4, inner = 7 / 2, norm = false) as h,
            blocks::leak, Dense(2),
        }
        loss(t: [B, 2]) = mse(blocks::leak(y, slope = 0.3), t) + 0.1 * l2(weights);
    }
}

fn batch(rows: usize) -> (Array2<f32>, Array2<f32>) {
    let number = |row: usize, column: usize| ((row * 7 + column * 3) % 11) as f32 / 5.0 - 1.0;
    (Array2::from_shape_fn((rows, 3), |(i, j)| number(i, j)), Array2::from_shape_fn((rows, 2), |(i, j)| number(j, i)))
}

#[test]
fn what_comes_from_elsewhere_is_what_stands_here() {
    for stage in [Stage::Static, Stage::Forward, Stage::Backward] {
        let [here, there] = [both::Here::ir(stage), both::Elsewhere::ir(stage)];
        assert_eq!(here, there.replace("network Elsewhere", "network Here").replace("blocks::", ""), "{stage:?}");
    }
    let (x, t) = batch(5);
    let mut here = both::Here::trainer(Sgd::new(0.1)).seed(3).build().expect("it is sound");
    let mut there = both::Elsewhere::trainer(Sgd::new(0.1)).seed(3).build().expect("it is sound");
    for _ in 0..5 {
        let losses = [
            here.step(x.view(), t.view()).expect("the shapes fit").loss,
            there.step(x.view(), t.view()).expect("the shapes fit").loss,
        ];
        assert_eq!(losses[0].to_bits(), losses[1].to_bits());
    }
    assert!(there.names().eq(here.names()));
    assert!(there.names().any(|name| name == "h.residual1.dense1.weight"));
    assert_eq!(there.param("h.residual1.dense1.weight").expect("it is there").shape(), [4, 3]);
}

mod scaled {
    gradloom::network! {
        /// A function that depends on the argument of the block.
        pub block Scaled(by) { |x| by * x, |x| x + by }
    }
}

network! {
    Twice<x: [B, 3] -> y: [B, 3]> { scaled::Scaled(2), scaled::Scaled(3.5), |x| x - 1 }

    /// As `Mlp` with the sizes of the file below, without a word of them.
    block Hidden(width) { Dense(width), relu }
    Plain<x: [B, 3] -> y: [B, 2]> { repeat(2) { Hidden(9) }, |x| x / 9, Dense(4), tanh, Dense(2) }
}

#[test]
fn each_use_of_a_block_has_functions_of_its_own_arguments() {
    // Of these nothing is rounded.
    let x = Array2::from_shape_fn((4, 3), |(row, column)| (row * 3 + column) as f32 - 4.0);
    let mut predictor = Twice::predictor().build().expect("it is sound");
    let found = predictor.predict(x.view()).expect("the shapes fit");
    assert_eq!(found, x.mapv(|x| 3.5 * (2.0 * x + 2.0) + 3.5 - 1.0));
}

/// Mistakes that only a value can show.
mod wrong {
    use super::blocks;
    use gradloom::network;

    network! {
        pub block Halves(width) { residual { Dense(width), relu, Dense(width / 2) } }

        pub Wrong<x: [B, 4] -> y: [B, 4]> {
            self::Halves(4),
            blocks::Res, blocks::Res(4, heads = 2), blocks::Res(4, 8, true, 1), blocks::Res(width = 4, width = 8),
            blocks::leak(0.1, 0.2),
        }
        loss(t: [B, 4]) = mean(blocks::Res(y) + blocks::leak(y) + blocks::leak(y, 0.1) + blocks::leak(y, slope = y, rate = t));

        pub Values<x: [B, 4] -> y: [B, 4]> {
            concat { { blocks::Res(true) }, { blocks::Res(2.5) }, { blocks::Res(4, norm = 3) }, { blocks::leak(1e39) } },
        }
        loss = mean(y);

        pub Round<x: [B, 4] -> y: [B, 4]> { self::Round1 }
        pub block Round1 { Dense(4), self::Round2 }
        pub block Round2 { self::Round1 }
    }
}

/// The mistakes of a build, without what comes before the line in a place.
fn mistakes<N>(built: Result<Session<N>, BuildError>) -> String {
    let text = built.err().expect("it is not sound").to_string();
    text.lines().map(|line| line.replace("tests/it/elsewhere.rs", "here")).collect::<Vec<String>>().join("\n")
}

#[test]
fn what_the_macro_does_not_see_is_checked_by_build_with_both_places() {
    assert_snapshot!(mistakes(wrong::Wrong::trainer(Sgd::new(0.1)).build()), @"
    here:123:13: `Res` needs the argument `width`
    here:123:41: unknown argument `heads` of `Res`; there are `width`, `inner` and `norm`
    here:123:77: `Res` takes at most 3 arguments: `width`, `inner` and `norm`
    here:123:104: `width` of `Res` is given twice
    here:124:31: `leak` takes one argument, `slope`
    here:126:32: `Res` is a stage of a body, not a function for expressions
    here:126:49: `slope` is trained where `leak` is a stage; in an expression give it a value: `slope = ..`
    here:126:83: options of `leak` have names; write `slope = 0.1`
    here:126:117: unknown argument `rate` of `leak`; there are `x` and `slope`
    here:119:35: `residual` adds its body to what comes in: the body gives [B, 2], but [B, 4] comes in; a `skip { .. }` after it can bring that to [B, 2]
    x [B,4] -> Dense(width/2) [B,2]
           in `self::Halves(4)` at here:122:13
    ");
    assert_snapshot!(mistakes(wrong::Values::trainer(Sgd::new(0.1)).build()), @"
    here:129:99: `slope` of `leak` starts from a number that f32 holds, found 1000000000000000000000000000000000000000
    here:24:30: `inner` calculates with a truth value
           in `blocks::Res(true)` at here:129:24
    here:24:30: `n` of `Dense` must be an integer of at least 1, found `inner` = 5
           in `blocks::Res(2.5)` at here:129:47
    here:24:44: `bias` of `Dense` must be `true` or `false`, found `norm` = 3
           in `blocks::Res(4, norm = 3)` at here:129:69
    ");
    assert_snapshot!(mistakes(wrong::Round::trainer(Sgd::new(0.1)).build()), @"
    here:135:28: the block `Round1` contains itself
           in `self::Round2` at here:134:38
           in `self::Round1` at here:133:45
    ");
}

network! {
    const WIDTH = 3;
    block Hidden(width) { Dense(width), relu }

    /// Sizes of all kinds.
    pub Mlp(
        /// Of every hidden layer.
        hidden: usize = 4 * WIDTH,
        depth: usize = 2,
        columns: usize = 3,
    )<x: [B, columns] -> y: [B, 2]> {
        repeat(depth) { Hidden(hidden) }, |x| x / hidden, Dense(hidden / 2), tanh, Dense(2),
    }
    loss(t: [B, 2]) = mse(y, t) + 0.01 * depth * l2(weights);
    metric spread = max(y[.., depth - 1]);
}

#[test]
fn sizes_are_chosen_when_the_program_runs() {
    assert_snapshot!(Mlp::trainer(Sgd::new(0.1)).with(|sizes| sizes.hidden = 5).ir(Stage::Static), @"
    network Mlp(hidden = 5, depth = 2, columns = 3)<x: f32[B,3] -> y: f32[B,2]>
      repeat1.1.hidden1.dense1  Dense(5)   f32[B,5]  20 parameters
      repeat1.1.hidden1.relu1   relu       f32[B,5]
      repeat1.2.hidden1.dense1  Dense(5)   f32[B,5]  30 parameters
      repeat1.2.hidden1.relu1   relu       f32[B,5]
      lambda1                   |x| x / 5  f32[B,5]
      dense1                    Dense(2)   f32[B,2]  12 parameters
      tanh1                     tanh       f32[B,2]
      dense2                    Dense(2)   f32[B,2]   6 parameters
      loss(t: f32[B,2]) = mse(y, t) + 0.01 * 2 * l2(weights)
      metric spread = max(y[.., 1])
      68 parameters
    ");
    let (x, t) = batch(6);
    for hidden in [1, 2, 7, 33] {
        for depth in [1, 2] {
            let chosen =
                Mlp::trainer(Sgd::new(0.1)).with(|sizes| sizes.hidden = hidden).with(|sizes| sizes.depth = depth);
            let built = chosen.build();
            if hidden == 1 {
                assert_snapshot!(mistakes(built), @"here:188:65: `n` of `Dense` must be an integer of at least 1, found `hidden / 2` = 0");
                break;
            }
            let mut net = built.expect("the sizes fit");
            assert_eq!((net.sizes().hidden, net.sizes().depth, net.sizes().columns), (hidden, depth, 3));
            let before = net.evaluate(x.view(), t.view()).expect("the shapes fit").loss;
            for _ in 0..20 {
                net.step(x.view(), t.view()).expect("the shapes fit");
            }
            assert!(net.evaluate(x.view(), t.view()).expect("the shapes fit").loss < before);
            assert_eq!(
                net.param(&format!("repeat1.{depth}.hidden1.dense1.weight")).expect("it is there").shape()[1],
                hidden
            );
            assert!(net.gradcheck(x.view(), t.view()).expect("the shapes fit").passed());
        }
    }
    let wide = Array2::from_shape_fn((2, 9), |(row, column)| (row + column) as f32);
    let mut predictor = Mlp::predictor().with(|sizes| sizes.columns = 9).build().expect("the sizes fit");
    assert_eq!(predictor.predict(wide.view()).expect("the shapes fit").shape(), [2, 2]);
    assert!(predictor.predict(x.view()).is_err());
}

/// How many heads, as Rust has it.
const HEADS: usize = 2;

network! {
    pub block Heads(n, width) { |x| x, Dense(n * width), self::Halved(n) }
    pub block Halved(n) { Dense(2 * n) }

    pub Shaped(heads: usize = 2, width: usize = 3, axis: usize = 2)<x: [B, 4] -> (y: [B, heads, width], z: [B, 2, 6])> {
        let h = x -> self::Heads(heads, width), Dense(heads * width);
        y = reshape(h, [B, heads, width]) - mean(reshape(h, [B, heads, width]), axis = axis, keep = true);
        let g = x -> Dense(4 * self::HEADS + 4);
        z = reshape(g, [B, self::HEADS, 6]);
    }
    loss = mean(y * y) + mean(z);
}

#[test]
fn shapes_and_axes_are_calculated_as_well() {
    let text = Shaped::trainer(Sgd::new(0.1)).with(|sizes| (sizes.heads, sizes.width) = (3, 5)).ir(Stage::Static);
    assert_snapshot!(text, @"
    network Shaped(heads = 3, width = 5, axis = 2)<x: f32[B,4] -> (y: f32[B,3,5], z: f32[B,2,6])>
      h.heads1.lambda1         |x| x                                                                                       f32[B,4]
      h.heads1.dense1          Dense(15)                                                                                   f32[B,15]    75 parameters
      h.heads1.halved1.dense1  Dense(6)                                                                                    f32[B,6]     96 parameters
      h.dense1                 Dense(15)                                                                                   f32[B,15]   105 parameters
      y                        reshape(h, shape = [B, 3, 5]) - mean(reshape(h, shape = [B, 3, 5]), axis = 2, keep = true)  f32[B,3,5]
      g.dense1                 Dense(12) of x                                                                              f32[B,12]    60 parameters
      z                        reshape(g, shape = [B, 2, 6])                                                               f32[B,2,6]
      loss = mean(y * y) + mean(z)
      336 parameters
    ");
    let built = |heads, axis| {
        let chosen = Shaped::trainer(Sgd::new(0.1)).with(|sizes| (sizes.heads, sizes.axis) = (heads, axis));
        mistakes(chosen.build())
    };
    assert_snapshot!([built(0, 2), built(2, 3), built(usize::MAX, 1)].join("\n\n"), @"
    here:247:90: a size is an integer of at least 1, found `heads` = 0
    here:244:46: `n` of `Dense` must be an integer of at least 1, found `n * width` = 0
           in `self::Heads(heads, width)` at here:248:22
    here:249:28: `shape` of `reshape` must be a shape, such as `[B, 4, 7]`, found `heads` = 0, `width` = 3
    here:249:65: `shape` of `reshape` must be a shape, such as `[B, 4, 7]`, found `heads` = 0, `width` = 3

    here:249:45: `mean` finds no axis 3 in [B, 2, 3], whose axes are 0 to 2, or -3 to -1

    here:247:90: `heads` overflows
    here:244:46: `n * width` overflows
           in `self::Heads(heads, width)` at here:248:22
    here:249:28: `heads` overflows
    here:249:65: `heads` overflows
    ");
}

#[test]
fn sizes_that_make_no_sense_are_told_with_their_places() {
    let built = |hidden, depth, columns| {
        let chosen = Mlp::trainer(Sgd::new(0.1)).with(|sizes| {
            (sizes.hidden, sizes.depth, sizes.columns) = (hidden, depth, columns);
        });
        mistakes(chosen.build())
    };
    assert_snapshot!(built(0, 2, 3), @"here:179:33: `n` of `Dense` must be an integer of at least 1, found `width` = 0");
    assert_snapshot!(built(4, 0, 3), @"here:188:16: a size is an integer of at least 1, found `depth` = 0");
    assert_snapshot!(built(4, 5, usize::MAX), @"
    here:187:14: `columns` overflows
    here:191:25: `depth - 1` is out of range along axis 1 of [B, 2], which has 2
    ");
}

#[test]
fn a_checkpoint_has_the_sizes() {
    let path = folder("sizes").join("mlp.safetensors");
    let (x, t) = batch(6);
    let mut net = Mlp::trainer(Adam::new(0.01)).with(|sizes| sizes.hidden = 9).build().expect("the sizes fit");
    net.step(x.view(), t.view()).expect("the shapes fit");
    net.save(&path).expect("there is room");

    // Prediction needs one file and no word of it.
    let mut predictor = Mlp::predictor().load(&path).expect("it was saved");
    assert_eq!(predictor.sizes().hidden, 9);
    assert_eq!(predictor.predict(x.view()).expect("the shapes fit"), net.predict(x.view()).expect("the shapes fit"));

    // A network that names no sizes takes what fits.
    let mut plain = Plain::predictor().load(&path).expect("it has the same parameters");
    assert_eq!(plain.predict(x.view()).expect("the shapes fit"), net.predict(x.view()).expect("the shapes fit"));

    let mut again =
        Mlp::trainer(Adam::new(0.01)).sizes_of(&path).expect("it was saved").build().expect("the sizes fit");
    again.load(&path).expect("the sizes are those of the file");
    let steps = [&mut net, &mut again].map(|net| net.step(x.view(), t.view()).expect("the shapes fit").loss.to_bits());
    assert_eq!(steps[0], steps[1]);

    let mut other = Mlp::trainer(Adam::new(0.01)).build().expect("the sizes fit");
    let error = other.load(&path).expect_err("it has other sizes").to_string();
    assert_snapshot!(error.replace(&path.display().to_string(), "FILE"), @"
    `FILE` does not fit `Mlp`:
      its sizes are `hidden = 9, depth = 2, columns = 3`, those of this session `hidden = 12, depth = 2, columns = 3`; choose them with `.with(|sizes| ..)`, or with `.sizes_of(path)`
      `repeat1.1.hidden1.dense1.weight` is [3, 9] there, and [3, 12] here
      `repeat1.1.hidden1.dense1.bias` is [9] there, and [12] here
      `repeat1.2.hidden1.dense1.weight` is [9, 9] there, and [12, 12] here
      `repeat1.2.hidden1.dense1.bias` is [9] there, and [12] here
      `dense1.weight` is [9, 4] there, and [12, 6] here
      `dense1.bias` is [4] there, and [6] here
      `dense2.weight` is [4, 2] there, and [6, 2] here
      and 14 more
    ");
    let error = Mlp::predictor().with(|sizes| sizes.depth = 1).load(&path).expect_err("it has other sizes").to_string();
    assert_snapshot!(error.replace(&path.display().to_string(), "FILE"), @"
    `FILE` does not fit `Mlp`:
      `repeat1.1.hidden1.dense1.weight` is [3, 12] here, and `repeat1.1.hidden1.dense1.weight` is [3, 9] in the file
      `repeat1.1.hidden1.dense1.bias` is [12] here, and `repeat1.1.hidden1.dense1.bias` is [9] in the file
      `dense1.weight` is [12, 6] here, and `dense1.weight` is [9, 4] in the file
      `dense1.bias` is [6] here, and `dense1.bias` is [4] in the file
      `dense2.weight` is [6, 2] here, and `dense2.weight` is [4, 2] in the file
      nothing here is made of `repeat1.2.hidden1.dense1.weight` in the file
      nothing here is made of `repeat1.2.hidden1.dense1.bias` in the file
    ");
    let error = Sized::trainer(Sgd::new(0.1)).sizes_of(&path).expect_err("it has other sizes");
    assert!(matches!(error, CheckpointError::Foreign { .. }));
    assert_snapshot!(error.to_string().replace(&path.display().to_string(), "FILE"), @"
    `FILE` is no checkpoint: `sizes` is `hidden = 9, depth = 2, columns = 3`, and the sizes of this network are n
    ");
}

network! {
    Sized(n: usize = 1)<x: [B, n] -> y: [B, n]> { Dense(n) }
    loss = mean(y);
}

#[test]
fn a_declaration_is_assembled_once_for_the_same_sizes() {
    let first = Mlp::trainer(Sgd::new(0.1)).with(|sizes| sizes.hidden = 21);
    let second = Mlp::trainer(Sgd::new(0.1)).with(|sizes| sizes.hidden = 21);
    let text = |stage| [first.ir(stage), second.ir(stage)];
    let [one, other] = text(Stage::Fused);
    assert_eq!(one, other);
    let sizes = |hidden| SizesOf::<Mlp> { hidden, ..Default::default() };
    let definition = <Mlp as Network>::definition;
    assert!(std::ptr::eq(definition(&sizes(21)), definition(&sizes(21))));
    assert!(!std::ptr::eq(definition(&sizes(21)), definition(&sizes(22))));
}

mod flows {
    use super::{SECOND, blocks};
    use gradloom::network;

    network! {
        act half = |x| 0.5 * x;
        act leak = |x, slope = 0.1| if x > 0.0 { x } else { slope * half(x) };
        block Pre(width) { Dense(width), leak }

        pub SharedHere<(a: [B, 3], b: [B, 3]) -> y: [B, 2]> {
            layer encoder = Pre(4);
            layer bend = leak;
            let u = a -> encoder, bend;
            let v = b -> encoder, bend;
            y = (u, v) -> concat, Dense(2);
        }
        loss(t: [B, 2]) = mse(y, t);

        pub block Layer(width) { Dense(width), blocks::leak }

        pub SharedElsewhere<(a: [B, 3], b: [B, 3]) -> y: [B, 2]> {
            layer encoder = self::Layer(4);
            layer bend = blocks::leak;
            let u = a -> encoder, bend;
            let v = b -> encoder, bend;
            y = (u, v) -> concat, Dense(2);
        }
        loss(t: [B, 2]) = mse(y, t);

        /// Along axes that the macro does not know, or not for good.
        pub Axes(axis: usize = 2)<(a: [B, 4, 6], b: [B, 4, 6]) -> y: [B, 4, 6]> {
            let both = (a, b) -> concat(axis = axis);
            let (u, v) = both -> split(axis = axis);
            let (m, n) = u - v -> split(axis = self::SECOND);
            let (p, q) = (n, m) -> concat(axis = self::SECOND), split(axis = axis - 3);
            y = (q, p) -> concat(axis = axis - 3);
        }

        /// Masked by a flow that only the block knows.
        pub block Looks(heads) { Attention(heads, mask = keep) }
        pub Open<tokens: [u8; B, 5] -> y: [B, 5, 4]> {
            let keep = where(tokens != 0, 1.0, 0.0);
            y = tokens -> Embedding(6, 4), self::Looks(2);
        }
        pub Known<tokens: [u8; B, 5] -> y: [B, 5, 4]> {
            let keep = where(tokens != 0, 1.0, 0.0);
            y = tokens -> Embedding(6, 4), Looks(2);
        }
        pub Unused<(tokens: [u8; B, 5], more: [B, 5]) -> y: [B, 5, 4]> {
            let keep = where(tokens != 0, 1.0, 0.0);
            let other = keep + 1.0;
            let (first, second) = tokens -> Embedding(6, 4), split;
            y = tokens -> Embedding(6, 4), self::Looks(2) as seen, |x| x;
        }
        loss = mean(first) + mean(seen);
    }
}

/// The second axis, as Rust has it.
const SECOND: usize = 1;

#[test]
fn a_layer_with_a_name_may_come_from_elsewhere() {
    let [here, there] = [flows::SharedHere::ir(Stage::Static), flows::SharedElsewhere::ir(Stage::Static)];
    let there = there.replace("network SharedElsewhere", "network SharedHere").replace("blocks::", "");
    assert_eq!(here, there.replace(".layer1", ".pre1"));
    let (x, t) = batch(6);
    let other = x.mapv(|x| x * x - 0.3);
    let mut here = flows::SharedHere::trainer(Sgd::new(0.1)).seed(3).build().expect("it is sound");
    let mut there = flows::SharedElsewhere::trainer(Sgd::new(0.1)).seed(3).build().expect("it is sound");
    assert!(here.names().eq(there.names()));
    assert!(there.names().eq([
        "encoder.dense1.weight",
        "encoder.dense1.bias",
        "encoder.leak1.slope",
        "bend.slope",
        "y.dense1.weight",
        "y.dense1.bias"
    ]));
    assert!(there.gradcheck((x.view(), other.view()), t.view()).expect("the shapes fit").passed());
    let mut losses = Vec::new();
    for _ in 0..20 {
        let inputs = (x.view(), other.view());
        let step = there.step(inputs, t.view()).expect("the shapes fit").loss;
        assert_eq!(step.to_bits(), here.step(inputs, t.view()).expect("the shapes fit").loss.to_bits());
        losses.push(step);
    }
    assert!(losses[19] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn axes_of_concat_and_split_are_calculated_as_well() {
    let number = |factor: usize| Array3::from_shape_fn((2, 4, 6), |(b, i, j)| ((b + factor * i + 3 * j) % 11) as f32);
    let (a, b) = (number(5), number(7));
    let apart = &a - &b;
    for axis in [2, 1] {
        let mut predictor =
            flows::Axes::predictor().with(|sizes| sizes.axis = axis).build().expect("the axis is there");
        let found = predictor.predict((a.view(), b.view())).expect("the shapes fit").to_owned();
        let halves = |x: &Array3<f32>, axis: usize| {
            let (m, n) = x.view().split_at(Axis(axis), x.shape()[axis] / 2);
            concatenate(Axis(axis), &[n, m]).expect("they fit")
        };
        assert_eq!(found, halves(&halves(&apart, 1), axis));
    }
    let said = |axis| {
        let built = flows::Axes::predictor().with(|sizes| sizes.axis = axis).build();
        built.map(drop).expect_err("there is no such axis").to_string().replace("tests/it/elsewhere.rs", "here")
    };
    assert_snapshot!([said(0), said(3), said(usize::MAX)].join("\n\n"), @"
    here:412:34: `concat(axis = axis)` joins values along any axis but that of the batch

    here:412:34: `concat(axis = axis)` finds no axis 3 in [B, 4, 6], whose axes are 0 to 2, or -3 to -1

    here:412:48: `axis` overflows
    ");
}

#[test]
fn a_block_from_elsewhere_may_have_a_flow_for_its_mask() {
    let [here, there] = [flows::Known::ir(Stage::Forward), flows::Open::ir(Stage::Forward)];
    assert_eq!(here, there);
    assert_eq!(
        flows::Open::ir(Stage::Static),
        flows::Known::ir(Stage::Static).replace("network Known", "network Open")
    );
    assert_snapshot!(mistakes(flows::Unused::trainer(Sgd::new(0.1)).build()), @"
    here:429:47: the input `more` is never used
    here:431:17: the flow `other` is never used
    here:432:18: the flow `second` is never used
    ");
}

mod alike {
    use super::blocks;
    use gradloom::network;

    network! {
        act half = |x| 0.25 * x;
        act leak = |x, slope = 0.1| if x > 0.0 { x } else { slope * half(x) };

        /// Of two functions, each twice: with the same names, they compute something else.
        pub Alike<x: [B, 3] -> y: [B, 3]> { leak, blocks::leak, half, blocks::leak(slope = 0.2), leak }
        loss = mean(half(y) + blocks::leak(y, slope = 0.3) + leak(y, slope = 0.4));

        pub block Flagged(f) { self::Inner(4, f + 1), Dense(3 + f) }
        pub block Inner(width, bias) { Dense(width, bias = bias), |x| x * bias }
        pub Flags<x: [B, 3] -> y: [B, 4]> { self::Flagged(true) }
        loss = mean(y);
    }
}

#[test]
fn functions_of_one_name_are_told_apart_and_said_once() {
    assert_snapshot!(alike::Alike::ir(Stage::Static), @"
    network Alike<x: f32[B,3] -> y: f32[B,3]>
      act half = |x| 0.25 * x
      act leak = |x, slope = 0.1| if x > 0 { x } else { slope * half(x) }
      act half#2 = |x| 0.5 * x
      act leak#2 = |x, slope = 0.1| if x > 0 { x } else { slope * half#2(x) }
      leak1  leak                 f32[B,3]  1 parameter
      leak2  leak#2               f32[B,3]  1 parameter
      half1  half                 f32[B,3]
      leak3  leak#2(slope = 0.2)  f32[B,3]  1 parameter
      leak4  leak                 f32[B,3]  1 parameter
      loss = mean(half(y) + leak#2(y, slope = 0.3) + leak(y, slope = 0.4))
      4 parameters
    ");
    let (network, mistakes) = gradloom_runtime::elaborate::elaborate(alike::Alike::declared());
    assert!(mistakes.is_empty());
    assert_snapshot!(network.identity().join("\n"), @"
    x: f32[B,3] -> y: f32[B,3]
    act half = |x| 0.25 * x
    act leak = |x, slope| if x > 0 { x } else { slope * half(x) }
    act half#2 = |x| 0.5 * x
    act leak#2 = |x, slope| if x > 0 { x } else { slope * half#2(x) }
    leak1 = leak
    leak2 = leak#2
    half1 = half
    leak3 = leak#2
    leak4 = leak
    loss() = mean(half(y) + leak#2(y, slope = 0.3) + leak(y, slope = 0.4))
    ");
}

#[test]
fn truth_values_are_no_numbers() {
    assert_snapshot!(mistakes(alike::Flags::trainer(Sgd::new(0.1)).build()), @"
    here:527:60: `bias` calculates with a truth value
           in `self::Inner(4, f + 1)` at here:526:32
           in `self::Flagged(true)` at here:528:45
    ");
}

#[test]
fn a_predictor_from_a_session_has_its_sizes() {
    let (x, _) = batch(6);
    let mut net = Mlp::trainer(Adam::new(0.01)).with(|sizes| sizes.hidden = 9).build().expect("the sizes fit");
    let expected = net.predict(x.view()).expect("the shapes fit").to_owned();
    for builder in [Mlp::predictor(), Mlp::predictor().with(|sizes| sizes.hidden = 9)] {
        let mut predictor = builder.max_batch(4).build_from(&net).expect("the sizes are those of the session");
        assert_eq!(predictor.sizes(), net.sizes());
        assert_eq!(predictor.predict(x.view()).expect("the shapes fit"), expected);
    }
    let refused = Mlp::predictor().with(|sizes| sizes.hidden = 12).build_from(&net).expect_err("it has other sizes");
    assert_snapshot!(refused.to_string(), @"sizes must be those of the session, got `hidden = 12, depth = 2, columns = 3`, and the session has `hidden = 9, depth = 2, columns = 3`");
}
