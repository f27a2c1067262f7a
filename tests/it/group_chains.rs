//! Groups of several products, of products between which rows have to do with one another, and of random kernels: the same bits as
//! kernels that run one after the other.

use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::interp::{Data, Values};
use gradloom_runtime::ir::{Builder, DotAxes, Graph, NodeId, Role};
use gradloom_runtime::jit::{Pool, compile};
use gradloom_runtime::kernel::{Fused, Home, verify};
use gradloom_runtime::memory::{Input, Memory, Params, Word};
use gradloom_runtime::plan::{Location, parallel_regions, plan, text};
use gradloom_runtime::simplify::simplify;
use gradloom_runtime::tiling::{Isa, Machine, Tiling, tile};
use gradloom_runtime::types::{Dim, Shape, TensorType};
use insta::assert_snapshot;

use crate::budget::cases;
use crate::compiled::{Compiled, Reference, with_isa};
use crate::compiled_ops::matrix;
use crate::{draw, handmade, random_tensors};

/// The kernels of a graph, in groups.
fn grouped(graph: &Graph, max_batch: usize) -> Fused {
    group(fuse(&simplify(graph)), &Budget::new(max_batch))
}

/// The text of kernels, without the sums of what they cost.
fn kernels(fused: &Fused) -> String {
    let text = fused.to_string();
    text[..text.find("in all:").expect("the sums come last")].to_string()
}

/// `tanh`, and a product with a matrix that has so many columns, for each of these.
fn chain(widths: &[usize], also: impl Fn(&mut Builder, NodeId) -> Vec<NodeId>) -> Graph {
    const NAMES: [&str; 4] = ["u", "v", "w", "z"];
    let mut b = Builder::new(Graph::default());
    let mut y = handmade::input(&mut b, "x", matrix(widths[0]));
    for (pair, name) in widths.windows(2).zip(NAMES) {
        let w = handmade::input(&mut b, name, TensorType::f32(Shape::fixed(&[pair[0], pair[1]])));
        let bent = b.tanh(y);
        y = b.dot(bent, w, false, false);
    }
    let results = [vec![y], also(&mut b, y)].concat();
    for (index, node) in results.into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

/// The softmax of products of queries and keys of two heads, and its product with values: all of 16 tokens.
fn attention() -> Graph {
    let mut b = Builder::new(Graph::default());
    let (tokens, heads, width) = (16, 2, 8);
    let shape = Shape(vec![Dim::B, Dim::Fixed(tokens), Dim::Fixed(3 * heads * width)]);
    let all = handmade::input(&mut b, "qkv", TensorType::f32(shape));
    let [q, k, v] = [0, 1, 2].map(|part| {
        let part = b.slice(all, 2, part * heads * width, heads * width, 1);
        let split = Shape(vec![Dim::B, Dim::Fixed(tokens), Dim::Fixed(heads), Dim::Fixed(width)]);
        let part = b.reshape(part, split);
        b.transpose(part, &[0, 2, 1, 3])
    });
    let axes = |term| DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![term] };
    let scores = b.product(q, k, axes((3, 3)));
    let share = handmade::softmax(&mut b, scores);
    let read = b.product(share, v, axes((3, 2)));
    handmade::output(&mut b, Role::Output(0), read);
    b.finish()
}

