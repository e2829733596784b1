//! Causal multi-head attention by blocks of queries (after FlashAttention, Dao et al. 2022, whose backward this is): the
//! probabilities of one block at a time, made again in the backward pass from logSumExp. Keys that lie after a block's
//! last query are never touched.
//!
//! A task is one head of one sequence: it packs the head's keys and values once, and all its sums are its own.

use crate::memory::Buffer;
use crate::ops::dropout::{Dropout, drop_range};
use crate::ops::philox::Key;
use crate::parallel::{Shared, for_each, range, ranges};
use crate::product::{Kernel, Operand, Precision, multiply, pack_columns, pack_rows};
use crate::simd::math::exp;
use crate::simd::{LANES, Lanes, vectorized};
use crate::transpose::transpose;
use crate::values::{Target, Values};
use std::cell::RefCell;

/// Queries in a block.
const QUERIES: usize = 64;
/// Keys that the backward pass handles at a time: scores and gradients of a block (128 KB) stay in L2.
const KEYS: usize = 256;

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

/// A thread's memory, kept from call to call.
struct Workspace {
    keys: Buffer<u32>,
    values: Buffer<u32>,
    keys_across: Buffer<u32>,
    queries: Buffer<u32>,
    gradients: Buffer<u32>,
    factors: Buffer<u32>,
    scores: Buffer<f32>,
    score_gradients: Buffer<f32>,
    tile: Buffer<f32>,
    key_sums: Buffer<f32>,
    value_sums: Buffer<f32>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = const {
        RefCell::new(Workspace {
            keys: Buffer::new(),
            values: Buffer::new(),
            keys_across: Buffer::new(),
            queries: Buffer::new(),
            gradients: Buffer::new(),
            factors: Buffer::new(),
            scores: Buffer::new(),
            score_gradients: Buffer::new(),
            tile: Buffer::new(),
            key_sums: Buffer::new(),
            value_sums: Buffer::new(),
        })
    };
}

/// What a head reads: vectors of `d` numbers, one a token.
#[derive(Clone, Copy)]
struct Head {
    kernel: Kernel,
    d: usize,
    queries: Operand,
    keys: Operand,
    /// The values, as one vector a number and as one vector a token.
    values_across: Operand,
}

/// Where a head's rows of the output begin, and how far apart they are.
#[derive(Clone, Copy)]
struct Rows {
    target: Target,
    start: usize,
    stride: usize,
}

impl Rows {
    unsafe fn store(&self, row: usize, x: &[f32]) {
        self.target.store(self.start + row * self.stride, x);
    }
}

