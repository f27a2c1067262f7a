//! What numbers stand for: extents, sizes and arguments, within their ranges.

use super::{LARGEST, words};
use crate::layers::{Arg, ArgDef, ArgKind};
use crate::network::{At, Extent, Number, Outcome, Value, fits_f32};
use crate::types::Dim;

/// The extent of a port: `None` if it is not known, an error if it makes no sense.
pub(super) fn extent(extent: &Extent<'_>) -> Result<Option<Dim>, (At, String)> {
    match extent {
        Extent::Batch(_) => Ok(Some(Dim::B)),
        Extent::Size(number) => size(number).map(|n| n.map(Dim::Fixed)).map_err(|message| (number.at, message)),
    }
}

/// The size that a number stands for: `None` if it is not known.
pub(super) fn size(number: &Number<'_>) -> Result<Option<usize>, String> {
    match number.value {
        Outcome::Int(n) if n >= 1 && n as u64 <= LARGEST => Ok(Some(n as usize)),
        Outcome::Int(n) if n >= 1 => Err(words::number_too_large(number.text)),
        Outcome::Int(_) | Outcome::Float(_) | Outcome::Flag(_) => {
            Err(words::size_not_positive(&words::found(number.text, number.value)))
        }
        Outcome::Overflow => Err(words::overflows(number.text)),
        Outcome::DivisionByZero => Err(words::divides_by_zero(number.text)),
        Outcome::NoNumber => Err(words::no_number(number.text)),
        Outcome::Unknown => Ok(None),
    }
}

/// Whether integers are wanted.
pub fn is_size(kind: ArgKind) -> bool {
    matches!(kind, ArgKind::Size | ArgKind::SizeOr { .. } | ArgKind::Sizes { .. })
}

/// The integer that a number stands for: `None` if it is not known.
pub(super) fn position(number: &Number<'_>) -> Result<Option<i64>, String> {
    match number.value {
        Outcome::Int(n) if n.unsigned_abs() <= LARGEST => Ok(Some(n)),
        Outcome::Int(_) => Err(words::number_too_large(number.text)),
        Outcome::Float(_) | Outcome::Flag(_) => {
            Err(format!("a place along an axis is an integer, found {}", words::found(number.text, number.value)))
        }
        Outcome::Overflow => Err(words::overflows(number.text)),
        Outcome::DivisionByZero => Err(words::divides_by_zero(number.text)),
        Outcome::NoNumber => Err(words::no_number(number.text)),
        Outcome::Unknown => Ok(None),
    }
}

/// The argument that a number stands for: `None` if it is not known.
pub(super) fn argument(owner: &str, arg: &ArgDef, number: &Number<'_>) -> Result<Option<Arg>, String> {
    let value = match number.value {
        Outcome::Int(n) if is_size(arg.kind) && n > LARGEST as i64 => {
            return Err(words::number_too_large(number.text));
        }
        Outcome::Int(n) if is_size(arg.kind) => u64::try_from(n).ok().map(Arg::Int),
        Outcome::Int(n) => Some(Arg::Float(n as f64)),
        Outcome::Float(x) => Some(Arg::Float(x)),
        Outcome::Flag(flag) => Some(Arg::Flag(flag)),
        Outcome::Overflow => return Err(words::overflows(number.text)),
        Outcome::DivisionByZero => return Err(words::divides_by_zero(number.text)),
        Outcome::NoNumber => return Err(words::no_number(number.text)),
        Outcome::Unknown => return Ok(None),
    };
    match value.and_then(|value| arg.kind.accept(value).ok()) {
        Some(Arg::Float(x)) if !fits_f32(x) => Err(words::beyond_f32(number.text, x)),
        Some(value) => Ok(Some(value)),
        None => Err(words::wrong_argument(owner, arg, &words::found(number.text, number.value))),
    }
}

/// The extents that two numbers stand for: `None` if one is not known, where it is wrong and why if one cannot be.
pub(super) fn extents(owner: &str, arg: &ArgDef, pair: &[Number<'_>; 2]) -> Result<Option<Arg>, (At, String)> {
    let mut known = [None; 2];
    for (number, known) in pair.iter().zip(&mut known) {
        *known = match argument(owner, arg, number).map_err(|message| (number.at, message))? {
            Some(Arg::Int(n)) => Some(n),
            _ => None,
        };
    }
    Ok(match known {
        [Some(height), Some(width)] => Some(Arg::Pair(height, width)),
        _ => None,
    })
}

/// The axes or extents that numbers stand for, which are `known` if all are: `None` if one is not, where it is wrong and why if one
/// cannot be.
pub(super) fn list(
    owner: &str,
    arg: &ArgDef,
    numbers: &[Number<'_>],
    known: &'static [i64],
) -> Result<Option<Arg>, (At, String)> {
    for number in numbers {
        if position(number).map_err(|message| (number.at, message))?.is_none() {
            return Ok(None);
        }
    }
    let found: Vec<String> = numbers.iter().map(|number| words::found(number.text, number.value)).collect();
    let at = numbers.first().map_or(At::default(), |number| number.at);
    match arg.kind.accept(Arg::Ints(known)) {
        Ok(arg) => Ok(Some(arg)),
        Err(_) => Err((at, words::wrong_argument(owner, arg, &found.join(", ")))),
    }
}

/// The arguments of a function in a network that was found to be sound.
pub(crate) fn settled(declared: &'static [ArgDef], values: &[Value<'_>]) -> Vec<Arg> {
    let settle = |(arg, value): (&ArgDef, &Value<'_>)| match value {
        Value::Known(value) => *value,
        Value::Calculated(number) => argument("", arg, number).ok().flatten().expect("the network was checked"),
        Value::Pair(pair) => extents("", arg, pair).ok().flatten().expect("the network was checked"),
        Value::List(numbers, known) => list("", arg, numbers, known).ok().flatten().expect("the network was checked"),
        Value::Init(initializer, _, values) => initializer.with(&settled(initializer.number.as_slice(), values)),
        Value::Broken => unreachable!("the network was checked"),
    };
    declared.iter().zip(values).map(settle).collect()
}

#[cfg(test)]
mod tests {
    use super::settled;
    use crate::functions::MEAN;
    use crate::layers::{Arg, ints};
    use crate::network::{At, Number, Outcome, Value};

    #[test]
    fn axes_that_are_calculated_are_kept_once_however_often_they_are_asked_for() {
        let numbers = [-1, 0].map(|n| Number { value: Outcome::Int(n), text: "n", at: At(0) });
        let values = [Value::list(&numbers), Value::Known(Arg::Flag(false))];
        let [first, second] = [(); 2].map(|()| settled(MEAN.args, &values));
        assert_eq!(ints(&first, 0), [-1, 0]);
        assert!(std::ptr::eq(ints(&first, 0), ints(&second, 0)));
    }
}
