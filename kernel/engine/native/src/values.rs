//! Real numbers of either type, as operations get them.

use crate::simd::{Bf16, Element, LANES, Lanes, prefetch_all, vectorized};
use std::ops::Range;

/// Numbers to read.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// f32
    F32(&'a [f32]),
    /// bf16
    Bf16(&'a [Bf16]),
}

impl<'a> Values<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(x) => x.len(),
            Values::Bf16(x) => x.len(),
        }
    }

    /// A part of them.
    pub fn part(self, range: Range<usize>) -> Self {
        match self {
            Values::F32(x) => Values::F32(&x[range]),
            Values::Bf16(x) => Values::Bf16(&x[range]),
        }
    }

    /// The first `count` (0..=16) numbers from `at`, zeros after.
    #[inline(always)]
    pub unsafe fn lanes<S: Lanes>(self, at: usize, count: usize) -> S {
        match self {
            Values::F32(x) => S::load_partial(x.as_ptr().add(at), count),
            Values::Bf16(x) => S::load_bf16_partial(x.as_ptr().add(at), count),
        }
    }

    /// Asks for the lines of `count` numbers from `at`, which need not be there.
    pub fn prefetch(self, at: usize, count: usize) {
        match self {
            Values::F32(x) => prefetch_all(x.as_ptr().wrapping_add(at), count),
            Values::Bf16(x) => prefetch_all(x.as_ptr().wrapping_add(at), count),
        }
    }

    /// sums += the `sums.len()` numbers from `at`.
    #[inline]
    pub fn add_to(self, at: usize, sums: &mut [f32]) {
        assert!(at + sums.len() <= self.len());
        // Safety: both sides have that many.
        unsafe { add_values(sums.as_mut_ptr(), self, at, sums.len()) }
    }
}

vectorized! { unsafe fn add_values(sums: *mut f32, x: Values, at: usize, length: usize) = add_values_body }

#[inline(always)]
unsafe fn add_values_body<S: Lanes>(sums: *mut f32, x: Values, at: usize, length: usize) {
    match x {
        Values::F32(x) => add_elements::<S, f32>(sums, x.as_ptr().add(at), length),
        Values::Bf16(x) => add_elements::<S, Bf16>(sums, x.as_ptr().add(at), length),
    }
}

#[inline(always)]
unsafe fn add_elements<S: Lanes, E: Element>(sums: *mut f32, x: *const E, length: usize) {
    let mut i = 0;
    while i + LANES <= length {
        S::load(sums.add(i)).add(E::load(x.add(i))).store(sums.add(i));
        i += LANES;
    }
    let rest = length - i;
    S::load_partial(sums.add(i), rest).add(E::load_partial(x.add(i), rest)).store_partial(sums.add(i), rest);
}

/// Numbers that several tasks write, each its own part; borrowed by the caller for as long as they do.
#[derive(Clone, Copy)]
pub enum Target {
    /// f32
    F32(*mut f32, usize),
    /// bf16
    Bf16(*mut Bf16, usize),
}

unsafe impl Send for Target {}
unsafe impl Sync for Target {}

impl Target {
    /// The numbers of a slice, for as long as the caller keeps it borrowed.
    pub fn of(x: &mut [f32]) -> Self {
        Target::F32(x.as_mut_ptr(), x.len())
    }

    /// How many.
    pub fn len(&self) -> usize {
        match *self {
            Target::F32(_, length) | Target::Bf16(_, length) => length,
        }
    }

