/** The runner leads a process group, so that what cells start ends with it; what they detach lives on. */

/** Ends a group at once; nothing happens when it is gone. */
export function killGroup(leader: number): void {
  try {
    // Windows knows no groups.
    process.kill(process.platform === 'win32' ? leader : -leader, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
