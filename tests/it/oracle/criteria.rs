//! Losses and metrics, each by its formula.

use gradloom_runtime::layers::Arg;

use super::activations::log_sum_exp;
use super::array::{Array, Value};
use super::decisions::Decisions;
use crate::formulas::softplus;

/// The loss or metric of this name.
pub fn criterion(name: &str, args: &[Arg], x: &[Value], decisions: &mut Decisions) -> f64 {
    let first = x[0].floats();
    let pairs = |f: &mut dyn FnMut(f64, f64) -> f64| mean(&first.with(x[1].floats(), f).data);
    match (name, &x[1]) {
        ("cross_entropy", target) => cross_entropy(args, first, &target.ids().data),
        ("nll", target) => {
            let own = first.rows().zip(&target.ids().data).map(|(row, &class)| -row[class as usize]);
            mean(&own.collect::<Vec<f64>>())
        }
        ("bce_with_logits", _) => pairs(&mut |x, y| softplus(x) - x * y),
        ("kl_div", target) => {
            let mut term = |log_q: f64, p: f64| {
                let is_zero = decisions.compare(p, 0.0) == Some(std::cmp::Ordering::Equal);
                if is_zero { 0.0 } else { p * (p.ln() - log_q) }
            };
            let terms = first.with(target.floats(), &mut term);
            mean(&terms.rows().map(|row| row.iter().sum()).collect::<Vec<f64>>())
        }
        ("hinge", _) => pairs(&mut |x, y| decisions.larger(0.0, 1.0 - x * y)),
        ("mse", _) => pairs(&mut |x, y| (x - y) * (x - y)),
        ("mae" | "mean_abs_error", _) => pairs(&mut |x, y| {
            decisions.compare(x, y);
            (x - y).abs()
        }),
        ("huber", _) => {
            let delta = number(args[0]);
            pairs(&mut |x, y| {
                decisions.compare(x, y);
                let distance = (x - y).abs();
                let is_far = decisions.above(distance, delta);
                if is_far { delta * (distance - delta / 2.0) } else { distance * distance / 2.0 }
            })
        }
        ("r2", target) => {
            let columns = first.columns().zip(target.floats().columns());
            let shares = columns.map(|(x, y)| {
                let variation = squares(&y, &vec![mean(&y); y.len()]);
                // Of a nearly constant column it is whatever rounding leaves.
                decisions.compare(variation, 1e-12 * squares(&y, &vec![0.0; y.len()]));
                1.0 - squares(&x, &y) / variation
            });
            // Of a constant column it has no value.
            let shares: Vec<f64> = shares.collect();
            decisions.finite(mean(&shares))
        }
        ("top_k", target) => {
            let Arg::Int(k) = args[0] else { panic!("a count is an integer") };
            let rows = first.rows().zip(&target.ids().data);
            let hits: Vec<f64> =
                rows.map(|(row, &class)| is(place(row, class as usize, decisions) < k as usize)).collect();
            mean(&hits)
        }
        ("precision" | "recall", target) => share(name, first, target, args, decisions),
        (other, _) => panic!("say what {other} computes"),
    }
}

/// With `label_smoothing` and `class_weights`, over the rows whose target is not to be ignored.
fn cross_entropy(args: &[Arg], logits: &Array<f64>, target: &[u32]) -> f64 {
    let smoothing = number(args[0]);
    let Arg::Numbers(weights) = args[1] else { panic!("weights are numbers") };
    let weight = |class: usize| weights.get(class).copied().unwrap_or(1.0);
    let (mut loss, mut total) = (0.0, 0.0);
    for (row, &target) in logits.rows().zip(target).filter(|(_, target)| args[2] != Arg::Int(u64::from(**target))) {
        let (target, partition) = (target as usize, log_sum_exp(row));
        for (class, x) in row.iter().enumerate() {
            let own = if class == target { 1.0 - smoothing } else { 0.0 };
            loss += weight(class) * (own + smoothing / row.len() as f64) * (partition - x);
        }
        total += weight(target);
    }
    if total == 0.0 && args[2] != Arg::Word("none") { 0.0 } else { loss / total }
}

/// How many classes stand before this one: those that are larger, and of equals the first.
fn place(row: &[f64], class: usize, decisions: &mut Decisions) -> usize {
    let own = row[class];
    let before = row.iter().enumerate().filter(|&(other, &x)| match decisions.compare(x, own) {
        Some(std::cmp::Ordering::Greater) | None => true,
        Some(std::cmp::Ordering::Equal) => other < class,
        Some(std::cmp::Ordering::Less) => false,
    });
    before.count()
}

/// `TP / (TP + FP)` or `TP / (TP + FN)`, 0 for 0 / 0: of decisions, or the mean over classes.
fn share(name: &str, x: &Array<f64>, target: &Value, args: &[Arg], decisions: &mut Decisions) -> f64 {
    let of = |decided: &[bool], positive: &[bool]| {
        let count = |flags: &mut dyn Iterator<Item = bool>| flags.filter(|&flag| flag).count() as f64;
        let hits = count(&mut decided.iter().zip(positive).map(|(&decided, &positive)| decided && positive));
        let all = count(&mut if name == "precision" { decided } else { positive }.iter().copied());
        if all == 0.0 { 0.0 } else { hits / all }
    };
    match target {
        Value::Ids(classes) => {
            let best = |row: &[f64]| if row.iter().any(|x| x.is_nan()) { 0 } else { decisions.largest(row) };
            let best: Vec<usize> = x.rows().map(best).collect();
            let shares = (0..*x.shape.last().expect("rows have an axis")).map(|class| {
                let decided: Vec<bool> = best.iter().map(|&best| best == class).collect();
                let positive: Vec<bool> = classes.data.iter().map(|&id| id as usize == class).collect();
                of(&decided, &positive)
            });
            mean(&shares.collect::<Vec<f64>>())
        }
        _ => {
            let mut flags = |x: &Array<f64>, limit| x.map(|x| decisions.above(x, limit)).data;
            let decided = flags(x, number(args[0]));
            of(&decided, &flags(target.floats(), 0.5))
        }
    }
}

/// The sum of squared distances.
fn squares(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn is(truth: bool) -> f64 {
    if truth { 1.0 } else { 0.0 }
}

fn number(arg: Arg) -> f64 {
    match arg {
        Arg::Float(number) => number,
        other => panic!("wanted a number, found {other:?}"),
    }
}
