/** Steps whose loss says that training goes wrong, and what is done about them. */
import type { TrainingConfiguration } from '../protocol/configuration.ts';

/** Steps that a loss is compared with. */
const WINDOW = 20;
/** Steps that must have been fine before one can be a spike. */
const LEAST = 5;

/** What is looked at. */
export interface JudgedStep {
  /** Mean over the tokens, nats. */
  readonly loss: number;
  readonly gradientNorm: number;
}

/** Compares each step with those before it. */
export class Divergence {
  readonly #spikeFactor: number;
  #recent: number[] = [];

  constructor({ spikeFactor = 0 }: Pick<TrainingConfiguration, 'spikeFactor'>) {
    this.#spikeFactor = spikeFactor;
  }

  /** What is wrong with a step, in words; undefined when nothing is, and then the step counts for later ones. */
  judge({ loss, gradientNorm }: JudgedStep): string | undefined {
    if (!Number.isFinite(loss)) return `is ${loss}`;
    if (!Number.isFinite(gradientNorm))
      return `is ${loss.toFixed(4)} with a gradient norm of ${gradientNorm}`;
    const mean = this.#recent.reduce((sum, each) => sum + each, 0) / this.#recent.length;
    const isSpike = this.#spikeFactor > 0 && this.#recent.length >= LEAST && loss > this.#spikeFactor * mean;
    if (isSpike)
      return `is ${loss.toFixed(4)}, more than ${this.#spikeFactor} times the ${mean.toFixed(4)} of the steps before`;
    this.#recent = [...this.#recent, loss].slice(-WINDOW);
    return undefined;
  }

  /** The run has gone back: what was seen since does not count. */
  forget(): void {
    this.#recent = [];
  }
}
