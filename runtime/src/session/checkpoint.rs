//! Saving a session and going on from where it stood.
//!
//! In: a path. Out: a file with everything that decides the next step, or a session that stands where the saved one did.
//! Everything is read and checked before anything is taken over.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use super::any::AnySession;
use super::attachments::Attachments;
use super::identity::Identity;
use super::name_map::fits;
use super::params::named;
use super::position::{Pass, Position};
use super::programs::Kind;
use super::scalars::declared;
use super::{Network, Session};
use crate::compile::Program;
use crate::error::BuildError;
use crate::ir::declared::stored_positions;
use crate::ir::{ParamSlot, SlotKind, Slots};
use crate::network::Definition;
use crate::optim::accumulated;
use crate::safetensors::{CheckpointError, Entry, File, Mistakes, Tensor, check_size, shown, write};
use crate::schedule::{Schedule, check_rate};

/// The names of the words that a checkpoint carries beside its tensors.
const VERSION: &str = "gradloom";
pub(super) const NETWORK: &str = "network";
const DECLARATION: &str = "declaration";
const OPTIMIZER: &str = "optimizer";
const TRAINING: &str = "training";
const STEPS: &str = "steps";
const SEED: &str = "seed";
const PASSES: &str = "forward_count";
const RATE: &str = "learning_rate";
const ROWS: &str = "rows_accumulated";
/// What `ROWS` was called where gradients were summed up, times the rows of each batch, rather than averaged.
const ROWS_OF_SUMS: &str = "accumulated_rows";
const EPOCHS: &str = "epochs";
const EPOCH: &str = "epoch";
pub(super) const SCALARS: &str = "scalars";
pub(super) const SIZES: &str = "sizes";

/// What the tensors and words of a checkpoint mean.
const PRESENT: &str = "1";

impl<N: Network> Session<N> {
    /// Writes parameters, running statistics, the optimizer's state, the counts of steps and forward passes, the learning rate
    /// unless it follows a schedule, and the seed to a file. Between an accumulated batch and its update, the gradients so far
    /// and the number of rows that they are of as well. Of [`Session::fit`], how many epochs are complete, and in the middle of
    /// one, where it stands: the next `fit` goes on there.
    ///
    /// The file also says what network and training it is of: the declaration and the settings of the training, as text. What was
    /// attached to the network, with [`Session::attach`], is there as well.
    ///
    /// The file is a safetensors file: every tensor is there under its name (see [`Session::names`]), in little-endian `F32`,
    /// and other programs can read it. It carries checksums of its header and of every tensor. It is written beside `path`,
    /// brought to the disk and renamed, so that whatever happens, the path holds the whole of the old or of the new file, also
    /// where several processes save to it. A process that is killed may leave a `.tmp` file beside it, which the next save
    /// removes. A link is followed; mode and owner of a file that is replaced stay as they are.
    ///
    /// # Errors
    /// A file that cannot be written, and a path to a pipe, a device or a socket: those can't be replaced as a whole. So is a
    /// path such as `/dev/stdout` to what a process has open: it would go on with the old file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        self.any.save(path.as_ref())
    }

    /// Goes on from a file of [`Session::save`]: the next steps give the same bits as those of the session that was saved. What
    /// was accumulated here is replaced by what was there, mostly nothing.
    ///
    /// That session has to have been of the same network and training: the declared layers, ports and loss have to be the same,
    /// and so have the optimizer and its settings, clipping, and what groups make of the parameters. The name of the network,
    /// its metrics and initializers, `max_batch`, `threads` and `sentinel` may differ. The learning rate is restored if it
    /// follows no schedule; a schedule is that of this session, at the step that was saved. What was attached there takes the place of
    /// what was attached here.
    ///
    /// A file of an earlier version says less: of its network the name has to be the same, of the training the optimizer.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, is no checkpoint, or one of another network or training; the message says what is
    /// there and what is here. The session is then as it was before. For parameters alone, see [`Session::load_params`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        self.any.load(path.as_ref())
    }
}

