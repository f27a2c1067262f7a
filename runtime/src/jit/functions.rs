//! Compiles functions to machine code: several at a time where a program may have several threads, and while further ones are emitted.
//!
//! Functions know of one another by name alone until they are linked, so that the order in which they are compiled is free. Of those
//! that wait, the longest comes first: none is left for the end, when other threads have nothing more to do.

use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle, scope};

use cranelift_codegen::Context as CodegenContext;
use cranelift_codegen::ir::Function;
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_jit::JITModule;
use cranelift_module::{FuncId, Module, ModuleReloc, ModuleRelocTarget};

use super::{Registers, failed, native_isa};
use crate::error::BuildError;
use crate::microkernels::gemm;

/// Instructions that are worth a thread: about a millisecond of work.
const INSTRUCTIONS_PER_THREAD: usize = 500;

/// The machine, for functions whose registers are given well, and for those for which one pass is enough.
pub(super) struct Isas {
    microkernels: gemm::Isa,
    pub well: OwnedTargetIsa,
    quick: OnceLock<Result<OwnedTargetIsa, BuildError>>,
}

impl Isas {
    pub fn of(microkernels: gemm::Isa) -> Result<Isas, BuildError> {
        Ok(Isas { microkernels, well: native_isa(microkernels, Registers::Well)?, quick: OnceLock::new() })
    }

    fn quick(&self) -> Result<&dyn TargetIsa, BuildError> {
        let quick = self.quick.get_or_init(|| native_isa(self.microkernels, Registers::Quickly));
        quick.as_deref().map_err(BuildError::clone)
    }
}

/// Machine code that is not linked yet.
pub(super) struct Compiled {
    alignment: u64,
    bytes: Vec<u8>,
    /// Those within the function itself name no function yet.
    relocs: Vec<ModuleReloc>,
}

impl Compiled {
    /// Defines a function of a module by it.
    pub fn define(mut self, module: &mut JITModule, id: FuncId) -> Result<(), BuildError> {
        for reloc in &mut self.relocs {
            if let ModuleRelocTarget::FunctionOffset(own, _) = &mut reloc.name {
                *own = id;
            }
        }
        module.define_function_bytes(id, self.alignment, &self.bytes, &self.relocs).map_err(failed)
    }
}

/// In place of the id of a function that is not declared yet.
const UNDECLARED: u32 = u32::MAX >> 1;

/// What waits to be compiled.
#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The shortest first.
    functions: Vec<Job>,
    /// Whether no more will come.
    is_closed: bool,
}

struct Job {
    number: usize,
    function: Function,
    quickly: bool,
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, task: Job) {
        let mut state = self.state();
        let shorter = |other: &Job| other.function.dfg.num_insts() < task.function.dfg.num_insts();
        let at = state.functions.partition_point(shorter);
        state.functions.insert(at, task);
        self.changed.notify_one();
    }

    /// The longest function that nobody has taken, once there is one; none after the last.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            match state.functions.pop() {
                Some(task) => return Some(task),
                None if state.is_closed => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Says that no more functions come, however that is found out: nobody waits for one that never comes.
struct Closing<'w>(&'w Waiting);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.changed.notify_all();
    }
}

/// Functions by their numbers, with their code.
type Numbered = Vec<(usize, Result<Compiled, BuildError>)>;

/// Takes functions to be compiled, and has threads for them as soon as there is enough for one more.
pub(super) struct CompileQueue<'scope, 'env> {
    waiting: &'scope Waiting,
    isas: &'scope Isas,
    scope: &'scope Scope<'scope, 'env>,
    /// How many threads there may be beside the calling one.
    most: usize,
    others: Vec<ScopedJoinHandle<'scope, Numbered>>,
    /// Instructions of all functions so far.
    instructions: usize,
}

impl CompileQueue<'_, '_> {
    /// Whether other threads compile while functions are emitted.
    pub fn has_others(&self) -> bool {
        self.most > 0
    }

    /// Adds a function, which is to have this number.
    pub fn add(&mut self, number: usize, function: Function, quickly: bool) {
        self.instructions += function.dfg.num_insts();
        self.waiting.add(Job { number, function, quickly });
        let wanted = (self.instructions / INSTRUCTIONS_PER_THREAD).min(self.most);
        while self.others.len() < wanted {
            let (waiting, isas) = (self.waiting, self.isas);
            match Builder::new().spawn_scoped(self.scope, move || work(waiting, isas)) {
                Ok(other) => self.others.push(other),
                // Where no thread can be made, those that are there do more.
                Err(_) => self.most = self.others.len(),
            }
        }
    }
}

