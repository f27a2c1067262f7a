//! Against a reference in f64, bit for bit against itself in other cuts, and next to pages that may not be touched.

use super::*;

/// Numbers in [-1, 1), the same ones for the same seed.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    core::iter::repeat_with(next).take(len).collect()
}

/// A matrix with its storage: `rows x cols`, row-major or transposed, with `pad` unused elements after each line.
struct Matrix {
    data: Vec<f32>,
    /// Where element `(0, 0)` is.
    first: usize,
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

impl Matrix {
    fn new(rows: usize, cols: usize, transposed: bool, pad: usize, seed: u64) -> Matrix {
        let (row, col) = if transposed { (1, rows + pad) } else { (cols + pad, 1) };
        let data = vec![f32::NAN; (rows + pad) * (cols + pad)];
        let mut matrix = Matrix { data, first: 0, rows, cols, row, col };
        for (index, x) in numbers(rows * cols, seed).into_iter().enumerate() {
            matrix.data[index / cols * row + index % cols * col] = x;
        }
        matrix
    }

    /// The same matrix, its lines stored from the last to the first.
    fn backward(mut self) -> Matrix {
        let line = if self.col == 1 { &mut self.row } else { &mut self.col };
        self.first = self.data.len() - *line;
        self.data = self.data.chunks(*line).rev().flatten().copied().collect();
        *line = line.wrapping_neg();
        self
    }

    fn at(&self, i: usize, j: usize) -> f32 {
        self.data[i * self.row + j * self.col]
    }

    fn operand(&self) -> Operand {
        Operand { ptr: self.data[self.first..].as_ptr(), row: self.row, col: self.col }
    }
}

/// So many terms, in pieces of an odd length.
fn terms(count: usize) -> Terms {
    Terms::all(count, if count.is_multiple_of(2) { 201 } else { KC })
}

/// By which entry point, in which cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Whole,
    Blocks(usize),
    Packed(usize),
    /// In blocks, without what is left out.
    Part(usize, Triangle),
}

/// What stands where nothing is written.
const UNTOUCHED: f32 = 12345.0;

/// `A B` in rows of `ldc`, the gaps and a margin of one row keeping the value they had, which is checked.
fn multiply(isa: Isa, a: &Matrix, b: &Matrix, ldc: usize, way: Cut) -> Vec<f32> {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    let mut c = vec![UNTOUCHED; (m + 1) * ldc];
    let mut packed = vec![f32::NAN; packed_b_len(n, k) + 1];
    let (step, needed) = match way {
        Cut::Whole => (m.max(1), workspace_len(m, n, k)),
        Cut::Blocks(step) | Cut::Part(step, _) => (step, workspace_len(step.min(m), n, k)),
        Cut::Packed(step) => (step, packed_a_len(step.min(m), k)),
    };
    let mut workspace = vec![f32::NAN; needed + 1];
    if let Cut::Packed(_) = way {
        // SAFETY: the buffer has the length asked for.
        unsafe { pack_b(isa, n, terms(k), b.operand(), packed.as_mut_ptr()) };
    }
    for i in (0..m).step_by(step) {
        let (rows, a, c) = (step.min(m - i), a.operand().at(i, 0), c[i * ldc..].as_mut_ptr());
        let workspace = workspace.as_mut_ptr();
        match way {
            // SAFETY: C has these rows, and the buffers have the lengths asked for.
            Cut::Packed(_) => unsafe { gemm_packed(isa, rows, n, terms(k), a, packed.as_ptr(), c, ldc, workspace) },
            Cut::Part(_, triangle) => {
                let terms = Terms { triangle: Some(triangle.after_rows(i)), ..terms(k) };
                // SAFETY: as above.
                unsafe { gemm(isa, rows, n, terms, a, b.operand(), c, ldc, workspace) }
            }
            // SAFETY: as above.
            _ => unsafe { gemm(isa, rows, n, terms(k), a, b.operand(), c, ldc, workspace) },
        }
    }
    assert!(
        packed.pop().is_some_and(f32::is_nan) && workspace.pop().is_some_and(f32::is_nan),
        "a workspace overflowed"
    );
    assert!(c[m * ldc..].iter().all(|&x| x == UNTOUCHED), "wrote below C");
    for line in c[..m * ldc].chunks(ldc) {
        assert!(line[n..].iter().all(|&x| x == UNTOUCHED), "wrote beside C");
    }
    (0..m * n).map(|index| c[index / n * ldc + index % n]).collect()
}

