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

    /// Element by element; axes with one element, and those that are missing in front, count for every element of the other.
    pub fn with<U: Copy, V: Copy>(&self, other: &Array<U>, mut f: impl FnMut(T, U) -> V) -> Array<V> {
        let shape = together(&self.shape, &other.shape);
        let (x, y) = (self.spread(&shape), other.spread(&shape));
        Array { shape, data: x.data.iter().zip(&y.data).map(|(&x, &y)| f(x, y)).collect() }
    }

    /// The elements at every place of a larger shape.
    pub fn spread(&self, shape: &[usize]) -> Array<T> {
        if shape == self.shape {
            return self.clone();
        }
        let missing = shape.len() - self.shape.len();
        let mut steps = vec![0; missing];
        steps
            .extend(steps_of(&self.shape).into_iter().zip(&self.shape).map(|(step, &n)| if n == 1 { 0 } else { step }));
        let len = shape.iter().product::<usize>();
        Array { shape: shape.to_vec(), data: (0..len).map(|number| self.data[offset(shape, &steps, number)]).collect() }
    }

    /// What stands at every place.
    pub fn of(shape: &[usize], mut f: impl FnMut(&[usize]) -> T) -> Array<T> {
        let len = shape.iter().product::<usize>();
        let data = (0..len).map(|number| f(&place(shape, number))).collect();
        Array { shape: shape.to_vec(), data }
    }

    /// The element at a place.
    pub fn at(&self, place: &[usize]) -> T {
        let number = place.iter().zip(&self.shape).fold(0, |number, (&at, &n)| {
            assert!(at < n, "{place:?} is in {:?}", self.shape);
            number * n + at
        });
        self.data[number]
    }

    /// The elements along these axes, in order, for every place along the others.
    pub fn along(&self, axes: &[usize]) -> Array<usize> {
        let kept: Vec<usize> = (0..self.shape.len()).filter(|axis| !axes.contains(axis)).collect();
        let shape: Vec<usize> = kept.iter().map(|&axis| self.shape[axis]).collect();
        Array { data: (0..shape.iter().product()).collect(), shape }
    }

    /// The elements of the group of this number, of those that [`Array::along`] counts.
    pub fn group(&self, axes: &[usize], group: usize) -> Vec<T> {
        let steps = steps_of(&self.shape);
        let of = |is_own: bool| -> (Vec<usize>, Vec<usize>) {
            let own = (0..self.shape.len()).filter(|axis| axes.contains(axis) == is_own);
            own.map(|axis| (self.shape[axis], steps[axis])).unzip()
        };
        let ((kept, kept_steps), (own, own_steps)) = (of(false), of(true));
        let start = offset(&kept, &kept_steps, group);
        let len = own.iter().product::<usize>();
        (0..len).map(|number| self.data[start + offset(&own, &own_steps, number)]).collect()
    }

    /// With its axes in another order: axis `i` of the result is axis `order[i]`. In no order, as it is.
    pub fn in_order(&self, order: &[usize]) -> Array<T> {
        if order.is_empty() {
            return self.clone();
        }
        let shape: Vec<usize> = order.iter().map(|&axis| self.shape[axis]).collect();
        let own = steps_of(&self.shape);
        let steps: Vec<usize> = order.iter().map(|&axis| own[axis]).collect();
        let data = (0..self.data.len()).map(|number| self.data[offset(&shape, &steps, number)]);
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

/// The shape of two together.
fn together(x: &[usize], y: &[usize]) -> Vec<usize> {
    let rank = x.len().max(y.len());
    let extent = |shape: &[usize], axis: usize| {
        let missing = rank - shape.len();
        if axis < missing { 1 } else { shape[axis - missing] }
    };
    let extents = (0..rank).map(|axis| match (extent(x, axis), extent(y, axis)) {
        (1, n) | (n, 1) => n,
        (n, m) if n == m => n,
        _ => panic!("{x:?} and {y:?} do not fit"),
    });
    extents.collect()
}

/// How many elements lie between neighbours along each axis.
fn steps_of(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

/// Where the element of this number of a shape lies, with these steps along its axes.
fn offset(shape: &[usize], steps: &[usize], number: usize) -> usize {
    let (mut left, mut at) = (number, 0);
    for (&n, &step) in shape.iter().zip(steps).rev() {
        at += left % n * step;
        left /= n;
    }
    at
}

/// The place of this number in row-major order.
fn place(shape: &[usize], number: usize) -> Vec<usize> {
    let mut left = number;
    let mut place: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&n| {
            let at = left % n;
            left /= n;
            at
        })
        .collect();
    place.reverse();
    place
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
