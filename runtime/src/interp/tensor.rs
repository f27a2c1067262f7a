//! What the interpreter takes and gives: tensors of numbers, positions or truth values.

use super::Precision;
use crate::types::DType;

/// A value: extents and elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements, as many as the product of the extents.
    pub data: Data,
}

/// The elements of a tensor, by what they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// Numbers. In f32 precision each is an f32.
    Float(Vec<f64>),
    /// Class ids and positions, of any integer type.
    Index(Vec<u32>),
    /// Truth values.
    Mask(Vec<bool>),
}

impl Tensor {
    /// A tensor of numbers.
    pub fn floats(shape: &[usize], values: impl Into<Vec<f64>>) -> Tensor {
        Tensor::new(shape, Data::Float(values.into()))
    }

    /// A tensor of class ids.
    pub fn indices(shape: &[usize], values: impl Into<Vec<u32>>) -> Tensor {
        Tensor::new(shape, Data::Index(values.into()))
    }

    pub(super) fn new(shape: &[usize], data: Data) -> Tensor {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "a tensor {shape:?} has as many elements as it says");
        Tensor { shape: shape.to_vec(), data }
    }

    /// The numbers. Panics if these are indices or truth values.
    pub fn as_floats(&self) -> &[f64] {
        match &self.data {
            Data::Float(values) => values,
            other => panic!("asked for numbers, found {other:?}"),
        }
    }

    /// The class ids or positions. Panics if these are numbers or truth values.
    pub fn as_indices(&self) -> &[u32] {
        match &self.data {
            Data::Index(values) => values,
            other => panic!("asked for indices, found {other:?}"),
        }
    }

    /// The truth values. Panics if these are numbers or indices.
    pub fn as_masks(&self) -> &[bool] {
        match &self.data {
            Data::Mask(values) => values,
            other => panic!("asked for truth values, found {other:?}"),
        }
    }

    /// The only number. Panics if there are several.
    pub fn number(&self) -> f64 {
        match *self.as_floats() {
            [value] => value,
            _ => panic!("asked for one number, found {:?}", self.shape),
        }
    }

    /// The elements at a position along the first axis.
    pub(super) fn row(&self, position: usize) -> Data {
        let len: usize = self.shape[1..].iter().product();
        let own = position * len..(position + 1) * len;
        match &self.data {
            Data::Float(values) => Data::Float(values[own].to_vec()),
            Data::Index(values) => Data::Index(values[own].to_vec()),
            Data::Mask(values) => Data::Mask(values[own].to_vec()),
        }
    }

    pub(super) fn rounded(&self, precision: Precision) -> Tensor {
        match &self.data {
            Data::Float(values) => {
                let values: Vec<f64> = values.iter().map(|&x| precision.round(x)).collect();
                Tensor::floats(&self.shape, values)
            }
            Data::Index(_) | Data::Mask(_) => self.clone(),
        }
    }
}

impl Data {
    pub(super) fn empty(dtype: DType) -> Data {
        match dtype {
            DType::F32 => Data::Float(Vec::new()),
            DType::U8 | DType::U16 | DType::U32 => Data::Index(Vec::new()),
            DType::Bool => Data::Mask(Vec::new()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Data::Float(values) => values.len(),
            Data::Index(values) => values.len(),
            Data::Mask(values) => values.len(),
        }
    }

    /// Adds those elements after these.
    pub(super) fn append(&mut self, other: Data) {
        match (self, other) {
            (Data::Float(values), Data::Float(more)) => values.extend(more),
            (Data::Index(values), Data::Index(more)) => values.extend(more),
            (Data::Mask(values), Data::Mask(more)) => values.extend(more),
            (values, more) => unreachable!("{values:?} and {more:?} are no tensor"),
        }
    }

    /// The elements of several tensors from these places, each an operand and a position, or else the fill.
    pub(super) fn moved(x: &[&Tensor], from: impl Iterator<Item = Option<(usize, usize)>>, fill: f64) -> Data {
        match x[0].data {
            Data::Float(_) => Data::Float(taken(x, Tensor::as_floats, from, fill)),
            Data::Index(_) => Data::Index(taken(x, Tensor::as_indices, from, fill as u32)),
            Data::Mask(_) => Data::Mask(taken(x, Tensor::as_masks, from, fill != 0.0)),
        }
    }
}

fn taken<T: Copy>(
    x: &[&Tensor],
    elements: fn(&Tensor) -> &[T],
    from: impl Iterator<Item = Option<(usize, usize)>>,
    fill: T,
) -> Vec<T> {
    let x: Vec<&[T]> = x.iter().map(|&x| elements(x)).collect();
    from.map(|from| from.map_or(fill, |(operand, at)| x[operand][at])).collect()
}

/// A value for every slot of a graph, in the order of its slots. Floats are rounded to the precision of the evaluation.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// Inputs, then targets.
    pub inputs: Vec<Tensor>,
    /// Parameters, running statistics, optimizer state.
    pub params: Vec<Tensor>,
    /// Run-time scalars, integers among them.
    pub scalars: Vec<f64>,
}
