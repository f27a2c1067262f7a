//! Settings, and the sessions they make.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use super::any::AnySession;
use super::sizes::{sizes_in, with};
use super::{Network, Session};
use crate::compile::{Purpose, Stage, Target, compile};
use crate::error::BuildError;
use crate::network::Definition;
use crate::optim::{Group, Optimizer, TrainingConfig};
use crate::safetensors::CheckpointError;
use crate::summary::Summary;

/// The settings of a training session.
#[derive(Debug)]
pub struct Trainer<N> {
    definition: &'static Definition<'static>,
    config: TrainingConfig,
    max_batch: usize,
    seed: u64,
    threads: usize,
    network: PhantomData<fn() -> N>,
}

/// The largest batch unless the user says otherwise.
pub(super) const MAX_BATCH: usize = 128;

impl<N: Network> Trainer<N> {
    /// With this optimizer, `max_batch` 128, seed 0 and one thread.
    pub fn new(optimizer: impl Optimizer + 'static) -> Trainer<N> {
        Trainer {
            definition: N::declared(),
            config: optimizer.into(),
            max_batch: MAX_BATCH,
            seed: 0,
            threads: 1,
            network: PhantomData,
        }
    }

    /// Chooses sizes of the network: `Mlp::trainer(Sgd::new(0.1)).with(|sizes| sizes.hidden = 64)` of
    /// `Mlp(hidden: usize = 128)<..>`. Those that are not set keep what was chosen before, or what the declaration says. Whether
    /// they make sense is checked by [`Trainer::build`]; a checkpoint has them.
    pub fn with(mut self, choose: impl FnOnce(&mut N::Sizes)) -> Trainer<N> {
        self.definition = with::<N>(self.definition, choose);
        self
    }

    /// Chooses the sizes that a checkpoint was saved with, so that the session can load it. A file that says nothing of sizes
    /// changes nothing.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is of a network with other sizes.
    pub fn sizes_of(mut self, path: impl AsRef<Path>) -> Result<Trainer<N>, CheckpointError> {
        if let Some(sizes) = sizes_in::<N>(path.as_ref())? {
            self.definition = N::definition(&sizes);
        }
        Ok(self)
    }

    /// Clips every element of a gradient to `-limit..limit` before the optimizer sees it. Finite and above 0. Costs nothing:
    /// it is done where the gradient is made.
    pub fn clip_value(mut self, limit: f64) -> Trainer<N> {
        self.config.clip_value = Some(limit);
        self
    }

    /// Clips the norm of all gradients together: they are multiplied by `min(1, limit / (norm + 1e-6))` before the optimizer
    /// sees them. Finite and above 0. No update can be made before all gradients are known, so they are kept in memory.
    /// With [`Trainer::clip_value`] as well, that comes first. Source: Pascanu et al. 2013, algorithm 1, as `clip_grad_norm_`
    /// of PyTorch.
    pub fn clip_norm(mut self, limit: f64) -> Trainer<N> {
        self.config.clip_norm = Some(limit);
        self
    }

    /// Trains the parameters that a pattern names differently. See [`Group`].
    pub fn group(mut self, group: Group) -> Trainer<N> {
        self.config.groups.push(group);
        self
    }

    /// Does not train the parameters that this pattern names: their gradients are not computed at all, nor what only those
    /// would need. Short for `group(Group::new(pattern).frozen())`.
    ///
    /// Running statistics that it names are held, and training normalizes by them as inference does, one row at a time if that
    /// is the batch: `freeze("batch_norm1.*")` makes of a batch norm what it is in inference, `freeze("*.running_*")` lets only
    /// gamma and beta of all of them go on. A pattern that names one of the two statistics of a batch norm holds both.
    pub fn freeze(self, pattern: impl Into<String>) -> Trainer<N> {
        self.group(Group::new(pattern).frozen())
    }

    /// After so many steps all running statistics are held, and training normalizes by them, as with `freeze("*.running_*")`;
    /// until then they are those of the batch, and move. What is counted is [`Session::steps`], those before a checkpoint
    /// included. Nothing is recompiled, so that the statistics of a batch are still computed: a step for which no f32 could hold
    /// them is refused all the same. Source: Krishnamoorthi 2018, section 3.2.3.
    pub fn freeze_statistics_after(mut self, steps: u64) -> Trainer<N> {
        self.config.statistics_after = Some(steps);
        self
    }

    /// The largest batch of a step, and how many rows `predict` and `evaluate` take at a time. From 1 up. The bits of a
    /// step or a prediction do not depend on it.
    pub fn max_batch(self, max_batch: usize) -> Trainer<N> {
        Trainer { max_batch, ..self }
    }

