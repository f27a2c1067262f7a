//! Class ids as numbers to calculate with.

use super::FunctionDef;
use crate::layers::{ArgDef, ArgKind, int};
use crate::types::{Dim, TensorType};

/// For each class id a row of zeros, with a one in the place of the class.
///
/// - Value: `y[.., k] = 1` where `k` is the id, else 0; ids of an input are checked to be below `classes`
/// - Shapes: `u8[B] -> f32[B, classes]`, `u8[B, S] -> f32[B, S, classes]`, class ids of any integer type
/// - Argument `classes`: how many classes there are; an integer of at least 1
/// - Gradient: none
pub const ONE_HOT: FunctionDef = FunctionDef {
    name: "one_hot",
    item: "ONE_HOT",
    operands: &["ids"],
    over_weights: false,
    elementwise: false,
    args: &[ArgDef { name: "classes", kind: ArgKind::Size, default: None, doc: "how many classes there are" }],
    ty: |x, args| {
        if !x[0].dtype.is_index() {
            return Err(format!("needs class ids (u8, u16 or u32), found {}", x[0].dtype));
        }
        let mut shape = x[0].shape.clone();
        shape.0.push(Dim::Fixed(int(args, 0)));
        Ok(TensorType::f32(shape))
    },
    lower: |b, args, x| {
        let mut shape = b.shape(x[0]);
        let last = shape.rank();
        shape.0.push(Dim::Fixed(int(args, 0)));
        b.limit_ids(x[0], int(args, 0));
        let position = b.iota(last, &shape);
        let id = b.broadcast_over(x[0], &shape, &[last]);
        let is_class = b.index_eq(position, id);
        let one = b.constant(1.0, &shape);
        b.mask(is_class, one)
    },
};
