//! The search for a learning rate: it leaves no trace, stops where the loss grows, and suggests a rate that trains.

use gradloom::ndarray::{Array1, Array2, s};
use gradloom::{
    Adam, Dataset, Network, Progress, RateCurve, RunError, Schedule, Session, Sgd, Stage, Trainer, network,
};
use insta::assert_snapshot;

use crate::train::{Classifier, samples, state};

network! {
    /// Running statistics, masks and images that move: all that a step has beside parameters.
    Noisy<x: [B, 5] -> logits: [B, 3]> { Dense(9), BatchNorm, relu, Dropout(0.3), Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// A bowl: the loss falls fastest with a rate of 1, and grows with rates above 2.
    Bowl<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false, init = constant(1.0)) }
    loss = 0.5 * mean(square(y));

    /// Nothing to be learned: no gradient reaches a parameter's loss.
    Level<x: [B, 2] -> y: [B, 1]> { Dense(1) }
    loss = mean(0.0 * y) + 1.0;
}

type Labeled = Dataset<Array2<f32>, Array1<u8>>;

fn dataset(rows: usize) -> Labeled {
    let (x, labels) = samples(rows);
    Dataset::new(x, labels).expect("rows agree").seed(5)
}

/// Everything that goes on: parameters, statistics and moments, counts, the rate, and the order of the data.
type All = (Vec<(String, Vec<u32>)>, (u64, u64, usize), f64, Vec<u32>);

fn all(net: &Session<Noisy>, data: &Labeled) -> All {
    let rows = data.inputs().iter().map(|x| x.to_bits()).collect();
    (state(net), (net.steps(), net.forward_count(), net.epochs()), net.learning_rate(), rows)
}

#[test]
fn a_search_leaves_no_trace_in_session_and_data() {
    let trainer = || Noisy::trainer(Adam::new(Schedule::cosine(1e-2, 40))).max_batch(8).seed(3);
    let (mut plain, mut searched) = (trainer().build().expect("it builds"), trainer().build().expect("it builds"));
    let (mut data, mut same) = (dataset(30), dataset(30));
    for round in 0..3 {
        for (net, data) in [(&mut plain, &mut data), (&mut searched, &mut same)] {
            // In the middle of an epoch the second time, and with gradients under way the third.
            let mut steps = 0;
            let fit = net.fit(data).progress(Progress::Quiet).on_step(|_, _| {
                steps += 1;
                match steps {
                    2 if round == 1 => std::ops::ControlFlow::Break(()),
                    _ => std::ops::ControlFlow::Continue(()),
                }
            });
            fit.run().expect("it trains");
            if round == 2 {
                net.accumulate(data.inputs().slice(s![..4, ..]), data.targets().slice(s![..4]))
                    .expect("the batch fits");
            }
        }
        let before = all(&searched, &same);
        let found = searched.find_rate(&mut same).batch_size(8).steps(60).run().expect("it searches");
        assert!(found.rates.len() > 20, "it made steps: {found}");
        assert_eq!(all(&searched, &same), before, "round {round}");
    }
    for (net, data) in [(&mut plain, &mut data), (&mut searched, &mut same)] {
        net.update().expect("gradients were accumulated");
        net.fit(data).epochs(2).progress(Progress::Quiet).run().expect("it trains");
    }
    assert_eq!(all(&searched, &same), all(&plain, &data), "and the training that follows is the same");
}

#[test]
fn losses_are_those_of_steps_with_these_rates() {
    let build = || Classifier::trainer(Adam::new(1e-3)).max_batch(8).seed(3).build().expect("it builds");
    let (mut searched, mut by_hand) = (build(), build());
    let found = searched.find_rate(&mut dataset(30)).range(1e-4, 1.0).steps(20).run().expect("it searches");
    assert!((found.rates[0] - 1e-4).abs() < 1e-12 && found.rates.len() <= 20);
    let factor = found.rates[1] / found.rates[0];
    assert!((factor - 1e4f64.powf(1.0 / 19.0)).abs() < 1e-9);
    let mut data = dataset(30);
    let mut losses = Vec::new();
    'steps: loop {
        for (x, labels) in data.batches(8) {
            let Some(&rate) = found.rates.get(losses.len()) else { break 'steps };
            by_hand.set_learning_rate(rate).expect("the rate is fine");
            losses.push(by_hand.step(x, labels).expect("the batch fits").loss);
        }
    }
    assert_eq!(found.losses, losses);
}

fn bowl(optimizer: Sgd) -> RateCurve {
    let mut net = Bowl::trainer(optimizer).max_batch(4).build().expect("it builds");
    let mut data = Dataset::new(Array2::from_elem((4, 1), 1.0), ()).expect("four rows");
    net.find_rate(&mut data).range(1e-7, 1e4).steps(110).run().expect("it searches")
}

#[test]
fn the_search_ends_where_the_loss_grows_and_suggests_a_rate_well_below() {
    let found = bowl(Sgd::new(0.1));
    let last = *found.rates.last().expect("there are rates");
    // A bowl of curvature 1 bears rates up to 2.
    assert!((2.0..1e4).contains(&last), "{found}");
    assert!(found.losses.last() > found.losses.first(), "{found}");
    let suggestion = found.suggestion.expect("the loss falls");
    assert!((1e-3..1.0).contains(&suggestion), "{found}");
    // With that rate it is learned.
    let mut net = Bowl::trainer(Sgd::new(suggestion)).max_batch(4).build().expect("it builds");
    let x = Array2::from_elem((4, 1), 1.0);
    let steps = (5.0 / suggestion) as usize;
    let losses: Vec<f32> = (0..steps).map(|_| net.step(x.view(), ()).expect("the batch fits").loss).collect();
    assert!(losses[steps - 1] < 1e-3 * losses[0], "{losses:?}");
}

