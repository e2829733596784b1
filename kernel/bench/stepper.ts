/** Processes that take one training step per line of their input and answer with its time: ours and PyTorch's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

/** What a process answers to a line. */
export interface StepReport {
  readonly seconds: number;
  /** Most memory that the process has had resident since it started. */
  readonly peakBytes: number;
  /** Of the framework. */
  readonly version?: string;
}

/** One process; its steps are taken one at a time. */
export class Stepper {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #input: Writable;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  /** Starts the process. */
  constructor(name: string, command: string, args: readonly string[], env = process.env) {
    this.name = name;
    const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.#input = child.stdin;
    child.stdin.on('error', () => undefined); // Told by the missing answer.
    child.on('error', (error) => (this.#errors += error.message));
    child.stderr.on('data', (data: Buffer) => (this.#errors = (this.#errors + data.toString()).slice(-2000)));
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Takes a step. Throws an Error with the end of the process's stderr when it has died. */
  async step(): Promise<StepReport> {
    this.#input.write('\n');
    const line = await this.#lines.next();
    if (line.done) throw new Error(`${this.name} ended without an answer: ${this.#errors.trim()}`);
    return JSON.parse(line.value) as StepReport;
  }

  /** Ends the process. */
  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#input.end();
    this.#child.kill();
    await ended;
  }
}

/** The other side: answers each line of `input` with what `step` gives, until the input ends. */
export async function serveSteps(input: Readable, step: () => Promise<number>): Promise<void> {
  const lines = createInterface({ input })[Symbol.asyncIterator]();
  while (!(await lines.next()).done) {
    const seconds = await step();
    const report: StepReport = { seconds, peakBytes: process.resourceUsage().maxRSS * 1024 };
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
}
