/** The daemon's own life and death, and that of its ranks. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { connectDaemon, type DaemonClient } from '../../kernel/daemon/client.ts';
import { connectionPath, readConnectionFile } from '../../kernel/daemon/connection.ts';
import { distFile } from '../../kernel/home.ts';
import {
  assertNumbered,
  createTestHome,
  eventsOf,
  eventually,
  killDaemon,
  processGone,
  refused,
  startTiny,
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

const pidOf = async (from: DaemonClient): Promise<number> => (await from.request('daemon.status', {})).pid;

/** Starts a daemon that gets these variables. */
async function connectWith(home: string, variables: Record<string, string>): Promise<DaemonClient> {
  const before = { ...process.env };
  Object.assign(process.env, variables);
  try {
    return await connectDaemon({ home });
  } finally {
    for (const name of Object.keys(variables)) {
      if (before[name] === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = before[name];
    }
  }
}

test('a rank that is killed becomes the error of its run, signal and process named', async () => {
  const run = await startTiny(client, lab, 100_000);
  await until(client, run, 'step');
  const { pids } = await client.request('run.show', { run });
  assert.ok(pids[0]);
  process.kill(pids[0], 'SIGKILL');
  const end = await until(client, run, 'end');
  assert.equal(end.status, 'failed');
  assert.match(end.error ?? '', new RegExp(`process ${pids[0]}\\) ended by signal SIGKILL.*memory`));
  await client.request('run.resume', { run });
  await until(client, run, 'step', end.sequence + 1);
});

test('a rank that runs out of heap says so, with the last lines of its stderr', async () => {
  await client.request('daemon.stop', {});
  await client.closed;
  // A few hundred thousand distinct words do not fit into 40 MB, the rest of the rank and the daemon do.
  const words = Array.from({ length: 400_000 }, (_, i) => `${(i * 7919).toString(36)}x${i.toString(36)}`);
  await writeFile(lab.text, words.join(' '));
  const small = await connectWith(lab.home, { NODE_OPTIONS: '--max-old-space-size=40' });
  const config = { ...tinyConfiguration(lab.text, 5), data: { text: [lab.text], tokenizer: 'bpe' } };
  const { run } = await small.request('run.start', { config, baseDirectory: '/' });
  const end = await until(small, run, 'end');
  assert.equal(end.status, 'failed');
  assert.match(end.error ?? '', /ended by signal SIGABRT: it ran out of memory\. Use a smaller model/);
  assert.match(end.error ?? '', /\n.*heap out of memory/);
  let log = '';
  for (let offset = 0; ;) {
    const part = await small.request('run.logs', { run, offset });
    if (part.text === '') break;
    log += part.text;
    offset = part.offset;
  }
  assert.match(log, /heap out of memory/);
  small.close();
});

test('a model that does not fit into memory fails its run, and the daemon lives on', async () => {
  const config = {
    data: { dummy: true, tokenizer: 'byte' },
    training: { steps: 1, batchSize: 2 ** 40 },
  };
  const { run } = await client.request('run.start', { config, baseDirectory: lab.home });
  const end = await until(client, run, 'end');
  assert.equal(end.status, 'failed');
  assert.match(end.error ?? '', /Out of memory: a tensor of \d+ elements.*Use a smaller model/);
});

test('a daemon that is killed takes its ranks along, loses no event, and marks the run interrupted', async () => {
  const run = await startTiny(client, lab, 1_000_000);
  await until(client, run, 'step');
  const pid = await pidOf(client);
  client.close();
  const second = await lab.connect();
  const seen: number[] = [];
  let killed = false;
  const following = (async () => {
    for await (const batch of second.follow(run)) {
      seen.push(...batch.map(({ sequence }) => sequence));
      if (seen.length > 200 && !killed) process.kill(pid, 'SIGKILL');
      killed ||= seen.length > 200;
    }
  })();
  const { pids } = await second.request('run.show', { run });
  await assert.rejects(following, /connection to the training daemon was lost/);
  await Promise.all(pids.map(processGone));
  assert.equal(readConnectionFile(lab.home), undefined, 'the file of a dead daemon is stale');

  const third = await lab.connect();
  const summary = await third.request('run.show', { run });
  assert.equal(summary.state, 'interrupted');
  assert.match(summary.error ?? '', /daemon ended while this run went on: resume it/);
  const events = await eventsOf(third, run);
  assertNumbered(events);
  assert.ok(events.length > seen.length);
  assert.equal(events.at(-1)?.event, 'end');
  await third.request('run.resume', { run });
  await until(third, run, 'step', summary.lastSequence + 1);
});

test('a daemon that the system ends stops its runs with a checkpoint', async () => {
  const run = await startTiny(client, lab, 1_000_000);
  await until(client, run, 'step');
  const pid = await pidOf(client);
  process.kill(pid, 'SIGTERM');
  await eventually(() => readConnectionFile(lab.home) === undefined);
  // Whoever asks while it is ending gets the next daemon.
  const next = await lab.connect();
  assert.notEqual(await pidOf(next), pid);
  const { state, checkpoint, step } = await next.request('run.show', { run });
  assert.equal(state, 'stopped');
  assert.ok(checkpoint?.endsWith(String(step)));
});

test('a stop of the daemon is refused while a run goes on, unless by force; the next request starts another', async () => {
  const run = await startTiny(client, lab, 1_000_000);
  await until(client, run, 'step');
  await refused(client.request('daemon.stop', {}), 'wrong-state', new RegExp(`${run}.*stop them first`));
  const pid = await pidOf(client);
  await client.request('daemon.stop', { force: true });
  const next = await lab.connect();
  assert.notEqual(await pidOf(next), pid);
  assert.equal((await next.request('run.show', { run })).state, 'stopped');
});

test('a second daemon finds the first and says so; the connection file is for its owner alone', async () => {
  const pid = await pidOf(client);
  const second = spawn(process.execPath, [distFile('kernel', 'daemon.js')], {
    env: { ...process.env, GPT_LAB_HOME: lab.home },
  });
  let said = '';
  second.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const [code] = (await once(second, 'close')) as [number];
  assert.equal(code, 0);
  assert.match(said, new RegExp(`already runs: process ${pid} at tcp://127`));
  assert.equal((await stat(connectionPath(lab.home))).mode & 0o777, 0o600);
  assert.equal(await pidOf(client), pid);
});

test('a connection file that names no living daemon is recognised and replaced', async () => {
  const content = JSON.parse(await readFile(connectionPath(lab.home), 'utf8')) as Record<string, unknown>;
  await killDaemon(lab.home);
  const stale = {
    'a dead process': JSON.stringify(content),
    'a process that has got the number since': JSON.stringify({ ...content, pid: process.pid }),
    'half a file': JSON.stringify(content).slice(0, 100),
    'another version': JSON.stringify({ ...content, version: 2 }),
  };
  for (const [what, text] of Object.entries(stale)) {
    await writeFile(connectionPath(lab.home), text);
    await assert.rejects(connectDaemon({ home: lab.home, start: false }), /No training daemon runs/, what);
    const next = await lab.connect();
    assert.notEqual(await pidOf(next), content['pid'], what);
    await killDaemon(lab.home);
  }
});

test('several who start the daemon at once end up with one', async () => {
  const other = await createTestHome();
  const clients = await Promise.all([other.connect(), other.connect(), other.connect(), other.connect()]);
  assert.equal(new Set(await Promise.all(clients.map(pidOf))).size, 1);
  await other.end();
});

test('a daemon that cannot start says why', async () => {
  const other = await createTestHome();
  await writeFile(
    join(other.home, 'runs.sqlite'),
    'this is no database, though long enough to be looked at '.repeat(40),
  );
  await assert.rejects(
    other.connect(),
    /ended at once \(1\).*[^]*run store in .* cannot be opened: .*database/,
  );
  await other.end();
});

test('an idle daemon ends itself, one with a run does not', async () => {
  const other = await createTestHome();
  const idle = await connectWith(other.home, { GPT_LAB_IDLE_SECONDS: '0.2' });
  const run = await startTiny(idle, other, 400);
  assert.equal((await eventsOf(idle, run)).at(-1)?.event, 'end');
  await idle.closed;
  assert.equal(readConnectionFile(other.home), undefined);
  await other.end();
});
