//! What may run at the same time: a program cut into regions for several threads.
//!
//! In: kernels and where everything lies. Out: regions. The tasks of a parallel region are cut into units that any thread may take in
//! any order; when all are done, one thread does what is left: last stages of reductions, of which units have merged what is their
//! own, and kernels too small to share. The next region begins only then. The cut of what is added up follows the problem alone. Some
//! units follow the number of threads: rows or columns of one result, and several blocks, whose sums are merged in the order that they
//! have by themselves. No bit depends on it. Two kernels share a parallel region where neither writes memory that the other touches.
//! Products of so few rows that they would be one unit are cut by columns instead, and groups of so few points kernel by kernel.

use std::collections::HashSet;
use std::ops::Range;

use super::merged::MergedAhead;
use super::touched::{Access, MemoryRegion, Touched};
use super::{Content, Location, Plan, padded};
use crate::kernel::{BufferId, Fused, Kernel};
use crate::microkernels::winograd::{self, SIDE};
use crate::tiling::COLUMNS;
use crate::tiling::matmul::Ahead;
use crate::types::Dim;

/// Parts of a tile that threads share, if it has so many, and fewest rows or columns of one: whole panels of every instruction set.
const UNITS_OF_TILE: usize = 32;
const LEAST_OF_TILE: usize = 64;

/// What runs between two points at which all threads meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParallelRegion {
    /// What is shared.
    pub tasks: Vec<Task>,
    /// What one thread does when all that is done, in order.
    pub tail: Vec<Last>,
    /// Whether the loss is known then, and looked at.
    pub check: bool,
    /// Whether it runs once for each of some tiles.
    pub tiles: Option<SharedTiles>,
}

/// Work that is cut into units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Whose. The first of a group stands for all of it.
    pub kernel: usize,
    /// What.
    pub work: Work,
    /// How many rows, rows of positions or columns of the right operand a unit has.
    pub unit: usize,
    /// Batches of up to so many rows are cut in another way: they have units of [`Work::Columns`] or [`Work::Member`] and none of
    /// [`Work::Rows`]; nor is anything packed for so few.
    pub skinny: usize,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Rearranges so many columns of the right operand, where there are rows enough to repay it.
    Pack,
    /// Adds up so many rows of positions of a gradient in the form of Winograd, for some images by themselves.
    Sums {
        /// How many images those are.
        images: usize,
    },
    /// Adds up the sums of all images: so many rows of positions.
    Fold,
    /// Computes so many columns of the product of few rows; what follows the product is left to the end of the region.
    Columns,
    /// Computes blocks of rows of one kernel of a group, of which there is a single tile.
    Member,
    /// Computes blocks of rows, of all kernels of a group.
    Rows,
    /// Computes a part of one kernel of a group whose tiles are shared: tile by tile.
    Tile {
        /// Which.
        part: TilePart,
        /// How many columns or rows all parts of a tile have.
        extent: usize,
    },
}

/// A part of a shared tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TilePart {
    /// Columns of a product.
    Columns,
    /// Rows of a product.
    Rows,
    /// Blocks of what follows the product, or of a kernel without one.
    Blocks,
}

/// The tiles that a region, with its neighbors of the same group, runs once for each of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedTiles {
    /// The first kernel of the group.
    pub kernel: usize,
    /// How many points there are.
    pub points: Dim,
    /// How many a tile has.
    pub of_tile: usize,
}

/// What one thread does after the tasks of a parallel region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The blocks of some kernels of a run, one after the other, if the first has few rows: what follows its product, which the
    /// tasks have computed by columns; or all of them, if they come ahead of the first such product.
    Skinny(Skinny),
    /// The last stages of reductions.
    Finish {
        /// Of which kernel.
        kernel: usize,
        /// What its units have merged of them.
        ahead: Option<MergedAhead>,
    },
    /// All of a kernel, or of the group that begins with it.
    Run(usize),
}

/// Kernels of a run where there are few rows: those from one product that is cut by columns up to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skinny {
    /// The first of them.
    pub from: usize,
    /// The one after the last.
    pub to: usize,
    /// Most rows of the first that are few.
    pub rows: usize,
    /// Whether the product of the first is one that the tasks have computed.
    pub follows: bool,
}

