import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { access, appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { packageVersion } from '../../kernel/home.ts';
import { killDaemon, processGone } from '../daemon-home.ts';
import { createWorkplace, gptLab, tiny, watch, type Workplace } from './gpt-lab.ts';

let place: Workplace;
let run = '';
before(async () => {
  place = await createWorkplace();
  run = String((await place.run('train', 'tiny.json', '--json')).json()[0]?.['run']);
});
after(() => place.end());

/** The one object that a command prints. */
async function json(...args: string[]): Promise<Record<string, unknown>> {
  const outcome = await place.run(...args, '--json');
  assert.equal(outcome.code, 0, outcome.stderr);
  const lines = outcome.json();
  assert.equal(lines.length, 1, outcome.stdout);
  return lines[0] ?? {};
}

/** What a command prints for people. */
async function text(...args: string[]): Promise<string> {
  const outcome = await place.run(...args);
  assert.equal(outcome.code, 0, outcome.stderr);
  return outcome.stdout;
}

/** The keys that are promised of a run. */
const promised = [
  'run',
  'name',
  'state',
  'step',
  'steps',
  'loss',
  'validationLoss',
  'tokensPerSecond',
].concat(['secondsLeft', 'pids', 'error']);

test('runs lists every run, newest first; show tells all of one, by id, by its beginning, by `last`', async () => {
  const second = String(
    (await place.run('train', 'tiny.json', '--json', '--set', 'name=second')).json()[0]?.['run'],
  );
  const list = (await place.run('runs', '--json')).json();
  assert.deepEqual(
    list.map((each) => each['run']),
    [second, run],
  );
  for (const each of [...list, await json('show', run)])
    for (const key of promised) assert.ok(key in each, key);
  const table = await text('runs');
  assert.match(table, /^RUN +NAME +STATE +STEP +LOSS/);
  assert.match(table, new RegExp(`${run} +tiny +finished +30/30 +\\d\\.\\d{3}`));
  let common = 0;
  while (run[common] === second[common]) common++;
  assert.equal((await json('show', run.slice(0, common + 1)))['run'], run);
  assert.equal((await json('show', 'last'))['run'], second);
  const shown = await text('show', run);
  assert.match(shown, new RegExp(`^tiny \\(${run}\\): finished, step 30 of 30, loss`));
  assert.match(shown, /checkpoint {2}\/.*step-00000030/);
  const both = await place.run('show', run.slice(0, 8));
  assert.equal(both.code, 1);
  assert.match(both.stderr, /2 runs start with \d{8}: .*second/);
  const none = await place.run('show', 'nothing');
  assert.equal(none.code, 1);
  assert.match(none.stderr, /There is no run nothing: the newest are/);
});

test('logs shows what the processes wrote, and follows a run to its end', async () => {
  assert.match(
    await text('logs', run),
    /train on native.*\n[^]*started: \d+ parameters\n[^]*step 30: checkpoint .*\n/,
  );
  const lines = (await place.run('logs', run, '--json')).json();
  assert.ok(lines.length > 3 && lines.every(({ line }) => typeof line === 'string'));
  const { directory } = await json('show', run);
  // Longer than one piece, its cuts in the midst of characters.
  const long = 'x鯨🐋'.repeat(120_000);
  await appendFile(join(String(directory), 'log'), `${long}\n`);
  assert.ok((await text('logs', run)).endsWith(`${long}\n`));

  const { run: other } = await json('train', 'endless.json', '--detach');
  const following = place.start('logs', String(other), '--follow');
  await following.shows(/started/);
  await place.run('stop', String(other));
  const { code, stdout } = await following.ended;
  assert.equal(code, 0);
  assert.match(stdout, /checkpoint .*\n.*stopped\n$/);
});

test('generate continues a text as the options say, from a run or a checkpoint folder', async () => {
  const options = ['--prompt', 'the quick', '--tokens', '12'];
  const sampled = await json('generate', run, ...options, '--seed', '3');
  assert.equal(sampled['prompt'], 'the quick');
  assert.equal(String(sampled['text']).length, 12);
  assert.equal((await json('generate', run, ...options, '--seed', '3'))['text'], sampled['text']);
  assert.notEqual((await json('generate', run, ...options, '--seed', '4'))['text'], sampled['text']);
  const greedy = await json('generate', run, ...options, '--temperature', '0');
  const { checkpoint } = await json('show', run);
  const ofFolder = await json('generate', String(checkpoint), ...options, '--topK', '1', '--seed', '9');
  assert.equal(ofFolder['text'], greedy['text']);
  const { stdout, stderr } = await place.run('generate', run, ...options, '--temperature', '0');
  assert.equal(stdout, `the quick${String(greedy['text'])}\n`);
  assert.match(stderr, /12 tokens in .* s/);
  const unknown = await place.run('generate', run, '--prompt', 'Ω');
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /character "Ω" is not among the \d+ characters/);
  const wrong = await place.run('generate', run, '--tokens', '0', '--topP', '1.5', '--temperature', 'hot');
  assert.equal(wrong.code, 2);
  assert.match(
    wrong.stderr,
    /--prompt TEXT is missing\n--tokens is "0": a whole number from 1 to 100000 is needed\n--temperature is "hot": .*\n--topP is "1\.5": /,
  );
});