impl AnySession {
    fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let identity = Identity::of(self);
        let (program, rows) = (self.state(self.accumulated_rows() > 0), self.accumulated_rows());
        let stored = |index: usize, slot: &ParamSlot| &self.params.floats()[program.params[index]..][..slot.len()];
        let declared: Vec<_> = named(&program.slots)
            .map(|(index, slot)| (slot, slot.declared_shape(), in_declared_order(slot, stored(index, slot))))
            .collect();
        let tensors: Vec<Tensor<'_>> =
            declared.iter().map(|(slot, shape, floats)| Tensor { name: &slot.name, shape, floats }).collect();
        let mut words = vec![
            (VERSION, PRESENT.to_string()),
            (OPTIMIZER, identity.optimizer),
            (STEPS, self.steps.to_string()),
            (SEED, self.seed.to_string()),
            (PASSES, self.forward_count.to_string()),
            (EPOCHS, self.position.epochs.to_string()),
        ];
        words.extend(self.position.pass.as_ref().map(|pass| (EPOCH, pass.word())));
        words.extend(identity.network.map(|name| (NETWORK, name)));
        words.extend(identity.declaration.map(|text| (DECLARATION, text)));
        words.extend(identity.training.map(|text| (TRAINING, text)));
        words.extend(identity.sizes.map(|sizes| (SIZES, sizes)));
        words.extend((rows > 0).then(|| (ROWS, rows.to_string())));
        words.extend((!self.declared.is_empty()).then(|| (SCALARS, scalars_word(self.definition, &self.declared))));
        // A schedule follows from the step.
        words.extend(self.rate.fixed().map(|rate| (RATE, rate.to_string())));
        let attached: Vec<(String, &str)> = self.attachments.words().collect();
        words.extend(attached.iter().map(|(word, text)| (word.as_str(), text.to_string())));
        write(path, &words, &tensors)
    }

    fn load(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let mut file = File::open(path)?;
        let words = Words::of(self.definition, &file, path)?;
        self.check_fit(&file, &words, path)?;
        if words.rows > 0 {
            let build = |error| CheckpointError::Build { path: path.to_path_buf(), error: Box::new(error) };
            self.compile_accumulation().map_err(build)?;
        }

        let mut params = copy(self.params.floats(), path)?;
        let program = self.state(words.rows > 0);
        for (index, slot) in named(&program.slots) {
            let tensor = file.header.tensor(&slot.name).expect("the names were compared").clone();
            read(&mut file, &tensor, slot, &mut params[program.params[index]..][..slot.len()], path)?;
        }
        self.params.floats_mut().copy_from_slice(&params);
        self.steps = words.steps;
        self.seed = words.seed;
        self.forward_count = words.passes;
        self.position = words.position;
        self.attachments = words.attachments;
        self.declared
            .copy_from_slice(&words.scalars.unwrap_or_else(|| declared(&self.programs[Kind::Train].slots.scalars)));
        self.fill_declared();
        self.rate = words.rate.map_or(self.config.optimizer.settings().rate, Schedule::constant);
        if let Some(accumulation) = &mut self.accumulation {
            accumulation.rows = words.rows;
        }
        Ok(())
    }

    /// The program whose parameters are all that is to be saved: with accumulated gradients where there are any.
    fn state(&self, accumulated: bool) -> &Program {
        &self.programs[if accumulated { Kind::Accumulate } else { Kind::Train }]
    }

    /// The network and the training have to be those of this session, and so have the tensors, exactly. Nothing is compiled for
    /// that.
    fn check_fit(&self, file: &File, words: &Words, path: &Path) -> Result<(), CheckpointError> {
        let mut mistakes = Mistakes::default();
        Identity::of(self).differences(&words.identity).into_iter().for_each(|difference| mistakes.add(|| difference));
        if !mistakes.is_empty() && fits(&self.programs[Kind::Train], file) {
            mistakes.add(|| "`load_params` takes its parameters and running statistics alone".to_string());
        }
        let own = || named(&self.programs[Kind::Train].slots).map(|(_, slot)| slot);
        let merged = own().filter(|slot| words.rows > 0 && is_trainable(slot) && !self.config.freezes(&slot.name));
        let merged: Vec<(String, Vec<usize>)> =
            merged.map(|slot| (accumulated(&slot.name), slot.declared_shape())).collect();
        let own = own().map(|slot| (&*slot.name, slot.declared_shape()));
        let mut known = HashSet::new();
        for (name, shape) in own.chain(merged.iter().map(|(name, shape)| (&**name, shape.clone()))) {
            known.insert(name);
            match file.header.tensor(name) {
                Some(tensor) if tensor.shape == shape => {}
                Some(tensor) => mistakes.add(|| format!("`{name}` is {:?} there, and {shape:?} here", tensor.shape)),
                None => mistakes.add(|| format!("`{name}` is missing there")),
            }
        }
        for tensor in file.header.tensors.iter().filter(|tensor| !known.contains(&*tensor.name)) {
            mistakes.add(|| format!("`{}` is unknown here", shown(&tensor.name)));
        }
        mistakes.check(path, self.definition.name)
    }
}

