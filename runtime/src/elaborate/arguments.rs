//! Messages about lists of arguments: the macro says them of layers, and of blocks that it sees; `build` of blocks from
//! elsewhere.

use super::words::{closest, did_you_mean};
use crate::network::Outcome;

/// `a`, `b` and `c`
pub fn and(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => quoted.join(""),
    }
}

/// An argument of a name that there is not.
pub fn unknown_argument(name: &str, owner: &str, known: &[&str]) -> String {
    match (closest(name, known.iter().copied()), known) {
        (_, []) => format!("`{owner}` takes no arguments"),
        (None, [one]) => format!("unknown argument `{name}` of `{owner}`; there is `{one}`"),
        (None, _) => format!("unknown argument `{name}` of `{owner}`; there are {}", and(known)),
        (closest, _) => format!("unknown argument `{name}` of `{owner}`{}", did_you_mean(closest)),
    }
}

/// An argument that has to be given.
pub fn missing_argument(owner: &str, name: &str, doc: &str) -> String {
    let doc = if doc.is_empty() { String::new() } else { format!(" ({doc})") };
    format!("`{owner}` needs the argument `{name}`{doc}")
}

/// More arguments than there are.
pub fn too_many_arguments(owner: &str, known: &[&str]) -> String {
    match known {
        [] => format!("`{owner}` takes no arguments"),
        [one] => format!("`{owner}` takes one argument, `{one}`"),
        _ => format!("`{owner}` takes at most {} arguments: {}", known.len(), and(known)),
    }
}

/// An argument that is there already.
pub fn duplicate_argument(owner: &str, name: &str) -> String {
    format!("`{name}` of `{owner}` is given twice")
}

/// An argument that stands where no name is needed and that needs one.
pub fn option_without_name(owner: &str, name: &str, written: &str) -> String {
    format!("options of `{owner}` have names; write `{name} = {written}`")
}

/// A trainable number in an expression, where nobody trains it.
pub fn extra_without_owner(act: &str, extra: &str) -> String {
    format!("`{extra}` is trained where `{act}` is a stage; in an expression give it a value: `{extra} = ..`")
}

/// A block in an expression.
pub fn stage_as_function(name: &str) -> String {
    format!("`{name}` is a stage of a body, not a function for expressions")
}

/// What a trainable number cannot start from.
pub fn no_start(act: &str, extra: &str, found: Outcome) -> String {
    format!("`{extra}` of `{act}` starts from a number that f32 holds, found {}", value(found))
}

/// A value without how it is written.
fn value(found: Outcome) -> String {
    match found {
        Outcome::Int(n) => n.to_string(),
        Outcome::Float(x) => x.to_string(),
        Outcome::Flag(flag) => flag.to_string(),
        Outcome::Overflow => "one that overflows".to_string(),
        Outcome::DivisionByZero => "a division by zero".to_string(),
        Outcome::NoNumber => "a calculation with a truth value".to_string(),
        Outcome::Unknown => "none".to_string(),
    }
}

/// A block in its own body.
pub fn recursive_block(name: &str) -> String {
    format!("the block `{name}` contains itself")
}

/// A function that calls itself.
pub fn recursive_act(name: &str) -> String {
    format!("the function `{name}` is defined in terms of itself")
}

/// More blocks from elsewhere inside one another than anyone writes.
pub fn nested_too_deeply(text: &str) -> String {
    format!("with `{text}`, more than {} blocks stand inside one another", super::MOST_NESTED)
}
