//! What is made of parameters once, for all runs until one of them changes: results of kernels that read nothing else, transformed
//! taps, and right operands as products read them.
//!
//! The first two take the room that every run would need for them. A rearranged right operand is a copy: it is kept where making it
//! takes a share of the smallest run that would make it.

use crate::kernel::{Dot, Fused, Kernel, WinogradForm};

use super::matmul::{AXPY_ROWS, Packed, Panels, Right, RightOperand, reads_whole_rows};
use super::{Machine, Matmul, Tiling};

/// What programs of predictions keep from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    Nothing,
    /// What pays.
    WherePays,
    /// All that can be kept: to test it.
    Everything,
}

/// What of a kernel is kept from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All that it computes: it does not run.
    Results,
    /// The transformed taps of its product, so many bytes.
    Taps(usize),
    /// The right operand of its product, rearranged.
    Right(KeptRight),
}

/// Why a rearranged right operand is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRight {
    /// So many bytes.
    pub bytes: usize,
    /// The fewest rows that are computed with it.
    pub rows: usize,
    /// How many percent of the time of so few rows rearranging it would take.
    pub percent: usize,
}

/// The least share of the smallest run, in percent.
const SHARE: usize = 2;

impl Tiling {
    /// With what is kept from run to run of a program that reads parameters alone.
    pub fn keeping(mut self, fused: &Fused, keep: Keep) -> Tiling {
        if keep == Keep::Nothing {
            return self;
        }
        let constants = fused.constants();
        for (index, kernel) in fused.kernels.iter().enumerate() {
            let constant = |dot: &&Dot| constants.buffers[dot.b.index()];
            self.kernels[index].kept = match kernel.dot.as_ref().filter(constant) {
                _ if constants.kernels[index] => Some(Kept::Results),
                Some(dot) => self.kept_of_product(fused, (index, kernel), dot, keep),
                None => None,
            };
            if let (Some(Kept::Right(_)), Some(Matmul::Called { right, .. })) =
                (self.kernels[index].kept, &mut self.kernels[index].matmul)
            {
                *right = Right::Kept;
            }
        }
        self
    }

    /// What is kept of a product whose right operand depends on parameters alone.
    fn kept_of_product(&self, fused: &Fused, (index, kernel): (usize, &Kernel), dot: &Dot, keep: Keep) -> Option<Kept> {
        match self.kernels[index].matmul? {
            Matmul::Winograd { .. } => {
                let windows = dot.winograd.as_ref().filter(|winograd| winograd.form == WinogradForm::Windows)?;
                Some(Kept::Taps(4 * 16 * windows.channels * windows.cols))
            }
            Matmul::Called { right, .. } => {
                let shared = match super::right(fused, index) {
                    RightOperand::Once => kernel.has_plain_dot(),
                    RightOperand::Steps(_) => !dot.in_runs && kernel.dot_rows().0 == 0,
                    RightOperand::OfStep | RightOperand::Tile => false,
                };
                let copied = match right {
                    Right::InPlace | Right::Kept | Right::Panels(Panels::Batched) => false,
                    Right::Packed(Packed::Stays(_) | Packed::ManyRows(_))
                    | Right::Panels(Panels::Skinny(_) | Panels::Large(_)) => true,
                };
                let kept = kept_right(&self.machine, kernel, dot)?;
                let wanted = keep == Keep::Everything || copied && kept.percent >= SHARE;
                (shared && dot.triangle.is_none() && wanted).then_some(Kept::Right(kept))
            }
            Matmul::WrittenOut { .. } | Matmul::InRuns { .. } => None,
        }
    }
}

/// What keeping a rearranged right operand saves: reading it and writing it once more, where it is read once anyway.
fn kept_right(machine: &Machine, kernel: &Kernel, dot: &Dot) -> Option<KeptRight> {
    let inner = if dot.inner().is_batch() { return None } else { dot.inner().factor() };
    let bytes = inner.saturating_mul(kernel.cols()).saturating_mul(4);
    let [_, steps] = kernel.dot_steps();
    let least = few_in_place(machine, [kernel.cols(), inner], steps[1] as usize) + 1;
    let rows = kernel.row_count().at(1).max(least);
    let computed = 2.0 * rows as f64 * (inner * kernel.cols()) as f64 / machine.peak * kernel.times() as f64;
    let read = bytes as f64 / machine.bandwidth;
    let made = 2.0 * read;
    let percent = (100.0 * made / (made + computed.max(read))) as usize;
    Some(KeptRight { bytes, rows, percent })
}

/// How many rows read a right operand, or so many columns of it, where it lies though a rearranged one is there, given the step from
/// column to column: those that read long runs, and those that leave registers for tiles of several panels. Three and four rows over
/// 1024 x 1024 are a tenth slower with a rearranged one with AVX-512, and a seventh faster with AVX2.
pub fn few_in_place(machine: &Machine, [cols, terms]: [usize; 2], col: usize) -> usize {
    let whole = |rows: &usize| reads_whole_rows([*rows, cols, terms]);
    let long = || (1..=AXPY_ROWS).rfind(whole).unwrap_or(1);
    if col == 1 { long().max(machine.tile.rows / 3) } else { 0 }
}
