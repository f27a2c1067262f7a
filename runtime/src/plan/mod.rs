//! Where everything lies in memory.
//!
//! In: kernels, and how they run. Out: an offset for every value that is kept, for partial sums and for scratch, so
//! that values whose lives do not overlap share their place, and a value may take that of an operand which dies with it.
//! Parameters, statistics and optimizer state lie in a block of their own, inputs where the caller has them. Offsets are in
//! floats, multiples of 16: 64 bytes. What is made of parameters once lies beside them.

mod arena;
mod in_place;
mod kept;
mod largest;
mod merged;
mod print;
mod tasks;
mod touched;
mod verify;

use std::collections::{BTreeMap, HashMap};

use crate::error::BuildError;
use crate::ir::Slots;
use crate::ir::ops::Form;
use crate::kernel::{BufferId, Fused, Home, Kernel, LANES};
use crate::microkernels::{gemm, runs, winograd};
use crate::tiling::matmul::{Ahead, RunsLeft, RunsRight};
use crate::tiling::{Matmul, Tiling};

use arena::Arena;
use in_place::Operands;
pub use kept::{KeptContent, KeptPart, KeptPlan};
pub use largest::Largest;
pub use merged::MergedAhead;
pub use print::text;
pub use tasks::{Last, ParallelRegion, SharedTiles, Skinny, Task, TilePart, Work, parallel_regions};
pub use verify::verify;

/// Larger steps are refused rather than attempted.
const LIMIT_GIB: usize = 64;

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// In the arena, at this offset.
    Arena(usize),
    /// The parameter of this index.
    Param(usize),
    /// The input of this index.
    Input(usize),
    /// Among what is made of parameters once, at this offset.
    Prepared(usize),
}

/// Where a tile lies: in the scratch of each thread, or in the arena if threads share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Where its first point is.
    pub at: usize,
    /// Floats from one point to the next.
    pub part: usize,
    /// Whether it lies in the arena.
    pub shared: bool,
}

/// Where some rows of a product lie that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductRows {
    /// In the scratch of each thread, at this offset.
    Scratch(usize),
    /// In the arena at this offset, for threads that share a tile.
    Arena(usize),
    /// Where what is made of it will lie, element by element.
    Tile(BufferId),
}

/// The memory of a program.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where each buffer lies; `None` for a tile, or if it has no elements.
    pub places: Vec<Option<Location>>,
    /// Where the tiles lie.
    pub tiles: HashMap<BufferId, Tile>,
    /// The memory that each kernel uses while it runs.
    pub kernels: Vec<KernelPlan>,
    /// All that lies in the arena, in the order in which it was placed.
    pub allocations: Vec<Allocation>,
    /// Length of the arena.
    pub arena: usize,
    /// Length of the scratch that every thread has to itself, and the end of a parallel region too: enough for any one kernel and
    /// the tiles of its group.
    pub scratch: usize,
    /// Sum of the lengths of all that was ever laid out: what an arena without sharing would need.
    pub unshared: usize,
    /// Offset of each parameter in the parameter block.
    pub params: Vec<usize>,
    /// Length of the parameter block.
    pub params_len: usize,
    /// What is made of parameters once, and kept from run to run.
    pub kept: KeptPlan,
    /// The batch size that it is made for.
    pub max_batch: usize,
    /// How the kernels run.
    pub tiling: Tiling,
}

impl Plan {
    /// What is laid out for a kernel: values that it writes, and what it uses while it runs.
    pub fn allocations_of(&self, kernel: usize) -> &[Allocation] {
        let behind = |kernel: usize| self.allocations.partition_point(|allocation| allocation.first < kernel);
        &self.allocations[behind(kernel)..behind(kernel + 1)]
    }

    /// Length of the arena with scratch after it: for one thread, or for the ends of regions and then for each of several.
    pub fn with_scratch(&self, threads: usize) -> usize {
        self.arena + self.scratch * if threads > 1 { 1 + threads } else { 1 }
    }
}

/// A part of the arena, or of the scratch of a thread, and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// What lies there.
    pub content: Content,
    /// Its offset.
    pub at: usize,
    /// Its length.
    pub len: usize,
    /// The kernel that writes it.
    pub first: usize,
    /// The last kernel that reads it; `usize::MAX` for a result.
    pub last: usize,
}

