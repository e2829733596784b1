/** What the runner's main thread and its interrupt thread share. */

/** States of an interrupt, in memory that both see. */
export const STATE = {
  none: 0,
  /** Asked for, not taken yet. */
  asked: 1,
  /** The interrupt thread is breaking the code off; it says when that is done. */
  breaking: 2,
} as const;

/** What the interrupt thread says. */
export type InterruptMessage = 'asked' | 'broken';

/** What the interrupt thread is given. */
export interface InterruptThread {
  readonly descriptor: number;
  readonly state: Int32Array;
}
