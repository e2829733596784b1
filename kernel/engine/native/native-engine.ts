/** The native engine: tensors and operations of the Rust addon behind the engine interface. */
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
} from '../engine.ts';
import { allocated, bytesOf } from '../tensor-memory.ts';
import { type AddonEngine, loadAddon } from './addon.ts';
import {
  random,
  dropout,
  isErf,
  size,
  sameWidth,
  wholeSequences,
  normShapes,
  linearShapes,
  attentionShapes,
  headShapes,
} from './shapes.ts';
import { fromBf16, toBf16 } from './bf16.ts';
import { Check, NativeTensor, checkShape, elements, text } from './tensor.ts';

/** CPUs that the process may use (affinity and control group). */
export function availableThreads(): number {
  return loadAddon().availableThreads();
}

/**
 * Engine on CPUs. Calls check shapes, types and overlaps at once (TypeError, RangeError), are queued and return;
 * they run in order on the engine's own threads. Results are bitwise the same whatever the number of threads.
 */
export class NativeEngine implements Engine {
  readonly name = 'native';
  readonly device = 'cpu';
  readonly threads: number;
  /** Instruction set of the kernels: 'avx512', 'avx2' or 'portable'. */
  readonly instructions: string;
  readonly #addon: AddonEngine;
  #memory: TensorMemory = { bytes: 0, peakBytes: 0 };
  #disposed: Promise<void> | undefined;

  /** `threads` defaults to the CPUs that the process may use (affinity and control group). */
  constructor(threads?: number) {
    if (threads !== undefined) new Check('openEngine', this).integer('threads', threads, 1, 1024);
    const addon = loadAddon();
    const [forced, sets] = [process.env['GPT_LAB_INSTRUCTIONS'] ?? '', addon.instructionSets()];
    if (forced !== '' && !sets.includes(forced))
      throw new Error(`GPT_LAB_INSTRUCTIONS is ${forced}: allowed on this machine are ${sets.join(', ')}`);
    this.#addon = new addon.NativeEngine(threads ?? addon.availableThreads());
    this.threads = this.#addon.threads;
    this.instructions = addon.instructions();
  }

  get waitedSeconds(): number {
    return this.#addon.waitedSeconds;
  }

  get memory(): TensorMemory {
    return this.#memory;
  }

  allocate(type: DataType, shape: readonly number[], directory?: string): NativeTensor {
    this.#check('allocate');
    checkShape('allocate', shape);
    const region = this.#addon.allocate(type, elements(shape), directory ?? null);
    const bytes = directory === undefined ? bytesOf(type, elements(shape)) : 0;
    this.#memory = allocated(this.#memory, bytes);
    return new NativeTensor(type, shape, region, { owner: this, bytes, released: false }, 0);
  }

  evict(tensor: Tensor): void {
    this.#addon.evict(this.#check('evict').tensor('tensor', tensor).region);
  }

  release(tensor: Tensor): void {
    const checked = this.#check('release').tensor('tensor', tensor);
    this.#addon.release(checked.region);
    checked.allocation.released = true;
    this.#memory = allocated(this.#memory, -checked.allocation.bytes);
  }

  write(tensor: Tensor, values: Float32Array | Int32Array): void {
    const check = this.#check('write');
    const target = check.tensor('tensor', tensor);
    const type = values instanceof Float32Array ? 'f32' : 'i32';
    if (type !== (target.type === 'bf16' ? 'f32' : target.type))
      throw new TypeError(`write: values are of type ${type}, but tensor is of type ${target.type}`);
    if (target.length !== values.length)
      throw new RangeError(
        `write: ${values.length} values do not fit a tensor of shape ${text(target.shape)} (${target.length} elements)`,
      );
    const bits = target.type === 'bf16' ? toBf16(values as Float32Array) : values;
    this.#addon.write(target.region, new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength));
  }

  async read(tensor: Tensor): Promise<Float32Array | Int32Array> {
    const source = this.#check('read').tensor('tensor', tensor);
    const array = { f32: Float32Array, bf16: Uint16Array, i32: Int32Array }[source.type];
    const values = new array(source.length);
    // The addon keeps this array alive and fills it from its own thread, as file reads fill a buffer.
    await this.#addon.read(source.region, new Uint8Array(values.buffer));
    return values instanceof Uint16Array ? fromBf16(values) : values;
  }

  async finish(): Promise<void> {
    this.#check('finish');
    await this.#addon.finish();
  }

