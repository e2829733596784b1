/**
 * A thread of the cell runner that stays free while a cell spins. It reads the supervisor's pipe: a byte asks for an
 * interrupt, its end means that the supervisor is gone, and then the whole process goes.
 */
import { Session } from 'node:inspector';
import { Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';

/** Time that the main thread has to take the interrupt by itself (a pending await) before it is broken off, ms. */
const PATIENCE = 60;

const { descriptor, shared } = workerData as { descriptor: number; shared: SharedArrayBuffer };
/** [0]: 0 while an interrupt waits, 1 once the main thread has taken it, 2 once this thread breaks the code off. */
const state = new Int32Array(shared);

const session = new Session();
session.connectToMainThread();

const pipe = new Socket({ fd: descriptor, readable: true, writable: false });
pipe.on('data', () => {
  Atomics.store(state, 0, 0);
  parentPort?.postMessage('interrupt');
  setTimeout(() => {
    if (Atomics.compareExchange(state, 0, 0, 2) !== 0) return;
    session.post('Runtime.terminateExecution');
    parentPort?.postMessage('terminated');
  }, PATIENCE);
});
const end = (): void => void process.kill(process.pid, 'SIGKILL');
pipe.on('end', end);
pipe.on('error', end);
pipe.on('close', end);
