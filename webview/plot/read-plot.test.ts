import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plotMessage, plotOutput } from '../../kernel/protocol/plot.ts';
import { readMessage, readPlot } from './read-plot.ts';

const live = { format: 'gpt-lab-plot', version: 1, run: 'r', name: 'n', steps: 10 };
const train = { step: [1, 2], loss: [3, null], learningRate: [0, 1], tokensPerSecond: [5, 6] };
const snapshot = { state: 'finished', train, evaluation: { step: [2], loss: [4] }, lastSequence: 9 };
const saved = { ...live, snapshot };

function accepts(read: (value: unknown) => unknown, value: unknown): boolean {
  try {
    return read(value) !== undefined;
  } catch {
    return false;
  }
}

test('a plot is accepted and refused as the protocol says', () => {
  const plots: unknown[] = [
    live,
    saved,
    null,
    'plot',
    [],
    { ...live, format: 'x' },
    { ...live, version: 2 },
    { ...live, run: 1 },
    { ...live, name: undefined },
    { ...live, steps: 1.5 },
    { ...live, snapshot: 1 },
    { ...saved, snapshot: { ...snapshot, state: 'odd' } },
    { ...saved, snapshot: { ...snapshot, lastSequence: 'x' } },
    { ...saved, snapshot: { ...snapshot, train: { ...train, step: [1, null] } } },
    { ...saved, snapshot: { ...snapshot, train: { ...train, loss: [1, '2'] } } },
    { ...saved, snapshot: { ...snapshot, evaluation: undefined } },
  ];
  for (const plot of plots)
    assert.equal(accepts(readPlot, plot), plotOutput.safeParse(plot).success, JSON.stringify(plot));
});

test('columns of different lengths are refused: they would be drawn wrongly', () => {
  const odd = { ...saved, snapshot: { ...snapshot, train: { ...train, step: [1] } } };
  assert.throws(() => readPlot(odd), /different lengths: 2, 1, 2, 2/);
});

test('errors name the key, the value and what is expected', () => {
  assert.throws(() => readPlot({ ...live, version: 2 }), /version is 2: this renderer reads version 1/);
  assert.throws(() => readPlot({ ...live, steps: 'ten' }), /steps is "ten": a whole number is expected/);
});

test('a message is accepted and refused as the protocol says', () => {
  const messages: unknown[] = [
    { type: 'events', plot: 'p', events: [] },
    { type: 'unavailable', plot: 'p', reason: 'gone' },
    { type: 'events', plot: 'p' },
    { type: 'events', events: [] },
    { type: 'unavailable', plot: 'p' },
    { type: 'else', plot: 'p' },
    undefined,
    3,
  ];
  for (const message of messages)
    assert.equal(
      readMessage(message) !== undefined,
      plotMessage.safeParse(message).success,
      JSON.stringify(message),
    );
});
