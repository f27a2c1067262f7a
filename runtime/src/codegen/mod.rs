//! From kernels to CLIF: a function for all kernels that are alike, which works on one block of rows, and one that runs
//! them all.
//!
//! In: kernels and where everything lies. Out: functions that Cranelift compiles. Every value of an element is computed
//! by the body that its operation declares; this room knows loops, addresses and reductions, and no operation by name.

mod abi;
mod canonical;
mod prefetch;
mod element;
mod entry;
mod finish;
mod groups;
mod host;
mod inline;
mod kernels;
mod lanes;
mod loops;
mod nest;
mod nested;
mod numbers;
mod matmul;
mod reader;
mod recording;
mod row;
mod shared;
mod stage;
mod turns;
mod runs;
mod view;
mod steps;
mod wide;
mod winograd;

use std::mem::offset_of;
use std::rc::Rc;

use cranelift_codegen::ir::{AbiParam, FuncRef, Function, InstBuilder, Signature, UserFuncName, Value, types};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::ir::ScalarSlot;
use crate::kernel::{Arg, Class, Fused, Kernel, LANES, Write};
use crate::memory::Word;
use crate::plan::{Location, Plan, Tile};
use crate::types::Dim;

pub use abi::{EntryFn, TaskFn, entry_signature, task_signature};
use canonical::{Canonical, Offset};
pub use entry::{entry, prepare, tail, task};
pub use host::Import;
use host::Imports;
pub use kernels::{Kernels, kernels};
pub use lanes::Constants;
use lanes::{Lanes, Width, constant_memory};
use loops::Trip;
use nest::Point;
pub use numbers::Numbers;
use view::View;
use wide::WideStage;
pub use wide::{WideFunctions, wide_signature};

/// What compiled code gets to see of a session, by address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Values of the step.
    pub arena: *mut f32,
    /// Parameters, running statistics, optimizer state.
    pub params: *mut f32,
    /// Run-time scalars.
    pub scalars: *const Word,
    /// The constants of the program.
    pub table: *const u32,
    /// Where each input lies.
    pub inputs: *const *const u8,
    /// The batch size.
    pub batch: i64,
    /// Values that the thread has to itself.
    pub scratch: *mut f32,
    /// Not 0 once the variance of a batch that is kept as a running statistic is beyond the largest f32.
    pub overflow: *mut u32,
    /// Where tiles lie: in the scratch of the thread, or in one that threads share where each has rows of the same tile.
    pub tiles: *mut f32,
    /// What is made of parameters once: results and transformed taps.
    pub prepared: *mut f32,
    /// Rearranged right operands that are made of parameters once, or null.
    pub packed: *const f32,
}

impl Context {
    const ARENA: i32 = offset_of!(Context, arena) as i32;
    const PARAMS: i32 = offset_of!(Context, params) as i32;
    const SCALARS: i32 = offset_of!(Context, scalars) as i32;
    const TABLE: i32 = offset_of!(Context, table) as i32;
    const INPUTS: i32 = offset_of!(Context, inputs) as i32;
    const BATCH: i32 = offset_of!(Context, batch) as i32;
    const SCRATCH: i32 = offset_of!(Context, scratch) as i32;
    const OVERFLOW: i32 = offset_of!(Context, overflow) as i32;
    const TILES: i32 = offset_of!(Context, tiles) as i32;
    const PREPARED: i32 = offset_of!(Context, prepared) as i32;
    const PACKED: i32 = offset_of!(Context, packed) as i32;
}

/// The machine that code is generated for.
#[derive(Clone, Copy)]
pub struct Target {
    /// How functions are called.
    pub call_conv: CallConv,
    /// Pointer width and the like.
    pub config: TargetFrontendConfig,
    /// Whether it has fused multiply-add.
    pub fma: bool,
}

/// The parts of a program that code generation reads.
#[derive(Clone, Copy, Debug)]
pub struct CodegenInput<'a> {
    /// The kernels.
    pub fused: &'a Fused,
    /// Where everything lies.
    pub plan: &'a Plan,
    /// Whether the runtime is told when each kernel begins and ends.
    pub timed: bool,
}

