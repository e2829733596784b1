import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatCount, formatDuration, formatLoss, formatRate } from './format.ts';

test('durations show their two largest units', () => {
  const shown = [0, 59.4, 60, 95, 600, 3600, 3900, 90_000, 172_800].map(formatDuration);
  assert.deepEqual(shown, [
    '0 s',
    '59 s',
    '1 min',
    '1 min 35 s',
    '10 min',
    '1 h',
    '1 h 5 min',
    '1 d 1 h',
    '2 d',
  ]);
});

test('losses have three decimals unless they would say nothing', () => {
  assert.deepEqual([10.8249, 0, 0.00004, 123456, null].map(formatLoss), [
    '10.825',
    '0.000',
    '4.00e-5',
    '1.23e+5',
    'not finite',
  ]);
});

test('counts have three significant digits', () => {
  assert.deepEqual([0, 812.4, 999.6, 2528, 124_439_808].map(formatCount), [
    '0',
    '812',
    '1k',
    '2.53k',
    '124M',
  ]);
});

test('learning rates are written as they are configured', () => {
  assert.deepEqual([0, 3e-4, 0.00028512, 1].map(formatRate), ['0', '3e-4', '2.85e-4', '1e+0']);
});
