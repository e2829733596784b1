//! The output head with softmax cross-entropy. Logits exist for some tokens at a time: a tile's epilogue turns them into
//! exponentials, whose sums over all tiles then make them probabilities and gradients in place.

use crate::memory::{Buffer, Scratch};
use crate::parallel::{Shared, for_each, range, ranges};
use crate::product::{AHEAD, Operand, Packed, Precision, Store, product, tile_columns};
use crate::simd::math::exp;
use crate::simd::{LANES, Lanes, vectorized};
use crate::values::{Target, Values};

/// Tokens whose logits exist at a time: as many as make passing over the head for each cheap beside the products.
pub(super) const TOKENS: usize = 256;

/// Ids whose gradients are packed at a time.
const IDS: usize = 8192;

/// What products of the gradients work with.
pub(super) struct Products<'a> {
    pub packed: &'a mut Packed,
    pub sums: &'a mut Buffer<f32>,
}

/// What the backward pass writes.
pub struct Gradients<'a> {
    /// [N, C], overwritten.
    pub dx: Target,
    /// [V, C]
    pub dwhead: &'a mut [f32],
    /// Gradients are those of scale * sum(losses).
    pub scale: f32,
    /// Of dwhead.
    pub store: Store,
}

/// Of one tile's logits of one token: their maximum, and the sum of e^(logit - maximum).
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub maximum: f32,
    pub sum: f32,
}

/// losses[n] = -ln softmax(x[n] · wheadᵀ)[targets[n]], 0 where the target is -1; with the gradients if wanted.
/// Shapes: losses, targets [N], x [N,C], whead [V,C]. The error names the first target outside [-1, V).
pub fn cross_entropy(
    losses: &mut [f32],
    x: Values,
    whead: Values,
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
    let precision = Precision::of(&[x, whead]);
    for tile in 0..ranges(n, TOKENS) {
        let tokens = range(n, TOKENS, tile);
        let x = x.part(tokens.start * c..tokens.end * c);
        let job = Job { x, whead, targets: &targets[tokens.clone()], sizes: (tokens.len(), c, v), precision };
        let gradients = gradients.as_mut().map(|g| Gradients {
            dx: g.dx.part(tokens.start * c..tokens.end * c),
            dwhead: &mut *g.dwhead,
            scale: g.scale,
            store: if tile == 0 { g.store } else { Store::Add },
        });
        let losses = &mut losses[tokens];
        job.run(losses, gradients, scratch);
    }
    Ok(())
}

/// out [N,V] = x [N,C] · wheadᵀ
pub fn logits(out: &mut [f32], x: Values, whead: Values, n: usize, c: usize, scratch: &mut Scratch) {
    let v = whead.len() / c;
    assert!(out.len() == n * v && x.len() == n * c);
    let out = Shared::new(out);
    let (rows, columns) = (Operand::along_rows(x, c), Operand::along_rows(whead, c));
    product(Precision::of(&[x, whead]), (n, v, c), rows, columns, &mut scratch.packed, |tile| unsafe {
        tile.put(out, v, Store::Replace);
    });
}

/// The head on some tokens.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub x: Values<'a>,
    pub whead: Values<'a>,
    pub targets: &'a [i32],
    /// Tokens, C, V.
    pub sizes: (usize, usize, usize),
    pub precision: Precision,
}

