//! Layers with a state against values of PyTorch, forward and backward, with initial states and with lengths, and a state dict.

use gradloom::ndarray::{Array3, Axis};
use gradloom::{NameMap, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::functions;
use gradloom_runtime::interp::{Precision, Values, evaluate};
use gradloom_runtime::ir::{Role, verify};
use gradloom_runtime::layers::initializers::{AUTO, ORTHOGONAL};
use gradloom_runtime::layers::{self, Arg, LayerDef, Mode};
use gradloom_runtime::lower::lower;
use gradloom_runtime::network::{BinaryOp, Definition, Expr};
use gradloom_runtime::types::Dim;

use crate::bound::Bound;
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

network! {
    /// What the golden file holds the parameters of.
    Known<x: [B, 6, 3] -> y: [B, 2]> {
        let h = x -> repeat(2) { Lstm(4) };
        let forth = h -> Gru(3);
        let back = h -> Gru(3, reverse = true);
        y = (forth, back) -> concat, Rnn(5, activation = relu, last = true), Dense(2);
    }
    /// The network without what looks ahead, for a stream.
    Ahead<x: [B, 6, 3] -> h: [B, 6, 4]> { repeat(2) { Lstm(4) } }
}

/// Which tensors of a layer of PyTorch, whose names end so, are the parameters of a layer here.
fn layer_of_pytorch(names: NameMap, there: &str, end: &str, here: &str) -> NameMap {
    names
        .transposed(format!("{there}.weight_ih_{end}"), format!("{here}.input.weight"))
        .transposed(format!("{there}.weight_hh_{end}"), format!("{here}.recurrent.weight"))
        .renamed(format!("{there}.bias_ih_{end}"), format!("{here}.input.bias"))
        .renamed(format!("{there}.bias_hh_{end}"), format!("{here}.recurrent.bias"))
}

#[test]
fn a_state_dict_of_recurrent_layers_predicts_as_in_pytorch() {
    let file = GoldenFile::read("recurrent_state");
    let case = file.case("network");
    let x = case.floats("x").iter().map(|&x| x as f32).collect();
    let x = Array3::from_shape_vec((3, 6, 3), x).expect("three rows of six elements");
    let state = crate::project().join("tests/golden/recurrent_state.safetensors");
    let lstm = |prefix: &str| {
        let layer = |names, n: usize| {
            layer_of_pytorch(names, "lstm", &format!("l{}", n - 1), &format!("{prefix}repeat1.{n}.lstm1"))
        };
        layer(layer(NameMap::new(), 1), 2)
    };

    let names = layer_of_pytorch(lstm("h."), "gru", "l0", "forth.gru1");
    let names = layer_of_pytorch(names, "gru", "l0_reverse", "back.gru1");
    let names = layer_of_pytorch(names, "rnn", "l0", "y.rnn1");
    let names = names.transposed("head.weight", "y.dense1.weight").renamed("head.bias", "y.dense1.bias");
    let mut predictor = Known::predictor().max_batch(3).build().expect("it builds");
    predictor.load_mapped(&state, &names).expect("the map accounts for everything");
    let y: Vec<f64> = predictor.predict(x.view()).expect("it runs").iter().map(|&y| f64::from(y)).collect();
    Bound { relative: 1e-6, absolute: 1e-6 }.check("y", &y, case.floats("y"));

    // So do its layers in a stream, for which the others of the file are no use.
    let names = lstm("").ignored("gru.*").ignored("rnn.*").ignored("head.*");
    let mut ahead = Ahead::predictor().max_batch(3).build().expect("it builds");
    ahead.load_mapped(&state, &names).expect("the map accounts for everything");
    let whole = ahead.predict(x.view()).expect("it runs").to_owned();
    let mut stream = ahead.stream().expect("it looks back alone");
    for (elements, states) in x.outer_iter().zip(whole.outer_iter()) {
        for (element, state) in elements.axis_iter(Axis(0)).zip(states.axis_iter(Axis(0))) {
            assert_eq!(stream.feed(&element.to_vec()).expect("it fits"), state.to_vec());
        }
        stream.clear();
    }
}
