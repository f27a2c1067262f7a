//! Where threads find work: units of the tasks of a parallel region, taken one by one, and the end of the region.
//!
//! A run has a number, and every word of the queue carries it. A thread that comes late, or sleeps through the end of a run,
//! finds another number and leaves without having touched anything. Nobody waits for threads, only for units that were taken:
//! the thread that calls does all the work if no other one comes.
//!
//! Each thread begins with a stretch of a task's units that is its own, run after run, because their rows are in its cache,
//! and takes those of others when it is done.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::codegen::{Context, EntryFn, TaskFn};
use crate::plan::SharedTiles;

/// The code of the regions of a program. Valid as long as the program's code.
#[derive(Debug)]
pub(super) struct Table {
    pub regions: Vec<RegionCode>,
    /// The largest batch.
    pub max_batch: usize,
}

/// The code of a parallel region.
#[derive(Debug)]
pub(super) struct RegionCode {
    /// The number of the first of its tasks among all.
    pub first: usize,
    pub tasks: Vec<TaskFn>,
    /// Its end; not 0 if the run is to end with it.
    pub tail: EntryFn,
    /// The tiles that it runs once for each of, together with its neighbors that have the same.
    pub tiles: Option<SharedTiles>,
}

/// A region of a run.
struct Turn<'a> {
    code: &'a RegionCode,
    /// The tile that it runs for.
    tile: usize,
}

impl Table {
    /// Most tasks and regions of a run.
    pub(super) fn most(&self) -> [usize; 2] {
        let turns = self.turns(self.max_batch);
        turns.fold([0; 2], |[tasks, regions], turn| [tasks + turn.code.tasks.len(), regions + 1])
    }

    /// The regions of a run in the order in which they run, with a batch of so many rows.
    fn turns(&self, batch: usize) -> impl Iterator<Item = Turn<'_>> {
        let mut next = (0, 0);
        std::iter::from_fn(move || {
            let (region, tile) = next;
            let code = self.regions.get(region)?;
            let same = |other: usize| self.regions.get(other).is_some_and(|other| other.tiles == code.tiles);
            next = match code.tiles {
                Some(_) if same(region + 1) => (region + 1, tile),
                Some(SharedTiles { points, of_tile, .. }) if (tile + 1) * of_tile < points.at(batch) => {
                    ((0..region).rev().find(|&other| !same(other)).map_or(0, |other| other + 1), tile + 1)
                }
                _ => (region + 1, 0),
            };
            Some(Turn { code, tile })
        })
    }
}

/// The most units of a task that one thread can begin with.
pub(super) const MOST_UNITS: usize = u16::MAX as usize;

/// Rounds of waiting before the core is offered to others.
const ROUNDS: u32 = 2_000;

/// The state of a run.
pub(super) struct WorkQueue {
    threads: usize,
    /// For every task, of a shared group for every tile, and every thread: number of the run, the end of its stretch, the next unit.
    stretches: Vec<AtomicU64>,
    /// For every region: number of the run, units that are not done, and one for the thread that calls.
    left: Vec<AtomicU64>,
    /// Number of the run, and how many regions have ended.
    ended: AtomicU64,
    /// What is passed on to compiled code: at the end of a parallel region, and by every thread.
    contexts: Vec<UnsafeCell<Context>>,
}

// SAFETY: a context is written by `launch` alone, which has the queue to itself but for threads that hold no unit; it is
// read by a thread that has taken a unit of this run, or calls, which it can only after `launch`. The addresses in it are
// used for what the plan says two threads may do at once. The end of a parallel region has a context of its own, which only the
// thread uses that gave back the last unit: it sees what all units wrote, and the next unit is taken by threads that have
// seen the region end.
unsafe impl Sync for WorkQueue {}
// SAFETY: as above.
unsafe impl Send for WorkQueue {}

fn word(run: u32, end: usize, next: usize) -> u64 {
    u64::from(run) << 32 | (end as u64) << 16 | next as u64
}

fn count(run: u32, count: u32) -> u64 {
    u64::from(run) << 32 | u64::from(count)
}

impl WorkQueue {
    pub(super) fn new(threads: usize, tasks: usize, regions: usize) -> WorkQueue {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let context = Context {
            arena: std::ptr::null_mut(),
            params: std::ptr::null_mut(),
            scalars: std::ptr::null(),
            table: std::ptr::null(),
            inputs: std::ptr::null(),
            batch: 0,
            scratch: std::ptr::null_mut(),
            tiles: std::ptr::null_mut(),
            overflow: std::ptr::null_mut(),
            prepared: std::ptr::null_mut(),
            packed: std::ptr::null(),
        };
        let contexts = (0..1 + threads).map(|_| UnsafeCell::new(context)).collect();
        WorkQueue {
            threads,
            stretches: words(tasks * threads),
            left: words(regions),
            ended: AtomicU64::new(0),
            contexts,
        }
    }

