//! A session, whatever its network: parameters, programs, and the calls that run them on tensors in order.
//!
//! In: tensors, in the order of the inputs and then of the targets. Out: numbers in the order of the declaration. What is generic over
//! networks, [`Session`](super::Session), names them, and does nothing else: so all of this is compiled once, and not again for each
//! network in the crate that declares it.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::compile::{Program, Purpose, Target, compile};
use crate::diagnose::Measure;
use crate::error::{BuildError, RunError};
use crate::init::Init;
use crate::ir::{ParamSlot, Role, ScalarSlot, SlotKind, ops};
use crate::jit::Pool;
use crate::memory::{Memory, Params, Word};
use crate::network::Definition;
use crate::optim::{self, TrainingConfig};
use crate::plan::Location;
use crate::schedule::Schedule;
use crate::tensor::Tensor;

use super::accumulation::Accumulation;
use super::attachments::Attachments;
use super::buffer::{self, Buffer};
use super::feed::Feed;
use super::outputs::{Inference, Outputs};
use super::parameters::Parameters;
use super::position::Position;
use super::predictor::AnyPredictor;
use super::programs::{Kind, Programs};
use super::sentinel::Ran;
use super::{Error, Gradients, Report, checkpoint, rows, scalars};

/// All that a session has.
#[derive(Debug)]
pub(super) struct AnySession {
    pub(super) definition: &'static Definition<'static>,
    pub(super) config: TrainingConfig,
    pub(super) max_batch: usize,
    pub(super) rate: Schedule,
    pub(super) steps: u64,
    pub(super) seed: u64,
    /// The number of the next forward pass in training.
    pub(super) forward_count: u64,
    /// How far `fit` has come.
    pub(super) position: Position,
    pub(super) attachments: Attachments,
    pub(super) programs: Programs,
    /// What is merged between two updates, once anything was.
    pub(super) accumulation: Option<Accumulation>,
    /// Where predictions go, once there were any.
    pub(super) outputs: Option<Outputs>,
    /// What the results of a diagnosis are.
    pub(super) measures: Vec<Measure>,
    /// Which statistics a recalibration gives.
    pub(super) statistics: Vec<usize>,
    pub(super) params: Parameters,
    /// The parameters before the step that runs, if a sentinel watches over it.
    pub(super) kept: Option<Buffer>,
    pub(super) arena: Buffer,
    pub(super) scalars: Vec<Word>,
    /// The numbers of the declaration that may be set; they are the first of the scalars of every program.
    pub(super) declared: Vec<f32>,
    /// Those of the scalars that are numbers.
    pub(super) numbers: Vec<f32>,
    pub(super) feed: Feed,
    pub(super) metrics: Vec<f32>,
    /// A layer whose training needs more than one row: the first whose statistics are not frozen from the beginning.
    pub(super) needs_rows: Option<String>,
    /// None for one thread.
    pub(super) pool: Option<Pool>,
}

impl AnySession {
    /// Compiles the training step and fills the parameters.
    pub(super) fn new(
        definition: &'static Definition<'static>,
        config: TrainingConfig,
        max_batch: usize,
        seed: u64,
        threads: usize,
    ) -> Result<AnySession, BuildError> {
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
        fill(params.floats_mut(), &train, seed, threads);
        let needs_rows = rows::layer_by_batch(definition, &train, &config)?;
        let declared = scalars::declared(&train.slots.scalars);
        let mut session = AnySession {
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
        };
        session.fill_declared();
        Ok(session)
    }

