/** Front ends may be killed without a word; a kernel that stayed behind would never end. */

/** How often the parent is looked for, ms. */
const INTERVAL = 500;

/** Calls `gone` when the process that started this one has ended; Jupyter says by a variable whether that matters. */
export function watchParent(gone: () => void): void {
  // `jupyter kernel` and others start kernels that are to outlive them.
  if (process.env['JPY_PARENT_PID'] === undefined) return;
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent && isAlive(parent)) return;
    clearInterval(timer);
    gone();
  }, INTERVAL);
  timer.unref();
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process is there too.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
