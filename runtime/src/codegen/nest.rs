//! The loops of kernels of more axes than rows and columns, and of those that read elements in another order than their own.
//!
//! A row number gives the coordinates of the row. The row is a nest of loops, of which the innermost is as wide as what is read
//! allows.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, types};

use super::KernelEmitter;
use super::lanes::{Lanes, Width};
use super::loops::{LANE_BYTES, Trip};
use super::reader::Reader;
use super::recording;
use super::wide::{Run, WideStage};
use crate::ir::ops::Total;
use crate::kernel::{Affine, Arg, Bound, Kernel, LANES, Mode, Write};
use crate::scalar::Scalar;
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
    pub(super) places: Vec<Option<Place>>,
}

/// Where an element is, as far as it is known.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) address: Value,
    /// The coordinates that have bounds.
    pub(super) bounded: Vec<Value>,
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

    /// Emits `body` for the rows from `lo` to before `hi`, of which there is at least one. Coordinates are counted from row to row: to
    /// divide takes as long as a few elements.
    pub(super) fn rows(&mut self, lo: Value, hi: Value, body: &mut dyn FnMut(&mut Self, Value)) {
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
        let more = self.fb.ins().icmp(IntCC::SignedLessThan, next, hi);
        let next: Vec<BlockArg> = std::iter::once(next).chain(after).map(BlockArg::from).collect();
        self.fb.ins().brif(more, head, &next, exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// Moves on to a row from wherever.
    pub(super) fn go_to_row(&mut self, row: Value) {
        if !self.kernel.is_plain() {
            let coordinates = self.coordinates_of(row);
            self.start_row(coordinates);
        }
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
    pub(super) fn points(&mut self, scalar: bool, unroll: usize, body: &mut dyn FnMut(&mut Self, Width, Value)) {
        if self.kernel.is_plain() {
            let trip = self.trip();
            return self.columns(trip, unroll, body);
        }
        self.points_in_runs(scalar, unroll, None, &mut |emit, run, at| match run {
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
        body: &mut dyn FnMut(&mut Self, Run, Value),
    ) {
        self.nest(None, scalar, unroll, wide, body);
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
            // After the first run of the row, columns are in the same lanes only if a run has whole ones.
            emit.lane = emit.lane.filter(|_| !scalar && (offset.is_none() || 4 * extent as i64 % LANE_BYTES == 0));
            let at = offset.map_or(inner, |offset| emit.fb.ins().iadd(offset, inner));
            body(emit, width, at);
            emit.point.inner = None;
        };
        let trip = self.trip_of_row(extent);
        match (scalar, trip) {
            (false, trip) => self.runs(trip, unroll, wide, &mut run),
            (true, Trip::Known(extent)) => {
                self.known(0, 4 * extent as i64, 4, &mut |emit, at| run(emit, Run::Narrow(Width::One), at));
            }
            (true, Trip::Bytes(end) | Trip::Lanes(end)) => {
                let zero = self.fb.ins().iconst(types::I64, 0);
                self.counted(zero, end, 4, true, &mut |emit, at| run(emit, Run::Narrow(Width::One), at));
            }
        }
    }

    /// How far the loop along the innermost axis goes: not to its end, if elements are left out.
    pub(super) fn trip_of_row(&mut self, extent: usize) -> Trip {
        let Some(triangle) = self.kernel.triangle else { return Trip::Known(extent) };
        let row = self.point.row[self.kernel.rows - 1];
        // As `Triangle::worked_on` says: rounded up to whole lanes.
        let (columns, lanes) = (triangle.offset + 1, LANES as i64);
        let end = self.fb.ins().iadd_imm_s(row, columns + lanes - 1);
        let end = self.fb.ins().band_imm_s(end, -(LANES as i64));
        let zero = self.fb.ins().iconst(types::I64, 0);
        let all = self.fb.ins().iconst(types::I64, extent as i64);
        let end = self.fb.ins().smax(end, zero);
        let end = self.fb.ins().smin(end, all);
        let bytes = self.times(end, 4);
        if extent.is_multiple_of(LANES) { Trip::Lanes(bytes) } else { Trip::Bytes(bytes) }
    }

    /// Writes the elements that are left out of a row, in the stage in which the others are written; or of so many, all of which leave out
    /// the same.
    pub(super) fn write_beyond(&mut self, stage: usize, rows: Option<Value>) {
        let kernel = self.kernel;
        let extent = kernel.cols();
        for write in &kernel.writes {
            let Arg::Value(index) = write.value else { continue };
            let Some(beyond) = write.beyond.filter(|_| kernel.body[index].stage == stage) else { continue };
            let (Trip::Bytes(from) | Trip::Lanes(from)) = self.trip_of_row(extent) else { continue };
            let slot = self.slot_written(write).expect("what is stored has a place");
            let start = self.row_bases[&slot];
            let [main, all] = [extent / LANES * LANES, extent].map(|elements| 4 * elements as i64);
            let [mut main, mut end] = [main, all].map(|bytes| self.fb.ins().iconst(types::I64, bytes));
            if beyond.near {
                let near = self.fb.ins().iadd_imm_u(from, LANE_BYTES);
                [main, end] = [main, end].map(|far| self.fb.ins().smin(far, near));
            }
            let rest = (!extent.is_multiple_of(LANES)).then(|| self.fb.ins().smax(from, main));
            let row = |emit: &mut Self, start: Value| {
                let store = |emit: &mut Self, width: Width, at: Value| {
                    let address = emit.fb.ins().iadd(start, at);
                    let mut lanes = emit.lanes(width);
                    let value = lanes.float(beyond.value.value());
                    lanes.store(value, address, 0);
                };
                emit.counted(from, main, LANE_BYTES, true, &mut |emit, at| store(emit, Width::Vectors(VECTORS), at));
                // A row that is all there ends within these.
                if let Some(rest) = rest {
                    emit.counted(rest, end, 4, true, &mut |emit, at| store(emit, Width::One, at));
                }
            };
            match rows {
                None => row(self, start),
                Some(rows) => {
                    let step = self.step_of(recording::Place::Element(slot), kernel.rows - 1, 0);
                    let first = self.fb.ins().iconst(types::I64, 0);
                    self.counted(first, rows, 1, false, &mut |emit, number| {
                        let before = emit.fb.ins().imul_imm_s(number, step);
                        let start = emit.fb.ins().iadd(start, before);
                        row(emit, start);
                    });
                }
            }
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
    pub(super) fn start_results(&mut self, index: usize, total: &Total, address: Value) {
        self.columns(Trip::Known(self.kernel.results_within(index)), 4, &mut |emit, width, at| {
            let address = emit.fb.ins().iadd(address, at);
            let mut lanes = emit.lanes(width);
            let start = lanes.float(total.identity);
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
            self.columns(Trip::Known(results), 4, &mut |emit, width, at| {
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
            let len = self.canonical.added_to(write.buffer);
            let slot = self.slot_written(write).expect("what is added to has a place");
            let base = self.bases[&slot];
            let first = self.fb.ins().icmp_imm_s(IntCC::Equal, self.lo, 0);
            let (all, none) = (self.fb.ins().iconst(types::I64, 4 * len as i64), self.fb.ins().iconst(types::I64, 0));
            let bytes = self.fb.ins().select(first, all, none);
            self.columns(Trip::Bytes(bytes), VECTORS, &mut |emit, width, at| {
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
