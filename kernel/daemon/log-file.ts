/** Log files that only grow are set aside when they have become large. */
import { renameSync, statSync } from 'node:fs';

/** Size from which a log is set aside, bytes. */
const LOG_LIMIT = 4 * 2 ** 20;

/** Renames a large log to `PATH.1`, in place of the one before it. */
export function setLargeLogAside(path: string): void {
  try {
    if (statSync(path).size > LOG_LIMIT) renameSync(path, `${path}.1`);
  } catch {
    // There is no log yet.
  }
}