/// The signature of a kernel: context, first row, row after the last, number of the block, where its offsets stand, first point
/// of the tile; in a loop the position too. By itself, a kernel has a tile of rows: those that are computed in one go.
pub fn kernel_signature(target: Target, in_loop: bool) -> Signature {
    let mut signature = Signature::new(target.call_conv);
    signature.params.extend([AbiParam::new(types::I64); 6]);
    signature.params.extend(in_loop.then(|| AbiParam::new(types::I64)));
    signature
}

/// What the kernels of a program have in common.
#[derive(Clone, Copy)]
struct Common<'a> {
    numbers: Numbers,
    target: Target,
    scalars: &'a [ScalarSlot],
    max_batch: usize,
}

/// Emits the function of a kernel, that of this number. The offsets of what it reads and writes are not part of it: they are read from
/// a list, which is returned beside it.
fn kernel(
    canonical: &Canonical,
    common: Common<'_>,
    index: usize,
    constants: &mut Constants,
    wide_functions: &mut WideFunctions,
) -> (Function, Vec<Offset>) {
    let Common { numbers, target, scalars, max_batch } = common;
    let name = UserFuncName::user(0, numbers.kernel(index));
    let mut function = Function::with_name_signature(name, kernel_signature(target, canonical.in_loop));
    let mut context = FunctionBuilderContext::new();
    let mut fb = FunctionBuilder::new(&mut function, &mut context);
    let block = fb.create_block();
    fb.append_block_params_for_function_params(block);
    fb.switch_to_block(block);
    let params = fb.block_params(block).to_vec();
    let [ctx, lo, hi, number, list, first, ..] = params[..] else { unreachable!("a kernel has six parameters") };
    let load = |fb: &mut FunctionBuilder<'_>, offset| fb.ins().load(types::I64, constant_memory(), ctx, offset);
    let arena = load(&mut fb, Context::ARENA);
    let table = load(&mut fb, Context::TABLE);
    let mut emit = KernelEmitter {
        fb,
        constants,
        target,
        imports: Imports::new(target, numbers),
        numbers,
        wide_functions,
        wide_imports: FxHashMap::default(),
        wide_stages: FxHashMap::default(),
        kept: lo,
        kernel: &canonical.kernel,
        canonical,
        scalars,
        max_batch,
        element_slots: FxHashSet::default(),
        ctx,
        lo,
        hi,
        number,
        list,
        first,
        position: params.get(6).copied(),
        rows_of_point: canonical.rows_of_point,
        offsets: Vec::new(),
        arena,
        table,
        bases: FxHashMap::default(),
        singles: FxHashMap::default(),
        rows: FxHashMap::default(),
        row_bases: FxHashMap::default(),
        row: lo,
        row_offset: lo,
        point: Point::default(),
        lane: None,
    };
    emit.run();
    emit.fb.ins().return_(&[]);
    emit.fb.seal_all_blocks();
    let offsets = emit.offsets;
    emit.fb.finalize(target.config);
    (function, offsets)
}

/// A kernel's function while it is being emitted.
struct KernelEmitter<'a, 'f> {
    fb: FunctionBuilder<'f>,
    constants: &'a mut Constants,
    target: Target,
    imports: Imports,
    numbers: Numbers,
    wide_functions: &'a mut WideFunctions,
    wide_imports: FxHashMap<u32, FuncRef>,
    /// The stages that have been asked for a function: every row that is worked on at a time asks.
    wide_stages: FxHashMap<usize, Option<Rc<WideStage>>>,
    /// Where the numbers of the first row lie that functions for many rows find in memory.
    kept: Value,
    kernel: &'a Kernel,
    canonical: &'a Canonical,
    scalars: &'a [ScalarSlot],
    max_batch: usize,
    /// Memory of which a row is read or written element by element.
    element_slots: FxHashSet<Slot>,
    ctx: Value,
    lo: Value,
    hi: Value,
    number: Value,
    /// Where the offsets stand that differ between kernels of one code.
    list: Value,
    /// The first point of the tile.
    first: Value,
    /// The position of the loop, if the kernel is in one.
    position: Option<Value>,
    rows_of_point: usize,
    offsets: Vec<Offset>,
    arena: Value,
    table: Value,
    /// The address of the first element of what is read or written.
    bases: FxHashMap<Slot, Value>,
    /// Values that are uniform.
    singles: FxHashMap<Arg, Value>,
    /// Values of the present row.
    rows: FxHashMap<Arg, Value>,
    /// The addresses of the present row in matrices.
    row_bases: FxHashMap<Slot, Value>,
    row: Value,
    row_offset: Value,
    /// Where the present element is, in a kernel of more axes than two.
    point: Point,
    /// How far, in bytes, the present columns are from the first of the lanes in which they are added up; `None` if only
    /// running code knows.
    lane: Option<i32>,
}

