//! The workloads: networks, data and optimizers as the other frameworks have them, and how one is measured.

use std::hint::black_box;
use std::io::BufRead;
use std::str::FromStr;
use std::time::Instant;

use gradloom::ndarray::{Array1, Array2, Array3, Array4, array, s};
use gradloom::{Adam, AdamW, Metrics, Optimizer, Profile, Rows as _, Sgd, Supervised, Trainer, network};
use gradloom_runtime::compile::{Purpose, Target, simplified};
use gradloom_runtime::fuse::{Budget, fuse_legalized, group, legalize, unfused};
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

network! {
    #[allow(bias_before_batch_norm)]
    Cnn<image: [B, 1, 28, 28] -> logits: [B, 10]> {
        Conv2d(32, 3, pad = 1), BatchNorm, relu, max_pool(2),
        Conv2d(64, 3, pad = 1), BatchNorm, relu, max_pool(2),
        flatten, Dense(128), relu, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

network! {
    block Res(c) {
        residual { Conv2d(c, 3, pad = 1, bias = false), BatchNorm, relu, Conv2d(c, 3, pad = 1, bias = false), BatchNorm },
        relu,
    }
    block Down(c) {
        residual { Conv2d(c, 3, stride = 2, pad = 1, bias = false), BatchNorm, relu, Conv2d(c, 3, pad = 1, bias = false), BatchNorm }
        skip     { Conv2d(c, 1, stride = 2, bias = false), BatchNorm },
        relu,
    }
    ResNet20<image: [B, 3, 32, 32] -> logits: [B, 10]> {
        Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu,
        repeat(3) { Res(16) }, Down(32), repeat(2) { Res(32) }, Down(64), repeat(2) { Res(64) },
        global_avg_pool, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

network! {
    block Twice(c, s) {
        Conv2d(c, 3, stride = s, pad = 1, bias = false), BatchNorm, relu, Conv2d(c, 3, pad = 1, bias = false),
    }
    block Same(c) { residual { BatchNorm, relu, Twice(c, 1) } }
    block Wider(c, s) { BatchNorm, relu, residual { Twice(c, s) } skip { Conv2d(c, 1, stride = s, bias = false) } }
    WideResNet<image: [B, 3, 32, 32] -> logits: [B, 10]> {
        Conv2d(16, 3, pad = 1, bias = false),
        Wider(64, 1), Same(64), Wider(128, 2), Same(128), Wider(256, 2), Same(256),
        BatchNorm, relu, global_avg_pool, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

network! {
    block Separable(from, to, s) {
        Conv2d(from, 3, stride = s, pad = 1, groups = from, bias = false), BatchNorm, relu,
        Conv2d(to, 1, bias = false), BatchNorm, relu,
    }
    Mobile<image: [B, 3, 32, 32] -> logits: [B, 10]> {
        Conv2d(32, 3, pad = 1, bias = false), BatchNorm, relu,
        Separable(32, 64, 1), Separable(64, 128, 2), Separable(128, 128, 1), Separable(128, 256, 2), global_avg_pool, Dense(10),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
}

network! {
    block Transformer(d, heads) {
        residual { LayerNorm, Attention(heads, causal = true) },
        residual { LayerNorm, Dense(4 * d), gelu(approx = tanh), Dense(d) },
    }
    Gpt<text: [u8; B, 64] -> logits: [B, 64, 65]> {
        Embedding(65, 128), Positional, repeat(4) { Transformer(128, heads = 4) }, LayerNorm, Dense(65, bias = false),
    }
    loss(next: [u8; B, 64]) = cross_entropy(logits, next);

    GptLong<text: [u8; B, 512] -> logits: [B, 512, 65]> {
        Embedding(65, 256), Positional, repeat(4) { Transformer(256, heads = 8) }, LayerNorm, Dense(65, bias = false),
    }
    loss(next: [u8; B, 512]) = cross_entropy(logits, next);
}

network! {
    // The logits of all tokens together are 256 MiB.
    Vocabulary<text: [u16; B, 64] -> logits: [B, 64, 32_768]> { Embedding(32_768, 256), Dense(32_768, bias = false) }
    loss(next: [u16; B, 64]) = cross_entropy(logits, next);
}

network! {
    LstmLayer<x: [B, 64, 256] -> y: [B, 64, 256]> { Lstm(256) }
    loss = mean(square(y));
}

network! {
    GruLayer<x: [B, 64, 256] -> y: [B, 64, 256]> { Gru(256) }
    loss = mean(square(y));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    Xor,
    Mlp,
    Wide,
    DeepBn,
    Cnn,
    ResNet20,
    WideResNet,
    Mobile,
    Gpt,
    GptLong,
    Vocabulary,
    Lstm,
    Gru,
}

/// What is done with a workload, whatever its network is.
pub trait Task {
    type Found;

    fn run<N: Supervised>(
        self,
        optimizer: impl Optimizer + 'static,
        x: N::InputArrays,
        target: N::TargetArrays,
    ) -> Result<Self::Found>;
}

impl Workload {
    pub const ALL: [Workload; 13] = [
        Workload::Xor,
        Workload::Mlp,
        Workload::Wide,
        Workload::DeepBn,
        Workload::Cnn,
        Workload::ResNet20,
        Workload::WideResNet,
        Workload::Mobile,
        Workload::Gpt,
        Workload::GptLong,
        Workload::Vocabulary,
        Workload::Lstm,
        Workload::Gru,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Workload::Xor => "xor",
            Workload::Mlp => "mlp",
            Workload::Wide => "wide",
            Workload::DeepBn => "deepbn",
            Workload::Cnn => "cnn",
            Workload::ResNet20 => "resnet20",
            Workload::WideResNet => "wrn16",
            Workload::Mobile => "mobile",
            Workload::Gpt => "gpt",
            Workload::GptLong => "gpt-long",
            Workload::Vocabulary => "vocabulary",
            Workload::Lstm => "lstm",
            Workload::Gru => "gru",
        }
    }

    /// Rows of its batch.
    pub fn batch(self) -> usize {
        match self {
            Workload::Xor => 4,
            Workload::Mlp => 128,
            Workload::Wide => 256,
            Workload::DeepBn => 1024,
            Workload::Cnn => 64,
            Workload::ResNet20 | Workload::WideResNet | Workload::Mobile | Workload::Vocabulary => 32,
            Workload::Gpt => 16,
            Workload::GptLong => 4,
            Workload::Lstm | Workload::Gru => 64,
        }
    }

    /// Does something with its network, optimizer and data.
    pub fn with<T: Task>(self, task: T) -> Result<T::Found> {
        let batch = self.batch();
        match self {
            Workload::Xor => {
                let (x, target) = xor_data();
                task.run::<Xor>(Sgd::new(0.1), x, target)
            }
            Workload::Mlp => {
                let (x, label) = classes(batch, 784);
                task.run::<Mlp>(Adam::new(1e-3), x, label)
            }
            Workload::Wide => {
                let (x, label) = classes(batch, 1024);
                task.run::<Wide>(AdamW::new(1e-3).weight_decay(0.01), x, label)
            }
            Workload::DeepBn => {
                let (x, label) = classes(batch, 256);
                task.run::<DeepBn>(Sgd::new(0.01).momentum(0.9), x, label)
            }
            Workload::Cnn => {
                let (x, label) = images(batch, [1, 28, 28]);
                task.run::<Cnn>(Adam::new(1e-3), x, label)
            }
            Workload::ResNet20 => {
                let (x, label) = images(batch, [3, 32, 32]);
                task.run::<ResNet20>(Sgd::new(0.01).momentum(0.9), x, label)
            }
            Workload::WideResNet => {
                let (x, label) = images(batch, [3, 32, 32]);
                task.run::<WideResNet>(Sgd::new(0.01).momentum(0.9), x, label)
            }
            Workload::Mobile => {
                let (x, label) = images(batch, [3, 32, 32]);
                task.run::<Mobile>(Sgd::new(0.01).momentum(0.9), x, label)
            }
            Workload::Gpt => {
                let (text, next) = texts(batch, 64, 65);
                task.run::<Gpt>(AdamW::new(3e-4).weight_decay(0.01), text, next)
            }
            Workload::GptLong => {
                let (text, next) = texts(batch, 512, 65);
                task.run::<GptLong>(AdamW::new(3e-4).weight_decay(0.01), text, next)
            }
            Workload::Vocabulary => {
                let (text, next) = texts(batch, 64, 32_768);
                task.run::<Vocabulary>(Sgd::new(0.1), text, next)
            }
            Workload::Lstm => task.run::<LstmLayer>(Sgd::new(0.1), sequences(batch, 64, 256), ()),
            Workload::Gru => task.run::<GruLayer>(Sgd::new(0.1), sequences(batch, 64, 256), ()),
        }
    }

    /// The kernels of its step.
    pub fn kernels(self, winograd: bool) -> Result<Fused> {
        self.with(Kernels { batch: self.batch(), winograd })
    }

    /// Where the time of its step goes, on one thread.
    pub fn profile(self, winograd: bool) -> Result<Profile> {
        self.with(Profiled { batch: self.batch(), winograd })
    }

    /// Measures training and inference, once or in turns, and passes on what it found. `start` is when the process, or the
    /// workload, began.
    pub fn measure(self, arguments: &Arguments, start: Instant, found: Found<'_>) -> Result<()> {
        self.with(Run { workload: self, arguments, start, found })
    }
}

/// Cuts a training step into kernels.
struct Kernels {
    batch: usize,
    winograd: bool,
}

impl Task for Kernels {
    type Found = Fused;

    fn run<N: Supervised>(
        self,
        optimizer: impl Optimizer + 'static,
        _: N::InputArrays,
        _: N::TargetArrays,
    ) -> Result<Fused> {
        let config = TrainingConfig::from(optimizer);
        let graph = legalize(&simplified(N::declared(), Purpose::Train(&config))?);
        let target = Target::new(self.batch).with_winograd(self.winograd);
        let mut fused = fuse_legalized(&graph, target.winograd);
        fused.unfused = Some(unfused(&graph));
        Ok(group(fused, &Budget::new(self.batch)))
    }
}

/// Times the kernels of a training step.
struct Profiled {
    batch: usize,
    winograd: bool,
}

impl Task for Profiled {
    type Found = Profile;

    fn run<N: Supervised>(
        self,
        optimizer: impl Optimizer + 'static,
        x: N::InputArrays,
        target: N::TargetArrays,
    ) -> Result<Profile> {
        let mut net = Trainer::<N>::new(optimizer).max_batch(self.batch).winograd(self.winograd).build()?;
        Ok(net.profile(x.views(), target.views())?)
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Workload, String> {
        let found = Workload::ALL.into_iter().find(|workload| workload.name() == name);
        found.ok_or_else(|| {
            let names = Workload::ALL.map(Workload::name);
            format!("the workloads are {}", names.join(", "))
        })
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

impl Task for Run<'_> {
    type Found = ();

    fn run<N: Supervised>(
        self,
        optimizer: impl Optimizer + 'static,
        x: N::InputArrays,
        target: N::TargetArrays,
    ) -> Result<()> {
        let batch = self.workload.batch();
        let before_build = Instant::now();
        let trainer = Trainer::<N>::new(optimizer).max_batch(batch).seed(1).threads(self.arguments.threads);
        let mut net = trainer.winograd(!self.arguments.direct).build()?;
        let built = Instant::now();
        let loss_first = net.step(x.views(), target.views())?.loss();
        let first = Instant::now();

        if let Some(steps) = self.arguments.steps {
            for _ in 0..steps {
                net.step(x.views(), target.views())?;
            }
            return Ok(());
        }
        let mut peak = None;
        let mut measure = || -> Result<()> {
            let (seconds, warmup) = (self.arguments.seconds, self.arguments.warmup);
            let mut loss_last = loss_first;
            let switches = involuntary_switches();
            let step = Samples::of(seconds, warmup, || {
                net.step(x.views(), target.views()).map(|metrics| loss_last = metrics.loss())
            })?;
            let switches = involuntary_switches().zip(switches).map(|(after, before)| after - before);
            // The first time, nothing but training has touched memory.
            let peak_rss_mib = *peak.get_or_insert_with(peak_rss_mib);

            let (seconds, warmup) = (seconds / 3.0, warmup.min(0.3));
            let infer_one =
                Samples::of(seconds, warmup, || net.predict(x.part(0..1)).map(|outputs| drop(black_box(outputs))))?;
            let infer_batch =
                Samples::of(seconds, warmup, || net.predict(x.views()).map(|outputs| drop(black_box(outputs))))?;
            (self.found)(&Record {
                workload: self.workload,
                threads: self.arguments.threads,
                direct: self.arguments.direct,
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

/// Standard normal images of so many channels, rows and columns, and labels of ten classes.
pub fn images(count: usize, [channels, height, width]: [usize; 3]) -> (Array4<f32>, Array1<u8>) {
    let (x, label) = classes(count, channels * height * width);
    let x = x.into_shape_with_order((count, channels, height, width));
    (x.expect("an image has as many numbers as a row"), label)
}

/// Standard normal sequences of so many elements with so many numbers.
pub fn sequences(count: usize, length: usize, numbers: usize) -> Array3<f32> {
    let mut random = Random::new(1, 0);
    Array3::from_shape_simple_fn((count, length, numbers), || random.normal() as f32)
}

/// Random texts of so many of these characters, and for each character the one after it.
pub fn texts<T: TryFrom<u64> + Clone>(count: usize, length: usize, characters: u64) -> (Array2<T>, Array2<T>) {
    let mut random = Random::new(1, 0);
    let mut character = || T::try_from(random.below(characters)).ok().expect("each character has a number");
    let text = Array2::from_shape_simple_fn((count, length + 1), &mut character);
    (text.slice(s![.., ..length]).to_owned(), text.slice(s![.., 1..]).to_owned())
}