    /// Whether a program of so many tasks and regions fits.
    pub(super) fn fits(&self, tasks: usize, regions: usize) -> bool {
        tasks * self.threads <= self.stretches.len() && regions <= self.left.len()
    }

    /// Lays out the units of a run with such a batch: for every task, in the order of the regions, how many there are, of a tile if it
    /// runs for several. The first context is that of the ends of regions, the others are those of the threads.
    ///
    /// # Safety
    /// No run is under way, and `run` was not the number of one that a thread may still look for.
    pub(super) unsafe fn launch(
        &self,
        run: u32,
        (table, batch): (&Table, usize),
        units: impl Fn(usize) -> usize,
        contexts: impl Fn(usize) -> Context,
    ) {
        for (index, context) in self.contexts.iter().enumerate() {
            // SAFETY: nobody holds a unit, so nobody reads a context.
            unsafe { *context.get() = contexts(index) };
        }
        let mut task = 0;
        for (turn, left) in table.turns(batch).zip(&self.left) {
            let mut total = 1;
            for own in 0..turn.code.tasks.len() {
                let units = units(turn.code.first + own);
                total += units as u32;
                for thread in 0..self.threads {
                    let bound = |thread: usize| units * thread / self.threads;
                    let word = word(run, bound(thread + 1), bound(thread));
                    self.stretches[task * self.threads + thread].store(word, Ordering::Release);
                }
                task += 1;
            }
            left.store(count(run, total), Ordering::Release);
        }
        self.ended.store(count(run, 0), Ordering::Release);
    }

    /// Takes part in a run with such a batch until it ends; says how long the thread had nothing to do.
    pub(super) fn work(&self, run: u32, thread: usize, (table, batch): (&Table, usize)) -> Duration {
        let mut idle = Duration::ZERO;
        let mut first = 0;
        for (number, turn) in table.turns(batch).enumerate() {
            let tasks = first..first + turn.code.tasks.len();
            first = tasks.end;
            match self.ended(run) {
                None => return idle,
                Some(ended) if ended > number => continue,
                Some(_) => {}
            }
            // The thread that calls stands for one unit, so that a parallel region without any ends too.
            let mut done = u64::from(thread == 0);
            for (task, unit_of) in tasks.zip(&turn.code.tasks) {
                while let Some(unit) = self.take(run, thread, task) {
                    unit_of(self.contexts[1 + thread].get(), unit as i64, turn.tile as i64);
                    done += 1;
                }
            }
            if done > 0 {
                let left = self.left[number].fetch_sub(done, Ordering::AcqRel) & u64::from(u32::MAX);
                if left == done {
                    let status = (turn.code.tail)(self.contexts[0].get());
                    let ended = if status == 0 { number as u32 + 1 } else { u32::MAX };
                    self.ended.store(count(run, ended), Ordering::Release);
                    continue;
                }
            }
            match self.wait(run, number) {
                None => return idle,
                Some(waited) => idle += waited,
            }
        }
        idle
    }

    /// Whether the run was ended by the tail of a parallel region before its last.
    pub(super) fn stopped(&self) -> bool {
        self.ended.load(Ordering::Acquire) as u32 == u32::MAX
    }

    /// How many regions of this run have ended; nothing if another run is under way.
    fn ended(&self, run: u32) -> Option<usize> {
        let ended = self.ended.load(Ordering::Acquire);
        ((ended >> 32) as u32 == run).then_some(ended as u32 as usize)
    }

    /// Takes a unit of a task: of the thread's own stretch, then of the others'.
    fn take(&self, run: u32, thread: usize, task: usize) -> Option<usize> {
        for turn in 0..self.threads {
            let owner = (thread + turn) % self.threads;
            let stretch = &self.stretches[task * self.threads + owner];
            let mut seen = stretch.load(Ordering::Acquire);
            loop {
                let (end, next) = (seen >> 16 & 0xffff, seen & 0xffff);
                if (seen >> 32) as u32 != run {
                    return None;
                }
                if next >= end {
                    break;
                }
                match stretch.compare_exchange_weak(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return Some(next as usize),
                    Err(now) => seen = now,
                }
            }
        }
        None
    }

    /// Waits until a parallel region has ended; says how long, if it was long.
    fn wait(&self, run: u32, region: usize) -> Option<Duration> {
        for _ in 0..ROUNDS {
            if self.ended(run)? > region {
                return Some(Duration::ZERO);
            }
            std::hint::spin_loop();
        }
        let start = Instant::now();
        while self.ended(run)? <= region {
            std::thread::yield_now();
        }
        Some(start.elapsed())
    }
}
