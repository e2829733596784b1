/** What the runner's main thread and its interrupt thread share. */

/** Places in the memory that both see. */
export const SLOT = {
  /** Number of the cell that is to stop; 0 when none is. The main thread clears it when the cell has ended. */
  cell: 0,
  /** Number of the interrupt thread's newest message that the main thread has taken: whether it is free. */
  taken: 1,
} as const;

/** What the interrupt thread is given. */
export interface InterruptThread {
  readonly descriptor: number;
  readonly memory: Int32Array;
}

/** Key of the global function by which the interrupt thread has users' code broken off. */
export const BREAK_OFF = 'gpt-lab.break-off';
