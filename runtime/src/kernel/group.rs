//! Groups: kernels that run tile by tile over what they have in common.
//!
//! A point of a group is a position along all of its loops, and for each point a kernel has some rows of its own. A tile is some
//! points: every kernel of the group runs for the rows of a tile before any runs for those of the next. So a kernel may read what
//! an earlier one of the group writes only where both belong to the same point, and nothing that is known when a kernel is done.
//! Where windows are read, a point is a whole image: bounds keep them from its neighbors. A buffer that no other kernel touches needs
//! no more memory than that of a tile.
//!
//! A kernel may also add up over points, as the gradients of keys and values do over queries: its product has a term for each point
//! along the innermost loop, and of a tile those terms are added that belong to it. So the tiles along that loop come in their order,
//! on one thread, and its sums end when they are done.
//!
//! Where a tile is too much for each thread to have one, as the logits of many classes are, all threads work on one tile after the
//! other: such a group is shared, and its kernels that add up do so over all points.

use std::ops::Range;

use super::{Access, Affine, Arg, Bound, BufferId, Fused, Home, Kernel, Loop, Mode, TrianglePart, Write};
use crate::reason::GroupReason;
use crate::types::{DType, Dim, common_divisor};

/// Kernels that run tile by tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Which: they follow one another.
    pub kernels: Range<usize>,
    /// The axes that all of them have in common, the outermost first. Every position along all of them is a point.
    pub loops: Vec<Dim>,
    /// For each kernel, how many of its rows belong to a point; none of one that adds up over points.
    pub rows: Vec<usize>,
    /// The kernels that add up over the points along the innermost loop, or over all if it is shared, in order.
    pub sums: Vec<usize>,
    /// Whether all threads work on one tile after the other, rather than each on tiles of its own.
    pub shared: bool,
    /// Why they are a group.
    pub reason: GroupReason,
}

impl Group {
    /// How many points it has.
    pub fn points(&self) -> Dim {
        Dim::product(&self.loops).expect("extents were checked when the network was lowered")
    }

    /// How many rows of a kernel belong to a point.
    pub fn rows_of(&self, kernel: usize) -> usize {
        self.rows[kernel - self.kernels.start]
    }

    /// Whether a kernel adds up over points.
    pub fn adds_up(&self, kernel: usize) -> bool {
        self.sums.contains(&kernel)
    }

    /// How many points are added up, if any kernel does so and there are several sums: no tile has points of two.
    pub fn points_of_sum(&self) -> Option<usize> {
        self.loops.last().filter(|_| !self.sums.is_empty() && !self.shared).map(|dim| dim.factor())
    }

    /// So many points, or a multiple of that, are whole blocks of every kernel that has sums of its rows, and whole pieces of one that
    /// adds up over points. Windows in the form of Winograd come in squares, which no tile cuts.
    pub fn whole(&self, fused: &Fused) -> usize {
        self.kernels.clone().fold(1, |whole, index| {
            let step = self.step(fused, index);
            whole / common_divisor(whole, step) * step
        })
    }

    /// The same of one of its kernels.
    fn step(&self, fused: &Fused, index: usize) -> usize {
        let kernel = &fused.kernels[index];
        if let Some(dot) = kernel.dot.as_ref().filter(|_| self.adds_up(index)) {
            return dot.order.piece;
        }
        let sums = (0..kernel.body.len()).any(|step| kernel.ends_later(step));
        match sums || kernel.winograd_windows().is_some() {
            true => kernel.block / common_divisor(kernel.block, self.rows_of(index)),
            false => 1,
        }
    }

    /// How many elements of a buffer belong to a point, if each has as many as any other.
    pub fn part_of(&self, fused: &Fused, buffer: BufferId) -> Option<usize> {
        parts(fused.buffer(buffer).shape.len()?, self.points())
    }
}

/// How many of a whole belong to each of so many points.
pub fn parts(whole: Dim, points: Dim) -> Option<usize> {
    let alike = whole.is_batch() == points.is_batch();
    let divides = points.factor() > 0 && whole.factor().is_multiple_of(points.factor());
    (alike && divides).then(|| whole.factor() / points.factor())
}

impl Fused {
    /// The number of the group that a kernel is in.
    pub fn group_number(&self, kernel: usize) -> Option<usize> {
        let next = self.groups.partition_point(|group| group.kernels.end <= kernel);
        self.groups.get(next).filter(|group| group.kernels.contains(&kernel)).map(|_| next)
    }

