//! AdamW (Loshchilov & Hutter 2019) in one pass over parameters, gradients and both moments.

use crate::ops::PASS;
use crate::parallel::{Shared, for_ranges};
use crate::simd::{LANES, Lanes, vectorized};

/// Settings of one step.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Counts from 1.
    pub step: f64,
}

/// The numbers that a step needs, worked out in f64 once.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    keep: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    /// learning rate / (1 - beta1^step)
    step_size: f32,
    /// 1 / sqrt(1 - beta2^step)
    root_correction: f32,
    epsilon: f32,
}

/// p -= lr*wd*p; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g²; p -= lr m̂ / (sqrt(v̂) + eps), with g scaled by
/// `gradient_factor`. As `torch.optim.AdamW`.
pub fn adamw(
    parameters: &mut [f32],
    gradients: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    gradient_factor: f32,
    s: AdamW,
) {
    let length = parameters.len();
    assert!(gradients.len() == length && m.len() == length && v.len() == length);
    let factors = Factors {
        gradient: gradient_factor,
        keep: (1.0 - s.learning_rate * s.weight_decay) as f32,
        beta1: s.beta1 as f32,
        one_minus_beta1: (1.0 - s.beta1) as f32,
        beta2: s.beta2 as f32,
        one_minus_beta2: (1.0 - s.beta2) as f32,
        step_size: (s.learning_rate / (1.0 - s.beta1.powf(s.step))) as f32,
        root_correction: (1.0 / (1.0 - s.beta2.powf(s.step)).sqrt()) as f32,
        epsilon: s.epsilon as f32,
    };
    let (parameters, m, v) = (Shared::new(parameters), Shared::new(m), Shared::new(v));
    for_ranges(length, PASS, |range| unsafe {
        let start = range.start;
        update(
            parameters.at(start),
            gradients.as_ptr().add(start),
            m.at(start),
            v.at(start),
            range.len(),
            factors,
        );
    });
}

vectorized! {
    unsafe fn update(p: *mut f32, g: *const f32, m: *mut f32, v: *mut f32, length: usize, f: Factors) = update_body
}

#[inline(always)]
unsafe fn update_body<S: Lanes>(
    p: *mut f32,
    g: *const f32,
    m: *mut f32,
    v: *mut f32,
    length: usize,
    f: Factors,
) {
    let mut i = 0;
    while i < length {
        let count = (length - i).min(LANES);
        let load = |source: *const f32| {
            if count == LANES { S::load(source.add(i)) } else { S::load_partial(source.add(i), count) }
        };
        let gradient = load(g).mul(S::splat(f.gradient));
        let first = load(m).mul(S::splat(f.beta1)).add(gradient.mul(S::splat(f.one_minus_beta1)));
        let second =
            load(v).mul(S::splat(f.beta2)).add(gradient.mul(gradient).mul(S::splat(f.one_minus_beta2)));
        let root = second.sqrt().mul(S::splat(f.root_correction)).add(S::splat(f.epsilon));
        let new = load(p).mul(S::splat(f.keep)).sub(first.div(root).mul(S::splat(f.step_size)));
        for (value, target) in [(first, m), (second, v), (new, p)] {
            if count == LANES {
                value.store(target.add(i))
            } else {
                value.store_partial(target.add(i), count)
            }
        }
        i += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers};

    #[test]
    fn steps_follow_the_formula() {
        let settings = AdamW {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            step: 0.0,
        };
        let count = 1003;
        let mut p = numbers(count, 1);
        let mut expected: Vec<f64> = p.iter().map(|&x| f64::from(x)).collect();
        let (mut m, mut v) = (vec![0.0f32; count], vec![0.0f32; count]);
        let (mut dm, mut dv) = (vec![0.0f64; count], vec![0.0f64; count]);
        for step in 1..=5 {
            let g = numbers(count, 10 + step);
            adamw(&mut p, &g, &mut m, &mut v, 0.5, AdamW { step: step as f64, ..settings });
            for i in 0..count {
                let gradient = f64::from(g[i]) * 0.5;
                expected[i] -= 0.01 * 0.1 * expected[i];
                dm[i] = 0.9 * dm[i] + 0.1 * gradient;
                dv[i] = 0.95 * dv[i] + 0.05 * gradient * gradient;
                let m_hat = dm[i] / (1.0 - 0.9f64.powi(step as i32));
                let v_hat = dv[i] / (1.0 - 0.95f64.powi(step as i32));
                expected[i] -= 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        assert_close(&p, &expected, 2e-6);
    }
}
