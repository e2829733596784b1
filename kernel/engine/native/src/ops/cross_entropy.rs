//! The output head with softmax cross-entropy. Logits exist for one tile of tokens at a time, stored [vocabulary][token]:
//! all products then read the head and the activations where they lie, and the softmax has one token in each lane.

use crate::memory::Scratch;
use crate::parallel::{Shared, for_each, for_ranges, range, ranges};
use crate::product::{Matrix, Store, column_product, product};
use crate::simd::math::exp;
use crate::simd::{LANES, Lanes, vectorized};

/// Tokens in a tile: as many as make adding to dwhead once a tile cheap beside the products.
const TOKENS: usize = 256;
/// Most rows of the head that one task handles, and into how many tasks a small head is cut.
const ROWS: usize = 512;
const PARTS: usize = 8;
/// Tile of dx: tokens and columns.
const DX_TOKENS: usize = 128;
const DX_COLUMNS: usize = 192;

/// What the backward pass adds to.
pub struct Gradients<'a> {
    /// [N, C], overwritten.
    pub dx: &'a mut [f32],
    /// [V, C], added to.
    pub dwhead: &'a mut [f32],
    /// Gradients are those of scale * sum(losses).
    pub scale: f32,
}

/// losses[n] = -ln softmax(x[n] · wheadᵀ)[targets[n]], 0 where the target is -1; with the gradients if wanted.
/// Shapes: losses, targets [N], x [N,C], whead [V,C]. The error names the first target outside [-1, V).
pub fn cross_entropy(
    losses: &mut [f32],
    x: &[f32],
    whead: &[f32],
    targets: &[i32],
    mut gradients: Option<Gradients>,
    scratch: &mut Scratch,
    c: usize,
) -> Result<(), String> {
    let (n, v) = (targets.len(), whead.len() / c);
    assert!(losses.len() == n && x.len() == n * c && whead.len() == v * c);
    if let Some(position) = targets.iter().position(|&id| id < -1 || id >= v as i32) {
        let id = targets[position];
        let range = format!("allowed are 0 to {} and -1 for ignored", v - 1);
        return Err(format!("Target id {id} at position {position} is outside the vocabulary: {range}"));
    }
    let chunks = ranges(v, chunk_rows(v));
    for tile in 0..ranges(n, TOKENS) {
        let tokens = range(n, TOKENS, tile);
        let count = tokens.len();
        let width = count.next_multiple_of(LANES);
        // Logits, then for each chunk of the vocabulary its maxima and sums of exponentials.
        let statistics = chunks * 2 * width;
        let (logits, statistics) = scratch.floats(v * width + statistics).split_at_mut(v * width);
        let x = &x[tokens.start * c..tokens.end * c];
        let targets = &targets[tokens.clone()];
        let losses = &mut losses[tokens.clone()];

        exponentials(logits, statistics, losses, x, whead, targets, (c, v, width));
        let log_sums = log_sums(statistics, width);
        for (token, loss) in losses.iter_mut().enumerate() {
            // So far each holds its target's logit.
            *loss = if targets[token] < 0 { 0.0 } else { log_sums[token] - *loss };
        }
        if let Some(Gradients { dx, dwhead, scale }) = &mut gradients {
            let dx = &mut dx[tokens.start * c..tokens.end * c];
            let factors = chunk_factors(statistics, &log_sums, targets, width, *scale);
            head_gradient(logits, dwhead, &factors, x, targets, *scale, (c, v, width));
            input_gradient(dx, logits, whead, (count, c, v, width));
        }
    }
    Ok(())
}

/// Rows of the head that one task handles.
fn chunk_rows(v: usize) -> usize {
    v.div_ceil(PARTS).next_multiple_of(LANES).min(ROWS)
}

/// out [N,V] = x [N,C] · wheadᵀ
pub fn logits(out: &mut [f32], x: &[f32], whead: &[f32], n: usize, c: usize) {
    let v = whead.len() / c;
    assert!(out.len() == n * v && x.len() == n * c);
    let out = Shared::new(out);
    for_ranges(v, chunk_rows(v), |rows| unsafe {
        let head = Matrix::columns(whead.as_ptr().add(rows.start * c), c);
        product(n, rows.len(), c, out.at(rows.start), v, Store::Replace, Matrix::rows(x.as_ptr(), c), head);
    });
}

