import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import * as zeromq from 'zeromq';
import { connectDaemon, DaemonError, type DaemonClient } from '../../kernel/daemon/client.ts';
import { connectionPath, readConnectionFile } from '../../kernel/daemon/connection.ts';
import { distFile } from '../../kernel/home.ts';
import type { RunEvent } from '../../kernel/protocol/events.ts';
import { createTestHome, processGone, tinyConfiguration, type TestHome } from '../daemon-home.ts';

let lab: TestHome;
let client: DaemonClient;
beforeEach(async () => {
  lab = await createTestHome();
  client = await lab.connect();
});
afterEach(() => lab.end());

async function start(steps: number): Promise<string> {
  const config = tinyConfiguration('text.txt', steps);
  const { run } = await client.request('run.start', { config, baseDirectory: lab.home });
  return run;
}

/** Follows a run until an event of that kind. */
async function until(run: string, kind: RunEvent['event'], from = client): Promise<RunEvent> {
  for await (const batch of from.follow(run)) {
    const found = batch.find(({ event }) => event === kind);
    if (found) return found;
  }
  throw new Error(`Run ${run} ended without ${kind}`);
}

/** Rejects with a DaemonError of that code whose text matches. */
async function refused(request: Promise<unknown>, code: string, text: RegExp): Promise<void> {
  await assert.rejects(request, (error: unknown) => {
    assert.ok(error instanceof DaemonError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  });
}

const alive = (from: DaemonClient): Promise<unknown> => from.request('daemon.status', {});

test('a run trains, and its events can be replayed from any number without gap', async () => {
  const run = await start(30);
  const events: RunEvent[] = [];
  for await (const batch of client.follow(run)) events.push(...batch);
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, index) => index + 1),
  );
  assert.deepEqual(
    events.filter(({ event }) => event === 'step').map((event) => (event as { step: number }).step),
    Array.from({ length: 30 }, (_, index) => index + 1),
  );
  const replayed: RunEvent[] = [];
  for await (const batch of client.follow(run, { from: 12 })) replayed.push(...batch);
  assert.deepEqual(replayed, events.slice(11));
  const summary = await client.request('run.show', { run });
  assert.equal(summary.state, 'finished');
  assert.equal(summary.step, 30);
  assert.ok(summary.loss !== null && summary.validationLoss !== null && summary.checkpoint !== null);
  const { text, tokens } = await client.request('generate', { target: run, prompt: 'the', tokens: 5 });
  assert.equal(tokens, 5);
  assert.equal(typeof text, 'string');
  assert.ok((await client.request('evaluate', { target: run, text: lab.text })).loss > 0);
  await client.request('run.remove', { run });
  assert.deepEqual(await client.request('run.list', {}), []);
});

test('a run is stopped with a checkpoint, resumed, and goes on where it was', async () => {
  const run = await start(100_000);
  await until(run, 'step');
  const stopped = await client.request('run.stop', { run });
  assert.equal(stopped.state, 'stopped');
  assert.ok(stopped.checkpoint?.endsWith(String(stopped.step)));
  await refused(client.request('run.stop', { run }), 'wrong-state', /not running: it is stopped/);
  await client.request('run.resume', { run });
  for await (const batch of client.follow(run, { from: stopped.lastSequence + 1 })) {
    const first = batch.find(({ event }) => event === 'step');
    if (first?.event !== 'step') continue;
    assert.equal(first.step, stopped.step + 1);
    break;
  }
  await refused(client.request('run.remove', { run }), 'wrong-state', /stop it first/);
});

test('a configuration with mistakes is refused with all of them, unreadable and empty texts included', async () => {
  await writeFile(join(lab.home, 'empty.txt'), '');
  await mkdir(join(lab.home, 'folder'));
  const refuse = (config: unknown, text: RegExp): Promise<void> =>
    refused(client.request('run.start', { config, baseDirectory: lab.home }), 'invalid-configuration', text);
  const tiny = (over: Record<string, unknown>): unknown => ({ ...tinyConfiguration('text.txt', 5), ...over });
  await refuse(
    tiny({ data: { text: ['missing.txt', 'empty.txt', 'folder'] } }),
    /3 problems:\n.*missing\.txt.*no such file.*\n.*empty\.txt.*the file is empty.*\n.*folder.*not a file/,
  );
  await refuse(
    tiny({ training: { sequenceLength: 64, batchSize: 3 }, parallel: { microBatches: 2 } }),
    /sequenceLength is 64[^]*batchSize is 3/,
  );
  const short = await client.request('run.start', {
    config: tiny({
      training: { steps: 5, batchSize: 2, sequenceLength: 16 },
      data: { text: [await shortText()], tokenizer: 'byte' },
    }),
    baseDirectory: lab.home,
  });
  const end = await until(short.run, 'end');
  assert.ok(end.event === 'end' && end.status === 'failed');
  assert.match(end.error ?? '', /training tokens and one sequence needs 17/);
  await alive(client);
});

async function shortText(): Promise<string> {
  const path = join(lab.home, 'short.txt');
  await writeFile(path, 'short');
  return path;
}

