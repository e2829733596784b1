/**
 * The mesh: which rank has which place along data x pipeline x tensor. Ranks of one tensor group are neighbours, since
 * they exchange most and machines are numbered in runs; then come replicas, then stages (the order of Megatron-LM,
 * Narayanan et al. 2021, section 3).
 */

/** The axes, from the one whose neighbours are neighbouring ranks. */
export const axes = ['tensor', 'data', 'pipeline'] as const;
export type Axis = (typeof axes)[number];

/** A number for each axis: places along it, or a place. */
export type PerAxis = Readonly<Record<Axis, number>>;

/** Ranks = tensor x data x pipeline. Throws a RangeError unless each is a whole number of at least 1. */
export class Mesh {
  /** Places along each axis. */
  readonly shape: PerAxis;
  /** Number of ranks. */
  readonly size: number;
  /** From a rank to the next along each axis. */
  readonly #strides: PerAxis;

  constructor(shape: PerAxis) {
    for (const axis of axes)
      if (!Number.isSafeInteger(shape[axis]) || shape[axis] < 1)
        throw new RangeError(`parallel.${axis} is ${shape[axis]}: allowed are whole numbers of at least 1`);
    const { tensor, data, pipeline } = shape;
    this.shape = { tensor, data, pipeline };
    this.size = tensor * data * pipeline;
    this.#strides = { tensor: 1, data: tensor, pipeline: tensor * data };
  }

  /** The rank at a place. Throws a RangeError outside the mesh. */
  rank(place: PerAxis): number {
    for (const axis of axes) checkIndex(`place along ${axis}`, place[axis], this.shape[axis]);
    return axes.reduce((rank, axis) => rank + place[axis] * this.#strides[axis], 0);
  }

  /** The place of a rank. Throws a RangeError outside the mesh. */
  place(rank: number): PerAxis {
    checkIndex('rank', rank, this.size);
    const along = (axis: Axis): number => Math.floor(rank / this.#strides[axis]) % this.shape[axis];
    return { tensor: along('tensor'), data: along('data'), pipeline: along('pipeline') };
  }

  /** The ranks that differ from `rank` at most in their places along `along`, ascending. */
  group(rank: number, ...along: readonly Axis[]): number[] {
    const place = this.place(rank);
    const same = (other: PerAxis): boolean =>
      axes.every((axis) => along.includes(axis) || other[axis] === place[axis]);
    return this.ranks().filter((other) => same(this.place(other)));
  }

  /** All groups along the axes, each once: every rank is in one of them. */
  groups(...along: readonly Axis[]): number[][] {
    return this.ranks()
      .map((rank) => this.group(rank, ...along))
      .filter(([first], rank) => first === rank);
  }

  /** All ranks. */
  ranks(): number[] {
    return Array.from({ length: this.size }, (_, rank) => rank);
  }

  /** The rank `steps` places further along an axis, none beyond its ends. */
  neighbour(rank: number, axis: Axis, steps: number): number | undefined {
    const place = this.place(rank);
    const to = place[axis] + steps;
    return to < 0 || to >= this.shape[axis] ? undefined : this.rank({ ...place, [axis]: to });
  }
}

function checkIndex(name: string, value: number, count: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value >= count)
    throw new RangeError(`${name} is ${value}: allowed are 0 to ${count - 1}`);
}
