//! Networks of shapes and combinations that the random ones do not draw: rows of one element, layers in odd places,
//! losses of parameters, statistics and named values, numbers and maxima that are used again.
//!
//! Each is compared with the interpreter like a random network, for batches of one row, of a block and of several.

use gradloom::{AdamW, Network, Sgd, network};
use gradloom_runtime::optim::TrainingConfig;
use proptest::test_runner::TestCaseError;

use super::random::compare_programs;
use crate::budget::share;

network! {
    Corner3<x: [B, 5] -> y: [B, 4]> { Dense(6), softmax, Dense(4), softmax } loss(l: [u32; B]) = cross_entropy(y, l) + mean(dense1.weight * dense1.weight) + 0.1 * sum(abs(dense2.bias));
    Corner4<x: [B, 5] -> y: [B, 4]> { Dense(6) as h, relu, Dense(4) } loss(l: [u32; B]) = mean(h * h) + mean(x * x);
    Corner5<x: [B, 5] -> y: [B, 4]> { Dense(4) } loss = mean(x * x);
    Corner6<x: [B, 2, 3, 4] -> y: [B, 24]> { flatten } loss(t: [B, 24]) = mse(y, t);
    Corner7<x: [B, 2, 3, 4] -> y: [B, 3]> { softmax, relu, flatten, Dense(3) } loss(t: [B, 3]) = mse(y, t) + max(x);
    Corner8<x: [B, 4] -> y: [B, 4]> { relu } loss(t: [B, 4]) = mse(y, t);
    Corner9<x: [B, 4] -> y: [B, 2]> { BatchNorm, BatchNorm, softmax, BatchNorm(every = 3, momentum = 0), Dense(2) } loss(t: [B, 2]) = mse(y, t);
    Corner10<x: [B, 4] -> y: [B, 4]> { Dense(4), Dense(4) as h, Dense(4) } loss(t: [B, 4]) = max(y) + sum(dense1.weight * h.weight) + mean(h * y) + mean(h.weight / (dense3.weight * dense3.weight + 1.0));
    Corner11<x: [B, 4] -> y: [B, 4]> { Dense(4), Dense(4) } loss = sum(dense1.weight * dense2.weight);
    Corner12<x: [B, 4] -> y: [B, 4]> { Dense(4), Dense(4) } loss(t: [B, 4]) = mean(y > t) + mse(y, t) * mean(y > 0.0);
    Corner13<x: [B, 4] -> y: [B, 4]> { Dense(5) as h, BatchNorm(momentum = 1, every = 3), Dense(4) } loss(t: [u8; B]) = cross_entropy(y, t) * exp(mean(h)); metric a = mean(argmax(h) == argmax(y)); metric b = mean(argmax(h) != t); metric c = sum(y > 0.0) / mean(h * h);
    Corner14<x: [B, 4] -> y: [B, 4]> { Dense(5) as h, tanh, Dense(4) } loss(t: [B, 4]) = relu(mean(h) - 0.1) + leaky_relu(mse(y, t)) + abs(mean(y)) + softplus(max(h)) + elu(sum(y) * 0.01);
    Corner15<x: [B, 3, 4] -> y: [B, 3, 4]> { relu, log_softmax } loss(t: [u8; B, 3]) = cross_entropy(y, t); metric acc = mean(argmax(y) == t);
    Corner16<x: [B, 3, 4] -> y: [B, 3, 4]> { tanh } loss(t: [B, 3, 4]) = bce_with_logits(y, t) + mean(softmax(y) * y) + max(y * y);
    Corner17<x: [B, 4] -> y: [B, 1]> { Dense(1), sigmoid } loss(t: [B, 1]) = mse(y, t) + mean(softmax(y)) + mean(log_softmax(y) * t);
    Corner18<x: [B, 4] -> y: [B, 1]> { Dense(3), softmax as p, Dense(1) } loss(t: [B, 1]) = mse(y, t) + max(p) - mean(ln(p) * p) + sqrt(sum(dense1.weight * dense1.weight)) + max(dense1.weight) + max(dense1.bias);
    Corner19<x: [B, 4] -> y: [B, 3]> { Dense(3), BatchNorm as n, relu } loss(t: [u8; B]) = cross_entropy(y, t) + mean(n.gamma * n.gamma) + mean(n.beta) + mean(n.running_mean) + mean(abs(n.running_var) * n.gamma);
    Corner20<x: [B, 4] -> y: [B, 3]> { Dense(3), step, Dense(3), step } loss(t: [B, 3]) = mse(y, t);
    Corner21<x: [B, 4] -> y: [B, 3]> { Dense(3) } loss(t: [B, 3]) = mean((y - t) * (y - t)) / mean(t * t) + mean((y - mean(y)) * (y - mean(y)));
    Corner22<x: [B, 6] -> y: [B, 3]> { Dense(6) as a, relu as b, Dense(6) as c, relu as d, Dense(3) } loss(t: [B, 3]) = mse(y, t) + mse(a, c) + mse(b, d) + mean(a * d) + mean(x * c) + mean(a == c);
    Corner23<x: [B, 4] -> y: [B, 4]> { softmax } loss(t: [u8; B]) = cross_entropy(y, t);
    Corner24<x: [B, 4] -> y: [B, 4]> { BatchNorm } loss(t: [B, 4]) = mse(y, t);
    Corner25<x: [B, 4] -> y: [B, 4]> { BatchNorm, relu, BatchNorm, relu } loss(t: [B, 4]) = mse(y, t) + mean(sigmoid(batch_norm1.gamma * 1.0 + batch_norm2.beta));
    Corner26<x: [B] -> y: [B]> { relu, tanh } loss(t: [B]) = mse(y, t) + max(y); metric m = mean(y > t);
    Corner27<x: [B, 1] -> y: [B, 1]> { BatchNorm, Dense(1), BatchNorm } loss(t: [B, 1]) = mse(y, t); metric z = mean(argmax(y) == argmax(x));
    Corner28<x: [B, 7] -> y: [B, 1]> { Dense(1), BatchNorm, tanh, Dense(1) } loss(t: [B, 1]) = bce_with_logits(y, t) + max(x) * mean(y);
    Corner30<x: [B, 4] -> y: [B, 4]> { Dense(4, bias = false) as a, Dense(4, bias = false) as b } loss(t: [B, 4]) = mse(y, t) + mean(a.weight * b.weight) + mean(a.weight * a.weight * b.weight);
    Corner31<x: [B, 4] -> y: [B, 4]> { Dense(4) } loss(t: [B, 4]) = mse(y, t) + 0.0 * mean(y) + mean(dense1.bias) * mean(x) + mean(max(dense1.weight) * x) + sum(dense1.bias) / sum(dense1.weight * dense1.weight);
    Corner32<x: [B, 4] -> y: [B, 4]> { gelu, Dense(4), gelu(approx = tanh), selu, elu(alpha = 0), leaky_relu(slope = 0) } loss(t: [B, 4]) = mse(y, t) + mean(y * exp(max(y))) + mean(y) * max(abs(y - t));
    Corner33<x: [B, 4] -> y: [B, 4]> { Dense(4) } loss(t: [B, 4]) = mean(ln(sigmoid(y)) * softplus(t - mean(t))) + mean(mean(y) * t) + max(y * mean(y));
    Corner34<x: [B, 4] -> y: [B, 4]> { Dense(4) as h, BatchNorm as n, softmax as s } loss(t: [B, 4]) = mean(h * n) + mean(n * s) + max(n) + max(h) + mean(abs(n - t));
    Corner35<x: [B, 2, 3] -> y: [B, 6]> { softmax as s, flatten as f, BatchNorm } loss(t: [B, 6]) = mse(y, t) + max(s) + mean(f * y) + mean(s * x);
    Corner36<x: [B, 2, 3] -> y: [B, 6]> { log_softmax as s, flatten as f, softmax } loss(t: [B, 6]) = mse(y, f) + max(s) * mean(y == f);
    Corner37<x: [B, 5] -> y: [B, 5]> { Dense(5), softmax, Dense(5), log_softmax, Dense(5), BatchNorm, softmax, BatchNorm, log_softmax } loss(t: [u8; B]) = cross_entropy(y, t);
}

