//! Products with pages before and after their memory that nothing may touch.

use super::*;
use crate::microkernels::guarded::Guarded;

#[test]
fn nothing_outside_the_buffers_is_touched() {
    for isa in Isa::available() {
        for (m, n, k) in [
            (1, 1, 1),
            (4, 8, 2),
            (13, 35, 19),
            (3, 131, 5),
            (1, 250, 33),
            (30, 45, 260),
            (128, 10, 17),
            (2, 1027, 770),
            (401, 33, 20),
            (4, 2049, 1537),
            (335, 197, 15),
        ] {
            for ((ta, tb), after) in TRANSPOSITIONS.into_iter().flat_map(|t| [(t, true), (t, false)]) {
                let (a, b) = (Matrix::new(m, k, ta, 0, 1), Matrix::new(k, n, tb, 0, 2));
                let expected = bits(&multiply(isa, &a, &b, n, Cut::Whole));
                let guard = |values: &[f32]| Guarded::new(values, after);
                let (a_pages, b_pages, mut c) = (guard(&a.data), guard(&b.data), guard(&vec![0.0; m * n]));
                let packed = guard(&vec![0.0; packed_b_len(n, k)]);
                let workspace = guard(&vec![0.0; workspace_len(m, n, k)]);
                let for_a = guard(&vec![0.0; packed_a_len(m, k)]);
                let (a, b) =
                    (Operand { ptr: a_pages.data, ..a.operand() }, Operand { ptr: b_pages.data, ..b.operand() });
                // SAFETY: every buffer has the length asked for, to the byte.
                unsafe { gemm(isa, m, n, terms(k), a, b, c.data, n, workspace.data) };
                assert_eq!(bits(c.floats()), expected);
                c.floats_mut().fill(0.0);
                // SAFETY: as above.
                unsafe {
                    pack_b(isa, n, terms(k), b, packed.data);
                    gemm_packed(isa, m, n, terms(k), a, packed.data, c.data, n, for_a.data);
                }
                assert_eq!(bits(c.floats()), expected);
                // What is prefetched may lie past the pages, or nowhere.
                let matrices = [c.data.cast_const(), core::ptr::null(), b_pages.data.wrapping_add(k * n)];
                for packed in [core::ptr::null(), packed.data.cast_const()] {
                    c.floats_mut().fill(0.0);
                    let (c, prefetched) = (c.data, Prefetched::of(&matrices));
                    // SAFETY: as above.
                    unsafe { gemm_prefetching(isa, [m, n], terms(k), a, b, packed, c, n, prefetched, workspace.data) };
                }
                assert_eq!(bits(c.floats()), expected);
            }
        }
    }
}
