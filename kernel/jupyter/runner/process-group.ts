/** The runner leads a process group, so that what cells start ends with it; what they detach lives on. */

/** Ends a group at once; nothing happens when it is gone. */
export function killGroup(leader: number): void {
  signalGroup(leader, 'SIGKILL');
}

/** What Ctrl-C does in a terminal; the leader has to expect it. */
export function interruptGroup(leader: number): void {
  // Windows knows no groups.
  if (process.platform !== 'win32') signalGroup(leader, 'SIGINT');
}

function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(process.platform === 'win32' ? leader : -leader, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
