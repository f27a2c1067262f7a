//! `fit`: what a loop of steps would do, with the same bits, and everything around it.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::process::{Command, Output};

use gradloom::ndarray::{Array1, Array2, s};
use gradloom::{
    BuildError, Dataset, DatasetError, Ending, Error, FitCause, History, MetricsOf, Progress, RunError, Session, Sgd,
    network,
};
use insta::assert_snapshot;

use crate::train::{Classifier, classifier, samples, state};

network! {
    /// Whose metric says which rows it saw, if those are different powers of two.
    Ids<x: [B, 1] -> y: [B, 1]> { Dense(1, init = zeros) }
    loss(t: [B, 1]) = mse(y, t);
    metric ids = sum(x);
}

type Labeled = Dataset<Array2<f32>, Array1<u8>>;

fn dataset(rows: usize, seed: u64) -> Labeled {
    let (x, labels) = samples(rows);
    Dataset::new(x, labels).expect("rows agree").seed(seed)
}

/// Row `n` is `2^n`; all targets are 2.
fn powers(rows: usize, seed: u64) -> Dataset<Array2<f32>, Array2<f32>> {
    let x = Array2::from_shape_fn((rows, 1), |(row, _)| (1u32 << row) as f32);
    Dataset::new(x, Array2::from_elem((rows, 1), 2.0)).expect("rows agree").seed(seed)
}

fn still() -> Session<Ids> {
    Ids::trainer(Sgd::new(0.0)).max_batch(16).build().expect("it builds")
}

/// Without the times.
fn timeless(csv: &str) -> String {
    let line = |line: &str| line.rsplit_once(',').map_or(String::new(), |(rest, _)| format!("{rest}\n"));
    csv.lines().map(line).collect()
}

#[test]
fn a_fit_is_a_loop_of_steps() {
    let (mut by_hand, mut fitted) = (classifier(8), classifier(8));
    let (mut data, mut same) = (dataset(30, 5), dataset(30, 5));
    let mut wanted = Vec::new();
    for _ in 0..3 {
        let (mut loss, mut accuracy) = (0.0, 0.0);
        for (x, labels) in data.batches(8) {
            let step = by_hand.step(x, labels).expect("the batch fits");
            loss += labels.len() as f64 * f64::from(step.loss);
            accuracy += labels.len() as f64 * f64::from(step.accuracy);
        }
        wanted.push([(loss / 30.0) as f32, (accuracy / 30.0) as f32]);
    }
    let history = fitted.fit(&mut same).epochs(3).progress(Progress::Quiet).run().expect("it trains");
    let found: Vec<[f32; 2]> = history.epochs.iter().map(|epoch| [epoch.train.loss, epoch.train.accuracy]).collect();
    assert_eq!(found, wanted, "means over the rows");
    assert_eq!(state(&fitted), state(&by_hand));
    assert_eq!((fitted.steps(), history.end, history.restored), (12, Ending::Completed, false));
    assert!(history.epochs.iter().all(|epoch| epoch.complete && epoch.steps == 4 && epoch.validation.is_none()));
}

#[test]
fn the_seed_of_the_data_replays_the_training() {
    let fit = |seed: u64| {
        let mut net = classifier(8);
        let history = net.fit(&mut dataset(30, seed)).epochs(2).progress(Progress::Quiet).run().expect("it trains");
        (timeless(&history.to_csv()), state(&net))
    };
    assert_eq!(fit(1), fit(1));
    assert_ne!(fit(1), fit(2));
}

/// Batches of these sizes, over and over, in the order of the shuffled data.
fn by_hand(net: &mut Session<Classifier>, data: &mut Labeled, epochs: usize, sizes: &[usize]) {
    for _ in 0..epochs {
        let (x, labels) = data.batches(usize::MAX).next().expect("there are rows");
        let mut from = 0;
        for size in sizes {
            let rows = from..from + size;
            net.step(x.slice(s![rows.clone(), ..]), labels.slice(s![rows])).expect("the batch fits");
            from += size;
        }
        assert_eq!(from, labels.len());
    }
}

