/**
 * The shapes that cells see. Written out, without the validation library that kernel/protocol derives its own from,
 * so that the editor completes them in a notebook where nothing else is installed; `run.ts` and `events.ts` of
 * kernel/protocol are assigned to them, so the compiler notices when one changes.
 */

/** What a run is doing or how it ended. */
export type RunState = 'running' | 'finished' | 'stopped' | 'failed' | 'interrupted';

/** A run at one moment. */
export interface RunSummary {
  /** The run's id. */
  run: string;
  name: string;
  state: RunState;
  /** What a running run is doing before its first step or after its last. */
  phase?: string | undefined;
  /** Last finished step; 0 before the first. */
  step: number;
  /** Steps that the configuration asks for. */
  steps: number;
  /** Training loss of the last step, nats per token; null where it is not known or not finite. */
  loss: number | null;
  /** Newest loss on the held-out text, nats per token. */
  validationLoss: number | null;
  tokensPerSecond: number | null;
  secondsLeft: number | null;
  /** Process ids, one per rank in rank order; empty when the run does not run. */
  pids: number[];
  /** Why a failed or interrupted run ended. */
  error: string | null;
  /** ms since the epoch. */
  createdAt: number;
  /** ms since the epoch; null while the run goes on. */
  endedAt: number | null;
  /** Number of the newest event. */
  lastSequence: number;
  /** Folder of the run: checkpoints and log. */
  directory: string;
  /** Folder of the newest checkpoint, or null. */
  checkpoint: string | null;
  /** The notebook or script that started it, where that is known. */
  source?: string | undefined;
}

/** What every event carries: its number in the run (from 1, without gaps) and its time, ms since the epoch. */
interface Numbered {
  sequence: number;
  time: number;
}

/** The run has started, or has been resumed after step `resumedFrom`. */
export interface StartEvent extends Numbered {
  event: 'start';
  run: string;
  config: Record<string, unknown>;
  /** Number of trainable parameters, tied ones counted once. */
  parameters: number;
  /** Number of ranks. */
  world: number;
  resumedFrom?: number | undefined;
}

/** One optimizer step is done. */
export interface StepEvent extends Numbered {
  event: 'step';
  /** Counts from 1. */
  step: number;
  /** Tokens in the step's batch. */
  tokens: number;
  /** Mean over the batch, nats per token; null if not finite. */
  loss: number | null;
  learningRate: number;
  /** Global L2 norm before clipping; null if not finite. */
  gradientNorm: number | null;
  /** Wall time of the step, s. */
  seconds: number;
  tokensPerSecond: number;
  /** Model FLOP/s over the machine's peak, where that is known. */
  mfu?: number | undefined;
}

/** The loss on the held-out text after `step` steps, nats per token. */
export interface EvaluationEvent extends Numbered {
  event: 'evaluation';
  step: number;
  loss: number | null;
}

/** A checkpoint has been written to `path`. */
export interface CheckpointEvent extends Numbered {
  event: 'checkpoint';
  step: number;
  path: string;
}

/** Something that the user should know. */
export interface WarningEvent extends Numbered {
  event: 'warning';
  code: string;
  message: string;
}

/** The run has ended; `resume()` may continue it. */
export interface EndEvent extends Numbered {
  event: 'end';
  status: 'finished' | 'stopped' | 'failed' | 'interrupted';
  error?: string | undefined;
}

/** What happens in a run. */
export type RunEvent = StartEvent | StepEvent | EvaluationEvent | CheckpointEvent | WarningEvent | EndEvent;

/** The run's curves: columns of one length. */
export interface Metrics {
  /** One value per finished step. */
  train: {
    step: number[];
    /** Nats per token; null where not finite. */
    loss: (number | null)[];
    learningRate: number[];
    tokensPerSecond: number[];
  };
  /** One value per evaluation on the held-out text. */
  evaluation: { step: number[]; loss: (number | null)[] };
}

/** How text is sampled from a model. */
export interface GenerateOptions {
  /** Tokens to generate. Default 100. */
  tokens?: number;
  /** Divides the logits: below 1 safer, above 1 wilder, 0 always the likeliest token. Default 0.8. */
  temperature?: number;
  /** Choose among the k likeliest tokens only; 0 = among all. Default 0. */
  topK?: number;
  /** Choose among the smallest set of tokens whose probability reaches p, in (0, 1]. Default 1. */
  topP?: number;
  /** The same seed gives the same text. Default 42. */
  seed?: number;
  /** Whether the text appears under the cell as it comes. Default true. */
  stream?: boolean;
}

/** Cross-entropy of a text under a model. */
export interface Evaluation {
  /** Mean cross-entropy, nats per token. */
  loss: number;
  /** exp(loss). */
  perplexity: number;
  /** Tokens that were predicted. */
  tokens: number;
}
