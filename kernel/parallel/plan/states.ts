/** Memory of parameters, gradients and optimizer state of one rank, and of the units that ZeRO has whole for a while. */
import type { Accounting } from './accounting.ts';
import type { Job } from './job.ts';
import { stageBuffers } from './model-size.ts';

/** Bytes of one rank. */
export interface StateBytes {
  readonly weights: number;
  readonly gradients: number;
  readonly optimizer: number;
  /** Whole units that are gathered or reduced. */
  readonly units: number;
}

/** Units of a kind that are whole at once: one in use while the other comes or goes. */
const TURNS = 2;

/**
 * Stage 1 shares out the optimizer state, 2 the gradients too, 3 the parameters too; every buffer is padded to equal shards.
 * Stages 2 and 3 have gradients of two units of a kind whole, stage 3 also the parameters of two. So have stages 0 and 1 where
 * gradients of several micro-batches are summed over replicas one by one (`reducesEach`).
 */
export function stateBytes(job: Job, bytes: Accounting, stage: number, blocks: number): StateBytes {
  const { data, zero, microBatches, offload } = job.layout;
  // On disk it takes no memory but the pieces that are being updated.
  const optimizer = offload === 'optimizer' ? 0 : bytes.optimizer;
  const { all } = stageBuffers(job, bytes, stage, blocks);
  const alignment = bytes.shardAlignment;
  let [whole, shards, turns] = [0, 0, 0];
  for (const { length, count } of all) {
    const shard = Math.ceil(length / (alignment * data)) * alignment;
    shards += shard * count;
    whole += shard * data * count;
    turns += shard * data * Math.min(TURNS, count);
  }
  if (data === 1)
    return {
      ...{ weights: bytes.weight * whole, gradients: bytes.gradient * whole },
      ...{ optimizer: optimizer * whole, units: 0 },
    };
  const isSummedApart = bytes.reducesEach && microBatches > 1;
  const summed = isSummedApart && zero === 1 ? shards : whole;
  return {
    weights: bytes.weight * (zero >= 3 ? shards : whole),
    gradients: bytes.gradient * (zero >= 2 ? shards : summed),
    optimizer: optimizer * (zero >= 1 ? shards : whole),
    units: bytes.gradient * (zero >= 2 || isSummedApart ? turns : 0) + bytes.weight * (zero >= 3 ? turns : 0),
  };
}
