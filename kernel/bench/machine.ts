/** The ceilings of this machine: what no step can be faster than. */
import { NativeEngine } from '../engine/native/native-engine.ts';
import { packageVersion } from '../home.ts';
import { processorName } from '../processor.ts';

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

/** Measures the ceilings of the native engine with so many threads. */
export async function measureMachine(threads: number): Promise<MachineRow> {
  const engine = new NativeEngine(threads);
  try {
    const { f32: peakF32, bf16: peakBf16 } = await engine.measurePeaks();
    return {
      row: 'machine',
      version: packageVersion(),
      cpu: processorName(),
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
