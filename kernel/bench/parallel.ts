/**
 * What `gpt-lab bench parallel` measures: one model on 1, 2 and 4 ranks, one thread each, in every layout. Speed against one
 * rank, bytes against what each stage of ZeRO must at least move, the pipeline's waiting against what its schedule says.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { RankGroup } from '../daemon/rank-group.ts';
import { packageVersion } from '../home.ts';
import { pipelineSchedule } from '../parallel/pipeline/schedule.ts';
import { simulate } from '../parallel/pipeline/simulate.ts';
import { resolveConfiguration } from '../protocol/configuration-schema.ts';
import type { ParallelConfiguration, ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RankState } from '../protocol/events.ts';
import { parameterCount } from '../protocol/presets.ts';
import { processorName } from '../processor.ts';

/** What is measured. */
export interface ParallelBenchmark {
  /** Measured steps; two before them warm up. */
  readonly rounds: number;
  readonly size: BenchmarkSize;
}

/** The model and its batch. */
export interface BenchmarkSize {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly vocabularySize: number;
  readonly batchSize: number;
  readonly sequenceLength: number;
}

/** A step of GPT-2's proportions that takes about a second on one thread, with 7 M parameters. */
export const defaultSize: BenchmarkSize = {
  ...{ layers: 8, width: 256, heads: 8, vocabularySize: 2048 },
  ...{ batchSize: 8, sequenceLength: 128 },
};

/** The machine. */
export interface ParallelMachineRow {
  readonly row: 'machine';
  readonly version: string;
  readonly cpu: string;
  /** CPUs that may be used: more ranks than that take turns. */
  readonly cpus: number;
  readonly parameters: number;
}

/** One layout. */
export interface LayoutRow {
  readonly row: 'layout';
  readonly layout: ParallelConfiguration;
  readonly world: number;
  /** Of the measured steps. */
  readonly medianSeconds: number;
  readonly minimumSeconds: number;
  /** One rank's fastest step with as many micro-batches, divided by this one's. */
  readonly speedUp: number;
  /** Most that a rank's tensors took. */
  readonly peakBytes: number;
  /** What a rank took from others in a step. */
  readonly bytesPerStep: number;
  /** That over what its stage of ZeRO must at least bring to a rank; only with replicas alone. */
  readonly overMinimum?: number;
  /** Share of the time in which stages wait: measured, and as the schedule says; only with a pipeline alone, and a CPU for each. */
  readonly bubble?: { readonly measured: number; readonly schedule: number };
}

const layouts: readonly ParallelConfiguration[] = [
  {},
  { microBatches: 4 },
  { offload: 'optimizer' },
  ...([2, 4] as const).flatMap((data) => ([0, 1, 2, 3] as const).map((zero) => ({ data, zero }))),
  ...([2, 4] as const).flatMap((pipeline) =>
    (['gpipe', '1f1b', 'zero-bubble'] as const).map((schedule) => ({ pipeline, schedule, microBatches: 4 })),
  ),
  { pipeline: 2, schedule: 'interleaved', chunks: 2, microBatches: 4 },
  { tensor: 2 },
  { tensor: 2, sequenceParallel: true },
  { tensor: 4 },
  { data: 2, pipeline: 2, zero: 2, microBatches: 4 },
];

/** Measures the machine's layouts one after the other. Throws an Error with what a rank says when one fails. */
export async function* benchmarkParallel({
  rounds,
  size,
}: ParallelBenchmark): AsyncGenerator<ParallelMachineRow | LayoutRow> {
  const model = configuration({}, rounds, size).model;
  const parameters = parameterCount({ ...model, vocabularySize: size.vocabularySize });
  yield {
    row: 'machine',
    version: packageVersion(),
    cpu: processorName(),
    cpus: availableParallelism(),
    parameters,
  };
  const alone = new Map<number, number>();
  for (const layout of layouts) {
    const { data = 1, pipeline = 1, tensor = 1, zero = 0, microBatches = 1 } = layout;
    const world = data * pipeline * tensor;
    const { seconds, states } = await run(configuration(layout, rounds, size), world);
    const sorted = seconds.slice(2).sort((a, b) => a - b);
    const [minimumSeconds = Number.NaN] = sorted;
    if (world === 1) alone.set(microBatches, minimumSeconds);
    const one = alone.get(microBatches) ?? Number.NaN;
    const bytesPerStep = Math.max(...states.map(({ receivedBytes }) => receivedBytes)) / seconds.length;
    const least = (zero === 3 ? 3 : 2) * ((data - 1) / data) * 4 * parameters;
    yield {
      row: 'layout',
      layout,
      world,
      medianSeconds: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN,
      minimumSeconds,
      speedUp: one / minimumSeconds,
      peakBytes: Math.max(...states.map(({ peakTensorBytes }) => peakTensorBytes)),
      bytesPerStep,
      ...(data > 1 && data === world ? { overMinimum: bytesPerStep / least } : {}),
      ...(pipeline > 1 && pipeline === world && world <= availableParallelism()
        ? { bubble: { measured: 1 - one / (world * minimumSeconds), schedule: bubbleOf(layout) } }
        : {}),
    };
  }
}

function bubbleOf({
  pipeline = 1,
  microBatches = 1,
  chunks = 1,
  schedule = '1f1b',
}: ParallelConfiguration): number {
  return simulate(pipelineSchedule(schedule, { stages: pipeline, microBatches, chunks })).bubble;
}

function configuration(
  parallel: ParallelConfiguration,
  rounds: number,
  { batchSize, sequenceLength, ...model }: BenchmarkSize,
): ResolvedConfiguration {
  const resolved = resolveConfiguration({
    model: { ...model, contextLength: sequenceLength },
    data: { dummy: true, tokenizer: 'byte' },
    training: { steps: rounds + 2, batchSize, sequenceLength, evaluateEvery: 0, checkpointEvery: 0 },
    parallel,
    engine: { threads: 1 },
  });
  if ('problems' in resolved) throw new Error(resolved.problems.join('\n'));
  return resolved.config;
}

/** Seconds of every step, and how the ranks stood at their end. */
async function run(
  config: ResolvedConfiguration,
  world: number,
): Promise<{ seconds: number[]; states: RankState[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'gpt-lab-bench-'));
  const seconds: number[] = [];
  const states: RankState[] = [];
  const task = { task: 'train', run: 'bench', config, directory: folder, cacheDirectory: folder } as const;
  const ranks = new RankGroup(task, world, join(folder, 'log'), (report) => {
    if (report.type === 'state') states[report.state.rank] = report.state;
    if (report.type === 'event' && report.event.event === 'step') seconds.push(report.event.seconds);
  });
  try {
    const { error } = await ranks.ended;
    if (error !== undefined) throw new Error(error);
    return { seconds, states };
  } finally {
    ranks.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
