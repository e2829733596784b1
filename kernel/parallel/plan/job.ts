/** What is planned: a model, its batch and its layout over ranks, as plain numbers. */
import type { ResolvedConfiguration } from '../../protocol/configuration.ts';
import { vocabularies } from '../../protocol/presets.ts';
import type { ScheduleName } from '../pipeline/schedule.ts';

/** What of a model decides memory and time. */
export interface PlannedModel {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** Learned positions; 0 where there are none. */
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly tieHead: boolean;
  /** Drop probability; where it is 0 no masks are kept. */
  readonly dropout: number;
  /**
   * LLaMA's blocks, for comparison with what was published of them: RMS norms, no biases, a gated MLP of `hiddenWidth`
   * and keys and values of `keyValueWidth`. Absent: GPT-2's.
   */
  readonly llama?: { readonly hiddenWidth: number; readonly keyValueWidth: number };
}

/** How the work is laid out over data x pipeline x tensor ranks. */
export interface Layout {
  readonly data: number;
  readonly pipeline: number;
  readonly tensor: number;
  readonly tensorMode: '1d' | '2d' | '2.5d' | '3d';
  /** Layer norms and residuals are split over the tokens within a tensor group (Korthikanti et al. 2022). */
  readonly sequenceParallel: boolean;
  readonly zero: 0 | 1 | 2 | 3;
  /** `optimizer`: its state lies on disk. Default: nothing does. */
  readonly offload?: 'none' | 'optimizer';
  readonly microBatches: number;
  readonly schedule: ScheduleName;
  readonly chunks: number;
  readonly activationCheckpointing: boolean;
}

/** One training job. */
export interface Job {
  readonly model: PlannedModel;
  readonly layout: Layout;
  /** Sequences per step over the whole world. */
  readonly batchSize: number;
  /** Tokens per sequence. */
  readonly sequenceLength: number;
  readonly precision: 'fp32' | 'bf16';
  /** What published systems do otherwise than ours. */
  readonly peculiarities?: Peculiarities;
}

/** Deviations of published systems from what is planned by default. */
export interface Peculiarities {
  /** Attention scores are written to memory (before FlashAttention). */
  readonly materializedAttention?: true;
  /** Share of what a block keeps that is dropped instead, and of its linear layers that run again before its backward. */
  readonly recomputedShare?: number;
  /** Tensor ranks send their shares of what goes to the next stage (Narayanan et al. 2021, section 4.1). */
  readonly scatteredSends?: true;
  /** Bytes of a gradient that is reduced over data ranks. */
  readonly reducedBytes?: number;
  /** Nothing is communicated while something is computed. */
  readonly noOverlap?: true;
  /** Factor of the rate of a linear layer's products: 8-bit numbers. */
  readonly productRate?: number;
}

/** Ids that are assumed of a vocabulary that only the text decides: characters of a text in one language. */
const ASSUMED_CHARACTERS = 128;

/** The job of a configuration, and what had to be assumed. */
export function jobOf(config: ResolvedConfiguration): { job: Job; assumptions: string[] } {
  const { model, data, training, parallel } = config;
  const assumptions: string[] = [];
  let vocabularySize = model.vocabularySize ?? vocabularies[data.tokenizer] ?? data.vocabularySize;
  if (vocabularySize === undefined) {
    vocabularySize = ASSUMED_CHARACTERS;
    assumptions.push(
      `The text decides the vocabulary of tokenizer "${data.tokenizer}": ${ASSUMED_CHARACTERS} ids are assumed; model.vocabularySize sets them`,
    );
  }
  const { width, layers, heads, contextLength, tieHead, dropout } = model;
  const job: Job = {
    model: { width, layers, heads, contextLength, tieHead, dropout, vocabularySize },
    layout: {
      data: parallel.data,
      pipeline: parallel.pipeline,
      tensor: parallel.tensor,
      tensorMode: parallel.tensorMode,
      sequenceParallel: parallel.sequenceParallel,
      zero: parallel.zero,
      offload: parallel.offload,
      microBatches: parallel.microBatches,
      schedule: parallel.schedule,
      chunks: parallel.chunks,
      activationCheckpointing: training.activationCheckpointing,
    },
    batchSize: training.batchSize,
    sequenceLength: training.sequenceLength,
    precision: training.precision,
  };
  return { job, assumptions };
}

/** Number of ranks. */
export function worldSize({ data, pipeline, tensor }: Layout): number {
  return data * pipeline * tensor;
}

/** Sequences of a micro-batch on one data rank. */
export function microBatchSize({ batchSize, layout: { data, microBatches } }: Job): number {
  return batchSize / (data * microBatches);
}

/** The arithmetic of the batch: `batchSize 16 = data 2 x microBatches 4 x 2 sequences`. */
export function batchEquation(job: Job): string {
  const { data, microBatches } = job.layout;
  const each = microBatchSize(job);
  return `batchSize ${job.batchSize} = data ${data} x microBatches ${microBatches} x ${each} sequence${each === 1 ? '' : 's'}`;
}

/** The arithmetic of the world: `8 ranks = data 2 x pipeline 2 x tensor 2`. */
export function worldEquation({ layout }: Job): string {
  const { data, pipeline, tensor } = layout;
  const world = worldSize(layout);
  return `${world} rank${world === 1 ? '' : 's'} = data ${data} x pipeline ${pipeline} x tensor ${tensor}`;
}

/**
 * Layers of each virtual stage (chunk c of stage s is number c * pipeline + s): as even as can be, the first ones taking
 * one more, since the last has the head's products to do.
 */
export function layersOfVirtualStages({ model: { layers }, layout: { pipeline, chunks } }: Job): number[] {
  const count = pipeline * chunks;
  return Array.from(
    { length: count },
    (_, index) => Math.floor(layers / count) + (index < layers % count ? 1 : 0),
  );
}
