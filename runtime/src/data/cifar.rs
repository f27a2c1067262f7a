//! The binary versions of CIFAR-10 and CIFAR-100: for each photograph its label or labels, then red, green and blue, row by row.

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array4};

use super::folder::{content, find};
use super::idx::check_classes;
use super::{DataError, ImageSet};

const SIDE: usize = 32;
const PIXELS: usize = 3 * SIDE * SIDE;

const TEN: &[&str] = &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const HUNDRED: &[&str] = &[
    "apple",
    "aquarium fish",
    "baby",
    "bear",
    "beaver",
    "bed",
    "bee",
    "beetle",
    "bicycle",
    "bottle",
    "bowl",
    "boy",
    "bridge",
    "bus",
    "butterfly",
    "camel",
    "can",
    "castle",
    "caterpillar",
    "cattle",
    "chair",
    "chimpanzee",
    "clock",
    "cloud",
    "cockroach",
    "couch",
    "crab",
    "crocodile",
    "cup",
    "dinosaur",
    "dolphin",
    "elephant",
    "flatfish",
    "forest",
    "fox",
    "girl",
    "hamster",
    "house",
    "kangaroo",
    "keyboard",
    "lamp",
    "lawn mower",
    "leopard",
    "lion",
    "lizard",
    "lobster",
    "man",
    "maple tree",
    "motorcycle",
    "mountain",
    "mouse",
    "mushroom",
    "oak tree",
    "orange",
    "orchid",
    "otter",
    "palm tree",
    "pear",
    "pickup truck",
    "pine tree",
    "plain",
    "plate",
    "poppy",
    "porcupine",
    "possum",
    "rabbit",
    "raccoon",
    "ray",
    "road",
    "rocket",
    "rose",
    "sea",
    "seal",
    "shark",
    "shrew",
    "skunk",
    "skyscraper",
    "snail",
    "snake",
    "spider",
    "squirrel",
    "streetcar",
    "sunflower",
    "sweet pepper",
    "table",
    "tank",
    "telephone",
    "television",
    "tiger",
    "tractor",
    "train",
    "trout",
    "tulip",
    "turtle",
    "wardrobe",
    "whale",
    "willow tree",
    "wolf",
    "woman",
    "worm",
];

pub(super) fn ten(folder: Option<&Path>) -> Result<ImageSet, DataError> {
    let files = [1, 2, 3, 4, 5].map(|part| format!("data_batch_{part}.bin"));
    let files: Vec<&str> = files.iter().map(String::as_str).chain(["test_batch.bin"]).collect();
    let command = "curl -O https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz && tar xf cifar-10-binary.tar.gz";
    let paths = find(folder, "cifar-10-batches-bin", &["cifar-10-batches-bin"], &files, command)?;
    let (test, train) = paths.split_last().expect("six files were asked for");
    Ok(ImageSet { train: images(train, 1, TEN)?, test: images(std::slice::from_ref(test), 1, TEN)?, classes: TEN })
}

pub(super) fn hundred(folder: Option<&Path>) -> Result<ImageSet, DataError> {
    let command = "curl -O https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz && tar xf cifar-100-binary.tar.gz";
    let paths = find(folder, "cifar-100-binary", &["cifar-100-binary"], &["train.bin", "test.bin"], command)?;
    let [train, test] = &paths[..] else { unreachable!("every file that is asked for is found") };
    let read = |path: &PathBuf| images(std::slice::from_ref(path), 2, HUNDRED);
    Ok(ImageSet { train: read(train)?, test: read(test)?, classes: HUNDRED })
}

/// The photographs of several files, each after so many labels, of which the last is the class.
fn images(paths: &[PathBuf], labels: usize, classes: &[&str]) -> Result<(Array4<u8>, Array1<u8>), DataError> {
    let (mut pixels, mut found) = (Vec::new(), Vec::new());
    for path in paths {
        let bytes = content(path)?;
        let record = labels + PIXELS;
        if bytes.is_empty() || bytes.len() % record != 0 {
            let reason = format!("it has {} bytes, and every photograph takes {record}", bytes.len());
            return Err(DataError::format(path, reason));
        }
        let no_memory = |_| DataError::NoMemory { path: path.clone() };
        pixels.try_reserve_exact(bytes.len()).map_err(no_memory)?;
        let first = found.len();
        for record in bytes.chunks_exact(record) {
            found.push(record[labels - 1]);
            pixels.extend_from_slice(&record[labels..]);
        }
        check_classes(path, &found[first..], classes.len())?;
    }
    let pixels = Array4::from_shape_vec((found.len(), 3, SIDE, SIDE), pixels).expect("every record has as many pixels");
    Ok((pixels, Array1::from_vec(found)))
}
