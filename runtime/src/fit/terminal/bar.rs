//! The bar in a terminal: how far all epochs are, loss and metrics of this one, rows per second, and the time that is left.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over the rows of all epochs.
pub(in crate::fit) struct Bar {
    bar: ProgressBar,
    epochs: usize,
    /// Rows of an epoch.
    rows: usize,
    start: Instant,
    pace: Pace,
}

impl Bar {
    /// On standard error, if that is a terminal.
    pub(in crate::fit) fn on_terminal(epochs: usize, rows: usize) -> Option<Bar> {
        io::stderr().is_terminal().then(|| Bar::drawn_on(ProgressDrawTarget::stderr(), epochs, rows))
    }

    fn drawn_on(target: ProgressDrawTarget, epochs: usize, rows: usize) -> Bar {
        let style =
            ProgressStyle::with_template("{prefix}  {bar:24}  {wide_msg}").expect("the template has known parts");
        let bar =
            ProgressBar::with_draw_target(Some((epochs as u64).saturating_mul(rows as u64)), target).with_style(style);
        Bar { bar, epochs, rows, start: Instant::now(), pace: Pace::new() }
    }

    /// Whether it is time to show something new.
    pub(in crate::fit) fn is_due(&mut self) -> bool {
        self.pace.is_due(|| self.start.elapsed())
    }

    /// Shows what an epoch has come to after so many of its rows.
    pub(in crate::fit) fn show(&self, title: &str, epoch: usize, rows: usize, numbers: &str) {
        let done = epoch.saturating_sub(1) * self.rows + rows;
        let speed = speed(done, self.epochs.saturating_mul(self.rows), self.start.elapsed());
        self.bar.set_prefix(title.to_string());
        self.bar.set_message(format!("{numbers}  {speed}"));
        self.bar.set_position(done as u64);
    }

    /// A line above the bar.
    pub(in crate::fit) fn say(&self, line: &str) {
        self.bar.println(line);
    }

    /// Takes the bar away.
    pub(in crate::fit) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// `52.3k rows/s  0:12 left`
fn speed(done: usize, all: usize, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = (all.saturating_sub(done) as f64 / rate.max(1e-9)).min(1e9) as u64;
    let rate = match rate {
        1e6.. => format!("{:.2}M", rate / 1e6),
        1e3.. => format!("{:.1}k", rate / 1e3),
        _ => format!("{rate:.0}"),
    };
    let (hours, minutes, seconds) = (left / 3600, left / 60 % 60, left % 60);
    match hours {
        0 => format!("{rate} rows/s  {minutes}:{seconds:02} left"),
        _ => format!("{rate} rows/s  {hours}:{minutes:02}:{seconds:02} left"),
    }
}

/// Says now and then that it is time, and looks at the clock hardly more often: a step may take less than reading it.
struct Pace {
    /// Calls from one look at the clock to the next.
    stride: u32,
    left: u32,
    /// When it was time last.
    last: Duration,
}

/// How often something new is shown.
const PERIOD: Duration = Duration::from_millis(50);

impl Pace {
    fn new() -> Pace {
        Pace { stride: 1, left: 1, last: Duration::ZERO }
    }

    fn is_due(&mut self, clock: impl FnOnce() -> Duration) -> bool {
        self.left -= 1;
        if self.left > 0 {
            return false;
        }
        let now = clock();
        let due = now >= self.last + PERIOD;
        if due {
            self.last = now;
            self.stride = (self.stride / 2).max(1);
        } else {
            self.stride = (self.stride * 2).min(1 << 14);
        }
        self.left = self.stride;
        due
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::{Bar, Pace, speed};

    /// A terminal of 100 columns that keeps what is written to it.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl Terminal {
        fn text(&self) -> String {
            self.0.lock().expect("no test panics with the lock").clone()
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            100
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().expect("no test panics with the lock").push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_shows_epoch_numbers_speed_and_time_left() {
        let terminal = Terminal::default();
        let mut bar = Bar::drawn_on(ProgressDrawTarget::term_like(Box::new(terminal.clone())), 4, 100);
        bar.start = Instant::now() - Duration::from_secs(30);
        bar.show("epoch 2/4", 2, 50, "loss 0.4321  accuracy 0.8710");
        // Nine of its 24 places, for 150 of 400 rows.
        let text = terminal.text();
        assert!(text.contains(&format!("epoch 2/4  {}", "\u{2588}".repeat(9))), "{text}");
        assert!(text.contains("loss 0.4321  accuracy 0.8710  5 rows/s  0:50 left"), "{text}");
        bar.say("epoch 2/4 is done");
        assert!(terminal.text().contains("epoch 2/4 is done"));
        bar.end();
    }

    #[test]
    fn speed_and_time_are_short() {
        let after = |done, seconds| speed(done, 1_000_000, Duration::from_secs_f64(seconds));
        assert_eq!(after(500, 1.0), "500 rows/s  33:19 left");
        assert_eq!(after(12_345, 1.0), "12.3k rows/s  1:20 left");
        assert_eq!(after(250_000, 0.1), "2.50M rows/s  0:00 left");
        assert_eq!(after(100, 1.0), "100 rows/s  2:46:39 left");
        assert_eq!(after(0, 0.0), "0 rows/s  277777:46:40 left");
    }

    #[test]
    fn the_clock_is_hardly_looked_at() {
        // A second of steps of a microsecond.
        let (mut pace, mut now, mut looks, mut due) = (Pace::new(), Duration::ZERO, 0, 0);
        let mut step = |micros: u64| {
            now += Duration::from_micros(micros);
            let clock = || {
                looks += 1;
                now
            };
            due += u32::from(pace.is_due(clock));
            (looks, due)
        };
        let (looks, due) = (0..1_000_000).map(|_| step(1)).last().expect("steps were made");
        assert!(looks < 200 && (10..=20).contains(&due), "{looks} looks, {due} times");
    }

    #[test]
    fn every_long_step_is_shown() {
        let mut pace = Pace::new();
        let due = (1..=20).filter(|&step| pace.is_due(|| Duration::from_millis(500 * step))).count();
        assert_eq!(due, 20);
    }
}
