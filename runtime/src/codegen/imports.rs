//! What compiled code calls in the runtime, by number and signature.

use cranelift_codegen::ir::{AbiParam, Signature, types};

use super::Target;

/// What compiled code calls in the runtime. The discriminants number the functions behind those of the program.
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
}

impl Import {
    /// All of them, in the order of their numbers.
    pub const ALL: [Import; 9] = [
        Import::Product,
        Import::PackRight,
        Import::PackedProduct,
        Import::SumColumns,
        Import::SumEverything,
        Import::MaxColumns,
        Import::MaxEverything,
        Import::MergeMoments,
        Import::Tick,
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
            Import::Tick => "gradloom_tick",
        }
    }

    /// All arguments are 64-bit integers: extents, strides and addresses.
    pub fn signature(self, target: Target) -> Signature {
        let count = match self {
            Import::Product => 13,
            Import::PackRight => 9,
            Import::PackedProduct => 11,
            Import::SumColumns | Import::MaxColumns => 5,
            Import::SumEverything | Import::MaxEverything => 3,
            Import::MergeMoments => 7,
            Import::Tick => 0,
        };
        let mut signature = Signature::new(target.call_conv);
        signature.params.extend(vec![AbiParam::new(types::I64); count]);
        signature
    }
}
