//! A network as a table: layers, the shapes they give, parameters, and what they cost.
//!
//! In: a declaration, and an optimizer if the network is trained. Out: the table. The costs are counted on the graphs that
//! are compiled, after all rewrites: a batch norm in a prediction is a difference, a scale and a shift, and a step
//! is forward pass, backward pass and update. What two layers have in common counts for the one that computes it.

use std::fmt;

use crate::compile::{Purpose, simplified};
use crate::error::BuildError;
use crate::flops::{Flops, by_layer};
use crate::ir::SlotKind;
use crate::kernel::grouped;
use crate::lower::check;
use crate::network::Definition;
use crate::optim::TrainingConfig;

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    signature: String,
    rows: Vec<Row>,
    /// Of everything together, the optimizer's update included.
    total: [Flops; 2],
    /// Numbers that training changes, running statistics, and what the optimizer remembers.
    counts: [usize; 3],
    trained: bool,
}

/// A layer, the loss or a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    path: String,
    layer: String,
    shape: String,
    params: usize,
    /// Of a prediction and of a training step.
    flops: [Flops; 2],
}

impl Summary {
    /// The table of a network, with the cost of a step if there is an optimizer.
    pub fn new(
        definition: &'static Definition<'static>,
        config: Option<&TrainingConfig>,
    ) -> Result<Summary, BuildError> {
        let network = check(definition)?;
        let prediction = simplified(definition, Purpose::Predict)?;
        let step = config.map(|config| simplified(definition, Purpose::Train(config))).transpose()?;
        let costs = [by_layer(&prediction), step.as_ref().map(by_layer).unwrap_or_default()];
        let of = |path: &str| costs.each_ref().map(|costs| costs.get(path).copied().unwrap_or_default());
        let total = costs.each_ref().map(|costs| costs.values().copied().sum());

        let layers = network.rows().into_iter().map(|row| {
            let flops = of(&row.path);
            Row { path: row.path, layer: row.layer, shape: row.result, params: row.params, flops }
        });
        let clauses = definition.loss.iter().chain(definition.metrics).map(|clause| {
            let (path, flops) = (clause.name.to_string(), of(clause.name));
            Row { path, layer: String::new(), shape: String::new(), params: 0, flops }
        });
        let rows = if step.is_some() { layers.chain(clauses).collect() } else { layers.collect() };
        let slots = &step.as_ref().unwrap_or(&prediction).slots.params;
        let count = |belongs: fn(SlotKind) -> bool| {
            let slots = slots.iter().filter(|slot| belongs(slot.kind));
            slots.map(|slot| slot.shape.iter().product::<usize>()).sum()
        };
        let counts = [
            count(|kind| matches!(kind, SlotKind::Weight | SlotKind::Parameter)),
            count(|kind| kind == SlotKind::Running),
            count(|kind| matches!(kind, SlotKind::Optimizer(_))),
        ];
        Ok(Summary { signature: network.signature(), rows, total, counts, trained: step.is_some() })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = |n: u64| if n == 0 { String::new() } else { grouped(n) };
        let line = |name: &str, layer: &str, shape: &str, params: usize, flops: [u64; 2]| {
            let [forward, step] = flops.map(blank);
            [name.to_string(), layer.to_string(), shape.to_string(), blank(params as u64), forward, step]
        };
        let total = self.total;
        let mut lines = vec![["", "", "", "parameters", "FLOPs forward", "FLOPs step"].map(str::to_string)];
        lines.extend(
            self.rows
                .iter()
                .map(|row| line(&row.path, &row.layer, &row.shape, row.params, row.flops.map(|flops| flops.each))),
        );
        lines.push(line("for each row of a batch", "", "", self.counts[0], total.map(|flops| flops.each)));
        lines.push(line("and once a batch", "", "", 0, total.map(|flops| flops.once)));

        // The last two names may reach over the empty cells beside them.
        let named = &lines[..lines.len() - 2];
        let width = |lines: &[[String; 6]], column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let texts = [0, 1, 2].map(|column| width(named, column).unwrap_or(0));
        let numbers = [3, 4, 5].map(|column| width(&lines, column).unwrap_or(0));
        let last = &lines[lines.len() - 2..];
        let indent = (texts.iter().sum::<usize>() + 4).max(width(last, 0).unwrap_or(0));
        writeln!(f, "{}", self.signature)?;
        for line in &lines {
            let [name, layer, shape, params, forward, step] = line;
            let text = match layer.is_empty() && shape.is_empty() {
                true => name.clone(),
                false => format!("{name:0$}  {layer:1$}  {shape:2$}", texts[0], texts[1], texts[2]),
            };
            let mut cells = format!("{text:indent$}  {params:>0$}  {forward:>1$}", numbers[0], numbers[1]);
            if self.trained {
                cells.push_str(&format!("  {step:>0$}", numbers[2]));
            }
            writeln!(f, "  {}", cells.trim_end())?;
        }
        let [_, running, remembered] = self.counts.map(|count| grouped(count as u64));
        match (self.counts[1], self.counts[2]) {
            (0, 0) => Ok(()),
            (_, 0) => writeln!(f, "  {running} running statistics"),
            (0, _) => writeln!(f, "  {remembered} numbers of the optimizer"),
            _ => writeln!(f, "  {running} running statistics, {remembered} numbers of the optimizer"),
        }
    }
}
