//! Random values for every slot of a graph: the same for the same seed.

use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Data, Tensor, Values};
use gradloom_runtime::ir::{Graph, InputSlot, ParamSlot, SlotKind};
use gradloom_runtime::types::DType;

/// The number of classes where no loss limits it.
const CLASSES: usize = 4;

/// Standard normal inputs and parameters, positive running statistics, class ids in range, scalars of 1.
pub fn values(graph: &Graph, batch: usize, seed: u64) -> Values {
    let mut random = Random::new(seed, 0);
    Values {
        inputs: graph.slots.inputs.iter().map(|slot| input(slot, batch, &mut random)).collect(),
        params: graph.slots.params.iter().map(|slot| param(slot, &mut random)).collect(),
        scalars: vec![1.0; graph.slots.scalars.len()],
    }
}

fn input(slot: &InputSlot, batch: usize, random: &mut Random) -> Tensor {
    let shape = slot.ty.shape.at(batch);
    match slot.ty.dtype {
        DType::F32 => normal(&shape, random),
        _ => {
            let classes = slot.classes.unwrap_or(CLASSES) as u64;
            let ids: Vec<u32> = (0..shape.iter().product()).map(|_| random.below(classes) as u32).collect();
            Tensor::indices(&shape, ids)
        }
    }
}

fn param(slot: &ParamSlot, random: &mut Random) -> Tensor {
    match slot.kind {
        SlotKind::Running => {
            let len = slot.shape.iter().product();
            Tensor::floats(&slot.shape, (0..len).map(|_| 0.5 + random.uniform()).collect::<Vec<f64>>())
        }
        SlotKind::Fixed => table(slot),
        _ => normal(&slot.shape, random),
    }
}

/// A table of the declaration: it is what it says.
pub fn table(slot: &ParamSlot) -> Tensor {
    let mut numbers = vec![0.0f32; slot.shape.iter().product()];
    slot.init.fill(&mut numbers, 0, 0);
    Tensor::floats(&slot.shape, numbers.into_iter().map(f64::from).collect::<Vec<f64>>())
}

/// Standard normal numbers, but none within 0.05 of zero: most kinks are there.
pub fn normal(shape: &[usize], random: &mut Random) -> Tensor {
    let away_from_zero = |x: f64| x + 0.05_f64.copysign(x);
    let len = shape.iter().product();
    Tensor::floats(shape, (0..len).map(|_| away_from_zero(random.normal())).collect::<Vec<f64>>())
}

/// The same values, each the nearest f32: what compiled code gets to see.
pub fn singles(values: &Values) -> Values {
    let single = |tensor: &Tensor| match &tensor.data {
        Data::Float(floats) => {
            Tensor::floats(&tensor.shape, floats.iter().map(|&x| f64::from(x as f32)).collect::<Vec<f64>>())
        }
        _ => tensor.clone(),
    };
    Values {
        inputs: values.inputs.iter().map(single).collect(),
        params: values.params.iter().map(single).collect(),
        // These are f32 already, or integers, which a rounding would change.
        scalars: values.scalars.clone(),
    }
}
