//! The same with pages around every single value: each buffer of the arena, each tile of a group, and all that a kernel uses while it
//! runs, in the scratch of each thread. Nothing shares its place, and what ends earlier or begins later than it should is found.

use std::collections::HashSet;

use super::{convolutions, recurrent, run_in, step, tensors};
use crate::fuse::{Budget, fuse, group};
use crate::ir::{Builder, DotAxes, Graph, InputSlot, NodeId, Output, Role, Window, verify};
use crate::kernel::{BufferId, Dot, Fused};
use crate::microkernels::gemm::Isa;
use crate::microkernels::guarded::Guarded;
use crate::plan::{Content, Location, Plan, ProductRows, plan};
use crate::scalar::Cmp;
use crate::simplify::simplify;
use crate::tiling::{Machine, StageTiling, Wide, tile};
use crate::types::{Dim, Shape, TensorType};

/// Floats of a page.
const PAGE: usize = 1024;

/// Room that is handed out between pages that may not be touched, the first of which is at its beginning.
struct Room {
    len: usize,
    closed: Vec<usize>,
    after: bool,
}

impl Room {
    fn new(after: bool) -> Room {
        Room { len: PAGE, closed: vec![0], after }
    }

    /// A place for so many floats that ends, or begins, at such a page.
    fn take(&mut self, floats: usize) -> usize {
        let pages = floats.max(1).next_multiple_of(PAGE);
        let at = self.len + if self.after { pages - floats } else { 0 };
        self.closed.push(self.len + pages);
        self.len += pages + PAGE;
        at
    }
}

/// The same plan with a place of its own for everything, and memory in which those are apart.
fn apart(fused: &Fused, plan: &Plan, after: bool) -> (Plan, Guarded) {
    let mut result = plan.clone();
    let [mut arena, mut scratch] = [0; 2].map(|_| Room::new(after));
    for allocation in &plan.allocations {
        let in_place = &plan.kernels[allocation.first].in_place;
        let own = &mut result.kernels[allocation.first];
        let known = "what a kernel uses is in its plan";
        match allocation.content {
            Content::Value(id) => {
                result.places[id.index()] = match in_place.get(&id) {
                    Some(operand) => result.places[operand.index()],
                    None => Some(Location::Arena(arena.take(fused.buffer(id).shape.len_at(plan.max_batch)))),
                }
            }
            Content::Tile(id) => {
                let tile = result.tiles.get_mut(&id).expect("it is a tile");
                let points = plan.tiling.points(fused, allocation.first);
                let group = fused.group_of(allocation.first).expect("a tile is of a group");
                tile.at = scratch.take(tile.part * points.min(group.points().at(plan.max_batch)));
            }
            Content::Partial(at) => own.partials.get_mut(&at).expect(known).0 = arena.take(allocation.len),
            Content::Lanes(at) => *own.lanes.get_mut(&at).expect(known) = scratch.take(allocation.len),
            Content::Row(at) => *own.spills.get_mut(&at).expect(known) = scratch.take(allocation.len),
            Content::Block => own.product = Some(ProductRows::Scratch(scratch.take(allocation.len))),
            Content::SharedBlock => own.product = Some(ProductRows::Arena(arena.take(allocation.len))),
            Content::SharedTile(id) => {
                result.tiles.get_mut(&id).expect("it is a tile").at = arena.take(allocation.len);
            }
            Content::Workspace => own.workspace = scratch.take(allocation.len),
            Content::Packed => own.packed = Some(arena.take(allocation.len)),
        }
    }
    (result.arena, result.scratch) = (arena.len, scratch.len);
    let threads = plan.tiling.machine.cores;
    let mut memory = Guarded::new(&vec![f32::NAN; result.with_scratch(threads)], false);
    arena.closed.iter().for_each(|&at| memory.close(at));
    for first in (arena.len..result.with_scratch(threads)).step_by(scratch.len) {
        scratch.closed.iter().for_each(|&at| memory.close(first + at));
    }
    (result, memory)
}

fn input(b: &mut Builder, extents: &[usize]) -> NodeId {
    let slots = &mut b.graph_mut().slots;
    let shape = Shape([Dim::B].into_iter().chain(extents.iter().copied().map(Dim::Fixed)).collect());
    slots.inputs.push(InputSlot { name: "x", ty: TensorType::f32(shape), target: false, classes: None });
    let index = slots.inputs.len() - 1;
    b.input(index)
}

