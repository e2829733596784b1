//! Causal multi-head attention in blocks of queries (after FlashAttention, Dao et al. 2022, whose backward this is):
//! the probabilities of one block at a time, made again in the backward pass from logSumExp.
//!
//! Score blocks are stored [key][query]: the products then read queries, keys and values where they lie, and the
//! softmax runs down the keys with one query in each lane.

use crate::ops::dropout::Dropout;
use crate::ops::philox::blocks;
use crate::parallel::{Shared, for_each, ranges};
use crate::product::{Matrix, Store, column_product, product};
use crate::simd::math::exp;
use crate::simd::{LANES, Lanes, vectorized};
use std::cell::RefCell;

/// Queries in a block: a multiple of LANES.
const QUERIES: usize = 64;

thread_local! {
    /// Scores of one block and their gradients, kept from call to call.
    static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Sizes of a call.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Sequences.
    pub b: usize,
    /// Tokens per sequence.
    pub t: usize,
    /// Heads.
    pub h: usize,
    /// Width.
    pub c: usize,
}

/// Dropout of one block: of which (sequence, head), and where the block lies in its [T, T] scores.
#[derive(Clone, Copy)]
struct BlockDropout {
    dropout: Dropout,
    /// Index of score (0, 0) of this head in the stream.
    base: u64,
    t: usize,
    first_query: usize,
}

/// out [B*T,C] = attention of qkv [B*T,3C]; logSumExp [B,H,T] of the scaled scores is kept.
pub fn attention(
    out: &mut [f32],
    log_sum_exp: &mut [f32],
    qkv: &[f32],
    shape: Shape,
    dropout: Option<Dropout>,
) {
    let Shape { b, t, h, c } = shape;
    let d = c / h;
    assert!(
        c % h == 0 && out.len() == b * t * c && qkv.len() == 3 * out.len() && log_sum_exp.len() == b * h * t
    );
    let (out, log_sum_exp) = (Shared::new(out), Shared::new(log_sum_exp));
    let blocks = ranges(t, QUERIES);
    for_each(b * h * blocks, |task| unsafe {
        // The longest blocks first, so that no thread ends with one.
        let (head, first) = (task % (b * h), (blocks - 1 - task / (b * h)) * QUERIES);
        let (sequence, column) = (head / h, head % h * d);
        let count = (t - first).min(QUERIES);
        let base = qkv.as_ptr().add(sequence * t * 3 * c + column);
        forward_block(
            out.at((sequence * t + first) * c + column),
            c,
            log_sum_exp.at(head * t + first),
            Matrix::rows(base.add(first * 3 * c), 3 * c),
            Matrix::rows(base.add(c), 3 * c),
            Matrix::rows(base.add(2 * c), 3 * c),
            (count, first, d),
            block_dropout(dropout, head, t, first),
        );
    });
}

/// Attention of `count` new tokens a sequence at `position`: their keys and values join keys/values [B,H,Tmax,D], and
/// each attends to everything up to itself. qkv [B*count,3C], out [B*count,C].
pub fn cached_attention(
    out: &mut [f32],
    qkv: &[f32],
    keys: &mut [f32],
    values: &mut [f32],
    shape: Shape,
    position: usize,
    maximum: usize,
) {
    let Shape { b, t: count, h, c } = shape;
    let d = c / h;
    assert!(c % h == 0 && out.len() == b * count * c && qkv.len() == 3 * out.len());
    assert!(keys.len() == b * maximum * c && values.len() == keys.len() && position + count <= maximum);
    let (out, keys, values) = (Shared::new(out), Shared::new(keys), Shared::new(values));
    for_each(b * h, |head| unsafe {
        let (sequence, column) = (head / h, head % h * d);
        let cache = head * maximum * d;
        for token in 0..count {
            let row = (sequence * count + token) * 3 * c + column;
            let at = cache + (position + token) * d;
            keys.part(at..at + d).copy_from_slice(&qkv[row + c..][..d]);
            values.part(at..at + d).copy_from_slice(&qkv[row + 2 * c..][..d]);
        }
        for block in 0..ranges(count, QUERIES) {
            let first = block * QUERIES;
            let queries = (count - first).min(QUERIES);
            let mut log_sum_exp = [0.0f32; QUERIES];
            forward_block(
                out.at((sequence * count + first) * c + column),
                c,
                log_sum_exp.as_mut_ptr(),
                Matrix::rows(qkv.as_ptr().add((sequence * count + first) * 3 * c + column), 3 * c),
                Matrix::rows(keys.at(cache), d),
                Matrix::rows(values.at(cache), d),
                (queries, position + first, d),
                None,
            );
        }
    });
}

