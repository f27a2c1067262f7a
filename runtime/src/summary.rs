//! A network as a table: layers, the shapes they give, parameters, and what they cost.
//!
//! In: a declaration, and an optimizer if the network is trained. Out: the table. The costs are counted on the graphs that
//! are compiled, after all rewrites: a batch norm in a prediction is a difference, a scale and a shift, and a step
//! is forward pass, backward pass and update. What two layers have in common counts for the one that computes it.

use std::fmt;

use crate::compile::{Purpose, simplified};
use crate::elaborate::words::{bytes, size};
use crate::error::BuildError;
use crate::flops::{Flops, by_layer};
use crate::ir::{ParamSlot, SlotKind};
use crate::kernel::grouped;
use crate::lower::check;
use crate::network::Definition;
use crate::optim::TrainingConfig;

/// A network as a table, as sessions, predictors and trainers print it: its layers in the order of the declaration, then loss and
/// metrics if it is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The name of the network, its inputs and its outputs.
    pub signature: String,
    /// The layers, the loss and the metrics.
    pub rows: Vec<SummaryRow>,
    /// How many numbers training may change, those of frozen layers included.
    pub parameters: usize,
    /// How many of them are frozen.
    pub frozen: usize,
    /// How many numbers are running statistics.
    pub running: usize,
    /// How many numbers the optimizer remembers.
    pub optimizer: usize,
    /// What a prediction costs.
    pub forward: Flops,
    /// What a step costs, the optimizer's update included; none of a network that is not trained.
    pub step: Option<Flops>,
}

/// A layer, the loss or a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SummaryRow {
    /// The path of a layer, which the names of its parameters begin with; the name of the loss or of a metric.
    pub path: String,
    /// The layer as it is declared; nothing of a loss or metric.
    pub layer: String,
    /// The type of what it gives; nothing of a loss or metric.
    pub shape: String,
    /// How many numbers training may change.
    pub parameters: usize,
    /// Whether it has parameters, and all of them are frozen.
    pub frozen: bool,
    /// What it costs in a prediction.
    pub forward: Flops,
    /// What it costs in a step, without the update.
    pub step: Flops,
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

        let slots = &step.as_ref().unwrap_or(&prediction).slots.params;
        let is_own = |slot: &&ParamSlot| matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter);
        let is_frozen = |slot: &ParamSlot| config.is_some_and(|config| config.freezes(&slot.name));
        let frozen_at = |path: &str| {
            let under = |slot: &&ParamSlot| slot.name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
            let mut own = slots.iter().filter(is_own).filter(under).peekable();
            own.peek().is_some() && own.all(is_frozen)
        };
        let layers = network.rows().into_iter().map(|row| {
            let ([forward, step], frozen) = (of(&row.path), frozen_at(&row.path));
            let (path, layer, shape, parameters) = (row.path, row.layer, row.result, row.params);
            SummaryRow { path, layer, shape, parameters, frozen, forward, step }
        });
        let clauses = definition.loss.iter().chain(definition.metrics).map(|clause| {
            let (path, [forward, step]) = (clause.name.to_string(), of(clause.name));
            SummaryRow { path, layer: String::new(), shape: String::new(), parameters: 0, frozen: false, forward, step }
        });
        let rows = if step.is_some() { layers.chain(clauses).collect() } else { layers.collect() };
        let count = |belongs: &dyn Fn(&&ParamSlot) -> bool| {
            let slots = slots.iter().filter(|slot| belongs(slot));
            slots.map(|slot| slot.shape.iter().product::<usize>()).sum()
        };
        Ok(Summary {
            signature: network.signature(),
            rows,
            parameters: count(&is_own),
            frozen: count(&|slot| is_own(slot) && is_frozen(slot)),
            running: count(&|slot| slot.kind == SlotKind::Running),
            optimizer: count(&|slot| matches!(slot.kind, SlotKind::Optimizer(_))),
            forward: total[0],
            step: step.map(|_| total[1]),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = |n: u64| if n == 0 { String::new() } else { grouped(n) };
        let line = |name: &str, layer: &str, shape: &str, params: usize, flops: [u64; 2]| {
            let [forward, step] = flops.map(blank);
            [name.to_string(), layer.to_string(), shape.to_string(), blank(params as u64), forward, step]
        };
        let total = [self.forward, self.step.unwrap_or_default()];
        let mut lines = vec![["", "", "", "parameters", "FLOPs forward", "FLOPs step"].map(str::to_string)];
        lines.extend(
            self.rows
                .iter()
                .map(|row| line(&row.path, &row.layer, &row.shape, row.parameters, [row.forward.each, row.step.each])),
        );
        lines.push(line("for each row of a batch", "", "", self.parameters, total.map(|flops| flops.each)));
        lines.push(line("and once a batch", "", "", 0, total.map(|flops| flops.once)));

        // The last two names may reach over the empty cells beside them.
        let named = &lines[..lines.len() - 2];
        let width = |lines: &[[String; 6]], column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let texts = [0, 1, 2].map(|column| width(named, column).unwrap_or(0));
        let numbers = [3, 4, 5].map(|column| width(&lines, column).unwrap_or(0));
        let last = &lines[lines.len() - 2..];
        let indent = (texts.iter().sum::<usize>() + 4).max(width(last, 0).unwrap_or(0));
        writeln!(f, "{}", self.signature)?;
        // The first line has the names of the columns.
        let frozen = [false].into_iter().chain(self.rows.iter().map(|row| row.frozen)).chain([false; 2]);
        for (line, frozen) in lines.iter().zip(frozen) {
            let [name, layer, shape, params, forward, step] = line;
            let text = match layer.is_empty() && shape.is_empty() {
                true => name.clone(),
                false => format!("{name:0$}  {layer:1$}  {shape:2$}", texts[0], texts[1], texts[2]),
            };
            let mut cells = format!("{text:indent$}  {params:>0$}  {forward:>1$}", numbers[0], numbers[1]);
            if self.step.is_some() {
                cells.push_str(&format!("  {step:>0$}", numbers[2]));
            }
            if frozen {
                cells.push_str("  frozen");
            }
            writeln!(f, "  {}", cells.trim_end())?;
        }
        let counts = [
            (self.frozen, "parameters are frozen"),
            (self.running, "running statistics"),
            (self.optimizer, "numbers of the optimizer"),
        ];
        let mut parts: Vec<String> = Vec::new();
        if self.parameters > 0 {
            let parameters = bytes(size(&[self.parameters]));
            parts.push(format!("{parameters} of parameters"));
        }
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        parts.extend(counts.map(|(count, what)| format!("{} {what}", grouped(count as u64))));
        if parts.is_empty() { Ok(()) } else { writeln!(f, "  {}", parts.join(", ")) }
    }
}
