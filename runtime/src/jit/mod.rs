//! From CLIF to machine code in memory, and its life.
//!
//! In: functions. Out: one entry point, valid as long as the [`Code`] that owns it. All functions of a program are defined,
//! then made executable at once; pages are never writable and executable at the same time.

mod emit;
mod fork;
mod functions;
#[cfg(all(test, target_os = "linux"))]
mod guarded;
mod ieee;
mod kept;
mod pages;
mod pool;
#[cfg(all(test, target_os = "linux"))]
mod surroundings;
mod text;
mod ticks;
#[cfg(all(test, target_arch = "x86_64"))]
mod wide;
mod work_queue;

use std::ops::Range;
use std::sync::Arc;

use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Module, ModuleError, default_libcall_names};

use crate::codegen::{CodegenInput, Context, EntryFn, Import, Target, TaskFn};
use crate::error::BuildError;
use crate::kernel::Fused;
use crate::memory::{FEW_INPUTS, Input, Memory, Params};
use crate::microkernels::gemm;
use crate::plan::{self, ParallelRegion, Plan, Task, TilePart, Work};
use crate::tiling::Machine;
use crate::types::{Dim, TensorType};

use emit::{Emitted, emit};
use functions::{CompileQueue, Isas, compile_while};
use kept::KeptCode;
use pages::Pages;
pub use pool::Pool;
pub use text::{Text, isa_by_name, text, text_for, text_keeping};
use work_queue::MOST_UNITS;

/// A compiled program. It may run in several threads at once, each with an arena of its own.
pub struct Code {
    /// Never read, but they hold the entry.
    _pages: Pages,
    entry: EntryFn,
    /// The constants that the code reads, each four times, and the offsets of its kernels, aligned to 16 bytes.
    table: Vec<Aligned>,
    needs: Needs,
    /// What it makes of parameters once.
    kept: KeptCode,
    /// The program cut into regions, if it was compiled for several threads and some of it can be shared.
    shared: Option<SharedCode>,
}

/// Code for several threads.
struct SharedCode {
    table: Arc<work_queue::Table>,
    /// The tasks in the order of the table.
    tasks: Vec<SharedTask>,
    /// Nanoseconds of work below which one thread is done before others have come.
    launch: f64,
}

/// What is shared, and how much work that is.
struct SharedTask {
    task: Task,
    /// How many rows it is cut along, or images of [`Work::Sums`], and how many columns its kernel has.
    extents: (Dim, usize),
    /// About how many nanoseconds it takes on one thread, with one row and with `max_batch`.
    work: [f64; 2],
}

impl SharedTask {
    fn units(&self, batch: usize) -> usize {
        self.task.units(self.extents.0.at(batch), self.extents.1)
    }
}

impl SharedCode {
    /// Whether what is cut for such a batch is worth handing over.
    fn pays(&self, batch: usize, max_batch: usize) -> bool {
        let share = (batch - 1) as f64 / (max_batch.max(2) - 1) as f64;
        let shared = self.tasks.iter().filter(|task| task.units(batch) > 1);
        let work = shared.map(|SharedTask { work: [one, most], .. }| one + (most - one) * share);
        work.sum::<f64>() > self.launch && self.tasks.iter().all(|task| task.units(batch) <= MOST_UNITS)
    }
}

/// Four copies of a constant.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug)]
struct Aligned([u32; 4]);

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("constants", &self.table.len()).finish_non_exhaustive()
    }
}

impl Code {
    /// Runs the program. Says whether loss and statistics are finite; where nothing is updated that is not looked at.
    ///
    /// # Panics
    /// If the memory is not as large as the program's plan says: a fault of the session, never of its user.
    pub fn run(&self, memory: Memory<'_>) -> bool {
        self.with(memory, |context| {
            let _mode = ieee::IeeeMode::enter();
            // The code touches what the context names, within the lengths checked before, and nothing else.
            (self.entry)(&context) == 0
        })
    }

