//! The functions of expressions that know of no target, each by its formula.

use std::cmp::Ordering;

use gradloom_runtime::layers::Arg;

use super::activations::erf;
use super::array::{Array, Value};
use super::decisions::Decisions;

/// The function of this name, if it is one of these.
pub fn function(name: &str, args: &[Arg], x: &[Value], decisions: &mut Decisions) -> Option<Value> {
    let all = || numbers(&x[0]);
    let each = |f: &dyn Fn(f64) -> f64| Value::Floats(x[0].floats().map(f));
    let sum = || all().iter().sum::<f64>();
    Some(match name {
        "mean" => Value::number(sum() / all().len() as f64),
        "sum" => Value::number(sum()),
        "max" => Value::number(all()[decisions.largest(&all())]),
        "argmax" => {
            let x = x[0].floats();
            let shape = &x.shape[..x.shape.len() - 1];
            // A row with NaN has its first position.
            let best = |row: &[f64]| if row.iter().any(|x| x.is_nan()) { 0 } else { decisions.largest(row) };
            Value::Ids(Array::new(shape, x.rows().map(best).map(|best| best as u32).collect()))
        }
        "l1" => Value::number(all().iter().map(|&x| size(x, decisions)).sum()),
        "l2" => Value::number(all().iter().map(|x| x * x).sum()),
        "exp" => each(&f64::exp),
        "ln" => each(&f64::ln),
        "sqrt" => each(&f64::sqrt),
        "abs" => Value::Floats(x[0].floats().map(|x| size(x, decisions))),
        "expm1" => each(&f64::exp_m1),
        "log1p" => each(&f64::ln_1p),
        "rsqrt" => each(&|x| 1.0 / x.sqrt()),
        "square" => each(&|x| x * x),
        "pow" => match args {
            [Arg::Int(n)] => each(&|x| (0..*n).map(|_| x).product()),
            other => panic!("an exponent is an integer, found {other:?}"),
        },
        "erf" => each(&erf),
        "sign" => Value::Floats(x[0].floats().map(|x| match decisions.compare(x, 0.0) {
            Some(Ordering::Greater) => 1.0,
            Some(Ordering::Less) => -1.0,
            _ => x,
        })),
        "minimum" => pair(x, |x, y| decisions.smaller(x, y)),
        "maximum" => pair(x, |x, y| decisions.larger(x, y)),
        "clamp" => {
            let raised = pair(&x[..2], |x, low| decisions.larger(x, low));
            pair(&[raised, x[2].clone()], |x, high| decisions.smaller(x, high))
        }
        _ => return None,
    })
}

/// Numbers as they are, truth values as 1 and 0.
fn numbers(x: &Value) -> Vec<f64> {
    match x {
        Value::Floats(floats) => floats.data.clone(),
        Value::Truths(truths) => truths.data.iter().map(|&truth| f64::from(u8::from(truth))).collect(),
        Value::Ids(_) => panic!("class ids are no numbers"),
    }
}

fn size(x: f64, decisions: &mut Decisions) -> f64 {
    decisions.compare(x, 0.0);
    x.abs()
}

fn pair(x: &[Value], f: impl FnMut(f64, f64) -> f64) -> Value {
    Value::Floats(x[0].floats().with(x[1].floats(), f))
}
