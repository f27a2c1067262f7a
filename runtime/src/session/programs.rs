//! The programs of a session, each compiled when it is first asked for and kept under what it is for.

use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use super::any::AnySession;
use super::buffer;
use super::chunked::ChunkedEvaluation;
use super::monte_carlo;
use super::outputs::Outputs;
use crate::compile::{Compilation, Program, Purpose, Target, compile};
use crate::error::BuildError;
use crate::jit::Pool;
use crate::optim::TrainingConfig;

/// What a session has programs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A step.
    Train,
    /// Loss and gradients.
    Gradients,
    /// Gradients merged with those of the batches before.
    Accumulate,
    /// The update from merged gradients.
    Update,
    /// Loss and metrics of one run.
    Evaluate,
    /// Loss and metrics of more rows than fit one run.
    EvaluateInChunks,
    /// Outputs.
    Predict,
    /// Outputs with dropout.
    MonteCarlo,
    /// What a step would do, measured.
    Diagnose,
    /// Running statistics of a set of rows.
    Recalibrate,
}

impl Kind {
    const COUNT: usize = Kind::ALL.len();

    const ALL: [Kind; 10] = [
        Kind::Train,
        Kind::Gradients,
        Kind::Accumulate,
        Kind::Update,
        Kind::Evaluate,
        Kind::EvaluateInChunks,
        Kind::Predict,
        Kind::MonteCarlo,
        Kind::Diagnose,
        Kind::Recalibrate,
    ];

    /// What it is compiled for.
    pub(super) fn purpose(self, config: &TrainingConfig) -> Purpose<'_> {
        match self {
            Kind::Train => Purpose::Train(config),
            Kind::Gradients => Purpose::Gradients(Some(config)),
            Kind::Accumulate => Purpose::Accumulate(config),
            Kind::Update => Purpose::Update(config),
            Kind::Evaluate | Kind::EvaluateInChunks => Purpose::Evaluate,
            Kind::Predict => Purpose::Predict,
            Kind::MonteCarlo => Purpose::MonteCarlo,
            Kind::Diagnose => Purpose::Diagnose(config),
            Kind::Recalibrate => Purpose::Recalibrate(config),
        }
    }
}

/// What has been compiled.
#[derive(Clone)]
enum Compiled {
    /// For one run.
    Whole(Arc<Program>),
    /// For any number of rows.
    InChunks(Arc<ChunkedEvaluation>),
}

/// The programs so far.
pub(super) struct Programs {
    by_kind: [Option<Compiled>; Kind::COUNT],
}

impl Programs {
    /// With the first, that of a step.
    pub(super) fn new(train: Program) -> Programs {
        let mut programs = Programs { by_kind: [const { None }; Kind::COUNT] };
        programs.insert(Kind::Train, Compiled::Whole(Arc::new(train)));
        programs
    }

    fn has(&self, kind: Kind) -> bool {
        self.by_kind[kind as usize].is_some()
    }

    fn insert(&mut self, kind: Kind, compiled: Compiled) {
        self.by_kind[kind as usize] = Some(compiled);
    }

    /// A program to be run while the session's memory is lent to it, or elsewhere.
    pub(super) fn shared(&self, kind: Kind) -> Arc<Program> {
        match &self.by_kind[kind as usize] {
            Some(Compiled::Whole(program)) => Arc::clone(program),
            _ => unreachable!("a program is compiled before it is used"),
        }
    }

    /// The same for what goes through rows in pieces.
    pub(super) fn chunked(&self, kind: Kind) -> Arc<ChunkedEvaluation> {
        match &self.by_kind[kind as usize] {
            Some(Compiled::InChunks(pieces)) => Arc::clone(pieces),
            _ => unreachable!("a program is compiled before it is used"),
        }
    }
}

/// What there are programs for.
impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Kind::ALL.into_iter().filter(|&kind| self.has(kind))).finish()
    }
}

impl Index<Kind> for Programs {
    type Output = Program;

    fn index(&self, kind: Kind) -> &Program {
        match &self.by_kind[kind as usize] {
            Some(Compiled::Whole(program)) => program,
            _ => unreachable!("a program is compiled before it is used"),
        }
    }
}

impl AnySession {
    /// Compiles what has not been compiled yet, and makes room for it.
    pub(super) fn compile(&mut self, kind: Kind) -> Result<(), BuildError> {
        if self.programs.has(kind) {
            return Ok(());
        }
        let compilation = self.compilation(kind);
        let compiled = match kind {
            Kind::EvaluateInChunks | Kind::Recalibrate => {
                let pieces = ChunkedEvaluation::new(compilation.simplified()?, self.target())?;
                if kind == Kind::Recalibrate {
                    self.statistics = compilation.statistics()?.to_vec();
                }
                Compiled::InChunks(Arc::new(pieces))
            }
            Kind::Diagnose => {
                let measures = compilation.measures()?.to_vec();
                let program = compilation.into_program()?;
                let program = self.with_room(program)?;
                self.measures = measures;
                Compiled::Whole(program)
            }
            _ => {
                let outputs =
                    (kind == Kind::Predict).then(|| Outputs::new(self.definition, self.max_batch)).transpose()?;
                let program = compilation.into_program()?;
                let program = self.with_room(program)?;
                if kind == Kind::Predict {
                    self.params.make_room(&program)?;
                }
                self.outputs = outputs.or(self.outputs.take());
                Compiled::Whole(program)
            }
        };
        self.programs.insert(kind, compiled);
        Ok(())
    }

    /// Where this session runs its programs.
    pub(super) fn target(&self) -> Target {
        Target::new(self.max_batch).with_threads(threads(&self.pool)).with_winograd(self.config.winograd)
    }

    /// The stages of one of its programs.
    pub(super) fn compilation(&self, kind: Kind) -> Compilation<'_> {
        let target = match kind {
            Kind::MonteCarlo => monte_carlo::target(threads(&self.pool), self.config.winograd),
            _ => self.target(),
        };
        compile(self.definition, kind.purpose(&self.config), target)
    }

    /// The program, after room has been made for it in the arena.
    fn with_room(&mut self, program: Program) -> Result<Arc<Program>, BuildError> {
        self.pool.iter_mut().for_each(|pool| program.code.reserve(pool));
        if program.arena > self.arena.len() {
            self.arena = buffer::arena(&program, self.max_batch)?;
        }
        Ok(Arc::new(program))
    }
}

/// How many threads run a session's programs.
fn threads(pool: &Option<Pool>) -> usize {
    pool.as_ref().map_or(1, Pool::threads)
}
