/** The life of runs: replayed, stopped, resumed, removed, whoever comes and goes meanwhile. */
import assert from 'node:assert/strict';
import { access, mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import type { RunEvent } from '../../kernel/protocol/events.ts';
import {
  assertNumbered,
  createTestHome,
  eventsOf,
  eventually,
  refused,
  startTiny,
  summaryThat,
  tinyConfiguration,
  until,
  type TestHome,
} from '../daemon-home.ts';

let lab: TestHome;
let client: DaemonClient;
beforeEach(async () => {
  lab = await createTestHome();
  client = await lab.connect();
});
afterEach(() => lab.end());

const stepsOf = (events: readonly RunEvent[]): number[] =>
  events.flatMap((event) => (event.event === 'step' ? [event.step] : []));

const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

test('a run trains, can be replayed from any number, samples, evaluates and is removed', async () => {
  const run = await startTiny(client, lab, 30);
  const events = await eventsOf(client, run);
  assertNumbered(events);
  assert.deepEqual(stepsOf(events), upTo(30));
  assert.deepEqual(await eventsOf(client, run, 12), events.slice(11));
  assert.deepEqual(await eventsOf(client, run, events.length + 5), []);
  const summary = await client.request('run.show', { run });
  assert.deepEqual(
    [summary.state, summary.step, summary.lastSequence, summary.pids],
    ['finished', 30, events.length, []],
  );
  assert.ok(summary.loss !== null && summary.validationLoss !== null && summary.checkpoint !== null);

  const pieces: string[] = [];
  const sampled = await client.request(
    'generate',
    { target: run, prompt: 'the', tokens: 5 },
    { onProgress: (piece) => pieces.push((piece as { text: string }).text) },
  );
  assert.equal(sampled.tokens, 5);
  assert.equal(pieces.join(''), sampled.text);
  const ofRun = await client.request('evaluate', { target: run, text: lab.text });
  const ofFolder = await client.request('evaluate', { target: summary.checkpoint, text: lab.text });
  assert.deepEqual(ofFolder, ofRun);
  assert.ok(Math.abs(Math.log(ofRun.perplexity) - ofRun.loss) < 1e-9);

  await client.request('run.remove', { run });
  assert.deepEqual(await client.request('run.list', {}), []);
  await assert.rejects(access(summary.directory));
});

test('followers that join while events flow, from any number, see no gap and no event twice', async () => {
  const run = await startTiny(client, lab, 3000);
  const others = await Promise.all([lab.connect(), lab.connect()]);
  const followers: Promise<{ from: number; events: RunEvent[] }>[] = [];
  const join = (each: DaemonClient, from: number): void => {
    followers.push(eventsOf(each, run, from).then((events) => ({ from, events })));
  };
  let seen = 0;
  for await (const batch of client.follow(run)) {
    seen += batch.length;
    const newest = batch.at(-1)?.sequence ?? 1;
    if (followers.length >= 40 || seen < followers.length * 60) continue;
    for (const each of others)
      join(each, [1, Math.ceil(newest / 2), newest, newest + 3][followers.length % 4] ?? 1);
  }
  assert.ok(followers.length >= 8, `${followers.length} followers`);
  const { lastSequence } = await client.request('run.show', { run });
  for (const { from, events } of await Promise.all(followers)) {
    assertNumbered(events, from);
    assert.equal(events.length, lastSequence - from + 1);
  }
});

test('a reader that is slower than the run gets every event all the same', async () => {
  const run = await startTiny(client, lab, 2000);
  const events: RunEvent[] = [];
  let waited = false;
  for await (const batch of client.follow(run)) {
    events.push(...batch);
    if (!waited) await summaryThat(client, run, ({ state }) => state === 'finished');
    waited = true;
  }
  assertNumbered(events);
  assert.deepEqual(stepsOf(events), upTo(2000));
});

test('a run is stopped with a checkpoint, resumed, and goes on where it was', async () => {
  const run = await startTiny(client, lab, 100_000);
  await until(client, run, 'step');
  const stopped = await client.request('run.stop', { run });
  assert.equal(stopped.state, 'stopped');
  assert.ok(stopped.checkpoint?.endsWith(String(stopped.step)));
  await refused(client.request('run.stop', { run }), 'wrong-state', /not running: it is stopped/);
  // No process is left that could hold them up.
  await client.request('run.resume', { run });
  const start = await until(client, run, 'start', stopped.lastSequence + 1);
  assert.equal(start.resumedFrom, stopped.step);
  const first = await until(client, run, 'step', start.sequence);
  assert.equal(first.step, stopped.step + 1);
  await refused(client.request('run.resume', { run }), 'wrong-state', /is running/);
  await refused(client.request('run.remove', { run }), 'wrong-state', /stop it first/);
});

test('a run can be removed or resumed as soon as its end is known', async () => {
  for (let round = 0; round < 5; round++) {
    const run = await startTiny(client, lab, 3);
    await eventsOf(client, run);
    await refused(client.request('run.resume', { run }), 'wrong-state', /has finished all of its 3 steps/);
    await client.request('run.remove', { run });
  }
});

test('a stop by force ends a run at once and says what is lost', async () => {
  const run = await startTiny(client, lab, 100_000);
  await until(client, run, 'step');
  const stopped = await client.request('run.stop', { run, force: true });
  assert.deepEqual([stopped.state, stopped.checkpoint, stopped.error], ['stopped', null, null]);
  const warning = await until(client, run, 'warning');
  assert.equal(warning.code, 'killed');
  assert.match(warning.message, /without a last checkpoint: steps after the start are lost/);
});

test('a stop is heard while the text is being read, and the run can be resumed from its start', async () => {
  const text = join(lab.home, 'long.txt');
  // 30 MB: longer to tokenise than a stop takes to arrive, whatever the machine.
  await writeFile(text, (await readFile(lab.text, 'utf8')).repeat(12_000));
  const { tokenizer, ...data } = { text: [text], tokenizer: 'gpt2' };
  const config = { ...tinyConfiguration(text, 2), data: { ...data, tokenizer } };
  const started = client.request('run.start', { config, baseDirectory: lab.home });
  const run = (await started).run;
  const { phase } = await summaryThat(
    client,
    run,
    (summary) => summary.phase?.startsWith('tokenising') ?? false,
  );
  assert.equal(phase, 'tokenising long.txt');
  const stopped = await client.request('run.stop', { run });
  assert.deepEqual([stopped.state, stopped.step, stopped.checkpoint], ['stopped', 0, null]);
  await truncate(text, 100_000);
  await client.request('run.resume', { run });
  const end = await until(client, run, 'end', stopped.lastSequence + 1);
  assert.equal(end.status, 'finished');
});

test('a resumed run keeps its tokenizer and says when the text has changed', async () => {
  const config = { ...tinyConfiguration(lab.text, 100_000), data: { text: [lab.text], tokenizer: 'char' } };
  const { run } = await client.request('run.start', { config, baseDirectory: lab.home });
  await until(client, run, 'step');
  const stopped = await client.request('run.stop', { run });
  // The text has lost a character of the vocabulary: learned anew, it would have other ids.
  await writeFile(lab.text, (await readFile(lab.text, 'utf8')).replaceAll('q', 'k'));
  await client.request('run.resume', { run });
  const warning = await until(client, run, 'warning', stopped.lastSequence + 1);
  assert.equal(warning.code, 'text-changed');
  await until(client, run, 'step', warning.sequence);
});

test('what a client asked for ends when it cancels, and when it is gone', async (context) => {
  const { pid } = await client.request('daemon.status', {});
  const processes = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(processes)) {
    context.skip('the children of a process can only be seen on Linux');
    return;
  }
  const run = await startTiny(client, lab, 3);
  await eventsOf(client, run);
  const tokens = { target: run, prompt: 'the', tokens: 100_000 };
  for (const leave of ['cancel', 'close'] as const) {
    const other = await lab.connect();
    const controller = new AbortController();
    const sampling = new Promise<void>((resolve, reject) => {
      other
        .request('generate', tokens, { onProgress: () => resolve(), signal: controller.signal })
        .catch(reject);
    });
    await sampling;
    assert.notEqual(readFileSync(processes, 'utf8'), '');
    if (leave === 'cancel') controller.abort();
    else other.close();
    await eventually(() => readFileSync(processes, 'utf8') === '', `Sampling goes on after ${leave}`);
  }
});

