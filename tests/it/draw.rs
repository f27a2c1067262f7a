//! Random values for every slot of a graph: the same for the same seed.

use gradloom_runtime::init::Random;
use gradloom_runtime::interp::{Data, Tensor, Values};
use gradloom_runtime::ir::{Graph, InputSlot, ParamSlot, SlotKind};
use gradloom_runtime::types::DType;

/// The number of classes where no loss limits it.
const CLASSES: usize = 4;
/// How many values a byte of an image has.
pub const BYTES: usize = 256;

/// Standard normal inputs and parameters, positive running statistics, class ids in range, scalars of 1.
pub fn values(graph: &Graph, batch: usize, seed: u64) -> Values {
    let mut random = Random::new(seed, 0);
    Values {
        inputs: graph.slots.inputs.iter().map(|slot| input(slot, batch, &mut random)).collect(),
        params: graph.slots.params.iter().map(|slot| param(slot, &mut random)).collect(),
        scalars: vec![1.0; graph.slots.scalars.len()],
    }
}

/// What a target consists of. A port of f32 that is called so is drawn so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Class ids.
    Classes,
    /// Any numbers.
    Values,
    /// -1 and 1.
    Signs,
    /// 0 and 1.
    Labels,
    /// Numbers between 0 and 1.
    Probabilities,
    /// Rows that sum to 1, with classes that never occur.
    Distribution,
}

impl Target {
    /// Of its port.
    pub fn name(self) -> &'static str {
        match self {
            Target::Classes => "classes",
            Target::Values => "values",
            Target::Signs => "signs",
            Target::Labels => "labels",
            Target::Probabilities => "probabilities",
            Target::Distribution => "distribution",
        }
    }
}

/// Floats for an input: those that its name asks for, or what `other` draws.
pub fn floats(slot: &InputSlot, shape: &[usize], random: &mut Random, other: fn(&mut Random) -> f64) -> Tensor {
    let is = |target: Target| slot.name == target.name();
    let coin = |random: &mut Random| random.below(2) as f64;
    let mut numbers: Vec<f64> = (0..shape.iter().product())
        .map(|_| match () {
            () if is(Target::Signs) => 2.0 * coin(random) - 1.0,
            () if is(Target::Labels) => coin(random),
            () if is(Target::Probabilities) => random.uniform(),
            () if is(Target::Distribution) => random.uniform() * f64::from(u8::from(random.below(4) > 0)),
            () => other(random),
        })
        .collect();
    if is(Target::Distribution) {
        for row in numbers.chunks_mut(shape[shape.len() - 1]) {
            // Where no class would occur, the first does.
            row[0] = f64::max(row[0], 0.1);
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|share| *share /= sum);
        }
    }
    Tensor::floats(shape, numbers)
}

fn input(slot: &InputSlot, batch: usize, random: &mut Random) -> Tensor {
    let shape = slot.ty.shape.at(batch);
    match slot.ty.dtype {
        DType::F32 => floats(slot, &shape, random, away_from_zero),
        _ => {
            let is_image = slot.ty.dtype == DType::U8 && !slot.target;
            let classes = slot.classes.unwrap_or(if is_image { BYTES } else { CLASSES }) as u64;
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
    let len = shape.iter().product();
    Tensor::floats(shape, (0..len).map(|_| away_from_zero(random)).collect::<Vec<f64>>())
}

fn away_from_zero(random: &mut Random) -> f64 {
    let x = random.normal();
    x + 0.05_f64.copysign(x)
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
