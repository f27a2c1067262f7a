//! Declarations that other macros write: what they put in counts as one piece, as everywhere in Rust.

use gradloom::{Network, Sgd, Stage, network};
use ndarray::array;

pub const THREE: f64 = 3.0;

/// The same network twice: with pieces from outside, and with parentheses in their place.
macro_rules! pair {
    ($given:ident $written:ident $e:expr, $n:expr, $l:literal) => {
        network! {
            $given<x: [B, 2] -> y: [B, 2]> {
                Dense(20 - $n), |x, a = 2.0 * $n, b = $l, c = 4 - $l| a * x + b + c, leaky_relu(0.5 - $l),
                Dense(2, init = constant($l)), repeat(14 / $n) { |x| x - $l }, |x| 0.0 * x + 3.0,
            }
            loss = mean(y);
            metric times = mean($e * 2);
            metric from = mean(2 - $e);
            metric under = mean(1 / $e);
            metric minus = mean(-$e);
            metric twice = mean(- -$e);
            metric compared = mean(2 - $e > $e);
            metric chosen = mean(2 - if $e > 0 { $e } else { 3 - $e } * 2);
            metric called = mean(2 * abs($e) - $e);
            metric literal = 2 - $l - $l * $l / -$l;
        }
        network! {
            $written<x: [B, 2] -> y: [B, 2]> {
                Dense(20 - ($n)), |x, a = 2.0 * ($n), b = ($l), c = 4 - ($l)| a * x + b + c, leaky_relu(0.5 - ($l)),
                Dense(2, init = constant(($l))), repeat(14 / ($n)) { |x| x - ($l) }, |x| 0.0 * x + 3.0,
            }
            loss = mean(y);
            metric times = mean(($e) * 2);
            metric from = mean(2 - ($e));
            metric under = mean(1 / ($e));
            metric minus = mean(-($e));
            metric twice = mean(-(-($e)));
            metric compared = mean((2 - ($e)) > ($e));
            metric chosen = mean(2 - (if ($e) > 0 { ($e) } else { 3 - ($e) }) * 2);
            metric called = mean(2 * abs(($e)) - ($e));
            metric literal = 2 - ($l) - ($l) * ($l) / (-($l));
        }
    };
}
pair! { SumGiven SumWritten y - 5, 3 + 2, 0.25 }
pair! { MinusGiven MinusWritten -y - 5, -3 + 8, -0.25 }
pair! { ProductGiven ProductWritten -y * x - -y, -7 * -1, -1e-3 }
pair! { IfGiven IfWritten if y > x { -y } else { y - 5 }, 15 % 8, -2.5 }

/// Puts what it is given into another macro, as one piece once more.
macro_rules! outer {
    ($given:ident $written:ident $e:expr, $n:expr, $l:literal) => {
        pair! { $given $written $e - 1, 2 * $n, $l }
    };
}
outer! { OuterGiven OuterWritten -y + 1, -1 + 3, -0.5 }

fn stages<N: Network>() -> String {
    gradloom_runtime::session::ir::<N>(Stage::Static)
}

#[test]
fn a_piece_from_outside_is_one_operand() {
    for (given, written) in [
        (stages::<SumGiven>(), stages::<SumWritten>()),
        (stages::<MinusGiven>(), stages::<MinusWritten>()),
        (stages::<ProductGiven>(), stages::<ProductWritten>()),
        (stages::<IfGiven>(), stages::<IfWritten>()),
        (stages::<OuterGiven>(), stages::<OuterWritten>()),
    ] {
        assert_eq!(given.replace("Given", "Written"), written);
    }
}

#[test]
fn a_piece_from_outside_has_its_own_value() {
    let mut net = MinusGiven::trainer(Sgd::new(0.1)).build().expect("it builds");
    // y is 3 everywhere, so that `-y - 5` is -8; the number is 5 and the literal -0.25.
    let step = net.evaluate(array![[1.0f32, 2.0]].view(), ()).expect("it runs");
    let found = [step.times, step.from, step.under, step.minus, step.twice, step.compared, step.chosen, step.called];
    assert_eq!(found, [-16.0, 10.0, -0.125, 8.0, -8.0, 1.0, -20.0, 24.0]);
    assert_eq!(step.literal, 2.0 + 0.25 - 0.0625 / 0.25);
    assert_eq!(net.param("dense1.weight").expect("it is there").shape(), [2, 15]);
    let number = |name: &str| net.param(name).expect("it is there").sum();
    assert_eq!((number("lambda1.a"), number("lambda1.b"), number("lambda1.c")), (10.0, -0.25, 4.25));
}

/// Everything else that a macro may put in.
macro_rules! pieces {
    ($(#[$meta:meta])* $vis:vis $name:ident, $layer:expr, $act:expr, $function:expr, $named:expr, $option:expr, $ty:ty, $float:ty,
     $path:path, $block:block, $tt:tt, $wide:expr, $value:expr) => {
        network! {
            act f = $function;
            $(#[$meta])* $vis $name<x: [$float; B, $wide] -> y: [B, 3]> {
                $layer, $act, $named, Dense(4, $option), f as h, residual $block, |x| x / $path, Dense $tt,
            }
            loss(k: $ty) = cross_entropy(y, k) + 0.1 * l2(dense1.weight) - $value * $path;
        }
    };
}
pieces! {
    #[allow(missing_docs)] pub Pieces, Dense(4), leaky_relu(-0.1 + 0.2), |x| -x, Dense(4) as g, bias = false, [u8; B], f32,
    crate::macro_rules::THREE, { relu }, (3), -1 + 3, -mean(g) - 1
}
network! {
    act f = |x| -x;
    Plain<x: [B, 2] -> y: [B, 3]> {
        Dense(4), leaky_relu(0.1), Dense(4) as g, Dense(4, bias = false), f as h, residual { relu },
        |x| x / crate::macro_rules::THREE, Dense(3),
    }
    loss(k: [u8; B]) = cross_entropy(y, k) + 0.1 * l2(dense1.weight) - (-mean(g) - 1) * crate::macro_rules::THREE;
}

#[test]
fn every_kind_of_piece_has_its_place() {
    assert_eq!(stages::<Pieces>().replace("Pieces", "Plain"), stages::<Plain>());
}
