//! Random graphs of tensors of any rank as machine code, against the interpreter: every operation, with gradients, whatever the
//! number of threads and of rows, under every instruction set.

use gradloom_runtime::ir::Graph;
use gradloom_runtime::microkernels::gemm::Isa;

use crate::budget::cases;
use crate::compiled::{Compiled, Reference, with_isa};
use crate::draw;
use crate::random_tensors::graph;

/// Compares the results of a batch, unless they hang on how something is rounded; whether it did.
fn agrees(what: &str, graph: &Graph, compiled: &mut [Compiled], batch: usize, seed: u64) -> bool {
    let values = draw::singles(&draw::values(graph, batch, seed));
    // A reduction over several axes, or a tensor put together, takes more operations than the graph has.
    let wanted = Reference::new(graph, batch, &values).times(2.0);
    if !wanted.is_finite() || wanted.near_kink() {
        return false;
    }
    for (at, compiled) in compiled.iter_mut().enumerate() {
        wanted.check(&format!("{what}, {batch} rows, program {at}"), &compiled.run(batch, &values));
    }
    true
}

#[test]
fn random_tensor_graphs_compute_what_the_interpreter_computes() {
    let (mut compared, cases) = (0, cases(300));
    for seed in 0..cases {
        let graph = graph(seed);
        let mut compiled = [Compiled::new(&graph, 5)];
        for batch in [5, 1] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases, "{compared} were compared");
}

#[test]
fn random_tensor_graphs_over_several_blocks_have_the_same_bits_on_any_threads() {
    let (mut compared, cases) = (0, cases(60));
    for seed in 0..cases {
        let graph = graph(10_000 + seed);
        let mut one = [Compiled::new(&graph, 65)];
        let mut shared = [2, 3].map(|threads| Compiled::for_threads(&graph, 65, threads));
        for batch in [65, 7] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut one, batch, seed));
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
    assert!(compared > cases / 2, "{compared} were compared");
}

#[test]
fn random_tensor_graphs_run_on_every_instruction_set() {
    for seed in 0..cases(60) {
        let graph = graph(20_000 + seed);
        let compile = |isa| with_isa(isa, || Compiled::new(&graph, 9));
        let mut compiled: Vec<Compiled> = Isa::available().into_iter().map(compile).collect();
        agrees(&format!("seed {seed}, under every instruction set"), &graph, &mut compiled, 9, seed);
    }
}
