/** The process's one connection to the training daemon. */
import { connectDaemon } from '../daemon/client.ts';
import { DaemonError } from '../daemon/daemon-error.ts';
import type { DaemonClient } from '../daemon/client.ts';
import { LabError } from './errors.ts';

let current: Promise<DaemonClient> | undefined;

/** The connection; opened, and the daemon started, when there is none. */
export function daemon(): Promise<DaemonClient> {
  if (current) return current;
  const opening = connectDaemon();
  current = opening;
  const forget = (): void => {
    if (current === opening) current = undefined;
  };
  // The caller gets the error of a failed attempt; the next call then tries anew.
  opening.then((client) => void client.closed.then(forget), forget);
  return opening;
}

/** Closes the connection, if there is one; the next request opens a new one. */
export async function disconnect(): Promise<void> {
  const closing = current;
  current = undefined;
  (await closing)?.close();
}

/** Sends a request with `send`; a refusal becomes an error that lists every problem on a line of its own. */
export async function ask<T>(send: (client: DaemonClient) => Promise<T>): Promise<T> {
  try {
    return await send(await daemon());
  } catch (error) {
    throw error instanceof DaemonError ? new LabError(error) : error;
  }
}
