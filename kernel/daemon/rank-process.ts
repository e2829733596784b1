/** One rank process: started with a task, watched, its end put into words. */
import { fork, type ChildProcess } from 'node:child_process';
import { createWriteStream, type WriteStream } from 'node:fs';
import { distFile } from '../home.ts';
import {
  MEMORY_ADVICE,
  rankReport,
  type RankCommand,
  type RankReport,
  type RankTask,
} from '../protocol/rank.ts';

/** How a rank, or all ranks of a run, ended. */
export interface RankEnd {
  /** For people; absent when it did what it was asked. */
  readonly error?: string;
  /** Whether we ended it, because it was told to or did not hear a stop. */
  readonly killed: boolean;
  /** Whether it ended without a word of its own: a signal, or an exit. */
  readonly silent?: boolean;
}

/** Lines of stderr that an unexpected end quotes, and the bytes that they are taken from. */
const QUOTED_LINES = 12;
const QUOTED_BYTES = 16_384;
/** Addresses that V8 ends its last words with: they would leave no room for what it said. */
const NATIVE_STACK = /^ *\d+: 0x[0-9a-f]+|^-+ Native stack trace -+$/;
/** Time to say that a stop was heard, ms: a rank's event loop is free during a step. */
const HEARING = 20_000;
/** Time from a rank's last word to the end of its process, ms. */
const LEAVING = 20_000;

/** A running rank. */
export class RankProcess {
  /** Undefined when the system has refused to start it; `ended` says why. */
  readonly pid: number | undefined;
  /** Resolves when the process has ended and all that it reported has been handed on. */
  readonly ended: Promise<RankEnd>;
  readonly #child: ChildProcess;
  readonly #name: string;
  #deadline: NodeJS.Timeout | undefined;
  #killed = false;
  #failure: string | undefined;

  /** Starts the process; its output goes to the file at `log`. */
  constructor(task: RankTask, log: string, onReport: (report: RankReport) => void) {
    this.#child = fork(distFile('kernel', 'rank.js'), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      serialization: 'json',
      execArgv: [],
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
    });
    this.pid = this.#child.pid;
    this.#name = `Rank ${task.task === 'train' ? (task.rank ?? 0) : 0}`;
    this.ended = this.#watch(this.#openLog(log), onReport);
    this.send({ type: 'task', task });
  }

  /** Sends a command; one that finds the process gone is dropped, since `ended` tells the rest. */
  send(command: RankCommand): void {
    if (this.#child.connected) this.#child.send(command, () => undefined);
  }

  /** Asks the rank to end after its current step; one that does not hear it is killed. */
  stop(): void {
    this.send({ type: 'stop' });
    this.#expect(HEARING);
  }

  /** Ends the process at once. */
  kill(): void {
    this.#killed = true;
    this.#child.kill('SIGKILL');
  }

  /** Ends the process at once, since it can do no more: `reason` follows its name. */
  fail(reason: string): void {
    this.#failure ??= `${this.#name} (process ${this.pid}) ${reason}`;
    this.#child.kill('SIGKILL');
  }

  #expect(within: number): void {
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.kill(), within);
  }

  #openLog(path: string): WriteStream {
    const output = createWriteStream(path, { flags: 'a', mode: 0o600 });
    const { stdout, stderr } = this.#child;
    // A log that cannot be written (a full disk) ends neither the daemon nor the rank, which would wait for a reader.
    output.on('error', () => {
      stdout?.resume();
      stderr?.resume();
    });
    stdout?.pipe(output, { end: false });
    stderr?.pipe(output, { end: false });
    return output;
  }

  async #watch(output: WriteStream, onReport: (report: RankReport) => void): Promise<RankEnd> {
    let said: string | undefined;
    let leaving = false;
    let stderr = Buffer.alloc(0);
    this.#child.stderr?.on('data', (data: Buffer) => {
      stderr = Buffer.concat([stderr, data]).subarray(-QUOTED_BYTES);
    });
    this.#child.on('message', (message) => {
      const report = rankReport.safeParse(message);
      if (!report.success) return;
      if (report.data.type === 'stopping') {
        if (!leaving) clearTimeout(this.#deadline);
        return;
      }
      if (report.data.type === 'error') said = report.data.message;
      else onReport(report.data);
      leaving ||= isLastWord(report.data);
      if (leaving) this.#expect(LEAVING);
    });
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.#child.on('error', (error) => {
        said = `The rank process could not be started: ${error.message}`;
        resolve([1, null]);
      });
      this.#child.on('close', (...how) => resolve(how));
    });
    clearTimeout(this.#deadline);
    output.end();
    const killed = this.#killed;
    if (this.#failure !== undefined) return { error: this.#failure, killed, silent: true };
    if (said !== undefined) return { error: said, killed };
    if (code === 0) return { killed };
    const error = describeEnd(this.#name, this.pid, code, signal, stderr.toString());
    return { error, killed, silent: true };
  }
}

function isLastWord(report: RankReport): boolean {
  return (
    report.type === 'error' ||
    report.type === 'result' ||
    (report.type === 'event' && report.event.event === 'end')
  );
}

/** An unexpected end in words: exit code or signal, the likely cause, the last lines of stderr. */
export function describeEnd(
  name: string,
  pid: number | undefined,
  code: number | null,
  signal: NodeJS.Signals | null,
  stderr: string,
): string {
  const lines = stderr
    .split('\n')
    .filter((line) => line.trim() !== '' && !NATIVE_STACK.test(line))
    .slice(-QUOTED_LINES)
    .join('\n');
  const outOfHeap = /heap out of memory|allocation failed/i.test(stderr);
  const how = signal === null ? `with exit code ${String(code)}` : `by signal ${signal}`;
  const cause = outOfHeap
    ? `: it ran out of memory. ${MEMORY_ADVICE}`
    : signal === 'SIGKILL'
      ? `: it was killed from outside, or the system ran out of memory (its log, \`dmesg\`, tells). If so: ${MEMORY_ADVICE}`
      : '';
  return `${name} (${pid === undefined ? 'which the system did not start' : `process ${pid}`}) ended ${how}${cause}${lines === '' ? '' : `\n${lines}`}`;
}
