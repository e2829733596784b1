/**
 * The tensor-engine interface: block-level operations with explicit forward and backward on typed device
 * buffers. Calls are checked at once (shapes, types), queued in order and run on the engine's own thread or
 * stream: they return before the arithmetic is done. `read` and `finish` wait; the event loop never does.
 *
 * Shape letters: B sequences, T tokens per sequence, N = B*T tokens, C width, H heads, V vocabulary,
 * I and O inputs and outputs of a linear layer. All tensors are contiguous, row-major.
 *
 * Real numbers are f32. The tensors marked (bf16) may be bf16 instead, to halve their memory and traffic: they are read
 * exactly and written rounded to nearest even. A product of which a factor is bf16 rounds the other to bf16 too; sums,
 * statistics, softmax and losses are f32 all the same.
 */

export type DataType = 'f32' | 'bf16' | 'i32';

/** A typed region of device memory. Views share memory with what they are a view of. */
export interface Tensor {
  readonly type: DataType;
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly length: number;
  /** `shape` elements starting `offset` elements in. Throws a RangeError outside the tensor. */
  view(offset: number, shape: readonly number[]): Tensor;
}

/** A point in a queue: of an engine, or of a collective that works on the engine's tensors. */
export interface EngineEvent {
  /** Whether everything queued before it has run. */
  readonly happened: boolean;
}

export type Activation = 'gelu-tanh' | 'gelu-erf';

/**
 * Names one stream of counter-based random numbers (Philox4x32-10, Salmon et al. 2011): element i depends only on
 * (seed, stream, offset + i), so results do not depend on layout or threads.
 */
export interface RandomKey {
  readonly seed: number;
  readonly stream: number;
  /** Position of the tensor's first element in the stream. */
  readonly offset: number;
}

export interface DropoutKey extends RandomKey {
  /** Drop probability in [0, 1); survivors are scaled by 1/(1-p). */
  readonly probability: number;
}

export interface AdamWSettings {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Counts from 1; for bias correction. */
  readonly step: number;
}

/** What the tensors of an engine take, bytes. */
export interface TensorMemory {
  /** Of all in memory that are allocated and not released. */
  readonly bytes: number;
  /** Most that it has been. */
  readonly peakBytes: number;
}

/** One engine on one device. Every method but `read`, `finish` and `dispose` returns at once. */
export interface Engine {
  readonly name: string;
  readonly device: string;
  readonly threads: number;
  readonly memory: TensorMemory;
  /** Time in which the queue has stood still for events (`wait`), s. */
  readonly waitedSeconds: number;

  /**
   * A new zeroed tensor. With a `directory` it lies in a nameless file there that is mapped into memory, and does not count as
   * memory: throws when the disk has no room for it.
   */
  allocate(type: DataType, shape: readonly number[], directory?: string): Tensor;
  /** The tensor is not needed for a while: one on disk gives its memory back until then; others stay as they are. */
  evict(tensor: Tensor): void;
  /** Gives an allocation's memory back once all calls queued before have run; its views die with it. */
  release(tensor: Tensor): void;
  /** Copies `values` (Float32Array for bf16 too) now; the device sees them in queue order. */
  write(tensor: Tensor, values: Float32Array | Int32Array): void;
  /** The values after everything queued so far. Rejects with the first error of a queued call. */
  read(tensor: Tensor): Promise<Float32Array | Int32Array>;
  /** Resolves when everything queued so far has run; rejects with the first error of a queued call. */
  finish(): Promise<void>;
  /** The point that the engine's queue has reached when everything queued so far has run. */
  record(): EngineEvent;
  /** Calls queued later run after `event`, which may lie in the queue of a collective. If that failed, so does `finish`. */
  wait(event: EngineEvent): void;
  /** Stops the engine's threads and frees its memory. */
  dispose(): Promise<void>;