impl Task {
    /// What it is cut along: rows of its kernel, or images where their sums are made.
    pub fn rows(self, kernel: &Kernel) -> Dim {
        let winograd = kernel.dot.as_ref().and_then(|dot| dot.winograd.as_ref());
        winograd
            .filter(|_| matches!(self.work, Work::Sums { .. }))
            .map_or(kernel.row_count(), |winograd| winograd.images)
    }

    /// How many units there are of so many rows and columns.
    pub fn units(self, rows: usize, cols: usize) -> usize {
        match self.work {
            Work::Columns | Work::Member if rows > self.skinny => 0,
            Work::Pack | Work::Sums { .. } | Work::Fold | Work::Rows if rows <= self.skinny => 0,
            Work::Sums { images } => rows.div_ceil(images) * (SIDE / self.unit),
            Work::Fold => SIDE / self.unit,
            Work::Pack | Work::Columns => cols.div_ceil(self.unit),
            Work::Member | Work::Rows => rows.div_ceil(self.unit),
            Work::Tile { extent, .. } => extent.div_ceil(self.unit),
        }
    }
}

/// How many parts a gradient in the form of Winograd has at most.
fn parts(fused: &Fused, plan: &Plan, index: usize) -> usize {
    let winograd = fused.kernels[index].dot.as_ref().and_then(|dot| dot.winograd.as_ref());
    winograd.map_or(1, |winograd| winograd.parts(plan.max_batch))
}

/// Rows of positions of a gradient that a unit adds up: all of them if there are parts enough for all threads, since the first one then
/// leaves the images in a cache for the others.
fn positions(fused: &Fused, plan: &Plan, index: usize) -> usize {
    let threads = plan.tiling.machine.cores.div_ceil(parts(fused, plan, index)).next_power_of_two();
    SIDE / threads.min(SIDE)
}

/// Cuts a program into regions.
pub fn parallel_regions(fused: &Fused, plan: &Plan) -> Vec<ParallelRegion> {
    let mut regions = Regions { regions: Vec::new(), touched: Touched::default(), first: 0, sealed: HashSet::new() };
    for run in fused.runs().filter(|run| !plan.tiling.kernels[run.start].is_kept()) {
        if fused.check == Some(run.start) {
            regions.check();
        }
        regions.add_run(fused, plan, run);
    }
    if fused.check == Some(fused.kernels.len()) {
        regions.check();
    }
    regions.regions
}