    /// As [`Code::run`], with the threads of a pool where that pays. The bits are the same.
    ///
    /// # Panics
    /// As for [`Code::run`], and if the pool has more threads than the program was compiled for.
    pub fn run_on(&self, pool: &mut Pool, memory: Memory<'_>) -> bool {
        let shared = self.shared_for(memory.batch);
        let Some(shared) = shared.filter(|_| !pool.rests()) else { return self.run(memory) };
        assert!(pool.threads() <= self.needs.threads, "every thread has scratch of its own");
        let (batch, scratch) = (memory.batch, self.needs.scratch);
        self.with(memory, |context| {
            let _mode = ieee::IeeeMode::enter();
            let units = |task: usize| shared.tasks[task].units(batch);
            let contexts = |index| {
                let scratch = context.scratch.wrapping_add(index * scratch);
                Context { scratch, tiles: scratch, ..context }
            };
            // SAFETY: the code is that of this program, and two threads do at once what its schedule lets them.
            unsafe { pool.run((&shared.table, batch), units, contexts) }
        })
    }

    /// Whether threads pay for such a batch.
    pub fn shares(&self, batch: usize) -> bool {
        self.shared_for(batch).is_some()
    }

    fn shared_for(&self, batch: usize) -> Option<&SharedCode> {
        self.shared.as_ref().filter(|shared| shared.pays(batch, self.needs.max_batch))
    }

    /// Makes room in a pool for this program.
    pub fn reserve(&self, pool: &mut Pool) {
        if let Some(shared) = &self.shared {
            pool.reserve(&shared.table);
        }
    }

    /// Checks the memory of a run and gives its addresses away.
    fn with(&self, memory: Memory<'_>, run: impl FnOnce(Context) -> bool) -> bool {
        let Memory { arena, params, scalars, inputs, batch } = memory;
        assert!(arena.len() >= self.needs.arena && params.len() >= self.needs.params, "the plan's memory is there");
        let [prepared, packed] = self.kept.addresses(&params);
        let params = match params {
            Params::Own(floats) => floats.as_mut_ptr(),
            Params::Shared(floats) | Params::Prepared { params: floats, .. } => {
                assert!(!self.needs.writes, "a program that writes parameters has them for itself");
                floats.as_ptr().cast_mut()
            }
        };
        assert!(scalars.len() >= self.needs.scalars && (1..=self.needs.max_batch).contains(&batch), "as planned");
        assert_eq!(inputs.len(), self.needs.inputs.len(), "every input is passed");
        let (mut few, mut many) = ([std::ptr::null(); FEW_INPUTS], Vec::new());
        let addresses = if inputs.len() <= FEW_INPUTS {
            &mut few[..]
        } else {
            many.resize(inputs.len(), std::ptr::null());
            &mut many
        };
        for ((input, slot), address) in inputs.iter().zip(&self.needs.inputs).zip(&mut *addresses) {
            let len = slot.shape.len_at(batch);
            *address = match input {
                Input::Float(values) if values.len() == len && !slot.dtype.is_index() => values.as_ptr().cast::<u8>(),
                Input::Index(ids) if ids.len() == len && slot.dtype.is_index() => ids.as_ptr().cast(),
                _ => panic!("an input of {len} elements for {slot}"),
            };
        }
        let arena = arena.as_mut_ptr();
        let mut overflow = 0;
        let scratch = arena.wrapping_add(self.needs.values);
        run(Context {
            arena,
            params,
            scalars: scalars.as_ptr(),
            table: self.table.as_ptr().cast(),
            inputs: addresses.as_ptr(),
            batch: batch as i64,
            scratch,
            tiles: scratch,
            overflow: &raw mut overflow,
            prepared: prepared.cast_mut(),
            packed,
        })
    }
}

/// What a program needs to run.
#[derive(Clone, Debug)]
struct Needs {
    /// Length of the arena, with scratch and without.
    arena: usize,
    values: usize,
    /// Scratch of a thread.
    scratch: usize,
    threads: usize,
    params: usize,
    scalars: usize,
    max_batch: usize,
    inputs: Vec<TensorType>,
    /// Whether it writes parameters.
    writes: bool,
}

