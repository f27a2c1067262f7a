//! Compiles functions to machine code and defines them: several at a time where a program may have several threads.
//!
//! Functions know of one another by name alone until they are linked, so that the order in which they are compiled is free. The
//! longest come first: none of them is left for the end, when other threads have nothing more to do.

use std::sync::{Mutex, PoisonError};
use std::thread;

use cranelift_codegen::Context as CodegenContext;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::TargetIsa;
use cranelift_jit::JITModule;
use cranelift_module::{FuncId, Module, ModuleReloc};

use super::failed;
use crate::error::BuildError;

/// A function in Cranelift's IR, and what it defines.
pub(super) struct Emitted {
    pub id: FuncId,
    pub function: Function,
    /// Whether its registers are given in one pass.
    pub quickly: bool,
}

/// Machine code that is not linked yet.
struct Compiled {
    alignment: u64,
    bytes: Vec<u8>,
    relocs: Vec<ModuleReloc>,
}

/// Instructions that are worth a thread: about a millisecond of work.
const INSTRUCTIONS_PER_THREAD: usize = 500;

/// Compiles functions in up to so many threads, with the calling one, and defines them in their order. Those whose registers are
/// given quickly are compiled for `quick`.
pub(super) fn define(
    module: &mut JITModule,
    quick: Option<&dyn TargetIsa>,
    functions: Vec<Emitted>,
    threads: usize,
) -> Result<(), BuildError> {
    let ids: Vec<FuncId> = functions.iter().map(|emitted| emitted.id).collect();
    let compiled = compile_all([module.isa(), quick.unwrap_or(module.isa())], functions, threads);
    for (id, compiled) in ids.into_iter().zip(compiled) {
        let Compiled { alignment, bytes, relocs } = compiled?;
        module.define_function_bytes(id, alignment, &bytes, &relocs).map_err(failed)?;
    }
    Ok(())
}

/// The code of functions, in their order.
fn compile_all(
    [well, quick]: [&dyn TargetIsa; 2],
    functions: Vec<Emitted>,
    threads: usize,
) -> Vec<Result<Compiled, BuildError>> {
    let instructions: usize = functions.iter().map(|emitted| emitted.function.dfg.num_insts()).sum();
    let mut waiting: Vec<(usize, Emitted)> = functions.into_iter().enumerate().collect();
    waiting.sort_by_key(|(_, emitted)| emitted.function.dfg.num_insts());
    let waiting = Mutex::new(waiting);
    let work = || {
        let mut context = CodegenContext::new();
        let mut compiled = Vec::new();
        while let Some((index, emitted)) = next(&waiting) {
            let isa = if emitted.quickly { quick } else { well };
            compiled.push((index, compile(&mut context, isa, emitted)));
        }
        compiled
    };
    let mut compiled = thread::scope(|scope| {
        let others = threads.min(instructions / INSTRUCTIONS_PER_THREAD).saturating_sub(1);
        // Where no thread can be made, those that are there do more.
        let others = (0..others).map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok());
        let others: Vec<_> = others.collect();
        let mut compiled = work();
        for other in others {
            compiled.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        compiled
    });
    compiled.sort_by_key(|&(index, _)| index);
    compiled.into_iter().map(|(_, compiled)| compiled).collect()
}

/// The longest function that nobody has taken.
fn next(waiting: &Mutex<Vec<(usize, Emitted)>>) -> Option<(usize, Emitted)> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn compile(context: &mut CodegenContext, isa: &dyn TargetIsa, emitted: Emitted) -> Result<Compiled, BuildError> {
    context.clear();
    context.func = emitted.function;
    let compiled = context.compile(isa, &mut Default::default());
    compiled.map_err(|error| BuildError::Machine(error.inner.to_string()))?;
    let code = context.compiled_code().expect("the function was compiled above");
    let relocs = code.buffer.relocs().iter();
    Ok(Compiled {
        alignment: u64::from(code.buffer.alignment),
        bytes: code.code_buffer().to_vec(),
        relocs: relocs.map(|reloc| ModuleReloc::from_mach_reloc(reloc, &context.func, emitted.id)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, UserFuncName, types};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    use super::*;
    use crate::jit::{Registers, native_isa};
    use crate::microkernels::gemm;

    /// A function that adds its argument to itself so many times.
    fn adding(number: u32, times: usize, isa: &dyn TargetIsa) -> Emitted {
        let mut signature = Signature::new(isa.default_call_conv());
        signature.params.push(AbiParam::new(types::I64));
        signature.returns.push(AbiParam::new(types::I64));
        let mut function = Function::with_name_signature(UserFuncName::user(0, number), signature);
        let mut context = FunctionBuilderContext::new();
        let mut fb = FunctionBuilder::new(&mut function, &mut context);
        let block = fb.create_block();
        fb.append_block_params_for_function_params(block);
        fb.switch_to_block(block);
        let argument = fb.block_params(block)[0];
        let sum = (0..times).fold(argument, |sum, _| fb.ins().iadd(sum, argument));
        fb.ins().return_(&[sum]);
        fb.seal_all_blocks();
        fb.finalize(isa.frontend_config());
        Emitted { id: FuncId::from_u32(number), function, quickly: number.is_multiple_of(3) }
    }

    #[test]
    fn functions_have_the_same_code_in_the_same_order_on_any_number_of_threads() {
        let isa = gemm::Isa::detect();
        let [well, quick] = [Registers::Well, Registers::Quickly]
            .map(|registers| native_isa(isa, registers).expect("it is this machine"));
        let code = |threads: usize| {
            let functions = (0..40).map(|number| adding(number, 50 * (number as usize * 7 % 11), &*well)).collect();
            let all = compile_all([&*well, &*quick], functions, threads);
            all.into_iter().map(|compiled| compiled.expect("it compiles").bytes).collect::<Vec<_>>()
        };
        let alone = code(1);
        assert!(alone.len() == 40 && alone[1] != alone[2], "they come in their order");
        for threads in [2, 3, 16] {
            assert_eq!(code(threads), alone, "{threads} threads");
        }
    }
}
