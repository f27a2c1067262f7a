//! The integration tests, one binary: what the compiler's stages mean, checked through the public names of the runtime.

mod bound;
mod compiled;
mod compiled_edges;
mod compiled_golden;
mod compiled_ops;
mod corners;
mod dataset;
mod draw;
mod finite_difference;
mod fusion;
mod golden;
mod golden_file;
mod handmade;
mod layers;
mod metrics;
mod ops;
mod passes;
mod random;
mod random_network;
mod readme;
mod refusal;
mod regressions;
mod simplify;
mod stages;
mod tidy;
mod train;