/// Memory that a kernel reads or writes. Of a canonical kernel, places are numbers of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    /// A value with a place of its own, and how many elements it moves from position to position of the loop.
    Location(Location, i64),
    /// A value that the write of this number puts where it says, row by row.
    Strided(usize),
    /// A value of which each thread has a tile, as if it were there as a whole.
    Tile(Tile),
    /// The first point of such a tile.
    TileStart(Tile),
    /// Rows of the product in scratch, at this offset: those of a tile.
    Block(usize),
    /// The same in the arena.
    SharedBlock(usize),
    /// One row of scratch, at this offset in the arena.
    Scratch(usize),
    /// The block's part of the partial sums at this offset in the arena, so many floats a block.
    Partial(usize, usize),
}

impl<'a, 'f> KernelEmitter<'a, 'f> {
    fn run(&mut self) {
        self.open_slots();
        self.open_singles();
        self.clear_sums();
        self.inline_product();
        self.start_partials();
        if self.kernel.flat {
            self.fill_rows(self.lo);
            self.stages();
        } else if !self.rows_in_wide() {
            self.all_rows();
        }
        self.finish_moments();
    }

    /// Computes the addresses of everything the kernel touches, once.
    fn open_slots(&mut self) {
        let kernel = self.kernel;
        let mut slots = Vec::new();
        let plain = kernel.is_plain();
        let element = |arg: Arg| match arg {
            Arg::Read(read) if !plain => kernel.is_aligned(&kernel.reads[read].access),
            arg => kernel.arg_class(arg) == Class::Element,
        };
        let mut elements = FxHashSet::default();
        for instruction in &kernel.body {
            for &arg in &instruction.args {
                let slot = self.slot_read(arg, instruction.stage);
                elements.extend(slot.filter(|_| element(arg)));
                slots.extend(slot);
            }
        }
        for write in &kernel.writes {
            let read = self.slot_read(write.value, 0).filter(|_| write.copied || write.value == Arg::Dot);
            let written = self.slot_written(write);
            elements.extend(read.filter(|_| element(write.value)));
            let whole = kernel.class_of(write.access.at.axes()) == Class::Element;
            elements.extend(written.filter(|slot| whole && !matches!(slot, Slot::Strided(_))));
            slots.extend(read.into_iter().chain(written));
        }
        // An index by which others are looked up may be no operand of anything.
        if !plain {
            slots.extend((0..kernel.reads.len()).filter_map(|read| self.slot_read(Arg::Read(read), 0)));
        }
        self.element_slots = elements;
        slots.extend(self.inline_slots());
        slots.extend(self.canonical.spills.values().chain(self.canonical.lanes.values()).map(|&at| Slot::Scratch(at)));
        slots.extend(self.canonical.partials.values().map(|&(at, len)| Slot::Partial(at, len)));
        for slot in slots {
            if !self.bases.contains_key(&slot) {
                let base = self.open_slot(slot);
                self.bases.insert(slot, base);
            }
        }
    }

