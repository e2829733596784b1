//! Layer norm over the last axis (eps 1e-5), alone or after adding a residual, and its backward.

use crate::memory::Buffer;
use crate::parallel::{Shared, for_ranges, ranges};
use crate::simd::{LANES, Lanes, vectorized};
use crate::values::{Target, Values};
use std::cell::RefCell;

const EPSILON: f32 = 1e-5;
/// Rows of one task; in the backward pass also the rows whose dgamma and dbeta are summed before the chunks are.
const ROWS: usize = 32;

thread_local! {
    /// Partial sums of the backward pass, kept from call to call.
    static PARTIALS: RefCell<Buffer<f32>> = const { RefCell::new(Buffer::new()) };
}

/// out = (x - mean) * rstd * gamma + beta, row by row; keeps mean and rstd [N].
pub fn layer_norm(out: Target, mean: &mut [f32], rstd: &mut [f32], x: &[f32], gamma: &[f32], beta: &[f32]) {
    let (n, c) = (mean.len(), gamma.len());
    assert!(out.len() == n * c && x.len() == n * c && rstd.len() == n && beta.len() == c);
    let (mean, rstd) = (Shared::new(mean), Shared::new(rstd));
    for_ranges(n, ROWS, |rows| unsafe {
        for row in rows {
            let at = row * c;
            let statistics = normalize_row(out, at, x.as_ptr().add(at), gamma.as_ptr(), beta.as_ptr(), c);
            (*mean.at(row), *rstd.at(row)) = statistics;
        }
    });
}

/// sum = residual + x; out = layer_norm(sum). `sum` may be `residual`.
pub unsafe fn add_layer_norm(
    sum: *mut f32,
    out: Target,
    mean: &mut [f32],
    rstd: &mut [f32],
    residual: *const f32,
    x: &[f32],
    gamma: &[f32],
    beta: &[f32],
) {
    let (n, c) = (mean.len(), gamma.len());
    assert!(out.len() == n * c && x.len() == n * c && rstd.len() == n && beta.len() == c);
    let (mean, rstd) = (Shared::new(mean), Shared::new(rstd));
    let pointers = (sum as usize, residual as usize);
    for_ranges(n, ROWS, |rows| unsafe {
        let (sum, residual) = (pointers.0 as *mut f32, pointers.1 as *const f32);
        for row in rows {
            let at = row * c;
            add_row(sum.add(at), residual.add(at), x.as_ptr().add(at), c);
            let statistics = normalize_row(out, at, sum.add(at), gamma.as_ptr(), beta.as_ptr(), c);
            (*mean.at(row), *rstd.at(row)) = statistics;
        }
    });
}

