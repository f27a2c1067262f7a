//! Where a number that is not finite came from in graphs with loops: what a search in the same steps written out finds, at the step of
//! each loop around it, and in loops of a million steps.

use gradloom::ndarray::Array4;
use gradloom::{Fault, Given, Network as _, RunError, Sgd, SizesOf, network};
use gradloom_runtime::autodiff::differentiate;
use gradloom_runtime::compile::{Purpose, Target, compile};
use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Data, Values};
use gradloom_runtime::ir::{Graph, unroll};
use gradloom_runtime::optim::TrainingConfig;
use gradloom_runtime::sentinel::Replay;

use crate::budget::cases;
use crate::{draw, nested_bodies, nested_loops, random_loop};

/// Spoils one number among inputs and parameters, if there is one.
fn spoil(values: &mut Values, random: &mut Random) {
    let tensors = values.inputs.iter_mut().chain(&mut values.params);
    let mut numbers: Vec<&mut Vec<f64>> = tensors
        .filter_map(|tensor| match &mut tensor.data {
            Data::Float(numbers) if !numbers.is_empty() => Some(numbers),
            _ => None,
        })
        .collect();
    if numbers.is_empty() {
        return;
    }
    let own = random.below(numbers.len() as u64) as usize;
    let at = random.below(numbers[own].len() as u64) as usize;
    numbers[own][at] = [f64::NAN, f64::INFINITY, 3e38, -2e38][random.below(4) as usize];
}

/// A fault without the steps, and how many there are.
fn without_steps(fault: Option<Fault>) -> (Option<Fault>, usize) {
    let mut fault = fault;
    let steps = match &mut fault {
        Some(Fault::Made { steps, .. }) => std::mem::take(steps).len(),
        _ => 0,
    };
    (fault, steps)
}

#[test]
fn a_search_in_loops_finds_what_one_in_all_their_steps_finds() {
    let cases = cases(150);
    let (mut given, mut made) = (0, [0; 4]);
    let kinds: [&dyn Fn(u64) -> Option<Graph>; 3] =
        [&|seed| Some(random_loop::graph(seed)), &|seed| Some(nested_loops::graph(seed)), &nested_bodies::graph];
    for (seed, graph) in kinds.iter().flat_map(|kind| (0..cases).filter_map(|seed| Some((seed, kind(seed)?)))) {
        let params: Vec<usize> = (0..graph.slots.params.len()).collect();
        let graph = if seed.is_multiple_of(2) { graph } else { differentiate(&graph, &params) };
        let mut values = draw::singles(&draw::values(&graph, 3, seed));
        spoil(&mut values, &mut Random::new(seed, 41));
        let written_out = Replay { graph: unroll(&graph) }.search(3, &values);
        let (own, steps) = without_steps(Replay { graph: graph.clone() }.search(3, &values));
        assert_eq!(format!("{own:?}"), format!("{written_out:?}"), "seed {seed}\n{graph}");
        match own {
            Some(Fault::Given { with: Given::Input | Given::Parameter, .. }) => given += 1,
            Some(_) => made[steps] += 1,
            None => {}
        }
    }
    assert!(given > cases / 2 && made[..3].iter().all(|&made| made > cases / 50), "{given} were given, {made:?} made");
}

network! {
    /// A state that grows a thousandfold with every word of a sentence.
    Louder(sentences: usize = 3, words: usize = 4)<x: [B, sentences, words, 1] -> y: [B, sentences, 1]> {
        scan(1) |words, h| { let said = words -> scan(last = true) |word, s, gain = 1000.0| gain * s + word; 0.5 * h + said },
    }
    loss = mean(y);
}

#[test]
fn the_step_is_named_among_more_than_a_million() {
    const STEPS: [usize; 2] = [1000, 1100];
    let trainer = Louder::trainer(Sgd::new(0.1)).with(|sizes| (sizes.sentences, sizes.words) = STEPS.into());
    let mut net = trainer.max_batch(1).build().expect("it builds");
    let mut x = Array4::zeros((1, STEPS[0], STEPS[1], 1));
    x[(0, 620, 70, 0)] = 1e34f32;
    let error = net.step(x.view(), ()).expect_err("it overflows");
    let RunError::NotFinite { fault: Some(fault), .. } = &error else { panic!("{error:?}") };
    let Fault::Made { layer, steps, element, .. } = &**fault else { panic!("{error:?}") };
    assert_eq!((layer.as_str(), &steps[..], &element[..]), ("scan1.said.scan1.next", &[620, 72][..], &[0, 0][..]));
}

#[test]
fn a_replay_that_would_take_minutes_is_not_tried() {
    let config = TrainingConfig::from(Sgd::new(0.1));
    let fits = |sentences: usize, words: usize, rows: usize| {
        let definition = Louder::definition(&SizesOf::<Louder> { sentences, words });
        compile(definition, Purpose::Train(&config), Target::new(rows)).into_replay().expect("it compiles").fits(rows)
    };
    assert!(fits(1000, 1100, 1) && fits(300, 300, 64));
    // Two thousand million numbers, and states of more than two GiB.
    assert!(!fits(4000, 4000, 64) && !fits(10, 10, 10_000_000));
}
