/** What ranks agree on and tell each other outside the arithmetic. */

/** What a rank does together with the others besides computing. */
export interface Peers {
  readonly rank: number;
  readonly size: number;
  /** For each question whether any rank says yes; every rank asks the same, and all get the same answers. */
  any(...answers: boolean[]): Promise<boolean[]>;
  /** The numbers of all ranks, in their order; each gives as many. */
  gather(numbers: Int32Array): Promise<Int32Array>;
}

/** A run's only rank. */
export const alone: Peers = {
  rank: 0,
  size: 1,
  any: (...answers) => Promise.resolve(answers),
  gather: (numbers) => Promise.resolve(numbers),
};
