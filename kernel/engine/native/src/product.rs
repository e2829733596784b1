//! Matrix products of f32 on one thread: the `gemm-f32` crate's kernels (AVX-512, FMA, NEON, portable) behind the
//! strides that row-major tensors need. Callers cut products into tiles and spread those over threads.

use gemm_common::Parallelism;

/// A read-only matrix: element (row, column) at `data[row * row_stride + column * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix {
    /// Element (0, 0).
    pub data: *const f32,
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub column_stride: usize,
}

unsafe impl Send for Matrix {}
unsafe impl Sync for Matrix {}

impl Matrix {
    /// Rows of `stride` elements, contiguous within a row.
    pub fn rows(data: *const f32, stride: usize) -> Self {
        Self { data, row_stride: stride, column_stride: 1 }
    }

    /// The transpose of rows of `stride` elements.
    pub fn columns(data: *const f32, stride: usize) -> Self {
        Self { data, row_stride: 1, column_stride: stride }
    }

    /// The matrix without its first `count` columns.
    pub fn skip_columns(self, count: usize) -> Self {
        Self { data: self.data.wrapping_add(count * self.column_stride), ..self }
    }

    fn transposed(self) -> Self {
        Self { data: self.data, row_stride: self.column_stride, column_stride: self.row_stride }
    }
}

/// Whether a product replaces the output or adds to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// out = a·b
    Replace,
    /// out += a·b
    Add,
}

/// out [m,n] (rows of `stride`) = or += a [m,k] · b [k,n]. All pointers must cover their matrices, `out` must
/// overlap neither `a` nor `b`.
pub unsafe fn product(
    m: usize,
    n: usize,
    k: usize,
    out: *mut f32,
    stride: usize,
    store: Store,
    a: Matrix,
    b: Matrix,
) {
    // The kernels write columns: a row-major result is the transposed product, outᵀ = bᵀ·aᵀ.
    column_product(n, m, k, out, stride, store, b.transposed(), a.transposed());
}

/// The same with `out` in columns of `stride`: element (i, j) at `out[j * stride + i]`.
pub unsafe fn column_product(
    m: usize,
    n: usize,
    k: usize,
    out: *mut f32,
    stride: usize,
    store: Store,
    a: Matrix,
    b: Matrix,
) {
    gemm_f32::gemm::f32::get_gemm_fn()(
        m,
        n,
        k,
        out,
        stride as isize,
        1,
        store == Store::Add,
        a.data,
        a.column_stride as isize,
        a.row_stride as isize,
        b.data,
        b.column_stride as isize,
        b.row_stride as isize,
        1.0,
        1.0,
        false,
        false,
        false,
        Parallelism::None,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers};

    #[test]
    fn products_match_the_definition_in_every_layout() {
        for (m, n, k) in [(1, 1, 1), (1, 37, 70), (5, 1, 9), (17, 33, 65), (64, 130, 48), (3, 200, 300)] {
            let (a, b, start) = (numbers(m * k, 1), numbers(k * n, 2), numbers(m * n, 3));
            for (a_columns, b_columns, store) in
                [(false, false, Store::Replace), (true, false, Store::Add), (false, true, Store::Replace)]
            {
                let matrix = |data: &[f32], rows: usize, columns: usize, transposed: bool| {
                    if transposed {
                        Matrix::columns(data.as_ptr(), rows)
                    } else {
                        Matrix::rows(data.as_ptr(), columns)
                    }
                };
                let (ma, mb) = (matrix(&a, m, k, a_columns), matrix(&b, k, n, b_columns));
                let expected: Vec<f64> = (0..m * n)
                    .map(|index| {
                        let (i, j) = (index / n, index % n);
                        let sum: f64 = (0..k)
                            .map(|l| unsafe {
                                f64::from(*ma.data.add(i * ma.row_stride + l * ma.column_stride))
                                    * f64::from(*mb.data.add(l * mb.row_stride + j * mb.column_stride))
                            })
                            .sum();
                        sum + if store == Store::Add { f64::from(start[index]) } else { 0.0 }
                    })
                    .collect();
                let mut out = start.clone();
                unsafe { product(m, n, k, out.as_mut_ptr(), n, store, ma, mb) };
                assert_close(&out, &expected, 1e-5);
            }
        }
    }
}
