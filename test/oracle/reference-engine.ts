/**
 * The engine that others are measured against: every operation as its formula reads, in float64, in plain loops,
 * with no cleverness. `read` rounds to f32 as the interface says; `values` gives the float64 numbers. bf16 tensors are
 * float64 too: what an engine rounds to bf16 is held against the exact number.
 */
import type {
  Activation,
  AdamWSettings,
  DataType,
  DropoutKey,
  Engine,
  EngineEvent,
  RandomKey,
  Tensor,
  TensorMemory,
} from '../../kernel/engine/engine.ts';
import { allocated, bytesOf } from '../../kernel/engine/tensor-memory.ts';
import { gelu, geluDerivative } from './gelu.ts';
import { standardNormal, uniform } from './philox.ts';
import {
  attentionForward,
  attentionGradient,
  cachedAttentionForward,
  logSumExpOf,
  type AttentionShape,
} from './reference-attention.ts';
import { dimension, integers, lengthOf, matrixShape, reals, ReferenceTensor } from './reference-tensor.ts';

const layerNormEpsilon = 1e-5;

/** a[i], where i is known to lie inside. NaN outside, so that a slip here shows in every comparison. */
function get(a: Float64Array | Int32Array, i: number): number {
  return a[i] ?? NaN;
}

/** a[i] += x */
function accumulate(a: Float64Array, i: number, x: number): void {
  a[i] = get(a, i) + x;
}

/** How many rows of `width` the tensor holds. Throws a RangeError when they do not divide it. */
function rowsOf(tensor: Tensor, name: string, width: number): number {
  const rows = width === 0 ? 0 : tensor.length / width;
  if (!Number.isInteger(rows)) {
    throw new RangeError(
      `${name} has shape [${tensor.shape.join(', ')}], which is no whole number of rows of ${width}.`,
    );
  }
  return rows;
}

/** Float64 oracle for every engine; runs each call at once on the calling thread. */
export class ReferenceEngine implements Engine {
  readonly name = 'reference';
  readonly device = 'cpu';
  readonly threads = 1;
  memory: TensorMemory = { bytes: 0, peakBytes: 0 };
  readonly waitedSeconds = 0;
  /** The first error of a queued call; the next `read` or `finish` reports it, once. */
  #failure: Error | undefined;

  allocate(type: DataType, shape: readonly number[]): ReferenceTensor {
    const length = lengthOf(shape);
    const data = type === 'i32' ? new Int32Array(length) : new Float64Array(length);
    const bytes = bytesOf(type, length);
    this.memory = allocated(this.memory, bytes);
    return new ReferenceTensor(type, shape, data, { bytes, released: false });
  }

  evict(): void {
    // All of it lies in memory.
  }

  release(tensor: Tensor): void {
    if (!(tensor instanceof ReferenceTensor)) throw new TypeError('The tensor belongs to another engine.');
    if (tensor.allocation.released) throw new Error('The tensor was released before.');
    tensor.allocation.released = true;
    this.memory = allocated(this.memory, -tensor.allocation.bytes);
  }

  /** Takes Float64Array beside the types of the interface, for finite differences. */
  write(tensor: Tensor, values: Float32Array | Float64Array | Int32Array): void {
    if (tensor.type === 'i32') {
      if (!(values instanceof Int32Array))
        throw new TypeError('An i32 tensor is written from an Int32Array.');
      integers(tensor, 'tensor', values.length).set(values);
    } else {
      if (values instanceof Int32Array) throw new TypeError('An f32 tensor is written from a Float32Array.');
      reals(tensor, 'tensor', values.length).set(values);
    }
  }

  async read(tensor: Tensor): Promise<Float32Array | Int32Array> {
    const data = tensor.type === 'i32' ? integers(tensor, 'tensor') : reals(tensor, 'tensor');
    await this.finish();
    return data instanceof Int32Array ? data.slice() : Float32Array.from(data);
  }

  /** The float64 elements of an f32 tensor: a copy. */
  values(tensor: Tensor): Float64Array {
    return reals(tensor, 'tensor').slice();
  }

