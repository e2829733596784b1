//! Linear layers, weights [I,O]: forward with bias and activation in the product's epilogue, and both gradients.

use crate::ops::gelu::{Activation, activate, multiply_by_derivative};
use crate::parallel::{Shared, for_ranges, range, ranges};
use crate::product::{AHEAD, Operand, Packed, Precision, Store, product};
use crate::values::{Target, Values};

/// Rows summed before their sum joins the bias gradient, and columns of one task.
const BIAS_ROWS: usize = 64;
const BIAS_COLUMNS: usize = 128;

/// Sizes of a layer: N rows, I inputs, O outputs.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Rows.
    pub n: usize,
    /// Inputs.
    pub i: usize,
    /// Outputs.
    pub o: usize,
}

/// out [N,O] = x [N,I] · w [I,O] + bias [O].
pub fn linear(
    out: Target,
    x: Values,
    w: Values,
    bias: Option<&[f32]>,
    Sizes { n, i, o }: Sizes,
    packed: &mut Packed,
) {
    assert!(out.len() == n * o && x.len() == n * i && w.len() == i * o && bias.is_none_or(|b| b.len() == o));
    let (rows, columns) = (Operand::along_rows(x, i), Operand::along_columns(w, o));
    product(Precision::of(&[x, w]), (n, o, i), rows, columns, packed, |tile| {
        for row in tile.rows.clone() {
            let sums = tile.row(row);
            if let Some(bias) = bias {
                Values::F32(bias).add_to(tile.columns.start, sums);
            }
            let at = row * o + tile.columns.start;
            out.prefetch(at + AHEAD * o, sums.len());
            unsafe { out.store(at, sums) };
        }
    });
}

/// pre = x·w + bias; out = activation(pre). Without `pre` only `out` is written.
pub fn linear_activation(
    out: Target,
    pre: Option<Target>,
    x: Values,
    w: Values,
    bias: Option<&[f32]>,
    activation: Activation,
    Sizes { n, i, o }: Sizes,
    packed: &mut Packed,
) {
    assert!(out.len() == n * o && x.len() == n * i && w.len() == i * o && bias.is_none_or(|b| b.len() == o));
    assert!(pre.as_ref().is_none_or(|pre| pre.len() == n * o));
    let (rows, columns) = (Operand::along_rows(x, i), Operand::along_columns(w, o));
    product(Precision::of(&[x, w]), (n, o, i), rows, columns, packed, |tile| {
        for row in tile.rows.clone() {
            let (at, sums) = (row * o + tile.columns.start, tile.row(row));
            if let Some(bias) = bias {
                Values::F32(bias).add_to(tile.columns.start, sums);
            }
            out.prefetch(at + AHEAD * o, sums.len());
            unsafe {
                if let Some(pre) = pre {
                    pre.prefetch(at + AHEAD * o, sums.len());
                    pre.store(at, sums);
                }
                activate(sums.as_mut_ptr(), sums.len(), activation);
                out.store(at, sums);
            }
        }
    });
}

/// dx [N,I] = dout [N,O] · wᵀ, times activation'(pre [N,I]) where one is given; that becomes activation(pre).
pub fn linear_input_gradient(
    dx: Target,
    dout: Values,
    w: Values,
    activation: Option<(Target, Activation)>,
    Sizes { n, i, o }: Sizes,
    packed: &mut Packed,
) {
    assert!(dx.len() == n * i && dout.len() == n * o && w.len() == i * o);
    assert!(activation.is_none_or(|(pre, _)| pre.len() == n * i));
    let (rows, columns) = (Operand::along_rows(dout, o), Operand::along_rows(w, o));
    product(Precision::of(&[dout, w]), (n, i, o), rows, columns, packed, |tile| {
        for row in tile.rows.clone() {
            let (at, sums) = (row * i + tile.columns.start, tile.row(row));
            dx.prefetch(at + AHEAD * i, sums.len());
            unsafe {
                if let Some((pre, activation)) = activation {
                    pre.prefetch(at + AHEAD * i, sums.len());
                    multiply_by_derivative(sums.as_mut_ptr(), pre, at, sums.len(), activation);
                }
                dx.store(at, sums);
            }
        }
    });
}

