//! Which token comes next: the likeliest, or one that is drawn.

use crate::error::BuildError;
use crate::init::Random;

/// How [`Predictor::generate`](super::Predictor::generate) chooses a token among all of them.
///
/// ```text
/// Sampling::greedy()                                             // always the likeliest, of equals the first
/// Sampling::temperature(0.8).top_k(40).top_p(0.95).seed(7)       // drawn, the same with the same seed
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// None where the likeliest is taken.
    temperature: Option<f64>,
    top_k: usize,
    top_p: f64,
    seed: u64,
}

impl Sampling {
    /// Always the likeliest token; of equals the first.
    pub fn greedy() -> Sampling {
        Sampling { temperature: None, top_k: usize::MAX, top_p: 1.0, seed: 0 }
    }

    /// Draws a token by the softmax of the logits divided by this number, finite and above 0: below 1 the likely ones come more
    /// often, above 1 less often than the network says.
    pub fn temperature(temperature: f64) -> Sampling {
        Sampling { temperature: Some(temperature), ..Sampling::greedy() }
    }

    /// Draws among so many of the likeliest tokens, from 1 up. Source: Fan et al. 2018, section 5.
    pub fn top_k(self, top_k: usize) -> Sampling {
        Sampling { top_k, ..self }
    }

    /// Draws among the fewest of the likeliest tokens whose probabilities together reach this share, above 0 and at most 1. With
    /// [`Sampling::top_k`] as well, that comes first. Source: Holtzman et al. 2020, section 3.1.
    pub fn top_p(self, top_p: f64) -> Sampling {
        Sampling { top_p, ..self }
    }

    /// What is drawn follows from this number, 0 unless given: the same seed and logits give the same tokens.
    pub fn seed(self, seed: u64) -> Sampling {
        Sampling { seed, ..self }
    }

    /// Whether the settings make sense.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        let refuse = |name, wanted, actual: String| Err(BuildError::Setting { name, wanted, actual });
        match self.temperature {
            Some(x) if !(x.is_finite() && x > 0.0) => {
                return refuse("temperature", "finite and above 0", x.to_string());
            }
            _ => {}
        }
        match (self.top_k, self.top_p) {
            (0, _) => refuse("top_k", "at least 1", "0".to_string()),
            (_, p) if !(p > 0.0 && p <= 1.0) => refuse("top_p", "above 0 and at most 1", p.to_string()),
            _ => Ok(()),
        }
    }

    /// What the numbers of a text are drawn from.
    pub(super) fn random(&self) -> Random {
        Random::new(self.seed, 0)
    }

    /// A token by its logits, none of which is NaN.
    pub(super) fn choose(&self, logits: &[f32], random: &mut Random) -> usize {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        // Of equals the first, as zeros of either sign are: the sort is stable.
        order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).expect("none of them is NaN"));
        let Some(temperature) = self.temperature else { return order[0] };
        order.truncate(self.top_k);
        let top = f64::from(logits[order[0]]);
        let weight = |&token: &usize| {
            let lag = f64::from(logits[token]) - top;
            // Infinity minus itself: as likely as the likeliest.
            if lag.is_nan() { 1.0 } else { libm::exp(lag / temperature) }
        };
        let weights: Vec<f64> = order.iter().map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let mut reached = 0.0;
        let kept = weights.iter().position(|weight| {
            reached += weight;
            reached >= self.top_p * sum
        });
        let kept = kept.map_or(order.len(), |last| last + 1);
        let sum: f64 = weights[..kept].iter().sum();
        let drawn = random.uniform() * sum;
        let mut reached = 0.0;
        let chosen = weights[..kept].iter().position(|weight| {
            reached += weight;
            drawn < reached
        });
        order[chosen.unwrap_or(kept - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::Sampling;

    fn counts(sampling: Sampling, logits: &[f32]) -> Vec<usize> {
        let mut random = sampling.random();
        let mut counts = vec![0; logits.len()];
        (0..20_000).for_each(|_| counts[sampling.choose(logits, &mut random)] += 1);
        counts
    }

    #[test]
    fn tokens_are_drawn_by_their_probabilities() {
        // Softmax at temperature 0.5: weights 1, e^-2 and e^-4.
        let counts = counts(Sampling::temperature(0.5).seed(3), &[0.0, 1.0, -1.0]);
        let sum = 1.0 + (-2f64).exp() + (-4f64).exp();
        for (count, weight) in counts.iter().zip([(-2f64).exp(), 1.0, (-4f64).exp()]) {
            let expected = 20_000.0 * weight / sum;
            // Five standard deviations.
            assert!((*count as f64 - expected).abs() < 5.0 * expected.sqrt() + 1.0, "{counts:?}");
        }
    }

    #[test]
    fn few_of_the_likeliest_are_drawn_where_that_is_asked() {
        let logits = [1.0, 3.0, 2.0, 3.0];
        assert_eq!(counts(Sampling::greedy(), &logits), [0, 20_000, 0, 0]);
        assert_eq!(counts(Sampling::greedy(), &[-1.0, -0.0, 0.0]), [0, 20_000, 0]);
        assert_eq!(counts(Sampling::temperature(9.0).top_k(1), &logits), [0, 20_000, 0, 0]);
        let two = counts(Sampling::temperature(1.0).top_k(2), &logits);
        assert!(two[0] + two[2] == 0 && two[1] > 9_000 && two[3] > 9_000, "{two:?}");
        // 3 and 3 have 0.80 of all, 3, 3 and 2 have 0.95.
        let reached =
            |top_p| counts(Sampling::temperature(1.0).top_p(top_p), &logits).iter().filter(|n| **n > 0).count();
        assert_eq!([0.3, 0.7, 0.9, 0.99, 1.0].map(reached), [1, 2, 3, 4, 4]);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let said = |sampling: Sampling| sampling.check().err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said(Sampling::greedy().top_k(0)), "top_k must be at least 1, got 0");
        assert_eq!(said(Sampling::temperature(0.0)), "temperature must be finite and above 0, got 0");
        assert_eq!(said(Sampling::temperature(f64::NAN)), "temperature must be finite and above 0, got NaN");
        assert_eq!(said(Sampling::greedy().top_p(1.5)), "top_p must be above 0 and at most 1, got 1.5");
        assert_eq!(said(Sampling::temperature(0.7).top_k(3).top_p(0.5)), "");
    }

    #[test]
    fn infinite_logits_are_the_likeliest() {
        assert_eq!(counts(Sampling::temperature(1.0), &[f32::INFINITY, 0.0, f32::NEG_INFINITY]), [20_000, 0, 0]);
    }
}
