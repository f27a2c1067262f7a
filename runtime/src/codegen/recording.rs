//! What happens at every element of a stage, written down for wide vectors: the instructions of the kernel as those of a [`Recorder`],
//! and the numbers and places that they need.

use super::stage::{Progress, Stage};
use super::{Slot, View};
use crate::ir::ops::{Reduction, Total};
use crate::kernel::{Access, Arg, Bound, BufferId, Class, Read};
use crate::scalar::{Reg, Scalar};
use crate::tiling::Prefetch;
use crate::types::DType;
use crate::wide::{Body, Element, Recorder};

/// A number that the function is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// One of the row, or uniform.
    Repeated(Arg),
    /// What a read finds where the innermost axis begins, and all along it.
    Read(usize),
    /// A position where the innermost axis begins, an integer.
    Index(usize),
    /// Whether what a read finds is within its bounds, all along the innermost axis.
    Within(usize),
}

/// A place of which the function is passed the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// The elements here.
    Element(Slot),
    /// The columns here, in every row the same.
    Column(Slot),
    /// Where a read finds them.
    Read(usize),
    /// The lanes of a sum along the row.
    Lanes(Slot),
    /// The results of a reduction within the row, by the place of the instruction.
    Within(Slot, usize),
    /// The numbers of the row, where there is one function for many.
    Kept,
    /// A number of the row, where others are computed from it.
    Row(Slot),
}

/// What was written down of a stage.
pub(super) struct Recorded {
    pub(super) body: Body,
    /// The numbers that the function is passed.
    pub(super) numbers: Vec<Number>,
    /// The places of which it is passed the addresses.
    pub(super) places: Vec<Place>,
    /// Whether its sums along the row end as one number each.
    pub(super) ends: bool,
}

/// How a stage goes through a row.
pub(super) struct Passage<'a> {
    /// Whether rows follow one another in each vector of columns.
    pub(super) down: bool,
    /// What is prefetched meanwhile.
    pub(super) prefetch: Prefetch,
    /// Whether no run of the row comes before, so that its sums begin there.
    pub(super) begins: bool,
    /// Whether none comes after either, nor anything that is left over, so that they end there.
    pub(super) whole: bool,
    /// The values of which there is a number for each row, in their order, if there is one function for many runs: it finds them in memory.
    pub(super) kept: Option<&'a [usize]>,
}

/// Writes down what is computed and what is copied in a stage, if all of it has a wide form; all rows in each vector of columns if it
/// goes down.
pub(super) fn record(
    view: View<'_>,
    stage: usize,
    (steps, copies): (&[usize], &[(Arg, Slot)]),
    Passage { down, prefetch, begins, whole, kept }: Passage<'_>,
) -> Option<Recorded> {
    let mut recording = Recording {
        view,
        stage,
        progress: Progress::new(view.kernel, steps),
        down,
        prefetch,
        kept,
        recorder: if down { Recorder::down() } else { Recorder::default() },
        numbers: Vec::new(),
        places: Vec::new(),
        totals: Vec::new(),
    };
    recording.walk(steps, copies)?;
    let Recording { mut recorder, numbers, places, totals, .. } = recording;
    if begins && !down {
        recorder.start_totals(totals.iter().map(|total| total.identity));
    }
    // What goes into sums of other rows does so lane by lane.
    let over_all = |&index: &usize| view.canonical.lanes.contains_key(&index) && view.kernel.is_over_everything(index);
    let ends = begins && whole && !down && !totals.is_empty() && !steps.iter().any(over_all);
    if ends {
        recorder.end_totals(totals.iter().map(|total| total.combine));
    }
    Some(Recorded { body: recorder.finish(), numbers, places, ends })
}

/// A stage that is being written down. Whatever has no wide form ends it.
struct Recording<'a> {
    view: View<'a>,
    stage: usize,
    progress: Progress,
    /// Whether rows follow one another in each vector of columns.
    down: bool,
    /// What is prefetched meanwhile.
    prefetch: Prefetch,
    kept: Option<&'a [usize]>,
    recorder: Recorder,
    numbers: Vec<Number>,
    places: Vec<Place>,
    /// The sums along the row.
    totals: Vec<Total>,
}

