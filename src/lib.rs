//! [guide]: crate::guide
//! [reference]: crate::reference
//!
#![doc = include_str!("../README.md")]

pub use gradloom_macros::network;
pub use gradloom_runtime::compile::Stage;
pub use gradloom_runtime::dataset::{Dataset, DatasetError};
pub use gradloom_runtime::error::{BuildError, RunError};
pub use gradloom_runtime::fault::{Fault, Given, Operand, Pass};
pub use gradloom_runtime::fit::{Ending, Epoch, Fit, FitCause, FitError, History, Progress};
pub use gradloom_runtime::gradcheck::{Gradcheck, ParamCheck};
pub use gradloom_runtime::microkernels::peak::Peak;
pub use gradloom_runtime::optim::{AdaDelta, AdaGrad, Adam, AdamW, Group, Lion, Optimizer, RmsProp, Sgd};
pub use gradloom_runtime::safetensors::CheckpointError;
pub use gradloom_runtime::schedule::Schedule;
pub use gradloom_runtime::session::{
    Diagnostics, Drift, Error, Gradients, KernelProfile, LayerDiagnostics, LayerProfile, NameMap, Network, Predictor,
    PredictorBuilder, Profile, Session, Trainer, Work,
};
pub use ndarray;

/// What the links between the pages of the guide lead to. On the pages themselves they lead to files: of two definitions of a link,
/// Markdown takes the first.
macro_rules! links {
    () => {
        concat!(
            "[first_network]: crate::guide::first_network\n",
            "[language]: crate::guide::language\n",
            "[training]: crate::guide::training\n",
            "[data]: crate::guide::data\n",
            "[losses]: crate::guide::losses\n",
            "[optimizers]: crate::guide::optimizers\n",
            "[inference]: crate::guide::inference\n",
            "[ir]: crate::guide::ir\n",
            "[saving]: crate::guide::saving\n",
            "[debugging]: crate::guide::debugging\n",
            "[speed]: crate::guide::speed\n",
            "[cargo]: crate::guide::cargo\n",
            "[reference]: crate::reference\n",
            "[guide]: crate::guide\n",
        )
    };
}

#[doc = links!()]
pub mod guide;

#[doc = links!()]
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