impl Regions {
    /// Adds kernels that run together: a group, or one that is in none.
    fn add_run(&mut self, fused: &Fused, plan: &Plan, run: Range<usize>) {
        let first = run.start;
        let mut access = Access::default();
        run.clone().for_each(|index| access.extend(&Access::of(fused, plan, index)));
        let units = plan.tiling.units(fused, first);
        if fused.is_shared(first) && units.alone.is_none() {
            return self.add_shared(fused, plan, run, access);
        }
        let rows_of = |index: usize| fused.kernels[index].row_count().at(plan.max_batch);
        // Products that are cut by columns where rows are few.
        let columns = |index: usize| {
            let columns = plan.tiling.kernels[index].units.columns.filter(|_| units.columns.is_some());
            columns.map(|columns| columns.number)
        };
        let mut columned: Vec<usize> = run.clone().filter(|&index| columns(index).is_some()).collect();
        if columned.len() == 1 && self.has_columns(self.earliest_for_columns(&access, columned[0] > first)) {
            columned.clear();
        }
        let last = run.clone().rfind(|&index| fused.kernels[index].dot.is_some()).unwrap_or(first);
        let one_block = rows_of(last) <= fused.kernels[last].block && columned.is_empty();
        let in_loop = fused.loop_of(first).is_some();
        if units.alone.is_some() || one_block && !in_loop {
            return self.add_last(Last::Run(first), access);
        }
        for index in run.clone().filter(|&index| plan.kernels[index].packed.is_some()) {
            // In the form of Winograd few rows need it too.
            let (work, unit, skinny) = match plan.tiling.kernels[index].ahead() {
                Some(Ahead::Taps) => (Work::Pack, winograd::COLUMNS, 0),
                Some(Ahead::Sums { images }) => (Work::Sums { images }, self::positions(fused, plan, index), 0),
                // Few rows come again at every step.
                None if in_loop => (Work::Pack, COLUMNS, 0),
                None => {
                    let few = plan.tiling.skinny_points(fused, run.clone());
                    (Work::Pack, COLUMNS, few * fused.rows_of_point(index))
                }
            };
            let task = Task { kernel: index, work, unit, skinny };
            let access = Access::of_packing(fused, plan, index);
            self.add_tasks(self.earliest(&access), [task], access.clone());
            if matches!(work, Work::Sums { .. }) && parts(fused, plan, index) > 1 {
                let task = Task { work: Work::Fold, unit: 1, ..task };
                self.add_tasks(self.earliest(&access), [task], access);
            }
        }
        // So many rows of a kernel are few, as many as one unit has of it.
        let few = |index: usize| units.rows / fused.rows_of_point(first) * fused.rows_of_point(index);
        let whole = |skinny| Task { kernel: first, work: Work::Rows, unit: units.merged * units.rows, skinny };
        let sums = fused.points_of_sum(first).is_some();
        let members = columned.is_empty()
            && !sums
            && run.clone().any(|index| {
                fused.group_of(index).is_some() && plan.tiling.kernels[index].units.rows * 2 <= few(index)
            });
        let region = match columned[..] {
            [] if members => self.add_members(fused, plan, run.clone(), (whole(few(first)), few), access),
            [] => {
                let region = self.earliest(&access);
                self.add_tasks(region, [whole(0)], access);
                region
            }
            _ => {
                let whole = (rows_of(first) > few(first)).then(|| whole(few(first)));
                let tasks = columned.iter().filter_map(|&index| {
                    Some(Task { kernel: index, work: Work::Columns, unit: columns(index)?, skinny: few(index) })
                });
                self.add_columns(run.clone(), &tasks.collect::<Vec<Task>>(), (few(first), whole), access)
            }
        };
        for index in run.filter(|&index| !plan.kernels[index].partials.is_empty()) {
            let own = |task: &&Task| task.kernel == first && task.work == Work::Rows;
            let ahead =
                self.regions[region].tasks.iter().find(own).and_then(|task| MergedAhead::of(fused, *task, index));
            self.regions[region].tail.push(Last::Finish { kernel: index, ahead });
        }
    }

    /// Adds the kernels of a group whose tiles are shared: regions that run for one tile after the other, then the ends of its sums.
    fn add_shared(&mut self, fused: &Fused, plan: &Plan, run: Range<usize>, access: Access) {
        let group = fused.group_of(run.start).expect("it is shared");
        let of_tile = plan.tiling.points(fused, run.start);
        let tiles = Some(SharedTiles { kernel: run.start, points: group.points(), of_tile });
        // Nothing else may run once for each tile.
        let first = self.earliest(&access).max(self.regions.len());
        let mut done: Vec<usize> = Vec::new();
        for index in run.clone() {
            let kernel = &fused.kernels[index];
            let reads = |other: usize| {
                let mut written = fused.kernels[other].writes.iter().map(|write| write.buffer);
                written.any(|buffer| kernel.buffers_read().any(|read| read == buffer))
            };
            let before = (run.start..index).zip(&done).filter(|(other, _)| reads(*other)).map(|(_, &region)| region);
            let mut region = before.max().map_or(first, |region| region + 1);
            let mut add = |region: usize, part: TilePart, extent: usize, unit: usize| {
                let task = Task { kernel: index, work: Work::Tile { part, extent }, unit, skinny: 0 };
                self.add_tasks(region, [task], access.clone());
                self.regions[region].tiles = tiles;
            };
            let rows = match (group.adds_up(index), kernel.row_count()) {
                (true, Dim::Fixed(rows)) => rows,
                _ => of_tile * group.rows_of(index),
            };
            let called = kernel.dot.is_some() && !plan.tiling.kernels[index].is_inline();
            if called {
                let cols = kernel.cols();
                let (part, extent) = if cols < rows { (TilePart::Rows, rows) } else { (TilePart::Columns, cols) };
                add(region, part, extent, (extent / UNITS_OF_TILE).max(1).next_multiple_of(LEAST_OF_TILE));
                region += 1;
            }
            match called && fused.is_product_alone(kernel) {
                true => region -= 1,
                false => add(region, TilePart::Blocks, rows, kernel.block),
            }
            done.push(region);
        }
        self.first = self.regions.len();
        self.open(self.first);
        let ends = run.filter(|&index| !plan.kernels[index].partials.is_empty());
        self.regions[self.first].tail.extend(ends.map(|kernel| Last::Finish { kernel, ahead: None }));
        self.touched.add(self.first, &access);
    }

