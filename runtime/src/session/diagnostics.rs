//! What happens inside a network during a step, layer by layer.

use std::collections::HashMap;
use std::fmt;

use super::any::AnySession;
use super::programs::Kind;
use super::{Error, Network, Session, feed};
use crate::diagnose::{Measure, Quantity};
use crate::ir::Role;
use crate::plan::Location;
use crate::tensor::Tensor;

/// What a training step on a batch would do in each layer, measured without doing it.
///
/// As text it is a table, one line per layer that has anything measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Diagnostics {
    /// The loss of the batch, in training mode.
    pub loss: f32,
    /// The layers that have anything measured, in the order of the declaration.
    pub layers: Vec<LayerDiagnostics>,
}

/// What is measured of one layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LayerDiagnostics {
    /// The path: `dense1`.
    pub layer: String,
    /// The mean magnitude of the gradient of the loss by the layer's trained parameters, over all their elements, before the
    /// optimizer makes anything of it.
    pub gradient: Option<f32>,
    /// The mean magnitude of the gradient of the loss by what the layer gives, over all values of all rows: what is passed
    /// down to it. None where nothing trained lies at or before the layer, or where the loss is computed in a form that goes
    /// round it, as `ln(softmax(x))` is.
    pub output_gradient: Option<f32>,
    /// The Euclidean norm of what the step would add to the layer's trained parameters, by that of the parameters. About
    /// 1e-3 is usual. What is too small to change a parameter counts as nothing. None while all parameters are 0.
    pub update_ratio: Option<f32>,
    /// Of an activation, the share of units that are dead: in every row of the batch their slope is 0, so that no gradient
    /// flows through them. A unit of `relu` is dead if its input is at most 0 in every row; those of `step` always are.
    pub dead: Option<f32>,
    /// Of an activation, the share of values (units times rows) at which it is saturated: its slope is less than a hundredth
    /// of the greatest. That is below 0.0025 for `sigmoid` (its input beyond 5.99), 0.0017 for `hard_sigmoid`, and
    /// 0.01 for all others (`tanh`: its input beyond 2.99), those of the user's own included. Of `relu` that are the values
    /// at most 0, about half of them after initialization. Source: Glorot & Bengio 2010, section 3.
    pub saturated: Option<f32>,
    /// Of a layer with a state, or a loop of one's own, the Euclidean norm of the gradient of the loss by the state after the step
    /// at each position, in the order of the positions, over the numbers of the state in all rows: through what the network makes
    /// of the state there, and through all later steps. Where it shrinks with every step back, the layer hardly learns what lies
    /// far apart. None under the same conditions as [`LayerDiagnostics::output_gradient`], and in the body of another loop.
    /// Source: Bengio, Simard & Frasconi 1994.
    pub state_gradients: Option<Vec<f32>>,
    /// Of a batch norm, how far the statistics of the batch are from the running ones; none for one row.
    pub drift: Option<Drift>,
}

/// How far the statistics of a batch are from the running ones: 0 where they agree.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Drift {
    /// The distance of the means, in running standard deviations (`sqrt(running_var + eps)`), on average over the features.
    pub mean: f32,
    /// The magnitude of `ln((batch_var + eps) / (running_var + eps))`, with the unbiased variance of the batch, on average
    /// over the features: 0.69 is a factor of two.
    pub variance: f32,
}

impl Diagnostics {
    /// What is measured of the layer with this path.
    pub fn layer(&self, path: &str) -> Option<&LayerDiagnostics> {
        self.layers.iter().find(|layer| layer.layer == path)
    }
}

impl<N: Network> Session<N> {
    /// Measures what the next training step would do on a batch: gradients, updates, dead and saturated units, drift of batch
    /// norms. Nothing is changed, not even the running statistics, and the step itself is compiled as if there were no
    /// diagnostics. The first call compiles a program of its own, in which all of this is fused with the step.
    ///
    /// A loss that is not finite is measured as well. `Dropout` drops what it will drop in the next step. The update is the
    /// one that [`Session::step`] would make, whatever was accumulated.
    ///
    /// # Errors
    /// Wrong shapes, class ids out of range, a batch size out of range.
    pub fn diagnose<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Diagnostics, Error> {
        self.any.diagnose(&feed::gather::<N>(inputs, Some(targets)))
    }
}

