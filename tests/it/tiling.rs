//! How kernels run is decided in one place, with reasons, and changes no bit.

use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, Role};
use gradloom_runtime::jit::compile;
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::memory::{Input, Memory, Params};
use gradloom_runtime::plan::{Location, plan};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::matmul::{self, Left, Packed, Panels, Right};
use gradloom_runtime::tiling::{Isa, Machine, Matmul, Prefetch, RowPrefetch, SamplePrefetch, Tiling, Wide, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::handmade;

/// `tanh(moved w)`, its product with the transpose of `w`, and `moved` is made of `x` row by row.
fn network(inner: usize, cols: usize) -> Fused {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(inner)])));
    let w = handmade::parameter(&mut b, "w", &[inner, cols]);
    let shape = b.shape(x);
    let total = b.max_over(x, &[1]);
    let total = b.broadcast(total, &shape, &[0]);
    let moved = b.mul(x, total);
    let bent = b.tanh(moved);
    let product = b.dot(bent, w, false, false);
    let result = b.tanh(product);
    let back = b.dot(result, w, false, true);
    handmade::output(&mut b, Role::Output(0), result);
    handmade::output(&mut b, Role::Output(1), back);
    fuse(&simplify(&b.finish()))
}

/// The bits of all results.
fn run(fused: &Fused, tiling: Tiling) -> Vec<u32> {
    let batch = tiling.max_batch;
    let plan = plan(fused, tiling).expect("it fits");
    let code = compile(fused, &plan).expect("it compiles");
    let numbers = |len: usize| (0..len).map(|i| (i * 7919 % 101) as f32 / 101.0 - 0.5).collect::<Vec<f32>>();
    let inputs: Vec<_> = fused.slots.inputs.iter().map(|slot| numbers(slot.ty.shape.len_at(batch))).collect();
    let inputs: Vec<Input<'_>> = inputs.iter().map(|input| Input::Float(input)).collect();
    let (params, mut arena) = (numbers(plan.params_len), vec![f32::NAN; plan.with_scratch(1)]);
    let params = Params::Shared(&params);
    code.run(Memory { arena: &mut arena, params, scalars: &[], inputs: &inputs, batch });
    let results = fused.results.iter().flat_map(|(_, buffer, shape)| match plan.places[buffer.index()] {
        Some(Location::Arena(at)) => &arena[at..at + shape.len_at(batch)],
        place => panic!("a result lies at {place:?}"),
    });
    results.map(|x| x.to_bits()).collect()
}

#[test]
fn no_choice_changes_a_bit() {
    let apart = network(200, 140);
    let fused = group(apart.clone(), &Budget::new(300));
    let pick = tile(&fused, 300, Machine::of(Isa::detect()));
    let expected = run(&fused, pick.clone());
    let mut changed = 0;
    let mut same = |what: &str, tiling: Tiling, differs: bool| {
        assert!(differs, "{what}: nothing else is done");
        assert!(run(&fused, tiling) == expected, "{what}");
        changed += 1;
    };
    let rights = [Right::Packed(Packed::Stays(0)), Right::Panels(Panels::Large(0))];
    for right in rights {
        let mut tiling = pick.clone();
        let called = tiling.kernels.iter_mut().filter_map(|kernel| kernel.matmul.as_mut());
        called.for_each(|matmul| {
            if let Matmul::Called { right: other, .. } = matmul {
                *other = right;
            }
        });
        same("right operand", tiling, true);
    }
    let mut tiling = pick.clone();
    let together = tiling.kernels.iter_mut().filter_map(|kernel| kernel.turns.take()).count();
    same("rows that take each stage together", tiling, together > 0);
    let mut tiling = pick.clone();
    let stages = tiling.kernels.iter_mut().flat_map(|kernel| &mut kernel.stages);
    stages.for_each(|stage| stage.constants = !stage.constants);
    same("constants in registers", tiling, true);
    same("tile", Tiling { m_tile: 128, ..pick.clone() }, true);
    assert!(!fused.groups.is_empty() && apart.groups.is_empty());
    assert!(run(&apart, tile(&apart, 300, pick.machine)) == expected, "kernels one after the other");
    let mut tiling = pick.clone();
    tiling.groups.iter_mut().for_each(|group| group.points = 64);
    same("points of a tile", tiling, true);
    let stages = |change: &dyn Fn(&mut gradloom_runtime::tiling::StageTiling)| {
        let mut tiling = pick.clone();
        tiling.kernels.iter_mut().flat_map(|kernel| &mut kernel.stages).for_each(change);
        let differs = tiling.kernels.iter().zip(&pick.kernels).any(|(x, y)| x.stages != y.stages);
        (tiling, differs)
    };
    let (tiling, differs) = stages(&|stage| stage.wide = Wide::None);
    same("vectors of 4", tiling, differs || !pick.machine.wide_vectors);
    let (tiling, differs) = stages(&|stage| {
        if let Prefetch::Cached(bytes) = stage.prefetch {
            stage.prefetch = Prefetch::Ahead { elements: 64, bytes };
        }
    });
    same("prefetch", tiling, differs);
    assert_eq!(changed, 8);
}

