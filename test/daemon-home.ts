/** A home folder of a test's own, with its daemon ended and all of it removed afterwards. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { connectDaemon, type DaemonClient } from '../kernel/daemon/client.ts';
import { DaemonError } from '../kernel/daemon/daemon-error.ts';
import { readConnectionFile } from '../kernel/daemon/connection.ts';
import type { RunEvent, RunSummary } from '../kernel/protocol/events.ts';

/** A text long enough for the tiny model. */
const TEXT = 'the quick brown fox jumps over the lazy dog, and then it sleeps. '.repeat(40);

/** A home folder and what belongs to it. */
export interface TestHome {
  readonly home: string;
  /** A text file in it. */
  readonly text: string;
  /** A new connection to its daemon, closed at the end. */
  connect(): Promise<DaemonClient>;
  end(): Promise<void>;
}

/** Makes a home folder; `end` kills its daemon and removes it. */
export async function createTestHome(): Promise<TestHome> {
  const home = await mkdtemp(join(tmpdir(), 'gpt-lab-home-'));
  const text = join(home, 'text.txt');
  await writeFile(text, TEXT);
  const clients: DaemonClient[] = [];
  return {
    home,
    text,
    connect: async () => {
      const client = await connectDaemon({ home });
      clients.push(client);
      return client;
    },
    end: async () => {
      for (const client of clients) client.close();
      await killDaemon(home);
      await rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

/** Kills the daemon of a home folder, if one runs, and waits until it is gone. */
export async function killDaemon(home: string): Promise<void> {
  const file = readConnectionFile(home);
  if (!file) return;
  process.kill(file.pid, 'SIGKILL');
  await processGone(file.pid);
}

/** A model that trains in milliseconds; `steps` decides how long a run lives. */
export function tinyConfiguration(text: string, steps: number): Record<string, unknown> {
  return {
    name: 'tiny',
    model: { layers: 1, width: 32, heads: 2, contextLength: 32 },
    data: { text: [text], tokenizer: 'byte', validation: 0.1 },
    training: { steps, batchSize: 2, sequenceLength: 16, evaluateEvery: 0, checkpointEvery: 0 },
    engine: { threads: 1 },
  };
}

/** Starts a run of the tiny model on the home's text. */
export async function startTiny(client: DaemonClient, lab: TestHome, steps: number): Promise<string> {
  const config = tinyConfiguration(lab.text, steps);
  const { run } = await client.request('run.start', { config, baseDirectory: lab.home });
  return run;
}

/** Follows a run from number `from` until an event of that kind. */
export async function until<K extends RunEvent['event']>(
  client: DaemonClient,
  run: string,
  kind: K,
  from = 1,
): Promise<Extract<RunEvent, { event: K }>> {
  for await (const batch of client.follow(run, { from })) {
    const found = batch.find((event) => event.event === kind);
    if (found) return found as Extract<RunEvent, { event: K }>;
  }
  throw new Error(`Run ${run} ended without ${kind}`);
}

/** All events of a run from number `from` to its end. */
export async function eventsOf(client: DaemonClient, run: string, from = 1): Promise<RunEvent[]> {
  const events: RunEvent[] = [];
  for await (const batch of client.follow(run, { from })) events.push(...batch);
  return events;
}

/** The first summary of a run that fits, now or as it is announced. */
export function summaryThat(
  client: DaemonClient,
  run: string,
  fits: (summary: RunSummary) => boolean,
): Promise<RunSummary> {
  return new Promise((resolve, reject) => {
    const take = (summary: RunSummary): void => {
      if (summary.run !== run || !fits(summary)) return;
      end();
      resolve(summary);
    };
    const end = client.onRuns((message) => {
      if ('summary' in message) take(message.summary);
    });
    client.request('run.show', { run }).then(take, reject);
  });
}

/** Events are numbered from `first` without a gap or a repetition. */
export function assertNumbered(events: readonly RunEvent[], first = 1): void {
  assert.deepEqual(
    events.map(({ sequence }) => sequence),
    events.map((_, index) => first + index),
  );
}

/** Rejects with a DaemonError of that code whose text matches. */
export async function refused(request: Promise<unknown>, code: string, text: RegExp): Promise<void> {
  await assert.rejects(request, (error: unknown) => {
    assert.ok(error instanceof DaemonError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  });
}

/** Resolves when no process has that pid any more; rejects after 20 s. */
export async function processGone(pid: number): Promise<void> {
  await eventually(() => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  }, `Process ${pid} is still there`);
}

/** Resolves when `fact` holds, for what nobody announces; rejects after 20 s. */
export async function eventually(fact: () => boolean, otherwise = 'It never came true'): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!fact()) {
    if (Date.now() > deadline) throw new Error(otherwise);
    await setTimeout(20);
  }
}
