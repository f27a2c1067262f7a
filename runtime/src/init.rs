//! First values of parameters.
//!
//! In: a shape, a seed and the parameter's number. Out: values that depend on nothing else, so that a network built
//! twice with one seed starts from the same bits.

mod orthogonal;

/// How a parameter is filled before training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One number everywhere.
    Constant(f32),
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
    /// Fills `values` for the parameter of this index.
    pub fn fill(self, values: &mut [f32], seed: u64, index: u64) {
        let mut random = Random::new(seed, index);
        match self {
            Init::Constant(value) => values.fill(value),
            Init::Table(table) => values.iter_mut().zip(table).for_each(|(value, &entry)| *value = entry as f32),
            Init::Uniform { bound } => values.fill_with(|| ((2.0 * random.uniform() - 1.0) * bound) as f32),
            Init::Normal { deviation } => random.normals(values, |x| (x * deviation) as f32),
            Init::Orthogonal { rows, gain } => orthogonal::fill(values, rows, gain, &mut random),
        }
    }
}

/// Pairs of normal numbers that are drawn at a time.
const AT_ONCE: usize = 128;

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

    /// Number `n` of the stream, counted from 0; which one is next stays as it was.
    pub fn number(&self, n: u64) -> u64 {
        mix(self.key.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
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
                let factor = (-2.0 * libm::log(square) / square).sqrt();
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
    }

    /// What `of` makes of as many normal numbers as there is room for: the next ones, and in half the time. Nothing computed
    /// for a pair has to wait until it is known which pairs lie in the circle.
    fn normals<T>(&mut self, values: &mut [T], of: impl Fn(f64) -> T) {
        let pairs = values.len() / 2;
        if self.spare.is_some() || pairs == 0 {
            return values.fill_with(|| of(self.normal()));
        }
        let (whole, last) = values.split_at_mut(2 * pairs);
        for part in whole.chunks_mut(2 * AT_ONCE) {
            let (mut points, mut factors) = ([(0.0, 0.0); AT_ONCE], [0.0; AT_ONCE]);
            let mut found = 0;
            while found < part.len() / 2 {
                let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
                let square = x * x + y * y;
                // Written over by the next pair if it lies outside.
                (points[found], factors[found]) = ((x, y), square);
                found += usize::from((square > 0.0) & (square < 1.0));
            }
            factors[..found].iter_mut().for_each(|square| *square = -2.0 * libm::log(*square) / *square);
            for (pair, (&(x, y), &square)) in part.chunks_exact_mut(2).zip(points.iter().zip(&factors)) {
                let factor = square.sqrt();
                (pair[0], pair[1]) = (of(x * factor), of(y * factor));
            }
        }
        last.fill_with(|| of(self.normal()));
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
    use super::{AT_ONCE, Init, Random};

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
    fn many_normal_numbers_are_those_that_come_one_by_one() {
        for count in (0..5).chain(2 * AT_ONCE - 2..2 * AT_ONCE + 4).chain([1001]) {
            for before in [0, 1, 2] {
                let (mut one_by_one, mut together) = (Random::new(5, 6), Random::new(5, 6));
                (0..before).for_each(|_| assert_eq!(one_by_one.normal(), together.normal()));
                let wanted: Vec<f64> = (0..count).map(|_| one_by_one.normal()).collect();
                let mut values = vec![0.0; count];
                together.normals(&mut values, |x| x);
                assert_eq!(values, wanted, "{count} numbers behind {before}");
                assert_eq!(together.normal(), one_by_one.normal(), "what follows {count} numbers behind {before}");
            }
        }
    }

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
