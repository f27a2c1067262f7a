//! What compiled code calls in the runtime, by number and signature.

use cranelift_codegen::ir::{AbiParam, ExtFuncData, ExternalName, FuncRef, Signature, UserExternalName, types};
use cranelift_frontend::FunctionBuilder;

use super::Target;
use crate::scalar::Function;

/// What compiled code calls in the runtime. They are numbered behind the functions of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Import {
    /// Rows of a product, the right operand where it lies.
    Product,
    /// Some columns of the right operand of a product, rearranged.
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
    /// A kernel has ended; only in a program that is timed.
    Tick,
    /// A function of a strip of elements.
    Strip(Function),
    /// Some bytes will be read soon.
    Fetch,
    /// Some bytes will be written soon.
    FetchToWrite,
}

impl Import {
    /// All of them, in the order of their numbers.
    pub const ALL: [Import; 22] = [
        Import::Product,
        Import::PackRight,
        Import::PackedProduct,
        Import::SumColumns,
        Import::SumEverything,
        Import::MaxColumns,
        Import::MaxEverything,
        Import::MergeMoments,
        Import::Tick,
        Import::Strip(Function::Exp),
        Import::Strip(Function::Expm1),
        Import::Strip(Function::Ln),
        Import::Strip(Function::Log1p),
        Import::Strip(Function::Sigmoid),
        Import::Strip(Function::Tanh),
        Import::Strip(Function::Softplus),
        Import::Strip(Function::Erf),
        Import::Strip(Function::NormalCdf),
        Import::Strip(Function::SigmoidSlope),
        Import::Strip(Function::TanhSlope),
        Import::Fetch,
        Import::FetchToWrite,
    ];

    /// Its place among all.
    pub fn number(self) -> usize {
        Import::ALL.iter().position(|&other| other == self).expect("all imports are listed")
    }

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
            Import::Tick => "gradloom_tick",
            Import::Strip(Function::Exp) => "gradloom_exp",
            Import::Strip(Function::Expm1) => "gradloom_expm1",
            Import::Strip(Function::Ln) => "gradloom_ln",
            Import::Strip(Function::Log1p) => "gradloom_log1p",
            Import::Strip(Function::Sigmoid) => "gradloom_sigmoid",
            Import::Strip(Function::Tanh) => "gradloom_tanh",
            Import::Strip(Function::Softplus) => "gradloom_softplus",
            Import::Strip(Function::Erf) => "gradloom_erf",
            Import::Strip(Function::NormalCdf) => "gradloom_normal_cdf",
            Import::Strip(Function::SigmoidSlope) => "gradloom_sigmoid_slope",
            Import::Strip(Function::TanhSlope) => "gradloom_tanh_slope",
            Import::Fetch => "gradloom_fetch",
            Import::FetchToWrite => "gradloom_fetch_to_write",
        }
    }

    /// All arguments are 64-bit integers: extents, strides and addresses.
    pub fn signature(self, target: Target) -> Signature {
        let count = match self {
            Import::Product => 14,
            Import::PackRight => 10,
            Import::PackedProduct => 12,
            Import::SumColumns | Import::MaxColumns => 5,
            Import::SumEverything | Import::MaxEverything | Import::Strip(_) => 3,
            Import::MergeMoments => 8,
            Import::Fetch | Import::FetchToWrite => 2,
            Import::Tick => 0,
        };
        let mut signature = Signature::new(target.call_conv);
        signature.params.extend(vec![AbiParam::new(types::I64); count]);
        signature
    }
}

/// The imports that a function has declared so far.
#[derive(Debug, Default)]
pub(super) struct Imports([Option<FuncRef>; Import::ALL.len()]);

impl Imports {
    /// An import, in a program of so many kernels.
    pub(super) fn function(
        &mut self,
        fb: &mut FunctionBuilder<'_>,
        target: Target,
        kernels: usize,
        import: Import,
    ) -> FuncRef {
        // Behind the kernels stands the entry.
        let number = kernels + 1 + import.number();
        *self.0[import.number()].get_or_insert_with(|| declared(fb, number as u32, import.signature(target), false))
    }
}

/// The function of this number, to be called.
pub(super) fn declared(fb: &mut FunctionBuilder<'_>, number: u32, signature: Signature, colocated: bool) -> FuncRef {
    let name = fb.func.declare_imported_user_function(UserExternalName::new(0, number));
    let signature = fb.import_signature(signature);
    fb.import_function(ExtFuncData { name: ExternalName::user(name), signature, colocated, patchable: false })
}
