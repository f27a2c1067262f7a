//! From one graph to the next, node by node: the loop that every pass shares which copies a graph.
//!
//! In: a graph, and what becomes of each node. Out: the new graph, and where the nodes of the old one are in it.

use std::rc::Rc;

use super::{Builder, Graph, Kinds, Node, NodeId, Output};

/// Where the nodes of one graph are in another.
#[derive(Clone, Debug, Default)]
pub struct NodeMap {
    /// Nodes before this one are where they were.
    first: usize,
    to: Vec<NodeId>,
}

impl NodeMap {
    /// No node of a graph.
    const GONE: NodeId = NodeId(u32::MAX);

    /// Where a node is now; none if nothing took its place.
    pub fn get(&self, id: NodeId) -> Option<NodeId> {
        Some(self.at(id)).filter(|&to| to != NodeMap::GONE)
    }

    /// Where a node is now that something took the place of.
    pub fn at(&self, id: NodeId) -> NodeId {
        id.index().checked_sub(self.first).map_or(id, |index| self.to[index])
    }

    /// Every node where it was, in a graph of so many.
    pub fn identity(nodes: usize) -> NodeMap {
        NodeMap { first: nodes, to: Vec::new() }
    }

    /// Where nodes are after another rewrite.
    pub fn then(self, next: &NodeMap) -> NodeMap {
        let nodes = (0..self.first + self.to.len()).map(|index| NodeId(index as u32));
        NodeMap { first: 0, to: nodes.map(|id| self.get(id).map_or(NodeMap::GONE, |id| next.at(id))).collect() }
    }

    /// The same results, where they are now.
    fn outputs(&self, outputs: Vec<Output>) -> Vec<Output> {
        outputs.into_iter().map(|Output { role, node }| Output { role, node: self.at(node) }).collect()
    }
}

/// A named rewrite of one node.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The name under which tests and printed IR know it.
    pub name: &'static str,
    /// The node that takes the place of this one, if the rule applies. Its operands are nodes of the graph that is built; of
    /// each of them the slice says whether it has no other reader.
    pub apply: fn(&mut Builder, &Node, &[bool]) -> Option<NodeId>,
}

/// A copy of a graph, and where its nodes are in it. `f` is given every node with its operands as they are in the copy, and
/// adds it or what takes its place; where it gives none, no node that is kept and no result may read that one.
pub fn rewrite(graph: Graph, mut f: impl FnMut(&mut Builder, NodeId, Node) -> Option<NodeId>) -> (Graph, NodeMap) {
    rewritten(graph, &mut f)
}

fn rewritten(graph: Graph, f: &mut dyn FnMut(&mut Builder, NodeId, Node) -> Option<NodeId>) -> (Graph, NodeMap) {
    let Graph { nodes, slots, outputs } = graph;
    let room = Vec::with_capacity(nodes.len());
    let mut b = Builder::new(Graph { nodes: room, slots, outputs: Vec::new() });
    let map = carry(&mut b, 0, nodes, &mut |b, _, id, node| f(b, id, node));
    b.graph_mut().outputs = map.outputs(outputs);
    (b.finish(), map)
}

/// Adds nodes to a graph of which the first was the node `first` of theirs, as [`rewrite`] does. `f` is told as well where the
/// nodes before it are now.
pub fn carry(
    b: &mut Builder,
    first: usize,
    nodes: Vec<Node>,
    f: &mut dyn FnMut(&mut Builder, &NodeMap, NodeId, Node) -> Option<NodeId>,
) -> NodeMap {
    let mut map = NodeMap { first, to: Vec::with_capacity(nodes.len()) };
    for (index, mut node) in nodes.into_iter().enumerate() {
        node.operands.iter_mut().for_each(|operand| *operand = map.at(*operand));
        b.enter(Rc::clone(&node.origin));
        let to = f(b, &map, NodeId((first + index) as u32), node);
        map.to.push(to.unwrap_or(NodeMap::GONE));
    }
    map
}

