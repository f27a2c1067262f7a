//! Loops over steps as machine code, against the interpreter.

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::fuse;
use gradloom_runtime::ir::{Builder, Graph, NodeId, unroll};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::simplify::simplify;

use crate::budget::cases;
use crate::compiled::{Compiled, Reference, with_isa};
use crate::{draw, random_loop};

/// The same graph with results that have the batch in front, as they lie in memory.
fn batch_first(graph: Graph) -> Graph {
    let mut b = Builder::new(graph);
    for number in 0..b.graph().outputs.len() {
        let node: NodeId = b.graph().outputs[number].node;
        let shape = b.shape(node);
        let Some(batch) = shape.0.iter().position(|dim| dim.is_batch()).filter(|&axis| axis > 0) else { continue };
        let order: Vec<usize> = [batch].into_iter().chain((0..shape.rank()).filter(|&axis| axis != batch)).collect();
        let turned = b.transpose(node, &order);
        b.graph_mut().outputs[number].node = turned;
    }
    b.finish()
}

/// The graph of this seed, every other one with the gradients by all its parameters.
fn graph(seed: u64) -> Graph {
    let graph = random_loop::graph(seed);
    let params: Vec<usize> = (0..graph.slots.params.len()).collect();
    batch_first(if seed.is_multiple_of(2) { graph } else { differentiate(&graph, &params) })
}

/// Holds programs of a graph against the graph with its loops written out.
fn agrees(what: &str, graph: &Graph, compiled: &mut [Compiled], batch: usize, seed: u64) {
    let values = draw::singles(&draw::values(graph, batch, seed));
    let unrolled = unroll(graph);
    let reference = Reference::new(&unrolled, batch, &values);
    for compiled in compiled {
        let results = compiled.run(batch, &values);
        if let Err(message) = reference.compare(&results) {
            panic!("{what}, {batch} rows: {message}\n{graph}\n{}", fuse(&simplify(graph)));
        }
    }
}

#[test]
fn random_loops_compute_what_the_interpreter_computes() {
    for seed in 0..cases(300) {
        let graph = graph(seed);
        let mut compiled = [Compiled::new(&graph, 5)];
        for batch in [5, 1] {
            agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed);
        }
    }
}

#[test]
fn random_loops_have_the_same_bits_on_any_threads() {
    for seed in 0..cases(60) {
        let graph = graph(10_000 + seed);
        let mut one = [Compiled::new(&graph, 65)];
        let mut shared = [2, 3].map(|threads| Compiled::for_threads(&graph, 65, threads));
        for batch in [65, 7] {
            agrees(&format!("seed {seed}"), &graph, &mut one, batch, seed);
            let values = draw::singles(&draw::values(&graph, batch, seed));
            let bits = one[0].run(batch, &values).bits();
            for shared in &mut shared {
                assert!(
                    shared.run(batch, &values).bits() == bits,
                    "seed {seed}, {batch} rows, several threads\n{graph}"
                );
            }
        }
    }
}

#[test]
fn random_loops_run_on_every_instruction_set() {
    for seed in 0..cases(60) {
        let graph = graph(20_000 + seed);
        let compile = |isa| with_isa(isa, || Compiled::new(&graph, 9));
        let mut compiled: Vec<Compiled> = Isa::available().into_iter().map(compile).collect();
        agrees(&format!("seed {seed}, under every instruction set"), &graph, &mut compiled, 9, seed);
    }
}
