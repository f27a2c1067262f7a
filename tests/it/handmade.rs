//! Graphs and definitions written by hand, where `network!` would hide what a test is about.

use gradloom_runtime::functions::{self, FunctionDef};
use gradloom_runtime::init::Init;
use gradloom_runtime::interp::Tensor;
use gradloom_runtime::ir::{Builder, Graph, InputSlot, NodeId, Op, Output, ParamSlot, Role, SlotKind};
use gradloom_runtime::layers::{Arg, LayerDef, Takes};
use gradloom_runtime::network::{
    At, BinaryOp, Clause, Definition, Expr, Extent, Flow, Kind, Number, Outcome, Port, Stage, Value,
};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::{DType, Dim, Shape, TensorType};

use crate::oracle::array::Array;

/// Adds a parameter of this shape to a graph.
pub fn parameter(b: &mut Builder, name: &str, shape: &[usize]) -> NodeId {
    let slots = &mut b.graph_mut().slots;
    let slot = ParamSlot {
        name: name.to_string(),
        shape: shape.to_vec(),
        order: &[],
        init: Init::Constant(0.0),
        kind: SlotKind::Parameter,
    };
    slots.params.push(slot);
    let index = slots.params.len() - 1;
    b.param(index)
}

/// Adds an input of this type to a graph.
pub fn input(b: &mut Builder, name: &'static str, ty: TensorType) -> NodeId {
    let slots = &mut b.graph_mut().slots;
    slots.inputs.push(InputSlot { name, ty, target: false, classes: None });
    let index = slots.inputs.len() - 1;
    b.input(index)
}

/// Makes `sum(y * weights)` the loss, the weights being a further input: the cotangent of `y` is then whatever is passed in.
pub fn weighted_loss(b: &mut Builder, y: NodeId) {
    let ty = b.ty(y).clone();
    let axes: Vec<usize> = (0..ty.shape.rank()).collect();
    let weights = input(b, "weights", ty);
    let product = b.mul(y, weights);
    let loss = if axes.is_empty() { product } else { b.sum(product, &axes) };
    output(b, Role::Loss, loss);
}

/// Names a result.
pub fn output(b: &mut Builder, role: Role, node: NodeId) {
    if let Role::Output(index) = role {
        let names = &mut b.graph_mut().slots.outputs;
        names.resize(names.len().max(index + 1), "y");
    }
    b.graph_mut().outputs.push(Output { role, node });
}

/// Turns an input of a lowered network into its last parameter, so that the gradient by it can be asked for. The index of
/// the parameter; the graph is then good for this batch size only.
pub fn input_as_parameter(graph: &mut Graph, input: usize, batch: usize) -> usize {
    let index = graph.slots.params.len();
    let slot = &graph.slots.inputs[input];
    graph.slots.params.push(ParamSlot {
        name: slot.name.to_string(),
        shape: slot.ty.shape.at(batch),
        order: &[],
        init: Init::Constant(0.0),
        kind: SlotKind::Parameter,
    });
    for node in graph.nodes.iter_mut().filter(|node| node.op == Op::Input(input)) {
        node.op = Op::Param(index);
    }
    index
}

/// The same graph for one batch size only, as a constant.
pub fn with_batch(graph: &Graph, batch: usize) -> Graph {
    let fixed = |shape: &Shape| Shape::fixed(&shape.at(batch));
    let mut graph = graph.clone();
    graph.slots.inputs.iter_mut().for_each(|slot| slot.ty.shape = fixed(&slot.ty.shape));
    for node in &mut graph.nodes {
        node.ty.shape = fixed(&node.ty.shape);
        if let Op::Count(factor) = node.op {
            node.op = Op::Const((factor * batch) as f64);
        }
    }
    graph
}

/// A definition is static, and a test ends soon enough.
pub fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A port of f32.
pub fn port(name: &'static str, dims: &[Dim]) -> Port<'static> {
    port_of(DType::F32, name, dims)
}

/// A port of another type.
pub fn port_of(dtype: DType, name: &'static str, dims: &[Dim]) -> Port<'static> {
    let extent = |dim: &Dim| match *dim {
        Dim::Batch(_) => Extent::Batch(At(0)),
        Dim::Fixed(n) => Extent::Size(number(n)),
    };
    Port { name, named: true, dtype, dims: leak(dims.iter().map(extent).collect::<Vec<_>>()), at: At(0) }
}

/// A size that is known.
pub fn number(n: usize) -> Number<'static> {
    Number { value: Outcome::Int(n as i64), text: "n", at: At(0) }
}

/// An axis of a declaration.
pub fn axis(n: i64) -> Number<'static> {
    Number { value: Outcome::Int(n), text: "n", at: At(0) }
}

/// One stage, under this path.
pub fn stage(layer: &'static LayerDef, args: &[Arg], segment: &'static str) -> Stage<'static> {
    let kind = Kind::Layer(layer, leak(completed(layer, values(args))));
    Stage { kind, segment, named: false, text: layer.name, at: At(0) }
}

/// These arguments, and the defaults of those after them.
pub fn completed(layer: &LayerDef, mut args: Vec<Value<'static>>) -> Vec<Value<'static>> {
    args.extend(layer.args.iter().skip(args.len()).filter_map(|arg| arg.default.map(Value::Known)));
    args
}

/// Arguments that are known.
pub fn values(args: &[Arg]) -> Vec<Value<'static>> {
    args.iter().map(|arg| Value::Known(*arg)).collect()
}