#[test]
fn every_choice_says_why() {
    let lines = |fused: &Fused, max_batch: usize| {
        let fused = &group(fused.clone(), &Budget::new(max_batch));
        let tiling = tile(fused, max_batch, Machine::of(Isa::Avx2));
        let grouped = |kernel: usize| fused.group_of(kernel).is_some();
        let lines = |kernel: usize| (format!("kernel {kernel}"), tiling.lines(kernel, grouped(kernel)));
        let groups = (0..fused.groups.len()).map(|number| (format!("group {number}"), tiling.group_lines(number)));
        let text = groups
            .chain((0..fused.kernels.len()).map(lines))
            .map(|(name, lines)| format!("{name}\n  {}", lines.join("\n  ")));
        text.collect::<Vec<String>>().join("\n")
    };
    assert_snapshot!(lines(&network(2, 3), 8), @"
    kernel 0
      stage 0 4 vectors of 4 at a time: 2 in a run
      stage 1 2 vectors of 4 at a time: 2 in a run
      each stage for 8 rows: none waits for its sum, and 0.5 KiB stay in the first cache
      on one thread: about 6 ns
    kernel 1
      matmul written out: 48 multiplications
      elements 2 vectors of 4 at a time: 3 in a run
      on one thread: about 6 ns
    kernel 2
      matmul written out: 48 multiplications
      elements 4 vectors of 4 at a time: 2 in a run
      on one thread: about 3 ns
    ");
    assert_snapshot!(lines(&network(1024, 512), 1000), @"
    group 0
      in tiles of 256 points: products compute 256 rows in one go
      in units of 128 rows: each reads a right operand of 2.0 MiB, or where that is all of 64 columns
    kernel 0
      stage 0 in vectors of 8; prefetched 1024 ahead: 3.9 MiB do not stay in the second cache
      stage 1 in vectors of 8
      each stage for 4 rows: none waits for its sum, and 16.0 KiB stay in the first cache
    kernel 1
      matmul called: left operand packed tile by tile as lines 4.0 KiB apart compete for one place in a cache, right operand read in place
      elements in vectors of 8, one call for many runs of 512; prefetched 1024 ahead: 2.0 MiB do not stay in the second cache
    kernel 2
      matmul called: left operand packed tile by tile as lines 2.0 KiB apart compete for one place in a cache, right operand packed once: 1000 rows repay it
      elements in vectors of 8; prefetched 1024 ahead: 3.9 MiB do not stay in the second cache
    ");
}

#[test]
fn few_rows_read_a_large_matrix_in_whole_rows() {
    let lines = |inner: usize, cols: usize, cores: usize| {
        tile(&network(inner, cols), 64, Machine::of(Isa::Avx2).with_cores(cores)).lines(1, false)
    };
    let large = lines(1024, 1024, 1).swap_remove(0);
    assert!(large.ends_with("; on one thread up to 2 rows read 4.0 MiB of it in long runs"), "{large}");
    let larger = lines(2048, 2048, 1).swap_remove(0);
    assert!(larger.ends_with("; on one thread up to 4 rows read 16.0 MiB of it in long runs"), "{larger}");
    let small = lines(512, 512, 1).swap_remove(0);
    assert!(!small.contains("long runs"), "what stays in the second cache is read by tiles: {small}");
    // Threads share long runs while they are long.
    let units = |inner, cols, cores| lines(inner, cols, cores).pop().expect("a line says how it is cut");
    let shared = "all of 1024 columns: few rows read 16.0 MiB in long runs";
    assert!(units(2048, 2048, 2).ends_with(shared), "{}", units(2048, 2048, 2));
    assert!(units(2048, 2048, 3).ends_with("all of 64 columns"), "{}", units(2048, 2048, 3));
    assert!(units(1024, 1024, 2).ends_with("all of 64 columns"), "{}", units(1024, 1024, 2));
}

/// The gradient of a weight: what `rows` inputs and `cols` outputs give, added up over the batch.
fn gradient(rows: usize, cols: usize) -> Fused {
    let mut b = Builder::new(Graph::default());
    let batch = |cols| TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)]));
    let x = handmade::input(&mut b, "x", batch(rows));
    let dy = handmade::input(&mut b, "dy", batch(cols));
    let product = b.product(x, dy, DotAxes { batch: vec![], contracted: vec![(0, 0)] });
    handmade::output(&mut b, Role::Output(0), product);
    fuse(&simplify(&b.finish()))
}