  /**
   * Floating-point operations a second that products of f32 and of bf16 numbers reach while everything lies in the
   * caches, on all threads: the ceiling of every product. Takes half a second.
   */
  async measurePeaks(): Promise<{ f32: number; bf16: number }> {
    this.#check('measurePeaks');
    const peaks = new Float64Array(2);
    await this.#addon.measurePeaks(peaks);
    const [f32 = 0, bf16 = 0] = peaks;
    return { f32, bf16 };
  }

  record(): EngineEvent {
    this.#check('record');
    return this.#addon.record();
  }

  wait(event: EngineEvent): void {
    this.#check('wait');
    if (!(event instanceof loadAddon().QueueEvent))
      throw new TypeError('wait: event is none of this engine nor of a collective that works on its tensors');
    this.#addon.wait(event);
  }

  dispose(): Promise<void> {
    this.#disposed ??= this.#addon.dispose();
    return this.#disposed;
  }

  fill(x: Tensor, value: number): void {
    const target = this.#check('fill').tensor('x', x);
    if (target.type === 'f32') this.#addon.fill(target.region, value);
    else if (target.type === 'bf16') this.write(target, new Float32Array(target.length).fill(value));
    else this.write(target, new Int32Array(target.length).fill(value));
  }

  copy(out: Tensor, x: Tensor): void {
    const check = this.#check('copy');
    const source = check.tensor('x', x);
    const target = check.sized(
      'out',
      out,
      source.length,
      `the shape of x ${text(source.shape)}`,
      source.type === 'i32' ? 'i32' : 'real',
    );
    check.distinct({ out: target }, { x: source });
    this.#addon.copy(target.region, source.region);
  }

  add(out: Tensor, a: Tensor, b: Tensor): void {
    const check = this.#check('add');
    const left = check.tensor('a', a, 'f32');
    const meaning = `the shape of a ${text(left.shape)}`;
    const right = check.sized('b', b, left.length, meaning);
    const target = check.sized('out', out, left.length, meaning);
    check.distinct({ out: target }, { a: left, b: right }, [
      ['out', 'a'],
      ['out', 'b'],
    ]);
    this.#addon.add(target.region, left.region, right.region);
  }

  scale(out: Tensor, x: Tensor, factor: number): void {
    const check = this.#check('scale');
    const source = check.tensor('x', x, 'f32');
    const target = check.sized('out', out, source.length, `the shape of x ${text(source.shape)}`);
    check.distinct({ out: target }, { x: source }, [['out', 'x']]);
    this.#addon.scale(target.region, source.region, factor);
  }

  randomNormal(out: Tensor, standardDeviation: number, key: RandomKey): void {
    const check = this.#check('randomNormal');
    const target = check.tensor('out', out, 'f32');
    const deviation = check.finite('standardDeviation', standardDeviation);
    this.#addon.randomNormal(target.region, deviation, random(check, key));
  }

  dropout(out: Tensor, x: Tensor, key: DropoutKey): void {
    const check = this.#check('dropout');
    const source = check.tensor('x', x, 'f32');
    const target = check.sized('out', out, source.length, `the shape of x ${text(source.shape)}`);
    check.distinct({ out: target }, { x: source }, [['out', 'x']]);
    this.#addon.dropout(target.region, source.region, dropout(check, key));
  }