/// out [B*T,C] = attention of qkv [B*T,3C]; logSumExp [B,H,T] of the scaled scores is kept.
pub fn attention(out: Target, log_sum_exp: &mut [f32], qkv: Values, shape: Shape, dropout: Option<Dropout>) {
    let Shape { b, t, h, c } = shape;
    assert!(
        c % h == 0 && out.len() == b * t * c && qkv.len() == 3 * out.len() && log_sum_exp.len() == b * h * t
    );
    let log_sum_exp = Shared::new(log_sum_exp);
    for_each(b * h, |head| unsafe {
        let (sequence, column) = (head / h, head % h * (c / h));
        let part = |part: usize| Operand::along_rows(qkv, 3 * c).skip(sequence * t, part * c + column);
        let operands = Head {
            kernel: Kernel::of(Precision::of(&[qkv])),
            d: c / h,
            queries: part(0),
            keys: part(1),
            values_across: Operand::along_columns(qkv, 3 * c).skip(2 * c + column, sequence * t),
        };
        let rows = Rows { target: out, start: sequence * t * c + column, stride: c };
        operands.forward(rows, log_sum_exp.part(head * t..(head + 1) * t), 0, of_head(dropout, head, t), t);
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
    let (target, keys, values) = (Target::of(out), Shared::new(keys), Shared::new(values));
    for_each(b * h, |head| unsafe {
        let (sequence, column) = (head / h, head % h * d);
        let cache = head * maximum * d;
        let (keys, values) = (keys.part(cache..cache + maximum * d), values.part(cache..cache + maximum * d));
        for token in 0..count {
            let row = (sequence * count + token) * 3 * c + column;
            let at = (position + token) * d;
            keys[at..at + d].copy_from_slice(&qkv[row + c..][..d]);
            values[at..at + d].copy_from_slice(&qkv[row + 2 * c..][..d]);
        }
        let operands = Head {
            kernel: Kernel::of(Precision::F32),
            d,
            queries: Operand::along_rows(Values::F32(qkv), 3 * c).skip(sequence * count, column),
            keys: Operand::along_rows(Values::F32(keys), d),
            values_across: Operand::along_columns(Values::F32(values), d),
        };
        let rows = Rows { target, start: sequence * count * c + column, stride: c };
        operands.forward(rows, &mut [], position, None, count);
    });
}

/// dqkv (overwritten) from dout, by making the probabilities of each block again.
pub fn attention_backward(
    dqkv: Target,
    dout: Values,
    out: Values,
    log_sum_exp: &[f32],
    qkv: Values,
    shape: Shape,
    dropout: Option<Dropout>,
) {
    let Shape { b, t, h, c } = shape;
    assert!(
        c % h == 0 && out.len() == b * t * c && dout.len() == out.len() && log_sum_exp.len() == b * h * t
    );
    assert!(qkv.len() == 3 * out.len() && dqkv.len() == qkv.len());
    for_each(b * h, |head| unsafe {
        let (sequence, column) = (head / h, head % h * (c / h));
        let (first, tokens) = (sequence * t * 3 * c + column, sequence * t);
        let rows = |part: usize| Rows { target: dqkv, start: first + part * c, stride: 3 * c };
        Backward {
            kernel: Kernel::of(Precision::of(&[qkv])),
            d: c / h,
            t,
            c,
            qkv: (
                Operand::along_rows(qkv, 3 * c).skip(tokens, column),
                Operand::along_columns(qkv, 3 * c).skip(column, tokens),
            ),
            dout: (
                Operand::along_rows(dout, c).skip(tokens, column),
                Operand::along_columns(dout, c).skip(column, tokens),
            ),
            products: (dout, out, tokens * c + column),
            log_sum_exp: &log_sum_exp[head * t..(head + 1) * t],
            dropout: of_head(dropout, head, t),
        }
        .run([rows(0), rows(1), rows(2)]);
    });
}

/// The dropout of one head's scores [T, T].
fn of_head(dropout: Option<Dropout>, head: usize, t: usize) -> Option<Dropout> {
    let dropout = dropout.filter(|settings| settings.probability > 0.0)?;
    let offset = dropout.key.offset + (head * t * t) as u64;
    Some(Dropout { key: Key { offset, ..dropout.key }, ..dropout })
}

/// Multiplies scores of one query, from key `first`, by their dropout factors.
unsafe fn drop_scores(scores: &mut [f32], dropout: Dropout, t: usize, query: usize, first: usize) {
    let offset = dropout.key.offset + (query * t + first) as u64;
    let key = Key { offset, ..dropout.key };
    drop_range(scores.as_mut_ptr(), scores.as_ptr(), scores.len(), Dropout { key, ..dropout });
}

impl Head {
    /// Queries 0..count, which lie at `position` among the keys, against the keys up to each.
    unsafe fn forward(
        self,
        out: Rows,
        log_sum_exp: &mut [f32],
        position: usize,
        dropout: Option<Dropout>,
        count: usize,
    ) {
        let Head { kernel, d, .. } = self;
        let all = position + count;
        let scale = 1.0 / (d as f32).sqrt();
        let (units, depth) = (kernel.units(d), kernel.units(all));
        let (width, out_width) = (kernel.padded(all), kernel.padded(d));
        WORKSPACE.with_borrow_mut(|workspace| {
            let keys = workspace.keys.get(width * units).as_mut_ptr();
            pack_columns(&kernel, keys, self.keys, all, d);
            let values = workspace.values.get(out_width * depth).as_mut_ptr();
            pack_columns(&kernel, values, self.values_across, d, all);
            for block in 0..ranges(count, QUERIES) {
                let queries = range(count, QUERIES, block);
                let rows = queries.len();
                let seen = position + queries.end;
                let stride = kernel.padded(seen);
                let packed = workspace.queries.get(rows * units).as_mut_ptr();
                pack_rows(&kernel, packed, self.queries.skip(queries.start, 0), rows, d);
                let scores = workspace.scores.get(rows * stride);
                multiply(
                    &kernel,
                    (rows, seen, units),
                    packed,
                    keys,
                    units,
                    scores.as_mut_ptr(),
                    stride,
                    false,
                );
                let mut inverse = [0.0f32; QUERIES];
                for (row, query) in queries.clone().enumerate() {
                    let scores = &mut scores[row * stride..][..seen];
                    let (sum, shift) = softmax(scores.as_mut_ptr(), position + query + 1, seen, scale);
                    inverse[row] = 1.0 / sum;
                    if let Some(kept) = log_sum_exp.get_mut(query) {
                        *kept = shift + sum.ln();
                    }
                    if let Some(dropout) = dropout {
                        drop_scores(scores, dropout, all, query, 0);
                    }
                }
                // out = P · V, P not yet divided by its sums.
                let factors = workspace.factors.get(rows * kernel.units(seen)).as_mut_ptr();
                pack_rows(&kernel, factors, Operand::along_rows(Values::F32(scores), stride), rows, seen);
                let tile = workspace.tile.get(rows * out_width);
                let sizes = (rows, d, kernel.units(seen));
                multiply(&kernel, sizes, factors, values, depth, tile.as_mut_ptr(), out_width, false);
                for row in 0..rows {
                    let result = &mut tile[row * out_width..][..d];
                    Target::of(result).multiply(0, d, inverse[row]);
                    out.store(queries.start + row, result);
                }
            }
        });
    }
}

/// The backward pass of one head of T tokens.
struct Backward<'a> {
    kernel: Kernel,
    d: usize,
    t: usize,
    c: usize,
    /// [Q | K | V], `c` apart: one vector a token, and one vector a number.
    qkv: (Operand, Operand),
    dout: (Operand, Operand),
    /// dout and out, and where the head begins in them.
    products: (Values<'a>, Values<'a>, usize),
    log_sum_exp: &'a [f32],
    dropout: Option<Dropout>,
}

impl Backward<'_> {
    unsafe fn run(self, [dq, dk, dv]: [Rows; 3]) {
        let Backward { kernel, d, t, c, .. } = self;
        let (units, depth) = (kernel.units(d), kernel.units(t));
        let (width, out_width) = (kernel.padded(t), kernel.padded(d));
        WORKSPACE.with_borrow_mut(|workspace| {
            let keys = workspace.keys.get(width * units).as_mut_ptr();
            pack_columns(&kernel, keys, self.qkv.0.skip(0, c), t, d);
            let values = workspace.values.get(width * units).as_mut_ptr();
            pack_columns(&kernel, values, self.qkv.0.skip(0, 2 * c), t, d);
            let keys_across = workspace.keys_across.get(out_width * depth).as_mut_ptr();
            pack_columns(&kernel, keys_across, self.qkv.1.skip(c, 0), d, t);
            // Gradients of keys and values gather over the blocks of queries, turned: [D, T].
            let key_sums = workspace.key_sums.get(d * width);
            let value_sums = workspace.value_sums.get(d * width);
            key_sums.fill(0.0);
            value_sums.fill(0.0);
            for block in 0..ranges(t, QUERIES) {
                let block = range(t, QUERIES, block);
                let (first, rows) = (block.start, block.len());
                let across = kernel.units(rows);
                let queries = workspace.queries.get((rows * units).max(d * across) * 2);
                let (queries, queries_across) = queries.split_at_mut((rows * units).max(d * across));
                let (queries, queries_across) = (queries.as_mut_ptr(), queries_across.as_mut_ptr());
                pack_rows(&kernel, queries, self.qkv.0.skip(first, 0), rows, d);
                pack_rows(&kernel, queries_across, self.qkv.1.skip(0, first), d, rows);
                let gradients = workspace.gradients.get((rows * units).max(d * across) * 2);
                let (gradients, gradients_across) = gradients.split_at_mut((rows * units).max(d * across));
                let (gradients, gradients_across) = (gradients.as_mut_ptr(), gradients_across.as_mut_ptr());
                pack_rows(&kernel, gradients, self.dout.0.skip(first, 0), rows, d);
                pack_rows(&kernel, gradients_across, self.dout.1.skip(0, first), d, rows);
                // The sum over keys of P * dP is that of dout * out.
                let (dout, out, start) = self.products;
                let mut delta = [0.0f32; QUERIES];
                for row in 0..rows {
                    delta[row] = dot(dout, out, start + (first + row) * c, d);
                }
                let tile = workspace.tile.get(rows * out_width);
                for chunk in 0..ranges(block.end, KEYS) {
                    let seen = range(block.end, KEYS, chunk);
                    let (count, stride) = (seen.len(), kernel.padded(seen.len()));
                    let scores = workspace.scores.get(rows * stride);
                    let slopes = workspace.score_gradients.get(rows * stride);
                    let sizes = (rows, count, units);
                    let at = seen.start * units;
                    multiply(
                        &kernel,
                        sizes,
                        queries,
                        keys.add(at),
                        units,
                        scores.as_mut_ptr(),
                        stride,
                        false,
                    );
                    // dP = dout · Vᵀ
                    multiply(
                        &kernel,
                        sizes,
                        gradients,
                        values.add(at),
                        units,
                        slopes.as_mut_ptr(),
                        stride,
                        false,
                    );
                    for row in 0..rows {
                        let query = first + row;
                        let p = &mut scores[row * stride..][..count];
                        let g = &mut slopes[row * stride..][..count];
                        if let Some(dropout) = self.dropout {
                            drop_scores(g, dropout, t, query, seen.start);
                        }
                        let live = (query + 1).saturating_sub(seen.start).min(count);
                        differentiate_scores(
                            p.as_mut_ptr(),
                            g.as_mut_ptr(),
                            live,
                            count,
                            self.log_sum_exp[query],
                            delta[row],
                            1.0 / (d as f32).sqrt(),
                        );
                        if let Some(dropout) = self.dropout {
                            drop_scores(p, dropout, t, query, seen.start);
                        }
                    }
                    let factors = workspace.factors.get((stride * across).max(rows * kernel.units(count)));
                    let factors = factors.as_mut_ptr();
                    // dvᵀ += doutᵀ · P, dkᵀ += qᵀ · dS
                    let sizes = (d, count, across);
                    pack_columns(
                        &kernel,
                        factors,
                        Operand::along_columns(Values::F32(scores), stride),
                        count,
                        rows,
                    );
                    let sums = value_sums[seen.start..].as_mut_ptr();
                    multiply(&kernel, sizes, gradients_across, factors, across, sums, width, true);
                    pack_columns(
                        &kernel,
                        factors,
                        Operand::along_columns(Values::F32(slopes), stride),
                        count,
                        rows,
                    );
                    let sums = key_sums[seen.start..].as_mut_ptr();
                    multiply(&kernel, sizes, queries_across, factors, across, sums, width, true);
                    // dq += dS · K
                    pack_rows(
                        &kernel,
                        factors,
                        Operand::along_rows(Values::F32(slopes), stride),
                        rows,
                        count,
                    );
                    let chunk_units = kernel.units(seen.start);
                    let sizes = (rows, d, kernel.units(count));
                    let right = keys_across.add(chunk_units * kernel.columns);
                    multiply(&kernel, sizes, factors, right, depth, tile.as_mut_ptr(), out_width, chunk > 0);
                }
                for row in 0..rows {
                    dq.store(first + row, &tile[row * out_width..][..d]);
                }
            }
            for (sums, target) in [(key_sums, dk), (value_sums, dv)] {
                let turned = workspace.scores.get(t * out_width);
                transpose(turned.as_mut_ptr(), out_width, sums.as_ptr(), width, d, t);
                for token in 0..t {
                    target.store(token, &turned[token * out_width..][..d]);
                }
            }
        });
    }
}

