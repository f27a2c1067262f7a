//! Trainings with other settings, several at a time: the same bits as one after the other, and none lost for another's error.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradloom::ndarray::{Array1, Array2};
use gradloom::{
    Adam, BuildError, Dataset, FitCause, FitError, History, Progress, RunError, Sgd, Sweep, Swept, TrialError, network,
};
use insta::assert_snapshot;

#[cfg(unix)]
use crate::fit::{CHILD, child, interrupt};
use crate::train::{samples, state};

network! {
    /// A size to choose.
    Sized(hidden: usize = 8)<x: [B, 5] -> logits: [B, 3]> { Dense(hidden), BatchNorm, relu, Dropout(0.1), Dense(3) }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    /// Rates above 1 make it overflow.
    Bowl<x: [B, 1] -> y: [B, 1]> { Dense(1, bias = false, init = constant(1.0)) }
    loss = mean(square(square(y)));
}

type Labeled = Dataset<Array2<f32>, Array1<u8>>;

fn dataset(rows: usize) -> Labeled {
    let (x, labels) = samples(rows);
    Dataset::new(x, labels).expect("rows agree").seed(5)
}

/// Without the times, which are the last column but one.
fn timeless(csv: &str) -> String {
    let line = |line: &str| {
        let mut cells: Vec<&str> = line.split(',').collect();
        let at = cells.len() - 2;
        cells.remove(at);
        cells.join(",") + "\n"
    };
    csv.lines().map(line).collect()
}

/// The state of every session in the end, by its settings.
type States = Vec<((usize, String), Vec<(String, Vec<u32>)>)>;

fn swept(threads: usize) -> (Swept<(usize, f64), Sized>, States) {
    let (train, test) = dataset(60).split(0.25).expect("both have rows");
    let states = Mutex::new(Vec::new());
    let sweep = Sweep::new().over("hidden", [4, 8, 16]).over("rate", [1e-3, 1e-2]).threads(threads);
    let found = sweep.run(|(hidden, rate)| {
        let trainer = Sized::trainer(Adam::new(rate)).with(|sizes| sizes.hidden = hidden);
        let mut net = trainer.max_batch(16).seed(1).build()?;
        let history = net.fit(&mut train.clone()).epochs(4).validation(&test).run();
        states.lock().expect("no thread panicked").push(((hidden, rate.to_string()), state(&net)));
        history
    });
    let mut states = states.into_inner().expect("no thread panicked");
    states.sort_by(|x, y| x.0.cmp(&y.0));
    (found.expect("the settings are fine"), states)
}

#[test]
fn trainings_in_parallel_have_the_bits_of_one_after_the_other() {
    let (one, states) = swept(1);
    assert_eq!(states.len(), 6);
    assert!(states.windows(2).all(|pair| pair[0].1 != pair[1].1), "settings make a difference");
    for threads in [2, 4, 50] {
        let (several, other) = swept(threads);
        assert_eq!(other, states, "{threads} threads");
        assert_eq!(timeless(&several.to_csv()), timeless(&one.to_csv()), "{threads} threads");
    }
    let settings: Vec<(usize, f64)> = one.trials.iter().map(|trial| trial.settings).collect();
    assert_eq!(settings, [(4, 1e-3), (4, 1e-2), (8, 1e-3), (8, 1e-2), (16, 1e-3), (16, 1e-2)]);
    let losses = one.trials.iter().map(|trial| {
        let history = trial.result.as_ref().expect("it trained");
        history.best_epoch().expect("it has one").validation.expect("there is a set").loss
    });
    let best = one.best().expect("they trained");
    let least = best.result.as_ref().expect("it trained").best_epoch().expect("it has one").validation;
    assert_eq!(Some(least.expect("there is a set").loss), losses.reduce(f32::min));
}

