/** Causal attention in plain loops, one query of one head of one sequence at a time. */
import type { DropoutKey } from '../../kernel/engine/engine.ts';
import { uniform } from './philox.ts';

/** Sizes of one call: B sequences of T tokens, H heads of D = C/H numbers. */
export interface AttentionShape {
  readonly B: number;
  readonly T: number;
  readonly H: number;
  readonly D: number;
}

/** Where in a [B*T, 3C] row the three parts begin. */
type Part = 0 | 1 | 2;
const query: Part = 0;
const key: Part = 1;
const value: Part = 2;

/** Index in [B*T, 3C] of the first number of `part` for token t of sequence b, head h. */
function at({ T, H, D }: AttentionShape, b: number, t: number, part: Part, h: number): number {
  return (b * T + t) * 3 * H * D + part * H * D + h * D;
}

/** What multiplies a probability: 0 where dropped, 1/(1-p) where kept, 1 without dropout. */
function keep(
  dropout: DropoutKey | undefined,
  shape: AttentionShape,
  b: number,
  h: number,
  i: number,
  j: number,
): number {
  if (dropout === undefined) return 1;
  const { seed, stream, offset, probability } = dropout;
  const element = ((b * shape.H + h) * shape.T + i) * shape.T + j;
  return uniform(seed, stream, offset + element) >= probability ? 1 / (1 - probability) : 0;
}

function dot(a: Float64Array, aStart: number, b: Float64Array, bStart: number, length: number): number {
  let sum = 0;
  for (let d = 0; d < length; d++) sum += (a[aStart + d] ?? NaN) * (b[bStart + d] ?? NaN);
  return sum;
}

/** y[yStart ...] += factor * x[xStart ...] */
function addScaled(
  y: Float64Array,
  yStart: number,
  factor: number,
  x: Float64Array,
  xStart: number,
  length: number,
): void {
  for (let d = 0; d < length; d++) y[yStart + d] = (y[yStart + d] ?? NaN) + factor * (x[xStart + d] ?? NaN);
}

/** log(sum(exp(x))) with the largest x taken out first; NaN when any x is NaN. */
export function logSumExpOf(x: readonly number[] | Float64Array): number {
  let largest = -Infinity;
  for (const one of x) largest = Math.max(largest, one);
  let sum = 0;
  for (const one of x) sum += Math.exp(one - largest);
  return largest + Math.log(sum);
}

/** out [B*T, C] and logSumExp [B, H, T] from qkv [B*T, 3C]. */
export function attentionForward(
  out: Float64Array,
  logSumExp: Float64Array,
  qkv: Float64Array,
  shape: AttentionShape,
  dropout: DropoutKey | undefined,
): void {
  const { B, T, H, D } = shape;
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < T; i++) {
        const scores: number[] = [];
        for (let j = 0; j <= i; j++) {
          scores.push(dot(qkv, at(shape, b, i, query, h), qkv, at(shape, b, j, key, h), D) / Math.sqrt(D));
        }
        const normalizer = logSumExpOf(scores);
        logSumExp[(b * H + h) * T + i] = normalizer;
        const outStart = (b * T + i) * H * D + h * D;
        out.fill(0, outStart, outStart + D);
        scores.forEach((score, j) => {
          const probability = Math.exp(score - normalizer) * keep(dropout, shape, b, h, i, j);
          addScaled(out, outStart, probability, qkv, at(shape, b, j, value, h), D);
        });
      }
    }
  }
}

/** dqkv [B*T, 3C] (overwritten) from dout [B*T, C] and what the forward pass saw and left. */
export function attentionGradient(
  dqkv: Float64Array,
  dout: Float64Array,
  out: Float64Array,
  logSumExp: Float64Array,
  qkv: Float64Array,
  shape: AttentionShape,
  dropout: DropoutKey | undefined,
): void {
  const { B, T, H, D } = shape;
  dqkv.fill(0);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < T; i++) {
        const queryStart = at(shape, b, i, query, h);
        const outStart = (b * T + i) * H * D + h * D;
        const normalizer = logSumExp[(b * H + h) * T + i] ?? NaN;
        // sum over keys of probability * d loss/d probability: the softmax's own term in its gradient.
        const rowTerm = dot(dout, outStart, out, outStart, D);
        for (let j = 0; j <= i; j++) {
          const keyStart = at(shape, b, j, key, h);
          const valueStart = at(shape, b, j, value, h);
          const score = dot(qkv, queryStart, qkv, keyStart, D) / Math.sqrt(D);
          const probability = Math.exp(score - normalizer);
          const kept = keep(dropout, shape, b, h, i, j);
          addScaled(dqkv, valueStart, probability * kept, dout, outStart, D);
          const dprobability = dot(dout, outStart, qkv, valueStart, D) * kept;
          const dscore = (probability * (dprobability - rowTerm)) / Math.sqrt(D);
          addScaled(dqkv, queryStart, dscore, qkv, keyStart, D);
          addScaled(dqkv, keyStart, dscore, qkv, queryStart, D);
        }
      }
    }
  }
}

/** `count` new tokens at `position` against keys/values [B, H, Tmax, D], which take theirs in. */
export function cachedAttentionForward(
  out: Float64Array,
  qkv: Float64Array,
  keys: Float64Array,
  values: Float64Array,
  shape: AttentionShape,
  Tmax: number,
  position: number,
): void {
  const { B, T: count, H, D } = shape;
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const cacheAt = (t: number): number => ((b * H + h) * Tmax + t) * D;
      for (let i = 0; i < count; i++) {
        const keyStart = at(shape, b, i, key, h);
        const valueStart = at(shape, b, i, value, h);
        keys.set(qkv.subarray(keyStart, keyStart + D), cacheAt(position + i));
        values.set(qkv.subarray(valueStart, valueStart + D), cacheAt(position + i));
        const scores: number[] = [];
        for (let j = 0; j <= position + i; j++) {
          scores.push(dot(qkv, at(shape, b, i, query, h), keys, cacheAt(j), D) / Math.sqrt(D));
        }
        const normalizer = logSumExpOf(scores);
        const outStart = (b * count + i) * H * D + h * D;
        out.fill(0, outStart, outStart + D);
        scores.forEach((score, j) => {
          addScaled(out, outStart, Math.exp(score - normalizer), values, cacheAt(j), D);
        });
      }
    }
  }
}