test('a peer with a wrong key or without encryption gets no answer, and the daemon lives on', async () => {
  const file = readConnectionFile(lab.home);
  assert.ok(file);
  const stranger = zeromq.curveKeyPair();
  const attempts = [
    new zeromq.Dealer({
      curveServerKey: file.serverPublicKey,
      curvePublicKey: stranger.publicKey,
      curveSecretKey: stranger.secretKey,
      linger: 0,
    }),
    new zeromq.Dealer({ linger: 0 }),
  ];
  for (const dealer of attempts) {
    const refusal = new Promise<string>((resolve) => {
      for (const kind of [
        'handshake:error:auth',
        'handshake:error:protocol',
        'handshake:error:other',
        'disconnect',
      ] as const) {
        dealer.events.on(kind, () => resolve(kind));
      }
    });
    dealer.connect(file.requests);
    assert.ok(await refusal);
    dealer.close();
  }
  await alive(client);
});

test('malformed frames are dropped, unknown methods and bad parameters are refused', async () => {
  const file = readConnectionFile(lab.home);
  assert.ok(file);
  const dealer = new zeromq.Dealer({
    curveServerKey: file.serverPublicKey,
    curvePublicKey: file.clientPublicKey,
    curveSecretKey: file.clientSecretKey,
    linger: 0,
  });
  dealer.connect(file.requests);
  await dealer.send('not json');
  await dealer.send(['too', 'many', 'frames']);
  await dealer.send(JSON.stringify({ no: 'id' }));
  await dealer.send(Buffer.from([0xff, 0xfe, 0x00]));
  await dealer.send(JSON.stringify({ id: 7, method: 'run.fly', params: {} }));
  const answer = async (): Promise<unknown> => JSON.parse(String((await dealer.receive())[0])) as unknown;
  const unknown = (await answer()) as { id: number; error: { code: string } };
  assert.deepEqual([unknown.id, unknown.error.code], [7, 'unknown-method']);
  await dealer.send(JSON.stringify({ id: 8, method: 'run.events', params: { run: 'x', from: -1 } }));
  const invalid = (await answer()) as { error: { code: string; message: string } };
  assert.equal(invalid.error.code, 'invalid-parameters');
  assert.match(invalid.error.message, /from/);
  dealer.close();
  await refused(client.request('run.show', { run: 'nothing' }), 'not-found', /no run nothing/);
});

test('a rank that is killed becomes the error of its run, signal and process named', async () => {
  const run = await start(100_000);
  await until(run, 'step');
  const { pids } = await client.request('run.show', { run });
  process.kill(pids[0] ?? -1, 'SIGKILL');
  const end = await until(run, 'end');
  assert.ok(end.event === 'end' && end.status === 'failed');
  assert.match(end.error ?? '', new RegExp(`process ${pids[0]}.*SIGKILL.*memory`));
  await alive(client);
});

test('a client that is gone leaves its run; a daemon that is killed takes its ranks along and loses no event', async () => {
  const run = await start(1_000_000);
  await until(run, 'step');
  const { pid } = await client.request('daemon.status', {});
  client.close();
  const second = await lab.connect();
  const seen: number[] = [];
  for await (const batch of second.follow(run)) {
    seen.push(...batch.map(({ sequence }) => sequence));
    if (seen.length > 200) break;
  }
  const { pids } = await second.request('run.show', { run });
  process.kill(pid, 'SIGKILL');
  await second.closed;
  await Promise.all(pids.map(processGone));
  assert.equal(readConnectionFile(lab.home), undefined, 'the file of a dead daemon is stale');
  const third = await lab.connect();
  const summary = await third.request('run.show', { run });
  assert.equal(summary.state, 'interrupted');
  const { events } = await third.request('run.events', { run, limit: 50_000 });
  assert.ok(events.length > seen.length);
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, index) => index + 1),
  );
  assert.equal(events.at(-1)?.event, 'end');
});

test('a second daemon finds the first and says so; the connection file is for its owner alone', async () => {
  const { pid } = await client.request('daemon.status', {});
  const second = spawn(process.execPath, [distFile('kernel', 'daemon.js')], {
    env: { ...process.env, GPT_LAB_HOME: lab.home },
  });
  let said = '';
  second.stdout.on('data', (data: Buffer) => (said += data.toString()));
  const [code] = (await once(second, 'close')) as [number];
  assert.equal(code, 0);
  assert.match(said, new RegExp(`already runs: process ${pid} at tcp://127`));
  assert.equal((await stat(connectionPath(lab.home))).mode & 0o777, 0o600);
});

test('two who start the daemon at once end up with one', async () => {
  const other = await createTestHome();
  const clients = await Promise.all([other.connect(), other.connect(), other.connect()]);
  const pids = await Promise.all(clients.map((each) => each.request('daemon.status', {})));
  assert.equal(new Set(pids.map(({ pid }) => pid)).size, 1);
  await other.end();
});

test('an idle daemon ends itself, one with a run does not', async () => {
  const other = await createTestHome();
  process.env['GPT_LAB_IDLE_SECONDS'] = '0.2';
  const idle = await connectDaemon({ home: other.home }).finally(
    () => delete process.env['GPT_LAB_IDLE_SECONDS'],
  );
  const config = tinyConfiguration(other.text, 400);
  const { run } = await idle.request('run.start', { config, baseDirectory: '/' });
  const states: string[] = [];
  for await (const batch of idle.follow(run)) states.push(...batch.map(({ event }) => event));
  assert.equal(states.at(-1), 'end');
  await idle.closed;
  await other.end();
});