/// dx += gradient through the norm; dgamma += sum dout * x̂; dbeta += sum dout, with x̂ = (x - mean) * rstd.
pub fn layer_norm_backward(
    dx: &mut [f32],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
    dout: &[f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: &[f32],
) {
    let (n, c) = (mean.len(), gamma.len());
    assert!(dx.len() == n * c && dout.len() == n * c && x.len() == n * c && rstd.len() == n);
    assert!(dgamma.len() == c && dbeta.len() == c);
    // One partial [dgamma | dbeta] a chunk of rows, added in order at the end.
    PARTIALS.with_borrow_mut(|partials| {
        let partials = partials.get(ranges(n, ROWS) * 2 * c);
        partials.fill(0.0);
        backward_rows(Shared::new(dx), partials, dout, x, mean, rstd, gamma);
        for partial in partials.chunks_exact(2 * c) {
            Values::F32(&partial[..c]).add_to(0, dgamma);
            Values::F32(&partial[c..]).add_to(0, dbeta);
        }
    });
}

/// dx += gradient through the norm; each chunk of rows adds to its [dgamma | dbeta].
fn backward_rows(
    dx: Shared<f32>,
    partials: &mut [f32],
    dout: &[f32],
    x: &[f32],
    mean: &[f32],
    rstd: &[f32],
    gamma: &[f32],
) {
    let (n, c, shared) = (mean.len(), gamma.len(), Shared::new(partials));
    for_ranges(n, ROWS, |rows| unsafe {
        let partial = rows.start / ROWS * 2 * c;
        for row in rows {
            let at = row * c;
            backward_row(
                dx.at(at),
                shared.at(partial),
                shared.at(partial + c),
                dout.as_ptr().add(at),
                x.as_ptr().add(at),
                gamma.as_ptr(),
                mean[row],
                rstd[row],
                c,
            );
        }
    });
}

vectorized! {
    /// Normalises one row to `out` from `at`; gives (mean, 1 / deviation).
    unsafe fn normalize_row(
        out: Target, at: usize, x: *const f32, gamma: *const f32, beta: *const f32, c: usize
    ) -> (f32, f32) = normalize_row_body
}
vectorized! {
    unsafe fn add_row(sum: *mut f32, a: *const f32, b: *const f32, c: usize) = add_row_body
}
vectorized! {
    unsafe fn backward_row(
        dx: *mut f32, dgamma: *mut f32, dbeta: *mut f32, dout: *const f32, x: *const f32, gamma: *const f32,
        mean: f32, rstd: f32, c: usize
    ) = backward_row_body
}

#[inline(always)]
unsafe fn add_row_body<S: Lanes>(sum: *mut f32, a: *const f32, b: *const f32, c: usize) {
    let mut i = 0;
    while i < c {
        let count = (c - i).min(LANES);
        S::load_partial(a.add(i), count)
            .add(S::load_partial(b.add(i), count))
            .store_partial(sum.add(i), count);
        i += LANES;
    }
}

#[inline(always)]
unsafe fn normalize_row_body<S: Lanes>(
    out: Target,
    at: usize,
    x: *const f32,
    gamma: *const f32,
    beta: *const f32,
    c: usize,
) -> (f32, f32) {
    let mut sum = S::splat(0.0);
    let mut i = 0;
    while i < c {
        sum = sum.add(S::load_partial(x.add(i), (c - i).min(LANES)));
        i += LANES;
    }
    let mean = sum.sum() / c as f32;
    // Two passes: the row is in the cache, and the variance of a row far from zero keeps its digits.
    let mut squares = S::splat(0.0);
    i = 0;
    while i + LANES <= c {
        let distance = S::load(x.add(i)).sub(S::splat(mean));
        squares = distance.fma(distance, squares);
        i += LANES;
    }
    let mut total = squares.sum();
    while i < c {
        total += (*x.add(i) - mean) * (*x.add(i) - mean);
        i += 1;
    }
    let rstd = 1.0 / (total / c as f32 + EPSILON).sqrt();
    i = 0;
    while i < c {
        let count = (c - i).min(LANES);
        let normal = S::load_partial(x.add(i), count).sub(S::splat(mean)).mul(S::splat(rstd));
        let result = normal.fma(S::load_partial(gamma.add(i), count), S::load_partial(beta.add(i), count));
        match out {
            Target::F32(data, _) => result.store_partial(data.add(at + i), count),
            Target::Bf16(data, _) => result.store_bf16_partial(data.add(at + i), count),
        }
        i += LANES;
    }
    (mean, rstd)
}

#[inline(always)]
unsafe fn backward_row_body<S: Lanes>(
    dx: *mut f32,
    dgamma: *mut f32,
    dbeta: *mut f32,
    dout: *const f32,
    x: *const f32,
    gamma: *const f32,
    mean: f32,
    rstd: f32,
    c: usize,
) {
    // With d = dout * gamma: dx = rstd * (d - mean(d) - x̂ * mean(d * x̂)).
    let (mut sum, mut product) = (S::splat(0.0), S::splat(0.0));
    let mut i = 0;
    while i < c {
        let count = (c - i).min(LANES);
        let gradient = S::load_partial(dout.add(i), count);
        let normal = S::load_partial(x.add(i), count).sub(S::splat(mean)).mul(S::splat(rstd));
        let scaled = gradient.mul(S::load_partial(gamma.add(i), count));
        sum = sum.add(scaled);
        product = scaled.fma(normal, product);
        gradient.fma(normal, S::load_partial(dgamma.add(i), count)).store_partial(dgamma.add(i), count);
        gradient.add(S::load_partial(dbeta.add(i), count)).store_partial(dbeta.add(i), count);
        i += LANES;
    }
    let (mean_gradient, mean_product) = (sum.sum() / c as f32, product.sum() / c as f32);
    i = 0;
    while i < c {
        let count = (c - i).min(LANES);
        let normal = S::load_partial(x.add(i), count).sub(S::splat(mean)).mul(S::splat(rstd));
        let scaled = S::load_partial(dout.add(i), count).mul(S::load_partial(gamma.add(i), count));
        let inner = scaled.sub(S::splat(mean_gradient)).sub(normal.mul(S::splat(mean_product)));
        inner.fma(S::splat(rstd), S::load_partial(dx.add(i), count)).store_partial(dx.add(i), count);
        i += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers};

    /// The loss sum(out * weight) of a row in f64, for differences.
    fn loss(x: &[f64], gamma: &[f32], beta: &[f32], weight: &[f32]) -> f64 {
        let c = x.len() as f64;
        let mean = x.iter().sum::<f64>() / c;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / c;
        (0..x.len())
            .map(|i| {
                let normal = (x[i] - mean) / (variance + 1e-5).sqrt();
                (normal * f64::from(gamma[i]) + f64::from(beta[i])) * f64::from(weight[i])
            })
            .sum()
    }

    #[test]
    fn gradients_match_differences_of_the_definition() {
        for c in [5, 16, 50] {
            let n = 70;
            let (x, gamma, beta, dout) = (numbers(n * c, 1), numbers(c, 2), numbers(c, 3), numbers(n * c, 4));
            let (mut out, mut mean, mut rstd) = (vec![0.0; n * c], vec![0.0; n], vec![0.0; n]);
            layer_norm(Target::of(&mut out), &mut mean, &mut rstd, &x, &gamma, &beta);
            let (mut dx, mut dgamma, mut dbeta) = (vec![1.0; n * c], vec![0.0; c], vec![0.0; c]);
            layer_norm_backward(&mut dx, &mut dgamma, &mut dbeta, &dout, &x, &mean, &rstd, &gamma);
            for row in [0, 33, 69] {
                let at = row * c..(row + 1) * c;
                let wide: Vec<f64> = x[at.clone()].iter().map(|&v| f64::from(v)).collect();
                let expected: Vec<f64> = (0..c)
                    .map(|i| {
                        let (mut up, mut down) = (wide.clone(), wide.clone());
                        up[i] += 1e-4;
                        down[i] -= 1e-4;
                        let slope = loss(&up, &gamma, &beta, &dout[at.clone()])
                            - loss(&down, &gamma, &beta, &dout[at.clone()]);
                        1.0 + slope / 2e-4
                    })
                    .collect();
                assert_close(&dx[at], &expected, 1e-4);
            }
            let expected: Vec<f64> =
                (0..c).map(|i| (0..n).map(|row| f64::from(dout[row * c + i])).sum()).collect();
            assert_close(&dbeta, &expected, 1e-5);
        }
    }
}