#[test]
fn a_last_batch_of_one_row_joins_the_one_before_where_batch_norm_needs_more() {
    for (max_batch, sizes) in [(9, &[8, 9][..]), (8, &[8, 7, 2])] {
        let (mut wanted, mut fitted) = (classifier(max_batch), classifier(max_batch));
        by_hand(&mut wanted, &mut dataset(17, 5), 2, sizes);
        let mut data = dataset(17, 5);
        fitted.fit(&mut data).epochs(2).batch_size(8).progress(Progress::Quiet).run().expect("it trains");
        assert_eq!(fitted.steps(), 2 * sizes.len() as u64);
        assert_eq!(state(&fitted), state(&wanted), "{sizes:?}");
    }
    // Without batch norm one row is a batch like any other.
    let mut net = still();
    net.fit(&mut powers(9, 1)).batch_size(4).progress(Progress::Quiet).run().expect("it trains");
    assert_eq!(net.steps(), 3);
}

#[test]
fn what_cannot_be_trained_is_refused_before_anything_is_touched() {
    let mut net = classifier(8);
    let before = state(&net);
    let mut refused = |data: &mut Labeled, batch: usize, split: Option<f64>, test: Option<&Labeled>, delta: f64| {
        let order = data.targets().to_owned();
        let fit = net.fit(data).epochs(3).batch_size(batch).min_delta(delta).progress(Progress::Quiet);
        let fit = if let Some(share) = split { fit.validation_split(share) } else { fit };
        let fit = if let Some(test) = test { fit.validation(test) } else { fit };
        let error = fit.run().expect_err("it is refused");
        assert!(error.history.epochs.is_empty() && error.history.end == Ending::Failed);
        assert_eq!((net.steps(), state(&net)), (0, before.clone()));
        assert_eq!(data.targets(), order, "not even shuffled");
        error.to_string()
    };
    let mut data = dataset(9, 1);
    assert_snapshot!(refused(&mut data, 0, None, None, 0.0), @"batch_size must be from 1 to `max_batch`, got 0");
    assert_snapshot!(refused(&mut data, 9, None, None, 0.0), @"batch_size must be from 1 to `max_batch`, got 9");
    assert_snapshot!(refused(&mut data, 8, None, None, f64::NAN), @"min_delta must be a finite number of at least 0, got NaN");
    assert_snapshot!(refused(&mut data, 8, Some(1.5), None, 0.0), @"a share must lie between 0 and 1, got 1.5");
    assert_snapshot!(refused(&mut data, 8, Some(0.95), None, 0.0), @"a share of 0.95 of 9 rows leaves none for the training");
    assert_snapshot!(refused(&mut data, 8, Some(0.05), None, 0.0), @"a share of 0.05 of 9 rows leaves none for the validation");
    assert_snapshot!(refused(&mut data, 1, None, None, 0.0), @"`batch_norm1` normalizes by the variance of the batch, and one row has none; train with at least 2 rows");
    let (x, labels) = samples(9);
    let mut narrow = Dataset::new(x.slice(s![.., ..4]).to_owned(), labels.clone()).expect("rows agree");
    assert_snapshot!(refused(&mut narrow, 8, None, None, 0.0), @"`x` wants [B, 5], got [9, 4]");
    let foreign = Dataset::new(x, labels.mapv(|label| label + 1)).expect("rows agree");
    assert_snapshot!(refused(&mut data, 8, None, Some(&foreign), 0.0), @"`label` has class id 3 in row 2, but there are 3 classes (0 to 2)");
    assert_snapshot!(refused(&mut dataset(1, 1), 8, None, None, 0.0), @"`batch_norm1` normalizes by the variance of the batch, and one row has none; train with at least 2 rows");
}

#[test]
fn errors_can_be_matched() {
    let mut net = classifier(8);
    let cause = |error: gradloom::FitError<Classifier>| error.cause;
    let error = net.fit(&mut dataset(9, 1)).batch_size(0).run().map_err(cause).expect_err("there is no such batch");
    assert!(matches!(error, FitCause::Session(Error::Build(BuildError::Setting { name: "batch_size", .. }))));
    let error = net.fit(&mut dataset(9, 1)).validation_split(1.0).run().map_err(cause).expect_err("nothing is left");
    assert_eq!(error, FitCause::Dataset(DatasetError::Side { share: 1.0, rows: 9, side: "the training" }));
}