/// Applies to every node, operands first, the first of these rules that does apply. `made` is told of each rule that did, and of
/// the nodes that it added.
pub fn apply(graph: Graph, rules: &[Rule], mut made: impl FnMut(&Rule, &mut [Node])) -> (Graph, NodeMap) {
    let readers = Readers::new(&graph);
    rewrite(graph, |b, id, node| {
        let added = b.graph().nodes.len();
        let single = readers.of(id.index());
        let found = rules.iter().find_map(|rule| Some((rule, (rule.apply)(b, &node, single)?)));
        Some(match found {
            Some((rule, replacement)) => {
                made(rule, &mut b.graph_mut().nodes[added..]);
                replacement
            }
            None => b.add_node(node),
        })
    })
}

/// Applies the rules one after the other, each to all nodes of what the ones before it have left. Made for many rules of which
/// most apply to no node: those only read the graph, and those for kinds of operations that the graph has none of not even that.
pub fn apply_in_turn(mut graph: Graph, rules: &[(Kinds, Rule)]) -> (Graph, NodeMap) {
    let mut map = NodeMap::identity(graph.nodes.len());
    let mut readers = Readers::new(&graph);
    // Where a rule tries what it would add.
    let mut scratch = Builder::new(graph.clone());
    let mut kinds = Kinds::in_graph(&graph);
    for (of, rule) in rules {
        let mut finds = || {
            graph.nodes.iter().enumerate().any(|(index, node)| {
                let found = (rule.apply)(&mut scratch, node, readers.of(index));
                scratch.graph_mut().nodes.truncate(graph.nodes.len());
                found.is_some()
            })
        };
        let asked = kinds.has_any(*of);
        debug_assert!(asked || !finds(), "{} is for other kinds of operations than it says", rule.name);
        let applies = asked && finds();
        if applies {
            let moved;
            (graph, moved) = apply(graph, std::slice::from_ref(rule), |_, _| {});
            map = map.then(&moved);
            (readers, scratch) = (Readers::new(&graph), Builder::new(graph.clone()));
            kinds = Kinds::in_graph(&graph);
        }
    }
    (graph, map)
}

/// Who else reads what a node reads.
pub struct Readers {
    /// For every operand of every node, whether it has no other reader.
    single: Vec<bool>,
    /// Where those of a node begin, and those of the last end.
    first: Vec<usize>,
}

impl Readers {
    /// Those of a graph; a result is read from outside.
    pub fn new(graph: &Graph) -> Readers {
        let mut uses = vec![0u32; graph.nodes.len()];
        let read = graph.outputs.iter().map(|output| &output.node);
        for id in graph.nodes.iter().flat_map(|node| &node.operands).chain(read) {
            uses[id.index()] += 1;
        }
        let mut readers = Readers { single: Vec::new(), first: Vec::with_capacity(uses.len() + 1) };
        for node in &graph.nodes {
            readers.first.push(readers.single.len());
            readers.single.extend(node.operands.iter().map(|operand| uses[operand.index()] == 1));
        }
        readers.first.push(readers.single.len());
        readers
    }

    /// For each operand of a node, whether it has no other reader.
    pub fn of(&self, node: usize) -> &[bool] {
        &self.single[self.first[node]..self.first[node + 1]]
    }
}

/// A graph with its nodes in another order, in which each comes after its operands. Nodes that are not in it are dropped.
pub fn reordered(graph: Graph, order: &[NodeId]) -> (Graph, NodeMap) {
    let Graph { nodes, slots, outputs } = graph;
    let mut map = NodeMap { first: 0, to: vec![NodeMap::GONE; nodes.len()] };
    let mut b = Builder::new(Graph { nodes: Vec::with_capacity(nodes.len()), slots, outputs: Vec::new() });
    for &id in order {
        let mut node = nodes[id.index()].clone();
        node.operands.iter_mut().for_each(|operand| *operand = map.at(*operand));
        map.to[id.index()] = b.add_node(node);
    }
    b.graph_mut().outputs = map.outputs(outputs);
    (b.finish(), map)
}

/// A graph without what no result needs.
pub fn prune(graph: Graph) -> (Graph, NodeMap) {
    let live = graph.live();
    rewrite(graph, |b, id, node| live[id.index()].then(|| b.add_node(node)))
}
