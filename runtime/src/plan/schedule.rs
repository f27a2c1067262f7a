//! What may run at the same time: a program cut into phases for several threads.
//!
//! In: kernels and where everything lies. Out: phases. The tasks of a phase are cut into units that any thread may take in
//! any order; when all are done, one thread does what is left: last stages of reductions and kernels too small to share.
//! The next phase begins only then. The cut follows the problem alone, never the number of threads, so that the bits do not
//! depend on it. Two kernels share a phase where neither writes memory that the other touches. Products of so few rows that
//! they would be one unit are cut by columns instead.

use std::collections::HashSet;

use super::touched::{Access, Region, Touched};
use super::{Content, Place, Plan, padded};
use crate::kernel::{BufferId, Fused};
use crate::tiling::COLUMNS;

/// What runs between two points at which all threads meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phase {
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
    /// Batches of up to so few rows are cut by columns: they have units of [`Work::Columns`] and none of [`Work::Rows`]; nor is
    /// anything packed for so few.
    pub few: usize,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Rearranges so many columns of the right operand, where there are rows enough to repay it.
    Pack,
    /// Computes so many columns of the product of few rows; what follows the product is left to the end of the phase.
    Columns,
    /// Computes blocks of rows.
    Rows,
}

/// What one thread does after the tasks of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The blocks of a kernel if the rows are few: what follows its product, which the tasks have computed by columns; or all of
    /// it, if it is the prologue of such a product.
    Few(Task),
    /// The last stages of a kernel's reductions.
    Finish(usize),
    /// A whole kernel.
    Kernel(usize),
}

impl Task {
    /// How many units there are of so many rows and columns.
    pub fn units(self, rows: usize, cols: usize) -> usize {
        match self.work {
            Work::Columns if rows > self.few => 0,
            Work::Pack | Work::Rows if rows <= self.few => 0,
            Work::Pack | Work::Columns => cols.div_ceil(self.unit),
            Work::Rows => rows.div_ceil(self.unit),
        }
    }
}

