//! Every message about sizes, shapes and types, one function each: the macro and `build` say the same.

use crate::layers::{ArgDef, Misfit, Named};
use crate::network::Outcome;
use crate::types::{DType, Dim, Shape, TensorType};

/// A number beyond every limit.
pub fn number_too_large(digits: &str) -> String {
    format!("`{digits}` is too large")
}

/// What is no size.
pub fn size_not_positive(found: &str) -> String {
    format!("a size is an integer of at least 1, found {found}")
}

/// A calculation that does not fit.
pub fn overflows(text: &str) -> String {
    format!("`{text}` overflows")
}

/// A calculation that divides by zero.
pub fn divides_by_zero(text: &str) -> String {
    format!("`{text}` divides by zero")
}

/// A calculation with a truth value.
pub fn no_number(text: &str) -> String {
    format!("`{text}` calculates with a truth value")
}

/// An argument outside its range.
pub fn wrong_argument(owner: &str, arg: &ArgDef, found: &str) -> String {
    format!("`{}` of `{owner}` must be {}, found {found}", arg.name, arg.kind.wanted())
}

/// A Rust constant that is no number to calculate with.
pub fn not_finite(value: f64) -> String {
    format!("a constant in an expression must be finite, found {value}")
}

/// A number that is none in f32.
pub fn beyond_f32(text: &str, value: f64) -> String {
    match value.abs() < 1.0 {
        true => format!("`{text}` is 0 in f32, whose least number above 0 is 1.4e-45"),
        false => format!("`{text}` is beyond f32, whose largest number is 3.4e38"),
    }
}

/// A class id that is compared with what no id can be.
pub fn no_class_id(symbol: &str, dtype: DType, most: u64, found: f64) -> String {
    format!("`{symbol}` compares {dtype} with an integer from 0 to {most}, found {found}")
}

/// Class ids that are positions along a longer axis than that of the classes.
pub fn too_few_classes(classes: usize, found: usize) -> String {
    format!(
        "has {classes} classes, and its target is `argmax` of {found}, which may be any class from 0 to {}",
        found - 1
    )
}

/// What cannot be denied.
pub fn no_truth_value(found: DType) -> String {
    format!("`!` applies to truth values, as in `!(x > 0)`, found {found}")
}

/// A loss that training cannot change.
pub fn no_gradient(network: &str) -> String {
    format!(
        "the loss of `{network}` has no gradient with respect to any trained parameter: comparisons, `argmax`, `sign` and \
         `step` pass none on"
    )
}

/// A value that masks what a layer looks at and that there is not, or not yet.
pub fn unknown_value(layer: &str, name: &str, closest: Option<&str>) -> String {
    format!("`{layer}` finds no value `{name}` before it{}", did_you_mean(closest))
}

/// A mask of another shape or type.
pub fn value_misfits(layer: &str, kind: Named, name: &str, expected: &Shape, found: &TensorType) -> String {
    let found = format!("{} of {}", found.shape.declared(), found.dtype);
    let expected = expected.declared();
    match kind {
        Named::Mask => format!("`{layer}` looks at positions {expected}, and `{name}` is {found}; a mask is f32"),
        Named::Lengths => format!("`{layer}` has rows {expected}, and `{name}` is {found}; lengths are ids or f32"),
        Named::State(_) => format!("`{layer}` has a state {expected}, and `{name}` is {found}; a state is f32"),
    }
}

/// Running statistics in the body of a loop.
pub fn statistics_in_a_loop(layer: &str) -> String {
    format!("`{layer}` has running statistics, which a loop would change at every step; `LayerNorm` has none")
}

/// A first state of another shape or type.
pub fn initial_misfits(layer: &str, name: &str, size: Option<usize>, found: &TensorType) -> String {
    let expected = size.map_or("[B, ..]".to_string(), |n| format!("[B, {n}]"));
    format!("`{layer}` has a state {expected} of f32, and `{name}` is {}", of(found))
}

/// A body that gives another state than it was given.
pub fn state_changes(layer: &str, state: &str, before: &Shape, found: &TensorType) -> String {
    format!(
        "the body of `{layer}` makes the next state of `{state}`, {} of f32, but gives {}",
        before.declared(),
        of(found)
    )
}

/// A value of one step, outside of the loop.
pub fn inside_of_a_loop(path: &str, of_loop: &str) -> String {
    format!(
        "`{path}` is another value at each step of `{of_loop}`, and what is outside of the loop sees its states alone"
    )
}

/// A parameter of another layer that there is not, or not yet.
pub fn no_parameter(layer: &str, path: &str, closest: Option<&str>) -> String {
    format!("`{layer}` finds no parameter `{path}` before it{}", did_you_mean(closest))
}

