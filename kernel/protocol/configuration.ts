/**
 * The configuration of a run: what a cell passes to `train()`, what a JSON file holds for `gpt-lab train`.
 * Types only; `configuration-schema.ts` holds defaults and validation.
 */

/** Shapes that can be named instead of being spelled out. */
export type PresetName =
  | 'gpt2-nano'
  | 'gpt2-mini'
  | 'gpt2-small'
  | 'gpt2-medium'
  | 'gpt2-large'
  | 'gpt2-xl'
  | 'titans-small'
  | 'titans-medium'
  | 'titans-large'
  | 'titans-xl';

/** A GPT-2 shape. A key that is given overrides the preset's value. */
export interface ModelConfiguration {
  /** Named shape to start from. Default `gpt2-nano`: 4 layers, width 256, 4 heads. */
  preset?: PresetName;
  /** Width of the residual stream; a multiple of `heads`. */
  width?: number;
  /** Number of transformer blocks. */
  layers?: number;
  /** Attention heads per block. */
  heads?: number;
  /** Longest sequence in tokens that positions exist for. */
  contextLength?: number;
  /** Number of token ids. Default: the tokenizer's. */
  vocabularySize?: number;
  /** Which GELU: OpenAI's tanh form or the exact erf form. */
  activation?: 'gelu-tanh' | 'gelu-erf';
  /** Whether the output head shares the token embedding's weights. */
  tieHead?: boolean;
  /** Drop probability in [0, 1) of embeddings, attention and residual branches. Default 0. */
  dropout?: number;
}

/** Where the tokens come from: text files, or random tokens. */
export interface DataConfiguration {
  /** Text files (UTF-8), relative to the configuration file or the notebook. */
  text?: string[];
  /** Random tokens instead of files: to measure speed, not to learn. */
  dummy?: boolean;
  /**
   * `gpt2` (OpenAI's byte-level BPE, 50257 ids), `bpe` (the same, learned from the text), `byte` (256), `char` (the
   * text's own characters). Default `gpt2`.
   */
  tokenizer?: 'gpt2' | 'bpe' | 'byte' | 'char';
  /** Ids that `bpe` learns at most, from 256 (the bytes) to 65536. Default 2048. */
  vocabularySize?: number;
  /** Share in [0, 0.5] of each text, taken from its end, held out for evaluation. Default 0.05. */
  validation?: number;
}

/** AdamW with decoupled weight decay (Loshchilov & Hutter 2019). */
export interface OptimizerConfiguration {
  type?: 'adamw';
  /** Peak learning rate. Default 3e-4. */
  learningRate?: number;
  /** Decay of the first and second moment. Default [0.9, 0.95]. */
  betas?: [number, number];
  epsilon?: number;
  /** Applied to matrices and embeddings only, never to biases and layer norms. Default 0.1. */
  weightDecay?: number;
  /** Largest global L2 norm of the gradient; 0 switches clipping off. Default 1. */
  clipNorm?: number;
}

/** Learning rate over steps, as a factor of the peak rate. */
export interface ScheduleConfiguration {
  type?: 'cosine' | 'linear' | 'constant';
  /** Steps of linear warm-up from 0. Default: a tenth of `steps`, at most 100. */
  warmupSteps?: number;
  /** Last rate divided by peak rate, in [0, 1]. Default 0.1. */
  minimumRatio?: number;
}

/** How long, how large and how precisely to train. */
export interface TrainingConfiguration {
  /** Optimizer steps. Default 200. */
  steps?: number;
  /** Sequences per optimizer step over the whole world = data x microBatches x sequences per micro-batch. Default 8. */
  batchSize?: number;
  /** Tokens per sequence; at most the model's `contextLength`. Default: the smaller of 256 and the context. */
  sequenceLength?: number;
  /** Seed of weights, data order and dropout. Default 42. */
  seed?: number;
  /** `bf16`: activations and products in bf16 with f32 sums; weights, statistics and the optimizer stay f32. Default `fp32`. */
  precision?: 'fp32' | 'bf16';
  optimizer?: OptimizerConfiguration;
  schedule?: ScheduleConfiguration;
  /** Steps between evaluations on the held-out split; 0 = only at the end. Default 50. */
  evaluateEvery?: number;
  /** Steps between checkpoints; 0 = only at the end. Default 100. */
  checkpointEvery?: number;
  /** Newest checkpoints that are kept. Default 2. */
  keepCheckpoints?: number;
  /** Checkpoints of steps that this divides are kept as well; 0 = none. Default 0. */
  keepEvery?: number;
  /** Keep only each block's input and compute the rest again for the backward pass: less memory, more time. Default false. */
  activationCheckpointing?: boolean;
  /**
   * What to do about a loss that is not a number, or a spike: `stop` the run, `warn` and go on, `skip` the step's update, or
   * `rollback` to the newest checkpoint and leave out the sequences since. Default `stop`.
   */
  onDivergence?: 'stop' | 'warn' | 'skip' | 'rollback';
  /** A loss of more than this times the mean of the 20 steps before is a spike; 0 = none is. Default 0. */
  spikeFactor?: number;
  /** Times that a run whose rank has died is restarted from its newest checkpoint, or from the start. Default 0. */
  maxRestarts?: number;
}

