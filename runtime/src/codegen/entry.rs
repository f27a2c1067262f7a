//! The functions that run a program: one from outside that runs everything on one thread; and for several threads a
//! function for every task, which works on one unit of it, and one for the end of every region.

use std::ops::Range;

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{Function, InstBuilder, Signature, UserFuncName, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::abi::{entry_signature, task_signature};
use super::host::Imports;
use super::lanes::{constant_memory, memory};
use super::{CodegenInput, Context, Kernels, Numbers, Target, host};
use crate::ir::Role;
use crate::kernel::BufferId;
use crate::plan::{Last, Location, ParallelRegion, Task, Tile};
use crate::types::Dim;

/// Emits the function that runs the kernels `0..n`, which are the functions of those numbers.
pub fn entry(program: CodegenInput<'_>, kernels: &Kernels, target: Target) -> Function {
    let number = Numbers::of(program.fused).entry();
    function(program, kernels, target, number, entry_signature(target), &mut |emit, _| {
        emit.tick(0);
        for run in program.fused.runs() {
            if program.fused.check == Some(run.start) {
                emit.check();
            }
            if !program.plan.tiling.kernels[run.start].is_kept() {
                emit.run(run);
            }
        }
        if program.fused.check == Some(program.fused.kernels.len()) {
            emit.check();
        }
        emit.done();
    })
}

/// Emits the function of this number that runs the kernels whose results are kept from run to run; none if there are none.
pub fn prepare(program: CodegenInput<'_>, kernels: &Kernels, target: Target, number: u32) -> Option<Function> {
    let is_kept = |run: &Range<usize>| program.plan.tiling.kernels[run.start].is_kept();
    let runs: Vec<Range<usize>> = program.fused.runs().filter(is_kept).collect();
    (!runs.is_empty()).then(|| {
        function(program, kernels, target, number, entry_signature(target), &mut |emit, _| {
            runs.iter().for_each(|run| emit.run(run.clone()));
            emit.done();
        })
    })
}

/// Emits the function of this number that works on one unit of a task.
pub fn task(program: CodegenInput<'_>, kernels: &Kernels, target: Target, number: u32, task: Task) -> Function {
    function(program, kernels, target, number, task_signature(target), &mut |emit, params| {
        emit.unit(task, [params[1], params[2]]);
        emit.fb.ins().return_(&[]);
    })
}

/// Emits the function of this number that ends a parallel region.
pub fn tail(
    program: CodegenInput<'_>,
    kernels: &Kernels,
    target: Target,
    number: u32,
    region: &ParallelRegion,
) -> Function {
    function(program, kernels, target, number, entry_signature(target), &mut |emit, _| {
        for last in &region.tail {
            match *last {
                Last::Skinny(skinny) => emit.skinny(skinny),
                Last::Run(first) => emit.run(program.fused.run_of(first)),
                Last::Finish { kernel, ahead } => emit.finish(kernel, ahead),
            }
        }
        if region.check {
            emit.check();
        }
        emit.done();
    })
}

fn function<'a>(
    program: CodegenInput<'a>,
    kernels: &'a Kernels,
    target: Target,
    number: u32,
    signature: Signature,
    body: &mut dyn FnMut(&mut DriverEmitter<'a, '_>, &[Value]),
) -> Function {
    let mut function = Function::with_name_signature(UserFuncName::user(0, number), signature);
    let mut context = FunctionBuilderContext::new();
    let mut fb = FunctionBuilder::new(&mut function, &mut context);
    let block = fb.create_block();
    fb.append_block_params_for_function_params(block);
    fb.switch_to_block(block);
    let params = fb.block_params(block).to_vec();
    let ctx = params[0];
    let arena = fb.ins().load(types::I64, constant_memory(), ctx, Context::ARENA);
    let batch = fb.ins().load(types::I64, constant_memory(), ctx, Context::BATCH);
    let imports = Imports::new(target, Numbers::of(program.fused));
    let mut emit = DriverEmitter { fb, program, kernels, target, ctx, arena, batch, imports, position: None };
    body(&mut emit, &params);
    emit.fb.seal_all_blocks();
    emit.fb.finalize(target.config);
    function
}

/// Where something begins.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Its address.
    pub(super) base: Value,
    /// Bytes of each point, if it begins with the first point of the tile rather than the first of all; else 0.
    pub(super) part: i64,
}