fn bits(c: &[f32]) -> Vec<u32> {
    c.iter().map(|x| x.to_bits()).collect()
}

/// Compares with f64; the bound is the one of any summation with at most `k` roundings an element.
fn check(isa: Isa, m: usize, n: usize, k: usize, transposed: (bool, bool), pad: usize, way: Cut) {
    let a = Matrix::new(m, k, transposed.0, pad, 1);
    let b = Matrix::new(k, n, transposed.1, pad, 2);
    let c = multiply(isa, &a, &b, n + pad, way);
    for i in 0..m {
        for j in 0..n {
            let terms = (0..k).map(|p| f64::from(a.at(i, p)) * f64::from(b.at(p, j)));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + f64::abs(x)));
            let bound = (k + 1) as f64 * f64::from(f32::EPSILON) / 2.0 * size;
            let error = (f64::from(c[i * n + j]) - sum).abs();
            assert!(error <= bound, "{isa:?} {m}x{n}x{k} {transposed:?} {way:?} at ({i}, {j}): {error} > {bound}");
        }
    }
}

const TRANSPOSITIONS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

#[test]
fn lines_that_lie_backward_give_the_same_bits() {
    for isa in Isa::available() {
        for (m, n, k) in [(2, 5, 4), (9, 5, 4), (13, 40, 37), (31, 300, 203), (2, 1600, 512)] {
            for (transposed, way) in
                TRANSPOSITIONS.into_iter().zip([Cut::Whole, Cut::Blocks(5), Cut::Packed(7), Cut::Whole])
            {
                let matrices = || [Matrix::new(m, k, transposed.0, 3, 1), Matrix::new(k, n, transposed.1, 3, 2)];
                let [a, b] = matrices();
                let forward = multiply(isa, &a, &b, n + 1, way);
                for turned in [(true, false), (false, true), (true, true)] {
                    let [a, b] = matrices();
                    let a = if turned.0 { a.backward() } else { a };
                    let b = if turned.1 { b.backward() } else { b };
                    let found = multiply(isa, &a, &b, n + 1, way);
                    assert_eq!(bits(&found), bits(&forward), "{isa:?} {m}x{n}x{k} {transposed:?} {turned:?}");
                }
            }
        }
    }
}

#[test]
fn small_products_of_every_shape() {
    for isa in Isa::available() {
        let extents = [1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 17, 24, 31, 33, 47, 64, 67];
        for (x, &m) in extents.iter().enumerate() {
            for (y, &n) in extents.iter().enumerate() {
                let k = extents[(5 * x + 7 * y) % extents.len()];
                check(isa, m, n, k, TRANSPOSITIONS[(x + 2 * y) % 4], (x + y) % 3, Cut::Whole);
                check(isa, m, n, k, TRANSPOSITIONS[(2 * x + y) % 4], (x + y) % 2, Cut::Packed(1 + (x * y) % 20));
            }
        }
    }
}

