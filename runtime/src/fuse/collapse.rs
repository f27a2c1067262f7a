//! Adjacent axes become one wherever all accesses of a kernel allow it: the kernels of a dense network have rows and columns and
//! no other axes.

use crate::kernel::{Affine, AxisSet, Kernel, What};

/// Merges adjacent axes where that moves no element, and drops axes of one element. Rows stay rows.
pub(super) fn collapse(kernel: &mut Kernel) {
    let mut axis = 1;
    while axis < kernel.axes.len() {
        let together = axis != kernel.rows;
        let (outer, inner) = (kernel.axes[axis - 1], kernel.axes[axis]);
        let one = outer.factor() == 1 && !outer.is_batch() || inner.factor() == 1 && !inner.is_batch();
        if together && (one || walked_alike(kernel, axis)) {
            merge(kernel, axis);
        } else {
            axis += 1;
        }
    }
}

/// Whether one step along the outer of two axes is, everywhere, as far as the inner axis is long.
fn walked_alike(kernel: &Kernel, inner: usize) -> bool {
    let extent = kernel.axes[inner].factor() as i64;
    let sets = kernel.body.iter().flat_map(|each| [Some(each.axes), each.reduction().map(|(_, over)| over)]);
    let whole = |set: AxisSet| set.contains(inner) == set.contains(inner - 1);
    !kernel.axes[inner].is_batch()
        && sets.flatten().all(whole)
        && affines(kernel).all(|affine| affine.steps[inner - 1] == affine.steps[inner] * extent)
}

/// Every offset and position of a kernel.
fn affines(kernel: &Kernel) -> impl Iterator<Item = &Affine> {
    let reads = kernel.reads.iter().map(|read| &read.access);
    let accesses = reads.chain(kernel.writes.iter().map(|write| &write.access));
    let placed = accesses
        .flat_map(|access| std::iter::once(&access.at).chain(access.bounds.iter().map(|bound| &bound.coordinate)));
    // Runs are over axes of their own.
    let dot = kernel.dot.iter().filter(|dot| !dot.in_runs).flat_map(|dot| [&dot.a_at, &dot.b_at]);
    placed.chain(&kernel.indices).chain(dot)
}

/// Of two coordinates of which each moves along one of the two axes, one is left: that along the axis that they become.
fn merge_coordinates(coordinates: &mut Vec<Affine>, inner: usize, [outer_extent, extent]: [Option<i64>; 2]) {
    let moving = |axis: usize| {
        let mut those = (0..coordinates.len()).filter(|&at| coordinates[at].steps[axis] != 0);
        those.next().filter(|_| those.next().is_none())
    };
    let (Some(slow), Some(fast)) = (moving(inner - 1), moving(inner)) else { return };
    let is_position = |at: usize, axis: usize| coordinates[at] == Affine::axis(axis, coordinates[at].steps.len());
    let step = coordinates[slow].steps[inner - 1];
    match extent {
        _ if slow == fast => {}
        // The only position along an axis of one element says nothing.
        Some(1) if is_position(fast, inner) => _ = coordinates.remove(fast),
        _ if outer_extent == Some(1) && is_position(slow, inner - 1) => _ = coordinates.remove(slow),
        Some(1) | None => {}
        _ if outer_extent == Some(1) => {}
        // A step of the slow one is as far as all of the fast ones.
        Some(extent) => {
            let whole = coordinates[fast].steps[inner] * extent;
            if whole % step == 0 {
                let before = coordinates[slow].clone();
                coordinates[fast].add(&before, whole / step);
                coordinates.remove(slow);
            }
        }
    }
}

/// Merges `inner` with the axis before it. The steps are those of the inner axis, unless that has a single element.
fn merge(kernel: &mut Kernel, inner: usize) {
    let kept = if kernel.axes[inner].factor() == 1 && !kernel.axes[inner].is_batch() { inner - 1 } else { inner };
    let dims = &kernel.axes[inner - 1..=inner];
    let extents = [dims[0], dims[1]].map(|dim| (!dim.is_batch()).then(|| dim.factor() as i64));
    let merged = crate::types::Dim::product(dims).expect("the extents were one before they were cut");
    kernel.axes.splice(inner - 1..=inner, [merged]);
    if inner < kernel.rows {
        kernel.rows -= 1;
    }
    let affine = |affine: &mut Affine| {
        let step = affine.steps[kept];
        affine.steps.splice(inner - 1..=inner, [step]);
    };
    let set = |set: AxisSet| set.merged(inner);
    for each in &mut kernel.body {
        each.axes = set(each.axes);
        if let What::Reduce { over, .. } = &mut each.what {
            *over = set(*over);
        }
    }
    let reads = kernel.reads.iter_mut().map(|read| {
        merge_coordinates(&mut read.coordinates, inner, extents);
        read.coordinates.iter_mut().for_each(affine);
        &mut read.access
    });
    let writes = kernel.writes.iter_mut().map(|write| {
        merge_coordinates(&mut write.coordinates, inner, extents);
        write.coordinates.iter_mut().for_each(affine);
        &mut write.access
    });
    for access in reads.chain(writes) {
        affine(&mut access.at);
        access.bounds.iter_mut().for_each(|bound| affine(&mut bound.coordinate));
    }
    kernel.indices.iter_mut().for_each(affine);
    if let Some(dot) = kernel.dot.as_mut().filter(|dot| !dot.in_runs) {
        dot.axes.clone_from(&kernel.axes);
        affine(&mut dot.a_at);
        affine(&mut dot.b_at);
    }
}