/// The instruction set of this machine, with the flags that generated code wants: all that it has, or for portable
/// microkernels what x86-64 had before AVX.
fn native_isa(microkernels: gemm::Isa, registers: Registers) -> Result<OwnedTargetIsa, BuildError> {
    let older = cfg!(target_arch = "x86_64") && microkernels == gemm::Isa::Portable;
    let builder = cranelift_native::builder_with_options(!older);
    let builder = builder.map_err(|message| BuildError::Machine(message.to_string()))?;
    #[cfg(target_arch = "x86_64")]
    let builder = if older { before_avx(builder)? } else { builder };
    finish_isa(builder, registers)
}

/// With what this machine has of the instructions that were there before AVX.
#[cfg(target_arch = "x86_64")]
fn before_avx(mut builder: cranelift_codegen::isa::Builder) -> Result<cranelift_codegen::isa::Builder, BuildError> {
    let has = [
        ("has_sse3", is_x86_feature_detected!("sse3")),
        ("has_ssse3", is_x86_feature_detected!("ssse3")),
        ("has_sse41", is_x86_feature_detected!("sse4.1")),
        ("has_sse42", is_x86_feature_detected!("sse4.2")),
    ];
    for (flag, _) in has.into_iter().filter(|(_, has)| *has) {
        builder.enable(flag).map_err(|error| BuildError::Machine(error.to_string()))?;
    }
    Ok(builder)
}

/// How registers are given to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registers {
    /// So that loops have what they need.
    Well,
    /// In one pass. It takes a third of the time; more goes to the stack and back.
    Quickly,
}

/// Sets the flags: no optimizer, because the order of instructions is chosen by code generation; no verifier in release.
pub fn finish_isa(
    builder: cranelift_codegen::isa::Builder,
    registers: Registers,
) -> Result<OwnedTargetIsa, BuildError> {
    let mut flags = settings::builder();
    let checked = if cfg!(debug_assertions) { "true" } else { "false" };
    let wanted = [
        ("opt_level", "none"),
        ("enable_verifier", checked),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("unwind_info", "false"),
        ("regalloc_algorithm", if registers == Registers::Quickly { "single_pass" } else { "backtracking" }),
    ];
    for (name, value) in wanted {
        flags.set(name, value).expect("the flags exist in this version of Cranelift");
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| BuildError::Machine(error.to_string()))
}

/// What code generation has to know of a machine.
pub fn target(isa: &dyn TargetIsa) -> Target {
    let x86 = matches!(isa.triple().architecture, target_lexicon::Architecture::X86_64);
    let has = |name: &str| isa.isa_flags().iter().any(|flag| flag.name == name && flag.as_bool() == Some(true));
    let fma = !x86 || has("has_fma");
    Target { call_conv: isa.default_call_conv(), config: isa.frontend_config(), fma }
}

/// Compiles a program for this machine, which has to have the microkernels that it was tiled for.
pub fn compile(fused: &Fused, plan: &Plan) -> Result<Code, BuildError> {
    assemble(CodegenInput { fused, plan, timed: false })
}

/// The same for one thread, with kernels that can be timed: see [`Code::run_timed`].
pub fn compile_timed(fused: &Fused, plan: &Plan) -> Result<Code, BuildError> {
    assemble(CodegenInput { fused, plan, timed: true })
}

