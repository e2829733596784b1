import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Job, Layout } from './job.ts';
import { stageMemory, type StageMemory } from './memory.ts';
import { testJob } from './testing.ts';

function memory(job: Job): [first: StageMemory, ...rest: StageMemory[]] {
  return stageMemory(job, 'native') as [StageMemory, ...StageMemory[]];
}

test('a step of GPT-2 124M has the peak that was measured (docs/benchmarks.md), within 3 %', () => {
  const measured: [
    batchSize: number,
    sequenceLength: number,
    precision: Job['precision'],
    gigabytes: number,
  ][] = [
    [4, 64, 'bf16', 2.16],
    [4, 64, 'fp32', 2.25],
    [4, 256, 'bf16', 2.36],
    [4, 256, 'fp32', 2.57],
    [1, 1024, 'bf16', 2.36],
  ];
  for (const [batchSize, sequenceLength, precision, gigabytes] of measured) {
    const [{ total }] = memory(testJob({}, { batchSize, sequenceLength, precision }));
    const error = total / 1e9 / gigabytes - 1;
    assert.ok(
      Math.abs(error) < 0.03,
      `${batchSize}x${sequenceLength} ${precision}: ${(100 * error).toFixed(1)} %`,
    );
  }
});

test('ZeRO shards what its stage says, and gathers two neighbouring units', () => {
  const stages = ([0, 1, 2, 3] as const).map(
    (zero) => memory(testJob({ data: 4, zero }, { batchSize: 16 }))[0],
  );
  const [whole, ...sharded] = stages;
  assert.ok(whole);
  const shares = (part: 'weights' | 'gradients' | 'optimizer'): number[] =>
    sharded.map((one) => Math.round((100 * one[part]) / whole[part]));
  assert.deepEqual(
    { weights: shares('weights'), gradients: shares('gradients'), optimizer: shares('optimizer') },
    { weights: [100, 100, 25], gradients: [100, 25, 25], optimizer: [25, 25, 25] },
  );
  // Both tables, two blocks, the final norm: whole gradients, and with stage 3 whole parameters too.
  const whole2 = 4 * ((50257 + 1024) * 768 + 2 * (12 * 768 ** 2 + 13 * 768) + 2 * 768);
  const communication = stages.map((one) => one.communication - whole.communication);
  assert.deepEqual(communication, [0, 0, whole2, 2 * whole2]);
});

test('shards are padded to equal lengths of whole cache lines', () => {
  const model = {
    layers: 1,
    width: 3,
    heads: 1,
    contextLength: 2,
    vocabularySize: 5,
    tieHead: false,
    dropout: 0,
  };
  const [{ weights }] = memory(testJob({ data: 4, zero: 3 }, { model, batchSize: 4 }));
  // Two tables of 15 and positions of 6 parameters, matrices of 108, vectors of 39, a norm of 6.
  assert.equal(weights, 4 * 64 * 6);
});

test('replicas that sum each micro-batch apart have two units of a kind beside the sums', () => {
  const of = (zero: 0 | 1, microBatches: number): StageMemory =>
    memory(testJob({ data: 2, zero, microBatches }, { batchSize: 16 }))[0];
  assert.equal(of(1, 2).gradients * 2, of(0, 2).gradients);
  assert.equal(of(1, 1).gradients, of(0, 1).gradients);
  assert.ok(of(0, 2).communication > of(0, 1).communication + 4 * 50257 * 768);
});

test('activations follow the schedule: all micro-batches under GPipe, p - stage under 1F1B', () => {
  const of = (schedule: Layout['schedule'], chunks = 1): number[] => {
    const layout = { pipeline: 4, microBatches: 8, schedule, chunks };
    return memory(testJob(layout, { batchSize: 32 })).map(({ activations }) => activations);
  };
  const [gpipe, oneByOne, interleaved] = [of('gpipe'), of('1f1b'), of('interleaved', 3)];
  assert.ok(gpipe.every((bytes, stage) => bytes > 1.8 * (oneByOne[stage] ?? 0)));
  assert.deepEqual(
    oneByOne,
    oneByOne.toSorted((a, b) => b - a),
  );
  // At most 8, 6 and 5 micro-batches in thirds of a stage, each kept for its chunk, against 4 whole stages.
  const ratio = (interleaved[0] ?? 0) / (oneByOne[0] ?? 0);
  assert.ok(ratio > 1.5 && ratio < 1.65, String(ratio));
});

test('a tensor rank has its part of vocabulary, matrices and heads, and whole positions and norms', () => {
  const [alone] = memory(testJob());
  const [split] = memory(testJob({ tensor: 4 }));
  const whole = (Math.ceil(50257 / 4) + 1024) * 768 + 2 * 768 + 12 * 6 * 768;
  assert.equal(split.weights, 4 * (whole + 12 * ((12 * 768 ** 2 + 7 * 768) / 4)));
  assert.ok(split.activations < 0.6 * alone.activations && split.activations > 0.25 * alone.activations);
});

test('the moment of the peak is named', () => {
  const moments = memory(testJob({ pipeline: 2, microBatches: 4 })).map(({ moment }) => moment);
  assert.deepEqual(moments, [
    'forward of micro-batch 1: activations of 2 held',
    'forward of micro-batch 0: activations of 1 held',
  ]);
});

test('a GPU keeps 34 bytes a token and unit of width with dropout (Korthikanti et al. 2022), and scores where they are written', () => {
  const model = {
    layers: 2,
    width: 768,
    heads: 12,
    contextLength: 1024,
    vocabularySize: 50257,
    tieHead: true,
    dropout: 0.1,
  };
  const of = (layers: number, materialized: boolean): number => {
    const changes = { model: { ...model, layers }, precision: 'bf16' } as const;
    const job = testJob(
      {},
      { ...changes, ...(materialized ? { peculiarities: { materializedAttention: true } } : {}) },
    );
    return stageMemory(job, 'mixed')[0]?.activations ?? 0;
  };
  const tokens = 4 * 64;
  // Statistics of norms and softmax, which the paper leaves out.
  const statistics = 16 + 4 * 12;
  assert.equal((of(3, false) - of(2, false)) / tokens, 34 * 768 + statistics);
  assert.equal((of(3, true) - of(2, true)) / tokens, 34 * 768 + statistics + 5 * 12 * 64);
});