test('evaluate measures a text in nats per token and perplexity', async () => {
  const { loss, perplexity, tokens } = await json('evaluate', run, '--text', 'text.txt');
  assert.ok(Math.abs(Math.exp(Number(loss)) - Number(perplexity)) < 1e-9);
  // Whole windows of 16: what is left over at the end is not looked at.
  assert.equal(
    tokens,
    Math.floor(((await readFile(join(place.folder, 'text.txt'), 'utf8')).length - 1) / 16) * 16,
  );
  assert.match(
    await text('evaluate', run, '--text', 'text.txt'),
    /^loss \d\.\d{4} nats per token, perplexity/,
  );
  const missing = await place.run('evaluate', run, '--text', 'missing.txt');
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /missing\.txt cannot be read: .*no such file/);
  const noModel = await place.run('evaluate', '.', '--text', 'text.txt');
  assert.equal(noModel.code, 1);
  assert.match(noModel.stderr, /is not a checkpoint: it has no manifest\.json/);
});

test('export writes a row per step, each once, as a table or as JSON', async () => {
  await place.write('pausing.json', tiny(400));
  const paused = place.start('train', 'pausing.json', '--json', '--set', 'training.evaluateEvery=200');
  await paused.shows(/"step":20,/);
  paused.child.kill('SIGINT');
  await paused.ended;
  await place.run('train', '--resume', 'last', '--json');
  assert.deepEqual(await json('export', 'last', '--format', 'csv', '--to', 'out.csv'), {
    ...{ path: join(place.folder, 'out.csv'), rows: 400 },
  });
  const [head, ...rows] = (await readFile(join(place.folder, 'out.csv'), 'utf8')).trimEnd().split('\r\n');
  assert.equal(
    head,
    'step,tokens,loss,validationLoss,learningRate,gradientNorm,seconds,tokensPerSecond,time',
  );
  const fields = rows.map((row) => row.split(','));
  assert.deepEqual(
    fields.map(([step]) => Number(step)),
    fields.map((_, index) => index + 1),
  );
  assert.deepEqual(
    fields.flatMap(([step, , , validation]) => (validation === '' ? [] : [step])),
    ['200', '400'],
  );
  await json('export', 'last', '--format', 'json', '--to', 'out.json');
  const { metrics, config, state } = JSON.parse(await readFile(join(place.folder, 'out.json'), 'utf8')) as {
    metrics: { loss: number }[];
    config: { training: { steps: number } };
    state: string;
  };
  assert.deepEqual([metrics.length, config.training.steps, state], [400, 400, 'finished']);
  assert.equal(String(metrics[399]?.loss), fields[399]?.[2]);
  const wrong = await place.run('export', 'last', '--format', 'xml', '--to', 'x');
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /--format is "xml": allowed is csv or json/);
});

test('remove deletes an ended run with all that it wrote', async () => {
  const { run: doomed, directory } = await json('train', 'endless.json', '--detach');
  const refused = await place.run('remove', String(doomed));
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /is running: stop it first/);
  assert.match(await text('stop', String(doomed), '--force'), /stopped, step \d+ of 1000000/);
  assert.deepEqual(await json('remove', String(doomed)), { removed: doomed });
  await assert.rejects(access(String(directory)));
  assert.equal((await place.run('show', String(doomed))).code, 1);
});