#[test]
fn no_epochs_and_no_patience_are_refused() {
    let (mut net, mut data) = (classifier(8), dataset(9, 1));
    let fits = [net.fit(&mut data).epochs(0).run(), net.fit(&mut data).early_stopping(0).run()];
    let [epochs, patience] = fits.map(|fit| fit.expect_err("it is refused").to_string());
    assert_snapshot!(epochs, @"epochs must be at least 1, got 0");
    assert_snapshot!(patience, @"early_stopping must be at least 1, got 0");
    assert_eq!((net.steps(), state(&net)), (0, state(&classifier(8))));
}

#[test]
fn a_share_of_0_is_no_validation() {
    let fit = |share: Option<f64>| {
        let (mut net, mut data) = (classifier(8), dataset(30, 1));
        let fit = net.fit(&mut data).epochs(2).progress(Progress::Quiet);
        let fit = if let Some(share) = share { fit.validation_split(share) } else { fit };
        (timeless(&fit.run().expect("it trains").to_csv()), state(&net))
    };
    assert_eq!(fit(Some(0.0)), fit(None));
    assert_eq!(fit(Some(-0.0)), fit(None));
}

#[test]
fn there_is_no_way_back_to_a_best_epoch_if_what_is_monitored_is_always_nan() {
    let fit = |values: &'static [f32]| {
        let (mut net, mut data) = (classifier(8), dataset(16, 1));
        let fit = net.fit(&mut data).epochs(values.len()).restore_best(true).minimize(scripted(values));
        let result = fit.progress(Progress::Quiet).run();
        (result, net.steps())
    };
    let (result, steps) = fit(&[f32::NAN, f32::NAN, f32::NAN]);
    let error = result.expect_err("no epoch is the best");
    assert_eq!((&error.cause, steps), (&FitCause::NoBest { epochs: 3 }, 6));
    assert_eq!((error.history.epochs.len(), error.history.end, error.history.restored), (3, Ending::Completed, false));
    assert_snapshot!(error.to_string(), @"no epoch is the best, so `restore_best` has none to go back to: what is monitored was NaN after each of 3; the session is as the last one left it");
    let (result, steps) = fit(&[f32::NAN, 2.0, f32::NAN]);
    assert_eq!((result.expect("there is a best epoch").best, steps), (Some(2), 4));
    let (result, _) = fit(&[f32::INFINITY, f32::NAN]);
    assert_eq!(result.expect("infinity is a number to compare").best, Some(1));
}

#[test]
fn validation_is_an_evaluation_after_every_epoch() {
    let (x, labels) = samples(50);
    let test = Dataset::new(x.slice(s![30.., ..]).to_owned(), labels.slice(s![30..]).to_owned()).expect("rows agree");
    let mut net = classifier(8);
    let expected = RefCell::new(Vec::new());
    let history = net
        .fit(&mut dataset(30, 2))
        .epochs(3)
        .validation(&test)
        .on_epoch(|net, _| {
            expected.borrow_mut().push(net.evaluate(test.inputs(), test.targets()).expect("it evaluates"));
        })
        .progress(Progress::Quiet)
        .run()
        .expect("it trains");
    let found: Vec<_> = history.epochs.iter().map(|epoch| epoch.validation.expect("there is a set")).collect();
    assert_eq!(found, expected.into_inner());
}

/// The rows of training and validation, as bits, epoch by epoch.
fn rows(history: &History<Ids>) -> Vec<[u32; 2]> {
    let bits = |metrics: MetricsOf<Ids>| metrics.ids as u32;
    history.epochs.iter().map(|epoch| [bits(epoch.train), bits(epoch.validation.expect("there is a split"))]).collect()
}

