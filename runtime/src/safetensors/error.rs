//! What can go wrong with a file, in words for the user.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{BuildError, text_as_debug};

/// Why a checkpoint was not written or read. A session that reads is as it was before.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refuses.
    #[error("can't {action} `{}`: {message}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What kind of refusal it is.
        kind: io::ErrorKind,
        /// The refusal, in words.
        message: String,
    },
    /// A file that is none of the safetensors format, or no longer: cut off, or damaged.
    #[error("`{}` is damaged or no safetensors file: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in words.
        reason: String,
    },
    /// A file that is not as it was written.
    #[error("`{}` is damaged: {part} does not have its checksum", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
        /// The header, or a tensor.
        part: String,
    },
    /// A file that is no checkpoint of a session, though it holds tensors.
    #[error("`{}` is no checkpoint: {reason}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is missing or wrong, in words.
        reason: String,
    },
    /// Tensors that are not those of the network.
    #[error("`{}` does not fit `{network}`:{}", path.display(), listed(mistakes, *more))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The network.
        network: &'static str,
        /// What is missing, superfluous or of another shape, in words: the first of it, if there is very much.
        mistakes: Vec<String>,
        /// How much more there is of it.
        more: usize,
    },
    /// The checkpoint was saved between accumulated batches, and what goes on from there could not be compiled.
    #[error("`{}` holds accumulated gradients, for which no program could be compiled: {error}", path.display())]
    Build {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: Box<BuildError>,
    },
    /// There is not enough memory to check the tensors before they are taken over.
    #[error("not enough memory to read `{}`", path.display())]
    NoMemory {
        /// The file.
        path: PathBuf,
    },
}

text_as_debug!(CheckpointError);

impl CheckpointError {
    pub(crate) fn io(action: &'static str, path: &Path, error: io::Error) -> CheckpointError {
        let (kind, message) = (error.kind(), error.to_string());
        CheckpointError::Io { path: path.to_path_buf(), action, kind, message }
    }
}

/// The first few, one per line, and how many more there are.
fn listed(mistakes: &[String], more: usize) -> String {
    const MOST: usize = 8;
    let mut lines: Vec<String> = mistakes.iter().take(MOST).map(|mistake| format!("\n  {mistake}")).collect();
    let more = more + mistakes.len() - lines.len();
    if more > 0 {
        lines.push(format!("\n  and {more} more"));
    }
    lines.concat()
}

/// Mistakes as they are found. There may be as many as a file has tensors, so that most of very many are only counted.
#[derive(Debug, Default)]
pub(crate) struct Mistakes {
    told: Vec<String>,
    more: usize,
}

impl Mistakes {
    /// One more, with its words if there is room for them.
    pub(crate) fn add(&mut self, words: impl FnOnce() -> String) {
        const MOST: usize = 64;
        match self.told.len() < MOST {
            true => self.told.push(words()),
            false => self.more += 1,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// What is said before all that was found.
    pub(crate) fn begin(&mut self, words: String) {
        self.told.insert(0, words);
    }

    /// The error, if there is any mistake.
    pub(crate) fn check(self, path: &Path, network: &'static str) -> Result<(), CheckpointError> {
        match self.is_empty() {
            true => Ok(()),
            false => {
                let (path, Mistakes { told: mistakes, more }) = (path.to_path_buf(), self);
                Err(CheckpointError::Mismatch { path, network, mistakes, more })
            }
        }
    }
}
