//! What the transforms made infinite, or no number, once more as a sum of products: they add pixels up before anything is multiplied, and
//! such a sum may overflow where no product does, or have two infinities of which one is taken from the other.
//!
//! In: operands and results. Out: the results that are not finite, anew. Each is decided by itself, so that no bit depends on what is
//! computed beside it. Nothing here is fast: where nothing overflows, nothing comes here.

use super::Windows;

/// The pixels of a window that are in the image: tap, and where it lies from the first tap of the window on.
fn taps(windows: &Windows, at: [usize; 2]) -> impl Iterator<Item = ([isize; 2], isize)> {
    let [_, row, pixel] = windows.a.map(|step| step as isize);
    let Windows { first, extent, .. } = *windows;
    let is_there =
        move |axis: usize, tap: isize| (0..extent[axis]).contains(&(first[axis] + at[axis] as i64 + tap as i64));
    let all = (0..3).flat_map(|y| (0..3).map(move |x| [y, x]));
    all.filter(move |&[y, x]| is_there(0, y) && is_there(1, x)).map(move |[y, x]| ([y, x], y * row + x * pixel))
}

/// Where an image has a window.
fn window(windows: &Windows, steps: [i64; 3], image: usize, [y, x]: [usize; 2]) -> isize {
    debug_assert!(image < windows.images as usize);
    let [image_step, row, step] = steps.map(|step| step as isize);
    image as isize * image_step + y as isize * row + x as isize * step
}

/// Some results of a window, those that are not finite.
/// # Safety
/// Operands and results are those of [`super::product`], and `c` has all columns of the window.
pub(super) unsafe fn of_window(
    windows: &Windows,
    image: usize,
    at: [usize; 2],
    [a, b]: [*const f32; 2],
    c: &mut [f32],
    first: usize,
) {
    let [down, along, channel, col] = windows.b_steps();
    let a = a.wrapping_offset(window(windows, windows.a, image, at));
    for (n, result) in c.iter_mut().enumerate().filter(|(_, result)| !result.is_finite()) {
        let mut sum = 0.0;
        for ([y, x], pixel) in taps(windows, at) {
            let tap = b.wrapping_offset(y * down + x * along + (first + n) as isize * col);
            for k in 0..windows.channels as isize {
                // SAFETY: the pixel is in the image, and every tap has so many channels and columns.
                let [x, w] = unsafe { [*a.wrapping_offset(pixel + k), *tap.wrapping_offset(k * channel)] };
                sum += f64::from(x) * f64::from(w);
            }
        }
        *result = sum as f32;
    }
}

/// Some columns of the gradient of a tap, those that are not finite.
/// # Safety
/// Operands are those of [`super::sums`].
pub(super) unsafe fn of_tap(
    windows: &Windows,
    tap: [usize; 2],
    channel: usize,
    [a, b]: [*const f32; 2],
    c: &mut [f32],
) {
    let [image_step, row, step, _] = windows.b;
    let [down, across] = windows.size.map(|size| size as usize);
    let tap = tap.map(|tap| tap as isize);
    for (n, result) in c.iter_mut().enumerate().filter(|(_, result)| !result.is_finite()) {
        let mut sum = 0.0;
        for image in 0..windows.images as usize {
            for at in (0..down).flat_map(|y| (0..across).map(move |x| [y, x])) {
                let Some((_, pixel)) = taps(windows, at).find(|&(known, _)| known == tap) else { continue };
                let x = a.wrapping_offset(window(windows, windows.a, image, at) + pixel + channel as isize);
                let dy = b.wrapping_offset(window(windows, [image_step, row, step], image, at) + n as isize);
                // SAFETY: the pixel is in the image, and the gradient has a number for every window and column.
                let [x, dy] = unsafe { [*x, *dy] };
                sum += f64::from(x) * f64::from(dy);
            }
        }
        *result = sum as f32;
    }
}
