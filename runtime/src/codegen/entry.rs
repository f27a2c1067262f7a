//! The function that runs a program: every product, kernel and last stage in order, one call from outside.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, Function, InstBuilder, Signature, UserExternalName, UserFuncName,
    Value, types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

use super::lanes::{constant_memory, memory};
use super::{Context, Program, Target, kernel_signature};
use crate::ir::ops::Reduction;
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::{Kernel, Way, way};
use crate::microkernels::gemm::Isa;
use crate::plan::{LANES, Place, inner_extent, moments};
use crate::types::Dim;

/// What compiled code calls in the runtime. The discriminants number the functions behind those of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// Rows of a product, the right operand where it lies.
    Product,
    /// The right operand of a product, rearranged.
    PackRight,
    /// Rows of a product with a rearranged right operand.
    PackedProduct,
    /// The last stage of sums down columns.
    SumColumns,
    /// The last stage of a sum over everything.
    SumEverything,
    /// The last stage of maxima down columns.
    MaxColumns,
    /// The last stage of a maximum over everything.
    MaxEverything,
    /// The last stage of a variance.
    MergeMoments,
}

impl Import {
    /// All of them, in the order of their numbers.
    pub const ALL: [Import; 8] = [
        Import::Product,
        Import::PackRight,
        Import::PackedProduct,
        Import::SumColumns,
        Import::SumEverything,
        Import::MaxColumns,
        Import::MaxEverything,
        Import::MergeMoments,
    ];

    /// The name of the symbol.
    pub fn symbol(self) -> &'static str {
        match self {
            Import::Product => "gradloom_product",
            Import::PackRight => "gradloom_pack_right",
            Import::PackedProduct => "gradloom_packed_product",
            Import::SumColumns => "gradloom_sum_columns",
            Import::SumEverything => "gradloom_sum_everything",
            Import::MaxColumns => "gradloom_max_columns",
            Import::MaxEverything => "gradloom_max_everything",
            Import::MergeMoments => "gradloom_merge_moments",
        }
    }

    /// All arguments are 64-bit integers: extents, strides and addresses.
    pub fn signature(self, target: Target) -> Signature {
        let count = match self {
            Import::Product => 13,
            Import::PackRight => 7,
            Import::PackedProduct => 11,
            Import::SumColumns | Import::MaxColumns => 5,
            Import::SumEverything | Import::MaxEverything => 3,
            Import::MergeMoments => 7,
        };
        let mut signature = Signature::new(target.call_conv);
        signature.params.extend(vec![AbiParam::new(types::I64); count]);
        signature
    }
}

/// The signature of the entry: a context to a status, 0 if the loss is finite.
pub fn entry_signature(target: Target) -> Signature {
    let mut signature = Signature::new(target.call_conv);
    signature.params.push(AbiParam::new(types::I64));
    signature.returns.push(AbiParam::new(types::I32));
    signature
}

/// Emits the function that runs the kernels `0..n`, which are the functions of those numbers.
pub fn entry(program: Program<'_>, target: Target, isa: Isa) -> Function {
    let count = program.fused.kernels.len() as u32;
    let mut function = Function::with_name_signature(UserFuncName::user(0, count), entry_signature(target));
    let mut context = FunctionBuilderContext::new();
    let mut fb = FunctionBuilder::new(&mut function, &mut context);
    let block = fb.create_block();
    fb.append_block_params_for_function_params(block);
    fb.switch_to_block(block);
    let ctx = fb.block_params(block)[0];
    let arena = fb.ins().load(types::I64, constant_memory(), ctx, Context::ARENA);
    let batch = fb.ins().load(types::I64, constant_memory(), ctx, Context::BATCH);
    let mut emit = Emit { fb, program, target, isa, ctx, arena, batch, imports: [None; Import::ALL.len()] };
    for (index, kernel) in program.fused.kernels.iter().enumerate() {
        if program.fused.check == Some(index) {
            emit.check();
        }
        emit.kernel(index, kernel);
    }
    if program.fused.check == Some(program.fused.kernels.len()) {
        emit.check();
    }
    let done = emit.fb.ins().iconst(types::I32, 0);
    emit.fb.ins().return_(&[done]);
    emit.fb.seal_all_blocks();
    emit.fb.finalize(target.config);
    function
}

