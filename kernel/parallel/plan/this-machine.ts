/** The machine that the planner runs on, as it was measured: once, then remembered under GPT_LAB_HOME. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { distFile, homeDirectory, packageVersion } from '../../home.ts';
import { processorName } from '../../processor.ts';
import type { Machine } from './machine.ts';

/** Name of this machine, beside those of the library. */
export const THIS_MACHINE = 'this';

/** What is measured, and what it holds for: another version, processor or number of CPUs is measured again. */
const measurementSchema = z.object({
  version: z.string(),
  cpu: z.string(),
  /** Of the measuring engine. */
  threads: z.number(),
  /** That this process may use. */
  cpus: z.number(),
  peakF32: z.number().positive(),
  peakBf16: z.number().positive(),
  copyBandwidth: z.number().positive(),
});

/** The ceilings of a machine (`gpt-lab bench machine`), operations and bytes a second. */
export type Measurement = z.infer<typeof measurementSchema>;

function fileOf(home: string): string {
  return join(home, 'machine.json');
}

/** Keeps a measurement for plans to come. */
export function rememberMachine(row: Omit<Measurement, 'cpus'>, home: string = homeDirectory()): void {
  const { version, cpu, threads, peakF32, peakBf16, copyBandwidth } = row;
  const kept: Measurement = {
    ...{ version, cpu, threads, cpus: availableParallelism() },
    ...{ peakF32, peakBf16, copyBandwidth },
  };
  mkdirSync(home, { recursive: true });
  const aside = `${fileOf(home)}.${process.pid}`;
  writeFileSync(aside, `${JSON.stringify(kept, null, 2)}\n`);
  renameSync(aside, fileOf(home));
}

/** The kept measurement; undefined where there is none for this machine and version. */
function remembered(home: string): Measurement | undefined {
  let text: string;
  try {
    text = readFileSync(fileOf(home), 'utf8');
  } catch {
    return undefined; // not measured yet
  }
  try {
    const kept = measurementSchema.parse(JSON.parse(text));
    const holds =
      kept.version === packageVersion() &&
      kept.cpus === availableParallelism() &&
      kept.cpu === processorName();
    return holds ? kept : undefined;
  } catch {
    return undefined; // damaged: measured again
  }
}

/**
 * This machine; measured now, which takes a few seconds, unless that was done before. A process of its own measures, so that
 * whoever plans needs no engine. Throws an Error when it cannot.
 */
export function thisMachine(home: string = homeDirectory()): Machine {
  return machineOf(remembered(home) ?? measure());
}

function measure(): Measurement {
  const { status, stdout, stderr, error } = spawnSync(
    process.execPath,
    [distFile('kernel', 'cli.js'), 'bench', 'machine', '--json'],
    { encoding: 'utf8', windowsHide: true },
  );
  if (status !== 0) throw new Error(`This machine could not be measured: ${error?.message ?? stderr.trim()}`);
  return {
    ...measurementSchema.omit({ cpus: true }).parse(JSON.parse(stdout)),
    cpus: availableParallelism(),
  };
}

/** A machine whose ranks are processes that share its CPUs and its memory. */
export function machineOf({ cpu, threads, peakF32, peakBf16, copyBandwidth }: Measurement): Machine {
  return {
    name: THIS_MACHINE,
    title: `this machine: ${cpu}, ${threads} thread${threads === 1 ? '' : 's'}`,
    accounting: 'native',
    shared: true,
    devicesPerNode: Infinity,
    memory: memoryLimit(),
    peak: { fp32: peakF32, bf16: peakBf16 },
    // Steps of GPT-2 124M reach 76 to 80 % of products at the peak plus AdamW at the bandwidth (docs/benchmarks.md).
    productShare: 0.8,
    memoryBandwidth: copyBandwidth,
    memoryShare: 1,
    // An all-reduce of 2 ranks brings 5 GB/s to each where copying moves 36 (docs/benchmarks.md).
    linkShare: 0.3,
    inside: { bandwidth: copyBandwidth, latency: 50e-6 },
    between: { bandwidth: copyBandwidth, latency: 50e-6 },
  };
}

/** Bytes that the processes of this machine, or of its control group, may use. */
function memoryLimit(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}
