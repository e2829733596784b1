/**
 * Interrupts of cells. The main thread ends a cell when it is free to (the cell awaits something); while it is not, the
 * interrupt thread has its code broken off. An interrupt names its cell and is over when that has ended; it may come
 * before the cell does, while code of an earlier one still spins.
 */
import { Session } from 'node:inspector';
import { Worker } from 'node:worker_threads';
import { distFile } from '../../home.ts';
import { BREAK_OFF, SLOT, type InterruptThread } from './interrupt-state.ts';
import { DESCRIPTORS } from './messages.ts';

/** The main thread's side. */
export class Interrupts {
  readonly #memory = new Int32Array(new SharedArrayBuffer(8));
  readonly #session = new Session();
  readonly #interrupted: (cell: number) => void;
  #controller = new AbortController();
  /** Number of the newest cell that has begun or was interrupted before it did. */
  #latest = 0;
  #isRunning = false;

  /** `interrupted` is called when a cell has ended by an interrupt, whatever its code still does. */
  constructor(interrupted: (cell: number) => void) {
    this.#interrupted = interrupted;
    this.#session.connect();
    Object.defineProperty(globalThis, Symbol.for(BREAK_OFF), { value: () => this.#breakOff() });
    const workerData: InterruptThread = { descriptor: DESCRIPTORS.interrupts, memory: this.#memory };
    const worker = new Worker(distFile('kernel', 'interrupt-worker.js'), { workerData });
    worker.unref();
    worker.on('message', (message: number) => this.#take(message));
  }

  /** Aborts when the user interrupts the cell that runs now. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** A cell begins; numbers rise. False when it was interrupted before. */
  begin(cell: number): boolean {
    if (cell <= this.#latest) return false;
    this.#latest = cell;
    this.#isRunning = true;
    this.#controller = new AbortController();
    return true;
  }

  /** A cell's code has come to its end: `asked` when an interrupt may have been the reason, `ended` when that has ended it. */
  end(cell: number): 'asked' | 'ended' | undefined {
    if (!this.#isRunning || cell !== this.#latest) return 'ended';
    this.#isRunning = false;
    return Atomics.compareExchange(this.#memory, SLOT.cell, cell, 0) === cell ? 'asked' : undefined;
  }

  #take(message: number): void {
    Atomics.store(this.#memory, SLOT.taken, message);
    const cell = Atomics.load(this.#memory, SLOT.cell);
    if (cell === 0) return;
    const isPending = cell > this.#latest || (cell === this.#latest && this.#isRunning);
    if (cell === this.#latest) this.#controller.abort();
    this.#latest = Math.max(cell, this.#latest);
    this.#isRunning = false;
    Atomics.store(this.#memory, SLOT.cell, 0);
    if (isPending) this.#interrupted(cell);
  }

  /** Called by the interrupt thread in the middle of whatever runs. */
  #breakOff(): void {
    if (Atomics.load(this.#memory, SLOT.cell) !== 0 && usersCodeRuns())
      this.#session.post('Runtime.terminateExecution');
  }
}

/** Whether cells, or modules that they import, are among the callers. */
function usersCodeRuns(): boolean {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = Infinity;
  const frames = (new Error().stack ?? '').split('\n');
  Error.stackTraceLimit = stackTraceLimit;
  return frames.some(
    (frame) =>
      /cell-\d+\.ts:|file:|wasm:|[( ]\//.test(frame) && !/dist\/kernel\/(runner|chunks\/)/.test(frame),
  );
}
