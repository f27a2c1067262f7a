//! The numbers that a training reports, and their means over an epoch.

use crate::session::{Network, Pass, Report};

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

    /// The means over the rows of an epoch so far.
    pub(super) fn means(pass: &Pass) -> Numbers {
        let mean = |sum: f64| (sum / pass.rows as f64) as f32;
        Numbers { loss: mean(pass.loss), metrics: pass.metrics.iter().map(|&sum| mean(sum)).collect() }
    }

    /// By name.
    pub(super) fn named<N: Network>(&self) -> N::Metrics {
        N::metrics(&Report { loss: self.loss, metrics: &self.metrics })
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
        std::iter::once("loss").chain(N::declared().metrics.iter().map(|metric| metric.name))
    }
}
