import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunEvent, RunEventBody } from '../../kernel/protocol/events.ts';
import { RunSeries, toPlotOutput } from '../../kernel/protocol/run-series.ts';
import { RunStore } from './run-store.ts';

const plot = { format: 'gpt-lab-plot', version: 1, run: 'r', name: 'n', steps: 10 } as const;
const numbered = (bodies: RunEventBody[], from = 1): RunEvent[] =>
  bodies.map((body, index) => ({ ...body, sequence: from + index, time: 1000 * (from + index) }));
const start: RunEventBody = { event: 'start', run: 'r', config: {}, parameters: 1, world: 1 };
const step = (number: number): RunEventBody => ({
  event: 'step',
  step: number,
  tokens: 64,
  loss: 10 - number,
  learningRate: 1e-3,
  gradientNorm: 1,
  seconds: 1,
  tokensPerSecond: 64,
});
const whole = numbered([start, step(1), step(2), step(3), { event: 'end', status: 'stopped' }]);

function snapshotOf(events: RunEvent[]) {
  const series = new RunSeries();
  series.append(events);
  return toPlotOutput({ run: 'r', name: 'n', steps: 10, state: 'stopped' }, series);
}

test('a run goes from starting through running to its end', () => {
  const store = new RunStore(plot);
  assert.equal(store.state, 'starting');
  store.append(whole.slice(0, 1));
  assert.equal(store.state, 'starting');
  store.append(whole.slice(1, 4));
  assert.equal(store.state, 'running');
  assert.equal(store.secondsLeft, 7);
  store.append(whole.slice(4));
  assert.equal(store.state, 'stopped');
  assert.equal(store.secondsLeft, null);
  assert.equal(store.secondsTaken, 4);
});

test('a batch with a gap before it is refused and asked for again', () => {
  const store = new RunStore(plot);
  store.append(whole.slice(0, 2));
  assert.equal(store.append(whole.slice(3)), false);
  assert.equal(store.next, 3);
  assert.deepEqual(store.series.train.step, [1]);
  assert.equal(store.append(whole.slice(1)), true);
  assert.deepEqual(store.series.train.step, [1, 2, 3]);
});

test('a saved plot shows its curve and state without any event', () => {
  const store = new RunStore(plot);
  store.takePlot(snapshotOf(whole));
  assert.deepEqual(store.series.train.loss, [9, 8, 7]);
  assert.equal(store.state, 'stopped');
  assert.equal(store.decimated, true);
  assert.equal(store.next, 6);
});

test('a run that was resumed after its plot was saved goes on from the snapshot', () => {
  const store = new RunStore(plot);
  store.takePlot(snapshotOf(whole));
  store.append(numbered([{ ...start, resumedFrom: 2 }, step(3), step(4)], 6));
  assert.equal(store.state, 'running');
  assert.deepEqual(store.series.train.step, [1, 2, 3, 4]);
});

test('a snapshot does not take the place of curves that are known in full', () => {
  const store = new RunStore(plot);
  store.append(whole);
  store.takePlot(snapshotOf(whole));
  assert.equal(store.decimated, false);
  assert.equal(store.state, 'stopped');
});

test('the full curves take the snapshot’s place once they are complete', () => {
  const store = new RunStore(plot);
  store.takePlot(snapshotOf(whole));
  store.replaceSnapshot();
  assert.equal(store.next, 1);
  store.append(whole.slice(0, 3));
  assert.deepEqual(store.series.train.step, [1, 2, 3], 'the snapshot stays until then');
  assert.equal(store.decimated, true);
  store.append(whole.slice(3));
  assert.equal(store.decimated, false);
  assert.equal(store.state, 'stopped');
});

test('without a daemon and without a snapshot the state is unknown', () => {
  const store = new RunStore(plot);
  store.unavailable = 'No training daemon is running.';
  assert.equal(store.state, 'unknown');
});
