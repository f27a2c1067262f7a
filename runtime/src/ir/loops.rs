//! The loops of a graph: which nodes are run once for every step.
//!
//! In: a graph. Out: its loops, each with its head, its body and its exits. The body of a loop are the nodes that depend on its
//! head; what does not depend on it is outside, and computed once. Only a `History` and `Collect`s lead out of a body.

use super::{Graph, NodeId, Op};

/// A loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Its head, the [`Op::Carry`].
    pub carry: NodeId,
    /// The nodes that depend on the head, in order.
    pub body: Vec<NodeId>,
    /// The [`Op::History`].
    pub history: NodeId,
    /// Every [`Op::Collect`].
    pub collects: Vec<NodeId>,
    /// How many steps it has.
    pub steps: usize,
    /// Whether it begins with the last element.
    pub reverse: bool,
}

impl Loop {
    /// The positions of its steps, in the order in which it takes them.
    pub fn positions(&self) -> impl Iterator<Item = usize> + use<> {
        let (steps, reverse) = (self.steps, self.reverse);
        (0..steps).map(move |step| if reverse { steps - 1 - step } else { step })
    }

    /// Which rows of the history hold the state before and the state after the step at a position.
    pub fn rows(&self, position: usize) -> [usize; 2] {
        if self.reverse { [position + 1, position] } else { [position, position + 1] }
    }
}

impl Graph {
    /// For every node, the head of the loop that it is part of: the head itself and its body.
    pub fn heads(&self) -> Vec<Option<NodeId>> {
        let mut heads: Vec<Option<NodeId>> = Vec::with_capacity(self.nodes.len());
        for id in self.ids() {
            let node = &self[id];
            heads.push(match node.op {
                Op::Carry { .. } => Some(id),
                Op::History { .. } | Op::Collect { .. } => None,
                _ => node.operands.iter().find_map(|operand| heads[operand.index()]),
            });
        }
        heads
    }

    /// For every node, how often it is computed: in a loop once for each step.
    pub fn runs(&self) -> Vec<usize> {
        let steps = |head: Option<NodeId>| match head.map(|head| &self[head].op) {
            Some(&Op::Carry { steps, .. }) => steps,
            _ => 1,
        };
        self.heads().into_iter().map(steps).collect()
    }

    /// All loops, in the order of their histories.
    pub fn loops(&self) -> Vec<Loop> {
        let mut loops: Vec<Loop> = Vec::new();
        if !self.nodes.iter().any(|node| matches!(node.op, Op::History { .. })) {
            return loops;
        }
        for history in self.ids() {
            match self[history].op {
                Op::History { .. } => {
                    let carry = self[history].operands[0];
                    let Op::Carry { steps, reverse, .. } = self[carry].op else { continue };
                    loops.push(Loop { carry, body: Vec::new(), history, collects: Vec::new(), steps, reverse });
                }
                Op::Collect { .. } => {
                    let of = self[history].operands[0];
                    loops.iter_mut().filter(|known| known.history == of).for_each(|known| known.collects.push(history));
                }
                _ => {}
            }
        }
        for (head, id) in self.heads().into_iter().zip(self.ids()) {
            let own = |known: &&mut Loop| Some(known.carry) == head && known.carry != id;
            loops.iter_mut().filter(own).for_each(|known| known.body.push(id));
        }
        loops
    }
}
