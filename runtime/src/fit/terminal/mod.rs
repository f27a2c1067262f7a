//! What takes a terminal: a progress bar, and Ctrl-C.

mod bar;
mod interrupt;

pub(super) use bar::Bar;
pub(super) use interrupt::Interrupt;