/// First values of weights that are those of another layer.
pub fn nothing_to_start(layer: &str, init: &str, weight: &str) -> String {
    format!(
        "`{layer}` has no weights that `{init}` could start, for `{weight}` stands in their place; leave out one of them"
    )
}

/// Something that is declared and that nothing takes.
pub fn never_used(what: &str, name: &str) -> String {
    format!("the {what} `{name}` is never used")
}

/// A parameter of another layer that does not fit.
pub fn parameter_misfits(layer: &str, path: &str, expected: &Shape, found: &Shape) -> String {
    let [expected, found] = [expected, found].map(Shape::declared);
    format!("`{layer}` takes the transpose of a parameter {expected} for its weights, and `{path}` is {found}")
}

/// A calculation as written, and what it comes to.
pub fn found(text: &str, value: Outcome) -> String {
    match value {
        Outcome::Int(n) if text != n.to_string() => format!("`{text}` = {n}"),
        Outcome::Float(x) => format!("`{text}` = {x}"),
        Outcome::Flag(flag) if text != flag.to_string() => format!("`{text}` = {flag}"),
        _ => format!("`{text}`"),
    }
}

/// A port without the batch.
pub fn batch_missing(port: &str, shape: &Shape) -> String {
    let mut with_batch = shape.clone();
    with_batch.0.insert(0, Dim::B);
    format!("`{port}` needs the batch as its first axis: {}", with_batch.declared())
}

/// The batch at another place.
pub fn batch_not_first(port: &str) -> String {
    format!("`B`, the batch, is the first axis of `{port}` and no other")
}

/// More axes than `ndarray` has types for.
pub fn too_many_axes(port: &str, found: usize, most: usize) -> String {
    format!("`{port}` has {found} axes; at most {most} are supported")
}

/// More elements than any machine.
pub fn too_large(what: &str, shape: &Shape) -> String {
    let extents: Vec<usize> = shape.0.iter().map(|dim| dim.factor()).collect();
    format!("{what} has more than 2^40 elements: {}", bytes(size(&extents)))
}

/// How many bytes a tensor of these extents takes, however many they are.
pub fn size(extents: &[usize]) -> f64 {
    extents.iter().map(|&extent| extent as f64).product::<f64>() * 4.0
}

/// So many bytes, in a unit of which there are not many.
pub fn bytes(count: f64) -> String {
    if count >= 1e21 {
        return format!("{count:.0e} bytes");
    }
    let (mut count, mut unit) = (count, "bytes");
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if count < 1000.0 {
            break;
        }
        (count, unit) = (count / 1000.0, larger);
    }
    // Two digits at least, and none that say nothing.
    let digits = usize::from(count < 10.0 && count.fract() != 0.0);
    format!("{count:.digits$} {unit}")
}

/// A body that never ends.
pub fn too_many_stages() -> String {
    format!("this network has more than {} stages", super::MOST_STAGES)
}

/// A shape that a layer cannot take. The second line says how the shape came about.
pub fn misfit(layer: &str, misfit: &Misfit, found: &Shape, trace: &str) -> String {
    let hint = misfit.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("`{layer}` needs {}, found {}{hint}\n{trace}", misfit.needs, found.declared())
}

/// Class ids where numbers to calculate with are wanted.
pub fn layer_needs_floats(layer: &str, port: Option<&str>, found: DType) -> String {
    let hint = match (port, found) {
        (Some(port), DType::U8) => format!(
            "; put `normalize` before it, which makes numbers of the bytes of an image, or declare `{port}` without `u8;`"
        ),
        (Some(port), _) => format!("; declare `{port}` without `{found};`"),
        (None, _) => String::new(),
    };
    format!("`{layer}` needs f32, found {found}{hint}")
}

/// A layer of class ids that is given something else.
pub fn layer_needs_ids(layer: &str, found: DType) -> String {
    match found {
        DType::F32 => format!("`{layer}` needs the class ids of an input, such as `[u16; B, 64]`, found f32"),
        _ => format!("`{layer}` needs the class ids of an input; whether those of a flow are in range is not checked"),
    }
}

/// A layer of two values that is given another number of them.
pub fn no_memory(layer: &str, found: usize) -> String {
    let flow = if found == 1 { "flows" } else { "flow" };
    format!("`{layer}` takes two values, and {found} {flow} in: `(x, memory) -> {layer}`")
}

/// A body that gives something else than the signature says.
pub fn output_mismatch(network: &str, port: &str, layer: &str, types: [&TensorType; 2]) -> String {
    let [declared, found] = types.map(self::declared);
    format!("`{network}` declares {port}{declared}, but its last layer `{layer}` gives {found}")
}

