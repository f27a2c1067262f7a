//! Files that `gzip` has compressed (RFC 1952), with their checksum checked.

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_with_limit};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
/// What a header may have after its first ten bytes.
const HAS_CHECKSUM: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;

/// What a file was before it was compressed, unless that is more than so many bytes; or what is wrong, in words.
pub(super) fn decompressed(file: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let cut_off = || "it is cut off".to_string();
    let (header, mut rest) = file.split_at_checked(10).ok_or_else(cut_off)?;
    if header[..2] != MAGIC || header[2] != DEFLATE {
        return Err("it is no file of gzip".to_string());
    }
    let flags = header[3];
    if flags & HAS_EXTRA != 0 {
        let (length, after) = rest.split_at_checked(2).ok_or_else(cut_off)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        rest = after.get(length..).ok_or_else(cut_off)?;
    }
    for text in [HAS_NAME, HAS_COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0).ok_or_else(cut_off)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HAS_CHECKSUM != 0 {
        rest = rest.get(2..).ok_or_else(cut_off)?;
    }
    let (compressed, trailer) = rest.len().checked_sub(8).map(|end| rest.split_at(end)).ok_or_else(cut_off)?;
    // Nothing that is compressed has more than 1,032 times its size.
    let most = most.min(compressed.len().saturating_mul(1032).saturating_add(64));
    let bytes = decompress_to_vec_with_limit(compressed, most).map_err(|error| match error.status {
        TINFLStatus::HasMoreOutput => format!("it holds more than {most} bytes"),
        TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => cut_off(),
        _ => "its content is damaged".to_string(),
    })?;
    let word = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| trailer[at + byte]));
    if word(0) != crc32(&bytes) || word(4) != bytes.len() as u32 {
        return Err("its content does not have its checksum: it is damaged or cut off".to_string());
    }
    Ok(bytes)
}

/// The cyclic redundancy check of RFC 1952, section 8.
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |rest, _| if rest & 1 == 1 { rest >> 1 ^ 0xedb8_8320 } else { rest >> 1 })
    });
    !bytes.iter().fold(!0, |rest: u32, &byte| rest >> 8 ^ table[usize::from(rest as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::{crc32, decompressed};

    /// `printf 'loom loom loom\n' | gzip -n9`
    const LOOM: [u8; 28] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0xc9, 0xcf, 0xcf, 0x55, 0xc8, 0x81, 0x11,
        0x5c, 0x00, 0x1a, 0x04, 0x3e, 0xf3, 0x0f, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_was_compressed_comes_back_and_what_is_wrong_is_said() {
        let text = b"loom loom loom\n";
        let mut file = LOOM;
        assert_eq!(decompressed(&file, 1 << 20).as_deref(), Ok(&text[..]));
        assert_eq!(decompressed(&file, 5), Err("it holds more than 5 bytes".to_string()));
        for end in 0..file.len() {
            assert!(decompressed(&file[..end], 1 << 20).is_err(), "cut off after {end} bytes");
        }
        file[12] ^= 1;
        assert!(decompressed(&file, 1 << 20).is_err());
        assert_eq!(decompressed(&[0; 30], 1 << 20), Err("it is no file of gzip".to_string()));
    }
}
