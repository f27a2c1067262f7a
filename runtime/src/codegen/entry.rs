//! The functions that run a program: one from outside that runs everything on one thread; and for several threads a
//! function for every task, which works on one unit of it, and one for the end of every region.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{Function, InstBuilder, Signature, UserFuncName, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::abi::{entry_signature, task_signature};
use super::host::{Imports, declared};
use super::lanes::{constant_memory, memory};
use super::matmul::Product;
use super::{Context, Kernels, Numbers, Program, Target, host, kernel_signature};
use crate::ir::Role;
use crate::ir::ops::Reduction;
use crate::kernel::{Arg, BufferId, Kernel, LANES};
use crate::plan::{Last, Location, ParallelRegion, Task, Work};
use crate::types::Dim;

/// Emits the function that runs the kernels `0..n`, which are the functions of those numbers.
pub fn entry(program: Program<'_>, kernels: &Kernels, target: Target) -> Function {
    let number = Numbers::of(program.fused).entry();
    function(program, kernels, target, number, entry_signature(target), |emit, _| {
        emit.tick();
        for (index, kernel) in program.fused.kernels.iter().enumerate() {
            if program.fused.check == Some(index) {
                emit.check();
            }
            emit.kernel(index, kernel);
            emit.tick();
        }
        if program.fused.check == Some(program.fused.kernels.len()) {
            emit.check();
        }
        emit.done();
    })
}

/// Emits the function of this number that works on one unit of a task.
pub fn task(program: Program<'_>, kernels: &Kernels, target: Target, number: u32, task: Task) -> Function {
    function(program, kernels, target, number, task_signature(target), |emit, params| {
        emit.unit(task, params[1]);
        emit.fb.ins().return_(&[]);
    })
}

/// Emits the function of this number that ends a parallel region.
pub fn tail(program: Program<'_>, kernels: &Kernels, target: Target, number: u32, region: &ParallelRegion) -> Function {
    function(program, kernels, target, number, entry_signature(target), |emit, _| {
        for last in &region.tail {
            match *last {
                Last::Skinny(task) => emit.skinny(task),
                Last::Kernel(index) => emit.kernel(index, &program.fused.kernels[index]),
                Last::Finish(index) => {
                    let kernel = &program.fused.kernels[index];
                    let rows = emit.extent(kernel.row_count());
                    emit.finish(index, kernel, rows);
                }
            }
        }
        if region.check {
            emit.check();
        }
        emit.done();
    })
}

fn function<'a>(
    program: Program<'a>,
    kernels: &'a Kernels,
    target: Target,
    number: u32,
    signature: Signature,
    body: impl FnOnce(&mut DriverEmitter<'a, '_>, &[Value]),
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
    let mut emit = DriverEmitter { fb, program, kernels, target, ctx, arena, batch, imports };
    body(&mut emit, &params);
    emit.fb.seal_all_blocks();
    emit.fb.finalize(target.config);
    function
}

pub(super) struct DriverEmitter<'a, 'f> {
    pub(super) fb: FunctionBuilder<'f>,
    pub(super) program: Program<'a>,
    kernels: &'a Kernels,
    target: Target,
    ctx: Value,
    arena: Value,
    batch: Value,
    pub(super) imports: Imports,
}

/// Rows of a kernel: the first, the one behind the last, the number of the first one's block.
type Rows = [Value; 3];

impl DriverEmitter<'_, '_> {
    fn done(&mut self) {
        let done = self.fb.ins().iconst(types::I32, 0);
        self.fb.ins().return_(&[done]);
    }

    /// Takes the time, if that is wanted.
    fn tick(&mut self) {
        if self.program.timed {
            host::Tick {}.call(&mut self.imports, &mut self.fb);
        }
    }

    /// All of a kernel, then the last stages of its reductions.
    fn kernel(&mut self, index: usize, kernel: &Kernel) {
        if self.program.plan.is_prologue(index) {
            return;
        }
        let tiling = &self.program.plan.tiling;
        let rows = self.extent(kernel.row_count());
        let zero = self.fb.ins().iconst(types::I64, 0);
        match self.called_product(index, kernel) {
            None => self.blocks(index, kernel, [zero, rows, zero]),
            Some(product) if matches!(kernel.row_count(), Dim::Fixed(rows) if rows <= tiling.skinny_rows) => {
                self.rows(index, kernel, &product, [zero, rows, zero]);
            }
            Some(product) => self.packed_or_not(
                rows,
                tiling.m_tile_of(kernel),
                product,
                |emit, product| {
                    if product.packed.is_none() {
                        return emit.rows(index, kernel, product, [zero, rows, zero]);
                    }
                    let cols = emit.fb.ins().iconst(types::I64, product.cols);
                    emit.pack(product, zero, cols);
                    emit.all_rows(index, kernel, product, rows);
                },
                |emit, product| emit.all_rows(index, kernel, product, rows),
            ),
        }
        self.finish(index, kernel, rows);
    }

