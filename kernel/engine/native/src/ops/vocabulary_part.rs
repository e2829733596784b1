//! The output head over a part of a vocabulary that several engines share (Shoeybi et al. 2019): each computes what its part
//! adds to the softmax, the sums over all parts give the losses, and each the gradients of its part. Logits exist for some
//! tokens at a time, and once more for the gradients.

use crate::memory::Scratch;
use crate::ops::cross_entropy::{
    Job, Part, Products, TOKENS, exponentials, kept_logits, parts_of, whole_sum,
};
use crate::parallel::{Shared, range, ranges};
use crate::product::{AHEAD, Operand, Precision, Store, product, tile_columns};
use crate::simd::math::exp;
use crate::simd::{LANES, Lanes, vectorized};
use crate::values::{Target, Values};

/// A target whose logit another part has.
const ELSEWHERE: i32 = -2;

/// The part's head: x [N,C], whead [V,C], targets [N] from 0 to V-1, -1 for ignored, -2 for one of another part.
#[derive(Clone, Copy)]
pub struct PartOfHead<'a> {
    /// [N,C]
    pub x: Values<'a>,
    /// [V,C]
    pub whead: Values<'a>,
    /// [N]
    pub targets: &'a [i32],
    /// Width.
    pub c: usize,
}

impl<'a> PartOfHead<'a> {
    /// The part on each tile of tokens, with the first of them. The error names the first target that is none.
    fn tiles(self) -> Result<impl Iterator<Item = (usize, Job<'a>)>, String> {
        let Self { x, whead, targets, c } = self;
        let (n, v) = (targets.len(), whead.len() / c);
        assert!(x.len() == n * c && whead.len() == v * c);
        if let Some(position) = targets.iter().position(|&id| id < ELSEWHERE || id >= v as i32) {
            let id = targets[position];
            let range = format!("allowed are 0 to {}, -1 for ignored and -2 for another part", v - 1);
            return Err(format!("Target id {id} at position {position} is outside this part: {range}"));
        }
        let precision = Precision::of(&[x, whead]);
        Ok((0..ranges(n, TOKENS)).map(move |tile| {
            let tokens = range(n, TOKENS, tile);
            let x = x.part(tokens.start * c..tokens.end * c);
            let sizes = (tokens.len(), c, v);
            (tokens.start, Job { x, whead, targets: &targets[tokens], sizes, precision })
        }))
    }
}

/// Maxima of the part's logits, sums of e^(logit - maximum), and logits of targets, 0 where they are elsewhere or ignored.
pub fn statistics(
    [maxima, sums, target_logits]: [&mut [f32]; 3],
    head: PartOfHead,
    scratch: &mut Scratch,
) -> Result<(), String> {
    let all = head.targets.len();
    assert!(maxima.len() == all && sums.len() == all && target_logits.len() == all);
    target_logits.fill(0.0);
    for (first, job) in head.tiles()? {
        let (n, c, v) = job.sizes;
        let width = tile_columns(job.precision, n, v);
        let parts = parts_of(scratch.floats.get(2 * n * ranges(v, width)));
        let shared = (Shared::new(parts), Shared::new(&mut target_logits[first..first + n]));
        let (rows, columns) = (Operand::along_rows(job.x, c), Operand::along_rows(job.whead, c));
        product(job.precision, (n, v, c), rows, columns, &mut scratch.packed, |tile| unsafe {
            for token in tile.rows.clone() {
                let logits = tile.row(token);
                let target = job.targets[token];
                if target >= 0 && tile.columns.contains(&(target as usize)) {
                    *shared.1.at(token) = logits[target as usize - tile.columns.start];
                }
                let (maximum, sum) = exponentials(logits.as_mut_ptr(), logits.len());
                *shared.0.at(tile.columns.start / width * n + token) = Part { maximum, sum };
            }
        });
        for token in 0..n {
            let (maximum, sum) = whole_sum(parts, n, token);
            (maxima[first + token], sums[first + token]) = (maximum, sum as f32);
        }
    }
    Ok(())
}

