//! What kernels write: values of their own, rows of a loop's states, rows that are added to a table.

use super::{Maker, place};
use crate::fuse::domain::{ReductionAxes, elsewhere, reduction_axes};
use crate::fuse::view::strides;
use crate::fuse::wholes::{Inside, Part, layout, lifted};
use crate::fuse::{Row, Store};
use crate::ir::{NodeId, Op};
use crate::kernel::{Access, Affine, Arg, AxisSet, BufferId, Class, Gather, Mode, Write};

impl Maker<'_> {
    /// What a kernel writes.
    pub(super) fn write(&mut self, store: &Store) -> Write {
        if let Some(row) = store.row {
            return self.write_row(store, row);
        }
        if let Some(part) = store.part {
            return self.write_part(store, part);
        }
        if let Op::ScatterAdd { .. } = self.g[store.node].op {
            return self.scatter(store);
        }
        let here = self.draft.product == Some(store.node) || self.known.contains_key(&store.node);
        let (value, class) = match self.known.get(&store.node) {
            Some(known) => (Arg::Value(known[0].1), None),
            None => (self.arg(store.node, 0), Some(Class::Element)),
        };
        let mut within = None;
        let class = class.unwrap_or_else(|| match reduction_axes(self.g, store.node) {
            Some((_, ReductionAxes::Within)) => {
                within = Some(self.axes_within(store.node));
                Class::Element
            }
            Some((_, ReductionAxes::AlongRow)) => Class::Row,
            Some((_, ReductionAxes::DownColumns)) => Class::Column,
            Some((_, ReductionAxes::Everything)) => Class::Single,
            None => {
                let shape = &self.g[store.node].ty.shape;
                self.draft.domain.class_of(shape).expect("a node is placed where it can be computed")
            }
        });
        let buffer = match store.param {
            Some(param) => self.buffers.param(param),
            None => self.buffers.of(self.g, store.node).expect("what is stored has a buffer"),
        };
        let at = match within {
            Some(over) => self.place_along(AxisSet::range(0..self.axes.len()).without(over)),
            None => self.place_of(class),
        };
        let access = Access { at, ..Access::default() };
        Write {
            value,
            buffer,
            access,
            mode: Mode::Set,
            part: false,
            coordinates: Vec::new(),
            copied: !here,
            beyond: None,
            materialized: store.materialized,
            origin: store.node,
        }
    }

    /// What is a part of the value `of`, in its buffer at this place; with the coordinates there, where they are printed.
    fn part(
        &mut self,
        store: &Store,
        of: NodeId,
        buffer: BufferId,
        (access, coordinates): (Access, Vec<Affine>),
    ) -> Write {
        let known = self.known.get(&store.node).filter(|_| self.g[store.node].op.is_map());
        let (value, copied) = match known {
            Some(known) => (Arg::Value(known[0].1), false),
            None => (self.arg(store.node, 0), true),
        };
        let (mode, materialized, beyond) = (Mode::Set, store.materialized, None);
        Write { value, buffer, access, mode, part: true, coordinates, copied, beyond, materialized, origin: of }
    }

    /// One of the rows of a loop.
    fn write_row(&mut self, store: &Store, row: Row) -> Write {
        let steps = strides(&self.g[row.of].ty.shape);
        let mut at = Affine::constant(row.first as i64 * steps[0], self.axes.len());
        let coordinates = self.coordinates(&self.g[store.node].ty.shape);
        coordinates.iter().zip(&steps[1..]).for_each(|(coordinate, &step)| at.add(coordinate, step));
        let access = Access { at, position: if row.moves { steps[0] } else { 0 }, ..Access::default() };
        let buffer = self.buffers.of(self.g, row.of).expect("what is stored has a buffer");
        self.part(store, row.of, buffer, (access, Vec::new()))
    }

    /// A part of a concatenation.
    fn write_part(&mut self, store: &Store, part: Part) -> Write {
        let own = self.coordinates(&self.g[store.node].ty.shape);
        let seen = lifted(self.g, part.view, store.node, &own, &self.axes);
        let mut coordinates = seen.expect("the axes were split for it");
        coordinates[part.axis].constant += part.start as i64;
        let whole =
            layout(self.g, &self.buffers.inside, part.of).expect("a whole that has no place has not been moved");
        let access =
            Access { at: whole.place(&coordinates, self.axes.len()), position: whole.position, ..Access::default() };
        coordinates.iter_mut().for_each(|coordinate| coordinate.steps.push(0));
        let coordinates = self.outward(part.of, coordinates).expect("a whole lies in another one as it is");
        let buffer = self.buffers.of(self.g, whole.of).expect("what is stored has a buffer");
        self.part(store, part.of, buffer, (access, coordinates))
    }

    /// The coordinates of elements of a node in the buffer that it lies in, as they are printed; none if it lies there under another
    /// shape.
    pub(super) fn outward(&self, mut of: NodeId, mut coordinates: Vec<Affine>) -> Option<Vec<Affine>> {
        while let Some(place) = self.buffers.inside.get(&of) {
            of = match *place {
                Inside::Whole(part) => {
                    coordinates[part.axis].constant += Some(part.start as i64).filter(|_| part.view == of)?;
                    part.of
                }
                Inside::Steps(row) => {
                    let mut step = Affine::constant(row.first as i64, self.axes.len() + 1);
                    step.steps[self.axes.len()] = i64::from(row.moves);
                    coordinates.insert(0, step);
                    row.of
                }
            };
        }
        Some(coordinates)
    }

    /// Rows that are added where an index says.
    fn scatter(&mut self, store: &Store) -> Write {
        let [values, index] = self.g[store.node].operands[..] else { unreachable!("a scatter has two operands") };
        let value = self.arg(values, 0);
        let mut coordinates = self.coordinates(&self.g[values].ty.shape);
        let row = coordinates.split_off(self.g[index].ty.shape.rank());
        let (memory, _) = elsewhere(self.g, index);
        let index = self.read_at(index, coordinates, memory);
        let shape = &self.g[store.node].ty.shape;
        let steps = strides(shape);
        let mut at = Affine::constant(0, self.axes.len());
        row.iter().zip(&steps[1..]).for_each(|(coordinate, &step)| at.add(coordinate, step));
        let gather = Gather { index: place(&mut self.reads, index), step: steps[0], extent: shape.0[0].factor() };
        let access = Access { at, gather: Some(gather), ..Access::default() };
        let buffer = self.buffers.of(self.g, store.node).expect("what is stored has a buffer");
        Write {
            value,
            buffer,
            access,
            mode: Mode::Add,
            part: false,
            coordinates: Vec::new(),
            copied: true,
            beyond: None,
            materialized: store.materialized,
            origin: store.node,
        }
    }
}
