//! A network in use: parameters, programs and the calls that run them.
//!
//! In: arrays of the user's. Out: losses, predictions, gradients. Everything is checked before anything is written, so that
//! a refused call leaves the session as it was. After `build`, and the first use of a further program, a call allocates
//! nothing: but for predictions of more than `max_batch` rows or for the caller to keep, large matrices that predictions keep as
//! they read them, the totals of an evaluation in pieces, and the extents of a tensor of more than four axes.

mod accumulation;
mod attachments;
mod buffer;
mod checkpoint;
mod diagnostics;
mod display;
mod feed;
mod generate;
mod gradcheck;
mod identity;
mod metrics;
mod monte_carlo;
mod name_map;
mod outputs;
mod parameters;
mod params;
mod chunked;
mod position;
mod predictor;
mod profile;
mod programs;
mod recalibrate;
mod rows;
mod scalars;
mod sampling;
mod sentinel;
mod sizes;
mod snapshot;
mod stepper;
mod stream;
mod trainer;
mod trial;

use std::fmt::Debug;
use std::marker::PhantomData;

use ndarray::{ArrayD, ArrayViewD};

use crate::assembly::Sizes;
use crate::compile::{Program, Purpose, Target, compile};
use crate::diagnose::Measure;
use crate::error::{BuildError, RunError, text_as_debug};
use crate::ir::{Role, ScalarSlot, SlotKind, ops};
use crate::jit::Pool;
use crate::memory::{Memory, Params, Word};
use crate::network::Definition;
use crate::optim::{self, TrainingConfig};
use crate::plan::Location;
use crate::safetensors::CheckpointError;
use crate::schedule::Schedule;
use crate::tensor::Tensor;
use accumulation::Accumulation;
use attachments::Attachments;
use buffer::Buffer;
use feed::Feed;
use outputs::{Inference, Outputs};
use parameters::Parameters;
use position::Position;
use programs::{Kind, Programs};
use sentinel::Ran;

pub use diagnostics::{Diagnostics, Drift, LayerDiagnostics};
pub use generate::Generator;
pub use gradcheck::gradcheck;
pub use metrics::Metrics;
pub use monte_carlo::MonteCarlo;
pub use name_map::NameMap;
pub use params::Gradients;
pub(crate) use position::{Pass, Shuffling};
pub use predictor::{Predictor, PredictorBuilder};
pub use profile::{KernelProfile, LayerProfile, Profile, Work};
pub use sampling::Sampling;
pub(crate) use snapshot::Snapshot;
pub use stream::Sequence;
pub use trainer::{Trainer, ir};

/// The loss and the metrics of a network, each in a field: `fn accuracy(found: &MetricsOf<Mlp>) -> f32 { found.accuracy }`.
pub type MetricsOf<N> = <N as Network>::Metrics;

/// The outputs of a network as arrays, which is how they can be named and kept: `fn best(found: &OwnedOutputsOf<TwoTower>) -> usize`.
pub type OwnedOutputsOf<N> = <N as Network>::OwnedOutputs;

/// The sizes of a network that are chosen when the program runs: `fn double(sizes: &mut SizesOf<Mlp>) { sizes.hidden *= 2 }`.
pub type SizesOf<N> = <N as Network>::Sizes;

