//! Streams: batches of the user's iterator in order, read ahead, and everything that can go wrong on the way.

use std::error::Error as _;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use gradloom::ndarray::{Array1, Array2, s};
use gradloom::{Dataset, Ending, FitCause, Progress, RunError, Session, Stream, StreamError};

use crate::train::{Classifier, classifier, samples, state};

type Batch = (Array2<f32>, Array1<u8>);

/// The samples in batches of these sizes, over and over; those of a pass begin so many rows later than those before.
fn batches(sizes: &'static [usize], pass: usize) -> impl Iterator<Item = io::Result<Batch>> {
    let rows = sizes.iter().sum::<usize>();
    let (x, labels) = samples(2 * rows);
    let mut from = pass % rows.max(1);
    sizes.iter().map(move |&size| {
        let rows = from..from + size;
        from += size;
        Ok((x.slice(s![rows.clone(), ..]).to_owned(), labels.slice(s![rows]).to_owned()))
    })
}

fn stream(sizes: &'static [usize]) -> Stream<Array2<f32>, Array1<u8>> {
    Stream::new(move |pass| batches(sizes, pass))
}

/// The first batches, and then an error.
fn failing(good: usize) -> Stream<Array2<f32>, Array1<u8>> {
    Stream::new(move |pass| {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the disk is gone");
        batches(&[4, 4, 4], pass).take(good).chain([Err(error)]).chain(batches(&[4], 1))
    })
}

fn quiet(net: &mut Session<Classifier>, stream: &mut Stream<Array2<f32>, Array1<u8>>, epochs: usize) -> FitCause {
    let error = net.fit_stream(stream).epochs(epochs).progress(Progress::Quiet).run().expect_err("it is refused");
    error.cause
}

#[test]
fn a_fit_over_a_stream_is_a_loop_of_steps_on_its_batches() {
    for ahead in [0, 1, 2, 9] {
        let [mut by_hand, mut looped, mut fitted] = [(); 3].map(|()| classifier(8));
        let mut losses = Vec::new();
        for pass in 1..=2 {
            let mut loss = 0.0;
            for batch in batches(&[5, 8, 2], pass) {
                let (x, labels) = batch.expect("it is there");
                let step = by_hand.step(x.view(), labels.view()).expect("it fits");
                loss += labels.len() as f64 * f64::from(step.loss);
            }
            losses.push((loss / 15.0) as f32);
        }
        let mut data = stream(&[5, 8, 2]).prefetch(ahead);
        for _ in 0..2 {
            for batch in data.batches().expect("a thread") {
                let (x, labels) = batch.expect("it is there");
                looped.step(x.view(), labels.view()).expect("it fits");
            }
        }
        let history = fitted.fit_stream(&mut data).epochs(2).progress(Progress::Quiet).run().expect("it trains");
        let found: Vec<f32> = history.epochs.iter().map(|epoch| epoch.train.loss).collect();
        assert_eq!((found, history.end, fitted.epochs()), (losses, Ending::Completed, 2));
        assert_eq!(state(&looped), state(&by_hand));
        assert_eq!(state(&fitted), state(&by_hand));
    }
}

#[test]
fn an_epoch_of_a_stream_is_validated_and_can_be_the_best() {
    let (x, labels) = samples(12);
    let test = Dataset::new(x, labels).expect("rows agree");
    let mut net = classifier(8);
    let mut data = stream(&[8, 8]);
    let fit = net.fit_stream(&mut data).epochs(4).validation(&test).restore_best(true).progress(Progress::Quiet);
    let history = fit.run().expect("it trains");
    let best = history.best_epoch().and_then(|epoch| epoch.validation).expect("one is the best");
    assert!(
        history.restored && history.epochs.iter().all(|epoch| epoch.validation.is_some_and(|v| v.loss >= best.loss))
    );
    assert_eq!(net.evaluate(test.inputs(), test.targets()).expect("it runs").loss, best.loss);
}