/// logits [v][token] = e^(logit - chunk maximum), with each chunk's maxima and sums; targets' logits go to `losses`.
fn exponentials(
    logits: &mut [f32],
    statistics: &mut [f32],
    losses: &mut [f32],
    x: &[f32],
    whead: &[f32],
    targets: &[i32],
    (c, v, width): (usize, usize, usize),
) {
    let (logits, statistics, losses) = (Shared::new(logits), Shared::new(statistics), Shared::new(losses));
    for_ranges(v, chunk_rows(v), |rows| unsafe {
        let part = logits.at(rows.start * width);
        let x = Matrix::rows(x.as_ptr(), c);
        let head = Matrix::columns(whead.as_ptr().add(rows.start * c), c);
        column_product(targets.len(), rows.len(), c, part, width, Store::Replace, x, head);
        for (token, &target) in targets.iter().enumerate() {
            if target >= 0 && rows.contains(&(target as usize)) {
                *losses.at(token) = *part.add((target as usize - rows.start) * width + token);
            }
        }
        let chunk = statistics.at(rows.start / chunk_rows(v) * 2 * width);
        chunk_exponentials(part, chunk, chunk.add(width), rows.len(), width);
    });
}

/// ln of each token's sum of exponentials over all chunks.
fn log_sums(statistics: &[f32], width: usize) -> Vec<f32> {
    (0..width)
        .map(|token| {
            let maximum = statistics
                .chunks_exact(2 * width)
                .map(|chunk| chunk[token])
                .fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = statistics
                .chunks_exact(2 * width)
                .map(|chunk| f64::from(chunk[width + token]) * f64::from(chunk[token] - maximum).exp())
                .sum();
            (f64::from(maximum) + sum.ln()) as f32
        })
        .collect()
}

/// scale * e^(chunk maximum - log sum) [chunk][token]: turns a chunk's exponentials into scaled probabilities.
fn chunk_factors(
    statistics: &[f32],
    log_sums: &[f32],
    targets: &[i32],
    width: usize,
    scale: f32,
) -> Vec<f32> {
    statistics
        .chunks_exact(2 * width)
        .flat_map(|chunk| {
            (0..width).map(move |token| match targets.get(token) {
                Some(0..) => scale * (chunk[token] - log_sums[token]).exp(),
                _ => 0.0,
            })
        })
        .collect()
}

/// Turns exponentials into gradients of the logits, and adds their product with x to dwhead.
fn head_gradient(
    logits: &mut [f32],
    dwhead: &mut [f32],
    factors: &[f32],
    x: &[f32],
    targets: &[i32],
    scale: f32,
    (c, v, width): (usize, usize, usize),
) {
    assert!(dwhead.len() == v * c);
    let (logits, dwhead) = (Shared::new(logits), Shared::new(dwhead));
    for_ranges(v, chunk_rows(v), |rows| unsafe {
        let part = logits.at(rows.start * width);
        scale_columns(part, factors.as_ptr().add(rows.start / chunk_rows(v) * width), rows.len(), width);
        for (token, &target) in targets.iter().enumerate() {
            if target >= 0 && rows.contains(&(target as usize)) {
                *part.add((target as usize - rows.start) * width + token) -= scale;
            }
        }
        let (gradient, x) = (Matrix::rows(part, width), Matrix::rows(x.as_ptr(), c));
        product(rows.len(), c, targets.len(), dwhead.at(rows.start * c), c, Store::Add, gradient, x);
    });
}

/// dx [count,C] = gradients [v][token]ᵀ · whead [V,C]
fn input_gradient(
    dx: &mut [f32],
    gradients: &[f32],
    whead: &[f32],
    (count, c, v, width): (usize, usize, usize, usize),
) {
    let dx = Shared::new(dx);
    let down = ranges(count, DX_TOKENS);
    for_each(down * ranges(c, DX_COLUMNS), |tile| unsafe {
        let (tokens, columns) = (range(count, DX_TOKENS, tile % down), range(c, DX_COLUMNS, tile / down));
        product(
            tokens.len(),
            columns.len(),
            v,
            dx.at(tokens.start * c + columns.start),
            c,
            Store::Replace,
            Matrix::columns(gradients.as_ptr().add(tokens.start), width),
            Matrix::rows(whead.as_ptr().add(columns.start), c),
        );
    });
}

