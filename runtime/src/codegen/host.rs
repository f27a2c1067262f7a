//! What compiled code calls in the runtime: one table, of which all else follows.
//!
//! A row has the name of a host call, its arguments with their types, its symbol, and the function that does the work. From it
//! follow the signature and the declaration in CLIF; a struct that has a value for every argument by name and emits the call;
//! and the address, which compiles only if the function has exactly these types. A new microkernel takes its own file and a row
//! here; kernels then call it as `host::Name { .. }.call(..)`.
//!
//! In: values by name. Out: a call. The functions themselves live in `microkernels`; `jit` asks for their addresses.

use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, InstBuilder, Signature, Type, UserExternalName, Value,
};
use cranelift_frontend::FunctionBuilder;

use super::Target;
use super::abi::Passed;
use super::numbers::Numbers;
use crate::kernel::TrianglePart;
use crate::microkernels::gemm::{self, Isa};
use crate::microkernels::runs::{self, Nest};
use crate::microkernels::winograd::{self, Windows};
use crate::microkernels::{finish, host_fn, prefetch, ticks};

/// Writes what follows from the rows.
macro_rules! host_calls {
    (
        |$threads:ident|
        $(
            $(#[$doc:meta])+
            $name:ident($($arg:ident: $ty:ty),* $(,)?)
                as $symbol:expr => $function:expr;
        )+
    ) => {
        /// A function of the runtime that compiled code calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Import {
            $($(#[$doc])+ $name,)+
        }

        impl Import {
            /// All of them, in the order of the table.
            pub const ALL: [Import; [$(Import::$name),+].len()] = [$(Import::$name),+];

            /// The name of the symbol.
            pub fn symbol(self) -> &'static str {
                match self {
                    $(Import::$name => $symbol,)+
                }
            }

            /// The types of the arguments.
            fn arguments(self) -> &'static [Type] {
                match self {
                    $(Import::$name => &[$(<$ty as Passed>::TYPE),*],)+
                }
            }

            /// The address of the function, in a program for so many threads.
            pub fn address(self, $threads: usize) -> *const u8 {
                match self {
                    $(Import::$name => {
                        let function: host_fn!($($ty),*) = $function;
                        function as *const u8
                    })+
                }
            }
        }

        $(
            $(#[$doc])+
            pub(super) struct $name {
                $(pub(super) $arg: Value,)*
            }

            impl $name {
                /// Emits the call.
                pub(super) fn call(self, imports: &mut Imports, fb: &mut FunctionBuilder<'_>) {
                    imports.call(fb, Import::$name, &[$((stringify!($arg), self.$arg)),*]);
                }
            }
        )+
    };
}

host_calls! {
    |threads|

    /// Rows of a product, the right operand where it lies.
    Product(
        isa: Isa, rows: usize, cols: usize, inner: usize, piece: usize,
        a: *const f32, a_row: usize, a_col: usize,
        b: *const f32, b_row: usize, b_col: usize,
        c: *mut f32, ldc: usize, workspace: *mut f32,
    ) as "gradloom_product" => gemm::product;

    /// Some columns of the right operand of a product, rearranged.
    PackRight(
        isa: Isa, cols: usize, inner: usize, piece: usize,
        b: *const f32, b_row: usize, b_col: usize,
        from: usize, to: usize, packed: *mut f32,
    ) as "gradloom_pack_right" => gemm::pack_right;

    /// Rows of a product with a rearranged right operand.
    PackedProduct(
        isa: Isa, rows: usize, cols: usize, inner: usize, piece: usize,
        a: *const f32, a_row: usize, a_col: usize,
        packed: *const f32,
        c: *mut f32, ldc: usize, workspace: *mut f32,
    ) as "gradloom_packed_product" => gemm::packed_product;

    /// The last stage of totals down columns, by the number of the reduction.
    TotalOfColumns(
        reduction: usize, partials: *const f32, stride: usize, columns: usize, block: usize, rows: usize, ahead: usize,
        out: *mut f32,
    ) as "gradloom_total_of_columns" => finish::total_of_columns;

    /// A part of that, of some rows.
    TotalsAhead(
        reduction: usize, partials: *mut f32, stride: usize, columns: usize, block: usize,
        from: usize, to: usize, ahead: usize,
    ) as "gradloom_totals_ahead" => finish::totals_ahead;

    /// The last stage of a total over everything.
    TotalOfAll(reduction: usize, partials: *const f32, blocks: usize, out: *mut f32)
        as "gradloom_total_of_all" => finish::total_of_all;

    /// The last stage of a variance. A mean or a variance at no address is not wanted.
    MergeMoments(
        partials: *const f32, stride: usize, columns: usize, block: usize, rows: usize, ahead: usize,
        mean: *mut f32, variance: *mut f32, overflow: *mut u32,
    ) as "gradloom_merge_moments" => finish::merge_moments;

    /// A part of that, of some rows.
    MomentsAhead(
        partials: *mut f32, stride: usize, columns: usize, block: usize, from: usize, to: usize, ahead: usize,
    ) as "gradloom_moments_ahead" => finish::moments_ahead;

    /// A kernel, or a tile of one, has ended; only in a program that is timed.
    Tick(kernel: usize) as "gradloom_tick" => ticks::tick;

    /// Some bytes will be read soon.
    Prefetch(address: *const u8, bytes: usize) as "gradloom_prefetch" => prefetch::to_read;

    /// Some bytes of each of some rows will be read soon.
    PrefetchRows(address: *const u8, step: usize, rows: usize, bytes: usize) as "gradloom_prefetch_rows"
        => prefetch::rows_to_read;

    /// Some bytes will be written soon. One thread is mostly alone with what it writes, and then to ask for reading is 1 %
    /// faster.
    PrefetchToWrite(address: *const u8, bytes: usize) as "gradloom_prefetch_to_write"
        => if threads == 1 { prefetch::to_read } else { prefetch::to_write };

    /// Rows of a product whose left operand is read in runs of terms.
    ProductInRuns(
        isa: Isa, nest: *const Nest, lo: usize, hi: usize,
        a: *const f32, b: *const f32, c: *mut f32, workspace: *mut f32,
    ) as "gradloom_product_in_runs" => runs::runs_product;

    /// Some columns of the taps of windows, transformed.
    WinogradTaps(isa: Isa, windows: *const Windows, from: usize, to: usize, b: *const f32, packed: *mut f32)
        as "gradloom_winograd_taps" => winograd::taps;

    /// Rows of windows with transformed taps.
    WinogradProduct(
        isa: Isa, windows: *const Windows, lo: usize, hi: usize,
        a: *const f32, b: *const f32, packed: *const f32, c: *mut f32,
        prefetched: *const *const f32, matrices: usize, workspace: *mut f32,
    ) as "gradloom_winograd_product" => winograd::product;

    /// Some parts and rows of positions of the gradient of taps, added up.
    WinogradSums(
        isa: Isa, windows: *const Windows, first: usize, end: usize, from: usize, to: usize,
        a: *const f32, b: *const f32, sums: *mut f32, workspace: *mut f32,
    ) as "gradloom_winograd_sums" => winograd::sums;

    /// The parts of some rows of positions, added up.
    WinogradFold(isa: Isa, windows: *const Windows, from: usize, to: usize, sums: *mut f32)
        as "gradloom_winograd_fold" => winograd::fold;

    /// Rows of the gradient of taps.
    WinogradGradient(
        isa: Isa, windows: *const Windows, lo: usize, hi: usize,
        a: *const f32, b: *const f32, sums: *const f32, c: *mut f32,
    ) as "gradloom_winograd_gradient" => winograd::gradient;

    /// Rows of a product of which a part is left out.
    ProductInPart(
        isa: Isa, rows: usize, cols: usize, inner: usize, piece: usize,
        a: *const f32, a_row: usize, a_col: usize,
        b: *const f32, b_row: usize, b_col: usize,
        c: *mut f32, ldc: usize, part: TrianglePart, offset: i64, adds: usize, workspace: *mut f32,
    ) as "gradloom_product_in_part" => gemm::product_in_part;

    /// Rows and columns of a product whose right operand may lie rearranged, at an offset in memory that may be null.
    KeptProduct(
        isa: Isa, rows: usize, all: usize, from: usize, cols: usize, inner: usize, piece: usize,
        a: *const f32, a_row: usize, a_col: usize,
        b: *const f32, b_row: usize, b_col: usize,
        packed: *const f32, at: usize,
        c: *mut f32, ldc: usize, workspace: *mut f32,
    ) as "gradloom_kept_product" => gemm::kept_product;

    /// Rows of a product that prefetches as many rows of other matrices meanwhile; the right operand may lie rearranged, or nowhere.
    ProductAndPrefetch(
        isa: Isa, rows: usize, cols: usize, inner: usize, piece: usize,
        a: *const f32, a_row: usize, a_col: usize,
        b: *const f32, b_row: usize, b_col: usize,
        packed: *const f32, c: *mut f32, ldc: usize,
        prefetched: *const *const f32, matrices: usize, workspace: *mut f32,
    ) as "gradloom_product_and_prefetch" => gemm::product_and_prefetch;
}

impl Import {
    /// Its place among all.
    pub fn index(self) -> usize {
        Import::ALL.iter().position(|&other| other == self).expect("all imports are listed")
    }

    /// How it is called.
    pub fn signature(self, target: Target) -> Signature {
        let mut signature = Signature::new(target.call_conv);
        signature.params.extend(self.arguments().iter().map(|&ty| AbiParam::new(ty)));
        signature
    }
}

/// The imports of a function that is being emitted: each is declared where it is called first.
pub(super) struct Imports {
    target: Target,
    numbers: Numbers,
    declared: [Option<FuncRef>; Import::ALL.len()],
}

impl Imports {
    pub(super) fn new(target: Target, numbers: Numbers) -> Imports {
        Imports { target, numbers, declared: [None; Import::ALL.len()] }
    }

    /// Calls an import with the values of its arguments, by name and in the order of the table.
    fn call(&mut self, fb: &mut FunctionBuilder<'_>, import: Import, arguments: &[(&str, Value)]) {
        let Imports { target, numbers, declared: imports } = self;
        let declare = || declared(fb, numbers.import(import), import.signature(*target), false);
        let function = *imports[import.index()].get_or_insert_with(declare);
        for (&(name, value), &wanted) in arguments.iter().zip(import.arguments()) {
            let ty = fb.func.dfg.value_type(value);
            debug_assert_eq!(ty, wanted, "`{name}` of {}", import.symbol());
        }
        let values: Vec<Value> = arguments.iter().map(|&(_, value)| value).collect();
        fb.ins().call(function, &values);
    }
}

/// The function of this number, to be called.
pub(super) fn declared(fb: &mut FunctionBuilder<'_>, number: u32, signature: Signature, colocated: bool) -> FuncRef {
    let name = fb.func.declare_imported_user_function(UserExternalName::new(0, number));
    let signature = fb.import_signature(signature);
    fb.import_function(ExtFuncData { name: ExternalName::user(name), signature, colocated, patchable: false })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cranelift_codegen::ir::{Function as Code, types};
    use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
    use cranelift_frontend::FunctionBuilderContext;

    use super::*;

    /// A function that makes calls, as text.
    fn emitted(body: impl FnOnce(&mut Imports, &mut FunctionBuilder<'_>)) -> String {
        let call_conv = CallConv::SystemV;
        let config = TargetFrontendConfig {
            default_call_conv: call_conv,
            pointer_width: target_lexicon::PointerWidth::U64,
            page_size_align_log2: 12,
        };
        let target = Target { call_conv, config, fma: true };
        let (mut function, mut context) = (Code::new(), FunctionBuilderContext::new());
        let mut fb = FunctionBuilder::new(&mut function, &mut context);
        let block = fb.create_block();
        fb.switch_to_block(block);
        body(&mut Imports::new(target, Numbers { kernels: 3, wide: 0 }), &mut fb);
        fb.ins().return_(&[]);
        fb.seal_all_blocks();
        fb.finalize(config);
        function.display().to_string()
    }

    fn numbers<const N: usize>(fb: &mut FunctionBuilder<'_>) -> [Value; N] {
        std::array::from_fn(|index| fb.ins().iconst(types::I64, index as i64))
    }

    #[test]
    fn every_import_has_a_number_and_a_symbol_of_its_own() {
        let numbers: Vec<usize> = Import::ALL.iter().map(|import| import.index()).collect();
        assert_eq!(numbers, (0..Import::ALL.len()).collect::<Vec<_>>());
        let symbols: HashSet<&str> = Import::ALL.iter().map(|import| import.symbol()).collect();
        assert_eq!(symbols.len(), Import::ALL.len());
    }

    #[test]
    fn values_are_passed_in_the_order_of_the_row_whatever_that_of_the_call() {
        let text = emitted(|imports, fb| {
            let [isa, cols, inner, piece, b, b_row, b_col, from, to, packed] = numbers(fb);
            PackRight { packed, to, from, b_col, b_row, b, piece, inner, cols, isa }.call(imports, fb);
        });
        assert!(text.contains("sig0 = (i64, i64, i64, i64, i64, i64, i64, i64, i64, i64) system_v"), "{text}");
        assert!(text.contains("call fn0(v0, v1, v2, v3, v4, v5, v6, v7, v8, v9)"), "{text}");
    }

    #[test]
    fn an_import_is_declared_once_for_all_its_calls() {
        let text = emitted(|imports, fb| {
            let [address, bytes] = numbers(fb);
            Prefetch { address, bytes }.call(imports, fb);
            PrefetchToWrite { address, bytes }.call(imports, fb);
            Prefetch { address, bytes }.call(imports, fb);
        });
        // After three kernels and the entry.
        let number = 4 + Import::Prefetch.index();
        let [reads, writes] = [number, number + 2].map(|number| text.matches(&format!("= u0:{number} ")).count());
        assert_eq!([reads, writes, text.matches("call fn0(").count()], [1, 1, 2], "{text}");
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "`bytes` of gradloom_prefetch")]
    fn a_value_of_another_type_than_its_argument_is_caught() {
        emitted(|imports, fb| {
            let [address] = numbers(fb);
            let bytes = fb.ins().f32const(3.0);
            Prefetch { address, bytes }.call(imports, fb);
        });
    }
}
