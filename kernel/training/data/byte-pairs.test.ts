import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BytePairs, BYTES, learnMerges, PieceCounter } from './byte-pairs.ts';

function count(text: string): ReadonlyMap<string, number> {
  const counter = new PieceCounter();
  counter.add(text);
  return counter.counts;
}

const bytes = (text: string): number[] => [...new TextEncoder().encode(text)];

test('the most frequent pair is merged first, among equals that of the smaller ids, until none occurs twice', async () => {
  // Pairs of "abab abab": ab 4 times, then (ab, ab) twice; " a" once, which the second word has.
  assert.deepEqual(await learnMerges(count('abab abab'), 10), [bytes('ab'), [BYTES, BYTES]]);
  assert.deepEqual(await learnMerges(count('ba ba dc dc'), 1), [bytes(' d')]);
  assert.deepEqual(await learnMerges(count('abcdef'), 10), []);
});

test('a pair that overlaps itself is merged from the left', async () => {
  const merges = await learnMerges(count('aaaaa'), 1);
  assert.deepEqual(merges, [bytes('aa')]);
  assert.deepEqual(new BytePairs(merges).encode('aaaaa'), [BYTES, BYTES, ...bytes('a')]);
});

test('the queue of pairs chooses as a search through all of them would', async () => {
  const letters = Array.from({ length: 4000 }, (_, i) => 'abcde '[(i * i + Math.floor(i / 7)) % 6] ?? '');
  const pieces = count(letters.join(''));
  assert.deepEqual(await learnMerges(pieces, 60), slowMerges(pieces, 60));
});

/** The definition: counts every pair anew for every merge. */
function slowMerges(pieces: ReadonlyMap<string, number>, merges: number): [number, number][] {
  let words = [...pieces].map(([piece, times]) => ({ ids: bytes(piece), times }));
  const learned: [number, number][] = [];
  while (learned.length < merges) {
    const totals = new Map<string, number>();
    for (const { ids, times } of words) {
      for (let i = 1; i < ids.length; i++) {
        const key = `${ids[i - 1]} ${ids[i]}`;
        totals.set(key, (totals.get(key) ?? 0) + times);
      }
    }
    const pairs = [...totals].map(([key, total]) => ({ pair: key.split(' ').map(Number), total }));
    pairs.sort(
      (a, b) =>
        b.total - a.total || (a.pair[0] ?? 0) - (b.pair[0] ?? 0) || (a.pair[1] ?? 0) - (b.pair[1] ?? 0),
    );
    const [best] = pairs;
    if (best === undefined || best.total < 2) break;
    const [left = 0, right = 0] = best.pair;
    const id = BYTES + learned.length;
    learned.push([left, right]);
    words = words.map(({ ids, times }) => {
      const joined: number[] = [];
      for (const next of ids) {
        if (joined.at(-1) === left && next === right) joined[joined.length - 1] = id;
        else joined.push(next);
      }
      return { ids: joined, times };
    });
  }
  return learned;
}

test('any text comes back from its ids, whatever the merges were learned from', async () => {
  const pairs = new BytePairs(await learnMerges(count('the whale, the white whale. '.repeat(9)), 40));
  const text = "The whale\n\n\tisn't “white”: 3141 Wale, 鯨 🐋!  \r\n";
  assert.equal(new TextDecoder().decode(pairs.decode(pairs.encode(text))), text);
  assert.equal(pairs.encode(' whale').length, 1);
  assert.ok(pairs.vocabularySize <= BYTES + 40);
});
