//! The functions of expressions that know of no target, each by its formula.

use std::cmp::Ordering;

use gradloom_runtime::layers::Arg;

use super::activations::erf;
use super::array::{Array, Value};
use super::decisions::Decisions;

/// The function of this name, if it is one of these.
pub fn function(name: &str, args: &[Arg], x: &[Value], decisions: &mut Decisions) -> Option<Value> {
    let all = || numbers(&x[0]).data;
    let each = |f: &dyn Fn(f64) -> f64| Value::Floats(x[0].floats().map(f));
    Some(match name {
        "mean" => groups(&numbers(&x[0]), args, mean),
        "sum" => groups(&numbers(&x[0]), args, |group| group.iter().sum()),
        "max" => groups(x[0].floats(), args, |group| group[decisions.largest(group)]),
        "min" => groups(x[0].floats(), args, |group| {
            let mirrored: Vec<f64> = group.iter().map(|x| -x).collect();
            group[decisions.largest(&mirrored)]
        }),
        "var" => groups(x[0].floats(), args, |group| {
            let mean = mean(group);
            group.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / group.len() as f64
        }),
        "argmax" => {
            let x = x[0].floats();
            let axes = axes(args, x.shape.len());
            // A row with NaN has its first position.
            let mut best = |row: &[f64]| if row.iter().any(|x| x.is_nan()) { 0 } else { decisions.largest(row) };
            Value::Ids(x.along(&axes).map(|group| best(&x.group(&axes, group)) as u32))
        }
        "one_hot" => {
            let (ids, Some(Arg::Int(classes))) = (x[0].ids(), args.first()) else { panic!("there are classes") };
            let shape: Vec<usize> = ids.shape.iter().copied().chain([*classes as usize]).collect();
            Value::Floats(Array::of(&shape, |place| {
                let (class, row) = place.split_last().expect("there are classes");
                f64::from(u8::from(ids.at(row) as usize == *class))
            }))
        }
        "concat" => {
            let parts: Vec<&Array<f64>> = x.iter().map(Value::floats).collect();
            let axis = axes(args, parts[0].shape.len())[0];
            let mut shape = parts[0].shape.clone();
            shape[axis] = parts.iter().map(|part| part.shape[axis]).sum();
            Value::Floats(Array::of(&shape, |place| {
                let mut place = place.to_vec();
                for part in &parts {
                    if place[axis] < part.shape[axis] {
                        return part.at(&place);
                    }
                    place[axis] -= part.shape[axis];
                }
                panic!("{place:?} is in none of the parts")
            }))
        }
        "reshape" => {
            let row = ints(args).iter().map(|&n| n as usize);
            let shape: Vec<usize> = x[0].floats().shape[..1].iter().copied().chain(row).collect();
            Value::Floats(Array::new(&shape, all()))
        }
        "transpose" => {
            let x = x[0].floats();
            let rank = x.shape.len();
            let order: Vec<usize> = match ints(args) {
                [] => (0..rank - 2).chain([rank - 1, rank - 2]).collect(),
                given => given.iter().map(|&axis| counted(axis, rank)).collect(),
            };
            let shape: Vec<usize> = order.iter().map(|&axis| x.shape[axis]).collect();
            Value::Floats(Array::of(&shape, |place| {
                let mut own = vec![0; rank];
                order.iter().zip(place).for_each(|(&axis, &at)| own[axis] = at);
                x.at(&own)
            }))
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

/// What becomes of each group of elements, along axes that disappear or keep one element.
fn groups(x: &Array<f64>, args: &[Arg], mut f: impl FnMut(&[f64]) -> f64) -> Value {
    let axes = axes(args, x.shape.len());
    let mut result = x.along(&axes).map(|group| f(&x.group(&axes, group)));
    if args.get(1) == Some(&Arg::Flag(true)) {
        let extents = x.shape.iter().enumerate();
        result.shape = extents.map(|(axis, &n)| if axes.contains(&axis) { 1 } else { n }).collect();
    }
    Value::Floats(result)
}

fn mean(group: &[f64]) -> f64 {
    group.iter().sum::<f64>() / group.len() as f64
}

/// The integers that an argument lists.
fn ints(args: &[Arg]) -> &'static [i64] {
    match args.first() {
        Some(Arg::Ints(list)) => list,
        other => panic!("wanted integers, found {other:?}"),
    }
}

/// The axes that an argument lists, all of them if there is none.
fn axes(args: &[Arg], rank: usize) -> Vec<usize> {
    match args.first() {
        None | Some(Arg::Ints([])) => (0..rank).collect(),
        _ => ints(args).iter().map(|&axis| counted(axis, rank)).collect(),
    }
}

fn counted(axis: i64, rank: usize) -> usize {
    if axis < 0 { (rank as i64 + axis) as usize } else { axis as usize }
}

/// Numbers as they are, truth values as 1 and 0.
fn numbers(x: &Value) -> Array<f64> {
    match x {
        Value::Floats(floats) => floats.clone(),
        Value::Truths(truths) => truths.map(|truth| f64::from(u8::from(truth))),
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