impl Recording<'_> {
    fn number(&mut self, number: Number) -> Reg {
        self.numbers.push(number);
        self.recorder.number()
    }

    /// A number of the row, or a uniform one.
    fn repeated(&mut self, arg: Arg) -> Reg {
        let place = match self.kept_at(arg) {
            Some(at) => Some((Place::Kept, at)),
            None => self.kept.and_then(|_| self.view.number_in_memory(arg)).map(|place| (place, 0)),
        };
        match place {
            Some((place, offset)) => {
                let place = self.place(place, offset);
                self.recorder.each(place)
            }
            None => self.number(Number::Repeated(arg)),
        }
    }

    /// Where a number is among those of the row that are found in memory, in bytes.
    fn kept_at(&self, arg: Arg) -> Option<i32> {
        let at = self.kept?.iter().position(|&kept| Arg::Value(kept) == arg)?;
        Some(4 * at as i32)
    }

    /// Where a number is not 0.
    fn truth(&mut self, number: Reg) -> Reg {
        let zero = self.recorder.int(0);
        let fails = self.recorder.int_eq(number, zero);
        self.recorder.not(fails)
    }

    /// Elements that lie elsewhere than those of the kernel: one after the other, or one for all columns. Bounds are those of
    /// the row as a whole.
    fn read(&mut self, read: usize) -> Option<Reg> {
        let View { kernel, canonical } = self.view;
        let Read { access, buffer, fill, .. } = &kernel.reads[read];
        let along = |bound: &Bound| bound.coordinate.steps.last().is_some_and(|&step| step != 0);
        if access.gather.is_some() || access.bounds.iter().any(along) {
            return None;
        }
        let found = match access.at.steps.last() {
            Some(1) => {
                self.prefetch_next(Place::Read(read), *buffer, access, false);
                self.load(Place::Read(read))
            }
            Some(0) if self.kept.is_some() => {
                let place = self.place(Place::Read(read), 0);
                self.recorder.each(place)
            }
            Some(0) => self.number(Number::Read(read)),
            _ => return None,
        };
        if access.bounds.is_empty() {
            return Some(found);
        }
        // Of many runs, some may be within.
        if self.kept.is_some() {
            return None;
        }
        let within = self.number(Number::Within(read));
        let within = self.truth(within);
        let fill = match canonical.reads_index(read) {
            true => self.recorder.int(fill.value() as i32),
            false => self.recorder.float(fill.value()),
        };
        Some(self.recorder.select(within, found, fill))
    }

    /// Positions along the axes, an integer for each element.
    fn index(&mut self, index: usize) -> Reg {
        let first = self.number(Number::Index(index));
        let step = self.view.kernel.indices[index].steps.last().copied().unwrap_or(0);
        if step == 0 {
            return first;
        }
        let position = self.recorder.position();
        let by = match step {
            1 => position,
            step => {
                let step = self.recorder.int(step as i32);
                self.recorder.int_mul(position, step)
            }
        };
        self.recorder.int_add(first, by)
    }

    fn place(&mut self, place: Place, offset: i32) -> Element {
        let known = self.places.iter().position(|&other| other == place);
        let address = known.unwrap_or_else(|| {
            self.places.push(place);
            match place {
                Place::Column(_) | Place::Element(Slot::Partial(..)) if self.down => self.recorder.column(),
                _ => self.recorder.address(),
            }
        });
        Element { address, offset }
    }

    fn load(&mut self, place: Place) -> Reg {
        let element = self.place(place, 0);
        self.recorder.load(element)
    }

    /// Asks for the elements of the next row that stand below those of this one. Past the last row that does no harm.
    fn prefetch_next(&mut self, place: Place, buffer: BufferId, access: &Access, to_write: bool) {
        let View { kernel, canonical } = self.view;
        let step = kernel.rows.checked_sub(1).map_or(0, |last| access.at.steps[last]);
        let bytes = i32::try_from(4 * step).unwrap_or(0);
        if matches!(self.prefetch, Prefetch::NextRow { .. })
            && bytes != 0
            && kernel.comes_in_rows(access, canonical.is_tile(buffer))
        {
            let element = self.place(place, bytes);
            self.recorder.prefetch(element, to_write);
        }
    }

    /// Asks for the elements of a matrix that are so many after these. Past its last ones that does no harm.
    fn prefetch_ahead(&mut self, slot: Slot, to_write: bool) {
        let Prefetch::Ahead { elements, .. } = self.prefetch else { return };
        if let (Slot::Location(..), false, Ok(bytes)) = (slot, self.down, i32::try_from(4 * elements)) {
            let element = self.place(Place::Element(slot), bytes);
            self.recorder.prefetch(element, to_write);
        }
    }

    /// Whether elements are written where they are read.
    fn overwrites(&self, slot: Slot) -> bool {
        self.view.kernel.writes.iter().any(|write| self.view.slot_written(write) == Some(slot))
    }

    /// The deviations from the shift, and their squares.
    fn moments(&mut self, (at, len): (usize, usize), value: Reg) -> Option<()> {
        let place = Place::Element(Slot::Partial(at, len));
        let stride = i32::try_from(4 * len / 3).ok()?;
        let [shift, sum, squares] = [0, 1, 2].map(|part| self.place(place, part * stride));
        let shift = self.recorder.load(shift);
        let deviation = self.recorder.sub(value, shift);
        for (place, times) in [(sum, None), (squares, Some(deviation))] {
            let number = self.down.then(|| self.recorder.total(place));
            let before = match number {
                Some(number) => self.recorder.total_so_far(number),
                None => self.recorder.load(place),
            };
            let after = match times {
                Some(factor) => self.recorder.mul_add(deviation, factor, before),
                None => self.recorder.add(before, deviation),
            };
            match number {
                Some(number) => self.recorder.set_total(number, after),
                None => self.recorder.store(after, place),
            }
        }
        Some(())
    }

    /// Adds to a total that is in a register all along.
    fn add_to_total(&mut self, place: Element, total: &Total, value: Reg) {
        let number = self.recorder.total(place);
        self.totals.push(*total);
        let so_far = self.recorder.total_so_far(number);
        let after = (total.combine)(&mut self.recorder, value, so_far);
        self.recorder.set_total(number, after);
    }

    fn add_to(&mut self, place: Place, total: &Total, value: Reg) {
        let element = self.place(place, 0);
        let before = self.recorder.load(element);
        let after = (total.combine)(&mut self.recorder, value, before);
        self.recorder.store(after, element);
    }
}

