//! Calls a function again and again, and remembers how long each call took.

use std::time::Instant;

const LEAST: usize = 3;
const MOST: usize = 20_000;
/// Slow calls are not waited for any longer, in seconds.
const PATIENCE: f64 = 60.0;

/// Microseconds a call, in ascending order; never empty.
#[derive(Clone, Debug)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Measures for `seconds` and at least three calls, after `warmup` seconds and at least three calls.
    pub fn of<E>(seconds: f64, warmup: f64, mut call: impl FnMut() -> Result<(), E>) -> Result<Samples, E> {
        let (start, mut calls) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < warmup || (calls < 3 && start.elapsed().as_secs_f64() < PATIENCE / 3.0) {
            call()?;
            calls += 1;
        }
        let (start, mut samples) = (Instant::now(), Vec::with_capacity(MOST));
        loop {
            let before = Instant::now();
            call()?;
            samples.push(1e6 * before.elapsed().as_secs_f64());
            let elapsed = start.elapsed().as_secs_f64();
            let more = elapsed < seconds || (samples.len() < LEAST && elapsed < PATIENCE);
            if !more || samples.len() == MOST {
                samples.sort_by(f64::total_cmp);
                return Ok(Samples(samples));
            }
        }
    }

    pub fn min(&self) -> f64 {
        self.0[0]
    }

    pub fn median(&self) -> f64 {
        let (below, above) = (self.0[(self.0.len() - 1) / 2], self.0[self.0.len() / 2]);
        0.5 * (below + above)
    }

    /// What nine calls in ten stay below.
    pub fn p90(&self) -> f64 {
        self.0[self.0.len() * 9 / 10]
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}
