//! Every loss, and what is normalized along rows, for confident answers, right and wrong: value and gradient in f32 against formulas
//! in f64, at a few units in the last place of the result itself, and at infinity, where a finite limit is the value.

use std::collections::BTreeSet;

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Role};
use gradloom_runtime::layers::{self, Arg};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::types::{DType, Shape, TensorType};

use crate::compiled::Compiled;
use crate::digits::within;
use crate::formulas::sigmoid;
use crate::handmade::{self, input, output, parameter};

const INF: f64 = f64::INFINITY;

/// A loss of one row, with the gradient by what is predicted.
struct Loss {
    graph: Graph,
    compiled: Compiled,
}

impl Loss {
    fn new(cols: usize, target: TensorType, build: impl FnOnce(&mut Builder, NodeId, NodeId) -> NodeId) -> Loss {
        let mut b = Builder::new(Graph::default());
        let x = parameter(&mut b, "x", &[1, cols]);
        let target = input(&mut b, "target", target);
        let loss = build(&mut b, x, target);
        output(&mut b, Role::Loss, loss);
        let graph = simplify(&differentiate(&b.finish(), &[0]));
        let compiled = Compiled::new(&graph, 1);
        Loss { graph, compiled }
    }

    /// Against a target like what is predicted.
    fn of_pair(function: &'static FunctionDef, args: &[Arg], cols: usize) -> Loss {
        let target = TensorType::f32(Shape::fixed(&[1, cols]));
        Loss::new(cols, target, |b, x, target| (function.lower)(b, args, &[x, target]))
    }

    /// Against a target that is a parameter as well, with the gradients by both.
    fn of_parameters(function: &'static FunctionDef, args: &[Arg], cols: usize) -> Graph {
        let mut b = Builder::new(Graph::default());
        let [x, target] = ["x", "target"].map(|name| parameter(&mut b, name, &[1, cols]));
        let loss = (function.lower)(&mut b, args, &[x, target]);
        output(&mut b, Role::Loss, loss);
        simplify(&differentiate(&b.finish(), &[0, 1]))
    }

    /// Against a class id.
    fn of_class(cols: usize, build: impl FnOnce(&mut Builder, NodeId, NodeId) -> NodeId) -> Loss {
        Loss::new(cols, TensorType { dtype: DType::U32, shape: Shape::fixed(&[1]) }, build)
    }

    /// Loss and gradient, interpreted and compiled, within so many units in the last place.
    #[track_caller]
    fn check(&mut self, ulps: f64, x: &[f64], target: Tensor, (loss, slopes): (f64, Vec<f64>), what: &str) {
        let values = Values {
            params: vec![Tensor::floats(&[1, x.len()], x)],
            inputs: vec![target.clone()],
            ..Values::default()
        };
        let run = evaluate(&self.graph, Precision::F32, 1, &values);
        let results = self.compiled.run(1, &values);
        let interpreted = (run.loss(), run.output(&Role::Gradient(0)).as_floats());
        let compiled = (results.get(&Role::Loss)[0], results.get(&Role::Gradient(0)));
        for (how, (found, gradient)) in [("interpreted", interpreted), ("compiled", compiled)] {
            let at = |name: &str| format!("{name} of {what} of {x:?} against {:?}, {how}", target.data);
            within(ulps, loss, found, loss, || at("value"));
            for (&found, &wanted) in gradient.iter().zip(&slopes) {
                within(ulps, wanted, found, wanted, || at("slope"));
            }
        }
    }
}

fn float(target: f64) -> Tensor {
    Tensor::floats(&[1, 1], [target])
}

fn class(id: u32) -> Tensor {
    Tensor::indices(&[1], [id])
}

/// From -100 to 100, small numbers, zeros of both signs.
fn logits() -> Vec<f64> {
    let dense = (1..=200).map(|step| f64::from(step) * 0.5);
    let up: Vec<f64> = dense.chain([1e-30, 1e-7, 0.01, 0.3, 12.3, 17.1, 88.8]).collect();
    let all = up.iter().flat_map(|&x| [x, -x]).chain([0.0, -0.0]);
    all.map(|x| f64::from(x as f32)).collect()
}

