/** GPipe (Huang et al. 2019): all forwards, then all backwards. Activations of every micro-batch are held at once. */
import type { Operation, PipelineSize } from './schedule.ts';

/** The operations of a stage; they are the same on all. */
export function gpipe({ microBatches }: PipelineSize): Operation[] {
  const all = Array.from({ length: microBatches }, (_, microBatch) => ({ microBatch, chunk: 0 }));
  return [
    ...all.map((each) => ({ ...each, kind: 'forward' as const })),
    ...all.map((each) => ({ ...each, kind: 'backward' as const })),
  ];
}
