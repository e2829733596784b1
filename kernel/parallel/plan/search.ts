/** The best layouts of a job on a machine: all that fit are estimated, the quickest of them forecast exactly. */
import type { ScheduleName } from '../pipeline/schedule.ts';
import { estimate, forecast, type Estimate, type Forecast } from './forecast.ts';
import { worldSize, type Job, type Layout } from './job.ts';
import type { Machine } from './machine.ts';

/** Times as many are forecast exactly as are asked for. */
const EXACT = 3;

/** What is looked for. */
export interface Search {
  /** Ranks to lay out; default: as many as the job has. */
  readonly ranks?: number;
  /** Layouts to find; default 5. */
  readonly count?: number;
}

/**
 * Layouts that fit, the quickest first, then those that need less memory; the batch, the model and the precision stay.
 * Empty when none fits.
 */
export function bestLayouts(job: Job, machine: Machine, search: Search = {}): Forecast[] {
  const { ranks = worldSize(job.layout), count = 5 } = search;
  const found: Estimate[] = [];
  for (const layout of layouts(job, machine, ranks)) {
    const one = estimate({ ...job, layout }, machine);
    if (one !== undefined) found.push(one);
  }
  return found
    .sort(byTime(({ seconds }) => seconds))
    .slice(0, EXACT * count)
    .map((one) => forecast(one.job, machine))
    .filter(({ fits }) => fits)
    .sort(byTime(({ seconds }) => seconds.step))
    .slice(0, count);
}

/** The quicker first; times within a thousandth of each other are as good, and then less memory is better. */
function byTime<T extends { readonly deviceBytes: number }>(
  timeOf: (one: T) => number,
): (a: T, b: T) => number {
  const thousandths = (one: T): number => Math.round(1000 * Math.log(timeOf(one)));
  return (a, b) => thousandths(a) - thousandths(b) || a.deviceBytes - b.deviceBytes;
}

function divisors(n: number): number[] {
  const found: number[] = [];
  for (let d = 1; d <= n; d++) if (n % d === 0) found.push(d);
  return found;
}

/** Every layout worth comparing: tensor groups stay within a node, where their traffic is bearable. */
function* layouts(job: Job, machine: Machine, ranks: number): Generator<Layout> {
  const { model, batchSize, sequenceLength } = job;
  for (const tensor of divisors(ranks)) {
    if (tensor > machine.devicesPerNode || model.heads % tensor !== 0) continue;
    for (const pipeline of divisors(ranks / tensor)) {
      if (pipeline > model.layers) continue;
      const data = ranks / tensor / pipeline;
      if (batchSize % data !== 0) continue;
      for (const sequences of divisors(batchSize / data)) {
        // Powers of two are enough, and the largest tell little: their activations are the whole batch's.
        if (!Number.isInteger(Math.log2(sequences)) || sequences > 64) continue;
        const microBatches = batchSize / data / sequences;
        const dividesTokens = tensor > 1 && (sequences * sequenceLength) % tensor === 0;
        for (const [schedule, chunks] of schedules(model.layers, pipeline, microBatches))
          for (const zero of data > 1 ? ([0, 1, 2, 3] as const) : ([0] as const))
            for (const activationCheckpointing of [false, true])
              for (const sequenceParallel of dividesTokens ? [false, true] : [false])
                yield {
                  ...{ data, pipeline, tensor, tensorMode: '1d', sequenceParallel, zero, microBatches },
                  ...{ schedule, chunks, activationCheckpointing },
                };
      }
    }
  }
}

/** GPipe holds more than 1F1B and is no quicker. */
function schedules(layers: number, stages: number, microBatches: number): [ScheduleName, number][] {
  if (stages === 1) return [['1f1b', 1]];
  const found: [ScheduleName, number][] = [
    ['1f1b', 1],
    ['zero-bubble', 1],
  ];
  if (microBatches % stages === 0)
    for (const chunks of [2, 3, 4]) if (stages * chunks <= layers) found.push(['interleaved', chunks]);
  return found;
}
