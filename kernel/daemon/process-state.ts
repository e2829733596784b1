/** What the system says of a process. */
import { readFileSync } from 'node:fs';

/** Whether a signal has stopped the process, until another lets it go on. Never known but on Linux. */
export function isStopped(pid: number): boolean {
  try {
    // The command in parentheses may hold anything; the state follows it.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('T');
  } catch {
    return false;
  }
}
