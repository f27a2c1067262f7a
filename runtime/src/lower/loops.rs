//! Loops of the user's own. A sequence has its positions in front in the graph, so it is transposed before and after.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Flow, Lowering, origin};
use crate::elaborate::{Action, Inside, Step};
use crate::ir::Op;
use crate::layers::Layout;
use crate::layers::steps::{Taken, ended, lengths_of, positions_first, states, without_padding};
use crate::network::Scan;
use crate::types::Dim;

/// What the body of a loop knows beside the names of the network.
pub(super) struct Loop {
    /// What the paths of its parameters begin with.
    pub(super) owner: String,
    /// The loop around it, if it is inside of one.
    pub(super) outer: Option<usize>,
    names: HashMap<Rc<str>, usize>,
}

impl Loop {
    pub(super) fn new(inside: &Inside) -> Loop {
        let names = inside.names.iter().filter_map(|(name, value)| Some((Rc::clone(name), (*value)?)));
        Loop { owner: inside.owner.clone(), outer: inside.outer, names: names.collect() }
    }
}

impl Lowering<'_> {
    /// The loops whose bodies what is lowered is part of, the innermost first.
    pub(super) fn around(&self) -> impl Iterator<Item = &Loop> {
        std::iter::successors(self.inside, |&inside| self.loops[inside].outer).map(|inside| &self.loops[inside])
    }

    /// The value of this name in the body that is lowered, or in one around it.
    pub(super) fn own_name(&self, name: &str) -> Option<usize> {
        self.around().find_map(|known| known.names.get(name)).copied()
    }

    /// A trained number, the state, the element or the end of a loop.
    pub(super) fn of_loop(&mut self, step: &Step<'static>) -> Flow {
        self.b.enter(origin(self.definition, &step.path, step.at));
        // One position alone begins with what the position before it left, and is no loop; those inside of it are.
        let is_outermost = match step.action {
            Action::Scan(..) => step.inside.is_none(),
            _ => step.inside.is_some_and(|inside| self.loops[inside].outer.is_none()),
        };
        let is_alone = self.next.is_some() && is_outermost;
        let node = match (&step.action, &step.operands[..]) {
            (Action::Number(name, start), _) => {
                let slot = self.slot_of_number(step, name, *start);
                self.b.param(slot)
            }
            (Action::State { .. }, _) if is_alone => self.b.new_input("state", step.ty.clone()),
            (Action::Element, &[_, sequence, ..]) if is_alone => {
                let sequence = self.declared(sequence);
                self.b.reshape(sequence, step.ty.shape.clone())
            }
            (Action::Scan(_, args), &[_, next]) if is_alone => {
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
                let mut sequence = positions_first(&mut self.b, sequence);
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
                let taken = Taken { last, reverse, columns: None };
                let carry = self.values[state].node;
                let next = self.declared(next);
                let lengths = lengths.first().map(|&lengths| self.declared(lengths));
                let Op::Carry { steps, .. } = self.b[carry].op else { unreachable!("a loop begins with its head") };
                let lengths = lengths.map(|lengths| lengths_of(&mut self.b, lengths, steps));
                let history = ended(&mut self.b, carry, next, lengths);
                let y = states(&mut self.b, history, lengths, &taken);
                self.probe(step, None, [None, Some(y), Some(history)]);
                y
            }
            (_, operands) => unreachable!("`{}` was checked, and has {} operands", step.path, operands.len()),
        };
        Flow { node, layout: Layout::Declared }
    }
}
