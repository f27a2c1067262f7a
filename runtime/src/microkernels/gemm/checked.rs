//! The product of slices, checked: for measurements and comparisons outside of compiled programs.

use super::{Copies, Isa, KC, Operand, Terms, gemm_with, workspace_len};

/// A strided matrix in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Strided<'a> {
    /// Its elements.
    pub data: &'a [f32],
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
}

impl Strided<'_> {
    fn operand(&self, rows: usize, cols: usize) -> Operand {
        let last = (rows.max(1) - 1) * self.row + (cols.max(1) - 1) * self.col;
        assert!(last < self.data.len(), "the matrix lies in its slice");
        Operand { ptr: self.data.as_ptr(), row: self.row, col: self.col }
    }
}

/// `C[m, n] = A[m, k] * B[k, n]`, row-major, with these copies of operands. `workspace` grows as far as is needed.
///
/// # Panics
/// If the machine has no such instruction set, or an operand is too short; also if an operand is not copied
/// that has to be: see [`Copies`].
pub fn multiply(
    isa: Isa,
    copies: Copies,
    [m, n, k]: [usize; 3],
    a: Strided<'_>,
    b: Strided<'_>,
    c: &mut [f32],
    workspace: &mut Vec<f32>,
) {
    assert!(Isa::available().contains(&isa), "the machine has the instructions");
    assert!(c.len() >= m * n && (copies.right || b.col == 1), "C has room, and B can be read");
    assert!(copies.left || a.row == 1 || a.col == 1, "A can be read");
    workspace.resize(workspace.len().max(workspace_len(m, n, k)), 0.0);
    let (a, b) = (a.operand(m, k), b.operand(k, n));
    let k = Terms::all(k, KC);
    // SAFETY: the machine has the instructions, operands, result and workspace are as long as they have to be, and the borrows keep
    // what is written apart from what is read.
    unsafe { gemm_with(isa, copies, m, n, k, a, b, c.as_mut_ptr(), n, workspace.as_mut_ptr()) }
}