    /// The group that a kernel is in.
    pub fn group_of(&self, kernel: usize) -> Option<&Group> {
        self.group_number(kernel).map(|number| &self.groups[number])
    }

    /// What runs one after the other: groups, loops, and kernels that are in none.
    pub fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let run = (next < self.kernels.len()).then(|| self.run_of(next))?;
            next = run.end;
            Some(run)
        })
    }

    /// Whether all threads work on one tile of a kernel's group after the other.
    pub fn is_shared(&self, kernel: usize) -> bool {
        self.group_of(kernel).is_some_and(|group| group.shared)
    }

    /// How many points are added up in the group that a kernel is in, if there are several such sums.
    pub fn points_of_sum(&self, kernel: usize) -> Option<usize> {
        self.group_of(kernel).and_then(Group::points_of_sum)
    }

    /// The kernels of a kernel's group or outermost loop, or that kernel.
    pub fn run_of(&self, kernel: usize) -> Range<usize> {
        let together = self.group_of(kernel).map(|group| &group.kernels);
        let outermost = || self.loops_around(kernel).last();
        let together = together.or_else(|| outermost().map(|number| &self.loops[number].kernels));
        together.cloned().unwrap_or(kernel..kernel + 1)
    }

    /// How many rows of a kernel belong to a point of its group, or to a sample of its loop. By itself, each row is a point.
    pub fn rows_of_point(&self, kernel: usize) -> usize {
        let of_sample = |run: &Loop| run.rows.as_ref().map_or(1, |rows| rows[kernel - run.kernels.start]);
        let of_loop = || self.loop_of(kernel).map_or(1, of_sample);
        self.group_of(kernel).map_or_else(of_loop, |group| group.rows_of(kernel))
    }

    /// Whether a buffer has the memory of a tile.
    pub fn is_tile(&self, buffer: BufferId) -> bool {
        self.buffer(buffer).home == Home::Tile
    }

    /// For each buffer, the kernels that write it for others, in order: several if it has parts.
    pub fn writers(&self) -> Vec<Vec<usize>> {
        let mut writers: Vec<Vec<usize>> = vec![Vec::new(); self.buffers.len()];
        for (index, kernel) in self.kernels.iter().enumerate() {
            for write in kernel.writes.iter().filter(|write| self.is_computed(write.buffer)) {
                let writers = &mut writers[write.buffer.index()];
                if writers.last() != Some(&index) {
                    writers.push(index);
                }
            }
        }
        writers
    }
}

/// Says what is wrong with the groups, if anything.
pub(super) fn verify_groups(fused: &Fused) -> Result<(), String> {
    let writers = fused.writers();
    let mut first = 0;
    for (number, group) in fused.groups.iter().enumerate() {
        let Range { start, end } = group.kernels;
        if start < first || end > fused.kernels.len() || start + 2 > end || group.rows.len() != end - start {
            return Err(format!("group {number}: kernels {start} to {end} are no group"));
        }
        first = end;
        let fault = |fault: String| format!("group {number}: {fault}");
        group.kernels.clone().try_for_each(|index| joins(fused, group, index, &writers)).map_err(fault)?;
    }
    tiles(fused)
}

/// Says why a kernel cannot be part of a group, with those of its kernels that come before it, if it cannot. `writers` are those of
/// each buffer.
pub fn joins(fused: &Fused, group: &Group, index: usize, writers: &[Vec<usize>]) -> Result<(), String> {
    let kernel = &fused.kernels[index];
    if index > group.kernels.start && fused.check == Some(index) {
        return Err(format!("the loss is checked before kernel {index}"));
    }
    if group.shared && !is_in_matrices(kernel) {
        return Err(format!("kernel {index} is cut in another way than threads share tiles"));
    }
    if group.adds_up(index) {
        if !adds_up_by_points(fused, group, index) {
            return Err(format!("kernel {index} does not add up over points"));
        }
    } else if parts(kernel.row_count(), group.points()) != Some(group.rows_of(index)) {
        return Err(format!("the rows of kernel {index} are not those of its points"));
    }
    // Tiles begin anew with every sum.
    let cut = |sum: usize| {
        let others = (group.kernels.start..=index).filter(|&other| !group.adds_up(other));
        others.into_iter().any(|other| !sum.is_multiple_of(group.step(fused, other)))
    };
    if group.points_of_sum().is_some_and(cut) {
        return Err("a sum over points cuts blocks of rows".to_string());
    }
    let updates = |write: &&Write| !fused.is_computed(write.buffer) || write.mode == Mode::Add;
    if let Some(write) = kernel.writes.iter().find(updates) {
        return Err(format!("kernel {index} updates {}", fused.buffer_name(write.buffer)));
    }
    for buffer in kernel.buffers_read() {
        let mut writers = writers[buffer.index()].iter().copied();
        let passes = |writer: usize| {
            is_written_by_points(fused, group, writer, buffer) && is_read_by_points(fused, group, index, buffer)
        };
        let earlier = |writer: usize| (group.kernels.start..index).contains(&writer);
        if let Some(writer) = writers.find(|&writer| earlier(writer) && !passes(writer)) {
            let name = fused.buffer_name(buffer);
            return Err(format!("kernel {index} reads {name} of points that kernel {writer} may not have reached"));
        }
    }
    Ok(())
}

