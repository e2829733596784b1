/**
 * Interrupts of the cell that runs. The main thread takes one when it is free (the cell awaits something); when it is not,
 * the interrupt thread breaks its code off. Whichever comes first moves the shared state on, so that one interrupt
 * ends one cell.
 */
import { Worker } from 'node:worker_threads';
import { distFile } from '../../home.ts';
import { STATE, type InterruptMessage, type InterruptThread } from './interrupt-state.ts';
import { DESCRIPTORS } from './messages.ts';

/** The error of a cell that was interrupted. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';

  constructor() {
    super('The cell was interrupted; variables are kept');
  }
}

/** The main thread's side. */
export class Interrupts {
  readonly #state = new Int32Array(new SharedArrayBuffer(4));
  #controller = new AbortController();
  #broken = Promise.withResolvers<undefined>();

  constructor() {
    const workerData: InterruptThread = { descriptor: DESCRIPTORS.interrupts, state: this.#state };
    const worker = new Worker(distFile('kernel', 'interrupt-worker.js'), { workerData });
    worker.unref();
    worker.on('message', (message: InterruptMessage) => this.#take(message));
  }

  /** Aborts when the user interrupts the cell that runs now. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Runs a cell until it ends or is interrupted. Throws Interrupted, or what `cell` throws. */
  async run<T>(cell: () => Promise<T>): Promise<T> {
    // One that was meant for something in the background.
    if (!this.#withdraw()) await this.#broke();
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const interrupted = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(new Interrupted()));
    });
    const ended = Promise.race([cell(), interrupted]);
    const failed = await ended.then(
      () => false,
      () => true,
    );
    const late = this.#withdraw();
    // Code that was broken off ends with whatever the engine makes of it; a process that it waited for, with an error.
    if ((await this.#broke()) || (late && failed)) throw new Interrupted();
    return ended;
  }

  /** An interrupt that nobody has taken does not reach the next cell. True when there was one. */
  #withdraw(): boolean {
    return Atomics.compareExchange(this.#state, 0, STATE.asked, STATE.none) === STATE.asked;
  }

  /** True, once that is over, when the interrupt thread has broken code off. */
  async #broke(): Promise<boolean> {
    if (Atomics.load(this.#state, 0) !== STATE.breaking) return false;
    await this.#broken.promise;
    return true;
  }

  #take(message: InterruptMessage): void {
    if (message === 'asked') {
      if (Atomics.compareExchange(this.#state, 0, STATE.asked, STATE.none) !== STATE.asked) return;
    } else {
      this.#broken.resolve(undefined);
      this.#broken = Promise.withResolvers();
      Atomics.store(this.#state, 0, STATE.none);
    }
    this.#controller.abort();
  }
}