#[test]
fn what_a_right_answer_costs_has_its_digits() {
    let mut loss = Loss::of_pair(&functions::BCE_WITH_LOGITS, &[], 1);
    for x in logits() {
        let gap = (-x.abs()).exp().ln_1p();
        for target in [0.0, 1.0] {
            let missed = if x > 0.0 { 1.0 - target } else { target };
            let slope = if target == 1.0 { -sigmoid(-x) } else { sigmoid(x) };
            loss.check(5.0, &[x], float(target), (gap + x.abs() * missed, vec![slope]), "bce_with_logits");
        }
    }
    for (x, target, wanted, slope) in
        [(INF, 1.0, 0.0, 0.0), (-INF, 0.0, 0.0, 0.0), (INF, 0.0, INF, 1.0), (-INF, 1.0, INF, -1.0)]
    {
        loss.check(0.0, &[x], float(target), (wanted, vec![slope]), "bce_with_logits");
    }
}

#[test]
fn a_target_between_costs_on_both_sides() {
    let mut loss = Loss::of_pair(&functions::BCE_WITH_LOGITS, &[], 1);
    // Exact in f32, so that 1 less it is too.
    let target = 0.3125;
    for x in logits() {
        let gap = (-x.abs()).exp().ln_1p();
        let missed = if x > 0.0 { 1.0 - target } else { target };
        loss.check(5.0, &[x], float(target), (gap + x.abs() * missed, vec![sigmoid(x) - target]), "bce_with_logits");
    }
}

/// Cross-entropy of a row and its gradient, no term of which cancels.
fn cross_entropy(x: &[f64], target: usize) -> (f64, Vec<f64>) {
    let power = |j: usize, i: usize| (x[j] - x[i]).exp();
    let sum = |i: usize| (0..x.len()).filter(|&j| j != i).map(|j| power(j, i)).sum::<f64>();
    let loss = match sum(target) {
        others if others.is_finite() => others.ln_1p(),
        _ => INF,
    };
    let share = |j: usize| if x[j] == -INF { 0.0 } else { 1.0 / (1.0 + sum(j)) };
    let slope = |j: usize| match j == target {
        true => -(0..x.len()).filter(|&i| i != j).map(share).sum::<f64>(),
        false => share(j),
    };
    (loss, (0..x.len()).map(slope).collect())
}

fn rows() -> Vec<Vec<f64>> {
    let mut rows = Vec::new();
    for x in logits() {
        rows.extend([vec![x, 0.0], vec![0.0, x], vec![x, 0.0, -1.0], vec![1.0, x, -3.0], vec![0.0, 0.0, x]]);
    }
    rows
}

#[test]
fn cross_entropy_has_the_digits_of_what_a_confident_answer_leaves() {
    let args = [Arg::Float(0.0), Arg::Numbers(&[]), Arg::Word("none")];
    let losses = [2, 3]
        .map(|cols| Loss::of_class(cols, |b, x, target| (functions::CROSS_ENTROPY.lower)(b, &args, &[x, target])));
    let [mut two, mut three] = losses;
    for row in rows() {
        for target in 0..row.len() {
            let loss = if row.len() == 2 { &mut two } else { &mut three };
            loss.check(9.0, &row, class(target as u32), cross_entropy(&row, target), "cross_entropy");
        }
    }
}

#[test]
fn cross_entropy_of_infinite_logits_is_its_limit() {
    let args = [Arg::Float(0.0), Arg::Numbers(&[]), Arg::Word("none")];
    let mut loss = Loss::of_class(3, |b, x, target| (functions::CROSS_ENTROPY.lower)(b, &args, &[x, target]));
    for (row, target, value, slopes) in [
        ([INF, 0.0, 5.0], 0, 0.0, [0.0, 0.0, 0.0]),
        ([INF, 0.0, 5.0], 1, INF, [1.0, -1.0, 0.0]),
        ([-INF, 0.0, 0.0], 1, 2f64.ln(), [0.0, -0.5, 0.5]),
        ([0.0, -INF, -INF], 0, 0.0, [0.0, 0.0, 0.0]),
        ([0.0, -INF, -INF], 2, INF, [1.0, 0.0, -1.0]),
    ] {
        loss.check(2.0, &row, class(target), (value, slopes.to_vec()), "cross_entropy");
    }
}

