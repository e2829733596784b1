//! Out-of-place transposition.

use crate::simd::{LANES, Lanes, vectorized};

vectorized! {
    /// out [columns, rows] (rows of `out_stride`) = x [rows, columns]ᵀ (rows of `x_stride`)
    pub unsafe fn transpose(
        out: *mut f32, out_stride: usize, x: *const f32, x_stride: usize, rows: usize, columns: usize
    ) = transpose_body
}

#[inline(always)]
unsafe fn transpose_body<S: Lanes>(
    out: *mut f32,
    out_stride: usize,
    x: *const f32,
    x_stride: usize,
    rows: usize,
    columns: usize,
) {
    for row in (0..rows).step_by(LANES) {
        let height = (rows - row).min(LANES);
        for column in (0..columns).step_by(LANES) {
            let width = (columns - column).min(LANES);
            let mut block = [S::splat(0.0); LANES];
            for (i, lanes) in block.iter_mut().enumerate().take(height) {
                *lanes = S::load_partial(x.add((row + i) * x_stride + column), width);
            }
            let turned = S::transpose(block);
            for (j, lanes) in turned.iter().enumerate().take(width) {
                lanes.store_partial(out.add((column + j) * out_stride + row), height);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::numbers;

    #[test]
    fn every_element_finds_its_place() {
        for (rows, columns) in [(1, 1), (16, 16), (33, 70), (5, 129)] {
            let x = numbers(rows * columns, 1);
            let mut out = vec![0.0; rows * columns];
            unsafe { transpose(out.as_mut_ptr(), rows, x.as_ptr(), columns, rows, columns) };
            assert!((0..rows * columns).all(|at| out[at % columns * rows + at / columns] == x[at]));
        }
    }
}
