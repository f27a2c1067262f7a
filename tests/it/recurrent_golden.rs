//! Layers with a state against values of PyTorch, forward and backward, with initial states and with lengths.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::functions;
use gradloom_runtime::interp::{Precision, Values, evaluate};
use gradloom_runtime::ir::{Role, verify};
use gradloom_runtime::layers::initializers::{AUTO, ORTHOGONAL};
use gradloom_runtime::layers::{self, Arg, LayerDef, Mode};
use gradloom_runtime::lower::lower;
use gradloom_runtime::network::{BinaryOp, Definition, Expr};
use gradloom_runtime::types::Dim;

use crate::compiled::Compiled;
use crate::golden_file::{Case, GoldenFile};
use crate::handmade::{self, binary, call, clause, flow, leak, port, stage};
use crate::layer_golden::{F32, F64};

/// The layer of a case and its arguments, those that name values among them.
fn layer(case: &Case) -> (&'static LayerDef, Vec<Arg>) {
    let (name, variant) = case.name.split_once('_').expect("a layer and a variant");
    let gates = match name {
        "rnn" => 1,
        "gru" => 3,
        _ => 4,
    };
    let n = Arg::Int((case.get("recurrent_weight").shape[1] / gates) as u64);
    let is = |yes| Arg::Flag(yes);
    let last = is(case.get("y").shape.len() == 2);
    let reverse = is(variant == "reverse" || case.name == "lstm_lengths");
    let biased = is(case.find("input_bias").is_some());
    let named = |name: &'static str| Arg::Path(if case.find(name).is_some() { name } else { "" });
    let rest = [Arg::Init(&AUTO, None), Arg::Init(&ORTHOGONAL, Some(1.0)), named("initial"), named("lengths")];
    match name {
        "rnn" => {
            let bend = Arg::Word(if variant == "relu" { "relu" } else { "tanh" });
            (&layers::RNN, [&[n, bend, last, reverse, biased][..], &rest].concat())
        }
        "gru" => (&layers::GRU, [&[n, last, reverse, biased][..], &rest].concat()),
        _ => (&layers::LSTM, [&[n, last, reverse, biased][..], &rest, &[is(case.name == "lstm_last")]].concat()),
    }
}

/// The layer over `x`, where `initial` and `lengths` are ports, and the loss is `sum(y * dy)`.
fn definition(case: &Case) -> &'static Definition<'static> {
    let dims = |key: &str| -> Vec<Dim> {
        let shape = &case.get(key).shape;
        [Dim::B].into_iter().chain(shape[1..].iter().map(|&n| Dim::Fixed(n))).collect()
    };
    let inputs = ["x", "initial", "lengths"].into_iter().filter(|key| case.find(key).is_some());
    let inputs: Vec<_> = inputs.map(|key| port(key, &dims(key))).collect();
    let (layer, args) = layer(case);
    let product = binary(BinaryOp::Mul, Expr::Name("y"), Expr::Name("dy"));
    leak(Definition {
        name: "Recurrent",
        inputs: leak(inputs),
        outputs: leak([port("y", &dims("y"))]),
        targets: leak([port("dy", &dims("dy"))]),
        acts: &[],
        scalars: &[],
        layers: &[],
        flows: leak([flow("y", vec![Expr::Name("x")], vec![stage(layer, &args, layer.stem)])]),
        body: &[],
        loss: Some(clause("loss", call(&functions::SUM, &[], vec![product]))),
        metrics: &[],
        places: &[],
        assembled: None,
    })
}

#[test]
fn layers_with_a_state_are_those_of_pytorch_forward_and_backward() {
    let file = GoldenFile::read("recurrent");
    assert_eq!(file.cases().len(), 14);
    for case in file.cases() {
        let mut graph = lower(definition(case), Mode::Train).expect("the layer fits");
        let rows = case.get("x").shape[0];
        for input in 0..graph.slots.inputs.len() {
            if !graph.slots.inputs[input].target && graph.slots.inputs[input].name != "lengths" {
                handmade::input_as_parameter(&mut graph, input, rows);
            }
        }
        let params = &graph.slots.params;
        let key = |param: usize| {
            params[param]
                .name
                .trim_start_matches("y.")
                .split_once('.')
                .map_or_else(|| params[param].name.clone(), |(_, own)| own.replace('.', "_"))
        };
        let keys: Vec<String> = (0..params.len()).map(key).collect();
        let inputs = graph.slots.inputs.iter().map(|slot| case.get(slot.name).clone()).collect();
        let params = keys.iter().map(|key| case.get(key).clone()).collect();
        let values = Values { inputs, params, scalars: Vec::new() };
        let wanted: Vec<usize> = (0..keys.len()).collect();
        let graph = handmade::with_batch(&differentiate(&graph, &wanted), rows);
        verify(&graph).unwrap_or_else(|fault| panic!("{}: {fault}\n{graph}", case.name));
        let expected = |role: &Role| match *role {
            Role::Output(0) => Some(case.floats("y")),
            Role::Gradient(param) => Some(case.floats(&format!("d{}", keys[param]))),
            _ => None,
        };
        let results = Compiled::new(&graph, rows).run(rows, &values);
        let [exact, single] = [Precision::F64, Precision::F32].map(|how| evaluate(&graph, how, rows, &values));
        let mut checked = 0;
        for output in &graph.outputs {
            let Some(wanted) = expected(&output.role) else { continue };
            let what = format!("{}: {:?}", case.name, output.role);
            F64.check(&format!("{what} in f64"), exact.output(&output.role).as_floats(), wanted);
            F32.check(&format!("{what} in f32"), single.output(&output.role).as_floats(), wanted);
            F32.check(&format!("{what} compiled"), results.get(&output.role), wanted);
            checked += 1;
        }
        assert_eq!(checked, keys.len() + 1, "{}", case.name);
    }
}