test('a configuration with mistakes is refused with all of them, unreadable and empty texts included', async () => {
  await writeFile(join(lab.home, 'empty.txt'), '');
  await mkdir(join(lab.home, 'folder'));
  assert.equal(spawnSync('mkfifo', [join(lab.home, 'pipe')]).status, 0);
  await refused(
    client.request('run.start', {
      config: {
        data: { text: ['missing.txt', 'empty.txt', 'folder', 'pipe'], tokenizer: 'morse' },
        training: { sequenceLength: 257, batchSize: 3, velocity: 1 },
        parallel: { microBatches: 2 },
      },
      baseDirectory: lab.home,
    }),
    'invalid-configuration',
    new RegExp(
      [
        'has 8 problems:',
        '  data\\.tokenizer is "morse": allowed is "gpt2", "bpe", "byte", "char"',
        '  training\\.velocity is not known: Allowed: steps.*',
        '  training\\.sequenceLength is 257: allowed is at most model\\.contextLength, 256',
        '  training\\.batchSize is 3: allowed is a multiple of 2.*',
        '  data\\.text is ".*missing\\.txt": there is no such file.*',
        '  data\\.text is ".*empty\\.txt": the file is empty.*',
        '  data\\.text is ".*folder": it is not a file.*',
        '  data\\.text is ".*pipe": it is not a file.*',
      ].join('\\n'),
    ),
  );
  assert.deepEqual(await client.request('run.list', {}), []);
});

test('a text that only its rank can find fault with fails the run with a reason', async () => {
  const write = async (name: string, bytes: string | Buffer): Promise<string> => {
    await writeFile(join(lab.home, name), bytes);
    return name;
  };
  const cases: [string, RegExp][] = [
    [await write('short.txt', 'short'), /5 training tokens and one sequence needs 17: use a longer text/],
    [
      await write('latin.txt', Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x20, 0x20])),
      /latin\.txt is not a UTF-8 text/,
    ],
  ];
  for (const [text, reason] of cases) {
    const config = {
      ...tinyConfiguration(text, 5),
      data: { text: [text], tokenizer: 'char', validation: 0 },
    };
    const { run } = await client.request('run.start', { config, baseDirectory: lab.home });
    const end = await until(client, run, 'end');
    assert.equal(end.status, 'failed');
    assert.match(end.error ?? '', reason);
  }
});
