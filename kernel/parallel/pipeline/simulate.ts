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

/** Throws an Error that names the operations waited for when the schedule never ends. */
export function simulate(schedule: PipelineSchedule, times: OperationTimes = unitTimes): Timeline {
  const { stages, chunks, operations } = schedule;
  const last = stages * chunks - 1;
  const ended = new Map<string, number>();
  const key = (kind: 'forward' | 'backward' | 'weights', microBatch: number, virtual: number): string =>
    `${kind} ${microBatch} ${virtual}`;
  const send = times.send ?? 0;

  /** What an operation waits for: results by key, and how long each takes to arrive. */
  const needs = ({ kind, microBatch, chunk }: Operation, stage: number): [key: string, travel: number][] => {
    const virtual = chunk * stages + stage;
    switch (kind) {
      case 'forward':
        return virtual === 0 ? [] : [[key('forward', microBatch, virtual - 1), stages > 1 ? send : 0]];
      case 'backward':
      case 'input-gradient': {
        const own: [string, number] = [key('forward', microBatch, virtual), 0];
        if (virtual === last) return [own];
        return [own, [key('backward', microBatch, virtual + 1), stages > 1 ? send : 0]];
      }
      case 'weight-gradient':
        return [[key('backward', microBatch, virtual), 0]];
    }
  };
  const gives = ({ kind, microBatch, chunk }: Operation, stage: number): string => {
    const result =
      kind === 'forward' ? 'forward' : kind === 'weight-gradient' ? ('weights' as const) : 'backward';
    return key(result, microBatch, chunk * stages + stage);
  };

  const timelines: TimedOperation[][] = operations.map(() => []);
  let moved = true;
  while (moved) {
    moved = false;
    for (const [stage, list] of operations.entries()) {
      const timeline = timelines[stage] ?? [];
      for (let next = list[timeline.length]; next; next = list[timeline.length]) {
        const arrivals = needs(next, stage).map(([name, travel]) => (ended.get(name) ?? Infinity) + travel);
        const start = Math.max(timeline.at(-1)?.end ?? 0, ...arrivals);
        if (start === Infinity) break;
        const end = start + times[next.kind];
        timeline.push({ ...next, start, end });
        ended.set(gives(next, stage), end);
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
  const busy = timelines.flat().reduce((sum, { start, end }) => sum + end - start, 0);
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
