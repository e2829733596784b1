import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunEvent, RunEventBody } from './events.ts';
import { plotOutput } from './plot.ts';
import { RunSeries, toPlotOutput } from './run-series.ts';

const numbered = (bodies: RunEventBody[], from = 1): RunEvent[] =>
  bodies.map((body, index) => ({ ...body, sequence: from + index, time: 0 }));
const start = (resumedFrom?: number): RunEventBody => ({
  event: 'start',
  run: 'r',
  config: {},
  parameters: 1,
  world: 1,
  ...(resumedFrom === undefined ? {} : { resumedFrom }),
});
const step = (number: number, loss: number | null): RunEventBody => ({
  event: 'step',
  step: number,
  tokens: 64,
  loss,
  learningRate: 1e-3,
  gradientNorm: 1,
  seconds: 0.1,
  tokensPerSecond: 640,
});

test('events become columns, each event counted once', () => {
  const series = new RunSeries();
  const events = numbered([start(), step(1, 4), step(2, null), { event: 'evaluation', step: 2, loss: 3.5 }]);
  series.append(events.slice(0, 3));
  series.append(events);
  assert.deepEqual(series.train, {
    step: [1, 2],
    loss: [4, null],
    learningRate: [1e-3, 1e-3],
    tokensPerSecond: [640, 640],
  });
  assert.deepEqual(series.evaluation, { step: [2], loss: [3.5] });
  assert.equal(series.lastSequence, 4);
});

test('a resumed run replaces the steps after its checkpoint', () => {
  const series = new RunSeries();
  series.append(
    numbered([
      start(),
      step(1, 4),
      step(2, 3),
      { event: 'evaluation', step: 2, loss: 3.1 },
      step(3, 2.5),
      { event: 'end', status: 'interrupted' },
    ]),
  );
  assert.deepEqual(series.end, { status: 'interrupted' });
  series.append(numbered([start(1), step(2, 3), step(3, 2.6)], 7));
  assert.deepEqual(series.train.step, [1, 2, 3]);
  assert.deepEqual(series.train.loss, [4, 3, 2.6]);
  assert.deepEqual(series.evaluation.step, []);
  assert.equal(series.end, undefined);
});

test('a snapshot is a valid plot output, small, with its spikes', () => {
  const series = new RunSeries();
  series.append(
    numbered([
      start(),
      ...Array.from({ length: 20_000 }, (_, index) =>
        step(index + 1, index === 777 ? 42 : 3 + Math.sin(index / 3)),
      ),
      { event: 'end', status: 'finished' },
    ]),
  );
  const output = toPlotOutput({ run: 'r', name: 'n', steps: 20_000, state: 'finished' }, series);
  assert.deepEqual(plotOutput.parse(output), output);
  assert.ok(output.snapshot);
  assert.ok(output.snapshot.train.loss.includes(42));
  assert.equal(output.snapshot.train.step.at(-1), 20_000);
  assert.ok(JSON.stringify(output).length < 100_000, `${JSON.stringify(output).length} bytes`);
});