/// Something that has no batch, fed as it is.
fn fixed(b: &mut Builder, extents: &[usize]) -> NodeId {
    let ty = TensorType::f32(Shape::fixed(extents));
    let slots = &mut b.graph_mut().slots;
    slots.inputs.push(InputSlot { name: "w", ty, target: false, classes: None });
    let index = slots.inputs.len() - 1;
    b.input(index)
}

fn finished(mut b: Builder, result: NodeId) -> Graph {
    b.graph_mut().slots.outputs = vec!["y"];
    b.graph_mut().outputs = vec![Output { role: Role::Output(0), node: result }];
    b.finish()
}

/// A function of images and a convolution over their edges, for each of so many channels after the first.
fn windows(size: usize, channels: &[usize], stride: usize) -> Graph {
    let mut b = Builder::new(Graph::default());
    let mut y = input(&mut b, &[size, size, channels[0]]);
    for pair in channels.windows(2) {
        let taps = fixed(&mut b, &[3, 3, pair[0], pair[1]]);
        let window = Window { size: 3, stride, dilation: 1, before: 1, after: 1 };
        let bent = b.tanh(y);
        let rows = b.patches(bent, 1, window, 0.0);
        let both = b.patches(rows, 3, window, 0.0);
        y = b.product(both, taps, DotAxes { batch: vec![], contracted: vec![(2, 0), (4, 1), (5, 2)] });
    }
    let result = b.abs(y);
    finished(b, result)
}

/// Rows moved by numbers of the columns and bent, or as shares of their sum, and a product, for each of so many columns after the first.
fn products(widths: &[usize], shares: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let mut y = input(&mut b, &widths[..1]);
    for pair in widths.windows(2) {
        let (moves, weights) = (fixed(&mut b, &pair[..1]), fixed(&mut b, pair));
        let shape = b.shape(y);
        let moves = b.broadcast(moves, &shape, &[1]);
        let moved = b.add(y, moves);
        let mut bent = b.tanh(moved);
        if shares {
            let powers = b.exp(bent);
            let sum = b.sum(powers, &[1]);
            let sum = b.broadcast(sum, &shape, &[0]);
            bent = b.div(powers, sum);
        }
        y = b.dot(bent, weights, false, false);
    }
    let result = b.abs(y);
    finished(b, result)
}

/// Powers of the scores of tokens before each of so many, for two heads, and their sums over the queries.
fn sums_over_queries(tokens: usize) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = input(&mut b, &[2, tokens, 5]);
    let axes = |term| DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![term] };
    let scores = b.product(x, x, axes((3, 3)));
    let shape = b.shape(scores);
    let [query, key] = [2, 3].map(|axis| {
        let position = b.iota(axis, &shape);
        b.to_float(position)
    });
    let seen = b.compare(Cmp::Ge, query, key);
    let never = b.constant(f64::NEG_INFINITY, &shape);
    let scores = b.select(seen, scores, never);
    let most = b.max_over(scores, &[3]);
    let most = b.broadcast(most, &shape, &[0, 1, 2]);
    let moved = b.sub(scores, most);
    let powers = b.exp(moved);
    let result = b.product(powers, x, axes((2, 2)));
    finished(b, result)
}

/// What of all that runs in groups is in this program.
fn facts(fused: &Fused, plan: &Plan) -> HashSet<&'static str> {
    let mut facts = HashSet::new();
    for (group, tiles) in fused.groups.iter().zip(&plan.tiling.groups) {
        for index in group.kernels.clone() {
            let (kernel, tiling) = (&fused.kernels[index], &plan.tiling.kernels[index]);
            let tile = |buffer: BufferId| fused.is_tile(buffer) && tiles.points < group.points().at(plan.max_batch);
            let found = |fits: fn(&Dot) -> bool| kernel.dot.as_ref().is_some_and(|dot| tile(dot.a) && fits(dot));
            let wide = |fits: fn(&StageTiling) -> bool| {
                let tiles = kernel.writes.iter().any(|write| tile(write.buffer));
                tiles && tiling.stages.iter().any(fits)
            };
            facts.extend(found(|dot| dot.winograd.is_some()).then_some("Winograd"));
            facts.extend(found(|dot| dot.winograd.is_none() && !dot.bounds.is_empty()).then_some("windows"));
            facts.extend(found(|dot| !dot.in_runs).then_some("matrices"));
            let bounded = kernel.reads.iter().any(|read| tile(read.buffer) && !read.access.bounds.is_empty());
            facts.extend(bounded.then_some("elements within bounds"));
            facts.extend(wide(|stage| matches!(stage.wide, Wide::Lanes(_))).then_some("wide along rows"));
            facts.extend(wide(|stage| matches!(stage.wide, Wide::Down { .. })).then_some("wide down columns"));
            facts.extend(wide(|stage| stage.together.is_some()).then_some("many runs at a time"));
            facts.extend(group.adds_up(index).then_some("sums over points"));
            facts.extend((wide(|_| true) && tiling.stages.len() > 1).then_some("rows in stages"));
        }
    }
    facts
}

