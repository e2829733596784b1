//! Out-of-place transposition.

use crate::parallel::{Shared, for_ranges};
use crate::simd::{LANES, Lanes, vectorized};

/// Rows of the result that one task writes.
const ROWS: usize = 64;

/// out [columns, rows] = x [rows, columns]ᵀ
pub fn transpose(out: &mut [f32], x: &[f32], rows: usize, columns: usize) {
    assert!(out.len() == rows * columns && x.len() == rows * columns);
    let out = Shared::new(out);
    for_ranges(columns, ROWS, |part| unsafe {
        let mut row = 0;
        while row < rows {
            let height = (rows - row).min(LANES);
            let mut column = part.start;
            while column < part.end {
                let width = (part.end - column).min(LANES);
                let (source, target) = (x.as_ptr().add(row * columns + column), out.at(column * rows + row));
                if height == LANES && width == LANES {
                    transpose_block(target, rows, source, columns);
                } else {
                    for i in 0..height {
                        for j in 0..width {
                            *target.add(j * rows + i) = *source.add(i * columns + j);
                        }
                    }
                }
                column += LANES;
            }
            row += LANES;
        }
    });
}

vectorized! {
    unsafe fn transpose_block(out: *mut f32, out_stride: usize, x: *const f32, x_stride: usize) = transpose_block_body
}

/// Sixteen by sixteen elements through a buffer in L1: whole lines in, whole lines out.
#[inline(always)]
unsafe fn transpose_block_body<S: Lanes>(out: *mut f32, out_stride: usize, x: *const f32, x_stride: usize) {
    let mut block = [[0.0f32; LANES]; LANES];
    for i in 0..LANES {
        let row = x.add(i * x_stride);
        for j in 0..LANES {
            block[j][i] = *row.add(j);
        }
    }
    for (j, row) in block.iter().enumerate() {
        S::load(row.as_ptr()).store(out.add(j * out_stride));
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
            transpose(&mut out, &x, rows, columns);
            assert!((0..rows * columns).all(|at| out[at % columns * rows + at / columns] == x[at]));
        }
    }
}
