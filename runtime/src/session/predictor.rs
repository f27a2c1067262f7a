//! Inference apart from training: parameters that do not change under it, in as many threads as are wanted.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ndarray::{ArrayView, ArrayViewD, Dimension};

use super::any::{AnySession, fill};
use super::attachments::Attachments;
use super::buffer::{self, Buffer};
use super::feed::{self, Feed};
use super::outputs::{Inference, Outputs};
use super::parameters::Parameters;
use super::params::{named, place, read, write};
use super::scalars::declared;
use super::sizes::{sizes_in, sizes_word, with};
use super::stepper::OnePosition;
use super::trainer::{MAX_BATCH, check_batch};
use super::{Error, Network, Session};
use crate::compile::{Program, Purpose, Stage, Target, compile};
use crate::error::{BuildError, RunError};
use crate::memory::Word;
use crate::network::Definition;
use crate::tensor::Tensor;

/// A network that is only asked.
///
/// A clone shares program and parameters and has memory of its own for what a call computes, so that each thread can have
/// one; all of them give the same bits. Where there may be no memory for it, [`Predictor::try_clone`] says so and `clone`
/// panics. What depends on parameters alone is made by the first call, and again by the first one after they change. A call allocates
/// nothing, but for more than `max_batch` rows, outputs for the caller to keep, and once for large matrices as products read them.
#[derive(Debug)]
pub struct Predictor<N> {
    pub(super) any: AnyPredictor,
    network: PhantomData<fn() -> N>,
}

/// All that a predictor has, whatever its network: this is compiled once, and not again for each network in the crate that declares it.
#[derive(Debug)]
pub(super) struct AnyPredictor {
    pub(super) definition: &'static Definition<'static>,
    pub(super) program: Arc<Program>,
    pub(super) params: Arc<Parameters>,
    max_batch: usize,
    pub(super) winograd: bool,
    pub(super) arena: Buffer,
    pub(super) scalars: Vec<Word>,
    /// The numbers of the declaration, which are the first of the scalars.
    pub(super) declared: Vec<f32>,
    pub(super) feed: Feed,
    outputs: Outputs,
    /// The program of one position, once a sequence was to be continued.
    pub(super) next: Arc<OnceLock<OnePosition>>,
    /// The same for a stream.
    pub(super) stream: Arc<OnceLock<OnePosition>>,
    /// The program with dropout, once it was asked for.
    pub(super) dropping: Arc<OnceLock<Arc<Program>>>,
    pub(super) attachments: Arc<Attachments>,
}

impl<N: Network> Predictor<N> {
    pub(super) fn of(any: AnyPredictor) -> Predictor<N> {
        Predictor { any, network: PhantomData }
    }

    /// The outputs in inference mode, for any number of rows, taken `max_batch` at a time. They borrow the predictor.
    ///
    /// # Errors
    /// Wrong shapes, no rows, outputs for which there is no memory.
    pub fn predict(&mut self, inputs: N::Inputs<'_>) -> Result<N::Outputs<'_>, RunError> {
        let rows = self.any.predict(&feed::gather::<N>(inputs, None))?;
        Ok(self.any.outputs.views::<N>(rows))
    }

    /// As [`Predictor::predict`], with outputs that are the caller's own: an array, or the network's struct of arrays. Nothing is
    /// copied for it; the next prediction makes room anew.
    ///
    /// # Errors
    /// As for [`Predictor::predict`].
    pub fn predict_owned(&mut self, inputs: N::Inputs<'_>) -> Result<N::OwnedOutputs, RunError> {
        let rows = self.any.predict(&feed::gather::<N>(inputs, None))?;
        Ok(self.any.outputs.take_arrays::<N>(rows))
    }

    /// The names of all parameters and running statistics: `dense1.weight`, `batch_norm1.running_mean`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        named(&self.any.program.slots).map(|(_, slot)| slot.name.as_str())
    }

    /// A parameter or running statistic. The view of a convolution's weights is not contiguous.
    ///
    /// # Errors
    /// A name that the network does not have; the message suggests the closest.
    pub fn param(&self, name: &str) -> Result<ArrayViewD<'_, f32>, RunError> {
        read(&self.any.program, self.any.params.floats(), name)
    }

    /// Overwrites a parameter or running statistic, of this predictor and of those cloned from it from now on. Earlier clones
    /// keep what they have: the parameters are copied if there are any.
    ///
    /// # Errors
    /// A name that the network does not have, another shape than the parameter's, a copy for which there is no memory.
    pub fn set_param<D: Dimension>(&mut self, name: &str, value: ArrayView<'_, f32, D>) -> Result<(), RunError> {
        let index = place(&self.any.program, name, value.shape())?;
        let program = Arc::clone(&self.any.program);
        let floats = self.any.own_params().ok_or(RunError::NoMemory { what: "a copy of the parameters" })?;
        write(&program, floats, index, value);
        Ok(())
    }

    /// How many rows are taken at a time.
    pub fn max_batch(&self) -> usize {
        self.any.max_batch
    }
}

