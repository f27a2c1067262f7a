//! Saving a session and going on from where it stood.
//!
//! In: a path. Out: a file with everything that decides the next step, or a session that stands where the saved one did.
//! Everything is read and checked before anything is taken over.

use std::collections::HashSet;
use std::path::Path;

use super::params::named;
use super::position::{Pass, Position};
use super::{Network, Session};
use crate::compile::Program;
use crate::safetensors::{CheckpointError, File, Tensor, write};
use crate::schedule::{Schedule, check_rate};

/// The names of the words that a checkpoint carries beside its tensors.
const VERSION: &str = "gradloom";
const NETWORK: &str = "network";
const OPTIMISER: &str = "optimiser";
const STEPS: &str = "steps";
const SEED: &str = "seed";
const PASSES: &str = "forward_count";
const RATE: &str = "learning_rate";
const ROWS: &str = "rows_accumulated";
/// What `ROWS` was called where gradients were summed up, times the rows of each batch, rather than averaged.
const ROWS_OF_SUMS: &str = "accumulated_rows";
const EPOCHS: &str = "epochs";
const EPOCH: &str = "epoch";

/// What the tensors and words of a checkpoint mean.
const PRESENT: &str = "1";

impl<N: Network> Session<N> {
    /// Writes parameters, running statistics, the optimiser's state, the counts of steps and forward passes, the learning rate
    /// unless it follows a schedule, and the seed to a file. Between an accumulated batch and its update, the gradients so far
    /// and the number of rows that they are of as well. Of [`Session::fit`], how many epochs are complete, and in the middle of
    /// one, where it stands: the next `fit` goes on there.
    ///
    /// The file is a safetensors file: every tensor is there under its name (see [`Session::names`]), in little-endian `F32`,
    /// and other programs can read it. It carries checksums of its header and of every tensor. It is written beside `path`,
    /// brought to the disk and renamed, so that whatever happens, the path holds the whole of the old or of the new file;
    /// a process that is killed may leave a `.tmp` file beside it.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let (program, rows) = (self.state(self.accumulated_rows() > 0), self.accumulated_rows());
        let tensors: Vec<Tensor<'_>> = named(&program.slots)
            .map(|(index, slot)| {
                let floats = &self.params.floats()[program.params[index]..][..slot.len()];
                Tensor { name: &slot.name, shape: &slot.shape, floats }
            })
            .collect();
        let mut words = vec![
            (VERSION, PRESENT.to_string()),
            (NETWORK, N::DEFINITION.name.to_string()),
            (OPTIMISER, self.how.optimiser.name().to_string()),
            (STEPS, self.steps.to_string()),
            (SEED, self.seed.to_string()),
            (PASSES, self.forward_count.to_string()),
            (EPOCHS, self.position.epochs.to_string()),
        ];
        words.extend(self.position.pass.as_ref().map(|pass| (EPOCH, pass.word())));
        words.extend((rows > 0).then(|| (ROWS, rows.to_string())));
        // A schedule follows from the step.
        words.extend(self.rate.fixed().map(|rate| (RATE, rate.to_string())));
        write(path.as_ref(), &words, &tensors)
    }

    /// Goes on from a file of [`Session::save`]: the next steps give the same bits as those of the session that was saved. What
    /// was accumulated here is replaced by what was there, mostly nothing.
    ///
    /// That session has to have been of the same network and optimiser. The settings of the optimiser are those that this
    /// session was built with, but for a learning rate without a schedule, which is the saved one. `max_batch` may be another.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, is no checkpoint, or one of another network or optimiser; the message names the
    /// tensors. The session is then as it was before. For parameters alone, see [`Session::load_params`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let path = path.as_ref();
        let mut file = File::open(path)?;
        let words = Words::of::<N>(&file, path)?;
        if words.rows > 0 {
            let build = |error| CheckpointError::Build { path: path.to_path_buf(), error: Box::new(error) };
            self.compile_accumulation().map_err(build)?;
        }
        self.check_tensors(&file, &words, path)?;

        let mut params = copy(self.params.floats(), path)?;
        let program = self.state(words.rows > 0);
        for (index, slot) in named(&program.slots) {
            let tensor = file.header.tensor(&slot.name).expect("the names were compared").clone();
            file.read(&tensor, &mut params[program.params[index]..][..slot.len()])?;
        }
        self.params.floats_mut().copy_from_slice(&params);
        self.steps = words.steps;
        self.seed = words.seed;
        self.forward_count = words.passes;
        self.position = words.position;
        self.rate = words.rate.map_or(self.how.optimiser.settings().rate, Schedule::constant);
        if let Some(accumulation) = &mut self.accumulation {
            accumulation.rows = words.rows;
        }
        Ok(())
    }

    /// The program whose parameters are all that is to be saved: with accumulated gradients where there are any.
    fn state(&self, accumulated: bool) -> &Program {
        match &self.accumulation {
            Some(accumulation) if accumulated => &accumulation.accumulate,
            _ => &self.train,
        }
    }

    /// The tensors have to be exactly those of this session.
    fn check_tensors(&self, file: &File, words: &Words, path: &Path) -> Result<(), CheckpointError> {
        let mut mistakes = Vec::new();
        let own = self.how.optimiser.name();
        if words.optimiser != own {
            mistakes.push(format!("it was trained with {}, this session trains with {own}", words.optimiser));
        }
        let slots = &self.state(words.rows > 0).slots;
        for (_, slot) in named(slots) {
            match file.header.tensor(&slot.name) {
                Some(tensor) if tensor.shape == slot.shape => {}
                Some(tensor) => {
                    mistakes.push(format!("`{}` is {:?} there, and {:?} here", slot.name, tensor.shape, slot.shape));
                }
                None => mistakes.push(format!("`{}` is missing there", slot.name)),
            }
        }
        let known: HashSet<&str> = named(slots).map(|(_, slot)| slot.name.as_str()).collect();
        let unknown = file.header.tensors.iter().filter(|tensor| !known.contains(&*tensor.name));
        mistakes.extend(unknown.map(|tensor| format!("`{}` is unknown here", tensor.name)));
        mismatch::<N>(path, mistakes)
    }
}

