//! The compiler and runtime of gradloom: from the description that `network!` expands to, to a session that trains.
//!
//! The modules stand in the order of the pipeline, and a module uses only itself and earlier ones, so the list below reads as
//! the compiler. Most stages are one function from a borrowed value to a new one. Every file begins with what comes in, what
//! goes out, and what is deliberately absent. `CONTRIBUTING.md` says how to add to it and how to test a change.
//!
//! # The pipeline
//!
//! ```text
//! tokens           -> Definition    macros/      parse, resolve, check, lint, expand
//! Definition       -> Elaborated    elaborate    blocks written out, shapes inferred, every mistake found
//! Elaborated       -> Graph         lower        layers and expressions as primitive operations
//! Graph            -> Graph         stabilize, autodiff, optim, simplify
//! Graph            -> Graph         fuse         legalized: as kernels can compute it
//! Graph            -> Fused         fuse         kernels: what is computed together, and why
//! Fused            -> Tiling        tiling       how each kernel runs, and why
//! Fused, Tiling    -> Plan, regions plan         where everything lies, and what threads share
//! Fused, Plan      -> CLIF          codegen      loops around bodies, calls of microkernels
//! CLIF             -> Code          jit          machine code in memory, and the threads that run it
//! Program          -> Session       session      parameters, checkpoints, predictions; `fit` for whole trainings
//! Graph            -> values        interp       the reference interpreter, which every later stage is tested against
//! ```
//!
//! [`compile`](mod@compile) reads as this list. What it compiles is a [`Purpose`](compile::Purpose): a
//! training step, gradients, an evaluation, a prediction, diagnostics. Each is a [`Program`](compile::Program) of its own,
//! compiled when it is first needed. A [`Compilation`](compile::Compilation) keeps what every stage leaves and where operations
//! are in it; printed stages, profiles and replays of a bad number are made of it.
//!
//! # What goes in and out
//!
//! | module | in | out |
//! |---|---|---|
//! | [`types`], [`axes`], [`scalar`], [`init`] | | shapes with a batch, and axes of them; the scalar instructions of element-wise bodies; first values |
//! | [`ir`] | nodes, through a [`Builder`](ir::Builder) | a [`Graph`](ir::Graph) in SSA; [`ir::ops`] says what each operation means |
//! | [`layers`], [`functions`] | a value and arguments | its composition of primitive operations; the tables that the macro reads |
//! | [`network`] | | [`Definition`](network::Definition): the declaration as constants |
//! | [`elaborate`] | a definition | its layers one by one with paths and shapes, or all mistakes in it |
//! | [`assembly`] | sizes, chosen when the program runs | the definition of a network that has such sizes, or blocks from elsewhere |
//! | [`fault`], [`error`] | | what can go wrong at run time, in words |
//! | [`lower`] | a definition and a mode | the forward graph, with loss, metrics and next running statistics |
//! | [`stabilize`] | a forward graph | the same in real numbers, in forms that keep their digits |
//! | [`autodiff`] | a graph with a loss | the same graph, followed by the gradients |
//! | [`interp`] | a graph and values | a tensor for every node, in f64 or as if in f32 |
//! | [`schedule`], [`optim`] | a graph with gradients | updates in their place; run-time scalars for what changes from step to step |
//! | [`diagnose`], [`chunked`] | a graph | graphs that measure a step, or evaluate more rows than fit one run |
//! | [`simplify`] | any graph | a smaller one with the same results |
//! | [`flops`], [`gradcheck`], [`sentinel`] | a graph | its arithmetic; its gradients checked; where the first NaN came from |
//! | [`reason`], [`kernel`] | | [`Kernel`](kernel::Kernel): axes, product, instructions, reads and writes, with reasons; verifier, printer, cost |
//! | [`fuse`](mod@fuse) | a simplified graph | [`Fused`](kernel::Fused): kernels in the order in which they run; [groups](kernel::Group) of those that run tile by tile, [loops](kernel::Loop) of those that run once for each step |
//! | [`tiling`] | kernels, the largest batch and a [`Machine`](tiling::Machine) | [`Tiling`](tiling::Tiling): every decision on how a kernel runs, with its reason |
//! | [`microkernels`] | addresses and extents | matrix products, products of windows, ends of reductions: compiled ahead of time |
//! | [`plan`](mod@plan), [`memory`] | kernels and their tiling | an offset for every buffer; parallel regions for several threads; the memory of one run |
//! | [`wide`] | what happens at every element | machine code with vectors wider than Cranelift's |
//! | [`codegen`] | kernels and a plan | CLIF, one function for all kernels that are alike |
//! | [`jit`] | functions | [`Code`](jit::Code) with one entry point, and the pool of threads |
//! | [`compile`](mod@compile), [`summary`] | a definition, a purpose and a target | what every stage leaves, its text, the program; the table of a network |
//! | [`tensor`], [`safetensors`] | arrays, files | views and checked tensors |
//! | [`session`] | arrays of the user's | losses, predictions, gradients, checkpoints, profiles, diagnostics |
//! | [`data`] | files | well-known sets of images |
//! | [`dataset`], [`fit`] | rows; a session and a dataset | batches; the history of a training, of several with other settings, a learning rate |
//! | [`table`](mod@table) | files of comma-separated values, under the feature `csv` | arrays of their columns; what codes the rows of another table alike |
//! | [`evaluation`] | labels and predictions | confusion matrix, precision, recall, F1, area under the ROC curve |
//!
//! # Invariants
//!
//! - **Each operation is declared once.** Name, type rule, gradient rule and body stand in one `const` of [`ir::ops`]. A body is
//!   written once against [`Scalar`](scalar::Scalar) and runs in the interpreter and in compiled code, of four lanes or wider.
//! - **Ids are a topological order.** A node refers to earlier nodes only, so every sweep is a loop. Printed text depends on
//!   structure only.
//! - **A loop is flat.** [`Op::Carry`](ir::Op::Carry) is its head, the state before a step; what depends on it is the body;
//!   [`Op::History`](ir::Op::History) closes it and has all states, and [`Op::Collect`](ir::Op::Collect) what else leads out.
//!   [`autodiff`] makes a second loop that goes the other way, and computes after both, for all steps at once, what needs no state;
//!   so does [`simplify`] before them. The head of a loop inside of another has that of the loop around as an operand: what the inner
//!   loop leaves is part of the body, and its gradient a loop in the body of the one that goes the other way.
//! - **A loop is compiled once.** Its kernels follow one another and run at every step; what has an element for each step is read
//!   and written where the position says, and what only the loop reads has the memory of one step, a state among it of which
//!   nothing but the last is read after the loop. Code and the time of compiling do not grow with steps. Where each sample is by itself, threads
//!   share the samples and meet once. A loop inside of another runs at each step of that: an access moves with the innermost loop
//!   alone, and what an inner loop reads or leaves has the memory of one step.
//! - **A concatenation is one buffer with several writers.** Every kernel that computes a part of it writes that part to its place, and
//!   whoever needs the part reads it there. What is in memory anyway, and what would not be one run per row, is copied; a concatenation
//!   of what is mostly in memory stays a choice by position in the kernels that read it.
//! - **The batch is outermost.** `B` is the one extent that is not known until run time. [`ir::verify()`] rejects graphs with two
//!   batch axes or movement along the batch; [`fuse`](mod@fuse) puts it in front in memory. So every stride is static, and one
//!   program serves every batch up to `max_batch`. Learning rates and seeds are run-time scalars and recompile nothing.
//! - **Any graph that verifies compiles**, and gives the interpreter's numbers up to rounding.
//! - **Fusion is the last stage that sees the graph.** After it, a kernel holds all that is known of it.
//! - **Rules of [`simplify`] are exact** under IEEE-754, to the bit, unless their name begins with `fast-`. Those of [`stabilize`]
//!   change rounding on purpose, before differentiation. A product and a sum are rounded once only where the IR says `mul_add`.
//!   A product of windows may have the form of [`Winograd`](kernel::Winograd), which rounds otherwise: then it says `fast-winograd`.
//!   Of a product whose other elements nobody reads, or whose other terms are 0, a [`Triangle`](kernel::Triangle) is computed, and
//!   so it is of rows that add nothing to a sum there. What nobody looks at is not written.
//! - **A group may add up over its points.** Then the tiles of a sum come in their order, on one thread, and each has whole pieces.
//!   Where a tile is so much that one is enough, as logits of a large vocabulary are, threads share it: each has parts of it in one
//!   kernel after the other.
//! - **The order of a sum is data** ([`SumOrder`](kernel::SumOrder), [`DotOrder`](kernel::DotOrder)), set by fusion from extents
//!   that do not grow with the batch; neither the number of threads, nor the largest batch, nor a tiling decides it. The same
//!   program gives the same bits, run after run, on one build and CPU model. Random numbers are a function of seed, pass, layer
//!   and position.
//! - **State is written last.** Updates come after the check that the loss and the batch's statistics are finite
//!   ([`Fused::check`](kernel::Fused)), and after every reader of the old value. A refused step changes nothing.
//! - **Memory is planned.** Values share memory only if their lives do not overlap; a value may be written over an operand that
//!   nothing reads later. After `build` a step allocates nothing.
//! - **What depends on parameters alone is made once.** In programs of predictions, results of kernels that read nothing else
//!   ([`Constants`](kernel::Constants)), transformed taps and, where that pays, right operands as products read them
//!   ([`Kept`](tiling::Kept)) are kept beside the parameters, for all runs until one of them changes. No bit depends on it.
//! - **Wrong input is an error, not a panic.** A broken invariant is an `expect` that says why it holds. Unsafe code is in
//!   [`jit`] and [`microkernels`] alone, each block under a `// SAFETY:` comment.
//!
//! In debug builds every stage is verified: graphs by [`ir::verify()`], kernels by [`kernel::verify()`], plans by [`plan::verify()`],
//! which plays the program to see that every reader finds what it expects.
//!
//! # Where to look first
//!
//! | question | place |
//! |---|---|
//! | Where is a stage called? | [`compile`](mod@compile), which verifies between stages |
//! | What does an operation mean, what is its gradient? | [`ir::ops`] |
//! | What does a layer or loss consist of? | its file in [`layers`] or [`functions`] |
//! | Why is this its own kernel, why is that value in memory? | the printed reason, then [`reason`] and [`fuse`](mod@fuse) |
//! | Which graphs can kernels compute as they are? | [`fuse::legalize`](fn@fuse::legalize) rewrites all others |
//! | Why do these kernels run tile by tile, and how large is a tile? | the printed reason, then `runtime/src/fuse/groups.rs` and `long_rows.rs` beside it; `Stage::Plan`, then `runtime/src/tiling/groups.rs` |
//! | Why does a kernel run in this way? | `Stage::Plan`, then [`tiling`] |
//! | What is made once, and when anew? | `Stage::Plan`, `runtime/src/tiling/kept.rs`; `runtime/src/session/parameters.rs` |
//! | Why does this value overwrite that one? | [`plan`](mod@plan), and `Stage::Plan` |
//! | What does a kernel's code look like? | `Stage::Clif` and `Stage::Asm`, then [`codegen`] |
//! | How fast can it be? | [`microkernels::peak`], [`kernel::cost`](fn@kernel::cost), `net.profile(..)` |
//! | Who says this message? | [`elaborate::words`] for declarations, [`error`] at run time, `macros/src/diagnostics.rs` for grammar |
//! | Which test pins this? | `tests/it`: the name of a test is the fact that it shows |

