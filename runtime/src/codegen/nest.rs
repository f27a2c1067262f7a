//! Kernels of more axes than rows and columns, and elements that are read in another order than that of the kernel: coordinates,
//! and where each element lies.
//!
//! A row number gives the coordinates of the row. The row is a nest of loops, of which the innermost is as wide as what is read
//! allows. An element outside of its bounds is not read: the address is that of the buffer, and what comes from there is dropped.

use std::collections::HashMap;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, ConstantData, InstBuilder, Value, types};

use super::lanes::{Lanes, Width, memory};
use super::loops::{LANE_BYTES, Trip};
use super::row::identity;
use super::wide::{Run, WideStage};
use super::{KernelEmitter, Slot, View};
use crate::ir::ops::Reduction;
use crate::kernel::{Affine, Arg, Bound, Kernel, LANES, Mode, Write};
use crate::scalar::{Reg, Scalar};
use crate::tiling::VECTORS;

/// Where in the loops of a kernel an element is.
#[derive(Clone, Default)]
pub(super) struct Point {
    /// The coordinates of the row.
    pub(super) row: Vec<Value>,
    /// Those along the outer axes of the row.
    pub(super) outer: Vec<Value>,
    /// Four times that along the innermost axis; `None` for the row as a whole.
    pub(super) inner: Option<Value>,
    /// Where each read of the kernel is, but for the step along the innermost axis; `None` if it looks up an index.
    places: Vec<Option<Place>>,
}

/// Where an element is, as far as it is known.
#[derive(Clone)]
struct Place {
    address: Value,
    /// The coordinates that have bounds.
    bounded: Vec<Value>,
}

impl Point {
    /// Where the elements of a read begin in the present row.
    pub(super) fn row_of(&self, read: usize) -> Option<Value> {
        self.places[read].as_ref().map(|place| place.address)
    }
}

impl KernelEmitter<'_, '_> {
    /// The coordinates of a row from its number.
    fn coordinates_of(&mut self, row: Value) -> Vec<Value> {
        let kernel = self.kernel;
        let mut rest = row;
        let mut coordinates = vec![rest; kernel.rows];
        for axis in (1..kernel.rows).rev() {
            let extent = kernel.axes[axis].factor() as i64;
            let next = self.fb.ins().udiv_imm_u(rest, extent);
            let before = self.times(next, extent);
            coordinates[axis] = self.fb.ins().isub(rest, before);
            rest = next;
        }
        coordinates[0] = rest;
        coordinates
    }

