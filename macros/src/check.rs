//! Whether a network's shapes and types fit.
//!
//! In: a network whose names are resolved. Out: nothing but mistakes, found by the same pass that `build` runs when all
//! sizes are known.

use gradloom_runtime::elaborate::elaborate;

use crate::diagnostics::Errors;
use crate::resolve::Network;

/// Checks one network.
pub fn network(network: &Network<'_>, errors: &mut Errors) {
    let (_, mistakes) = elaborate(&network.definition);
    for mistake in mistakes {
        errors.elaborated(network.sites[mistake.at.0 as usize], mistake.message);
    }
}
