//! Random networks: what diagnostics, recalibration and the sentinel make of them.

use gradloom_runtime::chunked::parts;
use gradloom_runtime::compile::{Program, Purpose, Target, compile, simplified};
use gradloom_runtime::fault::{Fault, Given};
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::Tensor;
use gradloom_runtime::ir::{Role, SlotKind};
use gradloom_runtime::optim::{Sgd, TrainingConfig};
use gradloom_runtime::simplify::simplify;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::budget;
use crate::compiled::{Compiled, Reference};
use crate::random::values;
use crate::random_network::{Spec, specs};

/// Looks at so many networks, the same every time.
fn each(cases: u32, check: impl Fn(&Spec) -> Result<(), TestCaseError>) {
    let config = Config {
        cases,
        max_global_rejects: 4 * cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    if let Err(error) = runner.run(&specs(17), |spec| check(&spec)) {
        panic!("{error}");
    }
}

fn fail(error: impl ToString) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

#[test]
fn every_measure_is_the_interpreters() {
    each(budget::cases(40) as u32, |spec| {
        let (definition, optimizer) = (spec.definition(), spec.optimizer());
        let graph = simplified(definition, Purpose::Diagnose(&optimizer))
            .map_err(|error| TestCaseError::reject(error.to_string()))?;
        let batches = spec.batches();
        let mut compiled = Compiled::new(&graph, batches[0]);
        for batch in batches {
            let values = values(&graph, &optimizer, batch, spec.seed);
            let wanted = Reference::new(&graph, batch, &values);
            if !wanted.is_finite() || wanted.near_kink() {
                return Err(TestCaseError::reject("a result next to a kink, or none in f32"));
            }
            wanted.compare(&compiled.run(batch, &values)).map_err(fail)?;
        }
        Ok(())
    });
}

#[test]
fn statistics_of_all_networks_can_be_recomputed() {
    each(80, |spec| {
        let config = TrainingConfig::from(Sgd::new(0.1));
        let graph = simplified(spec.definition(), Purpose::Recalibrate(&config)).map_err(fail)?;
        let parts = parts(&graph);
        for (graph, max_batch) in parts.levels.iter().map(|level| (&level.graph, 17)).chain([(&parts.finish, 1)]) {
            Program::of_graph(&simplify(graph), Target::new(max_batch)).map_err(fail)?;
        }
        Ok(())
    });
}

#[test]
fn one_spoilt_number_is_found_in_all_networks() {
    each(80, |spec| {
        let (definition, optimizer) = (spec.definition(), spec.optimizer());
        let replay = compile(definition, Purpose::Train(&optimizer), Target::new(1)).into_replay();
        let replay = replay.map_err(|error| TestCaseError::reject(error.to_string()))?;
        let batch = spec.batches()[0];
        let mut values = values(&replay.graph, &optimizer, batch, spec.seed);
        if replay.search(batch, &values).is_some() {
            return Err(TestCaseError::reject("something else is not finite"));
        }
        let mut random = Random::new(spec.seed, 11);
        let slots = replay.graph.slots.params.iter().enumerate();
        let own: Vec<usize> = slots
            .filter(|(_, slot)| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter))
            .map(|(index, _)| index)
            .collect();
        let param = own[random.below(own.len() as u64) as usize];
        let shape = values.params[param].shape.clone();
        let mut numbers = values.params[param].as_floats().to_vec();
        let at = random.below(numbers.len() as u64) as usize;
        numbers[at] = f64::NAN;
        values.params[param] = Tensor::floats(&shape, numbers);
        for wanted in [replay.of(|role| *role == Role::Loss), replay.of(|role| matches!(role, Role::Update(_)))] {
            // What a branch or a comparison turns away has no consequence.
            let Some(fault) = wanted.search(batch, &values) else { continue };
            let Fault::Given { with: Given::Parameter, name, value, element } = &fault else { return Err(fail(fault)) };
            let strides = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>());
            let found: usize = element.iter().zip(strides).map(|(place, stride)| place * stride).sum();
            if *name != replay.graph.slots.params[param].name || found != at || !value.is_nan() {
                return Err(fail(fault));
            }
        }
        Ok(())
    });
}