    /// Emits `body` for the rows from `lo` to before `hi`, of which there is at least one. Coordinates are counted from row to
    /// row: to divide takes as long as a few elements.
    pub(super) fn rows(&mut self, lo: Value, hi: Value, mut body: impl FnMut(&mut Self, Value)) {
        if self.kernel.is_plain() {
            return self.counted(lo, hi, 1, false, body);
        }
        let first = self.coordinates_of(lo);
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let row = self.fb.append_block_param(head, types::I64);
        let coordinates: Vec<Value> = first.iter().map(|_| self.fb.append_block_param(head, types::I64)).collect();
        let start: Vec<BlockArg> = std::iter::once(lo).chain(first).map(BlockArg::from).collect();
        self.fb.ins().jump(head, &start);
        self.fb.switch_to_block(head);
        self.start_row(coordinates.clone());
        body(self, row);
        let next = self.fb.ins().iadd_imm_u(row, 1);
        let after = self.coordinates_after(&coordinates);
        let again = self.fb.ins().icmp(IntCC::SignedLessThan, next, hi);
        let next: Vec<BlockArg> = std::iter::once(next).chain(after).map(BlockArg::from).collect();
        self.fb.ins().brif(again, head, &next, exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// The coordinates of the row after the one with these.
    fn coordinates_after(&mut self, coordinates: &[Value]) -> Vec<Value> {
        let mut after = coordinates.to_vec();
        let zero = self.fb.ins().iconst(types::I64, 0);
        let mut carry = self.fb.ins().iconst(types::I64, 1);
        for axis in (0..coordinates.len()).rev() {
            let next = self.fb.ins().iadd(coordinates[axis], carry);
            if axis == 0 {
                after[0] = next;
                break;
            }
            let ends = self.fb.ins().icmp_imm_s(IntCC::Equal, next, self.kernel.axes[axis].factor() as i64);
            after[axis] = self.fb.ins().select(ends, zero, next);
            carry = self.fb.ins().uextend(types::I64, ends);
        }
        after
    }

    /// Moves on to the row with these coordinates.
    fn start_row(&mut self, row: Vec<Value>) {
        let kernel = self.kernel;
        let view = self.view();
        let along = |affine: &Affine| -> Vec<(usize, i64)> {
            (0..kernel.rows).map(|axis| (axis, affine.steps[axis])).collect()
        };
        let mut places = Vec::new();
        for (index, read) in kernel.reads.iter().enumerate() {
            let slot = view.slot_read(Arg::Read(index), 0).filter(|_| read.access.gather.is_none());
            let Some(&base) = slot.and_then(|slot| self.bases.get(&slot)) else {
                places.push(None);
                continue;
            };
            let access = &read.access;
            let start = self.fb.ins().iadd_imm_s(base, 4 * access.at.constant);
            let address = self.moved(start, &row, &along(&access.at), 4);
            let bounded = access.bounds.iter().map(|bound| {
                let start = self.fb.ins().iconst(types::I64, bound.coordinate.constant);
                self.moved(start, &row, &along(&bound.coordinate), 1)
            });
            let bounded = bounded.collect();
            places.push(Some(Place { address, bounded }));
        }
        self.point = Point { row, places, ..Point::default() };
    }

    /// A number moved by so many steps along some axes.
    pub(super) fn moved(&mut self, start: Value, coordinates: &[Value], steps: &[(usize, i64)], factor: i64) -> Value {
        steps.iter().filter(|(_, step)| *step != 0).fold(start, |sum, &(axis, step)| {
            let by = self.times(coordinates[axis], factor * step);
            self.fb.ins().iadd(sum, by)
        })
    }

    /// Moves on to a position along the next outer axis of the row.
    fn enter(&mut self, coordinate: Value) {
        let axis = self.kernel.rows + self.point.outer.len();
        let kernel = self.kernel;
        for (index, read) in kernel.reads.iter().enumerate() {
            let Some(Place { address, bounded }) = self.point.places[index].clone() else { continue };
            let along = |affine: &Affine| [(0, affine.steps[axis])];
            let address = self.moved(address, &[coordinate], &along(&read.access.at), 4);
            let pairs = bounded.into_iter().zip(&read.access.bounds);
            let bounded = pairs.map(|(start, bound)| self.moved(start, &[coordinate], &along(&bound.coordinate), 1));
            let bounded = bounded.collect();
            self.point.places[index] = Some(Place { address, bounded });
        }
        self.point.outer.push(coordinate);
    }

    /// Emits `body` for all elements of the row, as wide as they allow unless `scalar`. The position is a byte offset among them.
    pub(super) fn points(&mut self, scalar: bool, unroll: usize, mut body: impl FnMut(&mut Self, Width, Value)) {
        if self.kernel.is_plain() {
            let trip = self.trip();
            return self.columns(trip, unroll, body);
        }
        self.points_in_runs(scalar, unroll, None, |emit, run, at| match run {
            Run::Narrow(width) => body(emit, width, at),
            Run::Wide(_) => unreachable!("nothing wide was asked for"),
        });
    }

    /// The same for a kernel of more axes than two, first for what fills wide vectors along the innermost axis.
    pub(super) fn points_in_runs(
        &mut self,
        scalar: bool,
        unroll: usize,
        wide: Option<&WideStage>,
        mut body: impl FnMut(&mut Self, Run, Value),
    ) {
        self.nest(None, scalar, unroll, wide, &mut body);
    }

    /// The loops of the row from the next outer axis on, `offset` bytes after its first element.
    fn nest(
        &mut self,
        offset: Option<Value>,
        scalar: bool,
        unroll: usize,
        wide: Option<&WideStage>,
        body: &mut dyn FnMut(&mut Self, Run, Value),
    ) {
        let axes = &self.kernel.axes[self.kernel.rows + self.point.outer.len()..];
        let extent = axes[0].factor();
        let size: usize = axes[1..].iter().map(|dim| dim.factor()).product();
        if axes.len() > 1 {
            return self.known(0, extent as i64, 1, &mut |emit, coordinate| {
                let before = emit.times(coordinate, 4 * size as i64);
                let at = offset.map_or(before, |offset| emit.fb.ins().iadd(offset, before));
                let before = emit.point.clone();
                emit.enter(coordinate);
                emit.nest(Some(at), scalar, unroll, wide, body);
                emit.point = before;
            });
        }
        let mut run = |emit: &mut Self, width: Run, inner: Value| {
            emit.point.inner = Some(inner);
            // Behind the first run of the row, columns are in the same lanes only if a run has whole ones.
            emit.lane = emit.lane.filter(|_| !scalar && (offset.is_none() || 4 * extent as i64 % LANE_BYTES == 0));
            let at = offset.map_or(inner, |offset| emit.fb.ins().iadd(offset, inner));
            body(emit, width, at);
            emit.point.inner = None;
        };
        match scalar {
            true => self.known(0, 4 * extent as i64, 4, &mut |emit, at| run(emit, Run::Narrow(Width::One), at)),
            false => self.runs(Trip::Known(extent), unroll, wide, run),
        }
    }

    /// Whether something that is used in a stage, or in any if none is given, is not there for several columns at once.
    pub(super) fn is_scalar(&self, stage: Option<usize>) -> bool {
        let kernel = self.kernel;
        if kernel.is_plain() {
            return false;
        }
        // Neighbors would be added to the same result.
        let last = kernel.axes.len() - 1;
        let crosses = |index: usize| kernel.body[index].reduction().is_some_and(|(_, over)| over.contains(last));
        if (0..kernel.body.len()).any(|index| kernel.is_within(index) && crosses(index)) {
            return true;
        }
        let in_stage = |other: usize| stage.is_none_or(|stage| stage == other);
        let body = kernel.body.iter().filter(|each| in_stage(each.stage)).flat_map(|each| &each.args);
        let copied = kernel.writes.iter().filter(|write| write.copied && in_stage(kernel.copy_stage(write)));
        let written = copied.clone().any(|write| write.mode == Mode::Add && !adds_in_line(kernel, write));
        let mut args = body.chain(copied.map(|write| &write.value));
        written || args.any(|arg| matches!(*arg, Arg::Read(read) if !is_in_line(kernel, read)))
    }

    /// What a row as a whole reads: a number.
    pub(super) fn row_read(&mut self, read: usize) -> Value {
        let view = self.view();
        let point = self.point.clone();
        let mut lanes = Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
        let reg = Reader { view, point: &point, bases: &self.bases, width: Width::One }.read(&mut lanes, read);
        lanes.part(reg, 0)
    }

    /// A position that a row as a whole has.
    pub(super) fn row_index(&mut self, index: usize) -> Value {
        let view = self.view();
        let point = self.point.clone();
        let mut lanes = Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, Width::One);
        let reader = Reader { view, point: &point, bases: &self.bases, width: Width::One };
        let position = reader.whole(&mut lanes, &view.kernel.indices[index], 1);
        self.fb.ins().ireduce(types::I32, position)
    }

    /// Begins the results of a reduction within a row.
    pub(super) fn start_results(&mut self, index: usize, reduction: Reduction, address: Value) {
        self.columns(Trip::Known(self.kernel.results_within(index)), 4, |emit, width, at| {
            let address = emit.fb.ins().iadd(address, at);
            let mut lanes = emit.lanes(width);
            let start = lanes.float(identity(reduction));
            lanes.store(start, address, 0);
        });
    }

    /// Writes the results of a reduction within a row to where they are kept.
    pub(super) fn finish_results(&mut self, index: usize, address: Value) {
        let results = self.kernel.results_within(index);
        for write in self.writes_of(index) {
            let slot = self.slot_written(write).expect("what is stored has a place");
            let before = self.times(self.row, 4 * results as i64);
            let to = self.fb.ins().iadd(self.bases[&slot], before);
            self.columns(Trip::Known(results), 4, |emit, width, at| {
                let (from, to) = (emit.fb.ins().iadd(address, at), emit.fb.ins().iadd(to, at));
                let mut lanes = emit.lanes(width);
                let result = lanes.load(from, 0, false, false);
                lanes.store(result, to, 0);
            });
        }
    }

    /// Zeros for what rows are added to, ahead of the first of them.
    pub(super) fn clear_sums(&mut self) {
        let kernel = self.kernel;
        for write in kernel.writes.iter().filter(|write| write.mode == Mode::Add) {
            let len = self.fused.buffer(write.buffer).shape.len_at(1);
            let slot = self.slot_written(write).expect("what is added to has a place");
            let base = self.bases[&slot];
            let first = self.fb.ins().icmp_imm_s(IntCC::Equal, self.lo, 0);
            let (all, none) = (self.fb.ins().iconst(types::I64, 4 * len as i64), self.fb.ins().iconst(types::I64, 0));
            let bytes = self.fb.ins().select(first, all, none);
            self.columns(Trip::Bytes(bytes), VECTORS, |emit, width, at| {
                let address = emit.fb.ins().iadd(base, at);
                let mut lanes = emit.lanes(width);
                let zero = lanes.float(0.0);
                lanes.store(zero, address, 0);
            });
        }
    }
}

/// Whether a vector of columns may be some at the end and some at the beginning of the lanes of a sum.
pub(super) fn splits_lanes(kernel: &Kernel) -> bool {
    let row = &kernel.axes[kernel.rows..];
    !kernel.is_plain() && row.len() > 1 && !row[row.len() - 1].factor().is_multiple_of(4)
}

/// Whether there are elements of a read for all columns of a run or for none, evenly apart.
fn is_in_line(kernel: &Kernel, read: usize) -> bool {
    let inner = kernel.axes.len() - 1;
    let access = &kernel.reads[read].access;
    let fixed = |index: usize| !kernel.read_axes(index).contains(inner);
    // What is outside reads the beginning of the buffer instead, and must find as many elements there.
    (access.bounds.is_empty() || access.at.steps[inner] >= 0)
        && access.bounds.iter().all(|bound| bound.coordinate.steps[inner] == 0 || cuts_no_run(bound, inner))
        && access.gather.as_ref().is_none_or(|gather| fixed(gather.index))
}

/// Whether a bound begins and ends where runs of columns do, which are worked on at a time: as in parts of a concatenation.
fn cuts_no_run(bound: &Bound, inner: usize) -> bool {
    const { assert!(4 * VECTORS <= LANES) };
    let Bound { coordinate: Affine { constant, steps }, extent } = bound;
    let others = steps.iter().enumerate().filter(|(axis, _)| *axis != inner).map(|(_, step)| step);
    steps[inner] == 1 && others.chain([constant, &(*extent as i64)]).all(|number| number % LANES as i64 == 0)
}

/// Whether neighboring columns are added to neighbors.
fn adds_in_line(kernel: &Kernel, write: &Write) -> bool {
    let inner = kernel.axes.len() - 1;
    let gather = write.access.gather.as_ref();
    write.access.at.steps[inner] == 1 && gather.is_none_or(|gather| !kernel.read_axes(gather.index).contains(inner))
}

/// Finds elements for a point.
pub(super) struct Reader<'a> {
    pub(super) view: View<'a>,
    pub(super) point: &'a Point,
    pub(super) bases: &'a HashMap<Slot, Value>,
    pub(super) width: Width,
}