impl<N> Predictor<N> {
    /// A clone, if there is memory for what its calls compute.
    ///
    /// # Errors
    /// [`BuildError::NoMemory`].
    pub fn try_clone(&self) -> Result<Predictor<N>, BuildError> {
        Ok(Predictor { any: self.any.try_clone()?, network: PhantomData })
    }
}

impl AnyPredictor {
    /// With a copy of these parameters; those of the optimizer lie after the network's own and stay there.
    pub(super) fn new(
        definition: &'static Definition<'static>,
        program: Arc<Program>,
        params: &[f32],
        declared: &[f32],
        (max_batch, winograd): (usize, bool),
    ) -> Result<AnyPredictor, BuildError> {
        let mut own = Parameters::from(buffer::params(&program)?);
        own.floats_mut().copy_from_slice(&params[..program.params_len]);
        own.make_room(&program)?;
        let mut scalars = vec![Word::default(); program.slots.scalars.len()];
        scalars.iter_mut().zip(declared).for_each(|(word, &number)| *word = Word::from(number));
        Ok(AnyPredictor {
            definition,
            declared: declared.to_vec(),
            arena: buffer::arena(&program, max_batch)?,
            scalars,
            feed: Feed::new(&program.slots, max_batch)?,
            outputs: Outputs::new(definition, max_batch)?,
            params: Arc::new(own),
            next: Arc::default(),
            stream: Arc::default(),
            dropping: Arc::default(),
            attachments: Arc::default(),
            program,
            max_batch,
            winograd,
        })
    }

    /// With what is attached to a session.
    pub(super) fn with_attachments(self, attachments: &Attachments) -> AnyPredictor {
        AnyPredictor { attachments: Arc::new(attachments.clone()), ..self }
    }

    /// Leaves the outputs of so many rows in their place.
    fn predict(&mut self, tensors: &[Tensor<'_>]) -> Result<usize, RunError> {
        let rows = self.feed.check(&self.program.slots, tensors, usize::MAX)?;
        let (program, params, scalars) = (&*self.program, &*self.params, &self.scalars[..]);
        Inference {
            program,
            arena: self.arena.floats_mut(),
            params,
            scalars,
            feed: &mut self.feed,
            max_batch: self.max_batch,
            pool: None,
        }
        .run(&mut self.outputs, tensors, rows)?;
        Ok(rows)
    }

    /// Parameters that no clone shares; `None` if they have to be copied for that and there is no memory.
    pub(super) fn own_params(&mut self) -> Option<&mut [f32]> {
        if Arc::get_mut(&mut self.params).is_none() {
            self.params = Arc::new(self.params.try_clone()?);
        }
        Arc::get_mut(&mut self.params).map(Parameters::floats_mut)
    }

    fn try_clone(&self) -> Result<AnyPredictor, BuildError> {
        Ok(AnyPredictor {
            definition: self.definition,
            program: Arc::clone(&self.program),
            params: Arc::clone(&self.params),
            max_batch: self.max_batch,
            winograd: self.winograd,
            // What they hold between calls means nothing.
            arena: buffer::arena(&self.program, self.max_batch)?,
            scalars: self.scalars.clone(),
            declared: self.declared.clone(),
            feed: Feed::new(&self.program.slots, self.max_batch)?,
            outputs: self.outputs.like(self.max_batch)?,
            next: Arc::clone(&self.next),
            stream: Arc::clone(&self.stream),
            dropping: Arc::clone(&self.dropping),
            attachments: Arc::clone(&self.attachments),
        })
    }
}

impl<N> Clone for Predictor<N> {
    /// As [`Predictor::try_clone`].
    ///
    /// # Panics
    /// If there is no memory for what the calls of the clone compute.
    fn clone(&self) -> Predictor<N> {
        self.try_clone().expect("`try_clone` has an error for this")
    }
}

/// The settings of a predictor.
#[derive(Debug)]
pub struct PredictorBuilder<N> {
    settings: Settings,
    network: PhantomData<fn() -> N>,
}

/// The same, whatever the network.
#[derive(Clone, Copy, Debug)]
struct Settings {
    definition: &'static Definition<'static>,
    /// Whether the sizes are chosen, and not those of a file.
    is_chosen: bool,
    max_batch: usize,
    seed: u64,
    winograd: bool,
}

impl<N: Network> PredictorBuilder<N> {
    /// With `max_batch` 128 and seed 0.
    #[expect(clippy::new_without_default, reason = "made by the expansion of `network!` alone")]
    pub fn new() -> PredictorBuilder<N> {
        let (definition, max_batch) = (N::declared(), MAX_BATCH);
        let settings = Settings { definition, is_chosen: false, max_batch, seed: 0, winograd: true };
        PredictorBuilder { settings, network: PhantomData }
    }

