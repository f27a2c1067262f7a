//! From a number that is not finite back to where it came from.
//!
//! In: the graph of a step without rewrites, and the values that the step began with. Out: the
//! first number that is not finite, with all that it was made from. The step is replayed in the interpreter as if in f32,
//! and the search goes backwards: from an element to one that it was made from and that is not finite either, NaN before
//! infinities, until there is none. What is infinite on purpose, as in the branch of a choice that is not taken, is not on
//! that way. Of a loop all states are there, and the body of one step at a time, which is computed once more where the search
//! comes to it. Absent on purpose: speed. This runs once something has gone wrong.

use std::collections::HashMap;

use crate::fault::{Fault, Given, Operand, position};
use crate::interp::{
    Data, Evaluation, Precision, Sources, Tensor, Values, destinations, evaluate, folded, product_terms, row_major,
};
use crate::ir::ops::Body;
use crate::ir::print::scalar;
use crate::ir::rewrite::prune;
use crate::ir::{Graph, Loop, NodeId, Op, ParamSlot, Role};

/// No replay has more numbers at a time than these, 2 GiB.
const MOST_NUMBERS: usize = 1 << 28;
/// None computes more numbers than these, in all steps of its loops: about a minute's.
const MOST_COMPUTED: usize = 1 << 31;

/// A graph to replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The operations.
    pub graph: Graph,
}

impl Replay {
    /// With these results alone, and what they need.
    pub fn of(&self, wanted: impl Fn(&Role) -> bool) -> Replay {
        let mut graph = self.graph.clone();
        graph.outputs.retain(|output| wanted(&output.role));
        Replay { graph: prune(graph).0 }
    }

    /// Whether a replay takes no more memory and time than it may, and no more memory than there is: asked before, since it takes what
    /// it needs piece by piece.
    pub fn fits(&self, rows: usize) -> bool {
        let slots = &self.graph.slots;
        // A node itself takes as much as some numbers.
        let nodes = || self.graph.nodes.iter().map(|node| node.ty.shape.len_at(rows).max(64));
        let values = slots.inputs.iter().map(|slot| slot.ty.shape.len_at(rows));
        let values = values.chain(slots.params.iter().map(ParamSlot::len));
        let all = nodes().chain(values).fold(0, usize::saturating_add);
        let times = nodes().zip(self.graph.runs()).map(|(len, times)| len.saturating_mul(times));
        let is_short = times.fold(0, usize::saturating_add) <= MOST_COMPUTED;
        // What is reduced is sorted into lists, which grow.
        is_short && all <= MOST_NUMBERS && Vec::<f64>::new().try_reserve_exact(2 * all).is_ok()
    }

    /// Replays the step on a batch of so many rows, and looks for the origin of what is not finite among the results: the one
    /// that was computed first. None if all are finite. Takes so much memory that [`Replay::fits`] should be asked before.
    pub fn search(&self, rows: usize, values: &Values) -> Option<Fault> {
        self.first_wrong(rows, values).map(|(.., fault)| fault)
    }

    /// The same, with the first result that is not finite and what it is.
    pub fn first_wrong(&self, rows: usize, given: &Values) -> Option<(Role, f32, Fault)> {
        let graph = &self.graph;
        let (loops, heads, values) = (graph.loops(), graph.heads(), evaluate(graph, Precision::F32, rows, given));
        let mut search = Search { graph, loops, heads, rows, given, values, at: HashMap::new() };
        let (mut first, mut earliest) = (None, None);
        for output in &graph.outputs {
            let floats = search.values[output.node].as_floats();
            let Some(at) = floats.iter().position(|x| !x.is_finite()) else { continue };
            first.get_or_insert((output.role.clone(), floats[at] as f32));
            let (id, at) = search.origin(output.node, at);
            let when = search.when(id, at);
            if earliest.as_ref().is_none_or(|(earliest, _)| when < *earliest) {
                earliest = Some((when, search.describe(id, at)));
            }
        }
        let ((role, value), (_, fault)) = (first?, earliest?);
        Some((role, value, fault))
    }
}

struct Search<'a> {
    graph: &'a Graph,
    loops: Vec<Loop>,
    /// For every node, the head of the innermost loop that it is part of.
    heads: Vec<Option<NodeId>>,
    rows: usize,
    given: &'a Values,
    values: Evaluation<'a>,
    /// By the head of a loop, the position of the step whose values the nodes of its body have.
    at: HashMap<NodeId, usize>,
}