#[test]
fn a_class_of_weight_zero_costs_nothing_however_wrong_the_answer_is() {
    let mut b = Builder::new(Graph::default());
    let x = parameter(&mut b, "x", &[2, 2]);
    let target = input(&mut b, "target", TensorType { dtype: DType::U32, shape: Shape::fixed(&[2]) });
    let args = [Arg::Float(0.0), Arg::Numbers(&[0.0, 1.0]), Arg::Word("none")];
    let loss = (functions::CROSS_ENTROPY.lower)(&mut b, &args, &[x, target]);
    output(&mut b, Role::Loss, loss);
    let graph = simplify(&differentiate(&b.finish(), &[0]));
    let values = Values {
        params: vec![Tensor::floats(&[2, 2], [-INF, 0.0, 3.0, 0.0]), Tensor::floats(&[2], [0.0, 1.0])],
        inputs: vec![Tensor::indices(&[2], [0, 1])],
        ..Values::default()
    };
    let run = evaluate(&graph, Precision::F32, 2, &values);
    let wanted = 3f64.exp().ln_1p();
    within(4.0, wanted, run.loss(), wanted, || "the loss of the row that counts".to_string());
    assert_eq!(run.output(&Role::Gradient(0)).as_floats()[..2], [0.0, 0.0]);
}

#[test]
fn a_smoothed_target_costs_nothing_in_a_class_of_weight_zero() {
    let args = [Arg::Float(0.25), Arg::Numbers(&[0.0, 1.0, 0.5]), Arg::Word("none")];
    let mut loss = Loss::of_class(3, |b, x, target| (functions::CROSS_ENTROPY.lower)(b, &args, &[x, target]));
    let row = [-INF, 0.5, 0.0];
    let values = Values {
        params: vec![Tensor::floats(&[1, 3], row), Tensor::floats(&[3], [0.0, 1.0, 0.5])],
        inputs: vec![class(1)],
        ..Values::default()
    };
    let [second, third] = [1, 2].map(|class| cross_entropy(&row, class).0);
    let wanted = 0.75 * second + 0.25 / 3.0 * (second + 0.5 * third);
    let run = evaluate(&loss.graph, Precision::F32, 1, &values);
    for found in [run.loss(), loss.compiled.run(1, &values).get(&Role::Loss)[0]] {
        within(9.0, wanted, found, wanted, || "the weighted loss".to_string());
    }
}

#[test]
fn a_smoothed_share_has_its_digits_where_the_other_classes_count_next_to_nothing() {
    for others in [0.0, 1e-6] {
        let table = handmade::leak(vec![1.0, others, others]);
        let args = [Arg::Float(0.25), Arg::Numbers(table), Arg::Word("none")];
        let mut loss = Loss::of_class(3, |b, x, target| (functions::CROSS_ENTROPY.lower)(b, &args, &[x, target]));
        for top in [5.0, 12.0, 17.5, 20.0, 60.0] {
            let row = [top, 0.5, 0.0];
            let values = Values {
                params: vec![Tensor::floats(&[1, 3], row), Tensor::floats(&[3], table.to_vec())],
                inputs: vec![class(0)],
                ..Values::default()
            };
            let all: Vec<(f64, Vec<f64>)> = (0..3).map(|class| cross_entropy(&row, class)).collect();
            let share = |class: usize| table[class] * (0.25 / 3.0 + if class == 0 { 0.75 } else { 0.0 });
            let wanted: f64 = (0..3).map(|class| share(class) * all[class].0).sum();
            let slopes: Vec<f64> = (0..3).map(|j| (0..3).map(|class| share(class) * all[class].1[j]).sum()).collect();
            let run = evaluate(&loss.graph, Precision::F32, 1, &values);
            let results = loss.compiled.run(1, &values);
            let interpreted = (run.loss(), run.output(&Role::Gradient(0)).as_floats());
            let compiled = (results.get(&Role::Loss)[0], results.get(&Role::Gradient(0)));
            for (found, gradient) in [interpreted, compiled] {
                within(9.0, wanted, found, wanted, || format!("the loss of {row:?} beside {others}"));
                for (j, (&found, &wanted)) in gradient.iter().zip(&slopes).enumerate() {
                    // The terms of different classes cancel.
                    let size = (0..3).map(|class| (share(class) * all[class].1[j]).abs()).sum();
                    within(12.0, size, found, wanted, || format!("a slope of {row:?} beside {others}"));
                }
            }
        }
    }
}

