//! What each layer is told of the activation after it, for the first values of its weights.

use super::{Action, Step};
use crate::layers::Gain;

/// Tells every layer what the next activation asks of its weights; layers in between that keep the scale are passed over.
/// `after` is what follows these steps, and the result is what they ask of the layers before them.
pub(super) fn gains(steps: &mut [Step<'_>], after: Gain) -> Gain {
    let mut next = after;
    for step in steps.iter_mut().rev() {
        match &mut step.action {
            Action::Layer(layer, _, gain) => {
                *gain = next;
                let owns_weights = layer.args.iter().any(|arg| arg.name == "init");
                next = match layer.gain {
                    Some(gain) => gain,
                    None if owns_weights => Gain::Xavier,
                    None => next,
                };
            }
            Action::Act(..) => next = Gain::Xavier,
            Action::Sequence(steps) => next = gains(steps, next),
            Action::Residual(body, skip) => {
                gains(skip, next);
                next = gains(body, next);
            }
            // What comes before goes into all of them: the first says what suits it.
            Action::Branches(bodies) => {
                let asked: Vec<Gain> = bodies.iter_mut().map(|body| gains(body, next)).collect();
                next = asked.first().copied().unwrap_or(next);
            }
        }
    }
    next
}
