/** Which tokens go into which sequence: a function of the seed and the sequence's global number alone. */
import type { Tokens } from './token-file.ts';

/** Inputs and targets of some sequences, each [sequences * T]; targets are the inputs shifted by one. */
export interface Batch {
  readonly tokens: Int32Array;
  readonly targets: Int32Array;
}

/** Mixes three 32-bit numbers into one (MurmurHash3's finaliser after a multiply-add of each). */
export function mix(a: number, b: number, c: number): number {
  let h = 0x9e3779b9;
  for (const word of [a, b, c]) {
    h = Math.imul(h ^ word, 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return h >>> 0;
}

/**
 * Position `index` of a keyed permutation of [0, size): four Feistel rounds over the next even power of two,
 * walked until the result lies inside (Black & Rogaway 2002). No table: any position costs the same.
 */
export function permute(index: number, size: number, key: number): number {
  const half = Math.max(1, Math.ceil(Math.log2(Math.max(2, size)) / 2));
  const mask = 2 ** half - 1;
  let value = index;
  do {
    let left = Math.floor(value / (mask + 1));
    let right = value & mask;
    for (let round = 0; round < 4; round++) [left, right] = [right, left ^ (mix(key, round, right) & mask)];
    value = left * (mask + 1) + right;
  } while (value >= size);
  return value;
}

/**
 * Sequences for training. An epoch cuts the tokens into windows of T from an offset of its own and takes them in
 * an order of its own; over epochs every token is seen at every place.
 */
export class TrainingSequences {
  readonly #tokens: Tokens;
  readonly #T: number;
  readonly #seed: number;
  /** Sequences per epoch. */
  readonly windows: number;
  readonly #shifted: boolean;

  /** Throws an Error when there are fewer than T + 1 tokens. */
  constructor(tokens: Tokens, T: number, seed: number) {
    if (tokens.length < T + 1) {
      throw new Error(
        `The text has ${tokens.length} training tokens and one sequence needs ${T + 1}: use a longer text or a smaller training.sequenceLength (${T})`,
      );
    }
    this.#tokens = tokens;
    this.#T = T;
    this.#seed = seed;
    const whole = Math.floor((tokens.length - 1) / T);
    // An offset of up to T - 1 costs the last window; with a single window there is nothing to shift.
    this.#shifted = whole > 1;
    this.windows = this.#shifted ? whole - 1 : whole;
  }

  /** `count` sequences from number `first` on, counted since the start of training. */
  batch(first: number, count: number): Batch {
    const T = this.#T;
    const tokens = new Int32Array(count * T);
    const targets = new Int32Array(count * T);
    for (let i = 0; i < count; i++) {
      const epoch = Math.floor((first + i) / this.windows);
      const window = permute((first + i) % this.windows, this.windows, mix(this.#seed, epoch, 1));
      const offset = this.#shifted ? mix(this.#seed, epoch, 2) % T : 0;
      const start = offset + window * T;
      tokens.set(this.#tokens.subarray(start, start + T), i * T);
      targets.set(this.#tokens.subarray(start + 1, start + T + 1), i * T);
    }
    return { tokens, targets };
  }
}

/** Random tokens in place of a text: for measuring speed. */
export class DummySequences {
  readonly windows = Number.MAX_SAFE_INTEGER;
  readonly #T: number;
  readonly #seed: number;
  readonly #vocabularySize: number;

  constructor(vocabularySize: number, T: number, seed: number) {
    this.#vocabularySize = vocabularySize;
    this.#T = T;
    this.#seed = seed;
  }

  batch(first: number, count: number): Batch {
    const T = this.#T;
    const draw = (place: number): number =>
      mix(this.#seed, Math.floor(place / 2 ** 32), place) % this.#vocabularySize;
    const tokens = Int32Array.from({ length: count * T }, (_, i) => draw(first * T + i));
    const targets = Int32Array.from({ length: count * T }, (_, i) => draw(first * T + i + 1));
    return { tokens, targets };
  }
}

/** Tokens that an evaluation looks at, at most: enough for a steady mean, little beside a hundred steps. */
const EVALUATION_TOKENS = 16_384;

/**
 * The fixed windows of an evaluation, spread evenly over the held-out tokens, in batches of `sequences`; places
 * that are left over have target -1. Empty where the held-out tokens make no whole sequence.
 */
export function evaluationBatches(
  tokens: Tokens,
  T: number,
  sequences: number,
  maximum: number = EVALUATION_TOKENS,
): Batch[] {
  const windows = Math.floor((tokens.length - 1) / T);
  const used = Math.min(windows, Math.max(1, Math.floor(maximum / T)));
  const batches: Batch[] = [];
  for (let first = 0; first < used; first += sequences) {
    const batch = { tokens: new Int32Array(sequences * T), targets: new Int32Array(sequences * T).fill(-1) };
    for (let i = 0; i < sequences && first + i < used; i++) {
      const start = Math.floor(((first + i) * windows) / used) * T;
      batch.tokens.set(tokens.subarray(start, start + T), i * T);
      batch.targets.set(tokens.subarray(start + 1, start + T + 1), i * T);
    }
    batches.push(batch);
  }
  return batches;
}
