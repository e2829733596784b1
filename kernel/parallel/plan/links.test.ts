import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gatherSeconds, wireOf } from './links.ts';
import type { Machine } from './machine.ts';
import { machines } from './machines.ts';
import { machineOf } from './this-machine.ts';
import { testJob } from './testing.ts';

const [a100] = machines.filter(({ name }) => name === 'a100-80gb') as [Machine];
const gigabytes = (machine: Machine, layout: object, axis: 'tensor' | 'data' | 'pipeline'): number =>
  Math.round(wireOf(machine, testJob(layout).layout, axis).bandwidth / 1e9);

test('a group within a node has NVLink, one beyond it an adapter for each of its ranks in the node', () => {
  // 0.8 of 300 GB/s, and of 25 GB/s an adapter.
  assert.equal(gigabytes(a100, { tensor: 8, data: 4 }, 'tensor'), 240);
  assert.equal(gigabytes(a100, { tensor: 8, data: 4 }, 'data'), 20);
  assert.equal(gigabytes(a100, { tensor: 2, data: 16 }, 'data'), 80);
  assert.equal(gigabytes(a100, { data: 64 }, 'data'), 160);
  assert.equal(gigabytes(a100, { tensor: 2, pipeline: 4 }, 'pipeline'), 240);
  assert.equal(gigabytes(a100, { tensor: 8, pipeline: 4 }, 'pipeline'), 20);
});

test('ranks of this machine share its bandwidth', () => {
  const ceilings = { peakF32: 1e11, peakBf16: 2e11, copyBandwidth: 40e9 };
  const machine = machineOf({ version: '', cpu: '', threads: 2, cpus: 2, ...ceilings });
  assert.deepEqual(
    [2, 4].map((data) => gigabytes(machine, { data }, 'data')),
    [6, 3],
  );
});

test('an all-gather brings what the others have', () => {
  const wire = { bandwidth: 1e9, latency: 0 };
  assert.equal(gatherSeconds(wire, 4, 8e9), 6);
  assert.equal(gatherSeconds(wire, 1, 8e9), 0);
});
