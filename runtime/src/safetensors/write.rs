//! Writing a file, whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use super::crc64::Crc64;
use super::element::F32;
use super::error::CheckpointError;
use super::json::quoted;
use super::{DIGITS, PIECE, SEAL, header_seal, seal_of};

/// A tensor to be written.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// The name.
    pub name: &'a str,
    /// The extents.
    pub shape: &'a [usize],
    /// The elements, as many as the extents say.
    pub floats: &'a [f32],
}

/// Writes words and tensors, the names of both unique, with checksums of everything.
///
/// The file is written under another name in the same folder, brought to the disk and renamed, and the folder brought to the
/// disk: whatever happens on the way, the path holds the whole of the old file or of the new one. A process that is killed
/// may leave the other name behind, `.NAME.PROCESS-NUMBER.tmp`. A link is followed.
///
/// # Errors
/// A file that cannot be written.
pub fn write(path: &Path, words: &[(&str, String)], tensors: &[Tensor<'_>]) -> Result<(), CheckpointError> {
    let header = header(words, tensors);
    // What a link points at is replaced, not the link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let result = beside(&target).and_then(|temporary| {
        let written = put(&temporary, &header, tensors).and_then(|()| fs::rename(&temporary, &target));
        if written.is_err() {
            // The first error is the one to tell of.
            let _ = fs::remove_file(&temporary);
        }
        written.and_then(|()| sync_folder(&target))
    });
    result.map_err(|error| CheckpointError::io("write", path, error))
}

/// A name in the same folder that no other save uses.
fn beside(target: &Path) -> io::Result<PathBuf> {
    static SAVES: AtomicU64 = AtomicU64::new(0);
    let name =
        target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
    let number = SAVES.fetch_add(1, Ordering::Relaxed);
    Ok(target.with_file_name(format!(".{}.{}-{number}.tmp", name.to_string_lossy(), process::id())))
}

fn put(temporary: &Path, header: &str, tensors: &[Tensor<'_>]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(temporary)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    for tensor in tensors {
        in_pieces(tensor.floats, |bytes| file.write_all(bytes))?;
    }
    file.sync_all()
}

/// Makes a rename last. Only Unix opens folders.
fn sync_folder(target: &Path) -> io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

/// The header with its checksum, padded with spaces so that the elements lie at a multiple of 8.
fn header(words: &[(&str, String)], tensors: &[Tensor<'_>]) -> String {
    let mut header = format!("{SEAL}{}\"", "0".repeat(DIGITS));
    let seals = tensors.iter().map(|tensor| (seal_of(tensor.name), seal(tensor)));
    for (name, word) in words.iter().map(|(name, word)| (name.to_string(), word.clone())).chain(seals) {
        header.push_str(&format!(",{}:{}", quoted(&name), quoted(&word)));
    }
    header.push('}');
    let mut end = 0;
    for Tensor { name, shape, floats } in tensors {
        let start = end;
        end += size_of_val(*floats);
        let name = quoted(name);
        header
            .push_str(&format!(",{name}:{{\"dtype\":\"{F32}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}"));
    }
    header.push('}');
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let digits = header_seal(&(header.len() as u64).to_le_bytes(), header.as_bytes());
    header.replace_range(SEAL.len()..SEAL.len() + DIGITS, &digits);
    header
}

fn seal(tensor: &Tensor<'_>) -> String {
    let mut crc = Crc64::new();
    let added: Result<(), std::convert::Infallible> = in_pieces(tensor.floats, |bytes| {
        crc.add(bytes);
        Ok(())
    });
    added.map(|()| crc.digits()).unwrap_or_else(|never| match never {})
}

/// Passes on the floats as little-endian bytes.
fn in_pieces<E>(floats: &[f32], mut take: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut bytes = Vec::with_capacity(PIECE.min(size_of_val(floats)));
    for piece in floats.chunks(PIECE / 4) {
        bytes.clear();
        bytes.extend(piece.iter().flat_map(|float| float.to_le_bytes()));
        take(&bytes)?;
    }
    Ok(())
}
