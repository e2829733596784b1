/** The runner's end of the report pipe. */
import { writeSync } from 'node:fs';
import { DESCRIPTORS, encodeReport, type RunnerReport } from './messages.ts';

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Hands a report to the supervisor; returns when the pipe has taken all of it. */
export function report(message: RunnerReport): void {
  let rest = Buffer.from(encodeReport(message));
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(DESCRIPTORS.reports, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Without a reader this process is about to be ended.
      if (code !== 'EAGAIN') return;
      Atomics.wait(sleeper, 0, 0, 1);
    }
  }
}
