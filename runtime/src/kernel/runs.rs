//! Products that are read in runs of terms, as loops: the axes of rows and terms as coarse as the operands allow.

use std::ops::Range;

use super::{Affine, Bound, Dot, Kernel};
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
    /// Which terms the right operand has at a position along the leading axes: the others are left out.
    pub limits: Vec<Limit>,
    /// From one column to the next in the left operand: 0 unless each column has one of its own.
    pub a_col: i64,
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

/// A coordinate of the right operand that depends on one axis of the terms, and on the leading axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The axis of the terms.
    pub term: usize,
    /// The coordinate at the first position and term.
    pub constant: i64,
    /// By how much it grows along each axis of the result but the columns; along the rows not at all.
    pub lead: Vec<i64>,
    /// By how much it grows from term to term.
    pub step: i64,
    /// What it is less than, where there is a term.
    pub extent: usize,
}

impl Limit {
    /// A bound of the magnitude of the coordinate, with the extent, where the axis of the terms begins.
    pub fn reach(&self, lead: &[Dim]) -> i64 {
        let moved = self.lead.iter().zip(lead).map(|(step, dim)| step.abs() * dim.factor() as i64);
        self.constant.abs() + self.extent as i64 + self.step.abs() + moved.sum::<i64>()
    }

    /// How many of so many terms there are at all positions along the leading axes together, and how many there could be.
    fn present(&self, lead: &[Dim], terms: usize) -> [u64; 2] {
        let mut firsts = vec![self.constant];
        for (&step, dim) in self.lead.iter().zip(lead).filter(|(step, _)| **step != 0) {
            let positions = 0..dim.factor() as i64;
            firsts = firsts.iter().flat_map(|first| positions.clone().map(move |at| first + at * step)).collect();
        }
        let is_there = |first: i64| (0..terms as i64).filter(move |term| self.is_inside(first + term * self.step));
        let found: usize = firsts.iter().map(|&first| is_there(first).count()).sum();
        [found as u64, (firsts.len() * terms) as u64]
    }

    fn is_inside(&self, coordinate: i64) -> bool {
        (0..self.extent as i64).contains(&coordinate)
    }
}

/// Where the operands of a product lie along its axes and those that it sums over, and where there are elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operands<'a> {
    pub a_at: &'a Affine,
    pub bounds: &'a [Bound],
    pub b_at: &'a Affine,
    pub b_bounds: &'a [Bound],
}

impl<'a> Operands<'a> {
    pub(crate) fn of(dot: &'a Dot) -> Operands<'a> {
        Operands { a_at: &dot.a_at, bounds: &dot.bounds, b_at: &dot.b_at, b_bounds: &dot.b_bounds }
    }
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
        let columns = matches!(self.a_col, 0 | 1);
        columns
            && count(rows.len())
            && count(terms.len())
            && outermost
            && one_each
            && skewed <= 1
            && self.bounds.iter().all(bound)
    }
}

impl Runs {
    /// Of so many operations with all terms, those that are left, given the leading axes.
    pub(crate) fn operations(&self, all: u64, lead: &[Dim]) -> u64 {
        self.limits.iter().fold(all, |all, limit| {
            let [found, possible] = limit.present(lead, self.terms[limit.term].0.factor());
            all / possible.max(1) * found
        })
    }
}

impl Kernel {
    /// The loops of its product, if that is read in runs.
    pub fn runs(&self) -> Option<Runs> {
        let dot = self.dot.as_ref().filter(|dot| dot.in_runs)?;
        let (lead, _) = self.dot_rows();
        Some(runs(Operands::of(dot), &dot.axes, &dot.over, lead..dot.axes.len() - 1))
    }
}

/// The loops of a product of these operands, with these axes, of which some are its rows and the last is its columns, summed over
/// others.
pub(crate) fn runs(operands: Operands<'_>, axes: &[Dim], over: &[Dim], rows: Range<usize>) -> Runs {
    let Operands { a_at, bounds, b_at, b_bounds } = operands;
    let bounded = bounds.iter().chain(b_bounds).map(|bound| &bound.coordinate);
    let affines: Vec<&Affine> = [a_at, b_at].into_iter().chain(bounded).collect();
    let row_axes = merged(axes, rows, &affines, |_| false);
    let all: Vec<Dim> = axes.iter().chain(over).copied().collect();
    // A single term may be left out as well.
    let is_bounded = |axis: usize| bounds.iter().chain(b_bounds).any(|bound| bound.coordinate.steps[axis] != 0);
    let term_axes = merged(&all, axes.len()..all.len(), &affines, is_bounded);
    let bound = |bound: &Bound| RunBound {
        constant: bound.coordinate.constant,
        rows: row_axes.iter().map(|&(_, axis)| bound.coordinate.steps[axis]).collect(),
        terms: term_axes.iter().map(|&(_, axis)| bound.coordinate.steps[axis]).collect(),
        extent: bound.extent,
    };
    let limit = |Bound { coordinate, extent }: &Bound| {
        let term = term_axes.iter().position(|&(_, axis)| coordinate.steps[axis] != 0)?;
        let (constant, lead) = (coordinate.constant, coordinate.steps[..axes.len() - 1].to_vec());
        Some(Limit { term, constant, lead, step: coordinate.steps[term_axes[term].1], extent: *extent })
    };
    Runs {
        rows: row_axes.iter().map(|&(dim, axis)| (dim, a_at.steps[axis])).collect(),
        terms: term_axes.iter().map(|&(dim, axis)| (dim, [a_at, b_at].map(|at| at.steps[axis]))).collect(),
        bounds: bounds.iter().map(bound).collect(),
        limits: b_bounds.iter().filter_map(limit).collect(),
        a_col: if axes[axes.len() - 1] == Dim::Fixed(1) { 0 } else { a_at.steps[axes.len() - 1] },
        b_col: b_at.steps[axes.len() - 1],
    }
}

/// Some adjacent axes as few: merged wherever one step along the outer of two is as far as the inner one is long. Each with the
/// axis whose steps it has. Those of one element are dropped, unless they are to be kept.
fn merged(
    dims: &[Dim],
    range: Range<usize>,
    affines: &[&Affine],
    is_kept: impl Fn(usize) -> bool,
) -> Vec<(Dim, usize)> {
    let mut found: Vec<(Dim, usize)> = Vec::new();
    for axis in range {
        let dim = dims[axis];
        if dim == Dim::Fixed(1) && !is_kept(axis) {
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
