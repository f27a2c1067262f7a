//! Loops over elements in machine code of our own, with vectors as wide as the machine has: Cranelift's have four lanes.
//!
//! In: a [`Body`], what happens at every element, written against [`Scalar`](crate::scalar::Scalar) as everywhere. Out: the bytes of a
//! function that does it for a run of elements, on x86-64 with AVX2 or AVX-512. Generated code stores addresses and numbers one after
//! the other and calls the function with their place and the length of the run, in bytes: whole vectors, or [`LANES`](crate::kernel::LANES) at a time
//! where something is added up.
//! Absent on purpose: what is read and where it lies, the order of sums, and all elements that are left over: those are the caller's.
//!
//! A sum along the run has [`LANES`](crate::kernel::LANES) lanes, in which the elements are added up in turn, so that the bits are
//! those of narrower vectors. Where the run is all of a row, its lanes become one number when it is done. Every other instruction works
//! lane by lane and gives the bits that it gives anywhere.
//!
//! Short runs take no longer than their elements if a body has axes: then one call goes over all of them, and moves addresses from run
//! to run by itself.

mod across;
mod body;
mod encode;
mod function;
mod instructions;
mod magnitudes;
mod nest;
mod print;
mod registers;

pub use body::{Body, Element, Recorder};
pub use function::{Wide, compile};
pub use nest::Axis;
