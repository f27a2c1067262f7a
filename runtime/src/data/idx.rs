//! The format of MNIST: a magic number, the extents, the elements.

use std::path::Path;

use ndarray::{Array1, Array4, ArrayD, IxDyn};

use super::DataError;
use super::folder::content;

/// The third byte of a file of bytes; other types are not read.
const BYTES: u8 = 0x08;

/// The bytes of an IDX file, plain or with a name that ends with `.gz`, with the extents that it gives.
///
/// # Errors
/// A file that cannot be read, is none of the format, has elements of another type, or does not have as many as its extents say.
pub fn idx(path: impl AsRef<Path>) -> Result<ArrayD<u8>, DataError> {
    let path = path.as_ref();
    let (extents, elements) = parse(content(path)?).map_err(|reason| DataError::format(path, reason))?;
    Ok(ArrayD::from_shape_vec(IxDyn(&extents), elements).expect("there are as many elements as the extents say"))
}

fn parse(mut bytes: Vec<u8>) -> Result<(Vec<usize>, Vec<u8>), String> {
    let &[first, second, kind, rank, ..] = &bytes[..] else {
        return Err(format!("it has {} bytes, and the first four say what it holds", bytes.len()));
    };
    if [first, second] != [0, 0] {
        return Err(format!("it begins with {first:#04x} {second:#04x}, a file of IDX with two zeros"));
    }
    if kind != BYTES {
        return Err(format!("its elements are of type {kind:#04x}; {BYTES:#04x}, bytes, is read"));
    }
    let start = 4 + 4 * usize::from(rank);
    let Some(extents) = bytes.get(4..start) else {
        return Err(format!("it has {} bytes, and its {rank} extents alone end after {start}", bytes.len()));
    };
    let extents: Vec<usize> =
        extents.chunks_exact(4).map(|word| u32::from_be_bytes([0, 1, 2, 3].map(|byte| word[byte])) as usize).collect();
    let wanted = extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
    let found = bytes.len() - start;
    if rank == 0 || wanted != Some(found) {
        let wanted = wanted.map_or("more than there can be".to_string(), |wanted| wanted.to_string());
        return Err(format!("it has {found} elements, and its extents {extents:?} make {wanted}"));
    }
    bytes.drain(..start);
    Ok((extents, bytes))
}

/// Images with one channel, and a label for each, which is a class.
pub(super) fn images(images: &Path, labels: &Path, classes: usize) -> Result<(Array4<u8>, Array1<u8>), DataError> {
    let pixels = idx(images)?;
    let &[rows, height, width] = pixels.shape() else {
        return Err(DataError::format(images, format!("it has the extents {:?}, images have three", pixels.shape())));
    };
    let found = idx(labels)?;
    if found.shape() != [rows] {
        let reason = format!("it has the extents {:?}, and there are {rows} images", found.shape());
        return Err(DataError::format(labels, reason));
    }
    let found: Vec<u8> = found.into_iter().collect();
    check_classes(labels, &found, classes)?;
    let (pixels, _) = pixels.into_raw_vec_and_offset();
    let pixels = Array4::from_shape_vec((rows, 1, height, width), pixels).expect("an axis of one changes nothing");
    Ok((pixels, Array1::from_vec(found)))
}

/// Whether all labels are classes.
pub(super) fn check_classes(path: &Path, labels: &[u8], classes: usize) -> Result<(), DataError> {
    match labels.iter().position(|&label| usize::from(label) >= classes) {
        None => Ok(()),
        Some(row) => {
            let reason = format!("label {row} is {}, and there are {classes} classes", labels[row]);
            Err(DataError::format(path, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_file_is_what_its_header_says_or_an_error() {
        let file = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];
        assert_eq!(parse(file.to_vec()), Ok((vec![2, 3], vec![1, 2, 3, 4, 5, 6])));
        for end in 0..file.len() {
            assert!(parse(file[..end].to_vec()).is_err(), "cut off after {end} bytes");
        }
        let wrong = |at: usize, byte: u8| {
            let mut file = file.to_vec();
            file[at] = byte;
            parse(file).expect_err("it is damaged")
        };
        assert_eq!(wrong(0, 9), "it begins with 0x09 0x00, a file of IDX with two zeros");
        assert_eq!(wrong(2, 13), "its elements are of type 0x0d; 0x08, bytes, is read");
        assert_eq!(wrong(7, 200), "it has 6 elements, and its extents [200, 3] make 600");
        assert_eq!(wrong(4, 255), "it has 6 elements, and its extents [4278190082, 3] make 12834570246");
        assert!(
            parse([&[0, 0, 8, 4][..], &[255; 16]].concat()).expect_err("absurd").contains("more than there can be")
        );
        assert!(parse(vec![0, 0, 8, 0, 7]).is_err());
    }
}
