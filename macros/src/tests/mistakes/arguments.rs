//! Arguments: which there are, and what they may be.

use insta::assert_snapshot;

use super::body;

#[test]
fn unknown_argument() {
    assert_snapshot!(body("Dense(16), BatchNorm(momentm = 0.9), Dense(4, units = 3)"), @"
    1:52: unknown argument `momentm` of `BatchNorm`; did you mean `momentum`?
    1:77: unknown argument `units` of `Dense`; write `n`
    ");
}

#[test]
fn missing_argument() {
    assert_snapshot!(body("Dense, relu, Dense(bias = false)"), @"
    1:31: `Dense` needs the argument `n` (number of outputs)
    1:44: `Dense` needs the argument `n` (number of outputs)
    ");
}

#[test]
fn misspelled_argument_is_not_missing_as_well() {
    assert_snapshot!(body("Dense(m = 4)"), @"1:37: unknown argument `m` of `Dense`; there are `n`, `bias`, `init` and `weight`");
}

#[test]
fn too_many_arguments() {
    assert_snapshot!(body("Dense(16, true, zeros, 3, 4), relu(2), leaky_relu(0.1, 0.2), Dense(4)"), @"
    1:54: `weight` of `Dense` must be the path of a parameter, such as `embedding1.weight`, found `3`
    1:57: `Dense` takes at most 4 arguments: `n`, `bias`, `init` and `weight`
    1:66: `relu` takes no arguments
    1:86: `leaky_relu` takes one argument, `slope`
    ");
}

#[test]
fn duplicate_argument() {
    assert_snapshot!(body("Dense(16, n = 4), BatchNorm(every = 1, every = 2), Dense(4)"), @"
    1:41: `n` of `Dense` is given twice
    1:70: `every` of `BatchNorm` is given twice
    ");
}

#[test]
fn positional_after_named() {
    assert_snapshot!(body("Dense(bias = false, 4)"), @"1:51: an argument without a name comes before those with one");
}

#[test]
fn string_instead_of_a_word() {
    assert_snapshot!(body(r#"Dense(16, init = "he_normal"), gelu(approx = "fast"), Dense("4")"#), @"
    1:48: options are never strings; write `init = he_normal`
    1:76: options are never strings; `approx` of `gelu` must be `none` or `tanh`
    1:91: options are never strings; `n` of `Dense` must be an integer of at least 1
    ");
}

#[test]
fn wrong_kind() {
    assert_snapshot!(body("Dense(16.5, bias = 0, init = he), BatchNorm(momentum = true), Dense(4)"), @"
    1:37: `n` of `Dense` must be an integer of at least 1, found `16.5`
    1:50: `bias` of `Dense` must be `true` or `false`, found `0`
    1:60: unknown initializer `he`; did you mean `he_uniform` or `he_normal`?
    1:86: `momentum` of `BatchNorm` must be a number between 0 and 1, found `true`
    ");
}

#[test]
fn out_of_range() {
    assert_snapshot!(body("Dense(16), BatchNorm(momentum = 1.5, eps = -1e-5, every = 0), Dense(2 - 2)"), @"
    1:63: `momentum` of `BatchNorm` must be a number between 0 and 1, found `1.5`
    1:74: `eps` of `BatchNorm` must be a number between 1e-12 and 1, found `-1e-5`
    1:89: `every` of `BatchNorm` must be an integer of at least 1, found `0`
    1:99: `n` of `Dense` must be an integer of at least 1, found `2 - 2` = 0
    ");
}

#[test]
fn unknown_initializer() {
    assert_snapshot!(body("Dense(4, init = he_norml), Dense(4, init = kaiming_uniform), Dense(4, init = glorot)"), @"
    1:47: unknown initializer `he_norml`; did you mean `he_normal`?
    1:74: unknown initializer `kaiming_uniform`; did you mean `he_uniform`?
    1:108: unknown initializer `glorot`; did you mean `xavier_uniform` or `xavier_normal`?
    ");
    assert_snapshot!(body("Dense(4, init = sparse), Dense(4, init = Normal(0.02))"), @"
    1:47: unknown initializer `sparse`; there are `auto`, `zeros`, `constant(value)`, `uniform(bound)`, `normal(deviation)`, `xavier_uniform`, `xavier_normal`, `he_uniform`, `he_normal`, `lecun_uniform`, `lecun_normal` and `orthogonal(gain)`
    1:72: unknown initializer `Normal`; did you mean `normal`?
    ");
}

#[test]
fn no_initializer() {
    assert_snapshot!(body(r#"Dense(4, init = 0.02), Dense(4, init = "zeros"), Dense(4, init = "lots"), Dense(4, init = true)"#), @"
    1:47: `init` of `Dense` must be an initializer, found `0.02`; there are `auto`, `zeros`, `constant(value)`, `uniform(bound)`, `normal(deviation)`, `xavier_uniform`, `xavier_normal`, `he_uniform`, `he_normal`, `lecun_uniform`, `lecun_normal` and `orthogonal(gain)`
    1:70: options are never strings; write `init = zeros`
    1:96: options are never strings; `init` of `Dense` must be an initializer
    1:121: `init` of `Dense` must be an initializer, found `true`
    ");
}

#[test]
fn numbers_of_initializers() {
    assert_snapshot!(body("Dense(4, init = normal), Dense(4, init = normal(-0.02)), Dense(4, init = normal(std = 0.02))"), @"
    1:47: `normal` needs the argument `deviation` (the standard deviation)
    1:79: `deviation` of `normal` must be a number between 0 and 1e6, found `-0.02`
    1:111: unknown argument `std` of `normal`; write `deviation`
    ");
    assert_snapshot!(body("Dense(4, init = uniform(0, 1)), Dense(4, init = constant(true)), Dense(4, init = zeros(1))"), @"
    1:58: `uniform` takes one argument, `bound`
    1:88: `value` of `constant` must be a number between -1e6 and 1e6, found `true`
    1:118: `zeros` takes no arguments
    ");
    assert_snapshot!(body("Dense(4, init = orthogonal(gain = 1e9)), Dense(4, init = normal(1 / 0)), Dense(4, init = normal(x))"), @"
    1:65: `gain` of `orthogonal` must be a number between 0 and 1e6, found `1e9`
    1:95: `1 / 0` divides by zero
    1:127: unknown size `x`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    ");
}

#[test]
fn probabilities_and_momenta_out_of_range() {
    assert_snapshot!(body("Dropout, Dropout(1), Dropout(p = -0.1), Dropout(1.5), Dropout(half), Dropout(rate = 0.5), Dense(4)"), @"
    1:31: `Dropout` needs the argument `p` (the probability that an element is dropped)
    1:48: `p` of `Dropout` must be a number of at least 0 and at most 1 - 2^-24, found `1`
    1:64: `p` of `Dropout` must be a number of at least 0 and at most 1 - 2^-24, found `-0.1`
    1:79: `p` of `Dropout` must be a number of at least 0 and at most 1 - 2^-24, found `1.5`
    1:93: unknown size `half`; a variable is not known when a network is declared: write a number, a `const` of `network!`, or a constant of Rust with its path, like `crate::N`
    1:108: unknown argument `rate` of `Dropout`; write `p`
    ");
    assert_snapshot!(body("Dropout(0), Dropout(0.99999), BatchNorm(momentum = 0), BatchNorm(momentum = 1), Dense(4)"), @"");
    assert_snapshot!(body("BatchNorm(momentum = -0.5), BatchNorm(2), LayerNorm(eps = 0), Dense(4)"), @"
    1:52: `momentum` of `BatchNorm` must be a number between 0 and 1, found `-0.5`
    1:69: `momentum` of `BatchNorm` must be a number between 0 and 1, found `2`; what comes in is inferred: `BatchNorm` takes no size
    1:89: `eps` of `LayerNorm` must be a number between 1e-12 and 1, found `0`
    ");
}
