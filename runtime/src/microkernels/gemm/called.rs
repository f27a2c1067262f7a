//! The products as compiled code calls them: every number and address an argument of its own, in the convention of C.

use super::{Isa, Operand, gemm, gemm_packed, pack_columns};

/// As [`gemm`].
///
/// # Safety
/// That of [`gemm`]: operands, result and workspace are as the plan laid them out, and the instruction set was detected when
/// the program was compiled.
pub unsafe extern "C" fn product(
    isa: Isa,
    rows: usize,
    cols: usize,
    inner: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    b: *const f32,
    b_row: usize,
    b_col: usize,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    let a = Operand { ptr: a, row: a_row, col: a_col };
    let b = Operand { ptr: b, row: b_row, col: b_col };
    // SAFETY: the caller's promise.
    unsafe { gemm(isa, rows, cols, inner, a, b, c, ldc, workspace) }
}

/// As [`pack_columns`], for the columns `from..to`.
///
/// # Safety
/// That of [`pack_columns`]: the plan has room for the packed operand, and tasks pack whole panels.
pub unsafe extern "C" fn pack_right(
    isa: Isa,
    cols: usize,
    inner: usize,
    b: *const f32,
    b_row: usize,
    b_col: usize,
    from: usize,
    to: usize,
    packed: *mut f32,
) {
    let b = Operand { ptr: b, row: b_row, col: b_col };
    // SAFETY: the caller's promise.
    unsafe { pack_columns(isa, cols, inner, from..to, b, packed) }
}

/// As [`gemm_packed`].
///
/// # Safety
/// That of [`gemm_packed`]: as for [`product`], and [`pack_right`] has run for the same extents.
pub unsafe extern "C" fn packed_product(
    isa: Isa,
    rows: usize,
    cols: usize,
    inner: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    packed: *const f32,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    let a = Operand { ptr: a, row: a_row, col: a_col };
    // SAFETY: the caller's promise.
    unsafe { gemm_packed(isa, rows, cols, inner, a, packed, c, ldc, workspace) }
}
