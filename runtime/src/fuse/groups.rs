//! Which kernels run tile by tile: those that pass on what is too much to stay in a cache as a whole.
//!
//! In: kernels, and a [`Budget`]. Out: the same kernels with their groups, and with tiles in place of buffers that nobody else
//! touches. A group saves what its kernels would otherwise write to memory and read from there; it costs what every tile reads
//! again, where the right operands of its products do not stay in the cache together. Neither moves a sum, so no bit depends on
//! what is grouped. The order of kernels changes where one comes forward to a group that writes what it reads: nothing but memory
//! depends on that either. Absent on purpose: how large a tile is, which the tiling decides.

use std::ops::Range;

use super::long_rows::share;
use crate::kernel::{
    BufferId, Count, Fused, Group, Home, Kernel, is_read_by_points, is_written_by_points, joins, parts, verify,
};
use crate::reason::{ApartReason, GroupReason};
use crate::types::{Dim, common_divisor};

/// Most kernels of a group: what one more saves no longer depends on how many there are.
const MOST: usize = 16;

/// Fewest sums over points that are shared between threads: kernels by themselves are shared row by row.
const SUMS: usize = 2;

/// What is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The largest batch.
    pub max_batch: usize,
    /// Bytes that stay in a cache while as many pass through it.
    pub cache: usize,
    /// Rows of a product that are computed in one go anyway: no more of them are no reason for tiles.
    pub rows: usize,
    /// Bytes of a value of which some rows at a time are made rather than all, whatever that saves.
    pub memory: usize,
}

impl Budget {
    /// That of a core of recent years.
    pub const fn new(max_batch: usize) -> Budget {
        Budget { max_batch, cache: 1 << 20, rows: 256, memory: 64 << 20 }
    }
}

/// Forms groups. A kernel that goes on with what a group has written may come forward to it.
pub fn group(fused: Fused, budget: &Budget) -> Fused {
    let fused = share(fused, budget);
    // Nothing passes on much, and no kernel joins another.
    let few = |kernel: &Kernel| kernel.row_count().at(budget.max_batch) <= budget.rows;
    match fused.groups.is_empty() && fused.kernels.iter().all(few) {
        true => fused,
        false => grouped(fused, budget),
    }
}

/// With groups of kernels of more rows than a product computes in one go. Never in line: for smaller programs that is all code that
/// the question needs.
#[inline(never)]
fn grouped(mut fused: Fused, budget: &Budget) -> Fused {
    let mut uses = Uses::of(&fused);
    let mut start = 0;
    while start < fused.kernels.len() {
        if let Some(shared) = fused.group_of(start) {
            start = shared.kernels.end;
            continue;
        }
        let mut grown = grow(&fused, &uses, budget, start);
        while let Some(longer) = with_later(&mut fused, &mut uses, budget, start..grown.end) {
            grown = longer;
        }
        let Grown { group, apart, end } = grown;
        if let Some(apart) = apart.filter(|_| passes_on_much(&fused, budget, start..end, &uses.writers)) {
            fused.apart.push((end, apart));
        }
        if let Some(group) = group {
            let number = fused.groups.partition_point(|other| other.kernels.start < start);
            fused.groups.insert(number, group);
        }
        start = end;
    }
    let Uses { writers, last } = uses;
    for id in (0..fused.buffers.len() as u32).map(BufferId) {
        let group = writers[id.index()].first().and_then(|&writer| fused.group_of(writer));
        if group.is_some_and(|group| is_tile(&fused, group, &writers, &last, id)) {
            fused.buffers[id.index()].home = Home::Tile;
        }
    }
    if cfg!(debug_assertions) {
        verify(&fused).expect("groups keep the order of the kernels");
    }
    fused
}

/// What kernels a group has that begins with one of them.
struct Grown {
    group: Option<Group>,
    /// Why it has not taken the next one, if that is not plain.
    apart: Option<ApartReason>,
    /// The one after its last, or after the kernel that is in none.
    end: usize,
}

