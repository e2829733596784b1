/**
 * ZB-H1 (Qi et al. 2023, arXiv 2401.10241): the backward is split, and weight gradients, for which no other stage waits, fill
 * what was bubble. A third of 1F1B's bubble with equal times, at 1F1B's peak of activations.
 */
import type { Operation, PipelineSize } from './schedule.ts';

/** The operations of a stage. */
export function zeroBubble({ stages, microBatches }: PipelineSize, stage: number): Operation[] {
  const warmUp = Math.min(microBatches, stages - stage - 1);
  const operations: Operation[] = [];
  const push = (kind: Operation['kind'], microBatch: number): void => {
    operations.push({ kind, microBatch, chunk: 0 });
  };
  for (let forward = 0; forward < warmUp; forward++) push('forward', forward);
  let weights = 0;
  for (let backward = 0; backward < microBatches; backward++) {
    const forward = backward + warmUp;
    if (forward < microBatches) push('forward', forward);
    push('input-gradient', backward);
    // Late stages put weight gradients off, so that input gradients reach the early ones sooner; when there are no
    // forwards left, the gaps between input gradients are filled.
    const isDrain = forward >= microBatches;
    if (isDrain || backward >= stage) push('weight-gradient', weights++);
  }
  while (weights < microBatches) push('weight-gradient', weights++);
  return operations;
}
