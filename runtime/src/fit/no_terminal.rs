//! Without the feature `terminal` there is no bar, and Ctrl-C is left alone.

/// Never there.
pub(super) enum Bar {}

impl Bar {
    pub(super) fn on_terminal(_epochs: usize, _rows: usize) -> Option<Bar> {
        None
    }

    pub(super) fn is_due(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn show(&self, _title: &str, _epoch: usize, _rows: usize, _numbers: &str) {
        match *self {}
    }

    pub(super) fn say(&self, _line: &str) {
        match *self {}
    }

    pub(super) fn end(&self) {
        match *self {}
    }
}

/// Never requested.
pub(super) struct Interrupt(());

impl Interrupt {
    pub(super) fn listen() -> Interrupt {
        Interrupt(())
    }

    pub(super) fn requested(&self) -> bool {
        false
    }
}
