/**
 * Interleaved 1F1B (Narayanan et al. 2021, section 2.2): each stage holds several chunks of layers, which makes the bubble v
 * times smaller and the traffic v times larger. Micro-batches go through in groups of p, chunk by chunk.
 */
import type { Operation, PipelineSize } from './schedule.ts';

/** The operations of a stage; microBatches is a multiple of stages. */
export function interleaved({ stages, microBatches, chunks }: PipelineSize, stage: number): Operation[] {
  const total = microBatches * chunks;
  const group = stages * chunks;
  /** The k-th forward or backward of a stage: backwards go through the chunks from the last. */
  const at = (kind: 'forward' | 'backward', k: number): Operation => {
    const inGroup = k % group;
    const chunk = Math.floor(inGroup / stages);
    return {
      kind,
      microBatch: Math.floor(k / group) * stages + (inGroup % stages),
      chunk: kind === 'forward' ? chunk : chunks - 1 - chunk,
    };
  };
  // Twice the distance to the last stage, since a forward there is followed by its backward, and all chunks but the last.
  const warmUp = Math.min(total, (stages - stage - 1) * (chunks > 1 ? 2 : 1) + (chunks - 1) * stages);
  const operations: Operation[] = [];
  for (let k = 0; k < warmUp; k++) operations.push(at('forward', k));
  for (let k = 0; k < total; k++) {
    if (k + warmUp < total) operations.push(at('forward', k + warmUp));
    operations.push(at('backward', k));
  }
  return operations;
}
