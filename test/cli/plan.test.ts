/** `gpt-lab plan`: what is printed, what is refused, and that nothing is started. */
import assert from 'node:assert/strict';
import { access, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createWorkplace, type Workplace } from './gpt-lab.ts';

const gpt3 = {
  model: { layers: 96, width: 12288, heads: 96, contextLength: 2048, vocabularySize: 50257 },
  data: { dummy: true },
  training: { batchSize: 1536, sequenceLength: 2048, precision: 'bf16' },
  parallel: { data: 16, pipeline: 8, tensor: 8, zero: 1, microBatches: 96 },
};

let place: Workplace;
before(async () => {
  place = await createWorkplace();
  await place.write('gpt3.json', gpt3);
});
after(() => place.end());

interface Planned {
  readonly world: number;
  readonly batchEquation: string;
  readonly machine: string;
  readonly memory: {
    total: number;
    weights: number;
    moment: string;
    ranks: { first: number; last: number };
  }[];
  readonly deviceBytes: number;
  readonly fits: boolean;
  readonly seconds: Record<string, number>;
  readonly runnable: boolean;
  readonly best?: {
    parallel: { data: number; pipeline: number; tensor: number };
    seconds: { step: number };
  }[];
  readonly schedule?: { timeline: { stages: unknown[][] } };
}

/** The one object that `plan … --json` prints. */
async function planned(...args: string[]): Promise<Planned> {
  const outcome = await place.run('plan', ...args, '--json');
  assert.equal(outcome.code, 0, outcome.stderr);
  const lines = outcome.json();
  assert.equal(lines.length, 1);
  return lines[0] as unknown as Planned;
}

test('a plan of this machine measures it once and starts nothing', async () => {
  const first = await planned('tiny.json');
  assert.deepEqual([first.world, first.machine, first.runnable, first.fits], [1, 'this', true, true]);
  assert.equal(first.batchEquation, 'batchSize 2 = data 1 x microBatches 1 x 2 sequences');
  const file = join(place.home, 'machine.json');
  const measured = JSON.parse(await readFile(file, 'utf8')) as { peakF32: number; copyBandwidth: number };
  assert.ok(measured.peakF32 > 1e8 && measured.copyBandwidth > 1e8);
  await assert.rejects(access(join(place.home, 'daemon.json')), 'a daemon was started');
  // What is kept is what the next plan counts with.
  await writeFile(file, JSON.stringify({ ...measured, peakF32: measured.peakF32 * 1000 }));
  const second = await planned('tiny.json');
  assert.ok((second.seconds['products'] ?? 1) < (first.seconds['products'] ?? 0) / 900);
});

test('a damaged measurement is made again', async () => {
  const file = join(place.home, 'machine.json');
  await writeFile(file, '{"peakF32":');
  await planned('tiny.json');
  assert.ok((JSON.parse(await readFile(file, 'utf8')) as { peakF32: number }).peakF32 > 1e8);
});

test('for people: parts of memory by stage, parts of a step, and what this version does not run', async () => {
  const outcome = await place.run('plan', 'gpt3.json', '--machine', 'h100', '--schedule');
  assert.equal(outcome.code, 0, outcome.stderr);
  assert.match(outcome.stdout, /^174,\d{3},\d{3},\d{3} parameters: 96 layers, width 12288/);
  assert.match(outcome.stdout, /1024 ranks = data 16 x pipeline 8 x tensor 8, ZeRO 1, schedule 1f1b/);
  assert.match(outcome.stdout, /batchSize 1536 = data 16 x microBatches 96 x 1 sequence;/);
  assert.match(outcome.stdout, /STAGE +RANKS +WEIGHTS +GRADIENTS +OPTIMIZER +ACTIVATIONS +COMMUNICATION/);
  assert.match(outcome.stdout, /\n +7 +896 to 1023 .*GB/);
  assert.match(outcome.stdout, /bubble +.* of the pipeline/);
  assert.match(outcome.stdout, /^stage 0 {2}F0· F1· F2·/m);
  assert.match(outcome.stdout, /Drawn: the first 16 of 96 micro-batches/);
  assert.equal(outcome.stderr, '');
  const tiles = await place.run('plan', 'gpt3.json', '--machine', 'h100', '--set', 'parallel.tensorMode=3d');
  assert.equal(tiles.code, 0);
  assert.match(tiles.stderr, /^parallel\.tensorMode is "3d": allowed is "1d" in a run of this version;/m);
});

test('--best finds quicker layouts of as many ranks, or of those that are asked for', async () => {
  const own = await planned('gpt3.json', '--machine', 'a100-80gb', '--best');
  assert.equal(own.best?.length, 5);
  assert.ok((own.best[0]?.seconds.step ?? Infinity) < (own.seconds['step'] ?? 0));
  const half = await planned('gpt3.json', '--machine', 'a100-80gb', '--best', '--ranks', '512');
  for (const { parallel } of half.best ?? [])
    assert.equal(parallel.data * parallel.pipeline * parallel.tensor, 512);
});

test('--json has each stage’s ranks, and the schedule when it is asked for', async () => {
  const { memory, schedule } = await planned('gpt3.json', '--machine', 'h200', '--schedule');
  assert.deepEqual(memory.map(({ ranks }) => ranks).at(-1), { first: 896, last: 1023 });
  assert.equal(schedule?.timeline.stages.length, 8);
});

test('every problem of a configuration is told at once, with exit status 2 and nothing on stdout', async () => {
  const settings = ['training.batchSize=7', 'parallel.pipeline=100', 'parallel.zero=5', 'modle={}'];
  const outcome = await place.run(
    'plan',
    'gpt3.json',
    ...settings.flatMap((one) => ['--set', one]),
    '--json',
  );
  assert.deepEqual([outcome.code, outcome.stdout], [2, '']);
  for (const problem of [
    /^modle is not known: did you mean model\?/m,
    /^parallel\.zero is 5: allowed is 0, 1, 2, 3$/m,
    /^training\.batchSize is 7: allowed is a multiple of 1536, because batchSize = data x microBatches x/m,
    /^parallel\.pipeline is 100: allowed is at most 96/m,
  ])
    assert.match(outcome.stderr, problem);
});

test('a machine that is not in the library, and --ranks without --best, are refused', async () => {
  const machine = await place.run('plan', 'tiny.json', '--machine', 'tpu');
  assert.equal(machine.code, 2);
  assert.match(machine.stderr, /--machine is "tpu": allowed is this or a100-40gb or/);
  const ranks = await place.run('plan', 'tiny.json', '--ranks', '4');
  assert.equal(ranks.code, 2);
  assert.match(ranks.stderr, /--ranks is 4: allowed only with --best/);
});
