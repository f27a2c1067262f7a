//! What an editor shows of a layer or function is complete, and `guide/reference.md` is made of it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::layers::initializers::{self, Initializer};
use gradloom_runtime::layers::{self, Arg, ArgDef, ArgKind, Gain, LayerDef};
use gradloom_runtime::types::{Dim, Shape};

const HEAD: &str = "# Layers and functions of `network!`

Every layer, activation, initializer, operator, function, loss and metric. [The guide][guide] says how a network is made of them.

[guide]: README.md

What `B` and `S` stand for: `B` is the batch, `[S]` any shape. `x`, `y`, `dx` and `dy` are operand, result and the gradients of the
loss by them; `n` without further words is the number of elements. Where the gradient has a kink or jump, the entry says what it is
there. An argument without a value after `=` has to be given; the arguments of a layer may stand in the order below, without
their names. `fan_in` is the number of inputs that one output sums over, `fan_out` the number of outputs that one input goes to.
";

/// Functions that are no loss, and are not computed element by element.
const ELEMENTARY: [&str; 10] =
    ["mean", "sum", "max", "min", "var", "argmax", "concat", "reshape", "transpose", "one_hot"];

/// The documentation of every `const` of these rooms, by its name.
fn docs() -> HashMap<String, String> {
    let mut docs = HashMap::new();
    for room in ["layers", "functions"] {
        let folder = crate::project().join("runtime/src").join(room);
        for entry in fs::read_dir(folder).expect("the room exists") {
            let text = fs::read_to_string(entry.expect("it can be read").path()).expect("it is a text");
            let mut doc = String::new();
            for line in text.lines().map(str::trim) {
                if let Some(line) = line.strip_prefix("///") {
                    doc.push_str(line.strip_prefix(' ').unwrap_or(line));
                    doc.push('\n');
                } else {
                    let name: String = line
                        .trim_start_matches("pub const ")
                        .chars()
                        .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
                        .collect();
                    if !doc.is_empty() && !name.is_empty() {
                        docs.insert(name, std::mem::take(&mut doc));
                    }
                    doc.clear();
                }
            }
        }
    }
    docs
}

/// A default as it is written.
fn default(arg: &ArgDef) -> Option<String> {
    arg.default.map(|value| match value {
        Arg::Int(value) => value.to_string(),
        Arg::Float(value) => format!("{value:?}"),
        Arg::Flag(value) => value.to_string(),
        Arg::Word(value) => value.to_string(),
        Arg::Path(_) => if matches!(arg.kind, ArgKind::Value(_)) { "none" } else { "own" }.to_string(),
        Arg::Pair(height, width) => format!("({height}, {width})"),
        Arg::Numbers(values) => format!("{values:?}"),
        Arg::Ints([one]) => one.to_string(),
        Arg::Ints(values) => format!("{values:?}"),
        Arg::Init(initializer, Some(number)) => format!("{}({number:?})", initializer.name),
        Arg::Init(initializer, None) => initializer.name.to_string(),
    })
}

/// The line of an argument.
fn line(arg: &ArgDef) -> String {
    let default = default(arg).map_or(String::new(), |value| format!(" = {value}"));
    let kind = match arg.kind {
        ArgKind::Size => "an integer of at least 1".to_string(),
        ArgKind::SizeOr { least, word } => format!("an integer of at least {least}, or `{word}`"),
        ArgKind::Sizes { least, word } => {
            let word = word.map_or(String::new(), |word| format!(", or `{word}`"));
            let or = if word.is_empty() { "or " } else { "" };
            format!("an integer of at least {least}, {or}two as `(height, width)`{word}")
        }
        ArgKind::Number { range, .. } => format!("a number {range}"),
        ArgKind::Numbers { range, .. } => format!("numbers {range}"),
        ArgKind::NumberOrList { range, .. } => format!("a number {range}, or a list with one for each channel"),
        ArgKind::Axis => "an axis, such as 1 or -1".to_string(),
        ArgKind::Axes => "an axis, such as -1, or a list of them, such as `[1, 2]`".to_string(),
        ArgKind::Extents => "a shape, such as `[B, 4, 7]`".to_string(),
        ArgKind::Init => "an initializer".to_string(),
        ArgKind::Parameter => "the path of a parameter".to_string(),
        ArgKind::Value(_) => "the name of a value".to_string(),
        ArgKind::Flag => "`true` or `false`".to_string(),
        ArgKind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let (last, others) = words.split_last().expect("an argument has words");
            if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) }
        }
    };
    format!("- Argument `{}{default}`: {}; {kind}", arg.name, arg.doc)
}

/// A documentation as one line per bullet.
fn unwrapped(doc: &str) -> String {
    doc.replace("\n  ", " ")
}

/// What the documentation of a layer or function says; what only moves values has no source.
const BULLETS: [&str; 4] = ["Value", "Shapes", "Gradient", "Source"];

/// What is missing in the documentation of an item.
fn missing(doc: &str, args: &[ArgDef], bullets: &[&str]) -> Vec<String> {
    let doc = unwrapped(doc);
    let mut wanted: Vec<String> = args.iter().map(line).collect();
    wanted.extend(bullets.iter().map(|bullet| format!("- {bullet}: ")));
    wanted.retain(|wanted| !doc.lines().any(|line| line.starts_with(wanted.as_str())));
    let arguments = doc.lines().filter(|line| line.starts_with("- Argument")).count();
    if arguments > args.len() {
        wanted.push(format!("no more than {} arguments", args.len()));
    }
    wanted
}

/// What a layer owns.
fn parameters(layer: &LayerDef) -> Vec<&'static str> {
    let args: Vec<Arg> = layer.args.iter().map(|arg| arg.default.unwrap_or(Arg::Int(3))).collect();
    let x = Shape(vec![Dim::B, Dim::Fixed(4), Dim::Fixed(6)]);
    (layer.params)(&x, &args, Gain::He).iter().map(|param| param.name).collect()
}

