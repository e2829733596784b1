/**
 * A tensor rank's share of every layer (Shoeybi et al. 2019): what the ranks compute is added by all-reduces, after which all of
 * them have the whole residual stream. With sequence parallelism (Korthikanti et al. 2022) each has a run of its tokens: an
 * all-reduce falls into its halves, a reduce-scatter before what is done token by token and an all-gather behind it.
 */
import type { Engine } from '../../engine/engine.ts';
import type { LayerShare } from '../../training/model.ts';
import { undivided } from '../../training/parameters.ts';
import type { Group } from '../collective/collective.ts';

/** The share of this rank among `sharers`; all of every layer without them. */
export function layerShare(
  engine: Engine,
  sharers: Group | undefined,
  sequenceParallel: boolean,
): LayerShare {
  const own = sharers ? { index: sharers.rank, count: sharers.size } : undivided;
  const scatters = sharers && sequenceParallel ? sharers : undefined;
  const add: LayerShare['add'] = (x) => {
    if (sharers) engine.wait(sharers.allReduce(x));
  };
  return {
    ...own,
    tokens: scatters ? own : undivided,
    add,
    greatest: (x) => {
      if (sharers) engine.wait(sharers.allReduce(x, { reduction: 'max' }));
    },
    gather: (tokens, room) => {
      if (!scatters) return tokens;
      engine.wait(scatters.allGather(room, tokens));
      return room;
    },
    collect: (tokens, x) => {
      if (scatters) engine.wait(scatters.reduceScatter(tokens, x));
      else add(x);
    },
  };
}
