//! Names that mean something, wherever a name may stand: the macro refuses them there, or they name what they should.

use std::collections::{HashMap, HashSet};

use gradloom_runtime::elaborate::elaborate;

use super::robustness::Dice;
use crate::diagnostics::Errors;

/// Words of the language, columns of a history, and what parameters, scalars and stages are called.
const POOL: [&str; 35] = [
    "f",
    "f1",
    "f1_",
    "f2",
    "dense",
    "dense1",
    "dense2",
    "residual",
    "residual1",
    "repeat",
    "concat",
    "scan",
    "lambda1",
    "skip",
    "weights",
    "weight",
    "B",
    "Dense",
    "loss",
    "optimizer",
    "accumulation",
    "accumulated",
    "epoch",
    "steps",
    "rate",
    "seconds",
    "validation_loss",
    "mean",
    "relu",
    "due",
    "first",
    "key0",
    "running_mean",
    "metric",
    "act",
];

/// Where a name may stand, and what usually stands there.
const PLACES: [(&str, &str); 13] = [
    ("input", "x"),
    ("output", "y"),
    ("target", "t"),
    ("value", "v"),
    ("inner", "w"),
    ("metric", "m"),
    ("function", "g"),
    ("operand", "u"),
    ("extra", "a"),
    ("element", "e"),
    ("state", "s"),
    ("number", "n"),
    ("line", "l"),
];

const SOURCE: &str = "
    act {function} = |{operand}, {extra} = 1.0| {extra} * {operand};
    Net<{input}: [B, 3, 4] -> {output}: [B, 3, 4]> {
        Dense(4) as {value}, residual { Dense(4) as {inner}, {function} }, {function}, Dense(4),
        scan |{element}, {state}, {number} = 0.5| { let {line} = {element} -> Dense(4); {number} * {state} + {line} },
    }
    loss({target}: [B, 3, 4]) = mse({output}, {target}) + mean({value}) + mean({input}) + 0.5 * l2(weights);
    metric {metric} = mean(residual1.{inner}) + mean(residual1.{inner}.weight);
";

type Names<'n> = HashMap<&'static str, &'n str>;

/// What the stage of a function of this name is called, and the last layer.
fn paths(function: &str) -> [String; 2] {
    match function {
        // Beside the dense layers it is the second of that name.
        "dense" => ["dense2", "dense3"].map(str::to_string),
        _ if function.ends_with(char::is_numeric) => [format!("{function}_1"), "dense2".to_string()],
        _ => [format!("{function}1"), "dense2".to_string()],
    }
}

/// Whether the macro is to refuse a declaration with these names.
fn is_refused(names: &Names<'_>) -> bool {
    let function = names["function"];
    let [path, last] = paths(function);
    let is_reserved = |place: &&str| ["B", "weights"].contains(&names[*place]);
    let reserved = [
        "input", "output", "target", "value", "inner", "function", "operand", "extra", "element", "state", "number",
        "line",
    ];
    let of_loop: HashSet<&str> = ["element", "state", "number", "line"].iter().map(|place| names[place]).collect();
    let outermost = ["input", "output", "target", "value"];
    let paths = ["residual1", &path, &last];
    let of_reports = ["loss", "optimizer", "accumulation"];
    let known: HashSet<&str> = outermost.iter().map(|place| names[place]).collect();
    let metric = names["metric"];
    reserved.iter().any(is_reserved)
        || known.len() < outermost.len()
        || known.iter().any(|name| paths.contains(name) || of_reports.contains(name))
        || names["inner"] == "skip"
        || names["inner"] == path
        || names["operand"] == names["extra"]
        || of_loop.len() < 4
        || ["Dense", "mean", "relu", "residual", "repeat", "concat", "scan", "skip"].contains(&function)
        || of_reports.contains(&metric)
        || ["epoch", "steps", "rate", "seconds"].contains(&metric)
        || metric.starts_with("validation_")
}

#[track_caller]
fn check(names: &Names<'_>) {
    let mut source = SOURCE.to_string();
    for (place, name) in names {
        source = source.replace(&format!("{{{place}}}"), name);
    }
    let mut errors = Errors::default();
    let program = crate::parse::program(source.parse().expect("the tokens of a test are tokens"), &mut errors);
    let bump = bumpalo::Bump::new();
    let networks = crate::resolve::program(&program, &bump, &mut errors).networks;
    networks.iter().for_each(|network| crate::check::network(network, &mut errors));
    let text = errors.to_text();
    assert_eq!(!text.is_empty(), is_refused(names), "{source}{text}");
    if !text.is_empty() {
        return;
    }
    let (network, mistakes) = elaborate(&networks[0].definition);
    assert_eq!(mistakes, [], "{source}");
    let of = |place: &str| names[place];
    let [function, last] = paths(of("function"));
    let params = [
        format!("{}.weight", of("value")),
        format!("{}.bias", of("value")),
        format!("residual1.{}.weight", of("inner")),
        format!("residual1.{}.bias", of("inner")),
        format!("residual1.{function}.{}", of("extra")),
        format!("{function}.{}", of("extra")),
        format!("{last}.weight"),
        format!("{last}.bias"),
        format!("scan1.{}", of("number")),
        format!("scan1.{}.dense1.weight", of("line")),
        format!("scan1.{}.dense1.bias", of("line")),
    ];
    let found: Vec<&str> = network.params.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(found, params, "{source}");
    let [input, output, target, value, inner] = ["input", "output", "target", "value", "inner"].map(of);
    let text = network.to_string();
    for line in [
        format!(
            "act {} = |{}, {} = 1| {} * {}",
            of("function"),
            of("operand"),
            of("extra"),
            of("extra"),
            of("operand")
        ),
        format!(
            "loss({target}: f32[B,3,4]) = mse({output}, {target}) + mean({value}) + mean({input}) + 0.5 * l2(weights)"
        ),
        format!("{} * {} + {}", of("number"), of("state"), of("line")),
        format!("metric {} = mean(residual1.{inner}) + mean(residual1.{inner}.weight)", of("metric")),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[test]
fn a_name_that_means_something_is_refused_or_good_at_every_place() {
    let usual: Names<'_> = PLACES.into_iter().collect();
    check(&usual);
    for (place, _) in PLACES {
        for name in POOL {
            let mut names = usual.clone();
            names.insert(place, name);
            check(&names);
        }
    }
}

#[test]
fn so_is_every_choice_of_names() {
    let mut dice = Dice(7);
    let mut sound = 0;
    for _ in 0..2000 {
        let names: Names<'_> = PLACES
            .into_iter()
            .map(|(place, usual)| (place, if dice.below(3) == 0 { POOL[dice.below(POOL.len())] } else { usual }))
            .collect();
        sound += usize::from(!is_refused(&names));
        check(&names);
    }
    assert!(sound > 500, "{sound} are sound");
}
