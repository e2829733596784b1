/** The supervisor's side of the cell runner: starts it, hands it cells, replaces it when it dies. */
import { fork, type ChildProcess } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { distFile } from '../home.ts';
import {
  DESCRIPTORS,
  ReportReader,
  type Execute,
  type Outcome,
  type RunnerCommand,
  type RunnerReport,
} from './runner/messages.ts';
import { killGroup } from './runner/process-group.ts';

/** What a cell does while it runs and after. */
export type CellActivity = Exclude<RunnerReport, { type: 'done' | 'members' }>;

/** What the runner needs to know of the rest of the kernel. */
export interface RunnerSurroundings {
  /** Takes what cells do, in order. */
  take(activity: CellActivity): void;
  /** Undefined when the front end keeps up; else resolves when it does again. */
  congestion(): Promise<void> | undefined;
  /** The process is gone, and with it all variables. */
  died(): void;
  log(message: string): void;
}

/** So much of what the process wrote last is searched for the reason of its death, characters. */
const LAST_WORDS = 4096;
/** A completion waits no longer for the members of a value, ms. */
const MEMBERS_DEADLINE = 250;

/**
 * An interrupt may break off a timer's callback, which leaves Node's books of asynchronous calls open; it would abort the
 * process for that. Node 22 does not need these books when contexts are kept as Node 24 keeps them.
 */
const NODE_OPTIONS = [
  '--no-force-async-hooks-checks',
  ...(Number.parseInt(process.versions.node) < 24 ? ['--experimental-async-context-frame'] : []),
];

/** One runner at a time. */
export class CellRunner {
  readonly #surroundings: RunnerSurroundings;
  #child: ChildProcess | undefined;
  #waiting: { number: number; resolve: (outcome: Outcome) => void } | undefined;
  readonly #members = new Map<number, (names: readonly string[]) => void>();
  #executions = 0;
  #asked = 0;
  #latest = '';
  #lastWords = '';
  #ended = false;

  constructor(surroundings: RunnerSurroundings) {
    this.#surroundings = surroundings;
  }

  /** Starts the process, so that the first cell need not wait for it. */
  start(): ChildProcess {
    const child = fork(distFile('kernel', 'runner.js'), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe', 'pipe'],
      // A group of its own: what cells start ends with it.
      detached: process.platform !== 'win32',
      execArgv: NODE_OPTIONS,
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
    });
    this.#child = child;
    this.#lastWords = '';
    // It is written to when the process may be ending; that it has ended, `close` tells.
    pipeOf(child, 'interrupts').on('error', () => undefined);
    this.#read(pipeOf(child, 'reports'));
    this.#readPlain(child, 'stdout');
    this.#readPlain(child, 'stderr');
    child.on('exit', () => {
      // Its own children hold its pipes open.
      if (child.pid !== undefined) killGroup(child.pid);
    });
    child.on('close', (code, signal) => this.#closed(child, code, signal));
    child.on('error', (error) => this.#surroundings.log(`The cell runner failed: ${error.message}`));
    return child;
  }

  /** Runs a cell; a runner that dies meanwhile is an error that says how. */
  execute(command: Omit<Execute, 'type' | 'number'>): Promise<Outcome> {
    this.#latest = command.request;
    const number = ++this.#executions;
    return new Promise((resolve) => {
      this.#waiting = { number, resolve };
      this.#send({ type: 'execute', number, ...command });
    });
  }

  /** Hands the user's answer to the cell that asked. */
  answer(answer: Omit<Extract<RunnerCommand, { type: 'input' }>, 'type'>): void {
    this.#send({ type: 'input', ...answer });
  }

  /** Members of a value as it is now; none when the process is not free to say so soon. */
  async members(expression: string): Promise<readonly string[]> {
    if (!this.#child) return [];
    const id = ++this.#asked;
    let timer: NodeJS.Timeout | undefined;
    const names = await new Promise<readonly string[]>((resolve) => {
      this.#members.set(id, resolve);
      timer = setTimeout(resolve, MEMBERS_DEADLINE, []);
      this.#send({ type: 'members', id, expression });
    });
    clearTimeout(timer);
    this.#members.delete(id);
    return names;
  }

  /** Stops the cell that runs, keeping the state; false when none does. */
  interrupt(): boolean {
    if (!this.#child || !this.#waiting) return false;
    pipeOf(this.#child, 'interrupts').write(`${this.#waiting.number}\n`);
    return true;
  }

  /** Ends the process and all that cells have started in it. */
  end(): void {
    this.#ended = true;
    if (this.#child?.pid !== undefined) killGroup(this.#child.pid);
  }

  #send(command: RunnerCommand): void {
    (this.#child ?? this.start()).send(command);
  }

  #read(pipe: Readable): void {
    const reader = new ReportReader();
    pipe.on('data', (chunk: Buffer) => {
      for (const report of reader.take(chunk)) {
        if (report.type === 'done') this.#done(report);
        else if (report.type === 'members') this.#members.get(report.id)?.(report.names);
        else this.#surroundings.take(report);
      }
      const congestion = this.#surroundings.congestion();
      if (!congestion) return;
      // Meanwhile the pipe fills up, and a cell that floods waits.
      pipe.pause();
      void congestion.then(() => pipe.resume());
    });
  }

  /** What child processes and native code write does not pass through the runner's own streams. */
  #readPlain(child: ChildProcess, name: 'stdout' | 'stderr'): void {
    const stream = child[name];
    stream?.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-LAST_WORDS);
      this.#surroundings.take({ type: 'stream', request: this.#latest, name, text });
    });
  }

  #done({ number, outcome }: Extract<RunnerReport, { type: 'done' }>): void {
    // What the cell's child processes wrote before its end lies in the other pipes: all of them are read in this turn.
    setImmediate(() => {
      if (this.#waiting?.number !== number) return;
      const { resolve } = this.#waiting;
      this.#waiting = undefined;
      resolve(outcome);
    });
  }

  #closed(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    if (this.#ended) return;
    const how = signal === null ? `ended with exit code ${String(code)}` : `was ended by signal ${signal}`;
    const memory = /heap out of memory/.test(this.#lastWords) ? ': it ran out of memory' : '';
    const evalue = `The process of the cells ${how}${memory}. Variables are lost; the next cell runs in a fresh one`;
    this.#surroundings.log(evalue);
    this.#surroundings.died();
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve({ error: { ename: 'RunnerDied', evalue, traceback: [`RunnerDied: ${evalue}`] } });
  }
}

function pipeOf(child: ChildProcess, name: keyof typeof DESCRIPTORS): Duplex {
  return (child.stdio as readonly unknown[])[DESCRIPTORS[name]] as Duplex;
}
