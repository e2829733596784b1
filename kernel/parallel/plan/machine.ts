/** What a planner knows of the devices that ranks run on. */
import type { AccountingName } from './accounting.ts';

/** How devices talk to each other. */
export interface Link {
  /** Bytes a second that one device can send while it receives as many: the nominal rate. */
  readonly bandwidth: number;
  /** Seconds that a step of a collective takes whatever its size. */
  readonly latency: number;
}

/** Equal devices in nodes. */
export interface Machine {
  readonly name: string;
  /** For people: `NVIDIA A100 SXM 80 GB, NVLink 3 and HDR InfiniBand`. */
  readonly title: string;
  readonly accounting: AccountingName;
  /** Whether all ranks share one device: processes on the CPUs of one machine. */
  readonly shared: boolean;
  /** Devices that reach each other over `inside`. */
  readonly devicesPerNode: number;
  /** Of one device, bytes. */
  readonly memory: number;
  /** Operations a second of one device's products (dense). */
  readonly peak: { readonly fp32: number; readonly bf16: number };
  /** Share of the peak that a step's products reach. */
  readonly productShare: number;
  /** Of one device's memory, read and written together, bytes a second. */
  readonly memoryBandwidth: number;
  /** Share of that which operations that only pass over memory reach. */
  readonly memoryShare: number;
  /** Share of a link's rate that collectives reach. */
  readonly linkShare: number;
  /** Within a node. */
  readonly inside: Link;
  /** From node to node, one device's part of it. */
  readonly between: Link;
}
