import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunEvent, RunEventBody } from '../../kernel/protocol/events.ts';
import { figures, readingAt, speak, summary, tableRows } from './figures.ts';
import { RunStore } from './run-store.ts';

function storeOf(count: number): RunStore {
  const store = new RunStore({ run: 'r', name: 'quickstart', steps: 2000 });
  const bodies: RunEventBody[] = [{ event: 'start', run: 'r', config: {}, parameters: 1, world: 1 }];
  for (let step = 1; step <= count; step++) {
    bodies.push({
      event: 'step',
      step,
      tokens: 64,
      loss: 10 / step,
      learningRate: 3e-4,
      gradientNorm: 1,
      seconds: 1,
      tokensPerSecond: 2528,
    });
    if (step % 50 === 0) bodies.push({ event: 'evaluation', step, loss: 4 });
  }
  store.append(bodies.map((body, index): RunEvent => ({ ...body, sequence: index + 1, time: index * 1000 })));
  return store;
}

test('figures tell what is known and nothing else', () => {
  assert.deepEqual(figures(storeOf(0)), [{ label: 'Step', value: '0', of: '/ 2,000' }]);
  assert.deepEqual(
    figures(storeOf(50)).map(({ label, value }) => `${label} ${value}`),
    ['Step 50', 'Loss 0.200', 'Validation 4.000', 'Tokens/s 2.53k', 'Time left 32 min 30 s'],
  );
});

test('the summary tells the curve to those who do not see it', () => {
  assert.equal(summary(storeOf(0)), 'Loss of quickstart: starting, no steps yet');
  assert.equal(
    summary(storeOf(100)),
    'Loss of quickstart: running, step 100 of 2000, training loss from 10.000 at step 1 to 0.100, lowest 0.100, validation loss 4.000',
  );
});

test('the cursor reads the nearest step, with the newest validation loss up to there', () => {
  const store = storeOf(60);
  const reading = readingAt(store, store.series.train.loss, 49.7);
  assert.deepEqual(reading, {
    step: 50,
    loss: 0.2,
    smoothed: 0.2,
    validation: { step: 50, loss: 4 },
    learningRate: 3e-4,
    tokensPerSecond: 2528,
  });
  assert.equal(
    speak(reading),
    'Step 50, loss 0.200, validation loss 4.000, learning rate 3e-4, 2.53k tokens per second',
  );
  assert.equal(readingAt(store, [], 3)?.validation, undefined);
  assert.deepEqual(readingAt(store, [], 58)?.validation, { step: 50, loss: 4 });
  assert.equal(readingAt(storeOf(0), [], 3), undefined);
});

test('the table has first, last and every evaluated step, and is no longer than asked', () => {
  const store = storeOf(1000);
  const steps = tableRows(store, store.series.train.loss, 40).map(({ step }) => step);
  assert.ok(steps.length <= 40);
  assert.equal(steps[0], 1);
  assert.equal(steps.at(-1), 1000);
  for (let step = 50; step <= 1000; step += 50) assert.ok(steps.includes(step), `step ${step}`);
  assert.deepEqual(tableRows(storeOf(0), [], 40), []);
});