#[test]
fn a_training_that_fails_or_panics_is_an_error_in_its_place() {
    let data = Dataset::new(Array2::from_elem((4, 1), 1.0), ()).expect("four rows");
    let train = |(rate, rows): (f64, usize)| -> Result<History<Bowl>, FitError<Bowl>> {
        let mut net = Bowl::trainer(Sgd::new(rate)).max_batch(rows).build()?;
        assert!(rate != 0.25, "a quarter is too much");
        net.fit(&mut data.clone()).epochs(12).run()
    };
    let sweep = Sweep::new().over("rate", [-1.0, 1e-2, 0.25, 100.0]).over("rows", [4]);
    let found = sweep.threads(3).progress(Progress::Quiet).run(train).expect("the settings are fine");
    let [negative, fine, panicked, overflows] = &found.trials[..] else { panic!("{found}") };
    assert!(fine.result.as_ref().is_ok_and(|history| history.epochs.len() == 12), "{found}");
    let cause =
        |trial: &gradloom::Trial<(f64, usize), Bowl>| trial.result.as_ref().err().and_then(TrialError::cause).cloned();
    let build = cause(negative).expect("it failed");
    assert!(matches!(&build, FitCause::Session(gradloom::Error::Build(BuildError::Setting { .. }))), "{build}");
    let run = cause(overflows).expect("it failed");
    assert!(matches!(&run, FitCause::Session(gradloom::Error::Run(RunError::NotFinite { .. }))), "{run}");
    let error = overflows.result.as_ref().expect_err("it failed");
    assert!(error.history().is_some_and(|history| !history.epochs.is_empty()), "what was before is there: {found}");
    assert!(matches!(&panicked.result, Err(TrialError::Panicked(message)) if message == "a quarter is too much"));
    assert_eq!(found.best().map(|trial| trial.settings), Some((1e-2, 4)));
    // Times and places differ from run to run.
    let text = found.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert_eq!(lines[0], "rate  rows  epochs  best    loss  seconds");
    assert!(lines[1].ends_with("learning rate must be a finite number of at least 0, got -1"), "{text}");
    assert!(lines[3].ends_with("panicked: a quarter is too much"), "{text}");
    assert!(lines[4].contains("the loss of step ") && lines[4].starts_with(" 100     4 "), "{text}");
    assert!(lines[5].starts_with("best: rate 0.01, rows 4, loss "), "{text}");
}

#[test]
fn csv_has_a_line_for_each_training_and_quotes_what_needs_it() {
    let sweep = Sweep::new().over("kind, of two", ["a,b", "c \"d\""]).threads(1).progress(Progress::Quiet);
    let found = sweep.run(|(kind,)| {
        let mut net = Sized::trainer(Adam::new(1e-2)).max_batch(if kind == "a,b" { 60 } else { 0 }).build()?;
        net.fit(&mut dataset(60)).epochs(2).run()
    });
    let csv = found.expect("the settings are fine").to_csv();
    let [names, trained, refused] = csv.lines().collect::<Vec<&str>>()[..] else { panic!("{csv}") };
    assert_eq!(names, "\"kind, of two\",epochs,best,loss,accuracy,seconds,error");
    assert!(trained.starts_with("\"a,b\",2,") && trained.ends_with(',') && trained.split(',').count() == 8, "{csv}");
    assert_eq!(refused, "\"c \"\"d\"\"\",,,,,,\"max_batch must be at least 1, got 0\"");
}

#[test]
fn the_picture_has_a_panel_for_each_number_and_a_curve_for_each_of_the_other_settings() {
    let (found, _) = swept(2);
    let svg = found.to_svg();
    for text in [">validation loss<", ">validation accuracy<", ">rate<", ">hidden 4<", ">hidden 8<", ">hidden 16<"] {
        assert_eq!(svg.matches(text).count(), if text == ">rate<" { 2 } else { 1 }, "{text}: {svg}");
    }
    // Two panels of three curves of two dots, and three names with a curve of three.
    assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (9, 21), "{svg}");
    let words = Sweep::new().over("optimizer", ["sgd", "adam"]).threads(1).progress(Progress::Quiet);
    let found = words.run(|(name,)| {
        let trainer = if name == "sgd" { Sized::trainer(Sgd::new(0.1)) } else { Sized::trainer(Adam::new(1e-2)) };
        trainer.build()?.fit(&mut dataset(60)).run()
    });
    let svg = found.expect("the settings are fine").to_svg();
    assert!(svg.contains(">optimizer: 0 sgd, 1 adam<"), "{svg}");
}

