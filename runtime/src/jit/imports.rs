//! What compiled code calls: the microkernels, in the calling convention of C.
//!
//! Extents, strides and addresses come as 64-bit integers, as code generation wrote them; nothing is checked here.

use crate::codegen::Import;
use crate::microkernels::{fetch, finish, gemm, strips};

/// The address of a function that compiled code calls, for an instruction set that the machine has and so many threads.
pub(super) fn address(import: Import, isa: gemm::Isa, threads: usize) -> *const u8 {
    match import {
        Import::Product => product as *const u8,
        Import::PackRight => pack_right as *const u8,
        Import::PackedProduct => packed_product as *const u8,
        Import::SumColumns => sum_columns as *const u8,
        Import::SumEverything => sum_everything as *const u8,
        Import::MaxColumns => max_columns as *const u8,
        Import::MaxEverything => max_everything as *const u8,
        Import::MergeMoments => merge_moments as *const u8,
        Import::Tick => super::ticks::tick as *const u8,
        Import::Strip(function) => strips::strip(isa, function) as *const u8,
        Import::Fetch => fetch as *const u8,
        // One thread is mostly alone with what it writes, and then to ask for reading is 1 % faster.
        Import::FetchToWrite if threads == 1 => fetch as *const u8,
        Import::FetchToWrite => fetch_to_write as *const u8,
    }
}

/// The instruction set of this number, as code generation wrote it.
fn isa(number: usize) -> gemm::Isa {
    match number {
        0 => gemm::Isa::Avx512,
        1 => gemm::Isa::Avx2,
        2 => gemm::Isa::Neon,
        _ => gemm::Isa::Portable,
    }
}

extern "C" fn product(
    number: usize,
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
    let a = gemm::Operand { ptr: a, row: a_row, col: a_col };
    let b = gemm::Operand { ptr: b, row: b_row, col: b_col };
    // SAFETY: code generation passes operands, result and workspace as the plan laid them out, and an instruction set
    // that was detected when the program was compiled.
    unsafe { gemm::gemm(isa(number), rows, cols, gemm::Terms { count: inner, piece }, a, b, c, ldc, workspace) }
}

extern "C" fn pack_right(
    number: usize,
    cols: usize,
    inner: usize,
    piece: usize,
    b: *const f32,
    row: usize,
    col: usize,
    from: usize,
    to: usize,
    packed: *mut f32,
) {
    // SAFETY: as for `product`; the plan has room for the packed operand, and tasks pack whole panels.
    unsafe {
        let terms = gemm::Terms { count: inner, piece };
        gemm::pack_columns(isa(number), cols, terms, from..to, gemm::Operand { ptr: b, row, col }, packed)
    }
}

extern "C" fn packed_product(
    number: usize,
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
    let a = gemm::Operand { ptr: a, row: a_row, col: a_col };
    // SAFETY: as for `product`; `pack_right` has run for the same extents.
    unsafe {
        gemm::gemm_packed(isa(number), rows, cols, gemm::Terms { count: inner, piece }, a, packed, c, ldc, workspace)
    }
}

extern "C" fn sum_columns(partials: *const f32, blocks: usize, stride: usize, count: usize, out: *mut f32) {
    // SAFETY: the plan laid out partial results and result.
    unsafe { finish::sum_columns(partials, blocks, stride, count, out) }
}

extern "C" fn sum_everything(partials: *const f32, count: usize, out: *mut f32) {
    // SAFETY: the plan laid out partial results and result.
    unsafe { finish::sum_everything(partials, count, out) }
}

extern "C" fn max_columns(partials: *const f32, blocks: usize, stride: usize, count: usize, out: *mut f32) {
    // SAFETY: the plan laid out partial results and result.
    unsafe { finish::max_columns(partials, blocks, stride, count, out) }
}

extern "C" fn max_everything(partials: *const f32, count: usize, out: *mut f32) {
    // SAFETY: the plan laid out partial results and result.
    unsafe { finish::max_everything(partials, count, out) }
}

extern "C" fn merge_moments(
    partials: *const f32,
    stride: usize,
    columns: usize,
    block: usize,
    rows: usize,
    mean: *mut f32,
    variance: *mut f32,
    overflow: *mut u32,
) {
    let moments = finish::Moments { partials, stride, columns, block, rows };
    // SAFETY: the plan laid out partial results and results; what is null is not wanted.
    unsafe { finish::merge_moments(&moments, mean, variance, overflow) }
}

extern "C" fn fetch_to_write(address: *const u8, bytes: usize) {
    fetch::fetch_to_write(address, bytes);
}

extern "C" fn fetch(address: *const u8, bytes: usize) {
    fetch::fetch(address, bytes);
}
