//! The integration tests, one binary: what the compiler's stages mean, checked through the public names of the runtime.

#[cfg(feature = "arm64")]
mod aarch64;
mod accumulation;
mod allocation;
mod bound;
mod branches;
mod checkpoint;
mod checkpoint_damage;
mod checkpoint_kill;
mod code;
mod compiled;
mod compiled_edges;
mod compiled_golden;
mod compiled_ops;
mod corners;
mod dataset;
mod diagnostics;
mod draw;
mod dropout;
mod fetch;
mod finite_difference;
mod fit;
mod fusion;
mod golden;
mod golden_file;
mod gradcheck;
mod handmade;
mod in_place;
mod initialisers;
mod instruction_sets;
mod language;
mod layers;
mod memory;
mod metrics;
mod ops;
mod optimisations;
mod norm_stages;
mod optimiser_kernels;
mod optimisers;
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
mod readme;
mod reasons;
mod recalibrate;
mod reference;
mod refusal;
mod regressions;
mod rounding;
mod sentinel;
mod simplify;
mod stable;
mod stages;
mod state_dict;
mod steps;
mod strips;
mod summary;
mod threads;
mod tidy;
mod train;
mod vocabulary;

/// The folder of the project.
fn project() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