#[test]
fn a_split_keeps_the_same_rows_out_of_every_epoch() {
    let split = |data: &mut Dataset<Array2<f32>, Array2<f32>>, share: f64| {
        let history = still().fit(data).epochs(3).validation_split(share).progress(Progress::Quiet).run();
        let rows = rows(&history.expect("it trains"));
        let [train, validation] = rows[0];
        assert_eq!(train ^ validation, 0xffff, "each row is on one side");
        assert!(rows.iter().all(|other| *other == rows[0]), "{rows:?}");
        validation
    };
    let mut data = powers(16, 7);
    let first = split(&mut data, 0.25);
    assert_eq!(first.count_ones(), 4);
    assert_eq!(split(&mut data, 0.25), first, "a second training does not see what the first kept out");
    assert_eq!(split(&mut powers(16, 7), 0.25), first, "the seed decides");
    assert_ne!(split(&mut powers(16, 8), 0.25), first);
    assert_eq!(split(&mut data, 0.5).count_ones(), 8, "another share is drawn anew");
    let eight = split(&mut data, 0.5);
    assert_eq!(data.batches(16).count(), 1);
    assert_eq!(split(&mut data, 0.5), eight, "a pass over all rows changes nothing");
}

/// What is monitored, epoch by epoch.
fn scripted(values: &'static [f32]) -> impl Fn(&MetricsOf<crate::train::Classifier>) -> f32 {
    let next = Cell::new(0);
    move |_| {
        next.set(next.get() + 1);
        values[next.get() - 1]
    }
}

#[test]
fn training_stops_after_as_many_epochs_without_progress() {
    let fit = |values: &'static [f32], patience: usize, min_delta: f64| {
        let mut net = classifier(8);
        let mut data = dataset(16, 1);
        let fit = net.fit(&mut data).epochs(values.len()).early_stopping(patience).min_delta(min_delta);
        let history = fit.minimize(scripted(values)).progress(Progress::Quiet).run().expect("it trains");
        (history.epochs.len(), history.best, history.end)
    };
    use Ending::{Completed, EarlyStopping};
    assert_eq!(fit(&[3.0, 2.0, 2.0, 2.5, 1.0, 1.0], 2, 0.0), (4, Some(2), EarlyStopping));
    assert_eq!(fit(&[3.0, 2.0, 2.0, 1.0, 2.0], 2, 0.0), (5, Some(4), Completed));
    assert_eq!(fit(&[3.0, 3.0, 2.0], 1, 0.0), (2, Some(1), EarlyStopping));
    // The best is the best by whatever margin, but progress needs one, from where it was last made.
    assert_eq!(fit(&[3.0, 2.75, 2.625, 0.0], 2, 0.5), (3, Some(3), EarlyStopping));
    assert_eq!(fit(&[3.0, 2.75, 2.25, 2.0, 2.0], 2, 0.5), (5, Some(4), EarlyStopping));
    assert_eq!(fit(&[f32::NAN, 1.0, f32::NAN, f32::NAN, 0.5], 2, 0.0), (4, Some(2), EarlyStopping));
    assert_eq!(fit(&[f32::NAN, f32::NAN], 5, 0.0), (2, None, Completed));
}

#[test]
fn what_is_monitored_is_the_loss_of_the_validation_unless_it_is_said() {
    let mut net = classifier(8);
    let test = dataset(20, 3);
    let history = net.fit(&mut dataset(30, 1)).epochs(6).validation(&test).progress(Progress::Quiet).run();
    let history = history.expect("it trains");
    let least = history.epochs.iter().min_by(|x, y| {
        let loss = |epoch: &gradloom::Epoch<Classifier>| epoch.validation.expect("there is a set").loss;
        loss(x).total_cmp(&loss(y))
    });
    assert_eq!(history.best, least.map(|epoch| epoch.epoch));
    let mut net = classifier(8);
    let fit =
        net.fit(&mut dataset(30, 1)).epochs(6).maximize(|metrics| metrics.accuracy).progress(Progress::Quiet).run();
    let history = fit.expect("it trains");
    let best = history.best_epoch().expect("an epoch was made").train.accuracy;
    assert!(history.epochs.iter().all(|epoch| epoch.train.accuracy <= best));
}

