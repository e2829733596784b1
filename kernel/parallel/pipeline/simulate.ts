/** Plays a schedule without ranks: when each operation would run, what is held, and how much time is bubble. */
import type { Operation, OperationKind, PipelineSchedule } from './schedule.ts';

/** Times of the operations of one virtual stage and of sending between stages, any unit. */
export type OperationTimes = Readonly<Record<OperationKind, number>> & { readonly send?: number };

/** An operation with the time that it takes. */
export interface TimedOperation extends Operation {
  readonly start: number;
  readonly end: number;
}

/** What became of a schedule. */
export interface Timeline {
  /** Each stage's operations with their times. */
  readonly stages: readonly (readonly TimedOperation[])[];
  /** When the last stage is done. */
  readonly duration: number;
  /** Most micro-batches, chunk by chunk, whose activations a stage holds at once. */
  readonly peakActivations: readonly number[];
  /** Share of all stages' time in which they wait, in [0, 1). */
  readonly bubble: number;
}

/** Every operation in equal parts of a layer's arithmetic: a whole backward costs two forwards. */
export const unitTimes: OperationTimes = {
  forward: 1,
  backward: 2,
  'input-gradient': 1,
  'weight-gradient': 1,
};

/**
 * Plays a schedule; `times` are those of every virtual stage, or one entry for each where they differ.
 * Throws an Error that names the operations waited for when the schedule never ends.
 */
export function simulate(
  schedule: PipelineSchedule,
  times: OperationTimes | readonly OperationTimes[] = unitTimes,
): Timeline {
  const { stages, microBatches, chunks, operations } = schedule;
  const count = stages * chunks;
  const timesOf = (virtual: number): OperationTimes =>
    (Array.isArray(times) ? times[virtual] : times) as OperationTimes;
  /** When the results of each micro-batch on each virtual stage exist; Infinity until then. */
  const results = (): Float64Array => new Float64Array(microBatches * count).fill(Infinity);
  const [forwards, backwards] = [results(), results()];
  const at = (microBatch: number, virtual: number): number => microBatch * count + virtual;
  /** When a result of `from` has arrived where it is needed. */
  const arrival = (ended: Float64Array, microBatch: number, from: number): number =>
    (ended[at(microBatch, from)] ?? Infinity) + (stages > 1 ? (timesOf(from).send ?? 0) : 0);

  /** When everything that an operation waits for is there. */
  const ready = ({ kind, microBatch, chunk }: Operation, stage: number): number => {
    const virtual = chunk * stages + stage;
    switch (kind) {
      case 'forward':
        return virtual === 0 ? 0 : arrival(forwards, microBatch, virtual - 1);
      case 'backward':
      case 'input-gradient': {
        const own = forwards[at(microBatch, virtual)] ?? Infinity;
        return virtual === count - 1 ? own : Math.max(own, arrival(backwards, microBatch, virtual + 1));
      }
      case 'weight-gradient':
        return backwards[at(microBatch, virtual)] ?? Infinity;
    }
  };

  const timelines: TimedOperation[][] = operations.map(() => []);
  let moved = true;
  while (moved) {
    moved = false;
    for (const [stage, list] of operations.entries()) {
      const timeline = timelines[stage] ?? [];
      for (let next = list[timeline.length]; next; next = list[timeline.length]) {
        const start = Math.max(timeline.at(-1)?.end ?? 0, ready(next, stage));
        if (start === Infinity) break;
        const virtual = next.chunk * stages + stage;
        const end = start + timesOf(virtual)[next.kind];
        timeline.push({ ...next, start, end });
        if (next.kind === 'forward') forwards[at(next.microBatch, virtual)] = end;
        else if (next.kind !== 'weight-gradient') backwards[at(next.microBatch, virtual)] = end;
        moved = true;
      }
    }
  }
  const stuck = operations.flatMap((list, stage) => {
    const next = list[timelines[stage]?.length ?? 0];
    return next ? [`stage ${stage} waits before ${next.kind} of micro-batch ${next.microBatch}`] : [];
  });
  if (stuck.length > 0) throw new Error(`The schedule does not end: ${stuck.join(', ')}`);

  const duration = Math.max(...timelines.map((timeline) => timeline.at(-1)?.end ?? 0));
  let busy = 0;
  for (const timeline of timelines) for (const { start, end } of timeline) busy += end - start;
  return {
    stages: timelines,
    duration,
    peakActivations: operations.map(peakActivations),
    bubble: 1 - busy / (duration * stages),
  };
}

/** Activations are held from the forward to the end of the backward; with a split one to its weight gradient. */
function peakActivations(operations: readonly Operation[]): number {
  let held = 0;
  let peak = 0;
  for (const { kind } of operations) {
    if (kind === 'forward') held++;
    peak = Math.max(peak, held);
    if (kind === 'backward' || kind === 'weight-gradient') held--;
  }
  return peak;
}