  embedding(
    out: Tensor,
    tokens: Tensor,
    wte: Tensor,
    wpe: Tensor | null,
    T: number,
    firstPosition: number,
  ): void {
    const check = this.#check('embedding');
    const ids = check.tensor('tokens', tokens, 'i32');
    const table = check.matrix('wte', wte);
    const positions = wpe && check.matrix('wpe', wpe);
    const C = table.columns;
    if (positions) sameWidth(check, 'wpe', positions, 'wte', C);
    wholeSequences(check, ids, T);
    check.integer('firstPosition', firstPosition, 0, (positions?.rows ?? 2 ** 32 - 1) - T);
    const target = check.sized('out', out, ids.length * C, `[B*T, C] = [${ids.length}, ${C}]`);
    check.distinct({ out: target }, { tokens: ids, wte: table.tensor, wpe: positions?.tensor ?? null });
    this.#addon.embedding(
      target.region,
      ids.region,
      table.tensor.region,
      positions?.tensor.region ?? null,
      T,
      firstPosition,
      C,
    );
  }

  embeddingBackward(dwte: Tensor, dwpe: Tensor, dout: Tensor, tokens: Tensor, T: number): void {
    const check = this.#check('embeddingBackward');
    const ids = check.tensor('tokens', tokens, 'i32');
    const table = check.matrix('dwte', dwte);
    const positions = check.matrix('dwpe', dwpe);
    const C = table.columns;
    sameWidth(check, 'dwpe', positions, 'dwte', C);
    wholeSequences(check, ids, T);
    check.integer('T', T, 1, positions.rows);
    const gradient = check.sized('dout', dout, ids.length * C, `[B*T, C] = [${ids.length}, ${C}]`);
    check.distinct({ dwte: table.tensor, dwpe: positions.tensor }, { dout: gradient, tokens: ids });
    this.#addon.embeddingBackward(
      table.tensor.region,
      positions.tensor.region,
      gradient.region,
      ids.region,
      T,
      C,
    );
  }

  layerNorm(out: Tensor, mean: Tensor, rstd: Tensor, x: Tensor, gamma: Tensor, beta: Tensor): void {
    const check = this.#check('layerNorm');
    const s = normShapes(check, gamma, mean);
    const tensors = {
      out: check.sized('out', out, s.size, s.matrix, 'real'),
      mean: check.sized('mean', mean, s.N, s.rows),
      rstd: check.sized('rstd', rstd, s.N, s.rows),
    };
    const inputs = {
      x: check.sized('x', x, s.size, s.matrix),
      gamma: check.sized('gamma', gamma, s.C, s.vector),
      beta: check.sized('beta', beta, s.C, s.vector),
    };
    check.distinct(tensors, inputs);
    this.#addon.layerNorm(
      tensors.out.region,
      tensors.mean.region,
      tensors.rstd.region,
      inputs.x.region,
      inputs.gamma.region,
      inputs.beta.region,
    );
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
    const check = this.#check('addLayerNorm');
    const s = normShapes(check, gamma, mean);
    const outputs = {
      sum: check.sized('sum', sum, s.size, s.matrix),
      out: check.sized('out', out, s.size, s.matrix, 'real'),
      mean: check.sized('mean', mean, s.N, s.rows),
      rstd: check.sized('rstd', rstd, s.N, s.rows),
    };
    const inputs = {
      residual: check.sized('residual', residual, s.size, s.matrix),
      x: check.sized('x', x, s.size, s.matrix),
      gamma: check.sized('gamma', gamma, s.C, s.vector),
      beta: check.sized('beta', beta, s.C, s.vector),
    };
    check.distinct(outputs, inputs, [['sum', 'residual']]);
    this.#addon.addLayerNorm(
      outputs.sum.region,
      outputs.out.region,
      outputs.mean.region,
      outputs.rstd.region,
      inputs.residual.region,
      inputs.x.region,
      inputs.gamma.region,
      inputs.beta.region,
    );
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
    const check = this.#check('layerNormBackward');
    const s = normShapes(check, gamma, mean);
    const outputs = {
      dx: check.sized('dx', dx, s.size, s.matrix),
      dgamma: check.sized('dgamma', dgamma, s.C, s.vector),
      dbeta: check.sized('dbeta', dbeta, s.C, s.vector),
    };
    const inputs = {
      dout: check.sized('dout', dout, s.size, s.matrix),
      x: check.sized('x', x, s.size, s.matrix),
      mean: check.sized('mean', mean, s.N, s.rows),
      rstd: check.sized('rstd', rstd, s.N, s.rows),
      gamma: check.sized('gamma', gamma, s.C, s.vector),
    };
    check.distinct(outputs, inputs);
    this.#addon.layerNormBackward(
      outputs.dx.region,
      outputs.dgamma.region,
      outputs.dbeta.region,
      inputs.dout.region,
      inputs.x.region,
      inputs.mean.region,
      inputs.rstd.region,
      inputs.gamma.region,
    );
  }

  linear(out: Tensor, x: Tensor, w: Tensor, bias: Tensor | null): void {
    const check = this.#check('linear');
    const s = linearShapes(check, w, 'x', x, 'inputs');
    const target = check.sized('out', out, s.N * s.O, `[N, O] = [${s.N}, ${s.O}]`, 'real');
    const offsets = bias && check.sized('bias', bias, s.O, `[O] = [${s.O}]`);
    check.distinct({ out: target }, { x: s.tensor, w: s.weights, bias: offsets });
    this.#addon.linear(
      target.region,
      s.tensor.region,
      s.weights.region,
      offsets?.region ?? null,
      s.N,
      s.I,
      s.O,
    );
  }

  linearActivation(
    out: Tensor,
    pre: Tensor | null,
    x: Tensor,
    w: Tensor,
    bias: Tensor | null,
    activation: Activation,
  ): void {
    const check = this.#check('linearActivation');
    const s = linearShapes(check, w, 'x', x, 'inputs');
    const meaning = `[N, O] = [${s.N}, ${s.O}]`;
    const target = check.sized('out', out, s.N * s.O, meaning, 'real');
    const kept = pre && check.sized('pre', pre, s.N * s.O, meaning, 'real');
    const offsets = bias && check.sized('bias', bias, s.O, `[O] = [${s.O}]`);
    check.distinct({ out: target, pre: kept }, { x: s.tensor, w: s.weights, bias: offsets });
    this.#addon.linearActivation(
      target.region,
      kept?.region ?? null,
      s.tensor.region,
      s.weights.region,
      offsets?.region ?? null,
      isErf(check, activation),
      s.N,
      s.I,
      s.O,
    );
  }

  linearInputGradient(dx: Tensor, dout: Tensor, w: Tensor): void {
    const check = this.#check('linearInputGradient');
    const s = linearShapes(check, w, 'dout', dout, 'outputs');
    const target = check.sized('dx', dx, s.N * s.I, `[N, I] = [${s.N}, ${s.I}]`, 'real');
    check.distinct({ dx: target }, { dout: s.tensor, w: s.weights });
    this.#addon.linearInputGradient(
      target.region,
      s.tensor.region,
      s.weights.region,
      null,
      false,
      s.N,
      s.I,
      s.O,
    );
  }

  linearActivationInputGradient(
    dpre: Tensor,
    dout: Tensor,
    w: Tensor,
    pre: Tensor,
    activation: Activation,
  ): void {
    const check = this.#check('linearActivationInputGradient');
    const s = linearShapes(check, w, 'dout', dout, 'outputs');
    const meaning = `[N, I] = [${s.N}, ${s.I}]`;
    const target = check.sized('dpre', dpre, s.N * s.I, meaning, 'real');
    const kept = check.sized('pre', pre, s.N * s.I, meaning, 'real');
    check.distinct({ dpre: target, pre: kept }, { dout: s.tensor, w: s.weights });
    this.#addon.linearInputGradient(
      target.region,
      s.tensor.region,
      s.weights.region,
      kept.region,
      isErf(check, activation),
      s.N,
      s.I,
      s.O,
    );
  }

  linearWeightGradient(dw: Tensor, dbias: Tensor | null, x: Tensor, dout: Tensor, fresh = false): void {
    const check = this.#check('linearWeightGradient');
    const s = linearShapes(check, dw, 'x', x, 'inputs', 'dw');
    const gradient = check.sized('dout', dout, s.N * s.O, `[N, O] = [${s.N}, ${s.O}]`, 'real');
    const sums = dbias && check.sized('dbias', dbias, s.O, `[O] = [${s.O}]`);
    check.distinct({ dw: s.weights, dbias: sums }, { x: s.tensor, dout: gradient });
    this.#addon.linearWeightGradient(
      s.weights.region,
      sums?.region ?? null,
      s.tensor.region,
      gradient.region,
      fresh,
      s.N,
      s.I,
      s.O,
    );
  }

  attention(
    out: Tensor,
    logSumExp: Tensor,
    qkv: Tensor,
    B: number,
    T: number,
    H: number,
    key?: DropoutKey,
  ): void {
    const check = this.#check('attention');
    const s = attentionShapes(check, qkv, B, T, H);
    const target = check.sized('out', out, s.tokens * s.C, s.meaning, 'real');
    const sums = check.sized('logSumExp', logSumExp, B * H * T, `[B, H, T] = [${B}, ${H}, ${T}]`);
    check.distinct({ out: target, logSumExp: sums }, { qkv: s.qkv });
    const mask = key && dropout(check, key);
    this.#addon.attention(target.region, sums.region, s.qkv.region, B, T, H, s.C, mask);
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
    key?: DropoutKey,
  ): void {
    const check = this.#check('attentionBackward');
    const s = attentionShapes(check, qkv, B, T, H);
    const target = check.sized('dqkv', dqkv, s.qkv.length, `the shape of qkv ${text(s.qkv.shape)}`, 'real');
    const inputs = {
      dout: check.sized('dout', dout, s.tokens * s.C, s.meaning, 'real'),
      out: check.sized('out', out, s.tokens * s.C, s.meaning, 'real'),
      logSumExp: check.sized('logSumExp', logSumExp, B * H * T, `[B, H, T] = [${B}, ${H}, ${T}]`),
      qkv: s.qkv,
    };
    check.distinct({ dqkv: target }, inputs);
    this.#addon.attentionBackward(
      target.region,
      inputs.dout.region,
      inputs.out.region,
      inputs.logSumExp.region,
      s.qkv.region,
      B,
      T,
      H,
      s.C,
      key && dropout(check, key),
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
    const check = this.#check('cachedAttention');
    const s = attentionShapes(check, qkv, B, count, H);
    check.tensor('qkv', qkv, 'f32');
    const target = check.sized('out', out, s.tokens * s.C, s.meaning);
    const cache = check.tensor('keys', keys, 'f32');
    const maximum = cache.shape[2] ?? 0;
    const expected = `[B, H, Tmax, C/H] = [${B}, ${H}, Tmax, ${s.C / H}]`;
    if (cache.shape.length !== 4 || cache.length !== B * maximum * s.C)
      throw new RangeError(`cachedAttention: keys has shape ${text(cache.shape)}, expected ${expected}`);
    const content = check.sized('values', values, cache.length, `the shape of keys ${text(cache.shape)}`);
    check.integer('position', position, 0, maximum - count);
    check.distinct({ out: target, keys: cache, values: content }, { qkv: s.qkv });
    this.#addon.cachedAttention(
      target.region,
      s.qkv.region,
      cache.region,
      content.region,
      B,
      count,
      H,
      s.C,
      position,
      maximum,
    );
  }

  crossEntropy(losses: Tensor, x: Tensor, whead: Tensor, targets: Tensor): void {
    const check = this.#check('crossEntropy');
    const s = headShapes(check, losses, x, whead, targets);
    check.distinct({ losses: s.losses }, { x: s.x, whead: s.whead, targets: s.targets });
    this.#addon.crossEntropy(
      s.losses.region,
      s.x.region,
      s.whead.region,
      s.targets.region,
      s.C,
      null,
      null,
      0,
      false,
    );
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
    const check = this.#check('crossEntropyBackward');
    const s = headShapes(check, losses, x, whead, targets);
    const input = check.sized('dx', dx, s.x.length, `the shape of x ${text(s.x.shape)}`, 'real');
    const head = check.sized('dwhead', dwhead, s.whead.length, `the shape of whead ${text(s.whead.shape)}`);
    check.finite('lossScale', lossScale);
    check.distinct(
      { losses: s.losses, dx: input, dwhead: head },
      { x: s.x, whead: s.whead, targets: s.targets },
    );
    this.#addon.crossEntropy(
      s.losses.region,
      s.x.region,
      s.whead.region,
      s.targets.region,
      s.C,
      input.region,
      head.region,
      lossScale,
      fresh,
    );
  }

  vocabularyPart(
    maxima: Tensor,
    sums: Tensor,
    targetLogits: Tensor,
    x: Tensor,
    whead: Tensor,
    targets: Tensor,
  ): void {
    const check = this.#check('vocabularyPart');
    const s = headShapes(check, maxima, x, whead, targets, 'maxima');
    const tokens = `[N] = [${s.losses.length}]`;
    const outputs = {
      maxima: s.losses,
      sums: check.sized('sums', sums, s.losses.length, tokens),
      targetLogits: check.sized('targetLogits', targetLogits, s.losses.length, tokens),
    };
    check.distinct(outputs, { x: s.x, whead: s.whead, targets: s.targets });
    this.#addon.vocabularyPart(
      outputs.maxima.region,
      outputs.sums.region,
      outputs.targetLogits.region,
      s.x.region,
      s.whead.region,
      s.targets.region,
      s.C,
    );
  }

  rescaleSums(sums: Tensor, maxima: Tensor, maximum: Tensor): void {
    const check = this.#check('rescaleSums');
    const target = check.tensor('sums', sums, 'f32');
    const tokens = `[N] = [${target.length}]`;
    const own = check.sized('maxima', maxima, target.length, tokens);
    const all = check.sized('maximum', maximum, target.length, tokens);
    check.distinct({ sums: target }, { maxima: own, maximum: all });
    this.#addon.rescaleSums(target.region, own.region, all.region);
  }

  vocabularyLosses(
    losses: Tensor,
    maximum: Tensor,
    sums: Tensor,
    targetLogits: Tensor,
    targets: Tensor,
  ): void {
    const check = this.#check('vocabularyLosses');
    const target = check.tensor('losses', losses, 'f32');
    const N = target.length;
    const tokens = `[N] = [${N}]`;
    const inputs = {
      maximum: check.sized('maximum', maximum, N, tokens),
      sums: check.sized('sums', sums, N, tokens),
      targetLogits: check.sized('targetLogits', targetLogits, N, tokens),
      targets: check.sized('targets', targets, N, tokens, 'i32'),
    };
    check.distinct({ losses: target }, inputs);
    this.#addon.vocabularyLosses(
      target.region,
      inputs.maximum.region,
      inputs.sums.region,
      inputs.targetLogits.region,
      inputs.targets.region,
    );
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
    const check = this.#check('vocabularyPartBackward');
    const s = headShapes(check, losses, x, whead, targets);
    const tokens = `[N] = [${s.losses.length}]`;
    const outputs = {
      dx: check.sized('dx', dx, s.x.length, `the shape of x ${text(s.x.shape)}`, 'real'),
      dwhead: check.sized('dwhead', dwhead, s.whead.length, `the shape of whead ${text(s.whead.shape)}`),
    };
    const ofTokens = {
      losses: s.losses,
      maximum: check.sized('maximum', maximum, s.losses.length, tokens),
      sums: check.sized('sums', sums, s.losses.length, tokens),
    };
    check.finite('lossScale', lossScale);
    check.distinct(outputs, { x: s.x, whead: s.whead, targets: s.targets, ...ofTokens });
    this.#addon.vocabularyPartBackward(
      outputs.dx.region,
      outputs.dwhead.region,
      s.x.region,
      s.whead.region,
      s.targets.region,
      ofTokens.losses.region,
      ofTokens.maximum.region,
      ofTokens.sums.region,
      s.C,
      lossScale,
      fresh,
    );
  }

  logits(out: Tensor, x: Tensor, whead: Tensor): void {
    const check = this.#check('logits');
    const head = check.matrix('whead', whead, 'real');
    const input = check.matrix('x', x, 'real');
    sameWidth(check, 'x', input, 'whead', head.columns);
    const meaning = `[N, V] = [${input.rows}, ${head.rows}]`;
    const target = check.sized('out', out, input.rows * head.rows, meaning);
    check.distinct({ out: target }, { x: input.tensor, whead: head.tensor });
    this.#addon.logits(
      target.region,
      input.tensor.region,
      head.tensor.region,
      size(check, 'N', input.rows),
      head.columns,
    );
  }

  squaredNorm(out: Tensor, x: Tensor): void {
    const check = this.#check('squaredNorm');
    const target = check.sized('out', out, 1, '[1]');
    const source = check.tensor('x', x, 'f32');
    check.distinct({ out: target }, { x: source });
    this.#addon.squaredNorm(target.region, source.region);
  }

  clipFactor(factor: Tensor, squared: Tensor, maximum: number): void {
    const check = this.#check('clipFactor');
    const target = check.sized('factor', factor, 1, '[1]');
    const source = check.sized('squared', squared, 1, '[1]');
    if (!(maximum > 0)) throw new RangeError(`clipFactor: maximum is ${maximum}, expected a number above 0`);
    check.distinct({ factor: target }, { squared: source });
    this.#addon.clipFactor(target.region, source.region, maximum);
  }

  adamw(
    parameters: Tensor,
    gradients: Tensor,
    m: Tensor,
    v: Tensor,
    factor: Tensor | null,
    settings: AdamWSettings,
  ): void {
    const check = this.#check('adamw');
    const target = check.tensor('parameters', parameters, 'f32');
    const meaning = `the shape of parameters ${text(target.shape)}`;
    const tensors = {
      gradients: check.sized('gradients', gradients, target.length, meaning),
      m: check.sized('m', m, target.length, meaning),
      v: check.sized('v', v, target.length, meaning),
      factor: factor && check.sized('factor', factor, 1, '[1]'),
    };
    const { gradients: slope, m: first, v: second, factor: scale } = tensors;
    check.distinct({ parameters: target, m: first, v: second }, { gradients: slope, factor: scale });
    for (const name of ['learningRate', 'beta1', 'beta2', 'epsilon', 'weightDecay'] as const)
      check.finite(name, settings[name]);
    check.integer('step', settings.step, 1);
    const { region } = target;
    this.#addon.adamw(region, slope.region, first.region, second.region, scale?.region ?? null, settings);
  }

  #check(operation: string): Check {
    if (this.#disposed) throw new Error(`${operation}: the engine has been disposed`);
    return new Check(operation, this);
  }
}
