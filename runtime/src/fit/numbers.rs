//! The numbers that a training reports, and their means over an epoch.

use crate::session::{Network, Report};

/// A loss and the metrics, in the order of the declaration.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Numbers {
    loss: f32,
    metrics: Vec<f32>,
}

impl Numbers {
    /// Of one report.
    pub(super) fn of(report: &Report<'_>) -> Numbers {
        Numbers { loss: report.loss, metrics: report.metrics.to_vec() }
    }

    /// By name.
    pub(super) fn step<N: Network>(&self) -> N::Step {
        N::step(&Report { loss: self.loss, metrics: &self.metrics })
    }

    pub(super) fn loss(&self) -> f64 {
        f64::from(self.loss)
    }

    /// The loss, then the metrics.
    pub(super) fn iter(&self) -> impl Iterator<Item = f32> {
        std::iter::once(self.loss).chain(self.metrics.iter().copied())
    }

    /// Their names.
    pub(super) fn names<N: Network>() -> impl Iterator<Item = &'static str> {
        std::iter::once("loss").chain(N::DEFINITION.metrics.iter().map(|metric| metric.name))
    }
}

/// Sums over the steps of an epoch, each weighted by its rows.
#[derive(Debug, Default)]
pub(super) struct Means {
    pub(super) steps: usize,
    pub(super) rows: usize,
    loss: f64,
    metrics: Vec<f64>,
}

impl Means {
    pub(super) fn new<N: Network>() -> Means {
        Means { metrics: vec![0.0; N::DEFINITION.metrics.len()], ..Means::default() }
    }

    pub(super) fn add(&mut self, rows: usize, report: &Report<'_>) {
        self.steps += 1;
        self.rows += rows;
        let weight = rows as f64;
        self.loss += weight * f64::from(report.loss);
        self.metrics.iter_mut().zip(report.metrics).for_each(|(sum, &x)| *sum += weight * f64::from(x));
    }

    /// The means so far.
    pub(super) fn numbers(&self) -> Numbers {
        let mean = |sum: f64| (sum / self.rows as f64) as f32;
        Numbers { loss: mean(self.loss), metrics: self.metrics.iter().map(|&sum| mean(sum)).collect() }
    }
}
