//! What may run at the same time: a program cut into regions for several threads.
//!
//! In: kernels and where everything lies. Out: regions. The tasks of a parallel region are cut into units that any thread may take in
//! any order; when all are done, one thread does what is left: last stages of reductions and kernels too small to share.
//! The next region begins only then. The cut follows the problem alone, never the number of threads, so that the bits do not
//! depend on it. Two kernels share a parallel region where neither writes memory that the other touches. Products of so few rows that
//! they would be one unit are cut by columns instead.

use std::collections::HashSet;

use super::touched::{Access, MemoryRegion, Touched};
use super::{Content, Location, Plan, padded};
use crate::kernel::{BufferId, Fused};
use crate::tiling::COLUMNS;

/// What runs between two points at which all threads meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParallelRegion {
    /// What is shared.
    pub tasks: Vec<Task>,
    /// What one thread does when all that is done, in order.
    pub tail: Vec<Last>,
    /// Whether the loss is known then, and looked at.
    pub check: bool,
}

/// Work that is cut into units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Whose.
    pub kernel: usize,
    /// What.
    pub work: Work,
    /// How many rows, or columns of the right operand, a unit has.
    pub unit: usize,
    /// Batches of up to so many rows are cut by columns: they have units of [`Work::Columns`] and none of [`Work::Rows`]; nor is
    /// anything packed for so few.
    pub skinny: usize,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Rearranges so many columns of the right operand, where there are rows enough to repay it.
    Pack,
    /// Computes so many columns of the product of few rows; what follows the product is left to the end of the region.
    Columns,
    /// Computes blocks of rows.
    Rows,
}

/// What one thread does after the tasks of a parallel region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The blocks of a kernel if the rows are few: what follows its product, which the tasks have computed by columns; or all of
    /// it, if it is the prologue of such a product.
    Skinny(Task),
    /// The last stages of a kernel's reductions.
    Finish(usize),
    /// A whole kernel.
    Kernel(usize),
}

impl Task {
    /// How many units there are of so many rows and columns.
    pub fn units(self, rows: usize, cols: usize) -> usize {
        match self.work {
            Work::Columns if rows > self.skinny => 0,
            Work::Pack | Work::Rows if rows <= self.skinny => 0,
            Work::Pack | Work::Columns => cols.div_ceil(self.unit),
            Work::Rows => rows.div_ceil(self.unit),
        }
    }
}

/// Cuts a program into regions.
pub fn parallel_regions(fused: &Fused, plan: &Plan) -> Vec<ParallelRegion> {
    let mut regions = Regions { regions: Vec::new(), touched: Touched::default(), first: 0, sealed: HashSet::new() };
    for (index, kernel) in fused.kernels.iter().enumerate() {
        if fused.check == Some(index) {
            regions.check();
        }
        if plan.is_prologue(index) {
            continue;
        }
        let mut access = Access::of(fused, plan, index);
        let ahead = plan.prologue(index).map(|prologue| (prologue, Access::of(fused, plan, prologue)));
        if let Some((_, ahead)) = &ahead {
            access.extend(ahead);
        }
        let (rows, units) = (kernel.row_count().at(plan.max_batch), plan.tiling.kernels[index].units);
        let columned = |regions: &Regions| {
            let region = regions.earliest_for_columns(&access, ahead.is_some());
            units.columns.filter(|_| !regions.has_columns(region))
        };
        let one_block = rows <= kernel.block && columned(&regions).is_none();
        if units.alone.is_some() || one_block {
            regions.add_last(Last::Kernel(index), access);
            continue;
        }
        if plan.kernels[index].packed.is_some() {
            let task = Task { kernel: index, work: Work::Pack, unit: COLUMNS, skinny: plan.tiling.skinny_rows };
            let access = Access::of_packing(fused, plan, index);
            regions.add_tasks(regions.earliest(&access), [task], access);
        }
        let (unit, columns) = (units.rows, columned(&regions));
        let skinny = if columns.is_some() { unit } else { 0 };
        let columns = Task { kernel: index, work: Work::Columns, unit: columns.unwrap_or(unit), skinny };
        let whole = Task { kernel: index, work: Work::Rows, unit, skinny };
        let region = match skinny > 0 {
            true => regions.earliest_for_columns(&access, ahead.is_some()),
            false => regions.earliest(&access),
        };
        if let Some((prologue, access)) = ahead.filter(|_| skinny > 0) {
            regions.add_prologue(region - 1, Task { kernel: prologue, ..whole }, access);
        }
        let tasks = [(rows > skinny).then_some(whole), (skinny > 0).then_some(columns)];
        regions.add_tasks(region, tasks.into_iter().flatten(), access);
        if skinny > 0 {
            // Ahead of all else that one thread does then, which may need the scratch where the product lies.
            regions.regions[region].tail.insert(0, Last::Skinny(columns));
        }
        if !plan.kernels[index].partials.is_empty() {
            regions.regions[region].tail.push(Last::Finish(index));
        }
    }
    if fused.check == Some(fused.kernels.len()) {
        regions.check();
    }
    regions.regions
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
                Content::Partial(_) => access.writes.push(MemoryRegion::Arena(allocation.at, allocation.len)),
                Content::Packed => access.reads.push(MemoryRegion::Arena(allocation.at, allocation.len)),
                _ => {}
            }
        }
        access
    }

    /// Of rearranging the right operand.
    fn of_packing(fused: &Fused, plan: &Plan, index: usize) -> Access {
        let dot = fused.kernels[index].dot.as_ref().expect("only products are packed");
        let packed = |allocation: &&super::Allocation| allocation.content == Content::Packed;
        let writes = plan
            .allocations_of(index)
            .iter()
            .filter(packed)
            .map(|allocation| MemoryRegion::Arena(allocation.at, allocation.len));
        Access { reads: region(fused, plan, dot.b).into_iter().collect(), writes: writes.collect() }
    }
}

/// The memory of a buffer that several kernels may touch. Nobody writes an input, and scratch is each thread's own.
fn region(fused: &Fused, plan: &Plan, buffer: BufferId) -> Option<MemoryRegion> {
    match plan.places[buffer.index()] {
        None | Some(Location::Input(_)) => None,
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

    /// The earliest region behind all that a task has to wait for.
    fn earliest(&self, access: &Access) -> usize {
        let after = self.touched.before(access).map_or(0, |region| region + 1);
        after.max(self.first)
    }

    /// Whether a parallel region has a product that is cut by columns: there is room for one.
    fn has_columns(&self, region: usize) -> bool {
        self.regions.get(region).is_some_and(|region| region.tasks.iter().any(|task| task.work == Work::Columns))
    }

    /// Adds tasks to a parallel region behind all that they have to wait for.
    fn add_tasks(&mut self, region: usize, tasks: impl IntoIterator<Item = Task>, access: Access) {
        self.open(region);
        self.regions[region].tasks.extend(tasks);
        self.touched.add(region, &access);
    }

    /// The earliest region for a product that is cut by columns; its prologue, if there is one, is run by one thread at the end of
    /// the region before.
    fn earliest_for_columns(&self, access: &Access, prologue: bool) -> usize {
        let mut region = self.earliest(access);
        if prologue {
            region = region.max(self.first + 1);
            while self.sealed.contains(&(region - 1)) {
                region += 1;
            }
        }
        region
    }

    /// Adds a prologue that one thread runs at the end of a parallel region. It may leave its rows in scratch for the next one, so nothing
    /// is added behind it.
    fn add_prologue(&mut self, region: usize, task: Task, access: Access) {
        self.open(region);
        self.regions[region].tail.push(Last::Skinny(task));
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