#[test]
fn each_thread_takes_its_share_of_a_gradient_in_one_go() {
    let units = |rows: usize, max_batch: usize, cores: usize| {
        let fused = gradient(rows, 1024);
        let tiling = tile(&fused, max_batch, Machine::of(Isa::Avx2).with_cores(cores));
        tiling.units(&fused, 0).rows
    };
    assert_eq!([1, 2, 3, 4, 9].map(|cores| units(256, 4096, cores)), [256, 128, 128, 64, 64]);
    // Not more than are computed in one go; and not fewer than a block of a right operand that stays in a cache.
    assert_eq!([1, 2].map(|cores| units(700, 4096, cores)), [256, 192]);
    assert_eq!([1, 2].map(|cores| units(256, 16, cores)), [64, 64]);
}

/// The gradient of a weight, and what becomes of two other matrices with it.
fn update(rows: usize, cols: usize) -> Fused {
    let mut b = Builder::new(Graph::default());
    let batch = |cols| TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(cols)]));
    let [x, dy] = [("x", rows), ("dy", cols)].map(|(name, cols)| handmade::input(&mut b, name, batch(cols)));
    let matrix = TensorType::f32(Shape::fixed(&[rows, cols]));
    let [m, v] = ["m", "v"].map(|name| handmade::input(&mut b, name, matrix.clone()));
    let product = b.product(x, dy, DotAxes { batch: vec![], contracted: vec![(0, 0)] });
    let moved = b.mul_add(product, m, v);
    handmade::output(&mut b, Role::Output(0), moved);
    fuse(&simplify(&b.finish()))
}

#[test]
fn what_an_update_meets_is_prefetched_during_its_product() {
    let machine = Machine::of(Isa::Avx2);
    let prefetch = |fused: &Fused, max_batch: usize| {
        let prefetch = tile(fused, max_batch, machine).kernels[0].row_prefetch.clone();
        prefetch.map(|RowPrefetch { rows, bytes, matrices }| (rows, bytes >> 10, matrices.len()))
    };
    // Of so many rows, what is prefetched and the product fill what stays in the second cache.
    assert_eq!(prefetch(&update(1024, 1024), 256), Some((64, 12 << 10, 3)));
    assert_eq!(prefetch(&update(1024, 256), 256), Some((256, 3 << 10, 3)));
    assert_eq!(prefetch(&update(777, 1030), 128), Some((32, 9378, 3)));
    assert_eq!(prefetch(&update(1024, 1024), 512), None, "the right operand does not stay");
    assert_eq!(prefetch(&update(256, 256), 256), None, "all of it stays");
    assert_eq!(prefetch(&gradient(1024, 1024), 256), None, "nothing is met");
    let lines = tile(&update(1024, 1024), 256, machine).lines(0, false);
    let said =
        "64 rows in one go, while what their elements meet is prefetched: 12.0 MiB do not stay in the second cache";
    assert_eq!(lines[1], said);
    for (rows, cols, max_batch) in [(1024, 1024, 100), (777, 1030, 16), (300, 1001, 17), (2000, 128, 15), (700, 515, 1)]
    {
        let fused = update(rows, cols);
        let pick = tile(&fused, max_batch, Machine::of(Isa::detect()));
        let prefetched = pick.kernels[0].row_prefetch.clone().expect("it is worth it");
        let expected = run(&fused, pick.clone());
        for prefetch in
            [None, Some(RowPrefetch { rows: 16, ..prefetched.clone() }), Some(RowPrefetch { rows: 128, ..prefetched })]
        {
            let mut tiling = pick.clone();
            tiling.kernels[0].row_prefetch = prefetch.clone();
            assert!(run(&fused, tiling) == expected, "{rows} x {cols}, {max_batch} rows, {prefetch:?}");
        }
    }
}

/// For each of so many heads the products of all rows of both inputs, which have those of all heads side by side.
fn of_heads(heads: usize, rows: usize, terms: usize) -> Fused {
    let mut b = Builder::new(Graph::default());
    let side = |cols: usize| TensorType::f32(Shape(vec![Dim::B, Dim::Fixed(rows), Dim::Fixed(cols)]));
    let [q, k] = ["q", "k"].map(|name| {
        let all = handmade::input(&mut b, name, side(heads * terms));
        let apart = Shape(vec![Dim::B, Dim::Fixed(rows), Dim::Fixed(heads), Dim::Fixed(terms)]);
        let apart = b.reshape(all, apart);
        b.transpose(apart, &[0, 2, 1, 3])
    });
    let product = b.product(q, k, DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 3)] });
    let result = b.tanh(product);
    handmade::output(&mut b, Role::Output(0), result);
    fuse(&gradloom_runtime::fuse::legalize(&simplify(&b.finish())))
}

