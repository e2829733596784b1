/**
 * ZeRO-3's parameters in use: a unit is gathered from all replicas when it is needed or soon will be, into buffers that
 * units take turns to use. What is still there when it is needed again, as the last block is by the backward pass, is not
 * gathered again.
 */
import type { Engine, EngineEvent, Tensor } from '../../engine/engine.ts';
import type { NamedTensors } from '../../training/model.ts';
import type { Unit } from '../../training/parameters.ts';
import type { Group } from '../collective/collective.ts';
import { BufferPool } from './buffer-pool.ts';
import { namedTensors, type FlatLayout } from './layout.ts';

/** A flat buffer of a unit, and this rank's shard of it. */
interface Shard {
  readonly layout: FlatLayout;
  readonly shard: Tensor;
}

/** A unit that is here or on its way. */
interface Gathered {
  readonly flats: readonly { readonly layout: FlatLayout; readonly flat: Tensor }[];
  readonly tensors: NamedTensors;
  /** Those that the engine has not waited for. */
  events: EngineEvent[];
  users: number;
}

/** The units that are here. */
export class GatheredUnits {
  readonly #engine: Engine;
  readonly #replicas: Group;
  readonly #pool: BufferPool;
  readonly #turns: (layout: FlatLayout) => number;
  /** By name, the one that was needed longest ago first. */
  readonly #units = new Map<string, Gathered>();

  /** `turns` says how many buffers of a kind are enough. */
  constructor(engine: Engine, replicas: Group, turns: (layout: FlatLayout) => number) {
    this.#engine = engine;
    this.#replicas = replicas;
    this.#turns = turns;
    this.#pool = new BufferPool(engine);
  }

  take(unit: Unit, buffers: readonly Shard[]): NamedTensors {
    const gathered = this.#units.get(unit.name) ?? this.#gather(unit, buffers);
    for (const event of gathered.events) this.#engine.wait(event);
    gathered.events = [];
    gathered.users++;
    this.#units.delete(unit.name);
    this.#units.set(unit.name, gathered);
    return gathered.tensors;
  }

  give(unit: Unit): void {
    const gathered = this.#units.get(unit.name);
    if (gathered) gathered.users--;
  }

  expect(unit: Unit, buffers: readonly Shard[]): void {
    if (!this.#units.has(unit.name)) this.#gather(unit, buffers);
  }

  /** The values have changed: nothing that is here is true any more. */
  forget(): void {
    for (const name of [...this.#units.keys()]) this.#evict(name);
  }

  #gather(unit: Unit, buffers: readonly Shard[]): Gathered {
    const targets = buffers.map(({ layout, shard }) => ({ layout, shard, flat: this.#buffer(layout) }));
    // Begins after all calls queued before, which may use what the buffers held; runs beside those queued from now on.
    const events = targets.map(({ flat, shard }) => this.#replicas.allGather(flat, shard));
    const flats = targets.map(({ layout, flat }) => ({ layout, flat }));
    const gathered = { flats, tensors: namedTensors(flats), events, users: 0 };
    this.#units.set(unit.name, gathered);
    return gathered;
  }

  #buffer(layout: FlatLayout): Tensor {
    const free = this.#pool.take(layout, this.#turns(layout));
    if (free) return free;
    const kind = BufferPool.kind(layout);
    for (const [name, { users, flats }] of this.#units) {
      if (users > 0 || !flats.some((each) => BufferPool.kind(each.layout) === kind)) continue;
      this.#evict(name);
      break;
    }
    return this.#pool.takeAny(layout);
  }

  #evict(name: string): void {
    const gathered = this.#units.get(name);
    this.#units.delete(name);
    // A gather that nobody waited for may still write: later users of the buffer must come after it.
    for (const event of gathered?.events ?? []) this.#engine.wait(event);
    for (const { layout, flat } of gathered?.flats ?? []) this.#pool.give(layout, flat);
  }
}