impl AnySession {
    fn diagnose(&mut self, tensors: &[Tensor<'_>]) -> Result<Diagnostics, Error> {
        let rows = self.feed.check(&self.programs[Kind::Train].slots, tensors, self.max_batch)?;
        self.check_rows(rows)?;
        self.compile(Kind::Diagnose)?;
        self.fill_scalars();
        // What it gives under the name of a loss there is not: all results are probes.
        let _ = self.run(Kind::Diagnose, tensors, rows);
        let program = &self.programs[Kind::Diagnose];
        let probe = |index: usize, positions: usize| match program.result(&Role::Probe(index)) {
            Some(Location::Arena(at)) => &self.arena.floats()[at..][..positions],
            place => unreachable!("a sum is computed, not found at {place:?}"),
        };
        let loss = probe(self.measures.len(), 1)[0];
        let sums = |index: usize| probe(index, self.measures[index].positions);
        Ok(Diagnostics { loss, layers: layers(&self.measures, sums, rows) })
    }
}

/// The sums of a run, layer by layer.
fn layers<'s>(measures: &[Measure], sums: impl Fn(usize) -> &'s [f32], rows: usize) -> Vec<LayerDiagnostics> {
    let mut own: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (index, measure) in measures.iter().enumerate() {
        let at = *known.entry(&measure.layer).or_insert(own.len());
        if at == own.len() {
            own.push(Vec::new());
        }
        own[at].push(index);
    }
    let layer = |own: Vec<usize>| {
        // The sum over what is measured of all parameters of a layer, and the number of elements.
        let total = |quantity: Quantity| {
            let own = own.iter().filter(|&&index| measures[index].quantity == quantity);
            own.map(|&index| (f64::from(sums(index)[0]), measures[index].count.at(rows) as f64))
                .reduce(|x, y| (x.0 + y.0, x.1 + y.1))
        };
        let mean = |quantity| total(quantity).map(|(sum, count)| (sum / count) as f32);
        let norm = |quantity| total(quantity).map(|(sum, _)| sum.sqrt());
        let ratio = norm(Quantity::Update).zip(norm(Quantity::Parameter)).filter(|(_, norm)| *norm != 0.0);
        let drift = mean(Quantity::MeanDrift).zip(mean(Quantity::VarianceDrift));
        let positions = |quantity: Quantity| {
            own.iter().find(|&&index| measures[index].quantity == quantity).map(|&index| sums(index))
        };
        let states = positions(Quantity::StateScale).zip(positions(Quantity::StateSquares));
        LayerDiagnostics {
            layer: measures[own[0]].layer.to_string(),
            gradient: mean(Quantity::Gradient),
            output_gradient: mean(Quantity::Signal),
            update_ratio: ratio.map(|(update, norm)| (update / norm) as f32),
            dead: mean(Quantity::Dead),
            saturated: mean(Quantity::Saturated),
            state_gradients: states.map(|(scales, squares)| {
                scales.iter().zip(squares).map(|(scale, sum)| norm_of(*scale, *sum)).collect()
            }),
            // One row has no variance.
            drift: drift.filter(|_| rows > 1).map(|(mean, variance)| Drift { mean, variance }),
        }
    };
    own.into_iter().map(layer).collect()
}

/// The norm of numbers of which the greatest magnitude is `scale`, from the squares of what they are in terms of it.
fn norm_of(scale: f32, squares: f32) -> f32 {
    if scale == f32::INFINITY { scale } else { (f64::from(scale) * f64::from(squares).sqrt()) as f32 }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.layers.iter().map(|layer| layer.layer.chars().count()).max().unwrap_or(0).max("layer".len());
        writeln!(f, "loss {}", self.loss)?;
        writeln!(
            f,
            "{:<width$}  {:>10}  {:>10}  {:>10}  {:>6}  {:>9}  {:>10}  {:>10}",
            "layer", "|gradient|", "of outputs", "update", "dead", "saturated", "mean drift", "var drift"
        )?;
        for layer in &self.layers {
            let power = |x: Option<f32>| x.map_or(String::new(), |x| format!("{x:.2e}"));
            let share = |x: Option<f32>| x.map_or(String::new(), |x| format!("{:.1} %", 100.0 * x));
            let line = format!(
                "{:<width$}  {:>10}  {:>10}  {:>10}  {:>6}  {:>9}  {:>10}  {:>10}",
                layer.layer,
                power(layer.gradient),
                power(layer.output_gradient),
                power(layer.update_ratio),
                share(layer.dead),
                share(layer.saturated),
                power(layer.drift.map(|drift| drift.mean)),
                power(layer.drift.map(|drift| drift.variance)),
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let states = || self.layers.iter().filter_map(|layer| Some((&layer.layer, layer.state_gradients.as_ref()?)));
        if states().next().is_some() {
            writeln!(f, "\n|gradient| by the state at some positions")?;
        }
        for (layer, norms) in states() {
            write!(f, "{layer:<width$}")?;
            for position in some(norms.len()) {
                write!(f, "  {position}: {:.2e}", norms[position])?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// Of so many positions, the first, the last, and a few between them.
fn some(positions: usize) -> impl Iterator<Item = usize> {
    const SHOWN: usize = 7;
    let shown = positions.min(SHOWN);
    (0..shown).map(move |index| (index * (positions - 1)).checked_div(shown - 1).unwrap_or(0))
}
