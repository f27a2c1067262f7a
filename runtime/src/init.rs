//! First values of parameters.
//!
//! In: a shape, a seed and the parameter's number. Out: values that depend on nothing else, so that a network built
//! twice with one seed starts from the same bits.

/// How a parameter is filled before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One number everywhere.
    Constant(f32),
    /// Normal with mean 0 and standard deviation `sqrt(2 / fan_in)` (He et al. 2015, section 2.2): for the relu family.
    HeNormal {
        /// Number of inputs that one output sums over.
        fan_in: usize,
    },
    /// Uniform within `sqrt(6 / (fan_in + fan_out))` of 0 (Glorot & Bengio 2010, equation 16).
    XavierUniform {
        /// Number of inputs that one output sums over.
        fan_in: usize,
        /// Number of outputs that one input goes to.
        fan_out: usize,
    },
}

impl Init {
    /// Fills `values` for the parameter of this index.
    pub fn fill(self, values: &mut [f32], seed: u64, index: u64) {
        let mut random = Random::new(seed, index);
        match self {
            Init::Constant(value) => values.fill(value),
            Init::HeNormal { fan_in } => {
                let deviation = (2.0 / fan_in as f64).sqrt();
                values.fill_with(|| (random.normal() * deviation) as f32);
            }
            Init::XavierUniform { fan_in, fan_out } => {
                let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
                values.fill_with(|| ((2.0 * random.uniform() - 1.0) * bound) as f32);
            }
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

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Standard normal (Box & Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
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

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
