/** Rank processes for the collective tests: started, joined, told what to call, killed, and all gone at the end. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SharedMemoryOptions } from '../../kernel/parallel/collective/shared-memory.ts';
import type { Command, Report, Step } from './rank-program.ts';

type Results = readonly (Float32Array | Int32Array)[];
type ReportOf<Name extends Report['report']> = Extract<Report, { report: Name }>;

/** One rank's process. */
export class Rank {
  readonly pid: number;
  readonly #child: ChildProcess;
  /** Reports that nobody has taken yet, and who waits for one. */
  readonly #reports: Report[] = [];
  #taker: ((report: Report | undefined) => void) | undefined;
  readonly #exited: Promise<unknown>;

  constructor() {
    this.#child = fork(join(import.meta.dirname, 'rank-program.ts'), {
      execArgv: ['--disable-warning=ExperimentalWarning'],
      serialization: 'advanced',
    });
    if (this.#child.pid === undefined) throw new Error('A rank process could not be started');
    this.pid = this.#child.pid;
    this.#exited = once(this.#child, 'exit').then(() => this.#taker?.(undefined));
    this.#child.on('message', (report: Report) => {
      if (this.#taker) this.#taker(report);
      else this.#reports.push(report);
    });
  }

  tell(command: Command): void {
    this.#child.send(command);
  }

  /** The next report; throws when the process ends instead. */
  async #next(): Promise<Report> {
    const report =
      this.#reports.shift() ??
      (await new Promise<Report | undefined>((resolve) => {
        this.#taker = resolve;
      }));
    this.#taker = undefined;
    if (!report) throw new Error(`Rank process ${this.pid} has ended without a report`);
    return report;
  }

  /** The next report; throws when it is another than the wanted. */
  async report<Name extends Report['report']>(wanted: Name): Promise<ReportOf<Name>> {
    const report = await this.#next();
    if (report.report !== wanted)
      throw new Error(`Rank process ${this.pid} reports ${JSON.stringify(report)} instead of ${wanted}`);
    return report as ReportOf<Name>;
  }

  /** Why its calls failed, after whatever it reports of rounds before. */
  async failure(): Promise<string> {
    for (;;) {
      const report = await this.#next();
      if (report.report === 'failed') return report.message;
      if (report.report !== 'round') throw new Error(`Rank process ${this.pid} reports ${report.report}`);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

/** Some ranks that have joined one collective. */
export class Ranks {
  readonly ranks: readonly Rank[];

  private constructor(ranks: readonly Rank[]) {
    this.ranks = ranks;
  }

  /** Starts `size` processes and hands the address of rank 0 to the others. */
  static async join(
    size: number,
    options: Partial<Omit<SharedMemoryOptions, 'engine' | 'address'>> = {},
  ): Promise<Ranks> {
    const ranks = Array.from({ length: size }, () => new Rank());
    const [first, ...others] = ranks;
    first?.tell({ command: 'join', ...options, rank: 0, size });
    const address = (await first?.report('joined'))?.address ?? '';
    others.forEach((rank, index) =>
      rank.tell({ command: 'join', ...options, rank: index + 1, size, address }),
    );
    await Promise.all(others.map((rank) => rank.report('joined')));
    return new Ranks(ranks);
  }

  rank(index: number): Rank {
    const rank = this.ranks[index];
    if (!rank) throw new RangeError(`There is no rank ${index}`);
    return rank;
  }

  get pids(): number[] {
    return this.ranks.map(({ pid }) => pid);
  }

  /** Has each rank make its steps; gives the results of each. */
  async run(steps: readonly (readonly Step[])[]): Promise<Results[]> {
    this.ranks.forEach((rank, index) => rank.tell({ command: 'run', steps: steps[index] ?? [] }));
    return Promise.all(this.ranks.map(async (rank) => (await rank.report('results')).results));
  }

  /** Kills what still runs. */
  async end(): Promise<void> {
    await Promise.all(this.ranks.map((rank) => rank.end()));
  }
}

/** The segments that processes have mapped, by their numbers in the kernel: those of `pids`, or of all that can be seen. */
export async function mappedSegments(pids?: readonly number[]): Promise<Set<string>> {
  const processes = pids ?? (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const segments = new Set<string>();
  for (const pid of processes) {
    // Processes end while we look.
    const maps = await readFile(`/proc/${pid}/maps`, 'utf8').catch(() => '');
    for (const [, inode] of maps.matchAll(/ (\d+) +\/memfd:gpt-lab-collective/g)) segments.add(inode ?? '');
  }
  return segments;
}
