//! Types of the runtime as compiled code passes them, in the calling convention of C; and the functions of a program that the
//! runtime calls, of which type and signature follow from one line.

use cranelift_codegen::ir::{AbiParam, Signature, Type, types};

use super::{Context, Target};
use crate::kernel::TrianglePart;
use crate::microkernels::gemm::Isa;

/// A type of arguments and results, and what it is in CLIF.
pub(super) trait Passed {
    const TYPE: Type;
}

/// Extents and strides.
impl Passed for usize {
    const TYPE: Type = wide::<usize>();
}

/// Instruction sets are passed by number.
impl Passed for Isa {
    const TYPE: Type = wide::<Isa>();
}

/// As are the parts of a product.
impl Passed for TrianglePart {
    const TYPE: Type = wide::<TrianglePart>();
}

impl<T> Passed for *const T {
    const TYPE: Type = wide::<*const T>();
}

impl<T> Passed for *mut T {
    const TYPE: Type = wide::<*mut T>();
}

impl Passed for i64 {
    const TYPE: Type = wide::<i64>();
}

impl Passed for i32 {
    const TYPE: Type = types::I32;
}

/// The type of 64 bits, for one that has as many here.
const fn wide<T>() -> Type {
    assert!(size_of::<T>() == 8, "what has 64 bits in compiled code has as many in the runtime");
    types::I64
}

macro_rules! compiled {
    ($($(#[$doc:meta])+ $name:ident, $signature:ident: fn($($ty:ty),*) $(-> $result:ty)?;)+) => {$(
        $(#[$doc])+
        pub type $name = extern "C" fn($($ty),*) $(-> $result)?;

        #[doc = concat!("The signature of [`", stringify!($name), "`].")]
        pub fn $signature(target: Target) -> Signature {
            let mut signature = Signature::new(target.call_conv);
            signature.params.extend([$(AbiParam::new(<$ty as Passed>::TYPE)),*]);
            $(signature.returns.push(AbiParam::new(<$result as Passed>::TYPE));)?
            signature
        }
    )+};
}

compiled! {
    /// Runs everything, or ends a parallel region. The status is 0 if the loss is finite.
    EntryFn, entry_signature: fn(*const Context) -> i32;

    /// Works on the unit of a task that has this number, of the tile of this number if threads share tiles.
    TaskFn, task_signature: fn(*const Context, i64, i64);
}