  fill(x: Tensor, value: number): void;
  /** out = x; between f32 and bf16 too. */
  copy(out: Tensor, x: Tensor): void;
  /** out = a + b; `out` may be one of them. */
  add(out: Tensor, a: Tensor, b: Tensor): void;
  /** out = x * factor, in place allowed. */
  scale(out: Tensor, x: Tensor, factor: number): void;
  /** out ~ N(0, standardDeviation^2), Box-Muller in f64 on Philox pairs (elements 2k and 2k+1 share a pair). */
  randomNormal(out: Tensor, standardDeviation: number, key: RandomKey): void;
  /** out = dropout(x), in place allowed; applied to a gradient it is its own backward. */
  dropout(out: Tensor, x: Tensor, key: DropoutKey): void;

  /**
   * out[n] = wte[tokens[n]] + wpe[firstPosition + n mod T] (null: nothing); out [B*T, C]. An id of -1 belongs to another part of
   * the table and gives nothing; one outside [-1, V) rejects `finish`.
   */
  embedding(
    out: Tensor,
    tokens: Tensor,
    wte: Tensor,
    wpe: Tensor | null,
    T: number,
    firstPosition: number,
  ): void;
  /** dwte[tokens[n]] += dout[n] unless the id is -1; dwpe[n mod T] += dout[n]; in a fixed order of summation. */
  embeddingBackward(dwte: Tensor, dwpe: Tensor, dout: Tensor, tokens: Tensor, T: number): void;

  /** out (bf16) = (x - mean) * rstd * gamma + beta over the last axis, eps 1e-5; mean and rstd [N] are kept for backward. */
  layerNorm(out: Tensor, mean: Tensor, rstd: Tensor, x: Tensor, gamma: Tensor, beta: Tensor): void;
  /** sum = residual + x, then out (bf16) = layerNorm(sum). `sum` may be `residual`. */
  addLayerNorm(
    sum: Tensor,
    out: Tensor,
    mean: Tensor,
    rstd: Tensor,
    residual: Tensor,
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
  ): void;
  /** dx += gradient through the norm; dgamma += ...; dbeta += ... (x is the norm's input). */
  layerNormBackward(
    dx: Tensor,
    dgamma: Tensor,
    dbeta: Tensor,
    dout: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    gamma: Tensor,
  ): void;

  /** out [N,O] (bf16) = x [N,I] (bf16) · w [I,O] (bf16) + bias [O] (or none). */
  linear(out: Tensor, x: Tensor, w: Tensor, bias: Tensor | null): void;
  /** pre = x·w + bias; out = activation(pre); all but bias (bf16). `pre` is kept for backward, null when only `out` is wanted. */
  linearActivation(
    out: Tensor,
    pre: Tensor | null,
    x: Tensor,
    w: Tensor,
    bias: Tensor | null,
    activation: Activation,
  ): void;
  /** dx [N,I] (bf16) = dout [N,O] (bf16) · wᵀ (bf16), overwritten. */
  linearInputGradient(dx: Tensor, dout: Tensor, w: Tensor): void;
  /**
   * dpre = (dout · wᵀ) * activation'(pre): the input gradient of the layer after an activation, through that activation; all
   * (bf16). Then pre = activation(pre): the layer's input, which need not be kept for its weight gradient.
   */
  linearActivationInputGradient(
    dpre: Tensor,
    dout: Tensor,
    w: Tensor,
    pre: Tensor,
    activation: Activation,
  ): void;
  /**
   * dw += xᵀ (bf16) · dout (bf16); dbias += column sums of dout (or none). With `fresh` both are overwritten: the first
   * gradients of a step need no cleared memory.
   */
  linearWeightGradient(dw: Tensor, dbias: Tensor | null, x: Tensor, dout: Tensor, fresh?: boolean): void;

