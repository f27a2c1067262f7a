//! Which drafts compute and read which nodes, so that the time of a decision does not grow with the depth of the network.
//!
//! In: every draft, and every operation as it is placed. Out: the kernels that compute or read a node, in the order in which
//! they run.

use std::collections::{HashMap, HashSet};

use super::Draft;
use super::choose::LONG;
use super::domain::{Domain, read_access};
use super::view::bases;
use crate::ir::{Graph, NodeId, Op, Role};
use crate::kernel::Class;
use crate::types::Dim;

/// Which drafts compute and read each node. Kernels are in ascending order.
pub(super) struct Index {
    /// For every node, the kernels that compute it.
    pub(super) computed: Vec<Vec<usize>>,
    /// For every node, the kernels whose maps and reductions read it element by element.
    pub(super) read: Vec<Vec<usize>>,
    /// The kernels of one row that have no product, by their extents.
    pub(super) single_row: HashMap<Domain, Vec<usize>>,
    /// Those of the kernels of one row that are not long yet.
    pub(super) short: HashMap<Domain, Vec<usize>>,
    /// For every parameter, the operations that read it, through views or not.
    pub(super) readers: Vec<Vec<NodeId>>,
    /// For every parameter, the kernels that store it or a view of it.
    pub(super) copied: Vec<Vec<usize>>,
    /// For every parameter, the kernels that read its elements at another place than their own.
    pub(super) elsewhere: Vec<Vec<usize>>,
    /// Whether a node is the next value of a parameter.
    pub(super) updates: Vec<bool>,
}

impl Index {
    /// Without drafts.
    pub(super) fn new(g: &Graph) -> Index {
        let (nodes, params) = (g.nodes.len(), g.slots.params.len());
        let mut readers = vec![Vec::new(); params];
        for id in g.ids() {
            for base in g[id].operands.iter().flat_map(|&operand| bases(g, operand)) {
                if let Op::Param(param) = g[base].op {
                    readers[param].push(id);
                }
            }
        }
        let mut updates = vec![false; nodes];
        for output in g.outputs.iter().filter(|output| matches!(output.role, Role::Update(_))) {
            updates[output.node.index()] = true;
        }
        Index {
            computed: vec![Vec::new(); nodes],
            read: vec![Vec::new(); nodes],
            single_row: HashMap::new(),
            short: HashMap::new(),
            readers,
            copied: vec![Vec::new(); params],
            elsewhere: vec![Vec::new(); params],
            updates,
        }
    }

    /// Adds a new draft, without operations.
    pub(super) fn opened(&mut self, kernel: usize, draft: &Draft) {
        match draft.product {
            Some(product) => insert(&mut self.computed[product.index()], kernel),
            None if draft.domain.rows == Dim::Fixed(1) => {
                insert(self.single_row.entry(draft.domain).or_default(), kernel);
                insert(self.short.entry(draft.domain).or_default(), kernel);
            }
            None => {}
        }
    }

    /// Adds the operation that was just placed at the end of a draft.
    pub(super) fn placed(&mut self, g: &Graph, kernel: usize, draft: &Draft, id: NodeId) {
        insert(&mut self.computed[id.index()], kernel);
        if draft.domain != Domain::SCALAR {
            for &operand in &g[id].operands {
                let (base, class) = read_access(g, operand, draft.domain);
                match (class, &g[base].op) {
                    (Class::Element, _) => insert(&mut self.read[base.index()], kernel),
                    (Class::Other, &Op::Param(param)) => insert(&mut self.elsewhere[param], kernel),
                    _ => {}
                }
            }
        }
        if draft.nodes.len() == LONG
            && let Some(short) = self.short.get_mut(&draft.domain)
            && let Ok(at) = short.binary_search(&kernel)
        {
            short.remove(at);
        }
    }

    /// Adds a value that a draft stores.
    pub(super) fn stored(&mut self, g: &Graph, kernel: usize, id: NodeId) {
        for base in bases(g, id) {
            if let Op::Param(param) = g[base].op {
                insert(&mut self.copied[param], kernel);
            }
        }
    }

    /// Whether a kernel computes a node.
    pub(super) fn computes(&self, kernel: usize, id: NodeId) -> bool {
        self.computed[id.index()].binary_search(&kernel).is_ok()
    }
}

/// Inserts into a list in ascending order.
fn insert(kernels: &mut Vec<usize>, kernel: usize) {
    if let Err(at) = kernels.binary_search(&kernel) {
        kernels.insert(at, kernel);
    }
}

/// The kernels from `first` on.
pub(super) fn from(kernels: &[usize], first: usize) -> impl Iterator<Item = usize> {
    kernels[kernels.partition_point(|&kernel| kernel < first)..].iter().copied()
}

/// A set of nodes that keeps the order in which they were inserted.
#[derive(Default)]
pub(super) struct Nodes {
    list: Vec<NodeId>,
    /// The same nodes, if there are many.
    many: HashSet<NodeId>,
}

/// Up to this many nodes, a search through the list is faster than a hash.
const FEW: usize = 16;

impl Nodes {
    pub(super) fn contains(&self, id: NodeId) -> bool {
        if self.list.len() <= FEW { self.list.contains(&id) } else { self.many.contains(&id) }
    }

    /// Adds a node. Returns whether it is new.
    pub(super) fn insert(&mut self, id: NodeId) -> bool {
        if self.contains(id) {
            return false;
        }
        self.list.push(id);
        match self.list.len() {
            ..=FEW => {}
            len if len == FEW + 1 => self.many.extend(&self.list),
            _ => _ = self.many.insert(id),
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.list.iter().copied()
    }
}