#[test]
fn sizes_around_the_cuts() {
    for isa in Isa::available() {
        for transposed in TRANSPOSITIONS {
            for (m, n, k) in
                [(13, 33, 255), (5, 130, 257), (2, 259, 513), (25, 65, 512), (MC + 1, 17, 9), (1, 300, 770)]
            {
                check(isa, m, n, k, transposed, 1, Cut::Whole);
                check(isa, m, n, k, transposed, 0, Cut::Packed(16));
            }
        }
        // Strides of whole pages, at which A may be packed and B is not read in place by many rows.
        check(isa, 1024, 70, 5, (true, false), 0, Cut::Packed(100));
        // More terms than are packed at a time, and than a piece has.
        for k in [40, 300] {
            check(isa, 1024, 70, k, (true, false), 0, Cut::Packed(100));
            check(isa, 1024, 70, k, (true, false), 0, Cut::Blocks(300));
        }
        // More rows in one call than are copied at a time.
        check(isa, 1024, 70, 40, (true, false), 0, Cut::Packed(1024));
        check(isa, 30, 1024, 5, (false, false), 0, Cut::Blocks(30));
        // A term by term, of which a tile uses each line in part.
        check(isa, 341, 197, 33, (true, false), 0, Cut::Blocks(101));
        check(isa, 777, 700, 17, (true, false), 3, Cut::Whole);
    }
}

/// What a plan takes for any product has room for the blocks of one with a packed operand.
#[test]
fn a_workspace_is_enough_for_either_entry_point() {
    for (m, n, k) in [(1, 1, 1), (MC, 1024, 256), (MC + 1, 1024, 256), (4096, 16, 4096)] {
        assert!(workspace_len(m, n, k) >= packed_a_len(m, k), "{m}x{n}x{k}");
        assert!(packed_a_len(m, k) <= MC * KC, "{m}x{n}x{k}");
    }
}

