//! Where the axes of a kernel are split: wherever those of any value in it are.

use super::domain::Domain;
use super::view::memory_order;
use crate::kernel::Class;
use crate::types::{Dim, Shape};

/// The strides of all axes but the innermost, in elements: ascending, each a multiple of the one before. The stride of a row of
/// the domain is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Bounds(Vec<usize>);

impl Bounds {
    /// Of a value of this shape in a kernel over a domain.
    pub(super) fn of(domain: Domain, shape: &Shape) -> Bounds {
        let apart = match domain.class_of(shape) {
            Some(Class::Element) if shape.rank() > 2 => 1,
            Some(Class::Row) if shape.rank() > 1 => domain.cols,
            _ => return Bounds::default(),
        };
        let mut bounds = Vec::new();
        let mut elements = apart;
        let order = memory_order(shape).unwrap_or_else(|| (0..shape.rank()).collect());
        for &axis in order.iter().skip(1).rev() {
            elements *= shape.0[axis].factor();
            if elements != domain.cols && elements > 1 && bounds.last() != Some(&elements) {
                bounds.push(elements);
            }
        }
        Bounds(bounds)
    }

    /// Those of both, if one list of axes can have them all.
    pub(super) fn with(&self, other: &Bounds, domain: Domain) -> Option<Bounds> {
        if other.0.is_empty() || self == other {
            return Some(self.clone());
        }
        let mut bounds: Vec<usize> = self.0.iter().chain(&other.0).copied().collect();
        bounds.sort_unstable();
        bounds.dedup();
        let fits = |pair: &[usize]| pair[1].is_multiple_of(pair[0]);
        let whole = bounds.iter().all(|bound| bound.is_multiple_of(domain.cols) || domain.cols.is_multiple_of(*bound));
        (whole && bounds.windows(2).all(fits)).then_some(Bounds(bounds))
    }

    /// The axes of a kernel, and how many of them are rows.
    pub(super) fn axes(&self, domain: Domain) -> (Vec<Dim>, usize) {
        let cut = |total: Dim, bounds: &mut dyn Iterator<Item = usize>| {
            let mut axes = Vec::new();
            let mut left = total.factor();
            for bound in bounds {
                axes.push(left / bound);
                left = bound;
            }
            axes.push(left);
            let first = if total.is_batch() { Dim::Batch(axes[0]) } else { Dim::Fixed(axes[0]) };
            std::iter::once(first).chain(axes[1..].iter().map(|&extent| Dim::Fixed(extent))).collect::<Vec<Dim>>()
        };
        let above = self.0.iter().rev().filter(|&&bound| bound > domain.cols).map(|bound| bound / domain.cols);
        let rows = cut(domain.rows, &mut { above });
        let below = self.0.iter().rev().filter(|&&bound| bound < domain.cols).copied();
        let cols = cut(Dim::Fixed(domain.cols), &mut { below });
        let count = rows.len();
        (rows.into_iter().chain(cols).collect(), count)
    }
}