struct Emit<'a, 'f> {
    fb: FunctionBuilder<'f>,
    program: Program<'a>,
    target: Target,
    isa: Isa,
    ctx: Value,
    arena: Value,
    batch: Value,
    imports: [Option<FuncRef>; Import::ALL.len()],
}

/// A product, ready to be called block by block.
#[derive(Clone, Copy)]
struct Product {
    /// Address and strides of the left operand.
    left: (Value, i64, i64),
    /// Address and strides of the right operand.
    right: (Value, i64, i64),
    /// Whether the right operand is rearranged first.
    packed: Option<Value>,
    inner: Value,
    cols: i64,
    result: Value,
    /// Whether the result is one block that every block overwrites.
    scratch: bool,
    workspace: Value,
}

impl<'a> Emit<'a, '_> {
    fn graph(&self) -> &'a Graph {
        &self.program.fused.graph
    }

    /// All blocks of a kernel, then the last stages of its reductions.
    fn kernel(&mut self, index: usize, kernel: &Kernel) {
        let rows = self.extent(kernel.domain.rows);
        let product = kernel.product.map(|id| self.product(index, kernel, id));
        let signature = kernel_signature(self.target);
        let function = self.function(index as u32, signature, true);
        let single = matches!(kernel.domain.rows, Dim::Fixed(rows) if rows <= kernel.block);
        let zero = self.fb.ins().iconst(types::I64, 0);
        match product {
            product if single => self.block(product.as_ref(), function, [zero, rows, zero]),
            Some(product) if product.packed.is_some() => {
                self.packed_blocks(product, function, rows, kernel.block as i64)
            }
            product => self.blocks(product.as_ref(), function, rows, kernel.block as i64),
        }
        self.finish(index, kernel, rows);
    }

    /// A batch of one block is not worth rearranging the right operand for; the bits are the same.
    fn packed_blocks(&mut self, product: Product, function: FuncRef, rows: Value, block: i64) {
        let [few, many, exit] = [(); 3].map(|()| self.fb.create_block());
        let one_block = self.fb.ins().icmp_imm_u(IntCC::SignedLessThanOrEqual, rows, block);
        self.fb.ins().brif(one_block, few, &[], many, &[]);
        self.fb.switch_to_block(few);
        let zero = self.fb.ins().iconst(types::I64, 0);
        let in_place = Product { packed: None, ..product };
        self.block(Some(&in_place), function, [zero, rows, zero]);
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(many);
        self.pack(&product);
        self.blocks(Some(&product), function, rows, block);
        self.fb.ins().jump(exit, &[]);
        self.fb.switch_to_block(exit);
    }

    /// Rearranges the right operand.
    fn pack(&mut self, product: &Product) {
        let Some(packed) = product.packed else { return };
        let isa = self.isa_number();
        let (right, row, col) = product.right;
        let [row, col, n] = [row, col, product.cols].map(|value| self.fb.ins().iconst(types::I64, value));
        self.call(Import::PackRight, &[isa, n, product.inner, right, row, col, packed]);
    }

    fn blocks(&mut self, product: Option<&Product>, function: FuncRef, rows: Value, block: i64) {
        let (head, exit) = (self.fb.create_block(), self.fb.create_block());
        let lo = self.fb.append_block_param(head, types::I64);
        let number = self.fb.append_block_param(head, types::I64);
        let zero = self.fb.ins().iconst(types::I64, 0);
        self.fb.ins().jump(head, &[zero.into(), zero.into()]);
        self.fb.switch_to_block(head);
        let next = self.fb.ins().iadd_imm_u(lo, block);
        let more = self.fb.ins().icmp(IntCC::SignedLessThan, next, rows);
        let hi = self.fb.ins().select(more, next, rows);
        self.block(product, function, [lo, hi, number]);
        let next_number = self.fb.ins().iadd_imm_u(number, 1);
        self.fb.ins().brif(more, head, &[next.into(), next_number.into()], exit, &[]);
        self.fb.switch_to_block(exit);
    }

    fn block(&mut self, product: Option<&Product>, function: FuncRef, [lo, hi, number]: [Value; 3]) {
        if let Some(product) = product {
            self.rows_of_product(product, lo, hi);
        }
        self.fb.ins().call(function, &[self.ctx, lo, hi, number]);
    }

    fn product(&mut self, index: usize, kernel: &Kernel, id: NodeId) -> Product {
        let graph = self.graph();
        let Op::Dot { ta, tb } = graph[id].op else { unreachable!("a product") };
        let [a, b] = graph[id].operands[..] else { unreachable!("a product has two operands") };
        let strides = |operand: NodeId, transposed: bool| {
            let row = graph[operand].ty.shape.0[1].factor() as i64;
            if transposed { (1, row) } else { (row, 1) }
        };
        let (a_strides, b_strides) = (strides(a, ta), strides(b, tb));
        let left = self.operand(a);
        let right = self.operand(b);
        let plan = &self.program.plan.kernels[index];
        let inner_dim = inner_extent(graph, id);
        let inner = self.extent(inner_dim);
        let cols = kernel.domain.cols as i64;
        let (result, scratch) = match plan.product {
            Some(at) => (self.arena_at(at), true),
            None => (self.address(self.program.plan.places[&id]), false),
        };
        let workspace = self.arena_at(plan.workspace);
        let packed = plan.packed.map(|at| self.arena_at(at));
        let right = (right, b_strides.0, b_strides.1);
        let left = (left, a_strides.0, a_strides.1);
        Product { left, right, packed, inner, cols, result, scratch, workspace }
    }

    fn rows_of_product(&mut self, product: &Product, lo: Value, hi: Value) {
        let rows = self.fb.ins().isub(hi, lo);
        let before = self.fb.ins().imul_imm_u(lo, 4 * product.left.1);
        let left = self.fb.ins().iadd(product.left.0, before);
        let result = if product.scratch {
            product.result
        } else {
            let before = self.fb.ins().imul_imm_u(lo, 4 * product.cols);
            self.fb.ins().iadd(product.result, before)
        };
        let isa = self.isa_number();
        let numbers = [product.cols, product.left.1, product.left.2, product.right.1, product.right.2];
        let [cols, a_row, a_col, b_row, b_col] = numbers.map(|value| self.fb.ins().iconst(types::I64, value));
        let (inner, workspace) = (product.inner, product.workspace);
        match product.packed {
            Some(packed) => {
                let arguments = [isa, rows, cols, inner, left, a_row, a_col, packed, result, cols, workspace];
                self.call(Import::PackedProduct, &arguments);
            }
            None => {
                let b = product.right.0;
                let arguments = [isa, rows, cols, inner, left, a_row, a_col, b, b_row, b_col, result, cols, workspace];
                self.call(Import::Product, &arguments);
            }
        }
    }

    fn isa_number(&mut self) -> Value {
        self.fb.ins().iconst(types::I64, self.isa as i64)
    }

    /// The last stages of the kernel's reductions.
    fn finish(&mut self, index: usize, kernel: &Kernel, rows: Value) {
        let partials = self.program.plan.kernels[index].partials.clone();
        let block = kernel.block as i64;
        for (id, (at, len)) in partials {
            let (reduction, way) = way(self.graph(), id).expect("partial results are of reductions");
            let partials = self.arena_at(at);
            let out = self.address(self.program.plan.places[&id]);
            let up = self.fb.ins().iadd_imm_u(rows, block - 1);
            let blocks = self.fb.ins().udiv_imm_u(up, block);
            let constant = |emit: &mut Self, value: usize| emit.fb.ins().iconst(types::I64, value as i64);
            let columns = constant(self, kernel.domain.cols);
            match (reduction, way) {
                (Reduction::Variance, _) => {
                    let (stride, block) = (constant(self, len), constant(self, kernel.block));
                    let sum = self.sum_of_moments(kernel, id);
                    self.call(Import::MergeMoments, &[partials, stride, columns, block, rows, sum, out]);
                }
                (_, Way::Everything) => {
                    let count = self.fb.ins().imul_imm_u(blocks, LANES as i64);
                    let import =
                        if reduction == Reduction::Max { Import::MaxEverything } else { Import::SumEverything };
                    self.call(import, &[partials, count, out]);
                }
                _ => {
                    let stride = constant(self, len);
                    let import = if reduction == Reduction::Max { Import::MaxColumns } else { Import::SumColumns };
                    self.call(import, &[partials, blocks, stride, columns, out]);
                }
            }
        }
    }

    /// Where the sum goes that comes with a variance, or null.
    fn sum_of_moments(&mut self, kernel: &Kernel, variance: NodeId) -> Value {
        let graph = self.graph();
        let sum = kernel.steps.iter().find(|step| moments(graph, kernel, step.node) == Some(variance));
        match sum {
            Some(step) => self.address(self.program.plan.places[&step.node]),
            None => self.fb.ins().iconst(types::I64, 0),
        }
    }

    /// Leaves with status 1 if the loss is not a finite number.
    fn check(&mut self) {
        let graph = self.graph();
        let loss = graph.output(&Role::Loss).expect("a training step has a loss");
        let place = self.program.plan.places[&graph.behind_reshapes(loss)];
        let address = self.address(place);
        let loss = self.fb.ins().load(types::F32, memory(), address, 0);
        let size = self.fb.ins().fabs(loss);
        let infinity = self.fb.ins().f32const(f32::INFINITY);
        let finite = self.fb.ins().fcmp(FloatCC::LessThan, size, infinity);
        let (go_on, stop) = (self.fb.create_block(), self.fb.create_block());
        self.fb.ins().brif(finite, go_on, &[], stop, &[]);
        self.fb.switch_to_block(stop);
        let status = self.fb.ins().iconst(types::I32, 1);
        self.fb.ins().return_(&[status]);
        self.fb.switch_to_block(go_on);
    }

    fn operand(&mut self, id: NodeId) -> Value {
        let place = self.program.plan.places[&self.graph().behind_reshapes(id)];
        self.address(place)
    }

    fn address(&mut self, place: Place) -> Value {
        match place {
            Place::Arena(at) => self.arena_at(at),
            Place::Param(index) => {
                let params = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::PARAMS);
                self.fb.ins().iadd_imm_u(params, 4 * self.program.plan.params[index] as i64)
            }
            Place::Input(index) => {
                let inputs = self.fb.ins().load(types::I64, constant_memory(), self.ctx, Context::INPUTS);
                self.fb.ins().load(types::I64, constant_memory(), inputs, 8 * index as i32)
            }
        }
    }

    fn arena_at(&mut self, at: usize) -> Value {
        self.fb.ins().iadd_imm_u(self.arena, 4 * at as i64)
    }

    fn extent(&mut self, dim: Dim) -> Value {
        match dim {
            Dim::Fixed(n) => self.fb.ins().iconst(types::I64, n as i64),
            Dim::Batch(n) => self.fb.ins().imul_imm_u(self.batch, n as i64),
        }
    }

    fn call(&mut self, import: Import, arguments: &[Value]) {
        let function = match self.imports[import as usize] {
            Some(function) => function,
            None => {
                let number = self.program.fused.kernels.len() as u32 + 1 + import as u32;
                let signature = import.signature(self.target);
                self.function(number, signature, false)
            }
        };
        self.imports[import as usize] = Some(function);
        self.fb.ins().call(function, arguments);
    }

    fn function(&mut self, number: u32, signature: Signature, colocated: bool) -> FuncRef {
        let name = self.fb.func.declare_imported_user_function(UserExternalName::new(0, number));
        let signature = self.fb.import_signature(signature);
        self.fb.import_function(ExtFuncData { name: ExternalName::user(name), signature, colocated, patchable: false })
    }
}
