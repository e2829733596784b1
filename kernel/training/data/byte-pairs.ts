/**
 * Byte-pair encoding learned from a text (Sennrich et al. 2016) over bytes (Radford et al. 2019): ids 0 to 255 are
 * the bytes, id 256 + i joins the two ids of merge i. Any text can be encoded, whatever the merges were learned from.
 */
import { setImmediate } from 'node:timers/promises';

/** The two ids that a merge joins. */
export type Merge = readonly [number, number];

/** Ids that no merge has made. */
export const BYTES = 256;

/** GPT-2's pre-tokenizer: merges never reach across these pieces. */
const PIECES = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

const utf8 = new TextEncoder();

/** A distinct piece of the text: its ids under the merges so far, and how often it occurs. */
interface Word {
  ids: number[];
  readonly count: number;
}

/** One number for a pair of ids, exact for ids below 2^26. */
const PAIR = 2 ** 26;
const pairKey = (left: number, right: number): number => left * PAIR + right;

/** Counts the pieces of a text that comes in parts, which must be cut where `PIECES` would cut. */
export class PieceCounter {
  readonly #counts = new Map<string, number>();

  add(text: string): void {
    for (const piece of text.match(PIECES) ?? []) this.#counts.set(piece, (this.#counts.get(piece) ?? 0) + 1);
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}

/** Merges between two turns of the event loop; the first ones touch the most words. */
const MERGES_A_TURN = 16;

/** A pair with the total that it had when it was queued. */
interface Candidate {
  readonly key: number;
  readonly total: number;
}

/** Whether a pair is merged before another: more frequent, or as frequent and of smaller ids. */
const comesFirst = (a: Candidate, b: Candidate): boolean =>
  a.total > b.total || (a.total === b.total && a.key < b.key);

/** A binary heap of pairs, the one to merge next on top. */
class CandidateQueue {
  readonly #heap: Candidate[] = [];

  push(candidate: Candidate): void {
    const heap = this.#heap;
    let at = heap.push(candidate) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!comesFirst(candidate, heap[parent] ?? candidate)) break;
      heap[at] = heap[parent] ?? candidate;
      at = parent;
    }
    heap[at] = candidate;
  }

  pop(): Candidate | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && comesFirst(heap[child + 1] ?? last, heap[child] ?? last)) child++;
      if (!comesFirst(heap[child] ?? last, last)) break;
      heap[at] = heap[child] ?? last;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}

/**
 * Up to `merges` merges, the most frequent pair first; among equals the pair of the smaller ids. Fewer where no pair
 * occurs twice. `takeTurn` is awaited now and then: the event loop is busy between.
 */
export async function learnMerges(
  pieces: ReadonlyMap<string, number>,
  merges: number,
  takeTurn: () => Promise<void> = setImmediate,
): Promise<Merge[]> {
  const totals = new Map<number, number>();
  /** Words that a pair occurs in, or once did. */
  const places = new Map<number, Set<Word>>();
  /** Every pair stands in it with its present total, and perhaps with totals that it once had. */
  const queue = new CandidateQueue();
  const changed = new Set<number>();
  const count = (word: Word, sign: 1 | -1): void => {
    for (let i = 1; i < word.ids.length; i++) {
      const key = pairKey(word.ids[i - 1] ?? 0, word.ids[i] ?? 0);
      totals.set(key, (totals.get(key) ?? 0) + sign * word.count);
      changed.add(key);
      if (sign < 0) continue;
      const found = places.get(key);
      if (found) found.add(word);
      else places.set(key, new Set([word]));
    }
  };
  const queueChanged = (): void => {
    for (const key of changed) {
      const total = totals.get(key) ?? 0;
      if (total > 1) queue.push({ key, total });
    }
    changed.clear();
  };

  for (const [piece, occurrences] of pieces)
    count({ ids: Array.from(utf8.encode(piece)), count: occurrences }, 1);
  queueChanged();
  const learned: Merge[] = [];
  while (learned.length < merges) {
    const best = queue.pop();
    if (best === undefined) break;
    if (totals.get(best.key) !== best.total) continue;
    const merge: Merge = [Math.floor(best.key / PAIR), best.key % PAIR];
    const id = BYTES + learned.length;
    learned.push(merge);
    for (const word of places.get(best.key) ?? []) {
      count(word, -1);
      word.ids = joinPair(word.ids, merge, id);
      count(word, 1);
    }
    totals.delete(best.key);
    places.delete(best.key);
    queueChanged();
    if (learned.length % MERGES_A_TURN === 0) await takeTurn();
  }
  return learned;
}

/** `ids` with every occurrence of the pair replaced, from the left. */
function joinPair(ids: readonly number[], [left, right]: Merge, id: number): number[] {
  const joined: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) {
      joined.push(id);
      i++;
    } else {
      joined.push(ids[i] ?? 0);
    }
  }
  return joined;
}

/** Distinct pieces whose ids are remembered, at most: a text repeats its words. */
const REMEMBERED = 100_000;

/** Encoder and decoder of one list of merges. */
export class BytePairs {
  readonly vocabularySize: number;
  readonly #ranks: ReadonlyMap<number, number>;
  readonly #merges: readonly Merge[];
  readonly #bytes: Uint8Array[];
  readonly #known = new Map<string, readonly number[]>();

  constructor(merges: readonly Merge[]) {
    this.vocabularySize = BYTES + merges.length;
    this.#merges = merges;
    this.#ranks = new Map(merges.map(([left, right], rank) => [pairKey(left, right), rank]));
    this.#bytes = Array.from({ length: BYTES }, (_, byte) => Uint8Array.of(byte));
    for (const [left, right] of merges)
      this.#bytes.push(Buffer.concat([this.decode([left]), this.decode([right])]));
  }

  encode(text: string): number[] {
    return (text.match(PIECES) ?? []).flatMap((piece) => this.#encodePiece(piece));
  }

  /** The bytes of some ids; unknown ones give nothing. */
  decode(ids: readonly number[]): Uint8Array {
    return new Uint8Array(Buffer.concat(ids.map((id) => this.#bytes[id] ?? new Uint8Array())));
  }

  /** Applies the earliest merge that fits until none does. */
  #encodePiece(piece: string): readonly number[] {
    const known = this.#known.get(piece);
    if (known) return known;
    let ids = Array.from(utf8.encode(piece));
    for (;;) {
      let first = Infinity;
      for (let i = 1; i < ids.length; i++)
        first = Math.min(first, this.#ranks.get(pairKey(ids[i - 1] ?? 0, ids[i] ?? 0)) ?? Infinity);
      const merge = this.#merges[first];
      if (merge === undefined) break;
      ids = joinPair(ids, merge, BYTES + first);
    }
    if (this.#known.size < REMEMBERED) this.#known.set(piece, ids);
    return ids;
  }
}