/// A layer of rows that is given more axes than was meant, as the output shows. The second line says how the shapes came about.
pub fn not_flattened(layer: &str, x: &Shape, port: &str, types: [&TensorType; 2], trace: &str) -> String {
    let flat = Dim::product(&x.0[1..]).map(|row| Shape(vec![x.0[0], row]).declared());
    let gives = flat.map(|flat| format!(" (gives {flat})")).unwrap_or_default();
    let [declared, found] = types.map(self::declared);
    format!(
        "`{layer}` works along the last axis of {}, which makes `{port}` {found} instead of {declared}; insert `flatten` \
         before it{gives}\n{trace}",
        x.declared()
    )
}

/// An output of class ids or positions.
pub fn output_not_f32(port: &str, found: DType) -> String {
    format!("`{port}` is {found}, and outputs are f32; take `argmax` of the output in a metric, or where it is used")
}

/// A flow that gives something else than the port of its name says.
pub fn flow_mismatch(network: &str, port: &str, types: [&TensorType; 2]) -> String {
    let [declared, found] = types.map(self::declared);
    format!("`{network}` declares {port}: {declared}, but its flow gives {found}")
}

/// Several values where a stage takes one.
pub fn several_values(stage: &str, found: usize) -> String {
    format!("`{stage}` takes one value, and {found} flow in; join them with `concat` first")
}

/// One value where several are joined.
pub fn nothing_to_join(stage: &str) -> String {
    format!("`{stage}` joins several values, and one flows in: `(u, v) -> {stage}`")
}

/// A layer with a name whose parameters do not fit where it is used again.
pub fn shared_differs(layer: &str, param: &str, first: &Shape, here: &Shape) -> String {
    format!(
        "`{layer}` is used before with other sizes: `{param}` is {}, and would be {} here",
        first.declared(),
        here.declared()
    )
}

/// Running statistics in a layer that is used more than once.
pub fn shared_statistics(layer: &str, inside: &str) -> String {
    format!(
        "`{layer}` is used more than once, and `{inside}` in it has running statistics, which are those of one flow; \
         `LayerNorm` has none"
    )
}

/// Rows that depend on one another.
pub fn batch_is_gone(function: &str) -> String {
    format!(
        "`{function}` takes all rows of the batch together, and in a flow each stands for itself; give it other axes \
         (`axis = -1`), or write it into the loss or a metric"
    )
}

/// A split along the batch.
pub fn split_of_batch() -> String {
    "`split` takes a value apart along any axis but that of the batch".to_string()
}

/// Parts that would not be of equal size.
pub fn uneven_split(parts: usize, shape: &Shape, axis: usize) -> String {
    format!(
        "`split` into {parts} parts needs a size that {parts} divides, found {} along axis {axis} of {}",
        shape.0[axis],
        shape.declared()
    )
}

/// A part of a value with too few or too many entries.
pub fn spans_and_axes(found: usize, shape: &Shape) -> String {
    let rank = shape.rank();
    format!(
        "`[..]` takes an entry for each axis of {}: {rank}, found {found}; `..` is all of an axis",
        shape.declared()
    )
}

/// A part of the batch.
pub fn part_of_batch() -> String {
    "the rows of a batch cannot be taken apart: the first entry is `..`".to_string()
}

/// A part that is not there.
pub fn out_of_range(what: &str, axis: usize, shape: &Shape) -> String {
    format!("{what} is out of range along axis {axis} of {}, which has {}", shape.declared(), shape.0[axis])
}

/// A part without elements.
pub fn empty_part(what: &str) -> String {
    format!("{what} is empty: the second number is that after the last element")
}

/// Branches of a `residual` that cannot be added. The second line says how the body's shape came about.
pub fn branches_differ(has_skip: bool, body: &Shape, other: &Shape, trace: &str) -> String {
    let [body, other] = [body, other].map(Shape::declared);
    match has_skip {
        true => format!(
            "the branches of `residual` must have one shape: its body gives {body}, its `skip` {other}\n{trace}"
        ),
        false => format!(
            "`residual` adds its body to what comes in: the body gives {body}, but {other} comes in; a `skip {{ .. }}` after \
             it can bring that to {body}\n{trace}"
        ),
    }
}

/// Bodies of a `concat` whose results cannot stand one after the other. The second line says how what comes in came about.
pub fn parts_differ(parts: &[Shape], trace: &str) -> String {
    let parts: Vec<String> = parts.iter().map(Shape::declared).collect();
    format!(
        "the bodies of `concat` may differ in their second axis, of channels or features, and in no other: they give {}\n{trace}",
        parts.join(", ")
    )
}

