/** The supervisor's side of the cell runner: starts it, hands it cells, replaces it when it dies. */
import { fork, type ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import { distFile } from '../home.ts';
import type { CellError, RunnerCommand, RunnerReport } from './runner-messages.ts';

/** Where the runner's outputs go. */
export interface RunnerSurroundings {
  stream(request: string, name: 'stdout' | 'stderr', text: string): void;
  display(request: string, display: Extract<RunnerReport, { type: 'display' }>): void;
  log(message: string): void;
}

/** How a cell ended. */
export interface Outcome {
  readonly result?: Record<string, unknown>;
  readonly error?: CellError;
}

/** One runner at a time. */
export class CellRunner {
  readonly #surroundings: RunnerSurroundings;
  #child: ChildProcess | undefined;
  #waiting: { request: string; resolve: (outcome: Outcome) => void } | undefined;
  #latest = '';
  #stderr = '';
  #ended = false;

  constructor(surroundings: RunnerSurroundings) {
    this.#surroundings = surroundings;
  }

  /** Starts the process, so that the first cell need not wait for it. */
  start(): ChildProcess {
    const child = fork(distFile('kernel', 'runner.js'), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
      serialization: 'json',
      execArgv: [],
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1' },
    });
    this.#child = child;
    this.#stderr = '';
    child.on('message', (report: RunnerReport) => this.#take(report));
    // What child processes and native code write does not pass through the runner's own streams.
    child.stdout?.on('data', (data: Buffer) =>
      this.#surroundings.stream(this.#latest, 'stdout', data.toString()),
    );
    child.stderr?.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-4096);
      this.#surroundings.stream(this.#latest, 'stderr', data.toString());
    });
    child.stdio[4]?.on('error', () => undefined);
    child.on('close', (code, signal) => this.#closed(child, code, signal));
    child.on('error', (error) => this.#surroundings.log(`The cell runner failed: ${error.message}`));
    return child;
  }

  /** Runs a cell; a runner that dies meanwhile is an error that says how. */
  execute(command: Omit<RunnerCommand, 'type'>): Promise<Outcome> {
    const child = this.#child ?? this.start();
    this.#latest = command.parent;
    return new Promise((resolve) => {
      this.#waiting = { request: command.parent, resolve };
      child.send({ type: 'execute', ...command } satisfies RunnerCommand);
    });
  }

  /** Stops the cell that runs, keeping the state. */
  interrupt(): void {
    (this.#child?.stdio[4] as Writable | undefined)?.write('i');
  }

  end(): void {
    this.#ended = true;
    this.#child?.kill('SIGKILL');
  }

  #take(report: RunnerReport): void {
    switch (report.type) {
      case 'ready':
        break;
      case 'stream':
        this.#surroundings.stream(report.parent, report.name, report.text);
        break;
      case 'display':
        this.#surroundings.display(report.parent, report);
        break;
      case 'done': {
        if (this.#waiting?.request !== report.parent) return;
        const { resolve } = this.#waiting;
        this.#waiting = undefined;
        const { result, error } = report;
        resolve({ ...(result === undefined ? {} : { result }), ...(error === undefined ? {} : { error }) });
      }
    }
  }

  #closed(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    if (this.#ended) return;
    const how = signal === null ? `ended with exit code ${String(code)}` : `was ended by signal ${signal}`;
    const memory = /heap out of memory/.test(this.#stderr) ? ': it ran out of memory' : '';
    const evalue = `The process of the cells ${how}${memory}. Variables are lost; the next cell runs in a fresh one`;
    this.#surroundings.log(evalue);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve({ error: { ename: 'RunnerDied', evalue, traceback: [`RunnerDied: ${evalue}`] } });
  }
}