  finish(): Promise<void> {
    const failure = this.#failure;
    this.#failure = undefined;
    return failure === undefined ? Promise.resolve() : Promise.reject(failure);
  }

  record(): EngineEvent {
    return { happened: true };
  }

  /** Nothing to wait for: calls run at once. */
  wait(): void {
    return;
  }

  dispose(): Promise<void> {
    return Promise.resolve();
  }

  fill(x: Tensor, value: number): void {
    if (x.type === 'i32') integers(x, 'x').fill(value);
    else reals(x, 'x').fill(value);
  }

  copy(out: Tensor, x: Tensor): void {
    if (x.type === 'i32') integers(out, 'out', x.length).set(integers(x, 'x'));
    else reals(out, 'out', x.length).set(reals(x, 'x'));
  }

  add(out: Tensor, a: Tensor, b: Tensor): void {
    const y = reals(out, 'out');
    const p = reals(a, 'a', y.length);
    const q = reals(b, 'b', y.length);
    for (let i = 0; i < y.length; i++) y[i] = get(p, i) + get(q, i);
  }

  scale(out: Tensor, x: Tensor, factor: number): void {
    const y = reals(out, 'out');
    const p = reals(x, 'x', y.length);
    for (let i = 0; i < y.length; i++) y[i] = get(p, i) * factor;
  }

  randomNormal(out: Tensor, standardDeviation: number, { seed, stream, offset }: RandomKey): void {
    const y = reals(out, 'out');
    for (let i = 0; i < y.length; i++) y[i] = standardDeviation * standardNormal(seed, stream, offset + i);
  }

  dropout(out: Tensor, x: Tensor, { seed, stream, offset, probability }: DropoutKey): void {
    const y = reals(out, 'out');
    const p = reals(x, 'x', y.length);
    for (let i = 0; i < y.length; i++) {
      const kept = uniform(seed, stream, offset + i) >= probability;
      y[i] = kept ? get(p, i) / (1 - probability) : 0;
    }
  }

  embedding(
    out: Tensor,
    tokens: Tensor,
    wte: Tensor,
    wpe: Tensor | null,
    T: number,
    firstPosition: number,
  ): void {
    const [V, C] = matrixShape(wte, 'wte');
    const [positions, wpeWidth] = wpe ? matrixShape(wpe, 'wpe') : [Infinity, C];
    const ids = integers(tokens, 'tokens');
    const y = reals(out, 'out', ids.length * C);
    const words = reals(wte, 'wte');
    const places = wpe ? reals(wpe, 'wpe') : undefined;
    if (wpeWidth !== C) throw new RangeError(`wpe has rows of ${wpeWidth}; wte has rows of ${C}.`);
    if (firstPosition < 0 || firstPosition + T > positions) {
      throw new RangeError(`Positions ${firstPosition} to ${firstPosition + T - 1}: wpe has ${positions}.`);
    }
    if (ids.length % T !== 0) throw new RangeError(`${ids.length} tokens are no whole sequences of ${T}.`);
    for (let n = 0; n < ids.length; n++) {
      const id = get(ids, n);
      if (id < -1 || id >= V) {
        this.#failure ??= new RangeError(`Token ${id} at ${n} lies outside the vocabulary of ${V}.`);
        return;
      }
      const place = firstPosition + (n % T);
      for (let c = 0; c < C; c++) {
        const word = id < 0 ? 0 : get(words, id * C + c);
        y[n * C + c] = word + (places ? get(places, place * C + c) : 0);
      }
    }
  }

  embeddingBackward(dwte: Tensor, dwpe: Tensor, dout: Tensor, tokens: Tensor, T: number): void {
    const [V, C] = matrixShape(dwte, 'dwte');
    const ids = integers(tokens, 'tokens');
    const dy = reals(dout, 'dout', ids.length * C);
    const dwords = reals(dwte, 'dwte');
    const dplaces = reals(dwpe, 'dwpe');
    for (let n = 0; n < ids.length; n++) {
      const id = get(ids, n);
      if (id < -1 || id >= V) {
        this.#failure ??= new RangeError(`Token ${id} at ${n} lies outside the vocabulary of ${V}.`);
        return;
      }
      for (let c = 0; c < C; c++) {
        if (id >= 0) accumulate(dwords, id * C + c, get(dy, n * C + c));
        accumulate(dplaces, (n % T) * C + c, get(dy, n * C + c));
      }
    }
  }

