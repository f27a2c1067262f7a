//! Values: extents and elements in row-major order.

/// A tensor of the declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// The extents, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<T>,
}

/// A tensor of any type of the language.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Floats(Array<f64>),
    Ids(Array<u32>),
    Truths(Array<bool>),
}

impl<T: Copy> Array<T> {
    pub fn new(shape: &[usize], data: Vec<T>) -> Array<T> {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "{shape:?} says how many elements there are");
        Array { shape: shape.to_vec(), data }
    }

    /// A single value.
    pub fn single(value: T) -> Array<T> {
        Array { shape: Vec::new(), data: vec![value] }
    }

    pub fn map<U: Copy>(&self, mut f: impl FnMut(T) -> U) -> Array<U> {
        Array { shape: self.shape.clone(), data: self.data.iter().map(|&x| f(x)).collect() }
    }

    /// Element by element, where either may be a single value.
    pub fn with<U: Copy, V: Copy>(&self, other: &Array<U>, mut f: impl FnMut(T, U) -> V) -> Array<V> {
        let shape = if self.shape.is_empty() { &other.shape } else { &self.shape };
        let (x, y) = (self.spread(shape), other.spread(shape));
        Array { shape: shape.clone(), data: x.data.iter().zip(&y.data).map(|(&x, &y)| f(x, y)).collect() }
    }

    /// A single value repeated; anything else as it is.
    pub fn spread(&self, shape: &[usize]) -> Array<T> {
        if self.shape == shape {
            return self.clone();
        }
        assert!(self.shape.is_empty(), "{:?} does not spread to {shape:?}", self.shape);
        Array { shape: shape.to_vec(), data: vec![self.data[0]; shape.iter().product()] }
    }

    /// With its axes in another order: axis `i` of the result is axis `order[i]`. In no order, as it is.
    pub fn in_order(&self, order: &[usize]) -> Array<T> {
        if order.is_empty() {
            return self.clone();
        }
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        let data = (0..self.data.len()).map(|mut at| {
            let mut place = vec![0; order.len()];
            for (axis, extent) in shape.iter().enumerate().rev() {
                place[order[axis]] = at % extent;
                at /= extent;
            }
            let from = place.iter().zip(&self.shape).fold(0, |from, (place, extent)| from * extent + place);
            self.data[from]
        });
        Array::new(&shape, data.collect())
    }

    /// The rows along the last axis.
    pub fn rows(&self) -> impl Iterator<Item = &[T]> {
        self.data.chunks(*self.shape.last().expect("rows have an axis"))
    }

    /// Its columns, each an element of what the first axis counts.
    pub fn columns(&self) -> impl Iterator<Item = Vec<T>> {
        let width = self.shape[1..].iter().product::<usize>();
        (0..width).map(move |column| self.data.iter().skip(column).step_by(width).copied().collect())
    }
}

impl Value {
    /// A single number.
    pub fn number(value: f64) -> Value {
        Value::Floats(Array::single(value))
    }

    pub fn floats(&self) -> &Array<f64> {
        match self {
            Value::Floats(floats) => floats,
            other => panic!("wanted numbers, found {other:?}"),
        }
    }

    pub fn ids(&self) -> &Array<u32> {
        match self {
            Value::Ids(ids) => ids,
            other => panic!("wanted class ids, found {other:?}"),
        }
    }
}
