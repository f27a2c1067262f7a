//! First values of parameters.
//!
//! In: a shape, a seed and the parameter's number. Out: values that depend on nothing else, so that a network built
//! twice with one seed starts from the same bits.

mod normal;
mod orthogonal;

use normal::Normal;

/// How a parameter is filled before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One number everywhere.
    Constant(f32),
    /// One number in some of the elements, zero in all others.
    Part {
        /// The first of them.
        from: usize,
        /// How many there are.
        len: usize,
        /// The number.
        value: f32,
    },
    /// These numbers, as many as there are elements.
    Table(&'static [f64]),
    /// Uniform around 0.
    Uniform {
        /// How far from 0 at most.
        bound: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        deviation: f64,
    },
    /// A multiple of a matrix with orthonormal rows if there are fewer of them, else with orthonormal columns.
    Orthogonal {
        /// Number of rows; what follows the first axis is a row.
        rows: usize,
        /// The multiple.
        gain: f64,
    },
}

impl Init {
    /// Whether every bit of every element is 0.
    pub fn is_zero(self) -> bool {
        matches!(self, Init::Constant(value) if value.to_bits() == 0)
    }

    /// Fills `values` for the parameter of this index.
    pub fn fill(self, values: &mut [f32], seed: u64, index: u64) {
        let mut random = Random::new(seed, index);
        match self {
            Init::Constant(value) => values.fill(value),
            Init::Part { from, len, value } => {
                values.fill(0.0);
                values[from..from + len].fill(value);
            }
            Init::Table(table) => values.iter_mut().zip(table).for_each(|(value, &entry)| *value = entry as f32),
            Init::Uniform { bound } => values.fill_with(|| ((2.0 * random.uniform() - 1.0) * bound) as f32),
            Init::Normal { deviation } => {
                let normal = Normal::shared();
                values.fill_with(|| (normal.draw(&mut random) * deviation) as f32);
            }
            Init::Orthogonal { rows, gain } => orthogonal::fill(values, rows, gain, &mut random),
        }
    }
}

/// A counter-based generator: number `n` of stream `(seed, stream)` is a hash of the three (SplitMix64, Steele, Lea &
/// Flood 2014), so any of them can be computed without the ones before.
#[derive(Clone, Debug)]
pub struct Random {
    key: u64,
    counter: u64,
}

impl Random {
    /// The stream of this number.
    pub fn new(seed: u64, stream: u64) -> Random {
        Random { key: mix(mix(seed) ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)), counter: 0 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.key.wrapping_add(self.counter))
    }

    /// Number `n` of the stream, counted from 0; which one is next stays as it was.
    pub fn number(&self, n: u64) -> u64 {
        mix(self.key.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        unit(self.bits())
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        Normal::shared().draw(self)
    }

    /// Uniform in `0..bound`, without bias (Lemire 2019).
    pub fn below(&mut self, bound: u64) -> u64 {
        loop {
            let product = u128::from(self.bits()) * u128::from(bound);
            if product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }
}

/// The upper 53 bits, in [0, 1).
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Init, Random};

    #[test]
    fn numbers_below_a_bound_are_uniform() {
        let mut random = Random::new(3, 4);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[random.below(7) as usize] += 1);
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
    }

    #[test]
    fn parameters_of_one_seed_differ_by_their_number() {
        let fill = |seed, index| {
            let mut values = [0.0; 4];
            Init::Normal { deviation: 1.0 }.fill(&mut values, seed, index);
            values
        };
        assert_eq!(fill(1, 0), fill(1, 0));
        assert_ne!(fill(1, 0), fill(1, 1));
        assert_ne!(fill(1, 0), fill(2, 0));
    }
}
