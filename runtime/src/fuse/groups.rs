//! Which kernels run tile by tile: those that pass on what is too much to stay in a cache as a whole.
//!
//! In: kernels, and a [`Budget`]. Out: the same kernels with their groups, and with tiles in place of buffers that nobody else
//! touches. A group saves what its kernels would otherwise write to memory and read from there; it costs what every tile reads
//! again, where the right operands of its products do not stay in the cache together. Neither moves a sum, so no bit depends on
//! what is grouped. Absent on purpose: how large a tile is, which the tiling decides.

use crate::kernel::{
    BufferId, Count, Fused, Group, Home, Kernel, is_read_by_points, is_written_by_points, joins, parts, verify,
};
use crate::reason::GroupReason;
use crate::types::{Dim, common_divisor};

/// Most kernels of a group: what one more saves no longer depends on how many there are.
const MOST: usize = 16;

/// What is large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The largest batch.
    pub max_batch: usize,
    /// Bytes that stay in a cache while as many pass through it.
    pub cache: usize,
    /// Rows of a product that are computed in one go anyway: no more of them are no reason for tiles.
    pub rows: usize,
}

impl Budget {
    /// That of a core of recent years.
    pub const fn new(max_batch: usize) -> Budget {
        Budget { max_batch, cache: 1 << 20, rows: 256 }
    }
}

/// Forms groups.
pub fn group(mut fused: Fused, budget: &Budget) -> Fused {
    let (writers, last_uses) = (fused.writers(), fused.last_uses());
    let mut start = 0;
    while start < fused.kernels.len() {
        let found = candidates(&fused, start).into_iter().find_map(|points| {
            let mut growing = Growing::new(&fused, (&writers, &last_uses), budget, start, points);
            while growing.takes_next() {}
            growing.finished()
        });
        start = found.as_ref().map_or(start + 1, |group| group.kernels.end);
        fused.groups.extend(found);
    }
    for id in (0..fused.buffers.len() as u32).map(BufferId) {
        let group = writers[id.index()].and_then(|writer| fused.group_of(writer));
        if group.is_some_and(|group| is_tile(&fused, group, &writers, &last_uses, id)) {
            fused.buffers[id.index()].home = Home::Tile;
        }
    }
    if cfg!(debug_assertions) {
        verify(&fused).expect("groups keep the order of the kernels");
    }
    fused
}

/// What the points of a group may be that begins with a kernel: its rows, or whole samples where rows have to do with one another.
fn candidates(fused: &Fused, start: usize) -> Vec<Dim> {
    // A loop is cut by samples anyway.
    if [start, start + 1].into_iter().any(|index| fused.loop_of(index).is_some()) {
        return Vec::new();
    }
    let Dim::Batch(rows) = fused.kernels[start].row_count() else { return Vec::new() };
    let next = fused.kernels.get(start + 1).map(Kernel::row_count);
    let Some(Dim::Batch(next)) = next.filter(|next| next.factor() > 0 && rows > 0) else { return Vec::new() };
    let mut points = vec![common_divisor(rows, next), 1];
    points.dedup();
    points.into_iter().map(Dim::Batch).collect()
}

/// A group while it takes one kernel after another.
struct Growing<'a> {
    fused: &'a Fused,
    /// For each buffer, the kernel that writes it.
    writers: &'a [Option<usize>],
    /// For each buffer, the last kernel that reads it.
    last_uses: &'a [usize],
    budget: &'a Budget,
    group: Group,
    /// The right operands of its products, in bytes, and those of them that stay in the cache by themselves.
    right: [usize; 2],
}

