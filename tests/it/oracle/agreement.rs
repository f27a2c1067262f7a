//! Whether everything that a declaration is compiled to gives what the evaluator of the declaration gives.
//!
//! The graphs of all programs are interpreted in f64 and run as machine code, on drawn values: steps of training, gradients,
//! evaluations and predictions. In f64 a millionth of what rounding to f32 may do is allowed, so that the bound follows the
//! conditioning; of gradients as much more as the differences leave open.

use std::collections::HashMap;

use gradloom::Sgd;
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{self, Data, Tensor};
use gradloom_runtime::ir::{Graph, ParamSlot, Role, ScalarSlot, SlotKind, ops, unroll};
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::{check, trainable};
use gradloom_runtime::network::Definition;
use gradloom_runtime::optim::{TrainingConfig, fill};
use gradloom_runtime::types::DType;

use super::array::{Array, Value};
use super::slopes::{Slope, slope};
use super::{Answer, Values, evaluate};
use crate::compiled::{Compiled, Reference};
use crate::{draw, handmade, pieces};

/// The step that is taken: not the first, and with statistics of every third step not due.
const STEP: u64 = 3;
/// Exact in every precision.
const RATE: f64 = 0.125;
/// How many times what roundings are expected to do is allowed: in f64, and of machine code.
const SHARES: [f64; 2] = [1e-6, 2.0];
/// Elements of a parameter that are moved one by one.
const MOST_ELEMENTS: usize = 5;

/// What came of a comparison without a fault.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Everything agrees: so many slopes were compared, and so many could not be known.
    Agrees { slopes: usize, unknown: usize, compiled: bool },
    /// The declaration is refused, with this message.
    Refused(String),
    /// These values show nothing.
    Unclear(&'static str),
}

/// Compares all programs of a declaration with its evaluator, on batches of so many rows; what differs, in words.
pub fn agree(definition: &'static Definition<'static>, rows: usize, seed: u64) -> Result<Verdict, String> {
    if let Err(error) = check(definition) {
        return Ok(Verdict::Refused(error.to_string()));
    }
    let config: TrainingConfig = Sgd::new(RATE).into();
    let purposes = [Purpose::Gradients(None), Purpose::Train(&config), Purpose::Evaluate, Purpose::Predict];
    let mut graphs = Vec::new();
    for purpose in purposes {
        match simplified(definition, purpose) {
            Ok(graph) => graphs.push(graph),
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
        }
    }
    // Whatever the values, it can be compiled.
    let mut compiled: Vec<Compiled> = graphs.iter().map(|graph| Compiled::new(graph, rows)).collect();

    let values = draw_values(&graphs[1], &config, rows, seed);
    let trained = evaluate(definition, Mode::Train, STEP, &values);
    let inferred = evaluate(definition, Mode::Infer, STEP, &values);
    let numbers = |answer: &Answer| {
        let all =
            answer.metrics.iter().chain(answer.outputs.iter().flat_map(|output| &output.data)).chain([&answer.loss]);
        all.copied().all(f64::is_finite)
    };
    if !numbers(&trained) || !numbers(&inferred) {
        return Ok(Verdict::Unclear("something is not finite"));
    }
    if trained.nearest.min(inferred.nearest) < 1e-9 {
        return Ok(Verdict::Unclear("rounding decides"));
    }
    let slopes = Slopes::of(definition, &graphs[1], &values, &trained);
    let mut all_compiled = true;
    for (graph, compiled) in graphs.iter().zip(&mut compiled) {
        let own = |slot: &ScalarSlot| !matches!(slot, ScalarSlot::Declared(..));
        let infers =
            !graph.slots.scalars.iter().any(own) && graph.outputs.iter().all(|output| !is_of_training(&output.role));
        let answer = if infers { &inferred } else { &trained };
        all_compiled &= compare(graph, compiled, rows, &values, &config, answer, &slopes, seed)?;
    }
    all_compiled &= in_pieces(&graphs[2], rows, &fed(&graphs[2], &values, &config, seed), &inferred)?;
    let unknown = slopes.unknown;
    Ok(Verdict::Agrees { slopes: slopes.known.values().map(Vec::len).sum(), unknown, compiled: all_compiled })
}

/// An evaluation of a few rows at a time. Whether it was run as machine code.
fn in_pieces(graph: &Graph, rows: usize, fed: &interp::Values, answer: &Answer) -> Result<bool, String> {
    let most = rows.div_ceil(3);
    let unrolled = unroll(graph);
    let reference = Reference::new(&unrolled, rows, fed);
    let runs = reference.is_finite() && !reference.near_kink();
    let found = pieces::interpreted(graph, rows, most, fed);
    let results = pieces::compiled(graph, rows, most, fed);
    for (output, &exact) in unrolled.outputs.iter().zip(&found) {
        let wanted = match output.role {
            Role::Loss => answer.loss,
            Role::Metric(index) => answer.metrics[index],
            ref other => panic!("an evaluation gives no {other:?}"),
        };
        let allowed = reference.tolerance(output.node);
        let found = [Some(exact), runs.then(|| results.get(&output.role)[0])];
        for (found, by) in found.into_iter().zip(SHARES).filter_map(|(found, by)| Some((found?, by))) {
            let allowed = if allowed.is_finite() { by * allowed } else { 0.0 } + 1e-13 * wanted.abs();
            if !is_near(found, wanted, allowed) {
                return Err(format!(
                    "{:?} of pieces of {most} rows, {by}: {found:e} instead of {wanted:e}; {allowed:e} is allowed",
                    output.role
                ));
            }
        }
    }
    Ok(runs)
}

