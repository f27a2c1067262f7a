//! Choices read off a list of numbers: what is drawn from a shorter list, or from smaller numbers, is simpler.

/// A list of numbers, of which each decides one choice.
pub struct Tape<'n> {
    numbers: &'n [u32],
    at: usize,
}

impl<'n> Tape<'n> {
    pub fn new(numbers: &'n [u32]) -> Tape<'n> {
        Tape { numbers, at: 0 }
    }

    /// A number below `n`; 0 when the tape has ended.
    pub fn below(&mut self, n: usize) -> usize {
        let number = self.numbers.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        number as usize % n
    }

    /// One of several, of which the first is the simplest.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Whether something less simple happens, in so many cases of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }
}

/// A shorter or smaller tape for which `is_wrong` still holds, after a limited search.
pub fn smaller(numbers: &[u32], mut is_wrong: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut best = numbers.to_vec();
    let mut left = 1500;
    let mut try_out = |best: &mut Vec<u32>, candidate: Vec<u32>| {
        let better = left > 0 && candidate != *best && is_wrong(&candidate);
        left -= i32::from(left > 0);
        if better {
            *best = candidate;
        }
        better
    };
    for chunk in (0..3).flat_map(|_| [64, 16, 4, 2, 1]) {
        let mut at = 0;
        while at < best.len() {
            let end = (at + chunk).min(best.len());
            let without = [&best[..at], &best[end..]].concat();
            let mut zeros = best.clone();
            zeros[at..end].fill(0);
            if !try_out(&mut best, without) {
                try_out(&mut best, zeros);
                at += chunk;
            }
        }
    }
    best
}