/// What lies in a part of the arena or of scratch. Instructions are those of the kernel that uses it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A value that later kernels read, or a result.
    Value(BufferId),
    /// Partial results of a reduction.
    Partial(usize),
    /// Lanes of a sum along a row.
    Lanes(usize),
    /// A row of a value that a later stage reads.
    Row(usize),
    /// A block of the product.
    Block,
    /// The same for a tile that threads share.
    SharedBlock,
    /// Some points of a value, which kernels of one group pass on.
    Tile(BufferId),
    /// The same for a tile that threads share.
    SharedTile(BufferId),
    /// Pieces of the product's operands.
    Workspace,
    /// The right operand of the product, rearranged.
    Packed,
}

impl Content {
    /// Whether it lies in the scratch of the thread that computes it.
    pub fn is_scratch(self) -> bool {
        !matches!(
            self,
            Content::Value(_) | Content::Partial(_) | Content::Packed | Content::SharedBlock | Content::SharedTile(_)
        )
    }
}

/// The memory that a kernel uses while it runs: offsets in the arena, or in the scratch of the thread.
#[derive(Clone, Debug, Default)]
pub struct KernelPlan {
    /// Partial results of reductions, by instruction and block by block: offset and floats in a block.
    pub partials: BTreeMap<usize, (usize, usize)>,
    /// Lanes of sums along a row, in scratch.
    pub lanes: BTreeMap<usize, usize>,
    /// Rows of values that a later stage reads, in scratch.
    pub spills: BTreeMap<usize, usize>,
    /// Some rows of the product, if it is not kept.
    pub product: Option<ProductRows>,
    /// Room for the product to rearrange pieces of its operands, in scratch.
    pub workspace: usize,
    /// The right operand of the product, rearranged once for all blocks, where that pays.
    pub packed: Option<usize>,
    /// Where it lies, or transformed taps, among what is kept from run to run.
    pub kept: Option<usize>,
    /// Values that are written over an operand of the kernel or of an earlier one of its group, element by element, and that
    /// operand, which nothing reads later.
    pub in_place: BTreeMap<BufferId, BufferId>,
}

/// Plans the memory of a program.
pub fn plan(fused: &Fused, tiling: Tiling) -> Result<Plan, BuildError> {
    let max_batch = tiling.max_batch;
    check_sizes(fused, max_batch)?;
    let mut arena = Arena::default();
    // A buffer of the arena gets its place from the kernel that writes it.
    let mut places: Vec<Option<Location>> = fused.buffers.iter().map(|buffer| home(buffer.home)).collect();
    let kept = kept::lay_out(fused, &tiling, &mut places);
    let len = |id: BufferId| padded(fused.buffer(id).shape.len_at(max_batch));
    let (last_read, writers) = (fused.last_uses(), fused.writers());
    // What a kernel of a group or a loop reads it reads until the last tile or step is done.
    let lives_on = |last: usize| if last == usize::MAX { last } else { fused.run_of(last).end - 1 };
    let last_use: Vec<usize> = last_read.iter().map(|&last| lives_on(last)).collect();
    let mut kernels: Vec<KernelPlan> = Vec::new();
    let (mut operands, mut tiles) = (Vec::new(), HashMap::new());
    // What has been written over in place.
    let mut overwritten = vec![false; fused.buffers.len()];
    for (index, kernel) in fused.kernels.iter().enumerate() {
        let run = fused.run_of(index);
        if index == run.start {
            operands.clear();
        }
        operands.push(Operands::of(fused, kernel));
        arena.release(index);
        let mut in_place = BTreeMap::new();
        for buffer in kernel.writes.iter().map(|write| write.buffer).filter(|&buffer| fused.is_tile(buffer)) {
            // The parts of a whole lie where the first of them has found room.
            let last = last_read[buffer.index()];
            tiles.entry(buffer).or_insert_with(|| tile(fused, &tiling, index, &mut arena, (buffer, last)));
        }
        for write in kernel.writes.iter().filter(|write| fused.buffer(write.buffer).home == Home::Arena) {
            // The states of a loop lie where the first one does, and the parts of a whole where the first of them does.
            if places[write.buffer.index()].is_some() {
                continue;
            }
            let (content, last) = (Content::Value(write.buffer), last_use[write.buffer.index()]);
            let own_len = len(write.buffer);
            let dying = |id: BufferId, reader: usize, read: in_place::Read| {
                let at = match places[id.index()] {
                    Some(Location::Arena(at)) if last_read[id.index()] == reader && fused.is_computed(id) => at,
                    _ => return None,
                };
                // What comes from outside a loop is read at every step, unless each has its part.
                let written =
                    |run: usize| writers[id.index()].iter().all(|writer| fused.loops[run].kernels.contains(writer));
                let own = usize::from(read == in_place::Read::OfStep);
                let dies = fused.loops_around(reader).skip(own).all(written);
                Some(at).filter(|_| dies && !overwritten[id.index()] && len(id) == own_len)
            };
            let at = match in_place::replaced(fused, index, (write, &writers[write.buffer.index()]), &operands, dying) {
                Some((operand, at)) => {
                    in_place.insert(write.buffer, operand);
                    overwritten[operand.index()] = true;
                    arena.take_over(content, at, own_len, last);
                    at
                }
                None => arena.take(content, own_len, last),
            };
            places[write.buffer.index()] = Some(Location::Arena(at));
        }
        let rearranged = kept.of(index).find(|part| !matches!(part.content, KeptContent::Value(_)));
        let own = kernel_plan(fused, &tiling, index, &mut arena);
        kernels.push(KernelPlan { in_place, kept: rearranged.map(|part| part.at), ..own });
    }
    let (params, params_len) = parameters(&fused.slots);
    let all = [arena.len, params_len, arena.scratch, kept.prepared, kept.packed];
    let bytes = all.into_iter().fold(0, usize::saturating_add).saturating_mul(4);
    if bytes > LIMIT_GIB << 30 {
        return Err(BuildError::TooLarge {
            max_batch,
            limit: LIMIT_GIB,
            largest: Largest::of_all(fused, max_batch).to_string(),
        });
    }
    let Arena { allocations, len: arena, scratch, total: unshared, .. } = arena;
    let plan = Plan {
        places,
        tiles,
        kernels,
        allocations,
        arena,
        scratch,
        unshared,
        params,
        params_len,
        kept,
        max_batch,
        tiling,
    };
    if cfg!(debug_assertions) {
        verify(&plan, fused).expect("values that live at the same time lie apart");
    }
    Ok(plan)
}