impl<'a> Growing<'a> {
    fn new(
        fused: &'a Fused,
        (writers, last_uses): (&'a [Option<usize>], &'a [usize]),
        budget: &'a Budget,
        start: usize,
        points: Dim,
    ) -> Growing<'a> {
        let kernel = &fused.kernels[start];
        let rows = parts(kernel.row_count(), points).expect("the points are some that its rows can have");
        let reason = GroupReason { saved: [0; 2], reread: 0 };
        let group = Group { kernels: start..start + 1, loops: loops(kernel, points), rows: vec![rows], reason };
        Growing { fused, writers, last_uses, budget, group, right: right_operand(kernel, budget) }
    }

    /// Takes the kernel after its last, if that is possible and saves more than it costs.
    fn takes_next(&mut self) -> bool {
        let next = self.group.kernels.end;
        let Some(kernel) = self.fused.kernels.get(next).filter(|_| self.fused.loop_of(next).is_none()) else {
            return false;
        };
        let Some(rows) = parts(kernel.row_count(), self.group.points()) else { return false };
        self.group.rows.push(rows);
        self.group.kernels.end += 1;
        let own = right_operand(kernel, self.budget);
        let right = [0, 1].map(|part| self.right[part].saturating_add(own[part]));
        let more = self.reread(right) - self.reread(self.right);
        let taken = self.group.kernels.len() <= MOST
            && self.is_large(next)
            && self.can_take(next)
            && self.passed_to(next) > more;
        if taken {
            self.right = right;
        } else {
            self.group.rows.pop();
            self.group.kernels.end -= 1;
        }
        taken
    }

    /// Whether a kernel has more rows than are computed in one go, and its group more than one point.
    fn is_large(&self, index: usize) -> bool {
        let Budget { max_batch, rows, .. } = *self.budget;
        self.fused.kernels[index].row_count().at(max_batch) > rows && self.group.points().at(max_batch) > 1
    }

    /// Whether the kernel that has just been put to the others can run with them.
    fn can_take(&self, next: usize) -> bool {
        let joins = |index: usize| joins(self.fused, &self.group, index, self.writers).is_ok();
        (next > self.group.kernels.start + 1 || joins(next - 1)) && joins(next)
    }

    /// The bytes that a kernel reads while they are in the cache, as an earlier one of the group has just written them; twice
    /// those that need not be written either.
    fn passed_to(&self, index: usize) -> usize {
        let bytes = |buffer| Count::bytes(&self.fused.buffer(buffer).shape).at(self.budget.max_batch) as usize;
        let passed = passed(self.fused, &self.group, index, self.writers).into_iter();
        let times = |buffer: BufferId| if self.last_uses[buffer.index()] == index { 2 } else { 1 };
        let moved = passed.map(|buffer| bytes(buffer).saturating_mul(times(buffer)));
        moved.fold(0, usize::saturating_add)
    }

    /// What all tiles read again of right operands that would stay in the cache if their products ran one after the other.
    fn reread(&self, [all, staying]: [usize; 2]) -> usize {
        let points = self.group.points().at(self.budget.max_batch);
        let rows = self.group.rows.iter().max().map_or(0, |rows| points.saturating_mul(*rows));
        let tiles = rows / self.budget.rows.max(1);
        if all > self.budget.cache { staying.saturating_mul(tiles) } else { 0 }
    }

    fn finished(mut self) -> Option<Group> {
        if self.group.kernels.len() < 2 {
            return None;
        }
        let mut saved = Count::default();
        let mut seen: Vec<BufferId> = Vec::new();
        for index in self.group.kernels.clone() {
            for buffer in passed(self.fused, &self.group, index, self.writers) {
                let bytes = Count::bytes(&self.fused.buffer(buffer).shape);
                saved += bytes;
                if !seen.contains(&buffer) && is_tile(self.fused, &self.group, self.writers, self.last_uses, buffer) {
                    saved += bytes;
                }
                seen.push(buffer);
            }
        }
        let reread = if self.right[0] > self.budget.cache { self.right[1] as u64 } else { 0 };
        self.group.reason = GroupReason { saved: [saved.fixed, saved.batch], reread };
        Some(self.group)
    }
}

/// What a kernel reads that an earlier one of its group writes.
fn passed(fused: &Fused, group: &Group, index: usize, writers: &[Option<usize>]) -> Vec<BufferId> {
    let mut passed: Vec<BufferId> = Vec::new();
    for buffer in fused.kernels[index].buffers_read() {
        let inside = writers[buffer.index()].is_some_and(|writer| group.kernels.contains(&writer));
        if inside && !passed.contains(&buffer) {
            passed.push(buffer);
        }
    }
    passed
}

/// The loops of a group of so many points that begins with a kernel: its own outermost axes, where they are that many.
fn loops(kernel: &Kernel, points: Dim) -> Vec<Dim> {
    let all = (1..=kernel.rows).map(|count| &kernel.axes[..count]);
    let own = all.into_iter().find(|axes| Dim::product(axes) == Some(points));
    own.map_or(vec![points], <[Dim]>::to_vec)
}

/// The bytes of the right operand of a kernel's product, and those of them that stay in the cache.
fn right_operand(kernel: &Kernel, budget: &Budget) -> [usize; 2] {
    let bytes = kernel
        .dot
        .as_ref()
        .map_or(0, |dot| 4usize.saturating_mul(dot.inner().at(budget.max_batch)).saturating_mul(kernel.cols()));
    [bytes, if bytes <= budget.cache { bytes } else { 0 }]
}

/// Whether a buffer is touched by kernels of one group alone, point by point.
fn is_tile(fused: &Fused, group: &Group, writers: &[Option<usize>], last_uses: &[usize], id: BufferId) -> bool {
    let (Some(writer), last) = (writers[id.index()], last_uses[id.index()]) else { return false };
    let read = |&index: &usize| fused.kernels[index].buffers_read().any(|buffer| buffer == id);
    last > writer
        && group.kernels.contains(&last)
        && is_written_by_points(fused, group, writer, id)
        && (writer + 1..=last).filter(read).all(|index| is_read_by_points(fused, group, index, id))
}