/// Says what is wrong with the tiles, if anything: each is written and read in one group, by the same points.
fn tiles(fused: &Fused) -> Result<(), String> {
    let is_tile = |&id: &BufferId| fused.is_tile(id);
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let written = kernel.writes.iter().map(|write| write.buffer).filter(is_tile);
        for id in kernel.buffers_read().filter(is_tile).chain(written) {
            let name = fused.buffer_name(id);
            let Some(group) = fused.group_of(index) else {
                return Err(format!("kernel {index} has the tile {name}, but no group"));
            };
            let writes = |&other: &usize| fused.kernels[other].writes.iter().any(|write| write.buffer == id);
            let mut writers = (0..fused.kernels.len()).filter(writes).peekable();
            let points = |by: usize| group.kernels.contains(&by) && is_written_by_points(fused, group, by, id);
            if writers.peek().is_none() || !writers.all(points) {
                return Err(format!(
                    "kernel {index} has the tile {name}, which its group does not write point by point"
                ));
            }
        }
    }
    match fused.results.iter().find(|(_, buffer, _)| fused.is_tile(*buffer)) {
        Some(&(_, buffer, _)) => Err(format!("the tile {} is a result", fused.buffer_name(buffer))),
        None => Ok(()),
    }
}

/// Whether a kernel has no product or one of two matrices.
fn is_in_matrices(kernel: &Kernel) -> bool {
    kernel.dot.is_none() || kernel.has_plain_dot() && kernel.triangle.is_none()
}

/// Whether a kernel is a product for each position along all loops but the innermost, of terms along that one, in pieces, and nothing
/// else is made of it. In a shared group it is one of terms along all loops.
fn adds_up_by_points(fused: &Fused, group: &Group, index: usize) -> bool {
    let kernel = &fused.kernels[index];
    let Some(dot) = &kernel.dot else { return false };
    let [terms] = dot.over[..] else { return false };
    let over_points = match group.shared {
        true => kernel.has_plain_dot() && terms == group.points(),
        false => {
            let (batch, _) = kernel.dot_rows();
            let loops: Vec<Dim> = dot.axes[..batch].iter().copied().chain([terms]).collect();
            batch > 0
                && kernel.rows_of_each().is_some()
                && group.loops.last() == Some(&terms)
                && Dim::product(&loops) == Some(group.points())
                && matches!(terms, Dim::Fixed(_))
        }
    };
    let by_itself = |write: &Write| write.value == Arg::Dot && !write.copied && write.mode == Mode::Set;
    over_points
        && dot.order.cuts(terms)
        && dot.triangle.is_none_or(|it| matches!(it.part, TrianglePart::TermsTo | TrianglePart::TermsFrom))
        && kernel.body.is_empty()
        && kernel.writes.len() == 1
        && kernel.writes.iter().all(by_itself)
        && fused.dot_buffer(kernel).is_some()
        && (fused.buffer(dot.a).dtype, fused.buffer(dot.b).dtype) == (DType::F32, DType::F32)
}

/// Whether a kernel writes to a buffer, for every point, its part and nothing else.
pub fn is_written_by_points(fused: &Fused, group: &Group, writer: usize, buffer: BufferId) -> bool {
    if group.adds_up(writer) {
        return false;
    }
    let (kernel, rows) = (&fused.kernels[writer], group.rows_of(writer));
    let Some(part) = group.part_of(fused, buffer) else { return false };
    let mut writes = kernel.writes.iter().filter(|write| write.buffer == buffer);
    let is_local = |write: &Write| write.access.is_plain() && is_local(kernel, &write.access, rows, part);
    writes.all(|write| !kernel.is_written_later(write) && is_local(write))
}