  layerNorm(out: Tensor, mean: Tensor, rstd: Tensor, x: Tensor, gamma: Tensor, beta: Tensor): void {
    const C = gamma.length;
    const N = rowsOf(x, 'x', C);
    const p = reals(x, 'x');
    const y = reals(out, 'out', N * C);
    const means = reals(mean, 'mean', N);
    const rstds = reals(rstd, 'rstd', N);
    const g = reals(gamma, 'gamma');
    const b = reals(beta, 'beta', C);
    for (let n = 0; n < N; n++) {
      const row = p.slice(n * C, (n + 1) * C);
      const average = row.reduce((sum, v) => sum + v, 0) / C;
      const variance = row.reduce((sum, v) => sum + (v - average) ** 2, 0) / C;
      const reciprocal = 1 / Math.sqrt(variance + layerNormEpsilon);
      means[n] = average;
      rstds[n] = reciprocal;
      for (let c = 0; c < C; c++) {
        y[n * C + c] = (get(row, c) - average) * reciprocal * get(g, c) + get(b, c);
      }
    }
  }

  addLayerNorm(
    sum: Tensor,
    out: Tensor,
    mean: Tensor,
    rstd: Tensor,
    residual: Tensor,
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
  ): void {
    this.add(sum, residual, x);
    this.layerNorm(out, mean, rstd, sum, gamma, beta);
  }

  layerNormBackward(
    dx: Tensor,
    dgamma: Tensor,
    dbeta: Tensor,
    dout: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    gamma: Tensor,
  ): void {
    const C = gamma.length;
    const N = rowsOf(x, 'x', C);
    const p = reals(x, 'x');
    const dp = reals(dx, 'dx', N * C);
    const dg = reals(dgamma, 'dgamma', C);
    const db = reals(dbeta, 'dbeta', C);
    const dy = reals(dout, 'dout', N * C);
    const means = reals(mean, 'mean', N);
    const rstds = reals(rstd, 'rstd', N);
    const g = reals(gamma, 'gamma');
    for (let n = 0; n < N; n++) {
      const normalized = (c: number): number => (get(p, n * C + c) - get(means, n)) * get(rstds, n);
      let meanGradient = 0;
      let meanProduct = 0;
      for (let c = 0; c < C; c++) {
        const gradient = get(dy, n * C + c) * get(g, c);
        meanGradient += gradient / C;
        meanProduct += (gradient * normalized(c)) / C;
      }
      for (let c = 0; c < C; c++) {
        const gradient = get(dy, n * C + c) * get(g, c);
        accumulate(dp, n * C + c, get(rstds, n) * (gradient - meanGradient - normalized(c) * meanProduct));
        accumulate(dg, c, get(dy, n * C + c) * normalized(c));
        accumulate(db, c, get(dy, n * C + c));
      }
    }
  }

  linear(out: Tensor, x: Tensor, w: Tensor, bias: Tensor | null): void {
    const [I, O] = matrixShape(w, 'w');
    const N = rowsOf(x, 'x', I);
    const y = reals(out, 'out', N * O);
    const p = reals(x, 'x');
    const weights = reals(w, 'w');
    const b = bias === null ? null : reals(bias, 'bias', O);
    for (let n = 0; n < N; n++) {
      for (let o = 0; o < O; o++) {
        let sum = b === null ? 0 : get(b, o);
        for (let i = 0; i < I; i++) sum += get(p, n * I + i) * get(weights, i * O + o);
        y[n * O + o] = sum;
      }
    }
  }

  linearActivation(
    out: Tensor,
    pre: Tensor | null,
    x: Tensor,
    w: Tensor,
    bias: Tensor | null,
    activation: Activation,
  ): void {
    const before = pre ?? this.allocate('f32', out.shape);
    this.linear(before, x, w, bias);
    const z = reals(before, 'pre');
    const y = reals(out, 'out', z.length);
    for (let i = 0; i < y.length; i++) y[i] = gelu(get(z, i), activation);
  }

