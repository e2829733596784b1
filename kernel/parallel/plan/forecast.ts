/** What a job will take on a machine: the planner's answer. Pure: nothing is started, read or measured. */
import type { Job } from './job.ts';
import { worldSize } from './job.ts';
import type { Machine } from './machine.ts';
import { stageMemory, type StageMemory } from './memory.ts';
import { modelParameters } from './model-size.ts';
import { modelUtilization, stepSeconds, type StepSeconds } from './time.ts';

/** A job's memory and time on a machine. */
export interface Forecast {
  readonly job: Job;
  readonly machine: Machine;
  /** Trainable parameters, tied ones counted once. */
  readonly parameters: number;
  /** Of the ranks of each stage. */
  readonly memory: readonly StageMemory[];
  /** Bytes that one device needs: of the fullest rank, or of all ranks where they share one. */
  readonly deviceBytes: number;
  readonly fits: boolean;
  readonly seconds: StepSeconds;
  readonly tokensPerSecond: number;
  /** Model operations over the peak of the devices. */
  readonly mfu: number;
  /** Share of its pipeline's time in which the busiest stage waits. */
  readonly bubble: number;
}

/** The forecast. Throws a RangeError when the layout has no such schedule or grid. */
export function forecast(job: Job, machine: Machine): Forecast {
  return complete(job, machine, stageMemory(job, machine.accounting), stepSeconds(job, machine));
}

/** What a search compares: close to the forecast, and a tenth of its work. */
export interface Estimate {
  readonly job: Job;
  readonly deviceBytes: number;
  /** Of a step. */
  readonly seconds: number;
}

/** An estimate; undefined when it does not fit. */
export function estimate(job: Job, machine: Machine): Estimate | undefined {
  const { pipeline } = job.layout;
  // One of these is the fullest: the first hold most activations, the last has the logits.
  const ends = machine.shared || pipeline <= 3 ? undefined : [0, 1, pipeline - 1];
  const deviceBytes = bytesOfDevice(job, machine, stageMemory(job, machine.accounting, ends));
  if (deviceBytes > machine.memory) return undefined;
  return { job, deviceBytes, seconds: stepSeconds(job, machine, { estimate: true }).step };
}

function complete(job: Job, machine: Machine, memory: StageMemory[], seconds: StepSeconds): Forecast {
  const deviceBytes = bytesOfDevice(job, machine, memory);
  const pipeline = seconds.products + seconds.memory + seconds.tensor + seconds.bubble;
  return {
    job,
    machine,
    parameters: modelParameters(job.model),
    memory,
    deviceBytes,
    fits: deviceBytes <= machine.memory,
    seconds,
    tokensPerSecond: (job.batchSize * job.sequenceLength) / seconds.step,
    mfu: modelUtilization(job, machine, seconds.step),
    bubble: seconds.bubble / pipeline,
  };
}

function bytesOfDevice({ layout }: Job, machine: Machine, memory: readonly StageMemory[]): number {
  const totals = memory.map(({ total }) => total);
  if (!machine.shared) return Math.max(...totals);
  return (totals.reduce((sum, total) => sum + total, 0) * worldSize(layout)) / layout.pipeline;
}
