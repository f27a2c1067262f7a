//! Parameter groups: parameters that are named by a pattern and trained differently.

use super::Settings;
use crate::elaborate::words::closest;
use crate::error::BuildError;
use crate::schedule::magnitude;

/// Parameters whose names match a pattern, and what differs for them. In a pattern `*` stands for any characters, dots
/// included, and `?` for any one character; everything else stands for itself: `*.bias`, `*batch_norm*`, `dense1.*`.
///
/// ```
/// # use gradloom_runtime::optim::Group;
/// let groups = [Group::new("*.bias").no_weight_decay(), Group::new("dense1.*").rate_factor(0.1), Group::new("residual1.*").frozen()];
/// ```
///
/// A parameter that several groups name has the settings of all of them; where they differ, the later group wins.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pattern: String,
    factor: Option<f64>,
    l2: Option<f64>,
    decay: Option<f64>,
    frozen: bool,
}

/// How one parameter is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Treatment {
    /// The multiple of the learning rate.
    pub(super) factor: f64,
    pub(super) l2: f64,
    pub(super) decay: f64,
    pub(super) frozen: bool,
}

impl Group {
    /// The parameters that this pattern names. A pattern that names none is refused when the network is built.
    pub fn new(pattern: impl Into<String>) -> Group {
        Group { pattern: pattern.into(), factor: None, l2: None, decay: None, frozen: false }
    }

    /// A multiple of the learning rate, whatever that is at a step: finite and at least 0. With 0 the parameters stay as they are,
    /// whatever their gradient, and their state is still updated.
    pub fn rate_factor(self, factor: f64) -> Group {
        Group { factor: Some(factor), ..self }
    }

    /// L2 regularization in place of the optimizer's: finite and at least 0.
    pub fn l2(self, l2: f64) -> Group {
        Group { l2: Some(l2), ..self }
    }

    /// Decoupled decay in place of the optimizer's: finite and at least 0.
    pub fn weight_decay(self, decay: f64) -> Group {
        Group { decay: Some(decay), ..self }
    }

    /// No decay of either kind.
    pub fn no_weight_decay(self) -> Group {
        self.l2(0.0).weight_decay(0.0)
    }

    /// Not trained: neither gradient nor update is computed. A pattern that also names a running statistic, such as
    /// `batch_norm1.*`, freezes both statistics of that batch norm, and training normalizes by them as inference does. With a
    /// pattern that names `batch_norm1.gamma` only, training normalizes by the batch and the statistics are updated.
    pub fn frozen(self) -> Group {
        Group { frozen: true, ..self }
    }

    pub(super) fn check(&self) -> Result<(), BuildError> {
        let all = [
            ("rate_factor of a group", self.factor),
            ("l2 of a group", self.l2),
            ("weight_decay of a group", self.decay),
        ];
        all.into_iter().try_for_each(|(name, value)| magnitude(name, value.unwrap_or(0.0)))
    }

    /// Its own multiple of the learning rate and decay, where it has any.
    pub(super) fn own(&self) -> (Option<f64>, Option<f64>) {
        (self.factor, self.decay)
    }

    fn names(&self, name: &str) -> bool {
        matches(&self.pattern, name)
    }

    /// If the pattern names none of these, says so and suggests one that would.
    fn names_one_of(&self, names: &[&str]) -> Result<(), BuildError> {
        if names.iter().any(|name| self.names(name)) {
            return Ok(());
        }
        Err(BuildError::Pattern { pattern: self.pattern.clone(), closest: self.suggestion(names) })
    }

