/** What `gpt-lab bench engine` measures: the machine's ceilings, our steps and PyTorch's in turns, and our operations. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { NativeEngine } from '../engine/native/native-engine.ts';
import { parameterCount } from '../protocol/presets.ts';
import { type BatchSize, gpt2Shape, operationSeconds, optimizerBytes, stepOperations } from './gpt2-step.ts';
import { measureMachine, type MachineRow } from './machine.ts';
import { Stepper, type StepReport } from './stepper.ts';

/** Tokens that a generation appends to each sequence. */
const GENERATED = 32;

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
  /** Sequences that are generated together, a measurement each. */
  readonly generation: readonly number[];
  /** Command line of our own `gpt-lab bench`, to which a hidden command that serves steps is appended. */
  readonly ownBench: readonly string[];
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

/** Cached decoding of GPT-2 124M by one contender. */
export interface GenerationRow {
  readonly row: 'generation';
  readonly name: string;
  readonly sequences: number;
  /** Of all sequences together; the median of the rounds. */
  readonly tokensPerSecond: number;
  /** Reading every weight once a token at the measured bandwidth, divided by the time of a token. */
  readonly shareOfBandwidth: number;
  readonly peakBytes: number;
  readonly aheadOfBest?: number;
  readonly version?: string;
}

export type BenchmarkRow = MachineRow | StepRow | GenerationRow | OperationRow;

/** The peers' side is in the repository only, because it is no part of the product. */
function peerScript(name: string): string {
  const script = fileURLToPath(new URL(`../../test/bench/${name}`, import.meta.url));
  if (existsSync(script)) return script;
  throw new Error(`${script} is missing: PyTorch is measured from a clone of the repository`);
}

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
  for (const sequences of benchmark.generation) yield* compareGeneration(benchmark, machine, sequences);
}

/** What one contender's process has told. */
interface Measured {
  readonly name: string;
  readonly startSeconds: number;
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
  readonly peakBytes: number;
  readonly version: string | undefined;
}

/**
 * Steps of all contenders in turns, so that whatever else the machine does meets all of them; each is a name and a
 * command line. The first step of each only warms up.
 */
async function inTurns(
  contenders: readonly [name: string, command: readonly string[]][],
  rounds: number,
): Promise<Measured[]> {
  const steppers: { stepper: Stepper; startSeconds: number; reports: StepReport[] }[] = [];
  try {
    for (const [name, [program = '', ...args]] of contenders) {
      const start = performance.now();
      const entry = { stepper: new Stepper(name, program, args), startSeconds: 0, reports: [] };
      steppers.push(entry);
      await entry.stepper.step();
      entry.startSeconds = (performance.now() - start) / 1000;
    }
    for (let round = 0; round < rounds; round++)
      for (const { stepper, reports } of steppers) reports.push(await stepper.step());
  } finally {
    await Promise.all(steppers.map(({ stepper }) => stepper.end()));
  }
  return steppers.map(({ stepper: { name }, startSeconds, reports }) => {
    const seconds = reports.map((report) => report.seconds).sort((a, b) => a - b);
    const [medianSeconds = Number.NaN, last] = [seconds[seconds.length >> 1], reports.at(-1)];
    const { peakBytes = 0, version } = last ?? {};
    return { name, startSeconds, seconds, medianSeconds, peakBytes, version };
  });
}

/** How many times faster the first is than the best of the others; nothing where there are none. */
function ahead([own, ...others]: readonly Measured[]): { aheadOfBest?: number } {
  if (own === undefined || others.length === 0) return {};
  return { aheadOfBest: Math.min(...others.map((one) => one.medianSeconds)) / own.medianSeconds };
}

async function* compareSteps(
  { ownBench, python, threads, rounds }: EngineBenchmark,
  machine: MachineRow,
  batch: BatchSize,
  precision: Precision,
): AsyncGenerator<StepRow> {
  const size = [String(batch.B), String(batch.T), precision];
  const contenders: [string, string[]][] = [
    ['gpt-lab', [...ownBench, 'engine-step', ...size, String(threads)]],
  ];
  if (python !== undefined) {
    for (const variant of ['eager', 'compiled']) {
      const command = [python, peerScript('pytorch_step.py'), ...size, variant, String(threads)];
      contenders.push([`PyTorch ${variant}`, command]);
    }
  }
  const all = await inTurns(contenders, rounds);
  const peak = precision === 'bf16' ? machine.peakBf16 : machine.peakF32;
  const floor = stepOperations(batch) / peak + optimizerBytes() / machine.copyBandwidth;
  for (const [index, one] of all.entries()) {
    yield {
      row: 'step',
      name: one.name,
      ...batch,
      precision,
      medianSeconds: one.medianSeconds,
      minimumSeconds: one.seconds[0] ?? Number.NaN,
      startSeconds: one.startSeconds,
      peakBytes: one.peakBytes,
      shareOfFloor: floor / one.medianSeconds,
      ...(index === 0 ? ahead(all) : {}),
      ...(one.version === undefined ? {} : { version: one.version }),
    };
  }
}

async function* compareGeneration(
  { ownBench, python, threads, rounds }: EngineBenchmark,
  machine: MachineRow,
  sequences: number,
): AsyncGenerator<GenerationRow> {
  const args = [String(sequences), String(GENERATED), String(threads)];
  const contenders: [string, string[]][] = [['gpt-lab', [...ownBench, 'engine-generate', ...args]]];
  if (python !== undefined)
    contenders.push(['transformers', [python, peerScript('transformers_generate.py'), ...args]]);
  const all = await inTurns(contenders, rounds);
  const bytes = 4 * parameterCount(gpt2Shape);
  for (const [index, one] of all.entries()) {
    const secondsPerToken = one.medianSeconds / GENERATED;
    yield {
      row: 'generation',
      name: one.name,
      sequences,
      tokensPerSecond: sequences / secondsPerToken,
      shareOfBandwidth: bytes / machine.copyBandwidth / secondsPerToken,
      peakBytes: one.peakBytes,
      ...(index === 0 ? ahead(all) : {}),
      ...(one.version === undefined ? {} : { version: one.version }),
    };
  }
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