/// A function of the user's own that gives something else than it takes.
pub fn act_changes_type(text: &str, x: &TensorType, found: &TensorType) -> String {
    format!("`{text}` must give what it takes, {}, but gives {}", of(x), of(found))
}

/// A reduction or a loss inside a function of the user's own.
pub fn not_elementwise(function: &str) -> String {
    format!("`{function}` looks at more than one element; a function of your own works element by element")
}

/// `weights` as a value.
pub fn weights_alone() -> String {
    "`weights` stands for the weights of all layers; it is the operand of `l1(weights)` or `l2(weights)`, and of nothing else"
        .to_string()
}

/// `l2(weights)` of nothing.
pub fn no_weights(network: &str) -> String {
    format!("`{network}` has no weights: `weights` are those of dense and convolution layers, without biases and norms")
}

/// A path that leads nowhere.
pub fn unknown_parameter(path: &str, closest: Option<&str>) -> String {
    format!("unknown parameter `{path}`{}", did_you_mean(closest))
}

/// The path of a stage in place of its result; `param` is the first of its parameters.
pub fn stage_as_value(path: &str, param: Option<&str>) -> String {
    let or = param.map(|param| format!(", or name a parameter of it, like `{param}`")).unwrap_or_default();
    format!("`{path}` is a stage; write `as` and a name after it to use its result{or}")
}

/// A loss or metric with axes; `what` is which.
pub fn not_a_number(what: &str, found: &TensorType) -> String {
    let hint = match (found.dtype, found.shape.rank()) {
        (DType::F32 | DType::Bool, 1..) => "; wrap it in `mean(..)`",
        (DType::Bool, 0) => "; `mean(..)` makes it 0 or 1",
        _ => "",
    };
    format!("{what} must be a single number, found {}{hint}", of(found))
}

/// As a declaration writes it: `[u8; B]`, and `[B, 10]` for f32.
pub fn declared(ty: &TensorType) -> String {
    let shape = ty.shape.declared();
    match ty.dtype {
        DType::F32 => shape,
        other => format!("[{other}; {}", &shape[1..]),
    }
}

/// `[B, 10] of f32`, and `a single f32` for a single value.
fn of(ty: &TensorType) -> String {
    match ty.shape.rank() {
        0 => format!("a single {}", ty.dtype),
        _ => format!("{} of {}", ty.shape.declared(), ty.dtype),
    }
}

/// As the trace of shapes writes it.
pub(super) fn compact(text: &str) -> String {
    text.replace(' ', "")
}

/// The end of a message about something unknown.
pub fn did_you_mean(closest: Option<&str>) -> String {
    closest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// The candidate that looks most like `name`, if one does: at most a third of it differs, whatever the case.
pub fn closest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    let limit = (length / 3).max(1);
    let near = |candidate: &&str| candidate.chars().count().abs_diff(length) <= limit;
    let distances = candidates.into_iter().filter(near).map(|candidate| (distance(name, candidate), candidate));
    let (nearest, candidate) = distances.min_by_key(|(distance, _)| *distance)?;
    (nearest <= limit && nearest < length).then_some(candidate)
}

/// How many letters are compared in all, before no further name is looked for.
const MOST_COMPARED: usize = 1 << 21;

/// Looks for the names that were meant, for the first few mistakes: with very many it would take the square of their number.
#[derive(Debug, Default)]
pub struct Suggestions {
    compared: usize,
}

impl Suggestions {
    /// As [`closest`], while there is time.
    pub fn closest<'a, I: IntoIterator<Item = &'a str>>(
        &mut self,
        name: &str,
        candidates: impl FnOnce() -> I,
    ) -> Option<&'a str> {
        if self.compared > MOST_COMPARED {
            return None;
        }
        let compared = &mut self.compared;
        closest(
            name,
            candidates().into_iter().inspect(|candidate| *compared += (name.len() + 1) * (candidate.len() + 1)),
        )
    }
}

/// Letters to insert, remove, replace or swap with their neighbor (Damerau & Levenshtein, optimal string alignment).
fn distance(x: &str, y: &str) -> usize {
    let [x, y]: [Vec<char>; 2] = [x, y].map(|word| word.to_lowercase().chars().collect());
    let mut before = vec![0; y.len() + 1];
    let mut last: Vec<usize> = (0..=y.len()).collect();
    for i in 1..=x.len() {
        let mut row = vec![i; y.len() + 1];
        for j in 1..=y.len() {
            let replaced = last[j - 1] + usize::from(x[i - 1] != y[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[y.len()]
}