    /// Adds the kernels of a group one after the other, each in a region of its own, for as many rows as one unit of the group has,
    /// and the group for more. Out: the last region.
    fn add_members(
        &mut self,
        fused: &Fused,
        plan: &Plan,
        run: Range<usize>,
        (whole, few): (Task, impl Fn(usize) -> usize),
        access: Access,
    ) -> usize {
        // The tiles lie where ends of regions have their scratch: nothing else may run there.
        let mut region = self.earliest(&access).max(self.regions.len());
        for index in run.clone() {
            let units = plan.tiling.kernels[index].units;
            let rows = fused.kernels[index].row_count().at(plan.max_batch);
            let unit = if units.alone.is_some() { rows } else { units.rows };
            let member = Task { kernel: index, work: Work::Member, unit, skinny: few(index) };
            let last = index + 1 == run.end;
            self.add_tasks(region, Some(whole).filter(|_| last).into_iter().chain([member]), access.clone());
            if !last {
                self.sealed.insert(region);
                region += 1;
            }
        }
        region
    }

    /// Adds products of which few rows are cut by columns, one in each region, with what comes between them at the ends of the
    /// regions, and `whole` for more rows. Out: the last region.
    fn add_columns(
        &mut self,
        run: Range<usize>,
        tasks: &[Task],
        (rows, whole): (usize, Option<Task>),
        access: Access,
    ) -> usize {
        let (first, ahead) = (tasks[0].kernel, tasks[0].kernel > run.start);
        let mut region = self.earliest_for_columns(&access, ahead);
        if tasks.len() > 1 {
            // Between the first and the last, scratch holds what is passed on: nothing else may run at the ends.
            region = region.max(self.regions.len());
        }
        if ahead {
            let skinny = Skinny { from: run.start, to: first, rows, follows: false };
            self.add_ahead(region - 1, Last::Skinny(skinny), access.clone());
        }
        let count = tasks.len();
        for number in 0..count {
            let (task, last) = (tasks[number], number + 1 == count);
            let to = if last { run.end } else { tasks[number + 1].kernel };
            self.add_tasks(region, whole.filter(|_| last).into_iter().chain([task]), access.clone());
            // Ahead of all else that one thread does then, which may need the scratch where the product lies.
            let skinny = Skinny { from: task.kernel, to, rows: task.skinny, follows: true };
            self.regions[region].tail.insert(0, Last::Skinny(skinny));
            if !last {
                self.sealed.insert(region);
                region += 1;
            }
        }
        region
    }
}

impl Access {
    fn of(fused: &Fused, plan: &Plan, index: usize) -> Access {
        let kernel = &fused.kernels[index];
        let region = |buffer: BufferId| region(fused, plan, buffer);
        let mut access = Access {
            reads: kernel.buffers_read().filter_map(region).collect(),
            writes: kernel.writes.iter().map(|write| write.buffer).filter_map(region).collect(),
        };
        for allocation in plan.allocations_of(index) {
            match allocation.content {
                Content::Partial(_) | Content::SharedBlock | Content::SharedTile(_) => {
                    access.writes.push(MemoryRegion::Arena(allocation.at, allocation.len))
                }
                Content::Packed => access.reads.push(MemoryRegion::Arena(allocation.at, allocation.len)),
                _ => {}
            }
        }
        access
    }

