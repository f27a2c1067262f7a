//! [REFERENCE.md]: mod@reference
#![doc = include_str!("../README.md")]

pub use gradloom_macros::network;
pub use gradloom_runtime::compile::Stage;
pub use gradloom_runtime::dataset::{Dataset, DatasetError, Element};
pub use gradloom_runtime::error::{BuildError, RunError};
pub use gradloom_runtime::fault::{Fault, Given, Operand, Pass};
pub use gradloom_runtime::fit::{DatasetOf, Ending, Epoch, Fit, FitCause, FitError, History, Progress, Supervised};
pub use gradloom_runtime::gradcheck::{Gradcheck, ParamCheck};
pub use gradloom_runtime::microkernels::peak::Peak;
pub use gradloom_runtime::optim::{AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, Optimizer, RmsProp, Sgd};
pub use gradloom_runtime::safetensors::CheckpointError;
pub use gradloom_runtime::schedule::Schedule;
pub use gradloom_runtime::session::{
    Diagnostics, Drift, Error, Gradients, KernelProfile, LayerDiagnostics, LayerProfile, Metrics, NameMap, Network,
    Predictor, PredictorBuilder, Profile, Session, Trainer, Work,
};
pub use ndarray;

#[doc = include_str!("../REFERENCE.md")]
pub mod reference {}

/// The position of its invocation.
#[doc(hidden)]
#[macro_export]
macro_rules! __place {
    () => {
        $crate::__private::Place { file: ::core::file!(), line: ::core::line!(), column: ::core::column!() }
    };
}

/// What the expansion of [`network!`] names; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use gradloom_runtime::layers::{Arg, initializers};
    pub use gradloom_runtime::network::{
        Act, At, BinaryOp, Clause, Definition, Expr, Extent, Kind, Number, Outcome, Place, Port,
        Stage as DeclaredStage, Value,
    };
    pub use gradloom_runtime::session::{Report, gradcheck, ir};
    pub use gradloom_runtime::tensor::{Tensor, view};
    pub use gradloom_runtime::types::DType;
    pub use gradloom_runtime::{functions, layers};
}
