/**
 * Where each parameter lies in the flat buffers of its unit, and which part of them each replica owns. A unit has a
 * buffer for parameters that decay and one for the others, and apart from each those that tensor ranks hold slices of; all
 * are padded so that replicas own equal shards.
 */
import type { Tensor } from '../../engine/engine.ts';
import type { NamedTensors } from '../../training/model.ts';
import { elementsOf, type ParameterSpecification, type Unit } from '../../training/parameters.ts';

/** Shards are whole cache lines and vectors, so that arithmetic on a shard is that on the whole buffer, bit for bit. */
const ALIGNMENT = 64;

/** A parameter in a flat buffer. */
export interface Member {
  readonly specification: ParameterSpecification;
  /** First element. */
  readonly offset: number;
  readonly length: number;
}

/** A flat buffer. */
export interface FlatLayout {
  /** Whether its parameters decay. */
  readonly decay: boolean;
  /** Whether its parameters are split over tensor ranks; others are the same on all of them. */
  readonly sliced: boolean;
  readonly members: readonly Member[];
  /** Elements that each replica owns. */
  readonly shard: number;
  /** All elements, padding included: shard x replicas. */
  readonly length: number;
}

/** Consecutive elements of a parameter that lie in a shard. */
export interface Piece {
  readonly specification: ParameterSpecification;
  /** First element of the parameter. */
  readonly from: number;
  /** First element of the shard. */
  readonly at: number;
  readonly length: number;
}

const kinds = [true, false].flatMap((decay) => [false, true].map((sliced) => ({ decay, sliced })));

/** The flat buffers of a unit, decaying parameters first; none that would be empty. */
export function unitLayout(unit: Unit, replicas: number): FlatLayout[] {
  return kinds.flatMap(({ decay, sliced }) => {
    let used = 0;
    const members = unit.parameters
      .filter((each) => each.decay === decay && (each.slice !== undefined) === sliced)
      .map((specification) => {
        const member = { specification, offset: used, length: elementsOf(specification) };
        used += member.length;
        return member;
      });
    if (used === 0) return [];
    const shard = Math.ceil(used / (ALIGNMENT * replicas)) * ALIGNMENT;
    return [{ decay, sliced, members, shard, length: shard * replicas }];
  });
}

/** The shard of a replica in a whole buffer. */
export function shardOf(whole: Tensor, { shard }: Pick<FlatLayout, 'shard'>, replica: number): Tensor {
  return whole.view(replica * shard, [shard]);
}

/** What of which parameters the shard of a replica holds, in order; padding is in none. */
export function piecesOf({ members, shard }: FlatLayout, replica: number): Piece[] {
  const [start, end] = [replica * shard, (replica + 1) * shard];
  return members.flatMap(({ specification, offset, length }) => {
    const [first, last] = [Math.max(start, offset), Math.min(end, offset + length)];
    if (first >= last) return [];
    return [{ specification, from: first - offset, at: first - start, length: last - first }];
  });
}

/** The parameters in some flat buffers, by name. */
export function namedTensors(
  buffers: readonly { readonly layout: FlatLayout; readonly flat: Tensor }[],
): NamedTensors {
  const views = new Map(
    buffers.flatMap(({ layout, flat }) =>
      layout.members.map(({ specification: { name, shape }, offset }) => [name, flat.view(offset, shape)]),
    ),
  );
  return {
    get(name) {
      const view = views.get(name);
      if (!view) throw new Error(`There is no parameter ${name} among ${[...views.keys()].join(', ')}`);
      return view;
    },
  };
}