    /// Of rearranging the right operand, or of what else is made ahead of all rows.
    fn of_packing(fused: &Fused, plan: &Plan, index: usize) -> Access {
        let dot = fused.kernels[index].dot.as_ref().expect("only products are packed");
        let packed = |allocation: &&super::Allocation| allocation.content == Content::Packed;
        let writes = plan
            .allocations_of(index)
            .iter()
            .filter(packed)
            .map(|allocation| MemoryRegion::Arena(allocation.at, allocation.len));
        let reads = [dot.a, dot.b].into_iter().filter(|&operand| operand == dot.b || dot.winograd.is_some());
        Access { reads: reads.filter_map(|operand| region(fused, plan, operand)).collect(), writes: writes.collect() }
    }
}

/// The memory of a buffer that several kernels may touch. Nobody writes an input, and scratch is each thread's own.
fn region(fused: &Fused, plan: &Plan, buffer: BufferId) -> Option<MemoryRegion> {
    match plan.places[buffer.index()] {
        None | Some(Location::Input(_) | Location::Prepared(_)) => None,
        Some(Location::Arena(at)) => {
            Some(MemoryRegion::Arena(at, padded(fused.buffer(buffer).shape.len_at(plan.max_batch))))
        }
        Some(Location::Param(param)) => Some(MemoryRegion::Param(param)),
    }
}

/// Regions while they are being filled.
struct Regions {
    regions: Vec<ParallelRegion>,
    /// What they touch.
    touched: Touched,
    /// The first region that is still open: those before end with the check of the loss.
    first: usize,
    /// Regions with an end that nothing may be added to.
    sealed: HashSet<usize>,
}

impl Regions {
    /// Closes all regions so far; the last of them looks at the loss.
    fn check(&mut self) {
        if self.regions.is_empty() {
            self.open(0);
        }
        self.first = self.regions.len();
        self.regions[self.first - 1].check = true;
    }

    fn open(&mut self, region: usize) {
        while region >= self.regions.len() {
            self.regions.push(ParallelRegion::default());
        }
    }

    /// The earliest region after all that a task has to wait for.
    fn earliest(&self, access: &Access) -> usize {
        let after = self.touched.before(access).map_or(0, |region| region + 1);
        after.max(self.first)
    }

    /// Whether the tasks of a parallel region use the scratch of its end, for a product that is cut by columns or tiles that threads
    /// share: there is room for one.
    fn has_columns(&self, region: usize) -> bool {
        let uses_end = |task: &Task| matches!(task.work, Work::Columns | Work::Member);
        self.regions.get(region).is_some_and(|region| region.tasks.iter().any(uses_end))
    }

    /// Adds tasks to a parallel region after all that they have to wait for.
    fn add_tasks(&mut self, region: usize, tasks: impl IntoIterator<Item = Task>, access: Access) {
        self.open(region);
        self.regions[region].tasks.extend(tasks);
        self.touched.add(region, &access);
    }

    /// The earliest region for a product that is cut by columns; what its group computes ahead of it, if anything, is done by one
    /// thread at the end of the region before.
    fn earliest_for_columns(&self, access: &Access, ahead: bool) -> usize {
        let mut region = self.earliest(access);
        if ahead {
            region = region.max(self.first + 1);
            while self.sealed.contains(&(region - 1)) {
                region += 1;
            }
        }
        region
    }

    /// Adds what comes ahead of a product that is cut by columns, for one thread at the end of a parallel region. It may leave tiles in
    /// scratch for the next one, so nothing is added after it.
    fn add_ahead(&mut self, region: usize, last: Last, access: Access) {
        self.open(region);
        self.regions[region].tail.push(last);
        self.touched.add(region, &access);
        self.sealed.insert(region);
    }

    /// Adds work of one thread to the end of the earliest region that has all it needs.
    fn add_last(&mut self, last: Last, access: Access) {
        let with = self.touched.before(&access).unwrap_or(0);
        let mut region = with.max(self.first);
        while self.sealed.contains(&region) {
            region += 1;
        }
        self.open(region);
        self.regions[region].tail.push(last);
        self.touched.add(region, &access);
    }
}
