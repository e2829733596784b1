/**
 * Philox4x32-10, the counter-based random number generator of Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (SC 2011), table 2 and section 4.3, written as plainly as BigInt allows.
 */

const mask32 = 0xffffffffn;
const multiplier0 = 0xd2511f53n;
const multiplier1 = 0xcd9e8d57n;
/** The golden ratio and sqrt(3) - 1, each times 2^32: what the key grows by from round to round. */
const weyl0 = 0x9e3779b9n;
const weyl1 = 0xbb67ae85n;

export type Words4 = readonly [number, number, number, number];

/** Ten rounds of Philox: four 32-bit words for a counter of four words and a key of two. */
export function philox(counter: Words4, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = [BigInt(counter[0]), BigInt(counter[1]), BigInt(counter[2]), BigInt(counter[3])];
  let [k0, k1] = [BigInt(key[0]), BigInt(key[1])];
  for (let round = 0; round < 10; round++) {
    const product0 = multiplier0 * c0;
    const product1 = multiplier1 * c2;
    [c0, c1, c2, c3] = [
      (product1 >> 32n) ^ c1 ^ k0,
      product1 & mask32,
      (product0 >> 32n) ^ c3 ^ k1,
      product0 & mask32,
    ];
    k0 = (k0 + weyl0) & mask32;
    k1 = (k1 + weyl1) & mask32;
  }
  return [Number(c0), Number(c1), Number(c2), Number(c3)];
}

/** The low and high 32 bits of an integer of up to 53 bits (two's complement when negative). */
function halves(integer: number): readonly [number, number] {
  const bits = BigInt.asUintN(64, BigInt(integer));
  return [Number(bits & mask32), Number(bits >> 32n)];
}

/** The four words that cover elements 4*block .. 4*block + 3 of a stream. */
export function blockOf(seed: number, stream: number, block: number): Words4 {
  return philox([...halves(block), ...halves(stream)], halves(seed));
}

/** A word as a number strictly between 0 and 1. */
export function uniformFromWord(word: number): number {
  return (word + 0.5) / 2 ** 32;
}

/** Element `index` of a stream of uniform numbers in (0, 1): word index % 4 of block index / 4. */
export function uniform(seed: number, stream: number, index: number): number {
  const word = blockOf(seed, stream, Math.floor(index / 4))[index % 4] ?? NaN;
  return uniformFromWord(word);
}

/** Element `index` of a stream of standard normal numbers: Box-Muller on words (0, 1) or (2, 3) of its block. */
export function standardNormal(seed: number, stream: number, index: number): number {
  const [w0, w1, w2, w3] = blockOf(seed, stream, Math.floor(index / 4));
  const [first, second] = index % 4 < 2 ? [w0, w1] : [w2, w3];
  const radius = Math.sqrt(-2 * Math.log(uniformFromWord(first)));
  const angle = 2 * Math.PI * uniformFromWord(second);
  return index % 2 === 0 ? radius * Math.cos(angle) : radius * Math.sin(angle);
}
