/** Decoding with a key/value cache: each new token costs one token's arithmetic, not the whole context's. */
import type { Engine, Tensor } from '../engine/engine.ts';
import { head } from './model.ts';
import type { GptShape, ParameterSet } from './parameters.ts';

/** What decoding some tokens at a time needs; kept as long as their number stays the same. */
interface Buffers {
  readonly count: number;
  readonly tokensN: Tensor;
  readonly xNC: Tensor;
  readonly normNC: Tensor;
  readonly meanN: Tensor;
  readonly rstdN: Tensor;
  readonly qkvN3C: Tensor;
  readonly hiddenN4C: Tensor;
  readonly branchNC: Tensor;
  readonly all: readonly Tensor[];
}

/** Sequences of the same length being decoded together. */
export class Decoder {
  /** Tokens of each sequence in the cache. */
  position = 0;
  readonly #engine: Engine;
  readonly #shape: GptShape;
  readonly #parameters: ParameterSet;
  readonly #sequences: number;
  readonly #caches: { keys: Tensor; values: Tensor }[] = [];
  readonly #lastBC: Tensor;
  readonly #logitsBV: Tensor;
  #buffers: Buffers | undefined;

  constructor(engine: Engine, shape: GptShape, parameters: ParameterSet, sequences = 1) {
    this.#engine = engine;
    this.#shape = shape;
    this.#parameters = parameters;
    this.#sequences = sequences;
    const size = [sequences, shape.heads, shape.contextLength, shape.width / shape.heads];
    for (let layer = 0; layer < shape.layers; layer++) {
      this.#caches.push({ keys: engine.allocate('f32', size), values: engine.allocate('f32', size) });
    }
    this.#lastBC = engine.allocate('f32', [sequences, shape.width]);
    this.#logitsBV = engine.allocate('f32', [sequences, shape.vocabularySize]);
  }

  /**
   * Appends tokens [sequences, n], and returns the logits [sequences, V] of the next ones. Throws a RangeError when
   * they are no whole number for each sequence or do not fit into the context: `reset` and append a shorter tail then.
   */
  async append(ids: readonly number[]): Promise<Float32Array> {
    const engine = this.#engine;
    const { width: C, heads: H, activation, contextLength } = this.#shape;
    const B = this.#sequences;
    const n = ids.length / B;
    if (n === 0 || !Number.isInteger(n) || this.position + n > contextLength) {
      throw new RangeError(
        `${this.position} + ${ids.length} tokens of ${B} sequences do not fit into the context of ${contextLength}`,
      );
    }
    const parameters = this.#parameters;
    const { tokensN, xNC, normNC, meanN, rstdN, qkvN3C, hiddenN4C, branchNC } = this.#buffersFor(n);
    engine.write(tokensN, Int32Array.from(ids));
    const [wte, wpe] = [parameters.get('wte.weight'), parameters.get('wpe.weight')];
    engine.embedding(xNC, tokensN, wte, wpe, n, this.position);
    this.#caches.forEach(({ keys, values }, layer) => {
      const weight = (name: string): Tensor => parameters.get(`h.${layer}.${name}`);
      engine.layerNorm(normNC, meanN, rstdN, xNC, weight('ln_1.weight'), weight('ln_1.bias'));
      engine.linear(qkvN3C, normNC, weight('attn.c_attn.weight'), weight('attn.c_attn.bias'));
      engine.cachedAttention(normNC, qkvN3C, keys, values, B, n, H, this.position);
      engine.linear(branchNC, normNC, weight('attn.c_proj.weight'), weight('attn.c_proj.bias'));
      const norm2 = [weight('ln_2.weight'), weight('ln_2.bias')] as const;
      engine.addLayerNorm(xNC, normNC, meanN, rstdN, xNC, branchNC, ...norm2);
      const up = [weight('mlp.c_fc.weight'), weight('mlp.c_fc.bias')] as const;
      engine.linearActivation(hiddenN4C, null, normNC, ...up, activation);
      engine.linear(branchNC, hiddenN4C, weight('mlp.c_proj.weight'), weight('mlp.c_proj.bias'));
      engine.add(xNC, xNC, branchNC);
    });
    // Only the logits of each sequence's last token are wanted.
    for (let b = 0; b < B; b++)
      engine.copy(this.#lastBC.view(b * C, [1, C]), xNC.view((b * n + n - 1) * C, [1, C]));
    const normBC = normNC.view(0, [B, C]);
    const final = [parameters.get('ln_f.weight'), parameters.get('ln_f.bias')] as const;
    engine.layerNorm(normBC, meanN.view(0, [B]), rstdN.view(0, [B]), this.#lastBC, ...final);
    engine.logits(this.#logitsBV, normBC, head(parameters, this.#shape));
    this.position += n;
    return (await engine.read(this.#logitsBV)) as Float32Array;
  }

  /** Buffers for n tokens of each sequence: token after token, the same. */
  #buffersFor(n: number): Buffers {
    const N = this.#sequences * n;
    if (this.#buffers?.count === N) return this.#buffers;
    this.#releaseBuffers();
    const { width: C } = this.#shape;
    const floats = (...size: number[]): Tensor => this.#engine.allocate('f32', size);
    const tensors = {
      tokensN: this.#engine.allocate('i32', [N]),
      xNC: floats(N, C),
      normNC: floats(N, C),
      meanN: floats(N),
      rstdN: floats(N),
      qkvN3C: floats(N, 3 * C),
      hiddenN4C: floats(N, 4 * C),
      branchNC: floats(N, C),
    };
    this.#buffers = { count: N, ...tensors, all: Object.values(tensors) };
    return this.#buffers;
  }

  #releaseBuffers(): void {
    for (const tensor of this.#buffers?.all ?? []) this.#engine.release(tensor);
    this.#buffers = undefined;
  }

  /** Forgets all tokens. */
  reset(): void {
    this.position = 0;
  }

  release(): void {
    this.#releaseBuffers();
    for (const { keys, values } of this.#caches) {
      this.#engine.release(keys);
      this.#engine.release(values);
    }
    this.#engine.release(this.#lastBC);
    this.#engine.release(this.#logitsBV);
  }
}