/// The longest group that begins with a kernel: by its rows, or several that belong together, such as those of a head; where nothing
/// goes on by those, by samples.
fn grow(fused: &Fused, uses: &Uses, budget: &Budget, start: usize) -> Grown {
    let points = candidates(fused, start);
    let mut apart = if points.is_empty() { Some(ApartReason::Rows) } else { None };
    let mut group: Option<Group> = None;
    for (number, points) in points.into_iter().enumerate() {
        // Samples may save more bytes than rows, but measured they gained nothing, and two threads had nothing to share of one sample.
        // What lies between takes further what goes on by rows.
        if number > 0 && group.is_some() == (points == Dim::B) {
            continue;
        }
        let mut growing = Growing::new(fused, (&uses.writers, &uses.last), budget, start, points);
        while growing.takes_next() {}
        let reason = growing.apart;
        let end = group.as_ref().map_or(start, |group| group.kernels.end);
        let longer = growing.finished().filter(|group| group.kernels.end > end);
        if longer.is_some() || group.is_none() {
            (group, apart) = (longer, reason);
        }
    }
    let end = group.as_ref().map_or(start + 1, |group| group.kernels.end);
    Grown { group, apart, end }
}

/// How many kernels after the next one are looked at.
const LOOKAHEAD: usize = 4;

/// What a group becomes if a kernel comes forward to it that reads what it has written, past others that have nothing to do with that
/// one. Gradients by weights stand there, which add up over all points, between a gradient and the next.
fn with_later(fused: &mut Fused, uses: &mut Uses, budget: &Budget, group: Range<usize>) -> Option<Grown> {
    let Range { start, end } = group;
    let last = fused.kernels.len().min(end + 1 + LOOKAHEAD);
    (end + 1..last).find_map(|from| {
        let written = |buffer: BufferId| uses.writers[buffer.index()].iter().any(|writer| group.contains(writer));
        if !fused.kernels[from].buffers_read().any(written) || !may_come(fused, from, end) {
            return None;
        }
        fused.kernels[end..=from].rotate_right(1);
        uses.moved(fused, end..from + 1);
        let grown = grow(fused, uses, budget, start);
        if grown.end > end {
            return Some(grown);
        }
        fused.kernels[end..=from].rotate_left(1);
        uses.moved(fused, end..from + 1);
        None
    })
}

/// Whether a kernel may run before those that stand from `to` on, and the loss is known then if it was before.
fn may_come(fused: &Fused, from: usize, to: usize) -> bool {
    let crosses = fused.check.is_some_and(|check| to < check && check <= from);
    !crosses && is_free(fused, from, to)
}

/// Whether a kernel may run before those that stand from `to` on, none of which runs together with others.
pub(super) fn is_free(fused: &Fused, from: usize, to: usize) -> bool {
    let together = (to..=from).any(|index| fused.loop_of(index).is_some() || fused.group_of(index).is_some());
    let kernel = &fused.kernels[from];
    let written = |kernel: &Kernel| -> Vec<(BufferId, bool)> {
        kernel.writes.iter().map(|write| (write.buffer, write.part)).collect()
    };
    let own = written(kernel);
    // Parts of a whole are apart from one another.
    let same = |&(x, x_part): &(BufferId, bool), &(y, y_part): &(BufferId, bool)| x == y && !(x_part && y_part);
    !together
        && fused.kernels[to..from].iter().all(|other| {
            let others = written(other);
            let reads = kernel.buffers_read().any(|buffer| others.iter().any(|(other, _)| *other == buffer));
            let is_read = other.buffers_read().any(|buffer| own.iter().any(|(own, _)| *own == buffer));
            !reads && !is_read && !own.iter().any(|own| others.iter().any(|other| same(own, other)))
        })
}

/// Which kernels use a buffer.
struct Uses {
    /// Those that write it for others, in order.
    writers: Vec<Vec<usize>>,
    /// The last one.
    last: Vec<usize>,
}

impl Uses {
    fn of(fused: &Fused) -> Uses {
        Uses { writers: fused.writers(), last: fused.last_uses() }
    }

    /// After some kernels have changed places.
    fn moved(&mut self, fused: &Fused, kernels: Range<usize>) {
        for index in kernels.clone() {
            let kernel = &fused.kernels[index];
            let written = kernel.writes.iter().map(|write| write.buffer);
            for buffer in written.clone().filter(|&buffer| fused.is_computed(buffer)) {
                let writes = |&other: &usize| fused.kernels[other].writes.iter().any(|write| write.buffer == buffer);
                let writers = &mut self.writers[buffer.index()];
                writers.retain(|writer| !kernels.contains(writer));
                writers.extend(kernels.clone().filter(writes));
                writers.sort_unstable();
            }
            for buffer in kernel.buffers_read().chain(written) {
                // The last of them to use it comes last.
                if kernels.contains(&self.last[buffer.index()]) {
                    self.last[buffer.index()] = index;
                }
            }
        }
    }
}

