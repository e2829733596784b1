//! The rate that a micro-kernel reaches on panels that never leave the caches: the ceiling of every product.

use super::kernel::{Kernel, Precision};
use crate::parallel::for_each;
use std::time::Instant;

/// Units of the panel and the strip: together they fit in L1.
const UNITS: usize = 128;
/// Products of a measurement, and measurements.
const PRODUCTS: usize = 20_000;
const MEASUREMENTS: usize = 5;

/// Floating-point operations (multiplications and additions) in a second on all threads of the pool: the best of a few
/// measurements of some tens of milliseconds.
pub fn peak(precision: Precision) -> f64 {
    let kernel = Kernel::of(precision);
    let threads = rayon::current_num_threads();
    let numbers = UNITS * kernel.unit() * kernel.rows * kernel.columns * PRODUCTS;
    (0..MEASUREMENTS)
        .map(|_| {
            let start = Instant::now();
            for_each(threads, |_| {
                let (a, b) = (vec![0u32; UNITS * kernel.rows], vec![0u32; UNITS * kernel.columns]);
                let mut c = vec![0.0f32; kernel.rows * kernel.columns];
                for _ in 0..PRODUCTS {
                    // Safety: each side is as large as the kernel's shape asks for.
                    unsafe {
                        let sums = c.as_mut_ptr();
                        kernel.run(kernel.rows, UNITS, a.as_ptr(), b.as_ptr(), sums, kernel.columns, true);
                    }
                }
                std::hint::black_box(&c);
            });
            2.0 * (numbers * threads) as f64 / start.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max)
}
