//! How long each kernel of a timed program takes: compiled code reads the clock in between, and the tiles of a
//! kernel are added up.

use super::Code;
use crate::memory::Memory;
use crate::microkernels::ticks;

impl Code {
    /// Runs a program that was compiled to be timed, and passes on the number of each kernel with how long it took, in
    /// seconds. Says whether loss and statistics are finite; if not, the last kernels did not run.
    ///
    /// # Panics
    /// As [`Code::run`].
    pub fn run_timed(&self, memory: Memory<'_>, mut took: impl FnMut(usize, f64)) -> bool {
        ticks::clear();
        let finite = self.run(memory);
        ticks::spans().into_iter().for_each(|(kernel, seconds)| took(kernel, seconds));
        finite
    }
}
