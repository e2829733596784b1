/** One training step of GPT-2 124M on random tokens, as `gpt-lab bench engine` measures it. */
import type { Engine } from '../engine/engine.ts';
import type { PassOptions } from '../training/activations.ts';
import { TrainingPass } from '../training/training-pass.ts';
import { type AdamW, adamwOfAll } from '../training/optimizer.ts';
import { initialise, ParameterSet, parameterSpecifications, type GptShape } from '../training/parameters.ts';
import { parameterCount } from '../protocol/presets.ts';

/** OpenAI's smallest GPT-2. */
export const gpt2Shape: GptShape = {
  layers: 12,
  width: 768,
  heads: 12,
  contextLength: 1024,
  vocabularySize: 50257,
  activation: 'gelu-tanh',
  tieHead: true,
  dropout: 0,
};

/** Sequences x tokens of one step. */
export interface BatchSize {
  readonly B: number;
  readonly T: number;
}

/** Multiplications and additions of a step: 6 a weight of a matrix and token, and the products of causal attention. */
export function stepOperations({ B, T }: BatchSize): number {
  const { layers, width: C, vocabularySize } = gpt2Shape;
  const matrices = layers * 12 * C * C + vocabularySize * C;
  // Scores and their use, 2 T C each for a query that sees all T keys and half of that on average; three times with backward.
  const attention = layers * 3 * 2 * T * C;
  return B * T * (6 * matrices + attention);
}

/** Bytes that AdamW must move: p, g, m, v read and p, m, v written, 4 bytes each. */
export function optimizerBytes(): number {
  return 28 * parameterCount(gpt2Shape);
}

/** A model with everything a step needs. */
export class Gpt2Step {
  readonly #engine: Engine;
  readonly #parameters: ParameterSet;
  readonly #gradients: ParameterSet;
  readonly #optimizer: AdamW;
  readonly #pass: TrainingPass;
  readonly #tokens: number;
  #step = 0;

  constructor(engine: Engine, { B, T }: BatchSize, options: PassOptions) {
    const specifications = parameterSpecifications(gpt2Shape);
    this.#engine = engine;
    this.#tokens = B * T;
    this.#parameters = new ParameterSet(engine, specifications);
    this.#gradients = new ParameterSet(engine, specifications);
    const settings = { learningRate: 1e-4, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1 } as const;
    this.#optimizer = adamwOfAll(
      engine,
      { type: 'adamw', ...settings, betas: [...settings.betas], clipNorm: 1 },
      this.#parameters,
      this.#gradients,
    );
    this.#pass = new TrainingPass(engine, gpt2Shape, B, T, options);
    initialise(engine, this.#parameters, specifications, 1);
    const ids = Int32Array.from({ length: B * T }, (_, n) => (n * 7919) % gpt2Shape.vocabularySize);
    this.#pass.load(ids, ids.toReversed());
  }

  /** Queues forward, backward, clipping and AdamW on an engine; another than the constructor's may record the calls. */
  queue(): void {
    this.#step++;
    this.#pass.forwardBackward(
      this.#parameters,
      this.#gradients,
      1 / this.#tokens,
      { seed: 1, firstSequence: 0 },
      true,
    );
    this.#optimizer.step(this.#step, 1e-4);
  }

  /** Seconds of one step. */
  async run(): Promise<number> {
    const start = performance.now();
    this.queue();
    await this.#engine.finish();
    return (performance.now() - start) / 1000;
  }
}

/**
 * Seconds of every operation in one step, by name, largest first: the calls are recorded, then run one at a time. What
 * is queued before the recording runs first.
 */
export async function operationSeconds(
  engine: Engine,
  batch: BatchSize,
  options: PassOptions,
): Promise<Map<string, number>> {
  const calls: { name: string; call: () => void }[] = [];
  let recording = false;
  const direct = new Set(['allocate', 'release', 'write', 'read', 'finish', 'dispose']);
  const recorder = new Proxy(engine, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function' || typeof name !== 'string') return member;
      return (...args: unknown[]): unknown => {
        const call = (): unknown => Reflect.apply(member, target, args) as unknown;
        if (!recording || direct.has(name)) return call();
        calls.push({ name, call: () => void call() });
        return undefined;
      };
    },
  });
  const step = new Gpt2Step(recorder, batch, options);
  await step.run();
  recording = true;
  step.queue();
  recording = false;
  const seconds = new Map<string, number>();
  for (const { name, call } of calls) {
    const start = performance.now();
    call();
    await engine.finish();
    seconds.set(name, (seconds.get(name) ?? 0) + (performance.now() - start) / 1000);
  }
  return new Map([...seconds].sort(([, a], [, b]) => b - a));
}
