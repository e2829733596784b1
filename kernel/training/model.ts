/**
 * GPT-2 (Radford et al. 2019): pre-LN blocks, learned positions, explicit forward and backward per block.
 *
 * Shapes: B sequences of T tokens, N = B*T, C width, H heads, V vocabulary. Names carry them: `xNC` is [N, C].
 * There is no tape: a block's backward is called with what its forward kept, so a pipeline can hold blocks apart
 * and activation checkpointing is a second forward.
 */
import type { DataType, DropoutKey, Engine, Tensor } from '../engine/engine.ts';
import type { GptShape, ParameterSet } from './parameters.ts';

/** Dropout streams lie above those of the initial weights. */
const DROPOUT_STREAM = 1 << 24;

/** How a pass computes and what it keeps. */
export interface PassOptions {
  /** `bf16`: activations are kept and multiplied in bf16; the residual stream, statistics, sums and gradients are f32. */
  readonly precision?: 'fp32' | 'bf16';
  /** Keep only each block's input, and run its forward again before its backward: less memory, the same numbers. */
  readonly activationCheckpointing?: boolean;
}

/** What a block's forward keeps for its backward, beside its input. */
interface BlockActivations {
  readonly norm1NC: Tensor;
  readonly mean1N: Tensor;
  readonly rstd1N: Tensor;
  readonly qkvN3C: Tensor;
  readonly attendedNC: Tensor;
  readonly logSumExpBHT: Tensor;
  readonly middleNC: Tensor;
  readonly norm2NC: Tensor;
  readonly mean2N: Tensor;
  readonly rstd2N: Tensor;
  readonly preN4C: Tensor;
  readonly hiddenN4C: Tensor;
}

/** The random numbers of one micro-batch: they depend on the seed and on the sequences' global positions alone. */
export interface DropoutPosition {
  readonly seed: number;
  /** Number of the micro-batch's first sequence since the start of training. */
  readonly firstSequence: number;
}

/** Forward and backward of one micro-batch of B x T tokens; its activations are allocated once and used again. */
export class TrainingPass {
  readonly tokensN: Tensor;
  readonly targetsN: Tensor;
  readonly lossesN: Tensor;
  readonly #engine: Engine;
  readonly #shape: GptShape;
  readonly #B: number;
  readonly #T: number;
  readonly #blocks: BlockActivations[] = [];
  /** The residual stream before each block, and after the last. */
  readonly #streamNC: Tensor[] = [];
  readonly #checkpointing: boolean;
  readonly #owned: Tensor[] = [];
  readonly #normNC: Tensor;
  readonly #meanN: Tensor;
  readonly #rstdN: Tensor;
  /** Gradient of the residual stream, updated in place from the head down to the embedding. */
  readonly #dxNC: Tensor;
  readonly #scratchNC: Tensor;
  readonly #scratch2NC: Tensor;
  readonly #dbranchNC: Tensor;
  readonly #dqkvN3C: Tensor;
  readonly #dpreN4C: Tensor;

