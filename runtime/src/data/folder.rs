//! Where files of data are, and what is in them.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::DataError;
use super::gzip::decompressed;

/// The largest file that is read, in bytes: the largest of these sets has 60 MB.
const LARGEST: u64 = 1 << 30;

/// The paths of these files, all of one folder: the one that is given, or the first that has the first file.
pub(super) fn find(
    given: Option<&Path>,
    name: &str,
    places: &[&str],
    files: &[&str],
    command: &'static str,
) -> Result<Vec<PathBuf>, DataError> {
    let folders: Vec<PathBuf> = match given {
        Some(folder) => vec![folder.to_path_buf()],
        None => {
            let own = env::var_os("GRADLOOM_DATA_DIR").map(PathBuf::from);
            let own = own.into_iter().flat_map(|folder| [folder.join(name), folder]);
            own.chain(places.iter().map(PathBuf::from)).collect()
        }
    };
    let missing = |file: &str, folders: &[PathBuf]| DataError::NotFound {
        file: file.to_string(),
        folders: folders.to_vec(),
        command,
    };
    let folder = folders.iter().find(|folder| existing(folder, files[0]).is_some());
    let folder = folder.ok_or_else(|| missing(files[0], &folders))?;
    let path = |file: &&str| existing(folder, file).ok_or_else(|| missing(file, std::slice::from_ref(folder)));
    files.iter().map(path).collect()
}

/// A file as it is, or compressed.
fn existing(folder: &Path, file: &str) -> Option<PathBuf> {
    [folder.join(file), folder.join(format!("{file}.gz"))].into_iter().find(|path| path.exists())
}

/// What is in a file, decompressed if its name ends with `.gz`.
pub(super) fn content(path: &Path) -> Result<Vec<u8>, DataError> {
    let unreadable =
        |error: std::io::Error| DataError::Unreadable { path: path.to_path_buf(), reason: error.to_string() };
    let about = fs::metadata(path).map_err(unreadable)?;
    // Something else, such as a pipe, might never end.
    if !about.is_file() {
        return Err(DataError::format(path, "it is no regular file"));
    }
    if about.len() > LARGEST {
        return Err(DataError::format(
            path,
            format!("it has {} bytes, and no more than {LARGEST} are read", about.len()),
        ));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(about.len() as usize).map_err(|_| DataError::NoMemory { path: path.to_path_buf() })?;
    // No more than was there when it was asked for.
    fs::File::open(path).and_then(|file| file.take(about.len()).read_to_end(&mut bytes)).map_err(unreadable)?;
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => decompressed(&bytes, LARGEST as usize).map_err(|reason| DataError::format(path, reason)),
        false => Ok(bytes),
    }
}
