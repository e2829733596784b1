/** The collective driver for ranks on one machine: memory that their processes share (src/collective of the addon). */
import type { Engine, EngineEvent, Tensor } from '../../engine/engine.ts';
import {
  type AddonSharedMemory,
  type AddonSharedMemoryGroup,
  type QueueEvent,
  loadAddon,
} from '../../engine/native/addon.ts';
import { NativeEngine } from '../../engine/native/native-engine.ts';
import { Check, type NativeTensor } from '../../engine/native/tensor.ts';
import {
  type CallOptions,
  type Collective,
  type CollectiveOperation,
  type Group,
  type OperationStatistics,
  type ReductionOptions,
  collectiveOperations,
} from './collective.ts';

/** How a rank joins. */
export interface SharedMemoryOptions {
  /** Whose tensors are moved; native. */
  readonly engine: Engine;
  readonly rank: number;
  readonly size: number;
  /** What rank 0's collective has as its `address`, for the other ranks. It holds while rank 0 runs. */
  readonly address?: string;
  /** Bytes exchanged at a time, a multiple of 64 from 4 KiB to 64 MiB; rank 0's counts for all. Default 1 MiB. */
  readonly chunkBytes?: number;
  /** How long to wait for a rank to join, s. Default 60. */
  readonly joinTimeout?: number;
  /** How long to wait for a rank that lives to do its part, s. Default: as long as it lives. */
  readonly stallTimeout?: number;
}

/**
 * Joins a collective of `size` ranks. Rank 0 makes it; whoever started the ranks hands its `address` to the others. A peer
 * that dies or leaves is an error of those who wait for it, within fractions of a second. Memory: twice the chunk for
 * each rank and queue, touched when first used; nothing is left in the file system, whoever is killed.
 * Throws a RangeError or TypeError on wrong options, an Error where rank 0 cannot be reached.
 */
export function joinSharedMemory(options: SharedMemoryOptions): SharedMemoryCollective {
  return new SharedMemoryCollective(options);
}

