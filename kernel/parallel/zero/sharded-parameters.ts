/**
 * ZeRO (Rajbhandari et al. 2020): what D replicas would each hold of a model's parameters, gradients and moments is
 * shared out among them. Stage 0 shares nothing, 1 the moments, 2 the gradients too, 3 the parameters too.
 *
 * Replicas work on different sequences, so the gradients of each micro-batch are summed over them, then added to those of
 * the micro-batches before: the order of summation is the same in all stages, and so are the results, bit for bit. A
 * unit's gradients are on their way while the backward pass goes on with the next unit.
 */
import type { Engine, EngineEvent, Tensor } from '../../engine/engine.ts';
import type { NamedTensors, ParameterKeeper, UnitGradients } from '../../training/model.ts';
import type { NormPieces, Region } from '../../training/optimizer.ts';
import {
  initialisePiece,
  undivided,
  type ParameterSpecification,
  type Share,
  type Unit,
} from '../../training/parameters.ts';
import type { Group } from '../collective/collective.ts';
import { Arena } from './arena.ts';
import { BufferPool } from './buffer-pool.ts';
import { GatheredUnits } from './gathered-units.ts';
import { namedTensors, piecesOf, shardOf, unitLayout, type FlatLayout } from './layout.ts';

export type ZeroStage = 0 | 1 | 2 | 3;

/** What is kept of a model, by whom. */
export interface ShardedSettings {
  readonly engine: Engine;
  /** The units that this rank computes with. */
  readonly units: readonly Unit[];
  /** The replicas; undefined where there is one. */
  readonly replicas: Group | undefined;
  readonly stage: ZeroStage;
  /** Micro-batches of a step. */
  readonly microBatches: number;
  /** Where the moments lie on disk; in memory where it is undefined. */
  readonly momentDirectory?: string | undefined;
  /** A unit that another stage of the pipeline computes with too, and the ranks of both that have the same shard of it. */
  readonly shared?: { readonly unit: Unit; readonly group: Group };
  /** Parameters whose gradients are only a part here, and the ranks that have the others, with the same shards. */
  readonly partial?: {
    readonly belongs: (specification: ParameterSpecification) => boolean;
    readonly group: Group;
  };
}

/** One flat buffer of a unit on this rank. */
export interface ShardedBuffer {
  readonly unit: Unit;
  readonly layout: FlatLayout;
  /** Of its parameters. */
  readonly names: ReadonlySet<string>;
  /** The whole buffer; undefined in stage 3. */
  readonly values: Tensor | undefined;
  /** This rank's shard of the values. */
  readonly shard: Tensor;
  /** Gradients summed over replicas and micro-batches: of all elements in stage 0, of the shard in others; so are the moments. */
  readonly sum: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  /** Gradients that are summed where they are: of the only micro-batch, in stages that keep gradients whole. */
  readonly inPlace: Tensor | undefined;
  /** Gradients of micro-batches in work, whole. */
  readonly local: Map<number, Tensor>;
}

/** Gradients that are being summed over the replicas. */
interface Reduction {
  readonly buffer: ShardedBuffer;
  readonly microBatch: number;
  readonly local: Tensor;
  /** Where the sum appears. */
  readonly result: Tensor;
  readonly event: EngineEvent;
}

/** The parameters of a part of the model, shared out among replicas. */
export class ShardedParameters implements ParameterKeeper {
  /** This rank's number among the replicas, and how many there are. */
  readonly replica: number;
  readonly numReplicas: number;
  readonly buffers: readonly ShardedBuffer[];
  readonly stage: ZeroStage;
  readonly #engine: Engine;
  readonly #replicas: Group | undefined;
  readonly #shared: ShardedSettings['shared'];
  readonly #partial: ShardedSettings['partial'];
  readonly #microBatches: number;
  readonly #momentDirectory: string | undefined;
  readonly #ofUnit: ReadonlyMap<string, readonly ShardedBuffer[]>;
  readonly #whole = new Map<string, NamedTensors>();
  readonly #gathered: GatheredUnits | undefined;
  /** In stage 0, whose updates are of everything. */
  readonly #arenas: readonly Arena[] = [];
  readonly #locals: BufferPool;
  readonly #kinds = new Map<string, number>();
  /** What lies in a buffer of gradients now. */
  readonly #views = new Map<Tensor, { readonly buffer: ShardedBuffer; readonly tensors: NamedTensors }>();
  #reductions: Reduction[] = [];
  /** Values that are being gathered after an update. */
  readonly #arriving = new Map<string, EngineEvent[]>();

