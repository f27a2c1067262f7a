//! The gradients of a session, checked on the user's own data.

use super::any::AnySession;
use super::programs::Kind;
use super::{Error, Gradients, Network, Session, feed};
use crate::gradcheck::{Gradcheck, check};
use crate::init::{Init, Random};
use crate::ir::SlotKind;
use crate::optim::Sgd;
use crate::tensor::Tensor;

/// How far what starts as a constant is moved before a check, in standard deviations.
const SPREAD: f64 = 0.1;

/// Checks the gradients of a network at parameters as training starts with, from seed 0; but what starts as a constant (a
/// bias, a scale, a trained number of a function) is moved a little, since a zero would hide what is multiplied by it.
pub fn gradcheck<'a, N: Network>(inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Gradcheck, Error> {
    let tensors = feed::gather::<N>(inputs, Some(targets));
    let rows = tensors.first().and_then(|tensor| tensor.shape().first().copied()).unwrap_or(0);
    let mut session = AnySession::new(N::declared(), Sgd::new(0.0).into(), rows.max(1), 0, 1)?;
    session.spread();
    session.check_gradients(&tensors)
}

impl<N: Network> Session<N> {
    /// Checks the gradients on a batch, at the parameters of this moment: the symbolic ones against the slopes of the loss,
    /// both in f64, and the compiled ones against the symbolic ones. For a table of both print the result; its documentation
    /// says what is measured. Nothing is updated. A handful of rows is enough, and quick: the network is interpreted several
    /// times for every number that is moved.
    ///
    /// # Errors
    /// As for [`Session::gradients`].
    pub fn gradcheck<'a>(&mut self, inputs: N::Inputs<'a>, targets: N::Targets<'a>) -> Result<Gradcheck, Error> {
        self.any.check_gradients(&feed::gather::<N>(inputs, Some(targets)))
    }
}

impl AnySession {
    fn check_gradients(&mut self, tensors: &[Tensor<'_>]) -> Result<Gradcheck, Error> {
        let loss = self.gradients(tensors)?.loss;
        // Every input has as many.
        let rows = tensors[0].shape()[0];
        let compilation = self.compilation(Kind::Gradients);
        let (graph, joint) = (compilation.forward()?, compilation.graph()?);
        let wanted = self.config.trained(graph)?;
        let program = &self.programs[Kind::Gradients];
        let values = self.values(graph, &program.params, &self.scalars, tensors);
        let gradients = Gradients { loss, program, arena: self.arena.floats(), params: self.params.floats() };
        let compiled = wanted.iter().map(|&param| {
            let gradient = gradients.stored(param).expect("every trained parameter has a gradient");
            gradient.iter().map(|&x| f64::from(x)).collect()
        });
        let compiled: Vec<Vec<f64>> = compiled.collect();
        Ok(check([graph, joint], rows, &values, &wanted, &compiled))
    }

    /// Moves what is trained and starts as a constant.
    fn spread(&mut self) {
        for (index, (slot, &at)) in
            self.programs[Kind::Train].slots.params.iter().zip(&self.programs[Kind::Train].params).enumerate()
        {
            let trained = matches!(slot.kind, SlotKind::Weight | SlotKind::Parameter);
            if trained && matches!(slot.init, Init::Constant(_) | Init::Part { .. }) {
                let mut random = Random::new(1, index as u64);
                let len = slot.shape.iter().product::<usize>();
                let floats = &mut self.params.floats_mut()[at..at + len];
                floats.iter_mut().for_each(|float| *float += (SPREAD * random.normal()) as f32);
            }
        }
    }
}