/// What `network!` implements for a declared network.
pub trait Network: Copy + Debug + 'static {
    /// The inputs, as views: one, or a tuple.
    type Inputs<'a>;
    /// The targets of the loss, as views: none, one, or a tuple.
    type Targets<'a>;
    /// The outputs, as views into the session.
    type Outputs<'a>;
    /// The outputs, as arrays: one, or a struct with the names of the ports.
    type OwnedOutputs: Clone + Debug + PartialEq + Send + Sync + 'static;
    /// What a step and an evaluation give: the loss and the metrics, each in a field.
    type Metrics: Metrics;
    /// The sizes that are chosen when a program runs, each in a field; `()` where the declaration names none.
    type Sizes: Sizes;

    /// The declaration, with these sizes.
    fn definition(sizes: &Self::Sizes) -> &'static Definition<'static>;
    /// The declaration, with the sizes that it names.
    fn declared() -> &'static Definition<'static> {
        Self::definition(&Self::Sizes::default())
    }
    /// Passes on each input.
    fn inputs<'a>(inputs: Self::Inputs<'a>, visit: &mut dyn FnMut(Tensor<'a>));
    /// Passes on each target.
    fn targets<'a>(targets: Self::Targets<'a>, visit: &mut dyn FnMut(Tensor<'a>));
    /// Takes each output.
    fn outputs<'a>(next: &mut dyn FnMut() -> ArrayViewD<'a, f32>) -> Self::Outputs<'a>;
    /// Takes each output as an array.
    fn owned_outputs(next: &mut dyn FnMut() -> ArrayD<f32>) -> Self::OwnedOutputs;
    /// Gives the numbers their names.
    fn metrics(report: &Report<'_>) -> Self::Metrics;
}

/// The numbers of a step or an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The loss; NaN if the network declares none.
    pub loss: f32,
    /// The metrics, in the order of the declaration.
    pub metrics: &'a [f32],
}

/// A network that is trained and asked.
#[derive(Debug)]
pub struct Session<N> {
    definition: &'static Definition<'static>,
    config: TrainingConfig,
    max_batch: usize,
    rate: Schedule,
    steps: u64,
    seed: u64,
    /// The number of the next forward pass in training.
    forward_count: u64,
    /// How far `fit` has come.
    position: Position,
    attachments: Attachments,
    programs: Programs,
    /// What is merged between two updates, once anything was.
    accumulation: Option<Accumulation>,
    /// Where predictions go, once there were any.
    outputs: Option<Outputs>,
    /// What the results of a diagnosis are.
    measures: Vec<Measure>,
    /// Which statistics a recalibration gives.
    statistics: Vec<usize>,
    params: Parameters,
    /// The parameters before the step that runs, if a sentinel watches over it.
    kept: Option<Buffer>,
    arena: Buffer,
    scalars: Vec<Word>,
    /// The numbers of the declaration that may be set; they are the first of the scalars of every program.
    declared: Vec<f32>,
    /// Those of the scalars that are numbers.
    numbers: Vec<f32>,
    feed: Feed,
    metrics: Vec<f32>,
    /// A layer whose training needs more than one row: the first whose statistics are not frozen from the beginning.
    needs_rows: Option<String>,
    /// None for one thread.
    pool: Option<Pool>,
    network: PhantomData<fn() -> N>,
}

impl<N: Network> Session<N> {
    /// Compiles the training step and fills the parameters.
    fn new(
        definition: &'static Definition<'static>,
        config: TrainingConfig,
        max_batch: usize,
        seed: u64,
        threads: usize,
    ) -> Result<Session<N>, BuildError> {
        config.check()?;
        let target = Target::new(max_batch).with_threads(threads).with_winograd(config.winograd);
        let compilation = compile(definition, Purpose::Train(&config), target);
        checkpoint::check_room(&compilation.graph()?.slots)?;
        let train = compilation.into_program()?;
        let mut pool = if threads > 1 { Some(Pool::new(threads)?) } else { None };
        pool.iter_mut().for_each(|pool| train.code.reserve(pool));
        let mut params = Parameters::from(buffer::params(&train)?);
        let kept = config.sentinel.then(|| buffer::params(&train)).transpose()?;
        let arena = buffer::arena(&train, max_batch)?;
        let feed = Feed::new(&train.slots, max_batch)?;
        fill(params.floats_mut(), &train, seed);
        let needs_rows = rows::layer_by_batch(definition, &train, &config)?;
        let declared = scalars::declared(&train.slots.scalars);
        let mut session = Session {
            definition,
            declared,
            rate: config.optimizer.settings().rate,
            numbers: vec![0.0; train.slots.scalars.len()],
            config,
            max_batch,
            steps: 0,
            seed,
            forward_count: 0,
            position: Position::default(),
            attachments: Attachments::default(),
            params,
            kept,
            arena,
            scalars: vec![Word::default(); train.slots.scalars.len()],
            feed,
            metrics: vec![0.0; train.slots.metrics.len()],
            programs: Programs::new(train),
            accumulation: None,
            outputs: None,
            needs_rows,
            pool,
            measures: Vec::new(),
            statistics: Vec::new(),
            network: PhantomData,
        };
        session.fill_declared();
        Ok(session)
    }

