//! Walking along `k`: several terms at a time, with pointers that stay apart.

/// Terms that are written out in a row, with addresses computed once for all of them, and for which a tile prefetches one
/// line ahead. On Intel cores additions of addresses compete with multiplications for two ports: one term at a time
/// took a quarter longer.
pub(in crate::microkernels) const STEPS: usize = 4;

/// Moves all pointers on. The compiler must not see that they keep their distance: it would keep one of them and add up
/// the others at every step.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through them there")]
pub(in crate::microkernels) fn advance<const N: usize>(pointers: &mut [*const f32; N], by: usize) {
    for pointer in pointers {
        *pointer = pointer.wrapping_add(by);
        // SAFETY: no instruction at all.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) * pointer, options(pure, nomem, nostack, preserves_flags)) };
    }
}

/// The same where no compiler needs to be told.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(in crate::microkernels) fn advance<const N: usize>(pointers: &mut [*const f32; N], by: usize) {
    pointers.iter_mut().for_each(|pointer| *pointer = pointer.wrapping_add(by));
}