impl<'a> Stage<'a> for Recording<'a> {
    fn view(&self) -> View<'a> {
        self.view
    }

    fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    fn scalar(&mut self) -> &mut dyn Scalar {
        &mut self.recorder
    }

    fn operand(&mut self, arg: Arg, _: bool) -> Option<Reg> {
        let kernel = self.view.kernel;
        let class = match arg {
            Arg::Const(value) => return Some(self.recorder.float(value.value())),
            _ => kernel.arg_class(arg),
        };
        if let Some(&reg) = self.progress.known.get(&arg) {
            return Some(reg);
        }
        let reg = if let Arg::Index(index) = arg {
            self.index(index)
        } else if matches!(class, Class::Row | Class::Single) {
            let truth = |index: usize| kernel.body[index].origin.ty.dtype == DType::Bool;
            match arg {
                Arg::Value(index) if truth(index) => {
                    let number = self.repeated(arg);
                    self.truth(number)
                }
                _ => self.repeated(arg),
            }
        } else if let Arg::Read(read) = arg
            && !kernel.is_plain()
            && !kernel.is_aligned(&kernel.reads[read].access)
        {
            self.read(read)?
        } else {
            let slot = self.view.slot_read(arg, self.stage)?;
            if class == Class::Column {
                self.load(Place::Column(slot))
            } else {
                if !self.overwrites(slot) {
                    self.prefetch_ahead(slot, false);
                }
                self.load(Place::Element(slot))
            }
        };
        self.progress.known.insert(arg, reg);
        Some(reg)
    }

    fn store(&mut self, slot: Slot, value: Reg) {
        if let Slot::Strided(write) = slot {
            let write = &self.view.kernel.writes[write];
            self.prefetch_next(Place::Element(slot), write.buffer, &write.access, true);
        }
        self.prefetch_ahead(slot, true);
        let element = self.place(Place::Element(slot), 0);
        self.recorder.store(value, element);
    }

    fn reduce(&mut self, index: usize, reduction: &Reduction, value: Reg) -> Option<()> {
        let View { kernel, canonical } = self.view;
        let Some(total) = reduction.total() else { return self.moments(canonical.partials[&index], value) };
        if let Some(&at) = canonical.lanes.get(&index) {
            let slot = Slot::Scratch(at);
            if kernel.is_within(index) {
                let along = kernel.place_within(index).steps.last() == Some(&1);
                return along.then(|| self.add_to(Place::Within(slot, index), total, value));
            }
            let Some(_) = self.kept else {
                let lanes = self.place(Place::Lanes(slot), 0);
                self.add_to_total(lanes, total, value);
                return Some(());
            };
            let (number, at) = (self.totals.len(), self.kept_at(Arg::Value(index))?);
            let end = self.place(Place::Kept, at);
            self.add_to_total(end, total, value);
            let writes = kernel.writes.iter().filter(|write| write.value == Arg::Value(index) && !write.copied);
            let slots: Vec<Slot> = writes.filter_map(|write| self.view.slot_written(write)).collect();
            let copies = slots.into_iter().map(|slot| self.place(Place::Row(slot), 0)).collect();
            self.recorder.copy_total(number, copies);
            return Some(());
        }
        let (at, len) = canonical.partials[&index];
        let place = Place::Element(Slot::Partial(at, len));
        if kernel.is_over_everything(index) {
            return None;
        }
        match self.down {
            true => {
                let column = self.place(place, 0);
                self.add_to_total(column, total, value);
            }
            false => self.add_to(place, total, value),
        }
        Some(())
    }
}
