//! Which axes are meant, and what becomes of a shape along them.
//!
//! In: axes as a declaration writes them, counted from the end where they are negative. Out: axes counted from 0, or what is
//! wrong with them, as the rest of a sentence about the function that was given them.

use crate::types::{Dim, Shape};

/// The axis of this number.
pub fn axis_of(shape: &Shape, axis: i64) -> Result<usize, String> {
    let rank = shape.rank() as i64;
    let found = if axis < 0 { axis + rank } else { axis };
    if (0..rank).contains(&found) {
        return Ok(found as usize);
    }
    Err(match rank {
        0 => format!("finds no axis {axis} in a single value"),
        1 => format!("finds no axis {axis} in {}, whose one axis is 0, or -1", shape.declared()),
        _ => {
            format!("finds no axis {axis} in {}, whose axes are 0 to {}, or -{rank} to -1", shape.declared(), rank - 1)
        }
    })
}

/// The axes of these numbers in order, all of them where none is given.
pub fn axes_of(shape: &Shape, axes: &[i64]) -> Result<Vec<usize>, String> {
    if axes.is_empty() {
        return Ok((0..shape.rank()).collect());
    }
    let mut found = axes.iter().map(|&axis| axis_of(shape, axis)).collect::<Result<Vec<usize>, String>>()?;
    found.sort_unstable();
    match found.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("is given the axis {} of {} twice", pair[0], shape.declared())),
        None => Ok(found),
    }
}

/// What a reduction over these axes leaves: nothing of them, or one element along each.
pub fn reduced(shape: &Shape, axes: &[usize], keep: bool) -> Shape {
    if !keep {
        return shape.without(axes);
    }
    let dims = shape.0.iter().enumerate();
    Shape(dims.map(|(axis, &dim)| if axes.contains(&axis) { Dim::Fixed(1) } else { dim }).collect())
}

/// The axis along which tensors of these shapes stand one after the other, and the shape of all.
pub fn concatenated(shapes: &[Shape], axis: i64) -> Result<(usize, Shape), String> {
    let (first, others) = shapes.split_first().ok_or("joins nothing")?;
    let axis = axis_of(first, axis)?;
    if first.0[axis].is_batch() {
        return Err("joins values along any axis but that of the batch".to_string());
    }
    let mut whole = first.clone();
    for other in others {
        let alike = other.rank() == first.rank()
            && (0..first.rank()).all(|at| at == axis || first.0[at] == other.0[at])
            && !other.0[axis].is_batch();
        if !alike {
            let (first, other) = (first.declared(), other.declared());
            return Err(format!("joins values that agree in all axes but {axis}, found {first} and {other}"));
        }
        let len = whole.0[axis].factor().saturating_add(other.0[axis].factor());
        whole.0[axis] = Dim::Fixed(len);
    }
    Ok((axis, whole))
}
