/** The planner beside published figures: within the error that docs/planner.md states, which lists every row. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { packageRoot } from '../../kernel/home.ts';
import { comparisons, error, tableRow, type Comparison } from './published.ts';

/** The largest errors that are claimed. */
const claimed: Record<Exclude<Comparison['source'], 'ZeRO'>, number> = {
  'Megatron-LM 2021': 0.08,
  'Megatron-LM 2022': 0.09,
  torchtitan: 0.16,
  'llm.c': 0.05,
};

const all = comparisons();

test("every entry of the ZeRO paper's table, to its last digit", () => {
  const table = all.filter(({ source }) => source === 'ZeRO');
  assert.equal(table.length, 54);
  for (const { name, published, planned } of table) {
    const decimals = /\.(\d+)$/.exec(String(published))?.[1]?.length ?? 0;
    // The paper rounds some and cuts others.
    assert.ok(Math.abs(planned - published) < 10 ** -decimals, `${name}: ${planned} for ${published}`);
  }
});

for (const [source, bound] of Object.entries(claimed))
  describe(source, () => {
    for (const row of all.filter((one) => one.source === source))
      test(row.name, () => {
        assert.ok(Math.abs(error(row)) <= bound, tableRow(row));
      });
  });

test('docs/planner.md lists every row and the errors that are claimed', async () => {
  const page = (await readFile(join(packageRoot(), 'docs', 'planner.md'), 'utf8')).replaceAll(/ +/g, ' ');
  const missing = all
    .filter(({ source }) => source !== 'ZeRO')
    .map(tableRow)
    .filter((row) => !page.includes(row));
  assert.deepEqual(missing, []);
  for (const [source, bound] of Object.entries(claimed))
    assert.ok(page.includes(`${source}, within ${(100 * bound).toFixed(0)} %`), source);
});
