//! [`Lanes`] in plain Rust, for processors without AVX2; compilers turn it into what the target has (SSE2, NEON).

use super::{Bf16, LANES, Lanes};

/// Sixteen lanes in an array.
#[derive(Clone, Copy)]
pub struct Portable([f32; LANES]);

impl Portable {
    #[inline(always)]
    fn map2(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self;
        for i in 0..LANES {
            result.0[i] = f(self.0[i], other.0[i]);
        }
        result
    }

    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        Self(self.0.map(f))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    unsafe fn load(source: *const f32) -> Self {
        Self(source.cast::<[f32; LANES]>().read_unaligned())
    }
    #[inline(always)]
    unsafe fn load_partial(source: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            *lane = *source.add(i);
        }
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn store(self, target: *mut f32) {
        target.cast::<[f32; LANES]>().write_unaligned(self.0);
    }
    #[inline(always)]
    unsafe fn store_partial(self, target: *mut f32, count: usize) {
        for (i, lane) in self.0.iter().enumerate().take(count) {
            *target.add(i) = *lane;
        }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.map2(other, |a, b| a + b)
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.map2(other, |a, b| a - b)
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.map2(other, |a, b| a * b)
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.map2(other, |a, b| a / b)
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, term: Self) -> Self {
        let mut result = self;
        for i in 0..LANES {
            // Without an instruction for it `mul_add` is a slow library call.
            result.0[i] = if cfg!(target_arch = "aarch64") {
                self.0[i].mul_add(factor.0[i], term.0[i])
            } else {
                self.0[i] * factor.0[i] + term.0[i]
            };
        }
        result
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.map2(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.map2(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        self.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        self.map(f32::round_ties_even)
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> Self {
        self.map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn select_less(a: Self, b: Self, yes: Self, no: Self) -> Self {
        let mut result = no;
        for i in 0..LANES {
            result.0[i] = if a.0[i] < b.0[i] { yes.0[i] } else { no.0[i] };
        }
        result
    }
    #[inline(always)]
    unsafe fn load_bf16(source: *const Bf16) -> Self {
        Self(source.cast::<[Bf16; LANES]>().read_unaligned().map(Bf16::to_f32))
    }
    #[inline(always)]
    unsafe fn load_bf16_partial(source: *const Bf16, count: usize) -> Self {
        let mut lanes = [0.0; LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            *lane = (*source.add(i)).to_f32();
        }
        Self(lanes)
    }
    #[inline(always)]
    unsafe fn store_bf16_partial(self, target: *mut Bf16, count: usize) {
        for (i, lane) in self.0.iter().enumerate().take(count) {
            *target.add(i) = Bf16::from_f32(*lane);
        }
    }
    #[inline(always)]
    unsafe fn round_to_bf16(self) -> Self {
        self.map(|x| Bf16::from_f32(x).to_f32())
    }
    #[inline(always)]
    unsafe fn narrow(low: Self, high: Self) -> Self {
        let bits = |x: f32| u32::from(Bf16::from_f32(x).0);
        let all: [f32; 2 * LANES] =
            std::array::from_fn(|i| if i < LANES { low.0[i] } else { high.0[i - LANES] });
        Self(std::array::from_fn(|i| f32::from_bits(bits(all[2 * i]) | bits(all[2 * i + 1]) << 16)))
    }
    #[inline(always)]
    unsafe fn pair(even: Self, odd: Self) -> Self {
        even.map2(odd, |even, odd| f32::from_bits(even.to_bits() >> 16 | odd.to_bits()))
    }
}