impl Job<'_> {
    fn run(self, losses: &mut [f32], gradients: Option<Gradients>, scratch: &mut Scratch) {
        let (n, c, v) = self.sizes;
        let width = tile_columns(self.precision, n, v);
        let (log_sums, parts) = scratch.floats.get(n + 2 * n * ranges(v, width)).split_at_mut(n);
        let parts = parts_of(parts);
        // Exponentials [n, v], later gradients.
        let kept = gradients.as_ref().map(|_| kept_logits(&mut scratch.tile, n * v, self.precision));

        let (shared_parts, shared_losses) = (Shared::new(parts), Shared::new(losses));
        let (rows, columns) = (Operand::along_rows(self.x, c), Operand::along_rows(self.whead, c));
        product(self.precision, (n, v, c), rows, columns, &mut scratch.packed, |tile| unsafe {
            let first = tile.columns.start;
            for token in tile.rows.clone() {
                let logits = tile.row(token);
                let target = self.targets[token];
                if target >= 0 && tile.columns.contains(&(target as usize)) {
                    *shared_losses.at(token) = logits[target as usize - first];
                }
                let (maximum, sum) = exponentials(logits.as_mut_ptr(), logits.len());
                *shared_parts.at(first / width * n + token) = Part { maximum, sum };
                if let Some(kept) = kept {
                    kept.prefetch((token + AHEAD) * v + first, logits.len());
                    kept.store(token * v + first, logits);
                }
            }
        });
        for (token, sum) in log_sums.iter_mut().enumerate() {
            *sum = log_sum(parts, n, token);
        }
        for (token, loss) in losses.iter_mut().enumerate() {
            // So far each holds its target's logit.
            *loss = if self.targets[token] < 0 { 0.0 } else { log_sums[token] - *loss };
        }
        let (Some(kept), Some(Gradients { dx, dwhead, scale, store })) = (kept, gradients) else { return };
        self.differentiate(kept, losses, parts, log_sums, width, scale);
        self.multiply_gradients(
            kept,
            dx,
            dwhead,
            store,
            Products { packed: &mut scratch.packed, sums: &mut scratch.sums },
        );
    }

    /// dwhead = or += gradients [n, v]ᵀ · x; dx = gradients · whead; some ids at a time, so that little is packed at once.
    pub(super) fn multiply_gradients(
        self,
        gradients: Target,
        dx: Target,
        dwhead: &mut [f32],
        store: Store,
        scratch: Products,
    ) {
        let (n, c, v) = self.sizes;
        let Products { packed, sums } = scratch;
        let gradient = unsafe { gradients.values() };
        let sums = Shared::new(sums.get(n * c));
        for chunk in 0..ranges(v, IDS) {
            let ids = range(v, IDS, chunk);
            let (first, count) = (ids.start, ids.len());
            let down = Operand::along_columns(gradient, v).skip(first, 0);
            let across = Operand::along_columns(self.x, c);
            let weights = Shared::new(&mut dwhead[ids.start * c..ids.end * c]);
            product(self.precision, (count, c, n), down, across, packed, |tile| unsafe {
                tile.put(weights, c, store);
            });
            let down = Operand::along_rows(gradient, v).skip(0, first);
            let across = Operand::along_columns(self.whead, c).skip(0, first);
            let add = if chunk == 0 { Store::Replace } else { Store::Add };
            product(self.precision, (n, c, count), down, across, packed, |tile| unsafe {
                tile.put(sums, c, add);
            });
        }
        for_each(n, |token| unsafe {
            dx.store(token * c, sums.part(token * c..(token + 1) * c));
        });
    }

    /// Exponentials [n, v] become gradients of the logits: scale * (probability - 1 where the target is).
    fn differentiate(
        self,
        kept: Target,
        losses: &[f32],
        parts: &[Part],
        log_sums: &[f32],
        width: usize,
        scale: f32,
    ) {
        let (n, _, v) = self.sizes;
        for_each(n, |token| unsafe {
            let target = self.targets[token];
            for tile in 0..ranges(v, width) {
                let columns = range(v, width, tile);
                let share = (parts[tile * n + token].maximum - log_sums[token]).exp();
                let factor = if target < 0 { 0.0 } else { scale * share };
                kept.multiply(token * v + columns.start, columns.len(), factor);
            }
            if target >= 0 {
                // e^-loss is the target's probability; from the loss, 1 - p keeps its digits where p nears 1.
                kept.set(token * v + target as usize, scale * (-losses[token]).exp_m1());
            }
        });
    }
}

