//! GELU (Hendrycks & Gimpel 2016), by the tanh formula of GPT-2 and by the error function, with their derivatives.

use crate::simd::math::{exp, normal_distribution, sigmoid};
use crate::simd::{Bf16, Element, LANES, Lanes, vectorized};
use crate::values::Target;

/// Which formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// 0.5 x (1 + tanh(sqrt(2/π) (x + 0.044715 x³)))
    GeluTanh,
    /// x Φ(x)
    GeluErf,
}

/// sqrt(2/π)
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;
/// 1/sqrt(2π)
const DENSITY: f32 = 0.398_942_3;

vectorized! {
    /// x = activation(x) over `length` elements.
    pub unsafe fn activate(x: *mut f32, length: usize, activation: Activation) = activate_body
}
vectorized! {
    /// gradient *= activation'(pre), then pre = activation(pre), over `length` elements, pre from element `at`.
    pub unsafe fn multiply_by_derivative(
        gradient: *mut f32, pre: Target, at: usize, length: usize, activation: Activation
    ) = multiply_by_derivative_body
}

#[inline(always)]
unsafe fn activate_body<S: Lanes>(x: *mut f32, length: usize, activation: Activation) {
    match activation {
        Activation::GeluTanh => activate_with::<S>(x, length, |x| x.mul(sigmoid(twice_inner(x)))),
        Activation::GeluErf => activate_with::<S>(x, length, |x| x.mul(normal_distribution(x))),
    }
}

#[inline(always)]
unsafe fn activate_with<S: Lanes>(x: *mut f32, length: usize, f: impl Fn(S) -> S) {
    let mut i = 0;
    while i < length {
        let count = (length - i).min(LANES);
        f(S::load_partial(x.add(i), count)).store_partial(x.add(i), count);
        i += LANES;
    }
}

#[inline(always)]
unsafe fn multiply_by_derivative_body<S: Lanes>(
    gradient: *mut f32,
    pre: Target,
    at: usize,
    length: usize,
    activation: Activation,
) {
    match pre {
        Target::F32(pre, _) => multiply_elements::<S, f32>(gradient, pre.add(at), length, activation),
        Target::Bf16(pre, _) => multiply_elements::<S, Bf16>(gradient, pre.add(at), length, activation),
    }
}

#[inline(always)]
unsafe fn multiply_elements<S: Lanes, E: Element>(
    gradient: *mut f32,
    pre: *mut E,
    length: usize,
    activation: Activation,
) {
    match activation {
        Activation::GeluTanh => multiply_with::<S, E>(gradient, pre, length, |x| {
            // With s = sigmoid(2u): d/dx x s = s + x s (1 - s) 2u'.
            let s = sigmoid(twice_inner(x));
            let slope = x.mul(x).fma(S::splat(6.0 * ROOT * CUBIC), S::splat(2.0 * ROOT));
            let value = x.mul(s);
            (value, value.mul(S::splat(1.0).sub(s)).fma(slope, s))
        }),
        Activation::GeluErf => multiply_with::<S, E>(gradient, pre, length, |x| {
            let density = S::splat(DENSITY).mul(exp(x.mul(x).mul(S::splat(-0.5))));
            let below = normal_distribution(x);
            (x.mul(below), x.fma(density, below))
        }),
    }
}

#[inline(always)]
unsafe fn multiply_with<S: Lanes, E: Element>(
    gradient: *mut f32,
    pre: *mut E,
    length: usize,
    value_and_slope: impl Fn(S) -> (S, S),
) {
    let mut i = 0;
    while i < length {
        let count = (length - i).min(LANES);
        let (value, slope) = value_and_slope(E::load_partial(pre.add(i), count));
        E::store_partial(value, pre.add(i), count);
        S::load_partial(gradient.add(i), count).mul(slope).store_partial(gradient.add(i), count);
        i += LANES;
    }
}

/// 2u = 2 sqrt(2/π) (x + 0.044715 x³); 0.5 (1 + tanh u) = sigmoid(2u) keeps its precision where tanh nears -1.
#[inline(always)]
unsafe fn twice_inner<S: Lanes>(x: S) -> S {
    let x2 = x.mul(x);
    x.mul(x2.fma(S::splat(2.0 * ROOT * CUBIC), S::splat(2.0 * ROOT)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_close;

    fn tanh_formula(x: f64) -> f64 {
        0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
    }

    #[test]
    fn values_and_slopes_match_the_formula() {
        let x: Vec<f32> = (0..1000).map(|i| -8.0 + i as f32 * 0.016).collect();
        let mut out = x.clone();
        unsafe { activate(out.as_mut_ptr(), x.len(), Activation::GeluTanh) };
        let expected: Vec<f64> = x.iter().map(|&x| tanh_formula(f64::from(x))).collect();
        assert_close(&out, &expected, 1e-6);

        let (mut slope, mut value) = (vec![1.0; x.len()], x.clone());
        unsafe {
            multiply_by_derivative(
                slope.as_mut_ptr(),
                Target::of(&mut value),
                0,
                x.len(),
                Activation::GeluTanh,
            );
        }
        let expected: Vec<f64> = x
            .iter()
            .map(|&x| (tanh_formula(f64::from(x) + 1e-5) - tanh_formula(f64::from(x) - 1e-5)) / 2e-5)
            .collect();
        assert_close(&slope, &expected, 2e-6);
        assert_eq!(value, out);
    }

    #[test]
    fn the_error_function_form_has_the_slope_of_its_values() {
        let value = |x: f32| {
            let mut out = [x];
            unsafe { activate(out.as_mut_ptr(), 1, Activation::GeluErf) };
            f64::from(out[0])
        };
        assert!((value(1.0) - 0.841_344_746).abs() < 1e-6);
        for i in 0..40 {
            let x = -4.0 + i as f32 * 0.2;
            let (mut slope, mut there) = ([1.0f32], [x]);
            unsafe {
                multiply_by_derivative(slope.as_mut_ptr(), Target::of(&mut there), 0, 1, Activation::GeluErf);
            }
            let difference = (value(x + 0.015_625) - value(x - 0.015_625)) / 0.031_25;
            assert!((f64::from(slope[0]) - difference).abs() < 3e-4, "{x}");
        }
    }
}
