//! What is known of a network only since its program runs: the sizes that were chosen, and the blocks from elsewhere.

use super::{At, Definition, SourcePlace};

/// What is known of a network since it was assembled.
#[derive(Debug)]
pub struct Assembled<'a> {
    /// The sizes that were chosen.
    pub sizes: &'a [Size<'a>],
    /// The blocks and functions from elsewhere, those inside of others after them.
    pub uses: &'a [Use<'a>],
    /// What is wrong with how they are used.
    pub mistakes: &'a [(At, &'a str)],
}

/// A size that is chosen when a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size<'a> {
    /// The name.
    pub name: &'a str,
    /// What it is.
    pub value: usize,
}

/// The use of a block or a function from elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The first of its places; the others follow it.
    pub first: u32,
    /// How many places it has.
    pub count: u32,
    /// As the declaration that uses it writes it: `blocks::Res(64)`.
    pub text: &'a str,
    /// Where that is.
    pub at: At,
}

impl Definition<'_> {
    /// The blocks and functions from elsewhere that a place stands in, the innermost first: how each is written where it is used,
    /// and where that is.
    pub fn used_at(&self, at: At) -> Vec<(&str, SourcePlace)> {
        let uses = self.assembled.map_or(&[][..], |assembled| assembled.uses);
        let mut found = Vec::new();
        let mut at = at;
        // Of those that hold the place there is one: places of fragments inside of others follow theirs.
        while let Some(used) = uses.iter().find(|used| (used.first..used.first + used.count).contains(&at.0)) {
            found.push((used.text, self.place(used.at)));
            at = used.at;
        }
        found
    }

    /// The sizes that were chosen.
    pub fn sizes(&self) -> &[Size<'_>] {
        self.assembled.map_or(&[], |assembled| assembled.sizes)
    }
}
