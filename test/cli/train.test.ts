import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { createWorkplace, gptLab, tiny, watch, type Outcome, type Workplace } from './gpt-lab.ts';

let place: Workplace;
before(async () => (place = await createWorkplace()));
after(() => place.end());

const show = async (run: string): Promise<Record<string, unknown>> =>
  (await place.run('show', run, '--json')).json()[0] ?? {};

const lossesOf = (outcome: Outcome): number[] =>
  outcome.json().flatMap(({ event, loss }) => (event === 'step' ? [loss as number] : []));

test('a run is shown step by step on stderr, and leaves stdout to results', async () => {
  const { code, stdout, stderr } = await place.run('train', 'tiny.json');
  assert.equal(code, 0);
  assert.equal(stdout, '');
  assert.match(stderr, /tiny is run \d{8}-tiny-[0-9a-f]{6}\n/);
  assert.match(stderr, /tiny {2}▕.*▏ {2}30\/30 {2}loss \d\.\d{3}.*tokens\/s/);
  assert.match(stderr, /has finished at step 30 of 30: loss \d\.\d{3}, validation \d\.\d{3}\n/);
});

test('with --json stdout is the run’s events, one object a line, and nothing else', async () => {
  const outcome = await place.run('train', 'tiny.json', '--json');
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stderr, '');
  const events = outcome.json();
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, index) => index + 1),
  );
  const start = events[0] ?? {};
  assert.equal(start['event'], 'start');
  assert.deepEqual(
    Object.keys(start).filter((key) => !['sequence', 'time'].includes(key)),
    ['event', 'run', 'config', 'parameters', 'world'],
  );
  const step = events.find(({ event }) => event === 'step');
  for (const key of ['step', 'tokens', 'loss', 'learningRate', 'gradientNorm', 'seconds', 'tokensPerSecond'])
    assert.equal(typeof step?.[key], 'number', key);
  assert.deepEqual(
    events.slice(-3).map(({ event, status }) => status ?? event),
    ['evaluation', 'checkpoint', 'finished'],
  );
});

test('the same seed gives bitwise the same losses, other threads the same to 1e-5, another seed others', async () => {
  const train = (...more: string[]): Promise<Outcome> => place.run('train', 'tiny.json', '--json', ...more);
  const first = lossesOf(await train());
  assert.equal(first.length, 30);
  assert.deepEqual(lossesOf(await train()), first);
  const threads = lossesOf(await train('--set', 'engine.threads=2'));
  first.forEach((loss, i) => assert.ok(Math.abs(loss / (threads[i] ?? Number.NaN) - 1) < 1e-5));
  assert.notDeepEqual(lossesOf(await train('--set', 'training.seed=7')), first);
});

test('a run that is stopped and resumed has bitwise the losses of one that was not', async () => {
  await place.write('long.json', tiny(3000));
  const whole = lossesOf(await place.run('train', 'long.json', '--json'));
  const running = place.start('train', 'long.json', '--json');
  await running.shows(/"step":40,/);
  running.child.kill('SIGINT');
  const first = await running.ended;
  assert.equal(first.code, 130);
  assert.equal(first.json().at(-1)?.['status'], 'stopped');
  const run = String(first.json()[0]?.['run']);
  const rest = await place.run('train', '--resume', run, '--json');
  assert.equal(rest.code, 0);
  assert.equal(rest.json()[0]?.['resumedFrom'], lossesOf(first).length);
  assert.deepEqual([...lossesOf(first), ...lossesOf(rest)], whole);
  const again = await place.run('train', '--resume', run);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /has finished all of its 3000 steps/);
});

