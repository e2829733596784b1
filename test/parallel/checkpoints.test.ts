/** A checkpoint of any layout is gone on from by any other. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openEngine } from '../../kernel/engine/open.ts';
import type { ParallelConfiguration } from '../../kernel/protocol/configuration.ts';
import { evaluateText } from '../../kernel/training/generate.ts';
import { Trainings, largestDifference, type Trained } from './training-ranks.ts';

const trainings = new Trainings();
after(() => trainings.end());

const training = { steps: 8, evaluateEvery: 0, checkpointEvery: 4 };
const layouts = {
  one: {},
  replicas: { data: 3, zero: 2 },
  pipeline: { pipeline: 2, microBatches: 4, schedule: 'zero-bubble' },
  both: { data: 2, pipeline: 2, zero: 3, microBatches: 3 },
  tensor: { tensor: 3, data: 2, zero: 1 },
  sequence: { tensor: 3, sequenceParallel: true, microBatches: 2 },
} as const satisfies Record<string, ParallelConfiguration>;

/** Eight steps, with a checkpoint after the fourth and the last. */
const whole = new Map<string, Promise<Trained>>();
function wholeRun(name: keyof typeof layouts): Promise<Trained> {
  const known = whole.get(name) ?? trainings.train({ parallel: layouts[name], training });
  whole.set(name, known);
  return known;
}

const pathOf = ({ events }: Trained, step: number): string => {
  const found = events.find((event) => event.event === 'checkpoint' && event.step === step);
  assert.ok(found?.event === 'checkpoint');
  return found.path;
};

for (const [from, to] of [
  ['one', 'both'],
  ['both', 'one'],
  ['replicas', 'pipeline'],
  ['pipeline', 'tensor'],
  ['tensor', 'replicas'],
  ['replicas', 'sequence'],
  ['sequence', 'one'],
] as const) {
  test(`a checkpoint of ${from} is gone on from by ${to}`, async () => {
    const [written, expected] = [await wholeRun(from), await wholeRun(to)];
    const resume = pathOf(written, 4);
    const rest = await trainings.train({ parallel: layouts[to], training, resume });
    assert.ok(largestDifference(rest.losses, expected.losses.slice(4)) < 1e-5);
  });
}

test('the same layout goes on bit for bit, and another stage of ZeRO too', async () => {
  for (const name of ['one', 'replicas', 'pipeline', 'both', 'tensor', 'sequence'] as const) {
    const written = await wholeRun(name);
    const parallel: ParallelConfiguration = { ...layouts[name], zero: 2 };
    const rest = await trainings.train({ parallel, training, resume: pathOf(written, 4) });
    assert.deepEqual(rest.losses, written.losses.slice(4), name);
    assert.deepEqual(rest.norms, written.norms.slice(4), name);
  }
});

test('each rank writes a part, and all parts together are the model of one rank, which can be evaluated', async () => {
  const [one, both] = [await wholeRun('one'), await wholeRun('both')];
  assert.ok(one.checkpoint && both.checkpoint);
  assert.deepEqual((await readdir(one.checkpoint)).sort(), [
    'manifest.json',
    'model.safetensors',
    'optimizer.safetensors',
  ]);
  const files = (await readdir(both.checkpoint)).sort();
  assert.equal(files.length, 9);
  assert.ok(files.includes('model-00003-of-00004.safetensors'));
  const engine = openEngine({ type: 'native', threads: 1 });
  const report = { phase: () => undefined, warning: () => undefined, stopRequested: () => false };
  const text = join(import.meta.dirname, '..', '..', 'README.md');
  const cacheDirectory = await trainings.folder();
  const losses: number[] = [];
  for (const { checkpoint } of [one, both])
    losses.push(
      (await evaluateText(engine, { checkpoint: checkpoint ?? '', text, cacheDirectory }, report)).loss,
    );
  await engine.dispose();
  assert.ok(largestDifference(losses.slice(1), losses.slice(0, 1)) < 1e-5);
});

test('a damaged part is named, and the checkpoint before it is used by all ranks', async () => {
  const directory = await trainings.folder();
  const parallel = layouts.both;
  const first = await trainings.train({ parallel, training, directory });
  assert.ok(first.checkpoint);
  const file = join(first.checkpoint, 'optimizer-00002-of-00004.safetensors');
  const bytes = await readFile(file);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  await writeFile(file, bytes);
  const again = await trainings.train({ parallel, training, directory, resume: first.checkpoint });
  const warnings = again.events.flatMap((event) => (event.event === 'warning' ? [event.message] : []));
  assert.match(warnings.join('\n'), /checksum of optimizer-00002-of-00004\.safetensors does not match/);
  assert.deepEqual(again.losses, first.losses.slice(4));
});

test('the newest checkpoints are kept, and those of every so many steps', async () => {
  const directory = await trainings.folder();
  const often = { steps: 9, evaluateEvery: 0, checkpointEvery: 1, keepCheckpoints: 3, keepEvery: 4 };
  await trainings.train({ training: often, parallel: { data: 2, zero: 1 }, directory });
  const names = await readdir(join(directory, 'checkpoints'));
  const steps = names.map((name) => Number(name.slice('step-'.length)));
  assert.deepEqual(
    steps.toSorted((a, b) => a - b),
    [4, 7, 8, 9],
  );
});
