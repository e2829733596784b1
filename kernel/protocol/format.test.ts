import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatLoss,
  formatNumber,
  formatRate,
  formatTime,
} from './format.ts';

test('durations show their two largest units', () => {
  assert.deepEqual([0, 59.4, 60, 605, 3600, 90_000, null].map(formatDuration), [
    '0 s',
    '59 s',
    '1 min 00 s',
    '10 min 05 s',
    '1 h 00 min',
    '1 d 01 h',
    '–',
  ]);
});

test('losses have three decimals unless they would say nothing', () => {
  assert.deepEqual([10.8249, 0, 0.00004, 123456, null].map(formatLoss), [
    '10.825',
    '0.000',
    '4.00e-5',
    '1.23e+5',
    '–',
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

test('numbers lose their trailing zeros, learning rates look as they are configured', () => {
  assert.deepEqual(
    [4.21700001, 0.0003, 0.00002].map((value) => formatNumber(value)),
    ['4.217', '0.0003', '2e-5'],
  );
  assert.deepEqual([0, 3e-4, 0.00028512].map(formatRate), ['0', '3e-4', '2.85e-4']);
});

test('bytes and times have three significant digits and a unit', () => {
  assert.deepEqual([0, 812, 75e6, 1_991_000_000, 999_600].map(formatBytes), [
    '0 B',
    '812 B',
    '75 MB',
    '1.99 GB',
    '1 MB',
  ]);
  assert.deepEqual([0, 8.2e-5, 0.01234, 1.256, 605].map(formatTime), [
    '0 s',
    '82 µs',
    '12.3 ms',
    '1.26 s',
    '10 min 05 s',
  ]);
});
