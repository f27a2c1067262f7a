//! From CLIF to machine code in memory, and its life.
//!
//! In: functions. Out: one entry point, valid as long as the [`Code`] that owns it. All functions of a program are defined,
//! then made executable at once; pages are never writable and executable at the same time.

mod ieee;
mod imports;
mod text;

use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{Context as CodegenContext, ir::Function};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};

use crate::codegen::{Constants, Context, Import, Program, Target, entry, entry_signature, kernel, kernel_signature};
use crate::error::BuildError;
use crate::fuse::Fused;
use crate::memory::{FEW_INPUTS, Input, Memory, Params};
use crate::microkernels::gemm;
use crate::plan::Plan;
use crate::types::TensorType;

pub use text::{Text, isa_by_name, text, text_for};

/// A compiled program. It may run in several threads at once, each with an arena of its own.
pub struct Code {
    /// Never read, but its pages hold the entry.
    _pages: Pages,
    entry: extern "C" fn(*const Context) -> i32,
    /// The constants that the code reads, each four times, aligned to 16 bytes.
    table: Vec<Aligned>,
    needs: Needs,
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
    /// Runs the program. Says whether the loss is finite; without a loss that is so.
    ///
    /// # Panics
    /// If the memory is not as large as the program's plan says: a fault of the session, never of its user.
    pub fn run(&self, memory: Memory<'_>) -> bool {
        let Memory { arena, params, scalars, inputs, batch } = memory;
        assert!(arena.len() >= self.needs.arena && params.len() >= self.needs.params, "the plan's memory is there");
        let params = match params {
            Params::Own(floats) => floats.as_mut_ptr(),
            Params::Shared(floats) => {
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
        let context = Context {
            arena: arena.as_mut_ptr(),
            params,
            scalars: scalars.as_ptr(),
            table: self.table.as_ptr().cast(),
            inputs: addresses.as_ptr(),
            batch: batch as i64,
        };
        let _mode = ieee::IeeeMode::enter();
        // The code touches what the context names, within the lengths checked above, and nothing else.
        (self.entry)(&context) == 0
    }
}

/// What a program needs to run.
#[derive(Clone, Debug)]
struct Needs {
    arena: usize,
    params: usize,
    scalars: usize,
    max_batch: usize,
    inputs: Vec<TensorType>,
    /// Whether it writes parameters.
    writes: bool,
}

/// The executable pages of a program, freed when it is dropped.
struct Pages(Option<JITModule>);

// SAFETY: a shared reference gives no way to the module: nothing but `drop`, which has the value for itself, reads it. The
// pages it owns are executable and read-only since before it came here.
unsafe impl Sync for Pages {}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(module) = self.0.take() {
            // SAFETY: the entry point is private to the program that owns the pages and dies with it.
            unsafe { module.free_memory() };
        }
    }
}

/// The instruction set of this machine, with the flags that generated code wants.
pub fn native_isa() -> Result<OwnedTargetIsa, BuildError> {
    let builder = cranelift_native::builder().map_err(|message| BuildError::Machine(message.to_string()))?;
    finish_isa(builder)
}

/// Sets the flags: no optimiser, because the order of instructions is chosen by code generation; no verifier in release.
pub fn finish_isa(builder: cranelift_codegen::isa::Builder) -> Result<OwnedTargetIsa, BuildError> {
    let mut flags = settings::builder();
    let checked = if cfg!(debug_assertions) { "true" } else { "false" };
    let wanted = [
        ("opt_level", "none"),
        ("enable_verifier", checked),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("unwind_info", "false"),
    ];
    for (name, value) in wanted {
        flags.set(name, value).expect("the flags exist in this version of Cranelift");
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| BuildError::Machine(error.to_string()))
}

/// What code generation has to know of a machine.
pub fn target(isa: &dyn TargetIsa) -> Target {
    let fma = match isa.triple().architecture {
        target_lexicon::Architecture::X86_64 => {
            isa.isa_flags().iter().any(|flag| flag.name == "has_fma" && flag.as_bool() == Some(true))
        }
        _ => true,
    };
    Target { call_conv: isa.default_call_conv(), config: isa.frontend_config(), fma }
}

/// All functions of a program: its kernels, then the entry.
pub fn functions(program: Program<'_>, target: Target, isa: gemm::Isa) -> (Vec<Function>, Constants) {
    let mut constants = Constants::default();
    let kernels = 0..program.fused.kernels.len();
    let mut functions: Vec<Function> = kernels.map(|index| kernel(program, index, target, &mut constants)).collect();
    functions.push(entry(program, target, isa));
    (functions, constants)
}

/// Compiles a program for this machine.
pub fn compile(fused: &Fused, plan: &Plan) -> Result<Code, BuildError> {
    let program = Program { fused, plan };
    let slots = &fused.graph.slots;
    let isa = native_isa()?;
    let target = target(&*isa);
    let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
    for import in Import::ALL {
        builder.symbol(import.symbol(), imports::address(import));
    }
    let mut module = JITModule::new(builder);
    let (functions, constants) = functions(program, target, gemm::Isa::detect());
    let failed = |error: cranelift_module::ModuleError| BuildError::Machine(error.to_string());
    let ids = declare(&mut module, functions.len() - 1, target)?;
    let mut context = CodegenContext::new();
    for (function, &id) in functions.into_iter().zip(&ids) {
        context.clear();
        context.func = function;
        module.define_function(id, &mut context).map_err(failed)?;
    }
    module.finalize_definitions().map_err(failed)?;
    let entry = module.get_finalized_function(ids[ids.len() - 1]);
    // SAFETY: the entry was declared with this signature, one address to one 32-bit status, in the C convention.
    let entry = unsafe { std::mem::transmute::<*const u8, extern "C" fn(*const Context) -> i32>(entry) };
    let table = constants.words.chunks_exact(4).map(|four| Aligned([four[0], four[1], four[2], four[3]])).collect();
    let needs = Needs {
        arena: plan.arena,
        params: plan.params_len,
        scalars: slots.scalars.len(),
        max_batch: plan.max_batch,
        inputs: slots.inputs.iter().map(|slot| slot.ty.clone()).collect(),
        writes: fused.kernels.iter().flat_map(|kernel| &kernel.stores).any(|store| store.param.is_some()),
    };
    Ok(Code { _pages: Pages(Some(module)), entry, table, needs })
}

/// Declares kernels, entry and imports, so that their numbers are those that code generation uses.
fn declare(module: &mut JITModule, kernels: usize, target: Target) -> Result<Vec<FuncId>, BuildError> {
    let failed = |error: cranelift_module::ModuleError| BuildError::Machine(error.to_string());
    let mut ids = Vec::new();
    for index in 0..kernels {
        let signature = kernel_signature(target);
        ids.push(module.declare_function(&format!("kernel{index}"), Linkage::Local, &signature).map_err(failed)?);
    }
    ids.push(module.declare_function("entry", Linkage::Export, &entry_signature(target)).map_err(failed)?);
    for import in Import::ALL {
        module.declare_function(import.symbol(), Linkage::Import, &import.signature(target)).map_err(failed)?;
    }
    Ok(ids)
}
