//! The functions of a program in Cranelift's IR: each declared in its turn, by which others call it, and handed over to be compiled.

use cranelift_codegen::ir::{Function, Signature};
use cranelift_jit::JITModule;
use cranelift_module::{FuncId, Linkage, Module};

use super::failed;
use super::functions::CompileQueue;
use crate::codegen::{
    CodegenInput, Import, Kernels, Numbers, Target, entry, entry_signature, kernel_signature, kernels, prepare, tail,
    task, task_signature, wide_signature,
};
use crate::error::BuildError;
use crate::kernel::Fused;
use crate::plan::ParallelRegion;

/// What was emitted.
pub(super) struct Emitted {
    pub kernels: Kernels,
    /// Which functions were handed over to be compiled, in the order of their numbers there.
    pub ids: Vec<FuncId>,
    pub entry: FuncId,
    pub prepare: Option<FuncId>,
    /// Those of tasks and of the ends of regions.
    pub shared: Vec<FuncId>,
    /// Those with wide vectors, which are machine code as they are.
    pub wide: Vec<FuncId>,
}

/// Declares and emits all functions of a program. Those that others may compile meanwhile are handed over at once.
pub(super) fn emit(
    module: &mut JITModule,
    program: CodegenInput<'_>,
    target: Target,
    regions: &[ParallelRegion],
    queue: &mut CompileQueue<'_, '_>,
) -> Result<Emitted, BuildError> {
    let early = queue.has_others();
    let mut kernels = kernels(program, target, |number, function| {
        if early {
            queue.add(number, function.clone(), false);
        }
    });
    let numbers = Numbers::of(program.fused).with_wide(kernels.wide.code.len());
    let (ids, entry_id, wide) = declare(module, numbers, program.fused, (target, kernels.wide.code.len()))?;
    let mut ids: Vec<FuncId> = kernels.emitted().map(|index| ids[index]).collect();
    let (functions, shared) = shared_functions(module, (program, &kernels), target, regions, numbers)?;
    let prepare_number = numbers.shared(functions.len());
    let prepare_function = prepare(program, &kernels, target, prepare_number);
    let prepare_id = match prepare_function {
        None => None,
        Some(_) => Some(declared(module, prepare_number, "prepare", Linkage::Local, &entry_signature(target))?),
    };
    let alike = std::mem::take(&mut kernels.functions);
    if !early {
        alike.into_iter().enumerate().for_each(|(number, function)| queue.add(number, function, false));
    }
    let once = [(entry(program, &kernels, target), entry_id)].into_iter().chain(prepare_function.zip(prepare_id));
    for (function, id) in once.chain(functions.into_iter().zip(shared.iter().copied())) {
        let quickly = function.dfg.num_insts() >= LONG;
        queue.add(ids.len(), function, quickly);
        ids.push(id);
    }
    Ok(Emitted { kernels, ids, entry: entry_id, prepare: prepare_id, shared, wide })
}

/// Instructions from which on a function that only calls others gets its registers quickly. A network of twenty layers has
/// six thousand, a quarter of all the time that compiling took, and runs them once per step.
const LONG: usize = 300;

/// Declares and emits the functions of all tasks, then those that end the regions.
fn shared_functions(
    module: &mut JITModule,
    (program, kernels): (CodegenInput<'_>, &Kernels),
    target: Target,
    regions: &[ParallelRegion],
    numbers: Numbers,
) -> Result<(Vec<Function>, Vec<FuncId>), BuildError> {
    let (mut functions, mut ids) = (Vec::new(), Vec::new());
    for (index, &each) in regions.iter().flat_map(|region| &region.tasks).enumerate() {
        let number = numbers.shared(functions.len());
        ids.push(declared(module, number, &format!("task{index}"), Linkage::Local, &task_signature(target))?);
        functions.push(task(program, kernels, target, number, each));
    }
    for (index, region) in regions.iter().enumerate() {
        let number = numbers.shared(functions.len());
        ids.push(declared(module, number, &format!("tail{index}"), Linkage::Local, &entry_signature(target))?);
        functions.push(tail(program, kernels, target, number, region));
    }
    Ok((functions, ids))
}

/// Declares kernels, entry, imports and functions with wide vectors. Out: the ids of the kernels, of the entry and of the latter.
fn declare(
    module: &mut JITModule,
    numbers: Numbers,
    fused: &Fused,
    (target, count): (Target, usize),
) -> Result<(Vec<FuncId>, FuncId, Vec<FuncId>), BuildError> {
    let kernel = |index: usize| {
        let signature = kernel_signature(target, fused.loop_of(index).is_some());
        declared(module, numbers.kernel(index), &format!("kernel{index}"), Linkage::Local, &signature)
    };
    let ids = (0..fused.kernels.len()).map(kernel).collect::<Result<_, _>>()?;
    let entry = declared(module, numbers.entry(), "entry", Linkage::Export, &entry_signature(target))?;
    for import in Import::ALL {
        let (number, signature) = (numbers.import(import), import.signature(target));
        declared(module, number, import.symbol(), Linkage::Import, &signature)?;
    }
    let wide = |index: usize| {
        declared(module, numbers.wide(index), &format!("wide{index}"), Linkage::Local, &wide_signature())
    };
    let wide = (0..count).map(wide).collect::<Result<_, _>>()?;
    Ok((ids, entry, wide))
}

/// Declares the next function, which has to be that of this number: by it others call it.
fn declared(
    module: &mut JITModule,
    number: u32,
    name: &str,
    linkage: Linkage,
    signature: &Signature,
) -> Result<FuncId, BuildError> {
    let id = module.declare_function(name, linkage, signature).map_err(failed)?;
    assert_eq!(id.as_u32(), number, "{name} is declared in its turn");
    Ok(id)
}
