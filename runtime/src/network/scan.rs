//! A loop of the user's own.

use super::{At, Flow, Value};
use crate::layers::{Arg, ArgDef, ArgKind, Named, flag, path};

/// `scan(64) |x, h, decay = 0.9| { .. }`
#[derive(Debug)]
pub struct Scan<'a> {
    /// The values of [`Scan::ARGS`].
    pub args: &'a [Value<'a>],
    /// What the body calls the element.
    pub element: &'a str,
    /// What the body calls the state before the step.
    pub state: &'a str,
    /// The names of its trained numbers, and how they start.
    pub numbers: &'a [(&'a str, f64)],
    /// The lines of the body. The last one has no name: it makes the next state.
    pub lines: &'a [Flow<'a>],
    /// The names.
    pub at: At,
}

impl Scan<'_> {
    /// The arguments.
    pub const ARGS: &'static [ArgDef] = &[
        ArgDef {
            name: "n",
            kind: ArgKind::SizeOr { least: 1, word: "auto" },
            default: Some(Arg::Word("auto")),
            doc: "the size of the state",
        },
        ArgDef {
            name: "last",
            kind: ArgKind::Flag,
            default: Some(Arg::Flag(false)),
            doc: "whether to give the state after the last step alone",
        },
        ArgDef {
            name: "reverse",
            kind: ArgKind::Flag,
            default: Some(Arg::Flag(false)),
            doc: "whether to begin with the last position",
        },
        ArgDef {
            name: "initial",
            kind: ArgKind::Value(Named::State(|args| Scan::size(args).unwrap_or(1))),
            default: Some(Arg::Path("")),
            doc: "the state before the first step",
        },
        ArgDef {
            name: "lengths",
            kind: ArgKind::Value(Named::Lengths),
            default: Some(Arg::Path("")),
            doc: "how many positions each row has",
        },
    ];

    /// The size of the state, where it is given.
    pub(crate) fn size(args: &[Arg]) -> Option<usize> {
        match args[0] {
            Arg::Int(n) => usize::try_from(n).ok(),
            _ => None,
        }
    }

    /// Whether the state after the last step is given alone.
    pub(crate) fn is_last(args: &[Arg]) -> bool {
        flag(args, 1)
    }

    /// Whether the last position comes first.
    pub(crate) fn is_reverse(args: &[Arg]) -> bool {
        flag(args, 2)
    }

    /// The name of the first state.
    pub(crate) fn initial(args: &[Arg]) -> Option<&'static str> {
        path(args, 3)
    }

    /// The name of the lengths.
    pub(crate) fn lengths(args: &[Arg]) -> Option<&'static str> {
        path(args, 4)
    }
}