  linearInputGradient(dx: Tensor, dout: Tensor, w: Tensor): void {
    const [I, O] = matrixShape(w, 'w');
    const N = rowsOf(dout, 'dout', O);
    const dp = reals(dx, 'dx', N * I);
    const dy = reals(dout, 'dout');
    const weights = reals(w, 'w');
    for (let n = 0; n < N; n++) {
      for (let i = 0; i < I; i++) {
        let sum = 0;
        for (let o = 0; o < O; o++) sum += get(dy, n * O + o) * get(weights, i * O + o);
        dp[n * I + i] = sum;
      }
    }
  }

  linearActivationInputGradient(
    dpre: Tensor,
    dout: Tensor,
    w: Tensor,
    pre: Tensor,
    activation: Activation,
  ): void {
    const z = reals(pre, 'pre', dpre.length).slice();
    this.linearInputGradient(dpre, dout, w);
    const [dz, hidden] = [reals(dpre, 'dpre'), reals(pre, 'pre')];
    for (let i = 0; i < dz.length; i++) {
      dz[i] = get(dz, i) * geluDerivative(get(z, i), activation);
      hidden[i] = gelu(get(z, i), activation);
    }
  }

  linearWeightGradient(dw: Tensor, dbias: Tensor | null, x: Tensor, dout: Tensor, fresh = false): void {
    if (fresh) for (const one of dbias ? [dw, dbias] : [dw]) this.fill(one, 0);
    const [I, O] = matrixShape(dw, 'dw');
    const N = rowsOf(x, 'x', I);
    const p = reals(x, 'x');
    const dy = reals(dout, 'dout', N * O);
    const dweights = reals(dw, 'dw');
    for (let i = 0; i < I; i++) {
      for (let o = 0; o < O; o++) {
        for (let n = 0; n < N; n++) accumulate(dweights, i * O + o, get(p, n * I + i) * get(dy, n * O + o));
      }
    }
    if (dbias === null) return;
    const db = reals(dbias, 'dbias', O);
    for (let n = 0; n < N; n++) {
      for (let o = 0; o < O; o++) accumulate(db, o, get(dy, n * O + o));
    }
  }

  attention(
    out: Tensor,
    logSumExp: Tensor,
    qkv: Tensor,
    B: number,
    T: number,
    H: number,
    dropout?: DropoutKey,
  ): void {
    const shape = attentionShape(out, B, T, H);
    const C = H * shape.D;
    attentionForward(
      reals(out, 'out'),
      reals(logSumExp, 'logSumExp', B * H * T),
      reals(qkv, 'qkv', B * T * 3 * C),
      shape,
      dropout,
    );
  }

  attentionBackward(
    dqkv: Tensor,
    dout: Tensor,
    out: Tensor,
    logSumExp: Tensor,
    qkv: Tensor,
    B: number,
    T: number,
    H: number,
    dropout?: DropoutKey,
  ): void {
    const shape = attentionShape(out, B, T, H);
    const C = H * shape.D;
    attentionGradient(
      reals(dqkv, 'dqkv', B * T * 3 * C),
      reals(dout, 'dout', B * T * C),
      reals(out, 'out'),
      reals(logSumExp, 'logSumExp', B * H * T),
      reals(qkv, 'qkv', B * T * 3 * C),
      shape,
      dropout,
    );
  }

  cachedAttention(
    out: Tensor,
    qkv: Tensor,
    keys: Tensor,
    values: Tensor,
    B: number,
    count: number,
    H: number,
    position: number,
  ): void {
    const shape = attentionShape(out, B, count, H);
    const Tmax = dimension(keys, 'keys', 2);
    if (position < 0 || position + count > Tmax) {
      throw new RangeError(`Positions ${position} to ${position + count - 1}: the cache has ${Tmax}.`);
    }
    cachedAttentionForward(
      reals(out, 'out'),
      reals(qkv, 'qkv', B * count * 3 * H * shape.D),
      reals(keys, 'keys', B * H * Tmax * shape.D),
      reals(values, 'values', B * H * Tmax * shape.D),
      shape,
      Tmax,
      position,
    );
  }

