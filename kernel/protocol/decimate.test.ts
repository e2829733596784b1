import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decimate } from './decimate.ts';

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

test('few points are all kept', () => {
  assert.deepEqual(decimate([1, 2, 3], [5, 4, 3], 10), [0, 1, 2]);
  assert.deepEqual(decimate([], [], 10), []);
});

test('every spike, dip, first and last point survives', () => {
  const x = range(10_000);
  const y = x.map((step) => 3 + Math.sin(step / 700));
  y[1234] = 50;
  y[1235] = -50;
  y[9876] = 99;
  const kept = decimate(x, y, 100);
  for (const index of [0, 1234, 1235, 9876, 9999]) assert.ok(kept.includes(index), `index ${index}`);
  assert.ok(kept.length <= 500, `${kept.length} points`);
  assert.deepEqual(
    kept,
    [...new Set(kept)].sort((a, b) => a - b),
  );
});

test('a bucket keeps exactly its first, smallest, largest and last point', () => {
  const x = range(24);
  const y = [5, 9, 1, 5, 5, 5, 5, 5, 5, 5, 5, 6, 7, 7, 2, 7, 8, 7, 7, 7, 7, 7, 7, 7];
  assert.deepEqual(decimate(x, y, 2), [0, 1, 2, 11, 12, 14, 16, 23]);
});

test('a gap of nulls stays a gap', () => {
  const x = range(1000);
  const y = x.map((step) => (step >= 500 && step < 505 ? null : step));
  const kept = decimate(x, y, 10);
  assert.ok(kept.includes(500));
  assert.deepEqual(decimate(range(100), new Array<null>(100).fill(null), 2), [0, 49, 50, 99]);
});

test('points bunched at one x fall into one bucket', () => {
  assert.deepEqual(decimate(new Array<number>(50).fill(3), range(50), 4), [0, 49]);
});

test('a bucket count that makes no sense is refused', () => {
  assert.throws(() => decimate([1], [1], 0), /buckets is 0/);
});
