//! Which kinds of operations a graph has, of those that many graphs have none of: so that a pass can leave out what is for them alone.

use std::ops::BitOrAssign;

use super::{Graph, Op};

/// A set of kinds of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Frames of loops.
    pub const LOOP: Kinds = Kinds(1);
    /// [`Op::Patches`] and [`Op::Skew`], which windows are made of.
    pub const WINDOWS: Kinds = Kinds(2);
    /// [`Op::Fold`].
    pub const FOLD: Kinds = Kinds(4);
    /// [`Op::Concat`].
    pub const CONCAT: Kinds = Kinds(8);
    /// [`Op::Pad`].
    pub const PAD: Kinds = Kinds(16);
    /// [`Op::Transpose`].
    pub const TRANSPOSE: Kinds = Kinds(32);
    /// [`Op::ScatterAdd`].
    pub const SCATTER: Kinds = Kinds(64);
    /// All others.
    pub const OTHERS: Kinds = Kinds(128);
    /// Every operation is of one of them.
    pub const ALL: Kinds = Kinds(u8::MAX);

    /// The kind of an operation.
    pub fn of(op: &Op) -> Kinds {
        match op {
            Op::Carry { .. } | Op::Element | Op::History { .. } | Op::Collect { .. } => Kinds::LOOP,
            Op::Patches { .. } | Op::Skew { .. } => Kinds::WINDOWS,
            Op::Fold { .. } => Kinds::FOLD,
            Op::Concat(_) => Kinds::CONCAT,
            Op::Pad { .. } => Kinds::PAD,
            Op::Transpose(_) => Kinds::TRANSPOSE,
            Op::ScatterAdd { .. } => Kinds::SCATTER,
            _ => Kinds::OTHERS,
        }
    }

    /// Those of all operations of a graph.
    pub fn in_graph(graph: &Graph) -> Kinds {
        let mut kinds = Kinds::default();
        graph.nodes.iter().for_each(|node| kinds |= Kinds::of(&node.op));
        kinds
    }

    /// Whether both sets have a kind in common.
    pub const fn has_any(self, others: Kinds) -> bool {
        self.0 & others.0 != 0
    }
}

impl BitOrAssign for Kinds {
    fn bitor_assign(&mut self, other: Kinds) {
        self.0 |= other.0;
    }
}
