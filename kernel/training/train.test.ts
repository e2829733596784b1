import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { openEngine } from '../engine/open.ts';
import { resolveConfiguration } from '../protocol/configuration-schema.ts';
import type { RunEventBody } from '../protocol/events.ts';
import { evaluateText, generate } from './generate.ts';
import { train } from './train.ts';

let folder = '';
let text = '';
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gpt-lab-train-'));
  text = join(folder, 'text.txt');
  await writeFile(text, 'the quick brown fox jumps over the lazy dog, and then it sleeps. '.repeat(60));
});
after(() => rm(folder, { recursive: true, force: true }));

interface Overrides {
  steps?: number;
  microBatches?: number;
  dropout?: number;
  threads?: number;
  resume?: string;
  stopAfter?: number;
  directory?: string;
  precision?: 'fp32' | 'bf16';
  activationCheckpointing?: boolean;
  corpus?: string;
  /** Steps between evaluations and checkpoints. */
  every?: number;
  learningRate?: number;
}

async function run(
  overrides: Overrides = {},
): Promise<{ status: string; events: RunEventBody[]; losses: number[] }> {
  const { steps = 12, microBatches = 1, dropout = 0, threads = 1 } = overrides;
  const { precision = 'fp32', activationCheckpointing = false, every = 6 } = overrides;
  const resolved = resolveConfiguration({
    model: { layers: 2, width: 32, heads: 2, contextLength: 32, dropout },
    data: { text: [overrides.corpus ?? text], tokenizer: 'char', validation: 0.1 },
    training: {
      steps,
      batchSize: 4,
      sequenceLength: 24,
      evaluateEvery: every,
      checkpointEvery: every,
      precision,
      activationCheckpointing,
      optimizer: { learningRate: overrides.learningRate ?? 1e-2 },
      schedule: { type: 'constant', warmupSteps: 2 },
    },
    parallel: { microBatches },
  });
  assert.ok('config' in resolved, JSON.stringify(resolved));
  const events: RunEventBody[] = [];
  const losses: number[] = [];
  const engine = openEngine({ type: 'native', threads });
  const task = {
    run: 'test',
    config: resolved.config,
    directory: overrides.directory ?? join(folder, String(Math.random())),
    cacheDirectory: join(folder, 'cache'),
    ...(overrides.resume === undefined ? {} : { resume: overrides.resume }),
  };
  try {
    const status = await train(engine, task, {
      event: (event) => {
        events.push(event);
        if (event.event === 'step') losses.push(event.loss ?? Number.NaN);
      },
      phase: () => undefined,
      stopRequested: () => overrides.stopAfter !== undefined && losses.length >= overrides.stopAfter,
      takeCheckpointRequest: () => false,
    });
    return { status, events, losses };
  } finally {
    await engine.dispose();
  }
}

const lastCheckpoint = (events: readonly RunEventBody[]): string => {
  const found = events.findLast((event) => event.event === 'checkpoint');
  assert.ok(found);
  return found.path;
};

test('the loss falls from about ln(vocabulary), on training and held-out text', async () => {
  const { status, losses, events } = await run({ steps: 60 });
  assert.equal(status, 'finished');
  const characters = new Set(await import('node:fs').then((fs) => fs.readFileSync(text, 'utf8'))).size;
  assert.ok(Math.abs((losses[0] ?? 0) - Math.log(characters)) < 0.2, `first loss ${losses[0]}`);
  assert.ok((losses.at(-1) ?? 9) < 1.5, `last loss ${losses.at(-1)}`);
  const evaluation = events.findLast((event) => event.event === 'evaluation');
  assert.ok(evaluation?.loss != null && evaluation.loss < 1.5, `held-out loss ${evaluation?.loss}`);
});

test('the same seed gives bitwise the same losses, another number of threads the same to 1e-5', async () => {
  const [first, again, threads] = [await run(), await run(), await run({ threads: 2 })];
  assert.deepEqual(again.losses, first.losses);
  threads.losses.forEach((loss, i) => assert.ok(Math.abs(loss / (first.losses[i] ?? 0) - 1) < 1e-5));
});

test('micro-batches change nothing but the rounding, dropout included', async () => {
  const [whole, split] = [await run({ dropout: 0.2 }), await run({ dropout: 0.2, microBatches: 4 })];
  split.losses.forEach((loss, i) => assert.ok(Math.abs(loss / (whole.losses[i] ?? 0) - 1) < 1e-4));
});

test('activation checkpointing gives bitwise the same losses, dropout included', async () => {
  for (const precision of ['fp32', 'bf16'] as const) {
    const kept = await run({ dropout: 0.1, precision });
    const again = await run({ dropout: 0.1, precision, activationCheckpointing: true });
    assert.deepEqual(again.losses, kept.losses);
  }
});

test('300 steps in bf16 follow those in fp32 to 1 % of the loss', async () => {
  const novel = fileURLToPath(new URL('../../samples/data/moby-dick.txt', import.meta.url));
  const realText = { steps: 300, corpus: novel, learningRate: 2e-3, threads: 2, every: 0 };
  const [wide, narrow] = [await run(realText), await run({ ...realText, precision: 'bf16' })];
  wide.losses.forEach((expected, i) => {
    const got = narrow.losses[i] ?? NaN;
    assert.ok(Math.abs(got / expected - 1) < 0.01, `step ${i + 1}: ${got}, fp32 ${expected}`);
  });
  assert.ok((wide.losses.at(-1) ?? 9) < 0.7 * (wide.losses[0] ?? 0));
});

test('a run that is stopped and resumed goes on with bitwise the same losses', async () => {
  const whole = await run({ dropout: 0.1 });
  const directory = join(folder, 'resumed');
  const first = await run({ dropout: 0.1, stopAfter: 5, directory });
  assert.equal(first.status, 'stopped');
  const rest = await run({ dropout: 0.1, directory, resume: lastCheckpoint(first.events) });
  assert.deepEqual([...first.losses, ...rest.losses], whole.losses);
  assert.deepEqual(rest.events.at(-1), { ...whole.events.at(-1), path: lastCheckpoint(rest.events) });
});

test('a trained model writes text, the same for the same seed, beyond its context', async () => {
  const { events } = await run({ steps: 240 });
  const engine = openEngine({ type: 'native', threads: 1 });
  const request = {
    checkpoint: lastCheckpoint(events),
    prompt: 'the quick',
    tokens: 80,
    topK: 0,
    topP: 1,
    seed: 1,
  };
  const pieces: string[] = [];
  const greedy = await generate(engine, { ...request, temperature: 0 }, (piece) => pieces.push(piece));
  assert.equal(pieces.join(''), greedy.text);
  assert.match(greedy.text, /brown fox|lazy dog|sleeps/);
  const sampled = await generate(engine, { ...request, temperature: 1 }, () => undefined);
  const again = await generate(engine, { ...request, temperature: 1 }, () => undefined);
  assert.equal(sampled.text, again.text);
  const report = { phase: () => undefined, warning: () => undefined, stopRequested: () => false };
  const where = { checkpoint: request.checkpoint, text, cacheDirectory: join(folder, 'cache') };
  const evaluation = await evaluateText(engine, where, report);
  assert.ok(evaluation.loss < 1.5 && Math.abs(Math.log(evaluation.perplexity) - evaluation.loss) < 1e-9);
  await engine.dispose();
});
