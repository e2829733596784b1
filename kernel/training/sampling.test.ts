import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sampleToken, type Sampling } from './sampling.ts';

const logits = Float32Array.of(0, Math.log(2), Math.log(4), Math.log(1), -Infinity);
const plain: Sampling = { temperature: 1, topK: 0, topP: 1, seed: 5 };

/** How often each id is drawn in 20,000 places. */
function frequencies(sampling: Partial<Sampling>): number[] {
  const counts = new Array<number>(logits.length).fill(0);
  for (let i = 0; i < 20_000; i++) {
    const id = sampleToken(logits, { ...plain, ...sampling }, i);
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts.map((count) => count / 20_000);
}

function assertClose(found: number[], expected: number[]): void {
  found.forEach((share, id) => {
    assert.ok(Math.abs(share - (expected[id] ?? 0)) < 0.015, `${found.join(' ')} for ${expected.join(' ')}`);
  });
}

test('tokens are drawn by their probability, sharpened or flattened by the temperature', () => {
  assertClose(frequencies({}), [1 / 8, 2 / 8, 4 / 8, 1 / 8, 0]);
  assertClose(frequencies({ temperature: 0.5 }), [1 / 22, 4 / 22, 16 / 22, 1 / 22, 0]);
  assert.deepEqual(frequencies({ temperature: 0 }), [0, 0, 1, 0, 0]);
});

test('top-k keeps the k likeliest, top-p the fewest that have probability p together', () => {
  assertClose(frequencies({ topK: 2 }), [0, 1 / 3, 2 / 3, 0, 0]);
  assertClose(frequencies({ topK: 100 }), [1 / 8, 2 / 8, 4 / 8, 1 / 8, 0]);
  assertClose(frequencies({ topP: 0.5 }), [0, 0, 1, 0, 0]);
  assertClose(frequencies({ topP: 0.6 }), [0, 1 / 3, 2 / 3, 0, 0]);
  assertClose(frequencies({ topK: 3, topP: 0.9 }), [1 / 7, 2 / 7, 4 / 7, 0, 0]);
});

test('a seed and a place always give the same token', () => {
  const draw = (seed: number): string =>
    Array.from({ length: 50 }, (_, i) => sampleToken(logits, { ...plain, seed }, i)).join();
  assert.equal(draw(1), draw(1));
  assert.notEqual(draw(1), draw(2));
});
