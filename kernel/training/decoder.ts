/** Decoding with a key/value cache: each new token costs one token's arithmetic, not the whole context's. */
import type { Engine, Tensor } from '../engine/engine.ts';
import { head } from './model.ts';
import type { GptShape, ParameterSet } from './parameters.ts';

/** One sequence being decoded. */
export class Decoder {
  /** Tokens in the cache. */
  position = 0;
  readonly #engine: Engine;
  readonly #shape: GptShape;
  readonly #parameters: ParameterSet;
  readonly #caches: { keys: Tensor; values: Tensor }[] = [];
  readonly #logits: Tensor;

  constructor(engine: Engine, shape: GptShape, parameters: ParameterSet) {
    this.#engine = engine;
    this.#shape = shape;
    this.#parameters = parameters;
    const size = [1, shape.heads, shape.contextLength, shape.width / shape.heads];
    for (let layer = 0; layer < shape.layers; layer++) {
      this.#caches.push({ keys: engine.allocate('f32', size), values: engine.allocate('f32', size) });
    }
    this.#logits = engine.allocate('f32', [1, shape.vocabularySize]);
  }

  /**
   * Appends tokens and returns the logits [V] of the next one. Throws a RangeError when they do not fit into the
   * context: `reset` and append a shorter tail then.
   */
  async append(ids: readonly number[]): Promise<Float32Array> {
    const engine = this.#engine;
    const { width: C, heads: H, activation, contextLength } = this.#shape;
    const n = ids.length;
    if (n === 0 || this.position + n > contextLength) {
      throw new RangeError(`${this.position} + ${n} tokens do not fit into the context of ${contextLength}`);
    }
    const parameters = this.#parameters;
    const temporary: Tensor[] = [];
    const floats = (...shape: number[]): Tensor => {
      const tensor = engine.allocate('f32', shape);
      temporary.push(tensor);
      return tensor;
    };
    const tokens = engine.allocate('i32', [n]);
    temporary.push(tokens);
    engine.write(tokens, Int32Array.from(ids));

    const xnC = floats(n, C);
    const normnC = floats(n, C);
    const [mean, rstd] = [floats(n), floats(n)];
    const qkvn3C = floats(n, 3 * C);
    const hiddenn4C = floats(n, 4 * C);
    const branchnC = floats(n, C);
    const [wte, wpe] = [parameters.get('wte.weight'), parameters.get('wpe.weight')];
    engine.embedding(xnC, tokens, wte, wpe, n, this.position);
    this.#caches.forEach(({ keys, values }, layer) => {
      const weight = (name: string): Tensor => parameters.get(`h.${layer}.${name}`);
      engine.layerNorm(normnC, mean, rstd, xnC, weight('ln_1.weight'), weight('ln_1.bias'));
      engine.linear(qkvn3C, normnC, weight('attn.c_attn.weight'), weight('attn.c_attn.bias'));
      engine.cachedAttention(normnC, qkvn3C, keys, values, 1, n, H, this.position);
      engine.linear(branchnC, normnC, weight('attn.c_proj.weight'), weight('attn.c_proj.bias'));
      const norm2 = [weight('ln_2.weight'), weight('ln_2.bias')] as const;
      engine.addLayerNorm(xnC, normnC, mean, rstd, xnC, branchnC, ...norm2);
      const up = [weight('mlp.c_fc.weight'), weight('mlp.c_fc.bias')] as const;
      engine.linearActivation(hiddenn4C, null, normnC, ...up, activation);
      engine.linear(branchnC, hiddenn4C, weight('mlp.c_proj.weight'), weight('mlp.c_proj.bias'));
      engine.add(xnC, xnC, branchnC);
    });
    // Only the last token's logits are wanted.
    const last1C = normnC.view(0, [1, C]);
    const final = [parameters.get('ln_f.weight'), parameters.get('ln_f.bias')] as const;
    engine.layerNorm(last1C, mean.view(0, [1]), rstd.view(0, [1]), xnC.view((n - 1) * C, [1, C]), ...final);
    engine.logits(this.#logits, last1C, head(parameters, this.#shape));
    for (const tensor of temporary) engine.release(tensor);
    this.position += n;
    return (await engine.read(this.#logits)) as Float32Array;
  }

  /** Forgets all tokens. */
  reset(): void {
    this.position = 0;
  }

  release(): void {
    for (const { keys, values } of this.#caches) {
      this.#engine.release(keys);
      this.#engine.release(values);
    }
    this.#engine.release(this.#logits);
  }
}