  /**
   * Causal multi-head attention, scores / sqrt(C/H). qkv [B*T, 3C] (bf16) = [Q|K|V], each [H, C/H]; out [B*T, C] (bf16);
   * logSumExp [B, H, T] is kept for backward. Dropout (on the probabilities) when a key is given:
   * its element index is ((b*H + h)*T + query)*T + key.
   */
  attention(
    out: Tensor,
    logSumExp: Tensor,
    qkv: Tensor,
    B: number,
    T: number,
    H: number,
    dropout?: DropoutKey,
  ): void;
  /** dqkv, overwritten, from dout and what forward read and wrote; all but logSumExp (bf16). */
  attentionBackward(
    dqkv: Tensor,
    dout: Tensor,
    out: Tensor,
    logSumExp: Tensor,
    qkv: Tensor,
    B: number,
    T: number,
    H: number,
    dropout?: DropoutKey,
  ): void;
  /**
   * Attention of `count` new tokens per sequence at `position` against a cache: writes their keys and values into
   * keys/values [B, H, Tmax, C/H], attends causally to all tokens up to each; qkv [B*count, 3C], out [B*count, C].
   */
  cachedAttention(
    out: Tensor,
    qkv: Tensor,
    keys: Tensor,
    values: Tensor,
    B: number,
    count: number,
    H: number,
    position: number,
  ): void;

  /**
   * Output head with cross-entropy, logits = x [N,C] (bf16) · wheadᵀ [C,V] (bf16): losses[n] = -log softmax(logits[n])[targets[n]]
   * in nats. A target of -1 is ignored (loss 0, no gradient).
   */
  crossEntropy(losses: Tensor, x: Tensor, whead: Tensor, targets: Tensor): void;
  /** The same, with gradients of lossScale * sum(losses): dx (bf16) overwritten, dwhead += or with `fresh` overwritten. */
  crossEntropyBackward(
    losses: Tensor,
    dx: Tensor,
    dwhead: Tensor,
    x: Tensor,
    whead: Tensor,
    targets: Tensor,
    lossScale: number,
    fresh?: boolean,
  ): void;
  /**
   * The head over a part of a vocabulary that several engines share, whead [Vpart, C] (bf16); targets [N] count from the part's
   * first row, -1 is ignored, -2 is in another part. Gives of the part's logits the maxima [N], the sums [N] of
   * e^(logit - maximum), and those of the targets [N], 0 where there is none. After Shoeybi et al. 2019, section 3.
   */
  vocabularyPart(
    maxima: Tensor,
    sums: Tensor,
    targetLogits: Tensor,
    x: Tensor,
    whead: Tensor,
    targets: Tensor,
  ): void;
  /** sums *= e^(maxima - maximum): those of a part about its own maxima become those about the maximum of all parts; all [N]. */
  rescaleSums(sums: Tensor, maxima: Tensor, maximum: Tensor): void;
  /** losses = ln(sums) + maximum - targetLogits in nats, all of them over all parts; 0 where the target is ignored; all [N]. */
  vocabularyLosses(
    losses: Tensor,
    maximum: Tensor,
    sums: Tensor,
    targetLogits: Tensor,
    targets: Tensor,
  ): void;
  /**
   * Gradients of lossScale * sum(losses): dx (bf16) overwritten with what the part adds to it, dwhead += or with `fresh`
   * overwritten. Losses, maximum and sums are those over all parts.
   */
  vocabularyPartBackward(
    dx: Tensor,
    dwhead: Tensor,
    x: Tensor,
    whead: Tensor,
    targets: Tensor,
    losses: Tensor,
    maximum: Tensor,
    sums: Tensor,
    lossScale: number,
    fresh?: boolean,
  ): void;
  /** out [N,V] = x [N,C] (bf16) · wheadᵀ (bf16): for sampling. */
  logits(out: Tensor, x: Tensor, whead: Tensor): void;

  /** out[0] += sum of squares of x, accumulated in f64 in a fixed order. */
  squaredNorm(out: Tensor, x: Tensor): void;
  /** factor[0] = min(1, maximum / (sqrt(squared[0]) + 1e-6)), as torch.nn.utils.clip_grad_norm_. */
  clipFactor(factor: Tensor, squared: Tensor, maximum: number): void;
  /**
   * One AdamW pass over flat buffers with decoupled decay, gradient taken as g * factor[0] (factor null: g):
   * p -= lr*wd*p; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g²; p -= lr * m̂ / (sqrt(v̂) + eps). As torch.optim.AdamW.
   */
  adamw(
    parameters: Tensor,
    gradients: Tensor,
    m: Tensor,
    v: Tensor,
    factor: Tensor | null,
    settings: AdamWSettings,
  ): void;
}
