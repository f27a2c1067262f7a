//! Products that are read in runs of terms, as loops: the axes of rows and terms as coarse as the operands allow.

use std::ops::Range;

use super::{Affine, Bound, Kernel};
use crate::types::Dim;

/// A product that is read in runs: for each position along some leading axes the same loops over rows and terms.
#[derive(Clone, Debug, PartialEq)]
pub struct Runs {
    /// The rows, outermost first: extents, and steps of the left operand.
    pub rows: Vec<(Dim, i64)>,
    /// The terms, outermost first: extents, and steps of both operands.
    pub terms: Vec<(Dim, [i64; 2])>,
    /// Which terms a row has: the others are left out.
    pub bounds: Vec<RunBound>,
    /// From one column to the next in the right operand.
    pub b_col: i64,
}

/// A coordinate of the left operand that depends on rows and terms.
#[derive(Clone, Debug, PartialEq)]
pub struct RunBound {
    /// At the first row and term.
    pub constant: i64,
    /// By how much it grows along each axis of the rows.
    pub rows: Vec<i64>,
    /// By how much it grows along each axis of the terms.
    pub terms: Vec<i64>,
    /// What it is less than, where there is a term.
    pub extent: usize,
}

/// Axes of rows and of terms that microkernels go over.
const MOST_AXES: usize = 3;

impl Runs {
    /// Whether microkernels can run these loops.
    pub fn is_runnable(&self) -> bool {
        let count = |dims: usize| dims <= MOST_AXES;
        let batch_first = |mut dims: std::iter::Skip<std::slice::Iter<'_, Dim>>| !dims.any(|dim| dim.is_batch());
        let rows: Vec<Dim> = self.rows.iter().map(|(dim, _)| *dim).collect();
        let terms: Vec<Dim> = self.terms.iter().map(|(dim, _)| *dim).collect();
        let outermost = batch_first(rows.iter().skip(1)) && batch_first(terms.iter().skip(1));
        let one_each =
            (0..terms.len()).all(|axis| self.bounds.iter().filter(|bound| bound.terms[axis] != 0).count() <= 1);
        let bound = |bound: &RunBound| {
            let moving: Vec<usize> = (0..terms.len()).filter(|&axis| bound.terms[axis] != 0).collect();
            let forward = moving.len() == 1 && bound.terms[moving[0]] > 0;
            forward && !terms[moving[0]].is_batch() && bound.rows.last().is_none_or(|&step| step >= 0)
        };
        // Of the rows that follow one another, at most one axis of terms may depend.
        let skewed = self.bounds.iter().filter(|bound| bound.rows.last().is_some_and(|&step| step > 0)).count();
        count(rows.len()) && count(terms.len()) && outermost && one_each && skewed <= 1 && self.bounds.iter().all(bound)
    }
}

impl Kernel {
    /// The loops of its product, if that is read in runs.
    pub fn runs(&self) -> Option<Runs> {
        let dot = self.dot.as_ref().filter(|dot| dot.in_runs)?;
        let (lead, _) = self.dot_rows();
        Some(runs(&dot.a_at, &dot.b_at, &dot.bounds, &dot.axes, &dot.over, lead..dot.axes.len() - 1))
    }
}

/// The loops of a product with operands at these places, with these axes, of which some are its rows and the last is its
/// columns, summed over others.
pub(crate) fn runs(
    a_at: &Affine,
    b_at: &Affine,
    bounds: &[Bound],
    axes: &[Dim],
    over: &[Dim],
    rows: Range<usize>,
) -> Runs {
    let all = [a_at, b_at].into_iter().chain(bounds.iter().map(|bound| &bound.coordinate));
    let affines: Vec<&Affine> = all.collect();
    let row_axes = merged(axes, rows, &affines);
    let all: Vec<Dim> = axes.iter().chain(over).copied().collect();
    let term_axes = merged(&all, axes.len()..all.len(), &affines);
    let bound = |bound: &Bound| RunBound {
        constant: bound.coordinate.constant,
        rows: row_axes.iter().map(|&(_, axis)| bound.coordinate.steps[axis]).collect(),
        terms: term_axes.iter().map(|&(_, axis)| bound.coordinate.steps[axis]).collect(),
        extent: bound.extent,
    };
    Runs {
        rows: row_axes.iter().map(|&(dim, axis)| (dim, a_at.steps[axis])).collect(),
        terms: term_axes.iter().map(|&(dim, axis)| (dim, [a_at, b_at].map(|at| at.steps[axis]))).collect(),
        bounds: bounds.iter().map(bound).collect(),
        b_col: b_at.steps[axes.len() - 1],
    }
}

/// Some adjacent axes as few: merged wherever one step along the outer of two is as far as the inner one is long. Each with the
/// axis whose steps it has.
fn merged(dims: &[Dim], range: Range<usize>, affines: &[&Affine]) -> Vec<(Dim, usize)> {
    let mut found: Vec<(Dim, usize)> = Vec::new();
    for axis in range {
        let dim = dims[axis];
        if dim == Dim::Fixed(1) {
            continue;
        }
        let extent = dim.factor() as i64;
        let follows = |outer: usize| affines.iter().all(|at| at.steps[outer] == at.steps[axis] * extent);
        match found.last_mut() {
            Some(last) if !dim.is_batch() && follows(last.1) => {
                let dim = Dim::product(&[last.0, dim]).expect("the extents were one before they were cut");
                *last = (dim, axis);
            }
            _ => found.push((dim, axis)),
        }
    }
    found
}
