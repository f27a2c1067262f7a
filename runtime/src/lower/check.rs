//! Whether a network compiles, and where it does not.

use crate::elaborate::{Elaborated, Mistake, elaborate};
use crate::error::BuildError;
use crate::network::{Definition, SourcePlace};

/// Checks a network, with the messages of the macro: only now are the sizes known that come from Rust constants.
pub fn check(definition: &'static Definition<'static>) -> Result<Elaborated<'static>, BuildError> {
    let (network, mistakes) = elaborate(definition);
    match &mistakes[..] {
        [] => Ok(network),
        mistakes => Err(BuildError::Declaration {
            mistakes: mistakes.iter().map(|mistake| placed(definition, mistake)).collect(),
        }),
    }
}

/// So many of the blocks that a mistake is inside of are told.
const MOST_USERS: usize = 4;

/// Where a mistake is, and its message; for one in a block from elsewhere, where the block is used as well.
pub(super) fn placed(definition: &Definition<'_>, mistake: &Mistake) -> (SourcePlace, String) {
    let used = definition.used_at(mistake.at);
    let users = used.iter().take(MOST_USERS).map(|(text, place)| format!("\n       in `{text}` at {place}"));
    (definition.place(mistake.at), [mistake.message.clone()].into_iter().chain(users).collect())
}
