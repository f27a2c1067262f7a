//! What happens at every element of a stage, instruction by instruction: one walk, by which they are emitted for some columns, and
//! written down for wide vectors.

use rustc_hash::FxHashMap;

use super::{Slot, View};
use crate::ir::Op;
use crate::ir::ops::{Body, Reduction};
use crate::kernel::{Arg, Kernel};
use crate::scalar::{Reg, Scalar};

/// How far the walk over a stage is.
pub(super) struct Progress {
    /// What has been computed or loaded.
    pub(super) known: FxHashMap<Arg, Reg>,
    /// Sigmoids whose slopes are computed here too, and the slopes.
    pairs: Vec<[usize; 2]>,
    /// What overwrites parameters or operands, to be written last.
    updates: Vec<(Slot, Reg)>,
}

impl Progress {
    /// Of a walk over these instructions that has not begun.
    pub(super) fn new(kernel: &Kernel, steps: &[usize]) -> Progress {
        Progress { known: FxHashMap::default(), pairs: pairs(kernel, steps), updates: Vec::new() }
    }
}

/// What the instructions of a stage are done with. `None` ends the walk: something has no form there.
pub(super) trait Stage<'a> {
    fn view(&self) -> View<'a>;

    fn progress(&mut self) -> &mut Progress;

    fn scalar(&mut self) -> &mut dyn Scalar;

    /// The value of an operand here; `lazy` if what reads it does so once.
    fn operand(&mut self, arg: Arg, lazy: bool) -> Option<Reg>;

    fn store(&mut self, slot: Slot, value: Reg);

    /// Adds the elements here to what a reduction has so far.
    fn reduce(&mut self, index: usize, reduction: &Reduction, value: Reg) -> Option<()>;

    /// All instructions of a stage and all that it copies. What overwrites parameters or operands comes last.
    fn walk(&mut self, steps: &[usize], copies: &[(Arg, Slot)]) -> Option<()> {
        for &step in steps {
            self.step(step)?;
        }
        for &(value, slot) in copies {
            let value = self.operand(value, false)?;
            self.progress().updates.push((slot, value));
        }
        for (slot, value) in std::mem::take(&mut self.progress().updates) {
            self.store(slot, value);
        }
        Some(())
    }

    /// A map with its stores, or the beginning of a reduction.
    fn step(&mut self, index: usize) -> Option<()> {
        let view = self.view();
        let instruction = &view.kernel.body[index];
        if let Some((reduction, _)) = instruction.reduction() {
            let value = self.operand(instruction.args[0], false)?;
            return self.reduce(index, reduction, value);
        }
        let value = self.compute(index)?;
        for (slot, overwrites) in view.targets(index) {
            match overwrites {
                true => self.progress().updates.push((slot, value)),
                false => self.store(slot, value),
            }
        }
        Some(())
    }

    /// The value of a map. Of a sigmoid and its slope, whichever comes first brings the other one.
    fn compute(&mut self, index: usize) -> Option<Reg> {
        let kernel = self.view().kernel;
        let pair = self.progress().pairs.iter().find(|pair| pair.contains(&index)).copied();
        if let Some(pair) = pair {
            if !self.progress().known.contains_key(&Arg::Value(index)) {
                let x = self.operand(kernel.body[pair[0]].args[0], false)?;
                let values = self.scalar().sigmoid_and_slope(x);
                self.progress().known.extend(pair.map(Arg::Value).into_iter().zip(values));
            }
            return self.progress().known.get(&Arg::Value(index)).copied();
        }
        let instruction = &kernel.body[index];
        let op = &instruction.origin.op;
        let Body::Map(body) = op.def().body else { unreachable!("only maps are computed element by element") };
        let mut operands = Vec::new();
        for &arg in &instruction.args {
            operands.push(self.operand(arg, reads_once(op))?);
        }
        let value = body(self.scalar(), op, &operands);
        self.progress().known.insert(Arg::Value(index), value);
        Some(value)
    }
}

/// Whether the body of an operation reads each operand once, so that a load can fold into it.
fn reads_once(op: &Op) -> bool {
    matches!(op, Op::Add | Op::Sub | Op::Mul | Op::Div | Op::MulAdd)
}

/// The sigmoids among these instructions whose slopes are among them as well, and those. Together they take one exponential; a
/// hyperbolic tangent and its slope would, too, but with another rounding of the slope than alone.
fn pairs(kernel: &Kernel, steps: &[usize]) -> Vec<[usize; 2]> {
    let body = &kernel.body;
    let slopes = steps.iter().filter(|&&step| body[step].origin.op == Op::SigmoidSlope);
    let pair = |&slope: &usize| {
        let same = |step: &&usize| body[**step].origin.op == Op::Sigmoid && body[**step].args == body[slope].args;
        steps.iter().find(same).map(|&step| [step, slope])
    };
    slopes.filter_map(pair).collect()
}
