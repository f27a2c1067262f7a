//! Machine code that is compiled ahead of time: the matrix product, transcendental functions of many elements, the last
//! stage of reductions, and what the machine can do at most; wishes, for large pages and for lines of the cache; and a clock.
//!
//! In: addresses and extents, from compiled kernels. Out: numbers in memory. Absent on purpose: anything that depends on
//! the network, which is compiled at run time.
//!
//! Debug builds optimize each part of a crate once and by itself, so that whatever is generic or in another file stays a call there
//! unless it is `#[inline]`; a call puts all sums on the stack. So what runs within a tile is marked, and written in loops rather than
//! with functions of arrays and iterators, which are not. `.ci/debug` measures it.

// Without compiled programs, as in the macro, there is only the instruction set of plain Rust.
#![cfg_attr(not(feature = "jit"), allow(dead_code, unused_imports, reason = "it needs less than the others"))]

pub mod prefetch;
pub mod finish;
pub mod gemm;
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod guarded;
pub mod pages;
pub mod peak;
pub mod runs;
pub mod ticks;
pub mod winograd;

/// The type of a function that compiled code calls with arguments of these types. Code generation promises what the function
/// asks for: addresses as the plan laid them out, and an instruction set that the machine has.
#[cfg(feature = "jit")]
macro_rules! host_fn {
    ($($ty:ty),*) => { unsafe extern "C" fn($($ty),*) };
}
#[cfg(feature = "jit")]
pub(crate) use host_fn;
