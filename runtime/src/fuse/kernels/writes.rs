//! What kernels write: values of their own, rows of a loop's states, rows that are added to a table.

use super::{Maker, place};
use crate::fuse::domain::{ReductionAxes, elsewhere, reduction_axes};
use crate::fuse::view::strides;
use crate::fuse::{Row, Store};
use crate::ir::Op;
use crate::kernel::{Access, Affine, Arg, AxisSet, Class, Gather, Mode, Write};

impl Maker<'_> {
    /// What a kernel writes.
    pub(super) fn write(&mut self, store: &Store) -> Write {
        if let Some(row) = store.row {
            return self.write_row(store, row);
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
            copied: !here,
            materialized: store.materialized,
            origin: store.node,
        }
    }

    /// One of the rows of a loop.
    fn write_row(&mut self, store: &Store, row: Row) -> Write {
        let known = self.known.get(&store.node).filter(|_| self.g[store.node].op.is_map());
        let (value, copied) = match known {
            Some(known) => (Arg::Value(known[0].1), false),
            None => (self.arg(store.node, 0), true),
        };
        let steps = strides(&self.g[row.of].ty.shape);
        let mut at = Affine::constant(row.first as i64 * steps[0], self.axes.len());
        let coordinates = self.coordinates(&self.g[store.node].ty.shape);
        coordinates.iter().zip(&steps[1..]).for_each(|(coordinate, &step)| at.add(coordinate, step));
        let access = Access { at, position: if row.moves { steps[0] } else { 0 }, ..Access::default() };
        let buffer = self.buffers.of(self.g, row.of).expect("what is stored has a buffer");
        Write { value, buffer, access, mode: Mode::Set, copied, materialized: store.materialized, origin: row.of }
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
            copied: true,
            materialized: store.materialized,
            origin: store.node,
        }
    }
}