/// dw [I,O] = or += x [N,I]ᵀ · dout [N,O]; dbias [O] = or += column sums of dout.
pub fn linear_weight_gradient(
    dw: &mut [f32],
    dbias: Option<&mut [f32]>,
    x: Values,
    dout: Values,
    store: Store,
    Sizes { n, i, o }: Sizes,
    packed: &mut Packed,
) {
    assert!(dw.len() == i * o && x.len() == n * i && dout.len() == n * o);
    assert!(dbias.as_ref().is_none_or(|d| d.len() == o));
    if let Some(dbias) = dbias {
        if store == Store::Replace {
            dbias.fill(0.0);
        }
        add_column_sums(dbias, dout, n, o);
    }
    let dw = Shared::new(dw);
    let (rows, columns) = (Operand::along_columns(x, i), Operand::along_columns(dout, o));
    product(Precision::of(&[x, dout]), (i, o, n), rows, columns, packed, |tile| unsafe {
        tile.put(dw, o, store);
    });
}

/// sums [O] += the column sums of x [N,O], rows in chunks and chunks in order.
fn add_column_sums(sums: &mut [f32], x: Values, n: usize, o: usize) {
    let sums = Shared::new(sums);
    for_ranges(o, BIAS_COLUMNS, |columns| unsafe {
        let target = sums.part(columns.clone());
        for chunk in 0..ranges(n, BIAS_ROWS) {
            let mut partial = [0.0f32; BIAS_COLUMNS];
            let partial = &mut partial[..columns.len()];
            for row in range(n, BIAS_ROWS, chunk) {
                x.prefetch((row + AHEAD) * o + columns.start, columns.len());
                x.add_to(row * o + columns.start, partial);
            }
            Values::F32(partial).add_to(0, target);
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
            let (sizes, mut packed) = (Sizes { n, i, o }, Packed::new());
            let (xs, ws, douts) = (Values::F32(&x), Values::F32(&w), Values::F32(&dout));
            linear(Target::of(&mut out), xs, ws, Some(&bias), sizes, &mut packed);
            let mut expected = multiply(n, o, i, |r, c| x[r * i + c], |r, c| w[r * o + c]);
            expected.iter_mut().enumerate().for_each(|(at, value)| *value += f64::from(bias[at % o]));
            assert_close(&out, &expected, 1e-5);

            let (mut activated, mut pre) = (vec![0.0; n * o], vec![0.0; n * o]);
            let act = Activation::GeluTanh;
            let kept = Some(Target::of(&mut pre));
            linear_activation(Target::of(&mut activated), kept, xs, ws, Some(&bias), act, sizes, &mut packed);
            assert_close(&pre, &expected, 1e-5);
            let mut alone = vec![0.0; n * o];
            linear_activation(Target::of(&mut alone), None, xs, ws, Some(&bias), act, sizes, &mut packed);
            assert_eq!(alone, activated);

            let mut dx = vec![9.0; n * i];
            linear_input_gradient(Target::of(&mut dx), douts, ws, None, sizes, &mut packed);
            let expected = multiply(n, i, o, |r, c| dout[r * o + c], |r, c| w[c * o + r]);
            assert_close(&dx, &expected, 5e-5);
            let mut dpre = vec![9.0; n * i];
            let (mut pre, mut same) = (x.clone(), x.clone());
            let through = Some((Target::of(&mut pre), act));
            linear_input_gradient(Target::of(&mut dpre), douts, ws, through, sizes, &mut packed);
            unsafe { multiply_by_derivative(dx.as_mut_ptr(), Target::of(&mut same), 0, n * i, act) };
            assert_eq!(pre, same);
            let expected: Vec<f64> = dx.iter().map(|&v| f64::from(v)).collect();
            assert_close(&dpre, &expected, 1e-6);

            let (mut dw, mut dbias) = (vec![1.0; i * o], vec![1.0; o]);
            linear_weight_gradient(&mut dw, Some(&mut dbias), xs, douts, Store::Add, sizes, &mut packed);
            let mut expected = multiply(i, o, n, |r, c| x[c * i + r], |r, c| dout[r * o + c]);
            expected.iter_mut().for_each(|value| *value += 1.0);
            assert_close(&dw, &expected, 1e-5);
            let expected: Vec<f64> =
                (0..o).map(|c| 1.0 + (0..n).map(|r| f64::from(dout[r * o + c])).sum::<f64>()).collect();
            assert_close(&dbias, &expected, 1e-5);
        }
    }
}
