/** Runs on several ranks through the daemon: one process each, watched together, ended together. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import { readConnectionFile } from '../../kernel/daemon/connection.ts';
import type { ParallelConfiguration } from '../../kernel/protocol/configuration.ts';
import type { RunEvent } from '../../kernel/protocol/events.ts';
import {
  createTestHome,
  eventsOf,
  processGone,
  refused,
  summaryThat,
  tinyConfiguration,
  until,
  type TestHome,
} from '../daemon-home.ts';
import { largestDifference } from './training-ranks.ts';
import { mappedSegments } from './ranks.ts';

let lab: TestHome;
let client: DaemonClient;
beforeEach(async () => {
  lab = await createTestHome();
  client = await lab.connect();
});
afterEach(() => lab.end());

async function start(parallel: ParallelConfiguration, steps: number): Promise<string> {
  const tiny = tinyConfiguration(lab.text, steps);
  const config = {
    ...tiny,
    model: { layers: 2, width: 32, heads: 2, contextLength: 32 },
    training: { ...(tiny['training'] as object), batchSize: 8, optimizer: { learningRate: 1e-3 } },
    parallel,
  };
  const { run } = await client.request('run.start', { config, baseDirectory: lab.home });
  return run;
}

const lossesOf = (events: readonly RunEvent[]): number[] =>
  events.flatMap((event) => (event.event === 'step' ? [event.loss ?? Number.NaN] : []));

test('a run on four ranks has the losses of one, is stopped, resumed and asked for text', async () => {
  const layout = { data: 2, pipeline: 2, zero: 2, microBatches: 2 } as const;
  const one = lossesOf(await eventsOf(client, await start({}, 30)));
  const run = await start(layout, 30);
  const first = await until(client, run, 'start');
  assert.equal(first.world, 4);
  const four = lossesOf(await eventsOf(client, run));
  assert.ok(largestDifference(four, one) < 1e-5);
  const sampled = await client.request('generate', { target: run, prompt: 'the', tokens: 5 });
  assert.equal(sampled.tokens, 5);

  const long = await start(layout, 100_000);
  await until(client, long, 'step');
  let shown = await client.request('run.show', { run: long });
  // Each rank tells how it stands when it has taken its first step.
  while (shown.ranks?.length !== 4) shown = await client.request('run.show', { run: long });
  const { pids, ranks } = shown;
  assert.equal(new Set(pids).size, 4);
  assert.deepEqual(
    ranks.map(({ rank }) => rank),
    [0, 1, 2, 3],
  );
  for (const { peakTensorBytes, tensorBytes } of ranks)
    assert.ok(peakTensorBytes >= tensorBytes && tensorBytes > 0);
  const stopped = await client.request('run.stop', { run: long });
  assert.equal(stopped.state, 'stopped');
  assert.match(stopped.checkpoint ?? '', /step-\d+$/);
  await Promise.all(pids.map(processGone));
  await client.request('run.resume', { run: long });
  const resumed = await until(client, long, 'start', stopped.lastSequence + 1);
  assert.equal(resumed.resumedFrom, stopped.step);
  const sampledLive = await client.request('generate', { target: long, prompt: 'the', tokens: 3 });
  assert.equal(sampledLive.tokens, 3);
  await client.request('run.stop', { run: long });
});

test('a rank that is killed ends the run with its number and what the others waited for, and no process is left', async () => {
  for (const victim of [0, 2]) {
    const run = await start({ data: 4, zero: 1 }, 1_000_000);
    await until(client, run, 'step');
    const { pids } = await client.request('run.show', { run });
    assert.equal(pids.length, 4);
    process.kill(pids[victim] ?? 0, 'SIGKILL');
    const ended = await summaryThat(client, run, ({ state }) => state !== 'running');
    assert.equal(ended.state, 'failed');
    assert.match(
      ended.error ?? '',
      new RegExp(`^Rank ${victim} \\(process ${pids[victim]}\\) ended by signal SIGKILL`),
    );
    assert.match(ended.error ?? '', new RegExp(`Rank \\d in \\w+.*: rank ${victim} \\(pid \\d+\\) has died`));
    await Promise.all(pids.map(processGone));
    assert.equal((await mappedSegments(pids)).size, 0);
  }
});

test('when the daemon is killed, all ranks end', async () => {
  const run = await start({ data: 2, pipeline: 2, microBatches: 2 }, 1_000_000);
  await until(client, run, 'step');
  const { pids } = await client.request('run.show', { run });
  assert.equal(pids.length, 4);
  process.kill(readConnectionFile(lab.home)?.pid ?? 0, 'SIGKILL');
  await Promise.all(pids.map(processGone));
});

test('more ranks than this machine can hold, and a batch that cannot be split, are refused', async () => {
  await refused(
    start({ data: 3, microBatches: 2 }, 1),
    'invalid-configuration',
    /training\.batchSize is 8: allowed is a multiple of 6, .* = 3 x 2 x 1\.33/,
  );
  const config = { data: { dummy: true }, training: { batchSize: 64 }, parallel: { data: 64 } };
  await refused(
    client.request('run.start', { config, baseDirectory: lab.home }),
    'invalid-configuration',
    /parallel has 64 ranks: allowed are at most 32 on one machine/,
  );
});
