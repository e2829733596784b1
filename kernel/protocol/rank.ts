/** Messages between the daemon and a rank process, over the child's IPC channel. */
import { z } from 'zod';
import type { ResolvedConfiguration } from './configuration.ts';
import { rankState, runEventBody } from './events.ts';

/** What a rank process is to do; the first message it gets. */
export type RankTask =
  | {
      task: 'train';
      run: string;
      /** Number of this rank in the world; ranks that are given none are the only one. */
      rank?: number;
      config: ResolvedConfiguration;
      /** Folder for checkpoints. */
      directory: string;
      /** Token cache shared by runs. */
      cacheDirectory: string;
      /** Checkpoint to continue from. */
      resume?: string;
    }
  | {
      task: 'generate';
      checkpoint: string;
      prompt: string;
      tokens: number;
      temperature: number;
      topK: number;
      topP: number;
      seed: number;
      threads?: number;
    }
  | { task: 'evaluate'; checkpoint: string; text: string; cacheDirectory: string; threads?: number };

/** What to do about a rank that has not enough memory. */
export const MEMORY_ADVICE =
  'Use a smaller model, training.batchSize or training.sequenceLength, or more parallel.microBatches';

/** Daemon to rank. `join` has the address that rank 0 has told, for the others. */
export type RankCommand =
  | { type: 'task'; task: RankTask }
  | { type: 'join'; address: string }
  | { type: 'stop' }
  | { type: 'checkpoint' };

/** Rank to daemon. */
export const rankReport = z.discriminatedUnion('type', [
  z.object({ type: z.literal('event'), event: runEventBody }),
  /** Where the other ranks of the world join rank 0. */
  z.object({ type: z.literal('address'), address: z.string() }),
  /** How the rank stands, once in a while. */
  z.object({ type: z.literal('state'), state: rankState }),
  /** A stop was heard: the rank ends after its current step and a checkpoint, however long they take. */
  z.object({ type: z.literal('stopping') }),
  /** What is being done outside steps. */
  z.object({ type: z.literal('phase'), phase: z.string() }),
  /** A piece of generated text. */
  z.object({ type: z.literal('text'), text: z.string() }),
  /** The result of a generate or evaluate task. */
  z.object({ type: z.literal('result'), result: z.unknown() }),
  /** A failure with a text for people; the rank exits 1 after it. */
  z.object({ type: z.literal('error'), message: z.string() }),
]);
export type RankReport = z.infer<typeof rankReport>;