fn assemble(program: CodegenInput<'_>) -> Result<Code, BuildError> {
    let CodegenInput { fused, plan, .. } = program;
    let Machine { isa: microkernels, cores: threads, .. } = plan.tiling.machine;
    let slots = &fused.slots;
    let isas = Isas::of(microkernels)?;
    let target = target(&*isas.well);
    let pages = Pages::default();
    let mut builder = JITBuilder::with_isa(isas.well.clone(), default_libcall_names());
    builder.memory_provider(pages.provider());
    for import in Import::ALL {
        builder.symbol(import.symbol(), import.address(threads));
    }
    let mut module = JITModule::new(builder);
    let regions = if threads > 1 { plan::parallel_regions(fused, plan) } else { Vec::new() };
    let regions = if regions.iter().all(|region| region.tasks.is_empty()) { Vec::new() } else { regions };
    let emit = |queue: &mut CompileQueue<'_, '_>| emit(&mut module, program, target, &regions, queue);
    let (emitted, compiled) = compile_while(&isas, threads, emit)?;
    let Emitted { kernels, ids, entry, prepare: prepare_id, shared: shared_ids, wide: wide_ids } = emitted;
    for (compiled, id) in compiled.into_iter().zip(ids) {
        compiled.define(&mut module, id)?;
    }
    for (function, &id) in kernels.wide.code.iter().zip(&wide_ids) {
        module.define_function_bytes(id, 64, &function.bytes, &[]).map_err(failed)?;
    }
    module.finalize_definitions().map_err(failed)?;
    let entry = module.get_finalized_function(entry);
    // SAFETY: the entry was declared with the signature of this type.
    let entry = unsafe { std::mem::transmute::<*const u8, EntryFn>(entry) };
    let prepare = prepare_id.map(|id| {
        let code = module.get_finalized_function(id);
        // SAFETY: so was what prepares a run.
        unsafe { std::mem::transmute::<*const u8, EntryFn>(code) }
    });
    let kept = KeptCode::of(fused, plan, prepare);
    let table =
        kernels.constants.words.chunks_exact(4).map(|four| Aligned([four[0], four[1], four[2], four[3]])).collect();
    let needs = Needs {
        arena: plan.with_scratch(threads),
        values: plan.arena,
        scratch: plan.scratch,
        threads,
        params: plan.params_len,
        scalars: slots.scalars.len(),
        max_batch: plan.max_batch,
        inputs: slots.inputs.iter().map(|slot| slot.ty.clone()).collect(),
        writes: fused.kernels.iter().flat_map(|kernel| &kernel.writes).any(|write| !fused.is_computed(write.buffer)),
    };
    let shared = (!regions.is_empty()).then(|| shared_code(&module, fused, plan, &regions, &shared_ids));
    Ok(Code { _pages: pages, entry, table, needs, kept, shared })
}

/// What the system refuses is told in its words; all else is the code generator's.
fn failed(error: ModuleError) -> BuildError {
    match error {
        ModuleError::Allocation { err } => BuildError::CodeMemory(err.to_string()),
        other => BuildError::Machine(other.to_string()),
    }
}

/// The finished code of tasks and regions.
fn shared_code(
    module: &JITModule,
    fused: &Fused,
    plan: &Plan,
    regions: &[ParallelRegion],
    ids: &[FuncId],
) -> SharedCode {
    let tasks = || regions.iter().flat_map(|region| &region.tasks);
    let (unit_ids, tail_ids) = ids.split_at(tasks().count());
    let (mut unit_ids, mut first) = (unit_ids.iter(), 0);
    let region_codes = regions.iter().zip(tail_ids).map(|(region, &tail)| {
        let unit = |&id| {
            let code = module.get_finalized_function(id);
            // SAFETY: tasks were declared with the signature of this type.
            unsafe { std::mem::transmute::<*const u8, TaskFn>(code) }
        };
        let tail = module.get_finalized_function(tail);
        // SAFETY: ends of regions were declared with the signature of this type.
        let tail = unsafe { std::mem::transmute::<*const u8, EntryFn>(tail) };
        let tasks: Vec<TaskFn> = unit_ids.by_ref().take(region.tasks.len()).map(unit).collect();
        first += tasks.len();
        work_queue::RegionCode { first: first - tasks.len(), tasks, tail, tiles: region.tiles }
    });
    let table = Arc::new(work_queue::Table { regions: region_codes.collect(), max_batch: plan.max_batch });
    let time = |run: Range<usize>| {
        let each = |batch| run.clone().map(|index| plan.tiling.nanoseconds(fused, index, batch)).sum::<f64>();
        [1, plan.max_batch].map(each)
    };
    let shared = tasks().map(|&task| {
        let work = match task.work {
            // Part of what the rows of the kernel take.
            Work::Pack | Work::Fold | Work::Tile { part: TilePart::Blocks, .. } => [0.0; 2],
            Work::Columns | Work::Member | Work::Sums { .. } | Work::Tile { .. } => time(task.kernel..task.kernel + 1),
            Work::Rows => time(fused.run_of(task.kernel)),
        };
        let kernel = &fused.kernels[task.kernel];
        SharedTask { task, extents: (task.rows(kernel), kernel.cols()), work }
    });
    SharedCode { table, tasks: shared.collect(), launch: plan.tiling.machine.launch }
}