impl Search<'_> {
    /// The first element that this one is made of and that is not finite. Loops are then at the step that made it.
    fn origin(&mut self, mut id: NodeId, mut at: usize) -> (NodeId, usize) {
        loop {
            let elements = self.elements(id, at);
            let worst = |is: fn(f64) -> bool| elements.iter().find(|&&(x, at)| is(self.values[x].as_floats()[at]));
            match worst(f64::is_nan).or_else(|| worst(f64::is_infinite)) {
                Some(&earlier) => (id, at) = earlier,
                None => return (id, at),
            }
        }
    }

    /// The numbers that an element is made from.
    fn elements(&mut self, id: NodeId, at: usize) -> Vec<(NodeId, usize)> {
        let node = &self.graph[id];
        let is_number = |x: &NodeId| matches!(self.values[*x].data, Data::Float(_));
        match (node.op.def().body, &node.op) {
            (Body::Leaf, _) => Vec::new(),
            (Body::Map(_), Op::Select) => match &self.values[node.operands[0]].data {
                Data::Mask(mask) => vec![(node.operands[if mask[at] { 1 } else { 2 }], at)],
                _ => unreachable!("a choice has a mask"),
            },
            (Body::Map(_), _) => node.operands.iter().copied().filter(is_number).map(|x| (x, at)).collect(),
            (Body::View | Body::Move, _) => self.behind(id, at).into_iter().filter(|(x, _)| is_number(x)).collect(),
            (Body::Gather, _) => {
                let [table, index] = node.operands[..] else { unreachable!("a table and an index") };
                let (rows, row) = self.values[table].shape.split_first().expect("a table has rows");
                let len: usize = row.iter().product();
                let own = self.values[index].as_indices()[at / len] as usize;
                if own < *rows { vec![(table, own * len + at % len)] } else { Vec::new() }
            }
            (Body::Scatter, _) => {
                let [values, index] = node.operands[..] else { unreachable!("values and an index") };
                let len: usize = self.values[id].shape[1..].iter().product();
                let rows = self.values[index].as_indices().iter().enumerate();
                let own = rows.filter(|(_, row)| **row as usize == at / len);
                own.map(|(from, _)| (values, from * len + at % len)).collect()
            }
            (Body::Fold, op) => {
                let x = node.operands[0];
                folded(op, &self.values[x].shape, at).into_iter().map(|from| (x, from)).collect()
            }
            (Body::Reduce(_), op) => {
                let (x, axes) = (node.operands[0], op.axes().expect("a reduction has axes"));
                let to = destinations(&self.values[x].shape, axes, &self.values[id].shape);
                to.enumerate().filter(|(_, to)| *to == at).map(|(from, _)| (x, from)).collect()
            }
            (Body::Loop, _) => vec![self.through_loop(id, at)],
            (Body::Contract, op) => {
                let (Op::Dot(axes) | Op::DotByColumn(axes)) = op else { unreachable!("{op:?} is no product") };
                let [a, b] = [node.operands[0], node.operands[1]];
                let mut place = element(&self.values[id], at);
                if matches!(op, Op::DotByColumn(_)) {
                    place[axes.batch.len() - 1..].rotate_right(1);
                }
                let pairs = product_terms(axes, [&self.values[a].shape, &self.values[b].shape], &place);
                pairs.into_iter().flat_map(|[left, right]| [(a, left), (b, right)]).collect()
            }
        }
    }

    fn run(&self, head: NodeId) -> &Loop {
        self.loops.iter().find(|run| run.carry == head).expect("a loop has an end")
    }

    /// What an element is that comes into the body of a loop, or that it begins with.
    fn given_to_loop(&self, id: NodeId, at: usize) -> Option<(NodeId, usize)> {
        let node = &self.graph[id];
        match node.op {
            Op::Element => Some((node.operands[1], self.at[&node.operands[0]] * self.len(id) + at)),
            Op::Carry { .. } => {
                let run = self.run(id);
                Some((run.history, run.rows(self.at[&id])[0] * self.len(id) + at))
            }
            Op::History { .. } => {
                let (run, len) = (self.run(node.operands[0]), self.len(node.operands[0]));
                let first = if run.reverse { run.steps } else { 0 };
                (at / len == first).then(|| (self.graph[run.carry].operands[0], at % len))
            }
            _ => None,
        }
    }

    /// The same, or what an element is that a loop gives. That is then at the step that made it.
    fn through_loop(&mut self, id: NodeId, at: usize) -> (NodeId, usize) {
        if let Some(given) = self.given_to_loop(id, at) {
            return given;
        }
        let node = &self.graph[id];
        let (value, len) = (node.operands[1], self.len(node.operands[1]));
        let (head, row) = match node.op {
            Op::Collect { .. } => (self.graph[node.operands[0]].operands[0], 0),
            _ => (node.operands[0], 1),
        };
        let run = self.run(head).clone();
        let is_here = |position: &usize| [*position, run.rows(*position)[1]][row] == at / len;
        let position = run.positions().find(is_here).expect("a row is that of a step");
        self.values.step_again((&self.loops, &run, position), (Precision::F32, self.rows, self.given));
        self.at.insert(head, position);
        (value, at % len)
    }

    fn len(&self, id: NodeId) -> usize {
        self.values[id].shape.iter().product()
    }

    /// The steps of all loops around a node at which it is, the outermost first.
    fn steps(&self, id: NodeId) -> Vec<usize> {
        let heads = self.heads[id.index()].into_iter().flat_map(|head| self.graph.outward(head));
        let mut steps: Vec<usize> = heads.map(|head| self.at[&head]).collect();
        steps.reverse();
        steps
    }

    /// What is computed earlier than an element has less of this: a loop is run when it ends, step by step.
    fn when(&self, id: NodeId, at: usize) -> Vec<usize> {
        let mut when = vec![at, id.index()];
        for head in self.heads[id.index()].into_iter().flat_map(|head| self.graph.outward(head)) {
            let (run, position) = (self.run(head), self.at[&head]);
            when.extend([if run.reverse { run.steps - 1 - position } else { position }, run.history.index()]);
        }
        when.reverse();
        when
    }

    /// The element that a view or a movement shows at this position, if it is no fill.
    fn behind(&self, id: NodeId, at: usize) -> Option<(NodeId, usize)> {
        let node = &self.graph[id];
        match Sources::new(self.graph, node, &self.values[id].shape, |x| &self.values[x].shape) {
            Some(sources) => sources.of(at).map(|(operand, at)| (node.operands[operand], at)),
            None => Some((node.operands[0], at)),
        }
    }

    fn describe(&mut self, id: NodeId, at: usize) -> Fault {
        let node = &self.graph[id];
        let (element, value) = (element(&self.values[id], at), self.number(id, at));
        if let Some((with, name)) = self.given(id) {
            return Fault::Given { with, name, element, value };
        }
        let elements = self.elements(id, at);
        let size = |&(x, at): &(NodeId, usize)| self.values[x].as_floats()[at].abs();
        let (terms, operands) = match node.op.def().body {
            Body::Reduce(_) | Body::Fold | Body::Scatter => {
                let largest = elements.iter().copied().max_by(|x, y| size(x).total_cmp(&size(y)));
                (elements.len(), largest.into_iter().collect())
            }
            Body::Contract => {
                let terms = elements.chunks(2);
                let product = |pair: &[(NodeId, usize)]| pair.iter().map(size).product::<f64>();
                let largest = terms.clone().max_by(|x, y| product(x).total_cmp(&product(y)));
                (terms.len(), largest.unwrap_or_default().to_vec())
            }
            _ => (1, elements),
        };
        let operand = |&(x, at): &(NodeId, usize)| Operand { value: self.number(x, at), source: self.source(x, at) };
        Fault::Made {
            place: node.origin.place,
            layer: node.origin.name().to_string(),
            pass: node.origin.pass,
            steps: self.steps(id),
            operation: node.op.def().name,
            operands: operands.iter().map(operand).collect(),
            terms,
            element,
            value,
        }
    }

    fn number(&self, id: NodeId, at: usize) -> f32 {
        self.values[id].as_floats()[at] as f32
    }

    /// What comes in, and its name.
    fn given(&self, id: NodeId) -> Option<(Given, String)> {
        let slots = &self.graph.slots;
        match self.graph[id].op {
            Op::Input(index) => {
                let slot = &slots.inputs[index];
                Some((if slot.target { Given::Target } else { Given::Input }, slot.name.to_string()))
            }
            Op::Param(index) => Some((Given::Parameter, slots.params[index].name.clone())),
            Op::Scalar(index) => Some((Given::Setting, scalar(&slots.scalars[index]))),
            _ => None,
        }
    }

    /// The name and position of an element that comes in as it is.
    fn source(&self, mut id: NodeId, mut at: usize) -> Option<String> {
        loop {
            (id, at) = match self.graph[id].op.def().body {
                Body::View | Body::Move => self.behind(id, at)?,
                Body::Loop => self.given_to_loop(id, at)?,
                _ => break,
            };
        }
        let (_, name) = self.given(id)?;
        Some(format!("{name}{}", position(&element(&self.values[id], at))))
    }
}

/// The position of an element along each axis.
fn element(tensor: &Tensor, at: usize) -> Vec<usize> {
    row_major(&tensor.shape).iter().zip(&tensor.shape).map(|(stride, extent)| at / stride % extent).collect()
}
