/** Thousands of cases on shapes drawn at random, small ones mostly; a failure names its shape. */
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { full } from '../full.ts';
import { ReferenceEngine } from '../oracle/reference-engine.ts';
import {
  attentions,
  cachedAttentions,
  embeddings,
  heads,
  inBf16,
  linearLayers,
  norms,
  passes,
} from './cases.ts';
import { assertClose, nameOf, resultsOf } from './check.ts';
import { engines } from './engines.ts';
import { type OperationCase, randomNumbers } from './operation-case.ts';

const random = randomNumbers(20_261_124);

/** A whole number from 1 to `most`, small ones as likely as large ones (uniform in its logarithm). */
function size(most: number): number {
  return Math.min(most, Math.floor(Math.exp(random() * Math.log(most + 1))));
}

/**
 * What is drawn, and the magnitude that errors are a part of where results are smaller: sums of numbers around 1 may
 * cancel to next to nothing.
 */
const draws: Readonly<Record<string, { count: number; draw: () => OperationCase[]; floor?: number }>> = {
  passes: { count: 40, draw: () => passes(size(3000)) },
  embeddings: { count: 60, draw: () => embeddings(size(4), size(40), size(70), size(60)) },
  norms: { count: 100, draw: () => norms(size(70), 4 + size(200)), floor: 1 },
  'linear layers': { count: 100, draw: () => linearLayers(size(80), size(90), size(90)), floor: 1 },
  attention: {
    count: 100,
    draw: () => attentions(size(3), size(90), size(4), size(40), random() < 0.2 ? 0.25 : 0),
  },
  'attention on long contexts and large heads': {
    count: 1,
    draw: () => attentions(1, 2048 - size(40), 1, 16).concat(attentions(1, size(90), 1, 256)),
  },
  'cached attention': {
    count: 100,
    draw: () => [cachedAttentions(size(3), size(70), size(4), size(40), size(80) - 1)],
  },
  'output heads': { count: 100, draw: () => heads(size(80), size(40), size(300)), floor: 1 },
};

const reference = new ReferenceEngine();
for (const subject of engines) {
  suite(`the ${subject.name} engine on random shapes`, () => {
    const engine = subject.open(2);
    after(() => engine.dispose());
    for (const [name, { count: some, draw, floor }] of Object.entries(draws)) {
      const count = full ? 10 * some : some;
      test(`${count} x ${name}`, async () => {
        for (let drawn = 0; drawn < count; drawn++) {
          for (const one of draw().flatMap((wide) => [wide, ...inBf16(wide)])) {
            try {
              assertClose(
                await resultsOf(engine, one),
                await resultsOf(reference, one),
                one.tolerance,
                floor,
              );
            } catch (error) {
              assert.fail(`${nameOf(one)}: ${error instanceof Error ? error.message : String(error)}`);
            }
          }
        }
      });
    }
  });
}
