/**
 * A thread of the cell runner that stays free while a cell spins. It reads the supervisor's pipe: a line with the number
 * of a cell asks for an interrupt of that cell, the pipe's end means that the supervisor is gone, and then this process
 * and all that it started go too.
 */
import { Session } from 'node:inspector';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { parentPort, workerData } from 'node:worker_threads';
import { BREAK_OFF, SLOT, type InterruptThread } from './interrupt-state.ts';
import { interruptGroup, killGroup } from './process-group.ts';

/** Time that the main thread has to take an interrupt by itself, between two callbacks, before it is broken off, ms. */
const PATIENCE = 150;
/** So often only code that is a user's for certain is broken off; then anything, since a chain of promises has no caller. */
const CAREFUL_ATTEMPTS = 2;

const { descriptor, memory } = workerData as InterruptThread;
const session = new Session();
session.connectToMainThread();

let told = 0;
let attempts = 0;
let isBreaking = false;
let timer: NodeJS.Timeout | undefined;

function interrupt(cell: number): void {
  // One at a time: it is over when its cell is.
  if (Atomics.compareExchange(memory, SLOT.cell, 0, cell) !== 0) return;
  attempts = 0;
  tell();
  clearTimeout(timer);
  timer = setTimeout(insist, PATIENCE);
}

/** Breaks off what the main thread does, again and again, until the cell has ended. */
function insist(): void {
  if (Atomics.load(memory, SLOT.cell) === 0) return;
  if (Atomics.load(memory, SLOT.taken) !== told) breakOff();
  timer = setTimeout(insist, PATIENCE);
}

/** The main thread ends the cell as soon as it takes this. */
function tell(): void {
  parentPort?.postMessage(++told);
}

function breakOff(): void {
  if (isBreaking) {
    // It is not in JavaScript, but in `execSync` or the like: the process there gets Ctrl-C.
    interruptGroup(process.pid);
    return;
  }
  isBreaking = true;
  const broken = (): void => {
    isBreaking = false;
    tell();
  };
  // Both run on the main thread, in the middle of what that does.
  if (++attempts <= CAREFUL_ATTEMPTS)
    session.post('Runtime.evaluate', { expression: `globalThis[Symbol.for('${BREAK_OFF}')]()` }, broken);
  else session.post('Runtime.terminateExecution', broken);
}

const pipe = new Socket({ fd: descriptor, readable: true, writable: false });
createInterface(pipe).on('line', (line) => interrupt(Number(line)));
const end = (): void => killGroup(process.pid);
pipe.on('end', end);
pipe.on('error', end);
pipe.on('close', end);
