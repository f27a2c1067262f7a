//! Random graphs of tensors of any rank as machine code, against the interpreter.

use gradloom_runtime::ir::Graph;

use crate::compiled::{Compiled, Reference};
use crate::draw;
use crate::random_tensors::{cases, graph};

/// Whether the results of a batch were compared: not where one hangs on how something is rounded.
fn agrees(what: &str, graph: &Graph, compiled: &mut Compiled, batch: usize, seed: u64) -> bool {
    let values = draw::singles(&draw::values(graph, batch, seed));
    let wanted = Reference::new(graph, batch, &values);
    if !wanted.is_finite() || wanted.near_kink() {
        return false;
    }
    wanted.check(&format!("{what}, {batch} rows"), &compiled.run(batch, &values));
    true
}

#[test]
fn random_tensor_graphs_compute_what_the_interpreter_computes() {
    let mut compared = 0;
    for seed in 0..cases(300) {
        let graph = graph(seed);
        let mut compiled = Compiled::new(&graph, 5);
        for batch in [5, 1] {
            compared += u64::from(agrees(&format!("seed {seed}"), &graph, &mut compiled, batch, seed));
        }
    }
    assert!(compared > cases(300), "{compared} were compared");
}

#[test]
fn zz_survey() {
    let list: Vec<u64> = match std::env::var("SEEDS") {
        Ok(text) => text.split(',').map(|x| x.parse().unwrap()).collect(),
        Err(_) => (0..300).collect(),
    };
    let mut failures = std::collections::BTreeMap::<String, Vec<(usize, u64)>>::new();
    for seed in list.iter().copied() {
        if std::env::var("TRACE").is_ok() { eprintln!("SEED {seed}"); }
        let graph = graph(seed);
        let size = graph.nodes.len();
        if list.len() == 1 {
            let simple = gradloom_runtime::simplify::simplify(&graph);
            println!("{simple}\n{}", gradloom_runtime::fuse::legalize(&simple));
            println!("{}", gradloom_runtime::fuse::fuse(&simple));
        }
        let result = std::panic::catch_unwind(|| {
            let mut compiled = Compiled::new(&graph, 5);
            for batch in [5, 1] {
                agrees("", &graph, &mut compiled, batch, seed);
            }
        });
        if let Err(error) = result {
            let text = error.downcast_ref::<String>().cloned().or_else(|| error.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default();
            let key: String = text.lines().next().unwrap_or("").chars().take(60).collect();
            let key: String = key.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
            failures.entry(key).or_default().push((size, seed));
        }
    }
    for (key, mut seeds) in failures {
        seeds.sort();
        println!("SURVEY {} x {key}: {:?}", seeds.len(), &seeds[..seeds.len().min(5)]);
    }
}