test('--resume takes a configuration that agrees, and refuses one that does not', async () => {
  const running = place.start('train', 'endless.json');
  await running.shows(/loss/);
  running.child.kill('SIGINT');
  const stopped = await running.ended;
  assert.equal(stopped.code, 130);
  assert.match(stopped.stderr, /Stopping after this step with a checkpoint/);
  const run = /--resume (\S+)`/.exec(stopped.stderr)?.[1] ?? '';
  const refused = await place.run('train', 'endless.json', '--resume', run, '--set', 'training.seed=1');
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /training\.seed \(1, not 42\) differs from run/);
  const resumed = place.start('train', 'endless.json', '--resume', run);
  await resumed.shows(/Resumed after step \d+/);
  resumed.child.kill('SIGINT');
  assert.equal((await resumed.ended).code, 130);
});

test('--detach returns when the run has started, which goes on in the daemon', async () => {
  const outcome = await place.run('train', 'endless.json', '--detach', '--json');
  assert.equal(outcome.code, 0);
  const [summary] = outcome.json();
  const run = String(summary?.['run']);
  assert.equal(summary?.['state'], 'running');
  assert.equal((await show(run))['state'], 'running');
  const stop = await place.run('stop', run, '--json');
  assert.equal(stop.code, 0);
  assert.equal(stop.json()[0]?.['state'], 'stopped');
  const refused = await place.run('stop', run);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /not running: it is stopped/);
});

test('--set changes single keys: numbers, words, lists', async () => {
  const outcome = await place.run(
    ...['train', 'tiny.json', '--json', '--set', 'training.steps=2', '--set', 'name=changed'],
    ...['--set', 'training.optimizer.betas=[0.8,0.9]', '--set', 'data.tokenizer=byte'],
  );
  assert.equal(outcome.code, 0);
  const config = outcome.json()[0]?.['config'] as Record<string, Record<string, unknown>>;
  assert.equal(config['name'], 'changed');
  assert.equal(config['data']?.['tokenizer'], 'byte');
  assert.deepEqual((config['training']?.['optimizer'] as { betas: number[] }).betas, [0.8, 0.9]);
  assert.equal(lossesOf(outcome).length, 2);
});

test('a second Ctrl-C leaves a run that takes long to stop', async () => {
  // One step of 256 micro-batches takes far longer than the time between the two.
  const slow = {
    data: { dummy: true, tokenizer: 'byte' },
    training: { steps: 2, batchSize: 256, sequenceLength: 256 },
    parallel: { microBatches: 256 },
    engine: { threads: 1 },
  };
  await place.write('slow.json', slow);
  const running = place.start('train', 'slow.json', '--json');
  await running.shows(/"event":"start"/);
  running.child.kill('SIGINT');
  await running.shows(/Ctrl-C again leaves/);
  // Two within half a second count as one Ctrl-C.
  await setTimeout(600);
  running.child.kill('SIGINT');
  assert.equal((await running.ended).code, 130);
  const newest = (await place.run('runs', '--json')).json()[0] ?? {};
  assert.equal(newest['state'], 'running');
  assert.equal((await place.run('stop', String(newest['run']), '--force')).code, 0);
});

test('the run outlives the command that started it, killed with its whole process group', async () => {
  const child = spawn(process.execPath, [gptLab, 'train', 'endless.json'], {
    cwd: place.folder,
    env: { ...process.env, GPT_LAB_HOME: place.home },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const running = watch(child);
  await running.shows(/loss/);
  process.kill(-(child.pid ?? 0), 'SIGKILL');
  await running.ended;
  const before = await show('last');
  assert.equal(before['state'], 'running');
  const follow = place.start('logs', 'last', '--follow');
  await follow.shows(/started: \d+ parameters/);
  const after = (await place.run('stop', 'last', '--json')).json()[0];
  assert.ok(Number(after?.['step']) > Number(before['step']));
  assert.equal((await follow.ended).code, 0);
});

test('every problem of a configuration is told at once, with status 2', async () => {
  await writeFile(join(place.folder, 'empty.txt'), '');
  await mkdir(join(place.folder, 'folder'), { recursive: true });
  await place.write('wrong.json', {
    model: { widht: 32, heads: 'two', contextLength: 32 },
    data: { text: ['missing.txt', 'empty.txt', 'folder'] },
    training: { steps: -1, sequenceLength: 64, batchSize: 3 },
    parallel: { microBatches: 2 },
  });
  const { code, stdout, stderr } = await place.run('train', 'wrong.json', '--json');
  assert.equal(code, 2);
  assert.equal(stdout, '');
  const lines = stderr.split('\n');
  for (const problem of [
    /model\.widht is not known: did you mean width\? Allowed: preset, width, .*/,
    /model\.heads is "two": allowed is a (whole )?number/,
    /training\.steps is -1: allowed is at least 1/,
    /training\.sequenceLength is 64: allowed is at most model\.contextLength, 32/,
    /training\.batchSize is 3: allowed is a multiple of 2/,
    /data\.text is ".*missing\.txt": there is no such file/,
    /data\.text is ".*empty\.txt": the file is empty/,
    /data\.text is ".*folder": it is not a file/,
  ])
    assert.equal(lines.filter((line) => problem.test(line)).length, 1, `${String(problem)} in\n${stderr}`);
});

test('a file that is missing or no JSON, and a setting without a value, are invalid usage', async () => {
  const cases: [string[], RegExp][] = [
    [['train'], /CONFIG\.json is missing/],
    [['train', 'nowhere.json'], /nowhere\.json cannot be read: .*no such file/],
    [['train', 'text.txt'], /text\.txt is not JSON/],
    [
      ['train', 'tiny.json', '--set', 'training.steps'],
      /--set training\.steps: a key and a value are needed/,
    ],
    [['train', 'tiny.json', '--set', 'name.first=x'], /--set name\.first=x: name is no section/],
    [['train', 'tiny.json', '--set', '__proto__.x=1'], /__proto__ is not known/],
    [['train', 'tiny.json', 'other.json'], /"other\.json" is one argument too many/],
    [
      ['train', '--set', 'training.steps=1', '--resume', 'last'],
      /--set changes CONFIG\.json, which is missing/,
    ],
  ];
  for (const [args, text] of cases) {
    const { code, stderr, stdout } = await place.run(...args);
    assert.equal(code, 2, args.join(' '));
    assert.equal(stdout, '');
    assert.match(stderr, text);
  }
});

test('a run that fails ends with status 1, its reason, and where to look', async () => {
  await place.write('short.txt', 'short');
  const { code, stderr } = await place.run('train', 'tiny.json', '--set', 'data.text=["short.txt"]');
  assert.equal(code, 1);
  assert.match(stderr, /has failed: The text has 5 training tokens and one sequence needs 17/);
  assert.match(stderr, /gpt-lab logs \S+` shows/);
});

test('a terminal shows one line that is drawn again in place, and Ctrl-C in it stops the run', async (context) => {
  const command = `"${process.execPath}" "${gptLab}" train endless.json`;
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    cwd: place.folder,
    env: { ...process.env, GPT_LAB_HOME: place.home, COLUMNS: '100' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const spawned = await Promise.race([once(child, 'spawn'), once(child, 'error')]);
  if (spawned[0] instanceof Error) {
    context.skip('there is no `script` (util-linux) to make a terminal with');
    return;
  }
  const running = watch(child);
  await running.shows(/\r\u001b\[2K.*\d+\/1000000 {2}loss \d\.\d{3}/);
  child.stdin.write('\u0003');
  const { code, stdout } = await running.ended;
  assert.equal(code, 130);
  assert.match(stdout, /Stopping after this step with a checkpoint/);
  assert.match(stdout, /was stopped at step \d+ of 1000000/);
});