/// Where a buffer lies before any kernel is laid out.
fn home(home: Home) -> Option<Location> {
    match home {
        Home::Input(index) => Some(Location::Input(index)),
        Home::Param(index) => Some(Location::Param(index)),
        Home::Arena | Home::Tile => None,
    }
}

/// Every value fits the address space, and so does their sum, before any length is computed.
fn check_sizes(fused: &Fused, max_batch: usize) -> Result<(), BuildError> {
    let limit = LIMIT_GIB << 30 >> 2;
    let computed = fused.kernels.iter().flat_map(Kernel::origins).map(|origin| &origin.ty.shape);
    let buffers = fused.buffers.iter().map(|buffer| &buffer.shape);
    let mut total = 0usize;
    for shape in buffers.chain(computed) {
        let extents = shape.at(max_batch);
        let len = extents.iter().try_fold(1usize, |len, &extent| len.checked_mul(extent)).filter(|len| *len <= limit);
        let fits = len.is_some_and(|len| total.checked_add(len).is_some());
        total = total.saturating_add(len.unwrap_or(0));
        if !fits {
            return Err(BuildError::TooLarge {
                max_batch,
                limit: LIMIT_GIB,
                largest: Largest::of_all(fused, max_batch).to_string(),
            });
        }
    }
    Ok(())
}

/// Offsets of the parameters in their block, and its length. The same for every program of a network.
pub fn parameters(slots: &Slots) -> (Vec<usize>, usize) {
    let mut offset = 0;
    let offsets = slots.params.iter().map(|slot| {
        let at = offset;
        offset += padded(slot.shape.iter().product());
        at
    });
    let offsets = offsets.collect();
    (offsets, offset)
}

/// A length rounded up to whole lanes.
pub fn padded(len: usize) -> usize {
    len.next_multiple_of(LANES)
}

/// Floats of a row in which a reduction adds up: its results if it is one within rows, else lanes.
fn lanes_of_row(kernel: &Kernel, reduction: usize) -> usize {
    if kernel.is_within(reduction) { padded(kernel.results_within(reduction)) } else { LANES }
}

