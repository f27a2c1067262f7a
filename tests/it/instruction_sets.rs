//! Whole programs under every instruction set that the machine has, not only the best one: operations, products around the
//! ends of tiles and blocks, functions one after the other, and random networks.

use gradloom_runtime::ir::{Builder, Graph, Role};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::types::{Dim, Shape, TensorType};

use crate::budget::share;
use crate::compiled::{Compiled, Reference, agrees, with_isa};
use crate::{budget, compiled_ops, draw, handmade, random, wide};

/// A product of `B x terms` and `terms x cols` with an epilogue, and the sum of what comes of it over the batch.
fn product(terms: usize, cols: usize, (ta, tb): (bool, bool)) -> Graph {
    let mut b = Builder::new(Graph::default());
    let fixed = Dim::Fixed;
    let left = vec![Dim::B, fixed(terms)];
    let right = match (ta, tb) {
        // The terms of a transposed left operand are those of the batch.
        (true, _) => vec![Dim::B, fixed(cols)],
        (false, true) => vec![fixed(cols), fixed(terms)],
        (false, false) => vec![fixed(terms), fixed(cols)],
    };
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(left)));
    let y = handmade::input(&mut b, "y", TensorType::f32(Shape(right)));
    let z = b.dot(x, y, ta, tb);
    let bent = b.tanh(z);
    let sum = b.sum(bent, &[0]);
    for (index, node) in [z, bent, sum].into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

/// Extents around the ends of tiles, vectors, pieces and blocks.
const EXTENTS: [usize; 9] = [1, 5, 13, 16, 33, 47, 64, 67, 130];

#[test]
fn products_agree_with_the_interpreter_under_every_instruction_set() {
    for (index, &terms) in EXTENTS.iter().enumerate() {
        for (other, &cols) in EXTENTS.iter().enumerate() {
            // Every two of terms, columns, rows and operands that are transposed meet.
            let batch = EXTENTS[(index + 2 * other) % EXTENTS.len()];
            for transposed in share(&[(false, false), (false, true), (true, false)], index + other, 3) {
                let graph = product(terms, cols, transposed);
                let values = draw::singles(&draw::values(&graph, batch, (terms + cols) as u64));
                let wanted = Reference::new(&graph, batch, &values);
                for isa in Isa::available() {
                    let results = with_isa(isa, || Compiled::new(&graph, batch)).run(batch, &values);
                    let what = format!("{isa:?}: {batch} rows, {terms} terms, {cols} columns, {transposed:?}");
                    wanted.check(&what, &results);
                }
            }
        }
    }
}

#[test]
fn avx2_and_avx_512_give_the_same_bits() {
    let wide: Vec<Isa> = Isa::available().into_iter().filter(|isa| *isa != Isa::Portable).collect();
    for (terms, cols) in [(300, 70), (1030, 33), (17, 512)] {
        let graph = product(terms, cols, (false, false));
        let values = draw::singles(&draw::values(&graph, 67, 5));
        let runs = wide.iter().map(|&isa| with_isa(isa, || Compiled::new(&graph, 67).run(67, &values)));
        let runs: Vec<_> = runs.collect();
        for pair in runs.windows(2) {
            for index in 0..3 {
                assert_eq!(pair[0].get(&Role::Output(index)), pair[1].get(&Role::Output(index)), "{terms} x {cols}");
            }
        }
    }
}

#[test]
fn operations_and_functions_agree_with_the_interpreter_under_every_instruction_set() {
    compiled_ops::agree(&Isa::available(), &[3, 37]);
    wide::successive(&Isa::available());
}

#[test]
fn comparisons_read_rows_that_lie_anywhere() {
    let mut b = Builder::new(Graph::default());
    let [x, y, z] =
        ["x", "y", "z"].map(|name| handmade::input(&mut b, name, TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(7)]))));
    let less = b.compare(Cmp::Lt, x, y);
    let kept = b.mask(less, z);
    let sum = b.sum(kept, &[1]);
    handmade::output(&mut b, Role::Output(0), sum);
    let graph = b.finish();
    let compile = |isa| with_isa(isa, || Compiled::new(&graph, 5));
    let mut compiled: Vec<Compiled> = Isa::available().into_iter().map(compile).collect();
    assert!(agrees("numbers that are less", &graph, &mut compiled, 5, 1));
}

#[test]
fn random_networks_agree_with_the_interpreter_under_every_instruction_set() {
    // The best one has many more elsewhere.
    random::run(budget::cases(24) as u32, 33, &Isa::available()[1..]);
}
