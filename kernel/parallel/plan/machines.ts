/**
 * A library of GPUs in nodes of eight. Peaks (dense bf16; TF32 for fp32), memories and bandwidths are the vendor's data
 * sheets'; NVLink's rates are one direction's, InfiniBand is one adapter a GPU. The shares are fitted to published
 * throughput, see docs/planner.md.
 */
import type { Machine } from './machine.ts';

const GIGA = 1e9;
const TERA = 1e12;

const gpus = {
  accounting: 'mixed',
  shared: false,
  devicesPerNode: 8,
  memoryShare: 0.9,
  linkShare: 0.8,
} as const;
const nvlink = (gigabytes: number): { bandwidth: number; latency: number } => ({
  bandwidth: gigabytes * GIGA,
  latency: 3e-6,
});
/** Rate of one adapter, Gbit/s. */
const infiniband = (gigabits: number): { bandwidth: number; latency: number } => ({
  bandwidth: (gigabits / 8) * GIGA,
  latency: 8e-6,
});

const a100 = {
  ...gpus,
  peak: { fp32: 156 * TERA, bf16: 312 * TERA },
  productShare: 0.69,
  inside: nvlink(300),
  between: infiniband(200),
};
const hopper = {
  ...gpus,
  peak: { fp32: 494 * TERA, bf16: 989 * TERA },
  productShare: 0.6,
  inside: nvlink(450),
  between: infiniband(400),
};

/** Every machine of the library. */
export const machines: readonly Machine[] = [
  {
    ...a100,
    name: 'a100-40gb',
    title: 'NVIDIA A100 SXM 40 GB, NVLink 3, HDR InfiniBand',
    memory: 40 * GIGA,
    memoryBandwidth: 1.555 * TERA,
  },
  {
    ...a100,
    name: 'a100-80gb',
    title: 'NVIDIA A100 SXM 80 GB, NVLink 3, HDR InfiniBand',
    memory: 80 * GIGA,
    memoryBandwidth: 2.039 * TERA,
  },
  {
    ...hopper,
    name: 'h100',
    title: 'NVIDIA H100 SXM 80 GB, NVLink 4, NDR InfiniBand',
    memory: 80 * GIGA,
    memoryBandwidth: 3.35 * TERA,
  },
  {
    ...hopper,
    name: 'h200',
    title: 'NVIDIA H200 SXM 141 GB, NVLink 4, NDR InfiniBand',
    memory: 141 * GIGA,
    memoryBandwidth: 4.8 * TERA,
  },
  {
    ...gpus,
    name: 'b200',
    title: 'NVIDIA B200 SXM 180 GB, NVLink 5, NDR InfiniBand',
    memory: 180 * GIGA,
    peak: { fp32: 1125 * TERA, bf16: 2250 * TERA },
    productShare: 0.6,
    memoryBandwidth: 8 * TERA,
    inside: nvlink(900),
    between: infiniband(400),
  },
];
