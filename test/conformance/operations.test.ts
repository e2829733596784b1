/** Every operation of every engine against the float64 oracle; not-a-number and infinity; the number of threads. */
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { ReferenceEngine } from '../oracle/reference-engine.ts';
import { cases } from './cases.ts';
import { assertClose, nameOf, resultsOf, type Results } from './check.ts';
import { engines } from './engines.ts';
import type { Content, OperationCase } from './operation-case.ts';

/** The contents with one element of one tensor replaced. */
function poisoned(
  contents: OperationCase['contents'],
  name: string,
  position: number,
  poison: number,
): Readonly<Record<string, Content>> {
  const content = contents[name];
  assert.ok(content);
  const values = content.values.slice();
  values[position] = poison;
  return { ...contents, [name]: { ...content, values } };
}

/** What manages memory and the queue has tests of its own. */
const notOperations = [
  ...['allocate', 'release', 'evict', 'write', 'read', 'values'],
  ...['finish', 'record', 'wait', 'dispose', 'constructor'],
];

test('the table has every operation of the engine interface', () => {
  const operations = Object.getOwnPropertyNames(ReferenceEngine.prototype);
  const wanted = operations.filter((name) => !notOperations.includes(name));
  assert.deepEqual([...new Set(cases.flatMap((one) => one.operations))].sort(), wanted.sort());
});

const reference = new ReferenceEngine();
/** The oracle is slow: each case's results are worked out once for all engines. */
const expected = new Map<OperationCase, Promise<Results>>();
function expectedOf(one: OperationCase): Promise<Results> {
  const known = expected.get(one) ?? resultsOf(reference, one);
  expected.set(one, known);
  return known;
}

for (const subject of engines) {
  suite(`the ${subject.name} engine`, () => {
    const engine = subject.open(2);
    after(() => engine.dispose());

    for (const one of cases) {
      test(nameOf(one), async () => {
        assertClose(await resultsOf(engine, one), await expectedOf(one), one.tolerance);
      });
    }

    test('gives the same results on 1, 3 and 5 threads as on 2', async () => {
      for (const threads of [1, 3, 5]) {
        const other = subject.open(threads);
        for (const one of cases) {
          const [results, same] = [await resultsOf(other, one), await resultsOf(engine, one)];
          if (subject.acrossThreads === 'bitwise')
            assert.deepEqual(results, same, `${nameOf(one)}, ${threads} threads`);
          else assertClose(results, same, 1e-6);
        }
        await other.dispose();
      }
    });

    for (const poison of [NaN, Infinity, -Infinity]) {
      test(`lets ${poison} through wherever the oracle does`, async () => {
        const reached = new Set<string>();
        for (const one of cases) {
          const small = Object.values(one.contents).every(({ values }) => values.length <= 2500);
          if (!small) continue;
          for (const [tensor, { type, values }] of Object.entries(one.contents)) {
            if (type === 'i32') continue;
            for (const position of new Set([0, values.length >> 1, values.length - 1])) {
              const contents = poisoned(one.contents, tensor, position, poison);
              const results = await resultsOf(engine, one, contents);
              for (const [output, right] of Object.entries(await resultsOf(reference, one, contents))) {
                Array.from(right).forEach((value, i) => {
                  if (Number.isFinite(value)) return;
                  for (const operation of one.operations) reached.add(operation);
                  assert.ok(
                    !Number.isFinite(results[output]?.[i]),
                    `${nameOf(one)}: ${tensor}[${position}] = ${poison} makes ${output}[${i}] ${value}, got ${results[output]?.[i] ?? NaN}`,
                  );
                });
              }
            }
          }
        }
        // Filling and drawing read nothing; an infinite norm is clipped to the factor 0.
        const unreached = ['fill', 'randomNormal', ...(poison === Infinity ? ['clipFactor'] : [])];
        const wanted = new Set(cases.flatMap((one) => one.operations));
        assert.deepEqual([...wanted].filter((operation) => !reached.has(operation)).sort(), unreached.sort());
      });
    }
  });
}
