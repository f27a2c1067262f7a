//! What can be wrong with files of data.

use std::path::{Path, PathBuf};

use crate::error::text_as_debug;

/// Why a set of images could not be read.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file is nowhere.
    #[error("no `{file}`, plain or as `.gz`, in {}; `{command}` gets the files", listed(folders))]
    NotFound {
        /// The name of the file.
        file: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
        /// What gets it.
        command: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Format {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no memory for what a file holds.
    #[error("not enough memory for what is in {}", path.display())]
    NoMemory {
        /// Where it is.
        path: PathBuf,
    },
}

text_as_debug!(DataError);

impl DataError {
    pub(super) fn format(path: &Path, reason: impl Into<String>) -> DataError {
        DataError::Format { path: path.to_path_buf(), reason: reason.into() }
    }
}

fn listed(folders: &[PathBuf]) -> String {
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    match folders.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "any folder".to_string(),
    }
}
