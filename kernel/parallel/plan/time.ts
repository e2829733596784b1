/** Seconds of a step by part: products, what only passes over memory, communication, the bubble, the optimizer. */
import { pipelineSchedule } from '../pipeline/schedule.ts';
import { simulate, type OperationTimes } from '../pipeline/simulate.ts';
import { accounting, type Accounting } from './accounting.ts';
import { costParts, ratesOf, sendSeconds, virtualStageCosts, type Cost } from './costs.ts';
import { scheduleProfile } from './in-flight.ts';
import { layersOfVirtualStages, worldSize, type Job } from './job.ts';
import { gatherSeconds, wireOf } from './links.ts';
import type { Machine } from './machine.ts';
import { blockMatrices, modelOperations, stageBuffers, weightParts } from './model-size.ts';

/** Seconds of a step; the parts are those of the busiest stage and add up to `step`. */
export interface StepSeconds {
  readonly step: number;
  /** Products of matrices and attention. */
  readonly products: number;
  /** Norms, activations, residuals, softmax: bound by memory. */
  readonly memory: number;
  /** Within tensor groups; nothing hides it. */
  readonly tensor: number;
  /** Waiting for other stages and for what they send. */
  readonly bubble: number;
  /** Among data ranks, as far as no arithmetic hides it. */
  readonly data: number;
  /** Among data ranks altogether, hidden or not. */
  readonly dataTotal: number;
  readonly optimizer: number;
}

function operationTimes(cost: Cost, send: number): OperationTimes {
  const [forward, backward] = [0, 1].map((pass) =>
    costParts.reduce((sum, part) => sum + (cost[part][pass] ?? 0), 0),
  ) as [number, number];
  // The halves of a backward: dx = dy · wᵀ and dw = xᵀ · dy are as large; what is computed again comes before the first.
  const weights = Math.min(forward, backward / 2);
  return { forward, backward, 'input-gradient': backward - weights, 'weight-gradient': weights, send };
}

/**
 * Seconds of a step. With `estimate` the schedule is not played with each stage's own times, but taken from its
 * profile: for a search, which compares hundreds.
 */
export function stepSeconds(job: Job, machine: Machine, options: { estimate?: boolean } = {}): StepSeconds {
  const { pipeline: stages, chunks, microBatches, schedule } = job.layout;
  const costs = virtualStageCosts(job, machine);
  const send = sendSeconds(job, machine);
  const times = costs.map((cost) => operationTimes(cost, send));
  const total = (cost: Cost, part: (typeof costParts)[number]): number =>
    microBatches * (cost[part][0] + cost[part][1]);
  const busy = Array.from({ length: stages }, (_, stage) => {
    const own = costs.filter((_, virtual) => virtual % stages === stage);
    const [products, memory, tensor] = costParts.map((part) =>
      own.reduce((sum, cost) => sum + total(cost, part), 0),
    ) as [number, number, number];
    return { products, memory, tensor, all: products + memory + tensor };
  });
  const busiest = busy.reduce((most, one) => (one.all > most.all ? one : most));
  const size = { stages, microBatches, chunks };
  const duration = options.estimate
    ? busiest.all + (scheduleProfile(schedule, size).wait * mean(times)) / 3 + 2 * (stages - 1) * send
    : stages === 1
      ? busiest.all
      : simulate(pipelineSchedule(schedule, size), times).duration;

  const compute = {
    all: busiest.all,
    backward: times.reduce((most, { backward }) => Math.max(most, backward), 0),
  };
  const { data, dataTotal } = dataSeconds(job, machine, compute);
  const optimizer = optimizerSeconds(job, machine);
  const { products, memory, tensor } = busiest;
  const bubble = Math.max(0, duration - busiest.all);
  const step = products + memory + tensor + bubble + data + optimizer;
  return { step, products, memory, tensor, bubble, data, dataTotal, optimizer };
}

/** Mean of a forward and a backward of a virtual stage. */
function mean(times: readonly OperationTimes[]): number {
  return times.reduce((sum, { forward, backward }) => sum + forward + backward, 0) / times.length;
}

/** The most parameters that one stage's rank has. */
function mostParameters(job: Job, bytes: Accounting): number {
  const { pipeline } = job.layout;
  const layers = layersOfVirtualStages(job);
  const counts = Array.from({ length: pipeline }, (_, stage) => {
    const blocks = layers.reduce(
      (sum, count, virtual) => sum + (virtual % pipeline === stage ? count : 0),
      0,
    );
    return stageBuffers(job, bytes, stage, blocks).parameters;
  });
  return Math.max(...counts);
}

/**
 * Gradients are summed over data ranks once a micro-batch by our engine and by ZeRO 2 and 3, which keep no whole gradients, and
 * once a step by others; parameters are gathered after the update (1 and 2) or twice a micro-batch (3). Sums hide behind
 * backwards, gathers of stage 3 behind all arithmetic; what follows the update hides behind nothing.
 */
function dataSeconds(
  job: Job,
  machine: Machine,
  compute: { all: number; backward: number },
): { data: number; dataTotal: number } {
  const { layout, peculiarities = {} } = job;
  const { data: n, zero, microBatches } = layout;
  if (n === 1) return { data: 0, dataTotal: 0 };
  const bytes = accounting(machine.accounting, job.precision);
  const wire = wireOf(machine, layout, 'data');
  const parameters = mostParameters(job, bytes);
  const block = blockMatrices(job.model) / weightParts(layout);
  const units = Math.max(1, Math.round(parameters / block));
  const seconds = (size: number): number =>
    gatherSeconds(wire, n, parameters * size) + (units - 1) * Math.log2(n) * wire.latency;
  const gradient = seconds(peculiarities.reducedBytes ?? bytes.gradient);
  const weight = seconds(bytes.weight);
  const sums = zero >= 2 || bytes.reducesEach ? microBatches : 1;
  // An all-reduce is a reduce-scatter and an all-gather.
  const reduced = gradient * sums * (zero === 0 ? 2 : 1);
  const gathers = zero === 0 ? 0 : zero === 3 ? 2 * microBatches * weight : weight;
  const dataTotal = reduced + gathers;
  if (peculiarities.noOverlap) return { data: dataTotal, dataTotal };
  // The last unit's gradients at least have nothing to hide behind.
  const unhidden = (size: number, behind: number): number => Math.max(gradient / units, size - behind);
  const data =
    zero === 3 ? unhidden(dataTotal, compute.all) : unhidden(reduced, compute.backward * sums) + gathers;
  return { data, dataTotal };
}

/** AdamW reads weights (or masters), gradients and moments and writes all but the gradients. */
function optimizerSeconds(job: Job, machine: Machine): number {
  const bytes = accounting(machine.accounting, job.precision);
  const { weight, gradient, optimizer } = bytes;
  const shares = job.layout.zero >= 1 ? job.layout.data : 1;
  const masters = optimizer > 8 ? optimizer : optimizer + weight;
  const moved = 2 * masters + gradient + (optimizer > 8 ? weight : 0);
  return ((mostParameters(job, bytes) / shares) * moved) / ratesOf(job, machine).memory;
}

/** Model operations over the peak of all devices, in (0, 1); of the shared device once. */
export function modelUtilization(job: Job, machine: Machine, step: number): number {
  const devices = machine.shared ? 1 : worldSize(job.layout);
  return modelOperations(job) / (step * devices * machine.peak[job.precision]);
}
