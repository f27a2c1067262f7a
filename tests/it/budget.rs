//! How much the tests try.
//!
//! In every run each rule is met: whatever decides how something is computed (the ends of vectors, tiles, blocks of
//! rows and of what is multiplied in one go, threads, instruction sets, transposed operands) is tried with everything else
//! that it could go wrong with, in pairs. With `PROPTEST_CASES` everything is tried with everything, and as many random cases
//! as it says, if those are more.

/// How many random cases are tried: as many as the environment asks for, but no fewer than these.
pub fn cases(least: u64) -> u64 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(least).max(least)
}

/// Whether everything is tried with everything.
pub fn is_deep() -> bool {
    std::env::var_os("PROPTEST_CASES").is_some()
}

/// Of sizes that are tried with many things one after the other, every `of`th: another share in each turn, all of them in
/// `of` turns.
pub fn share<T: Copy>(sizes: &[T], turn: usize, of: usize) -> Vec<T> {
    let of = if is_deep() { 1 } else { of };
    sizes.iter().copied().skip(turn % of).step_by(of).collect()
}

#[test]
fn shares_of_successive_turns_are_all_of_it() {
    let sizes: Vec<usize> = (0..13).collect();
    let mut all: Vec<usize> = (5..8).flat_map(|turn| share(&sizes, turn, 3)).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, sizes);
}
