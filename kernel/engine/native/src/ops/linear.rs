//! Linear layers, weights [I,O]: forward with bias and activation in the product's epilogue, and both gradients.
//!
//! Products are cut into tiles of fixed size; a tile's epilogue runs while the tile is in its thread's cache.

use crate::memory::Scratch;
use crate::ops::elementwise::accumulate;
use crate::ops::gelu::{Activation, activate_row, multiply_by_derivative};
use crate::parallel::{Shared, for_each, for_ranges, range, ranges};
use crate::product::{Matrix, Store, product};
use crate::simd::LANES;
use crate::transpose::transpose;

/// Tile of an output [N, O]: rows and columns.
const TILE_ROWS: usize = 128;
const TILE_COLUMNS: usize = 384;
/// Rows summed before their sum joins the bias gradient, and columns of one task.
const BIAS_ROWS: usize = 64;
const BIAS_COLUMNS: usize = 128;
/// Below so many rows a transposed copy of the weights costs more than it saves.
const TRANSPOSE_ROWS: usize = 32;

/// The size, near `target` and a multiple of the vectors' width, of equal parts of `length`.
fn even(length: usize, target: usize) -> usize {
    length.div_ceil(ranges(length, target).max(1)).next_multiple_of(LANES)
}

/// Calls `task(rows, columns)` for every tile of an [n, o] result, tiles of the same columns after each other.
fn for_tiles(
    n: usize,
    o: usize,
    tile: (usize, usize),
    task: impl Fn(std::ops::Range<usize>, std::ops::Range<usize>) + Sync,
) {
    let tile = (even(n, tile.0), even(o, tile.1));
    let down = ranges(n, tile.0);
    for_each(down * ranges(o, tile.1), |index| {
        task(range(n, tile.0, index % down), range(o, tile.1, index / down))
    });
}

/// Tile of a weight gradient [I, O]: large ones pack less, small ones leave something for every thread.
fn gradient_tile(i: usize, o: usize) -> (usize, usize) {
    match i * o / 1024 {
        0..256 => (128, 256),
        256..512 => (256, 256),
        _ => (256, 384),
    }
}

/// out [N,O] = x [N,I] · w [I,O] + bias [O].
pub fn linear(out: &mut [f32], x: &[f32], w: &[f32], bias: Option<&[f32]>, n: usize, i: usize, o: usize) {
    assert!(out.len() == n * o && x.len() == n * i && w.len() == i * o && bias.is_none_or(|b| b.len() == o));
    let out = Shared::new(out);
    for_tiles(n, o, (TILE_ROWS, TILE_COLUMNS), |rows, columns| unsafe {
        // The bias is what the product adds to: no pass of its own over the result.
        if let Some(bias) = bias {
            for row in rows.clone() {
                out.part(row * o + columns.start..row * o + columns.end)
                    .copy_from_slice(&bias[columns.clone()]);
            }
        }
        product(
            rows.len(),
            columns.len(),
            i,
            out.at(rows.start * o + columns.start),
            o,
            if bias.is_some() { Store::Add } else { Store::Replace },
            Matrix::rows(x.as_ptr().add(rows.start * i), i),
            Matrix::rows(w.as_ptr().add(columns.start), o),
        );
    });
}

/// pre = x·w + bias; out = activation(pre). Without `pre` only `out` is written.
pub fn linear_activation(
    out: &mut [f32],
    pre: Option<&mut [f32]>,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
    n: usize,
    i: usize,
    o: usize,
) {
    assert!(out.len() == n * o && x.len() == n * i && w.len() == i * o && bias.is_none_or(|b| b.len() == o));
    assert!(pre.as_ref().is_none_or(|pre| pre.len() == n * o));
    let out = Shared::new(out);
    let pre = pre.map_or(out, Shared::new);
    for_tiles(n, o, (TILE_ROWS, TILE_COLUMNS), |rows, columns| unsafe {
        product(
            rows.len(),
            columns.len(),
            i,
            pre.at(rows.start * o + columns.start),
            o,
            Store::Replace,
            Matrix::rows(x.as_ptr().add(rows.start * i), i),
            Matrix::rows(w.as_ptr().add(columns.start), o),
        );
        let bias = bias.map_or(std::ptr::null(), |b| b.as_ptr().add(columns.start));
        for row in rows {
            let at = row * o + columns.start;
            activate_row(out.at(at), pre.at(at), bias, columns.len(), activation);
        }
    });
}

/// dx [N,I] = dout [N,O] · wᵀ, times activation'(pre [N,I]) where one is given.
pub fn linear_input_gradient(
    dx: &mut [f32],
    dout: &[f32],
    w: &[f32],
    activation: Option<(&[f32], Activation)>,
    scratch: &mut Scratch,
    n: usize,
    i: usize,
    o: usize,
) {
    assert!(dx.len() == n * i && dout.len() == n * o && w.len() == i * o);
    assert!(activation.is_none_or(|(pre, _)| pre.len() == n * i));
    // The kernels are fastest on rows of the right-hand side: transposed once, w becomes that.
    let w = if n < TRANSPOSE_ROWS {
        Matrix::columns(w.as_ptr(), o)
    } else {
        let transposed = scratch.floats(i * o);
        transpose(transposed, w, i, o);
        Matrix::rows(transposed.as_ptr(), i)
    };
    let dx = Shared::new(dx);
    for_tiles(n, i, (TILE_ROWS, TILE_COLUMNS), |rows, columns| unsafe {
        product(
            rows.len(),
            columns.len(),
            o,
            dx.at(rows.start * i + columns.start),
            i,
            Store::Replace,
            Matrix::rows(dout.as_ptr().add(rows.start * o), o),
            w.skip_columns(columns.start),
        );
        if let Some((pre, activation)) = activation {
            for row in rows {
                let at = row * i + columns.start;
                multiply_by_derivative(dx.at(at), pre.as_ptr().add(at), columns.len(), activation);
            }
        }
    });
}