/// sums *= e^(maxima - maximum): sums about the maxima of a part become sums about those of all.
pub fn rescale(sums: &mut [f32], maxima: &[f32], maximum: &[f32]) {
    for ((sum, own), all) in sums.iter_mut().zip(maxima).zip(maximum) {
        *sum = (f64::from(*sum) * f64::from(own - all).exp()) as f32;
    }
}

/// losses = ln(sums) + maximum - target logit, 0 where the target is ignored: all three over all parts.
pub fn losses(losses: &mut [f32], maximum: &[f32], sums: &[f32], target_logits: &[f32], targets: &[i32]) {
    for (n, loss) in losses.iter_mut().enumerate() {
        let log_sum = f64::from(maximum[n]) + f64::from(sums[n]).ln();
        *loss = if targets[n] == -1 { 0.0 } else { (log_sum - f64::from(target_logits[n])) as f32 };
    }
}

/// What the backward pass reads and writes beside the head.
pub struct PartGradients<'a> {
    /// [N, C], overwritten with what this part adds.
    pub dx: Target,
    /// [V, C]
    pub dwhead: &'a mut [f32],
    /// [N]
    pub losses: &'a [f32],
    /// [N], over all parts.
    pub maximum: &'a [f32],
    /// [N], over all parts.
    pub sums: &'a [f32],
    /// Gradients are those of scale * sum(losses).
    pub scale: f32,
    /// Of dwhead.
    pub store: Store,
}

/// Gradients of the part's weights, and its addend to those of x.
pub fn backward(head: PartOfHead, gradients: PartGradients, scratch: &mut Scratch) -> Result<(), String> {
    let PartGradients { dx, dwhead, losses, maximum, sums, scale, store } = gradients;
    let all = head.targets.len();
    assert!(losses.len() == all && maximum.len() == all && sums.len() == all);
    assert!(dx.len() == all * head.c && dwhead.len() == head.whead.len());
    for (first, job) in head.tiles()? {
        let (n, c, v) = job.sizes;
        let kept = kept_logits(&mut scratch.tile, n * v, job.precision);
        let (rows, columns) = (Operand::along_rows(job.x, c), Operand::along_rows(job.whead, c));
        product(job.precision, (n, v, c), rows, columns, &mut scratch.packed, |tile| unsafe {
            for token in tile.rows.clone() {
                let (logits, target) = (tile.row(token), job.targets[token]);
                let at = token * v + tile.columns.start;
                let factor = scale / sums[first + token];
                if target == -1 {
                    logits.fill(0.0);
                } else {
                    probabilities(logits.as_mut_ptr(), logits.len(), maximum[first + token], factor);
                }
                if target >= 0 && tile.columns.contains(&(target as usize)) {
                    // e^-loss is the target's probability; from the loss, 1 - p keeps its digits where p nears 1.
                    logits[target as usize - tile.columns.start] = scale * (-losses[first + token]).exp_m1();
                }
                kept.prefetch(at + AHEAD * v, logits.len());
                kept.store(at, logits);
            }
        });
        let store = if first == 0 { store } else { Store::Add };
        let dx = dx.part(first * c..(first + n) * c);
        let products = Products { packed: &mut scratch.packed, sums: &mut scratch.sums };
        job.multiply_gradients(kept, dx, dwhead, store, products);
    }
    Ok(())
}

vectorized! {
    /// x = e^(x - shift) * factor
    unsafe fn probabilities(x: *mut f32, length: usize, shift: f32, factor: f32) = probabilities_body
}

