//! [`Lanes`] in two 256-bit registers.

use super::{Bf16, LANES, Lanes};
use std::arch::x86_64::*;

/// Sixteen lanes in two `ymm` registers.
#[derive(Clone, Copy)]
pub struct Avx2(__m256, __m256);

/// Eight-lane masks, all bits set in the first `count` of sixteen lanes.
#[inline(always)]
unsafe fn masks(count: usize) -> (__m256i, __m256i) {
    let count = _mm256_set1_epi32(count as i32);
    let low = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let high = _mm256_add_epi32(low, _mm256_set1_epi32(8));
    (_mm256_cmpgt_epi32(count, low), _mm256_cmpgt_epi32(count, high))
}

#[inline(always)]
unsafe fn power_of_two(n: __m256) -> __m256 {
    let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
}

/// Bits of the lanes' nearest bf16 values (ties to even) in the high halves, zeros below.
#[inline(always)]
unsafe fn rounded_bits(lanes: __m256) -> __m256i {
    let bits = _mm256_castps_si256(lanes);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    // Rounding must not carry a not-a-number into infinity: those keep their high bits and become quiet.
    let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
    let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(lanes, lanes));
    let high = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    _mm256_and_si256(_mm256_blendv_epi8(rounded, quiet, nan), high)
}

/// Sixteen bf16 values, the high halves of 32-bit lanes, in order.
#[inline(always)]
unsafe fn high_halves(a: __m256i, b: __m256i) -> __m256i {
    let packed = _mm256_packus_epi32(_mm256_srli_epi32::<16>(a), _mm256_srli_epi32::<16>(b));
    _mm256_permute4x64_epi64::<0b11_01_10_00>(packed)
}

impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        let v = _mm256_set1_ps(value);
        Self(v, v)
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> Self {
        Self(_mm256_loadu_ps(source), _mm256_loadu_ps(source.add(8)))
    }
    #[inline(always)]
    unsafe fn load_partial(source: *const f32, count: usize) -> Self {
        let (low, high) = masks(count);
        Self(_mm256_maskload_ps(source, low), _mm256_maskload_ps(source.wrapping_add(8), high))
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32) {
        _mm256_storeu_ps(target, self.0);
        _mm256_storeu_ps(target.add(8), self.1);
    }
    #[inline(always)]
    unsafe fn stream(self, target: *mut f32) {
        _mm256_stream_ps(target, self.0);
        _mm256_stream_ps(target.add(8), self.1);
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, count: usize) {
        let (low, high) = masks(count);
        _mm256_maskstore_ps(target, low, self.0);
        _mm256_maskstore_ps(target.wrapping_add(8), high, self.1);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        Self(_mm256_fmadd_ps(self.0, factor.0, term.0), _mm256_fmadd_ps(self.1, factor.1, term.1))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1))
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        Self(_mm256_round_ps::<NEAREST>(self.0), _mm256_round_ps::<NEAREST>(self.1))
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        Self(power_of_two(self.0), power_of_two(self.1))
    }
    #[inline(always)]
    unsafe fn select_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        Self(
            _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)),
            _mm256_blendv_ps(no.1, yes.1, _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1)),
        )
    }
    #[inline(always)]
    unsafe fn load_bf16(source: *const Bf16) -> Self {
        let wide = |at: *const Bf16| {
            let values = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(values))
        };
        Self(wide(source), wide(source.add(8)))
    }
    #[inline(always)]
    unsafe fn load_bf16_partial(source: *const Bf16, count: usize) -> Self {
        let mut values = [Bf16::ZERO; LANES];
        std::ptr::copy_nonoverlapping(source, values.as_mut_ptr(), count);
        Self::load_bf16(values.as_ptr())
    }
    #[inline(always)]
    unsafe fn store_bf16_partial(self, target: *mut Bf16, count: usize) {
        let narrow = high_halves(rounded_bits(self.0), rounded_bits(self.1));
        if count == LANES {
            _mm256_storeu_si256(target.cast(), narrow);
        } else {
            let mut values = [Bf16::ZERO; LANES];
            _mm256_storeu_si256(values.as_mut_ptr().cast(), narrow);
            std::ptr::copy_nonoverlapping(values.as_ptr(), target, count);
        }
    }
    #[inline(always)]
    unsafe fn round_to_bf16(self) -> Self {
        Self(_mm256_castsi256_ps(rounded_bits(self.0)), _mm256_castsi256_ps(rounded_bits(self.1)))
    }
    #[inline(always)]
    unsafe fn narrow(low: Self, high: Self) -> Self {
        let low = high_halves(rounded_bits(low.0), rounded_bits(low.1));
        let high = high_halves(rounded_bits(high.0), rounded_bits(high.1));
        Self(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high))
    }
    #[inline(always)]
    unsafe fn pair(even: Self, odd: Self) -> Self {
        let merge = |even, odd| {
            let low = _mm256_srli_epi32::<16>(_mm256_castps_si256(even));
            _mm256_castsi256_ps(_mm256_or_si256(low, _mm256_castps_si256(odd)))
        };
        Self(merge(even.0, odd.0), merge(even.1, odd.1))
    }
}
