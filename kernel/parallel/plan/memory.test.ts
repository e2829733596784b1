import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DataType, Engine } from '../../engine/engine.ts';
import { NativeEngine } from '../../engine/native/native-engine.ts';
import type { OptimizerConfiguration } from '../../protocol/configuration.ts';
import { TrainingPass } from '../../training/model.ts';
import { AdamW } from '../../training/optimizer.ts';
import { ParameterSet, parameterSpecifications } from '../../training/parameters.ts';
import type { Job, Layout } from './job.ts';
import { stageMemory, type StageMemory } from './memory.ts';
import { testJob } from './testing.ts';

function memory(job: Job): [first: StageMemory, ...rest: StageMemory[]] {
  return stageMemory(job, 'native') as [StageMemory, ...StageMemory[]];
}

/** Bytes that an engine was asked for while `work` ran. */
async function allocated(work: (engine: Engine) => void): Promise<number> {
  const engine = new NativeEngine(1);
  let bytes = 0;
  const counting = new Proxy(engine, {
    get(target, key) {
      const value = Reflect.get(target, key) as unknown;
      if (typeof value !== 'function') return value;
      if (key !== 'allocate') return value.bind(target) as unknown;
      return (type: DataType, shape: readonly number[]) => {
        bytes += (type === 'bf16' ? 2 : 4) * shape.reduce((product, size) => product * size, 1);
        return target.allocate(type, shape);
      };
    },
  });
  try {
    work(counting);
  } finally {
    await engine.dispose();
  }
  return bytes;
}

const optimizer: Required<OptimizerConfiguration> = {
  ...{ type: 'adamw', learningRate: 1e-3, betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0.1 },
  clipNorm: 1,
};

for (const precision of ['fp32', 'bf16'] as const)
  for (const activationCheckpointing of [false, true])
    for (const tieHead of [true, false])
      test(`one rank allocates what is forecast: ${precision}, ${activationCheckpointing ? 'checkpointing, ' : ''}head ${tieHead ? 'tied' : 'apart'}`, async () => {
        const model = {
          layers: 3,
          width: 48,
          heads: 4,
          contextLength: 32,
          vocabularySize: 300,
          tieHead,
          dropout: 0,
        };
        const job = testJob(
          { activationCheckpointing },
          { model, batchSize: 3, sequenceLength: 32, precision },
        );
        const found = await allocated((engine) => {
          const shape = { ...model, activation: 'gelu-tanh' } as const;
          const specifications = parameterSpecifications(shape);
          new ParameterSet(engine, specifications);
          new ParameterSet(engine, specifications);
          new AdamW(engine, specifications, optimizer);
          new TrainingPass(engine, shape, 3, 32, { precision, activationCheckpointing });
        });
        const [{ total, process, logits }] = memory(job);
        // The squared norm and the clipping factor.
        assert.equal(found, total - process - logits + 8);
      });

test('a step of GPT-2 124M has the peak that was measured (docs/benchmarks.md), within 3 %', () => {
  const measured: [
    batchSize: number,
    sequenceLength: number,
    precision: Job['precision'],
    gigabytes: number,
  ][] = [
    [4, 64, 'bf16', 2.21],
    [4, 64, 'fp32', 2.33],
    [4, 256, 'bf16', 2.53],
    [1, 1024, 'bf16', 2.53],
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
  // The embedding, which the tied head keeps in use, and a block, in f32: gradients, and with stage 3 parameters too.
  const pair = 4 * ((50257 + 1024) * 768 + 12 * 768 ** 2 + 13 * 768);
  const communication = stages.map((one) => one.communication - whole.communication);
  assert.deepEqual(communication, [0, 0, pair, 2 * pair]);
});

test('shards are padded to equal lengths', () => {
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
  // Units of 21 (embedding), 147 (block), and 21 (final norm and head) parameters.
  assert.equal(weights, 4 * (6 + 37 + 6));
});

test('activations follow the schedule: all micro-batches under GPipe, p - stage under 1F1B', () => {
  const of = (schedule: Layout['schedule'], chunks = 1): number[] => {
    const layout = { pipeline: 4, microBatches: 8, schedule, chunks };
    return memory(testJob(layout, { batchSize: 32 })).map(({ activations }) => activations);
  };
  const [gpipe, oneByOne, interleaved] = [of('gpipe'), of('1f1b'), of('interleaved', 3)];
  assert.ok(gpipe.every((bytes, stage) => bytes > 1.9 * (oneByOne[stage] ?? 0)));
  assert.deepEqual(
    oneByOne,
    oneByOne.toSorted((a, b) => b - a),
  );
  // 15 chunks of a third against 4 whole stages.
  const ratio = (interleaved[0] ?? 0) / (oneByOne[0] ?? 0);
  assert.ok(ratio > 1.2 && ratio < 1.4, String(ratio));
});

test('a tensor rank has its part of matrices, heads and logits, and whole norms', () => {
  const [alone] = memory(testJob());
  const [split] = memory(testJob({ tensor: 4 }));
  const whole = 1024 * 768 + 2 * 768 + 12 * 6 * 768;
  const parts = Math.ceil(50257 / 4) * 768 + 12 * ((12 * 768 ** 2 + 7 * 768) / 4);
  assert.equal(split.weights, 4 * (whole + parts));
  assert.equal(split.logits, alone.logits / 4);
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