    fn open_slot(&mut self, slot: Slot) -> Value {
        match slot {
            Slot::Location(location, 0) => self.open_location(location),
            Slot::Location(location, position) => {
                let start = self.open_location(location);
                self.moved_to_position(start, position)
            }
            Slot::Strided(write) => {
                let write = &self.kernel.writes[write];
                let start = match self.canonical.place(write.buffer, 0) {
                    Slot::Tile(tile) => {
                        let start = self.start_of_tile(tile);
                        self.before_points(start, tile.part)
                    }
                    Slot::Location(location, _) => self.open_location(location),
                    _ => unreachable!("a buffer is a tile or has a location"),
                };
                let start = self.moved_to_position(start, write.access.position);
                self.behind(start, Offset::Common(4 * write.access.at.constant))
            }
            Slot::Scratch(at) => self.address_of_context(Context::SCRATCH, at),
            Slot::Tile(tile) => {
                let start = self.start_of_tile(tile);
                self.bases.insert(Slot::TileStart(tile), start);
                self.before_points(start, tile.part)
            }
            Slot::TileStart(_) => unreachable!("it is known with its tile"),
            Slot::Block(at) => {
                let start = self.address_of_context(Context::SCRATCH, at);
                self.before_points(start, self.rows_of_point * self.kernel.cols())
            }
            Slot::SharedBlock(at) => {
                let start = self.behind(self.arena, Offset::Own(at));
                self.before_points(start, self.rows_of_point * self.kernel.cols())
            }
            Slot::Partial(at, len) => {
                let base = self.behind(self.arena, Offset::Own(at));
                let before = self.times(self.number, 4 * len as i64);
                self.fb.ins().iadd(base, before)
            }
        }
    }

    /// An address so many elements further for each position of the loop.
    fn moved_to_position(&mut self, start: Value, elements: i64) -> Value {
        let Some(position) = self.position.filter(|_| elements != 0) else { return start };
        let bytes = self.offset(Offset::Common(4 * elements));
        let before = self.fb.ins().imul(position, bytes);
        self.fb.ins().iadd(start, before)
    }

    fn open_location(&mut self, location: Location) -> Value {
        match location {
            Location::Arena(at) => self.behind(self.arena, Offset::Own(at)),
            Location::Param(at) => self.address_of_context(Context::PARAMS, at),
            Location::Prepared(at) => self.address_of_context(Context::PREPARED, at),
            Location::Input(at) => {
                let address = self.address_of_context(Context::INPUTS, at);
                self.fb.ins().load(types::I64, constant_memory(), address, 0)
            }
        }
    }

    /// Where the first point of a tile lies.
    fn start_of_tile(&mut self, tile: Tile) -> Value {
        match tile.shared {
            true => self.behind(self.arena, Offset::Own(tile.at)),
            false => self.address_of_context(Context::TILES, tile.at),
        }
    }

    /// An address in the context, and the offset of this number further.
    fn address_of_context(&mut self, address: i32, offset: usize) -> Value {
        let base = self.fb.ins().load(types::I64, constant_memory(), self.ctx, address);
        self.behind(base, Offset::Own(offset))
    }

    /// Where the first point of all would be, if the first of the tile is here, with so many floats each.
    fn before_points(&mut self, start: Value, part: usize) -> Value {
        let before = self.times(self.first, 4 * part as i64);
        self.fb.ins().isub(start, before)
    }

    /// An address and an offset further.
    fn behind(&mut self, base: Value, offset: Offset) -> Value {
        let offset = self.offset(offset);
        self.fb.ins().iadd(base, offset)
    }

    /// Reads the next number of the list, which is this one.
    fn offset(&mut self, offset: Offset) -> Value {
        let place = 8 * self.offsets.len() as i32;
        self.offsets.push(offset);
        self.fb.ins().load(types::I64, constant_memory(), self.list, place)
    }

    /// Where an operand is read from in a stage, if it is read from memory.
    fn slot_read(&self, arg: Arg, stage: usize) -> Option<Slot> {
        self.view().slot_read(arg, stage)
    }

    fn slot_written(&self, write: &Write) -> Option<Slot> {
        self.view().slot_written(write)
    }

    fn view(&self) -> View<'a> {
        View { kernel: self.kernel, canonical: self.canonical }
    }

    fn lanes(&mut self, width: Width) -> Lanes<'_, 'f> {
        Lanes::new(&mut self.fb, self.constants, self.table, self.target.fma, width)
    }

    /// The columns of a row, or the elements of a flat block.
    fn trip(&mut self) -> Trip {
        let cols = self.kernel.cols();
        if !self.kernel.flat {
            return Trip::Known(cols);
        }
        match self.kernel.row_count() {
            Dim::Fixed(rows) if rows <= self.kernel.block => Trip::Known(rows * cols),
            _ => {
                let rows = self.fb.ins().isub(self.hi, self.lo);
                let bytes = self.times(rows, 4 * cols as i64);
                if cols.is_multiple_of(LANES) { Trip::Lanes(bytes) } else { Trip::Bytes(bytes) }
            }
        }
    }
}
