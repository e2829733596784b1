import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logTicks, nearest, positiveOnly, valueRange, visible } from './view-data.ts';

const steps = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

test('curves with different steps share one x and have holes where they have no point', () => {
  const { x, columns } = visible(
    [
      { step: [1, 2, 3, 4], value: [9, 8, null, 6] },
      { step: [2, 5], value: [7, 5] },
    ],
    undefined,
    100,
  );
  assert.deepEqual(x, [1, 2, 3, 4, 5]);
  assert.deepEqual(columns, [
    [9, 8, null, 6, undefined],
    [undefined, 7, undefined, undefined, 5],
  ]);
});

test('a long curve is thinned out to its pixels, and its spike stays', () => {
  const step = steps(100_000);
  const value = step.map((at) => (at === 54_321 ? 99 : 3));
  const { x, columns } = visible([{ step, value }], undefined, 400);
  assert.ok(x.length <= 2000, `${x.length} points`);
  assert.equal(columns[0]?.[x.indexOf(54_321)], 99);
});

test('zooming shows every point of the window again, with a neighbour on each side', () => {
  const step = steps(100_000);
  const { x } = visible([{ step, value: step }], { from: 5000, to: 5010 }, 400);
  assert.deepEqual(x, [4999, 5000, 5001, 5002, 5003, 5004, 5005, 5006, 5007, 5008, 5009, 5010, 5011]);
});

test('a logarithmic axis leaves out and counts what it cannot show', () => {
  assert.deepEqual(positiveOnly([1, 0, -2, null, 3]), { values: [1, null, null, null, 3], dropped: 2 });
});

test('the range leaves room, does not cross zero needlessly and survives odd data', () => {
  assert.deepEqual(valueRange([[10, 20]], false), [9.4, 20.6]);
  assert.deepEqual(valueRange([[0.01, 10]], false), [0, 10.5994]);
  assert.deepEqual(valueRange([[null, undefined]], false), [0, 1]);
  assert.deepEqual(valueRange([[5]], false), [4.5, 5.5]);
  const [low, high] = valueRange([[0, 1, 100]], true);
  assert.ok(low > 0.7 && low < 1 && high > 100 && high < 130);
});

test('logarithmic ticks are round and within the range', () => {
  assert.deepEqual(logTicks(0.02, 300), [0.1, 1, 10, 100]);
  assert.deepEqual(logTicks(1.4, 11), [2, 5, 10]);
  assert.deepEqual(logTicks(2.1, 4.2), [2.5, 3, 4]);
});

test('the nearest point is found', () => {
  assert.deepEqual(
    [0, 1.4, 1.6, 99].map((at) => nearest([1, 2, 4], at)),
    [0, 0, 1, 2],
  );
  assert.equal(nearest([], 3), -1);
});
