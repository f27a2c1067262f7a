//! Every operation knows where it comes from: the layer, its place in the source, the pass, the parameter and the rule.

use gradloom::{Adam, Network, Pass, network};
use gradloom_runtime::compile::{Purpose, Target, compile};
use gradloom_runtime::ir::rewrite::{apply, prune};
use gradloom_runtime::ir::{Builder, Graph, NodeId, Op, Origin, Role, Rule, rewrite, verify};
use gradloom_runtime::optim::TrainingConfig;
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::handmade::{input, output};

/// The line after this one.
const DECLARED: u32 = line!() + 2;
network! {
    Small<x: [B, 2] -> y: [B, 1]> { Dense(3), tanh,
        Dense(1) as last }
    loss(t: [B, 1]) = mean(ln(1 + exp(y - t)));
}

fn optimization() -> TrainingConfig {
    TrainingConfig::from(Adam::new(0.1))
}

/// The line on which a layer or the loss is declared.
fn line(layer: &str) -> Option<u32> {
    match layer {
        "dense1" | "tanh1" => Some(DECLARED),
        "last" => Some(DECLARED + 1),
        "loss" => Some(DECLARED + 2),
        _ => None,
    }
}

/// What an origin must agree with, whichever pass has rewritten its node.
fn check(origin: &Origin) {
    assert_eq!(origin.place.map(|place| place.line), line(&origin.layer), "{origin:?}");
    let owner = origin.param.as_ref().map(|param| param.rsplit_once('.').expect("it has a layer").0);
    assert!(owner.is_none_or(|owner| owner == &*origin.layer && origin.pass == Pass::Update), "{origin:?}");
    assert_eq!(&*origin.layer == "optimizer", origin.pass == Pass::Update && origin.param.is_none(), "{origin:?}");
    if let Some(place) = origin.place {
        assert!(place.file.ends_with("origins.rs"), "{place}");
    }
}

#[test]
fn operations_know_layer_place_pass_parameter_and_rule() {
    let config = optimization();
    let compilation = compile(Small::declared(), Purpose::Train(&config), Target::new(1));
    let simplified = compilation.simplified().expect("it compiles");
    for graph in [compilation.graph().expect("it compiles"), simplified] {
        graph.nodes.iter().for_each(|node| check(&node.origin));
        // The loss is in the form that keeps its digits, and so is its gradient.
        let stable = graph.nodes.iter().filter(|node| node.op == Op::Softplus || node.op == Op::Sigmoid);
        let stable: Vec<(&str, Pass)> =
            stable.map(|node| (node.origin.rule.expect("a rule made it"), node.origin.pass)).collect();
        assert_eq!(
            stable,
            [("stable-ln-one-plus-exp", Pass::Forward), ("stable-ln-one-plus-exp", Pass::Backward)],
            "{graph}"
        );
    }
    for output in &simplified.outputs {
        let (node, slots) = (&simplified[output.node], &simplified.slots.params);
        match output.role {
            Role::Loss => assert_eq!((&*node.origin.layer, node.origin.pass), ("loss", Pass::Forward)),
            Role::Update(param) => {
                let owner = slots[param].name.split('.').next().expect("it has a layer");
                assert_eq!((&*node.origin.layer, node.origin.pass), (owner, Pass::Update), "{}", slots[param].name);
            }
            _ => panic!("a step has a loss and updates"),
        }
    }
}

#[test]
fn updates_from_merged_gradients_know_their_layers() {
    for purpose in [Purpose::Update(&optimization()), Purpose::Accumulate(&optimization())] {
        let compilation = compile(Small::declared(), purpose, Target::new(1));
        let graph = compilation.graph().expect("it compiles");
        for output in graph.outputs.iter().filter(|output| matches!(output.role, Role::Update(_))) {
            let origin = &graph[output.node].origin;
            assert_eq!((origin.place.map(|place| place.line), origin.pass), (line(&origin.layer), Pass::Update));
            assert!(line(&origin.layer).is_some() && origin.param.is_some(), "{origin:?}");
        }
    }
}

/// `-(-x)` and an operation that nobody reads, by the nodes `x`, `-x`, `-(-x)`, `e^x`.
fn negated_twice() -> (Graph, [NodeId; 4]) {
    let mut b = Builder::new(Graph::default());
    let x = input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(2)])));
    let minus = b.neg(x);
    let plus = b.neg(minus);
    let dead = b.exp(x);
    b.graph_mut().slots.outputs.push("y");
    output(&mut b, Role::Output(0), plus);
    (b.finish(), [x, minus, plus, dead])
}

#[test]
fn a_rewrite_says_where_nodes_are() {
    let (graph, [x, minus, plus, dead]) = negated_twice();
    let (pruned, map) = prune(graph.clone());
    assert_eq!([x, minus, plus].map(|id| map.get(id)), [x, minus, plus].map(Some));
    assert_eq!((map.get(dead), pruned.nodes.len()), (None, 3));

    // Every negation is written as a product, whose factor is one more node.
    let (scaled, map) = rewrite(graph, |b, _, node| {
        Some(if node.op == Op::Neg { b.scale(node.operands[0], -1.0) } else { b.add_node(node) })
    });
    verify(&scaled).expect("it is a graph");
    assert_eq!([x, minus, plus, dead].map(|id| map.at(id).0), [0, 2, 4, 5]);
    assert_eq!(scaled.outputs[0].node, map.at(plus));
}

#[test]
fn a_rule_takes_the_place_of_a_node_and_leaves_nothing_behind() {
    let rules = [Rule {
        name: "neg-neg",
        apply: |b, node, single| {
            let inner = &b[*node.operands.first()?];
            (node.op == Op::Neg && inner.op == Op::Neg && single[0]).then(|| inner.operands[0])
        },
    }];
    let (graph, [x, minus, plus, _]) = negated_twice();
    let mut names = Vec::new();
    let (rewritten, map) = apply(graph, &rules, |rule, made| names.push((rule.name, made.len())));
    assert_eq!((map.at(plus), map.at(minus), names), (x, minus, vec![("neg-neg", 0)]));
    assert_eq!((rewritten.outputs[0].node, rewritten.nodes.len()), (x, 3), "what was replaced is not there");
}
