//! Loops of the user's own. A sequence has its positions in front in the graph, so it is transposed before and after.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Flow, Lowering, Probed, origin};
use crate::elaborate::{Action, Inside, Step};
use crate::ir::{InputSlot, NodeId, Op};
use crate::layers::{Layout, lengths_of, without_padding};
use crate::network::Scan;
use crate::scalar::Cmp;
use crate::types::{Dim, Shape};

/// What the body of a loop knows beside the names of the network.
pub(super) struct Loop {
    /// What the paths of its parameters begin with.
    pub(super) owner: String,
    names: HashMap<Rc<str>, usize>,
}

impl Loop {
    pub(super) fn new(inside: &Inside) -> Loop {
        let names = inside.names.iter().filter_map(|(name, value)| Some((Rc::clone(name), (*value)?)));
        Loop { owner: inside.owner.clone(), names: names.collect() }
    }
}

impl Lowering<'_> {
    /// The value of this name in the body that is lowered.
    pub(super) fn own_name(&self, name: &str) -> Option<usize> {
        self.loops[self.inside?].names.get(name).copied()
    }

    /// A trained number, the state, the element or the end of a loop.
    pub(super) fn of_loop(&mut self, step: &Step<'static>) -> Flow {
        self.b.enter(origin(self.definition, &step.path, step.at));
        let node = match (&step.action, &step.operands[..]) {
            (Action::Number(name, start), _) => {
                let slot = self.slot_of_number(step, name, *start);
                self.b.param(slot)
            }
            // One position alone begins with what the position before it left, and is no loop.
            (Action::State { .. }, _) if self.next.is_some() => {
                let ty = step.ty.clone();
                let inputs = &mut self.b.graph_mut().slots.inputs;
                inputs.push(InputSlot { name: "state", ty, target: false, classes: None });
                let index = inputs.len() - 1;
                self.b.input(index)
            }
            (Action::Element, &[_, sequence, ..]) if self.next.is_some() => {
                let sequence = self.declared(sequence);
                self.b.reshape(sequence, step.ty.shape.clone())
            }
            (Action::Scan(_, args), &[_, next]) if self.next.is_some() => {
                let next = self.declared(next);
                self.kept.push(next);
                let mut shape = step.ty.shape.clone();
                if !Scan::is_last(args) {
                    shape.0[1] = Dim::Fixed(1);
                }
                self.b.reshape(next, shape)
            }
            (&Action::State { steps, reverse }, initial) => {
                let initial = match initial {
                    [initial] => self.declared(*initial),
                    _ => self.b.constant(0.0, &step.ty.shape),
                };
                self.b.carry(initial, steps, reverse)
            }
            (Action::Element, &[state, sequence, ref lengths @ ..]) => {
                let sequence = self.declared(sequence);
                let mut sequence = self.positions_first(sequence);
                if let Some(&lengths) = lengths.first() {
                    let (steps, lengths) = (self.b.shape(sequence).0[0].factor(), self.declared(lengths));
                    let lengths = lengths_of(&mut self.b, lengths, steps);
                    sequence = without_padding(&mut self.b, sequence, lengths);
                }
                let state = self.values[state].node;
                self.b.element(state, sequence)
            }
            (Action::Scan(_, args), &[state, next, ref lengths @ ..]) => {
                let (last, reverse) = (Scan::is_last(args), Scan::is_reverse(args));
                let lengths = lengths.first().map(|&lengths| self.declared(lengths));
                let next = self.declared(next);
                let y = self.end(self.values[state].node, next, lengths, last, reverse);
                let (path, owner) = (Rc::clone(&step.path), Rc::clone(&step.owner));
                self.layers.push(Probed { path, owner, layer: None, x: None, y: Some(y) });
                y
            }
            (_, operands) => unreachable!("`{}` was checked, and has {} operands", step.path, operands.len()),
        };
        Flow { node, layout: Layout::Declared }
    }

    /// Ends a loop: all states `[B, T, ..]`, or the last one.
    fn end(&mut self, state: NodeId, next: NodeId, lengths: Option<NodeId>, last: bool, reverse: bool) -> NodeId {
        let b = &mut self.b;
        let Op::Carry { steps, .. } = b[state].op else { unreachable!("a loop begins with its head") };
        let size = b.shape(state);
        let positions = b.iota(0, &Shape::fixed(&[steps]));
        let positions = b.to_float(positions);
        let lengths = lengths.map(|lengths| lengths_of(b, lengths, steps));
        let next = match lengths {
            // A row that has ended keeps its state.
            Some(lengths) => {
                let position = b.element(state, positions);
                let [position, lengths] =
                    [(position, &[][..]), (lengths, &[0])].map(|(x, at)| b.broadcast(x, &size, at));
                let here = b.compare(Cmp::Lt, position, lengths);
                b.select(here, next, state)
            }
            None => next,
        };
        let history = b.history(state, next);
        if last {
            let state = b.slice(history, 0, if reverse { 0 } else { steps }, 1, 1);
            return b.reshape(state, size);
        }
        let mut states = b.slice(history, 0, usize::from(!reverse), steps, 1);
        if let Some(lengths) = lengths {
            let shape = b.shape(states);
            let [position, lengths] = [(positions, 0), (lengths, 1)].map(|(x, at)| b.broadcast(x, &shape, &[at]));
            let within = b.compare(Cmp::Lt, position, lengths);
            states = b.keep(within, states);
        }
        self.positions_first(states)
    }

    /// Changes the batch and the positions.
    fn positions_first(&mut self, x: NodeId) -> NodeId {
        let rank = self.b.shape(x).rank();
        let order: Vec<usize> = [1, 0].into_iter().chain(2..rank).collect();
        self.b.transpose(x, &order)
    }
}
