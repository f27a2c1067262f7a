//! The compiler and runtime of gradloom. The modules stand in the order of the pipeline.

pub mod types;
pub mod scalar;
pub mod init;
pub mod ir;
pub mod layers;
pub mod functions;
pub mod network;
pub mod elaborate;
pub mod error;
pub mod lower;
pub mod stabilise;
pub mod autodiff;
pub mod interp;
pub mod schedule;
pub mod optim;
pub mod simplify;
pub mod accumulate;
pub mod flops;
pub mod gradcheck;
pub mod kernel;
pub mod fuse;
pub mod microkernels;
pub mod plan;
pub mod memory;
#[cfg(feature = "jit")]
pub mod codegen;
#[cfg_attr(not(feature = "jit"), path = "no_jit.rs")]
pub mod jit;
pub mod compile;
pub mod summary;
#[cfg(feature = "ndarray")]
pub mod tensor;
#[cfg(feature = "ndarray")]
pub mod session;
#[cfg(feature = "ndarray")]
pub mod dataset;