#[test]
fn every_combination_is_trained_once_in_the_order_of_the_settings() {
    let calls = AtomicUsize::new(0);
    let all = Sweep::new().over("a", [1, 2]).over("b", ["x", "y"]).over("c", [0.5]).over("d", 0..3u8).threads(4);
    let found = all.progress(Progress::Quiet).run(|(a, b, c, d)| -> Result<History<Bowl>, FitError<Bowl>> {
        calls.fetch_add(1, Ordering::SeqCst);
        assert!(a < 3 && b.len() == 1 && c == 0.5 && d < 3);
        Err(BuildError::Machine(format!("{a}{b}{d}")).into())
    });
    let found = found.expect("the settings are fine");
    assert_eq!(calls.load(Ordering::SeqCst), 12);
    let errors = found.trials.iter().map(|trial| trial.result.as_ref().expect_err("it fails").to_string());
    let errors: Vec<String> = errors.map(|error| error.rsplit(' ').next().unwrap_or_default().to_string()).collect();
    assert_eq!(errors.join(" "), "1x0 1x1 1x2 1y0 1y1 1y2 2x0 2x1 2x2 2y0 2y1 2y2");
    assert!(found.best().is_none() && found.to_string().ends_with("no training has a best epoch\n"));
    assert!(found.to_svg().ends_with("</svg>\n"));
    let train = |_| Bowl::trainer(Sgd::new(0.1)).build()?.fit(&mut Dataset::new(Array2::ones((2, 1)), ())?).run();
    let none = Sweep::new().over("a", [0u8; 0]).run(|(_,)| train(())).expect_err("there is nothing to train");
    let idle = Sweep::new().threads(0).run(train).expect_err("nobody trains");
    assert_snapshot!(format!("{none}\n{idle}"), @"
    the number of trainings of a sweep must be at least 1, got 0
    threads must be at least 1, got 0
    ");
    let alone = Sweep::new().progress(Progress::Quiet).run(train).expect("one training without settings");
    assert_eq!(alone.trials.len(), 1);
    assert!(alone.trials[0].result.is_ok(), "{alone}");
}

#[test]
fn what_is_monitored_decides_which_is_best() {
    let data = dataset(60);
    let by = |maximize: bool| {
        let sweep = Sweep::new().over("rate", [1e-4, 1e-3, 1e-2]).threads(2).progress(Progress::Quiet);
        let found = sweep.run(|(rate,)| {
            let mut net = Sized::trainer(Adam::new(rate)).max_batch(60).seed(1).build()?;
            let mut data = data.clone();
            let fit = net.fit(&mut data).epochs(5);
            let fit = if maximize { fit.maximize(|metrics| metrics.loss) } else { fit };
            fit.run()
        });
        found.expect("the settings are fine").best().map(|trial| trial.settings)
    };
    assert_eq!(by(false), Some((1e-2,)));
    assert_eq!(by(true), Some((1e-4,)), "the other way round");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_trainings_that_run_after_their_step_and_begins_no_others() {
    const NAME: &str = "sweep::ctrl_c_ends_the_trainings_that_run_after_their_step_and_begins_no_others";
    let Ok(mode) = std::env::var(CHILD) else {
        let once = child(NAME, "once");
        let [printed, said] = [&once.stdout, &once.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(once.status.success(), "{printed}\n{said}");
        let ends: Vec<&str> = printed.lines().filter(|line| line.contains(" -> ")).collect();
        assert_eq!(ends[..2], ["0 -> Interrupted true", "1 -> Interrupted true"], "{printed}\n{said}");
        assert_eq!(ends[2..5], [2, 3, 4].map(|id| format!("{id} -> not begun: interrupted")), "{printed}\n{said}");
        assert_eq!(ends[5..], ["5 -> Completed true"], "a later sweep begins: {printed}\n{said}");
        // A line for each training that was begun, and none of the others.
        assert_eq!(said.matches("training 1 of 5  id 0  ").count(), 1, "{said}");
        assert_eq!((said.matches(" of 5  ").count(), said.matches(" of 1  ").count()), (2, 1), "{said}");
        assert_eq!(child(NAME, "twice").status.code(), Some(130));
        return;
    };
    let pause = |millis: u64| std::thread::sleep(std::time::Duration::from_millis(millis));
    let train = |(id,): (usize,)| {
        let mut net = Sized::trainer(Adam::new(1e-2)).max_batch(16).seed(1).build()?;
        let mut data = dataset(60);
        // Those that are not interrupted would go on for longer than any test does.
        let fit = net.fit(&mut data).epochs(if id < 5 { 1_000_000 } else { 1 });
        let fit = fit.on_step(|net, _| {
            if id == 1 && net.steps() == 6 {
                interrupt();
                if mode == "twice" {
                    pause(200);
                    interrupt();
                    pause(60_000);
                }
            }
            pause(1);
        });
        fit.run()
    };
    let interrupted = Sweep::new().over("id", 0..5usize).threads(2).run(train).expect("the settings are fine");
    let next = Sweep::new().over("id", [5usize]).run(train).expect("the settings are fine");
    // The name of the test may stand on the line already.
    println!();
    for trial in interrupted.trials.iter().chain(&next.trials) {
        let id = trial.settings.0;
        match &trial.result {
            Ok(history) => println!("{id} -> {:?} {}", history.end, !history.epochs.is_empty()),
            Err(error) => println!("{id} -> {error}"),
        }
    }
}