/// What the points of a group may be that begins with a kernel: its rows; where rows have to do with one another those along some of
/// its outer axes, or whole samples.
fn candidates(fused: &Fused, start: usize) -> Vec<Dim> {
    // A loop is cut by samples anyway.
    if [start, start + 1].into_iter().any(|index| fused.loop_of(index).is_some()) {
        return Vec::new();
    }
    let Dim::Batch(rows) = fused.kernels[start].row_count() else { return Vec::new() };
    let next = fused.kernels.get(start + 1).map(Kernel::row_count);
    let Some(Dim::Batch(next)) = next.filter(|next| next.factor() > 0 && rows > 0) else { return Vec::new() };
    let finest = common_divisor(rows, next);
    let axes = &fused.kernels[start].axes[..fused.kernels[start].rows];
    let outer = (1..axes.len()).rev().filter_map(|count| Dim::product(&axes[..count])).map(Dim::factor);
    let mut points: Vec<usize> =
        [finest].into_iter().chain(outer.filter(|points| finest.is_multiple_of(*points))).collect();
    points.push(1);
    points.sort_unstable_by(|x, y| y.cmp(x));
    points.dedup();
    points.into_iter().map(Dim::Batch).collect()
}

/// Whether the kernel after some others reads of what they write more rows than are computed in one go.
fn passes_on_much(fused: &Fused, budget: &Budget, kernels: Range<usize>, writers: &[Vec<usize>]) -> bool {
    let Some(next) = fused.kernels.get(kernels.end) else { return false };
    let in_loop = fused.loop_of(kernels.start).is_some() || fused.loop_of(kernels.end).is_some();
    let is_much = |buffer: BufferId| {
        let by_rows = |writer: usize| {
            let kernel = &fused.kernels[writer];
            let mut writes = kernel.writes.iter().filter(|write| write.buffer == buffer);
            kernel.row_count().at(budget.max_batch) > budget.rows && writes.all(|write| !kernel.is_written_later(write))
        };
        let batch = fused.buffer(buffer).shape.len().is_some_and(|len| len.is_batch());
        batch && writers[buffer.index()].iter().any(|&writer| kernels.contains(&writer) && by_rows(writer))
    };
    !in_loop && next.buffers_read().any(is_much)
}

/// A group while it takes one kernel after another.
struct Growing<'a> {
    fused: &'a Fused,
    /// For each buffer, the kernels that write it.
    writers: &'a [Vec<usize>],
    /// For each buffer, the last kernel that reads it.
    last_uses: &'a [usize],
    budget: &'a Budget,
    group: Group,
    /// The right operands of its products, in bytes, and those of them that stay in the cache by themselves.
    right: [usize; 2],
    /// Why it has not taken the kernel after its last, if it was asked and that is not plain.
    apart: Option<ApartReason>,
}