#[test]
fn an_error_of_the_iterator_comes_through_and_loses_nothing() {
    let mut net = classifier(8);
    let cause = quiet(&mut net, &mut failing(2), 3);
    assert_eq!(cause.to_string(), "batch 3 of pass 1 could not be read: the disk is gone");
    let FitCause::Stream(error) = cause else { panic!("the stream has failed") };
    let own = error.source().and_then(|error| error.downcast_ref::<io::Error>()).expect("what the iterator said");
    assert_eq!(own.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!((net.steps(), net.epochs()), (2, 0), "the steps before it are made");
    // What comes after an error is not read.
    let results: Vec<bool> = failing(1).batches().expect("a thread").map(|batch| batch.is_ok()).collect();
    assert_eq!(results, [true, false]);
    let mut wanted = classifier(8);
    for batch in batches(&[4, 4, 4], 1).take(2) {
        let (x, labels) = batch.expect("it is there");
        wanted.step(x.view(), labels.view()).expect("it fits");
    }
    assert_eq!(state(&net), state(&wanted));
    // The epoch begins anew.
    net.fit_stream(&mut stream(&[4, 4])).progress(Progress::Quiet).run().expect("it trains");
    assert_eq!((net.steps(), net.epochs()), (4, 1));
}

#[test]
fn what_a_stream_cannot_train_is_refused() {
    let mut net = classifier(8);
    let before = state(&net);
    let cause = quiet(&mut net, &mut stream(&[9]), 1);
    assert_eq!(cause.to_string(), "a batch has 1 to 8 rows here, got 9; `max_batch` sets the limit");
    assert_eq!(quiet(&mut net, &mut stream(&[0]), 1).to_string(), "`x` has no rows");
    let cause = quiet(&mut net, &mut stream(&[1]), 1);
    assert!(matches!(&cause, FitCause::Session(gradloom::Error::Run(RunError::OneRow { .. }))), "{cause}");
    assert_eq!(quiet(&mut net, &mut stream(&[]), 2), FitCause::Stream(StreamError::Empty { pass: 1 }));
    let mut uneven = Stream::new(|_| [Ok::<_, io::Error>((Array2::zeros((3, 5)), Array1::<u8>::zeros(2)))]);
    assert_eq!(quiet(&mut net, &mut uneven, 1).to_string(), "`label` has 2 rows where `x` has 3");
    let mut data = stream(&[4]);
    let error = net.fit_stream(&mut data).batch_size(4).run().expect_err("it is refused").to_string();
    assert_eq!(error, "batch_size must be left to the iterator of a stream, got 4");
    let error = net.fit_stream(&mut data).validation_split(0.2).run().expect_err("it is refused").to_string();
    assert_eq!(error, "validation_split must be left out for a stream, which takes `validation`, got 0.2");
    assert_eq!((net.steps(), state(&net)), (0, before));
}

#[test]
fn a_training_ended_in_the_middle_lets_go_of_the_iterator() {
    let alive = Arc::new(());
    let held = Arc::clone(&alive);
    let mut endless = Stream::new(move |pass| {
        let held = Arc::clone(&held);
        (0..).flat_map(move |_| batches(&[4], pass)).inspect(move |_| assert!(Arc::strong_count(&held) > 1))
    });
    let mut net = classifier(8);
    let fit = net.fit_stream(&mut endless).epochs(5).progress(Progress::Quiet);
    let history =
        fit.on_step(|net, _| if net.steps() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
    let history = history.run().expect("it trains");
    assert_eq!((history.end, history.epochs.len(), net.steps(), net.epochs()), (Ending::Callback, 1, 3, 0));
    assert!(!history.epochs[0].complete);
    // One in the test, one in the function: the iterator is gone with its thread.
    assert_eq!(Arc::strong_count(&alive), 2);
}

#[test]
fn batches_are_read_ahead_while_one_is_in_use() {
    let (said, heard) = mpsc::channel();
    let mut data = Stream::new(move |_| {
        let said = said.clone();
        (0..9u8).map(move |at| {
            said.send(at).expect("the test listens");
            Ok::<_, io::Error>((Array1::from_vec(vec![f32::from(at)]), ()))
        })
    })
    .prefetch(3);
    let mut batches = data.batches().expect("a thread");
    let first = batches.next().expect("there are nine").expect("it is there");
    assert_eq!(first.0[0], 0.0);
    // Three more are made without being asked for, and no fourth.
    for at in 0..4 {
        assert_eq!(heard.recv_timeout(Duration::from_secs(20)), Ok(at));
    }
    assert_eq!(heard.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Timeout));
    assert_eq!(
        batches.map(|batch| batch.expect("it is there").0[0]).collect::<Vec<f32>>(),
        [1., 2., 3., 4., 5., 6., 7., 8.]
    );
}

#[test]
fn a_panic_of_the_iterator_is_one_of_the_loop_and_the_next_pass_begins_anew() {
    let passes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&passes);
    let mut data = Stream::new(move |pass| {
        counted.fetch_add(1, Ordering::Relaxed);
        batches(&[4, 4], pass).inspect(move |_| assert!(pass > 1, "a broken reader"))
    });
    let panic = catch_unwind(AssertUnwindSafe(|| data.batches().expect("a thread").count())).expect_err("it panics");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a broken reader"));
    assert_eq!(data.batches().expect("a thread").count(), 2);
    assert_eq!(passes.load(Ordering::Relaxed), 2);
    // Of a panic that nobody waits for nobody hears.
    drop(Stream::new(|_| -> Vec<Result<Batch, io::Error>> { panic!("unheard") }).batches());
}