    /// One unit of a task.
    fn unit(&mut self, task: Task, unit: Value) {
        let (index, kernel) = (task.kernel, &self.program.fused.kernels[task.kernel]);
        let rows = self.extent(kernel.row_count());
        let product = self.called_product(index, kernel);
        let first = self.fb.ins().imul_imm_u(unit, task.unit as i64);
        let next = self.fb.ins().iadd_imm_u(first, task.unit as i64);
        if task.work == Work::Pack {
            let product = product.expect("what is packed belongs to a product");
            let cols = self.fb.ins().iconst(types::I64, product.cols);
            let end = self.least(next, cols);
            return self.pack(&product, first, end);
        }
        if task.work == Work::Columns {
            return self.columns(index, kernel, first, next);
        }
        let end = self.least(next, rows);
        let number = self.fb.ins().imul_imm_u(unit, (task.unit / kernel.block) as i64);
        let part = [first, end, number];
        match product {
            None => self.blocks(index, kernel, part),
            Some(product) => {
                let skinny_rows = self.program.plan.tiling.skinny_rows;
                let some_rows = |emit: &mut Self, product: &Product| emit.rows(index, kernel, product, part);
                self.packed_or_not(rows, skinny_rows, product, some_rows, some_rows);
            }
        }
    }

    /// All rows of a product, as many in one go as suit it.
    fn all_rows(&mut self, index: usize, kernel: &Kernel, product: &Product, rows: Value) {
        let tile = self.program.plan.tiling.m_tile_of(kernel);
        let blocks = (tile / kernel.block) as i64;
        self.cut(rows, tile as i64, blocks, |emit, part| emit.rows(index, kernel, product, part));
    }

    /// Some rows: their prologue, their product, then their blocks while they are in the cache.
    fn rows(&mut self, index: usize, kernel: &Kernel, product: &Product, part: Rows) {
        if let Some(prologue) = self.program.plan.prologue(index) {
            self.blocks(prologue, &self.program.fused.kernels[prologue], part);
        }
        self.rows_of_product(product, part[0], part[1]);
        self.blocks(index, kernel, part);
    }