#[test]
fn two_kernels_of_a_group_pass_on_a_tile() {
    assert_snapshot!(kernels(&grouped(&chain(&[24, 32, 8], |_, _| vec![]), 1000)), @"
    group by b: kernels 0 to 2                                       # 448*B bytes less to memory and back
    kernel 0: B x 24, 24*B FLOP, 96*B bytes
      %2 = tanh x : f32[B,24]
      tile %2                                                        # for kernel 1
    kernel 1: B x 32, 1,568*B FLOP, 3,072 bytes                      # a matmul
      %3 = dot %2, u : f32[B,32]
      %5 = tanh %3 : f32[B,32]
      tile %5                                                        # for kernel 2
    kernel 2: B x 8, 512*B FLOP, 32*B + 1,024 bytes                  # a matmul
      %6 = dot %5, v : f32[B,8]
      materialize %6                                                 # output y
    ");
}

#[test]
fn the_shares_of_attention_are_never_in_memory_as_a_whole() {
    let fused = grouped(&attention(), 20);
    assert_snapshot!(kernels(&fused), @"
    group by b, i, j: kernels 0, 1                                   # 4,096*B bytes less to memory and back
    kernel 0: b B, i 2, j 16, k 16, 10,752*B FLOP, 2,048*B bytes
      %9 = dot qkv, qkv batch 0:0,1:1, over 3:2 : f32[B,2,16,16]
      %10 = max %9 over 3 : f32[B,2,16]
      along the row
      %12 = sub %9, %10.row : f32[B,2,16,16]
      %13 = exp %12 : f32[B,2,16,16]
      %14 = sum %13 over 3 : f32[B,2,16]
      along the row
      %16 = div %13, %14.row : f32[B,2,16,16]
      tile %16                                                       # for kernel 1
    kernel 1: b B, i 2, j 16, k 8, 8,192*B FLOP, 2,048*B bytes       # a matmul
      %18 = dot %16, qkv batch 0:0,1:1, over 3:2 : f32[B,2,16,8]
      materialize %18                                                # output y
    ");
    let plan = plan(&fused, tile(&fused, 20, Machine::of(Isa::Avx2))).expect("it fits");
    assert_snapshot!(text(&plan, &fused), @"
    batches of up to 20 rows
    parameters 0.0 KiB
    arena 20.0 KiB, without sharing 20.0 KiB
    scratch 41.1 KiB a thread
    group by b, i, j: kernels 0, 1
      in tiles of 256 points: products compute 256 rows in one go
      in units of 16 rows: one sample has several
    kernel 0: b B, i 2, j 16, k 16
      matmul called: left operand read in place, right operand packed panel by panel, one for each matmul
      stage 0 in vectors of 8, one call for many runs of 16
      stage 1 in vectors of 8, one call for many runs of 16
      stage 2 in vectors of 8, one call for many runs of 16
      each stage for 8 rows: none waits for its sum, and 1.0 KiB stay in the first cache
      tile %16               scratch 0..4096, to kernel 1
      lanes of %10           scratch 4096..4112
      lanes of %14           scratch 4112..4128
      row of %13             scratch 4128..4256
      block of %9            scratch 4256..8352
      workspace of %9        scratch 8352..10528
    kernel 1: b B, i 2, j 16, k 8
      matmul called: left operand read in place, right operand read in place
      elements in vectors of 8, one call for many runs of 8
      %18                    0..5120, a result
      workspace of %18       scratch 4096..8448
    parallel region 0: kernels 0, 1 by 16 rows
    ");
}

#[test]
fn attention_in_a_group_has_the_numbers_of_the_interpreter() {
    let graph = attention();
    for isa in Isa::available() {
        with_isa(isa, || {
            let mut compiled = [1, 2, 3].map(|threads| Compiled::for_threads(&graph, 20, threads));
            for batch in [1, 8, 9, 20] {
                let values = draw::singles(&draw::values(&graph, batch, batch as u64));
                let [one, two, three] = compiled.each_mut().map(|compiled| compiled.run(batch, &values));
                Reference::new(&graph, batch, &values).check(&format!("{batch} samples, {isa:?}"), &one);
                assert!(one.bits() == two.bits() && one.bits() == three.bits(), "{batch} samples, {isa:?}");
            }
        });
    }
}

/// Shares of attention that looks at nothing later, once before a loss and once after it: both times as the product with a matrix
/// that has one number on its diagonal, so that their bits can be seen.
fn shares_before_and_after_a_loss() -> Graph {
    let mut b = Builder::new(Graph::default());
    let (tokens, width) = (40, 8);
    let shape = Shape(vec![Dim::B, Dim::Fixed(2), Dim::Fixed(tokens), Dim::Fixed(width)]);
    let [q, k] = ["q", "k"].map(|name| handmade::input(&mut b, name, TensorType::f32(shape.clone())));
    let axes = DotAxes { batch: vec![(0, 0), (1, 1)], contracted: vec![(3, 3)] };
    let scores = b.product(q, k, axes);
    let scores = handmade::looking_back(&mut b, scores);
    let shares = handmade::softmax(&mut b, scores);
    let on_diagonal = |b: &mut Builder, number: f64| {
        let shape = Shape::fixed(&[tokens, tokens]);
        let [row, column] = [0, 1].map(|axis| b.iota(axis, &shape));
        let is_there = b.index_eq(row, column);
        let [number, zero] = [number, 0.0].map(|number| b.constant(number, &shape));
        let matrix = b.select(is_there, number, zero);
        b.product(shares, matrix, DotAxes { batch: vec![], contracted: vec![(3, 0)] })
    };
    let before = on_diagonal(&mut b, 1.0);
    handmade::output(&mut b, Role::Output(0), before);
    let squares = b.mul(before, before);
    let loss = b.sum(squares, &[0, 1, 2, 3]);
    handmade::output(&mut b, Role::Loss, loss);
    let after = on_diagonal(&mut b, 2.0);
    handmade::output(&mut b, Role::Output(1), after);
    b.finish()
}

#[test]
fn shares_made_again_after_the_loss_have_the_bits_of_those_before_it() {
    let graph = shares_before_and_after_a_loss();
    let text = kernels(&grouped(&graph, 20));
    let scores: Vec<&str> = text.lines().filter(|line| line.contains("= dot q, k")).collect();
    assert_eq!(scores.len(), 2, "they are made twice:\n{text}");
    assert!(text.lines().filter(|line| line.contains("= exp")).count() == 2, "{text}");
    for isa in Isa::available() {
        with_isa(isa, || {
            for threads in [1, 2, 3] {
                let mut compiled = Compiled::for_threads(&graph, 20, threads);
                for batch in [1, 9, 20] {
                    let values = draw::singles(&draw::values(&graph, batch, batch as u64));
                    let found = compiled.run(batch, &values);
                    let [before, after] = [0, 1].map(|number| found.get(&Role::Output(number)));
                    let bits = |shares: &[f64], times: f64| -> Vec<u32> {
                        shares.iter().map(|share| ((share * times) as f32).to_bits()).collect()
                    };
                    assert_eq!(bits(before, 2.0), bits(after, 1.0), "{batch} samples, {isa:?}, {threads} threads");
                    assert!(before.iter().any(|share| *share > 0.0 && *share < 1.0), "{before:?}");
                }
            }
        });
    }
}

/// Three products, of which few rows are cut by columns in two; then sums of the last.
fn three() -> Graph {
    chain(&[200, 130, 140, 90], |b, y| vec![b.sum(y, &[0]), b.variance(y, &[0]), b.sum(y, &[0, 1])])
}

#[test]
fn products_one_after_the_other_are_one_group() {
    let fused = grouped(&three(), 700);
    assert_eq!((fused.groups.len(), fused.run_of(0)), (1, 0..fused.kernels.len()));
    assert_eq!(fused.buffers.iter().filter(|buffer| buffer.home == Home::Tile).count(), 3, "every left operand");
    let plan = plan(&fused, tile(&fused, 700, Machine::of(Isa::Avx2))).expect("it fits");
    let text = text(&plan, &fused);
    let regions: Vec<&str> = text.lines().filter(|line| line.starts_with("parallel region")).collect();
    assert_snapshot!(regions.join("\n"), @"
    parallel region 0: one thread does up to 64 rows of kernel 0
    parallel region 1: up to 64 rows of kernel 1 by 64 columns; then what follows the matmul of up to 64 rows
    parallel region 2: kernels 0 to 3 by 64 rows, up to 64 rows of kernel 2 by 64 columns; then what follows the matmul of up to 64 rows, sums of kernel 3
    ");
}

#[test]
fn products_in_a_group_have_the_same_bits_on_any_threads_and_in_any_program() {
    let graph = three();
    let mut compiled: Vec<Compiled> = [(700, 1), (700, 2), (700, 3), (64, 1), (256, 2)]
        .map(|(max_batch, threads)| Compiled::for_threads(&graph, max_batch, threads))
        .into();
    for batch in [1, 63, 64, 65, 256, 257, 321, 513, 700] {
        let values = draw::singles(&draw::values(&graph, batch, batch as u64));
        let first = compiled[0].run(batch, &values);
        Reference::new(&graph, batch, &values).check(&format!("{batch} rows"), &first);
        for (index, most) in [700, 700, 64, 256].into_iter().enumerate().filter(|&(_, most)| most >= batch) {
            let other = compiled[index + 1].run(batch, &values);
            assert!(other.bits() == first.bits(), "{batch} rows of up to {most}, program {index}");
        }
    }
}

/// `tanh`, its product with what it was made of, which adds up over all samples, and one with a matrix: that given or, if `by_sum`,
/// the first product.
fn past_a_sum(by_sum: bool) -> Graph {
    let mut b = Builder::new(Graph::default());
    let x = handmade::input(&mut b, "x", matrix(24));
    let w = handmade::input(&mut b, "w", TensorType::f32(Shape::fixed(&[24, 24])));
    let bent = b.tanh(x);
    let sum = b.dot(bent, x, true, false);
    let result = b.dot(bent, if by_sum { sum } else { w }, false, false);
    for (index, node) in [sum, result].into_iter().enumerate() {
        handmade::output(&mut b, Role::Output(index), node);
    }
    b.finish()
}

#[test]
fn a_kernel_comes_forward_to_the_group_that_writes_what_it_reads() {
    let fused = grouped(&past_a_sum(false), 700);
    assert_snapshot!(kernels(&fused), @"
    group by b: kernels 0, 1                                         # 96*B bytes less to memory and back
    kernel 0: B x 24, 24*B FLOP, 192*B bytes
      %2 = tanh x : f32[B,24]
      materialize %2                                                 # for kernels 1, 2: a matmul reads memory
    kernel 1: B x 24, 1,152*B FLOP, 192*B + 2,304 bytes              # a matmul
      %4 = dot %2, w : f32[B,24]
      materialize %4                                                 # output y
    kernel 2: 24 x 24, 1,152*B FLOP, 192*B + 2,304 bytes             # a matmul; no tiles with kernel 1: it adds up over all points
      %3 = dot %2.T, x : f32[24,24]
      materialize %3                                                 # output y
    ");
    verify(&fused).expect("no kernel reads what is not there yet");
    let waits = grouped(&past_a_sum(true), 700);
    assert!(waits.groups.is_empty(), "what comes forward would read a sum that is not there yet");
    for by_sum in [false, true] {
        let graph = past_a_sum(by_sum);
        let mut compiled = Compiled::new(&graph, 700);
        for batch in [1, 257, 700] {
            let values = draw::singles(&draw::values(&graph, batch, batch as u64));
            Reference::new(&graph, batch, &values).check(&format!("{batch} rows"), &compiled.run(batch, &values));
        }
    }
}

#[test]
fn weights_that_stay_in_the_cache_one_by_one_are_not_read_again_for_every_tile() {
    let groups = |widths: &[usize]| grouped(&chain(widths, |_, _| vec![]), 1024).groups.len();
    let products = |widths: &[usize]| {
        let fused = grouped(&chain(widths, |_, _| vec![]), 1024);
        fused.groups.iter().map(|group| group.kernels.clone().filter(|&k| fused.kernels[k].dot.is_some()).count()).max()
    };
    assert_eq!(groups(&[64, 64, 64, 64]), 1);
    assert_eq!(products(&[64, 64, 64, 64]), Some(3));
    assert_eq!(products(&[512, 512, 512]), Some(1), "each has 1 MiB, of which two do not stay");
}

/// Runs kernels and gives the bits of all results and parameters, all NaN alike.
pub fn bits(fused: &Fused, tiling: Tiling, batch: usize, values: &Values) -> Vec<u32> {
    let threads = tiling.machine.cores;
    let plan = plan(fused, tiling).expect("it fits");
    let code = compile(fused, &plan).expect("it compiles");
    let floats = |numbers: &[f64]| numbers.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    let fed: Vec<(Vec<f32>, Vec<u32>)> = (values.inputs.iter())
        .map(|tensor| match &tensor.data {
            Data::Float(numbers) => (floats(numbers), Vec::new()),
            Data::Index(ids) => (Vec::new(), ids.clone()),
            Data::Mask(_) => panic!("an input of truth values"),
        })
        .collect();
    let inputs = fed.iter().zip(&fused.slots.inputs).map(|((floats, ids), slot)| match slot.ty.dtype.is_index() {
        true => Input::Index(ids),
        false => Input::Float(floats),
    });
    let inputs: Vec<Input<'_>> = inputs.collect();
    let scalars = fused.slots.scalars.iter().zip(&values.scalars);
    let scalars: Vec<Word> = scalars.map(|(slot, &value)| Word::new(slot, value)).collect();
    let mut params = vec![0.0; plan.params_len];
    for (value, &at) in values.params.iter().zip(&plan.params) {
        let numbers = floats(value.as_floats());
        params[at..at + numbers.len()].copy_from_slice(&numbers);
    }
    let mut arena = vec![f32::NAN; plan.with_scratch(threads)];
    let memory =
        Memory { arena: &mut arena, params: Params::Own(&mut params), scalars: &scalars, inputs: &inputs, batch };
    match threads {
        1 => code.run(memory),
        _ => {
            let mut pool = Pool::new(threads).expect("threads can be had");
            code.reserve(&mut pool);
            code.run_on(&mut pool, memory)
        }
    };
    let results = fused.results.iter().flat_map(|(_, buffer, shape)| match plan.places[buffer.index()] {
        Some(Location::Arena(at)) => &arena[at..at + shape.len_at(batch)],
        _ => &[],
    });
    results.chain(&params).map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect()
}

/// The smallest tiles that there can be, shared between all threads.
pub fn smallest(fused: &Fused, mut tiling: Tiling) -> Tiling {
    for (group, tiling) in fused.groups.iter().zip(&mut tiling.groups) {
        (tiling.points, tiling.units.alone) = (tiling.whole, None);
        tiling.units.rows = group.points_of_sum().unwrap_or(tiling.whole) * group.rows[0];
    }
    tiling.machine.launch = 0.0;
    tiling
}

#[test]
fn random_kernels_have_the_same_bits_in_groups_and_one_after_the_other() {
    let (mut groups, mut tiles) = (0, 0);
    for seed in 0..cases(60) {
        let graph = random_tensors::graph(60_000 + seed);
        let apart = fuse(&simplify(&graph));
        let together = group(apart.clone(), &Budget { rows: 0, ..Budget::new(9) });
        groups += together.groups.len();
        tiles += together.buffers.iter().filter(|buffer| buffer.home == Home::Tile).count();
        if together.groups.is_empty() {
            continue;
        }
        for batch in [1, 9] {
            let values = draw::singles(&draw::values(&graph, batch, seed));
            let machine = Machine::of(Isa::detect());
            let expected = bits(&apart, tile(&apart, 9, machine), batch, &values);
            let seen = bits(&together, tile(&together, 9, machine), batch, &values);
            assert!(seen == expected, "seed {seed}, {batch} rows\n{together}");
            for threads in [1, 2] {
                let tiling = smallest(&together, tile(&together, 9, machine.with_cores(threads)));
                let seen = bits(&together, tiling, batch, &values);
                assert!(seen == expected, "seed {seed}, {batch} rows, {threads} threads\n{together}");
            }
        }
    }
    eprintln!("{groups} groups, {tiles} tiles");
    assert!(groups >= 20 && tiles >= 10, "{groups} groups, {tiles} tiles");
}

#[test]
fn a_group_that_would_read_what_is_not_there_yet_is_found() {
    let sound = grouped(&three(), 700);
    assert_eq!(verify(&sound), Ok(()));
    let fault = |change: &dyn Fn(&mut Fused)| {
        let mut fused = sound.clone();
        change(&mut fused);
        verify(&fused).expect_err("it is not sound")
    };
    let checked = fault(&|fused| fused.check = Some(1));
    assert_eq!(checked, "group 0: the loss is checked before kernel 1");
    let rows = fault(&|fused| fused.groups[0].rows[1] = 2);
    assert_eq!(rows, "group 0: the rows of kernel 1 are not those of its points");
    let tile = fault(&|fused| fused.groups.clear());
    assert!(tile.starts_with("kernel 0 has the tile %") && tile.ends_with(", but no group"), "{tile}");
    let result = fault(&|fused| {
        let buffer = fused.result(&Role::Output(0)).expect("it has a result");
        fused.buffers[buffer.index()].home = Home::Tile;
    });
    assert!(result.ends_with(" is a result"), "{result}");
    let other = fault(&|fused| {
        let step = &mut fused.kernels[2].dot.as_mut().expect("a product").a_at;
        step.steps[0] = 0;
    });
    assert!(other.contains("of points that kernel 1 may not have reached"), "{other}");
}

#[test]
fn few_rows_of_several_products_of_a_group_are_each_cut_by_columns() {
    let fused = grouped(&three(), 700);
    let plan = plan(&fused, tile(&fused, 700, Machine::of(Isa::detect()))).expect("it fits");
    let rows = |batch: usize| {
        let tasks = parallel_regions(&fused, &plan).into_iter().flat_map(|region| region.tasks);
        let units = tasks.map(|task| {
            let kernel = &fused.kernels[task.kernel];
            task.units(task.rows(kernel).at(batch), kernel.cols())
        });
        units.filter(|&units| units > 0).collect::<Vec<usize>>()
    };
    assert_eq!(rows(1), [3, 3], "130 and 140 columns by 64; the third is small");
    assert_eq!(rows(700), [11], "in units of 64 rows");
}
