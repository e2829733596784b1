/** What `gpt-lab bench parallel` counts: times depend on the machine, bytes do not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchmarkCollectives, type CollectiveRow } from '../../kernel/bench/collectives.ts';
import { benchmarkParallel, type LayoutRow } from '../../kernel/bench/parallel.ts';
import { distFile } from '../../kernel/home.ts';

test('every stage of ZeRO moves what it must, within 2 %', async () => {
  const size = {
    ...{ layers: 8, width: 64, heads: 4, vocabularySize: 259 },
    ...{ batchSize: 8, sequenceLength: 8 },
  };
  const rows: LayoutRow[] = [];
  for await (const row of benchmarkParallel({ rounds: 1, size })) if (row.row === 'layout') rows.push(row);
  const replicas = rows.filter(({ overMinimum }) => overMinimum !== undefined);
  assert.equal(replicas.length, 8);
  for (const { layout, overMinimum = 0 } of replicas) {
    const what = `${JSON.stringify(layout)}: ${overMinimum}`;
    assert.ok(overMinimum < 1.02, what);
    // What is still there of the parameters is not gathered again.
    assert.ok(overMinimum > (layout.zero === 3 ? 0.75 : 0.98), what);
  }
  const states = rows.filter(({ layout }) => layout.data === 4).map(({ peakBytes }) => peakBytes);
  assert.deepEqual(
    states,
    states.toSorted((a, b) => b - a),
    'each stage holds less than the one before',
  );
});

test('every collective is measured against memcpy, by the command’s own ranks', async () => {
  const program = [distFile('kernel', 'cli.js'), 'bench', 'collective-rank'];
  const rows: CollectiveRow[] = [];
  for await (const row of benchmarkCollectives(program, [2], 2 ** 16)) rows.push(row);
  assert.deepEqual(
    rows.map(({ operation }) => operation),
    ['memcpy', 'allReduce', 'reduceScatter', 'allGather', 'broadcast', 'barrier', 'send'],
  );
  for (const { operation, seconds, ofMemcpy } of rows) {
    assert.ok(seconds > 0, operation);
    assert.equal(ofMemcpy === undefined, operation === 'memcpy' || operation === 'barrier');
  }
});
