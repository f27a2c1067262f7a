//! Batches that are read while those before them are trained on: data that do not fit in memory, or are made as they are wanted.
//!
//! In: a function of the user's that gives an iterator of batches for every pass. Out: the same batches in the same order, read
//! ahead by a thread. What a batch is, and in which order they come, is the iterator's business: nothing is shuffled or cut here.

use std::error::Error;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{RefUnwindSafe, UnwindSafe, resume_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::Rows;
use crate::error::text_as_debug;

/// Batches from an iterator, for data that do not fit in memory: what [`Session::fit_stream`](crate::session::Session::fit_stream)
/// trains on, and a loop of steps as well.
///
/// Inputs and targets of a batch are owned arrays, or tuples of them, as in a [`Dataset`](super::Dataset). A thread of its own
/// reads them while the ones before are trained on.
/// ```text
/// let mut stream = Stream::new(|pass| Reader::open("train.bin", pass));   // an iterator of Result<(Array2<f32>, Array1<u8>), io::Error>
/// for batch in stream.batches()? {
///     let (images, labels) = batch?;
///     net.step(images.view(), labels.view())?;
/// }
/// ```
pub struct Stream<X, Y> {
    open: Arc<Mutex<Open<X, Y>>>,
    ahead: usize,
    /// How often `batches` has gone through it.
    passes: usize,
}

/// Inputs and targets, or why there are none.
type Batch<X, Y> = Result<(X, Y), Arc<dyn Error + Send + Sync>>;

type Open<X, Y> = dyn FnMut(usize) -> Box<dyn Iterator<Item = Batch<X, Y>>> + Send;

/// Why a stream gave no further batch.
#[derive(Clone)]
#[non_exhaustive]
pub enum StreamError {
    /// The iterator gave an error. [`Error::source`] is that error.
    Read {
        /// The number of the pass, from 1.
        pass: usize,
        /// The number of the batch in it, from 1.
        batch: usize,
        /// What the iterator says.
        error: Arc<dyn Error + Send + Sync>,
    },
    /// The iterator gave no batch at all.
    Empty {
        /// The number of the pass, from 1.
        pass: usize,
    },
    /// The system gave no thread that reads.
    Thread {
        /// What the system says.
        error: String,
    },
}

text_as_debug!(StreamError);

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Read { pass, batch, error } => {
                write!(f, "batch {batch} of pass {pass} could not be read: {error}")
            }
            StreamError::Empty { pass } => write!(
                f,
                "the stream has no batches in pass {pass}: its function is called for every pass and has to begin anew"
            ),
            StreamError::Thread { error } => write!(f, "the thread that reads batches can't be started: {error}"),
        }
    }
}

impl Error for StreamError {
    /// The error itself that the iterator gave, not the pointer to it: so it can be downcast.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StreamError::Read { error, .. } => Some(&**error),
            _ => None,
        }
    }
}

/// What the iterator said is only read.
impl UnwindSafe for StreamError {}
impl RefUnwindSafe for StreamError {}

/// Errors of an iterator are equal if they are the same one.
impl PartialEq for StreamError {
    fn eq(&self, other: &StreamError) -> bool {
        use StreamError::{Empty, Read, Thread};
        match (self, other) {
            (Read { pass: p, batch: b, error: e }, Read { pass, batch, error }) => {
                (p, b) == (pass, batch) && Arc::ptr_eq(e, error)
            }
            (Empty { pass: p }, Empty { pass }) => p == pass,
            (Thread { error: e }, Thread { error }) => e == error,
            _ => false,
        }
    }
}

