import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockOf, philox, standardNormal, uniform, type Words4 } from './philox.ts';

/** tests/kat_vectors of Random123 1.14.0 (D. E. Shaw Research), the three lines "philox4x32 10". */
const knownAnswers: { counter: Words4; key: readonly [number, number]; words: Words4 }[] = [
  {
    counter: [0, 0, 0, 0],
    key: [0, 0],
    words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
];

test("Philox4x32-10 gives Random123's known answers", () => {
  for (const { counter, key, words } of knownAnswers) assert.deepEqual(philox(counter, key), words);
});

test('The counter is the block then the stream, the key is the seed, low words first', () => {
  const high = 2 ** 32;
  assert.deepEqual(blockOf(5 * high + 6, 3 * high + 4, 1 * high + 2), philox([2, 1, 4, 3], [6, 5]));
});

test('Uniform numbers are the words of consecutive blocks plus a half over 2^32', () => {
  const words = [...blockOf(42, 7, 0), ...blockOf(42, 7, 1)];
  words.forEach((word, i) => assert.equal(uniform(42, 7, i), (word + 0.5) / 2 ** 32));
});

test('Normal numbers have mean 0, variance 1 and kurtosis 3', () => {
  const count = 20_000;
  const moments = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    const x = standardNormal(1, 2, i);
    [1, 2, 4].forEach((power, k) => (moments[k] = (moments[k] ?? 0) + x ** power / count));
  }
  const [mean = NaN, variance = NaN, fourth = NaN] = moments;
  // Four standard errors: of the mean 1/sqrt(n), of the variance sqrt(2/n), of the fourth moment sqrt(96/n).
  assert.ok(Math.abs(mean) < 4 / Math.sqrt(count), `mean ${mean}`);
  assert.ok(Math.abs(variance - 1) < 4 * Math.sqrt(2 / count), `variance ${variance}`);
  assert.ok(Math.abs(fourth - 3) < 4 * Math.sqrt(96 / count), `fourth moment ${fourth}`);
});
