import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { PlotSubscription } from '../../extension/runs/plot-subscription.ts';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import { readConnectionFile } from '../../kernel/daemon/connection.ts';
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
  return (await client.request('run.start', { config, baseDirectory: lab.home })).run;
}

/** A plot that keeps what it gets; `visible` false is that of a hidden editor. */
class Plot {
  readonly sequences: number[] = [];
  readonly reasons: string[] = [];
  ended = false;
  visible = true;
  /** Messages that were sent to it, whether they arrived or not. */
  messages = 0;
  #check: () => void = () => undefined;

  events(events: RunEvent[]): Promise<boolean> {
    this.messages++;
    if (this.visible) {
      this.sequences.push(...events.map(({ sequence }) => sequence));
      this.ended = events.at(-1)?.event === 'end';
    }
    this.#check();
    return Promise.resolve(this.visible);
  }

  unavailable(reason: string): void {
    this.reasons.push(reason);
    this.#check();
  }

  /** Resolves once `condition` holds after some message. */
  async until(condition: () => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#check = () => {
        if (condition()) resolve();
      };
      this.#check();
    });
  }

  hasNoGap(): void {
    assert.deepEqual(
      this.sequences,
      this.sequences.map((_, index) => index + 1),
    );
  }
}

test('a plot gets every event once, also past the end of the run and a resumption', async () => {
  const run = await start(100_000);
  const plot = new Plot();
  const subscription = new PlotSubscription({ run, from: 1 }, plot);
  subscription.follow(client, undefined);
  await plot.until(() => plot.sequences.length > 20);
  await client.request('run.stop', { run });
  await plot.until(() => plot.ended);
  await client.request('run.resume', { run });
  const before = plot.sequences.length;
  // As the list of runs does whenever it changes.
  const stopListening = client.onRuns((message) => {
    if ('summary' in message) subscription.follow(client, message.summary);
  });
  await plot.until(() => plot.sequences.length > before + 20);
  stopListening();
  subscription.end();
  plot.hasNoGap();
});

test('a daemon that is killed and comes back leaves no gap', async () => {
  const run = await start(100_000);
  const plot = new Plot();
  const subscription = new PlotSubscription({ run, from: 1 }, plot);
  subscription.follow(client, undefined);
  await plot.until(() => plot.sequences.length > 20);
  const pid = readConnectionFile(lab.home)?.pid;
  assert.ok(pid);
  process.kill(pid, 'SIGKILL');
  await client.closed;
  subscription.lost('gone');
  assert.equal(plot.reasons.at(-1), 'gone');
  await processGone(pid);
  client = await lab.connect();
  subscription.follow(client, undefined);
  await plot.until(() => plot.ended);
  plot.hasNoGap();
  const { state, lastSequence } = await client.request('run.show', { run });
  assert.deepEqual(
    { state, got: plot.sequences.length },
    { state: 'interrupted', got: lastSequence },
    'all up to the end that the new daemon wrote',
  );
});

test('what a hidden plot misses it gets when it is shown, and nothing is sent meanwhile', async () => {
  const run = await start(100_000);
  const plot = new Plot();
  const subscription = new PlotSubscription({ run, from: 1 }, plot);
  subscription.follow(client, undefined);
  await plot.until(() => plot.sequences.length > 5);
  plot.visible = false;
  const { messages } = plot;
  await plot.until(() => plot.messages > messages);
  const summary = await client.request('run.stop', { run });
  subscription.follow(client, summary);
  assert.equal(plot.messages, messages + 1);
  plot.visible = true;
  subscription.shown();
  subscription.follow(client, summary);
  await plot.until(() => plot.ended);
  plot.hasNoGap();
});

test('a run that the daemon does not know is asked for once, not at every change of another', async () => {
  const plot = new Plot();
  const subscription = new PlotSubscription({ run: 'removed', from: 1 }, plot);
  subscription.follow(client, undefined);
  await plot.until(() => plot.reasons.length > 0);
  assert.match(plot.reasons[0] ?? '', /There is no run removed/);
  for (let change = 0; change < 3; change++) {
    subscription.follow(client, undefined);
    await client.request('daemon.status', {});
  }
  assert.equal(plot.reasons.length, 1);
});

test('a plot that has a whole run is sent nothing', async () => {
  const run = await start(3);
  const plot = new Plot();
  const subscription = new PlotSubscription({ run, from: 1 }, plot);
  subscription.follow(client, undefined);
  await plot.until(() => plot.ended);
  const summary = await client.request('run.show', { run });
  const again = new Plot();
  const saved = new PlotSubscription({ run, from: summary.lastSequence + 1 }, again);
  saved.follow(client, summary);
  // Nor when nothing is known of the run yet.
  saved.follow(client, undefined);
  await client.request('daemon.status', {});
  assert.deepEqual([again.messages, again.reasons], [0, []]);
});
