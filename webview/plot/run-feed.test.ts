import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunEvent } from '../../kernel/protocol/events.ts';
import type { PlotRequest } from '../../kernel/protocol/plot.ts';
import { RunSeries, toPlotOutput } from '../../kernel/protocol/run-series.ts';
import { RunFeed } from './run-feed.ts';

const plot = { format: 'gpt-lab-plot', version: 1, run: 'r', name: 'n', steps: 3 } as const;
const events: RunEvent[] = [
  { event: 'start', run: 'r', config: {}, parameters: 1, world: 1, sequence: 1, time: 1 },
  ...[1, 2, 3].map((step) => ({
    event: 'step' as const,
    step,
    tokens: 1,
    loss: 4 - step,
    learningRate: 1,
    gradientNorm: 1,
    seconds: 1,
    tokensPerSecond: 1,
    sequence: step + 1,
    time: step + 1,
  })),
  { event: 'end', status: 'finished', sequence: 5, time: 5 },
];

function setUp() {
  const sent: PlotRequest[] = [];
  const feed = new RunFeed(plot, (request) => sent.push(request));
  let changes = 0;
  const hide = feed.show(plot, () => changes++);
  const send = (batch: RunEvent[]): void => {
    const [subscribed] = sent;
    assert.ok(subscribed?.type === 'subscribe');
    feed.receive({ type: 'events', plot: subscribed.plot, events: batch });
  };
  return { feed, sent, hide, send, changes: () => changes };
}

function saved() {
  const series = new RunSeries();
  series.append(events);
  return toPlotOutput({ ...plot, state: 'finished' }, series);
}

test('the snapshot of a followed run does not replace its curve: what is missing is asked for', () => {
  const { feed, sent, send } = setUp();
  send(events.slice(0, 3));
  feed.takePlot(saved());
  assert.deepEqual(feed.store.series.train.step, [1, 2]);
  assert.equal(feed.store.state, 'running');
  const last = sent.at(-1);
  assert.ok(last?.type === 'subscribe' && last.from === 4);
  send(events.slice(3));
  assert.equal(feed.store.state, 'finished');
});

test('the snapshot is taken when the daemon has gone', () => {
  const { feed, sent, send } = setUp();
  send(events.slice(0, 3));
  assert.ok(sent[0]?.type === 'subscribe');
  feed.receive({ type: 'unavailable', plot: sent[0].plot, reason: 'gone' });
  feed.takePlot(saved());
  assert.equal(feed.store.state, 'finished');
  assert.deepEqual(feed.store.series.train.step, [1, 2, 3]);
});

test('a plot that comes into sight again asks for what it missed, also of a run that had ended', () => {
  const { feed, sent, send } = setUp();
  send(events);
  feed.refresh();
  const last = sent.at(-1);
  assert.ok(last?.type === 'subscribe' && last.from === 6);
});

test('events of other plots are passed over, and a hidden plot asks for no more', () => {
  const { feed, sent, hide, changes } = setUp();
  feed.receive({ type: 'events', plot: 'another', events });
  assert.equal(changes(), 0);
  hide();
  assert.equal(sent.at(-1)?.type, 'unsubscribe');
  feed.refresh();
  assert.equal(sent.at(-1)?.type, 'unsubscribe');
});
