//! Elementary functions on [`Lanes`], each within a few units in the last place of `f32`.

use super::Lanes;

/// e^x to about 1 ulp; exactly 0 below -80, capped at e^87; not a number stays that. Neither the values, nor their inverses, nor moderate
/// multiples of them are subnormal: those cost processors a hundred cycles each.
///
/// x = n ln 2 + r with |r| <= ln 2 / 2, then a polynomial of degree 6 (Cephes `expf`) and a shift by n.
#[inline(always)]
pub unsafe fn exp<S: Lanes>(x: S) -> S {
    const LOWEST: f32 = -80.0;
    // `max` and `min` give their argument when one of the two is not a number: x goes through.
    let clamped = S::splat(87.0).min(S::splat(LOWEST).max(x));
    let n = clamped.mul(S::splat(std::f32::consts::LOG2_E)).round();
    // ln 2 in two parts: the first has few enough bits that n times it is exact.
    let r = n.fma(S::splat(-0.693_359_4), clamped);
    let r = n.fma(S::splat(2.121_944_4e-4), r);
    let mut p = S::splat(1.987_569_1e-4);
    p = p.fma(r, S::splat(1.398_199_9e-3));
    p = p.fma(r, S::splat(8.333_452e-3));
    p = p.fma(r, S::splat(4.166_579_6e-2));
    p = p.fma(r, S::splat(1.666_666_6e-1));
    p = p.fma(r, S::splat(0.5));
    let value = p.fma(r.mul(r), r).add(S::splat(1.0)).mul(n.power_of_two());
    S::select_less(x, S::splat(LOWEST), S::splat(0.0), value)
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub unsafe fn sigmoid<S: Lanes>(x: S) -> S {
    let one = S::splat(1.0);
    one.div(one.add(exp(S::splat(0.0).sub(x))))
}

/// The normal distribution function, 0.5 erfc(-x / sqrt 2), to a relative 1e-6 down to x = -5.
///
/// erfc by the Chebyshev fit of Numerical Recipes (3rd ed., 6.2.2, `erfccheb`'s short form): relative error 1.2e-7.
#[inline(always)]
pub unsafe fn normal_distribution<S: Lanes>(x: S) -> S {
    let zero = S::splat(0.0);
    let one = S::splat(1.0);
    let magnitude = x.max(zero.sub(x));
    let z = magnitude.mul(S::splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = one.div(z.fma(S::splat(0.5), one));
    let mut p = S::splat(0.170_872_77);
    for coefficient in [
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
    ] {
        p = p.fma(t, S::splat(coefficient));
    }
    let exponent = p.fma(t, S::splat(-1.265_512_2)).sub(z.mul(z));
    let tail = S::splat(0.5).mul(t).mul(exp(exponent));
    S::select_less(x, zero, tail, one.sub(tail))
}

#[cfg(test)]
mod tests {
    use super::super::Portable;
    use super::*;

    fn apply(f: unsafe fn(Portable) -> Portable, x: f32) -> f64 {
        unsafe { f64::from(f(Portable::splat(x)).to_array()[0]) }
    }

    #[test]
    fn exp_is_accurate_everywhere() {
        for i in 0..20_000 {
            let x = -80.0 + i as f32 * 0.008_3;
            let expected = f64::from(x).exp();
            assert!(((apply(exp, x) - expected) / expected).abs() < 2e-7, "{x}");
        }
        assert_eq!(apply(exp, -100.0), 0.0);
        assert_eq!(apply(exp, f32::NEG_INFINITY), 0.0);
        assert_eq!(apply(exp, 0.0), 1.0);
        assert!(apply(exp, f32::NAN).is_nan());
    }

    #[test]
    fn normal_distribution_is_accurate() {
        // 0.5 erfc(-x / sqrt 2) from a table of 17 digits.
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.0, 0.158_655_253_931_457_05),
            (-3.0, 1.349_898_031_630_094_5e-3),
            (-5.0, 2.866_515_718_791_939e-7),
            (2.5, 0.993_790_334_674_223_8),
        ] {
            let got = apply(normal_distribution, x);
            assert!(((got - expected) / expected).abs() < 1.5e-6, "{x}: {got} {expected}");
        }
    }
}
