//! What can go wrong at run time, in words for the user.

use crate::elaborate::words::did_you_mean;
use crate::fault::Fault;
use crate::network::SourcePlace;

/// An error is printed as `Debug` where `main` returns it and where it is unwrapped: as the same text that it is elsewhere, with
/// all that it was caused by.
macro_rules! text_as_debug {
    ($($error:ty),+) => {$(
        impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    )+};
}
#[cfg(feature = "ndarray")]
pub(crate) use text_as_debug;

text_as_debug!(BuildError, RunError);

/// Why a network could not be built.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A declaration that makes no sense, for a reason that lies in the value of a Rust constant: the macro does not see
    /// those and reports everything else.
    #[error("{}", mistakes.iter().map(|(place, message)| format!("{place}: {message}")).collect::<Vec<_>>().join("\n"))]
    Declaration {
        /// Where and what.
        mistakes: Vec<(SourcePlace, String)>,
    },
    /// Training without a loss.
    #[error("`{network}` declares no loss, so it can't be trained; add `loss(...) = ...;`")]
    NoLoss {
        /// The network.
        network: &'static str,
    },
    /// Two parameters of one name, or two parts of an optimizer's state.
    #[error("two parameters or parts of the optimizer's state are called `{name}`")]
    Name {
        /// The name.
        name: String,
    },
    /// A setting outside its range.
    #[error("{name} must be {wanted}, got {actual}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The range, in words.
        wanted: &'static str,
        /// The value.
        actual: String,
    },
    /// A scalar of the declaration that was set to no number of f32.
    #[error("the scalar `{name}` must be {wanted}, got {actual}")]
    Scalar {
        /// Its name.
        name: String,
        /// The range, in words.
        wanted: &'static str,
        /// The value.
        actual: String,
    },
    /// A parameter group whose pattern names no parameter that is trained.
    #[error("no trained parameter matches `{pattern}`{}", did_you_mean(closest.as_deref()))]
    Pattern {
        /// The pattern.
        pattern: String,
        /// A pattern or name that looks like it and names a parameter.
        closest: Option<String>,
    },
    /// Groups that freeze every parameter there is.
    #[error("every parameter is frozen, so there is nothing to train")]
    AllFrozen,
    /// Gradients of several batches that do not become those of one, be they averaged or added up.
    #[error(
        "the gradients of `{network}` can't be accumulated: its loss is neither a mean nor a sum over the rows, for {reason}"
    )]
    Accumulate {
        /// The network.
        network: &'static str,
        /// Why, as a part of a sentence.
        reason: String,
    },
    /// More parameters, or longer names, than a checkpoint can hold.
    #[error("no checkpoint of this training could be loaded: {reason}")]
    Checkpoint {
        /// What there is too much of, in words.
        reason: String,
    },
    /// The tensors of a step do not fit the address space.
    #[error(
        "the buffers of a step with {max_batch} row{} exceed {limit} GiB; the largest is {largest}",
        if *max_batch == 1 { "" } else { "s" }
    )]
    TooLarge {
        /// The batch size asked for.
        max_batch: usize,
        /// The bound in GiB.
        limit: usize,
        /// The largest parameter or value, its extents and its bytes, in words.
        largest: String,
    },
    /// There is not enough memory for the buffers of a program.
    #[error("not enough memory for {what}")]
    NoMemory {
        /// What it was wanted for, and how much that is.
        what: String,
    },
    /// The system gave no further thread.
    #[error("{threads} threads can't be started: {error}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        error: String,
    },
    /// This machine has no code generator.
    #[error("no code generator for this machine: {0}")]
    Machine(String),
    /// The system gives no memory that code may run in: there is none left, or a policy (SELinux, seccomp, `PR_SET_MDWE`)
    /// forbids it.
    #[error("the system provides no memory for compiled code: {0}")]
    CodeMemory(String),
}