/// Runs a graph in groups wherever they are possible, of the smallest tiles, with guards around everything; or as it would be.
fn check(what: &str, graph: &Graph, batches: &[usize], smallest: bool) -> HashSet<&'static str> {
    verify(graph).expect("it is a graph");
    let mut seen = HashSet::new();
    for (isa, &batch) in Isa::available().into_iter().flat_map(|isa| batches.iter().map(move |batch| (isa, batch))) {
        let what = format!("{what}, {batch} rows, {isa:?}");
        let mut expected: Option<Vec<u32>> = None;
        for (max_batch, threads) in [(batch, 1), (batch + 3, 1), (batch, 2)] {
            let budget = Budget::new(max_batch);
            let budget = if smallest { Budget { rows: 0, ..budget } } else { budget };
            let fused = group(fuse(&simplify(graph)), &budget);
            let mut tiling = tile(&fused, max_batch, Machine::of(isa).with_cores(threads));
            for (group, tiling) in fused.groups.iter().zip(&mut tiling.groups).filter(|_| smallest) {
                (tiling.points, tiling.units.alone) = (tiling.whole, None);
                tiling.units.rows = group.points_of_sum().unwrap_or(tiling.whole) * group.rows[0];
            }
            tiling.machine.launch = 0.0;
            let plan = plan(&fused, tiling).expect("it fits");
            seen.extend(facts(&fused, &plan));
            for after in [true, false] {
                let (plan, arena) = apart(&fused, &plan, after);
                let bits = run_in(arena, (&fused, &plan), batch, after);
                let finite = bits.iter().all(|bits| f32::from_bits(*bits).is_finite());
                assert!(finite, "{what} of {max_batch}, {threads} threads");
                let first = expected.get_or_insert_with(|| bits.clone());
                assert!(bits == *first, "{what} of {max_batch}, {threads} threads");
            }
        }
    }
    seen
}

#[test]
fn what_kernels_of_a_group_pass_on_is_touched_within_its_tile() {
    let mut seen = HashSet::new();
    for (what, graph) in [
        ("windows", windows(9, &[5, 7, 3], 1)),
        ("windows at every other pixel", windows(11, &[3, 20, 4], 2)),
        ("squares of windows", windows(9, &[16, 16, 16], 1)),
        ("squares of windows that reach over", windows(10, &[16, 32, 16], 1)),
    ] {
        seen.extend(check(what, &graph, &[2, 5], true));
    }
    // With the gradient of a pool.
    seen.extend(check("a step of training", &convolutions([3, 17]), &[2, 5], true));
    for (what, graph) in [
        ("few columns", products(&[5, 3, 7], false)),
        ("whole vectors", products(&[64, 32, 48, 16], false)),
        ("long rows", products(&[37, 200, 150, 9], false)),
        ("shares", products(&[40, 70, 33], true)),
        ("shares of long rows", products(&[20, 300, 5], true)),
    ] {
        seen.extend(check(what, &graph, &[2, 67], true));
    }
    seen.extend(check("sums over points", &sums_over_queries(300), &[1, 3], true));
    let mut wanted = HashSet::from(["Winograd", "windows", "matrices", "elements within bounds", "sums over points"]);
    if Isa::available().into_iter().any(|isa| Machine::of(isa).wide_vectors) {
        wanted.extend(["wide along rows", "wide down columns", "rows in stages", "many runs at a time"]);
    }
    assert_eq!(seen, wanted);
}

#[test]
fn every_value_of_a_program_is_touched_within_its_place() {
    for (what, graph, batches) in [
        ("tensors", tensors(), vec![1, 13]),
        ("two convolutions", convolutions([3, 17]), vec![1, 5]),
        ("two convolutions in squares", convolutions([16, 16]), vec![2]),
        ("a loop", recurrent([5, 7], true), vec![3]),
        ("a wide loop", recurrent([40, 130], false), vec![13]),
        ("few columns", step([3, 2]), vec![1, 67]),
        ("some columns", step([37, 41]), vec![65]),
        ("many columns", step([130, 140]), vec![257]),
    ] {
        check(what, &graph, &batches, false);
    }
}