  crossEntropy(losses: Tensor, x: Tensor, whead: Tensor, targets: Tensor): void {
    const [V] = matrixShape(whead, 'whead');
    const ids = integers(targets, 'targets');
    const loss = reals(losses, 'losses', ids.length);
    const logits = this.allocate('f32', [ids.length, V]);
    this.logits(logits, x, whead);
    const z = reals(logits, 'logits');
    for (let n = 0; n < ids.length; n++) {
      const target = get(ids, n);
      if (target < -1 || target >= V) {
        this.#failure ??= new RangeError(`Target ${target} at ${n} lies outside the vocabulary of ${V}.`);
        return;
      }
      const row = z.subarray(n * V, (n + 1) * V);
      loss[n] = target === -1 ? 0 : logSumExpOf(row) - get(row, target);
    }
  }

  crossEntropyBackward(
    losses: Tensor,
    dx: Tensor,
    dwhead: Tensor,
    x: Tensor,
    whead: Tensor,
    targets: Tensor,
    lossScale: number,
    fresh = false,
  ): void {
    if (fresh) this.fill(dwhead, 0);
    this.crossEntropy(losses, x, whead, targets);
    const [V, C] = matrixShape(whead, 'whead');
    const ids = integers(targets, 'targets');
    const p = reals(x, 'x', ids.length * C);
    const weights = reals(whead, 'whead');
    const dp = reals(dx, 'dx', ids.length * C);
    const dweights = reals(dwhead, 'dwhead', V * C);
    const logits = this.allocate('f32', [ids.length, V]);
    this.logits(logits, x, whead);
    const z = reals(logits, 'logits');
    dp.fill(0);
    for (let n = 0; n < ids.length; n++) {
      const target = get(ids, n);
      if (target === -1) continue;
      const row = z.subarray(n * V, (n + 1) * V);
      const normalizer = logSumExpOf(row);
      for (let v = 0; v < V; v++) {
        const dlogit = lossScale * (Math.exp(get(row, v) - normalizer) - (v === target ? 1 : 0));
        for (let c = 0; c < C; c++) {
          accumulate(dp, n * C + c, dlogit * get(weights, v * C + c));
          accumulate(dweights, v * C + c, dlogit * get(p, n * C + c));
        }
      }
    }
  }

  vocabularyPart(
    maxima: Tensor,
    sums: Tensor,
    targetLogits: Tensor,
    x: Tensor,
    whead: Tensor,
    targets: Tensor,
  ): void {
    const [V] = matrixShape(whead, 'whead');
    const ids = integers(targets, 'targets');
    const [most, total] = [reals(maxima, 'maxima', ids.length), reals(sums, 'sums', ids.length)];
    const hit = reals(targetLogits, 'targetLogits', ids.length);
    const z = this.#logitsOf(x, whead, ids.length);
    for (let n = 0; n < ids.length; n++) {
      const [target, row] = [get(ids, n), z.subarray(n * V, (n + 1) * V)];
      // What is not a number shows in the sum.
      const maximum = row.reduce((a, b) => (b > a ? b : a), -Infinity);
      most[n] = maximum;
      total[n] = row.reduce((sum, logit) => sum + Math.exp(logit - maximum), 0);
      hit[n] = target < 0 ? 0 : get(row, target);
    }
  }

  rescaleSums(sums: Tensor, maxima: Tensor, maximum: Tensor): void {
    const total = reals(sums, 'sums');
    const [own, all] = [reals(maxima, 'maxima', total.length), reals(maximum, 'maximum', total.length)];
    for (let n = 0; n < total.length; n++) total[n] = get(total, n) * Math.exp(get(own, n) - get(all, n));
  }

  vocabularyLosses(
    losses: Tensor,
    maximum: Tensor,
    sums: Tensor,
    targetLogits: Tensor,
    targets: Tensor,
  ): void {
    const ids = integers(targets, 'targets');
    const loss = reals(losses, 'losses', ids.length);
    const [all, total] = [reals(maximum, 'maximum', ids.length), reals(sums, 'sums', ids.length)];
    const hit = reals(targetLogits, 'targetLogits', ids.length);
    for (let n = 0; n < ids.length; n++)
      loss[n] = get(ids, n) === -1 ? 0 : Math.log(get(total, n)) + get(all, n) - get(hit, n);
  }

