//! Element types, extents and shapes: what is known of a tensor before it has values.
//!
//! The batch `B` is the one extent that is not known until run time. It is axis 0 of what goes in and out; inside a graph one
//! axis of a shape at most grows with it, wherever that stands. An extent is either a constant or a constant times `B`. Memory
//! has the batch outermost, so that every stride is static and one compiled program serves all batch sizes.

use std::fmt;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE-754 binary32.
    F32,
    /// A class id of 8 bits; in compiled code, 32 bits wide like every index.
    U8,
    /// A class id or token of 16 bits.
    U16,
    /// A class id, token or the result of `argmax`.
    U32,
    /// The result of a comparison. Never stored: whoever needs it computes it.
    Bool,
}

impl DType {
    /// Whether values are class ids or positions rather than numbers to calculate with.
    pub fn is_index(self) -> bool {
        matches!(self, DType::U8 | DType::U16 | DType::U32)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::Bool => "bool",
        })
    }
}

/// One extent of a shape: a constant, or a constant times the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known when the network is declared.
    Fixed(usize),
    /// This many times the batch size.
    Batch(usize),
}

impl Dim {
    /// The batch itself.
    pub const B: Dim = Dim::Batch(1);

    /// The extent for a given batch size.
    pub fn at(self, batch: usize) -> usize {
        match self {
            Dim::Fixed(n) => n,
            Dim::Batch(n) => n.saturating_mul(batch),
        }
    }

    /// All of these extents multiplied, or `None` where that does not fit.
    pub fn product(dims: &[Dim]) -> Option<Dim> {
        let mut batch = false;
        let mut factor = 1usize;
        for dim in dims {
            factor = factor.checked_mul(dim.factor())?;
            batch |= dim.is_batch();
        }
        Some(if batch { Dim::Batch(factor) } else { Dim::Fixed(factor) })
    }

    /// The constant factor.
    pub fn factor(self) -> usize {
        match self {
            Dim::Fixed(n) | Dim::Batch(n) => n,
        }
    }

    /// Whether the extent grows with the batch.
    pub fn is_batch(self) -> bool {
        matches!(self, Dim::Batch(_))
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Batch(1) => f.write_str("B"),
            Dim::Batch(n) => write!(f, "{n}*B"),
        }
    }
}

/// The extents of a tensor, outermost first; none for a scalar.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// The shape of a single value.
    pub fn scalar() -> Shape {
        Shape(Vec::new())
    }

    /// A shape of constants.
    pub fn fixed(dims: &[usize]) -> Shape {
        Shape(dims.iter().map(|&n| Dim::Fixed(n)).collect())
    }

    /// So many of a tensor of this shape, one after the other.
    pub fn stacked(&self, count: usize) -> Shape {
        Shape([&[Dim::Fixed(count)], &self.0[..]].concat())
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements, or `None` where it does not fit: a declared size can be absurd.
    pub fn len(&self) -> Option<Dim> {
        Dim::product(&self.0)
    }

    /// Number of elements for a given batch size.
    pub fn len_at(&self, batch: usize) -> usize {
        self.0.iter().map(|dim| dim.at(batch)).product()
    }

    /// The extents for a given batch size.
    pub fn at(&self, batch: usize) -> Vec<usize> {
        self.0.iter().map(|dim| dim.at(batch)).collect()
    }

    /// Without the given axes.
    pub fn without(&self, axes: &[usize]) -> Shape {
        let kept = self.0.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
        Shape(kept.map(|(_, &dim)| dim).collect())
    }

    /// The shape of an element-wise operation on tensors of these shapes. Axes are aligned at the last one; where extents
    /// differ, those that are 1 stretch, and so do axes that are missing. `None` where they don't fit, or where the batch would
    /// not be the first axis.
    pub fn broadcast<'s>(shapes: impl IntoIterator<Item = &'s Shape>) -> Option<Shape> {
        let mut result = Shape::scalar();
        for shape in shapes {
            while result.rank() < shape.rank() {
                result.0.insert(0, Dim::Fixed(1));
            }
            let first = result.rank() - shape.rank();
            for (own, &dim) in result.0[first..].iter_mut().zip(&shape.0) {
                match (*own, dim) {
                    (x, y) if x == y => {}
                    (Dim::Fixed(1), _) => *own = dim,
                    (_, Dim::Fixed(1)) => {}
                    _ => return None,
                }
            }
        }
        let is_late = result.0.iter().skip(1).any(|dim| dim.is_batch());
        (!is_late).then_some(result)
    }

    /// What an element-wise operation on two shapes needs that don't fit, and what was found, in words.
    pub fn misfit(&self, other: &Shape) -> String {
        let is_reduced = |long: &Shape, short: &Shape| {
            long.rank() == short.rank() + 1 && short.rank() > 0 && long.0.starts_with(&short.0)
        };
        let hint = match is_reduced(self, other) || is_reduced(other, self) {
            true => "; with `keep = true` a reduction leaves its axis, with one element",
            false => "",
        };
        let (x, y) = (self.declared(), other.declared());
        format!("operands of one shape, but for sizes of 1, found {x} and {y}{hint}")
    }

    /// As a declaration writes it: `[B, 16, 5, 5]`.
    pub fn declared(&self) -> String {
        let dims: Vec<String> = self.0.iter().map(Dim::to_string).collect();
        format!("[{}]", dims.join(", "))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.0.iter().map(Dim::to_string).collect();
        write!(f, "[{}]", dims.join(","))
    }
}

/// Element type and shape: `f32[B,256]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// What an element is.
    pub dtype: DType,
    /// How many there are.
    pub shape: Shape,
}

impl TensorType {
    /// A tensor of f32.
    pub fn f32(shape: Shape) -> TensorType {
        TensorType { dtype: DType::F32, shape }
    }

    /// A single f32.
    pub fn scalar() -> TensorType {
        TensorType::f32(Shape::scalar())
    }

    /// The same shape with another element type.
    pub fn with(&self, dtype: DType) -> TensorType {
        TensorType { dtype, shape: self.shape.clone() }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// The largest number that divides both.
pub fn common_divisor(x: usize, y: usize) -> usize {
    if y == 0 { x } else { common_divisor(y, x % y) }
}
