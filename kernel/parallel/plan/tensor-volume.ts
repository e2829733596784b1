/**
 * What a tensor group moves for one linear layer y [N,O] = x [N,I] · w [I,O]: elements that come to each rank.
 *
 * 1D is Megatron-LM's: of two layers after each other the first is split by columns and the second by rows, so each has
 * one all-reduce, forward (of y, by rows) or backward (of dx, by columns). 2D is SUMMA on q x q tiles (Xu et al. 2021,
 * arXiv 2104.05343), 2.5D the same on d copies of w (Wang et al. 2021, arXiv 2105.14500), 3D an all-gather of x and w and a
 * reduce-scatter of y along the three edges of a cube (Bian et al. 2021, arXiv 2105.14450).
 */
import { tensorEdge } from '../../protocol/tensor-rules.ts';
import type { Layout } from './job.ts';

/** A linear layer: tokens, inputs, outputs, and how 1D splits it. */
export interface LinearLayer {
  readonly N: number;
  readonly I: number;
  readonly O: number;
  readonly split: 'columns' | 'rows';
}

/** Elements that come to one rank in the forward and in the backward pass. */
export interface Volume {
  readonly forward: number;
  readonly backward: number;
}

/** Throws a RangeError when `tensor` ranks make no such grid. */
export function linearVolume(
  { tensor: n, tensorMode: mode }: Pick<Layout, 'tensor' | 'tensorMode'>,
  { N, I, O, split }: LinearLayer,
): Volume {
  const edge = tensorEdge(mode, n);
  if (edge === undefined)
    throw new RangeError(`parallel.tensor is ${n}: there is no grid for parallel.tensorMode "${mode}"`);
  const { q, depth: d } = edge;
  switch (mode) {
    case '1d': {
      const allReduce = (elements: number): number => ((2 * (n - 1)) / n) * elements;
      return split === 'rows'
        ? { forward: allReduce(N * O), backward: 0 }
        : { forward: 0, backward: allReduce(N * I) };
    }
    case '2d':
    case '2.5d': {
      // q steps, in each of which a rank gets the tiles of x and w that are not its own.
      const x = (N * I) / (d * q * q);
      const w = (I * O) / (q * q);
      // dx = dy · wᵀ: tiles of w come, sums of dx go; dw = xᵀ · dy: tiles of x come, sums of dw go; copies of dw are added.
      const copies = ((2 * (d - 1)) / d) * w;
      return { forward: (q - 1) * (x + w), backward: 2 * (q - 1) * (x + w) + copies };
    }
    case '3d': {
      const moved = ((q - 1) / q ** 3) * (N * I + I * O + N * O);
      // Gathered x and w are kept: dy is gathered, dx and dw are reduced and scattered.
      return { forward: moved, backward: moved };
    }
  }
}

/** The four linear layers of a block of GPT-2 together. */
export function blockVolume(layout: Layout, N: number, C: number, hidden: number, keyValues: number): Volume {
  const layers: LinearLayer[] = [
    { N, I: C, O: C + 2 * keyValues, split: 'columns' },
    { N, I: C, O: C, split: 'rows' },
    { N, I: C, O: hidden, split: 'columns' },
    { N, I: hidden, O: C, split: 'rows' },
  ];
  const volumes = layers.map((layer) => linearVolume(layout, layer));
  return {
    forward: volumes.reduce((sum, { forward }) => sum + forward, 0),
    backward: volumes.reduce((sum, { backward }) => sum + backward, 0),
  };
}
