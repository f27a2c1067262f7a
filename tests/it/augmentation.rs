//! Augmentation: which images a training step sees, and that nothing decides it but seed, layer, forward pass and row.

use std::collections::BTreeMap;

use gradloom::ndarray::{Array1, Array4, Axis, s};
use gradloom::{Adam, Predictor, Session, Sgd, Stage, network};
use insta::assert_snapshot;

use crate::train::state;

network! {
    /// The gradient of its weights is the sum of the images that a step sees.
    Seen<x: [B, 2, 5, 6] -> y: [B, 1]> { random_crop(pad = (2, 1)), random_flip, flatten, Dense(1, bias = false) }
    loss = sum(y);

    Cropped<x: [B, 1, 4, 4] -> y: [B, 1, 4, 4]> { random_crop(1), random_flip }

    Flipped<x: [B, 1, 1, 4] -> y: [B, 1]> { random_flip(0.25), flatten, Dense(1, bias = false) }
    loss = sum(y);

    Moved<x: [B, 1, 4, 4] -> y: [B, 1]> { random_crop(1), flatten, Dense(1) }
    loss = sum(y);

    /// Before and after a layer of channels.
    Augmented<image: [u8; B, 3, 8, 8] -> logits: [B, 4]> {
        normalize(0.5, 0.25), random_crop(pad = 2), random_flip, Conv2d(5, 3, pad = 1), BatchNorm, relu,
        random_flip(p = 0.25), random_crop(1), max_pool(2), flatten, Dense(4),
    }
    loss(label: [u8; B]) = cross_entropy(logits, label);

    /// Nothing to choose.
    Still<x: [B, 1, 3, 3] -> y: [B, 1, 3, 3]> { random_crop(0), random_flip(0), prelu }
    loss = sum(y);
}

const SHAPE: [usize; 3] = [2, 5, 6];

fn session(seed: u64) -> Session<Seen> {
    Seen::trainer(Sgd::new(0.0)).max_batch(70).seed(seed).build().expect("it builds")
}

/// What becomes of an image in this row: every element has a number of its own, from 1.
fn seen(net: &mut Session<Seen>, row: usize, rows: usize) -> Vec<f32> {
    let mut x = Array4::zeros((rows, SHAPE[0], SHAPE[1], SHAPE[2]));
    x.index_axis_mut(Axis(0), row).iter_mut().zip(1u8..).for_each(|(x, number)| *x = f32::from(number));
    let gradients = net.gradients(x.view(), ()).expect("the batch fits");
    gradients.get("dense1.weight").expect("it is trained").iter().copied().collect()
}

/// The part of the image that begins at this place, counted from the padding, mirrored or not.
fn part(down: usize, along: usize, mirrored: bool) -> Vec<f32> {
    let [channels, height, width] = SHAPE;
    let mut part = Vec::new();
    for channel in 0..channels {
        for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
            let j = if mirrored { width - 1 - j } else { j };
            let from = [(i + down).checked_sub(2), (j + along).checked_sub(1)];
            part.push(match from {
                [Some(i), Some(j)] if i < height && j < width => (channel * height * width + i * width + j + 1) as f32,
                _ => 0.0,
            });
        }
    }
    part
}

#[test]
fn every_part_of_the_padded_image_is_seen_as_often_as_any_other() {
    let mut known = BTreeMap::new();
    for (down, along, mirrored) in (0..5).flat_map(|i| (0..3).flat_map(move |j| [(i, j, false), (i, j, true)])) {
        let bits: Vec<u32> = part(down, along, mirrored).into_iter().map(f32::to_bits).collect();
        known.insert(bits, (down, along, mirrored, 0));
    }
    assert_eq!(known.len(), 30);
    let mut net = session(3);
    let draws = 1800;
    for draw in 0..draws {
        net.set_forward_count(draw / 60);
        let found = seen(&mut net, draw as usize % 60, 60).into_iter().map(f32::to_bits).collect::<Vec<u32>>();
        known.get_mut(&found).expect("it is a part of the image").3 += 1;
    }
    // 60 of each on average, with a deviation of less than 8.
    let rare = known.values().find(|found| !(30..=90).contains(&found.3));
    assert_eq!(rare, None);
}

#[test]
fn the_row_the_pass_and_the_seed_decide_and_the_batch_does_not() {
    let mut net = session(5);
    let first: Vec<Vec<f32>> = (0..20).map(|row| seen(&mut net, row, 20)).collect();
    let among_more: Vec<Vec<f32>> = (0..20).map(|row| seen(&mut net, row, 70)).collect();
    assert_eq!(first, among_more, "neither the batch nor a second look moves anything");
    let of = |seed, pass| {
        let mut net = session(seed);
        net.set_forward_count(pass);
        (0..20).map(|row| seen(&mut net, row, 20)).collect::<Vec<_>>()
    };
    assert_eq!(of(5, 0), first);
    assert_ne!(of(5, 1), first);
    assert_ne!(of(6, 0), first);
    assert!(first.iter().any(|image| *image != first[0]), "rows have parts of their own");
}

#[test]
fn the_probability_of_a_mirror_image_is_as_declared() {
    let mut net = Flipped::trainer(Sgd::new(0.0)).max_batch(1000).seed(1).build().expect("it builds");
    // Mirrored, a row counts at the last of its elements.
    let x = Array4::from_shape_fn((1000, 1, 1, 4), |(.., j)| if j == 0 { 1.0f32 } else { 0.0 });
    let gradients = net.gradients(x.view(), ()).expect("it runs");
    let seen: Vec<f32> = gradients.get("dense1.weight").expect("it is trained").iter().copied().collect();
    assert_eq!(seen[0] + seen[3], 1000.0);
    assert!((200.0..=300.0).contains(&seen[3]), "{} of 1000", seen[3]);
}

