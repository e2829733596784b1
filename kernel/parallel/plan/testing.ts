/** Jobs for tests. */
import type { Job, Layout } from './job.ts';

/** A job of GPT-2 124M, or with changes. */
export function testJob(layout: Partial<Layout> = {}, changes: Partial<Omit<Job, 'layout'>> = {}): Job {
  return {
    model: {
      ...{ layers: 12, width: 768, heads: 12, contextLength: 1024, vocabularySize: 50257 },
      ...{ tieHead: true, dropout: 0 },
    },
    layout: {
      ...{
        data: 1,
        pipeline: 1,
        tensor: 1,
        tensorMode: '1d',
        sequenceParallel: false,
        zero: 0,
        microBatches: 1,
      },
      ...{ schedule: '1f1b', chunks: 1, activationCheckpointing: false },
      ...layout,
    },
    ...{ batchSize: 4, sequenceLength: 64, precision: 'fp32' },
    ...changes,
  };
}