/** Layout over ranks, one process each: world = data x pipeline x tensor. The losses are those of one rank. */
export interface ParallelConfiguration {
  /** Replicas that work on different sequences. Default 1. */
  data?: number;
  /** Stages that hold different blocks. Default 1. */
  pipeline?: number;
  /** Ranks that share every layer's heads and hidden units (Megatron-LM); divides `model.heads`. Default 1. */
  tensor?: number;
  /** How they share a linear layer: by columns and rows (`1d`) or, which can be planned only, in tiles. Default `1d`. */
  tensorMode?: '1d' | '2d' | '2.5d' | '3d';
  /**
   * Whether they (`1d`) also share out the tokens of residual stream, norms and dropout (Korthikanti et al. 2022): less memory, the
   * same losses. `tensor` divides the tokens of a micro-batch then. Default false.
   */
  sequenceParallel?: boolean;
  /** ZeRO: what replicas share out among them. 0 nothing, 1 the optimizer's state, 2 gradients too, 3 parameters too. Default 0. */
  zero?: 0 | 1 | 2 | 3;
  /**
   * What lies on disk instead of in memory: `optimizer` puts AdamW's moments into a file in the run's folder; the same numbers,
   * slower steps. Linux only. Default `none`.
   */
  offload?: 'none' | 'optimizer';
  /** Parts that each replica's share of a step's batch is split into, gradients accumulated. Default 1. */
  microBatches?: number;
  /** Order in which pipeline stages work through micro-batches. Default `1f1b`. */
  schedule?: 'gpipe' | '1f1b' | 'interleaved' | 'zero-bubble';
  /** Chunks of blocks per stage, with the schedule `interleaved`. Default 1. */
  chunks?: number;
}

/** Which engine runs the arithmetic. */
export interface EngineConfiguration {
  type?: 'native';
  device?: 'cpu';
  /** Threads; default: all that the process may use. */
  threads?: number;
}

/** The configuration of a run, every section and key optional. */
export interface RunConfiguration {
  /** Shown in lists and plots; need not be unique. Default: derived from model and data. */
  name?: string;
  model?: ModelConfiguration;
  data?: DataConfiguration;
  training?: TrainingConfiguration;
  parallel?: ParallelConfiguration;
  engine?: EngineConfiguration;
}

/** A configuration with every default filled in, as stored with the run. */
export interface ResolvedConfiguration {
  name: string;
  model: {
    preset: PresetName;
    width: number;
    layers: number;
    heads: number;
    contextLength: number;
    /** Absent until the tokenizer is known (a `char` vocabulary comes from the text). */
    vocabularySize?: number;
    activation: 'gelu-tanh' | 'gelu-erf';
    tieHead: boolean;
    dropout: number;
  };
  data: {
    text: string[];
    dummy: boolean;
    tokenizer: 'gpt2' | 'bpe' | 'byte' | 'char';
    /** Present where the tokenizer is learned. */
    vocabularySize?: number;
    validation: number;
  };
  training: {
    steps: number;
    batchSize: number;
    sequenceLength: number;
    seed: number;
    precision: 'fp32' | 'bf16';
    optimizer: Required<OptimizerConfiguration>;
    schedule: Required<ScheduleConfiguration>;
    evaluateEvery: number;
    checkpointEvery: number;
    keepCheckpoints: number;
    keepEvery: number;
    activationCheckpointing: boolean;
    onDivergence: 'stop' | 'warn' | 'skip' | 'rollback';
    spikeFactor: number;
    maxRestarts: number;
  };
  parallel: Required<ParallelConfiguration>;
  /** `threads` absent: decided by the rank from the CPUs that it may use. */
  engine: { type: 'native'; device: 'cpu'; threads?: number };
}
