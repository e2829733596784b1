/** Choosing the next token from logits. */
import { mix } from './data/batches.ts';

/** How to sample. */
export interface Sampling {
  /** 0 = the likeliest token, always. */
  readonly temperature: number;
  /** Keep the k likeliest; 0 = all. */
  readonly topK: number;
  /** Keep the smallest set whose probability reaches p (Holtzman et al. 2020); 1 = all. */
  readonly topP: number;
  readonly seed: number;
}

/** Uniform number in [0, 1) that belongs to place `index` of a seed: the same text for the same seed. */
function uniform(seed: number, index: number): number {
  return (mix(seed, index, 3) * 2 ** 21 + (mix(seed, index, 4) >>> 11)) / 2 ** 53;
}

/** The token id drawn for place `index` of a text from `logits` [V]. */
export function sampleToken(
  logits: Float32Array,
  { temperature, topK, topP, seed }: Sampling,
  index: number,
): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] ?? 0) > (logits[best] ?? 0)) best = id;
  if (temperature === 0) return best;
  const highest = logits[best] ?? 0;
  let candidates = Array.from(logits, (logit, id) => ({
    id,
    weight: Math.exp((logit - highest) / temperature),
  }));
  if (topK > 0 || topP < 1) {
    candidates.sort((a, b) => b.weight - a.weight || a.id - b.id);
    if (topK > 0) candidates = candidates.slice(0, topK);
    if (topP < 1) {
      const enough = topP * candidates.reduce((total, { weight }) => total + weight, 0);
      let reached = 0;
      const last = candidates.findIndex(({ weight }) => (reached += weight) >= enough);
      candidates = candidates.slice(0, last + 1 || candidates.length);
    }
  }
  let left = uniform(seed, index) * candidates.reduce((total, { weight }) => total + weight, 0);
  for (const { id, weight } of candidates) {
    left -= weight;
    if (left < 0) return id;
  }
  return best;
}
