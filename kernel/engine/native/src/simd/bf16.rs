//! bf16: the upper half of an f32. Kept in memory, computed with as f32.

use super::Lanes;

/// A bf16 number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

impl Bf16 {
    /// 0
    #[cfg(target_arch = "x86_64")]
    pub const ZERO: Self = Self(0);

    /// The nearest bf16, ties to even; not a number stays that.
    #[inline(always)]
    pub fn from_f32(x: f32) -> Self {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        Self((if x.is_nan() { bits | 0x0040_0000 } else { rounded } >> 16) as u16)
    }

    /// Exactly this number.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// What a tensor of real numbers may consist of: kernels over it read and write f32 lanes.
pub trait Element: Copy + Send + Sync + 'static {
    /// Sixteen elements, unaligned.
    unsafe fn load<S: Lanes>(source: *const Self) -> S;
    /// The first `count` (0..=16), zeros after.
    unsafe fn load_partial<S: Lanes>(source: *const Self, count: usize) -> S;
    /// Stores the first `count` (0..=16) lanes, rounded where they must be.
    unsafe fn store_partial<S: Lanes>(lanes: S, target: *mut Self, count: usize);
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Lanes>(source: *const Self) -> S {
        S::load(source)
    }
    #[inline(always)]
    unsafe fn load_partial<S: Lanes>(source: *const Self, count: usize) -> S {
        S::load_partial(source, count)
    }
    #[inline(always)]
    unsafe fn store_partial<S: Lanes>(lanes: S, target: *mut Self, count: usize) {
        lanes.store_partial(target, count);
    }
}

impl Element for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Lanes>(source: *const Self) -> S {
        S::load_bf16(source)
    }
    #[inline(always)]
    unsafe fn load_partial<S: Lanes>(source: *const Self, count: usize) -> S {
        S::load_bf16_partial(source, count)
    }
    #[inline(always)]
    unsafe fn store_partial<S: Lanes>(lanes: S, target: *mut Self, count: usize) {
        lanes.store_bf16_partial(target, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_to_nearest_even_and_keeps_not_a_number() {
        for (x, bits) in [
            (1.0f32, 0x3f80),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            (-0.0, 0x8000),
        ] {
            assert_eq!(Bf16::from_f32(x), Bf16(bits), "{x}");
        }
        assert!(Bf16::from_f32(f32::from_bits(0x7f80_0001)).to_f32().is_nan());
    }
}
