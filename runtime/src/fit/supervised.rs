//! Networks that a dataset fits, for code that knows none by name.

use crate::dataset::{Dataset, Rows, Stream};
use crate::session::Network;

/// A network that trains on a [`Dataset`]: what [`Session::fit`](crate::session::Session::fit) trains. `network!` implements it for
/// every network with a loss, whatever its inputs and targets.
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
    message = "`{Self}` declares no loss, so there is nothing to train",
    label = "has no loss"
)]
pub trait Supervised:
    for<'a> Network<
        Inputs<'a> = <<Self as Supervised>::InputArrays as Rows>::Views<'a>,
        Targets<'a> = <<Self as Supervised>::TargetArrays as Rows>::Views<'a>,
    >
{
    /// The inputs of all rows, as a dataset holds them: `Array2<f32>` for `[B, 784]`, and a tuple of several.
    type InputArrays: Rows;
    /// The targets: `Array1<u8>` for `[u8; B]`, a tuple of several, and `()` for none.
    type TargetArrays: Rows;
}

/// The dataset that a network trains on.
pub type DatasetOf<N> = Dataset<<N as Supervised>::InputArrays, <N as Supervised>::TargetArrays>;

/// The stream that a network trains on.
pub type StreamOf<N> = Stream<<N as Supervised>::InputArrays, <N as Supervised>::TargetArrays>;
