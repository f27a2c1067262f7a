//! What each layer is told of the activation after it, for the first values of its weights.

use super::{Action, Step};
use crate::layers::Gain;

/// Tells every layer what the next activation asks of its weights; layers in between that keep the scale are passed over. Of
/// several steps that take a value, the first one asks. What comes out at the end asks for `Xavier`.
pub(super) fn gains(steps: &mut [Step<'_>], n_inputs: usize) {
    let mut asked = vec![Gain::Xavier; n_inputs + steps.len()];
    for (index, step) in steps.iter_mut().enumerate().rev() {
        let after = asked[n_inputs + index];
        let before = match &mut step.action {
            Action::Layer(layer, _, gain) => {
                *gain = after;
                let owns_weights = layer.args.iter().any(|arg| arg.name == "init");
                match layer.gain {
                    Some(gain) => gain,
                    None if owns_weights => Gain::Xavier,
                    None => after,
                }
            }
            Action::Act(..) | Action::Expr(_) => Gain::Xavier,
            // The state goes round.
            Action::Scan(..) | Action::State { .. } | Action::Number(..) => Gain::Xavier,
            Action::Residual | Action::Branches | Action::Concat(_) | Action::Part { .. } | Action::Element => after,
        };
        for &operand in &step.operands {
            asked[operand] = before;
        }
    }
}