impl<'a> Growing<'a> {
    fn new(
        fused: &'a Fused,
        (writers, last_uses): (&'a [Vec<usize>], &'a [usize]),
        budget: &'a Budget,
        start: usize,
        points: Dim,
    ) -> Growing<'a> {
        let kernel = &fused.kernels[start];
        let rows = parts(kernel.row_count(), points).expect("the points are some that its rows can have");
        let reason = GroupReason::Passed { saved: [0; 2], reread: 0 };
        let (kernels, sums) = (start..start + 1, Vec::new());
        let group = Group { kernels, loops: loops(kernel, points), rows: vec![rows], sums, shared: false, reason };
        Growing { fused, writers, last_uses, budget, group, right: right_operand(kernel, budget), apart: None }
    }

    /// Takes the kernel after its last, if that is possible and saves more than it costs.
    fn takes_next(&mut self) -> bool {
        self.apart = None;
        let next = self.group.kernels.end;
        let single = self.fused.loop_of(next).is_none() && self.fused.group_of(next).is_none();
        let Some(kernel) = self.fused.kernels.get(next).filter(|_| single) else { return false };
        let Some(rows) = parts(kernel.row_count(), self.group.points()) else {
            self.apart = Some(ApartReason::Rows);
            return false;
        };
        if self.takes(next, rows) {
            return true;
        }
        let apart = self.apart;
        let of_sum = self.group.loops.last().map_or(0, |dim| dim.factor());
        // One thread adds up all terms of a sum.
        if self.group.points().at(self.budget.max_batch) < SUMS * of_sum {
            return false;
        }
        self.group.sums.push(next);
        let taken = self.takes(next, 0);
        if !taken {
            self.group.sums.pop();
            self.apart = apart;
        }
        taken
    }

    /// Takes the kernel after its last with so many rows of each point, or with none if it adds up over them.
    fn takes(&mut self, next: usize, rows: usize) -> bool {
        let before = self.streamed_again();
        self.group.rows.push(rows);
        self.group.kernels.end += 1;
        let own = right_operand(&self.fused.kernels[next], self.budget);
        let right = [0, 1].map(|part| self.right[part].saturating_add(own[part]));
        let more =
            (self.reread(right) - self.reread(self.right)).saturating_add(self.streamed_again().saturating_sub(before));
        let taken = self.is_large(next) && self.can_take(next) && {
            self.apart = self.refusal(next, more);
            self.apart.is_none()
        };
        if taken {
            self.right = right;
        } else {
            self.group.rows.pop();
            self.group.kernels.end -= 1;
        }
        taken
    }

    /// Why the kernel that has just been put to the others, and could run with them, had better not.
    fn refusal(&self, next: usize, more: usize) -> Option<ApartReason> {
        let saved = self.passed_to(next);
        let large = || {
            let passed = passed(self.fused, &self.group, next, self.writers).into_iter();
            passed.filter_map(|buffer| self.tile(buffer)).filter(|bytes| *bytes > self.budget.cache).max()
        };
        match () {
            () if self.group.kernels.len() > MOST => Some(ApartReason::Long),
            () if saved > more => None,
            () => Some(large().map_or(ApartReason::Costly { saved: saved as u64, reread: more as u64 }, |bytes| {
                ApartReason::Large(bytes as u64)
            })),
        }
    }

    /// Whether a kernel has more rows than are computed in one go, and its group more than one point.
    fn is_large(&self, index: usize) -> bool {
        let Budget { max_batch, rows, .. } = *self.budget;
        let whole = self.group.whole(self.fused);
        self.fused.kernels[index].row_count().at(max_batch) > rows && self.group.points().at(max_batch) > whole
    }

    /// Whether the kernel that has just been put to the others can run with them.
    fn can_take(&mut self, next: usize) -> bool {
        let start = self.group.kernels.start;
        let read = passed(self.fused, &self.group, next, self.writers).into_iter();
        let mut elsewhere = read.filter(|&buffer| {
            let mut writers = self.writers[buffer.index()].iter().filter(|writer| (start..next).contains(*writer));
            let passes =
                |at: fn(&Fused, &Group, usize, BufferId) -> bool, index| at(self.fused, &self.group, index, buffer);
            writers.any(|&writer| !passes(is_written_by_points, writer)) || !passes(is_read_by_points, next)
        });
        if let Some(buffer) = elsewhere.next() {
            self.apart = Some(ApartReason::Points(self.fused.buffer(buffer).origin));
            return false;
        }
        let joins = |index: usize| joins(self.fused, &self.group, index, self.writers).is_ok();
        (next > start + 1 || joins(next - 1)) && joins(next)
    }

    /// The bytes that a kernel reads while they are in the cache, as an earlier one of the group has just written them; twice
    /// those that need not be written either.
    fn passed_to(&self, index: usize) -> usize {
        let bytes = |buffer| Count::bytes(&self.fused.buffer(buffer).shape).at(self.budget.max_batch) as usize;
        let passed = passed(self.fused, &self.group, index, self.writers).into_iter();
        let times = |buffer: BufferId| if self.last_uses[buffer.index()] == index { 2 } else { 1 };
        let stays = passed.filter(|&buffer| self.stays(buffer));
        stays.map(|buffer| bytes(buffer).saturating_mul(times(buffer))).fold(0, usize::saturating_add)
    }

    /// Whether what a buffer has for the smallest tile stays in the cache.
    fn stays(&self, buffer: BufferId) -> bool {
        self.tile(buffer).is_some_and(|bytes| bytes <= self.budget.cache)
    }

    /// Bytes of a buffer for the smallest tile.
    fn tile(&self, buffer: BufferId) -> Option<usize> {
        let part = self.group.part_of(self.fused, buffer)?;
        Some(part.saturating_mul(4).saturating_mul(self.group.whole(self.fused)))
    }

    /// How many tiles there are of as many rows as a product computes in one go.
    fn tiles(&self) -> usize {
        let most = self.group.rows.iter().max().map_or(1, |rows| (*rows).max(1));
        self.group.points().at(self.budget.max_batch) / (self.budget.rows / most).max(1)
    }

    /// What all tiles read again of right operands that would stay in the cache if their products ran one after the other.
    fn reread(&self, [all, staying]: [usize; 2]) -> usize {
        if all > self.budget.cache { staying.saturating_mul(self.tiles()) } else { 0 }
    }

    /// What they read again of right operands that do not stay there, because tiles have fewer rows than a product computes in one go. In
    /// the form of Winograd that is an image or less anyway.
    fn streamed_again(&self) -> usize {
        let Budget { max_batch, cache, rows, .. } = *self.budget;
        let tiles = self.tiles();
        let streamed = self.group.kernels.clone().map(|index| {
            let kernel = &self.fused.kernels[index];
            let [bytes, _] = right_operand(kernel, self.budget);
            let alone = kernel.row_count().at(max_batch).div_ceil(rows.max(1));
            let is_streamed = bytes > cache && kernel.winograd_windows().is_none();
            if is_streamed { bytes.saturating_mul(tiles.saturating_sub(alone)) } else { 0 }
        });
        streamed.fold(0, usize::saturating_add)
    }

    fn finished(mut self) -> Option<Group> {
        if self.group.kernels.len() < 2 {
            return None;
        }
        let mut saved = Count::default();
        let mut seen: Vec<BufferId> = Vec::new();
        for index in self.group.kernels.clone() {
            let passed = passed(self.fused, &self.group, index, self.writers);
            for buffer in passed.into_iter().filter(|&buffer| self.stays(buffer)) {
                let bytes = Count::bytes(&self.fused.buffer(buffer).shape);
                saved += bytes;
                if !seen.contains(&buffer) && is_tile(self.fused, &self.group, self.writers, self.last_uses, buffer) {
                    saved += bytes;
                }
                seen.push(buffer);
            }
        }
        let reread = if self.right[0] > self.budget.cache { self.right[1] as u64 } else { 0 };
        self.group.reason = GroupReason::Passed { saved: [saved.fixed, saved.batch], reread };
        Some(self.group)
    }
}

