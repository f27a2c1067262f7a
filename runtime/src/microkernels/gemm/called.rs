//! The products as compiled code calls them: every number and address an argument of its own, in the convention of C.

use super::prefetched::Prefetched;
use super::{Isa, Operand, Terms, gemm, gemm_packed, gemm_packed_columns, gemm_prefetching, pack_columns};
use crate::kernel::{Triangle, TrianglePart};
use crate::tiling::{Machine, few_in_place};

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
    piece: usize,
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
    unsafe { gemm(isa, rows, cols, Terms::all(inner, piece), a, b, c, ldc, workspace) }
}

/// As [`product`], of which a part is left out: the first of the rows has so much as `part` and `offset` say. It is added to what is
/// there if `adds` is not 0.
///
/// # Safety
/// That of [`product`].
pub unsafe extern "C" fn product_in_part(
    isa: Isa,
    rows: usize,
    cols: usize,
    inner: usize,
    piece: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    b: *const f32,
    b_row: usize,
    b_col: usize,
    c: *mut f32,
    ldc: usize,
    part: TrianglePart,
    offset: i64,
    adds: usize,
    workspace: *mut f32,
) {
    let a = Operand { ptr: a, row: a_row, col: a_col };
    let b = Operand { ptr: b, row: b_row, col: b_col };
    let terms = Terms { triangle: Some(Triangle { part, offset }), adds: adds != 0, ..Terms::all(inner, piece) };
    // SAFETY: the caller's promise.
    unsafe { gemm(isa, rows, cols, terms, a, b, c, ldc, workspace) }
}

/// As [`pack_columns`], for the columns `from..to`.
///
/// # Safety
/// That of [`pack_columns`]: the plan has room for the packed operand, and tasks pack whole panels.
pub unsafe extern "C" fn pack_right(
    isa: Isa,
    cols: usize,
    inner: usize,
    piece: usize,
    b: *const f32,
    b_row: usize,
    b_col: usize,
    from: usize,
    to: usize,
    packed: *mut f32,
) {
    let b = Operand { ptr: b, row: b_row, col: b_col };
    // SAFETY: the caller's promise.
    unsafe { pack_columns(isa, cols, Terms::all(inner, piece), from..to, b, packed) }
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
    piece: usize,
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
    unsafe { gemm_packed(isa, rows, cols, Terms::all(inner, piece), a, packed, c, ldc, workspace) }
}

/// As [`packed_product`], or as [`product`] if `packed` is null, with tiles that prefetch as many rows of other matrices meanwhile, of
/// which so many addresses stand at `prefetched`.
///
/// # Safety
/// That of these; there are so many addresses, which may be any.
pub unsafe extern "C" fn product_and_prefetch(
    isa: Isa,
    rows: usize,
    cols: usize,
    inner: usize,
    piece: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    b: *const f32,
    b_row: usize,
    b_col: usize,
    packed: *const f32,
    c: *mut f32,
    ldc: usize,
    prefetched: *const *const f32,
    matrices: usize,
    workspace: *mut f32,
) {
    let a = Operand { ptr: a, row: a_row, col: a_col };
    let b = Operand { ptr: b, row: b_row, col: b_col };
    // SAFETY: the caller's promise.
    unsafe {
        let prefetched = Prefetched::of(core::slice::from_raw_parts(prefetched, matrices));
        gemm_prefetching(isa, [rows, cols], Terms::all(inner, piece), a, b, packed, c, ldc, prefetched, workspace)
    }
}

/// The columns `from..from + cols` of a product, of which B and C are given from the first of these on: by [`gemm`], or if `packed` is
/// not null and rows are more than few by [`gemm_packed_columns`], with `packed` that has all columns at offset `at`.
///
/// # Safety
/// That of [`gemm`] for these columns; and that of [`gemm_packed_columns`] for all of them, unless `packed` is null.
pub unsafe extern "C" fn kept_product(
    isa: Isa,
    rows: usize,
    all: usize,
    from: usize,
    cols: usize,
    inner: usize,
    piece: usize,
    a: *const f32,
    a_row: usize,
    a_col: usize,
    b: *const f32,
    b_row: usize,
    b_col: usize,
    packed: *const f32,
    at: usize,
    c: *mut f32,
    ldc: usize,
    workspace: *mut f32,
) {
    let (a, terms) = (Operand { ptr: a, row: a_row, col: a_col }, Terms::all(inner, piece));
    if packed.is_null() || rows <= few_in_place(&Machine::of(isa), [cols, inner], b_col) {
        let b = Operand { ptr: b, row: b_row, col: b_col };
        // SAFETY: the caller's promise.
        return unsafe { gemm(isa, rows, cols, terms, a, b, c, ldc, workspace) };
    }
    let (columns, packed) = (from..from + cols, packed.wrapping_add(at));
    // SAFETY: the caller's promise.
    unsafe { gemm_packed_columns(isa, rows, all, columns, terms, a, packed, c, ldc, workspace) }
}