/// dqkv (overwritten) from dout, by making the probabilities of each block again.
pub fn attention_backward(
    dqkv: &mut [f32],
    dout: &[f32],
    out: &[f32],
    log_sum_exp: &[f32],
    qkv: &[f32],
    shape: Shape,
    dropout: Option<Dropout>,
) {
    let Shape { b, t, h, c } = shape;
    let d = c / h;
    assert!(
        c % h == 0 && out.len() == b * t * c && dout.len() == out.len() && log_sum_exp.len() == b * h * t
    );
    assert!(qkv.len() == 3 * out.len() && dqkv.len() == qkv.len());
    let dqkv = Shared::new(dqkv);
    for_each(b * h, |head| unsafe {
        let (sequence, column) = (head / h, head % h * d);
        let start = sequence * t * 3 * c + column;
        // Keys and values gather gradients from all later queries.
        for token in 0..t {
            for part in [c, 2 * c] {
                let at = start + token * 3 * c + part;
                dqkv.part(at..at + d).fill(0.0);
            }
        }
        for block in 0..ranges(t, QUERIES) {
            let first = block * QUERIES;
            let row = (sequence * t + first) * c + column;
            backward_block(
                dqkv.at(start),
                first,
                (t - first).min(QUERIES),
                d,
                c,
                qkv.as_ptr().add(start),
                out.as_ptr().add(row),
                dout.as_ptr().add(row),
                log_sum_exp.as_ptr().add(head * t + first),
                block_dropout(dropout, head, t, first),
            );
        }
    });
}

fn block_dropout(
    dropout: Option<Dropout>,
    head: usize,
    t: usize,
    first_query: usize,
) -> Option<BlockDropout> {
    let dropout = dropout.filter(|settings| settings.probability > 0.0)?;
    Some(BlockDropout { dropout, base: dropout.key.offset + (head * t * t) as u64, t, first_query })
}

/// Lanes that hold `count` queries.
fn padded(count: usize) -> usize {
    count.next_multiple_of(LANES)
}

/// Queries `first..first + count` of one head against keys 0..first + count.
unsafe fn forward_block(
    out: *mut f32,
    out_stride: usize,
    log_sum_exp: *mut f32,
    q: Matrix,
    k: Matrix,
    v: Matrix,
    (count, first, d): (usize, usize, usize),
    dropout: Option<BlockDropout>,
) {
    let (keys, width) = (first + count, padded(count));
    SCRATCH.with_borrow_mut(|(scores, _)| {
        scores.resize(scores.len().max(keys * width), 0.0);
        let scores = scores.as_mut_ptr();
        scores_block(scores, width, q, k, (count, keys, d));
        let mut inverse = [0.0f32; QUERIES];
        softmax(scores, inverse.as_mut_ptr(), log_sum_exp, first, count, 1.0 / (d as f32).sqrt());
        if let Some(dropout) = dropout {
            drop_scores(scores, width, count, keys, dropout);
        }
        // out [count, D] = Pᵀ · V, P being [keys][queries] and not yet divided by its sums.
        product(count, d, keys, out, out_stride, Store::Replace, Matrix::columns(scores, width), v);
        for query in 0..count {
            for x in std::slice::from_raw_parts_mut(out.add(query * out_stride), d) {
                *x *= inverse[query];
            }
        }
    });
}

/// scores [key][query] = k · qᵀ, unscaled.
unsafe fn scores_block(
    scores: *mut f32,
    width: usize,
    q: Matrix,
    k: Matrix,
    (count, keys, d): (usize, usize, usize),
) {
    let k = Matrix { data: k.data, row_stride: 1, column_stride: k.row_stride };
    column_product(count, keys, d, scores, width, Store::Replace, q, k);
}

