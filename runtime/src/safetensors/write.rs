//! Words and tensors as the bytes of a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::crc64::Crc64;
use super::element::F32;
use super::error::CheckpointError;
use super::header::{Header, LONGEST_NAME, MOST_TENSORS, shown};
use super::json::{LONGEST_STRING, quoted, quoted_len};
use super::replace::replace;
use super::{DIGITS, LONGEST_HEADER, PIECE, SEAL, header_seal, seal_of};

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
/// The file is written under another name in the same folder, brought to the disk and renamed, and then the folder is brought
/// to the disk, if the system allows that: whatever happens on the way, the path holds the whole of the old file or of the new
/// one. A process that is killed may leave the other name behind, `.NAME.RANDOM.tmp`, which the next save to the same path
/// removes. A link is followed.
///
/// # Errors
/// A file that cannot be written, a path to something that is no regular file or to an open file of a process, and what
/// [`File::open`](super::File::open) would refuse.
pub fn write(path: &Path, words: &[(&str, String)], tensors: &[Tensor<'_>]) -> Result<(), CheckpointError> {
    let header = header(words, tensors);
    let data = tensors.iter().map(|tensor| size_of_val(tensor.floats) as u64).sum();
    let refused = |reason| io::Error::new(io::ErrorKind::InvalidInput, format!("no one could read it: {reason}"));
    let readable = Header::parse(&header, data).map_err(refused);
    let written = readable.and_then(|_| replace(path, |file| put(file, &header, tensors)));
    written.map_err(|error| CheckpointError::io("write", path, error))
}

/// The most that a tensor adds to a header beside its name, which stands there twice, and its extents, 22 bytes each.
const ENTRY: usize = 120;

/// What is left for words of the caller's: two of the longest, and some short ones.
const WORDS: usize = 3 * LONGEST_STRING;

/// Says why a file with these tensors, by name and rank, and few words could not be written, before there is anything to write.
///
/// # Errors
/// More tensors than a file has, or longer names.
pub fn check_size<'t>(tensors: impl IntoIterator<Item = (&'t str, usize)>) -> Result<(), String> {
    // The name of its checksum is longer by a little.
    const LONGEST: usize = LONGEST_NAME - DIGITS;
    let (mut count, mut bytes) = (0, WORDS);
    for (name, rank) in tensors {
        let quoted = quoted_len(name);
        if quoted > LONGEST {
            return Err(format!("`{}` is a name of {quoted} bytes, and no more than {LONGEST} are read", shown(name)));
        }
        count += 1;
        bytes += 2 * quoted + 22 * rank + ENTRY;
    }
    if count > MOST_TENSORS {
        return Err(format!("it would have {count} tensors, and no more than {MOST_TENSORS} are read"));
    }
    if bytes > LONGEST_HEADER {
        return Err(format!(
            "the names of its {count} tensors would take {bytes} bytes, and no more than {LONGEST_HEADER} are read"
        ));
    }
    Ok(())
}

/// A text as a word: the text itself or, if it is longer than words are, what tells it from others.
pub(crate) fn brief(text: String) -> String {
    if quoted_len(&text) <= LONGEST_STRING {
        return text;
    }
    let mut crc = Crc64::new();
    crc.add(text.as_bytes());
    format!("{} bytes with the checksum {}", text.len(), crc.digits())
}

fn put(file: &mut File, header: &str, tensors: &[Tensor<'_>]) -> io::Result<()> {
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    tensors.iter().try_for_each(|tensor| in_pieces(tensor.floats, |bytes| file.write_all(bytes)))
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
