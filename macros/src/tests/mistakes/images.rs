//! Mistakes in networks over images: the trace says how a shape came about, and the hint what would fit.

use insta::assert_snapshot;

use crate::tests::mistakes;

/// The mistakes of a body over images of 3 x 12 x 10.
fn body(stages: &str) -> String {
    mistakes(&format!("Net<x: [B, 3, 12, 10] -> y: [B, 4]> {{ {stages} }}"))
}

#[test]
fn what_does_not_fit_an_image_is_said_with_what_would() {
    assert_snapshot!(body("Conv2d(8, 5), max_pool(2), Conv2d(8, 5), flatten, Dense(4)"), @"
    1:66: `Conv2d(8, 5)` needs at least 5 x 5 positions, found [B, 8, 4, 3]; the window covers 5 x 5, which `pad = 1` makes room for
    x [B,3,12,10] -> Conv2d(8,5) [B,8,8,6] -> max_pool(2) [B,8,4,3]
    ");
    assert_snapshot!(body("Conv2d(8, 3, stride = 2), Dense(4)"), @"
    1:65: `Dense(4)` works along the last axis of [B, 8, 5, 4], which makes `y` [B, 8, 5, 4] instead of [B, 4]; insert `flatten` before it (gives [B, 160])
    x [B,3,12,10] -> Conv2d(8,3,stride=2) [B,8,5,4]
    ");
    assert_snapshot!(body("Conv2d(8, 3, groups = 2), flatten, Dense(4)"), @"
    1:39: `Conv2d(8, 3, groups = 2)` needs channels that `groups = 2` divides, both the 8 that go out and those that come in, found [B, 3, 12, 10]
    x [B,3,12,10]
    ");
    assert_snapshot!(body("Conv2d(8, 3, pad = same, stride = 2), flatten, Dense(4)"), @"
    1:39: `Conv2d(8, 3, pad = same, stride = 2)` needs `stride = 1` where `pad = same`, found [B, 3, 12, 10]; write the padding as a number
    x [B,3,12,10]
    ");
    assert_snapshot!(body("max_pool(2, pad = 2), flatten, Dense(4)"), @"
    1:39: `max_pool(2, pad = 2)` needs a `pad` of at most half of its `kernel`, found [B, 3, 12, 10]
    x [B,3,12,10]
    ");
    assert_snapshot!(body("global_avg_pool, Conv2d(8, 3)"), @"
    1:56: `Conv2d(8, 3)` needs [B, channels, height, width], found [B, 3]
    x [B,3,12,10] -> global_avg_pool [B,3]
    ");
    assert_snapshot!(body("residual { Conv2d(8, 3) }, flatten, Dense(4)"), @"
    1:39: `residual` adds its body to what comes in: the body gives [B, 8, 10, 8], but [B, 3, 12, 10] comes in; a `skip { .. }` after it can bring that to [B, 8, 10, 8]
    x [B,3,12,10] -> Conv2d(8,3) [B,8,10,8]
    ");
    assert_snapshot!(mistakes("Net<x: [B, 28, 28] -> y: [B, 4]> { Conv2d(8, 3), flatten, Dense(4) }"), @"
    1:36: `Conv2d(8, 3)` needs [B, channels, height, width], found [B, 28, 28]; with one channel that is [B, 1, 28, 28]
    x [B,28,28]
    ");
}

#[test]
fn two_sizes_are_height_and_width() {
    assert_snapshot!(body("Conv2d(8, (3, 5), pad = (1, 2)), flatten, Dense(4)"), @"");
    assert_snapshot!(body("Conv2d(8, (3, 5, 1)), flatten, Dense(4)"), @"1:49: `kernel` of `Conv2d` must be an integer of at least 1, or two as `(height, width)`, found `(3, 5, 1)`");
    assert_snapshot!(body("Conv2d(8, (3, 0)), flatten, Dense(4)"), @"1:49: `kernel` of `Conv2d` must be an integer of at least 1, or two as `(height, width)`, found `(3, 0)`");
    assert_snapshot!(body("Conv2d(8, (3, 1.5), stride = (2, -1)), flatten, Dense(4)"), @"
    1:49: `kernel` of `Conv2d` must be an integer of at least 1, or two as `(height, width)`, found `(3, 1.5)`
    1:68: `stride` of `Conv2d` must be an integer of at least 1, or two as `(height, width)`, found `(2, -1)`
    ");
    assert_snapshot!(body("Conv2d(8, 3, pad = valid), max_pool(2, stride = same), flatten, Dense((2, 2))"), @"
    1:58: unknown size `valid`; there is no padding by default; leave it out
    1:87: unknown size `same`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    1:109: `n` of `Dense` must be an integer of at least 1, found `(2, 2)`
    ");
    assert_snapshot!(body("Conv2d(8, 3, padding = 1), Conv2D(8, 3), flatten, Dense(4)"), @"
    1:52: unknown argument `padding` of `Conv2d`; write `pad`
    1:66: unknown layer `Conv2D`; write `Conv2d(channels, kernel)`: the size of what comes in is inferred
    ");
    assert_snapshot!(body("Conv2d(8, (crate::K, 3), pad = (1, 1 + crate::P)), flatten, Dense(4)"), @"");
}

#[test]
fn bytes_are_numbers_once_they_are_normalized() {
    let of_bytes = |stages: &str| mistakes(&format!("Net<x: [u8; B, 3, 12, 10] -> y: [B, 4]> {{ {stages} }}"));
    for sound in ["normalize", "normalize(0.5)", "normalize((0.5, 0.4, 0.3), 0.2)", "normalize(crate::MEAN, [1, 2, 3])"]
    {
        assert_eq!(of_bytes(&format!("{sound}, flatten, Dense(4)")), "", "{sound}");
    }
    assert_snapshot!(of_bytes("Conv2d(8, 3), flatten, Dense(4)"), @"1:43: `Conv2d(8, 3)` needs f32, found u8; put `normalize` before it, which makes numbers of the bytes of an image, or declare `x` without `u8;`");
    assert_snapshot!(of_bytes("random_crop(2), normalize, flatten, Dense(4)"), @"1:43: `random_crop(2)` needs f32, found u8; put `normalize` before it, which makes numbers of the bytes of an image, or declare `x` without `u8;`");
    assert_snapshot!(mistakes("Net<x: [u16; B, 3, 12, 10] -> y: [B, 4]> { normalize, flatten, Dense(4) }"), @"1:44: `normalize` needs f32, found u16; declare `x` without `u16;`");
    assert_snapshot!(of_bytes("normalize((0.5, 0.4), 0.2), flatten, Dense(4)"), @"
    1:43: `normalize((0.5, 0.4), 0.2)` needs [B, 2, ...], a channel for each number of `mean`, found [B, 3, 12, 10]; a single number is that of every channel
    x [u8;B,3,12,10]
    ");
    assert_snapshot!(of_bytes("normalize((0.5, 0.4, 1e99), (0.2, 0.0, 1)), flatten, Dense(4)"), @"
    1:64: `1e99` is beyond f32, whose largest number is 3.4e38
    1:71: `std` of `normalize` must be a number between 1e-30 and 1e30, or a list with one for each channel, found `(0.2, 0.0, 1)`
    ");
    assert_snapshot!(of_bytes("normalize(std = 0, mean = gray), flatten, Dense(4)"), @"
    1:59: `std` of `normalize` must be a number between 1e-30 and 1e30, or a list with one for each channel, found `0`
    1:69: unknown size `gray`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    ");
    assert_snapshot!(mistakes("Net<x: [u8; B] -> y: [B]> { normalize([0.5]) }"), @"
    1:29: `normalize([0.5])` needs [B, 1, ...], a channel for each number of `mean`, found [B]; a single number is that of every channel
    x [u8;B]
    ");
    assert_snapshot!(of_bytes("normalize, Normalize(), ToTensor, flatten, Dense(4)"), @"
    1:54: unknown layer `Normalize`; did you mean `normalize`?
    1:67: unknown layer `ToTensor`; write `normalize`: for an input of `u8`, whose bytes it divides by 255
    ");
}

#[test]
fn augmentation_is_of_images() {
    assert_eq!(body("random_crop(4), random_crop((11, 9)), random_flip, random_flip(1), flatten, Dense(4)"), "");
    assert_snapshot!(body("random_crop(pad = 10), flatten, Dense(4)"), @"
    1:39: `random_crop(pad = 10)` needs a `pad` of fewer positions than the image has, and of at most 128, found [B, 3, 12, 10]
    x [B,3,12,10]
    ");
    assert_snapshot!(body("flatten, random_flip, Dense(4)"), @"
    1:48: `random_flip` needs [B, channels, height, width], found [B, 360]
    x [B,3,12,10] -> flatten [B,360]
    ");
    assert_snapshot!(body("random_crop, random_flip(1.5), flatten, Dense(4)"), @"
    1:39: `random_crop` needs the argument `pad` (zeros around the image, fewer than it has positions, and at most 128)
    1:64: `p` of `random_flip` must be a number between 0 and 1, found `1.5`
    ");
    assert_snapshot!(body("RandomCrop(2, padding = 2), RandomHorizontalFlip, flatten, Dense(4)"), @"
    1:39: unknown layer `RandomCrop`; did you mean `random_crop`?
    1:67: unknown layer `RandomHorizontalFlip`; write `random_flip`
    ");
}

#[test]
fn bodies_side_by_side() {
    assert_eq!(body("concat { { Conv2d(8, 1) }, { |x| x } }, flatten, Dense(4)"), "");
    let said = body("concat { { max_pool(2) }, { |x| x } }, flatten, Dense(4)");
    let wanted = "`concat` may differ in their second axis, of channels or features, and in no other: they give \
                  [B, 3, 6, 5], [B, 3, 12, 10]";
    assert!(said.contains(wanted), "{said}");
    for wrong in ["concat { relu, tanh }", "concat {}", "concat { {}, { relu } }", "concat(1) { { relu } }", "concat"] {
        assert_ne!(body(&format!("{wrong}, flatten, Dense(4)")), "", "{wrong}");
    }
}

#[test]
fn what_makes_an_image_larger() {
    let said = body("ConvTranspose2d(4, 3, stride = 2, more = 2), flatten, Dense(4)");
    assert!(said.contains("needs a `more` that is less than its `stride`, found [B, 3, 12, 10]"), "{said}");
    let said = body("ConvTranspose2d(4, 2, pad = 7), flatten, Dense(4)");
    assert!(said.contains("needs a `pad` that leaves some of the result"), "{said}");
    let said = body("upsample(2, mode = cubic), flatten, Dense(4)");
    assert!(said.contains("`mode` of `upsample` must be `nearest` or `bilinear`"), "{said}");
    let said = body("GroupNorm(2), flatten, Dense(4)");
    assert!(said.contains("needs [B, channels, ...] with channels that `groups = 2` divides"), "{said}");
    let said = body("Conv1d(4, 3), flatten, Dense(4)");
    assert!(said.contains("needs [B, channels, time], found [B, 3, 12, 10]"), "{said}");
    let said = mistakes("Net<x: [B, 2, 9] -> y: [B, 4]> { Conv1d(4, 3, pad = (1, 1)), flatten, Dense(4) }");
    assert!(said.contains("`pad` of `Conv1d` must be an integer of at least 0, or `same`"), "{said}");
}
