//! Chunked evaluation: loss and metrics over more rows than fit one run, what adds up from piece to piece, and what is computed once.
//!
//! In: a graph whose results are numbers, the loss and the metrics over all rows. Out: [`Parts`]: graphs that are run for
//! every piece of the rows and leave totals (sums, maxima, means and variances over the rows of the piece), and a graph that
//! makes the results of the totals of all rows. Where work on rows needs a total of all rows itself, as the deviations from a
//! mean do, the pieces are gone through again for the totals of the next level. Counts are known beforehand. Absent on
//! purpose: who runs the graphs; [`Tally`] is the arithmetic in between.

use crate::ir::ops::{Body, Form, Reduction, SUM};
use crate::ir::{Builder, Graph, InputSlot, NodeId, NodeMap, Op, Output, Role, Slots, rewrite};
use crate::types::{Dim, Shape, TensorType};

/// A graph taken apart. Every part has further inputs after those it is given by the user: how many rows there are in all,
/// how many lie before this piece, and the merged totals of the levels before, in order. The last part has these alone.
#[derive(Debug)]
pub struct Parts {
    /// What is run for every piece, level by level. Mostly one; none if no result depends on rows.
    pub levels: Vec<Level>,
    /// From the totals to the results, once.
    pub finish: Graph,
}

/// One way through the pieces.
#[derive(Debug)]
pub struct Level {
    /// Its outputs are the totals of a piece.
    pub graph: Graph,
    /// What is totalled.
    pub totals: Vec<Total>,
}

/// What is reduced over the rows.
#[derive(Clone, Debug)]
pub struct Total {
    /// How pieces become one.
    pub merge: Merge,
    /// The type, without the batch.
    pub ty: TensorType,
    /// Which output of the piece it is.
    pub output: usize,
    /// For a mean or a variance, which outputs add up to the mean: one alone would be rounded as coarsely as large numbers
    /// are, beside which the distances between pieces are small.
    pub mean: Option<[usize; 2]>,
}

/// How the totals of two sets of rows become that of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// As the totals of this reduction do: by addition, or as the larger of both.
    Total(&'static Reduction),
    /// By the number of elements.
    Mean,
    /// By Chan's formula, from counts, means and mean squared deviations.
    Variance {
        /// How many elements of a row are reduced.
        per_row: usize,
    },
}

impl Merge {
    /// By addition.
    pub fn sum() -> Merge {
        Merge::Total(SUM.reduction().expect("a sum is a reduction"))
    }
}

/// Takes a graph apart. The results must be numbers that do not belong to a row.
pub fn parts(graph: &Graph) -> Parts {
    let split = Split::new(graph);
    let depth = split.totals.iter().map(|&(id, _)| split.level[id.index()]).max().unwrap_or(0);
    Parts { levels: (1..=depth).map(|level| split.level(level)).collect(), finish: split.finish(depth) }
}

struct Split<'a> {
    graph: &'a Graph,
    /// For every node, how many times the rows have to be gone through to have it.
    level: Vec<usize>,
    /// The reductions over rows that a result needs, by level, then in the order of the graph.
    totals: Vec<(NodeId, Merge)>,
}