    /// One training step on a batch: forward, backward and update. Loss and metrics are of the parameters before the update.
    ///
    /// Any batch size from 1 to `max_batch` (from 2 with batch norm, since one row has no variance) runs without recompiling.
    /// Views that are contiguous are read in place. A network whose loss has no target takes `()` in place of targets.
    ///
    /// # Errors
    /// Wrong shapes, class ids out of range, a batch size out of range, and a loss that is not finite, or a running variance
    /// that would not be: of numbers some 1e18 apart and more. The session is then as it was before. For a loss the error
    /// says where in the network the first number came from that was not finite: the step is replayed for that, in the time
    /// of some hundred steps. A finite loss with a gradient that is not (`sqrt` at 0) is refused with
    /// [`Trainer::sentinel`] alone.
    pub fn step<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<N::Metrics, RunError> {
        self.advance(inputs, targets).map(|report| N::metrics(&report))
    }

    /// A step, with its numbers in order instead of by name.
    pub(crate) fn advance<'a>(
        &mut self,
        inputs: N::Inputs<'a>,
        targets: N::Targets<'a>,
    ) -> Result<Report<'_>, RunError> {
        let tensors = feed::gather::<N>(inputs, Some(targets));
        let rows = self.feed.check(&self.programs[Kind::Train].slots, &tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.fill_scalars();
        self.keep();
        let loss = self.run(Kind::Train, &tensors, rows);
        let loss = self.sound(Ran::Step, loss, &tensors, rows)?;
        self.steps += 1;
        self.forward_count = self.forward_count.wrapping_add(1);
        Ok(Report { loss, metrics: &self.metrics })
    }

    /// The gradients of the loss on a batch, in training mode, neither clipped nor with decay; nothing is updated. The first
    /// call compiles a program of its own.
    ///
    /// These are the gradients that [`Session::step`] would follow on the same batch: `Dropout` drops what it will drop
    /// there, however often this is called. To add up the gradients of several batches with a mask for each, move
    /// [`Session::set_forward_count`] on in between.
    ///
    /// # Errors
    /// As for [`Session::step`].
    pub fn gradients<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Gradients<'_>, Error> {
        let tensors = feed::gather::<N>(inputs, Some(targets));
        let rows = self.feed.check(&self.programs[Kind::Train].slots, &tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.compile(Kind::Gradients)?;
        self.fill_scalars();
        let loss = self.run(Kind::Gradients, &tensors, rows);
        let loss = self.sound(Ran::Gradients, loss, &tensors, rows)?;
        let program = &self.programs[Kind::Gradients];
        Ok(Gradients { loss, program, arena: self.arena.floats(), params: self.params.floats() })
    }

    /// Loss and metrics in inference mode, on any number of rows. More than `max_batch` are taken in pieces whose sums, maxima
    /// and variances are merged before anything is made of them: what comes out does not depend on `max_batch`, but for
    /// rounding. The first call of either kind compiles programs of its own.
    ///
    /// # Errors
    /// Wrong shapes, class ids out of range, no rows.
    pub fn evaluate<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<N::Metrics, Error> {
        self.assess(inputs, targets).map(|report| N::metrics(&report))
    }

    /// An evaluation, with its numbers in order instead of by name.
    pub(crate) fn assess<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Report<'_>, Error> {
        let tensors = feed::gather::<N>(inputs, Some(targets));
        let rows = self.feed.check(&self.programs[Kind::Train].slots, &tensors, usize::MAX)?;
        let loss = if rows > self.max_batch {
            self.evaluate_in_pieces(&tensors, rows)?
        } else {
            self.compile(Kind::Evaluate)?;
            self.run(Kind::Evaluate, &tensors, rows).unwrap_or_else(|loss| loss)
        };
        Ok(Report { loss, metrics: &self.metrics })
    }

    /// The outputs in inference mode, for any number of rows, taken `max_batch` at a time. They borrow the session. The first
    /// call compiles a program of its own.
    ///
    /// # Errors
    /// Wrong shapes, no rows, outputs for which there is no memory.
    pub fn predict(&mut self, inputs: N::Inputs<'_>) -> Result<N::Outputs<'_>, Error> {
        let (outputs, rows) = self.infer(inputs)?;
        Ok(outputs.views::<N>(rows))
    }

    /// As [`Session::predict`], with outputs that are the caller's own: an array, or the network's struct of arrays. Nothing is
    /// copied for it; the next prediction makes room anew.
    ///
    /// # Errors
    /// As for [`Session::predict`].
    pub fn predict_owned(&mut self, inputs: N::Inputs<'_>) -> Result<N::OwnedOutputs, Error> {
        let (outputs, rows) = self.infer(inputs)?;
        Ok(outputs.take_arrays::<N>(rows))
    }

    /// Runs inference; where the outputs of so many rows are.
    fn infer(&mut self, inputs: N::Inputs<'_>) -> Result<(&mut Outputs, usize), Error> {
        let tensors = feed::gather::<N>(inputs, None);
        let rows = self.feed.check(&self.programs[Kind::Train].slots, &tensors, usize::MAX)?;
        self.compile(Kind::Predict)?;
        let program = &self.programs[Kind::Predict];
        let outputs = self.outputs.as_mut().expect("room was made when the program was compiled");
        let (arena, params, scalars) = (self.arena.floats_mut(), &self.params, &self.scalars[..]);
        let (feed, max_batch, pool) = (&mut self.feed, self.max_batch, self.pool.as_mut());
        Inference { program, arena, params, scalars, feed, max_batch, pool }.run(outputs, &tensors, rows)?;
        Ok((outputs, rows))
    }

    /// A predictor with the parameters as they are now, for use beside this session and in other threads; further training
    /// does not change it. It shares the session's program, which the first call compiles.
    ///
    /// # Errors
    /// Buffers for which there is no memory.
    pub fn predictor(&mut self) -> Result<Predictor<N>, BuildError> {
        self.compile(Kind::Predict)?;
        let program = self.programs.shared(Kind::Predict);
        let (params, declared) = (self.params.floats(), &self.declared);
        let settings = (self.max_batch, self.config.winograd);
        let predictor = Predictor::new(self.definition, program, params, declared, settings)?;
        Ok(predictor.with_attachments(&self.attachments))
    }

    /// The learning rate of the next step: what the schedule says after [`Session::steps`] steps.
    pub fn learning_rate(&self) -> f64 {
        self.rate.rate(self.steps)
    }

    /// Changes the learning rate from the next step on, in place of any schedule. Groups keep their multiples of it. Nothing
    /// is recompiled.
    ///
    /// # Errors
    /// A rate that is negative or not finite.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), BuildError> {
        self.config.check_rate(rate)?;
        self.rate = Schedule::constant(rate);
        Ok(())
    }

    /// How many steps have been made, those before a checkpoint included.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The number of the next forward pass in training, which decides the masks of `Dropout` together with the seed. A
    /// step and an accumulated batch move it on by one, a refused one and everything else leaves it.
    pub fn forward_count(&self) -> u64 {
        self.forward_count
    }

    /// Makes this the number of the next forward pass in training: one that was before draws the same masks again.
    pub fn set_forward_count(&mut self, count: u64) {
        self.forward_count = count;
    }

    /// The largest batch of a step.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// Says what is wrong with rows of which there may be any number.
    pub(crate) fn check<'a>(&self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<(), RunError> {
        let tensors = feed::gather::<N>(inputs, Some(targets));
        self.feed.check(&self.programs[Kind::Train].slots, &tensors, usize::MAX).map(drop)
    }

    fn fill_scalars(&mut self) {
        let (slots, optimizer, rate) =
            (&self.programs[Kind::Train].slots.scalars, &*self.config.optimizer, self.learning_rate());
        optim::fill(slots, optimizer, rate, self.steps + 1, &mut self.numbers);
        self.numbers[..self.declared.len()].copy_from_slice(&self.declared);
        words(slots, &self.numbers, self.seed, self.forward_count, &mut self.scalars);
    }

    /// Runs a program on checked tensors and fetches loss and metrics; an error is the loss of a run that is refused, because
    /// it is not finite or a statistic is not.
    fn run(&mut self, kind: Kind, tensors: &[Tensor<'_>], rows: usize) -> Result<f32, f32> {
        let mut scalars = &self.scalars[..];
        if let (Kind::Accumulate, Some(accumulation)) = (kind, &self.accumulation) {
            scalars = &accumulation.scalars;
        }
        let program = &self.programs[kind];
        let arena = self.arena.floats_mut();
        let finite = self.feed.with(tensors, |inputs| {
            let params = match program.code.writes() {
                true => Params::Own(self.params.floats_mut()),
                false => Params::Shared(self.params.floats()),
            };
            program.run(self.pool.as_mut(), Memory { arena, params, scalars, inputs, batch: rows })
        });
        let number = |role: Role| match program.result(&role) {
            Some(Location::Arena(at)) => self.arena.floats()[at],
            // A network need not have a loss.
            _ => f32::NAN,
        };
        let loss = number(Role::Loss);
        for (index, metric) in self.metrics.iter_mut().enumerate() {
            *metric = number(Role::Metric(index));
        }
        match finite && loss.is_finite() {
            true => Ok(loss),
            false => Err(loss),
        }
    }
}