#[test]
fn every_layer_and_function_is_documented_in_full() {
    let docs = docs();
    let mut offences = Vec::new();
    for layer in layers::ALL {
        let Some(doc) = docs.get(layer.item) else { panic!("{} has no documentation", layer.item) };
        // What only moves values has no source.
        let source = layer.function.is_some() || !parameters(layer).is_empty();
        let mut missing = missing(doc, layer.args, &BULLETS[..if source { 4 } else { 3 }]);
        missing.extend(parameters(layer).iter().map(|name| format!("`{name} [")).filter(|name| !doc.contains(name)));
        offences.extend(missing.iter().map(|missing| format!("{}: {missing}", layer.name)));
    }
    for function in functions::ALL {
        let Some(doc) = docs.get(function.item) else { panic!("{} has no documentation", function.item) };
        let elementary = function.elementwise || ELEMENTARY.contains(&function.name);
        let missing = missing(doc, function.args, &BULLETS[..if elementary { 3 } else { 4 }]);
        offences.extend(missing.iter().map(|missing| format!("{}: {missing}", function.name)));
    }
    for known in initializers::ALL {
        let Some(doc) = docs.get(known.item) else { panic!("{} has no documentation", known.item) };
        let by_formula = known.name.contains('_') || known.name == "orthogonal";
        let bullets = if by_formula { &["Value", "Source"][..] } else { &["Value"] };
        let missing = missing(doc, known.number.as_slice(), bullets);
        offences.extend(missing.iter().map(|missing| format!("{}: {missing}", known.name)));
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// How an item is written.
fn call(name: &str, operands: &[&str], args: &[ArgDef]) -> String {
    let args =
        args.iter().map(|arg| default(arg).map_or(arg.name.to_string(), |value| format!("{} = {value}", arg.name)));
    let list: Vec<String> = operands.iter().map(|operand| operand.to_string()).chain(args).collect();
    if list.is_empty() { name.to_string() } else { format!("{name}({})", list.join(", ")) }
}

/// The documentation of what begins with this line in the description of declarations.
fn described(line: &str) -> String {
    let path = crate::project().join("runtime/src/network.rs");
    let text = fs::read_to_string(path).expect("it is a text");
    let (before, _) = text.split_once(&format!("\n{line}")).expect("the line is there");
    let lines: Vec<&str> = before.lines().rev().map_while(|line| line.trim().strip_prefix("///")).collect();
    lines.into_iter().rev().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// Structures, and the documentation of each, which stands at its variant.
fn structures() -> Vec<(String, String)> {
    [
        ("residual { .. } skip { .. }", "Residual {"),
        ("repeat(n) { .. }", "Repeat {"),
        ("concat { { .. }, { .. } }", "Branches {"),
        ("scan(n) |x, h, decay = 0.9| ..", "Scan(&'a Scan<'a>),"),
        ("(u, v) -> concat(axis = -1)", "Concat(Number<'a>),"),
    ]
    .map(|(written, variant)| (written.to_string(), described(&format!("    {variant}"))))
    .into()
}

/// The operators, which are documented together.
fn operators() -> (String, String) {
    let operators = described("#[derive(Clone, Copy, Debug, PartialEq, Eq)]\npub enum BinaryOp {");
    ("+ - * / == != < <= > >= ! && ||".to_string(), operators)
}

/// `guide/reference.md` as it should be.
fn reference() -> String {
    let docs = docs();
    let is_activation = |layer: &LayerDef| layer.gain.is_some() || layer.function.is_some();
    let in_expressions =
        |function: &FunctionDef| function.elementwise || function.over_weights || ELEMENTARY.contains(&function.name);
    let layer = |layer: &&LayerDef| (call(layer.name, &[], layer.args), docs[layer.item].clone());
    let function =
        |function: &&FunctionDef| (call(function.name, function.operands, function.args), docs[function.item].clone());
    let initializer = |known: &&Initializer| (call(known.name, &[], known.number.as_slice()), docs[known.item].clone());
    let sections: [(&str, Vec<(String, String)>); 7] = [
        ("Layers", layers::ALL.iter().copied().filter(|def| !is_activation(def)).map(|def| layer(&def)).collect()),
        ("Structures", structures()),
        (
            "Activations, as stages and in expressions",
            layers::ALL.iter().copied().filter(|def| is_activation(def)).map(|def| layer(&def)).collect(),
        ),
        (
            "Initializers, of an argument `init`",
            initializers::ALL.iter().copied().map(|def| initializer(&def)).collect(),
        ),
        ("Operators of expressions", vec![operators()]),
        (
            "Functions of expressions",
            functions::ALL.iter().copied().filter(|def| in_expressions(def)).map(|def| function(&def)).collect(),
        ),
        (
            "Losses and metrics",
            functions::ALL.iter().copied().filter(|def| !in_expressions(def)).map(|def| function(&def)).collect(),
        ),
    ];
    let mut text = HEAD.to_string();
    for (title, entries) in sections {
        text.push_str(&format!("\n## {title}\n"));
        for (call, doc) in entries {
            text.push_str(&format!("\n### `{call}`\n\n{doc}"));
        }
    }
    text
}

#[test]
fn the_reference_is_made_of_the_documentation() {
    let path = crate::project().join("guide/reference.md");
    let wanted = reference();
    let found = fs::read_to_string(&path).unwrap_or_default();
    if found != wanted {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reference.md");
        fs::write(&made, &wanted).expect("the target folder can be written to");
        panic!("guide/reference.md is not what the documentation says; the new one is {}", made.display());
    }
}