/// Whether a checkpoint with all these parameters could be loaded, with gradients that were accumulated between two steps as
/// well.
pub(super) fn check_room(slots: &Slots) -> Result<(), BuildError> {
    let merged: Vec<(String, usize)> = named(slots)
        .filter(|(_, slot)| is_trainable(slot))
        .map(|(_, slot)| (accumulated(&slot.name), slot.shape.len()))
        .collect();
    let own = named(slots).map(|(_, slot)| (&*slot.name, slot.shape.len()));
    let all = own.chain(merged.iter().map(|(name, rank)| (&**name, *rank)));
    check_size(all).map_err(|reason| BuildError::Checkpoint { reason })
}

/// Whether training may change a parameter.
fn is_trainable(slot: &ParamSlot) -> bool {
    matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter)
}

/// The elements of a parameter in the order of users and files.
fn in_declared_order<'p>(slot: &ParamSlot, stored: &'p [f32]) -> Cow<'p, [f32]> {
    match slot.order.is_empty() {
        true => Cow::Borrowed(stored),
        false => stored_positions(&slot.shape, slot.order).map(|at| stored[at]).collect(),
    }
}

/// Reads the elements of a parameter, which a file has in the order of users.
pub(super) fn read(
    file: &mut File,
    tensor: &Entry,
    slot: &ParamSlot,
    param: &mut [f32],
    path: &Path,
) -> Result<(), CheckpointError> {
    if slot.order.is_empty() {
        return file.read(tensor, param);
    }
    let mut declared = copy(param, path)?;
    file.read(tensor, &mut declared)?;
    stored_positions(&slot.shape, slot.order).zip(&declared).for_each(|(at, &element)| param[at] = element);
    Ok(())
}

/// All parameters, to be overwritten by what is read.
pub(super) fn copy(own: &[f32], path: &Path) -> Result<Vec<f32>, CheckpointError> {
    let mut params = Vec::new();
    params.try_reserve_exact(own.len()).map_err(|_| CheckpointError::NoMemory { path: path.to_path_buf() })?;
    params.extend_from_slice(own);
    Ok(params)
}

/// The words of a checkpoint.
struct Words {
    identity: Identity,
    steps: u64,
    seed: u64,
    passes: u64,
    position: Position,
    rate: Option<f64>,
    rows: usize,
    /// In the order of the declaration; none in a file that has none.
    scalars: Option<Vec<f32>>,
    attachments: Attachments,
}

