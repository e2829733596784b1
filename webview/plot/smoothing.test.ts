import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Smoothing } from './smoothing.ts';

test('weight 0 leaves a curve as it is', () => {
  assert.deepEqual([...new Smoothing().update([3, 1, null, 2], 0, 0)], [3, 1, null, 2]);
});

test('a constant curve stays constant from its first point on', () => {
  for (const value of new Smoothing().update(Array<number>(50).fill(7), 0.9, 0))
    assert.ok(Math.abs((value ?? 0) - 7) < 1e-12);
});

test('the average is the debiased one of the definition', () => {
  const weight = 0.6;
  const column = [5, 3, 4, 1];
  const expected = column.map((_, end) => {
    const part = column.slice(0, end + 1);
    const weights = part.map((__, index) => weight ** (end - index));
    const sum = weights.reduce((a, b) => a + b, 0);
    return part.reduce((total, value, index) => total + (value * (weights[index] ?? 0)) / sum, 0);
  });
  const smoothed = new Smoothing().update(column, weight, 0);
  expected.forEach((value, index) => assert.ok(Math.abs((smoothed[index] ?? 0) - value) < 1e-12));
});

test('a curve that grows gives the same as one taken at once', () => {
  const column = Array.from({ length: 100 }, (_, index) => (index % 9 === 4 ? null : Math.sin(index)));
  const growing = new Smoothing();
  for (let length = 1; length <= column.length; length += 7) growing.update(column.slice(0, length), 0.8, 0);
  assert.deepEqual([...growing.update(column, 0.8, 0)], [...new Smoothing().update(column, 0.8, 0)]);
});

test('another weight, a rewritten past or a shorter curve begin anew', () => {
  const smoothing = new Smoothing();
  smoothing.update([5, 4, 3], 0.5, 0);
  assert.deepEqual([...smoothing.update([5, 4, 3], 0, 0)], [5, 4, 3]);
  assert.deepEqual([...smoothing.update([1, 2, 3], 0, 1)], [1, 2, 3]);
  assert.deepEqual([...smoothing.update([9], 0, 1)], [9]);
});
