//! First values of parameters.
//!
//! In: a shape, a seed and the parameter's number. Out: values that depend on nothing else, so that a network built
//! twice with one seed starts from the same bits.

/// How a parameter is filled before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One number everywhere.
    Constant(f32),
    /// These numbers, as many as there are elements.
    Table(&'static [f64]),
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
            Init::Table(table) => values.iter_mut().zip(table).for_each(|(value, &entry)| *value = entry as f32),
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
    /// The second of a pair of normal numbers, not yet given out.
    spare: Option<f64>,
}

impl Random {
    /// The stream of this number.
    pub fn new(seed: u64, stream: u64) -> Random {
        Random { key: mix(mix(seed) ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15)), counter: 0, spare: None }
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

    /// Standard normal, made in pairs (Marsaglia & Bray 1964, the polar method).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
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

#[cfg(test)]
mod tests {
    use super::{Init, Random};

    #[test]
    fn normal_numbers_have_mean_zero_and_variance_one() {
        let mut random = Random::new(1, 2);
        let values: Vec<f64> = (0..100_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        let tail = values.iter().filter(|x| x.abs() > 1.96).count() as f64 / values.len() as f64;
        // Five standard errors each.
        assert!(mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023 && (tail - 0.05).abs() < 0.0035);
    }

    #[test]
    fn numbers_below_a_bound_are_uniform() {
        let mut random = Random::new(3, 4);
        let mut counts = [0; 7];
        (0..70_000).for_each(|_| counts[random.below(7) as usize] += 1);
        assert!(counts.iter().all(|&count| (9_500..10_500).contains(&count)), "{counts:?}");
    }

    #[test]
    fn the_deviation_of_he_normal_follows_the_fan_in() {
        let mut values = vec![0.0; 50_000];
        Init::HeNormal { fan_in: 8 }.fill(&mut values, 5, 6);
        let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((variance - 0.25).abs() < 0.01, "{variance}");
    }

    #[test]
    fn xavier_uniform_stays_within_its_bound_and_uses_it() {
        let mut values = vec![0.0; 10_000];
        Init::XavierUniform { fan_in: 4, fan_out: 2 }.fill(&mut values, 7, 8);
        let largest = values.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        assert!(largest <= 1.0 && largest > 0.99);
    }

    #[test]
    fn parameters_of_one_seed_differ_by_their_number() {
        let fill = |seed, index| {
            let mut values = [0.0; 4];
            Init::HeNormal { fan_in: 2 }.fill(&mut values, seed, index);
            values
        };
        assert_eq!(fill(1, 0), fill(1, 0));
        assert_ne!(fill(1, 0), fill(1, 1));
        assert_ne!(fill(1, 0), fill(2, 0));
    }
}
