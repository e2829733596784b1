/** What `gpt-lab bench notebook` measures: how soon a kernel is there, and how long `1+1` takes to come back. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installKernelspec } from '../cli/kernel-install.ts';
import { packageVersion } from '../home.ts';
import { startKernel } from '../jupyter/client.ts';
import { Stepper } from './stepper.ts';

/** Round trips whose median is one measurement. */
const BATCH = 50;

/** One kernel through one client. Medians, in milliseconds. */
export interface NotebookRow {
  readonly kernel: string;
  readonly client: string;
  readonly roundTripMilliseconds: number;
  /** Until a new kernel answers; only for our own client. */
  readonly startMilliseconds?: number;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Our kernel through our client, which the editor uses. */
async function ownClient(rounds: number): Promise<NotebookRow> {
  const starts: number[] = [];
  const trips: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    const kernel = await startKernel({ cwd: tmpdir() });
    starts.push(performance.now() - started);
    try {
      for (let trip = 0; trip < BATCH; trip++) {
        const asked = performance.now();
        await kernel.execute('1+1', { onMessage: () => undefined });
        trips.push(performance.now() - asked);
      }
    } finally {
      await kernel.shutdown();
    }
  }
  return {
    kernel: `gpt-lab ${packageVersion()}`,
    client: 'gpt-lab',
    roundTripMilliseconds: median(trips),
    startMilliseconds: median(starts),
  };
}

/** Our kernel and ipykernel in turns, both through `python`'s jupyter_client. */
async function jupyterClient(python: string, rounds: number): Promise<NotebookRow[]> {
  const data = mkdtempSync(join(tmpdir(), 'gpt-lab-bench-'));
  installKernelspec(data);
  const script = fileURLToPath(new URL('../../test/bench/kernel_round_trip.py', import.meta.url));
  const path = [data, process.env['JUPYTER_PATH']].filter((each) => each !== undefined).join(':');
  const environment = { ...process.env, JUPYTER_PATH: path };
  const kernels = ['gpt-lab', 'python3'].map((name) => ({
    stepper: new Stepper(name, python, [script, name, String(BATCH)], environment),
    seconds: [] as number[],
    version: name,
  }));
  try {
    for (let round = 0; round <= rounds; round++) {
      for (const kernel of kernels) {
        const report = await kernel.stepper.step();
        kernel.version = report.version ?? kernel.version;
        // The first warms up.
        if (round > 0) kernel.seconds.push(report.seconds);
      }
    }
  } finally {
    await Promise.all(kernels.map(({ stepper }) => stepper.end()));
    rmSync(data, { recursive: true, force: true });
  }
  return kernels.map(({ version, seconds }) => ({
    kernel: version,
    client: 'jupyter_client',
    roundTripMilliseconds: 1000 * median(seconds),
  }));
}

/** Our own client first; then, where `python` has jupyter_client and ipykernel, both kernels through that. */
export async function* benchmarkNotebook(options: {
  readonly rounds: number;
  readonly python: string | undefined;
}): AsyncGenerator<NotebookRow> {
  yield await ownClient(options.rounds);
  if (options.python !== undefined) yield* await jupyterClient(options.python, options.rounds);
}
