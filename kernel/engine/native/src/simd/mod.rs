//! Sixteen `f32` lanes at a time on whatever the processor has, chosen at run time.
//!
//! Kernels are generic functions over [`Lanes`]; [`vectorized!`] compiles each four times (AVX-512 with and without
//! BF16, AVX2 with FMA, portable) and calls the best one. Width and order of operations are the same in all three, so AVX-512 and AVX2
//! give bitwise the same results; the portable version differs where it has no fused multiply-add.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bf16;
pub mod math;
mod portable;

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use bf16::{Bf16, Element};
pub use portable::Portable;

/// Lanes in a vector.
pub const LANES: usize = 16;

/// Sixteen `f32` values. Every method must be inlined into a function that has the instruction set enabled:
/// only [`vectorized!`] makes such functions.
pub trait Lanes: Copy {
    /// All lanes `value`.
    unsafe fn splat(value: f32) -> Self;
    /// Sixteen values from `source`, unaligned.
    unsafe fn load(source: *const f32) -> Self;
    /// The first `count` (0..=16) values from `source`, zeros after; touches no memory beyond them.
    unsafe fn load_partial(source: *const f32, count: usize) -> Self;
    /// Stores all lanes.
    unsafe fn store(self, target: *mut f32);
    /// Stores all lanes past the caches, where the processor can; `target` is aligned to a line of 64 bytes. Other threads
    /// see it after [`end_stream`] only.
    #[inline(always)]
    unsafe fn stream(self, target: *mut f32) {
        self.store(target);
    }
    /// Stores the first `count` (0..=16) lanes.
    unsafe fn store_partial(self, target: *mut f32, count: usize);
    /// self + other
    unsafe fn add(self, other: Self) -> Self;
    /// self - other
    unsafe fn sub(self, other: Self) -> Self;
    /// self * other
    unsafe fn mul(self, other: Self) -> Self;
    /// self / other
    unsafe fn div(self, other: Self) -> Self;
    /// self * factor + term, rounded once where the processor can.
    unsafe fn fma(self, factor: Self, term: Self) -> Self;
    /// Greater of each pair; `other` where one is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// Lesser of each pair; `other` where one is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// Square roots.
    unsafe fn sqrt(self) -> Self;
    /// Nearest integers, ties to even.
    unsafe fn round(self) -> Self;
    /// 2^n for whole-numbered lanes n in -126..=127.
    unsafe fn power_of_two(self) -> Self;
    /// Where a < b the lane of `yes`, elsewhere of `no`.
    unsafe fn select_less(a: Self, b: Self, yes: Self, no: Self) -> Self;
    /// Sixteen bf16 values from `source`, unaligned.
    unsafe fn load_bf16(source: *const Bf16) -> Self;
    /// The first `count` (0..=16) bf16 values from `source`, zeros after; touches no memory beyond them.
    unsafe fn load_bf16_partial(source: *const Bf16, count: usize) -> Self;
    /// Stores the first `count` (0..=16) lanes as the nearest bf16 values, ties to even.
    unsafe fn store_bf16_partial(self, target: *mut Bf16, count: usize);
    /// The nearest bf16 values.
    unsafe fn round_to_bf16(self) -> Self;
    /// Thirty-two bf16 values in order, two in each lane: those nearest to `low`, then those nearest to `high`.
    unsafe fn narrow(low: Self, high: Self) -> Self;
    /// The lanes of two vectors of bf16 values (low halves zero), `even` in the low half of each lane.
    unsafe fn pair(even: Self, odd: Self) -> Self;
    /// The same after rounding to bf16.
    #[inline(always)]
    unsafe fn pair_rounded(even: Self, odd: Self) -> Self {
        Self::pair(even.round_to_bf16(), odd.round_to_bf16())
    }
    /// Lane j of vector i becomes lane i of vector j.
    #[inline(always)]
    unsafe fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        // Through a buffer in L1.
        let mut block = [[0.0f32; LANES]; LANES];
        for i in 0..LANES {
            let row = rows[i].to_array();
            for j in 0..LANES {
                block[j][i] = row[j];
            }
        }
        let mut out = rows;
        for j in 0..LANES {
            out[j] = Self::load(block[j].as_ptr());
        }
        out
    }
    /// The lanes as an array.
    #[inline(always)]
    unsafe fn to_array(self) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        self.store(lanes.as_mut_ptr());
        lanes
    }
    /// Sum of the lanes, always in the same order: halves onto each other.
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let mut a = self.to_array();
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                a[i] += a[i + width];
            }
            width /= 2;
        }
        a[0]
    }
}