impl Reader<'_> {
    /// The elements of a read.
    pub(super) fn read(&self, lanes: &mut Lanes<'_, '_>, read: usize) -> Reg {
        let kernel = self.view.kernel;
        let of = &kernel.reads[read];
        let slot = self.view.slot_read(Arg::Read(read), 0).expect("what is read is in memory");
        let base = self.bases[&slot];
        let (address, valid) = match &self.point.places[read] {
            Some(place) => self.locate_from(lanes, base, &of.access, place),
            None => self.locate(lanes, base, &of.access),
        };
        let index = self.view.fused.buffer(of.buffer).dtype.is_index();
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

    /// Adds elements to what lies where a write says.
    pub(super) fn add(&self, lanes: &mut Lanes<'_, '_>, base: Value, write: &Write, value: Reg) {
        let (address, valid) = self.locate(lanes, base, &write.access);
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
        base: Value,
        access: &crate::kernel::Access,
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
            address = lanes.fb.ins().select(valid, address, base);
        }
        (address, valid)
    }

    /// The address of the first element, and whether there are elements, where that is not certain.
    fn locate(&self, lanes: &mut Lanes<'_, '_>, base: Value, access: &crate::kernel::Access) -> (Value, Option<Value>) {
        let offset = self.whole(lanes, &access.at, 4);
        let mut address = lanes.fb.ins().iadd(base, offset);
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
            address = lanes.fb.ins().select(valid, address, base);
        }
        (address, valid)
    }

    /// One number, whatever the width: an index.
    fn number(&self, lanes: &mut Lanes<'_, '_>, read: usize) -> Value {
        let of = &self.view.kernel.reads[read];
        let slot = self.view.slot_read(Arg::Read(read), 0).expect("what is read is in memory");
        let (address, valid) = self.locate(lanes, self.bases[&slot], &of.access);
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
        lanes.parts(|fb, part| {
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
