//! What a step or an evaluation measures, for code that knows no network by name.

use std::fmt::Debug;

/// The loss and the metrics of a network: the struct that `network!` makes for it, with a field for each.
///
/// Code that is generic over networks reads them by name:
/// ```text
/// fn report<N: Supervised>(net: &mut Session<N>, data: &DatasetOf<N>) -> Result<(), Error> {
///     let found = net.evaluate(data.inputs(), data.targets())?;
///     println!("loss {}", found.loss());
///     for (name, value) in found.metrics() {
///         println!("{name} {value}");
///     }
///     Ok(())
/// }
/// ```
pub trait Metrics: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// The loss; NaN if the network declares none.
    fn loss(&self) -> f32;

    /// The metrics and their names, in the order of the declaration.
    fn metrics(&self) -> impl Iterator<Item = (&'static str, f32)>;

    /// The metric of this name, if there is one.
    fn metric(&self, name: &str) -> Option<f32> {
        self.metrics().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}
