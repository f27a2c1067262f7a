//! Images of bytes: what `normalize` makes of them, in training, evaluation and prediction, from arrays and from a dataset.

use gradloom::ndarray::{Array1, Array2, Array4, array, s};
use gradloom::{Adam, Dataset, Predictor, Session, Sgd, Stage, network};
use gradloom_runtime::init::Random;
use insta::assert_snapshot;

use crate::checkpoint::folder;

network! {
    /// Each of three channels has a mean and a deviation of its own.
    Colors<image: [u8; B, 3, 4, 4] -> y: [B, 3, 4, 4]> { normalize((0.49, 0.48, 0.45), [0.25, 0.5, 1]) }

    /// Bytes become numbers from 0 to 1.
    Grays<image: [u8; B, 4] -> y: [B, 4]> { normalize }

    /// Numbers are taken as they are.
    Numbers<x: [B, 2] -> y: [B, 2]> { normalize((10, -1), 2.0) }

    /// The same image as bytes, and as numbers.
    OfBytes<image: [u8; B, 1, 8, 8] -> logits: [B, 4]> {
        normalize(0.5, 0.25), Conv2d(6, 3, pad = 1), BatchNorm, relu, max_pool(2), flatten, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);
    metric accuracy = mean(argmax(logits) == label);

    OfNumbers<image: [B, 1, 8, 8] -> logits: [B, 4]> {
        Conv2d(6, 3, pad = 1), BatchNorm, relu, max_pool(2), flatten, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// One input of bytes, taken as numbers by one flow and as ids by another.
    Both<x: [u8; B, 2] -> y: [B, 2]> {
        let shade = x -> normalize(scale::MEAN, crate::byte_images::scale::STD), Dense(2);
        let kind = x -> Embedding(200, 1), flatten;
        y = shade + kind;
    }
    loss = sum(y);

    /// What is learned is the image itself, as numbers.
    Coder<image: [u8; B, 1, 4, 4] -> y: [B, 16]> {
        let x = image -> normalize, flatten;
        y = x -> Dense(8), relu, Dense(16);
    }
    loss = mse(y, x);
}

/// Numbers that the macro does not see.
pub mod scale {
    pub const MEAN: f64 = 0.5;
    pub const STD: f64 = 0.25;
}

fn bytes(rows: usize, seed: u64) -> Array4<u8> {
    let mut random = Random::new(seed, 1);
    Array4::from_shape_simple_fn((rows, 1, 8, 8), || random.below(256) as u8)
}

/// Images of four kinds, which differ in where they are bright.
fn kinds(rows: usize) -> (Array4<u8>, Array1<u8>) {
    let labels = Array1::from_shape_fn(rows, |row| (row % 4) as u8);
    let mut images = bytes(rows, 9).mapv(|byte| byte / 2);
    for (mut image, &label) in images.outer_iter_mut().zip(&labels) {
        let (top, left) = (4 * (label / 2) as usize, 4 * (label % 2) as usize);
        image.slice_mut(s![.., top..top + 4, left..left + 4]).mapv_inplace(|byte| byte + 100);
    }
    (images, labels)
}

#[test]
fn a_byte_is_divided_by_255_before_its_mean_is_taken_off() {
    let mut net: Predictor<Colors> = Colors::predictor().build().expect("it builds");
    let image = Array4::from_shape_fn((6, 3, 4, 4), |(row, channel, i, j)| (row * 48 + channel * 16 + i * 4 + j) as u8);
    let y = net.predict(image.view()).expect("it runs");
    let (mean, std) = ([0.49, 0.48, 0.45], [0.25, 0.5, 1.0]);
    for ((place, &y), &byte) in y.indexed_iter().zip(&image) {
        let wanted = (f64::from(byte) / 255.0 - mean[place.1]) / std[place.1];
        assert!((f64::from(y) - wanted).abs() < 4e-7, "{y} instead of {wanted} at {place:?}");
    }
    let mut net: Predictor<Grays> = Grays::predictor().build().expect("it builds");
    let y = net.predict(array![[0u8, 51, 254, 255]].view()).expect("it runs").to_owned();
    assert_eq!((y[[0, 0]], y[[0, 3]]), (0.0, 1.0));
    assert!(y[[0, 1]] == 0.2 && y[[0, 2]] < 1.0, "{y}");
    let mut net: Predictor<Numbers> = Numbers::predictor().build().expect("it builds");
    assert_eq!(net.predict(array![[12.0f32, 5.0]].view()).expect("it runs"), array![[1.0f32, 3.0]]);
}

#[test]
fn what_is_known_of_bytes_is_taken_off_where_they_are_read() {
    assert_snapshot!(OfBytes::ir(Stage::Forward).lines().take(7).collect::<Vec<_>>().join("\n"), @"
    %0 = input image : u8[B,1,8,8]
    %1 = to_float %0 : f32[B,1,8,8]                                  # normalize1
    %2 = sub %1, 127.5 : f32[B,1,8,8]                                # normalize1
    %3 = div %2, 63.75 : f32[B,1,8,8]                                # normalize1
    %4 = transpose %3 by 0,2,3,1 : f32[B,8,8,1]                      # conv1
    %5 = param conv1.weight : f32[3,3,1,6]                           # conv1
    %6 = patches %4 axis 1, size 3, before 1, after 1, with 0 : f32[B,8,3,8,1] # conv1
    ");
    assert_snapshot!(Grays::predictor().ir(Stage::Fused), @"
    kernel 0: B x 4, 8*B FLOP, 32*B bytes
      %1 = to_float image : f32[B,4]                                 # normalize1
      %2 = div %1, 255 : f32[B,4]                                    # normalize1
      materialize %2                                                 # output y
    in all: 1 kernel, 8*B FLOP, 32*B bytes
    unfused: 8*B FLOP, 64*B bytes
    ");
    assert_snapshot!(Colors::predictor().ir(Stage::Fused), @"
    kernel 0: b B, i 3, j 4, k 4, 144*B FLOP, 384*B + 24 bytes
      %1 = to_float image : f32[B,3,4,4]                             # normalize1
      %6 = sub %1, normalize_mean[i] : f32[B,3,4,4]                  # normalize1
      %7 = div %6, normalize_std[i] : f32[B,3,4,4]                   # normalize1
      materialize %7                                                 # output y
    in all: 1 kernel, 144*B FLOP, 384*B + 24 bytes
    unfused: 144*B FLOP, 1,152*B + 24 bytes
    ");
}

#[test]
fn training_on_bytes_is_training_on_the_numbers_that_they_stand_for() {
    let (images, labels) = kinds(12);
    let numbers = images.mapv(|byte| (f32::from(byte) / 255.0 - 0.5) / 0.25);
    let mut of_bytes = OfBytes::trainer(Adam::new(1e-2)).max_batch(12).seed(3).build().expect("it builds");
    let mut of_numbers = OfNumbers::trainer(Adam::new(1e-2)).max_batch(12).seed(3).build().expect("it builds");
    for _ in 0..5 {
        let found = of_bytes.step(images.view(), labels.view()).expect("it runs").loss;
        let wanted = of_numbers.step(numbers.view(), labels.view()).expect("it runs").loss;
        assert!((found - wanted).abs() < 1e-4 * wanted, "{found} instead of {wanted}");
    }
    let report = of_bytes.gradcheck(images.view(), labels.view()).expect("it runs");
    assert!(report.passed(), "{report}");
}

#[test]
fn bytes_train_from_a_dataset_and_predict_from_a_file() {
    let (images, labels) = kinds(40);
    let mut net = OfBytes::trainer(Adam::new(1e-2)).max_batch(16).seed(1).build().expect("it builds");
    let data = Dataset::new(images.clone(), labels.clone()).expect("as many labels as images");
    net.fit(&mut data.seed(2)).epochs(12).batch_size(16).run().expect("it trains");
    let accuracy = net.evaluate(images.view(), labels.view()).expect("it runs").accuracy;
    assert!(accuracy > 0.9, "{accuracy}");
    let path = folder("byte_images").join("net.safetensors");
    net.save(&path).expect("the folder can be written");
    let mut predictor: Predictor<OfBytes> = OfBytes::predictor().max_batch(7).build().expect("it builds");
    predictor.load(&path).expect("the names are those of the network");
    assert_eq!(predictor.predict(images.view()).expect("it runs"), net.predict(images.view()).expect("it runs"));
    // Every other image and its mirror image: neither is contiguous.
    let strided = images.slice(s![..;2, .., .., ..;-1]);
    let copied = strided.as_standard_layout().to_owned();
    assert_eq!(
        predictor.predict(strided).expect("it runs").to_owned(),
        predictor.predict(copied.view()).expect("it runs")
    );
}

#[test]
fn an_input_of_bytes_may_be_read_as_numbers_and_as_ids() {
    let mut net: Session<Both> = Both::trainer(Sgd::new(0.1)).build().expect("it builds");
    net.step(array![[0u8, 199]].view(), ()).expect("both are ids");
    let error = net.step(array![[0u8, 200]].view(), ()).expect_err("there are 200 ids");
    assert_snapshot!(error, @"`x` has class id 200 in row 0, but there are 200 classes (0 to 199)");
    let mut net: Session<Coder> = Coder::trainer(Adam::new(1e-2)).max_batch(8).build().expect("it builds");
    let images = Array4::from_shape_fn((8, 1, 4, 4), |(row, _, i, j)| ((row * 31 + i * 77 + j * 13) % 256) as u8);
    let losses: Vec<f32> = (0..200).map(|_| net.step(images.view(), ()).expect("it runs").loss).collect();
    assert!(losses[199] < 0.2 * losses[0], "{} to {}", losses[0], losses[199]);
    let wrong: Array2<u8> = Array2::zeros((1, 3));
    let mut net: Predictor<Grays> = Grays::predictor().build().expect("it builds");
    assert_snapshot!(net.predict(wrong.view()).expect_err("the image is smaller"), @"`image` wants [B, 4], got [1, 3]");
}
