//! Which of the values that earlier kernels compute a kernel rematerializes, decided for all of them together: several that are made of
//! one are worth less than that one.
//!
//! Every value that a kernel needs is either read, which costs its way to memory and back, or computed, which costs the operation
//! and whatever its operands cost. The cheapest choice is a minimum cut (Picard, Management Science 22(11), 1976).

use std::collections::{HashMap, VecDeque};

use super::domain::{Domain, read_access};
use super::rematerialize::{is_cheap, is_free};
use super::{Ctx, Nodes};
use crate::ir::ops::is_transcendental;
use crate::ir::{NodeId, Op};
use crate::kernel::Class;
use crate::types::DType;

/// What it costs to write an element to memory, or to read it from there. An addition in wide vectors is 1.
const TRANSFER: u32 = 16;
/// A transcendental function, and a division or a root.
const FUNCTION: u32 = 28;
const DIVISION: u32 = 16;
/// More than anything that is possible.
const NEVER: u32 = u32::MAX / 4;
/// With more values than this nothing is decided together.
const MOST: usize = 256;

/// A network of capacities.
#[derive(Default)]
struct Network {
    edges: Vec<(usize, u32)>,
    from: Vec<Vec<usize>>,
}

impl Network {
    fn place(&mut self) -> usize {
        self.from.push(Vec::new());
        self.from.len() - 1
    }

    fn edge(&mut self, from: usize, to: usize, capacity: u32) {
        self.from[from].push(self.edges.len());
        self.edges.push((to, capacity));
        self.from[to].push(self.edges.len());
        self.edges.push((from, 0));
    }

    /// Fills the network from `source` to `sink`, along shortest paths, and gives the places that could still be reached from the
    /// source.
    fn cut(&mut self, source: usize, sink: usize) -> Vec<bool> {
        loop {
            let mut came: Vec<Option<usize>> = vec![None; self.from.len()];
            let mut open = VecDeque::from([source]);
            let mut seen = vec![false; self.from.len()];
            seen[source] = true;
            while let Some(at) = open.pop_front() {
                for &edge in &self.from[at] {
                    let (to, capacity) = self.edges[edge];
                    if capacity > 0 && !seen[to] {
                        seen[to] = true;
                        came[to] = Some(edge);
                        open.push_back(to);
                    }
                }
            }
            if !seen[sink] {
                return seen;
            }
            let mut path = Vec::new();
            let mut at = sink;
            while let Some(edge) = came[at] {
                path.push(edge);
                at = self.edges[edge ^ 1].0;
            }
            let flow = path.iter().map(|&edge| self.edges[edge].1).min().unwrap_or(0);
            for edge in path {
                self.edges[edge].1 -= flow;
                self.edges[edge ^ 1].1 += flow;
            }
        }
    }
}

impl Ctx<'_> {
    /// The maps that a kernel over `domain` had better rematerialize for these values, where it reads some in any case.
    pub(super) fn rematerialized(&self, wanted: &[NodeId], domain: Domain, read: &Nodes) -> Nodes {
        let mut network = Network::default();
        let (source, sink) = (network.place(), network.place());
        // For each value, the place that says that it is needed, and the one that says that it is computed.
        // What is read elsewhere is another value, which nothing computes here.
        let mut places: HashMap<(NodeId, bool), (usize, Option<usize>)> = HashMap::new();
        let mut open: Vec<(Option<usize>, NodeId)> = wanted.iter().map(|&id| (None, id)).collect();
        let mut elsewhere = 0;
        while let Some((reader, id)) = open.pop() {
            let (base, class) = read_access(self.g, id, domain);
            // What there is one of per row or per column costs next to nothing. What lies elsewhere costs as much as any element, even
            // if it is repeated: it cuts the elements of a row into short runs.
            let is_other = class == Class::Other;
            if class != Class::Element && !is_other || is_free(&self.g[base].op) {
                continue;
            }
            if let Some(&(needed, _)) = places.get(&(base, is_other)) {
                network.edge(reader.unwrap_or(source), needed, NEVER);
                continue;
            }
            if places.len() >= MOST {
                return Nodes::default();
            }
            let node = &self.g[base];
            let home = self.home[base.index()].is_some();
            let map = node.op.is_map() && !self.stored[base.index()] && !self.loops.is_outside(base);
            let computable = map && !is_other && Domain::of(&node.ty.shape) == domain;
            let load = match () {
                // Truth values have no place in memory, and what is not computed elsewhere is computed here.
                () if computable && (node.ty.dtype == DType::Bool || !home) => NEVER,
                () if (!map || is_other) && read.contains(base) => 0,
                () if self.stored[base.index()] || node.op.is_leaf() => TRANSFER,
                () => 2 * TRANSFER,
            };
            elsewhere += usize::from(computable && load < NEVER);
            let needed = network.place();
            network.edge(reader.unwrap_or(source), needed, NEVER);
            if !computable {
                network.edge(needed, sink, load);
                places.insert((base, is_other), (needed, None));
                continue;
            }
            let computed = network.place();
            network.edge(needed, computed, load);
            network.edge(computed, sink, operation(&node.op));
            places.insert((base, is_other), (needed, Some(computed)));
            open.extend(node.operands.iter().map(|&operand| (Some(computed), operand)));
        }
        let mut to_rematerialize = Nodes::default();
        if elsewhere < 2 {
            return to_rematerialize;
        }
        let reached = network.cut(source, sink);
        let mut chosen: Vec<NodeId> = places
            .into_iter()
            .filter(|((id, _), (_, computed))| {
                self.home[id.index()].is_some() && computed.is_some_and(|computed| reached[computed])
            })
            .map(|((id, _), _)| id)
            .collect();
        chosen.sort();
        chosen.into_iter().for_each(|id| _ = to_rematerialize.insert(id));
        to_rematerialize
    }
}

/// What an operation costs.
fn operation(op: &Op) -> u32 {
    match op {
        Op::Uniform => FUNCTION,
        op if is_cheap(op) => 1,
        Op::Div | Op::Sqrt | Op::Rsqrt => DIVISION,
        op if is_transcendental(op) => FUNCTION,
        _ => NEVER,
    }
}
