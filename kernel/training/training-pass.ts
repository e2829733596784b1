/** The whole model on one rank that holds all of it: for evaluation, generation's checks and benchmarks. */
import type { Engine, Tensor } from '../engine/engine.ts';
import { Slot, Workspace, type PassOptions, type PassSize } from './activations.ts';
import { ModelPart, type DropoutPosition, type ParameterKeeper } from './model.ts';
import type { GptShape, ParameterSet } from './parameters.ts';

/** Forward and backward of one micro-batch of B x T tokens; its activations are allocated once and used again. */
export class TrainingPass {
  readonly lossesN: Tensor;
  readonly #engine: Engine;
  readonly #slot: Slot;
  readonly #workspace: Workspace;
  readonly #dxNC: Tensor;
  readonly #part: ModelPart;
  #parameters: ParameterSet | undefined;
  #gradients: ParameterSet | undefined;
  #fresh = false;

  constructor(engine: Engine, shape: GptShape, B: number, T: number, options: PassOptions = {}) {
    const size: PassSize = { shape, B, T };
    const span = { first: 0, end: shape.layers, embedding: true, head: true };
    this.#engine = engine;
    this.lossesN = engine.allocate('f32', [B * T]);
    this.#slot = new Slot(engine, size, span, options);
    this.#workspace = new Workspace(engine, size, options);
    this.#dxNC = engine.allocate('f32', [B * T, shape.width]);
    const given = (set: ParameterSet | undefined): ParameterSet => {
      if (set === undefined) throw new TypeError('There is nothing to compute with');
      return set;
    };
    const nothing = (): void => undefined;
    const keeper: ParameterKeeper = {
      take: () => given(this.#parameters),
      gradients: () => ({ get: (name) => given(this.#gradients).get(name), fresh: this.#fresh }),
      ...{ give: nothing, expect: nothing, complete: nothing },
    };
    this.#part = new ModelPart({ engine, size, span, options, workspace: this.#workspace, keeper });
  }

  get tokensN(): Tensor {
    return this.#slot.tokensN;
  }

  get targetsN(): Tensor {
    return this.#slot.targetsN;
  }

  /** Queues tokens and targets [N] of the next forward; a target of -1 is ignored. */
  load(tokens: Int32Array, targets: Int32Array): void {
    this.#part.load(this.#slot, tokens, targets);
  }

  /** Losses [N] in nats of the loaded tokens, without gradients or dropout. */
  evaluate(parameters: ParameterSet): void {
    this.#parameters = parameters;
    this.#part.forward(this.#slot);
    this.#part.losses(this.#slot, this.lossesN);
  }

  /**
   * Losses [N], and gradients += those of lossScale * sum(losses); with `fresh` the gradients start here, whatever they
   * hold: large ones are overwritten, which saves a step clearing them and reading the zeros.
   */
  forwardBackward(
    parameters: ParameterSet,
    gradients: ParameterSet,
    lossScale: number,
    dropout: DropoutPosition,
    fresh = false,
  ): void {
    this.#parameters = parameters;
    this.#gradients = gradients;
    this.#fresh = fresh;
    this.#part.forward(this.#slot, dropout);
    this.#part.backward(this.#slot, this.#dxNC, { index: 0, lossScale, dropout }, this.lossesN);
  }

  release(): void {
    this.#slot.release();
    this.#workspace.release();
    this.#engine.release(this.lossesN);
    this.#engine.release(this.#dxNC);
  }
}
