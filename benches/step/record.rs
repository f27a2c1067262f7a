//! What was measured, as a line of JSON with the keys that the other frameworks write.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::timing::Samples;
use crate::workloads::Workload;

/// A measurement of one workload.
#[derive(Clone, Debug)]
pub struct Record {
    pub workload: Workload,
    pub threads: usize,
    /// Whether the form of Winograd was forbidden.
    pub direct: bool,
    pub batch: usize,
    pub step: Samples,
    /// Forward in inference mode, one row.
    pub infer_one: Samples,
    /// Forward in inference mode, the training batch.
    pub infer_batch: Samples,
    /// From the start of `main` to the end of the first step.
    pub first_step_s: f64,
    /// From the declaration to machine code and initial parameters.
    pub build_s: f64,
    /// The first step.
    pub compile_s: f64,
    /// At the end of training; known on Linux.
    pub peak_rss_mib: Option<f64>,
    /// How often the system took the core away while steps were measured; known on Linux.
    pub switches: Option<u64>,
    pub loss_first: f32,
    pub loss_last: f32,
}

impl Record {
    pub fn json(&self) -> String {
        let (step, one, batch) = (&self.step, &self.infer_one, &self.infer_batch);
        let text = |value: &str| format!("\"{value}\"");
        let fields = [
            ("framework", text("gradloom")),
            ("version", text(env!("CARGO_PKG_VERSION"))),
            ("workload", text(self.workload.name())),
            ("threads", self.threads.to_string()),
            ("mode", text(self.mode())),
            ("step_us_median", format!("{:.2}", step.median())),
            ("step_us_min", format!("{:.2}", step.min())),
            ("step_us_p90", format!("{:.2}", step.p90())),
            ("step_n", step.count().to_string()),
            ("infer_b1_us", format!("{:.2}", one.median())),
            ("infer_us", format!("{:.2}", batch.median())),
            ("infer_b1_us_min", format!("{:.2}", one.min())),
            ("infer_us_min", format!("{:.2}", batch.min())),
            ("first_step_s", format!("{:.6}", self.first_step_s)),
            ("import_s", "0".to_string()),
            ("build_s", format!("{:.6}", self.build_s)),
            ("compile_s", format!("{:.6}", self.compile_s)),
            ("peak_rss_mib", optional(self.peak_rss_mib.map(|mib| format!("{mib:.1}")))),
            ("batch", self.batch.to_string()),
            ("dtype", text("f32")),
            ("nivcsw", optional(self.switches.map(|count| count.to_string()))),
            ("load1", optional(load())),
            ("loss_first", self.loss_first.to_string()),
            ("loss_last", self.loss_last.to_string()),
            ("time", text(&utc(SystemTime::now()))),
        ];
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        format!("{{{}}}", fields.join(", "))
    }

    fn mode(&self) -> &'static str {
        if self.direct { "direct" } else { "default" }
    }

    /// Adds the line to a file.
    pub fn append(&self, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{}", self.json()));
        written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    pub fn summary(&self) -> String {
        format!(
            "gradloom/default {} t{}: step {:.2} us (min {:.2}), b1 {:.2}, B {:.2}, compiled in {:.1} ms, loss {:.4}->{:.4}",
            self.workload.name(),
            self.threads,
            self.step.median(),
            self.step.min(),
            self.infer_one.median(),
            self.infer_batch.median(),
            1e3 * self.build_s,
            self.loss_first,
            self.loss_last,
        )
    }
}

fn optional(value: Option<String>) -> String {
    value.unwrap_or_else(|| "null".to_string())
}

pub fn peak_rss_mib() -> Option<f64> {
    status("VmHWM").map(|kib| kib as f64 / 1024.0)
}

pub fn involuntary_switches() -> Option<u64> {
    status("nonvoluntary_ctxt_switches")
}

/// A number that Linux tells about this process.
fn status(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

fn load() -> Option<String> {
    Some(fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.to_string())
}

/// Date and time, from the seconds since 1970 (Hinnant, "chrono-compatible low-level date algorithms").
fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // Years begin in March here, so that the leap day is the last; 719,468 days lie between 0000-03-01 and 1970-01-01.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