/// What a kernel reads that an earlier one of its group writes.
fn passed(fused: &Fused, group: &Group, index: usize, writers: &[Vec<usize>]) -> Vec<BufferId> {
    let mut passed: Vec<BufferId> = Vec::new();
    for buffer in fused.kernels[index].buffers_read() {
        let inside = writers[buffer.index()].iter().any(|writer| (group.kernels.start..index).contains(writer));
        if inside && !passed.contains(&buffer) {
            passed.push(buffer);
        }
    }
    passed
}

/// The loops of a group of so many points that begins with a kernel: its own outermost axes, where they are that many.
pub(super) fn loops(kernel: &Kernel, points: Dim) -> Vec<Dim> {
    let all = (1..=kernel.rows).map(|count| &kernel.axes[..count]);
    let own = all.into_iter().find(|axes| Dim::product(axes) == Some(points));
    own.map_or(vec![points], <[Dim]>::to_vec)
}

/// The bytes of the right operand of a kernel's product, and those of them that stay in the cache.
fn right_operand(kernel: &Kernel, budget: &Budget) -> [usize; 2] {
    let bytes = kernel.dot.as_ref().map_or(0, |dot| {
        let bytes = 4usize.saturating_mul(dot.inner().at(budget.max_batch)).saturating_mul(kernel.cols());
        // In the form of Winograd, of each 3 x 3 taps 4 x 4 numbers are made.
        if kernel.winograd_windows().is_some() { bytes / 9 * 16 } else { bytes }
    });
    [bytes, if bytes <= budget.cache { bytes } else { 0 }]
}

/// Whether a buffer is touched by kernels of one group alone, point by point.
pub(super) fn is_tile(fused: &Fused, group: &Group, writers: &[Vec<usize>], last_uses: &[usize], id: BufferId) -> bool {
    let (Some(&first), last) = (writers[id.index()].first(), last_uses[id.index()]) else { return false };
    let read = |&index: &usize| fused.kernels[index].buffers_read().any(|buffer| buffer == id);
    let points = |&writer: &usize| group.kernels.contains(&writer) && is_written_by_points(fused, group, writer, id);
    writers[id.index()].last().is_some_and(|&writer| last > writer)
        && group.kernels.contains(&last)
        && writers[id.index()].iter().all(points)
        && (first + 1..=last).filter(read).all(|index| is_read_by_points(fused, group, index, id))
}