/// Why a run was refused. The session is as it was before.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A tensor of the wrong shape.
    #[error("`{name}` wants {expected}, got [{}]", .actual.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Shape {
        /// The tensor.
        name: String,
        /// The declared type.
        expected: String,
        /// The extents passed.
        actual: Vec<usize>,
    },
    /// A tensor without rows.
    #[error("`{name}` has no rows")]
    Empty {
        /// The tensor.
        name: &'static str,
    },
    /// Nothing that a text could go on from.
    #[error("`{name}` has no token to go on from; a prompt needs at least one")]
    NoToken {
        /// The tensor.
        name: &'static str,
    },
    /// A sequence that has no further position.
    #[error("`{name}` has {length} positions, and all of them are taken; `clear` begins a new sequence")]
    Ended {
        /// The tensor.
        name: &'static str,
        /// How many positions there are.
        length: usize,
    },
    /// Numbers that say nothing of what comes next.
    #[error("`{name}` is NaN, which says nothing of what comes next")]
    Undefined {
        /// The output.
        name: &'static str,
    },
    /// A batch size that the session was not built for.
    #[error("a batch has 1 to {max} rows here, got {actual}; `max_batch` sets the limit")]
    Batch {
        /// The batch size passed.
        actual: usize,
        /// The limit.
        max: usize,
    },
    /// Inputs and targets that disagree about the batch size.
    #[error("`{name}` has {actual} rows where `{first}` has {expected}")]
    Rows {
        /// The tensor that set the batch size.
        first: &'static str,
        /// Its rows.
        expected: usize,
        /// The tensor that disagrees.
        name: &'static str,
        /// Its rows.
        actual: usize,
    },
    /// A class id that is no class.
    #[error("`{name}` has class id {id} in row {row}, but there are {classes} classes (0 to {})", classes - 1)]
    Class {
        /// The tensor.
        name: &'static str,
        /// The id.
        id: u32,
        /// The row in which it is, the first of those with such an id.
        row: usize,
        /// The number of classes.
        classes: usize,
    },
    /// Training with batch norm on one row, whose variance is zero by definition.
    #[error("`{layer}` normalizes by the variance of the batch, and one row has none; train with at least 2 rows")]
    OneRow {
        /// The batch norm.
        layer: String,
    },
    /// A loss that is not a finite number; nothing was updated.
    #[error("the loss of step {step} is {loss}{}; parameters and statistics are as before the step", because(fault))]
    NotFinite {
        /// The step, from 1.
        step: u64,
        /// The loss.
        loss: f32,
        /// Where that came from: what the step does was replayed, one operation after the other. None where the replay, which
        /// rounds in another order, overflows nowhere, or would take more than 2 GiB.
        fault: Option<Box<Fault>>,
    },
    /// An update that is not finite though the loss is: of a running statistic, which no session writes, or of anything in one
    /// with a sentinel, which takes it back.
    #[error(
        "step {step} would make `{name}` {value}{}; parameters and statistics are as before the step",
        because(fault)
    )]
    Update {
        /// The step, from 1.
        step: u64,
        /// The parameter, statistic or part of the optimizer's state, the first of those that are not finite.
        name: String,
        /// What it would become.
        value: f32,
        /// Where that came from, as for a loss.
        fault: Option<Box<Fault>>,
    },
    /// An update before any gradient was accumulated.
    #[error("no gradients were accumulated since the last update; call `accumulate` first")]
    NothingAccumulated,
    /// A running statistic that would not be finite; nothing was changed.
    #[error("`{name}` of these rows is not finite; the statistics are as before")]
    Statistic {
        /// The statistic.
        name: String,
    },
    /// There is not enough memory. Nothing was changed.
    #[error("not enough memory for {what}")]
    NoMemory {
        /// What it was wanted for.
        what: &'static str,
    },
    /// A scalar that the network does not declare.
    #[error("no scalar `{name}`{}", did_you_mean(closest.as_deref()))]
    Scalar {
        /// The name asked for.
        name: String,
        /// The nearest name that exists.
        closest: Option<String>,
    },
    /// A text that can't be attached to the network, is not, or does not say what was asked for.
    #[error("attachment `{name}`: {reason}")]
    Attachment {
        /// Its name.
        name: String,
        /// Why not, in words.
        reason: String,
    },
    /// A parameter that the network does not have.
    #[error("no parameter `{name}`{}", .closest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    Name {
        /// The name asked for.
        name: String,
        /// The nearest name that exists.
        closest: Option<String>,
    },
}

/// The reason, after a colon.
fn because(fault: &Option<Box<Fault>>) -> String {
    fault.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default()
}