    /// The blocks of some rows.
    pub(super) fn blocks(&mut self, index: usize, kernel: &Kernel, part: Rows) {
        let signature = kernel_signature(self.target);
        let (code, list) = self.kernels.calls[index];
        let number = Numbers::of(self.program.fused).kernel(code);
        let function = declared(&mut self.fb, number, signature, true);
        let table = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::TABLE);
        let list = self.fb.ins().iadd_imm_u(table, i64::from(list));
        let block = |emit: &mut Self, [lo, hi, number]: Rows| {
            emit.fb.ins().call(function, &[emit.ctx, lo, hi, number, list]);
        };
        match kernel.row_count() {
            Dim::Fixed(rows) if rows <= kernel.block => block(self, part),
            _ => self.cut_from(part, kernel.block as i64, 1, block),
        }
    }

    fn cut(&mut self, rows: Value, by: i64, blocks: i64, body: impl FnMut(&mut Self, Rows)) {
        let zero = self.fb.ins().iconst(types::I64, 0);
        self.cut_from([zero, rows, zero], by, blocks, body);
    }

    /// A loop over rows in parts of `by` rows, `blocks` blocks each.
    fn cut_from(&mut self, [from, to, number]: Rows, by: i64, blocks: i64, mut body: impl FnMut(&mut Self, Rows)) {
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let lo = self.fb.append_block_param(head, types::I64);
        let block = self.fb.append_block_param(head, types::I64);
        self.fb.ins().jump(head, &[from.into(), number.into()]);
        self.fb.switch_to_block(head);
        let next = self.fb.ins().iadd_imm_u(lo, by);
        let more = self.fb.ins().icmp(IntCC::SignedLessThan, next, to);
        let hi = self.fb.ins().select(more, next, to);
        body(self, [lo, hi, block]);
        let next_block = self.fb.ins().iadd_imm_u(block, blocks);
        let again = self.fb.ins().icmp(IntCC::SignedLessThan, next, to);
        self.fb.ins().brif(again, head, &[next.into(), next_block.into()], exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// The last stages of the kernel's reductions.
    fn finish(&mut self, index: usize, kernel: &Kernel, rows: Value) {
        let partials = self.program.plan.kernels[index].partials.clone();
        let block = kernel.block as i64;
        for (reducing, (at, len)) in partials {
            let (reduction, _) = kernel.body[reducing].reduction().expect("partial results are of reductions");
            let partials = self.arena_at(at);
            let buffer = self.result_of(kernel, reducing);
            let out = self.buffer(buffer);
            let up = self.fb.ins().iadd_imm_u(rows, block - 1);
            let blocks = self.fb.ins().udiv_imm_u(up, block);
            let constant = |emit: &mut Self, value: usize| emit.fb.ins().iconst(types::I64, value as i64);
            let columns = constant(self, kernel.cols());
            match reduction {
                Reduction::Mean | Reduction::Variance => {
                    let (stride, block) = (constant(self, len), constant(self, kernel.block));
                    let [mean, variance] = match reduction {
                        Reduction::Variance => [self.mean_of_moments(kernel, reducing), out],
                        _ => [out, constant(self, 0)],
                    };
                    let overflow = match self.program.fused.statistics.contains(&buffer) {
                        true => self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::OVERFLOW),
                        false => constant(self, 0),
                    };
                    host::MergeMoments { partials, stride, columns, block, rows, mean, variance, overflow }
                        .call(&mut self.imports, &mut self.fb);
                }
                _ if kernel.is_over_everything(reducing) => {
                    let count = self.fb.ins().imul_imm_u(blocks, LANES as i64);
                    let (imports, fb) = (&mut self.imports, &mut self.fb);
                    match reduction {
                        Reduction::Max => host::MaxEverything { partials, count, out }.call(imports, fb),
                        _ => host::SumEverything { partials, count, out }.call(imports, fb),
                    }
                }
                _ => {
                    let stride = constant(self, len);
                    let (imports, fb) = (&mut self.imports, &mut self.fb);
                    match reduction {
                        Reduction::Max => {
                            host::MaxColumns { partials, blocks, stride, columns, out }.call(imports, fb);
                        }
                        _ => host::SumColumns { partials, blocks, stride, columns, out }.call(imports, fb),
                    }
                }
            }
        }
    }

    /// The buffer of a reduction that ends after its kernel.
    fn result_of(&self, kernel: &Kernel, reducing: usize) -> BufferId {
        let is_arena = |buffer| self.program.fused.is_arena(buffer);
        kernel.buffer_of(Arg::Value(reducing), is_arena).expect("what ends after its kernel has a buffer")
    }

    /// Where the mean goes that comes with a variance, or null.
    fn mean_of_moments(&mut self, kernel: &Kernel, variance: usize) -> Value {
        let mean = (0..kernel.body.len()).find(|&index| kernel.moments(index) == Some(variance));
        match mean {
            Some(mean) => self.buffer(self.result_of(kernel, mean)),
            None => self.fb.ins().iconst(types::I64, 0),
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

    /// Where a buffer begins.
    pub(super) fn buffer(&mut self, id: BufferId) -> Value {
        match self.program.plan.places[id.index()].expect("what lies in scratch is asked for by its offset") {
            Location::Arena(at) => self.arena_at(at),
            Location::Param(index) => {
                let params = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::PARAMS);
                self.fb.ins().iadd_imm_u(params, 4 * self.program.plan.params[index] as i64)
            }
            Location::Input(index) => {
                let inputs = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::INPUTS);
                self.fb.ins().load(types::I64, constant_memory(), inputs, 8 * index as i32)
            }
        }
    }

    pub(super) fn arena_at(&mut self, at: usize) -> Value {
        self.fb.ins().iadd_imm_u(self.arena, 4 * at as i64)
    }

    pub(super) fn least(&mut self, x: Value, y: Value) -> Value {
        let less = self.fb.ins().icmp(IntCC::SignedLessThan, x, y);
        self.fb.ins().select(less, x, y)
    }

    /// Scratch of the thread.
    pub(super) fn scratch_at(&mut self, at: usize) -> Value {
        let scratch = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::SCRATCH);
        self.fb.ins().iadd_imm_u(scratch, 4 * at as i64)
    }

    pub(super) fn extent(&mut self, dim: Dim) -> Value {
        match dim {
            Dim::Fixed(n) => self.fb.ins().iconst(types::I64, n as i64),
            Dim::Batch(n) => self.fb.ins().imul_imm_u(self.batch, n as i64),
        }
    }
}