/// Cuts a program into phases.
pub fn schedule(fused: &Fused, plan: &Plan) -> Vec<Phase> {
    let mut phases = Phases { phases: Vec::new(), touched: Touched::default(), first: 0, sealed: HashSet::new() };
    for (index, kernel) in fused.kernels.iter().enumerate() {
        if fused.check == Some(index) {
            phases.check();
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
        let columned = |phases: &Phases| {
            let phase = phases.earliest_for_columns(&access, ahead.is_some());
            units.columns.filter(|_| !phases.has_columns(phase))
        };
        let one_block = rows <= kernel.block && columned(&phases).is_none();
        if units.alone.is_some() || one_block {
            phases.add_last(Last::Kernel(index), access);
            continue;
        }
        if plan.kernels[index].packed.is_some() {
            let task = Task { kernel: index, work: Work::Pack, unit: COLUMNS, few: plan.tiling.few_rows };
            let access = Access::of_packing(fused, plan, index);
            phases.add_tasks(phases.earliest(&access), [task], access);
        }
        let (unit, columns) = (units.rows, columned(&phases));
        let few = if columns.is_some() { unit } else { 0 };
        let columns = Task { kernel: index, work: Work::Columns, unit: columns.unwrap_or(unit), few };
        let whole = Task { kernel: index, work: Work::Rows, unit, few };
        let phase = match few > 0 {
            true => phases.earliest_for_columns(&access, ahead.is_some()),
            false => phases.earliest(&access),
        };
        if let Some((prologue, access)) = ahead.filter(|_| few > 0) {
            phases.add_prologue(phase - 1, Task { kernel: prologue, ..whole }, access);
        }
        let tasks = [(rows > few).then_some(whole), (few > 0).then_some(columns)];
        phases.add_tasks(phase, tasks.into_iter().flatten(), access);
        if few > 0 {
            // Ahead of all else that one thread does then, which may need the scratch where the product lies.
            phases.phases[phase].tail.insert(0, Last::Few(columns));
        }
        if !plan.kernels[index].partials.is_empty() {
            phases.phases[phase].tail.push(Last::Finish(index));
        }
    }
    if fused.check == Some(fused.kernels.len()) {
        phases.check();
    }
    phases.phases
}

impl Access {
    fn of(fused: &Fused, plan: &Plan, index: usize) -> Access {
        let kernel = &fused.kernels[index];
        let region = |buffer: BufferId| region(fused, plan, buffer);
        let mut access = Access {
            reads: kernel.buffers_read().filter_map(region).collect(),
            writes: kernel.writes.iter().map(|write| write.buffer).filter_map(region).collect(),
        };
        for stretch in plan.stretches_of(index) {
            match stretch.content {
                Content::Partial(_) => access.writes.push(Region::Arena(stretch.at, stretch.len)),
                Content::Packed => access.reads.push(Region::Arena(stretch.at, stretch.len)),
                _ => {}
            }
        }
        access
    }

    /// Of rearranging the right operand.
    fn of_packing(fused: &Fused, plan: &Plan, index: usize) -> Access {
        let dot = fused.kernels[index].dot.as_ref().expect("only products are packed");
        let packed = |stretch: &&super::Stretch| stretch.content == Content::Packed;
        let writes =
            plan.stretches_of(index).iter().filter(packed).map(|stretch| Region::Arena(stretch.at, stretch.len));
        Access { reads: region(fused, plan, dot.b).into_iter().collect(), writes: writes.collect() }
    }
}

/// The memory of a buffer that several kernels may touch. Nobody writes an input, and scratch is each thread's own.
fn region(fused: &Fused, plan: &Plan, buffer: BufferId) -> Option<Region> {
    match plan.places[buffer.index()] {
        None | Some(Place::Input(_)) => None,
        Some(Place::Arena(at)) => Some(Region::Arena(at, padded(fused.buffer(buffer).shape.len_at(plan.max_batch)))),
        Some(Place::Param(param)) => Some(Region::Param(param)),
    }
}

/// Phases while they are being filled.
struct Phases {
    phases: Vec<Phase>,
    /// What they touch.
    touched: Touched,
    /// The first phase that is still open: those before end with the check of the loss.
    first: usize,
    /// Phases with an end that nothing may be added to.
    sealed: HashSet<usize>,
}

impl Phases {
    /// Closes all phases so far; the last of them looks at the loss.
    fn check(&mut self) {
        if self.phases.is_empty() {
            self.open(0);
        }
        self.first = self.phases.len();
        self.phases[self.first - 1].check = true;
    }

    fn open(&mut self, phase: usize) {
        while phase >= self.phases.len() {
            self.phases.push(Phase::default());
        }
    }

    /// The earliest phase behind all that a task has to wait for.
    fn earliest(&self, access: &Access) -> usize {
        let after = self.touched.before(access).map_or(0, |phase| phase + 1);
        after.max(self.first)
    }

    /// Whether a phase has a product that is cut by columns: there is room for one.
    fn has_columns(&self, phase: usize) -> bool {
        self.phases.get(phase).is_some_and(|phase| phase.tasks.iter().any(|task| task.work == Work::Columns))
    }

    /// Adds tasks to a phase behind all that they have to wait for.
    fn add_tasks(&mut self, phase: usize, tasks: impl IntoIterator<Item = Task>, access: Access) {
        self.open(phase);
        self.phases[phase].tasks.extend(tasks);
        self.touched.add(phase, &access);
    }

    /// The earliest phase for a product that is cut by columns; its prologue, if there is one, is run by one thread at the end of
    /// the phase before.
    fn earliest_for_columns(&self, access: &Access, prologue: bool) -> usize {
        let mut phase = self.earliest(access);
        if prologue {
            phase = phase.max(self.first + 1);
            while self.sealed.contains(&(phase - 1)) {
                phase += 1;
            }
        }
        phase
    }

    /// Adds a prologue that one thread runs at the end of a phase. It may leave its rows in scratch for the next one, so nothing
    /// is added behind it.
    fn add_prologue(&mut self, phase: usize, task: Task, access: Access) {
        self.open(phase);
        self.phases[phase].tail.push(Last::Few(task));
        self.touched.add(phase, &access);
        self.sealed.insert(phase);
    }

    /// Adds work of one thread to the end of the earliest phase that has all it needs.
    fn add_last(&mut self, last: Last, access: Access) {
        let with = self.touched.before(&access).unwrap_or(0);
        let mut phase = with.max(self.first);
        while self.sealed.contains(&phase) {
            phase += 1;
        }
        self.open(phase);
        self.phases[phase].tail.push(last);
        self.touched.add(phase, &access);
    }
}