test('daemon start, status and stop: one daemon, refused while runs go on, gone when stop returns', async () => {
  const status = await json('daemon', 'status');
  assert.deepEqual([status['version'], status['home']], [packageVersion(), place.home]);
  const endpoints = status['endpoints'] as Record<string, string>;
  for (const address of [endpoints['requests'], endpoints['events']])
    assert.match(address ?? '', /^tcp:\/\/127\.0\.0\.1:\d+$/);
  assert.equal((await json('daemon', 'start'))['pid'], status['pid']);
  assert.match(await text('daemon', 'status'), new RegExp(`process ${String(status['pid'])}.*\n.*\n.*tcp`));

  const { run: going } = await json('train', 'endless.json', '--detach');
  const refused = await place.run('daemon', 'stop');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /1 run\(s\) go on .*use force/);
  assert.deepEqual(await json('daemon', 'stop', '--force'), { stopped: true, pid: status['pid'] });
  await processGone(Number(status['pid']));
  const none = await place.run('daemon', 'status', '--json');
  assert.deepEqual([none.code, none.stdout], [1, '']);
  assert.match(none.stderr, /No daemon runs for .*: `gpt-lab daemon start` starts one/);
  assert.deepEqual(await json('daemon', 'stop'), { stopped: false });
  const again = await json('daemon', 'start');
  assert.notEqual(again['pid'], status['pid']);
  assert.equal((await json('show', String(going)))['state'], 'stopped');
});

test('a run whose daemon was killed is shown as interrupted', async () => {
  const { run: cut } = await json('train', 'endless.json', '--detach');
  await killDaemon(place.home);
  const shown = await json('show', String(cut));
  assert.equal(shown['state'], 'interrupted');
  assert.deepEqual(shown['pids'], []);
});

test('a relative GPT_LAB_HOME is meant from where the command is called', async () => {
  const child = spawn(process.execPath, [gptLab, 'runs', '--json'], {
    cwd: place.folder,
    env: { ...process.env, GPT_LAB_HOME: 'home' },
  });
  const { code, stdout } = await watch(child).ended;
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(run));
});

test('kernel install writes a kernelspec whose paths exist', async () => {
  const { kernel, directory } = await json('kernel', 'install', '--prefix', 'venv');
  assert.equal(kernel, 'gpt-lab');
  assert.equal(directory, join(place.folder, 'venv', 'share', 'jupyter', 'kernels', 'gpt-lab'));
  const spec = JSON.parse(await readFile(join(directory, 'kernel.json'), 'utf8')) as {
    argv: string[];
    interrupt_mode: string;
    language: string;
  };
  assert.deepEqual(
    [spec.language, spec.interrupt_mode, spec.argv.at(-1)],
    ['typescript', 'message', '{connection_file}'],
  );
  for (const path of spec.argv.slice(0, 2)) await access(path);
  assert.equal((await place.run('kernel', 'install', '--user', '--prefix', 'x')).code, 2);
});

test('doctor looks at all that training needs', async () => {
  const findings = (await place.run('doctor', '--json')).json();
  assert.deepEqual(
    findings.map(({ check }) => check),
    ['node', 'build', 'engine', 'cpu', 'memory', 'home', 'disk', 'daemon', 'kernelspec', 'editor'],
  );
  assert.deepEqual(
    findings.filter(({ status }) => status === 'fail'),
    [],
  );
  const { code, stdout } = await place.run('doctor');
  assert.equal(code, 0);
  assert.match(stdout, /✓ ok {4}engine {6}native on .*threads, \w+\n/);
});

test('help says how to use the command and each of its parts; what it does not know is invalid usage', async () => {
  const overview = await text('--help');
  for (const name of ['train', 'runs', 'show', 'logs', 'stop', 'remove', 'generate', 'evaluate'].concat([
    'daemon start',
    'daemon status',
    'daemon stop',
    'kernel install',
    'doctor',
  ])) {
    assert.match(overview, new RegExp(`\n  ${name} +\\S`));
    assert.match(await text(...name.split(' '), '--help'), new RegExp(`Usage: gpt-lab ${name}.*[^]*--json`));
  }
  assert.equal((await text('--version')).trim(), packageVersion());
  assert.equal((await place.run()).code, 2);
  const unknown = await place.run('fly');
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /"fly" is no command: train, plan, runs/);
  const group = await place.run('daemon', 'restart');
  assert.equal(group.code, 2);
  assert.match(group.stderr, /"daemon restart" is no command: daemon start, daemon status, daemon stop/);
  const options = await place.run('runs', '--all', '--json=yes', 'extra');
  assert.equal(options.code, 2);
  assert.match(
    options.stderr,
    /--all is no option.*\n--json takes no value.*\n"extra" is one argument too many/,
  );
});
