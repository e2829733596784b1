import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveConfiguration } from './configuration-schema.ts';
import { parameterCount, presets } from './presets.ts';

const text = { text: ['moby-dick.txt'] };

function problems(value: unknown): string[] {
  const resolved = resolveConfiguration(value);
  assert.ok('problems' in resolved, 'expected problems');
  return resolved.problems;
}

test('the smallest configuration gets every default', () => {
  const resolved = resolveConfiguration({ data: text });
  assert.ok('config' in resolved);
  const { model, training, name } = resolved.config;
  assert.equal(name, 'gpt2-nano · moby-dick');
  assert.deepEqual([model.layers, model.width, model.heads, model.contextLength], [4, 256, 4, 256]);
  assert.equal(model.vocabularySize, undefined);
  assert.deepEqual(
    [training.steps, training.sequenceLength, training.schedule.warmupSteps, training.optimizer.learningRate],
    [200, 256, 20, 3e-4],
  );
});

test('the whole documented configuration is accepted', () => {
  const optimizer = {
    ...{ type: 'adamw', learningRate: 3e-4, betas: [0.9, 0.95], epsilon: 1e-8 },
    ...{ weightDecay: 0.1, clipNorm: 1 },
  };
  const schedule = { type: 'cosine', warmupSteps: 20, minimumRatio: 0.1 };
  const sizes = { steps: 200, batchSize: 8, sequenceLength: 256, seed: 42, precision: 'fp32' };
  const resolved = resolveConfiguration({
    name: 'quickstart',
    model: { preset: 'gpt2-nano' },
    data: { text: ['samples/data/moby-dick.txt'], tokenizer: 'gpt2', validation: 0.05 },
    training: {
      ...sizes,
      ...{ optimizer, schedule, evaluateEvery: 50, checkpointEvery: 100 },
      ...{ activationCheckpointing: false, maxRestarts: 0 },
    },
    parallel: {
      ...{ data: 1, pipeline: 1, tensor: 1, zero: 0 },
      ...{ microBatches: 1, schedule: '1f1b', chunks: 1 },
    },
    engine: { type: 'native', device: 'cpu', threads: 2 },
  });
  assert.ok('config' in resolved, JSON.stringify(resolved));
});

test('every problem is listed at once, with key, value and what is allowed, those between sound keys too', () => {
  assert.deepEqual(
    problems({
      data: { ...text, tokenizer: 'words' },
      training: { steps: 0, batchsize: 4, precision: 'fp8', sequenceLength: 512 },
      parallel: { data: 2, microBatches: 3 },
      model: { width: 3.5, heads: 3 },
    }),
    [
      'model.width is 3.5: allowed is a whole number',
      'data.tokenizer is "words": allowed is "gpt2", "bpe", "byte", "char"',
      'training.steps is 0: allowed is at least 1',
      'training.precision is "fp8": allowed is "fp32", "bf16"',
      'training.batchsize is not known: did you mean batchSize? Allowed: steps, batchSize, sequenceLength, seed, precision, optimizer, schedule, evaluateEvery, checkpointEvery, keepCheckpoints, keepEvery, activationCheckpointing, onDivergence, spikeFactor, maxRestarts',
      'training.sequenceLength is 512: allowed is at most model.contextLength, 256',
      'training.batchSize is 8: allowed is a multiple of 6, because batchSize = data x microBatches x sequences per micro-batch = 2 x 3 x 1.33',
    ],
  );
});

test('layouts that make no sense are refused, each with the keys that contradict each other', () => {
  const layout = (parallel: object): string[] => problems({ data: text, parallel });
  assert.deepEqual(layout({ data: 0, zero: 4, tensor: 3 }), [
    'parallel.data is 0: allowed is at least 1',
    'parallel.zero is 4: allowed is 0, 1, 2, 3',
    'parallel.tensor is 3: allowed are divisors of model.heads, 4',
  ]);
  assert.deepEqual(layout({ pipeline: 3, chunks: 2, microBatches: 2, schedule: 'interleaved' }), [
    'parallel.pipeline is 3: allowed is at most 2, because pipeline x chunks = 3 x 2 parts need a block each, and model.layers is 4',
    'parallel.microBatches is 2: allowed are multiples of parallel.pipeline (3) with parallel.schedule "interleaved"',
  ]);
  assert.deepEqual(layout({ pipeline: 2, chunks: 2 }), [
    'parallel.chunks is 2: allowed is 1 with parallel.schedule "1f1b"; "interleaved" takes more',
  ]);
  assert.deepEqual(layout({ chunks: 2, schedule: 'interleaved' }), [
    'parallel.chunks is 2: allowed is 1 with parallel.pipeline 1: chunks are parts of stages that take turns',
  ]);
});