#[test]
fn a_target_that_is_smoothed_away_costs_nothing() {
    let args = [Arg::Float(1.0), Arg::Numbers(&[]), Arg::Word("none")];
    let mut loss = Loss::of_class(2, |b, x, target| (functions::CROSS_ENTROPY.lower)(b, &args, &[x, target]));
    for target in [0, 1] {
        let wanted = 3f64.exp().ln_1p() - 1.5;
        let slope = sigmoid(3.0) - 0.5;
        loss.check(6.0, &[3.0, 0.0], class(target), (wanted, vec![slope, -slope]), "smoothed cross_entropy");
    }
}

#[test]
fn smoothed_cross_entropy_counts_every_class() {
    let args = [Arg::Float(0.25), Arg::Numbers(&[]), Arg::Word("none")];
    let mut loss = Loss::of_class(3, |b, x, target| (functions::CROSS_ENTROPY.lower)(b, &args, &[x, target]));
    for row in rows().into_iter().filter(|row| row.len() == 3) {
        for target in 0..3 {
            let all: Vec<(f64, Vec<f64>)> = (0..3).map(|class| cross_entropy(&row, class)).collect();
            let share = |class: usize| 0.25 / 3.0 + if class == target { 0.75 } else { 0.0 };
            let value = (0..3).map(|class| share(class) * all[class].0).sum();
            let slopes = (0..3).map(|j| (0..3).map(|class| share(class) * all[class].1[j]).sum()).collect::<Vec<f64>>();
            // Slopes pass zero where the target's share is met: there they are differences of numbers up to 1.
            let x = &row;
            let values = Values {
                params: vec![Tensor::floats(&[1, 3], x.clone())],
                inputs: vec![class(target as u32)],
                ..Values::default()
            };
            let run = evaluate(&loss.graph, Precision::F32, 1, &values);
            within(9.0, value, run.loss(), value, || format!("smoothed loss of {x:?}"));
            for (&found, &wanted) in run.output(&Role::Gradient(0)).as_floats().iter().zip(&slopes) {
                within(9.0, 1.0, found, wanted, || format!("smoothed slope of {x:?}"));
            }
        }
    }
    loss.check(9.0, &[0.0, 0.0, 0.0], class(1), (3f64.ln(), vec![0.25, -0.5, 0.25]), "smoothed cross_entropy");
}

#[test]
fn log_softmax_and_nll_have_the_digits_of_cross_entropy() {
    for cols in [2, 3] {
        let mut loss = Loss::of_class(cols, |b, x, target| {
            let y = layers::LOG_SOFTMAX.function.expect("it is a function")(b, &[], x);
            (functions::NLL.lower)(b, &[], &[y, target])
        });
        for row in rows().into_iter().filter(|row| row.len() == cols) {
            for target in 0..cols {
                loss.check(9.0, &row, class(target as u32), cross_entropy(&row, target), "nll of log_softmax");
            }
        }
        let mut limit = vec![0.0; cols];
        limit[0] = INF;
        loss.check(0.0, &limit, class(0), (0.0, vec![0.0; cols]), "nll of log_softmax");
    }
}

#[test]
fn softmax_has_the_digits_of_what_a_large_share_lacks_of_one() {
    for cols in [2, 3] {
        // The share of a class, as a loss.
        let mut loss = Loss::of_pair(&SHARE, &[], cols);
        for row in rows().into_iter().filter(|row| row.len() == cols) {
            for picked in 0..cols {
                let mut target = vec![0.0; cols];
                target[picked] = 1.0;
                let share = |j: usize| cross_entropy(&row, j).0;
                let value = (-share(picked)).exp();
                let slope = |j: usize| -value * cross_entropy(&row, picked).1[j];
                let slopes = (0..cols).map(slope).collect();
                loss.check(12.0, &row, Tensor::floats(&[1, cols], target), (value, slopes), "softmax");
            }
        }
        let mut limit = vec![0.0; cols];
        limit[0] = INF;
        let mut target = vec![0.0; cols];
        target[0] = 1.0;
        loss.check(0.0, &limit, Tensor::floats(&[1, cols], target), (1.0, vec![0.0; cols]), "softmax");
    }
}

