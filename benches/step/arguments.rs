//! The command line.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use crate::workloads::Workload;

pub const USAGE: &str = "\
usage: cargo bench -p gradloom-benches -- [--workload xor|mlp|wide|deepbn|cnn|resnet20|wrn16|mobile|gpt|gpt-long|vocabulary|lstm|gru] [--threads N] [--seconds S]
                                   [--mode default|peak|scaling|dense|stream|bytes|profile|layers|attention|generate|guard|spills] [--warmup S] [--out FILE] [--turns] [--steps N] [--direct]

Without a workload: all of them, briefly, as a table. With --out: a line of JSON is appended to FILE. With --turns: the
workload is measured once for every line on standard input. With --steps: after the first step N more are made and nothing
is timed or printed, for a tool around the process that counts. With --direct: no convolution has the form
of Winograd. The mode `peak` measures what a core can do at most, `scaling`
how step and compile time grow with width, depth, batch and threads, `dense` steps and predictions of dense networks over a grid
of those, `stream` one element of a sequence; `bytes` counts what the steps move, fused and not;
`profile` says where the time of the steps goes, of one workload kernel by kernel; `layers` how fast each
product of the convolutional workloads is; `attention` the same of attention forward and back; `generate` one token of a text after the other; `guard` tries all other ways to run kernels of many shapes and names each that is
more than 5 % faster than the one that is picked; `spills` counts the inner loops of microkernels that touch the stack.";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Workloads.
    Default,
    /// Arithmetic of one core.
    Peak,
    /// Networks of growing size.
    Scaling,
    /// Dense networks over a grid of sizes.
    Dense,
    /// Elements of a sequence that come one by one.
    Stream,
    /// What steps move; nothing is timed.
    Bytes,
    /// Where the time of steps goes.
    Profile,
    /// Products of convolutional networks.
    Layers,
    /// Attention forward and back.
    Attention,
    /// Tokens of a text.
    Generate,
    /// How kernels run, and how they might.
    Guard,
    /// Inner loops that touch the stack; nothing is timed.
    Spills,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// All of them if none.
    pub workload: Option<Workload>,
    /// What is measured.
    pub mode: Mode,
    /// How many threads were asked for.
    pub threads: usize,
    /// How long training steps are measured.
    pub seconds: f64,
    /// How long they run before that.
    pub warmup: f64,
    /// Where to append the line.
    pub out: Option<PathBuf>,
    /// Whether measurements wait for one line each.
    pub turns: bool,
    /// How many steps to make instead of measuring.
    pub steps: Option<usize>,
    /// Whether the form of Winograd is forbidden.
    pub direct: bool,
}

impl Arguments {
    /// Nothing if help was asked for.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Arguments>, String> {
        let (mut workload, mut threads, mut seconds, mut warmup, mut out) = (None, 1, None, None, None);
        let (mut mode, mut turns, mut steps, mut direct) = (Mode::Default, false, None, false);
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next().filter(|value| !value.starts_with("--"));
                value.ok_or_else(|| format!("{word} needs a value"))
            };
            match word.as_str() {
                // What cargo adds.
                "--bench" => {}
                "--help" | "-h" => return Ok(None),
                "--workload" => workload = Some(parsed::<Workload>(&word, &value()?)?),
                "--threads" => threads = parsed(&word, &value()?)?,
                "--seconds" => seconds = Some(duration(&word, &value()?)?),
                "--warmup" => warmup = Some(duration(&word, &value()?)?),
                "--out" => out = Some(value()?).filter(|path| path != "-").map(PathBuf::from),
                "--mode" => match value()?.as_str() {
                    "default" => mode = Mode::Default,
                    "peak" => mode = Mode::Peak,
                    "scaling" => mode = Mode::Scaling,
                    "dense" => mode = Mode::Dense,
                    "stream" => mode = Mode::Stream,
                    "bytes" => mode = Mode::Bytes,
                    "profile" => mode = Mode::Profile,
                    "layers" => mode = Mode::Layers,
                    "attention" => mode = Mode::Attention,
                    "generate" => mode = Mode::Generate,
                    "guard" => mode = Mode::Guard,
                    "spills" => mode = Mode::Spills,
                    other => {
                        let known = "default, peak, scaling, dense, stream, bytes, profile, layers, attention, generate, guard and spills";
                        return Err(format!("unknown mode `{other}`; the modes are {known}"));
                    }
                },
                "--turns" => turns = true,
                "--direct" => direct = true,
                "--steps" => steps = Some(parsed(&word, &value()?)?),
                _ => return Err(format!("unknown argument `{word}`")),
            }
        }
        if threads == 0 {
            return Err("--threads must be at least 1".to_string());
        }
        if turns && workload.is_none() {
            return Err("--turns needs --workload".to_string());
        }
        if steps.is_some() && workload.is_none() {
            return Err("--steps needs --workload".to_string());
        }
        let brief = workload.is_none();
        let seconds = seconds.unwrap_or(if brief { 0.5 } else { 3.0 });
        let warmup = warmup.unwrap_or(if brief { 0.1 } else { 0.5 });
        Ok(Some(Arguments { workload, mode, threads, seconds, warmup, out, turns, steps, direct }))
    }
}

fn parsed<T: FromStr<Err: Display>>(name: &str, word: &str) -> Result<T, String> {
    word.parse().map_err(|error| format!("{name} `{word}`: {error}"))
}

fn duration(name: &str, word: &str) -> Result<f64, String> {
    match parsed(name, word)? {
        seconds if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        seconds => Err(format!("{name} must lie between 0 and 3600 seconds, got {seconds}")),
    }
}