vectorized! {
    /// Scores of one query: replaced by e^(scale * (score - maximum)) where the query sees the key (the first `live`),
    /// by zero in the rest of the `count`. Gives their sum and scale * maximum.
    unsafe fn softmax(scores: *mut f32, live: usize, count: usize, scale: f32) -> (f32, f32) = softmax_body
}
vectorized! {
    /// Scores of one query become probabilities e^(scale * score - log_sum_exp), and gradients of probabilities those
    /// of the scores, p * (gradient - delta) * scale: the first `live` of `count`, zeros after.
    unsafe fn differentiate_scores(
        scores: *mut f32, gradients: *mut f32, live: usize, count: usize, log_sum_exp: f32, delta: f32, scale: f32
    ) = differentiate_scores_body
}
vectorized! {
    /// The sum of products of `length` numbers from `at`.
    unsafe fn dot(a: Values, b: Values, at: usize, length: usize) -> f32 = dot_body
}

#[inline(always)]
unsafe fn softmax_body<S: Lanes>(scores: *mut f32, live: usize, count: usize, scale: f32) -> (f32, f32) {
    let whole = live / LANES * LANES;
    let rest = live - whole;
    let mut maxima = S::splat(f32::NEG_INFINITY);
    for i in (0..whole).step_by(LANES) {
        maxima = maxima.max(S::load(scores.add(i)));
    }
    let mut maximum = maxima.to_array().into_iter().fold(f32::NEG_INFINITY, f32::max);
    for i in whole..live {
        maximum = maximum.max(*scores.add(i));
    }
    let (factor, shift) = (S::splat(scale), S::splat(maximum));
    let mut sums = S::splat(0.0);
    for i in (0..whole).step_by(LANES) {
        let value = exp(S::load(scores.add(i)).sub(shift).mul(factor));
        sums = sums.add(value);
        value.store(scores.add(i));
    }
    let value = exp(S::load_partial(scores.add(whole), rest).sub(shift).mul(factor));
    value.store_partial(scores.add(whole), rest);
    let mut sum = sums.sum();
    for i in whole..live {
        sum += *scores.add(i);
    }
    std::slice::from_raw_parts_mut(scores.add(live), count - live).fill(0.0);
    (sum, scale * maximum)
}

