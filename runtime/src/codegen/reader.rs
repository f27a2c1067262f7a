//! Where each element of a kernel of more axes than rows and columns lies, at one point of its loops.
//!
//! An element outside of its bounds is not read: the address is that of the first one there is, and what comes from there is dropped.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{ConstantData, InstBuilder, Value, types};
use rustc_hash::FxHashMap;

use super::lanes::{Lanes, Width, memory};
use super::nest::{Place, Point};
use super::{Slot, View};
use crate::kernel::{Access, Affine, Arg, Write};
use crate::scalar::{Reg, Scalar};

/// Finds elements for a point.
pub(super) struct Reader<'a> {
    pub(super) view: View<'a>,
    pub(super) point: &'a Point,
    pub(super) bases: &'a FxHashMap<Slot, Value>,
    pub(super) width: Width,
}

impl Reader<'_> {
    /// The elements of a read.
    pub(super) fn read(&self, lanes: &mut Lanes<'_, '_>, read: usize) -> Reg {
        let kernel = self.view.kernel;
        let of = &kernel.reads[read];
        let (address, valid) = self.place(lanes, read);
        let index = self.view.canonical.reads_index(read);
        let reg = match of.access.at.steps.last() {
            Some(1) if self.point.inner.is_some() => lanes.load(address, 0, index, false),
            Some(&step) if step != 0 && self.point.inner.is_some() => lanes.load_apart(address, 4 * step, index),
            _ => {
                let ty = if index { types::I32 } else { types::F32 };
                let number = lanes.fb.ins().load(ty, memory(), address, 0);
                lanes.splat(number)
            }
        };
        let Some(valid) = valid else { return reg };
        let mask = self.mask(lanes, valid);
        let fill = of.fill.value();
        let fill = if index { lanes.int(fill as i32) } else { lanes.float(fill) };
        lanes.select(mask, reg, fill)
    }

    /// The address of the elements of a read; where there are not always some, whether there are, and otherwise the address of others.
    pub(super) fn place(&self, lanes: &mut Lanes<'_, '_>, read: usize) -> (Value, Option<Value>) {
        let access = &self.view.kernel.reads[read].access;
        let slot = self.view.slot_read(Arg::Read(read), 0).expect("what is read is in memory");
        match &self.point.places[read] {
            Some(place) => self.locate_from(lanes, self.first(slot), access, place),
            None => self.locate(lanes, slot, access),
        }
    }

    /// Where the first element of all that is in memory lies.
    fn first(&self, slot: Slot) -> Value {
        match slot {
            Slot::Tile(tile) => self.bases[&Slot::TileStart(tile)],
            slot => self.bases[&slot],
        }
    }

    /// Adds elements to what lies where a write says.
    pub(super) fn add(&self, lanes: &mut Lanes<'_, '_>, slot: Slot, write: &Write, value: Reg) {
        let (address, valid) = self.locate(lanes, slot, &write.access);
        let value = match valid {
            None => value,
            // Adding -0 changes no number.
            Some(valid) => {
                let (mask, nothing) = (self.mask(lanes, valid), lanes.float(-0.0));
                lanes.select(mask, value, nothing)
            }
        };
        let before = lanes.load(address, 0, false, false);
        let sum = lanes.add(before, value);
        lanes.store(sum, address, 0);
    }

    /// A truth value in every lane.
    fn mask(&self, lanes: &mut Lanes<'_, '_>, valid: Value) -> Reg {
        let valid = match self.width {
            Width::One => valid,
            Width::Vectors(_) => lanes.fb.ins().bmask(types::I32, valid),
        };
        lanes.splat(valid)
    }

    /// The same from where it is known to be but for the innermost axis.
    fn locate_from(
        &self,
        lanes: &mut Lanes<'_, '_>,
        first: Value,
        access: &Access,
        place: &Place,
    ) -> (Value, Option<Value>) {
        let last = |affine: &Affine| affine.steps.last().copied().filter(|&step| step != 0);
        let mut address = place.address;
        if let (Some(inner), Some(step)) = (self.point.inner, last(&access.at)) {
            let by = times(lanes, inner, step);
            address = lanes.fb.ins().iadd(address, by);
        }
        let mut valid: Option<Value> = None;
        for (bound, &start) in access.bounds.iter().zip(&place.bounded) {
            let mut coordinate = start;
            if let (Some(inner), Some(step)) = (self.point.inner, last(&bound.coordinate)) {
                let position = lanes.fb.ins().ushr_imm_u(inner, 2);
                let by = times(lanes, position, step);
                coordinate = lanes.fb.ins().iadd(coordinate, by);
            }
            let within = lanes.fb.ins().icmp_imm_u(IntCC::UnsignedLessThan, coordinate, bound.extent as i64);
            valid = Some(valid.map_or(within, |valid| lanes.fb.ins().band(valid, within)));
        }
        if let Some(valid) = valid {
            address = lanes.fb.ins().select(valid, address, first);
        }
        (address, valid)
    }

    /// The address of the first element, and whether there are elements, where that is not certain.
    fn locate(&self, lanes: &mut Lanes<'_, '_>, slot: Slot, access: &Access) -> (Value, Option<Value>) {
        let offset = self.whole(lanes, &access.at, 4);
        let mut address = lanes.fb.ins().iadd(self.bases[&slot], offset);
        let mut valid: Option<Value> = None;
        let mut and = |lanes: &mut Lanes<'_, '_>, holds: Value| {
            valid = Some(valid.map_or(holds, |valid| lanes.fb.ins().band(valid, holds)));
        };
        for bound in &access.bounds {
            let coordinate = self.whole(lanes, &bound.coordinate, 1);
            let within = lanes.fb.ins().icmp_imm_u(IntCC::UnsignedLessThan, coordinate, bound.extent as i64);
            and(lanes, within);
        }
        if let Some(gather) = &access.gather {
            let alone = Reader { width: Width::One, ..*self };
            let number = alone.number(lanes, gather.index);
            let number = lanes.fb.ins().uextend(types::I64, number);
            let within = lanes.fb.ins().icmp_imm_u(IntCC::UnsignedLessThan, number, gather.extent as i64);
            and(lanes, within);
            let before = lanes.fb.ins().imul_imm_u(number, 4 * gather.step);
            address = lanes.fb.ins().iadd(address, before);
        }
        if let Some(valid) = valid {
            address = lanes.fb.ins().select(valid, address, self.first(slot));
        }
        (address, valid)
    }

    /// One number, whatever the width: an index.
    fn number(&self, lanes: &mut Lanes<'_, '_>, read: usize) -> Value {
        let of = &self.view.kernel.reads[read];
        let slot = self.view.slot_read(Arg::Read(read), 0).expect("what is read is in memory");
        let (address, valid) = self.locate(lanes, slot, &of.access);
        let number = lanes.fb.ins().load(types::I32, memory(), address, 0);
        match valid {
            None => number,
            Some(valid) => {
                let fill = lanes.fb.ins().iconst(types::I32, of.fill.value() as i64);
                lanes.fb.ins().select(valid, number, fill)
            }
        }
    }

    /// An affine number at the point, times a factor: 4 for bytes, or 1.
    pub(super) fn whole(&self, lanes: &mut Lanes<'_, '_>, affine: &Affine, factor: i64) -> Value {
        let Point { row, outer, inner, .. } = self.point;
        let mut sum: Option<Value> = None;
        let mut add = |lanes: &mut Lanes<'_, '_>, value: Value| {
            sum = Some(sum.map_or(value, |sum| lanes.fb.ins().iadd(sum, value)));
        };
        for (&step, &coordinate) in affine.steps.iter().zip(row.iter().chain(outer)).filter(|(step, _)| **step != 0) {
            let value = times(lanes, coordinate, factor * step);
            add(lanes, value);
        }
        let last = affine.steps.last().copied().unwrap_or(0);
        if let Some(inner) = inner.filter(|_| last != 0) {
            let coordinate = if factor == 4 { inner } else { lanes.fb.ins().ushr_imm_u(inner, 2) };
            let value = times(lanes, coordinate, last);
            add(lanes, value);
        }
        match sum {
            None => lanes.fb.ins().iconst(types::I64, factor * affine.constant),
            Some(sum) if affine.constant == 0 => sum,
            Some(sum) => lanes.fb.ins().iadd_imm_s(sum, factor * affine.constant),
        }
    }

    /// Positions, one for each lane.
    pub(super) fn index(&self, lanes: &mut Lanes<'_, '_>, index: usize) -> Reg {
        let affine = &self.view.kernel.indices[index];
        let first = self.whole(lanes, affine, 1);
        let first = lanes.fb.ins().ireduce(types::I32, first);
        let step = affine.steps.last().copied().unwrap_or(0);
        if self.width == Width::One || step == 0 || self.point.inner.is_none() {
            return lanes.splat(first);
        }
        let first = lanes.fb.ins().splat(types::I32X4, first);
        lanes.parts(&|fb, part| {
            let numbers = (0..4).flat_map(|lane| (step as i32 * (4 * part as i32 + lane)).to_le_bytes());
            let constant = fb.func.dfg.constants.insert(ConstantData::from(numbers.collect::<Vec<u8>>().as_slice()));
            let steps = fb.ins().vconst(types::I32X4, constant);
            fb.ins().iadd(first, steps)
        })
    }
}

fn times(lanes: &mut Lanes<'_, '_>, value: Value, factor: i64) -> Value {
    if factor == 1 { value } else { lanes.fb.ins().imul_imm_s(value, factor) }
}
