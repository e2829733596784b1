/**
 * 1F1B (PipeDream-flush, Narayanan et al. 2021): as GPipe, with each backward as early as it can be. A stage holds the
 * activations of at most p - stage micro-batches.
 */
import type { Operation, PipelineSize } from './schedule.ts';

/** The operations of a stage. */
export function oneForwardOneBackward({ stages, microBatches }: PipelineSize, stage: number): Operation[] {
  const warmUp = Math.min(microBatches, stages - stage - 1);
  const operations: Operation[] = [];
  for (let forward = 0; forward < warmUp; forward++)
    operations.push({ kind: 'forward', microBatch: forward, chunk: 0 });
  for (let backward = 0; backward < microBatches; backward++) {
    const forward = backward + warmUp;
    if (forward < microBatches) operations.push({ kind: 'forward', microBatch: forward, chunk: 0 });
    operations.push({ kind: 'backward', microBatch: backward, chunk: 0 });
  }
  return operations;
}
