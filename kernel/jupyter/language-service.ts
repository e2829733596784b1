/** The supervisor's side of the language process: started when the first question comes, replaced when it dies. */
import { fork, type ChildProcess } from 'node:child_process';
import { getCompileCacheDir } from 'node:module';
import { distFile } from '../home.ts';
import type { LanguageCommand, LanguageReport, QuestionName, Questions } from './language/messages.ts';

/** A process that has died so often without an answer in between is not started again. */
const MAX_DEATHS = 3;

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** What is known of the code of one kernel. */
export class LanguageService {
  readonly #log: (message: string) => void;
  readonly #waiting = new Map<number, Waiting>();
  #executed: string[] = [];
  #child: ChildProcess | undefined;
  #asked = 0;
  #deaths = 0;

  constructor(log: (message: string) => void) {
    this.#log = log;
  }

  /** Starts the process ahead of the first question; it reads the libraries' declarations meanwhile. */
  warm(): void {
    if (this.#deaths < MAX_DEATHS) this.#child ??= this.#start();
  }

  /** A cell is being run: its names are there from now on. */
  executed(cell: string): void {
    this.#executed.push(cell);
    this.#send({ type: 'executed', cells: [cell] });
  }

  /** Variables are lost. */
  forget(): void {
    this.#executed = [];
    this.#send({ type: 'forget' });
  }

  /** Asks a question. Rejects when the process dies over it. */
  ask<Name extends QuestionName>(
    name: Name,
    question: Questions[Name]['ask'],
  ): Promise<Questions[Name]['answer']> {
    this.warm();
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      if (!this.#child) {
        reject(new Error(`The language process has died ${MAX_DEATHS} times: restart the kernel`));
        return;
      }
      this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject });
      this.#send({ type: 'ask', id, name, question } as LanguageCommand);
    });
  }

  /** Ends the process. */
  end(): void {
    const child = this.#child;
    this.#child = undefined;
    child?.kill('SIGKILL');
  }

  #start(): ChildProcess {
    const child = fork(distFile('kernel', 'language.js'), {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      execArgv: [],
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_COMPILE_CACHE: getCompileCacheDir() },
    });
    child.on('message', (report: LanguageReport) => this.#take(report));
    child.on('error', (error) => this.#died(child, error.message));
    child.on('exit', (code, signal) => this.#died(child, signal ?? `exit code ${String(code)}`));
    const first: LanguageCommand = { type: 'executed', cells: this.#executed };
    child.send(first);
    return child;
  }

  #send(command: LanguageCommand): void {
    this.#child?.send(command);
  }

  #take(report: LanguageReport): void {
    const waiting = this.#waiting.get(report.id);
    this.#waiting.delete(report.id);
    this.#deaths = 0;
    if (report.type === 'answer') waiting?.resolve(report.answer);
    else waiting?.reject(new Error(`The language service failed: ${report.reason}`));
  }

  #died(child: ChildProcess, how: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    this.#deaths++;
    this.#log(`The language process has ended (${how})`);
    for (const { reject } of this.#waiting.values())
      reject(new Error(`The language process has ended (${how})`));
    this.#waiting.clear();
  }
}