/// One block of queries of the backward pass: writes their dq, adds to dk and dv.
unsafe fn backward_block(
    dqkv: *mut f32,
    first: usize,
    count: usize,
    d: usize,
    c: usize,
    qkv: *const f32,
    out: *const f32,
    dout: *const f32,
    log_sum_exp: *const f32,
    dropout: Option<BlockDropout>,
) {
    let (keys, width, stride) = (first + count, padded(count), 3 * c);
    SCRATCH.with_borrow_mut(|(probabilities, gradients)| {
        for scratch in [&mut *probabilities, &mut *gradients] {
            scratch.resize(scratch.len().max(keys * width), 0.0);
        }
        let (p, g) = (probabilities.as_mut_ptr(), gradients.as_mut_ptr());
        let (q, k, v) = (qkv.add(first * stride), qkv.add(c), qkv.add(2 * c));
        scores_block(p, width, Matrix::rows(q, stride), Matrix::rows(k, stride), (count, keys, d));
        // g = dP = dout · Vᵀ
        scores_block(g, width, Matrix::rows(dout, c), Matrix::rows(v, stride), (count, keys, d));
        // delta[query] = sum of dout * out = sum over keys of P * dP.
        let mut delta = [0.0f32; QUERIES];
        for query in 0..count {
            let (a, b) = (dout.add(query * c), out.add(query * c));
            delta[query] = (0..d).map(|i| *a.add(i) * *b.add(i)).sum();
        }
        let scale = 1.0 / (d as f32).sqrt();
        make_probabilities(p, log_sum_exp, first, count, scale);
        match dropout {
            None => score_gradients(g, p, delta.as_ptr(), keys, count, scale),
            Some(dropout) => {
                // dS needs P undropped and dP dropped; dV needs P dropped.
                drop_scores(g, width, count, keys, dropout);
                score_gradients(g, p, delta.as_ptr(), keys, count, scale);
                drop_scores(p, width, count, keys, dropout);
            }
        }
        // dq = dSᵀ · K; dk += dS · Q; dv += P · dout, dS and P being [keys][queries].
        let (dq, dk, dv) = (dqkv.add(first * stride), dqkv.add(c), dqkv.add(2 * c));
        let (p_rows, g_rows) = (Matrix::rows(p, width), Matrix::rows(g, width));
        product(
            count,
            d,
            keys,
            dq,
            stride,
            Store::Replace,
            Matrix::columns(g, width),
            Matrix::rows(k, stride),
        );
        product(keys, d, count, dk, stride, Store::Add, g_rows, Matrix::rows(q, stride));
        product(keys, d, count, dv, stride, Store::Add, p_rows, Matrix::rows(dout, c));
    });
}

vectorized! {
    /// Multiplies scores [key][query] by their dropout factors; element (query, key) of the head is query * T + key.
    unsafe fn drop_scores(
        scores: *mut f32, width: usize, count: usize, keys: usize, block: BlockDropout
    ) = drop_scores_body
}

#[inline(always)]
unsafe fn drop_scores_body<S: Lanes>(
    scores: *mut f32,
    width: usize,
    count: usize,
    keys: usize,
    block: BlockDropout,
) {
    let factors = block.dropout.factors();
    let key_of_random = &block.dropout.key;
    for lane in (0..count).step_by(LANES) {
        let rows: [u64; LANES] =
            std::array::from_fn(|i| block.base + ((block.first_query + lane + i) * block.t) as u64);
        // Where rows begin with a random block, four keys share one; elsewhere each key's is made alone.
        let step = if rows[0].is_multiple_of(4) && block.t.is_multiple_of(4) { 4 } else { 1 };
        for first in (0..keys).step_by(step) {
            let words = blocks(key_of_random, rows.map(|row| (row + first as u64) / 4));
            for key in first..(first + step).min(keys) {
                let mut mask = [0.0f32; LANES];
                for i in 0..LANES {
                    mask[i] = factors.of(words[((rows[i] + key as u64) % 4) as usize][i]);
                }
                let at = scores.add(key * width + lane);
                S::load(at).mul(S::load(mask.as_ptr())).store(at);
            }
        }
    }
}

vectorized! {
    /// scores [key][query], queries at `first`.. : replaced by e^(scale * (score - max)), zero where key > query;
    /// inverse[query] = 1 / their sum, log_sum_exp[query] = scale * max + ln(sum).
    unsafe fn softmax(
        scores: *mut f32, inverse: *mut f32, log_sum_exp: *mut f32, first: usize, count: usize, scale: f32
    ) = softmax_body
}
vectorized! {
    /// scores replaced by the probabilities e^(scale * score - log_sum_exp), zero where key > query.
    unsafe fn make_probabilities(
        scores: *mut f32, log_sum_exp: *const f32, first: usize, count: usize, scale: f32
    ) = make_probabilities_body
}
vectorized! {
    /// gradients = probabilities * (gradients - delta[query]) * scale.
    unsafe fn score_gradients(
        gradients: *mut f32, probabilities: *const f32, delta: *const f32, keys: usize, count: usize, scale: f32
    ) = score_gradients_body
}

