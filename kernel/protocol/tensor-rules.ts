/** Tensor groups: which there can be, and which of them this version runs. */
import type { Rule } from './configuration-rules.ts';

/** Edge q of a tensor group of n = q², q²·depth (2.5D; depth is the smallest that fits, above 1 where there is one) or q³. */
export function tensorEdge(
  mode: '1d' | '2d' | '2.5d' | '3d',
  n: number,
): { q: number; depth: number } | undefined {
  const root = (power: number, of: number): number | undefined => {
    const q = Math.round(of ** (1 / power));
    return q ** power === of ? q : undefined;
  };
  switch (mode) {
    case '1d':
      return { q: n, depth: 1 };
    case '2d':
    case '3d': {
      const q = root(mode === '2d' ? 2 : 3, n);
      return q === undefined ? undefined : { q, depth: mode === '2d' ? 1 : q };
    }
    case '2.5d':
      for (const depth of [2, 3, 4, 1]) {
        const q = n % depth === 0 ? root(2, n / depth) : undefined;
        if (q !== undefined) return { q, depth };
      }
      return undefined;
  }
}

const tensorSizes = {
  '1d': 'any number',
  '2d': 'a square (4, 9, 16)',
  '2.5d': 'a square times 1 to 4 (4, 8, 12, 18)',
  '3d': 'a cube (8, 27)',
};

/** Rules of tensor groups that no version could run. */
export const tensorRules: readonly Rule[] = [
  {
    keys: ['parallel.tensor', 'parallel.tensorMode'],
    problem: ({ parallel: { tensor, tensorMode } }) =>
      tensorEdge(tensorMode, tensor) !== undefined
        ? undefined
        : `parallel.tensor is ${tensor}: allowed is ${tensorSizes[tensorMode]} with parallel.tensorMode "${tensorMode}"`,
  },
  {
    keys: ['parallel.tensor', 'parallel.tensorMode', 'model.heads', 'model.preset'],
    problem: ({ parallel: { tensor, tensorMode }, model: { heads } }) => {
      // Tiles split the heads along one edge only.
      const edge = tensorMode === '1d' ? undefined : tensorEdge(tensorMode, tensor);
      return edge === undefined || heads % edge.q === 0
        ? undefined
        : `parallel.tensor is ${tensor}: allowed with parallel.tensorMode "${tensorMode}" are grids whose edge, here ${edge.q}, divides model.heads, ${heads}`;
    },
  },
  {
    keys: ['parallel.sequenceParallel', 'parallel.tensor'],
    problem: ({ parallel: { sequenceParallel, tensor } }) =>
      !sequenceParallel || tensor > 1
        ? undefined
        : `parallel.sequenceParallel is true: allowed is false with parallel.tensor ${tensor}, where one rank has all tokens`,
  },
  {
    keys: ['parallel.sequenceParallel', 'parallel.tensorMode'],
    problem: ({ parallel: { sequenceParallel, tensorMode } }) =>
      !sequenceParallel || tensorMode === '1d'
        ? undefined
        : `parallel.sequenceParallel is true: allowed is false with parallel.tensorMode "${tensorMode}", whose tiles split the tokens themselves`,
  },
  {
    keys: [
      ...['parallel.sequenceParallel', 'parallel.tensor', 'parallel.data', 'parallel.microBatches'],
      ...['training.batchSize', 'training.sequenceLength', 'model.contextLength', 'model.preset'],
    ],
    problem: ({ parallel, training: { batchSize, sequenceLength } }) => {
      const { sequenceParallel, tensor, data, microBatches } = parallel;
      const sequences = batchSize / (data * microBatches);
      const tokens = sequences * sequenceLength;
      return !sequenceParallel || !Number.isInteger(sequences) || tokens % tensor === 0
        ? undefined
        : `parallel.sequenceParallel is true: allowed is false unless parallel.tensor, ${tensor}, divides the ${tokens} tokens of a micro-batch, ${sequences} x training.sequenceLength ${sequenceLength}`;
    },
  },
];

/** What this version can run, beyond what can be planned. */
export const runRules: readonly Rule[] = [
  {
    keys: ['parallel.tensorMode'],
    problem: ({ parallel: { tensorMode } }) =>
      tensorMode === '1d'
        ? undefined
        : `parallel.tensorMode is "${tensorMode}": allowed is "1d" in a run of this version; \`gpt-lab plan\` forecasts others`,
  },
];