impl<'a> Split<'a> {
    fn new(graph: &'a Graph) -> Split<'a> {
        let live = graph.live();
        let mut level = vec![0; graph.nodes.len()];
        let mut totals = Vec::new();
        for id in graph.ids() {
            let below = graph[id].operands.iter().map(|operand| level[operand.index()]).max().unwrap_or(0);
            let merge = over_rows(graph, id);
            level[id.index()] = below + usize::from(merge.is_some());
            totals.extend(merge.filter(|_| live[id.index()]).map(|merge| (id, merge)));
        }
        totals.sort_by_key(|(id, _)| level[id.index()]);
        Split { graph, level, totals }
    }

    fn level(&self, level: usize) -> Level {
        let own = || self.totals.iter().filter(|(id, _)| self.level[id.index()] == level);
        let wanted: Vec<NodeId> = own().map(|&(id, _)| id).collect();
        let inputs = &self.graph.slots.inputs;
        let (graph, map) = self.cut(level - 1, &wanted, inputs);
        let mut b = Builder::new(graph);
        let (mut results, mut totals) = (Vec::new(), Vec::new());
        for &(id, merge) in own() {
            let node = map.at(id);
            let output = results.len();
            results.push(node);
            let mean = matches!(merge, Merge::Mean | Merge::Variance { .. }).then(|| {
                let axes = self.graph[id].op.axes().expect("a reduction has axes");
                let x = b.graph()[node].operands[0];
                let center = b.center(x, axes);
                let shape = b.shape(x);
                let spread = b.broadcast_over(center, &shape, axes);
                let near = b.sub(x, spread);
                let rest = b.mean(near, axes);
                results.extend([center, rest]);
                [results.len() - 2, results.len() - 1]
            });
            totals.push(Total { merge, ty: self.graph[id].ty.clone(), output, mean });
        }
        let mut graph = b.finish();
        graph.slots.outputs = vec!["total"; results.len()];
        let outputs = results.into_iter().enumerate();
        graph.outputs = outputs.map(|(index, node)| Output { role: Role::Output(index), node }).collect();
        Level { graph, totals }
    }

    fn finish(&self, depth: usize) -> Graph {
        let wanted: Vec<NodeId> = self.graph.outputs.iter().map(|output| output.node).collect();
        let (mut graph, map) = self.cut(depth, &wanted, &[]);
        let outputs = self.graph.outputs.iter();
        graph.outputs = outputs.map(|output| Output { role: output.role.clone(), node: map.at(output.node) }).collect();
        graph
    }

    /// A copy of what these nodes need. Totals up to this level, and all that is known of the batch, come from outside.
    fn cut(&self, known: usize, wanted: &[NodeId], inputs: &[InputSlot]) -> (Graph, NodeMap) {
        let (slots, fed) = self.slots(known, inputs);
        let mut needed = vec![false; self.graph.nodes.len()];
        wanted.iter().for_each(|id| needed[id.index()] = true);
        for id in self.graph.ids().rev().filter(|id| fed.totals[id.index()].is_none()) {
            if needed[id.index()] {
                self.graph[id].operands.iter().for_each(|operand| needed[operand.index()] = true);
            }
        }
        let whole = Graph { slots, nodes: self.graph.nodes.clone(), outputs: Vec::new() };
        rewrite(whole, |b, id, node| {
            Some(match (fed.totals[id.index()], &node.op) {
                _ if !needed[id.index()] => return None,
                (Some(total), _) => b.input(total),
                (None, Op::Count(factor)) => {
                    let rows = b.input(fed.rows);
                    b.scale(rows, *factor as f64)
                }
                (None, &Op::Iota(axis)) if node.ty.shape.0[axis].is_batch() => {
                    position(b, axis, &node.ty.shape, fed.before)
                }
                _ => b.add_node(node),
            })
        })
    }

    /// The slots of a part, and where in them the further inputs are.
    fn slots(&self, known: usize, inputs: &[InputSlot]) -> (Slots, Fed) {
        let mut slots = Slots { inputs: inputs.to_vec(), ..self.graph.slots.clone() };
        let mut further = |name, ty| {
            slots.inputs.push(InputSlot { name, ty, target: false, classes: None });
            slots.inputs.len() - 1
        };
        let rows = further("rows", TensorType::scalar());
        let before = further("rows_before", TensorType::scalar());
        let mut totals = vec![None; self.graph.nodes.len()];
        for &(id, _) in self.totals.iter().filter(|(id, _)| self.level[id.index()] <= known) {
            totals[id.index()] = Some(further("total", self.graph[id].ty.clone()));
        }
        (slots, Fed { rows, before, totals })
    }
}

/// The further inputs of a part.
struct Fed {
    rows: usize,
    before: usize,
    /// For a node that is a total, its input.
    totals: Vec<Option<usize>>,
}

/// The position along the batch, of all rows.
fn position(b: &mut Builder, axis: usize, shape: &Shape, before: usize) -> NodeId {
    let own = b.iota(axis, shape);
    let own = b.to_float(own);
    let before = b.input(before);
    let before = b.scale(before, shape.0[axis].factor() as f64);
    let before = b.spread(before, shape);
    let position = b.add(own, before);
    b.to_index(position)
}

/// How a node that reduces over the rows merges, if it is one.
fn over_rows(graph: &Graph, id: NodeId) -> Option<Merge> {
    let node = &graph[id];
    let extents = |operand: usize| &graph[node.operands[operand]].ty.shape.0;
    match (node.op.def().body, &node.op) {
        (Body::Reduce(reduction), op) => {
            let reduced = || op.axes().expect("a reduction has axes").iter().map(|&axis| extents(0)[axis]);
            reduced().any(Dim::is_batch).then(|| match reduction.form {
                Form::Total(_) => Merge::Total(reduction),
                Form::Mean => Merge::Mean,
                Form::Variance => Merge::Variance { per_row: reduced().map(Dim::factor).product() },
            })
        }
        (_, Op::ScatterAdd { .. }) => extents(1).iter().copied().any(Dim::is_batch).then_some(Merge::sum()),
        (_, Op::Dot(axes) | Op::DotByColumn(axes)) => {
            axes.contracted.iter().any(|&(axis, _)| extents(0)[axis].is_batch()).then_some(Merge::sum())
        }
        _ => None,
    }
}

/// A total in the making: that of the rows added so far, in f64.
#[derive(Clone, Debug)]
pub struct Tally {
    merge: Merge,
    /// Sums, maxima or sums of squared deviations.
    values: Vec<f64>,
    /// Means, for themselves or for a variance.
    means: Vec<f64>,
    rows: usize,
}

impl Tally {
    /// Of no rows.
    pub fn new(total: &Total) -> Tally {
        let len = total.ty.shape.len_at(1);
        let (first, means) = match total.merge {
            Merge::Total(reduction) => (reduction.of_none, 0),
            Merge::Mean | Merge::Variance { .. } => (0.0, len),
        };
        Tally { merge: total.merge, values: vec![first; len], means: vec![0.0; means], rows: 0 }
    }