#[inline(always)]
unsafe fn differentiate_scores_body<S: Lanes>(
    scores: *mut f32,
    gradients: *mut f32,
    live: usize,
    count: usize,
    log_sum_exp: f32,
    delta: f32,
    scale: f32,
) {
    let (factor, normalizer, shift) = (S::splat(scale), S::splat(-log_sum_exp), S::splat(delta));
    let mut i = 0;
    while i < live {
        let lanes = (live - i).min(LANES);
        let p = exp(S::load_partial(scores.add(i), lanes).fma(factor, normalizer));
        let gradient = S::load_partial(gradients.add(i), lanes).sub(shift).mul(p).mul(factor);
        p.store_partial(scores.add(i), lanes);
        gradient.store_partial(gradients.add(i), lanes);
        i += LANES;
    }
    std::slice::from_raw_parts_mut(scores.add(live), count - live).fill(0.0);
    std::slice::from_raw_parts_mut(gradients.add(live), count - live).fill(0.0);
}

#[inline(always)]
unsafe fn dot_body<S: Lanes>(a: Values, b: Values, at: usize, length: usize) -> f32 {
    let mut sums = S::splat(0.0);
    let mut i = 0;
    while i < length {
        let lanes = (length - i).min(LANES);
        sums = a.lanes::<S>(at + i, lanes).fma(b.lanes(at + i, lanes), sums);
        i += LANES;
    }
    sums.sum()
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
        for (b, t, h, c, dropout) in [
            (2, 5, 2, 8, None),
            (1, 70, 1, 16, None),
            (1, 150, 2, 12, None),
            (1, 300, 1, 33, None),
            (1, 70, 2, 8, Some(dropout)),
        ] {
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
            attention(Target::of(&mut out), &mut lse, Values::F32(&qkv), shape, dropout);
            let wide: Vec<f64> = qkv.iter().map(|&x| f64::from(x)).collect();
            assert_close(&out, &slow(&wide, shape, &keep), 1e-5);

            let mut dqkv = vec![9.0; qkv.len()];
            let (douts, outs) = (Values::F32(&dout), Values::F32(&out));
            let target = Target::of(&mut dqkv);
            attention_backward(target, douts, outs, &lse, Values::F32(&qkv), shape, dropout);
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
        attention(Target::of(&mut out), &mut lse, Values::F32(&qkv), Shape { b, t, h, c }, None);
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
