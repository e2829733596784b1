/** What of a schedule decides memory and bubble, for any number of micro-batches, remembered because a search asks again. */
import {
  pipelineSchedule,
  type Operation,
  type PipelineSize,
  type ScheduleName,
} from '../pipeline/schedule.ts';
import { simulate, unitTimes } from '../pipeline/simulate.ts';

/** The moment at which a stage holds most. */
export interface Peak {
  /** Micro-batches whose activations are held then, by chunk. */
  readonly held: readonly number[];
  /** The most that are held of each chunk, whenever that is. */
  readonly most: readonly number[];
  /** Those of them whose input gradient is done and whose weight gradient is not, by chunk (zero-bubble). */
  readonly split: readonly number[];
  /** What the stage does then. */
  readonly operation: Operation;
}

/** A schedule in short. */
export interface ScheduleProfile {
  /** By stage. */
  readonly peaks: readonly Peak[];
  /** Time in which a stage waits, in forwards of a virtual stage whose backward takes twice as long. */
  readonly wait: number;
}

const remembered = new Map<string, ScheduleProfile>();

/** The profile of a schedule. Throws a RangeError where there is no such schedule. */
export function scheduleProfile(name: ScheduleName, size: PipelineSize): ScheduleProfile {
  const { stages, chunks } = size;
  // Beyond these the steady state repeats: neither peaks nor the waiting grow. GPipe holds all that there are.
  const enough = name === 'gpipe' ? size.microBatches : 2 * stages;
  const microBatches = Math.min(size.microBatches, enough);
  const key = `${name} ${stages} ${microBatches} ${chunks}`;
  let profile = remembered.get(key);
  if (profile === undefined) {
    const schedule = pipelineSchedule(name, { stages, microBatches, chunks });
    const { duration } = simulate(schedule, unitTimes);
    profile = {
      peaks: schedule.operations.map((operations) => peak(operations, chunks)),
      wait: duration - 3 * microBatches * chunks,
    };
    remembered.set(key, profile);
  }
  return profile;
}

/** Activations are held from a forward to the end of its backward; of a split one to that of the weight gradient. */
function peak(operations: readonly Operation[], chunks: number): Peak {
  const held = Array<number>(chunks).fill(0);
  const split = Array<number>(chunks).fill(0);
  const add = (counts: number[], chunk: number, count: number): void => {
    counts[chunk] = (counts[chunk] ?? 0) + count;
  };
  const most = Array<number>(chunks).fill(0);
  let largest = -1;
  let found: Omit<Peak, 'most'> | undefined;
  for (const operation of operations) {
    const { kind, chunk } = operation;
    if (kind === 'forward') add(held, chunk, 1);
    most[chunk] = Math.max(most[chunk] ?? 0, held[chunk] ?? 0);
    if (kind === 'input-gradient') add(split, chunk, 1);
    // What waits for its weight gradient keeps the gradients of its products' outputs as well, about a quarter more.
    const size = sum(held) + sum(split) / 4;
    if (size > largest) {
      largest = size;
      found = { held: [...held], split: [...split], operation };
    }
    if (kind === 'backward' || kind === 'weight-gradient') add(held, chunk, -1);
    if (kind === 'weight-gradient') add(split, chunk, -1);
  }
  if (found === undefined) throw new RangeError('A stage without operations has no peak');
  return { ...found, most };
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}