  constructor(engine: Engine, shape: GptShape, B: number, T: number, options: PassOptions = {}) {
    const { width: C, heads: H, layers } = shape;
    const N = B * T;
    this.#engine = engine;
    this.#shape = shape;
    this.#B = B;
    this.#T = T;
    this.#checkpointing = options.activationCheckpointing ?? false;
    const own = (type: DataType, size: number[]): Tensor => this.#own(engine.allocate(type, size));
    const floats = (...size: number[]): Tensor => own('f32', size);
    const activations = (...size: number[]): Tensor =>
      own(options.precision === 'bf16' ? 'bf16' : 'f32', size);
    this.tokensN = this.#own(engine.allocate('i32', [N]));
    this.targetsN = this.#own(engine.allocate('i32', [N]));
    this.lossesN = floats(N);
    for (let layer = 0; layer <= layers; layer++) this.#streamNC.push(floats(N, C));
    const kept = this.#checkpointing ? 1 : layers;
    for (let block = 0; block < kept; block++) {
      this.#blocks.push({
        norm1NC: activations(N, C),
        mean1N: floats(N),
        rstd1N: floats(N),
        qkvN3C: activations(N, 3 * C),
        attendedNC: activations(N, C),
        logSumExpBHT: floats(B, H, T),
        middleNC: floats(N, C),
        norm2NC: activations(N, C),
        mean2N: floats(N),
        rstd2N: floats(N),
        preN4C: activations(N, 4 * C),
        hiddenN4C: activations(N, 4 * C),
      });
    }
    this.#normNC = activations(N, C);
    this.#meanN = floats(N);
    this.#rstdN = floats(N);
    this.#dxNC = floats(N, C);
    this.#scratchNC = floats(N, C);
    this.#scratch2NC = floats(N, C);
    this.#dbranchNC = activations(N, C);
    this.#dqkvN3C = activations(N, 3 * C);
    this.#dpreN4C = activations(N, 4 * C);
  }

  #own(tensor: Tensor): Tensor {
    this.#owned.push(tensor);
    return tensor;
  }

  /** Queues tokens and targets [N] of the next forward; a target of -1 is ignored. */
  load(tokens: Int32Array, targets: Int32Array): void {
    this.#engine.write(this.tokensN, tokens);
    this.#engine.write(this.targetsN, targets);
  }

  /** Losses [N] in nats of the loaded tokens, without gradients or dropout. */
  evaluate(parameters: ParameterSet): void {
    const xNC = this.#forward(parameters);
    this.#engine.crossEntropy(this.lossesN, xNC, head(parameters, this.#shape), this.targetsN);
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
    const engine = this.#engine;
    if (fresh) this.#clearSummedGradients(gradients);
    const keep = this.#shape.dropout > 0 ? dropout : undefined;
    const xNC = this.#forward(parameters, keep);
    const dnormNC = this.#scratchNC;
    engine.crossEntropyBackward(
      this.lossesN,
      dnormNC,
      head(gradients, this.#shape),
      xNC,
      head(parameters, this.#shape),
      this.targetsN,
      lossScale,
      fresh,
    );
    engine.fill(this.#dxNC, 0);
    engine.layerNormBackward(
      this.#dxNC,
      gradients.get('ln_f.weight'),
      gradients.get('ln_f.bias'),
      dnormNC,
      this.#stream(this.#shape.layers),
      this.#meanN,
      this.#rstdN,
      parameters.get('ln_f.weight'),
    );
    for (let layer = this.#shape.layers - 1; layer >= 0; layer--) {
      const forgotten = this.#checkpointing && layer < this.#shape.layers - 1;
      if (forgotten) this.#blockForward(layer, parameters, keep);
      this.#blockBackward(layer, parameters, gradients, fresh, keep);
    }
    if (keep) engine.dropout(this.#dxNC, this.#dxNC, this.#dropoutKey(keep, 0, this.#shape.width));
    engine.embeddingBackward(
      gradients.get('wte.weight'),
      gradients.get('wpe.weight'),
      this.#dxNC,
      this.tokensN,
      this.#T,
    );
  }

  /** Zeroes the gradients that every operation adds to; the others begin by being overwritten. */
  #clearSummedGradients(gradients: ParameterSet): void {
    const summed = [gradients.others.flat, gradients.get('wpe.weight')];
    if (!this.#shape.tieHead) summed.push(gradients.get('wte.weight'));
    for (const tensor of summed) this.#engine.fill(tensor, 0);
  }

  release(): void {
    for (const tensor of this.#owned) this.#engine.release(tensor);
  }

  /** Site 0 is the embedding; 1 + 3l, 2 + 3l, 3 + 3l are attention, projection and MLP of block l. */
  #dropoutKey(position: DropoutPosition, site: number, elementsPerToken: number): DropoutKey {
    return {
      probability: this.#shape.dropout,
      seed: position.seed,
      stream: DROPOUT_STREAM + site,
      offset: position.firstSequence * this.#T * elementsPerToken,
    };
  }

  /** The final norm's output [N, C]. */
  #forward(parameters: ParameterSet, dropout?: DropoutPosition): Tensor {
    const engine = this.#engine;
    const first = this.#stream(0);
    engine.embedding(
      first,
      this.tokensN,
      parameters.get('wte.weight'),
      parameters.get('wpe.weight'),
      this.#T,
      0,
    );
    if (dropout) engine.dropout(first, first, this.#dropoutKey(dropout, 0, this.#shape.width));
    const { layers } = this.#shape;
    for (let layer = 0; layer < layers; layer++) this.#blockForward(layer, parameters, dropout);
    const [gamma, beta] = [parameters.get('ln_f.weight'), parameters.get('ln_f.bias')];
    engine.layerNorm(this.#normNC, this.#meanN, this.#rstdN, this.#stream(layers), gamma, beta);
    return this.#normNC;
  }

  #blockForward(layer: number, parameters: ParameterSet, dropout?: DropoutPosition): void {
    const engine = this.#engine;
    const { heads: H, width: C, activation } = this.#shape;
    const kept = this.#block(layer);
    const [xNC, outNC] = [this.#stream(layer), this.#stream(layer + 1)];
    const weight = (name: string): Tensor => parameters.get(`h.${layer}.${name}`);
    const branchNC = this.#scratchNC;

    engine.layerNorm(kept.norm1NC, kept.mean1N, kept.rstd1N, xNC, weight('ln_1.weight'), weight('ln_1.bias'));
    engine.linear(kept.qkvN3C, kept.norm1NC, weight('attn.c_attn.weight'), weight('attn.c_attn.bias'));
    const attentionKey = dropout && this.#dropoutKey(dropout, 1 + 3 * layer, H * this.#T);
    engine.attention(kept.attendedNC, kept.logSumExpBHT, kept.qkvN3C, this.#B, this.#T, H, attentionKey);
    engine.linear(branchNC, kept.attendedNC, weight('attn.c_proj.weight'), weight('attn.c_proj.bias'));
    if (dropout) engine.dropout(branchNC, branchNC, this.#dropoutKey(dropout, 2 + 3 * layer, C));
    engine.addLayerNorm(
      kept.middleNC,
      kept.norm2NC,
      kept.mean2N,
      kept.rstd2N,
      xNC,
      branchNC,
      weight('ln_2.weight'),
      weight('ln_2.bias'),
    );
    engine.linearActivation(
      kept.hiddenN4C,
      kept.preN4C,
      kept.norm2NC,
      weight('mlp.c_fc.weight'),
      weight('mlp.c_fc.bias'),
      activation,
    );
    engine.linear(branchNC, kept.hiddenN4C, weight('mlp.c_proj.weight'), weight('mlp.c_proj.bias'));
    if (dropout) engine.dropout(branchNC, branchNC, this.#dropoutKey(dropout, 3 + 3 * layer, C));
    engine.add(outNC, kept.middleNC, branchNC);
  }

  /** Turns #dxNC from the gradient of the block's output into that of its input. */
  #blockBackward(
    layer: number,
    parameters: ParameterSet,
    gradients: ParameterSet,
    fresh: boolean,
    dropout?: DropoutPosition,
  ): void {
    const engine = this.#engine;
    const { heads: H, width: C, activation } = this.#shape;
    const kept = this.#block(layer);
    const xNC = this.#stream(layer);
    const weight = (name: string): Tensor => parameters.get(`h.${layer}.${name}`);
    const gradient = (name: string): Tensor => gradients.get(`h.${layer}.${name}`);
    const dxNC = this.#dxNC;
    const dnormNC = this.#scratchNC;
    /** The gradient entering a residual branch: through its dropout, where there is one; in the activations' type. */
    const intoBranch = (site: number): Tensor => {
      if (dropout) engine.dropout(this.#scratch2NC, dxNC, this.#dropoutKey(dropout, site, C));
      const gradientNC = dropout ? this.#scratch2NC : dxNC;
      if (this.#dbranchNC.type === 'f32') return gradientNC;
      engine.copy(this.#dbranchNC, gradientNC);
      return this.#dbranchNC;
    };

    const dmlpNC = intoBranch(3 + 3 * layer);
    const mlp = [gradient('mlp.c_proj.weight'), gradient('mlp.c_proj.bias')] as const;
    engine.linearWeightGradient(...mlp, kept.hiddenN4C, dmlpNC, fresh);
    engine.linearActivationInputGradient(
      this.#dpreN4C,
      dmlpNC,
      weight('mlp.c_proj.weight'),
      kept.preN4C,
      activation,
    );
    const up = [gradient('mlp.c_fc.weight'), gradient('mlp.c_fc.bias')] as const;
    engine.linearWeightGradient(...up, kept.norm2NC, this.#dpreN4C, fresh);
    engine.linearInputGradient(dnormNC, this.#dpreN4C, weight('mlp.c_fc.weight'));
    engine.layerNormBackward(
      dxNC,
      gradient('ln_2.weight'),
      gradient('ln_2.bias'),
      dnormNC,
      kept.middleNC,
      kept.mean2N,
      kept.rstd2N,
      weight('ln_2.weight'),
    );

    const dprojectedNC = intoBranch(2 + 3 * layer);
    const projection = [gradient('attn.c_proj.weight'), gradient('attn.c_proj.bias')] as const;
    engine.linearWeightGradient(...projection, kept.attendedNC, dprojectedNC, fresh);
    const dattendedNC = this.#scratchNC;
    engine.linearInputGradient(dattendedNC, dprojectedNC, weight('attn.c_proj.weight'));
    const attentionKey = dropout && this.#dropoutKey(dropout, 1 + 3 * layer, H * this.#T);
    engine.attentionBackward(
      this.#dqkvN3C,
      dattendedNC,
      kept.attendedNC,
      kept.logSumExpBHT,
      kept.qkvN3C,
      this.#B,
      this.#T,
      H,
      attentionKey,
    );
    const qkv = [gradient('attn.c_attn.weight'), gradient('attn.c_attn.bias')] as const;
    engine.linearWeightGradient(...qkv, kept.norm1NC, this.#dqkvN3C, fresh);
    engine.linearInputGradient(dnormNC, this.#dqkvN3C, weight('attn.c_attn.weight'));
    engine.layerNormBackward(
      dxNC,
      gradient('ln_1.weight'),
      gradient('ln_1.bias'),
      dnormNC,
      xNC,
      kept.mean1N,
      kept.rstd1N,
      weight('ln_1.weight'),
    );
  }

  #block(layer: number): BlockActivations {
    const block = this.#blocks[this.#checkpointing ? 0 : layer];
    if (block === undefined) throw new RangeError(`Layer ${layer} of ${this.#blocks.length}`);
    return block;
  }

  #stream(layer: number): Tensor {
    const stream = this.#streamNC[layer];
    if (stream === undefined) throw new RangeError(`Layer ${layer} of ${this.#streamNC.length - 1}`);
    return stream;
  }
}

/** The head's weights [V, C]: the token embedding where they are tied. */
export function head(parameters: ParameterSet, shape: GptShape): Tensor {
  return parameters.get(shape.tieHead ? 'wte.weight' : 'lm_head.weight');
}
