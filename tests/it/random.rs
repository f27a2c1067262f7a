//! Random networks: what is compiled against what is interpreted. Forward in training and in inference, loss, metrics, all
//! gradients, running statistics and one step of an optimizer, for the largest batch and a smaller one; with the same bits on
//! three threads as on one, where there are rows enough to share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Tensor, Values};
use gradloom_runtime::ir::{Graph, ParamSlot, Role, ScalarSlot, SlotKind, ops};
use gradloom_runtime::kernel::WinogradUse;
use gradloom_runtime::layers::Mode;
use gradloom_runtime::lower::{lower, trainable};
use gradloom_runtime::microkernels::gemm::Isa;
use gradloom_runtime::network::Definition;
use gradloom_runtime::optim::{TrainingConfig, attach, fill};
use gradloom_runtime::stabilize::stabilize;
use gradloom_runtime::tiling::Keep;
use gradloom_runtime::types::DType;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::budget;
use crate::compiled::{Compiled, Reference, with_isa, with_kept, with_winograd};
use crate::draw;
use crate::optimizations;
use crate::random_network::{Spec, specs};
use crate::vocabulary::{self, STRUCTURES};

/// The step that is taken: neither the first, where bias corrections are extreme, nor one where every statistic is due.
const STEP: u64 = 3;

