//! The integration tests, one binary: what the compiler's stages mean, checked through the public names of the runtime.

// Networks that `network!` warns of are tried like all others.
#![allow(deprecated)]

#[cfg(feature = "arm64")]
mod aarch64;
mod accumulation;
mod allocation;
mod auto_traits;
mod bound;
mod branches;
mod checkpoint;
mod checkpoint_damage;
mod checkpoint_identity;
mod checkpoint_kill;
mod code;
mod compiled;
mod compiled_edges;
mod compiled_golden;
mod compiled_ops;
mod compiled_tensors;
mod confident;
mod corners;
mod dataset;
mod declarations;
mod declarations_sweep;
mod declared;
mod diagnostics;
mod digits;
mod draw;
mod dropout;
mod extremes;
mod fetch;
mod finite_difference;
mod fit;
mod formulas;
mod frozen_statistics;
mod fusion;
mod generic;
mod golden;
mod golden_file;
mod gradcheck;
mod growth;
mod handmade;
mod in_place;
mod initializers;
mod instruction_sets;
mod language;
mod large_numbers;
mod layers;
mod logic;
mod macro_rules;
mod memory;
mod messages;
mod metrics;
mod ops;
mod optimizations;
mod oracle;
mod norm_stages;
mod optimizer_kernels;
mod optimizers;
mod origins;
mod passes;
mod pieces;
mod planted;
mod predictor;
mod profile;
mod prologue;
mod random;
mod random_diagnosis;
mod random_function;
mod random_loss;
mod random_network;
mod random_tensors;
mod readme;
mod reasons;
mod recalibrate;
mod reference;
mod refusal;
mod regressions;
mod resume;
mod rewrites;
mod rounding;
mod sentinel;
mod shapes;
mod simplify;
mod stable;
mod stages;
mod state_dict;
mod steps;
mod strips;
mod summary;
mod surroundings;
mod tensor_golden;
mod tensor_kernels;
mod tensors;
mod threads;
mod tidy;
mod train;
mod vocabulary;

/// The folder of the project.
fn project() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
