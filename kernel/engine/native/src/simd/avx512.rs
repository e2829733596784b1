//! [`Lanes`] in one 512-bit register; `BF16`: with the conversions and dot products of AVX512-BF16.

use super::{Bf16, LANES, Lanes};
use std::arch::x86_64::*;

/// Sixteen lanes in a `zmm` register.
#[derive(Clone, Copy)]
pub struct Avx512<const BF16: bool>(__m512);

#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

/// Bits of the lanes' nearest bf16 values (ties to even) in the high halves, zeros below.
#[inline(always)]
unsafe fn rounded_bits(lanes: __m512) -> __m512i {
    let bits = _mm512_castps_si512(lanes);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    // Rounding must not carry a not-a-number into infinity: those keep their high bits and become quiet.
    let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
    let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(lanes, lanes);
    let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    _mm512_and_si512(_mm512_mask_blend_epi32(nan, rounded, quiet), high)
}

impl<const BF16: bool> Lanes for Avx512<BF16> {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(_mm512_set1_ps(value))
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> Self {
        Self(_mm512_loadu_ps(source))
    }
    #[inline(always)]
    unsafe fn load_partial(source: *const f32, count: usize) -> Self {
        Self(_mm512_maskz_loadu_ps(mask(count), source))
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32) {
        _mm512_storeu_ps(target, self.0);
    }
    #[inline(always)]
    unsafe fn stream(self, target: *mut f32) {
        _mm512_stream_ps(target, self.0);
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, count: usize) {
        _mm512_mask_storeu_ps(target, mask(count), self.0);
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(_mm512_add_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(_mm512_sub_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(_mm512_mul_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(_mm512_div_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        Self(_mm512_fmadd_ps(self.0, factor.0, term.0))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(_mm512_max_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(_mm512_min_ps(self.0, other.0))
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(_mm512_sqrt_ps(self.0))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        Self(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0))
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
    }
    #[inline(always)]
    unsafe fn select_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        let less = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0);
        Self(_mm512_mask_blend_ps(less, no.0, yes.0))
    }
    #[inline(always)]
    unsafe fn load_bf16(source: *const Bf16) -> Self {
        let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(source.cast()));
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
    }
    #[inline(always)]
    unsafe fn load_bf16_partial(source: *const Bf16, count: usize) -> Self {
        let wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(count), source.cast()));
        Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
    }
    #[inline(always)]
    unsafe fn store_bf16_partial(self, target: *mut Bf16, count: usize) {
        let narrow: __m256i = if BF16 {
            std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(self.0))
        } else {
            _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded_bits(self.0)))
        };
        if count == LANES {
            _mm256_storeu_si256(target.cast(), narrow);
        } else {
            _mm256_mask_storeu_epi16(target.cast(), mask(count), narrow);
        }
    }
    #[inline(always)]
    unsafe fn round_to_bf16(self) -> Self {
        if BF16 {
            let narrow = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(self.0));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow))))
        } else {
            Self(_mm512_castsi512_ps(rounded_bits(self.0)))
        }
    }
    #[inline(always)]
    unsafe fn narrow(low: Self, high: Self) -> Self {
        if BF16 {
            Self(std::mem::transmute::<__m512bh, __m512>(_mm512_cvtne2ps_pbh(high.0, low.0)))
        } else {
            let low = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded_bits(low.0)));
            let high = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded_bits(high.0)));
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
            Self(_mm512_castsi512_ps(both))
        }
    }
    #[inline(always)]
    unsafe fn pair(even: Self, odd: Self) -> Self {
        let low = _mm512_srli_epi32::<16>(_mm512_castps_si512(even.0));
        Self(_mm512_castsi512_ps(_mm512_or_si512(low, _mm512_castps_si512(odd.0))))
    }
    #[inline(always)]
    unsafe fn pair_rounded(even: Self, odd: Self) -> Self {
        if !BF16 {
            return Self::pair(even.round_to_bf16(), odd.round_to_bf16());
        }
        // All even numbers, then all odd ones: words 0, 16, 1, 17, … bring them together.
        let index: [i16; 2 * LANES] = std::array::from_fn(|i| (i / 2 + i % 2 * LANES) as i16);
        let order = _mm512_loadu_si512(index.as_ptr().cast());
        let narrow = std::mem::transmute::<__m512, __m512i>(Self::narrow(even, odd).0);
        Self(_mm512_castsi512_ps(_mm512_permutexvar_epi16(order, narrow)))
    }
    #[inline(always)]
    unsafe fn transpose(rows: [Self; LANES]) -> [Self; LANES] {
        // Interleave pairs of rows, then pairs of pairs within 128 bits, then move the 128-bit blocks.
        let mut a = [_mm512_setzero_ps(); LANES];
        for i in 0..8 {
            a[2 * i] = _mm512_unpacklo_ps(rows[2 * i].0, rows[2 * i + 1].0);
            a[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i].0, rows[2 * i + 1].0);
        }
        let mut b = [_mm512_setzero_ps(); LANES];
        for i in 0..4 {
            let doubles = |j: usize| _mm512_castps_pd(a[4 * i + j]);
            b[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(doubles(0), doubles(2)));
            b[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(doubles(0), doubles(2)));
            b[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(doubles(1), doubles(3)));
            b[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(doubles(1), doubles(3)));
        }
        // b[4 g + j] holds in its block q the elements (4 g .. 4 g + 3, 4 q + j).
        let mut out = rows;
        for j in 0..4 {
            let low01 = _mm512_shuffle_f32x4::<0b10_00_10_00>(b[j], b[4 + j]);
            let high01 = _mm512_shuffle_f32x4::<0b11_01_11_01>(b[j], b[4 + j]);
            let low23 = _mm512_shuffle_f32x4::<0b10_00_10_00>(b[8 + j], b[12 + j]);
            let high23 = _mm512_shuffle_f32x4::<0b11_01_11_01>(b[8 + j], b[12 + j]);
            out[j].0 = _mm512_shuffle_f32x4::<0b10_00_10_00>(low01, low23);
            out[8 + j].0 = _mm512_shuffle_f32x4::<0b11_01_11_01>(low01, low23);
            out[4 + j].0 = _mm512_shuffle_f32x4::<0b10_00_10_00>(high01, high23);
            out[12 + j].0 = _mm512_shuffle_f32x4::<0b11_01_11_01>(high01, high23);
        }
        out
    }
}