test('sequence parallelism is refused where there is nothing to divide, or nothing that divides it, each reason at once', () => {
  const layout = (parallel: object, sequenceLength = 256): string[] =>
    problems({ data: text, training: { batchSize: 9, sequenceLength }, parallel });
  const sequenceParallel = true;
  assert.ok('config' in resolveConfiguration({ data: text, parallel: { tensor: 2, sequenceParallel } }));
  assert.deepEqual(layout({ sequenceParallel }), [
    'parallel.sequenceParallel is true: allowed is false with parallel.tensor 1, where one rank has all tokens',
  ]);
  assert.deepEqual(layout({ sequenceParallel: 1 }), ['parallel.sequenceParallel is 1: allowed is a boolean']);
  assert.deepEqual(layout({ tensor: 4, tensorMode: '2d', microBatches: 3, sequenceParallel }, 31), [
    'parallel.sequenceParallel is true: allowed is false with parallel.tensorMode "2d", whose tiles split the tokens themselves',
    'parallel.sequenceParallel is true: allowed is false unless parallel.tensor, 4, divides the 93 tokens of a micro-batch, 3 x training.sequenceLength 31',
    'parallel.tensorMode is "2d": allowed is "1d" in a run of this version; `gpt-lab plan` forecasts others',
  ]);
});

test('rules between keys name both sides', () => {
  assert.deepEqual(
    problems({
      model: { width: 30, heads: 4, contextLength: 16, vocabularySize: 100 },
      data: { ...text, tokenizer: 'byte' },
      training: { batchSize: 6, sequenceLength: 32 },
      parallel: { microBatches: 4 },
    }),
    [
      'model.width is 30: allowed is a multiple of model.heads, 4',
      'training.sequenceLength is 32: allowed is at most model.contextLength, 16',
      'training.batchSize is 6: allowed is a multiple of 4, because batchSize = data x microBatches x sequences per micro-batch = 1 x 4 x 1.50',
      'model.vocabularySize is 100: allowed is at least 256, the ids of tokenizer "byte"',
    ],
  );
});

test('the size of a learned vocabulary belongs to the tokenizer that learns one', () => {
  const resolved = resolveConfiguration({ data: { ...text, tokenizer: 'bpe' } });
  assert.ok('config' in resolved);
  assert.equal(resolved.config.data.vocabularySize, 2048);
  assert.deepEqual(problems({ data: { ...text, tokenizer: 'byte', vocabularySize: 1000 } }), [
    'data.vocabularySize is 1000: allowed only with data.tokenizer "bpe", which is "byte"',
  ]);
});

test('exactly one data source is needed', () => {
  assert.match(problems({})[0] ?? '', /neither text nor dummy/);
  assert.match(problems({ data: { ...text, dummy: true } })[0] ?? '', /both text and dummy/);
  assert.match(problems('moby')[0] ?? '', /configuration is "moby": allowed is an object/);
});

test('the OpenAI shapes have the published numbers of parameters', () => {
  const count = (name: 'gpt2-small' | 'gpt2-medium' | 'gpt2-large' | 'gpt2-xl'): number =>
    parameterCount({ vocabularySize: 50257, ...presets[name] });
  assert.deepEqual(
    [count('gpt2-small'), count('gpt2-medium'), count('gpt2-large'), count('gpt2-xl')],
    [124_439_808, 354_823_168, 774_030_080, 1_557_611_200],
  );
});

test('a layout that this version does not run can be planned', () => {
  const layout = { data: 2, pipeline: 2, tensor: 4, tensorMode: '2d', zero: 2, microBatches: 4 };
  const value = { data: { dummy: true }, training: { batchSize: 16 }, parallel: layout };
  assert.ok('config' in resolveConfiguration(value, 'plan'));
  assert.deepEqual(problems(value), [
    'parallel.tensorMode is "2d": allowed is "1d" in a run of this version; `gpt-lab plan` forecasts others',
  ]);
});

test('a layout that cannot be is refused by a plan too, every rule at once', () => {
  const refused = (layout: object): unknown =>
    resolveConfiguration({ data: { dummy: true }, training: { batchSize: 9 }, parallel: layout }, 'plan');
  const layout = { pipeline: 3, tensor: 3, microBatches: 2, zero: 4, chunks: 2, tensorMode: '2d' };
  assert.deepEqual(refused(layout), {
    problems: [
      'parallel.zero is 4: allowed is 0, 1, 2, 3',
      'training.batchSize is 9: allowed is a multiple of 2, because batchSize = data x microBatches x sequences per micro-batch = 1 x 2 x 4.50',
      'parallel.pipeline is 3: allowed is at most 2, because pipeline x chunks = 3 x 2 parts need a block each, and model.layers is 4',
      'parallel.chunks is 2: allowed is 1 with parallel.schedule "1f1b"; "interleaved" takes more',
      'parallel.tensor is 3: allowed is a square (4, 9, 16) with parallel.tensorMode "2d"',
    ],
  });
  assert.deepEqual(refused({ tensor: 9, tensorMode: '2d' }), {
    problems: [
      'parallel.tensor is 9: allowed with parallel.tensorMode "2d" are grids whose edge, here 3, divides model.heads, 4',
    ],
  });
});
