/** What a forward pass keeps for its backward pass, and the memory that passes share. Shape letters as in model.ts. */
import type { DataType, Engine, Tensor } from '../engine/engine.ts';
import type { GptShape } from './parameters.ts';

/** How a pass computes and what it keeps. */
export interface PassOptions {
  /** `bf16`: activations are kept and multiplied in bf16; the residual stream, statistics, sums and gradients are f32. */
  readonly precision?: 'fp32' | 'bf16';
  /** Keep only each block's input, and run its forward again before its backward: less memory, the same numbers. */
  readonly activationCheckpointing?: boolean;
}

/** The part of a model that is computed in one piece: blocks `first` to before `end`, and what lies around them. */
export interface Span {
  readonly first: number;
  readonly end: number;
  /** Whether the embedding is before the blocks; otherwise their input comes from elsewhere. */
  readonly embedding: boolean;
  /** Whether the final norm and the head are behind the blocks. */
  readonly head: boolean;
}

/** Micro-batches of B sequences of T tokens in one model. */
export interface PassSize {
  readonly shape: GptShape;
  readonly B: number;
  readonly T: number;
  /** Shares that every layer's heads and hidden units are split into, one of which is computed here. Default 1. */
  readonly shares?: number;
  /** Runs of tokens that the residual stream and its norms are split into, one of which is kept here. Default 1. */
  readonly tokenShares?: number;
}

/** Tokens N of a micro-batch, and L whose residual stream is kept here. */
export function tokensOf({ B, T, tokenShares = 1 }: PassSize): { N: number; L: number } {
  return { N: B * T, L: (B * T) / tokenShares };
}

/** What a block's forward keeps for its backward, beside its input; of heads, hidden units and L tokens, those of its share. */
export interface BlockActivations {
  readonly mean1L: Tensor;
  readonly rstd1L: Tensor;
  readonly qkvN3C: Tensor;
  readonly attendedNC: Tensor;
  readonly logSumExpBHT: Tensor;
  readonly middleLC: Tensor;
  readonly mean2L: Tensor;
  readonly rstd2L: Tensor;
  /** Before the activation; after it once the backward has come past it. */
  readonly preN4C: Tensor;
}

/** All that the weight gradients of a block's linear layers need beside the activations: gradients of outputs, and inputs. */
export interface WeightGradientInputs {
  /** Made again from what is before the norms: that costs less than keeping them. */
  readonly norm1LC: Tensor;
  readonly norm2LC: Tensor;
  readonly dmlpNC: Tensor;
  readonly dpreN4C: Tensor;
  readonly dprojectedNC: Tensor;
  readonly dqkvN3C: Tensor;
}

/** What the head's forward keeps. */
export interface HeadActivations {
  readonly normLC: Tensor;
  readonly meanL: Tensor;
  readonly rstdL: Tensor;
}

/** Allocates tensors and gives them all back at once. */
export class Allocation {
  readonly engine: Engine;
  readonly #type: 'f32' | 'bf16';
  readonly #tensors: Tensor[] = [];

  constructor(engine: Engine, options: PassOptions) {
    this.engine = engine;
    this.#type = options.precision === 'bf16' ? 'bf16' : 'f32';
  }

  /** Numbers that are always f32. */
  floats(...size: number[]): Tensor {
    return this.#own('f32', size);
  }

  /** Numbers in the type of activations. */
  activations(...size: number[]): Tensor {
    return this.#own(this.#type, size);
  }

  integers(...size: number[]): Tensor {
    return this.#own('i32', size);
  }

  release(): void {
    for (const tensor of this.#tensors.splice(0)) this.engine.release(tensor);
  }

  #own(type: DataType, size: number[]): Tensor {
    const tensor = this.engine.allocate(type, size);
    this.#tensors.push(tensor);
    return tensor;
  }
}

function blockActivations(allocation: Allocation, size: PassSize): BlockActivations {
  const { shape, B, T, shares = 1 } = size;
  const { N, L } = tokensOf(size);
  const [C, H] = [shape.width, shape.heads / shares];
  const S = C / shares;
  const floats = (...size: number[]): Tensor => allocation.floats(...size);
  const activations = (...size: number[]): Tensor => allocation.activations(...size);
  return {
    mean1L: floats(L),
    rstd1L: floats(L),
    qkvN3C: activations(N, 3 * S),
    attendedNC: activations(N, S),
    logSumExpBHT: floats(B, H, T),
    middleLC: floats(L, C),
    mean2L: floats(L),
    rstd2L: floats(L),
    preN4C: activations(N, 4 * S),
  };
}