pub(super) struct DriverEmitter<'a, 'f> {
    pub(super) fb: FunctionBuilder<'f>,
    pub(super) program: CodegenInput<'a>,
    pub(super) kernels: &'a Kernels,
    pub(super) target: Target,
    pub(super) ctx: Value,
    arena: Value,
    batch: Value,
    pub(super) imports: Imports,
    /// The position of the loop that is being emitted.
    pub(super) position: Option<Value>,
}

impl DriverEmitter<'_, '_> {
    fn done(&mut self) {
        let done = self.fb.ins().iconst(types::I32, 0);
        self.fb.ins().return_(&[done]);
    }

    /// Takes the time that a kernel needed since the last time, if that is wanted.
    pub(super) fn tick(&mut self, kernel: usize) {
        if self.program.timed {
            let kernel = self.fb.ins().iconst(types::I64, kernel as i64);
            host::Tick { kernel }.call(&mut self.imports, &mut self.fb);
        }
    }

    /// Leaves with status 1 if the loss is not a finite number, or a statistic that is to be kept.
    fn check(&mut self) {
        let loss = self.program.fused.result(&Role::Loss).expect("a training step has a loss");
        let address = self.buffer(loss);
        let loss = self.fb.ins().load(types::F32, memory(), address, 0);
        let size = self.fb.ins().fabs(loss);
        let infinity = self.fb.ins().f32const(f32::INFINITY);
        let mut finite = self.fb.ins().fcmp(FloatCC::LessThan, size, infinity);
        if !self.program.fused.statistics.is_empty() {
            let overflow = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::OVERFLOW);
            let overflow = self.fb.ins().load(types::I32, memory(), overflow, 0);
            let none = self.fb.ins().icmp_imm_u(IntCC::Equal, overflow, 0);
            finite = self.fb.ins().band(finite, none);
        }
        let (go_on, stop) = (self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(finite, go_on, &[], stop, &[]);
        self.fb.switch_to_block(stop);
        let status = self.fb.ins().iconst(types::I32, 1);
        self.fb.ins().return_(&[status]);
        self.fb.switch_to_block(go_on);
    }

    /// Where a buffer begins, if it is not a tile.
    pub(super) fn buffer(&mut self, id: BufferId) -> Value {
        let scratch = self.arena;
        self.place(id, scratch).base
    }

    /// Where a buffer begins, with tiles in this scratch.
    pub(super) fn place(&mut self, id: BufferId, scratch: Value) -> Place {
        if let Some(&Tile { at, part, shared }) = self.program.plan.tiles.get(&id) {
            let start = if shared { self.arena } else { scratch };
            let base = self.fb.ins().iadd_imm_u(start, 4 * at as i64);
            return Place { base, part: 4 * part as i64 };
        }
        let base = match self.program.plan.places[id.index()].expect("what is read or written has a place") {
            Location::Arena(at) => self.arena_at(at),
            Location::Param(index) => {
                let params = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::PARAMS);
                self.fb.ins().iadd_imm_u(params, 4 * self.program.plan.params[index] as i64)
            }
            Location::Prepared(at) => self.prepared_at(at),
            Location::Input(index) => {
                let inputs = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::INPUTS);
                self.fb.ins().load(types::I64, constant_memory(), inputs, 8 * index as i32)
            }
        };
        Place { base, part: 0 }
    }

    pub(super) fn arena_at(&mut self, at: usize) -> Value {
        self.fb.ins().iadd_imm_u(self.arena, 4 * at as i64)
    }

    /// A place among what is made of parameters once.
    pub(super) fn prepared_at(&mut self, at: usize) -> Value {
        let prepared = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::PREPARED);
        self.fb.ins().iadd_imm_u(prepared, 4 * at as i64)
    }

    pub(super) fn least(&mut self, x: Value, y: Value) -> Value {
        let less = self.fb.ins().icmp(IntCC::SignedLessThan, x, y);
        self.fb.ins().select(less, x, y)
    }

    /// Scratch of the thread.
    pub(super) fn scratch(&mut self) -> Value {
        self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::SCRATCH)
    }

    pub(super) fn extent(&mut self, dim: Dim) -> Value {
        match dim {
            Dim::Fixed(n) => self.fb.ins().iconst(types::I64, n as i64),
            Dim::Batch(n) => self.fb.ins().imul_imm_u(self.batch, n as i64),
        }
    }
}
