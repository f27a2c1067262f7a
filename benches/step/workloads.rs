//! The workloads: networks, data and optimizers as the other frameworks have them, and how one is measured.

use std::hint::black_box;
use std::io::BufRead;
use std::str::FromStr;
use std::time::Instant;

use gradloom::ndarray::{Array, Array1, Array2, Axis, Ix2, array};
use gradloom::{Adam, AdamW, Metrics, Network, Profile, Sgd, Supervised, Trainer, network};
use gradloom_runtime::compile::{Purpose, simplified};
use gradloom_runtime::fuse::{Budget, fuse, group};
use gradloom_runtime::init::Random;
use gradloom_runtime::kernel::Fused;
use gradloom_runtime::optim::TrainingConfig;

use crate::Result;
use crate::arguments::Arguments;
use crate::record::{Record, involuntary_switches, peak_rss_mib};
use crate::timing::Samples;

network! {
    Xor<x: [B, 2] -> y: [B, 1]> { Dense(8), tanh, Dense(1), sigmoid }
    loss(target: [B, 1]) = mse(y, target);
}

network! {
    // With the biases that the other frameworks have by default.
    #[allow(bias_before_batch_norm)]
    Mlp<x: [B, 784] -> logits: [B, 10]> {
        Dense(256), BatchNorm, relu,
        Dense(128), BatchNorm, relu,
        Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

network! {
    #[allow(bias_before_batch_norm)]
    Wide<x: [B, 1024] -> logits: [B, 10]> {
        Dense(1024), BatchNorm, gelu(approx = tanh),
        Dense(1024), BatchNorm, gelu(approx = tanh),
        Dense(1024), BatchNorm, gelu(approx = tanh),
        Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

/// Declares the network with the layers given four times.
macro_rules! deep_bn {
    ($($layers:tt)*) => {
        network! {
            DeepBn<x: [B, 256] -> logits: [B, 10]> { $($layers)* $($layers)* $($layers)* $($layers)* Dense(10) }
            loss(label: [u8; B]) = cross_entropy(logits, label);
        }
    };
}

deep_bn! {
    Dense(256, bias = false), BatchNorm, tanh,
    Dense(256, bias = false), BatchNorm, tanh,
    Dense(256, bias = false), BatchNorm, tanh,
    Dense(256, bias = false), BatchNorm, tanh,
    Dense(256, bias = false), BatchNorm, tanh,
}

fn xor_optimizer() -> Sgd {
    Sgd::new(0.1)
}

fn mlp_optimizer() -> Adam {
    Adam::new(1e-3)
}

fn wide_optimizer() -> AdamW {
    AdamW::new(1e-3).weight_decay(0.01)
}

fn deep_bn_optimizer() -> Sgd {
    Sgd::new(0.01).momentum(0.9)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Xor,
    Mlp,
    Wide,
    DeepBn,
}

impl Workload {
    pub const ALL: [Workload; 4] = [Workload::Xor, Workload::Mlp, Workload::Wide, Workload::DeepBn];

    pub fn name(self) -> &'static str {
        match self {
            Workload::Xor => "xor",
            Workload::Mlp => "mlp",
            Workload::Wide => "wide",
            Workload::DeepBn => "deepbn",
        }
    }

    /// Rows of its batch.
    pub fn batch(self) -> usize {
        match self {
            Workload::Xor => 4,
            Workload::Mlp => 128,
            Workload::Wide => 256,
            Workload::DeepBn => 1024,
        }
    }

    /// The kernels of its step.
    pub fn kernels(self) -> Result<Fused> {
        let (definition, how): (_, TrainingConfig) = match self {
            Workload::Xor => (Xor::DEFINITION, xor_optimizer().into()),
            Workload::Mlp => (Mlp::DEFINITION, mlp_optimizer().into()),
            Workload::Wide => (Wide::DEFINITION, wide_optimizer().into()),
            Workload::DeepBn => (DeepBn::DEFINITION, deep_bn_optimizer().into()),
        };
        Ok(group(fuse(&simplified(definition, Purpose::Train(&how))?), &Budget::new(self.batch())))
    }

    /// Where the time of its step goes, on one thread.
    pub fn profile(self) -> Result<Profile> {
        let batch = self.batch();
        Ok(match self {
            Workload::Xor => {
                let (x, target) = xor_data();
                Xor::trainer(xor_optimizer()).max_batch(batch).build()?.profile(x.view(), target.view())?
            }
            Workload::Mlp => {
                let (x, label) = classes(batch, 784);
                Mlp::trainer(mlp_optimizer()).max_batch(batch).build()?.profile(x.view(), label.view())?
            }
            Workload::Wide => {
                let (x, label) = classes(batch, 1024);
                Wide::trainer(wide_optimizer()).max_batch(batch).build()?.profile(x.view(), label.view())?
            }
            Workload::DeepBn => {
                let (x, label) = classes(batch, 256);
                DeepBn::trainer(deep_bn_optimizer()).max_batch(batch).build()?.profile(x.view(), label.view())?
            }
        })
    }

    /// Measures training and inference, once or in turns, and passes on what it found. `start` is when the process, or the
    /// workload, began.
    pub fn measure(self, arguments: &Arguments, start: Instant, found: Found<'_>) -> Result<()> {
        let run = Run { workload: self, arguments, start, found };
        match self {
            Workload::Xor => {
                let (x, target) = xor_data();
                run.measure(Xor::trainer(xor_optimizer()), x, target)
            }
            Workload::Mlp => {
                let (x, label) = classes(self.batch(), 784);
                run.measure(Mlp::trainer(mlp_optimizer()), x, label)
            }
            Workload::Wide => {
                let (x, label) = classes(self.batch(), 1024);
                run.measure(Wide::trainer(wide_optimizer()), x, label)
            }
            Workload::DeepBn => {
                let (x, label) = classes(self.batch(), 256);
                run.measure(DeepBn::trainer(deep_bn_optimizer()), x, label)
            }
        }
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Workload, String> {
        let found = Workload::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| "the workloads are xor, mlp, wide and deepbn".to_string())
    }
}

/// What happens with a record.
type Found<'a> = &'a mut dyn FnMut(&Record) -> Result<()>;

/// The measurement of a workload.
struct Run<'a> {
    workload: Workload,
    arguments: &'a Arguments,
    start: Instant,
    found: Found<'a>,
}

impl Run<'_> {
    fn measure<N: Supervised<InputDim = Ix2>>(
        self,
        trainer: Trainer<N>,
        x: Array2<f32>,
        target: Array<N::Target, N::TargetDim>,
    ) -> Result<()> {
        let batch = x.len_of(Axis(0));
        let before_build = Instant::now();
        let mut net = trainer.max_batch(batch).seed(1).threads(self.arguments.threads).build()?;
        let built = Instant::now();
        let loss_first = net.step(x.view(), target.view())?.loss();
        let first = Instant::now();

        if let Some(steps) = self.arguments.steps {
            for _ in 0..steps {
                net.step(x.view(), target.view())?;
            }
            return Ok(());
        }
        let row = x.slice_axis(Axis(0), (0..1).into());
        let mut peak = None;
        let mut measure = || -> Result<()> {
            let (seconds, warmup) = (self.arguments.seconds, self.arguments.warmup);
            let mut loss_last = loss_first;
            let switches = involuntary_switches();
            let step = Samples::of(seconds, warmup, || {
                net.step(x.view(), target.view()).map(|metrics| loss_last = metrics.loss())
            })?;
            let switches = involuntary_switches().zip(switches).map(|(after, before)| after - before);
            // The first time, nothing but training has touched memory.
            let peak_rss_mib = *peak.get_or_insert_with(peak_rss_mib);

            let (seconds, warmup) = (seconds / 3.0, warmup.min(0.3));
            let infer_one = Samples::of(seconds, warmup, || net.predict(row).map(|outputs| drop(black_box(outputs))))?;
            let infer_batch =
                Samples::of(seconds, warmup, || net.predict(x.view()).map(|outputs| drop(black_box(outputs))))?;
            (self.found)(&Record {
                workload: self.workload,
                threads: self.arguments.threads,
                batch,
                step,
                infer_one,
                infer_batch,
                first_step_s: (first - self.start).as_secs_f64(),
                build_s: (built - before_build).as_secs_f64(),
                compile_s: (first - built).as_secs_f64(),
                peak_rss_mib,
                switches,
                loss_first,
                loss_last,
            })
        };
        if !self.arguments.turns {
            return measure();
        }
        println!("ready");
        for line in std::io::stdin().lock().lines() {
            line?;
            measure()?;
        }
        Ok(())
    }
}

/// All inputs of the exclusive or, and its values.
fn xor_data() -> (Array2<f32>, Array2<f32>) {
    let x = array![[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
    (x, array![[0.0], [1.0], [1.0], [0.0]])
}

/// Standard normal inputs, and labels of ten classes.
pub fn classes(rows: usize, cols: usize) -> (Array2<f32>, Array1<u8>) {
    let mut random = Random::new(1, 0);
    let x = Array2::from_shape_simple_fn((rows, cols), || random.normal() as f32);
    let label = Array1::from_shape_simple_fn(rows, || random.below(10) as u8);
    (x, label)
}
