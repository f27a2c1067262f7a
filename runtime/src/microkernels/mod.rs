//! Machine code that is compiled ahead of time: the matrix product, transcendental functions of many elements, the last
//! stage of reductions, and what the machine can do at most; and wishes, for large pages and for lines of the cache.
//!
//! In: addresses and extents, from compiled kernels. Out: numbers in memory. Absent on purpose: anything that depends on
//! the network, which is compiled at run time.

pub mod fetch;
pub mod finish;
pub mod gemm;
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod guarded;
pub mod pages;
pub mod peak;
pub mod strips;
