//! Parameters of layers and functions: declared where they come first, found again where a layer is used once more.

use super::Lowering;
use crate::elaborate::Step;
use crate::init::Init;
use crate::ir::{ParamSlot, SlotKind};
use crate::layers::{Arg, Gain, LayerDef, ParamDef};
use crate::network::Act;

impl Lowering<'_> {
    /// Declares the parameters of a layer, unless it was there before.
    pub(super) fn slots_of_layer(&mut self, step: &Step<'static>, layer: &'static LayerDef, args: &[Arg], next: Gain) {
        if !step.again {
            let params = layer.own_params(&self.shapes[step.operands[0]], args, next);
            params.into_iter().for_each(|param| _ = self.slot(&step.owner, param));
        }
    }

    /// The trainable numbers of a function, declared unless it was there before.
    pub(super) fn slots_of_act(
        &mut self,
        step: &Step<'static>,
        act: &'static Act<'static>,
        starts: &[f64],
    ) -> Vec<usize> {
        let numbers = act.extras.iter().zip(starts).map(|(&(name, _), &start)| self.slot_of_number(step, name, start));
        numbers.collect()
    }

    /// A trainable number, declared unless it was there before.
    pub(super) fn slot_of_number(&mut self, step: &Step<'static>, name: &'static str, start: f64) -> usize {
        match step.again {
            true => self.known_slot(&format!("{}.{name}", step.owner)),
            false => {
                let init = Init::Constant(start as f32);
                self.slot(&step.owner, ParamDef::new(name, Vec::new(), init, SlotKind::Parameter))
            }
        }
    }

    /// The index of a parameter that was declared before.
    fn known_slot(&self, path: &str) -> usize {
        let params = &self.b.graph().slots.params;
        params.iter().rposition(|slot| slot.name == path).expect("a layer that is used again has its parameters")
    }

    fn slot(&mut self, path: &str, param: ParamDef) -> usize {
        let ParamDef { name, shape, order, init, kind } = param;
        let params = &mut self.b.graph_mut().slots.params;
        params.push(ParamSlot { name: format!("{path}.{name}"), shape, order, init, kind });
        params.len() - 1
    }
}