/// Products that read whole rows of B, alone, and next to ones that just do not.
#[test]
fn few_rows_of_a_large_product() {
    for isa in Isa::available() {
        let two = [(1, 1024, 800), (2, 1031, 777), (1, 6200, 129), (3, 1031, 777), (2, 12000, 70)];
        for (m, n, k) in two.into_iter().chain([(3, 2100, 1503), (4, 6145, 515)]) {
            for transposed in [(false, false), (true, false)] {
                check(isa, m, n, k, transposed, 1, Cut::Whole);
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_cut_the_strides_or_the_entry_point() {
    for isa in Isa::available() {
        let few = [(1, 1025, 777), (2, 3100, 257), (3, 6145, 517)];
        for (m, n, k) in [(150, 70, 300), (130, 10, 128), (3, 200, 520), (26, 33, 7)].into_iter().chain(few) {
            let rows = (Matrix::new(m, k, false, 0, 3), Matrix::new(k, n, false, 0, 4));
            let columns = (Matrix::new(m, k, true, 3, 3), Matrix::new(k, n, true, 5, 4));
            let expected = bits(&multiply(isa, &rows.0, &rows.1, n, Cut::Whole));
            for (a, b) in [(&rows.0, &rows.1), (&columns.0, &rows.1), (&rows.0, &columns.1), (&columns.0, &columns.1)] {
                for way in [1, 7, 128].into_iter().flat_map(|step| [Cut::Blocks(step), Cut::Packed(step)]) {
                    assert_eq!(bits(&multiply(isa, a, b, n + 1, way)), expected, "{isa:?} {m}x{n}x{k} {way:?}");
                }
            }
            // Every other element of a wider matrix: neither rows nor columns are adjacent.
            let spread = |matrix: &Matrix| {
                let data = vec![f32::NAN; matrix.data.len() * 2];
                let mut wide = Matrix { data, row: 2 * matrix.cols, col: 2, ..*matrix };
                wide.data.iter_mut().step_by(2).zip(&matrix.data).for_each(|(to, &from)| *to = from);
                wide
            };
            let wide = (spread(&rows.0), spread(&rows.1));
            for way in [Cut::Whole, Cut::Packed(50)] {
                assert_eq!(
                    bits(&multiply(isa, &wide.0, &wide.1, n, way)),
                    expected,
                    "{isa:?} {m}x{n}x{k} {way:?}, spread"
                );
            }
            // A product of some of the columns.
            for first in [0, n / 2] {
                let b = Matrix { data: rows.1.data[first..].to_vec(), cols: n - n / 2, ..rows.1 };
                for way in [Cut::Whole, Cut::Packed(50)] {
                    for (i, line) in multiply(isa, &rows.0, &b, n, way).chunks(b.cols).enumerate() {
                        assert_eq!(bits(line), expected[i * n + first..][..b.cols], "{isa:?} {m}x{n}x{k} from {first}");
                    }
                }
            }
        }
    }
}

/// An element as the documentation says: pieces of `k`, each from zero in ascending order, added in order.
fn in_order(isa: Isa, a: &Matrix, b: &Matrix, i: usize, j: usize) -> f32 {
    let piece = |(start, depth): (usize, usize)| {
        (start..start + depth).fold(0.0, |sum, p| {
            let (x, y) = (a.at(i, p), b.at(p, j));
            if isa.fuses() { x.mul_add(y, sum) } else { x * y + sum }
        })
    };
    terms(a.cols).pieces().map(piece).reduce(|sum, piece| sum + piece).unwrap_or(0.0)
}

#[test]
fn every_element_has_the_bits_of_the_order_that_is_documented() {
    for isa in Isa::available() {
        for (m, n, k) in [(40, 50, 600), (1, 67, 257), (7, 23, 513), (13, 33, 5), (2, 1037, 770), (1, 3300, 258)] {
            let (a, b) = (Matrix::new(m, k, false, 0, 5), Matrix::new(k, n, true, 0, 6));
            for (index, x) in multiply(isa, &a, &b, n, Cut::Whole).into_iter().enumerate() {
                let expected = in_order(isa, &a, &b, index / n, index % n);
                assert_eq!(x.to_bits(), expected.to_bits(), "{isa:?} {m}x{n}x{k} at {index}: {x} is not {expected}");
            }
        }
    }
}

fn check_packing<K: Kernel>() {
    // Tiles of A of any width, and panels of B.
    let tiles = (1..=12).map(|width| (width, width, 35));
    let some = [(1, 1, 1), (12, 12, 5), (5, 5, 16), (16, 9, 33), (32, 17, 20), (32, 9, 18), (32, 32, 40), (8, 8, 15)];
    for (width, count, depth) in some.into_iter().chain(tiles) {
        let src = Matrix::new(count, depth, false, 2, 9);
        let other = Matrix::new(count, depth, true, 1, 9);
        for src in [src, other] {
            let mut panel = vec![f32::NAN; width * depth + 1];
            // SAFETY: the panel has one float more than it needs, and `available` named the kernel.
            unsafe { K::pack(panel.as_mut_ptr(), width, count, depth, src.operand()) };
            assert!(panel.pop().is_some_and(f32::is_nan));
            for (index, x) in panel.into_iter().enumerate() {
                let (i, p) = (index % width, index / width);
                assert_eq!(x, if i < count { src.at(i, p) } else { 0.0 }, "{width} {count} {depth} at ({i}, {p})");
            }
        }
    }
}

#[test]
fn packing_moves_every_element_and_pads_with_zeros() {
    for isa in Isa::available() {
        on!(isa, check_packing,);
    }
}

#[test]
fn prefetching_rows_of_other_matrices_changes_no_bit() {
    for isa in Isa::available() {
        for (m, n, k) in [(1, 1, 1), (17, 35, 19), (64, 129, 256), (33, 777, 300), (400, 48, 15), (5, 16, 700)] {
            for (ta, tb) in TRANSPOSITIONS {
                let (a, b) = (Matrix::new(m, k, ta, 1, 3), Matrix::new(k, n, tb, 0, 4));
                let expected = bits(&multiply(isa, &a, &b, n, Cut::Whole));
                let (mut packed, mut workspace) = (vec![0.0; packed_b_len(n, k)], vec![0.0; workspace_len(m, n, k)]);
                // SAFETY: there is room for the packed operand.
                unsafe { pack_b(isa, n, terms(k), b.operand(), packed.as_mut_ptr()) };
                let matrices = [a.data.as_ptr(), core::ptr::null(), packed.as_ptr()];
                for (packed, count) in [(core::ptr::null(), 3), (packed.as_ptr(), 2), (packed.as_ptr(), 0)] {
                    let (mut c, prefetched) = (vec![f32::NAN; m * n], Prefetched::of(&matrices[..count]));
                    let (a, b, to, workspace) = (a.operand(), b.operand(), c.as_mut_ptr(), workspace.as_mut_ptr());
                    // SAFETY: operands, result and workspace have these extents.
                    unsafe { gemm_prefetching(isa, [m, n], terms(k), a, b, packed, to, n, prefetched, workspace) };
                    assert_eq!(bits(&c), expected, "{isa:?} {m}x{n}x{k} {ta} {tb}, {count} matrices");
                }
            }
        }
    }
}

#[test]
fn no_terms_give_zeros() {
    for isa in Isa::available() {
        let (a, b) = (Matrix::new(14, 0, false, 1, 1), Matrix::new(0, 35, false, 1, 1));
        for way in [Cut::Whole, Cut::Packed(5)] {
            assert_eq!(multiply(isa, &a, &b, 36, way), [0.0; 14 * 35]);
        }
        let (a, b) = (Matrix::new(0, 3, false, 1, 1), Matrix::new(3, 0, false, 1, 1));
        assert_eq!(multiply(isa, &a, &b, 1, Cut::Whole), []);
    }
}

#[test]
fn columns_of_a_product_have_the_same_bits_with_a_rearranged_operand_and_without() {
    for isa in Isa::available() {
        for (m, n, k) in [(1, 64, 3), (2, 65, 300), (5, 130, 257), (13, 200, 40), (40, 33, 7), (130, 192, 20)] {
            for (ta, tb) in TRANSPOSITIONS {
                let (a, b) = (Matrix::new(m, k, ta, 0, 1), Matrix::new(k, n, tb, 1, 2));
                let expected = bits(&multiply(isa, &a, &b, n, Cut::Whole));
                let (at, Terms { piece, .. }) = (16, terms(k));
                let mut packed = vec![f32::NAN; at + packed_b_len(n, k)];
                // SAFETY: the buffer has the length asked for, after the offset.
                unsafe { pack_b(isa, n, terms(k), b.operand(), packed[at..].as_mut_ptr()) };
                for packed in [core::ptr::null(), packed.as_ptr()] {
                    let (mut c, mut workspace) = (vec![f32::NAN; m * n], vec![f32::NAN; workspace_len(m, n, k)]);
                    for from in (0..n).step_by(64) {
                        let (cols, part) = (64.min(n - from), b.operand().at(0, from));
                        let (c, workspace) = (c[from..].as_mut_ptr(), workspace.as_mut_ptr());
                        // SAFETY: the columns are those of the operands, and all buffers have the lengths asked for.
                        unsafe {
                            let (a, [a_row, a_col]) = (a.data.as_ptr(), [a.row, a.col]);
                            let (b, [b_row, b_col]) = (part.ptr, [part.row, part.col]);
                            kept_product(
                                isa, m, n, from, cols, k, piece, a, a_row, a_col, b, b_row, b_col, packed, at, c, n,
                                workspace,
                            );
                        }
                    }
                    assert_eq!(bits(&c), expected, "{isa:?} {m}x{n}x{k} {ta} {tb}, {}", packed.is_null());
                }
            }
        }
    }
}

#[test]
fn nan_and_infinity_reach_their_row_and_column_and_no_other() {
    for isa in Isa::available() {
        for way in [Cut::Whole, Cut::Packed(9)] {
            let (mut a, mut b) = (Matrix::new(17, 40, false, 0, 7), Matrix::new(40, 37, true, 0, 8));
            a.data[13 * 40 + 39] = f32::NAN;
            b.data[36 * 40] = f32::INFINITY;
            for (index, x) in multiply(isa, &a, &b, 37, way).into_iter().enumerate() {
                let (i, j) = (index / 37, index % 37);
                assert_eq!(x.is_nan(), i == 13, "{isa:?} {way:?} ({i}, {j})");
                assert_eq!(x.is_infinite(), i != 13 && j == 36, "{isa:?} {way:?} ({i}, {j})");
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod guarded;
mod triangles;