/// What `emit` gives, and the code of all functions that it has added, in the order of their numbers. Up to so many threads take part,
/// with the calling one, which begins when all functions are there.
pub(super) fn compile_while<R>(
    isas: &Isas,
    threads: usize,
    emit: impl FnOnce(&mut CompileQueue<'_, '_>) -> Result<R, BuildError>,
) -> Result<(R, Vec<Compiled>), BuildError> {
    let waiting = Waiting::default();
    let (emitted, mut compiled) = scope(|scope| {
        let closing = Closing(&waiting);
        let (waiting, most) = (&waiting, threads.saturating_sub(1));
        let mut queue = CompileQueue { waiting, isas, scope, most, others: Vec::new(), instructions: 0 };
        let emitted = emit(&mut queue);
        drop(closing);
        if emitted.is_err() {
            waiting.state().functions.clear();
        }
        let mut compiled = work(waiting, isas);
        for other in queue.others {
            compiled.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        (emitted, compiled)
    });
    compiled.sort_by_key(|&(number, _)| number);
    let compiled = compiled.into_iter().map(|(_, compiled)| compiled).collect::<Result<_, BuildError>>();
    Ok((emitted?, compiled?))
}

/// Compiles what is there until there is no more.
fn work(waiting: &Waiting, isas: &Isas) -> Numbered {
    let mut context = CodegenContext::new();
    let mut compiled = Vec::new();
    while let Some(Job { number, function, quickly }) = waiting.next() {
        let isa = if quickly { isas.quick() } else { Ok(&*isas.well) };
        compiled.push((number, isa.and_then(|isa| compile(&mut context, isa, function))));
    }
    compiled
}

fn compile(context: &mut CodegenContext, isa: &dyn TargetIsa, function: Function) -> Result<Compiled, BuildError> {
    context.clear();
    context.func = function;
    let compiled = context.compile(isa, &mut Default::default());
    compiled.map_err(|error| BuildError::Machine(error.inner.to_string()))?;
    let code = context.compiled_code().expect("the function was compiled above");
    let (relocs, undeclared) = (code.buffer.relocs().iter(), FuncId::from_u32(UNDECLARED));
    Ok(Compiled {
        alignment: u64::from(code.buffer.alignment),
        bytes: code.code_buffer().to_vec(),
        relocs: relocs.map(|reloc| ModuleReloc::from_mach_reloc(reloc, &context.func, undeclared)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, UserFuncName, types};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    use super::*;

    /// A function that adds its argument to itself so many times.
    fn adding(number: u32, times: usize, isa: &dyn TargetIsa) -> Function {
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
        function
    }

    /// The code of some functions, added one by one.
    fn code(threads: usize) -> Vec<Vec<u8>> {
        let isas = Isas::of(gemm::Isa::detect()).expect("it is this machine");
        let emit = |queue: &mut CompileQueue<'_, '_>| {
            for number in (0..40).rev() {
                let function = adding(number, 50 * (number as usize * 7 % 11), &*isas.well);
                queue.add(number as usize, function, number.is_multiple_of(3));
            }
            Ok(queue.others.len())
        };
        let (others, compiled) = compile_while(&isas, threads, emit).expect("they compile");
        assert_eq!(others, threads - 1, "there is enough for all");
        compiled.into_iter().map(|compiled| compiled.bytes).collect()
    }

    #[test]
    fn functions_have_the_same_code_in_the_same_order_on_any_number_of_threads() {
        let alone = code(1);
        assert!(alone.len() == 40 && alone[1] != alone[2], "they come in their order");
        for threads in [2, 3, 16] {
            assert_eq!(code(threads), alone, "{threads} threads");
        }
    }

    #[test]
    fn what_fails_while_functions_are_emitted_ends_the_threads() {
        let isas = Isas::of(gemm::Isa::detect()).expect("it is this machine");
        let emit = |queue: &mut CompileQueue<'_, '_>| -> Result<(), BuildError> {
            queue.add(0, adding(0, 2000, &*isas.well), false);
            Err(BuildError::Machine("it is broken".to_string()))
        };
        let found = compile_while(&isas, 3, emit).map(|_| ());
        assert_eq!(
            found.map_err(|error| error.to_string()).unwrap_err(),
            BuildError::Machine("it is broken".to_string()).to_string()
        );
        let panics = || {
            compile_while(&isas, 3, |queue| -> Result<(), BuildError> {
                queue.add(0, adding(0, 2000, &*isas.well), false);
                panic!("no thread waits for ever");
            })
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    }
}
