//! Files of images: good ones are read, and whatever is wrong with one is said, without a panic or much memory.

use std::fs;
use std::path::{Path, PathBuf};

use gradloom::data::{DataError, cifar10, cifar100, fashion_mnist, idx};
use insta::assert_snapshot;

/// A folder of a test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data").join(name);
    // It need not be there.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    folder
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the folder can be written");
}

fn idx_file(extents: &[u32], elements: &[u8]) -> Vec<u8> {
    let sizes = extents.iter().flat_map(|extent| extent.to_be_bytes());
    [0, 0, 8, extents.len() as u8].into_iter().chain(sizes).chain(elements.iter().copied()).collect()
}

/// Two images of 2 x 3 pixels to learn from and one for the test, in the names of the set.
fn mnist_like(folder: &Path) {
    write(&folder.join("train-images-idx3-ubyte"), &idx_file(&[2, 2, 3], &Vec::from_iter(0..12)));
    write(&folder.join("train-labels-idx1-ubyte"), &idx_file(&[2], &[9, 0]));
    write(&folder.join("t10k-images-idx3-ubyte"), &idx_file(&[1, 2, 3], &[255; 6]));
    write(&folder.join("t10k-labels-idx1-ubyte"), &idx_file(&[1], &[3]));
}

/// An error without the path of the folder.
fn said<T: std::fmt::Debug>(folder: &Path, result: Result<T, DataError>) -> String {
    let error = result.expect_err("something is wrong").to_string();
    error.replace(&format!("{}/", folder.display()), "").replace(&*folder.to_string_lossy(), "FOLDER")
}

#[test]
fn images_and_labels_are_read_as_they_lie_in_their_files() {
    let folder = folder("good");
    mnist_like(&folder);
    let set = fashion_mnist(Some(&folder)).expect("the files are sound");
    let (images, labels) = set.train;
    assert_eq!((images.shape(), images[[1, 0, 0, 2]]), (&[2, 1, 2, 3][..], 8));
    assert_eq!((labels.to_vec(), set.test.1.to_vec(), set.classes[9]), (vec![9, 0], vec![3], "ankle boot"));

    let photograph = |labels: &[u8], first: u8| [labels, &[first], &vec![7; 3 * 32 * 32 - 1]].concat();
    for part in 1..=5 {
        write(&folder.join(format!("data_batch_{part}.bin")), &photograph(&[part], part));
    }
    write(&folder.join("test_batch.bin"), &photograph(&[9], 200).repeat(2));
    let set = cifar10(Some(&folder)).expect("the files are sound");
    assert_eq!((set.train.0.shape(), set.train.1.to_vec()), (&[5, 3, 32, 32][..], vec![1, 2, 3, 4, 5]));
    assert_eq!((set.train.0[[4, 0, 0, 0]], set.train.0[[4, 2, 31, 31]], set.test.1.len()), (5, 7, 2));
    write(&folder.join("train.bin"), &photograph(&[3, 99], 1));
    write(&folder.join("test.bin"), &photograph(&[3, 0], 1));
    let set = cifar100(Some(&folder)).expect("the files are sound");
    assert_eq!((set.train.1.to_vec(), set.classes[99], set.classes.len()), (vec![99], "worm", 100));
}

#[test]
fn files_that_are_not_there_are_named_with_what_gets_them() {
    let folder = folder("missing");
    assert_snapshot!(said(&folder, fashion_mnist(Some(&folder))), @"no `train-images-idx3-ubyte`, plain or as `.gz`, in FOLDER; `apt-get install dataset-fashion-mnist` gets the files");
    assert_snapshot!(said(&folder, cifar10(Some(&folder))), @"no `data_batch_1.bin`, plain or as `.gz`, in FOLDER; `curl -O https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz && tar xf cifar-10-binary.tar.gz` gets the files");
    mnist_like(&folder);
    fs::remove_file(folder.join("t10k-labels-idx1-ubyte")).expect("it is there");
    assert_snapshot!(said(&folder, fashion_mnist(Some(&folder))), @"no `t10k-labels-idx1-ubyte`, plain or as `.gz`, in FOLDER; `apt-get install dataset-fashion-mnist` gets the files");
}

#[test]
fn damaged_files_are_refused_whatever_they_hold() {
    let folder = folder("damaged");
    mnist_like(&folder);
    let labels = folder.join("train-labels-idx1-ubyte");
    let with = |bytes: &[u8]| {
        write(&labels, bytes);
        said(&folder, fashion_mnist(Some(&folder)))
    };
    let whole = idx_file(&[2], &[9, 0]);
    for end in 0..whole.len() {
        assert!(with(&whole[..end]).contains("train-labels-idx1-ubyte: it has "), "cut off after {end} bytes");
    }
    assert_snapshot!(with(&[]), @"train-labels-idx1-ubyte: it has 0 bytes, and the first four say what it holds");
    assert_snapshot!(with(b"\x89PNG\r\n\x1a\n"), @"train-labels-idx1-ubyte: it begins with 0x89 0x50, a file of IDX with two zeros");
    assert_snapshot!(with(&idx_file(&[u32::MAX; 4], &[])), @"train-labels-idx1-ubyte: it has 0 elements, and its extents [4294967295, 4294967295, 4294967295, 4294967295] make more than there can be");
    assert_snapshot!(with(&idx_file(&[2], &[1, 10])), @"train-labels-idx1-ubyte: label 1 is 10, and there are 10 classes");
    assert_snapshot!(with(&idx_file(&[3], &[1, 1, 1])), @"train-labels-idx1-ubyte: it has the extents [3], and there are 2 images");
    assert_snapshot!(with(&idx_file(&[1, 2], &[1, 1])), @"train-labels-idx1-ubyte: it has the extents [1, 2], and there are 2 images");
    fs::remove_file(&labels).expect("it is there");
    fs::create_dir(&labels).expect("the folder can be written");
    assert_snapshot!(said(&folder, fashion_mnist(Some(&folder))), @"train-labels-idx1-ubyte: it is no regular file");

    let compressed = folder.join("some.gz");
    write(&compressed, b"no gzip at all");
    assert_snapshot!(said(&folder, idx(&compressed)), @"some.gz: it is no file of gzip");
    let file = folder.join("test_batch.bin");
    (1..=5).for_each(|part| write(&folder.join(format!("data_batch_{part}.bin")), &[0; 3073]));
    write(&file, &[0; 3072]);
    assert_snapshot!(said(&folder, cifar10(Some(&folder))), @"test_batch.bin: it has 3072 bytes, and every photograph takes 3073");
    write(&file, &[[10].as_slice(), &[0; 3072]].concat());
    assert_snapshot!(said(&folder, cifar10(Some(&folder))), @"test_batch.bin: label 0 is 10, and there are 10 classes");
    write(&file, &[]);
    assert_snapshot!(said(&folder, cifar10(Some(&folder))), @"test_batch.bin: it has 0 bytes, and every photograph takes 3073");
}