/// All parameters, to be overwritten by what is read.
pub(super) fn copy(own: &[f32], path: &Path) -> Result<Vec<f32>, CheckpointError> {
    let mut params = Vec::new();
    params.try_reserve_exact(own.len()).map_err(|_| CheckpointError::NoMemory { path: path.to_path_buf() })?;
    params.extend_from_slice(own);
    Ok(params)
}

/// An error with these mistakes, if there are any.
pub(super) fn mismatch<N: Network>(path: &Path, mistakes: Vec<String>) -> Result<(), CheckpointError> {
    match mistakes.is_empty() {
        true => Ok(()),
        false => {
            let (path, network) = (path.to_path_buf(), N::DEFINITION.name);
            Err(CheckpointError::Mismatch { path, network, mistakes })
        }
    }
}

/// The words of a checkpoint.
struct Words {
    optimiser: String,
    steps: u64,
    seed: u64,
    passes: u64,
    position: Position,
    rate: Option<f64>,
    rows: usize,
}

impl Words {
    fn of<N: Network>(file: &File, path: &Path) -> Result<Words, CheckpointError> {
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
            return Err(foreign(format!("it has version `{version}`, and this program reads version `{PRESENT}`")));
        }
        if file.header.word(ROWS_OF_SUMS).is_some() {
            let reason =
                "it was saved between two accumulated batches by an earlier version, which weighted them otherwise";
            return Err(foreign(reason.to_string()));
        }
        let parsed = |name: &str, word: &str| {
            word.parse::<u64>().map_err(|_| foreign(format!("`{name}` is `{word}`, which is no number of the kind")))
        };
        let number = |name: &str| parsed(name, word(name)?);
        let rows = file.header.word(ROWS).map_or(Ok(0), |word| parsed(ROWS, word))?;
        let rate = match file.header.word(RATE).map(str::parse) {
            None => None,
            Some(Ok(rate)) if check_rate(rate).is_ok() => Some(rate),
            Some(_) => return Err(foreign(format!("`{RATE}` is no learning rate"))),
        };
        // There are none in a file of before they were counted.
        let epochs = file.header.word(EPOCHS).map_or(Ok(0), |word| parsed(EPOCHS, word))?;
        let pass = match file.header.word(EPOCH).map(|word| Pass::of_word(word, N::DEFINITION.metrics.len())) {
            None => None,
            Some(Some(pass)) => Some(pass),
            Some(None) => return Err(foreign(format!("`{EPOCH}` says nothing of an epoch of this network"))),
        };
        let count = |name: &str, count: u64| {
            usize::try_from(count).map_err(|_| foreign(format!("`{name}` is more than there can be")))
        };
        Ok(Words {
            optimiser: word(OPTIMISER)?.to_string(),
            steps: number(STEPS)?,
            seed: number(SEED)?,
            passes: number(PASSES)?,
            rate,
            position: Position { epochs: count(EPOCHS, epochs)?, pass },
            rows: count(ROWS, rows)?,
        })
    }
}