fn is_of_training(role: &Role) -> bool {
    matches!(role, Role::Gradient(_) | Role::Update(_))
}

/// The slopes of the loss along directions in the space of each parameter, by its path.
struct Slopes {
    known: HashMap<String, Vec<(Vec<f64>, Slope)>>,
    unknown: usize,
}

impl Slopes {
    fn of(definition: &'static Definition<'static>, graph: &Graph, values: &Values, center: &Answer) -> Slopes {
        let (mut known, mut unknown) = (HashMap::new(), 0);
        for path in trainable(graph).map(|param| &graph.slots.params[param].name) {
            let (start, mut own) = (&values.params[path], Vec::new());
            for direction in directions(start.data.len()) {
                let mut moved = values.clone();
                let found = slope(&center.decisions, |step| {
                    let numbers = start.data.iter().zip(&direction).map(|(x, along)| x + step * along);
                    moved.params.insert(path.clone(), Array::new(&start.shape, numbers.collect()));
                    let answer = evaluate(definition, Mode::Train, STEP, &moved);
                    (answer.loss, answer.decisions)
                });
                match found {
                    Some(slope) => own.push((direction, slope)),
                    None => unknown += 1,
                }
            }
            known.insert(path.clone(), own);
        }
        Slopes { known, unknown }
    }
}

/// Along single elements; where there are many, along some, and along all at once.
fn directions(len: usize) -> Vec<Vec<f64>> {
    let single = |at: usize| (0..len).map(|other| if other == at { 1.0 } else { 0.0 }).collect();
    if len <= MOST_ELEMENTS {
        return (0..len).map(single).collect();
    }
    let mut random = Random::new(len as u64, 5);
    let mut all: Vec<Vec<f64>> =
        (0..MOST_ELEMENTS - 1).map(|at| single(at * (len - 1) / (MOST_ELEMENTS - 2))).collect();
    all.push((0..len).map(|_| random.normal()).collect());
    all
}

/// One program: interpreted, and as machine code if no decision in it is near. Whether it was run as such.
#[expect(clippy::too_many_arguments, reason = "a comparison has two sides")]
fn compare(
    graph: &Graph,
    compiled: &mut Compiled,
    rows: usize,
    values: &Values,
    config: &TrainingConfig,
    answer: &Answer,
    slopes: &Slopes,
    seed: u64,
) -> Result<bool, String> {
    let fed = fed(graph, values, config, seed);
    let graph = &unroll(graph);
    let reference = Reference::new(graph, rows, &fed);
    let runs = reference.is_finite() && !reference.near_kink();
    let results = compiled.run(rows, &fed);
    for output in &graph.outputs {
        let exact = reference.exact(output.node);
        let allowed = reference.tolerance(output.node);
        let wanted = match output.role {
            Role::Loss => vec![answer.loss],
            Role::Metric(index) => vec![answer.metrics[index]],
            Role::Output(index) => answer.outputs[index].data.clone(),
            Role::Update(param) => {
                let slot = &graph.slots.params[param];
                match (slot.kind, answer.updates.get(&slot.name)) {
                    (_, Some(next)) => next.clone(),
                    (SlotKind::Running, None) => return Err(format!("{} should not change", slot.name)),
                    // Compared as gradients.
                    _ => continue,
                }
            }
            Role::Gradient(param) => {
                let name = &graph.slots.params[param].name;
                let found = [Some(exact), runs.then(|| results.get(&output.role))];
                for (found, by) in found.into_iter().zip(SHARES).filter_map(|(found, by)| Some((found?, by))) {
                    let slot = &graph.slots.params[param];
                    let declared = handmade::declared(slot, found).data;
                    gradient(name, &declared, by * allowed, &slopes.known[name])?;
                }
                continue;
            }
            Role::Probe(_) => continue,
        };
        let found = [Some(exact), runs.then(|| results.get(&output.role))];
        for (found, by) in found.into_iter().zip(SHARES).filter_map(|(found, by)| Some((found?, by))) {
            let allowed = if allowed.is_finite() { by * allowed } else { 0.0 };
            let off = found
                .iter()
                .zip(&wanted)
                .position(|(&found, &wanted)| !is_near(found, wanted, allowed + 1e-13 * wanted.abs()));
            if let Some(at) = off {
                let what = if by > 1.0 { "compiled" } else { "in f64" };
                let (found, wanted) = (found[at], wanted[at]);
                return Err(format!(
                    "{:?} {what}: element {at} is {found:e} instead of {wanted:e}; {allowed:e} is allowed",
                    output.role
                ));
            }
        }
    }
    Ok(runs)
}

