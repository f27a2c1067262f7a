//! Networks that a dataset fits, for code that knows none by name.

use ndarray::{ArrayView, RemoveAxis};

use crate::dataset::{Dataset, Element};
use crate::session::Network;

/// A network with one input, of f32, and one target: what [`Session::fit`](crate::session::Session::fit) trains. `network!`
/// implements it for every such network.
///
/// As a bound it is all that code needs to train a network that it does not know:
/// ```text
/// fn train<N: Supervised>(trainer: Trainer<N>, data: &mut DatasetOf<N>) -> Result<Session<N>, Box<dyn Error>> {
///     let mut net = trainer.build()?;
///     net.fit(data).epochs(20).run()?;
///     Ok(net)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not train on a `Dataset`: that takes one input of f32, and a loss with one target",
    label = "has other inputs or targets",
    note = "call `step` on batches of your own"
)]
pub trait Supervised:
    for<'a> Network<
        Inputs<'a> = ArrayView<'a, f32, <Self as Supervised>::InputDim>,
        Targets<'a> = ArrayView<'a, <Self as Supervised>::Target, <Self as Supervised>::TargetDim>,
    >
{
    /// The number of axes of the inputs, as `ndarray` has it: `Ix2` for `[B, 784]`.
    type InputDim: RemoveAxis;
    /// What targets are made of: `u8` for `[u8; B]`.
    type Target: Element;
    /// The number of axes of the targets.
    type TargetDim: RemoveAxis;
}

/// The dataset that a network trains on.
pub type DatasetOf<N> = Dataset<<N as Supervised>::Target, <N as Supervised>::InputDim, <N as Supervised>::TargetDim>;
