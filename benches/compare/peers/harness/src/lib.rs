//! What the frameworks in Rust share: the workloads, their data, and how a measurement goes. It mirrors `measuring.py`,
//! which says more.

use std::fmt::Display;
use std::io::BufRead;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Xor,
    Mlp,
    Wide,
    DeepBn,
}

impl Workload {
    fn named(name: &str) -> Workload {
        match name {
            "xor" => Workload::Xor,
            "mlp" => Workload::Mlp,
            "wide" => Workload::Wide,
            "deepbn" => Workload::DeepBn,
            _ => panic!("the workloads are xor, mlp, wide and deepbn, not {name}"),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Workload::Xor => "xor",
            Workload::Mlp => "mlp",
            Workload::Wide => "wide",
            Workload::DeepBn => "deepbn",
        }
    }

    pub fn batch(self) -> usize {
        match self {
            Workload::Xor => 4,
            Workload::Mlp => 128,
            Workload::Wide => 256,
            Workload::DeepBn => 1024,
        }
    }

    /// Of the input, the hidden layers and the output.
    pub fn widths(self) -> Vec<usize> {
        match self {
            Workload::Xor => vec![2, 8, 1],
            Workload::Mlp => vec![784, 256, 128, 10],
            Workload::Wide => vec![1024, 1024, 1024, 1024, 10],
            Workload::DeepBn => [vec![256; 21], vec![10]].concat(),
        }
    }

    /// Standard normal inputs, or the table of exclusive or.
    pub fn inputs(self) -> Vec<f32> {
        if self == Workload::Xor {
            return vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
        }
        let mut random = Random(1);
        (0..self.batch() * self.widths()[0]).map(|_| random.normal()).collect()
    }

    /// The targets of exclusive or.
    pub fn numbers() -> Vec<f32> {
        vec![0.0, 1.0, 1.0, 0.0]
    }

    /// Uniform classes.
    pub fn classes(self) -> Vec<u32> {
        let mut random = Random(2);
        (0..self.batch()).map(|_| (random.next() % 10) as u32).collect()
    }
}

/// A framework's network at work; every call returns when its result is there.
pub trait Network {
    fn step(&mut self);
    fn loss(&mut self) -> f32;
    fn predict_one(&mut self);
    fn predict_batch(&mut self);
}

struct Arguments {
    workload: Workload,
    threads: String,
    seconds: f64,
    warmup: f64,
    turns: bool,
}

fn arguments() -> Arguments {
    let mut result =
        Arguments { workload: Workload::Xor, threads: "1".into(), seconds: 3.0, warmup: 0.5, turns: false };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
        match word.as_str() {
            "--workload" => result.workload = Workload::named(&value()),
            "--threads" => result.threads = value(),
            "--seconds" => result.seconds = value().parse().expect("seconds are a number"),
            "--warmup" => result.warmup = value().parse().expect("seconds are a number"),
            "--mode" => drop(value()),
            "--turns" => result.turns = true,
            _ => panic!("unknown argument {word}"),
        }
    }
    result
}

/// Measures a network once, or once for every line on standard input. The pool of threads is set from outside.
pub fn measure(framework: &str, version: &str, mode: &str, build: impl FnOnce(Workload) -> Box<dyn Network>) {
    let Arguments { workload, threads, seconds, warmup, turns } = arguments();
    let import_s = since_start();
    let before = Instant::now();
    let mut network = build(workload);
    let build_s = before.elapsed().as_secs_f64();
    network.step();
    let compile_s = before.elapsed().as_secs_f64() - build_s;
    let first_step_s = since_start();
    let loss_first = network.loss();
    println!("ready");
    let mut peak_rss_mib = None;
    let mut measure = || {
        let switches = status("nonvoluntary_ctxt_switches");
        let step = samples(seconds, warmup, || network.step());
        let switches = status("nonvoluntary_ctxt_switches") - switches;
        // The first time, nothing but training has touched memory.
        let peak_rss_mib = *peak_rss_mib.get_or_insert_with(|| status("VmHWM") / 1024.0);
        let loss_last = network.loss();
        let one = samples(seconds / 3.0, warmup.min(0.3), || network.predict_one());
        let batch = samples(seconds / 3.0, warmup.min(0.3), || network.predict_batch());
        let text = |value: &str| format!("\"{value}\"");
        let fields: [(&str, String); 25] = [
            ("framework", text(framework)),
            ("version", text(version)),
            ("workload", text(workload.name())),
            ("threads", threads.clone()),
            ("mode", text(mode)),
            ("batch", workload.batch().to_string()),
            ("dtype", text("f32")),
            ("step_us_median", rounded(step[step.len() / 2])),
            ("step_us_min", rounded(step[0])),
            ("step_us_p90", rounded(step[step.len() * 9 / 10])),
            ("step_n", step.len().to_string()),
            ("infer_b1_us", rounded(one[one.len() / 2])),
            ("infer_b1_us_min", rounded(one[0])),
            ("infer_us", rounded(batch[batch.len() / 2])),
            ("infer_us_min", rounded(batch[0])),
            ("first_step_s", rounded(first_step_s)),
            ("import_s", rounded(import_s)),
            ("build_s", rounded(build_s)),
            ("compile_s", rounded(compile_s)),
            ("peak_rss_mib", rounded(peak_rss_mib)),
            ("nivcsw", switches.to_string()),
            ("load1", read("/proc/loadavg").split(' ').next().expect("a load").to_string()),
            ("loss_first", loss_first.to_string()),
            ("loss_last", loss_last.to_string()),
            ("time", SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs().to_string()),
        ];
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
        println!("{{{}}}", fields.join(", "));
    };
    match turns {
        true => std::io::stdin().lock().lines().for_each(|_| measure()),
        false => measure(),
    }
}

fn rounded(value: f64) -> String {
    format!("{value:.3}")
}

/// Microseconds a call, in ascending order.
fn samples(seconds: f64, warmup: f64, mut call: impl FnMut()) -> Vec<f64> {
    const LEAST: usize = 3;
    const MOST: usize = 20_000;
    const PATIENCE: f64 = 60.0;
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed().as_secs_f64() < warmup || (calls < LEAST && start.elapsed().as_secs_f64() < PATIENCE / 3.0) {
        call();
        calls += 1;
    }
    let (start, mut times) = (Instant::now(), Vec::with_capacity(MOST));
    let more = |times: &Vec<f64>| {
        let elapsed = start.elapsed().as_secs_f64();
        (elapsed < seconds || (times.len() < LEAST && elapsed < PATIENCE)) && times.len() < MOST
    };
    while times.is_empty() || more(&times) {
        let before = Instant::now();
        call();
        times.push(1e6 * before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A number that Linux tells about this process.
fn status(key: impl Display) -> f64 {
    let status = read("/proc/self/status");
    let prefix = format!("{key}:");
    let line = status.lines().find_map(|line| line.strip_prefix(&prefix)).expect("Linux tells it");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

/// Seconds since this process was started; the system counts in hundredths.
fn since_start() -> f64 {
    let number = |text: &str, index: usize| -> f64 {
        text.split_whitespace().nth(index).and_then(|word| word.parse().ok()).expect("a number")
    };
    let stat = read("/proc/self/stat");
    let fields = stat.rsplit(')').next().expect("the name of the program ends");
    number(&read("/proc/uptime"), 0) - number(fields, 19) / 100.0
}

/// SplitMix64 (Steele, Lea & Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Box & Muller 1958.
    fn normal(&mut self) -> f32 {
        let mut uniform = || ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32
    }
}