/// Compares a network with the interpreter; a draw that is near a kink is replaced by another.
fn check<N: Network>(least_rows: usize) {
    check_with::<N>(least_rows, &[[1, 1], [7, 5], [300, 129]]);
}

/// The same with these batch sizes, two a session, each with another optimizer than the one before.
pub fn check_with<N: Network>(least_rows: usize, batches: &[[usize; 2]]) {
    let name = N::declared().name;
    for (turn, batches) in batches.iter().enumerate() {
        let batches = batches.map(|rows: usize| rows.max(least_rows));
        for momentum in share(&[true, false], turn, 2) {
            let optimizer = || -> TrainingConfig {
                if momentum { Sgd::new(0.1).momentum(0.9).into() } else { AdamW::new(0.01).weight_decay(0.1).into() }
            };
            let tried = (0..6).map(|seed| compare_programs(N::declared(), optimizer(), &batches, seed));
            let result = tried.into_iter().find(|result| !matches!(result, Err(TestCaseError::Reject(_))));
            match result {
                Some(Ok(_)) => {}
                Some(Err(error)) => panic!("{name} with batches of {batches:?}: {error}"),
                None => panic!("{name} with batches of {batches:?}: every draw is near a kink or not finite"),
            }
        }
    }
}

#[test]
fn corner_networks_compute_what_the_interpreter_computes() {
    check::<Corner3>(1);
    check::<Corner4>(1);
    check::<Corner5>(1);
    check::<Corner6>(1);
    check::<Corner7>(1);
    check::<Corner8>(1);
    check::<Corner9>(4);
    check::<Corner10>(1);
    check::<Corner11>(1);
    check::<Corner12>(1);
    check::<Corner13>(4);
    check::<Corner14>(1);
    check::<Corner15>(1);
    check::<Corner16>(1);
    check::<Corner17>(1);
    check::<Corner18>(1);
    check::<Corner19>(4);
    check::<Corner20>(1);
    check::<Corner21>(1);
    check::<Corner22>(1);
    check::<Corner23>(1);
    check::<Corner24>(4);
    check::<Corner25>(4);
    check::<Corner26>(1);
    check::<Corner27>(4);
    check::<Corner28>(4);
    check::<Corner30>(1);
    check::<Corner31>(1);
    check::<Corner32>(1);
    check::<Corner33>(1);
    check::<Corner34>(4);
    check::<Corner35>(4);
    check::<Corner36>(1);
    check::<Corner37>(4);
}
