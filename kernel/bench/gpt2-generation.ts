/** Cached decoding of GPT-2 124M, as `gpt-lab bench engine` measures it. */
import type { Engine } from '../engine/engine.ts';
import { Decoder } from '../training/decoder.ts';
import { initialise, ParameterSet, parameterSpecifications } from '../training/parameters.ts';
import { gpt2Shape } from './gpt2-step.ts';

/** Tokens of the prompt. */
const PROMPT = 32;

/** A model with random weights that continues a prompt by the likeliest tokens. */
export class Gpt2Generation {
  readonly #decoder: Decoder;
  readonly #sequences: number;

  constructor(engine: Engine, sequences: number) {
    const specifications = parameterSpecifications(gpt2Shape);
    const parameters = new ParameterSet(engine, specifications);
    initialise(engine, parameters, specifications, 1);
    this.#decoder = new Decoder(engine, gpt2Shape, parameters, sequences);
    this.#sequences = sequences;
  }

  /** Seconds of generating `tokens` tokens for each sequence, the prompt and the choice of each token included. */
  async run(tokens: number): Promise<number> {
    const start = performance.now();
    this.#decoder.reset();
    let ids = Array.from(
      { length: this.#sequences * PROMPT },
      (_, n) => (n * 7919) % gpt2Shape.vocabularySize,
    );
    for (let made = 0; made < tokens; made++) {
      const logits = await this.#decoder.append(ids);
      const V = gpt2Shape.vocabularySize;
      ids = Array.from({ length: this.#sequences }, (_, b) => likeliest(logits.subarray(b * V, (b + 1) * V)));
    }
    return (performance.now() - start) / 1000;
  }
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] ?? 0) > (logits[best] ?? 0)) best = id;
  return best;
}