    /// A pattern or name that resembles this one and names a parameter: the same as a layer or inside a longer path, else the
    /// nearest of all layers, all last parts and all names.
    fn suggestion(&self, names: &[&str]) -> Option<String> {
        let (layer, inside) = (format!("{}.*", self.pattern), format!("*{}*", self.pattern.trim_matches('*')));
        let wider = [layer, inside].into_iter().find(|wider| names.iter().any(|name| matches(wider, name)));
        if self.pattern.len() > 2 && wider.is_some() {
            return wider;
        }
        let mut known = Vec::new();
        for name in names {
            known.push((*name).to_string());
            if let Some((layer, last)) = name.rsplit_once('.') {
                let stem = layer.trim_end_matches(|c: char| c.is_ascii_digit());
                known.extend([format!("*.{last}"), format!("{layer}.*"), layer.to_string(), format!("{stem}*")]);
            }
        }
        let nearest = closest(&self.pattern, known.iter().map(String::as_str))?;
        let whole = names.iter().any(|name| matches(nearest, name));
        Some(if whole { nearest.to_string() } else { format!("{nearest}.*") })
    }
}

/// Says which group names no parameter, if there is one. A frozen group may name only running statistics.
pub(super) fn check_names(groups: &[Group], names: &[&str], running: &[&str]) -> Result<(), BuildError> {
    groups.iter().try_for_each(|group| match group.frozen {
        true => group.names_one_of(&[names, running].concat()),
        false => group.names_one_of(names),
    })
}

/// How a parameter of this name is trained.
pub(super) fn treatment(groups: &[Group], settings: &Settings, name: &str) -> Treatment {
    let mut result = Treatment { factor: 1.0, l2: settings.l2, decay: settings.decay, frozen: false };
    for group in groups.iter().filter(|group| group.names(name)) {
        result.factor = group.factor.unwrap_or(result.factor);
        result.l2 = group.l2.unwrap_or(result.l2);
        result.decay = group.decay.unwrap_or(result.decay);
        result.frozen |= group.frozen;
    }
    result
}

/// Whether a pattern with `*` and `?` matches a whole name. Backtracks to the last star only, which is enough.
fn matches(pattern: &str, name: &str) -> bool {
    let [pattern, name]: [Vec<char>; 2] = [pattern, name].map(|text| text.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::{Group, matches};
    use crate::error::BuildError;

    #[test]
    fn a_star_stands_for_any_letters_and_a_question_mark_for_one() {
        for (pattern, name) in [
            ("*", "dense1.weight"),
            ("*.bias", "dense1.bias"),
            ("*.bias", "residual1.dense1.bias"),
            ("batch_norm*", "batch_norm12.gamma"),
            ("dense?.weight", "dense2.weight"),
            ("*dense*e*t", "residual1.dense1.weight"),
            ("dense1.weight", "dense1.weight"),
            ("**", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} names {name}");
        }
        for (pattern, name) in [
            ("dense1", "dense1.weight"),
            ("bias", "dense1.bias"),
            ("dense?.weight", "dense12.weight"),
            ("*.bias", "dense1.weight"),
            ("?", ""),
            ("*a*b", "acba"),
        ] {
            assert!(!matches(pattern, name), "{pattern} does not name {name}");
        }
    }

    #[test]
    fn a_pattern_that_names_nothing_suggests_one_that_does() {
        let names = ["dense1.weight", "dense1.bias", "batch_norm1.gamma", "residual1.layer_norm1.beta"];
        let suggested = |pattern: &str| match Group::new(pattern).names_one_of(&names) {
            Err(BuildError::Pattern { closest, .. }) => closest,
            other => panic!("{other:?}"),
        };
        for (pattern, closest) in [
            ("*.bais", Some("*.bias")),
            ("batchnorm*", Some("batch_norm*")),
            ("dense1.wieght", Some("dense1.weight")),
            ("dense1", Some("dense1.*")),
            ("dense1*.bias1", Some("dense1.bias")),
            ("layer_norm1", Some("*layer_norm1*")),
            ("layer_norm*", Some("*layer_norm*")),
            ("desne1.*", Some("dense1.*")),
            ("Dense1", Some("dense1.*")),
            ("encoder.*", None),
        ] {
            assert_eq!(suggested(pattern).as_deref(), closest, "{pattern}");
        }
    }
}
