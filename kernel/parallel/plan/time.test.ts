import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sendSeconds } from './costs.ts';
import { bestLayouts } from './search.ts';
import { estimate, forecast } from './forecast.ts';
import type { Job, PlannedModel } from './job.ts';
import { machines } from './machines.ts';
import type { Machine } from './machine.ts';
import { testJob } from './testing.ts';
import { machineOf } from './this-machine.ts';
import { stepSeconds } from './time.ts';

const [a100] = machines.filter(({ name }) => name === 'a100-80gb') as [Machine];
const h100s = machines.filter(({ name }) => name === 'h100') as [Machine];

/** The ceilings of the measurements in docs/benchmarks.md. */
const ceilings = { peakF32: 236e9, peakBf16: 462e9, copyBandwidth: 36e9 };

const gpt3: PlannedModel = {
  ...{
    layers: 96,
    width: 12288,
    heads: 96,
    contextLength: 2048,
    vocabularySize: 50257,
    tieHead: true,
    dropout: 0,
  },
};

test('steps of GPT-2 124M take what was measured (docs/benchmarks.md), within 7 %', () => {
  const measured: [batchSize: number, sequenceLength: number, seconds: number][] = [
    [4, 64, 0.71],
    [4, 256, 2.24],
    [1, 1024, 2.47],
  ];
  const machine = machineOf({ version: '', cpu: '', threads: 2, cpus: 2, ...ceilings });
  for (const [batchSize, sequenceLength, seconds] of measured) {
    const job = testJob({}, { batchSize, sequenceLength, precision: 'bf16' });
    const error = stepSeconds(job, machine).step / seconds - 1;
    assert.ok(Math.abs(error) < 0.07, `${batchSize}x${sequenceLength}: ${(100 * error).toFixed(1)} %`);
  }
});

test('the parts of a step add up to it', () => {
  const layout = { data: 4, pipeline: 4, tensor: 2, zero: 2, microBatches: 8 } as const;
  const { step, dataTotal, ...parts } = stepSeconds(testJob(layout, { batchSize: 64 }), a100);
  const sum = Object.values(parts).reduce((total, part) => total + part, 0);
  assert.ok(Math.abs(sum / step - 1) < 1e-12);
  assert.ok(Object.values(parts).every((part) => part > 0) && dataTotal >= parts.data);
});

test('sequence parallelism moves what 1D moves, one all-reduce in five more where norms are made again, and sends shares', () => {
  const times = (machine: Machine): { plain: number; split: number } => {
    const seconds = (sequenceParallel: boolean): number =>
      stepSeconds(testJob({ tensor: 4, sequenceParallel }), machine).tensor;
    return { plain: seconds(false), split: seconds(true) };
  };
  const gpu = times(a100);
  assert.ok(Math.abs(gpu.split / gpu.plain - 1) < 1e-12);
  const native = times(machineOf({ ...{ version: '', cpu: '', threads: 2, cpus: 4 }, ...ceilings }));
  // Of 12 blocks with four all-reduces each, of the embedding and of the head.
  assert.ok(Math.abs(native.split / native.plain - (12 * 5 + 2) / (12 * 4 + 2)) < 1e-12);
  const send = (sequenceParallel: boolean): number =>
    sendSeconds(testJob({ tensor: 4, pipeline: 2, sequenceParallel }), {
      ...a100,
      inside: { ...a100.inside, latency: 0 },
    });
  assert.ok(Math.abs(send(false) / send(true) - 4) < 1e-12);
});

test('data ranks move 2Φ under ZeRO 0 and 1 and 3Φ under ZeRO 3, for each micro-batch from stage 2 on', () => {
  const job = (zero: 0 | 1 | 2 | 3, microBatches = 1): Job =>
    testJob({ data: 8, zero, microBatches }, { model: gpt3, batchSize: 16, precision: 'bf16' });
  // Without the steps' latencies.
  const machine = { ...a100, inside: { ...a100.inside, latency: 0 } };
  const total = (of: Job): number => stepSeconds(of, machine).dataTotal;
  const unit = total(job(0)) / 2;
  const counts = [job(1), job(2), job(3), job(1, 2), job(2, 2), job(3, 2)].map((one) => total(one) / unit);
  assert.deepEqual(
    counts.map((count) => Math.round(1e6 * count) / 1e6),
    [2, 2, 3, 2, 3, 6],
  );
});

test('the bubble of 1F1B is (p-1)/(m+p-1) where stages are alike', () => {
  // No head to speak of, and nothing to wait for on the wire.
  const model = { ...gpt3, vocabularySize: 1 };
  const free = { bandwidth: 1e18, latency: 0 };
  const machine = { ...a100, inside: free, between: free };
  const layout = { pipeline: 8, microBatches: 24 };
  const { bubble } = forecast(testJob(layout, { model, batchSize: 24, precision: 'bf16' }), machine);
  assert.ok(Math.abs(bubble - 7 / 31) < 1e-3, String(bubble));
});

test('a stage with more layers sets the pace', () => {
  const of = (layers: number): number => {
    const model = { ...gpt3, layers, vocabularySize: 1 };
    return stepSeconds(testJob({ pipeline: 4, microBatches: 64 }, { model, batchSize: 64 }), a100).step;
  };
  const ratio = of(9) / of(8);
  assert.ok(ratio > 1.4 && ratio < 1.5, String(ratio));
});

test('activation checkpointing costs a forward and saves most of the activations', () => {
  const changes = { model: gpt3, batchSize: 8, sequenceLength: 2048, precision: 'bf16' } as const;
  const layout = { pipeline: 8, tensor: 8, microBatches: 8 };
  const plain = forecast(testJob(layout, changes), a100);
  const again = forecast(testJob({ ...layout, activationCheckpointing: true }, changes), a100);
  const ratio = again.seconds.products / plain.seconds.products;
  assert.ok(ratio > 1.3 && ratio < 4 / 3, String(ratio));
  assert.ok((again.memory[0]?.activations ?? 0) < 0.3 * (plain.memory[0]?.activations ?? 0));
});

test('a search finds layouts of 175B on 1,024 GPUs that fit, quickest first, and what it estimates holds', () => {
  const layout = { data: 16, pipeline: 8, tensor: 8, microBatches: 96 };
  const job = testJob(layout, { model: gpt3, batchSize: 1536, sequenceLength: 2048, precision: 'bf16' });
  for (const machine of [a100, ...h100s]) {
    const best = bestLayouts(job, machine);
    assert.equal(best.length, 5);
    const [first] = best;
    assert.ok(first && first.seconds.step < forecast(job, machine).seconds.step);
    for (const [index, one] of best.entries()) {
      const { layout, batchSize } = one.job;
      assert.equal(layout.data * layout.pipeline * layout.tensor, 1024);
      assert.equal(batchSize % (layout.data * layout.microBatches), 0);
      assert.ok(one.fits && one.deviceBytes <= machine.memory);
      const next = best[index + 1];
      assert.ok(next === undefined || one.seconds.step <= 1.002 * next.seconds.step);
      const estimated = estimate(one.job, machine);
      assert.equal(estimated?.deviceBytes, one.deviceBytes);
      assert.ok(Math.abs(estimated.seconds / one.seconds.step - 1) < 0.03);
    }
  }
});

test('nothing is found where nothing fits', () => {
  const job = testJob({}, { model: gpt3, batchSize: 1, sequenceLength: 2048, precision: 'bf16' });
  assert.deepEqual(bestLayouts(job, a100), []);
});
