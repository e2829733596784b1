//! Global gradient norm and the clipping factor.

use crate::memory::Buffer;
use crate::parallel::{Shared, for_ranges, ranges};
use crate::simd::{LANES, Lanes, vectorized};
use std::cell::RefCell;

/// Elements whose squares one task sums.
const CHUNK: usize = 64 * 1024;

thread_local! {
    /// The chunks' sums, kept from call to call.
    static SUMS: RefCell<Buffer<f64>> = const { RefCell::new(Buffer::new()) };
}

/// The sum of squares of x in f64: sixteen partial sums a chunk, chunks added in order.
pub fn squared_norm(x: &[f32]) -> f64 {
    SUMS.with_borrow_mut(|sums| {
        let sums = sums.get(ranges(x.len(), CHUNK));
        let shared = Shared::new(sums);
        for_ranges(x.len(), CHUNK, |elements| unsafe {
            let at = shared.at(elements.start / CHUNK);
            *at = sum_of_squares(x.as_ptr().add(elements.start), elements.len());
        });
        sums.iter().sum()
    })
}

/// min(1, maximum / (sqrt(squared) + 1e-6)), as `torch.nn.utils.clip_grad_norm_`.
pub fn clip_factor(squared: f32, maximum: f64) -> f32 {
    let factor = maximum / (f64::from(squared).sqrt() + 1e-6);
    // Not `min`, which would turn a norm that is not a number into the factor 1.
    if factor > 1.0 { 1.0 } else { factor as f32 }
}

vectorized! { unsafe fn sum_of_squares(x: *const f32, length: usize) -> f64 = sum_of_squares_body }

/// Plain loops over sixteen f64 accumulators, which the compiler turns into vectors of the level's width.
#[inline(always)]
unsafe fn sum_of_squares_body<S: Lanes>(x: *const f32, length: usize) -> f64 {
    let mut sums = [0.0f64; LANES];
    let mut i = 0;
    while i + LANES <= length {
        for lane in 0..LANES {
            let value = f64::from(*x.add(i + lane));
            sums[lane] += value * value;
        }
        i += LANES;
    }
    for lane in 0..length - i {
        let value = f64::from(*x.add(i + lane));
        sums[lane] += value * value;
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;

    #[test]
    fn squares_are_summed_in_double_precision() {
        let x = numbers(300_007, 5);
        let expected: f64 = x.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        assert!((squared_norm(&x) / expected - 1.0).abs() < 1e-12);
        assert_eq!(squared_norm(&[]), 0.0);
    }

    #[test]
    fn gradients_are_scaled_down_only() {
        assert_eq!(clip_factor(0.25, 1.0), 1.0);
        assert!((clip_factor(16.0, 1.0) - 0.25).abs() < 1e-6);
        assert!(clip_factor(f32::NAN, 1.0).is_nan());
    }
}