/// `sum(softmax(x) * target)`.
const SHARE: FunctionDef = FunctionDef {
    name: "share",
    lower: |b, _, x| {
        let y = layers::SOFTMAX.function.expect("it is a function")(b, &[], x[0]);
        let product = b.mul(y, x[1]);
        (functions::SUM.lower)(b, &[], &[product])
    },
    ..functions::MSE
};

#[test]
fn losses_of_differences_are_as_exact_as_the_difference() {
    let mut mse = Loss::of_pair(&functions::MSE, &[], 1);
    let mut mae = Loss::of_pair(&functions::MAE, &[], 1);
    let mut metric = Loss::of_pair(&functions::MEAN_ABS_ERROR, &[], 1);
    let mut huber = Loss::of_pair(&functions::HUBER, &[Arg::Float(1.0)], 1);
    let mut hinge = Loss::of_pair(&functions::HINGE, &[], 1);
    for x in logits().into_iter().chain([INF, -INF]) {
        for target in [0.0, 1.0, -1.0] {
            let r: f64 = x - target;
            let sign = if r == 0.0 { 0.0 } else { r.signum() };
            mse.check(3.0, &[x], float(target), (r * r, vec![2.0 * r]), "mse");
            for (loss, name) in [(&mut mae, "mae"), (&mut metric, "mean_abs_error")] {
                loss.check(1.0, &[x], float(target), (r.abs(), vec![sign]), name);
            }
            let squared = r.abs() <= 1.0;
            let value = if squared { 0.5 * r * r } else { r.abs() - 0.5 };
            huber.check(3.0, &[x], float(target), (value, vec![if squared { r } else { sign }]), "huber");
            if target != 0.0 {
                let missing = 1.0 - x * target;
                let slope = if missing > 0.0 { -target } else { 0.0 };
                hinge.check(2.0, &[x], float(target), (missing.max(0.0), vec![slope]), "hinge");
            }
        }
    }
}

#[test]
fn kl_div_counts_no_class_that_never_occurs() {
    let mut loss = Loss::of_pair(&functions::KL_DIV, &[], 2);
    for x in logits().into_iter().filter(|x| *x < 0.0).chain([-INF]) {
        // All on the first class; the second may be as improbable as it likes.
        let wanted = (1e-9, vec![-1.0, 0.0]);
        let target = Tensor::floats(&[1, 2], [1.0, 0.0]);
        loss.check(2.0, &[-1e-9, x], target, wanted, "kl_div");
        let target = Tensor::floats(&[1, 2], [0.25, 0.75]);
        let value = 0.25 * (0.25f64.ln() - x) + 0.75 * (0.75f64.ln() + 0.5);
        let size = 0.25 * (0.25f64.ln().abs() + x.abs()) + 0.75 * (0.75f64.ln().abs() + 0.5);
        let values =
            Values { params: vec![Tensor::floats(&[1, 2], [x, -0.5])], inputs: vec![target], ..Values::default() };
        let run = evaluate(&loss.graph, Precision::F32, 1, &values);
        within(6.0, size, run.loss(), value, || format!("kl_div at {x}"));
        assert_eq!(run.output(&Role::Gradient(0)).as_floats(), [-0.25, -0.75]);
    }
}