    /// Adds a piece of so many rows: its totals, and for a mean or a variance the two parts of its means.
    pub fn add<T: Copy + Into<f64>>(&mut self, rows: usize, part: &[T], means: [&[T]; 2]) {
        let own = means[0].iter().zip(means[1]).map(|(&center, &rest)| center.into() + rest.into());
        let values = self.values.iter_mut().zip(part.iter().map(|&part| part.into()));
        match self.merge {
            Merge::Total(reduction) => {
                let total = reduction.total().expect("it merges as a total");
                values.for_each(|(value, part)| (total.merge)(std::slice::from_mut(value), &[part]));
            }
            Merge::Mean => {
                let share = rows as f64 / (self.rows + rows) as f64;
                self.means.iter_mut().zip(own).for_each(|(mean, own)| *mean += (own - *mean) * share);
            }
            Merge::Variance { per_row } => {
                // Chan, Golub & LeVeque 1983, equation 2.1, with means in place of sums.
                let (old, new) = ((self.rows * per_row) as f64, (rows * per_row) as f64);
                for (((value, part), mean), own) in values.zip(&mut self.means).zip(own) {
                    let delta = own - *mean;
                    *mean += delta * (new / (old + new));
                    *value += part * new + delta * delta * (old * new / (old + new));
                }
            }
        }
        self.rows += rows;
    }

    /// The totals of all rows added.
    pub fn totals(&self) -> Vec<f64> {
        match self.merge {
            Merge::Total(_) => self.values.clone(),
            Merge::Mean => self.means.clone(),
            Merge::Variance { per_row } => {
                let count = (self.rows * per_row) as f64;
                // NaN where no f32 can hold it, as of one run.
                let held = |variance: f64| if variance <= f64::from(f32::MAX) { variance } else { f64::NAN };
                self.values.iter().map(|squares| held(squares / count)).collect()
            }
        }
    }
}
