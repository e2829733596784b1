/** How long communication takes: rings over the groups of the mesh (tensor ranks are neighbours, then data, then stages). */
import type { Axis } from '../mesh.ts';
import { worldSize, type Layout } from './job.ts';
import type { Machine } from './machine.ts';

/** What one rank of a group gets of the wires. */
export interface Wire {
  /** Bytes a second that come to a rank. */
  readonly bandwidth: number;
  readonly latency: number;
}

/** The wire of a group along an axis. */
export function wireOf(machine: Machine, layout: Layout, axis: Axis): Wire {
  const { tensor, data, pipeline } = layout;
  const { inside, between, devicesPerNode: node, linkShare } = machine;
  if (machine.shared)
    return { bandwidth: (inside.bandwidth * linkShare) / worldSize(layout), latency: inside.latency };
  const stride = { tensor: 1, data: tensor, pipeline: tensor * data }[axis];
  const size = { tensor, data, pipeline }[axis];
  if (stride * size <= node) return { bandwidth: inside.bandwidth * linkShare, latency: inside.latency };
  if (axis === 'pipeline') return { bandwidth: between.bandwidth * linkShare, latency: between.latency };
  // Several ranks of a group in a node use the adapters of all of them.
  const perNode = Math.max(1, Math.floor(node / stride));
  const bandwidth = Math.min(inside.bandwidth, perNode * between.bandwidth);
  return { bandwidth: bandwidth * linkShare, latency: between.latency };
}

/** Seconds of an all-gather or a reduce-scatter of a tensor of `bytes` among n ranks; an all-reduce is both. */
export function gatherSeconds({ bandwidth, latency }: Wire, n: number, bytes: number): number {
  return n === 1 ? 0 : (((n - 1) / n) * bytes) / bandwidth + Math.log2(n) * latency;
}
