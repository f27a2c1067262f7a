//! Attention that looks at nothing later: rows that end at the diagonal, and gradients that are added up over tiles of queries.

use std::collections::BTreeSet;

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Op, Role};
use gradloom_runtime::kernel::{Fused, Group, Kernel, TrianglePart};
use gradloom_runtime::plan::{plan, text};
use gradloom_runtime::scalar::Cmp;
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::{Isa, Machine, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::compiled::{Compiled, Reference, with_isa};
use crate::group_chains::{bits, smallest};
use crate::{draw, handmade};

/// What becomes of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shares {
    /// The softmax of what is not later.
    Softmax,
    /// The squares of what is earlier, and nothing of the first position.
    Squares,
    /// The softmax of all.
    All,
}

/// Queries, keys, values and their gradients have one shape: two heads of so many tokens of so many elements.
fn heads(tokens: usize, width: usize) -> TensorType {
    TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(2), Dim::Fixed(tokens), Dim::Fixed(width)]))
}

/// A product for each head.
fn each(b: &mut Builder, x: NodeId, y: NodeId, terms: (usize, usize)) -> NodeId {
    b.product(x, y, DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![terms] })
}

/// What becomes of the scores of queries and keys.
fn shares(b: &mut Builder, [q, k]: [NodeId; 2], shares: Shares) -> NodeId {
    let scores = each(b, q, k, (3, 3));
    let scores = match shares {
        Shares::All => scores,
        Shares::Softmax => handmade::looking_back(b, scores),
        Shares::Squares => {
            let shape = b.shape(scores);
            let [query, key] = handmade::queries_and_keys(b, &shape);
            let seen = b.compare(Cmp::Lt, key, query);
            let (squares, zero) = (b.mul(scores, scores), b.constant(0.0, &shape));
            return b.select(seen, squares, zero);
        }
    };
    handmade::softmax(b, scores)
}

/// Attention over so many tokens of three numbers, and the gradient by the matrix that queries, keys and values are made with.
fn attention(tokens: usize, how: Shares) -> Graph {
    let mut b = Builder::new(Graph::default());
    let width = 4;
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(tokens), Dim::Fixed(3)])));
    let weight = handmade::parameter(&mut b, "w", &[3, 6 * width]);
    let all = b.product(x, weight, DotAxes { batch: vec![], contracted: vec![(2, 0)] });
    let [q, k, v] = [0, 1, 2].map(|part| {
        let part = b.slice(all, 2, part * 2 * width, 2 * width, 1);
        let split = b.reshape(part, Shape(vec![Dim::B, Dim::Fixed(tokens), Dim::Fixed(2), Dim::Fixed(width)]));
        b.transpose(split, &[0, 2, 1, 3])
    });
    let shares = shares(&mut b, [q, k], how);
    let read = each(&mut b, shares, v, (3, 2));
    handmade::output(&mut b, Role::Output(0), read);
    let squares = b.mul(read, read);
    let loss = b.mean(squares, &[0, 1, 2, 3]);
    handmade::output(&mut b, Role::Loss, loss);
    differentiate(&b.finish(), &[0])
}