/// Whether a kernel reads of a buffer, for every point, its part and nothing else.
pub fn is_read_by_points(fused: &Fused, group: &Group, reader: usize, buffer: BufferId) -> bool {
    let (kernel, rows) = (&fused.kernels[reader], group.rows_of(reader));
    let Some(part) = group.part_of(fused, buffer) else { return false };
    if group.adds_up(reader) {
        let Some(dot) = &kernel.dot else { return false };
        // The term is the innermost of its loops.
        let (batch, _) = kernel.dot_rows();
        let order: Vec<usize> = (0..batch).chain([dot.axes.len()]).chain(batch..dot.axes.len()).collect();
        let all: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
        let axes: Vec<Dim> = order.iter().map(|&axis| all[axis]).collect();
        let mut sides = [(dot.a, &dot.a_at), (dot.b, &dot.b_at)].into_iter().filter(|&(operand, _)| operand == buffer);
        return sides.all(|(_, at)| {
            let at = Affine { constant: at.constant, steps: order.iter().map(|&axis| at.steps[axis]).collect() };
            stays(&axes, batch + 1, (&at, &[]), 1, part)
        });
    }
    let mut reads = kernel.reads.iter().filter(|read| read.buffer == buffer);
    let by_dot = kernel.dot.as_ref().is_none_or(|dot| {
        let sides = [(dot.a, &dot.a_at, &dot.bounds), (dot.b, &dot.b_at, &dot.b_bounds)];
        let axes: Vec<Dim> = dot.axes.iter().chain(&dot.over).copied().collect();
        let points = if dot.in_runs { dot.axes.len() - 1 } else { kernel.rows };
        let fixed = dot.over.iter().all(|dim| !dim.is_batch());
        let mut sides = sides.into_iter().filter(|&(operand, ..)| operand == buffer);
        sides.all(|(_, at, bounds)| fixed && stays(&axes, points, (at, bounds), rows, part))
    });
    by_dot && reads.all(|read| is_local(kernel, &read.access, rows, part))
}

/// Whether an access finds all that it wants for a point among the elements of that point.
fn is_local(kernel: &Kernel, access: &Access, rows: usize, part: usize) -> bool {
    let placed = access.gather.is_none() && access.position == 0;
    placed && stays(&kernel.axes, kernel.rows, (&access.at, &access.bounds), rows, part)
}

/// Whether offsets along axes, the first `leading` of which give the row, stay inside the part of each point: so many elements for so
/// many rows. A step to the next point has to be one to the next part. Nothing is read outside of the bounds.
fn stays(axes: &[Dim], leading: usize, (at, bounds): (&Affine, &[Bound]), rows: usize, part: usize) -> bool {
    let (at, [before, after]) = unbounded(at, bounds);
    let (mut least, mut most) = (at.constant + before, at.constant + after);
    // Rows from one position along the present axis to the next.
    let mut inner = 1;
    for axis in (0..axes.len()).rev() {
        let (step, dim) = (at.steps[axis], axes[axis]);
        let within = match () {
            () if axis >= leading => dim.factor(),
            // From each position to the next are whole points.
            () if inner >= rows => {
                let next = inner % rows == 0 && step == (part * (inner / rows)) as i64;
                if !next && dim != Dim::Fixed(1) {
                    return false;
                }
                1
            }
            () if !rows.is_multiple_of(inner) => return false,
            // A point has some positions, or all that there are.
            () => {
                let positions = rows / inner;
                let several = dim.is_batch() || dim.factor() > positions;
                if several && (dim.factor() % positions != 0 || step * positions as i64 != part as i64) {
                    return false;
                }
                if several { positions } else { dim.factor() }
            }
        };
        let reach = step * (within.max(1) as i64 - 1);
        least += reach.min(0);
        most += reach.max(0);
        if axis < leading {
            inner *= dim.factor();
        }
    }
    0 <= least && most < part as i64
}

/// What of a place is left without coordinates that are bounded, and how far these reach from there: along the axes of a window neither
/// a position nor a tap says where an element is, but both together do.
fn unbounded(at: &Affine, bounds: &[Bound]) -> (Affine, [i64; 2]) {
    let (mut at, mut reach) = (at.clone(), [0; 2]);
    for Bound { coordinate, extent } in bounds {
        let axis = (0..at.steps.len()).find(|&axis| coordinate.steps[axis] != 0);
        let step = axis.map_or(0, |axis| at.steps[axis] / coordinate.steps[axis]);
        at.add(coordinate, -step);
        let last = step * (extent.max(&1) - 1) as i64;
        reach = [reach[0] + last.min(0), reach[1] + last.max(0)];
    }
    (at, reach)
}
