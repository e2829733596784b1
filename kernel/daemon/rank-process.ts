/** One rank process: started with a task, watched, its end put into words. */
import { fork, type ChildProcess } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { distFile } from '../home.ts';
import { rankReport, type RankCommand, type RankReport, type RankTask } from '../protocol/rank.ts';

/** How a rank ended; `error` is for people and absent when it did what it was asked. */
export interface RankEnd {
  readonly error?: string;
}

/** Lines of stderr that an unexpected end quotes. */
const QUOTED_LINES = 12;
/** Time to end after a stop before SIGTERM, and from there to SIGKILL, ms. */
const GRACE = 20_000;
const LAST_GRACE = 5_000;

/** A running rank. */
export class RankProcess {
  readonly pid: number;
  /** Resolves when the process has ended and all that it reported has been handed on. */
  readonly ended: Promise<RankEnd>;
  readonly #child: ChildProcess;
  readonly #timers: NodeJS.Timeout[] = [];

  /** Starts the process; its output goes to the file at `log`. Throws when it cannot be started. */
  constructor(task: RankTask, log: string, onReport: (report: RankReport) => void) {
    const output = createWriteStream(log, { flags: 'a', mode: 0o600 });
    // A log that cannot be written (a full disk) must not end the daemon.
    output.on('error', () => undefined);
    this.#child = fork(distFile('kernel', 'rank.js'), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      serialization: 'json',
      execArgv: [],
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
    });
    this.pid = this.#child.pid ?? -1;
    this.#child.stdout?.pipe(output, { end: false });
    this.#child.stderr?.pipe(output, { end: false });
    this.ended = this.#watch(output, onReport);
    this.send({ type: 'task', task });
  }

  /** Sends a command; one that finds the process gone is dropped, since `ended` tells the rest. */
  send(command: RankCommand): void {
    if (this.#child.connected) this.#child.send(command, () => undefined);
  }

  /** Asks the rank to end after its current step; one that does not is ended by signals. */
  stop(): void {
    this.send({ type: 'stop' });
    this.#timers.push(
      setTimeout(() => this.#child.kill('SIGTERM'), GRACE),
      setTimeout(() => this.#child.kill('SIGKILL'), GRACE + LAST_GRACE),
    );
  }

  /** Ends the process at once. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async #watch(output: WriteStream, onReport: (report: RankReport) => void): Promise<RankEnd> {
    let said: string | undefined;
    let stderr = '';
    this.#child.stderr?.on('data', (data: Buffer) => {
      stderr = (stderr + data.toString()).slice(-16_384);
    });
    this.#child.on('message', (message) => {
      const report = rankReport.safeParse(message);
      if (!report.success) return;
      if (report.data.type === 'error') said = report.data.message;
      else onReport(report.data);
    });
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.#child.on('error', (error) => {
        said = `The rank process could not be started: ${error.message}`;
        resolve([1, null]);
      });
      this.#child.on('close', (...how) => resolve(how));
    });
    for (const timer of this.#timers) clearTimeout(timer);
    output.end();
    if (said !== undefined) return { error: said };
    if (code === 0) return {};
    return { error: describeEnd(this.pid, code, signal, stderr) };
  }
}

/** An unexpected end in words: exit code or signal, the likely cause, the last lines of stderr. */
export function describeEnd(
  pid: number,
  code: number | null,
  signal: NodeJS.Signals | null,
  stderr: string,
): string {
  const lines = stderr.trim().split('\n').slice(-QUOTED_LINES).join('\n');
  const outOfHeap = /heap out of memory|allocation failed/i.test(stderr);
  const how = signal === null ? `with exit code ${String(code)}` : `by signal ${signal}`;
  const cause = outOfHeap
    ? ': it ran out of memory. Use a smaller model, batchSize or sequenceLength, or more microBatches'
    : signal === 'SIGKILL'
      ? ': it was killed from outside, or the system ran out of memory (its log, `dmesg`, tells). If so, use a smaller model, batchSize or sequenceLength, or more microBatches'
      : '';
  return `Rank 0 (process ${pid}) ended ${how}${cause}${lines === '' ? '' : `\n${lines}`}`;
}