#[test]
fn the_best_epoch_comes_back_bit_by_bit() {
    let fit = |values: &'static [f32], restore: bool| {
        let (mut net, states) = (classifier(8), RefCell::new(Vec::new()));
        let history = net
            .fit(&mut dataset(16, 1))
            .epochs(values.len())
            .minimize(scripted(values))
            .restore_best(restore)
            .on_epoch(|net, _| states.borrow_mut().push((net.steps(), state(net))))
            .progress(Progress::Quiet)
            .run()
            .expect("it trains");
        assert_eq!(history.restored, restore);
        ((net.steps(), state(&net)), states.into_inner())
    };
    let (end, states) = fit(&[3.0, 1.0, 2.0], true);
    assert_eq!(end, states[1]);
    assert_ne!(states[1], states[2]);
    let (end, states) = fit(&[3.0, 1.0, 2.0], false);
    assert_eq!(end, states[2]);
    let (end, states) = fit(&[3.0, 2.0, 1.0], true);
    assert_eq!(end, states[2], "the last may be the best");
}

#[test]
fn callbacks_end_the_training_and_see_every_step() {
    let (mut net, mut by_hand) = (classifier(8), classifier(8));
    let mut losses = Vec::new();
    let history = net
        .fit(&mut dataset(30, 5))
        .epochs(9)
        .on_step(|net, metrics| {
            losses.push(metrics.loss);
            if net.steps() == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .progress(Progress::Quiet)
        .run()
        .expect("it trains");
    assert_eq!((net.steps(), history.end, history.best), (6, Ending::Callback, Some(1)));
    let [first, second] = &history.epochs[..] else { panic!("two epochs were begun") };
    assert!(first.complete && !second.complete && second.steps == 2 && second.epoch == 2);
    let mut data = dataset(30, 5);
    let mut wanted = Vec::new();
    for steps in [4, 2] {
        for (x, labels) in data.batches(8).take(steps) {
            wanted.push(by_hand.step(x, labels).expect("the batch fits").loss);
        }
    }
    assert_eq!((losses, state(&net)), (wanted, state(&by_hand)));

    let mut told = Vec::new();
    let history = net
        .fit(&mut dataset(30, 5))
        .epochs(9)
        .on_epoch(|net, epoch| {
            told.push((epoch.epoch, net.steps()));
            if epoch.epoch < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .progress(Progress::Quiet)
        .run()
        .expect("it trains");
    // The second epoch lacked two steps.
    assert_eq!(told, [(2, 8), (3, 12)]);
    assert_eq!((history.epochs.len(), history.end), (2, Ending::Callback));
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training_and_loses_nothing() {
    let fit = |restore: bool| {
        let mut net = classifier(8);
        let first = RefCell::new(Vec::new());
        let error = net
            .fit(&mut dataset(30, 5))
            .epochs(9)
            .restore_best(restore)
            .on_step(|net, _| {
                if net.steps() == 6 {
                    let bias = Array1::from_elem(3, f32::INFINITY);
                    net.set_param("dense3.bias", bias.view()).expect("the network has a bias");
                }
            })
            .on_epoch(|net, _| first.replace(state(net)).clear())
            .progress(Progress::Quiet)
            .run()
            .expect_err("the loss is not finite");
        assert!(matches!(error.cause, FitCause::Session(Error::Run(RunError::NotFinite { step: 7, .. }))));
        let [done, begun] = &error.history.epochs[..] else { panic!("two epochs were begun") };
        assert!(done.complete && !begun.complete && begun.steps == 2);
        assert_eq!(error.history.end, Ending::Failed);
        let steps = net.steps();
        (error.to_string(), steps, state(&net) == first.into_inner())
    };
    let (message, steps, restored) = fit(false);
    assert_snapshot!(message, @"in epoch 2: the loss of step 7 is NaN: element [0] of `dense3.bias` was inf before the step (a trainer's `sentinel(true)` refuses the update that makes it so); parameters and statistics are as before the step");
    assert_eq!((steps, restored), (6, false));
    let (message, steps, restored) = fit(true);
    assert_snapshot!(message, @"in epoch 2: the loss of step 7 is NaN: element [0] of `dense3.bias` was inf before the step (a trainer's `sentinel(true)` refuses the update that makes it so); parameters and statistics are as before the step; then the session was put back to the best epoch, 1");
    assert_eq!((steps, restored), (4, true));
}

#[test]
fn a_history_is_a_table_for_people_and_csv_for_programs() {
    let (mut data, test) = (powers(3, 1), powers(4, 1));
    let mut net = still();
    let history = net.fit(&mut data).epochs(2).validation(&test).progress(Progress::Quiet).run().expect("it trains");
    assert_snapshot!(timeless(&history.to_csv()), @"
    epoch,steps,loss,ids,validation_loss,validation_ids,rate
    1,1,4,7,4,15,0
    2,1,4,7,4,15,0
    ");
    let table = history.to_string();
    let columns = table.lines().map(|line| line.rsplit_once(' ').expect("the time comes last").0.trim_end());
    let columns: Vec<&str> = columns.collect();
    assert_snapshot!(columns.join("\n"), @"
    epoch  steps    loss     ids  validation loss  validation ids  rate
        1      1  4.0000  7.0000           4.0000         15.0000     0
        2      1  4.0000  7.0000           4.0000         15.0000     0
    ");
    // An epoch without validation, because it was not complete, leaves its cells empty.
    let fit = net.fit(&mut data).epochs(2).batch_size(2).validation(&test).progress(Progress::Quiet);
    let history = fit.on_step(|net, _| match net.steps() {
        5 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let csv = timeless(&history.run().expect("it trains").to_csv());
    assert_snapshot!(csv.lines().last().expect("an epoch was begun"), @"4,1,4,3,,,0");
}

/// Runs one test in a process of its own. Where tests run in the background SIGINT may be ignored, which a child would inherit.
pub(crate) fn child(test: &str, mode: &str) -> Output {
    let this = std::env::current_exe().expect("a test knows its binary");
    let mut command = Command::new("env");
    command.args(cfg!(target_os = "linux").then_some("--default-signal=INT"));
    let output = command.arg(this).args([test, "--exact", "--nocapture"]).env(CHILD, mode).output();
    output.expect("the binary runs")
}

/// Whether, and in which mode, a test runs as a [`child`].
pub(crate) const CHILD: &str = "GRADLOOM_TEST_FIT";

/// Ctrl-C, as a terminal sends it to this process.
#[cfg(unix)]
pub(crate) fn interrupt() {
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", std::process::id())]).status();
    assert!(kill.expect("there is a shell").success());
}

#[test]
fn progress_is_a_line_an_epoch_where_there_is_no_terminal() {
    if let Ok(mode) = std::env::var(CHILD) {
        let progress = if mode == "quiet" { Progress::Quiet } else { Progress::Auto };
        let (mut net, mut data, test) = (still(), powers(3, 1), powers(4, 1));
        let mut fit = net.fit(&mut data).epochs(10).early_stopping(2).restore_best(true).progress(progress);
        if mode == "validation" {
            fit = fit.validation(&test);
        }
        fit.run().expect("it trains");
        return;
    }
    let lines = |mode: &str| {
        let output = child("fit::progress_is_a_line_an_epoch_where_there_is_no_terminal", mode);
        let text = String::from_utf8(output.stderr).expect("the output is text");
        // The time comes last.
        let line = |line: &str| match line.strip_suffix(" s") {
            Some(line) => format!("{}\n", line.rsplit_once("  ").expect("there is a time").0),
            None => format!("{line}\n"),
        };
        text.lines().map(line).collect::<String>()
    };
    assert_snapshot!(lines("plain"), @"
    epoch  1/10  loss 4.0000  ids 7.0000
    epoch  2/10  loss 4.0000  ids 7.0000
    epoch  3/10  loss 4.0000  ids 7.0000
    no progress any more: stopped after epoch 3
    put back to the best epoch, 1
    ");
    assert_snapshot!(lines("validation"), @"
    epoch  1/10  loss 4.0000  ids 7.0000  validation loss 4.0000  ids 15.0000
    epoch  2/10  loss 4.0000  ids 7.0000  validation loss 4.0000  ids 15.0000
    epoch  3/10  loss 4.0000  ids 7.0000  validation loss 4.0000  ids 15.0000
    no progress any more: stopped after epoch 3
    put back to the best epoch, 1
    ");
    assert_eq!(lines("quiet"), "");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_training_after_its_step_and_a_second_one_the_process() {
    const NAME: &str = "fit::ctrl_c_ends_the_training_after_its_step_and_a_second_one_the_process";
    if let Ok(mode) = std::env::var(CHILD) {
        let mut net = classifier(8);
        let pause = |millis: u64| std::thread::sleep(std::time::Duration::from_millis(millis));
        let history = net
            .fit(&mut dataset(30, 5))
            .epochs(100_000)
            .on_step(|net, _| {
                match (net.steps(), mode.as_str()) {
                    (6, "once") => interrupt(),
                    (6, "twice") => {
                        interrupt();
                        pause(200);
                        interrupt();
                        pause(60_000);
                    }
                    _ => {}
                }
                pause(1);
            })
            .progress(Progress::Lines)
            .run()
            .expect("it trains");
        let last = history.epochs.last().expect("epochs were made");
        assert_eq!(history.end, Ending::Interrupted);
        assert!(!last.complete || net.steps() as usize == 4 * history.epochs.len());
        // The session is where a loop of as many steps would have left it.
        let (mut by_hand, mut data) = (classifier(8), dataset(30, 5));
        for epoch in &history.epochs {
            for (x, labels) in data.batches(8).take(epoch.steps) {
                by_hand.step(x, labels).expect("the batch fits");
            }
        }
        assert_eq!(state(&net), state(&by_hand));
        // The next training does not end at once.
        let next = net.fit(&mut data).progress(Progress::Quiet).run().expect("it trains");
        println!("interrupted, then {:?}", next.end);
        interrupt();
        pause(60_000);
        return;
    }
    let once = child(NAME, "once");
    let text = String::from_utf8_lossy(&once.stdout);
    assert!(text.contains("interrupted, then Completed"), "{text}\n{}", String::from_utf8_lossy(&once.stderr));
    assert!(String::from_utf8_lossy(&once.stderr).contains("interrupted in epoch "));
    assert_eq!(once.status.code(), Some(130), "when nothing is trained, one is enough");
    assert_eq!(child(NAME, "twice").status.code(), Some(130));
}

#[test]
fn a_history_is_drawn_with_a_panel_for_each_number() {
    let mut net = classifier(8);
    let history = net.fit(&mut dataset(30, 5)).epochs(4).validation_split(0.2).progress(Progress::Quiet).run();
    let history = history.expect("it trains");
    let svg = history.to_svg();
    for text in [">loss<", ">accuracy<", ">training<", ">validation<", ">best<", ">epoch<"] {
        let panels = if [">best<", ">epoch<"].contains(&text) { 2 } else { 1 };
        assert_eq!(svg.matches(text).count(), panels, "{text}: {svg}");
    }
    assert_eq!(svg.matches("stroke-dasharray").count(), 3, "validation is dashed, in both panels and the legend");
    let points = |line: &str| line.split('"').nth(1).map_or(0, |points| points.split(' ').count());
    let lines: Vec<usize> = svg.lines().filter(|line| line.starts_with("<polyline")).map(points).collect();
    assert_eq!(lines, [4, 4, 4, 4, 3, 3], "an epoch a point, and three of a name");
    // The loss falls: in a picture what is lower is further down.
    let first = svg.lines().find(|line| line.starts_with("<polyline")).expect("there is a curve");
    let heights: Vec<f64> = first
        .split('"')
        .nth(1)
        .map(|points| points.split([' ', ',']).skip(1).step_by(2).filter_map(|y| y.parse().ok()).collect())
        .expect("it has points");
    assert_eq!(heights[3] > heights[0], history.epochs[3].train.loss < history.epochs[0].train.loss, "{heights:?}");
}