fn gradient(name: &str, found: &[f64], allowed: f64, slopes: &[(Vec<f64>, Slope)]) -> Result<(), String> {
    for (direction, slope) in slopes {
        let along: f64 =
            found.iter().zip(direction).filter(|(_, along)| **along != 0.0).map(|(x, along)| x * along).sum();
        let reach: f64 = direction.iter().map(|along| along.abs()).sum();
        let allowed =
            if allowed.is_finite() { allowed * reach } else { 0.0 } + 10.0 * slope.error + 1e-12 * slope.value.abs();
        if !is_near(along, slope.value, allowed) {
            let mut at = direction.iter().enumerate().filter(|(_, along)| **along != 0.0).map(|(at, _)| at);
            let place = match (at.next(), at.next()) {
                (Some(at), None) => format!("element {at}"),
                _ => "all elements".to_string(),
            };
            let wanted = slope.value;
            return Err(format!(
                "gradient by {name}: along {place} {along:e} instead of {wanted:e}; {allowed:e} is allowed"
            ));
        }
    }
    Ok(())
}

/// NaN is near nothing.
fn is_near(found: f64, wanted: f64, allowed: f64) -> bool {
    (found - wanted).abs() <= allowed
}

/// The values in the order of the slots of a graph.
fn fed(graph: &Graph, values: &Values, config: &TrainingConfig, seed: u64) -> interp::Values {
    let inputs = graph.slots.inputs.iter().map(|slot| match &values.ports[slot.name] {
        Value::Floats(x) => Tensor::floats(&x.shape, x.data.clone()),
        Value::Ids(x) => Tensor::indices(&x.shape, x.data.clone()),
        Value::Truths(_) => panic!("a port of truth values"),
    });
    let param = |slot: &ParamSlot| match values.params.get(&slot.name) {
        Some(x) => handmade::stored(slot, x),
        None => draw::table(slot),
    };
    interp::Values {
        inputs: inputs.collect(),
        params: graph.slots.params.iter().map(param).collect(),
        scalars: scalars(graph, config, seed),
    }
}

fn scalars(graph: &Graph, config: &TrainingConfig, seed: u64) -> Vec<f64> {
    let mut numbers = vec![0.0; graph.slots.scalars.len()];
    fill(&graph.slots.scalars, &*config.optimizer, RATE, STEP, &mut numbers);
    let scalars = graph.slots.scalars.iter().zip(numbers).map(|(slot, number)| match *slot {
        ScalarSlot::Key { stream, half, .. } => f64::from(ops::key(seed, stream, STEP - 1)[half]),
        _ => f64::from(number),
    });
    scalars.collect()
}

/// Values for every slot of a training step, each an f32 number.
fn draw_values(graph: &Graph, config: &TrainingConfig, rows: usize, seed: u64) -> Values {
    let mut random = Random::new(seed, 7);
    let mut values = Values::default();
    let single = |x: f64| f64::from(x as f32);
    for slot in &graph.slots.params {
        let mut start = vec![0.0f32; slot.len()];
        slot.init.fill(&mut start, seed, 0);
        let mut draw = |start: f32| match slot.kind {
            SlotKind::Weight => 0.7 * random.normal(),
            SlotKind::Running if slot.name.ends_with("running_var") => 0.5 + random.uniform(),
            _ => f64::from(start) + 0.3 * random.normal(),
        };
        if slot.kind != SlotKind::Fixed {
            let numbers = start.into_iter().map(|start| single(draw(start)));
            let stored: Vec<f64> = numbers.collect();
            values.params.insert(slot.name.clone(), handmade::declared(slot, &stored));
        }
    }
    for slot in &graph.slots.inputs {
        let shape = slot.ty.shape.at(rows);
        let value = match slot.ty.dtype {
            DType::F32 => {
                let tensor = draw::floats(slot, &shape, &mut random, Random::normal);
                let Data::Float(numbers) = tensor.data else { panic!("numbers were asked for") };
                Value::Floats(Array::new(&shape, numbers.into_iter().map(single).collect()))
            }
            _ => {
                let classes = slot.classes.unwrap_or(if slot.target { 2 } else { draw::BYTES }) as u64;
                let ids = (0..shape.iter().product::<usize>()).map(|_| random.below(classes) as u32);
                Value::Ids(Array::new(&shape, ids.collect()))
            }
        };
        values.ports.insert(slot.name.to_string(), value);
    }
    for (slot, key) in graph.slots.scalars.iter().zip(scalars(graph, config, seed)) {
        if let ScalarSlot::Key { layer, half, .. } = slot {
            values.keys.entry(layer.clone()).or_insert([0; 2])[*half] = key as u32;
        }
    }
    values
}
