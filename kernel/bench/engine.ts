/** What `gpt-lab bench engine` measures: the machine's ceilings, our steps and PyTorch's in turns, and our operations. */
import { existsSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { NativeEngine } from '../engine/native/native-engine.ts';
import { packageVersion } from '../home.ts';
import { type BatchSize, operationSeconds, optimizerBytes, stepOperations } from './gpt2-step.ts';
import { Stepper, type StepReport } from './stepper.ts';

/** Both precisions of a step. */
export const precisions = ['fp32', 'bf16'] as const;
export type Precision = (typeof precisions)[number];

/** What is measured. */
export interface EngineBenchmark {
  readonly sizes: readonly BatchSize[];
  readonly precisions: readonly Precision[];
  /** Measured steps of each; the first step, which warms up, is not among them. */
  readonly rounds: number;
  readonly threads: number;
  /** A Python that has PyTorch. */
  readonly python: string | undefined;
  /** Command line of a process that serves our steps; size, precision and threads are appended. */
  readonly ownStepper: readonly string[];
}

/** The machine, and how fast it can be. */
export interface MachineRow {
  readonly row: 'machine';
  readonly version: string;
  readonly cpu: string;
  readonly instructions: string;
  readonly threads: number;
  /** Operations a second of products in the caches. */
  readonly peakF32: number;
  readonly peakBf16: number;
  /** Bytes a second, read and written together, of copying more than the caches hold. */
  readonly copyBandwidth: number;
}

/** One contender at one size and precision. */
export interface StepRow {
  readonly row: 'step';
  readonly name: string;
  readonly B: number;
  readonly T: number;
  readonly precision: Precision;
  /** Of the measured steps. */
  readonly medianSeconds: number;
  readonly minimumSeconds: number;
  /** From starting the process to the end of its first step. */
  readonly startSeconds: number;
  readonly peakBytes: number;
  /** Share of the floor: arithmetic at the peak and AdamW's bytes at the bandwidth, divided by the median. */
  readonly shareOfFloor: number;
  /** How many times faster ours is than the best of the others, by medians; on our row, where there are others. */
  readonly aheadOfBest?: number;
  readonly version?: string;
}

/** One operation's part of our step. */
export interface OperationRow {
  readonly row: 'operation';
  readonly B: number;
  readonly T: number;
  readonly precision: Precision;
  readonly operation: string;
  readonly seconds: number;
  readonly share: number;
}

export type BenchmarkRow = MachineRow | StepRow | OperationRow;

/** PyTorch's side; in the repository only, because it is no part of the product. */
const pytorchScript = fileURLToPath(new URL('../../test/bench/pytorch_step.py', import.meta.url));

/** Measures everything, row by row. Throws an Error when a process of a contender dies. */
export async function* benchmarkEngine(benchmark: EngineBenchmark): AsyncGenerator<BenchmarkRow> {
  const machine = await measureMachine(benchmark.threads);
  yield machine;
  for (const batch of benchmark.sizes) {
    for (const precision of benchmark.precisions) {
      yield* compareSteps(benchmark, machine, batch, precision);
      yield* shareOut(benchmark, batch, precision);
    }
  }
}

async function measureMachine(threads: number): Promise<MachineRow> {
  const engine = new NativeEngine(threads);
  try {
    const { f32: peakF32, bf16: peakBf16 } = await engine.measurePeaks();
    return {
      row: 'machine',
      version: packageVersion(),
      cpu: cpus()[0]?.model.trim() ?? 'unknown',
      instructions: engine.instructions,
      threads: engine.threads,
      peakF32,
      peakBf16,
      copyBandwidth: await measureCopy(engine),
    };
  } finally {
    await engine.dispose();
  }
}

/** The best of five copies of 256 MiB. */
async function measureCopy(engine: NativeEngine): Promise<number> {
  const length = 2 ** 26;
  const [from, to] = [engine.allocate('f32', [length]), engine.allocate('f32', [length])];
  engine.fill(from, 1);
  engine.fill(to, 0);
  await engine.finish();
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const start = performance.now();
    engine.copy(to, from);
    await engine.finish();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return (2 * 4 * length) / best;
}

/** Steps of all contenders in turns, so that whatever else the machine does meets all of them. */
async function* compareSteps(
  benchmark: EngineBenchmark,
  machine: MachineRow,
  batch: BatchSize,
  precision: Precision,
): AsyncGenerator<StepRow> {
  const steppers: Stepper[] = [];
  const measured = new Map<string, { startSeconds: number; reports: StepReport[] }>();
  try {
    for (const [name, command] of contenders(benchmark, batch, precision)) {
      const [program = '', ...args] = command;
      const start = performance.now();
      const stepper = new Stepper(name, program, args);
      steppers.push(stepper);
      await stepper.step();
      measured.set(name, { startSeconds: (performance.now() - start) / 1000, reports: [] });
    }
    for (let round = 0; round < benchmark.rounds; round++) {
      for (const stepper of steppers) measured.get(stepper.name)?.reports.push(await stepper.step());
    }
  } finally {
    await Promise.all(steppers.map((stepper) => stepper.end()));
  }
  const peak = precision === 'bf16' ? machine.peakBf16 : machine.peakF32;
  const floor = stepOperations(batch) / peak + optimizerBytes() / machine.copyBandwidth;
  const rows = [...measured].map(([name, { startSeconds, reports }]): StepRow => {
    const seconds = reports.map((report) => report.seconds).sort((a, b) => a - b);
    const medianSeconds = seconds[seconds.length >> 1] ?? Number.NaN;
    const version = reports.at(-1)?.version;
    return {
      row: 'step',
      name,
      ...batch,
      precision,
      medianSeconds,
      minimumSeconds: seconds[0] ?? Number.NaN,
      startSeconds,
      peakBytes: reports.at(-1)?.peakBytes ?? 0,
      shareOfFloor: floor / medianSeconds,
      ...(version === undefined ? {} : { version }),
    };
  });
  const [own, ...others] = rows;
  if (own === undefined) return;
  const best = Math.min(...others.map((row) => row.medianSeconds));
  yield others.length > 0 ? { ...own, aheadOfBest: best / own.medianSeconds } : own;
  yield* others;
}

/** Names and command lines, ours first. */
function contenders(
  { ownStepper, python, threads }: EngineBenchmark,
  { B, T }: BatchSize,
  precision: Precision,
): [name: string, command: string[]][] {
  const size = [String(B), String(T), precision];
  const own: [string, string[]] = ['gpt-lab', [...ownStepper, ...size, String(threads)]];
  if (python === undefined) return [own];
  if (!existsSync(pytorchScript))
    throw new Error(`${pytorchScript} is missing: PyTorch is measured from a clone of the repository`);
  const peers = ['eager', 'compiled'].map((variant): [string, string[]] => [
    `PyTorch ${variant}`,
    [python, pytorchScript, ...size, variant, String(threads)],
  ]);
  return [own, ...peers];
}

async function* shareOut(
  { threads }: EngineBenchmark,
  batch: BatchSize,
  precision: Precision,
): AsyncGenerator<OperationRow> {
  const engine = new NativeEngine(threads);
  try {
    const operations = await operationSeconds(engine, batch, { precision });
    const total = [...operations.values()].reduce((sum, seconds) => sum + seconds, 0);
    for (const [operation, seconds] of operations)
      yield { row: 'operation', ...batch, precision, operation, seconds, share: seconds / total };
  } finally {
    await engine.dispose();
  }
}