/// `let name = (sources) -> stages;`, or what the one source is where there are no stages.
pub fn flow(name: &'static str, sources: Vec<Expr<'static>>, stages: Vec<Stage<'static>>) -> Flow<'static> {
    Flow { name, sources: leak(sources), stages: leak(stages), split: None, at: At(0) }
}

/// The loss, or a metric.
pub fn clause(name: &'static str, expr: Expr<'static>) -> Clause<'static> {
    Clause { name, expr, at: At(0) }
}

/// `f(x, ..)` with these values of its first options.
pub fn call(function: &'static FunctionDef, args: &[Arg], operands: Vec<Expr<'static>>) -> Expr<'static> {
    let usual = function.args[args.len()..].iter().map(|arg| arg.default.expect("what has no default is given"));
    let args: Vec<Arg> = args.iter().copied().chain(usual).collect();
    Expr::Call(function, At(0), leak(values(&args)), leak(operands))
}

/// `x op y`
pub fn binary(op: BinaryOp, x: Expr<'static>, y: Expr<'static>) -> Expr<'static> {
    Expr::Binary(op, At(0), leak(x), leak(y))
}

/// A network of one layer with the loss `sum(out * weights)`. Where it takes two values, the second one is alike.
pub fn single_layer(layer: &'static LayerDef, args: &[Arg], input: Port<'static>) -> &'static Definition<'static> {
    single_layer_of(layer, args, input, None)
}

/// The same where the second value has so many positions.
pub fn single_layer_of(
    layer: &'static LayerDef,
    args: &[Arg],
    input: Port<'static>,
    positions: Option<usize>,
) -> &'static Definition<'static> {
    let shape = (layer.shape)(&input.known().shape, args).expect("the input suits the layer");
    let product = binary(BinaryOp::Mul, Expr::Name("out"), Expr::Name("weights"));
    let takes_two = matches!(layer.takes, Takes::Memory(_));
    let mut dims = input.dims.to_vec();
    if let (Some(positions), Some(dim)) = (positions, dims.get_mut(1)) {
        *dim = Extent::Size(number(positions));
    }
    let memory = takes_two.then_some(Port { name: "memory", dims: leak(dims), ..input });
    let inputs: Vec<Port<'static>> = [input].into_iter().chain(memory).collect();
    let stage = stage(layer, args, layer.stem);
    let sources = inputs.iter().map(|port| Expr::Name(port.name)).collect();
    let (body, flows) = match takes_two {
        true => (vec![], vec![flow("out", sources, vec![Stage { named: true, ..stage }])]),
        false => (vec![stage], vec![]),
    };
    leak(Definition {
        name: "SingleLayer",
        inputs: leak(inputs),
        outputs: leak([port("out", &shape.0)]),
        targets: leak([port("weights", &shape.0)]),
        acts: &[],
        scalars: &[],
        layers: &[],
        flows: leak(flows),
        body: leak(body),
        loss: Some(clause("loss", call(&functions::SUM, &[], vec![product]))),
        metrics: &[],
        places: &[],
        assembled: None,
    })
}

/// A parameter that a declaration has in the order of its axes, as the graph has it.
pub fn stored(slot: &ParamSlot, declared: &Array<f64>) -> Tensor {
    let at = |axis: usize| slot.order.iter().position(|&own| own == axis).expect("an order has every axis");
    let stored = declared.in_order(&(0..slot.order.len()).map(at).collect::<Vec<usize>>());
    Tensor::floats(&stored.shape, stored.data)
}

/// What the graph has of a parameter, in the order in which the declaration has its axes.
pub fn declared(slot: &ParamSlot, stored: &[f64]) -> Array<f64> {
    Array::new(&slot.shape, stored.to_vec()).in_order(slot.order)
}

/// The softmax of four axes along the last. Its gradient takes the largest for a constant, which it may be.
pub fn softmax(b: &mut Builder, x: NodeId) -> NodeId {
    let shape = b.shape(x);
    let largest = b.max_over(x, &[3]);
    let largest = b.detach(largest);
    let largest = b.broadcast(largest, &shape, &[0, 1, 2]);
    let apart = b.sub(x, largest);
    let power = b.exp(apart);
    let sum = b.sum(power, &[3]);
    let sum = b.broadcast(sum, &shape, &[0, 1, 2]);
    b.div(power, sum)
}

/// Positions along the last two of four axes: of queries and of keys.
pub fn queries_and_keys(b: &mut Builder, shape: &Shape) -> [NodeId; 2] {
    [2, 3].map(|axis| {
        let position = b.iota(axis, shape);
        b.to_float(position)
    })
}

/// The next state of a loop, bounded in one of three forms, so that nothing grows from step to step.
pub fn bounded_state(b: &mut Builder, form: usize, carry: NodeId, next: NodeId) -> NodeId {
    match form {
        0 => b.sigmoid(next),
        1 => b.tanh(next),
        _ => {
            let (half, bounded) = (b.scale(carry, 0.5), b.tanh(next));
            b.add(half, bounded)
        }
    }
}

/// Scores with minus infinity for every key after its query.
pub fn looking_back(b: &mut Builder, scores: NodeId) -> NodeId {
    let shape = b.shape(scores);
    let [query, key] = queries_and_keys(b, &shape);
    let seen = b.compare(Cmp::Ge, query, key);
    let never = b.constant(f64::NEG_INFINITY, &shape);
    b.select(seen, scores, never)
}
