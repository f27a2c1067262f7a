//! Threads that wait for runs of compiled code.
//!
//! A run is handed over once: threads that wait are told of it, take units from its queue and wait again, first awake,
//! because the next step mostly comes at once, then asleep. A machine that is busy with other work may take a thread's core
//! away in the middle of a unit; where that holds the calling thread up, the next runs are done without the pool.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fork::Process;
use super::ieee::IeeeMode;
use super::work_queue::{Table, WorkQueue};
use crate::codegen::Context;
use crate::error::BuildError;

/// How long a thread waits awake.
const AWAKE: Duration = Duration::from_micros(60);
/// The most runs in a row that are done without the pool.
const MOST_RESTS: u32 = 255;

/// Threads for the runs of one session.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    queue: Arc<WorkQueue>,
    run: u32,
    /// Runs that are still to be done without the pool, and how many there were the last time.
    rest: u32,
    rested: u32,
    /// The process that has the threads: a child of `fork` has none of them.
    process: Process,
}

struct Shared {
    /// The run that was handed over last.
    handed: Mutex<Option<Handed>>,
    /// Changes with every run.
    ticket: AtomicU32,
    asleep: Vec<AtomicBool>,
    closed: AtomicBool,
}

#[derive(Clone)]
struct Handed {
    table: Arc<Table>,
    queue: Arc<WorkQueue>,
    run: u32,
    batch: usize,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Pool {
    /// So many threads, the calling one among them.
    ///
    /// # Errors
    /// The system has no further thread.
    pub fn new(threads: usize) -> Result<Pool, BuildError> {
        let shared = Arc::new(Shared {
            handed: Mutex::new(None),
            ticket: AtomicU32::new(0),
            asleep: (0..threads).map(|_| AtomicBool::new(false)).collect(),
            closed: AtomicBool::new(false),
        });
        let queue = Arc::new(WorkQueue::new(threads, 0, 0));
        let refused = |error: io::Error| BuildError::Threads { threads, error: error.to_string() };
        let process = Process::current().map_err(refused)?;
        let mut pool = Pool { shared, workers: Vec::new(), queue, run: 0, rest: 0, rested: 0, process };
        for thread in 1..threads {
            let shared = pool.shared.clone();
            let named = std::thread::Builder::new().name(format!("gradloom {thread}"));
            let worker = named.spawn(move || shared.serve(thread));
            pool.workers.push(worker.map_err(refused)?);
        }
        Ok(pool)
    }

    /// How many threads take part, with the calling one.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Makes room for the runs of a program.
    pub(super) fn reserve(&mut self, table: &Table) {
        let [tasks, regions] = table.most();
        if !self.queue.fits(tasks, regions) {
            self.queue = Arc::new(WorkQueue::new(self.threads(), tasks, regions));
        }
    }

    /// Whether the next run should be done without the pool.
    pub(super) fn rests(&mut self) -> bool {
        self.rest = self.rest.saturating_sub(1);
        self.rest > 0 || self.is_orphaned()
    }

    /// Whether this is a child of the process that has the threads. Nothing here may wait for them then, nor for a lock that
    /// one of them may have held.
    fn is_orphaned(&self) -> bool {
        !self.process.is_current()
    }

    /// Runs a program with such a batch: for every task how many units there are, and what is passed to the code: at the ends of
    /// regions, then by each thread. Says whether it went to its end.
    ///
    /// # Safety
    /// The code of the table is valid, and so is all that the contexts name, for what the code does with it.
    pub(super) unsafe fn run(
        &mut self,
        (table, batch): (&Arc<Table>, usize),
        units: impl Fn(usize) -> usize,
        contexts: impl Fn(usize) -> Context,
    ) -> bool {
        let start = Instant::now();
        self.reserve(table);
        self.run = self.run.wrapping_add(1);
        // SAFETY: the run before has ended, since this has the pool to itself; its number comes round after 2^32 runs.
        unsafe { self.queue.launch(self.run, (table, batch), units, contexts) };
        let handed = Handed { table: table.clone(), queue: self.queue.clone(), run: self.run, batch };
        *self.shared.handed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(handed);
        self.shared.ticket.fetch_add(1, Ordering::SeqCst);
        for (worker, asleep) in self.workers.iter().zip(&self.shared.asleep[1..]) {
            if asleep.swap(false, Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let idle = self.queue.work(self.run, 0, (table, batch));
        // A thread that is kept from its core holds up all others.
        if 3 * idle > start.elapsed() {
            self.rested = (2 * self.rested + 1).min(MOST_RESTS);
            self.rest = self.rested + 1;
        } else {
            self.rested /= 2;
        }
        !self.queue.stopped()
    }
}

impl Shared {
    /// The life of a thread.
    fn serve(&self, thread: usize) {
        let _mode = IeeeMode::enter();
        let mut seen = 0;
        while let Some(ticket) = self.next(thread, seen) {
            seen = ticket;
            let handed = self.handed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
            if let Some(Handed { table, queue, run, batch }) = handed {
                queue.work(run, thread, (&table, batch));
            }
        }
    }

    /// Waits for another ticket; none when the pool is closed.
    fn next(&self, thread: usize, seen: u32) -> Option<u32> {
        let mut start = Instant::now();
        loop {
            for _ in 0..64 {
                if self.closed.load(Ordering::Acquire) {
                    return None;
                }
                let ticket = self.ticket.load(Ordering::SeqCst);
                if ticket != seen {
                    return Some(ticket);
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > AWAKE {
                self.asleep[thread].store(true, Ordering::SeqCst);
                if self.ticket.load(Ordering::SeqCst) == seen && !self.closed.load(Ordering::SeqCst) {
                    std::thread::park();
                }
                self.asleep[thread].store(false, Ordering::SeqCst);
                start = Instant::now();
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.is_orphaned() {
            // There is nothing to be joined, nor to be detached.
            self.workers.drain(..).for_each(std::mem::forget);
            return;
        }
        self.shared.closed.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A thread of the pool runs nothing that panics.
            let _ = worker.join();
        }
    }
}
