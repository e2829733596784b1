/**
 * A thread of the cell runner that stays free while a cell spins. It reads the supervisor's pipe: a byte asks for an
 * interrupt, its end means that the supervisor is gone, and then this process and all that it started go too.
 */
import { Session } from 'node:inspector';
import { Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { STATE, type InterruptMessage, type InterruptThread } from './interrupt-state.ts';
import { killGroup } from './process-group.ts';

/** Time that the main thread has to take the interrupt by itself (a pending await) before it is broken off, ms. */
const PATIENCE = 60;

const { descriptor, state } = workerData as InterruptThread;
const tell = (message: InterruptMessage): void => parentPort?.postMessage(message);

const session = new Session();
session.connectToMainThread();

const pipe = new Socket({ fd: descriptor, readable: true, writable: false });
pipe.on('data', () => {
  if (Atomics.compareExchange(state, 0, STATE.none, STATE.asked) !== STATE.none) return;
  tell('asked');
  setTimeout(() => {
    if (Atomics.compareExchange(state, 0, STATE.asked, STATE.breaking) !== STATE.asked) return;
    session.post('Runtime.terminateExecution', () => tell('broken'));
  }, PATIENCE);
});
const end = (): void => killGroup(process.pid);
pipe.on('end', end);
pipe.on('error', end);
pipe.on('close', end);