/// The gradients by queries, keys and values, given that by what is read.
fn backward(tokens: usize, width: usize, how: Shares) -> Graph {
    let mut b = Builder::new(Graph::default());
    let [q, k, v, dy] = ["q", "k", "v", "dy"].map(|name| handmade::input(&mut b, name, heads(tokens, width)));
    let shares = shares(&mut b, [q, k], how);
    let by_shares = each(&mut b, dy, v, (3, 3));
    let shape = b.shape(shares);
    let each_by_share = b.mul(by_shares, shares);
    let sum = b.sum(each_by_share, &[3]);
    let sum = b.broadcast(sum, &shape, &[0, 1, 2]);
    let moved = b.sub(by_shares, sum);
    let by_scores = b.mul(moved, shares);
    let by_queries = each(&mut b, by_scores, k, (3, 2));
    let by_keys = each(&mut b, by_scores, q, (2, 2));
    let by_values = each(&mut b, shares, dy, (2, 2));
    for (index, node) in [by_queries, by_keys, by_values].into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

/// Its kernels, in groups.
fn grouped(graph: &Graph, max_batch: usize) -> Fused {
    group(fuse(&simplify(graph)), &Budget { rows: 0, ..Budget::new(max_batch) })
}

#[test]
fn rows_that_end_at_the_diagonal_have_the_numbers_of_the_interpreter() {
    for isa in Isa::available() {
        for (tokens, shares) in [1, 2, 15, 16, 17, 33, 63, 64, 65, 100]
            .into_iter()
            .flat_map(|tokens| [Shares::Softmax, Shares::Squares].map(|shares| (tokens, shares)))
        {
            let graph = attention(tokens, shares);
            with_isa(isa, || {
                let mut compiled = [1, 2, 3].map(|threads| Compiled::for_threads(&graph, 5, threads));
                for batch in [1, 5] {
                    let what = format!("{tokens} tokens, {shares:?}, {batch} samples, {isa:?}");
                    let values = draw::singles(&draw::values(&graph, batch, (tokens + batch) as u64));
                    let [one, two, three] = compiled.each_mut().map(|compiled| compiled.run(batch, &values));
                    Reference::new(&graph, batch, &values).check(&what, &one);
                    assert!(one.bits() == two.bits() && one.bits() == three.bits(), "{what}");
                }
            });
        }
    }
}

#[test]
fn nothing_is_computed_behind_the_diagonal() {
    for (shares, kernels) in [(Shares::Softmax, 2), (Shares::Squares, 1), (Shares::All, 0)] {
        let fused = fuse(&simplify(&attention(40, shares)));
        let in_part = fused.kernels.iter().filter(|kernel| kernel.triangle.is_some()).count();
        assert!(in_part >= kernels && (in_part > 0) == (kernels > 0), "{in_part} kernels\n{fused}");
        let parts = fused.kernels.iter().filter_map(|kernel| kernel.dot.as_ref()?.triangle).map(|it| it.part);
        let columns = parts.filter(|part| *part == TrianglePart::Columns).count();
        assert_eq!(columns, 0, "somebody looks past the diagonal\n{fused}");
    }
}

#[test]
fn which_position_it_is_takes_no_memory_from_stage_to_stage() {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", heads(64, 64));
    let shape = b.shape(x);
    let [query, key] = [2, 3].map(|axis| {
        let position = b.iota(axis, &shape);
        b.to_float(position)
    });
    let seen = b.compare(Cmp::Ge, query, key);
    let [never, nothing] = [f64::NEG_INFINITY, 0.0].map(|number| b.constant(number, &shape));
    let all = b.select(seen, x, never);
    let most = b.max_over(all, &[3]);
    let most = b.broadcast(most, &shape, &[0, 1, 2]);
    let moved = b.sub(x, most);
    let result = b.select(seen, moved, nothing);
    handmade::output(&mut b, Role::Output(0), result);
    let fused = fuse(&simplify(&b.finish()));
    let is_position = |kernel: &Kernel, index: usize| kernel.body[index].origin.op == Op::ToFloat;
    let stages = fused.kernels.iter().map(|kernel| {
        let positions = (0..kernel.body.len()).filter(|&index| is_position(kernel, index));
        positions.map(|index| kernel.body[index].stage).collect::<BTreeSet<usize>>().len()
    });
    assert!(stages.max() > Some(1), "several stages ask for it\n{fused}");
    for kernel in &fused.kernels {
        let spilled = kernel.spilled(|buffer| fused.is_computed(buffer));
        assert!(!spilled.into_iter().any(|index| is_position(kernel, index)), "{fused}");
    }
}

fn sums(fused: &Fused) -> usize {
    fused.groups.iter().map(|group: &Group| group.sums.len()).sum()
}

#[test]
fn what_is_added_up_over_tiles_has_the_bits_of_one_kernel_after_the_other() {
    for (tokens, shares) in [(257, Shares::Softmax), (300, Shares::Softmax), (300, Shares::All), (270, Shares::Squares)]
    {
        let graph = backward(tokens, 5, shares);
        let apart = fuse(&simplify(&graph));
        let together = grouped(&graph, 3);
        assert_eq!(sums(&together), 2, "{together}");
        for (isa, batch) in Isa::available().into_iter().flat_map(|isa| [1, 3].map(|batch| (isa, batch))) {
            let what = format!("{tokens} tokens, {shares:?}, {batch} samples, {isa:?}");
            let values = draw::singles(&draw::values(&graph, batch, tokens as u64));
            let machine = Machine::of(isa);
            let expected = bits(&apart, tile(&apart, 3, machine), batch, &values);
            assert!(expected.iter().all(|&bits| f32::from_bits(bits).is_finite()), "{what}");
            for threads in [1, 2, 3] {
                let tiling = tile(&together, 3, machine.with_cores(threads));
                assert!(bits(&together, tiling.clone(), batch, &values) == expected, "{what}, {threads} threads");
                let tiling = smallest(&together, tiling);
                assert!(bits(&together, tiling, batch, &values) == expected, "{what}, {threads} threads, small tiles");
            }
        }
    }
}

#[test]
fn long_sequences_have_the_numbers_of_the_interpreter_and_the_same_bits_in_any_program() {
    let graph = backward(270, 4, Shares::Softmax);
    let values = draw::singles(&draw::values(&graph, 2, 5));
    let mut first = Compiled::for_threads(&graph, 2, 1);
    let result = first.run(2, &values);
    Reference::new(&graph, 2, &values).check("270 tokens", &result);
    for (max_batch, threads) in [(2, 2), (7, 1), (7, 3)] {
        let other = Compiled::for_threads(&graph, max_batch, threads).run(2, &values);
        assert!(other.bits() == result.bits(), "programs for {max_batch} samples, {threads} threads");
    }
}

#[test]
fn gradients_of_keys_and_values_are_added_up_over_tiles_of_queries() {
    let fused = grouped(&backward(512, 32, Shares::Softmax), 2);
    let plan = plan(&fused, tile(&fused, 2, Machine::of(Isa::Avx2).with_cores(2))).expect("it fits");
    let all = text(&plan, &fused);
    let sums = fused.groups.iter().position(|group| !group.sums.is_empty()).expect("there are sums over points");
    let name = format!("kernels {} to", fused.groups[sums].kernels.start);
    let lines: Vec<&str> = all.lines().skip_while(|line| !line.contains(&name)).take(3).collect();
    let parts = all.lines().filter(|line| line.contains("terms by 64"));
    assert_snapshot!(lines.into_iter().chain(parts).collect::<Vec<&str>>().join("\n"), @"
    group by b, i: kernels 0 to 4
      in tiles of 256 points: products compute 256 rows in one go
      in units of 512 rows: they are added up in order
    kernel 3: b 2*B, i 512, j 32, terms by 64
    kernel 4: b 2*B, i 512, j 32, terms by 64
    ");
}
