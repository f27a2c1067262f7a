//! Parameters whose axes memory has in another order than users and files.
//!
//! In: a stored shape and the order of its axes for users, as in [`ParamSlot::order`](super::ParamSlot::order). Out: the shape
//! that users see, and which stored element each of theirs is.

/// The extents in the order of users: their axis `i` is axis `order[i]` of the stored shape, or axis `i` if there is no order.
pub fn declared_shape(shape: &[usize], order: &[usize]) -> Vec<usize> {
    if order.is_empty() { shape.to_vec() } else { order.iter().map(|&axis| shape[axis]).collect() }
}

/// For every element, row by row as users have them, its position in memory.
pub fn stored_positions(shape: &[usize], order: &[usize]) -> impl Iterator<Item = usize> {
    let extents = declared_shape(shape, order);
    let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    let steps = declared_shape(&strides, order);
    (0..extents.iter().product()).map(move |mut at| {
        let mut stored = 0;
        for (&extent, &step) in extents.iter().zip(&steps).rev() {
            stored += at % extent * step;
            at /= extent;
        }
        stored
    })
}

#[cfg(test)]
mod tests {
    use super::{declared_shape, stored_positions};

    #[test]
    fn an_order_says_where_each_element_is() {
        // Stored are two rows of three numbers; users see three rows of two.
        assert_eq!(declared_shape(&[2, 3], &[1, 0]), [3, 2]);
        assert_eq!(Vec::from_iter(stored_positions(&[2, 3], &[1, 0])), [0, 3, 1, 4, 2, 5]);
        assert_eq!(Vec::from_iter(stored_positions(&[2, 3], &[])), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Vec::from_iter(stored_positions(&[], &[])), [0]);
    }
}