#[test]
fn what_overflows_ends_the_search_without_an_error() {
    // The first step goes so far that the square of where it leads is infinite.
    let mut net = Bowl::trainer(Sgd::new(0.1)).max_batch(4).build().expect("it builds");
    let mut data = Dataset::new(Array2::from_elem((4, 1), 1.0), ()).expect("four rows");
    let found = net.find_rate(&mut data).range(1e20, 1e30).steps(40).run().expect("it searches");
    assert_eq!((found.rates.len(), found.suggestion), (1, None), "{found}");
    assert!(found.losses.iter().all(|loss| loss.is_finite()));
    assert_eq!(net.param("dense1.weight").expect("it is there")[[0, 0]], 1.0);
}

#[test]
fn where_nothing_is_learned_nothing_is_suggested() {
    let mut net = Level::trainer(Sgd::new(0.1)).max_batch(4).build().expect("it builds");
    let mut data = Dataset::new(Array2::from_shape_fn((12, 2), |(i, j)| (i + j) as f32), ()).expect("rows");
    let found = net.find_rate(&mut data).run().expect("it searches");
    assert_eq!((found.suggestion, found.rates.len()), (None, 100));
    assert!(found.to_string().ends_with("no learning rate is suggested: the loss falls with none\n"), "{found}");
}

#[test]
fn the_curve_is_drawn_in_letters_as_csv_and_as_a_picture() {
    let found = bowl(Sgd::new(0.1));
    let text = found.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 2].trim()), ("loss by learning rate", "learning rate"), "{text}");
    assert!(lines[lines.len() - 1].starts_with("suggested learning rate: "), "{text}");
    assert_eq!(lines.len(), 17, "a title, a plane, its axis with marks and a name, and what is suggested: {text}");
    let plane: Vec<&str> =
        lines[1..13].iter().filter_map(|line| line.split_once('|')).map(|(_, plane)| plane).collect();
    assert_eq!(plane.len(), 12, "{text}");
    let column = plane.iter().filter_map(|line| line.find('|')).collect::<Vec<usize>>();
    assert!(!column.is_empty() && column.iter().all(|at| *at == column[0]), "the suggestion is one column: {text}");
    let (high, low) = (plane[0].contains('*') || plane[1].contains('*'), plane[11].contains('*'));
    assert!(high && low, "the curve fills the plane: {text}");
    let csv = found.to_csv();
    assert!(csv.starts_with("rate,loss,smoothed\n0.0000001,0.5,"), "{csv}");
    assert_eq!(csv.lines().count(), found.rates.len() + 1);
    let svg = found.to_svg();
    assert!(svg.contains(">loss by learning rate<") && svg.contains(">suggested: "), "{svg}");
    assert_eq!(svg.matches("<polyline").count(), 4, "two curves and their names: {svg}");
}

#[test]
fn what_makes_no_sense_is_an_error_that_changes_nothing() {
    let mut net = Classifier::trainer(Sgd::new(0.1)).max_batch(8).build().expect("it builds");
    let mut data = dataset(30);
    let before = state(&net);
    let mut refuse = |settings: fn(gradloom::FindRate<'_, Classifier>) -> gradloom::FindRate<'_, Classifier>| {
        settings(net.find_rate(&mut data)).run().expect_err("it is refused").to_string()
    };
    assert_snapshot!(
        [
            refuse(|find| find.batch_size(9)),
            refuse(|find| find.range(0.0, 1.0)),
            refuse(|find| find.range(1.0, 0.1)),
            refuse(|find| find.range(1e-3, f64::NAN)),
            refuse(|find| find.steps(3)),
        ]
        .join("\n"),
        @"
    batch_size must be from 1 to `max_batch`, got 9
    range must be from a rate above 0 to a larger one, got 0 to 1
    range must be from a rate above 0 to a larger one, got 1 to 0.1
    range must be from a rate above 0 to a larger one, got 0.001 to NaN
    steps must be at least 10, got 3
    "
    );
    let mut wrong = Dataset::new(Array2::from_elem((8, 5), f32::NAN), Array1::zeros(8)).expect("rows agree");
    let error = net.find_rate(&mut wrong).run().expect_err("no loss is finite");
    assert!(matches!(&error, gradloom::Error::Run(RunError::NotFinite { step: 1, fault: Some(_), .. })), "{error}");
    assert_eq!(state(&net), before);
}

/// A network of any kind may be searched.
fn searched<N: gradloom::Supervised>(trainer: Trainer<N>, data: &mut gradloom::DatasetOf<N>) -> Option<f64> {
    trainer.build().ok()?.find_rate(data).steps(30).run().ok()?.suggestion
}

#[test]
fn code_that_knows_no_network_searches_as_well() {
    assert!(Noisy::declared().loss.is_some() && !Noisy::trainer(Adam::new(1e-3)).ir(Stage::Fused).is_empty());
    assert!(searched(Classifier::trainer(Adam::new(1e-3)).max_batch(30).seed(2), &mut dataset(30)).is_some());
}
