//! fill, copy, add, scale: single passes over memory.

use crate::ops::PASS;
use crate::parallel::{Shared, for_ranges};
use crate::simd::{LANES, Lanes, vectorized};
use crate::values::{Target, Values};

/// out = value
pub fn fill(out: &mut [f32], value: f32) {
    let length = out.len();
    let out = Shared::new(out);
    for_ranges(length, PASS, |range| unsafe { out.part(range).fill(value) });
}

/// out = x, by bytes, so for both data types.
pub fn copy(out: &mut [u8], x: &[u8]) {
    assert_eq!(out.len(), x.len());
    let length = out.len();
    let out = Shared::new(out);
    for_ranges(length, 4 * PASS, |range| unsafe { out.part(range.clone()).copy_from_slice(&x[range]) });
}

/// out = x, each number rounded to out's type.
pub fn convert(out: Target, x: Values) {
    assert_eq!(out.len(), x.len());
    for_ranges(x.len(), PASS, |range| unsafe { convert_range(out, x, range.start, range.len()) });
}

/// out = a + b for `length` elements; `out` may be `a` or `b`, but not overlap them otherwise.
pub unsafe fn add(out: *mut f32, a: *const f32, b: *const f32, length: usize) {
    let pointers = (out as usize, a as usize, b as usize);
    for_ranges(length, PASS, |range| unsafe {
        let (out, a, b) = (pointers.0 as *mut f32, pointers.1 as *const f32, pointers.2 as *const f32);
        add_range(out.add(range.start), a.add(range.start), b.add(range.start), range.len());
    });
}

/// out = x * factor for `length` elements; `out` may be `x`, but not overlap it otherwise.
pub unsafe fn scale(out: *mut f32, x: *const f32, factor: f32, length: usize) {
    let pointers = (out as usize, x as usize);
    for_ranges(length, PASS, |range| unsafe {
        let (out, x) = (pointers.0 as *mut f32, pointers.1 as *const f32);
        scale_range(out.add(range.start), x.add(range.start), factor, range.len());
    });
}

vectorized! { unsafe fn convert_range(out: Target, x: Values, start: usize, length: usize) = convert_body }
vectorized! {
    /// out += x.
    pub unsafe fn accumulate(out: *mut f32, x: *const f32, length: usize) = accumulate_body
}
vectorized! { unsafe fn add_range(out: *mut f32, a: *const f32, b: *const f32, length: usize) = add_body }
vectorized! { unsafe fn scale_range(out: *mut f32, x: *const f32, factor: f32, length: usize) = scale_body }

#[inline(always)]
unsafe fn convert_body<S: Lanes>(out: Target, x: Values, start: usize, length: usize) {
    let mut i = start;
    while i < start + length {
        let count = (start + length - i).min(LANES);
        let lanes = x.lanes::<S>(i, count);
        match out {
            Target::F32(data, _) => lanes.store_partial(data.add(i), count),
            Target::Bf16(data, _) => lanes.store_bf16_partial(data.add(i), count),
        }
        i += LANES;
    }
}

#[inline(always)]
unsafe fn accumulate_body<S: Lanes>(out: *mut f32, x: *const f32, length: usize) {
    add_body::<S>(out, out, x, length);
}

#[inline(always)]
unsafe fn add_body<S: Lanes>(out: *mut f32, a: *const f32, b: *const f32, length: usize) {
    let mut i = 0;
    while i + LANES <= length {
        S::load(a.add(i)).add(S::load(b.add(i))).store(out.add(i));
        i += LANES;
    }
    let rest = length - i;
    S::load_partial(a.add(i), rest).add(S::load_partial(b.add(i), rest)).store_partial(out.add(i), rest);
}

#[inline(always)]
unsafe fn scale_body<S: Lanes>(out: *mut f32, x: *const f32, factor: f32, length: usize) {
    let factor = S::splat(factor);
    let mut i = 0;
    while i + LANES <= length {
        S::load(x.add(i)).mul(factor).store(out.add(i));
        i += LANES;
    }
    let rest = length - i;
    S::load_partial(x.add(i), rest).mul(factor).store_partial(out.add(i), rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;

    #[test]
    fn passes_cover_every_element_in_place_too() {
        let (a, b) = (numbers(40_011, 1), numbers(40_011, 2));
        let mut out = a.clone();
        unsafe { add(out.as_mut_ptr(), out.as_ptr(), b.as_ptr(), out.len()) };
        assert!((0..out.len()).all(|i| out[i] == a[i] + b[i]));
        unsafe { scale(out.as_mut_ptr(), a.as_ptr(), -3.0, out.len()) };
        assert!((0..out.len()).all(|i| out[i] == a[i] * -3.0));
        fill(&mut out, 7.5);
        assert!(out.iter().all(|&x| x == 7.5));
    }
}