/// Lane numbers `start`, `start + 1`, … as floats (exact: positions are far below 2^24).
#[inline(always)]
unsafe fn positions<S: Lanes>(start: usize) -> S {
    let mut lanes = [0.0f32; LANES];
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane = (start + i) as f32;
    }
    S::load(lanes.as_ptr())
}

#[inline(always)]
unsafe fn softmax_body<S: Lanes>(
    scores: *mut f32,
    inverse: *mut f32,
    log_sum_exp: *mut f32,
    first: usize,
    count: usize,
    scale: f32,
) {
    let width = padded(count);
    let keys = first + count;
    let mut lane = 0;
    while lane < count {
        let live = (count - lane).min(LANES);
        // Keys below `full` are seen by all queries of these lanes, those from `end` on by none.
        let (full, end) = (first + lane + 1, (first + lane + live).min(keys));
        let queries = positions::<S>(first + lane);
        let column = scores.add(lane);
        let lowest = S::splat(f32::NEG_INFINITY);
        let mut maximum = lowest;
        for key in 0..full {
            maximum = maximum.max(S::load(column.add(key * width)));
        }
        for key in full..end {
            let score = S::load(column.add(key * width));
            maximum = maximum.max(S::select_less(queries, S::splat(key as f32), lowest, score));
        }
        let factor = S::splat(scale);
        let mut sum = S::splat(0.0);
        for key in 0..full {
            let at = column.add(key * width);
            let value = exp(S::load(at).sub(maximum).mul(factor));
            sum = sum.add(value);
            value.store(at);
        }
        for key in full..end {
            let at = column.add(key * width);
            let value = exp(S::load(at).sub(maximum).mul(factor));
            let value = S::select_less(queries, S::splat(key as f32), S::splat(0.0), value);
            sum = sum.add(value);
            value.store(at);
        }
        for key in end..keys {
            S::splat(0.0).store(column.add(key * width));
        }
        S::splat(1.0).div(sum).store_partial(inverse.add(lane), live);
        let (sums, maxima) = (sum.to_array(), maximum.to_array());
        for i in 0..live {
            *log_sum_exp.add(lane + i) = scale * maxima[i] + sums[i].ln();
        }
        lane += LANES;
    }
}

#[inline(always)]
unsafe fn make_probabilities_body<S: Lanes>(
    scores: *mut f32,
    log_sum_exp: *const f32,
    first: usize,
    count: usize,
    scale: f32,
) {
    let width = padded(count);
    let keys = first + count;
    let mut lane = 0;
    while lane < count {
        let live = (count - lane).min(LANES);
        let (full, end) = (first + lane + 1, (first + lane + live).min(keys));
        let queries = positions::<S>(first + lane);
        let column = scores.add(lane);
        let shift = S::splat(0.0).sub(S::load_partial(log_sum_exp.add(lane), live));
        let factor = S::splat(scale);
        for key in 0..full {
            let at = column.add(key * width);
            exp(S::load(at).fma(factor, shift)).store(at);
        }
        for key in full..end {
            let at = column.add(key * width);
            let value = exp(S::load(at).fma(factor, shift));
            S::select_less(queries, S::splat(key as f32), S::splat(0.0), value).store(at);
        }
        for key in end..keys {
            S::splat(0.0).store(column.add(key * width));
        }
        lane += LANES;
    }
}

