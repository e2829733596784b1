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
/** [0]: how many interrupts the main thread has taken; [1]: 1 once its code was broken off. */
const taken = new Int32Array(shared);

const session = new Session();
session.connectToMainThread();

const pipe = new Socket({ fd: descriptor, readable: true, writable: false });
pipe.on('data', () => {
  const before = Atomics.load(taken, 0);
  parentPort?.postMessage('interrupt');
  setTimeout(() => {
    if (Atomics.load(taken, 0) !== before) return;
    Atomics.store(taken, 1, 1);
    session.post('Runtime.terminateExecution');
  }, PATIENCE);
});
const end = (): void => void process.kill(process.pid, 'SIGKILL');
pipe.on('end', end);
pipe.on('error', end);
pipe.on('close', end);