#[test]
fn operands_of_heads_are_prefetched_for_the_next_sample() {
    let machine = Machine::of(Isa::Avx2);
    let prefetch = |fused: &Fused, max_batch: usize| tile(fused, max_batch, machine).kernels[0].sample_prefetch;
    let both = |bytes| Some(SamplePrefetch { operands: [true; 2], bytes });
    assert_eq!(prefetch(&of_heads(4, 64, 32), 16), both(1 << 20));
    assert_eq!(prefetch(&of_heads(2, 40, 60), 200), both(200 * 2 * 2 * 40 * 60 * 4));
    assert_eq!(prefetch(&of_heads(4, 64, 32), 2), None, "all of it stays");
    assert_eq!(prefetch(&of_heads(8, 512, 32), 16), None, "those of a sample do not stay");
    assert_eq!(prefetch(&of_heads(4, 64, 80), 16), None, "rows are long");
    let said = "operands of the next sample are prefetched: 1.0 MiB do not stay in the second cache";
    assert_eq!(tile(&of_heads(4, 64, 32), 16, machine).lines(0, false)[1], said);
    for (heads, rows, terms, max_batch) in [(4, 64, 32, 16), (3, 37, 17, 90)] {
        let fused = of_heads(heads, rows, terms);
        let mut tiling = tile(&fused, max_batch, Machine::of(Isa::detect()));
        let prefetched = run(&fused, tiling.clone());
        assert!(tiling.kernels[0].sample_prefetch.take().is_some());
        assert!(run(&fused, tiling) == prefetched, "{heads} heads, {rows} x {terms}");
    }
}

#[test]
fn an_operand_is_copied_where_tiles_use_its_lines_in_part() {
    let left = |isa, cols, steps| matmul::left(&Machine::of(isa), cols, steps);
    // A gradient of a weight of 256 x 256: 6 rows are 24 bytes of a line, 12 are 48.
    assert_eq!(left(Isa::Avx2, 256, [1, 256]), Left::Partly(24));
    assert_eq!(left(Isa::Neon, 256, [1, 256]), Left::Partly(24));
    assert_eq!(left(Isa::Avx512, 256, [1, 256]), Left::InPlace);
    assert_eq!(left(Isa::Avx512, 777, [1, 777]), Left::Partly(48));
    // Too few columns to come round often, too few rows to be gone, rows whose terms are adjacent.
    assert_eq!(left(Isa::Avx2, 128, [1, 777]), Left::InPlace);
    assert_eq!(left(Isa::Avx2, 256, [1, 128]), Left::InPlace);
    assert_eq!(left(Isa::Avx2, 777, [777, 1]), Left::InPlace);
}

#[test]
fn an_operand_whose_lines_compete_is_copied_where_many_columns_repay_it() {
    let copied = |isa, cols, steps| matmul::left(&Machine::of(isa), cols, steps) != Left::InPlace;
    // Terms are adjacent: the least multiple of a panel that is worth it, with lines half a page or a page apart.
    for (isa, panel) in [(Isa::Avx512, 32), (Isa::Avx2, 16), (Isa::Neon, 16)] {
        for apart in [512, 1024] {
            assert_eq!([16, 17].map(|panels| copied(isa, panels * panel, [apart, 1])), [false, true]);
        }
    }
    // Rows are: twelve use most of a line, six less than half.
    assert_eq!([128, 129].map(|cols| copied(Isa::Avx512, cols, [1, 512])), [false, true]);
    assert_eq!([32, 33].map(|cols| copied(Isa::Avx2, cols, [1, 512])), [false, true]);
}

#[test]
fn short_rows_take_each_stage_together() {
    let rows = |cols: usize| {
        let mut b = Builder::new(Graph::default());
        let shape = Shape([Dim::B].into_iter().chain([2, 16, cols].map(Dim::Fixed)).collect());
        let x = handmade::input(&mut b, "x", TensorType::f32(shape));
        let share = handmade::softmax(&mut b, x);
        handmade::output(&mut b, Role::Output(0), share);
        let tiling = tile(&fuse(&simplify(&b.finish())), 64, Machine::of(Isa::Avx2));
        tiling.kernels[0].turns.map(|turns| turns.rows)
    };
    assert_eq!([16, 128, 256, 512, 1024, 4096].map(rows), [Some(8), Some(8), Some(8), Some(4), Some(2), None]);
}
