import assert from 'node:assert/strict';
import { test } from 'node:test';
import { learningRate } from './schedule.ts';

const rates = (type: 'cosine' | 'linear' | 'constant', steps: number, warmupSteps: number): number[] =>
  Array.from({ length: steps }, (_, i) =>
    Number(learningRate(i + 1, steps, 1, { type, warmupSteps, minimumRatio: 0.1 }).toFixed(6)),
  );

test('the rate rises evenly to its peak at the last warm-up step, and ends at the least rate', () => {
  assert.deepEqual(rates('linear', 6, 2), [0.5, 1, 0.775, 0.55, 0.325, 0.1]);
  assert.deepEqual(rates('cosine', 6, 2), [0.5, 1, 0.868198, 0.55, 0.231802, 0.1]);
  assert.deepEqual(rates('constant', 4, 2), [0.5, 1, 1, 1]);
});

test('a run without warm-up, or with nothing else, has no rate that is not a number', () => {
  assert.deepEqual(rates('linear', 3, 0), [0.7, 0.4, 0.1]);
  assert.deepEqual(rates('cosine', 2, 2), [0.5, 1]);
  assert.deepEqual(rates('cosine', 1, 0), [0.1]);
});
