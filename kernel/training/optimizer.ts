/** AdamW over flat parameter buffers, with global norm clipping that never waits for the device. */
import type { Engine, Tensor } from '../engine/engine.ts';
import type { OptimizerConfiguration } from '../protocol/configuration.ts';
import type { ParameterSet } from './parameters.ts';

/** A flat range of parameters that is updated in one pass. */
export interface Region {
  readonly parameters: Tensor;
  readonly gradients: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  /** Whether weight decay applies. */
  readonly decay: boolean;
  /** Whether the moments lie on disk between updates. */
  readonly onDisk?: boolean;
}

/** The gradient's global norm as a sum over pieces, which are the same for all ranks and all ways to share them out. */
export interface NormPieces {
  /** Number of all pieces, whoever has them. */
  readonly count: number;
  /** Those that are counted here, each with its place. */
  readonly own: readonly { readonly place: number; readonly gradients: Tensor }[];
  /** Queues the exchange of the pieces' squares [count], of which those of others are 0 here. */
  readonly exchange?: (squaresK: Tensor) => void;
}

/** AdamW (Loshchilov & Hutter 2019): decay on matrices and embeddings only. */
export class AdamW {
  /** [1]: the squared global norm of the last step's gradient, before clipping. */
  readonly squaredNorm: Tensor;
  readonly #factor: Tensor;
  readonly #squaresK: Tensor;
  /** Views of the squares and of as many ones: their product is the sum. */
  readonly #row1K: Tensor;
  readonly #onesK1: Tensor;
  readonly #sum11: Tensor;
  readonly #pieces: readonly { readonly square: Tensor; readonly gradients: Tensor }[];
  readonly #engine: Engine;
  readonly #settings: Required<OptimizerConfiguration>;
  readonly #regions: readonly Region[];
  readonly #norm: NormPieces;

  constructor(
    engine: Engine,
    settings: Required<OptimizerConfiguration>,
    regions: readonly Region[],
    norm: NormPieces,
  ) {
    this.#engine = engine;
    this.#settings = settings;
    this.#regions = regions;
    this.#norm = norm;
    this.squaredNorm = engine.allocate('f32', [1]);
    this.#factor = engine.allocate('f32', [1]);
    this.#squaresK = engine.allocate('f32', [norm.count]);
    this.#row1K = this.#squaresK.view(0, [1, norm.count]);
    this.#onesK1 = engine.allocate('f32', [norm.count, 1]);
    this.#sum11 = this.squaredNorm.view(0, [1, 1]);
    this.#pieces = norm.own.map(({ place, gradients }) => ({
      square: this.#squaresK.view(place, [1]),
      gradients,
    }));
    engine.fill(this.#onesK1, 1);
  }

  /** Queues one step: the norm, then the update. */
  step(step: number, learningRate: number): void {
    this.measure();
    this.update(step, learningRate);
  }

  /** Queues the update with the norm that was measured; `step` counts from 1. */
  update(step: number, learningRate: number): void {
    const engine = this.#engine;
    const { betas, epsilon, weightDecay, clipNorm } = this.#settings;
    const factor = clipNorm > 0 ? this.#factor : null;
    if (factor) engine.clipFactor(factor, this.squaredNorm, clipNorm);
    for (const { parameters, gradients, m, v, decay, onDisk } of this.#regions) {
      engine.adamw(parameters, gradients, m, v, factor, {
        learningRate,
        beta1: betas[0],
        beta2: betas[1],
        epsilon,
        weightDecay: decay ? weightDecay : 0,
        step,
      });
      if (onDisk) for (const moment of [m, v]) engine.evict(moment);
    }
  }

  /** Queues the global norm: a sum of squares for each piece, then their sum in the order of their places. */
  measure(): void {
    const engine = this.#engine;
    engine.fill(this.#squaresK, 0);
    for (const { square, gradients } of this.#pieces) engine.squaredNorm(square, gradients);
    this.#norm.exchange?.(this.#squaresK);
    engine.linear(this.#sum11, this.#row1K, this.#onesK1, null);
  }
}

/** AdamW for a model that is all here, with moments of its own. */
export function adamwOfAll(
  engine: Engine,
  settings: Required<OptimizerConfiguration>,
  parameters: ParameterSet,
  gradients: ParameterSet,
): AdamW {
  const regions = (['decaying', 'others'] as const).map((group): Region => {
    const { flat } = parameters[group];
    const [m, v] = [engine.allocate('f32', flat.shape), engine.allocate('f32', flat.shape)];
    return { parameters: flat, gradients: gradients[group].flat, m, v, decay: group === 'decaying' };
  });
  const own = regions.map((region, place) => ({ place, gradients: region.gradients }));
  return new AdamW(engine, settings, regions, { count: own.length, own });
}