    /// What the first values of the parameters and the masks of `Dropout` are drawn from, 0 unless given. The same seed gives the
    /// same bits. The order of the rows has a seed of its own: [`Dataset::seed`](crate::dataset::Dataset::seed).
    pub fn seed(self, seed: u64) -> Trainer<N> {
        Trainer { seed, ..self }
    }

    /// How many threads share the work, with the calling one; from 1 to 256. The bits do not depend on it. Threads are used
    /// only where they pay: what takes less than some 20 microseconds is done by the calling one, and so is everything for a
    /// while when the machine is busy. One row can be shared too. With 1 no thread is made.
    pub fn threads(self, threads: usize) -> Trainer<N> {
        Trainer { threads, ..self }
    }

    /// Watches over every update: one that would make a parameter, a statistic or the optimizer's state NaN or infinite,
    /// though the loss is finite, is refused and taken back, with an error that says where that came from. For this every
    /// step copies the state and looks through it, which costs time in proportion to the parameters, not to the batch: with
    /// Adam a 784-256-128-10 network took a quarter to a half more for 64 rows. Without, nothing is copied or looked through; what
    /// such an update did shows as a loss that is not finite in a later step, and optimizers whose state has squares of
    /// gradients bound those that would overflow. False unless said otherwise.
    pub fn sentinel(mut self, sentinel: bool) -> Trainer<N> {
        self.config.sentinel = sentinel;
        self
    }

    /// Whether products of 3 x 3 windows may be computed in the form of Winograd, with fewer multiplications, where that pays: then
    /// `Stage::Fused` says `fast-winograd`. It rounds otherwise than the sum of products, as a rule by no more, but what is infinite
    /// or NaN in one pixel reaches all windows of a square. A checkpoint is gone on with as it was trained. True unless said
    /// otherwise.
    pub fn winograd(mut self, winograd: bool) -> Trainer<N> {
        self.config.winograd = winograd;
        self
    }

    /// Compiles the training step.
    ///
    /// # Errors
    /// Settings out of range, a group without parameters, a network without a loss, buffers that are too large.
    pub fn build(self) -> Result<Session<N>, BuildError> {
        check_batch(self.max_batch)?;
        check_threads(self.threads)?;
        let any = AnySession::new(self.definition, self.config, self.max_batch, self.seed, self.threads)?;
        Ok(Session { any, network: PhantomData })
    }

    /// The text of a stage of the training step; of the error if there is one.
    pub fn ir(&self, stage: Stage) -> String {
        text(self.definition, &self.config, self.max_batch, stage)
    }
}

fn text(definition: &'static Definition<'static>, config: &TrainingConfig, max_batch: usize, stage: Stage) -> String {
    let checked = check_batch(max_batch).and_then(|()| config.check());
    let target = Target::printed(max_batch).with_winograd(config.winograd);
    let text = checked.and_then(|()| compile(definition, Purpose::Train(config), target).text(stage));
    text.unwrap_or_else(|error| error.to_string())
}

/// The table that the [`Session`] will print; the text of the error if there is one.
impl<N: Network> fmt::Display for Trainer<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Summary::new(self.definition, Some(&self.config)) {
            Ok(summary) => summary.fmt(f),
            Err(error) => error.fmt(f),
        }
    }
}

/// The text of a stage that knows of no optimizer and no machine.
pub fn ir<N: Network>(stage: Stage) -> String {
    text_of_declaration(N::declared(), stage)
}

fn text_of_declaration(definition: &'static Definition<'static>, stage: Stage) -> String {
    let purpose = match (stage, definition.loss.is_some()) {
        (Stage::Static | Stage::Forward, _) | (Stage::Backward, true) => Purpose::Gradients(None),
        (Stage::Backward, false) => return BuildError::NoLoss { network: definition.name }.to_string(),
        _ => {
            let name = definition.name;
            return format!(
                "{stage:?} depends on what is compiled: ask `{name}::trainer(optimizer).ir(Stage::{stage:?})` or \
                 `{name}::predictor().ir(Stage::{stage:?})`"
            );
        }
    };
    compile(definition, purpose, Target::printed(MAX_BATCH)).text(stage).unwrap_or_else(|error| error.to_string())
}

pub(super) fn check_batch(max_batch: usize) -> Result<(), BuildError> {
    match max_batch {
        1.. => Ok(()),
        0 => Err(BuildError::Setting { name: "max_batch", wanted: "at least 1", actual: "0".to_string() }),
    }
}

fn check_threads(threads: usize) -> Result<(), BuildError> {
    match threads {
        1..=256 => Ok(()),
        _ => Err(BuildError::Setting { name: "threads", wanted: "from 1 to 256", actual: threads.to_string() }),
    }
}
