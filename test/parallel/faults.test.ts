/** Ranks that are lost at any moment: the run goes on from its newest checkpoint, to the losses of one that never stopped. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import type { ParallelConfiguration, TrainingConfiguration } from '../../kernel/protocol/configuration.ts';
import type { RunEvent } from '../../kernel/protocol/events.ts';
import { full } from '../full.ts';
import {
  createTestHome,
  eventsOf,
  processGone,
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

/** Kills of the stress test. */
const KILLS = full ? 50 : 4;

async function start(parallel: ParallelConfiguration, training: TrainingConfiguration): Promise<string> {
  const tiny = tinyConfiguration(lab.text, 0);
  const config = {
    ...tiny,
    model: { layers: 2, width: 32, heads: 2, contextLength: 32, dropout: 0.1 },
    training: { ...(tiny['training'] as object), batchSize: 8, ...training },
    parallel,
  };
  const { run } = await client.request('run.start', { config, baseDirectory: lab.home });
  return run;
}

/** The loss of each step, as it was taken last. */
function curve(events: readonly RunEvent[]): Map<number, number | null> {
  return new Map(events.flatMap((event) => (event.event === 'step' ? [[event.step, event.loss]] : [])));
}

test(`a run whose ranks are killed ${KILLS} times at random has the losses of one that was left alone`, async () => {
  const parallel = { data: 2, pipeline: 2, zero: 3, microBatches: 2 } as const;
  const training = { steps: 80 * KILLS, checkpointEvery: 20, maxRestarts: KILLS } as const;
  const undisturbed = curve(await eventsOf(client, await start(parallel, { ...training, maxRestarts: 0 })));
  const run = await start(parallel, training);
  const events: RunEvent[] = [];
  let seed = 12345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  let kills = 0;
  let next = random(60);
  for await (const batch of client.follow(run)) {
    events.push(...batch);
    const newest = batch.findLast((event) => event.event === 'step')?.step ?? 0;
    if (kills === KILLS || newest < next) continue;
    const { pids, state } = await client.request('run.show', { run });
    if (state !== 'running' || pids.length < 4) continue;
    try {
      process.kill(pids[random(4)] ?? 0, 'SIGKILL');
    } catch {
      continue; // it has just ended by itself
    }
    kills++;
    await until(client, run, 'start', (events.at(-1)?.sequence ?? 0) + 1);
    next = newest + random(100);
  }
  const last = events.at(-1);
  assert.deepEqual([last?.event, last?.event === 'end' && last.status], ['end', 'finished']);
  const restarts = events.filter((event) => event.event === 'warning' && event.code === 'restarted');
  assert.equal(restarts.length, kills);
  assert.ok(kills >= 1);
  assert.deepEqual(curve(events), undisturbed);
});

test('the last restart is followed by a failure that names the rank', async () => {
  const run = await start({ data: 2 }, { steps: 1_000_000, maxRestarts: 1 });
  for (const kill of [0, 1]) {
    const { sequence } = await until(client, run, 'start', kill === 0 ? 1 : 3);
    await until(client, run, 'step', sequence);
    const { pids } = await client.request('run.show', { run });
    process.kill(pids[1] ?? 0, 'SIGKILL');
    if (kill === 0) {
      const { message } = await until(client, run, 'warning', sequence);
      assert.match(message, /^Rank 1 .*SIGKILL[^]*goes on from the start: restart 1 of at most 1/);
    } else {
      const ended = await summaryThat(client, run, ({ state }) => state === 'failed');
      assert.match(ended.error ?? '', /^Rank 1 \(process \d+\) ended by signal SIGKILL/);
      await Promise.all(pids.map(processGone));
    }
  }
});

test('a rank that is stopped while the others wait for it is lost, and is named', async () => {
  const run = await start({ data: 2 }, { steps: 1_000_000 });
  await until(client, run, 'step');
  const { pids } = await client.request('run.show', { run });
  process.kill(pids[1] ?? 0, 'SIGSTOP');
  const ended = await summaryThat(client, run, ({ state }) => state !== 'running');
  assert.equal(ended.state, 'failed');
  assert.match(ended.error ?? '', /^Rank 1 \(process \d+\) was stopped by a signal for 5 s/);
  await Promise.all(pids.map(processGone));
});