/// Room for `count` numbers in the type that they are multiplied in.
pub(super) fn kept_logits(tile: &mut Buffer<f32>, count: usize, precision: Precision) -> Target {
    match precision {
        Precision::F32 => Target::of(tile.get(count)),
        Precision::Bf16 => Target::Bf16(tile.get(count.div_ceil(2)).as_mut_ptr().cast(), count),
    }
}

/// ln of a token's sum of exponentials over all tiles.
fn log_sum(parts: &[Part], n: usize, token: usize) -> f32 {
    let (maximum, sum) = whole_sum(parts, n, token);
    (f64::from(maximum) + sum.ln()) as f32
}

/// A token's maximum and sum of e^(logit - maximum) over all tiles.
pub(super) fn whole_sum(parts: &[Part], n: usize, token: usize) -> (f32, f64) {
    let of_token = || parts.iter().skip(token).step_by(n);
    let maximum = of_token().map(|part| part.maximum).fold(f32::NEG_INFINITY, f32::max);
    let scale = |part: &Part| f64::from(part.maximum - maximum).exp();
    (maximum, of_token().map(|part| f64::from(part.sum) * scale(part)).sum())
}

/// Floats as parts.
pub(super) fn parts_of(floats: &mut [f32]) -> &mut [Part] {
    // Safety: a part is two floats.
    unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast::<Part>(), floats.len() / 2) }
}

vectorized! {
    /// x = e^(x - maximum); gives the maximum and the sum.
    pub(super) unsafe fn exponentials(x: *mut f32, length: usize) -> (f32, f32) = exponentials_body
}

#[inline(always)]
unsafe fn exponentials_body<S: Lanes>(x: *mut f32, length: usize) -> (f32, f32) {
    let lowest = S::splat(f32::NEG_INFINITY);
    let mut maxima = lowest;
    let mut i = 0;
    while i + LANES <= length {
        maxima = maxima.max(S::load(x.add(i)));
        i += LANES;
    }
    let mut maximum = maxima.to_array().into_iter().fold(f32::NEG_INFINITY, f32::max);
    for rest in i..length {
        maximum = maximum.max(*x.add(rest));
    }
    let mut sums = S::splat(0.0);
    i = 0;
    while i + LANES <= length {
        let value = exp(S::load(x.add(i)).sub(S::splat(maximum)));
        sums = sums.add(value);
        value.store(x.add(i));
        i += LANES;
    }
    let value = exp(S::load_partial(x.add(i), length - i).sub(S::splat(maximum)));
    value.store_partial(x.add(i), length - i);
    let rest: f32 = (i..length).map(|at| *x.add(at)).sum();
    (maximum, sums.sum() + rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers};

    #[test]
    fn losses_and_gradients_match_the_definition() {
        let (n, c, v) = (530, 12, 1100);
        let (x, whead) = (numbers(n * c, 1), numbers(v * c, 2));
        let targets: Vec<i32> = (0..n).map(|i| if i % 7 == 3 { -1 } else { (i * 37 % v) as i32 }).collect();
        let (mut losses, mut dx, mut dwhead) = (vec![0.0; n], vec![9.0; n * c], vec![1.0; v * c]);
        let scale = 0.5;
        let gradients = Gradients { dx: Target::of(&mut dx), dwhead: &mut dwhead, scale, store: Store::Add };
        let (xs, heads, mut scratch) = (Values::F32(&x), Values::F32(&whead), Scratch::default());
        cross_entropy(&mut losses, xs, heads, &targets, Some(gradients), &mut scratch, c).unwrap();

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
        cross_entropy(&mut alone, xs, heads, &targets, None, &mut scratch, c).unwrap();
        assert_eq!(alone, losses);
    }

    #[test]
    fn a_target_outside_the_vocabulary_is_named() {
        let (x, whead) = (Values::F32(&[0.0; 2]), Values::F32(&[0.0; 8]));
        let error = cross_entropy(&mut [0.0], x, whead, &[4], None, &mut Scratch::default(), 2).unwrap_err();
        assert!(error.starts_with("Target id 4 at position 0 is outside the vocabulary"), "{error}");
    }
}
