//! What compiled code calls in the runtime: one table, of which all else follows.
//!
//! A row has the name of a host call, its arguments with their types, its symbol, and the function that does the work. From it
//! follow the signature and the declaration in CLIF; a struct that has a value for every argument by name and emits the call;
//! and the address, which exists only if the function has just these types. A new microkernel is its own file and a row here.
//!
//! In: a row and values. Out: an instruction. The functions themselves live in `microkernels`; the linker of `jit` asks for
//! their addresses.

use cranelift_codegen::ir::{
    AbiParam, ExtFuncData, ExternalName, FuncRef, InstBuilder, Signature, Type, UserExternalName, Value, types,
};
use cranelift_frontend::FunctionBuilder;

use super::Target;
use super::numbers::Numbers;
use crate::microkernels::gemm::{self, Isa};
use crate::microkernels::{fetch, finish, host_fn, strips, ticks};
use crate::scalar::Function;

/// Writes what follows from the rows. A row with a key in brackets stands for a family, one call for each key.
macro_rules! host_calls {
    (
        |$isa:ident, $threads:ident|
        $(
            $(#[$doc:meta])+
            $name:ident $([$key:ident: $of:ty = $keys:path])? ($($arg:ident: $ty:ty),* $(,)?)
                as $symbol:expr => $function:expr;
        )+
    ) => {
        /// A function of the runtime that compiled code calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Import {
            $($(#[$doc])+ $name $(($of))?,)+
        }

        impl Import {
            const COUNT: usize = 0 $(+ host_calls!(@count $($keys)?))+;

            /// All of them, in the order of the table.
            pub const ALL: [Import; Import::COUNT] = {
                let mut all = [Import::Tick; Import::COUNT];
                let mut next = 0;
                $(host_calls!(@list all next $name $($keys)?);)+
                assert!(next == Import::COUNT);
                all
            };

            /// The name of the symbol.
            pub fn symbol(self) -> &'static str {
                match self {
                    $(Import::$name $(($key))? => $symbol,)+
                }
            }

            /// The types of the arguments.
            fn arguments(self) -> &'static [Type] {
                match self {
                    $(Import::$name { .. } => &[$(<$ty as Argument>::TYPE),*],)+
                }
            }

            /// The address of the function, on a machine that has this instruction set, in a program for so many threads.
            pub fn address(self, $isa: Isa, $threads: usize) -> *const u8 {
                match self {
                    $(Import::$name $(($key))? => {
                        let function: host_fn!($($ty),*) = $function;
                        function as *const u8
                    })+
                }
            }
        }

        $(
            $(#[$doc])+
            pub(super) struct $name {
                $(pub(super) $key: $of,)?
                $(pub(super) $arg: Value,)*
            }

            impl $name {
                /// Emits the call.
                pub(super) fn call(self, imports: &mut Imports, fb: &mut FunctionBuilder<'_>) {
                    imports.call(fb, Import::$name $((self.$key))?, &[$((stringify!($arg), self.$arg)),*]);
                }
            }
        )+
    };
    (@count) => { 1 };
    (@count $keys:path) => { $keys.len() };
    (@list $all:ident $next:ident $name:ident) => {
        $all[$next] = Import::$name;
        $next += 1;
    };
    (@list $all:ident $next:ident $name:ident $keys:path) => {
        let mut key = 0;
        while key < $keys.len() {
            $all[$next] = Import::$name($keys[key]);
            $next += 1;
            key += 1;
        }
    };
}

host_calls! {
    |isa, threads|

    /// Rows of a product, the right operand where it lies.
    Product(
        isa: Isa, rows: usize, cols: usize, inner: usize,
        a: *const f32, a_row: usize, a_col: usize,
        b: *const f32, b_row: usize, b_col: usize,
        c: *mut f32, ldc: usize, workspace: *mut f32,
    ) as "gradloom_product" => gemm::product;

    /// Some columns of the right operand of a product, rearranged.
    PackRight(
        isa: Isa, cols: usize, inner: usize,
        b: *const f32, b_row: usize, b_col: usize,
        from: usize, to: usize, packed: *mut f32,
    ) as "gradloom_pack_right" => gemm::pack_right;

    /// Rows of a product with a rearranged right operand.
    PackedProduct(
        isa: Isa, rows: usize, cols: usize, inner: usize,
        a: *const f32, a_row: usize, a_col: usize,
        packed: *const f32,
        c: *mut f32, ldc: usize, workspace: *mut f32,
    ) as "gradloom_packed_product" => gemm::packed_product;

    /// The last stage of sums down columns.
    SumColumns(partials: *const f32, blocks: usize, stride: usize, columns: usize, out: *mut f32)
        as "gradloom_sum_columns" => finish::sum_columns;

    /// The last stage of a sum over everything.
    SumEverything(partials: *const f32, count: usize, out: *mut f32)
        as "gradloom_sum_everything" => finish::sum_everything;

    /// The last stage of maxima down columns.
    MaxColumns(partials: *const f32, blocks: usize, stride: usize, columns: usize, out: *mut f32)
        as "gradloom_max_columns" => finish::max_columns;

    /// The last stage of a maximum over everything.
    MaxEverything(partials: *const f32, count: usize, out: *mut f32)
        as "gradloom_max_everything" => finish::max_everything;

    /// The last stage of a variance. A mean or a variance at no address is not wanted.
    MergeMoments(
        partials: *const f32, stride: usize, columns: usize, block: usize, rows: usize,
        mean: *mut f32, variance: *mut f32, overflow: *mut u32,
    ) as "gradloom_merge_moments" => finish::merge_moments;

    /// A kernel has ended; only in a program that is timed.
    Tick() as "gradloom_tick" => ticks::tick;

    /// A function of every element of a strip.
    Strip[function: Function = strips::FUNCTIONS](from: *const f32, to: *mut f32, count: usize)
        as strips::symbol(function) => strips::strip(isa, function);

    /// Some bytes will be read soon.
    Fetch(address: *const u8, bytes: usize) as "gradloom_fetch" => fetch::fetch;

    /// Some bytes will be written soon. One thread is mostly alone with what it writes, and then to ask for reading is 1 %
    /// faster.
    FetchToWrite(address: *const u8, bytes: usize) as "gradloom_fetch_to_write"
        => if threads == 1 { fetch::fetch } else { fetch::fetch_to_write };
}

/// A type that arguments have, and what it is in CLIF.
trait Argument {
    const TYPE: Type;
}

/// Extents and strides.
impl Argument for usize {
    const TYPE: Type = word::<usize>();
}

/// Instruction sets are passed by number.
impl Argument for Isa {
    const TYPE: Type = word::<Isa>();
}

impl<T> Argument for *const T {
    const TYPE: Type = word::<*const T>();
}

impl<T> Argument for *mut T {
    const TYPE: Type = word::<*mut T>();
}

/// The type of 64 bits, for one that has as many here.
const fn word<T>() -> Type {
    assert!(size_of::<T>() == 8, "an argument of 64 bits in compiled code has as many in the runtime");
    types::I64
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

    /// Calls an import with values of which the rows of the table know the names.
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