  constructor(settings: ShardedSettings) {
    const { engine, units, replicas, stage, microBatches, shared, partial, momentDirectory } = settings;
    this.#momentDirectory = momentDirectory;
    this.#engine = engine;
    this.#replicas = replicas;
    this.#shared = shared;
    this.#partial = partial;
    this.#microBatches = microBatches;
    this.replica = replicas?.rank ?? 0;
    this.numReplicas = replicas?.size ?? 1;
    this.stage = replicas ? stage : 0;
    const layouts = units.flatMap((unit) =>
      unitLayout(unit, this.numReplicas).map((layout) => ({ unit, layout })),
    );
    if (this.stage === 0) {
      this.#arenas = [true, false].map((decay) => {
        const members = layouts.filter(({ layout }) => layout.decay === decay);
        return new Arena(
          engine,
          decay,
          members.map(({ layout }) => layout),
          momentDirectory,
        );
      });
    }
    this.buffers = layouts.map(({ unit, layout }) => this.#allocate(unit, layout));
    this.#ofUnit = Map.groupBy(this.buffers, ({ unit }) => unit.name);
    this.#locals = new BufferPool(engine);
    for (const { layout } of this.buffers) {
      const kind = BufferPool.kind(layout);
      this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1);
    }
    if (replicas && this.stage === 3)
      this.#gathered = new GatheredUnits(engine, replicas, (layout) => this.#turns(layout));
  }

  #allocate(unit: Unit, layout: FlatLayout): ShardedBuffer {
    const names = new Set(layout.members.map(({ specification }) => specification.name));
    const common = { unit, layout, names, local: new Map<number, Tensor>() };
    const own = (whole: Tensor): Tensor => shardOf(whole, layout, this.replica);
    const isLone = this.#microBatches === 1;
    const arena = this.#arenas.find(({ decay }) => decay === layout.decay);
    if (arena) {
      const { values, sum, m, v } = arena.part(layout);
      return { ...common, values, shard: own(values), sum, inPlace: isLone ? sum : undefined, m, v };
    }
    const floats = (length: number): Tensor => this.#engine.allocate('f32', [length]);
    const values = this.stage === 3 ? undefined : floats(layout.length);
    const shard = values ? own(values) : floats(layout.shard);
    const inPlace = this.stage === 1 && isLone ? floats(layout.length) : undefined;
    const sum = inPlace ? own(inPlace) : floats(layout.shard);
    const moments = (): Tensor => this.#engine.allocate('f32', [layout.shard], this.#momentDirectory);
    return { ...common, values, shard, sum, inPlace, m: moments(), v: moments() };
  }

  /** Queues the initial values: each parameter draws from its own stream of the seed, whoever holds which elements. */
  initialise(seed: number): void {
    for (const { layout, values, shard } of this.buffers) {
      const replicas = values ? Array.from({ length: this.numReplicas }, (_, r) => r) : [this.replica];
      for (const replica of replicas) {
        const target = values ? shardOf(values, layout, replica) : shard;
        for (const { specification, from, at, length } of piecesOf(layout, replica)) {
          initialisePiece(this.#engine, target.view(at, [length]), specification, from, seed);
        }
      }
    }
  }

  take(unit: Unit): NamedTensors {
    if (this.#gathered) return this.#gathered.take(unit, this.#of(unit));
    for (const event of this.#arriving.get(unit.name) ?? []) this.#engine.wait(event);
    this.#arriving.delete(unit.name);
    const known = this.#whole.get(unit.name);
    if (known) return known;
    const made = namedTensors(
      this.#of(unit).map(({ layout, values, shard }) => ({ layout, flat: values ?? shard })),
    );
    this.#whole.set(unit.name, made);
    return made;
  }

  give(unit: Unit): void {
    this.#gathered?.give(unit);
  }

  expect(unit: Unit): void {
    this.#gathered?.expect(unit, this.#of(unit));
  }

  gradients(unit: Unit, microBatch: number): UnitGradients {
    const buffers = this.#of(unit);
    const get = (name: string): Tensor => {
      for (const buffer of buffers) {
        if (!buffer.names.has(name)) continue;
        return this.#viewsOf(buffer, this.#local(buffer, microBatch)).get(name);
      }
      throw new Error(`Unit ${unit.name} has no parameter ${name}`);
    };
    return { get, fresh: this.#replicas !== undefined || microBatch === 0 };
  }

  complete(unit: Unit, microBatch: number): void {
    if (!this.#replicas) return;
    for (const buffer of this.#of(unit)) {
      const local = this.#local(buffer, microBatch);
      buffer.local.delete(microBatch);
      if (this.stage === 0) {
        const event = this.#replicas.allReduce(local);
        this.#reductions.push({ buffer, microBatch, local, result: local, event });
      } else {
        const part = microBatch === 0 ? buffer.sum : shardOf(local, buffer.layout, this.replica);
        const event = this.#replicas.reduceScatter(part, local);
        this.#reductions.push({ buffer, microBatch, local, result: part, event });
      }
    }
  }

  /** Queues the end of the step's gradients: afterwards each rank has the sums of what it updates. */
  finishGradients(): void {
    for (const reduction of this.#reductions.splice(0)) this.#settle(reduction);
    const events: EngineEvent[] = [];
    if (this.#shared) {
      const { unit, group } = this.#shared;
      // Both stages add in the order of their ranks, so that both copies stay the same.
      for (const { sum } of this.#of(unit)) events.push(group.allReduce(sum));
    }
    if (this.#partial) {
      const { belongs, group } = this.#partial;
      for (const sum of this.#sumsOf(belongs)) events.push(group.allReduce(sum));
    }
    for (const event of events) this.#engine.wait(event);
  }

  /** The summed gradients here of some parameters, those that lie together in one piece. */
  #sumsOf(belongs: (specification: ParameterSpecification) => boolean): Tensor[] {
    const everyReplica = Array.from({ length: this.numReplicas }, (_, replica) => replica);
    return this.buffers.flatMap(({ layout, sum }) => {
      const runs: { at: number; length: number }[] = [];
      for (const replica of this.stage === 0 ? everyReplica : [this.replica]) {
        const first = this.stage === 0 ? replica * layout.shard : 0;
        for (const { specification, at, length } of piecesOf(layout, replica)) {
          if (!belongs(specification)) continue;
          const last = runs.at(-1);
          if (last && last.at + last.length === first + at) last.length += length;
          else runs.push({ at: first + at, length });
        }
      }
      return runs.map(({ at, length }) => sum.view(at, [length]));
    });
  }

  /** What this rank updates. */
  regions(): Region[] {
    const regions =
      this.#arenas.length > 0
        ? this.#arenas.flatMap((arena) => arena.regions())
        : this.buffers.map(({ layout, shard, sum, m, v }) => ({
            ...{ parameters: shard, gradients: sum, m, v, decay: layout.decay },
          }));
    return this.#momentDirectory === undefined ? regions : regions.flatMap(inPieces);
  }

  /**
   * The pieces of the gradient's norm: the shards of all buffers of the model, each counted by its owner. What several ranks
   * hold beside replicas is counted once: the unit that two stages share where `counts` says so, what tensor ranks have in
   * common by the first of them.
   */
  normPieces(
    all: readonly Unit[],
    counts: (unit: Unit) => boolean,
    share: Share = undivided,
  ): Pick<NormPieces, 'count' | 'own'> {
    const own: { place: number; gradients: Tensor }[] = [];
    let count = 0;
    for (const unit of all) {
      for (const [index, layout] of unitLayout(unit, this.numReplicas).entries()) {
        const { sliced } = layout;
        const [holders, holder] = sliced ? [share.count, share.index] : [1, 0];
        const place = count + holder * this.numReplicas + this.replica;
        count += holders * this.numReplicas;
        const sum = this.#ofUnit.get(unit.name)?.[index]?.sum;
        if (!sum || !counts(unit) || (!sliced && share.index > 0)) continue;
        const gradients = this.stage === 0 ? shardOf(sum, layout, this.replica) : sum;
        own.push({ place, gradients });
      }
    }
    return { count, own };
  }

  /** The values will change, all that this rank holds: what was gathered of them, or is on its way, counts no more. */
  forget(): void {
    this.#gathered?.forget();
    for (const event of [...this.#arriving.values()].flat()) this.#engine.wait(event);
    this.#arriving.clear();
  }

  /** The shards have changed: queues what brings those of other replicas here. */
  spreadValues(): void {
    this.forget();
    if (!this.#replicas || this.stage === 0 || this.stage === 3) return;
    for (const { unit, values, shard } of this.buffers) {
      if (!values) continue;
      const events = this.#arriving.get(unit.name) ?? [];
      events.push(this.#replicas.allGather(values, shard));
      this.#arriving.set(unit.name, events);
    }
  }

  /** This rank's shard of a moment. */
  momentShard({ layout, ...buffer }: ShardedBuffer, moment: 'm' | 'v'): Tensor {
    const tensor = buffer[moment];
    return this.stage === 0 ? shardOf(tensor, layout, this.replica) : tensor;
  }

  #of(unit: Unit): readonly ShardedBuffer[] {
    const buffers = this.#ofUnit.get(unit.name);
    if (!buffers) throw new Error(`This rank does not hold unit ${unit.name}`);
    return buffers;
  }

  /** Buffers of a kind that are enough: one in use while the other's contents come or go. */
  #turns(layout: FlatLayout): number {
    return Math.min(2, this.#kinds.get(BufferPool.kind(layout)) ?? 1);
  }

  /** The parameters in a buffer of gradients, which units take turns to use. */
  #viewsOf(buffer: ShardedBuffer, flat: Tensor): NamedTensors {
    const known = this.#views.get(flat);
    if (known?.buffer === buffer) return known.tensors;
    const tensors = namedTensors([{ layout: buffer.layout, flat }]);
    this.#views.set(flat, { buffer, tensors });
    return tensors;
  }

  /** The whole buffer that takes a micro-batch's gradients. */
  #local(buffer: ShardedBuffer, microBatch: number): Tensor {
    if (!this.#replicas) return buffer.sum;
    const known = buffer.local.get(microBatch);
    if (known) return known;
    const taken = buffer.inPlace ?? this.#takeLocal(buffer.layout);
    buffer.local.set(microBatch, taken);
    return taken;
  }

  #takeLocal(layout: FlatLayout): Tensor {
    const free = this.#locals.take(layout, this.#turns(layout));
    if (free) return free;
    const kind = BufferPool.kind(layout);
    const place = this.#reductions.findIndex(({ buffer }) => BufferPool.kind(buffer.layout) === kind);
    // In their order: sums are taken in that of the micro-batches.
    for (const reduction of this.#reductions.splice(0, place + 1)) this.#settle(reduction);
    return this.#locals.takeAny(layout);
  }

  #settle({ buffer, microBatch, local, result, event }: Reduction): void {
    this.#engine.wait(event);
    if (result !== buffer.sum) {
      if (microBatch === 0) this.#engine.copy(buffer.sum, result);
      else this.#engine.add(buffer.sum, buffer.sum, result);
    }
    if (local !== buffer.inPlace) this.#locals.give(buffer.layout, local);
  }
}

/** Elements whose moments are in memory at a time when they lie on disk. */
const PIECE = 2 ** 22;

function inPieces({ parameters, gradients, m, v, decay }: Region): Region[] {
  return Array.from({ length: Math.ceil(m.length / PIECE) }, (_, piece): Region => {
    const from = piece * PIECE;
    const view = (tensor: Tensor): Tensor => tensor.view(from, [Math.min(PIECE, m.length - from)]);
    const [own, moments] = [view(parameters), { m: view(m), v: view(v) }];
    return { parameters: own, gradients: view(gradients), ...moments, decay, onDisk: true };
  });
}