function weightGradientInputs(allocation: Allocation, size: PassSize): WeightGradientInputs {
  const { shape, shares = 1 } = size;
  const { N, L } = tokensOf(size);
  const [C, S] = [shape.width, shape.width / shares];
  return {
    norm1LC: allocation.activations(L, C),
    norm2LC: allocation.activations(L, C),
    dmlpNC: allocation.activations(N, C),
    dpreN4C: allocation.activations(N, 4 * S),
    dprojectedNC: allocation.activations(N, C),
    dqkvN3C: allocation.activations(N, 3 * S),
  };
}

/** One micro-batch on its way through a span: what is kept from its forward to the end of its backward. */
export class Slot {
  readonly tokensN: Tensor;
  readonly targetsN: Tensor;
  /** The residual stream before each block and after the last. The first is the input, which may come from elsewhere. */
  readonly streamLC: Tensor[] = [];
  /** Of each block; none where activations are computed again. */
  readonly blocks: BlockActivations[] = [];
  readonly head: HeadActivations | undefined;
  readonly #allocation: Allocation;
  readonly #size: PassSize;
  readonly #later: (WeightGradientInputs | undefined)[] = [];

  constructor(engine: Engine, size: PassSize, span: Span, options: PassOptions) {
    const allocation = new Allocation(engine, options);
    const { N, L } = tokensOf(size);
    const C = size.shape.width;
    this.#allocation = allocation;
    this.#size = size;
    this.tokensN = allocation.integers(span.embedding ? N : 0);
    this.targetsN = allocation.integers(span.head ? N : 0);
    this.streamLC.push(allocation.floats(span.embedding ? L : 0, C));
    for (let layer = span.first; layer < span.end; layer++) {
      this.streamLC.push(allocation.floats(L, C));
      if (!options.activationCheckpointing) this.blocks.push(blockActivations(allocation, size));
    }
    this.head = span.head
      ? {
          normLC: allocation.activations(L, C),
          meanL: allocation.floats(L),
          rstdL: allocation.floats(L),
        }
      : undefined;
  }

  /** The residual stream that leaves the span. */
  get outputLC(): Tensor {
    return this.stream(this.streamLC.length - 1);
  }

  /** The residual stream before the block at that place of the span. */
  stream(place: number): Tensor {
    const stream = this.streamLC[place];
    if (stream === undefined) throw new RangeError(`Block ${place} of a span of ${this.streamLC.length - 1}`);
    return stream;
  }

  /** What the weight gradients of a block need when they are taken later. */
  weightGradientInputs(place: number): WeightGradientInputs {
    return (this.#later[place] ??= weightGradientInputs(this.#allocation, this.#size));
  }

  release(): void {
    this.#allocation.release();
  }
}

/** What a share of the vocabulary adds to the softmax of each token, and what all shares come to. */
export interface SoftmaxSums {
  /** Of the share's logits. */
  readonly ownMaximumN: Tensor;
  readonly maximumN: Tensor;
  /** Of e^(logit - maximum). */
  readonly sumsN: Tensor;
  readonly targetLogitsN: Tensor;
}

/** Memory for what is needed within one block only: passes of an engine take turns. */
export class Workspace {
  readonly scratchNC: Tensor;
  readonly scratch2LC: Tensor;
  readonly dbranchNC: Tensor;
  /** The output of the norm computed last, for all tokens, and of the activation. */
  readonly normNC: Tensor;
  readonly hiddenN4C: Tensor;
  readonly dpreN4C: Tensor;
  readonly dqkvN3C: Tensor;
  /** The activations of the block computed last, where they are not kept. */
  readonly block: BlockActivations | undefined;
  /** Undefined where the vocabulary is not shared. */
  readonly softmax: SoftmaxSums | undefined;
  /** Whose activations `block` holds. */
  holds: { readonly slot: Slot; readonly layer: number } | undefined;
  readonly #allocation: Allocation;

  constructor(engine: Engine, size: PassSize, options: PassOptions) {
    const allocation = new Allocation(engine, options);
    const { N, L } = tokensOf(size);
    const C = size.shape.width;
    this.#allocation = allocation;
    this.scratchNC = allocation.floats(N, C);
    this.scratch2LC = allocation.floats(L, C);
    this.dbranchNC = allocation.activations(N, C);
    const S = C / (size.shares ?? 1);
    this.normNC = allocation.activations(N, C);
    this.hiddenN4C = allocation.activations(N, 4 * S);
    this.dpreN4C = allocation.activations(N, 4 * S);
    this.dqkvN3C = allocation.activations(N, 3 * S);
    const numbersN = (): Tensor => allocation.floats(N);
    this.softmax =
      (size.shares ?? 1) > 1
        ? {
            ...{ ownMaximumN: numbersN(), maximumN: numbersN() },
            ...{ sumsN: numbersN(), targetLogitsN: numbersN() },
          }
        : undefined;
    this.block = options.activationCheckpointing ? blockActivations(allocation, size) : undefined;
  }

  release(): void {
    this.#allocation.release();
  }
}