vectorized! {
    /// Each column of x [rows][width]: its maximum, e^(x - maximum) in place, their sum.
    unsafe fn chunk_exponentials(
        x: *mut f32, maxima: *mut f32, sums: *mut f32, rows: usize, width: usize
    ) = chunk_exponentials_body
}
vectorized! {
    /// x [rows][width] *= factors [width]
    unsafe fn scale_columns(x: *mut f32, factors: *const f32, rows: usize, width: usize) = scale_columns_body
}

#[inline(always)]
unsafe fn chunk_exponentials_body<S: Lanes>(
    x: *mut f32,
    maxima: *mut f32,
    sums: *mut f32,
    rows: usize,
    width: usize,
) {
    let mut lane = 0;
    while lane < width {
        let mut maximum = S::splat(f32::NEG_INFINITY);
        for row in 0..rows {
            maximum = maximum.max(S::load(x.add(row * width + lane)));
        }
        let mut sum = S::splat(0.0);
        for row in 0..rows {
            let at = x.add(row * width + lane);
            let value = exp(S::load(at).sub(maximum));
            sum = sum.add(value);
            value.store(at);
        }
        maximum.store(maxima.add(lane));
        sum.store(sums.add(lane));
        lane += LANES;
    }
}

#[inline(always)]
unsafe fn scale_columns_body<S: Lanes>(x: *mut f32, factors: *const f32, rows: usize, width: usize) {
    let mut lane = 0;
    while lane < width {
        let factor = S::load(factors.add(lane));
        for row in 0..rows {
            let at = x.add(row * width + lane);
            S::load(at).mul(factor).store(at);
        }
        lane += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers};

    #[test]
    fn losses_and_gradients_match_the_definition() {
        let (n, c, v) = (300, 12, 1100);
        let (x, whead) = (numbers(n * c, 1), numbers(v * c, 2));
        let targets: Vec<i32> = (0..n).map(|i| if i % 7 == 3 { -1 } else { (i * 37 % v) as i32 }).collect();
        let (mut losses, mut dx, mut dwhead) = (vec![0.0; n], vec![9.0; n * c], vec![1.0; v * c]);
        let scale = 0.5;
        let gradients = Gradients { dx: &mut dx, dwhead: &mut dwhead, scale };
        cross_entropy(&mut losses, &x, &whead, &targets, Some(gradients), &mut Scratch::default(), c)
            .unwrap();

        let (mut expected, mut expected_dx, mut expected_dw) =
            (vec![0.0f64; n], vec![0.0f64; n * c], vec![1.0f64; v * c]);
        for token in (0..n).filter(|&token| targets[token] >= 0) {
            let exponentials: Vec<f64> = (0..v)
                .map(|row| {
                    let dot: f64 =
                        (0..c).map(|i| f64::from(x[token * c + i]) * f64::from(whead[row * c + i])).sum();
                    dot.exp()
                })
                .collect();
            let sum: f64 = exponentials.iter().sum();
            expected[token] = -(exponentials[targets[token] as usize] / sum).ln();
            for row in 0..v {
                let hit = if row == targets[token] as usize { 1.0 } else { 0.0 };
                let gradient = (exponentials[row] / sum - hit) * f64::from(scale);
                for i in 0..c {
                    expected_dx[token * c + i] += gradient * f64::from(whead[row * c + i]);
                    expected_dw[row * c + i] += gradient * f64::from(x[token * c + i]);
                }
            }
        }
        assert_close(&losses, &expected, 1e-5);
        assert_close(&dx, &expected_dx, 1e-5);
        assert_close(&dwhead, &expected_dw, 1e-5);
        let mut alone = vec![0.0; n];
        cross_entropy(&mut alone, &x, &whead, &targets, None, &mut Scratch::default(), c).unwrap();
        assert_eq!(alone, losses);
    }

    #[test]
    fn a_target_outside_the_vocabulary_is_named() {
        let error = cross_entropy(&mut [0.0], &[0.0; 2], &[0.0; 8], &[4], None, &mut Scratch::default(), 2)
            .unwrap_err();
        assert!(error.starts_with("Target id 4 at position 0 is outside the vocabulary"), "{error}");
    }
}