impl<X: Rows, Y: Rows> Stream<X, Y> {
    /// Batches from what `open` gives for a pass: the epoch of a `fit`, counted from 1 through all trainings of the session, or
    /// how often [`Stream::batches`] was called. A pass whose order should be its own shuffles by that number.
    ///
    /// `open` is called, and its iterator used up, in a thread that belongs to the pass. The first error ends the pass.
    pub fn new<I, E>(mut open: impl FnMut(usize) -> I + Send + 'static) -> Stream<X, Y>
    where
        I: IntoIterator<Item = Result<(X, Y), E>>,
        I::IntoIter: 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let open = move |pass| -> Box<dyn Iterator<Item = Batch<X, Y>>> {
            Box::new(open(pass).into_iter().map(|batch| batch.map_err(|error| Arc::from(error.into()))))
        };
        Stream { open: Arc::new(Mutex::new(open)), ahead: 2, passes: 0 }
    }

    /// How many batches are read ahead of the one in use, 2 unless said otherwise. So many are in memory, and one more. A number
    /// of 0 counts as 1.
    pub fn prefetch(self, batches: usize) -> Stream<X, Y> {
        Stream { ahead: batches.max(1), ..self }
    }

    /// The batches of the next pass. What is not used of them is thrown away with the iterator, which then waits for the batch
    /// that is being read.
    ///
    /// # Errors
    /// No thread; the errors of the iterator come in the place of a batch, the last that there is. If the iterator panics, so
    /// does the call of `next` that would give its batch.
    pub fn batches(&mut self) -> Result<Batches<X, Y>, StreamError> {
        self.passes = self.passes.saturating_add(1);
        self.pass(self.passes)
    }

    /// The batches of a pass, counted from 1.
    pub(crate) fn pass(&self, pass: usize) -> Result<Batches<X, Y>, StreamError> {
        // One batch is in the hand of the thread until there is room for it.
        let (sender, receiver) = sync_channel(self.ahead - 1);
        let open = Arc::clone(&self.open);
        let read = move || {
            // A function that has panicked may be called again.
            let batches = (open.lock().unwrap_or_else(PoisonError::into_inner))(pass);
            for batch in batches {
                let failed = batch.is_err();
                // Nobody wants more once the receiver is gone.
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("batches".to_string()).spawn(read);
        let thread = thread.map_err(|error| StreamError::Thread { error: error.to_string() })?;
        Ok(Batches { receiver: Some(receiver), thread: Some(thread), pass, batch: 0 })
    }
}

impl<X, Y> fmt::Debug for Stream<X, Y> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream {{ ahead: {}, passes: {} }}", self.ahead, self.passes)
    }
}

/// The batches of one pass of a [`Stream`]: inputs and targets, or an error, after which there are none.
#[derive(Debug)]
pub struct Batches<X, Y> {
    /// None once the pass has ended.
    receiver: Option<Receiver<Batch<X, Y>>>,
    thread: Option<JoinHandle<()>>,
    pass: usize,
    /// How many batches there were.
    batch: usize,
}

impl<X, Y> Batches<X, Y> {
    /// Lets the thread end and waits for it; what it panicked with, if it did.
    fn end(&mut self) -> thread::Result<()> {
        self.receiver = None;
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl<X, Y> Iterator for Batches<X, Y> {
    type Item = Result<(X, Y), StreamError>;

    fn next(&mut self) -> Option<Result<(X, Y), StreamError>> {
        match self.receiver.as_ref()?.recv() {
            Ok(Ok(batch)) => {
                self.batch += 1;
                Some(Ok(batch))
            }
            Ok(Err(error)) => {
                self.receiver = None;
                Some(Err(StreamError::Read { pass: self.pass, batch: self.batch + 1, error }))
            }
            // All batches were sent, or the thread panicked: then so does the one that asks for them.
            Err(_) => {
                self.end().unwrap_or_else(|panic| resume_unwind(panic));
                None
            }
        }
    }
}

impl<X, Y> FusedIterator for Batches<X, Y> {}

impl<X, Y> Drop for Batches<X, Y> {
    fn drop(&mut self) {
        // Nobody asks any more, so a panic of the thread concerns nobody.
        let _ = self.end();
    }
}
