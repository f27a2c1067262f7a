//! The loops of a graph: which nodes are run once for every step.
//!
//! In: a graph. Out: its loops, each with its head, its body and its exits. The body of a loop are the nodes that depend on its
//! head; what does not depend on it is outside, and computed once. Only a `History` and `Collect`s lead out of a body. The head of a
//! loop inside of another has that of the loop around as a second operand; its exits are nodes of the body around.

use super::{Graph, Node, NodeId, Op};

/// A loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// Its head, the [`Op::Carry`].
    pub carry: NodeId,
    /// The nodes that depend on the head, in order; of loops inside of it the exits alone.
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

impl Node {
    /// The operands whose values it is made of: all but those that only say which loop it is part of.
    pub fn values(&self) -> &[NodeId] {
        match self.op {
            Op::Carry { .. } => &self.operands[..1],
            Op::Element | Op::Collect { .. } => &self.operands[1..],
            _ => &self.operands,
        }
    }
}

impl Graph {
    /// The head of the loop around the one with this head, if that is inside of another.
    pub fn around(&self, head: NodeId) -> Option<NodeId> {
        self[head].operands.get(1).copied()
    }

    /// A head, and those of the loops around its loop, the innermost first.
    pub fn outward(&self, head: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        std::iter::successors(Some(head), |&head| self.around(head))
    }

    /// Whether the loop with the first head is that with the second, or inside of it. Without a head is outside of all loops.
    pub fn is_within(&self, inner: Option<NodeId>, outer: Option<NodeId>) -> bool {
        outer.is_none_or(|outer| inner.is_some_and(|inner| self.outward(inner).any(|head| head == outer)))
    }

    /// For every node, the head of the innermost loop that it is part of: the head itself and its body.
    pub fn heads(&self) -> Vec<Option<NodeId>> {
        let mut heads: Vec<Option<NodeId>> = Vec::with_capacity(self.nodes.len());
        for id in self.ids() {
            let node = &self[id];
            heads.push(match node.op {
                Op::Carry { .. } => Some(id),
                Op::History { .. } => self.around(node.operands[0]),
                Op::Collect { .. } => self.around(self[node.operands[0]].operands[0]),
                _ => {
                    let own = node.operands.iter().filter_map(|operand| heads[operand.index()]);
                    own.reduce(|x, y| if x == y || self.is_within(Some(x), Some(y)) { x } else { y })
                }
            });
        }
        heads
    }

    /// For every node, how often it is computed: in a loop once for each step.
    pub fn runs(&self) -> Vec<usize> {
        let steps = |head: NodeId| match self[head].op {
            Op::Carry { steps, .. } => steps,
            _ => 1,
        };
        let of = |head: NodeId| self.outward(head).map(steps).fold(1, usize::saturating_mul);
        self.heads().into_iter().map(|head| head.map_or(1, of)).collect()
    }

    /// All loops, in the order of their histories: one inside of another comes before that.
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

/// The same graph, in which each loop that is inside of another has the head of that as the second operand of its own. What depends on
/// no head of a loop around is outside of that, so that it is run once.
pub fn nest(mut graph: Graph) -> Graph {
    let loops = graph.loops();
    if loops.len() < 2 {
        return graph;
    }
    let bodies: Vec<Vec<bool>> = loops.iter().map(|run| depending(&graph, run)).collect();
    // What is inside ends first, and something of it depends on the head of the one around it.
    let is_inside = |inner: usize, outer: usize| {
        let run = &loops[inner];
        let mut own = (run.carry.0..=run.history.0).map(NodeId);
        let exits = || run.collects.iter().any(|id| bodies[outer][id.index()]);
        run.history < loops[outer].history
            && (own.any(|id| {
                let inside = bodies[inner][id.index()] || id == run.history;
                inside && bodies[outer][id.index()]
            }) || exits())
    };
    let around: Vec<(NodeId, NodeId)> = (0..loops.len())
        .filter_map(|inner| {
            let outer = (0..loops.len()).find(|&outer| is_inside(inner, outer))?;
            Some((loops[inner].carry, loops[outer].carry))
        })
        .collect();
    for (inner, outer) in around {
        graph.nodes[inner.index()].operands.truncate(1);
        graph.nodes[inner.index()].operands.push(outer);
    }
    graph
}

/// For every node, whether it has another value at each step of a loop: the head, and what depends on it.
fn depending(graph: &Graph, run: &Loop) -> Vec<bool> {
    let mut depends = vec![false; graph.nodes.len()];
    for id in graph.ids().skip(run.carry.index()) {
        let is_exit = id == run.history || run.collects.contains(&id);
        let through = || graph[id].operands.iter().any(|operand| depends[operand.index()]);
        depends[id.index()] = id == run.carry || !is_exit && through();
    }
    depends
}