/** See `joinSharedMemory`. */
export class SharedMemoryCollective implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly world: Group;
  /** What the other ranks join with. */
  readonly address: string;
  readonly #engine: NativeEngine;
  readonly #addon: AddonSharedMemory;

  constructor(options: SharedMemoryOptions) {
    const { engine, rank, size, address } = options;
    if (!(engine instanceof NativeEngine))
      throw new TypeError(`joinSharedMemory: engine is ${engine.name}, allowed is native`);
    const addon = loadAddon();
    if (!addon.SharedMemory)
      throw new Error(`joinSharedMemory: there is no shared-memory collective on ${process.platform} yet`);
    const check = new Check('joinSharedMemory', engine);
    check.integer('size', size, 1, addon.maximumSharedMemoryRanks());
    check.integer('rank', rank, 0, size - 1);
    if ((rank === 0) === (address !== undefined))
      throw new TypeError(
        rank === 0
          ? 'joinSharedMemory: rank 0 makes the address, it takes none'
          : `joinSharedMemory: address is missing, rank ${rank} joins with that of rank 0`,
      );
    const chunkBytes = check.integer('chunkBytes', options.chunkBytes ?? 1 << 20, 4096, 64 << 20);
    if (chunkBytes % 64 !== 0)
      throw new RangeError(`joinSharedMemory: chunkBytes is ${chunkBytes}, expected a multiple of 64`);
    const { joinTimeout: joinSeconds = 60, stallTimeout: stallSeconds } = options;
    for (const [name, seconds] of Object.entries({ joinTimeout: joinSeconds, stallTimeout: stallSeconds }))
      if (seconds !== undefined && !(seconds > 0 && seconds < 1e9))
        throw new RangeError(`joinSharedMemory: ${name} is ${seconds}, expected seconds above 0`);
    this.#engine = engine;
    this.#addon = new addon.SharedMemory({
      ...{ rank, size, chunkBytes, joinSeconds },
      ...(address !== undefined && { address }),
      ...(stallSeconds !== undefined && { stallSeconds }),
    });
    this.rank = rank;
    this.size = size;
    this.address = this.#addon.address;
    this.world = this.group(Array.from({ length: size }, (_, index) => index));
  }

  group(ranks: readonly number[]): Group {
    const check = new Check('group', this.#engine);
    ranks.forEach((rank, index) => {
      check.integer('ranks', rank, 0, this.size - 1);
      const before = ranks[index - 1];
      if (before !== undefined && before >= rank)
        throw new RangeError(`group: ranks are ${ranks.join(', ')}, expected in ascending order`);
    });
    if (!ranks.includes(this.rank))
      throw new RangeError(`group: ranks are ${ranks.join(', ')}, expected rank ${this.rank} among them`);
    return new SharedMemoryGroup(this.#engine, this.#addon.group([...ranks]), [...ranks], this.rank);
  }

  finish(): Promise<void> {
    return this.#addon.finish();
  }

  statistics(): Readonly<Record<CollectiveOperation, OperationStatistics>> {
    const all = new Map(this.#addon.statistics().map(({ operation, ...rest }) => [operation, rest]));
    const none = { calls: 0, bytesSent: 0, bytesReceived: 0, seconds: 0 };
    const entries = collectiveOperations.map((operation) => [operation, all.get(operation) ?? none]);
    return Object.fromEntries(entries) as Record<CollectiveOperation, OperationStatistics>;
  }

  current(): readonly { readonly call: string; readonly seconds: number }[] {
    return this.#addon.current();
  }

  close(): Promise<void> {
    return this.#addon.close();
  }
}

/** Checks calls and hands them on, with world ranks. */
class SharedMemoryGroup implements Group {
  readonly ranks: readonly number[];
  readonly rank: number;
  readonly size: number;
  readonly #engine: NativeEngine;
  readonly #addon: AddonSharedMemoryGroup;

  constructor(engine: NativeEngine, addon: AddonSharedMemoryGroup, ranks: readonly number[], own: number) {
    this.#engine = engine;
    this.#addon = addon;
    this.ranks = ranks;
    this.rank = ranks.indexOf(own);
    this.size = ranks.length;
  }

  allReduce(x: Tensor, options: ReductionOptions = {}): EngineEvent {
    const check = new Check('allReduce', this.#engine);
    const { region } = check.tensor('x', x);
    return this.#addon.allReduce(region, isMax(check, options), this.#after(check, options));
  }

  reduceScatter(out: Tensor, x: Tensor, options: ReductionOptions = {}): EngineEvent {
    const check = new Check('reduceScatter', this.#engine);
    const part = check.tensor('out', out);
    const whole = this.#whole(check, 'x', x, 'out', part);
    this.#apart(check, { out: part }, { x: whole }, part, whole);
    const max = isMax(check, options);
    return this.#addon.reduceScatter(part.region, whole.region, max, this.#after(check, options));
  }

  allGather(out: Tensor, x: Tensor, options: CallOptions = {}): EngineEvent {
    const check = new Check('allGather', this.#engine);
    const part = check.tensor('x', x);
    const whole = this.#whole(check, 'out', out, 'x', part);
    this.#apart(check, { out: whole }, { x: part }, part, whole);
    return this.#addon.allGather(whole.region, part.region, this.#after(check, options));
  }

  broadcast(x: Tensor, root: number, options: CallOptions = {}): EngineEvent {
    const check = new Check('broadcast', this.#engine);
    const { region } = check.tensor('x', x);
    return this.#addon.broadcast(region, this.#worldRank(check, 'root', root), this.#after(check, options));
  }

  send(x: Tensor, to: number, options: CallOptions = {}): EngineEvent {
    const check = new Check('send', this.#engine);
    const { region } = check.tensor('x', x);
    return this.#addon.send(region, this.#peer(check, 'to', to), this.#after(check, options));
  }

  receive(out: Tensor, from: number, options: CallOptions = {}): EngineEvent {
    const check = new Check('receive', this.#engine);
    const { region } = check.tensor('out', out);
    return this.#addon.receive(region, this.#peer(check, 'from', from), this.#after(check, options));
  }

  barrier(options: CallOptions = {}): EngineEvent {
    return this.#addon.barrier(this.#after(new Check('barrier', this.#engine), options));
  }

  /** The tensor of all parts. */
  #whole(check: Check, name: string, whole: Tensor, partName: string, part: NativeTensor): NativeTensor {
    const meaning = `${this.size} parts as long as ${partName}, ${part.length} elements each`;
    return check.sized(name, whole, part.length * this.size, meaning, part.type);
  }

  /** Throws unless the part lies apart from the whole, or is its part of this rank. */
  #apart(
    check: Check,
    outputs: Record<string, NativeTensor>,
    inputs: Record<string, NativeTensor>,
    part: NativeTensor,
    whole: NativeTensor,
  ): void {
    const own = whole.start + this.rank * part.length;
    if (part.allocation !== whole.allocation || part.start !== own) check.distinct(outputs, inputs);
  }

  #worldRank(check: Check, name: string, rank: number): number {
    return this.ranks[check.integer(name, rank, 0, this.size - 1)] ?? rank;
  }

  #peer(check: Check, name: string, rank: number): number {
    if (rank === this.rank)
      throw new RangeError(`${check.operation}: ${name} is ${rank}, which is this rank itself`);
    return this.#worldRank(check, name, rank);
  }

  #after(check: Check, { after }: CallOptions): QueueEvent {
    if (after === undefined) return this.#engine.record();
    if (!(after instanceof loadAddon().QueueEvent))
      throw new TypeError(
        `${check.operation}: after is no event of a native engine or of a collective over shared memory`,
      );
    return after;
  }
}

function isMax(check: Check, { reduction = 'sum' }: ReductionOptions): boolean {
  const known: readonly string[] = ['sum', 'max'];
  if (!known.includes(reduction))
    throw new RangeError(`${check.operation}: reduction is ${reduction}, expected sum or max`);
  return reduction === 'max';
}
