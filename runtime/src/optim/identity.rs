//! What the updates of a training depend on, as lines of text: equal lines mean equal updates.
//!
//! The learning rate is left out: it changes from step to step, and a session that continues from a checkpoint may have another.

use super::{Settings, TrainingConfig};

impl TrainingConfig {
    /// The settings of the optimizer, clipping, and those of these parameters that groups treat differently: one line each.
    pub fn identity<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<String> {
        // Groups appear in the lines of their parameters. A sentinel is left out: it refuses steps, but changes none.
        let TrainingConfig { optimizer, clip_value, clip_norm, groups: _, statistics_after, sentinel: _, winograd } =
            self;
        let Settings { rate: _, l2, decay } = *optimizer.settings();
        let settings = optimizer.hyperparameters().into_iter().chain([("l2", l2), ("weight_decay", decay)]);
        let mut lines: Vec<String> = settings.map(|(name, value)| format!("{name} = {}", number(value))).collect();
        for (name, limit) in [("clip_value", clip_value), ("clip_norm", clip_norm)] {
            lines.push(format!("{name} = {}", limit.map_or("none".to_string(), number)));
        }
        lines.extend((!winograd).then(|| "winograd = false".to_string()));
        lines.extend(statistics_after.map(|steps| format!("statistics frozen after = {steps}")));
        for name in names {
            let own = self.treatment(name);
            let mut differing = Vec::new();
            if own.frozen {
                differing.push("frozen".to_string());
            } else {
                for (name, own, others) in
                    [("rate_factor", own.factor, 1.0), ("l2", own.l2, l2), ("weight_decay", own.decay, decay)]
                {
                    differing.extend((own != others).then(|| format!("{name} = {}", number(own))));
                }
            }
            if !differing.is_empty() {
                lines.push(format!("{name}: {}", differing.join(", ")));
            }
        }
        lines
    }
}

/// A number with all of its digits: whole numbers without a point, small ones with an exponent.
fn number(x: f64) -> String {
    if x == x.trunc() && x.abs() < 1e15 { format!("{x}") } else { format!("{x:?}") }
}