    /// A part of them.
    pub fn part(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len());
        // Safety: the part lies within.
        match self {
            Target::F32(data, _) => Target::F32(unsafe { data.add(range.start) }, range.len()),
            Target::Bf16(data, _) => Target::Bf16(unsafe { data.add(range.start) }, range.len()),
        }
    }

    /// Asks for the lines of `count` numbers from `at`, which need not be there.
    pub fn prefetch(self, at: usize, count: usize) {
        match self {
            Target::F32(data, _) => prefetch_all(data.wrapping_add(at), count),
            Target::Bf16(data, _) => prefetch_all(data.wrapping_add(at), count),
        }
    }

    /// The numbers to read, while no task writes them.
    pub unsafe fn values<'a>(self) -> Values<'a> {
        match self {
            Target::F32(data, length) => Values::F32(std::slice::from_raw_parts(data, length)),
            Target::Bf16(data, length) => Values::Bf16(std::slice::from_raw_parts(data, length)),
        }
    }

    /// Number `at` = x. No other task may use it.
    pub unsafe fn set(self, at: usize, x: f32) {
        assert!(at < self.len());
        match self {
            Target::F32(data, _) => *data.add(at) = x,
            Target::Bf16(data, _) => *data.add(at) = Bf16::from_f32(x),
        }
    }

    /// Numbers `at..at + length` *= factor. No other task may use them.
    pub unsafe fn multiply(self, at: usize, length: usize, factor: f32) {
        assert!(at + length <= self.len());
        multiply(self, at, length, factor);
    }

    /// Numbers `at..at + x.len()` = x. No other task may use them.
    #[inline]
    pub unsafe fn store(&self, at: usize, x: &[f32]) {
        assert!(at + x.len() <= self.len());
        match *self {
            Target::F32(data, _) => store_f32(data.add(at), x.as_ptr(), x.len()),
            Target::Bf16(data, _) => store_bf16(data.add(at), x.as_ptr(), x.len()),
        }
    }
}

/// target = x, past the caches; see [`Lanes::stream`].
pub unsafe fn stream(target: *mut f32, x: &[f32]) {
    stream_values(target, x.as_ptr(), x.len());
}

vectorized! { unsafe fn stream_values(target: *mut f32, x: *const f32, length: usize) = stream_values_body }

#[inline(always)]
unsafe fn stream_values_body<S: Lanes>(target: *mut f32, x: *const f32, length: usize) {
    let unaligned = target.align_offset(64).min(length);
    S::load_partial(x, unaligned).store_partial(target, unaligned);
    let mut i = unaligned;
    while i + LANES <= length {
        S::load(x.add(i)).stream(target.add(i));
        i += LANES;
    }
    S::load_partial(x.add(i), length - i).store_partial(target.add(i), length - i);
}

vectorized! { unsafe fn store_f32(target: *mut f32, x: *const f32, length: usize) = store_f32_body }
vectorized! { unsafe fn store_bf16(target: *mut Bf16, x: *const f32, length: usize) = store_bf16_body }

#[inline(always)]
unsafe fn store_f32_body<S: Lanes>(target: *mut f32, x: *const f32, length: usize) {
    std::ptr::copy_nonoverlapping(x, target, length);
}

#[inline(always)]
unsafe fn store_bf16_body<S: Lanes>(target: *mut Bf16, x: *const f32, length: usize) {
    convert::<S, f32, Bf16>(target, x, length);
}

/// target = x, element by element.
#[inline(always)]
pub unsafe fn convert<S: Lanes, From: Element, To: Element>(target: *mut To, x: *const From, length: usize) {
    let mut i = 0;
    while i < length {
        let count = (length - i).min(LANES);
        let lanes: S =
            if count == LANES { From::load(x.add(i)) } else { From::load_partial(x.add(i), count) };
        To::store_partial(lanes, target.add(i), count);
        i += LANES;
    }
}

vectorized! { unsafe fn multiply(x: Target, at: usize, length: usize, factor: f32) = multiply_body }

#[inline(always)]
unsafe fn multiply_body<S: Lanes>(x: Target, at: usize, length: usize, factor: f32) {
    match x {
        Target::F32(data, _) => multiply_elements::<S, f32>(data.add(at), length, factor),
        Target::Bf16(data, _) => multiply_elements::<S, Bf16>(data.add(at), length, factor),
    }
}

#[inline(always)]
unsafe fn multiply_elements<S: Lanes, E: Element>(x: *mut E, length: usize, factor: f32) {
    let factor = S::splat(factor);
    let mut i = 0;
    while i < length {
        let count = (length - i).min(LANES);
        let lanes: S = if count == LANES { E::load(x.add(i)) } else { E::load_partial(x.add(i), count) };
        E::store_partial(lanes.mul(factor), x.add(i), count);
        i += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::end_stream;

    #[test]
    fn streaming_writes_its_numbers_and_no_others_wherever_they_begin() {
        let x: Vec<f32> = (1..=70).map(|i| i as f32).collect();
        for start in 0..20 {
            for length in [0, 1, 15, 16, 17, 40, 70] {
                let mut out = vec![0.0f32; 100];
                unsafe { stream(out[start..].as_mut_ptr(), &x[..length]) };
                end_stream();
                assert!(out[..start].iter().chain(&out[start + length..]).all(|&value| value == 0.0));
                assert_eq!(out[start..start + length], x[..length]);
            }
        }
    }
}
