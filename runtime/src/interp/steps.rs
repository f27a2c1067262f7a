//! The steps of loops: one after the other, and one of them once more.

use super::{Data, Evaluation, Precision, Run, Values};
use crate::ir::{Loop, NodeId};

impl Run<'_> {
    /// Takes all steps of a loop. Afterwards nodes of its body have the values of the last one.
    pub(super) fn steps(&mut self, run: &Loop, change: &mut impl FnMut(NodeId, &mut [f64])) {
        let graph = self.graph;
        let value = |run: &Self, id: NodeId| run.nodes[id.index()].data.clone();
        let mut state = value(self, graph[run.carry].operands[0]);
        let exits: Vec<NodeId> = [run.history].into_iter().chain(run.collects.iter().copied()).collect();
        let mut rows: Vec<Vec<Option<Data>>> = exits.iter().map(|_| vec![None; run.steps + 1]).collect();
        rows[0][if run.reverse { run.steps } else { 0 }] = Some(state.clone());
        for position in run.positions() {
            self.step(run, position, state, change);
            let [_, after] = run.rows(position);
            for (number, &exit) in exits.iter().enumerate() {
                let at = if exit == run.history { after } else { position };
                rows[number][at] = Some(value(self, graph[exit].operands[1]));
            }
            state = value(self, graph[run.history].operands[1]);
        }
        for (&exit, rows) in exits.iter().zip(rows) {
            let mut stacked = Data::empty(graph[exit].ty.dtype);
            rows.into_iter().flatten().for_each(|row| stacked.append(row));
            self.put(exit, stacked, change);
        }
    }

    fn step(&mut self, run: &Loop, position: usize, state: Data, change: &mut impl FnMut(NodeId, &mut [f64])) {
        self.put(run.carry, state, change);
        run.body.iter().for_each(|&id| self.set(id, Some(position), change));
    }
}

impl Evaluation<'_> {
    /// Gives the nodes of a body the values of the step at a position, from the state that the loop, which has run, has before it. Loops
    /// around it have to be at the step that is meant.
    pub(crate) fn step_again(
        &mut self,
        (loops, run, position): (&[Loop], &Loop, usize),
        (precision, batch, values): (Precision, usize, &Values),
    ) {
        let nodes = std::mem::take(&mut self.nodes);
        let mut again = Run { graph: self.graph, loops, precision, batch, values, nodes };
        let state = again.nodes[run.history.index()].row(run.rows(position)[0]);
        again.step(run, position, state, &mut |_, _| ());
        self.nodes = again.nodes;
    }
}
