//! Which kernel takes an operation: the earliest that holds what it is made of, or a new one, and why that.

use super::{Bound, Ctx, Demand, Draft};
use crate::ir::ops::Reduction;
use crate::ir::{NodeId, Op, Role};
use crate::kernel::{Class, Domain, Way, resolve, way};
use crate::reason::Begin;
use crate::types::Dim;

/// Operations from which on a kernel takes no further work that it shares nothing with: register allocation takes more
/// than its share of time for longer ones.
const LONG: usize = 64;

impl Ctx<'_> {
    /// The kernel for a root: the first that computes one of its sources, else one that reads the same elements, else new.
    pub(super) fn choose(&mut self, id: NodeId, domain: Domain, demand: &Demand, mut bound: Bound) -> usize {
        for &source in &demand.sources {
            let Some(home) = self.home[source.index()] else { continue };
            let first = if self.in_reach(source, home, domain) { home } else { home + 1 };
            let sum = matches!(way(self.g, source), Some((_, Way::DownColumns | Way::Everything)));
            bound.raise(first, if sum { Begin::Sum(source) } else { Begin::Extents(source) });
        }
        let first = bound.first;
        let moments = matches!(way(self.g, id), Some((Reduction::Mean | Reduction::Variance, _)));
        // A number that is one in all is computed again at no cost.
        let substantial = |map: &NodeId| Domain::of(&self.g[*map].ty.shape) != Domain::SCALAR;
        let computes = |draft: &Draft| {
            demand.sources.iter().any(|source| draft.product == Some(*source) || draft.nodes.contains(source))
                || demand.maps.iter().any(|map| substantial(map) && draft.nodes.contains(map))
        };
        let wanted = self.elements_read(id, domain, demand);
        let shares =
            |draft: &Draft| draft.product.is_none() && wanted.iter().any(|base| self.reads_element(draft, *base));
        // A variance is shifted by the mean of its first rows, so those have to be at hand without any sum along rows.
        let ready = |draft: &Draft| !(moments && self.has_row_sums(draft));
        let suits = |draft: &Draft| draft.domain == domain && ready(draft);
        let candidates = || (first..self.drafts.len()).filter(|&kernel| suits(&self.drafts[kernel]));
        let found = candidates().find(|&kernel| computes(&self.drafts[kernel]));
        let found = found.or_else(|| candidates().find(|&kernel| shares(&self.drafts[kernel])));
        // Numbers that are one a row are computed beside the elements of that row.
        let along_row = matches!(way(self.g, id), Some((_, Way::AlongRow)));
        // What is written over a parameter is not: there its elements are read one by one. Nor are sums down that column, which
        // would be sums of all columns in the wider kernel.
        let down = matches!(way(self.g, id), Some((_, Way::DownColumns)));
        let updates = || self.g.outputs.iter().any(|out| out.node == id && matches!(out.role, Role::Update(_)));
        let beside = || {
            if along_row || down || updates() {
                return None;
            }
            let wider = |draft: &Draft| joins(draft.domain, domain) && ready(draft) && computes(draft);
            (first..self.drafts.len()).find(|&kernel| wider(&self.drafts[kernel]))
        };
        // A kernel of one row costs its call more than its work: those of one width share it.
        let short = || {
            let single_row = domain.rows == Dim::Fixed(1);
            let open = |draft: &Draft| draft.product.is_none() && draft.nodes.len() < LONG;
            candidates().find(|&kernel| single_row && open(&self.drafts[kernel]))
        };
        if let Some(kernel) = found.or_else(beside).or_else(short) {
            return kernel;
        }
        let full = domain.rows == Dim::Fixed(1) && candidates().any(|kernel| self.drafts[kernel].product.is_none());
        let unready = |draft: &Draft| draft.domain == domain && !ready(draft) && (computes(draft) || shares(draft));
        let begin = match bound.why {
            _ if full => Begin::Long,
            _ if self.drafts[first..].iter().any(unready) => Begin::Variance,
            why => why.unwrap_or(Begin::Apart),
        };
        self.drafts.push(Draft::new(domain, None, begin));
        self.drafts.len() - 1
    }

    /// Whether a value computed in kernel `home` can be read in the same kernel, if that is over `domain`.
    pub(super) fn in_reach(&self, source: NodeId, home: usize, domain: Domain) -> bool {
        let along = way(self.g, source).is_none_or(|(_, way)| way == Way::AlongRow);
        along && joins(self.drafts[home].domain, domain)
    }

    pub(super) fn has_row_sums(&self, draft: &Draft) -> bool {
        draft.nodes.iter().any(|&id| matches!(way(self.g, id), Some((_, Way::AlongRow))))
    }

    /// What a root reads from memory, one number per element.
    fn elements_read(&self, id: NodeId, domain: Domain, demand: &Demand) -> Vec<NodeId> {
        let computed = demand.maps.iter().chain([&id]);
        let operands = computed.flat_map(|&id| &self.g[id].operands);
        let read = operands.map(|&operand| resolve(self.g, operand, domain));
        let elements = read.filter(|&(base, class)| class == Class::Element && !demand.maps.contains(&base));
        elements.map(|(base, _)| base).filter(|&base| !matches!(self.g[base].op, Op::Const(_) | Op::Iota(_))).collect()
    }

    fn reads_element(&self, draft: &Draft, base: NodeId) -> bool {
        draft.domain != Domain::SCALAR
            && draft
                .nodes
                .iter()
                .flat_map(|&id| &self.g[id].operands)
                .any(|&operand| resolve(self.g, operand, draft.domain) == (base, Class::Element))
    }
}

/// Whether what is computed over `inner` can be computed in a kernel over `outer`: the same, or one number a row of it.
fn joins(outer: Domain, inner: Domain) -> bool {
    outer == inner || (inner.cols == 1 && outer.rows == inner.rows && inner != Domain::SCALAR)
}