#[test]
fn in_inference_an_image_is_what_it_is() {
    assert_snapshot!(Cropped::predictor().ir(Stage::Forward), @"
    %0 = input x : f32[B,1,4,4]
    output y = %0
    ");
    assert!(!Still::ir(Stage::Forward).contains("uniform"), "nothing is drawn where there is nothing to choose");
    let mut net: Predictor<Cropped> = Cropped::predictor().build().expect("it builds");
    let x = Array4::from_shape_fn((3, 1, 4, 4), |(row, _, i, j)| (row * 16 + i * 4 + j) as f32);
    assert_eq!(net.predict(x.view()).expect("it runs"), x);
}

#[test]
fn an_image_is_moved_where_it_is_read() {
    assert_snapshot!(Flipped::ir(Stage::Forward), @"
    %0 = input x : f32[B,1,1,4]
    %1 = scalar random_flip1.key0 : u32[]                            # random_flip1
    %2 = scalar random_flip1.key1 : u32[]                            # random_flip1
    %3 = iota axis 0 : u32[B,1]                                      # random_flip1
    %4 = iota axis 1 : u32[B,1]                                      # random_flip1
    %5 = broadcast %1 : u32[B,1]                                     # random_flip1
    %6 = broadcast %2 : u32[B,1]                                     # random_flip1
    %7 = uniform %5, %6, %3, %4 : f32[B,1]                           # random_flip1
    %8 = reshape %7 : f32[B]                                         # random_flip1
    %9 = broadcast %0 to 0,1,2,3 : f32[B,1,1,4,4]                    # random_flip1
    %10 = skew %9 axis 3 by -1 along 4, from 3, to 1 : f32[B,1,1,1,4] # random_flip1
    %11 = reshape %10 : f32[B,1,1,4]                                 # random_flip1
    %12 = lt %8, 0.25 : bool[B]                                      # random_flip1
    %13 = broadcast %12 to 0 : bool[B,1,1,4]                         # random_flip1
    %14 = select %13, %11, %0 : f32[B,1,1,4]                         # random_flip1
    %15 = reshape %14 : f32[B,4]                                     # flatten1
    %16 = param dense1.weight : f32[4,1]                             # dense1
    %17 = dot %15, %16 : f32[B,1]                                    # dense1
    %18 = sum %17 over 0,1 : f32[]                                   # loss
    output y = %17
    loss = %18
    ");
    // What is chosen for a row is computed once, and the part that it says is read from the image with its zeros.
    let fused = Moved::trainer(Sgd::new(0.1)).ir(Stage::Fused);
    let lines = fused.lines().filter(|line| line.contains("random_crop1"));
    assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    %7 = uniform random_crop1.key0, random_crop1.key1, row, column : f32[B,2] # random_crop1
    %8 = ge %7, 0.33333337 : bool[B,2]                             # random_crop1
    %9 = select %8, 1, 0 : f32[B,2]                                # random_crop1
    %10 = ge %7, 0.6666667 : bool[B,2]                             # random_crop1
    %11 = select %10, 1, 0 : f32[B,2]                              # random_crop1
    %12 = add %9, %11 : f32[B,2]                                   # random_crop1
    %18 = add x[0, b, i-1 : 0], -0 : f32[B,1,4,6]                  # random_crop1
    %22 = eq %12[b, 0], 1 : bool[B,1,4,6]                          # random_crop1
    %23 = select %22, %18, %18[b, 0, i-1, j : 0] : f32[B,1,4,6]    # random_crop1
    %25 = eq %12[b, 0], 2 : bool[B,1,4,6]                          # random_crop1
    %26 = select %25, %18[b, 0, i+1, j : 0], %23 : f32[B,1,4,6]    # random_crop1
    %30 = eq %12[b, 1], 1 : bool[B,1,4,4]                          # random_crop1
    %31 = select %30, %26[b, 0, i, j+1], %26[b, 0, i, j] : f32[B,1,4,4] # random_crop1
    %33 = eq %12[b, 1], 2 : bool[B,1,4,4]                          # random_crop1
    %34 = select %33, %26[b, 0, i, j+2], %31 : f32[B,1,4,4]        # random_crop1
    ");
}

#[test]
fn augmented_images_train_to_the_same_bits_for_any_number_of_threads() {
    let labels = Array1::from_shape_fn(40, |row| (row % 4) as u8);
    let images = Array4::from_shape_fn((40, 3, 8, 8), |(row, channel, i, j)| {
        let bright = (i / 4) * 2 + j / 4 == row % 4;
        (if bright { 200 } else { 40 }) + ((row * 7 + channel * 5 + i * 3 + j) % 50) as u8
    });
    let trained = [1, 2, 3].map(|threads| {
        let mut net =
            Augmented::trainer(Adam::new(1e-2)).max_batch(40).seed(2).threads(threads).build().expect("it builds");
        for _ in 0..10 {
            net.step(images.view(), labels.view()).expect("it runs");
        }
        net.accumulate(images.slice(s![..9, .., .., ..]), labels.slice(s![..9])).expect("it is added up");
        net.update().expect("there are gradients");
        net
    });
    assert_eq!(state(&trained[0]), state(&trained[1]));
    assert_eq!(state(&trained[0]), state(&trained[2]));
    let [mut net, ..] = trained;
    let report = net.gradcheck(images.slice(s![..6, .., .., ..]), labels.slice(s![..6])).expect("it runs");
    assert!(report.passed(), "{report}");
}