/// dw [I,O] += x [N,I]ᵀ · dout [N,O]; dbias [O] += column sums of dout.
pub fn linear_weight_gradient(
    dw: &mut [f32],
    dbias: Option<&mut [f32]>,
    x: &[f32],
    dout: &[f32],
    n: usize,
    i: usize,
    o: usize,
) {
    assert!(dw.len() == i * o && x.len() == n * i && dout.len() == n * o);
    assert!(dbias.as_ref().is_none_or(|d| d.len() == o));
    if let Some(dbias) = dbias {
        add_column_sums(dbias, dout, n, o);
    }
    let dw = Shared::new(dw);
    for_tiles(i, o, gradient_tile(i, o), |rows, columns| unsafe {
        product(
            rows.len(),
            columns.len(),
            n,
            dw.at(rows.start * o + columns.start),
            o,
            Store::Add,
            Matrix::columns(x.as_ptr().add(rows.start), i),
            Matrix::rows(dout.as_ptr().add(columns.start), o),
        );
    });
}

/// sums [O] += the column sums of x [N,O], rows in chunks and chunks in order.
fn add_column_sums(sums: &mut [f32], x: &[f32], n: usize, o: usize) {
    let sums = Shared::new(sums);
    for_ranges(o, BIAS_COLUMNS, |columns| unsafe {
        let target = sums.part(columns.clone());
        for chunk in 0..ranges(n, BIAS_ROWS) {
            let mut partial = [0.0f32; BIAS_COLUMNS];
            for row in range(n, BIAS_ROWS, chunk) {
                accumulate(partial.as_mut_ptr(), x.as_ptr().add(row * o + columns.start), columns.len());
            }
            accumulate(target.as_mut_ptr(), partial.as_ptr(), columns.len());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers};

    /// a [m,k] · b [k,n] in f64, from any element functions.
    fn multiply(
        m: usize,
        n: usize,
        k: usize,
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
    ) -> Vec<f64> {
        (0..m * n)
            .map(|index| (0..k).map(|l| f64::from(a(index / n, l)) * f64::from(b(l, index % n))).sum())
            .collect()
    }

    #[test]
    fn forward_and_gradients_match_the_definition() {
        for (n, i, o) in [(1, 8, 12), (40, 33, 17), (300, 40, 800)] {
            let (x, w, bias, dout) = (numbers(n * i, 1), numbers(i * o, 2), numbers(o, 3), numbers(n * o, 4));
            let mut out = vec![9.0; n * o];
            linear(&mut out, &x, &w, Some(&bias), n, i, o);
            let mut expected = multiply(n, o, i, |r, c| x[r * i + c], |r, c| w[r * o + c]);
            expected.iter_mut().enumerate().for_each(|(at, value)| *value += f64::from(bias[at % o]));
            assert_close(&out, &expected, 1e-5);

            let (mut activated, mut pre) = (vec![0.0; n * o], vec![0.0; n * o]);
            let act = Activation::GeluTanh;
            linear_activation(&mut activated, Some(&mut pre), &x, &w, Some(&bias), act, n, i, o);
            assert_close(&pre, &expected, 1e-5);
            let mut alone = vec![0.0; n * o];
            linear_activation(&mut alone, None, &x, &w, Some(&bias), act, n, i, o);
            assert_eq!(alone, activated);

            let mut dx = vec![9.0; n * i];
            let mut scratch = Scratch::default();
            linear_input_gradient(&mut dx, &dout, &w, None, &mut scratch, n, i, o);
            let expected = multiply(n, i, o, |r, c| dout[r * o + c], |r, c| w[c * o + r]);
            assert_close(&dx, &expected, 5e-5);
            let mut dpre = vec![9.0; n * i];
            linear_input_gradient(&mut dpre, &dout, &w, Some((&x, act)), &mut scratch, n, i, o);
            unsafe { multiply_by_derivative(dx.as_mut_ptr(), x.as_ptr(), n * i, act) };
            let expected: Vec<f64> = dx.iter().map(|&v| f64::from(v)).collect();
            assert_close(&dpre, &expected, 1e-6);

            let (mut dw, mut dbias) = (vec![1.0; i * o], vec![1.0; o]);
            linear_weight_gradient(&mut dw, Some(&mut dbias), &x, &dout, n, i, o);
            let mut expected = multiply(i, o, n, |r, c| x[c * i + r], |r, c| dout[r * o + c]);
            expected.iter_mut().for_each(|value| *value += 1.0);
            assert_close(&dw, &expected, 1e-5);
            let expected: Vec<f64> =
                (0..o).map(|c| 1.0 + (0..n).map(|r| f64::from(dout[r * o + c])).sum::<f64>()).collect();
            assert_close(&dbias, &expected, 1e-5);
        }
    }
}
