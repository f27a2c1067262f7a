//! A layer against a case of a golden file: interpreted in f64 and f32, and as machine code, forward and backward.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::interp::{Precision, Tensor, Values, evaluate};
use gradloom_runtime::ir::{Graph, ParamSlot, Role, verify};
use gradloom_runtime::layers::{Arg, LayerDef, Mode, Takes};
use gradloom_runtime::lower::lower;
use gradloom_runtime::types::{DType, Dim};

use crate::bound::Bound;
use crate::compiled::Compiled;
use crate::golden_file::Case;
use crate::handmade;
use crate::oracle::array::Array;

pub const F64: Bound = Bound { relative: 1e-12, absolute: 1e-12 };
pub const F32: Bound = Bound { relative: 2e-6, absolute: 4e-6 };

/// Compares all results that a case has: `y`, next statistics, and the gradients whose name is that of a value after a `d`. It is
/// in inference where its name ends so.
pub fn check(case: &Case, layer: &'static LayerDef, args: &[Arg]) {
    let (graph, values) = graph(case, layer, args);
    let rows = case.get("x").shape[0];
    let results = Compiled::new(&graph, rows).run(rows, &values);
    let [exact, single] = [Precision::F64, Precision::F32].map(|precision| evaluate(&graph, precision, rows, &values));
    for (role, wanted) in expected(&graph, case) {
        let what = |how: &str| format!("{} {how}: {role:?}", case.name);
        for (evaluation, bound, how) in [(&exact, F64, "in f64"), (&single, F32, "in f32")] {
            bound.check(&what(how), &declared(&graph, &role, evaluation.output(&role).as_floats()), wanted);
        }
        F32.check(&what("compiled"), &declared(&graph, &role, results.get(&role)), wanted);
    }
}

/// The graph of a case with its gradients, and its values.
fn graph(case: &Case, layer: &'static LayerDef, args: &[Arg]) -> (Graph, Values) {
    let x = case.get("x");
    let rows = x.shape[0];
    let dims: Vec<Dim> = [Dim::B].into_iter().chain(x.shape[1..].iter().map(|&n| Dim::Fixed(n))).collect();
    let dtype = if matches!(layer.takes, Takes::Ids(_)) { DType::U8 } else { DType::F32 };
    let mode = if case.name.ends_with("inference") { Mode::Infer } else { Mode::Train };
    let memory = case.find("memory").map(|memory| memory.shape[1]);
    let definition = handmade::single_layer_of(layer, args, handmade::port_of(dtype, "x", &dims), memory);
    let mut graph = lower(definition, mode).expect("the layer fits");
    for input in 0..graph.slots.inputs.len() {
        let slot = &graph.slots.inputs[input];
        if !slot.target && slot.ty.dtype == DType::F32 {
            handmade::input_as_parameter(&mut graph, input, rows);
        }
    }
    verify(&graph).expect("the graph is well formed");
    let params = &graph.slots.params;
    let wanted: Vec<usize> =
        (0..params.len()).filter(|&at| case.find(&format!("d{}", key(&graph, at))).is_some()).collect();
    let gradients = case.find("dx").is_some() || dtype != DType::F32;
    assert!(gradients && !wanted.is_empty(), "{} has gradients", case.name);
    let params = (0..params.len()).map(|at| stored(&params[at], case.get(&key(&graph, at)))).collect();
    let inputs = graph.slots.inputs.iter().map(|slot| match slot.name {
        "weights" => case.get("dy").clone(),
        name if slot.ty.dtype == DType::F32 => case.get(name).clone(),
        name => case.indices(name),
    });
    let values = Values { inputs: inputs.collect(), params, scalars: Vec::new() };
    (handmade::with_batch(&differentiate(&graph, &wanted), rows), values)
}

/// A value of a case as a parameter.
fn stored(slot: &ParamSlot, value: &Tensor) -> Tensor {
    handmade::stored(slot, &Array::new(&value.shape, value.as_floats().to_vec()))
}

/// What a parameter is called in a case: without the layer, and with `_` for each point.
fn key(graph: &Graph, param: usize) -> String {
    let name = &graph.slots.params[param].name;
    name.split_once('.').map_or(name.as_str(), |(_, own)| own).replace('.', "_")
}

/// The results of a case, each with what it should be.
fn expected<'c>(graph: &Graph, case: &'c Case) -> Vec<(Role, &'c [f64])> {
    let of = |role: &Role| match *role {
        Role::Output(0) => Some(case.floats("y")),
        Role::Gradient(param) => Some(case.floats(&format!("d{}", key(graph, param)))),
        Role::Update(param) => Some(case.floats(&key(graph, param).replace("running", "next"))),
        _ => None,
    };
    graph.outputs.iter().filter_map(|output| Some((output.role.clone(), of(&output.role)?))).collect()
}

/// A result in the order of the declaration.
fn declared(graph: &Graph, role: &Role, found: &[f64]) -> Vec<f64> {
    match *role {
        Role::Gradient(param) => handmade::declared(&graph.slots.params[param], found).data,
        _ => found.to_vec(),
    }
}
