//! Standard normal numbers by the ziggurat method.
//!
//! In: uniform bits. Out: numbers whose density is cut into layers of equal area (Marsaglia & Tsang 2000; layer and position
//! are drawn from different bits, as Doornik 2005 asks for, without which neighbors are not independent). All but one in a
//! hundred take 64 bits, a look into a table and a comparison.

use std::sync::LazyLock;

use super::{Random, unit};

/// The layers: the base, which has the tail, and rectangles above it.
const LAYERS: usize = 256;

/// Where the tail begins, and the area of a layer: for which the last of 256 layers ends where the density is largest.
const TAIL: f64 = 3.654_152_885_361_009;
const AREA: f64 = 0.004_928_673_233_974_655;

/// The layers of the density.
pub(super) struct Normal {
    /// How wide each layer is; the base as if it were a rectangle. Behind the last, 0.
    width: [f64; LAYERS + 1],
    /// The share of a layer that lies below the density over its whole height: the next one's width by its own.
    inside: [f64; LAYERS],
}

impl Normal {
    /// The layers, computed at their first use.
    pub(super) fn shared() -> &'static Normal {
        static SHARED: LazyLock<Normal> = LazyLock::new(Normal::new);
        &SHARED
    }

    fn new() -> Normal {
        let mut width = [0.0; LAYERS + 1];
        (width[0], width[1]) = (AREA / density(TAIL), TAIL);
        for layer in 1..LAYERS - 1 {
            let top = AREA / width[layer] + density(width[layer]);
            width[layer + 1] = (-2.0 * libm::log(top)).sqrt();
        }
        let inside = std::array::from_fn(|layer| width[layer + 1] / width[layer]);
        Normal { width, inside }
    }

    /// The next number.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> f64 {
        loop {
            let bits = random.bits();
            let (layer, at) = (bits as usize % LAYERS, 2.0 * unit(bits) - 1.0);
            let x = at * self.width[layer];
            if at.abs() < self.inside[layer] {
                return x;
            }
            if let Some(x) = self.edge(random, layer, x) {
                return x;
            }
        }
    }

    /// What becomes of a point that is not below the density over the whole height of its layer.
    #[cold]
    fn edge(&self, random: &mut Random, layer: usize, x: f64) -> Option<f64> {
        if layer == 0 {
            return Some(tail(random).copysign(x));
        }
        let (low, high) = (density(self.width[layer]), density(self.width[layer + 1]));
        (low + random.uniform() * (high - low) < density(x)).then_some(x)
    }
}

/// The density of the normal distribution, up to a factor.
fn density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x)
}

/// A number of the distribution beyond [`TAIL`] (Marsaglia 1964).
fn tail(random: &mut Random) -> f64 {
    loop {
        // 1 - u is never 0.
        let [x, y] = [(); 2].map(|()| -libm::log(1.0 - random.uniform()));
        let x = x / TAIL;
        if 2.0 * y > x * x {
            return TAIL + x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AREA, LAYERS, Normal, Random, TAIL, density};

    #[test]
    fn layers_have_the_same_area_and_end_at_the_top() {
        let Normal { width, .. } = Normal::new();
        for layer in 1..LAYERS {
            let area = width[layer] * (density(width[layer + 1]) - density(width[layer]));
            assert!((area - AREA).abs() < 1e-12, "layer {layer}: {area}");
        }
        // The base: a rectangle up to the tail, and the tail, summed in steps.
        let steps = (0..1_000_000).map(|n| density(TAIL + (n as f64 + 0.5) * 1e-5) * 1e-5);
        assert!((TAIL * density(TAIL) + steps.sum::<f64>() - AREA).abs() < 1e-12);
    }

    /// The distribution function, by Simpson's rule from 0.
    fn below(x: f64) -> f64 {
        const STEPS: usize = 1000;
        let h = x / STEPS as f64;
        let weight = |n| match n {
            0 | STEPS => 1.0,
            n if n % 2 == 1 => 4.0,
            _ => 2.0,
        };
        let sum: f64 = (0..=STEPS).map(|n| weight(n) * density(n as f64 * h)).sum();
        0.5 + sum * h / 3.0 / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn numbers_are_distributed_as_they_should_be_everywhere() {
        const COUNT: usize = 400_000;
        let mut random = Random::new(1, 2);
        let mut values: Vec<f64> = (0..COUNT).map(|_| random.normal()).collect();
        values.sort_by(f64::total_cmp);
        // Kolmogorov's bound, exceeded by chance once in a million.
        let furthest = values.iter().enumerate().step_by(97).map(|(n, &x)| (below(x) - n as f64 / COUNT as f64).abs());
        assert!(furthest.fold(0.0, f64::max) < 2.7 / (COUNT as f64).sqrt());
        // The tail, in which one of 3,876 lies: within five standard errors.
        let beyond = values.iter().filter(|x| x.abs() > TAIL).count() as f64;
        let wanted = 2.0 * (1.0 - below(TAIL)) * COUNT as f64;
        assert!((beyond - wanted).abs() < 5.0 * wanted.sqrt(), "{beyond} for {wanted}");
    }

    #[test]
    fn neighbors_are_independent() {
        let mut random = Random::new(3, 4);
        let values: Vec<f64> = (0..200_000).map(|_| random.normal()).collect();
        for of in [|x: f64| x, |x: f64| x * x - 1.0, f64::abs] {
            let mean = values.iter().map(|&x| of(x)).sum::<f64>() / values.len() as f64;
            let spread = values.iter().map(|&x| (of(x) - mean).powi(2)).sum::<f64>();
            let with = values.windows(2).map(|pair| (of(pair[0]) - mean) * (of(pair[1]) - mean)).sum::<f64>();
            assert!((with / spread).abs() < 5.0 / (values.len() as f64).sqrt(), "{}", with / spread);
        }
    }
}