    /// One training step on a batch.
    pub(super) fn step(&mut self, tensors: &[Tensor<'_>]) -> Result<Report<'_>, RunError> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.fill_scalars();
        self.keep();
        let loss = self.run(Kind::Train, tensors, rows);
        let loss = self.sound(Ran::Step, loss, tensors, rows)?;
        self.steps += 1;
        self.forward_count = self.forward_count.wrapping_add(1);
        Ok(Report { loss, metrics: &self.metrics })
    }

    /// The gradients of the loss on a batch.
    pub(super) fn gradients(&mut self, tensors: &[Tensor<'_>]) -> Result<Gradients<'_>, Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.compile(Kind::Gradients)?;
        self.fill_scalars();
        let loss = self.run(Kind::Gradients, tensors, rows);
        let loss = self.sound(Ran::Gradients, loss, tensors, rows)?;
        let program = &self.programs[Kind::Gradients];
        Ok(Gradients { loss, program, arena: self.arena.floats(), params: self.params.floats() })
    }

    /// Loss and metrics in inference mode, on any number of rows.
    pub(super) fn evaluate(&mut self, tensors: &[Tensor<'_>]) -> Result<Report<'_>, Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, usize::MAX)?;
        let loss = if rows > self.max_batch {
            self.evaluate_in_pieces(tensors, rows)?
        } else {
            self.compile(Kind::Evaluate)?;
            self.run(Kind::Evaluate, tensors, rows).unwrap_or_else(|loss| loss)
        };
        Ok(Report { loss, metrics: &self.metrics })
    }

    /// Runs inference; where the outputs of so many rows are.
    pub(super) fn predict(&mut self, tensors: &[Tensor<'_>]) -> Result<(&mut Outputs, usize), Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, usize::MAX)?;
        self.compile(Kind::Predict)?;
        let program = &self.programs[Kind::Predict];
        let outputs = self.outputs.as_mut().expect("room was made when the program was compiled");
        let (arena, params, scalars) = (self.arena.floats_mut(), &self.params, &self.scalars[..]);
        let (feed, max_batch, pool) = (&mut self.feed, self.max_batch, self.pool.as_mut());
        Inference { program, arena, params, scalars, feed, max_batch, pool }.run(outputs, tensors, rows)?;
        Ok((outputs, rows))
    }

    /// A predictor with the parameters as they are now.
    pub(super) fn predictor(&mut self) -> Result<AnyPredictor, BuildError> {
        self.compile(Kind::Predict)?;
        let program = self.programs.shared(Kind::Predict);
        let (params, declared) = (self.params.floats(), &self.declared);
        let settings = (self.max_batch, self.config.winograd);
        let predictor = AnyPredictor::new(self.definition, program, params, declared, settings)?;
        Ok(predictor.with_attachments(&self.attachments))
    }

    /// The learning rate of the next step.
    pub(super) fn learning_rate(&self) -> f64 {
        self.rate.rate(self.steps)
    }

    /// Says what is wrong with rows of which there may be any number.
    pub(super) fn check(&self, tensors: &[Tensor<'_>]) -> Result<(), RunError> {
        self.feed.check(&self.programs[Kind::Train].slots, tensors, usize::MAX).map(drop)
    }

    /// The scalars of the next step.
    pub(super) fn fill_scalars(&mut self) {
        let (slots, optimizer, rate) =
            (&self.programs[Kind::Train].slots.scalars, &*self.config.optimizer, self.learning_rate());
        optim::fill(slots, optimizer, rate, self.steps + 1, &mut self.numbers);
        self.numbers[..self.declared.len()].copy_from_slice(&self.declared);
        words(slots, &self.numbers, self.seed, self.forward_count, &mut self.scalars);
    }

    /// Runs a program on checked tensors and reads loss and metrics; an error is the loss of a run that is refused, because
    /// it is not finite or a statistic is not.
    pub(super) fn run(&mut self, kind: Kind, tensors: &[Tensor<'_>], rows: usize) -> Result<f32, f32> {
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

/// Gives the parameters of a program, which are 0, their first values, in up to so many threads. What stays 0, as what an optimizer
/// keeps does, is not touched: that takes memory when a step first writes it, and never in a session that makes none.
pub(super) fn fill(params: &mut [f32], program: &Program, seed: u64, threads: usize) {
    let others = threads.min(params.len() / ELEMENTS_PER_THREAD).saturating_sub(1);
    let mut waiting = slots(params, program, |slot| !slot.init.is_zero());
    if others == 0 {
        return waiting.into_iter().for_each(|(index, init, values)| init.fill(values, seed, index));
    }
    waiting.sort_by_key(|(_, _, values)| values.len());
    let waiting = Mutex::new(waiting);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || {
        while let Some((index, init, values)) = next() {
            init.fill(values, seed, index);
        }
    };
    thread::scope(|scope| {
        // Where no thread can be made, this one does all.
        (0..others).map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok()).for_each(drop);
        work();
    });
}

/// Numbers drawn that are worth a thread: half a millisecond of work.
const ELEMENTS_PER_THREAD: usize = 100_000;

/// Gives some kinds of parameters their first values.
pub(super) fn fill_those(params: &mut [f32], program: &Program, seed: u64, wanted: impl Fn(SlotKind) -> bool) {
    slots(params, program, |slot| wanted(slot.kind))
        .into_iter()
        .for_each(|(index, init, values)| init.fill(values, seed, index));
}

/// Some parameters: which they are, what they begin with, and where they are.
fn slots<'p>(
    mut params: &'p mut [f32],
    program: &Program,
    wanted: impl Fn(&ParamSlot) -> bool,
) -> Vec<(u64, Init, &'p mut [f32])> {
    let slots = program.slots.params.iter().zip(&program.params).enumerate();
    let mut wanted: Vec<_> = slots.filter(|(_, (slot, _))| wanted(slot)).collect();
    wanted.sort_by_key(|&(_, (_, &at))| at);
    let mut passed = 0;
    let part = |(index, (slot, &at)): (usize, (&ParamSlot, &usize))| {
        let (_, after) = std::mem::take(&mut params).split_at_mut(at - passed);
        let (values, rest) = after.split_at_mut(slot.len());
        (params, passed) = (rest, at + values.len());
        (index as u64, slot.init, values)
    };
    wanted.into_iter().map(part).collect()
}

/// Numbers and keys as compiled code reads them.
pub(super) fn words(slots: &[ScalarSlot], numbers: &[f32], seed: u64, forward_count: u64, words: &mut [Word]) {
    for ((word, &number), slot) in words.iter_mut().zip(numbers).zip(slots) {
        *word = match *slot {
            ScalarSlot::Key { stream, half, .. } => Word::from(ops::key(seed, stream, forward_count)[half]),
            _ => Word::from(number),
        };
    }
}

/// Whether a slot belongs to the network rather than to an optimizer or to the declaration.
pub(super) fn is_own(kind: SlotKind) -> bool {
    !matches!(kind, SlotKind::Optimizer(_) | SlotKind::Fixed)
}
