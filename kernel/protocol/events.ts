/** The events of a run, as the rank reports, the store keeps and every client reads them. */
import { z } from 'zod';

const finite = z.number();

/** Event bodies without the sequence number, which the daemon gives. NaN and infinities travel as null. */
export const runEventBody = z.discriminatedUnion('event', [
  z.object({
    event: z.literal('start'),
    run: z.string(),
    config: z.record(z.string(), z.unknown()),
    /** Number of trainable parameters, tied ones counted once. */
    parameters: z.number().int(),
    world: z.number().int(),
    /** Step that this (re)start continues after; absent or 0 on a fresh run. */
    resumedFrom: z.number().int().optional(),
  }),
  z.object({
    event: z.literal('step'),
    /** Counts from 1. */
    step: z.number().int(),
    /** Tokens in this step's global batch. */
    tokens: z.number().int(),
    /** Mean over all tokens of the global batch, nats; null if not finite. */
    loss: finite.nullable(),
    learningRate: finite,
    /** Global L2 norm before clipping; null if not finite. */
    gradientNorm: finite.nullable(),
    /** Wall time of the step, s. */
    seconds: finite,
    tokensPerSecond: finite,
    /** Model FLOP/s over the machine's peak; absent where no peak is known. */
    mfu: finite.optional(),
  }),
  z.object({ event: z.literal('evaluation'), step: z.number().int(), loss: finite.nullable() }),
  z.object({ event: z.literal('checkpoint'), step: z.number().int(), path: z.string() }),
  z.object({ event: z.literal('warning'), code: z.string(), message: z.string() }),
  z.object({
    event: z.literal('end'),
    status: z.enum(['finished', 'stopped', 'failed', 'interrupted']),
    error: z.string().optional(),
  }),
]);

/** An event as a rank reports it. */
export type RunEventBody = z.infer<typeof runEventBody>;

/** An event as stored: `sequence` counts from 1 within the run without gaps, `time` is ms since the epoch. */
export type RunEvent = RunEventBody & { sequence: number; time: number };

export const runEvent = z.intersection(
  runEventBody,
  z.object({ sequence: z.number().int().positive(), time: z.number() }),
);

/** What a rank does and takes while its run goes on. */
export const rankState = z.object({
  rank: z.number().int(),
  /** Last step that it has finished. */
  step: z.number().int(),
  /** What it moves or waits for now, in words; "computing" otherwise. */
  doing: z.string(),
  /** Of all its tensors, and the most that it has been. */
  tensorBytes: z.number(),
  peakTensorBytes: z.number(),
  /** Share of its time in which its collectives moved data or waited for other ranks, beside the arithmetic or instead. */
  communicationShare: z.number(),
  /** Share in which its engine stood still for other ranks: the pipeline's bubble, and communication that nothing hides. */
  waitingShare: z.number(),
  /** What its collectives have taken from other ranks since the start. */
  receivedBytes: z.number(),
});
export type RankState = z.infer<typeof rankState>;

export const runState = z.enum(['running', 'finished', 'stopped', 'failed', 'interrupted']);
export type RunState = z.infer<typeof runState>;

/** What lists show of a run. */
export const runSummary = z.object({
  run: z.string(),
  name: z.string(),
  state: runState,
  /** What a running run is doing before its first step or after its last, e.g. "tokenising moby-dick.txt". */
  phase: z.string().optional(),
  /** Last finished step; 0 before the first. */
  step: z.number().int(),
  steps: z.number().int(),
  /** Latest step's training loss, nats. */
  loss: z.number().nullable(),
  validationLoss: z.number().nullable(),
  tokensPerSecond: z.number().nullable(),
  secondsLeft: z.number().nullable(),
  /** One per rank in rank order; empty when not running. */
  pids: z.array(z.number().int()),
  error: z.string().nullable(),
  /** ms since the epoch. */
  createdAt: z.number(),
  endedAt: z.number().nullable(),
  /** Sequence number of the newest event; 0 when there is none. */
  lastSequence: z.number().int(),
  /** Folder of the run: checkpoints and log. */
  directory: z.string(),
  /** Newest checkpoint, or null. */
  checkpoint: z.string().nullable(),
  /** The notebook or script that started it, as `run.start` was told. */
  source: z.string().optional(),
});
export type RunSummary = z.infer<typeof runSummary>;
