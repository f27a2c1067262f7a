//! Values with rows so long that all of them are too much memory: the logits of a large vocabulary, made some rows at a time.

use gradloom::{Adam, Network, Sgd, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::interp::Tensor;
use gradloom_runtime::ir::{Graph, Role};
use gradloom_runtime::kernel::{Fused, verify};
use gradloom_runtime::network::Definition;
use gradloom_runtime::optim::TrainingConfig;
use gradloom_runtime::plan::{plan, text};
use gradloom_runtime::tiling::{Isa, Machine, tile};
use insta::assert_snapshot;

use crate::compiled::{Compiled, Reference, with_isa, with_memory};
use crate::group_chains::{bits, smallest};
use crate::{draw, random};

network! {
    Words<text: [u16; B, 64] -> logits: [B, 64, 32_768]> { Embedding(32_768, 256), Dense(32_768, bias = false) }
    loss(next: [u16; B, 64]) = cross_entropy(logits, next);
}

network! {
    /// All that may stand around such a product: a norm before it, a bias, padding, and a metric of the same rows.
    Padded<x: [B, 40, 6] -> logits: [B, 40, 50]> { Dense(20), LayerNorm, Dense(50) }
    loss(next: [u8; B, 40]) = cross_entropy(logits, next, ignore = 3);
    metric accuracy = mean(argmax(logits) == next);
}

network! {
    Smooth<x: [B, 12] -> logits: [B, 33]> { Dense(17), tanh, Dense(33, bias = false) }
    loss(label: [u8; B]) = cross_entropy(logits, label, label_smoothing = 0.1);
}

network! {
    /// How much all targets weigh is known after the logits alone, and their gradient needs it: it is made by itself.
    Weighted<x: [B, 12] -> logits: [B, 6]> { Dense(17), tanh, Dense(6) }
    loss(label: [u8; B]) = cross_entropy(logits, label, class_weights = [0.5, 1.0, 2.0, 0.0, 3.0, 0.25]);
}

network! {
    /// The table of the tokens is that of the classes as well.
    Tied<text: [u8; B, 30] -> logits: [B, 30, 70]> {
        Embedding(70, 18), tanh, Dense(70, bias = false, weight = embedding1.weight),
    }
    loss(next: [u8; B, 30]) = cross_entropy(logits, next);
}

network! {
    /// Logits that are limited: more is made of the product before and after the loss.
    Limited<x: [B, 9] -> logits: [B, 260]> { Dense(24), gelu, Dense(260), tanh }
    loss(label: [u16; B]) = cross_entropy(5 * logits, label) + 1e-3 * l2(weights);
}

/// The kernels of a step, by themselves and with values of more than so many bytes some rows at a time.
fn kernels(definition: &'static Definition<'static>, max_batch: usize, memory: usize) -> Fused {
    group(fuse(&step(definition, &Sgd::new(0.1).into())), &Budget { memory, ..Budget::new(max_batch) })
}

fn step(definition: &'static Definition<'static>, config: &TrainingConfig) -> Graph {
    simplified(definition, Purpose::Train(config)).expect("the network is one")
}

/// Networks with losses of all kinds, and batches of some tiles.
fn networks() -> [(&'static Definition<'static>, usize); 4] {
    [(Padded::declared(), 20), (Smooth::declared(), 800), (Tied::declared(), 40), (Limited::declared(), 700)]
}

fn shared(fused: &Fused) -> usize {
    fused.groups.iter().filter(|group| group.shared).count()
}

#[test]
fn logits_of_a_large_vocabulary_are_never_there_as_a_whole() {
    let fused = kernels(Words::declared(), 32, Budget::new(32).memory);
    let all = fused.to_string();
    assert_snapshot!(all[..all.find("in all:").expect("the sums come last")], @"
    kernel 0: b 64*B, i 256, 0 FLOP, 65,792*B + 33,554,432 bytes
      materialize embedding1.weight[text[b], i]                      # for kernels 1, 3: a matmul reads memory
    group by b: kernels 1 to 3                                       # 8,388,608*B bytes are never there as a whole
    kernel 1: 64*B x 32768, 1,105,199,360*B + 1 FLOP, 66,816*B + 33,554,432 bytes # a matmul
      %5 = dot %2, dense1.weight : f32[64*B,32768]                   # dense1
      %8 = max %5 over 2 : f32[B,64]                                 # loss
      %40 = div 1, 64*B : f32[]                                      # loss
      along the row
      %10 = sub %5, %8.row : f32[B,64,32768]                         # loss
      %11 = eq %5, inf : bool[B,64,32768]                            # loss
      %12 = select %11, 0, %10 : f32[B,64,32768]                     # loss
      %15 = index_eq column, next.row : bool[B,64,32768]             # loss
      %16 = exp %12 : f32[B,64,32768]                                # loss
      %17 = select %15, 0, %16 : f32[B,64,32768]                     # loss
      %18 = sum %17 over 2 : f32[B,64]                               # loss
      %19 = select %15, %16, 0 : f32[B,64,32768]                     # loss
      %20 = sum %19 over 2 : f32[B,64]                               # loss
      %24 = select %15, %12, 0 : f32[B,64,32768]                     # loss
      %25 = sum %24 over 2 : f32[B,64]                               # loss
      along the row
      %15 = index_eq column, next.row : bool[B,64,32768]             # loss, rematerialized: register-only
      %27 = add %20.row, %18.row : f32[B,64]                         # loss
      %33 = neg %18.row : f32[B,64]                                  # loss
      %35 = select %15, %33.row, %16 : f32[B,64,32768]               # loss
      %36 = div 1, %27.row : f32[B,64]                               # loss
      %42 = mul %40.one, %36.row : f32[B,64]                         # loss
      %44 = mul %42.row, %35 : f32[B,64,32768]                       # loss
      materialize %8.row                                             # for kernel 4: max runs once
      materialize %18.row                                            # for kernel 4: sum runs once
      materialize %20.row                                            # for kernel 4: sum runs once
      materialize %25.row                                            # for kernel 4: sum runs once
      tile %44                                                       # for kernels 2, 3
    kernel 2: 64*B x 256, 1,073,741,824*B FLOP, 65,536*B + 33,554,432 bytes # a matmul
      %46 = dot %44, dense1.weight.T : f32[64*B,256]                 # dense1
      materialize %46                                                # for kernel 7: dot runs once
    kernel 3: 256 x 32768, 1,073,741,824*B FLOP, 65,536*B + 33,554,432 bytes # a matmul
      %47 = dot %2.T, %44 : f32[256,32768]                           # dense1
      materialize %47                                                # for kernel 6: added up tile by tile
    kernel 4: B x 64, 704*B FLOP, 1,024*B + 4 bytes                  # %8 comes from kernel 1, over 64*B x 32768
      %21 = sub %20, 1 : f32[B,64]                                   # loss
      %22 = add %18, %21 : f32[B,64]                                 # loss
      %23 = log1p %22 : f32[B,64]                                    # loss
      %26 = sub %23, %25 : f32[B,64]                                 # loss
      %27 = add %20, %18 : f32[B,64]                                 # loss, rematerialized: 1 operation, 1 read
      %28 = eq %8, inf : bool[B,64]                                  # loss
      %29 = select %28, %27, 1 : f32[B,64]                           # loss
      %30 = gt %29, 1 : bool[B,64]                                   # loss
      %31 = sub %8, %8 : f32[B,64]                                   # loss
      %32 = select %30, %31, %26 : f32[B,64]                         # loss
      %37 = sum %32 over 0,1 : f32[]                                 # loss
    kernel 5: 1 x 1, 1 FLOP, 8 bytes                                 # %37 is known when kernel 4 is done
      %39 = div %37, 64*B : f32[]                                    # loss
      materialize %39                                                # the loss
    check that the loss is finite
    kernel 6: 256 x 32768, 16,777,217 FLOP, 100,663,296 bytes        # updates wait for the check of the loss
      %51 = neg rate : f32[]                                         # optimizer
      %55 = mul_add %51.one, %47, dense1.weight : f32[256,32768]     # dense1.weight
      dense1.weight <- %55
    kernel 7: b 64*B, i 256, 0 FLOP, 65,792*B + 33,554,432 bytes     # no kernel over 64*B x 256 has its operands
      add %46 to rows text[b] of %49                                 # for kernel 8: scatter_add runs once
    kernel 8: 32768 x 256, 16,777,217 FLOP, 100,663,296 bytes        # %49 comes from kernel 7, over 64*B x 256
      %51 = neg rate : f32[]                                         # optimizer, rematerialized: one number
      %53 = mul_add %51.one, %49, embedding1.weight : f32[32768,256] # embedding1.weight
      embedding1.weight <- %53
    ");
    let plan = plan(&fused, tile(&fused, 32, Machine::of(Isa::Avx2).with_cores(2))).expect("it fits");
    let text = text(&plan, &fused);
    let words = ["arena", "scratch ", "group", "  in tiles", "parallel"];
    let wanted = |line: &&str| words.iter().any(|word| line.starts_with(word));
    assert_snapshot!(text.lines().filter(wanted).collect::<Vec<&str>>().join("\n"), @"
    arena 53280.0 KiB, without sharing 86048.2 KiB
    scratch 288.2 KiB a thread
    group by b: kernels 1 to 3
      in tiles of 128 points: 16.0 MiB are passed on, for all threads together
    parallel region 0: kernel 0 by 64 rows
    parallel region 1 for each tile of 128 points: kernel 1 by 1024 columns
    parallel region 2 for each tile of 128 points: what follows the matmul of kernel 1 by 64 rows
    parallel region 3 for each tile of 128 points: kernel 2 by 64 columns, kernel 3 by 1024 columns
    parallel region 4: one thread does kernel 4, kernel 5, check of the loss
    parallel region 5: kernel 6 by 1 rows; then kernel 7
    parallel region 6: kernel 8 by 32 rows
    ");
    // Beside the gradients, of which one is there at a time.
    let beside = 4 * plan.with_scratch(2) - (32 << 20);
    assert!(beside <= 40_000_000, "{beside} bytes");
    // What is no more than some rows anyway is made in one go.
    assert_eq!(shared(&kernels(Words::declared(), 4, Budget::new(4).memory)), 0);
}

#[test]
fn steps_with_long_rows_have_the_numbers_of_the_interpreter_and_the_same_bits_everywhere() {
    let config = TrainingConfig { clip_norm: Some(1.0), ..Adam::new(1e-2).into() };
    for (definition, most) in [
        (Padded::declared(), 20),
        (Smooth::declared(), 800),
        (Weighted::declared(), 800),
        (Tied::declared(), 40),
        (Limited::declared(), 700),
    ] {
        let graph = step(definition, &config);
        let name = definition.name;
        let parts = kernels(definition, most, 1 << 10);
        assert!(shared(&parts) > 0 && verify(&parts) == Ok(()), "{name}\n{parts}");
        for isa in Isa::available() {
            with_isa(isa, || {
                let mut whole = Compiled::for_threads(&graph, most, 1);
                let mut compiled: Vec<Compiled> = with_memory(1 << 10, || {
                    let each = [(most, 1), (most, 2), (most, 3), (most * 2, 2)];
                    each.map(|(max_batch, threads)| Compiled::for_threads(&graph, max_batch, threads)).into()
                });
                for batch in [1, most / 3, most - 1, most] {
                    let values = random::values(&graph, &config, batch, batch as u64);
                    let expected = whole.run(batch, &values);
                    Reference::new(&graph, batch, &values).check(&format!("{name}, {batch} rows, {isa:?}"), &expected);
                    for (number, each) in compiled.iter_mut().enumerate() {
                        let found = each.run(batch, &values);
                        assert!(found.bits() == expected.bits(), "{name}, {batch} rows, {isa:?}, program {number}");
                        assert_eq!(found.finite, expected.finite);
                    }
                }
            });
        }
    }
}

#[test]
fn many_tiles_that_threads_share_have_the_bits_of_kernels_by_themselves() {
    let config = TrainingConfig { clip_norm: Some(1.0), ..Adam::new(1e-2).into() };
    for (definition, most) in networks() {
        let graph = step(definition, &config);
        let apart = fuse(&graph);
        let together = group(apart.clone(), &Budget { memory: 1 << 10, ..Budget::new(most) });
        for (isa, batch) in Isa::available().into_iter().flat_map(|isa| [1, most - 1].map(|batch| (isa, batch))) {
            let values = random::values(&graph, &config, batch, 7);
            let expected = bits(&apart, tile(&apart, most, Machine::of(isa)), batch, &values);
            for threads in [1, 2, 3] {
                let tiling = smallest(&together, tile(&together, most, Machine::of(isa).with_cores(threads)));
                let tiles = together.groups.iter().zip(&tiling.groups).find(|(group, _)| group.shared);
                let (group, tiles) = tiles.expect("logits are some rows at a time");
                assert!(group.points().at(most) > 2 * tiles.points, "{} points", tiles.points);
                let name = definition.name;
                let found = bits(&together, tiling, batch, &values);
                assert!(found == expected, "{name}, {batch} rows, {isa:?}, {threads} threads\n{together}");
            }
        }
    }
}

#[test]
fn a_step_with_long_rows_that_is_refused_changes_nothing() {
    let graph = step(Smooth::declared(), &Sgd::new(0.1).into());
    let mut compiled = with_memory(1 << 10, || [1, 2].map(|threads| Compiled::for_threads(&graph, 800, threads)));
    let mut values = draw::singles(&draw::values(&graph, 800, 3));
    let shape = values.inputs[0].shape.clone();
    values.inputs[0] = Tensor::floats(&shape, vec![f64::NAN; shape.iter().product()]);
    for compiled in &mut compiled {
        let found = compiled.run(800, &values);
        assert!(!found.finite);
        for (param, before) in values.params.iter().enumerate() {
            let after = found.get(&Role::Update(param));
            assert!(after == before.as_floats(), "parameter {param}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn kernels_with_long_rows_stay_within_their_memory() {
    let graph = step(Padded::declared(), &Sgd::new(0.1).into());
    let mut compiled = with_memory(1 << 10, || [1, 2].map(|threads| Compiled::for_threads(&graph, 20, threads)));
    for (compiled, batch) in compiled.iter_mut().flat_map(|compiled| [(compiled, 17)]) {
        let values = draw::singles(&draw::values(&graph, batch, 9));
        let [before, after] = [false, true].map(|after| compiled.run_beside_pages(batch, &values, after).bits());
        assert!(before == after);
    }
}