/// What a loss is at infinity, by `ln(0) = -inf` and the like.
struct End {
    function: &'static FunctionDef,
    args: &'static [Arg],
    x: &'static [f64],
    target: &'static [f64],
    value: f64,
    /// By what is predicted, and by the target.
    slopes: [&'static [f64]; 2],
}

const ENDS: &[End] = &[
    end(&functions::BCE_WITH_LOGITS, &[], &[INF], &[1.0], 0.0, [&[0.0], &[-INF]]),
    end(&functions::BCE_WITH_LOGITS, &[], &[-INF], &[0.0], 0.0, [&[0.0], &[INF]]),
    end(&functions::BCE_WITH_LOGITS, &[], &[INF], &[0.25], INF, [&[0.75], &[-INF]]),
    end(&functions::KL_DIV, &[], &[0.0, -INF], &[1.0, 0.0], 0.0, [&[-1.0, 0.0], &[1.0, 0.0]]),
    end(&functions::KL_DIV, &[], &[-INF, 0.0], &[1.0, 0.0], INF, [&[-1.0, 0.0], &[INF, 0.0]]),
    end(&functions::HINGE, &[], &[INF], &[1.0], 0.0, [&[0.0], &[0.0]]),
    end(&functions::HINGE, &[], &[-INF], &[-1.0], 0.0, [&[0.0], &[0.0]]),
    end(&functions::HINGE, &[], &[INF], &[-1.0], INF, [&[1.0], &[-INF]]),
    end(&functions::HINGE, &[], &[2.0], &[INF], 0.0, [&[0.0], &[0.0]]),
    end(&functions::MSE, &[], &[INF], &[1.0], INF, [&[INF], &[-INF]]),
    end(&functions::MSE, &[], &[-INF], &[1.0], INF, [&[-INF], &[INF]]),
    end(&functions::MSE, &[], &[1.0], &[INF], INF, [&[-INF], &[INF]]),
    end(&functions::MAE, &[], &[INF], &[1.0], INF, [&[1.0], &[-1.0]]),
    end(&functions::MAE, &[], &[1.0], &[INF], INF, [&[-1.0], &[1.0]]),
    end(&functions::MEAN_ABS_ERROR, &[], &[-INF], &[1.0], INF, [&[-1.0], &[1.0]]),
    end(&functions::HUBER, &[Arg::Float(1.0)], &[INF], &[1.0], INF, [&[1.0], &[-1.0]]),
    end(&functions::HUBER, &[Arg::Float(1e6)], &[-INF], &[1.0], INF, [&[-1e6], &[1e6]]),
    end(&functions::HUBER, &[Arg::Float(0.25)], &[1.0], &[INF], INF, [&[-0.25], &[0.25]]),
];

const fn end(
    function: &'static FunctionDef,
    args: &'static [Arg],
    x: &'static [f64],
    target: &'static [f64],
    value: f64,
    slopes: [&'static [f64]; 2],
) -> End {
    End { function, args, x, target, value, slopes }
}

#[test]
fn losses_of_pairs_reach_their_limits_and_so_do_both_slopes() {
    for End { function, args, x, target, value, slopes } in ENDS {
        let graph = Loss::of_parameters(function, args, x.len());
        let tensors = [x, target].map(|numbers| Tensor::floats(&[1, numbers.len()], numbers.to_vec()));
        let values = Values { params: tensors.to_vec(), ..Values::default() };
        let run = evaluate(&graph, Precision::F32, 1, &values);
        let results = Compiled::new(&graph, 1).run(1, &values);
        let interpreted = [Role::Loss, Role::Gradient(0), Role::Gradient(1)].map(|role| run.output(&role).as_floats());
        let compiled = [Role::Loss, Role::Gradient(0), Role::Gradient(1)].map(|role| results.get(&role));
        for (how, [loss, by_x, by_target]) in [("interpreted", interpreted), ("compiled", compiled)] {
            let what = format!("{} of {x:?} against {target:?}, {how}", function.name);
            assert_eq!(loss, [*value], "{what}");
            assert_eq!(by_x, slopes[0], "slopes of {what}");
            assert_eq!(by_target, slopes[1], "slopes by the target of {what}");
        }
    }
}

#[test]
fn a_smoothed_class_that_cannot_be_costs_infinitely_much_and_its_slopes_are_shares() {
    for smoothing in [0.25, 1.0] {
        let args = [Arg::Float(smoothing), Arg::Numbers(&[]), Arg::Word("none")];
        let mut loss = Loss::of_class(2, |b, x, target| (functions::CROSS_ENTROPY.lower)(b, &args, &[x, target]));
        for (row, certain) in [([INF, 0.0], 0), ([0.0, -INF], 0), ([-INF, 3.0], 1)] {
            for target in 0..2 {
                let share = |class| smoothing / 2.0 + if class == target { 1.0 - smoothing } else { 0.0 };
                let slopes = (0..2).map(|class| if class == certain { 1.0 } else { 0.0 } - share(class));
                let wanted = (INF, slopes.collect());
                loss.check(2.0, &row, class(target as u32), wanted, "smoothed cross_entropy");
            }
        }
    }
}

#[test]
fn nll_of_what_cannot_be_is_infinite_and_its_slope_is_one() {
    let mut loss = Loss::of_class(2, |b, x, target| (functions::NLL.lower)(b, &[], &[x, target]));
    loss.check(0.0, &[-INF, 0.0], class(0), (INF, vec![-1.0, 0.0]), "nll");
    loss.check(0.0, &[-INF, 0.0], class(1), (0.0, vec![0.0, -1.0]), "nll");
}

#[test]
fn r2_of_an_infinite_prediction_is_minus_infinity() {
    let mut b = Builder::new(Graph::default());
    let x = parameter(&mut b, "x", &[2, 1]);
    let target = input(&mut b, "target", TensorType::f32(Shape::fixed(&[2, 1])));
    let loss = (functions::R2.lower)(&mut b, &[], &[x, target]);
    output(&mut b, Role::Loss, loss);
    let graph = simplify(&differentiate(&b.finish(), &[0]));
    for (x, value, slopes) in [([INF, 1.0], -INF, [-INF, 4.0]), ([3.0, 0.0], -15.0, [-8.0, 8.0])] {
        let values = Values {
            params: vec![Tensor::floats(&[2, 1], x)],
            inputs: vec![Tensor::floats(&[2, 1], [1.0, 2.0])],
            ..Values::default()
        };
        let run = evaluate(&graph, Precision::F32, 2, &values);
        let results = Compiled::new(&graph, 2).run(2, &values);
        let wanted = (value, &slopes[..]);
        assert_eq!((run.loss(), run.output(&Role::Gradient(0)).as_floats()), wanted);
        assert_eq!((results.get(&Role::Loss)[0], results.get(&Role::Gradient(0))), wanted);
    }
}

/// A loss, and the tests of how many digits it has and of what it is at infinity.
type Tried = (&'static FunctionDef, &'static [fn()]);

const TRIED: &[Tried] = &[
    (
        &functions::CROSS_ENTROPY,
        &[
            cross_entropy_has_the_digits_of_what_a_confident_answer_leaves,
            cross_entropy_of_infinite_logits_is_its_limit,
            a_smoothed_class_that_cannot_be_costs_infinitely_much_and_its_slopes_are_shares,
        ],
    ),
    (
        &functions::NLL,
        &[log_softmax_and_nll_have_the_digits_of_cross_entropy, nll_of_what_cannot_be_is_infinite_and_its_slope_is_one],
    ),
    (&functions::BCE_WITH_LOGITS, &[what_a_right_answer_costs_has_its_digits, a_target_between_costs_on_both_sides]),
    (&functions::KL_DIV, &[kl_div_counts_no_class_that_never_occurs]),
    (&functions::HINGE, &[losses_of_differences_are_as_exact_as_the_difference]),
    (&functions::MSE, &[losses_of_differences_are_as_exact_as_the_difference]),
    (&functions::MAE, &[losses_of_differences_are_as_exact_as_the_difference]),
    (&functions::MEAN_ABS_ERROR, &[losses_of_differences_are_as_exact_as_the_difference]),
    (&functions::HUBER, &[losses_of_differences_are_as_exact_as_the_difference]),
    (&functions::R2, &[r2_of_an_infinite_prediction_is_minus_infinity]),
];

/// Those that nothing can be trained by.
const WITHOUT_GRADIENT: [&FunctionDef; 3] = [&functions::TOP_K, &functions::PRECISION, &functions::RECALL];

#[test]
fn every_loss_is_tried() {
    let names = |all: &mut dyn Iterator<Item = &'static FunctionDef>| -> BTreeSet<&'static str> {
        all.map(|function| function.name).collect()
    };
    let is_criterion = |function: &&FunctionDef| function.operands.len() == 2 && !function.elementwise;
    let all = names(&mut functions::ALL.iter().copied().filter(is_criterion));
    let tried = names(&mut TRIED.iter().map(|(function, _)| *function).chain(WITHOUT_GRADIENT));
    assert_eq!(tried, all);
    // Against a target like what is predicted, also with the slopes by both.
    let at_ends = names(&mut ENDS.iter().map(|end| end.function));
    let others = ["cross_entropy", "nll", "r2"];
    assert_eq!(
        names(&mut TRIED.iter().map(|(function, _)| *function)).difference(&at_ends).copied().collect::<Vec<_>>(),
        others
    );
    assert!(TRIED.iter().all(|(_, tests)| !tests.is_empty()));
}
