//! A residual block of images as it trains: what is computed kernel by kernel, what is stored, and the same bits for any threads.

use gradloom::ndarray::{Array1, Array4};
use gradloom::{Sgd, Stage, network};
use insta::assert_snapshot;

network! {
    Block<image: [B, 16, 8, 8] -> logits: [B, 3]> {
        residual {
            Conv2d(16, 3, pad = 1, bias = false), BatchNorm, relu,
            Conv2d(16, 3, pad = 1, bias = false), BatchNorm,
        },
        relu, global_avg_pool, Dense(3),
    }
    loss(class: [u8; B]) = cross_entropy(logits, class);
}

#[test]
fn a_residual_block_stores_what_convolutions_give_and_what_they_read() {
    assert_snapshot!(Block::trainer(Sgd::new(0.1)).ir(Stage::Fused));
}

#[test]
fn a_residual_block_trains_to_the_same_bits_for_any_threads_and_largest_batch() {
    let image =
        Array4::from_shape_fn((6, 16, 8, 8), |(b, c, y, x)| ((b * 7 + c * 5 + y * 3 + x) % 11) as f32 / 5.0 - 1.0);
    let class = Array1::from_shape_fn(6, |b| (b % 3) as u8);
    let trained = |threads: usize, max_batch: usize| {
        let trainer = Block::trainer(Sgd::new(0.1)).max_batch(max_batch).threads(threads).seed(3);
        let mut net = trainer.build().expect("it builds");
        for _ in 0..3 {
            net.step(image.view(), class.view()).expect("the step is taken");
        }
        let weights = ["residual1.conv1.weight", "residual1.conv2.weight", "dense1.weight"].into_iter();
        let bits = weights.flat_map(|name| net.param(name).expect("it is there").iter().copied().collect::<Vec<f32>>());
        bits.map(f32::to_bits).collect::<Vec<u32>>()
    };
    let wanted = trained(1, 6);
    for (threads, max_batch) in [(1, 64), (2, 6), (2, 64), (3, 7)] {
        assert!(trained(threads, max_batch) == wanted, "{threads} threads, up to {max_batch} images");
    }
}
