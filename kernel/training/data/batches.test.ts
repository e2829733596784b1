import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DummySequences, evaluationBatches, permute, TrainingSequences } from './batches.ts';

const ascending = (length: number): Uint16Array => Uint16Array.from({ length }, (_, i) => i);

test('a permutation takes every place once, another with another key', () => {
  for (const size of [1, 2, 3, 10, 1000, 1024, 5000]) {
    const places = Array.from({ length: size }, (_, i) => permute(i, size, 7));
    assert.deepEqual(
      places.toSorted((a, b) => a - b),
      Array.from({ length: size }, (_, i) => i),
    );
  }
  const order = (key: number): string => Array.from({ length: 100 }, (_, i) => permute(i, 100, key)).join();
  assert.equal(order(7), order(7));
  assert.notEqual(order(7), order(8));
});

test('targets are the tokens that follow, and an epoch takes every window once', () => {
  const T = 16;
  const sequences = new TrainingSequences(ascending(1000), T, 42);
  for (const epoch of [0, 1, 2]) {
    const { tokens, targets } = sequences.batch(epoch * sequences.windows, sequences.windows);
    assert.deepEqual(
      Array.from(targets),
      Array.from(tokens, (token) => token + 1),
    );
    const starts = Array.from({ length: sequences.windows }, (_, i) => tokens[i * T] ?? -1).sort(
      (a, b) => a - b,
    );
    const [first = 0] = starts;
    assert.ok(first < T);
    assert.deepEqual(
      starts,
      starts.map((_, i) => first + i * T),
    );
  }
});

test('a batch depends on the seed and the number of its first sequence, not on how it is divided', () => {
  const sequences = new TrainingSequences(ascending(1000), 8, 1);
  const whole = sequences.batch(100, 6);
  const parts = [100, 102, 104].map((first) => sequences.batch(first, 2));
  assert.deepEqual(
    Array.from(whole.tokens),
    parts.flatMap(({ tokens }) => Array.from(tokens)),
  );
  assert.notDeepEqual(new TrainingSequences(ascending(1000), 8, 2).batch(100, 6), whole);
});

test('a text of exactly one sequence is taken again and again, a shorter one refused', () => {
  const sequences = new TrainingSequences(ascending(9), 8, 1);
  assert.equal(sequences.windows, 1);
  assert.deepEqual(Array.from(sequences.batch(5, 1).tokens), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.throws(
    () => new TrainingSequences(ascending(8), 8, 1),
    /8 training tokens and one sequence needs 9/,
  );
});

test('random tokens are the same at the same place', () => {
  const sequences = new DummySequences(50, 8, 3);
  const { tokens, targets } = sequences.batch(4, 3);
  assert.deepEqual(sequences.batch(5, 1).tokens, tokens.slice(8, 16));
  assert.deepEqual(targets.slice(0, 7), tokens.slice(1, 8));
  assert.ok(tokens.every((token) => token >= 0 && token < 50));
});

test('an evaluation looks at fixed windows that are spread evenly; places that are left over do not count', () => {
  const batches = evaluationBatches(ascending(101), 10, 4, 70);
  const starts = batches.flatMap(({ tokens, targets }) =>
    [0, 1, 2, 3].flatMap((i) => (targets[i * 10] === -1 ? [] : [tokens[i * 10]])),
  );
  assert.deepEqual(starts, [0, 10, 20, 40, 50, 70, 80]);
  assert.equal(batches.at(-1)?.targets.filter((target) => target === -1).length, 10);
  assert.deepEqual(evaluationBatches(ascending(10), 10, 4), []);
});