/// Asks for a line of memory; the address need not be valid.
#[inline(always)]
pub fn prefetch<E>(address: *const E) {
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for all lines of `count` elements; the addresses need not be valid.
#[inline(always)]
pub fn prefetch_all<E>(address: *const E, count: usize) {
    for byte in (0..count * size_of::<E>()).step_by(64) {
        prefetch(address.cast::<u8>().wrapping_add(byte));
    }
}

/// Makes what this thread has stored by [`Lanes::stream`] visible to threads that learn of it.
#[inline(always)]
pub fn end_stream() {
    #[cfg(target_arch = "x86_64")]
    // Safety: every x86-64 processor has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Instruction sets that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has.
    Portable,
    /// AVX2 and FMA (x86-64-v3).
    Avx2,
    /// AVX-512 F, BW, DQ, VL (x86-64-v4).
    Avx512,
    /// The same with AVX512-BF16.
    Avx512Bf16,
}

impl Level {
    const ALL: [Level; 4] = [Level::Avx512Bf16, Level::Avx512, Level::Avx2, Level::Portable];

    /// What this processor has, best first.
    pub fn available() -> impl Iterator<Item = Level> {
        Self::ALL.into_iter().filter(|&level| level <= detected())
    }

    /// The name as `GPT_LAB_INSTRUCTIONS` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Bf16 => "avx512bf16",
        }
    }
}

/// The best level of this processor; `GPT_LAB_INSTRUCTIONS` with a level's name lowers it (to test the other versions).
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let wanted = std::env::var("GPT_LAB_INSTRUCTIONS").unwrap_or_default();
        Level::available().find(|level| level.name() == wanted).unwrap_or(detected())
    })
}

#[cfg(target_arch = "x86_64")]
fn detected() -> Level {
    let v4 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
        Level::Portable
    } else if v4 && is_x86_feature_detected!("avx512bf16") {
        Level::Avx512Bf16
    } else if v4 {
        Level::Avx512
    } else {
        Level::Avx2
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Level {
    Level::Portable
}

/// Defines `unsafe fn $name` that calls the generic kernel `$body::<S: Lanes>` compiled for the best [`Level`].
macro_rules! vectorized {
    ($(#[$meta:meta])* $vis:vis unsafe fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $body:ident) => {
        $(#[$meta])*
        #[inline]
        $vis unsafe fn $name($($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi2")]
                unsafe fn avx512bf16($($argument: $type),*) $(-> $result)? {
                    $body::<$crate::simd::Avx512<true>>($($argument),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
                unsafe fn avx512($($argument: $type),*) $(-> $result)? {
                    $body::<$crate::simd::Avx512<false>>($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                unsafe fn avx2($($argument: $type),*) $(-> $result)? {
                    $body::<$crate::simd::Avx2>($($argument),*)
                }
                match $crate::simd::level() {
                    $crate::simd::Level::Avx512Bf16 => return avx512bf16($($argument),*),
                    $crate::simd::Level::Avx512 => return avx512($($argument),*),
                    $crate::simd::Level::Avx2 => return avx2($($argument),*),
                    $crate::simd::Level::Portable => {}
                }
            }
            $body::<$crate::simd::Portable>($($argument),*)
        }
    };
}
pub(crate) use vectorized;

#[cfg(test)]
mod tests {
    use super::*;

    unsafe fn exercise<S: Lanes>() -> Vec<f32> {
        let x: Vec<f32> = (0..16).map(|i| i as f32 * 0.7 - 5.0).collect();
        let y: Vec<f32> = (0..16).map(|i| 3.0 - i as f32 * 0.4).collect();
        let (a, b) = (S::load(x.as_ptr()), S::load(y.as_ptr()));
        let mut results = vec![a.sum()];
        for v in [
            a.add(b),
            a.sub(b),
            a.mul(b),
            a.div(b),
            a.max(b),
            a.min(b),
            a.mul(a).sqrt(),
            a.round(),
            a.round().power_of_two(),
            S::select_less(a, b, S::splat(1.0), a),
            S::load_partial(x.as_ptr(), 5),
        ] {
            results.extend(v.to_array());
        }
        let mut partial = [9.0f32; 16];
        a.store_partial(partial.as_mut_ptr(), 7);
        results.extend(partial);
        results.extend(a.round_to_bf16().to_array());
        results.extend(S::pair(a.round_to_bf16(), b.round_to_bf16()).to_array().map(positive));
        results.extend(S::pair_rounded(a, b).to_array().map(positive));
        results.extend(S::narrow(a, b).to_array().map(positive));
        let mut narrow = [Bf16::ZERO; 16];
        a.store_bf16_partial(narrow.as_mut_ptr(), 5);
        b.store_bf16_partial(narrow.as_mut_ptr().add(5), 11);
        results.extend(S::load_bf16(narrow.as_ptr()).to_array());
        results.extend(S::load_bf16_partial(narrow.as_ptr(), 7).to_array());
        let rows = std::array::from_fn(|i| a.mul(S::splat(i as f32)));
        results.extend(S::transpose(rows).iter().flat_map(|row| row.to_array()));
        results
    }

    /// Pairs of bf16 values as numbers that compare equal to themselves.
    fn positive(pair: f32) -> f32 {
        (pair.to_bits() >> 4) as f32 + (pair.to_bits() & 15) as f32
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn all_levels_compute_the_same() {
        unsafe {
            let expected = exercise::<Portable>();
            if detected() >= Level::Avx2 {
                assert_eq!(exercise::<Avx2>(), expected);
            }
            if detected() >= Level::Avx512 {
                assert_eq!(exercise::<Avx512<false>>(), expected);
            }
            if detected() >= Level::Avx512Bf16 {
                assert_eq!(exercise::<Avx512<true>>(), expected);
            }
        }
    }
}