    /// Chooses sizes of the network, as [`Trainer::with`](super::Trainer::with). [`PredictorBuilder::load`] takes those of the file
    /// unless this was called.
    pub fn with(mut self, choose: impl FnOnce(&mut N::Sizes)) -> PredictorBuilder<N> {
        self.settings.definition = with::<N>(self.settings.definition, choose);
        self.settings.is_chosen = true;
        self
    }

    /// The declaration with its sizes.
    pub(super) fn definition(&self) -> &'static Definition<'static> {
        self.settings.definition
    }

    /// How many rows are taken at a time. From 1 up.
    pub fn max_batch(mut self, max_batch: usize) -> PredictorBuilder<N> {
        self.settings.max_batch = max_batch;
        self
    }

    /// What the first values of the parameters are drawn from: as those of a trainer with this seed.
    pub fn seed(mut self, seed: u64) -> PredictorBuilder<N> {
        self.settings.seed = seed;
        self
    }

    /// Whether products of 3 x 3 windows may be computed in the form of Winograd, as [`Trainer::winograd`](super::Trainer::winograd).
    pub fn winograd(mut self, winograd: bool) -> PredictorBuilder<N> {
        self.settings.winograd = winograd;
        self
    }

    /// Compiles inference with the parameters and running statistics of a file: what a program needs that is deployed beside a
    /// checkpoint. Neither optimizer nor trainer takes part; the bits are those that the session predicts which saved it, if
    /// [`PredictorBuilder::winograd`] is as it was there. Sizes that were chosen for that session are those of the predictor.
    ///
    /// # Errors
    /// As for [`PredictorBuilder::build`] and [`Predictor::load_mapped`].
    pub fn load(self, path: impl AsRef<Path>) -> Result<Predictor<N>, Error> {
        let path = path.as_ref();
        let builder = match if self.settings.is_chosen { None } else { sizes_in::<N>(path)? } {
            Some(sizes) => self.with(|own| *own = sizes),
            None => self,
        };
        let mut predictor = builder.build()?;
        predictor.load(path)?;
        Ok(predictor)
    }

    /// Compiles inference. The parameters have their first values, to be replaced with [`Predictor::load`] or
    /// [`Predictor::set_param`]. The network need not have a loss.
    ///
    /// # Errors
    /// Settings out of range, buffers that are too large.
    pub fn build(self) -> Result<Predictor<N>, BuildError> {
        Ok(Predictor::of(self.settings.build()?))
    }

    /// Compiles inference with the parameters and the sizes of a session as they are now. A session's own `max_batch` needs no
    /// program of its own: see [`Session::predictor`].
    ///
    /// # Errors
    /// As for [`PredictorBuilder::build`]; other sizes than those of the session.
    pub fn build_from(self, session: &Session<N>) -> Result<Predictor<N>, BuildError> {
        Ok(Predictor::of(self.settings.build_from(&session.any)?))
    }

    /// The text of a stage of inference; of the error if there is one.
    pub fn ir(&self, stage: Stage) -> String {
        self.settings.ir(stage)
    }
}

impl Settings {
    fn build(self) -> Result<AnyPredictor, BuildError> {
        let program = self.program()?;
        let mut params = buffer::params(&program)?;
        fill(params.floats_mut(), &program, self.seed, 1);
        let declared = declared(&program.slots.scalars);
        AnyPredictor::new(self.definition, program, params.floats(), &declared, (self.max_batch, self.winograd))
    }

    fn build_from(self, session: &AnySession) -> Result<AnyPredictor, BuildError> {
        let (chosen, own) = (sizes_word(self.definition), sizes_word(session.definition));
        if self.is_chosen && chosen != own {
            let [chosen, own] = [chosen, own].map(Option::unwrap_or_default);
            return Err(BuildError::Setting {
                name: "sizes",
                wanted: "those of the session",
                actual: format!("`{chosen}`, and the session has `{own}`"),
            });
        }
        let program = Settings { definition: session.definition, ..self }.program()?;
        let settings = (self.max_batch, self.winograd);
        let (params, declared) = (session.params.floats(), &session.declared);
        let predictor = AnyPredictor::new(session.definition, program, params, declared, settings)?;
        Ok(predictor.with_attachments(&session.attachments))
    }

    fn program(&self) -> Result<Arc<Program>, BuildError> {
        check_batch(self.max_batch)?;
        let target = Target::new(self.max_batch).with_winograd(self.winograd);
        let compilation = compile(self.definition, Purpose::Predict, target);
        Ok(Arc::new(compilation.into_program()?))
    }

    fn ir(self, stage: Stage) -> String {
        let target = Target::printed(self.max_batch).with_winograd(self.winograd);
        let compilation = compile(self.definition, Purpose::Predict, target);
        let text = check_batch(self.max_batch).and_then(|()| compilation.text(stage));
        text.unwrap_or_else(|error| error.to_string())
    }
}