  vocabularyPartBackward(
    dx: Tensor,
    dwhead: Tensor,
    x: Tensor,
    whead: Tensor,
    targets: Tensor,
    losses: Tensor,
    maximum: Tensor,
    sums: Tensor,
    lossScale: number,
    fresh = false,
  ): void {
    if (fresh) this.fill(dwhead, 0);
    const [V, C] = matrixShape(whead, 'whead');
    const ids = integers(targets, 'targets');
    const [p, weights] = [reals(x, 'x', ids.length * C), reals(whead, 'whead')];
    const [dp, dweights] = [reals(dx, 'dx', ids.length * C), reals(dwhead, 'dwhead', V * C)];
    const [all, total] = [reals(maximum, 'maximum', ids.length), reals(sums, 'sums', ids.length)];
    const z = this.#logitsOf(x, whead, ids.length);
    dp.fill(0);
    for (let n = 0; n < ids.length; n++) {
      const target = get(ids, n);
      if (target === -1) continue;
      for (let v = 0; v < V; v++) {
        const probability = Math.exp(get(z, n * V + v) - get(all, n)) / get(total, n);
        const dlogit = lossScale * (probability - (v === target ? 1 : 0));
        for (let c = 0; c < C; c++) {
          accumulate(dp, n * C + c, dlogit * get(weights, v * C + c));
          accumulate(dweights, v * C + c, dlogit * get(p, n * C + c));
        }
      }
    }
  }

  #logitsOf(x: Tensor, whead: Tensor, N: number): Float64Array {
    const logits = this.allocate('f32', [N, matrixShape(whead, 'whead')[0]]);
    this.logits(logits, x, whead);
    return reals(logits, 'logits');
  }

  logits(out: Tensor, x: Tensor, whead: Tensor): void {
    this.linearInputGradient(out, x, whead); // the same product: rows times the transpose of the weights
  }

  squaredNorm(out: Tensor, x: Tensor): void {
    accumulate(
      reals(out, 'out', 1),
      0,
      reals(x, 'x').reduce((sum, v) => sum + v * v, 0),
    );
  }

  clipFactor(factor: Tensor, squared: Tensor, maximum: number): void {
    const norm = Math.sqrt(get(reals(squared, 'squared', 1), 0));
    reals(factor, 'factor', 1)[0] = Math.min(1, maximum / (norm + 1e-6));
  }

  adamw(
    parameters: Tensor,
    gradients: Tensor,
    m: Tensor,
    v: Tensor,
    factor: Tensor | null,
    settings: AdamWSettings,
  ): void {
    const { learningRate, beta1, beta2, epsilon, weightDecay, step } = settings;
    const p = reals(parameters, 'parameters');
    const gradient = reals(gradients, 'gradients', p.length);
    const first = reals(m, 'm', p.length);
    const second = reals(v, 'v', p.length);
    const clip = factor === null ? 1 : get(reals(factor, 'factor', 1), 0);
    for (let i = 0; i < p.length; i++) {
      const g = get(gradient, i) * clip;
      const mi = beta1 * get(first, i) + (1 - beta1) * g;
      const vi = beta2 * get(second, i) + (1 - beta2) * g * g;
      const mHat = mi / (1 - beta1 ** step);
      const vHat = vi / (1 - beta2 ** step);
      first[i] = mi;
      second[i] = vi;
      const decayed = get(p, i) * (1 - learningRate * weightDecay);
      p[i] = decayed - (learningRate * mHat) / (Math.sqrt(vHat) + epsilon);
    }
  }
}

function attentionShape(out: Tensor, B: number, T: number, H: number): AttentionShape {
  const D = out.length / (B * T * H);
  if (!Number.isInteger(D)) {
    throw new RangeError(
      `out has shape [${out.shape.join(', ')}]: ${B} x ${T} tokens do not divide it into ${H} heads.`,
    );
  }
  return { B, T, H, D };
}
