/** Memory that real ranks took beside what was forecast for them: bytes of tensors, rank by rank, over a grid of layouts. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { jobOf, type Job } from '../../kernel/parallel/plan/job.ts';
import { outboxBytes, stageMemory } from '../../kernel/parallel/plan/memory.ts';
import { Mesh } from '../../kernel/parallel/mesh.ts';
import type { ParallelConfiguration, TrainingConfiguration } from '../../kernel/protocol/configuration.ts';
import { resolveConfiguration } from '../../kernel/protocol/configuration-schema.ts';
import { Trainings } from '../parallel/training-ranks.ts';

const trainings = new Trainings();
after(() => trainings.end());

const model = {
  layers: 6,
  width: 96,
  heads: 3,
  contextLength: 16,
  vocabularySize: 259,
  tieHead: true,
  dropout: 0.1,
};

const grid: [ParallelConfiguration, TrainingConfiguration?][] = [
  [{ microBatches: 2 }, { precision: 'bf16' }],
  [{ data: 2, zero: 0, microBatches: 2 }],
  [{ data: 2, zero: 1 }],
  [{ data: 2, zero: 1, offload: 'optimizer' }],
  [{ data: 3, zero: 2 }, { batchSize: 24 }],
  [{ data: 2, zero: 3, microBatches: 2 }, { precision: 'bf16' }],
  [{ pipeline: 3, microBatches: 4, schedule: 'gpipe' }],
  [{ pipeline: 2, microBatches: 4, schedule: 'zero-bubble' }],
  [{ pipeline: 2, microBatches: 4, schedule: 'interleaved', chunks: 3 }],
  [{ data: 2, pipeline: 2, microBatches: 4, zero: 1, schedule: 'zero-bubble' }],
  [{ data: 2, pipeline: 2, microBatches: 2, zero: 3 }, { activationCheckpointing: true }],
  [{ tensor: 3, microBatches: 2 }, { precision: 'bf16' }],
  [{ data: 2, pipeline: 2, tensor: 3, microBatches: 4, zero: 2 }],
  [{ tensor: 3, sequenceParallel: true }, { batchSize: 12 }],
  [
    { tensor: 3, sequenceParallel: true, microBatches: 2 },
    { batchSize: 12, precision: 'bf16', activationCheckpointing: true },
  ],
  [
    { data: 2, pipeline: 2, tensor: 3, sequenceParallel: true, microBatches: 2, schedule: 'zero-bubble' },
    { batchSize: 12 },
  ],
];

/** Bytes of tensors that are forecast for each rank: without the process, the engine's logits and shared memory. */
function forecastBytes(job: Job): number[] {
  const { data, pipeline, tensor } = job.layout;
  const mesh = new Mesh({ data, pipeline, tensor });
  const stages = stageMemory(job, 'native');
  return mesh.ranks().map((rank) => {
    const found = stages[mesh.place(rank).pipeline];
    assert.ok(found);
    return found.total - found.process - found.logits - outboxBytes(job, 'native');
  });
}

for (const [parallel, changes = {}] of grid)
  test(`ranks take what was forecast, within 1 %: ${JSON.stringify({ ...parallel, ...changes })}`, async () => {
    const training = { steps: 2, evaluateEvery: 0, batchSize: 16, sequenceLength: 16, ...changes };
    const { states } = await trainings.train({ model, training, parallel });
    const resolved = resolveConfiguration({
      model,
      training,
      parallel,
      data: { dummy: true, tokenizer: 'byte' },
    });
    assert.ok('config' in resolved);
    const expected = forecastBytes(jobOf(resolved.config).job);
    assert.equal(states.length, expected.length);
    for (const [rank, { peakTensorBytes }] of states.entries()) {
      const error = (expected[rank] ?? 0) / peakTensorBytes - 1;
      assert.ok(
        Math.abs(error) < 0.01,
        `rank ${rank}: ${peakTensorBytes} bytes, ${(100 * error).toFixed(2)} % off`,
      );
    }
  });
