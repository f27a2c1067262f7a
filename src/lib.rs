//! [guide]: crate::guide
//! [learning]: crate::guide::learning
//! [coming_from]: crate::guide::coming_from
//! [reference]: crate::guide::reference
#![doc = include_str!("picture.txt")]
//!
#![doc = include_str!("../README.md")]

pub use gradloom_runtime::compile::Stage;
pub use gradloom_runtime::data;
pub use gradloom_runtime::dataset::{
    Batches, ClassId, ClassWeights, Dataset, DatasetError, Element, Folds, Rows, Stream, StreamError,
};
pub use gradloom_runtime::error::{BuildError, RunError};
pub use gradloom_runtime::evaluation;
pub use gradloom_runtime::fault::{Fault, Given, Operand, Pass};
pub use gradloom_runtime::fit::{
    DatasetOf, Ending, Epoch, FindRate, Fit, FitCause, FitError, History, Progress, RateCurve, StreamOf, Supervised,
    Sweep, Swept, Trial, TrialError,
};
pub use gradloom_runtime::flops::Flops;
pub use gradloom_runtime::gradcheck::{Gradcheck, ParamCheck};
pub use gradloom_runtime::microkernels::peak::Peak;
pub use gradloom_runtime::optim::{AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, Optimizer, RmsProp, Sgd};
pub use gradloom_runtime::safetensors::CheckpointError;
pub use gradloom_runtime::schedule::Schedule;
pub use gradloom_runtime::session::{
    Diagnostics, Drift, Error, Generator, Gradients, KernelProfile, LayerDiagnostics, LayerProfile, Metrics, MetricsOf,
    MonteCarlo, NameMap, Network, OwnedOutputsOf, Predictor, PredictorBuilder, Profile, Sampling, Sequence, Session,
    SizesOf, Trainer, Work,
};
pub use gradloom_runtime::summary::{Summary, SummaryRow};
#[cfg(feature = "csv")]
pub use gradloom_runtime::table::{Categories, CellPlace, Columns, Encoder, Fill, Table, TableError, TableReader};
pub use ndarray;

/// What the links between the pages of the guide lead to. On the pages themselves they lead to files: of two definitions of a link,
/// Markdown takes the first.
macro_rules! links {
    () => {
        concat!(
            "[first_network]: crate::guide::first_network\n",
            "[language]: crate::guide::language\n",
            "[training]: crate::guide::training\n",
            "[tools]: crate::guide::tools\n",
            "[data]: crate::guide::data\n",
            "[tables]: crate::guide::tables\n",
            "[losses]: crate::guide::losses\n",
            "[optimizers]: crate::guide::optimizers\n",
            "[inference]: crate::guide::inference\n",
            "[ir]: crate::guide::ir\n",
            "[saving]: crate::guide::saving\n",
            "[deployment]: crate::guide::deployment\n",
            "[generic]: crate::guide::generic\n",
            "[debugging]: crate::guide::debugging\n",
            "[speed]: crate::guide::speed\n",
            "[cargo]: crate::guide::cargo\n",
            "[images]: crate::guide::images\n",
            "[sequences]: crate::guide::sequences\n",
            "[flows]: crate::guide::flows\n",
            "[functions]: crate::guide::functions\n",
            "[learning]: crate::guide::learning\n",
            "[coming_from]: crate::guide::coming_from\n",
            "[limits]: crate::guide::limits\n",
            "[reference]: crate::guide::reference\n",
            "[guide]: crate::guide\n",
            "[lint]: crate::lint\n",
        )
    };
}

#[doc = links!()]
pub mod guide;

pub mod lint;

/// Declares a network, checks it and gives it a type.
///
/// ```text
/// network! {
///     /// 784 -> 10 digit classifier.
///     pub Mlp<image: [B, 784] -> logits: [B, 10]> {
///         Dense(256, bias = false), BatchNorm(momentum = 0.9), relu,
///         Dense(10),
///     }
///     loss(label: [u8; B]) = cross_entropy(logits, label);
///     metric accuracy = mean(argmax(logits) == label);
/// }
/// ```
///
/// The angle brackets carry the signature; `B` is the batch. The body is a list of stages, each applied to the result of
/// the one before; sizes are inferred and the output type is checked. `as name` names a value for `loss` and `metric`,
/// `const NAME = 4 * 32;` names a size, `act name = |x| ..;` a function and `block Name(args) { .. }` a body; with `pub`, other
/// networks use them by path. `Mlp(hidden: usize = 128)<..>` names sizes that are chosen when the program runs. Layers,
/// activations and functions are documented in the [reference](mod@guide::reference), the language in the
/// [guide](mod@guide::language).
///
/// Parameters go by the path of their layer: `dense2.weight` is that of the second `Dense` of a body, whether or not the
/// first was named with `as`. A loss that needs no target is declared without parentheses, `loss = mse(y, x);`, and `step`
/// then takes `()` in place of targets.
///
/// `7 / 2` is 3 where a size is wanted and 3.5 where a number is. `B` and `weights` mean the same everywhere, so nothing else
/// can be called so. What another macro puts in as `$e:expr` is one operand.
///
/// Comparisons give truth values, which `!`, `&&` and `||` combine with the precedence that they have in Rust; `if` takes one
/// for each element, and `mean` and `sum` count them: `metric found = mean(score > 0.5 && label == 1);`.
///
/// A `Dense` bias right before `BatchNorm` has a gradient of exactly zero in exact arithmetic: write `bias = false` there.
#[macro_export]
macro_rules! network {
    ($($declaration:tt)*) => {
        $crate::__private::declare! { $crate $($declaration)* }
    };
}

/// The position of its invocation.
#[doc(hidden)]
#[macro_export]
macro_rules! __place {
    () => {
        $crate::__private::SourcePlace { file: ::core::file!(), line: ::core::line!(), column: ::core::column!() }
    };
}

/// What the expansion of [`network!`] names; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        __place as place, Error, Gradcheck, Metrics, Network, Optimizer, PredictorBuilder, Stage, Supervised, Trainer,
        ndarray,
    };
    pub use gradloom_macros::declare;
    pub use gradloom_runtime::assembly::{
        Assembly, Base, Bound, Fragment, Given, Operand, Piece, Sizes, assembled, keep, keep_all, list,
    };
    pub use gradloom_runtime::layers::{Arg, initializers};
    pub use gradloom_runtime::network::{
        Act, At, BinaryOp, Clause, Definition, Expr, Extent, Flow, Kind, Number, Outcome, Port, Scalar, Scan, Size,
        SourcePlace, Span, Split, Stage as DeclaredStage, Value,
    };
    pub use gradloom_runtime::session::{Report, gradcheck, ir};
    pub use gradloom_runtime::tensor::{Tensor, array, view};
    pub use gradloom_runtime::types::DType;
    pub use gradloom_runtime::{functions, layers};
}