/// Takes the memory of a tile of what a kernel writes for others of its group, the last of which is given.
fn tile(fused: &Fused, tiling: &Tiling, index: usize, arena: &mut Arena, (buffer, last): (BufferId, usize)) -> Tile {
    let group = fused.group_of(index).expect("tiles are verified to be those of a group");
    let part = group.part_of(fused, buffer).expect("tiles are verified to be written point by point");
    let points = tiling.points(fused, index).min(group.points().at(tiling.max_batch));
    let (len, shared) = (points * part, group.shared);
    let at = match shared {
        true => arena.take(Content::SharedTile(buffer), len, group.kernels.end - 1),
        false => arena.take_tile(Content::Tile(buffer), len, last),
    };
    Tile { at, part, shared }
}

/// What a kernel uses while it runs: in a group, until the last tile is done.
fn kernel_plan(fused: &Fused, tiling: &Tiling, index: usize, arena: &mut Arena) -> KernelPlan {
    let (kernel, max_batch, last) = (&fused.kernels[index], tiling.max_batch, fused.run_of(index).end - 1);
    let rows = kernel.row_count().at(max_batch);
    let blocks = rows.div_ceil(kernel.block).max(1);
    let cols = padded(kernel.cols());
    let mut result = KernelPlan::default();
    for (at, instruction) in kernel.body.iter().enumerate() {
        let Some((reduction, _)) = instruction.reduction() else { continue };
        let mut partial = |arena: &mut Arena, floats: usize| {
            result.partials.insert(at, (arena.take(Content::Partial(at), blocks * floats, last), floats));
        };
        match reduction.form {
            Form::Mean | Form::Variance if kernel.moments(at).is_none() => partial(arena, 3 * cols),
            Form::Mean | Form::Variance => {}
            Form::Total(_) if kernel.is_over_everything(at) => {
                partial(arena, LANES);
            }
            Form::Total(_) if kernel.is_along_row(at) => {}
            Form::Total(_) => partial(arena, cols),
        }
        if reduction.total().is_some() && (kernel.gathers_in_lanes(at) || kernel.is_within(at)) {
            let floats = lanes_of_row(kernel, at);
            result.lanes.insert(at, arena.take(Content::Lanes(at), floats, last));
        }
    }
    for value in kernel.spilled(|buffer| fused.is_computed(buffer)) {
        let rows = tiling.kernels[index].turns.map_or(1, |turns| turns.rows);
        result.spills.insert(value, arena.take(Content::Row(value), rows * kernel.padded_cols(), last));
    }
    if let Some(dot) = &kernel.dot {
        let at_once = match fused.group_of(index).is_some_and(|group| group.adds_up(index)) {
            true => rows,
            false => rows.min(tiling.points(fused, index) * fused.rows_of_point(index)),
        };
        if fused.dot_buffer(kernel).is_none() {
            let len = at_once * kernel.cols();
            result.product = Some(match fused.is_shared(index) {
                true => in_place::of_product(fused, index)
                    .map_or_else(|| ProductRows::Arena(arena.take(Content::SharedBlock, len, last)), ProductRows::Tile),
                false => ProductRows::Scratch(arena.take(Content::Block, len, last)),
            });
        }
        if tiling.kernels[index].is_inline() {
            return result;
        }
        let (inner, cols) = (dot.inner().at(max_batch), kernel.cols());
        let room = match tiling.kernels[index].matmul {
            Some(Matmul::InRuns { left: RunsLeft::Gathered(terms), .. }) => runs::gathered_len(terms),
            Some(Matmul::InRuns { left: RunsLeft::GatheredRows(rows), .. }) => {
                runs::gathered_rows_len(rows, dot.order.piece)
            }
            Some(Matmul::InRuns { right: RunsRight::InPlace, .. }) => 0,
            Some(Matmul::Winograd { ahead, .. }) => {
                let winograd = dot.winograd.as_ref().expect("it was tiled in this form");
                let (channels, cols) = (winograd.channels, winograd.cols);
                if tiling.kernels[index].kept.is_none() {
                    let len = winograd::ahead_len(channels, cols).saturating_mul(winograd.parts(max_batch));
                    result.packed = Some(arena.take(Content::Packed, len, last));
                }
                match ahead {
                    Ahead::Taps => winograd::workspace_len(channels),
                    Ahead::Sums { .. } => winograd::sums_workspace_len(channels, cols),
                }
            }
            Some(Matmul::InRuns { .. }) => runs::workspace_len(cols, dot.order.piece),
            _ => gemm::workspace_len(at_once, cols, inner),
        };
        result.workspace = arena.take(Content::Workspace, room, last);
        if tiling.kernels[index].is_packed() {
            result.packed = Some(arena.take(Content::Packed, gemm::packed_b_len(cols, inner), last));
        }
    }
    result
}