pub mod types;
pub mod axes;
pub mod scalar;
pub mod init;
pub mod ir;
pub mod layers;
pub mod functions;
pub mod network;
pub mod elaborate;
pub mod assembly;
pub mod fault;
pub mod error;
pub mod lower;
pub mod stabilize;
pub mod autodiff;
pub mod interp;
pub mod schedule;
pub mod optim;
pub mod diagnose;
pub mod simplify;
pub mod chunked;
pub mod flops;
pub mod gradcheck;
pub mod sentinel;
pub mod reason;
pub mod kernel;
pub mod fuse;
pub mod tiling;
pub mod microkernels;
pub mod plan;
pub mod memory;
#[cfg(feature = "jit")]
pub mod wide;
#[cfg(feature = "jit")]
pub mod codegen;
#[cfg_attr(not(feature = "jit"), path = "no_jit.rs")]
pub mod jit;
pub mod compile;
pub mod summary;
#[cfg(feature = "ndarray")]
pub mod tensor;
#[cfg(feature = "ndarray")]
pub mod safetensors;
#[cfg(feature = "ndarray")]
pub mod session;
#[cfg(feature = "ndarray")]
pub mod data;
#[cfg(feature = "ndarray")]
pub mod dataset;
#[cfg(feature = "csv")]
pub mod table;
#[cfg(feature = "ndarray")]
pub mod evaluation;
#[cfg(feature = "ndarray")]
mod chart;
#[cfg(feature = "ndarray")]
pub mod fit;
