//! Products of which a triangle is left: what it has are the bits of the whole, and nothing beside it is computed.

use super::*;
use crate::kernel::{LANES, TrianglePart};

const PARTS: [TrianglePart; 4] =
    [TrianglePart::Columns, TrianglePart::ColumnsAlone, TrianglePart::TermsTo, TrianglePart::TermsFrom];

#[test]
fn what_is_left_of_a_product_has_the_bits_of_the_whole() {
    for isa in Isa::available() {
        for (number, (m, n, k)) in [(64, 64, 32), (70, 33, 70), (13, 300, 13), (400, 40, 520)].into_iter().enumerate() {
            for (part, offset) in PARTS.into_iter().flat_map(|part| [-1, 0, 5].map(|offset| (part, offset))) {
                let triangle = Triangle { part, offset };
                let (at, bt) = TRANSPOSITIONS[(number + part as usize) % 4];
                let (mut a, b) = (Matrix::new(m, k, at, 1, 3), Matrix::new(k, n, bt, 0, 4));
                for (i, p) in (0..m).flat_map(|i| (0..k).map(move |p| (i, p))) {
                    if !triangle.terms(i..i + 1, k).contains(&p) {
                        a.data[i * a.row + p * a.col] = 0.0;
                    }
                }
                let whole = multiply(isa, &a, &b, n, Cut::Whole);
                for step in [7, 64, m] {
                    let found = multiply(isa, &a, &b, n + 1, Cut::Part(step, triangle));
                    for (index, (x, whole)) in found.into_iter().zip(&whole).enumerate() {
                        let (i, j) = (index / n, index % n);
                        let is_there = j < triangle.columns(i..i + 1, n);
                        if j >= triangle.written(i..i + 1, n) {
                            continue;
                        }
                        let name = format!("{isa:?} {m}x{n}x{k} {triangle} in {step} at ({i}, {j})");
                        assert!(x == *whole || !is_there && x == 0.0, "{name}: {x} is not {whole}");
                    }
                }
            }
        }
    }
}

/// Where no row of a tile has a term, it is not even read: NaN stays out of the result.
#[test]
fn what_is_left_out_is_not_computed() {
    for isa in Isa::available() {
        let rows = 4;
        let (a, mut b) = (Matrix::new(rows, 300, false, 0, 7), Matrix::new(300, 200, false, 0, 8));
        let part = |part, offset| Cut::Part(rows, Triangle { part, offset });
        b.data[200 * 8..].fill(f32::NAN);
        let to = multiply(isa, &a, &b, 200, part(TrianglePart::TermsTo, 4));
        assert!(to.iter().all(|x| x.is_finite() && *x != 0.0), "{isa:?} {to:?}");
        b.data.rotate_left(200 * 8);
        let from = multiply(isa, &a, &b, 200, part(TrianglePart::TermsFrom, 292));
        assert!(from.iter().all(|x| x.is_finite() && *x != 0.0), "{isa:?} {from:?}");
        let columns = multiply(isa, &a, &b, 200, part(TrianglePart::Columns, -4));
        assert_eq!(columns, [0.0; 4 * 200], "{isa:?}");
        let columns = multiply(isa, &a, &b, 200, part(TrianglePart::Columns, 0));
        assert!(columns[0].is_nan() && columns[150..200] == [0.0; 50], "{isa:?} {columns:?}");
        let columns = multiply(isa, &a, &b, 200, part(TrianglePart::ColumnsAlone, 0));
        assert!(columns[0].is_nan() && columns[150..200] == [UNTOUCHED; 50], "{isa:?} {columns:?}");
    }
}

fn lanes_of<K: Kernel>() -> usize {
    K::LANES
}

/// Registers that no row of a tile has are left alone: NaN stays out of them.
#[test]
fn a_panel_on_the_diagonal_is_computed_in_whole_registers() {
    for isa in Isa::available() {
        let (rows, lanes) = (8, on!(isa, lanes_of,));
        let (a, mut b) = (Matrix::new(rows, 20, false, 0, 7), Matrix::new(20, 64, true, 0, 8));
        b.data.fill(f32::NAN);
        for (part, beyond) in [(TrianglePart::Columns, 0.0), (TrianglePart::ColumnsAlone, UNTOUCHED)] {
            // The last row has one register.
            let triangle = Triangle { part, offset: lanes as i64 - rows as i64 };
            let found = multiply(isa, &a, &b, 64, Cut::Part(rows, triangle));
            assert!(found[64 * (rows - 1)].is_nan(), "{isa:?} {part:?}");
            for row in found.chunks(64) {
                assert!(row[lanes..].iter().all(|&x| x == 0.0 || x == beyond), "{isa:?} {part:?} {row:?}");
                assert!(row[LANES..].iter().all(|&x| x == beyond), "{isa:?} {part:?} {row:?}");
            }
        }
    }
}

/// Of few rows and many terms as well.
#[test]
fn no_term_is_used_far_behind_the_diagonal() {
    let (n, k) = (1024, 1022);
    for (isa, m) in Isa::available().into_iter().flat_map(|isa| (1..=4).map(move |m| (isa, m))) {
        let b = Matrix::new(k, n, false, 0, 8);
        for (part, offset) in [(TrianglePart::TermsTo, 20), (TrianglePart::TermsFrom, 990)] {
            let triangle = Triangle { part, offset };
            let [mut zeros, mut a] = [0, 0].map(|_| Matrix::new(m, k, false, 0, 7));
            for (i, p) in (0..m).flat_map(|i| (0..k).map(move |p| (i, p))) {
                let terms = triangle.terms(i..i + 1, k);
                if !terms.contains(&p) {
                    let near = p < terms.end + LANES && p + LANES >= terms.start;
                    zeros.data[i * k + p] = 0.0;
                    a.data[i * k + p] = if near { 0.0 } else { f32::NAN };
                }
            }
            let [expected, found] =
                [(&zeros, Cut::Whole), (&a, Cut::Part(m, triangle))].map(|(a, way)| multiply(isa, a, &b, n, way));
            assert!(found == expected, "{isa:?} {m} rows, {triangle}");
        }
    }
}