/// Runs so many networks, the same every time, under each of these instruction sets.
pub fn run(cases: u32, most: usize, isas: &[Isa]) {
    let config = Config {
        cases,
        max_global_rejects: 4 * cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let most_used = Cell::new(0.0_f64);
    let compared: RefCell<BTreeMap<&str, u32>> = RefCell::default();
    let result = runner.run(&specs(most), |spec| {
        let share = compare_under(isas, spec.definition(), spec.optimizer(), &spec.batches(), spec.seed, 64)?;
        most_used.set(most_used.get().max(share));
        vocabulary::of(spec.definition())
            .into_iter()
            .for_each(|word| *compared.borrow_mut().entry(word).or_insert(0) += 1);
        let optimizer = optimizations::all()[spec.optimizer].0;
        *compared.borrow_mut().entry(optimizer).or_insert(0) += 1;
        Ok(())
    });
    match result {
        Ok(()) => {
            let compared = compared.into_inner();
            let least = |word: &&str| if STRUCTURES.contains(word) { cases / 24 } else { cases / 100 };
            let words = vocabulary::all().into_iter().chain(optimizations::all().into_iter().map(|(name, _)| name));
            let seen = |word: &&str| compared.get(word).copied().unwrap_or(0);
            let rare: Vec<&str> = words.filter(|word| seen(word) < least(word)).collect();
            assert!(rare.is_empty(), "too few networks with {}: {compared:?}", rare.join(", "));
            // A bound that nothing comes near shows nothing.
            assert!(most_used.get() > 0.2, "no result takes more than {} of its bound", most_used.get());
        }
        Err(TestError::Fail(reason, spec)) => {
            let definition = spec.definition();
            // Before the kernels are printed: what cannot be fused fails again there.
            eprintln!("{reason}\n{spec:?}\n{}", gradloom_runtime::elaborate::elaborate(definition).0);
            let kernels =
                simplified(definition, Purpose::Train(&spec.optimizer())).map(|graph| fuse(&graph).to_string());
            panic!("{reason}\n{}", kernels.unwrap_or_else(|error| error.to_string()));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn random_networks_compute_what_the_interpreter_computes() {
    run(budget::cases(100) as u32, 33, &[Isa::detect()]);
}

#[test]
fn random_networks_compute_the_same_over_several_blocks_of_rows() {
    run(47, 300, &[Isa::detect()]);
}

/// Networks are cut into kernels far faster than these are compiled, so more of them are.
#[test]
fn random_networks_are_cut_into_kernels() {
    let config = Config { cases: budget::cases(150) as u32, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]));
    let cut = runner.run(&specs(33), |spec| {
        let optimizer = spec.optimizer();
        for purpose in [Purpose::Train(&optimizer), Purpose::Evaluate, Purpose::Predict] {
            let graph = simplified(spec.definition(), purpose);
            let graph = graph.map_err(|error| TestCaseError::reject(error.to_string()))?;
            drop(group(fuse(&graph), &Budget::new(65)));
        }
        Ok(())
    });
    cut.unwrap_or_else(|fault| panic!("{fault}"));
}

/// Runs so many networks of any size, the same every time, under every instruction set with vectors, half of them with every product in
/// the form of Winograd that can have it; three threads share them however few their rows are. Those that were compared are `seen`.
pub fn run_large(cases: u32, specs: impl Strategy<Value = Spec>, seen: impl Fn(&Spec)) {
    let config = Config {
        cases,
        max_global_rejects: 4 * cases,
        failure_persistence: None,
        max_shrink_iters: 30,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let isas: Vec<Isa> = Isa::available().into_iter().filter(|&isa| isa != Isa::Portable).collect();
    let compared = runner.run(&specs, |spec| {
        let used = if spec.seed.is_multiple_of(2) { WinogradUse::Everywhere } else { WinogradUse::WherePays };
        let compare = || compare_under(&isas, spec.definition(), spec.optimizer(), &spec.batches(), spec.seed, 0);
        with_winograd(used, compare)?;
        seen(&spec);
        Ok(())
    });
    compared.unwrap_or_else(|fault| panic!("{fault}"));
}

/// Compares every program of a network with the interpreter, on drawn values, at the first batch size and at the others. Says
/// how much of its bound a result takes at most.
pub fn compare_programs(
    definition: &'static Definition<'static>,
    optimizer: TrainingConfig,
    batches: &[usize],
    seed: u64,
) -> Result<f64, TestCaseError> {
    compare_under(&[Isa::detect()], definition, optimizer, batches, seed, 64)
}

/// The same under each of these instruction sets, with what is interpreted once; programs for more rows than `alone` on three threads too.
fn compare_under(
    isas: &[Isa],
    definition: &'static Definition<'static>,
    optimizer: TrainingConfig,
    batches: &[usize],
    seed: u64,
    alone: usize,
) -> Result<f64, TestCaseError> {
    // The joint graph with everything that can be asked for is the reference of all programs of training.
    let forward = lower(definition, Mode::Train).map_err(|error| TestCaseError::reject(error.to_string()))?;
    let joint = |forward: &Graph| differentiate(forward, &trainable(forward).collect::<Vec<usize>>());
    let training = |joint: &Graph| {
        let mut training = attach(joint, &optimizer);
        let gradients = joint.outputs.iter().filter(|output| matches!(output.role, Role::Gradient(_)));
        training.outputs.extend(gradients.cloned());
        training
    };
    // What is compiled is the form that keeps its digits, what it is held against is what was declared.
    let stable = joint(&stabilize(&forward));
    let programs = [update(&training(&stable)), stable];
    let training = training(&joint(&forward));
    let inference = lower(definition, Mode::Infer).map_err(|error| TestCaseError::reject(error.to_string()))?;

    let drawn: Vec<(usize, Values)> =
        batches.iter().map(|&batch| (batch, values(&training, &optimizer, batch, seed))).collect();
    let share = compare(isas, &training, &programs, &drawn, alone)?;
    let own = inference.slots.params.len();
    let drawn: Vec<(usize, Values)> = drawn
        .into_iter()
        .map(|(batch, values)| (batch, Values { params: values.params[..own].to_vec(), scalars: vec![], ..values }))
        .collect();
    // What is made of parameters alone is made once; right operands too, or in every run.
    let kept = || compare(isas, &inference, &[stabilize(&inference)], &drawn, alone);
    with_kept(Keep::Everything, seed.is_multiple_of(2), kept).map(|other| share.max(other))
}

/// The graph of a training step: loss, metrics and updates.
fn update(training: &Graph) -> Graph {
    let mut graph = training.clone();
    graph.outputs.retain(|output| !matches!(output.role, Role::Output(_) | Role::Gradient(_)));
    graph
}

/// Every program against one reference that has the results of all.
fn compare(
    isas: &[Isa],
    reference: &Graph,
    programs: &[Graph],
    drawn: &[(usize, Values)],
    alone: usize,
) -> Result<f64, TestCaseError> {
    let max_batch = drawn[0].0;
    let mut compiled: Vec<(Isa, Compiled, Option<Compiled>, usize)> = Vec::new();
    let mut most = 0.0;
    for (batch, values) in drawn {
        let wanted = Reference::new(reference, *batch, values);
        if !wanted.is_finite() || wanted.near_kink() {
            return Err(TestCaseError::reject("a result next to a kink, or none in f32"));
        }
        if compiled.is_empty() {
            // As a rule fewer rows are not shared.
            let shared = |graph: &Graph| (max_batch > alone).then(|| Compiled::for_threads(graph, max_batch, 3));
            let compile = |isa, graph: &Graph| {
                with_isa(isa, || (isa, Compiled::new(graph, max_batch), shared(graph), graph.slots.params.len()))
            };
            compiled = isas.iter().flat_map(|&isa| programs.iter().map(move |graph| compile(isa, graph))).collect();
        }
        for (isa, program, shared, params) in &mut compiled {
            let own = Values { params: values.params[..*params].to_vec(), ..values.clone() };
            let results = program.run(*batch, &own);
            let other = shared.as_mut().map(|shared| shared.run(*batch, &own).bits());
            if other.is_some_and(|other| other != results.bits()) {
                return Err(TestCaseError::fail(format!(
                    "batch {batch}, {isa:?}: three threads give other bits than one"
                )));
            }
            let compared = wanted.compare(&results);
            let share = compared.map_err(|message| {
                TestCaseError::fail(format!("batch {batch} of at most {max_batch}, {isa:?}: {message}"))
            })?;
            most = f64::max(most, share);
        }
    }
    Ok(most)
}

/// Values as they may occur in training: weights as initialized, other parameters near theirs, an optimizer with a history.
pub fn values(graph: &Graph, training: &TrainingConfig, batch: usize, seed: u64) -> Values {
    let mut random = Random::new(seed, 2);
    let mut params: Vec<Tensor> = Vec::new();
    for (index, slot) in graph.slots.params.iter().enumerate() {
        params.push(param(slot, index, seed, &mut random));
    }
    let inputs = graph.slots.inputs.iter().map(|slot| {
        let shape = slot.ty.shape.at(batch);
        let len = shape.iter().product();
        match slot.ty.dtype {
            DType::F32 => draw::floats(slot, &shape, &mut random, Random::normal),
            _ => {
                let classes = slot.classes.unwrap_or(1) as u64;
                Tensor::indices(&shape, (0..len).map(|_| random.below(classes) as u32).collect::<Vec<u32>>())
            }
        }
    });
    let inputs = inputs.collect();
    let mut scalars = vec![0.0; graph.slots.scalars.len()];
    fill(
        &graph.slots.scalars,
        &*training.optimizer,
        training.optimizer.settings().rate.rate(STEP - 1),
        STEP,
        &mut scalars,
    );
    let scalars = graph.slots.scalars.iter().zip(scalars).map(|(slot, number)| match *slot {
        ScalarSlot::Key { stream, half, .. } => f64::from(ops::key(seed, stream, STEP - 1)[half]),
        _ => f64::from(number),
    });
    let scalars = scalars.collect();
    draw::singles(&Values { inputs, params, scalars })
}

fn param(slot: &ParamSlot, index: usize, seed: u64, random: &mut Random) -> Tensor {
    let len = slot.shape.iter().product();
    let mut start = vec![0.0f32; len];
    slot.init.fill(&mut start, seed, index as u64);
    let squares = [".v", ".sum", ".square", ".delta", "running_var"];
    let second_moment = squares.iter().any(|end| slot.name.ends_with(end));
    let around = |x: f32, random: &mut Random| match slot.kind {
        SlotKind::Weight | SlotKind::Fixed => f64::from(x),
        _ if second_moment => 0.5 + random.uniform(),
        _ => f64::from(x) + 0.3 * random.normal(),
    };
    Tensor::floats(&slot.shape, start.into_iter().map(|x| around(x, random)).collect::<Vec<f64>>())
}
