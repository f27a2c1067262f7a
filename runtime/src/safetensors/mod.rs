//! Files of named tensors in the safetensors format: 8 bytes with the length of a header in JSON, the header, the elements.
//!
//! In: a path. Out: a [`Header`], checked against the length of the file, and the elements of the tensors that are asked for;
//! the other way round, [`write()`] leaves the whole file or what was there before. Files written here carry checksums of
//! header and tensors, in words of the header that other readers pass over; they are checked wherever they are found.
//! Nothing is allocated that the file is not long enough for, and nothing is made of a header before it is known to be
//! well-formed and within bounds, with unique names and data without gaps. Absent on purpose: what the tensors mean.
//!
//! Source: the description of the format that comes with the library of that name, version 0.8.

mod crc64;
mod element;
mod error;
mod header;
mod json;
mod layout;
mod replace;
mod write;

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crc64::Crc64;

pub use element::Element;
pub use error::CheckpointError;
pub(crate) use error::Mistakes;
pub use header::{Entry, Header};
pub(crate) use header::{LONGEST_NAME, shown};
pub(crate) use json::quoted;
pub(crate) use write::brief;
pub use write::{Tensor, check_size, write};

/// What a header with a checksum begins with; 16 digits follow, in place of which there are zeros while it is computed.
const SEAL: &str = r#"{"__metadata__":{"crc64":""#;
const DIGITS: usize = 16;

/// The word with the checksum of a tensor's bytes.
fn seal_of(tensor: &str) -> String {
    format!("crc64 {tensor}")
}

/// The checksum of a file's length and header, of which the digits after [`SEAL`] do not count.
fn header_seal(length: &[u8], header: &[u8]) -> String {
    let mut crc = Crc64::new();
    let (before, rest) = header.split_at(SEAL.len());
    [length, before, &[b'0'; DIGITS], &rest[DIGITS..]].into_iter().for_each(|part| crc.add(part));
    crc.digits()
}

/// The longest header that is read or written: the names of 120,000 tensors, of which [`header::MOST_TENSORS`] tells, may have
/// 140 letters. The library of that name reads more; files in use have some hundred kilobytes.
const LONGEST_HEADER: usize = 1 << 26;

/// So many bytes are read or written at a time; every element fits a whole number of times.
const PIECE: usize = 1 << 16;

/// A file whose header has been read.
#[derive(Debug)]
pub struct File {
    /// What it holds.
    pub header: Header,
    path: PathBuf,
    file: fs::File,
    /// Where the elements begin.
    data: u64,
    /// Whether the header carries checksums.
    sealed: bool,
}

impl File {
    /// Reads and checks the header of a file.
    ///
    /// # Errors
    /// A file that cannot be read, is none of the format, is cut off or longer than its header says, or whose header does not
    /// have the checksum that it carries.
    pub fn open(path: &Path) -> Result<File, CheckpointError> {
        let unreadable = |error| CheckpointError::io("read", path, error);
        let format = |reason| CheckpointError::Format { path: path.to_path_buf(), reason };
        // Something else, such as a pipe, might never end, nor ever be open.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(format("it is no regular file".to_string()));
        }
        // From here on the path may come to name another file: a save replaces it. This one is asked for itself.
        let mut file = fs::File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err(format("it is no regular file".to_string()));
        }
        let size = about.len();
        if size < 8 {
            return Err(format(format!("it has {size} bytes, and 8 alone say how long the header is")));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(unreadable)?;
        let len = u64::from_le_bytes(length);
        if len > size - 8 {
            return Err(format(format!("its header should have {len} bytes, and the file has {size}")));
        }
        if len > LONGEST_HEADER as u64 {
            return Err(format(format!("its header has {len} bytes, and no more than {LONGEST_HEADER} are read")));
        }
        let mut header = Vec::new();
        header.try_reserve_exact(len as usize).map_err(|_| CheckpointError::NoMemory { path: path.to_path_buf() })?;
        header.resize(len as usize, 0);
        file.read_exact(&mut header).map_err(unreadable)?;
        let sealed = header.starts_with(SEAL.as_bytes()) && header.len() >= SEAL.len() + DIGITS;
        if sealed && header[SEAL.len()..][..DIGITS] != *header_seal(&length, &header).as_bytes() {
            return Err(CheckpointError::Altered { path: path.to_path_buf(), part: "the header".to_string() });
        }
        let text = std::str::from_utf8(&header).map_err(|error| format(format!("its header is no text: {error}")))?;
        let data = 8 + len;
        let header = Header::parse(text, size - data).map_err(format)?;
        Ok(File { header, path: path.to_path_buf(), file, data, sealed })
    }

    /// Whether the file was written by [`write()`].
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Reads the elements of a tensor of the header as floats, as many as it has.
    ///
    /// # Errors
    /// A file that cannot be read, elements that are no floats, bytes that do not have the checksum that the header carries.
    pub fn read(&mut self, tensor: &Entry, floats: &mut [f32]) -> Result<(), CheckpointError> {
        let path = self.path.clone();
        let unreadable = |error| CheckpointError::io("read", &path, error);
        let Some(width) = tensor.element.width() else {
            let reason = format!("`{}` is of {}, which is no float", tensor.name, tensor.element);
            return Err(CheckpointError::Format { path, reason });
        };
        let mut crc = Crc64::new();
        let mut piece = vec![0; PIECE.min(floats.len() * width)];
        self.file.seek(SeekFrom::Start(self.data + tensor.range.start)).map_err(unreadable)?;
        for floats in floats.chunks_mut(PIECE / width) {
            let bytes = &mut piece[..floats.len() * width];
            self.file.read_exact(bytes).map_err(unreadable)?;
            crc.add(bytes);
            let elements = bytes.chunks_exact(width);
            floats.iter_mut().zip(elements).for_each(|(float, bytes)| *float = tensor.element.float(bytes));
        }
        match self.header.word(&seal_of(&tensor.name)) {
            Some(seal) if self.sealed && seal != crc.digits() => {
                Err(CheckpointError::Altered { path, part: format!("`{}`", tensor.name) })
            }
            None if self.sealed => {
                let reason = format!("`{}` has no checksum, though the header has one", tensor.name);
                Err(CheckpointError::Format { path, reason })
            }
            _ => Ok(()),
        }
    }
}