#[inline(always)]
unsafe fn score_gradients_body<S: Lanes>(
    gradients: *mut f32,
    probabilities: *const f32,
    delta: *const f32,
    keys: usize,
    count: usize,
    scale: f32,
) {
    let width = padded(count);
    let mut lane = 0;
    while lane < count {
        let shift = S::load_partial(delta.add(lane), (count - lane).min(LANES));
        for key in 0..keys {
            let at = key * width + lane;
            let p = S::load(probabilities.add(at));
            p.mul(S::splat(scale)).mul(S::load(gradients.add(at)).sub(shift)).store(gradients.add(at));
        }
        lane += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::philox::Key;
    use crate::testing::{assert_close, numbers};

    /// The definition in f64, one query at a time; `keep(sequence * H + head, query, key)` is the dropout factor.
    fn slow(qkv: &[f64], Shape { b, t, h, c }: Shape, keep: &dyn Fn(usize, usize, usize) -> f64) -> Vec<f64> {
        let d = c / h;
        let mut out = vec![0.0; b * t * c];
        for (sequence, head, query) in (0..b * h * t).map(|index| (index / (h * t), index / t % h, index % t))
        {
            let at = |token: usize, part: usize| (sequence * t + token) * 3 * c + part * c + head * d;
            let scores: Vec<f64> = (0..=query)
                .map(|key| {
                    let dot: f64 = (0..d).map(|i| qkv[at(query, 0) + i] * qkv[at(key, 1) + i]).sum();
                    (dot / (d as f64).sqrt()).exp()
                })
                .collect();
            let sum: f64 = scores.iter().sum();
            for key in 0..=query {
                let p = scores[key] / sum * keep(sequence * h + head, query, key);
                for i in 0..d {
                    out[(sequence * t + query) * c + head * d + i] += p * qkv[at(key, 2) + i];
                }
            }
        }
        out
    }

    #[test]
    fn forward_and_backward_match_the_definition() {
        let dropout = Dropout { key: Key { seed: 3, stream: 4, offset: 5 }, probability: 0.25 };
        for (b, t, h, c, dropout) in
            [(2, 5, 2, 8, None), (1, 70, 1, 16, None), (1, 150, 2, 12, None), (1, 70, 2, 8, Some(dropout))]
        {
            let shape = Shape { b, t, h, c };
            let (qkv, dout) = (numbers(b * t * 3 * c, 1), numbers(b * t * c, 2));
            let keep = move |head: usize, query: usize, key: usize| match dropout {
                None => 1.0,
                Some(Dropout { key: random, probability }) => {
                    let position = random.offset + ((head * t + query) * t + key) as u64;
                    let word = random.block(position / 4)[(position % 4) as usize];
                    if crate::ops::philox::uniform(word) >= probability {
                        1.0 / (1.0 - probability)
                    } else {
                        0.0
                    }
                }
            };
            let (mut out, mut lse) = (vec![0.0; b * t * c], vec![0.0; b * h * t]);
            attention(&mut out, &mut lse, &qkv, shape, dropout);
            let wide: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
            assert_close(&out, &slow(&wide, shape, &keep), 1e-5);

            let mut dqkv = vec![9.0; qkv.len()];
            attention_backward(&mut dqkv, &dout, &out, &lse, &qkv, shape, dropout);
            let loss = |x: &[f64]| -> f64 {
                slow(x, shape, &keep).iter().zip(&dout).map(|(o, &g)| o * f64::from(g)).sum()
            };
            for at in (0..qkv.len()).step_by(qkv.len() / 40) {
                let (mut up, mut down) = (wide.clone(), wide.clone());
                up[at] += 1e-4;
                down[at] -= 1e-4;
                assert_close(&dqkv[at..=at], &[(loss(&up) - loss(&down)) / 2e-4], 2e-5);
            }
        }
    }

    #[test]
    fn attention_through_the_cache_equals_attention_at_once() {
        let (b, t, h, c, maximum) = (2, 80, 2, 12, 100);
        let qkv = numbers(b * t * 3 * c, 1);
        let (mut out, mut lse) = (vec![0.0; b * t * c], vec![0.0; b * h * t]);
        attention(&mut out, &mut lse, &qkv, Shape { b, t, h, c }, None);
        let (mut keys, mut values) = (vec![0.0; b * maximum * c], vec![0.0; b * maximum * c]);
        let mut position = 0;
        for count in [70, 1, 9] {
            let take = |x: &[f32], width: usize| -> Vec<f32> {
                (0..b).flat_map(|s| x[(s * t + position) * width..][..count * width].to_vec()).collect()
            };
            let mut part = vec![0.0; b * count * c];
            let shape = Shape { b, t: count, h, c };
            cached_attention(&mut part, &take(&qkv, 3 * c), &mut keys, &mut values, shape, position, maximum);
            let expected: Vec<f64> = take(&out, c).iter().map(|&x| f64::from(x)).collect();
            assert_close(&part, &expected, 1e-5);
            position += count;
        }
    }
}