/// Why a call failed: the program could not be compiled, the run was refused, or a file could not be used.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program for the call could not be compiled.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The run was refused.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A checkpoint was not written or read.
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
}

text_as_debug!(Error);

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Error {
        Error::Checkpoint(Box::new(error))
    }
}

/// Gives the parameters of a program their first values.
fn fill(params: &mut [f32], program: &Program, seed: u64) {
    fill_those(params, program, seed, |_| true);
}

/// The same of some kinds alone.
fn fill_those(params: &mut [f32], program: &Program, seed: u64, wanted: impl Fn(SlotKind) -> bool) {
    let slots = program.slots.params.iter().zip(&program.params).enumerate();
    for (index, (slot, &at)) in slots.filter(|(_, (slot, _))| wanted(slot.kind)) {
        slot.init.fill(&mut params[at..at + slot.len()], seed, index as u64);
    }
}

/// Numbers and keys as compiled code reads them.
fn words(slots: &[ScalarSlot], numbers: &[f32], seed: u64, forward_count: u64, words: &mut [Word]) {
    for ((word, &number), slot) in words.iter_mut().zip(numbers).zip(slots) {
        *word = match *slot {
            ScalarSlot::Key { stream, half, .. } => Word::from(ops::key(seed, stream, forward_count)[half]),
            _ => Word::from(number),
        };
    }
}

/// Whether a slot belongs to the network rather than to an optimizer or to the declaration.
fn is_own(kind: SlotKind) -> bool {
    !matches!(kind, SlotKind::Optimizer(_) | SlotKind::Fixed)
}
