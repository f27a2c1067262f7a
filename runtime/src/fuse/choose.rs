//! Which kernel takes an operation: the earliest that holds what it is made of, or a new one; and the reason.

use super::domain::{Domain, ReductionAxes, read_access, reduction_axes};
use super::index::from;
use super::rematerialize::is_free;
use super::view::is_view;
use super::{Ctx, Demand, Draft};
use crate::ir::{NodeId, Op};
use crate::kernel::Class;
use crate::reason::{MaterializeReason, SplitReason};

/// With this many operations, a kernel takes no more work that it shares nothing with: for longer kernels, register allocation
/// takes more than its share of time.
pub(super) const LONG: usize = 64;

/// With this many operations, a kernel takes no more at all: the time of register allocation grows faster than their number.
pub(super) const MOST: usize = 512;

/// The first kernel in which an operation may be placed, and why not an earlier one.
#[derive(Clone, Copy, Default)]
pub(super) struct Bound {
    pub(super) first: usize,
    pub(super) why: Option<SplitReason>,
}

impl Bound {
    pub(super) fn raise(&mut self, first: usize, why: SplitReason) {
        if first > self.first {
            *self = Bound { first, why: Some(why) };
        }
    }
}

impl Ctx<'_> {
    /// The kernel for a root: the first that computes one of its sources, else one that reads the same elements, else new.
    pub(super) fn choose(&mut self, id: NodeId, domain: Domain, demand: &Demand, mut bound: Bound) -> usize {
        for source in demand.sources.iter() {
            let Some(home) = self.home[source.index()] else { continue };
            let here = self.in_reach(source, home, domain) && !demand.elsewhere.contains(source);
            let first = if here { home } else { home + 1 };
            let sum = matches!(
                reduction_axes(self.g, source),
                Some((_, ReductionAxes::DownColumns | ReductionAxes::Everything | ReductionAxes::Within))
            );
            bound.raise(first, if sum { SplitReason::Sum(source) } else { SplitReason::Extents(source) });
        }
        let first = bound.first;
        let moments = reduction_axes(self.g, id).is_some_and(|(reduction, _)| reduction.total().is_none());
        // Recomputing a single number costs nothing.
        let substantial = |map: &NodeId| Domain::of(&self.g[*map].ty.shape) != Domain::SCALAR;
        let computed: Vec<NodeId> = demand.sources.iter().chain(demand.maps.iter().filter(substantial)).collect();
        let computes = |fits: &dyn Fn(&Draft) -> bool| self.first_of(&self.index.computed, &computed, first, fits);
        let wanted = self.elements_read(id, domain, demand);
        let shares = |fits: &dyn Fn(&Draft) -> bool| {
            self.first_of(&self.index.read, &wanted, first, &|draft| draft.product.is_none() && fits(draft))
        };
        // A variance is shifted by the mean of its first rows, so those must be available without any sum along rows.
        // What overwrites a parameter, or a part of its state, is computed where the old values of all of them are read.
        let most = if self.index.updates[id.index()] { usize::MAX } else { MOST };
        let open = self.loops.open;
        let fine = |draft: &Draft| draft.bounds.with(&demand.bounds, domain).is_some();
        let ready = |draft: &Draft| {
            draft.run == open
                && !(draft.closed || moments && draft.has_row_sums)
                && draft.nodes.len() < most
                && fine(draft)
        };
        let suits = |draft: &Draft| draft.domain == domain && ready(draft);
        let found = computes(&suits).or_else(|| shares(&suits));
        // A value with one number per row is computed together with the elements of that row.
        let along_row = matches!(reduction_axes(self.g, id), Some((_, ReductionAxes::AlongRow)));
        // Not so if it overwrites a parameter, whose elements are read one by one, or is copied, element by element; nor if it is a
        // sum down that one column, which would be a sum down all columns in the wider kernel.
        let down = matches!(reduction_axes(self.g, id), Some((_, ReductionAxes::DownColumns)));
        // A sum over a matrix adds up its own rows, one after the other, wherever it is computed.
        let rows = matches!(reduction_axes(self.g, id), Some((_, ReductionAxes::Everything))) && domain.cols > 1;
        let beside = || {
            if along_row || down || rows || self.index.updates[id.index()] || self.is_copied(id) {
                return None;
            }
            // What is one number a row of its own domain may be nothing in the other one.
            let known =
                |draft: &Draft| demand.maps.iter().all(|map| draft.domain.class_of(&self.g[map].ty.shape).is_some());
            computes(&|draft| joins(draft.domain, domain) && known(draft) && ready(draft))
        };
        // The call of a kernel of one row costs more than its work, so those of the same width share one.
        let is_ready = |kernel: &usize| ready(&self.drafts[*kernel]);
        let short = || from(self.index.short.get(&domain)?, first).find(is_ready);
        if let Some(kernel) = found.or_else(beside).or_else(short) {
            return kernel;
        }
        let full =
            self.index.single_row.get(&domain).is_some_and(|kernels| from(kernels, first).any(|at| is_ready(&at)));
        let unready = |draft: &Draft| draft.domain == domain && !ready(draft);
        let begin = match bound.why {
            _ if full => SplitReason::Long,
            _ if moments && computes(&unready).or_else(|| shares(&unready)).is_some() => SplitReason::Variance,
            why => why.unwrap_or(SplitReason::Apart),
        };
        self.open(Draft::new(domain, None, begin))
    }

    /// A reduction over axes between the first and the last has a kernel of its own, with what it is made of.
    pub(super) fn place_within(&mut self, id: NodeId) {
        let kernel = self.place_alone(self.g[id].operands[0], SplitReason::Apart);
        self.put(kernel, id);
        self.home[id.index()] = Some(kernel);
        self.store_in(kernel, id, MaterializeReason::Once);
    }

    /// The first kernel, starting with `first`, that has one of these nodes and fits.
    fn first_of(
        &self,
        kernels: &[Vec<usize>],
        nodes: &[NodeId],
        first: usize,
        fits: &dyn Fn(&Draft) -> bool,
    ) -> Option<usize> {
        let fitting = |node: &NodeId| from(&kernels[node.index()], first).find(|&kernel| fits(&self.drafts[kernel]));
        nodes.iter().filter_map(fitting).min()
    }

    /// Whether a value computed in kernel `home` can be read in the same kernel, if that is over `domain`.
    pub(super) fn in_reach(&self, source: NodeId, home: usize, domain: Domain) -> bool {
        let along = reduction_axes(self.g, source).is_none_or(|(_, way)| way == ReductionAxes::AlongRow);
        let op = &self.g[source].op;
        let computed =
            !is_view(self.g, source) && !matches!(op, Op::ScatterAdd { .. } | Op::Concat(_)) && !op.is_of_loop();
        let computed = computed && self.drafts[home].run == self.loops.open;
        along && computed && joins(self.drafts[home].domain, domain)
    }

    /// What a root reads from memory element by element.
    fn elements_read(&self, id: NodeId, domain: Domain, demand: &Demand) -> Vec<NodeId> {
        let computed = demand.maps.iter().chain([id]);
        let operands = computed.flat_map(|id| &self.g[id].operands);
        let read = operands.map(|&operand| read_access(self.g, operand, domain));
        let elements = read.filter(|&(base, class)| class == Class::Element && !demand.maps.contains(base));
        elements.map(|(base, _)| base).filter(|&base| !is_free(&self.g[base].op)).collect()
    }
}

/// Whether what is computed over `inner` can be computed in a kernel over `outer`: both are the same, or `inner` has one number
/// per row of `outer`.
fn joins(outer: Domain, inner: Domain) -> bool {
    let one_a_row = inner.cols == 1 && outer.rows == inner.rows || inner.is_one_a_row_of(outer);
    outer == inner || (one_a_row && inner != Domain::SCALAR)
}
