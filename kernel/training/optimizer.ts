/** AdamW over the flat parameter buffers, with global norm clipping that never waits for the device. */
import type { Engine, Tensor } from '../engine/engine.ts';
import type { OptimizerConfiguration } from '../protocol/configuration.ts';
import { ParameterSet, type ParameterSpecification } from './parameters.ts';

/** AdamW (Loshchilov & Hutter 2019): decay on matrices and embeddings only. */
export class AdamW {
  readonly m: ParameterSet;
  readonly v: ParameterSet;
  /** [1]: the squared global norm of the last step's gradient, before clipping. */
  readonly squaredNorm: Tensor;
  readonly #factor: Tensor;
  readonly #engine: Engine;
  readonly #settings: Required<OptimizerConfiguration>;

  constructor(
    engine: Engine,
    specifications: readonly ParameterSpecification[],
    settings: Required<OptimizerConfiguration>,
  ) {
    this.#engine = engine;
    this.#settings = settings;
    this.m = new ParameterSet(engine, specifications);
    this.v = new ParameterSet(engine, specifications);
    this.squaredNorm = engine.allocate('f32', [1]);
    this.#factor = engine.allocate('f32', [1]);
  }

  /** Queues one update; `step` counts from 1. */
  step(parameters: ParameterSet, gradients: ParameterSet, step: number, learningRate: number): void {
    const engine = this.#engine;
    const { betas, epsilon, weightDecay, clipNorm } = this.#settings;
    engine.fill(this.squaredNorm, 0);
    engine.squaredNorm(this.squaredNorm, gradients.decaying.flat);
    engine.squaredNorm(this.squaredNorm, gradients.others.flat);
    const factor = clipNorm > 0 ? this.#factor : null;
    if (factor) engine.clipFactor(factor, this.squaredNorm, clipNorm);
    for (const group of ['decaying', 'others'] as const) {
      engine.adamw(
        parameters[group].flat,
        gradients[group].flat,
        this.m[group].flat,
        this.v[group].flat,
        factor,
        {
          learningRate,
          beta1: betas[0],
          beta2: betas[1],
          epsilon,
          weightDecay: group === 'decaying' ? weightDecay : 0,
          step,
        },
      );
    }
  }
}
