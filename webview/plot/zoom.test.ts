import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holding, scaled } from './zoom.ts';

const all = { from: 1, to: 101 };

test('a window moves just far enough to hold a step', () => {
  const window = { from: 40, to: 60 };
  assert.deepEqual(holding(window, 50), window);
  assert.deepEqual(holding(window, 30), { from: 30, to: 50 });
  assert.deepEqual(holding(window, 61), { from: 41, to: 61 });
});

test('zooming in is around the step, and never beyond the run', () => {
  assert.deepEqual(scaled(all, all, 51, 0.5), { from: 26, to: 76 });
  assert.deepEqual(scaled(all, all, 3, 0.5), { from: 1, to: 51 });
  assert.deepEqual(scaled(all, all, 101, 0.5), { from: 51, to: 101 });
});

test('zooming out ends with all steps', () => {
  assert.deepEqual(scaled({ from: 26, to: 51 }, all, 40, 2), { from: 15, to: 65 });
  assert.equal(scaled({ from: 26, to: 76 }, all, 51, 2), undefined);
});