impl Words {
    fn of(definition: &Definition<'_>, file: &File, path: &Path) -> Result<Words, CheckpointError> {
        let foreign = |reason| CheckpointError::Foreign { path: path.to_path_buf(), reason };
        let word = |name: &str| {
            let word = file.header.word(name);
            word.ok_or_else(|| foreign(format!("it says nothing of `{name}`")))
        };
        if !file.is_sealed() {
            let reason = "it does not begin as one; `load_params` and `load_mapped` read other files";
            return Err(foreign(reason.to_string()));
        }
        let version = word(VERSION)?;
        if version != PRESENT {
            return Err(foreign(format!(
                "it has version `{}`, and this program reads version `{PRESENT}`",
                shown(version)
            )));
        }
        if file.header.word(ROWS_OF_SUMS).is_some() {
            let reason =
                "it was saved between two accumulated batches by an earlier version, which weighted them otherwise";
            return Err(foreign(reason.to_string()));
        }
        let parsed = |name: &str, word: &str| {
            word.parse::<u64>()
                .map_err(|_| foreign(format!("`{name}` is `{}`, which is no number of the kind", shown(word))))
        };
        let number = |name: &str| parsed(name, word(name)?);
        // One can go on counting from there, exactly also in f64.
        let count = |name: &str, count: u64| match count < 1 << 53 {
            true => Ok(count),
            false => Err(foreign(format!("`{name}` is `{count}`, more than there can be"))),
        };
        let rows = file.header.word(ROWS).map_or(Ok(0), |word| parsed(ROWS, word))?;
        let rate = match file.header.word(RATE).map(str::parse) {
            None => None,
            Some(Ok(rate)) if check_rate(rate).is_ok() => Some(rate),
            Some(_) => return Err(foreign(format!("`{RATE}` is no learning rate"))),
        };
        // There are none in a file of before they were counted.
        let epochs = file.header.word(EPOCHS).map_or(Ok(0), |word| parsed(EPOCHS, word))?;
        let pass = match file.header.word(EPOCH).map(|word| Pass::of_word(word, definition.metrics.len())) {
            None => None,
            Some(Some(pass)) => Some(pass),
            Some(None) => return Err(foreign(format!("`{EPOCH}` says nothing of an epoch of this network"))),
        };
        let size = |name: &str, of: u64| {
            usize::try_from(count(name, of)?).map_err(|_| foreign(format!("`{name}` is more than there can be")))
        };
        Ok(Words {
            identity: Identity {
                network: file.header.word(NETWORK).map(str::to_string),
                sizes: file.header.word(SIZES).map(str::to_string),
                declaration: file.header.word(DECLARATION).map(str::to_string),
                optimizer: word(OPTIMIZER)?.to_string(),
                training: file.header.word(TRAINING).map(str::to_string),
            },
            steps: count(STEPS, number(STEPS)?)?,
            seed: number(SEED)?,
            passes: number(PASSES)?,
            rate,
            position: Position { epochs: size(EPOCHS, epochs)?, pass },
            rows: size(ROWS, rows)?,
            attachments: Attachments::of(file).unwrap_or_default(),
            scalars: match file.header.word(SCALARS) {
                None => None,
                Some(word) => match scalars_of(definition, word) {
                    Some(scalars) => Some(scalars),
                    None => return Err(foreign(format!("`{SCALARS}` says nothing of the scalars of this network"))),
                },
            },
        })
    }
}

/// `kl_weight = 0.5, margin = 1`
pub(super) fn scalars_word(definition: &Definition<'_>, declared: &[f32]) -> String {
    let scalars = definition.scalars.iter().zip(declared);
    scalars.map(|(scalar, number)| format!("{} = {number}", scalar.name)).collect::<Vec<String>>().join(", ")
}

/// The same, read: those of this network, each once and in their order.
pub(super) fn scalars_of(definition: &Definition<'_>, word: &str) -> Option<Vec<f32>> {
    let mut numbers = Vec::new();
    for (index, part) in word.split(", ").enumerate() {
        let (name, number) = part.split_once(" = ")?;
        let number: f32 = number.parse().ok()?;
        let fits = definition.scalars.get(index)?.name == name && number.is_finite();
        fits.then(|| numbers.push(number))?;
    }
    (numbers.len() == definition.scalars.len()).then_some(numbers)
}