#[inline(always)]
unsafe fn probabilities_body<S: Lanes>(x: *mut f32, length: usize, shift: f32, factor: f32) {
    let (shift, factor) = (S::splat(shift), S::splat(factor));
    let mut i = 0;
    while i < length {
        let count = (length - i).min(LANES);
        exp(S::load_partial(x.add(i), count).sub(shift)).mul(factor).store_partial(x.add(i), count);
        i += LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cross_entropy::{Gradients, cross_entropy};
    use crate::testing::{assert_close, numbers};

    #[test]
    fn parts_together_are_the_whole_head() {
        let (n, c, v) = (300, 12, 701);
        let (x, whead) = (numbers(n * c, 1), numbers(v * c, 2));
        let targets: Vec<i32> = (0..n).map(|i| if i % 7 == 3 { -1 } else { (i * 37 % v) as i32 }).collect();
        let (mut expected, mut dx, mut dwhead) = (vec![0.0; n], vec![9.0; n * c], vec![9.0; v * c]);
        let (scale, store, mut scratch) = (0.5, Store::Replace, Scratch::default());
        let gradients = Gradients { dx: Target::of(&mut dx), dwhead: &mut dwhead, scale, store };
        let (xs, heads) = (Values::F32(&x), Values::F32(&whead));
        cross_entropy(&mut expected, xs, heads, &targets, Some(gradients), &mut scratch, c).unwrap();

        let bounds = [0, 1, 300, v];
        let parts: Vec<(std::ops::Range<usize>, Vec<i32>)> = (0..3)
            .map(|part| {
                let rows = bounds[part]..bounds[part + 1];
                let own = |&id: &i32| match id {
                    -1 => -1,
                    id if rows.contains(&(id as usize)) => id - rows.start as i32,
                    _ => ELSEWHERE,
                };
                let targets = targets.iter().map(own).collect();
                (rows, targets)
            })
            .collect();
        let mut of_parts = Vec::new();
        for (rows, targets) in &parts {
            let (mut maxima, mut sums, mut logits) = (vec![0.0; n], vec![0.0; n], vec![9.0; n]);
            let whead = Values::F32(&whead[rows.start * c..rows.end * c]);
            let head = PartOfHead { x: xs, whead, targets, c };
            statistics([&mut maxima, &mut sums, &mut logits], head, &mut scratch).unwrap();
            of_parts.push((maxima, sums, logits));
        }
        let maximum: Vec<f32> =
            (0..n).map(|i| of_parts.iter().map(|part| part.0[i]).fold(f32::NEG_INFINITY, f32::max)).collect();
        let (mut sums, mut logits) = (vec![0.0; n], vec![0.0; n]);
        for (maxima, mut own, own_logits) in of_parts {
            rescale(&mut own, &maxima, &maximum);
            for i in 0..n {
                sums[i] += own[i];
                logits[i] += own_logits[i];
            }
        }
        let mut found = vec![0.0; n];
        losses(&mut found, &maximum, &sums, &logits, &targets);
        assert_close(&found, &expected.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), 1e-6);

        let mut sum = vec![0.0f64; n * c];
        for (rows, targets) in &parts {
            let (mut own_dx, mut own_dw) = (vec![9.0; n * c], vec![9.0; rows.len() * c]);
            let own = Values::F32(&whead[rows.start * c..rows.end * c]);
            let head = PartOfHead { x: xs, whead: own, targets, c };
            let (maximum, sums, losses) = (&maximum[..], &sums[..], &found[..]);
            let dx = Target::of(&mut own_dx);
            let gradients = PartGradients { dx, dwhead: &mut own_dw, losses, maximum, sums, scale, store };
            backward(head, gradients, &mut scratch).unwrap();
            sum.iter_mut().zip(&own_dx).for_each(|(sum, &x)| *sum += f64::from(x));
            let expected: Vec<f64> =
                dwhead[rows.start * c..rows.end * c].iter().map(|&x| f64::from(x)).collect();
            assert_close(&own_dw, &expected, 1e-5);
        }
        assert_close(&dx, &sum, 1e-5);
    }

    #[test]
    fn a_target_of_no_part_is_named() {
        let (x, whead) = (Values::F32(&[0.0; 2]), Values::F32(&[0.0; 8]));
        let head = PartOfHead { x, whead, targets: &[-3], c: 2 };
        let outputs = [&mut [0.0][..], &mut [0.0], &mut [0.0]];
        let error = statistics(outputs, head, &mut Scratch::default()).unwrap_err();
        assert!(error.starts_with("Target id -3 at position 0 is outside this part"), "{error}");
    }
}
