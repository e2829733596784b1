/**
 * Collectives: what ranks do together with the tensors of their engines. Calls are checked and queued, and return at
 * once; they run beside the engine, which may compute meanwhile. Events carry the dependencies: a call begins after one
 * (by default after everything queued on the engine so far) and gives one, for which the engine must wait before it uses
 * what the call reads or writes in another way:
 *
 *     const reduced = group.allReduce(gradients);   // after the backward queued before
 *     engine.linear(…);                             // overlaps with it
 *     engine.wait(reduced);
 *     engine.adamw(…);                              // sees the sums
 *
 * Calls of different groups on the same tensor need the event of the first as `after` of the second.
 *
 * All ranks of a group make the same calls on it in the same order. Each group has a queue of its own, and within it each
 * pair of ranks one for each direction: between them any order is allowed and none can block. A failure is final for
 * the whole collective, on all ranks: events fail, and with them the engines that wait for them, and `finish` rejects with
 * a message that names rank, operation and cause.
 */
import type { EngineEvent, Tensor } from '../../engine/engine.ts';

/** How elements are combined: always in the order of the ranks. `max` is not a number where any rank's is not. */
export type Reduction = 'sum' | 'max';

/** The names of the operations. */
export const collectiveOperations = [
  'allReduce',
  'reduceScatter',
  'allGather',
  'broadcast',
  'barrier',
  'send',
  'receive',
] as const;
export type CollectiveOperation = (typeof collectiveOperations)[number];

export interface CallOptions {
  /** When the tensors are ready. Default: when everything queued on the engine so far has run. */
  readonly after?: EngineEvent;
}

export interface ReductionOptions extends CallOptions {
  /** Default: sum. Sums of bf16 are taken in f32 and rounded once; those of i32 wrap around. */
  readonly reduction?: Reduction;
}

/**
 * Some ranks, numbered from 0 in ascending order of their world ranks. Tensors are of any type; every method throws a
 * TypeError or RangeError that names the operation and the tensor when they do not fit each other here, and fails as
 * above when they do not fit those of other ranks.
 */
export interface Group {
  /** World ranks, ascending. */
  readonly ranks: readonly number[];
  /** This rank's number in the group. */
  readonly rank: number;
  readonly size: number;

  /** x = reduction of all x: bitwise the same on all ranks, and the same as reduceScatter and allGather give. */
  allReduce(x: Tensor, options?: ReductionOptions): EngineEvent;
  /** out = part `rank` of the reduction of all x, which are `size` parts as long as out. `out` may be that part of x itself. */
  reduceScatter(out: Tensor, x: Tensor, options?: ReductionOptions): EngineEvent;
  /** Part r of out = x of rank r. `x` may be part `rank` of out itself. */
  allGather(out: Tensor, x: Tensor, options?: CallOptions): EngineEvent;
  /** x = x of rank `root`. */
  broadcast(x: Tensor, root: number, options?: CallOptions): EngineEvent;
  /** x to rank `to`, which calls `receive` with as many elements of that type. Its event says that x may be changed. */
  send(x: Tensor, to: number, options?: CallOptions): EngineEvent;
  /** out = what rank `from` sends. Sends from one rank to another are received in their order. */
  receive(out: Tensor, from: number, options?: CallOptions): EngineEvent;
  /** Its event happens when all ranks have come to it. */
  barrier(options?: CallOptions): EngineEvent;
}

/** What the calls of an operation that have ended did. */
export interface OperationStatistics {
  readonly calls: number;
  /** Bytes that this rank put where others take them. */
  readonly bytesSent: number;
  /** Bytes that this rank took from others: 2 (size-1)/size of the tensor in an all-reduce, half of it in a reduce-scatter or all-gather. */
  readonly bytesReceived: number;
  /** From inputs being ready to the end, waits for other ranks included; summed, s. */
  readonly seconds: number;
}

/** One rank's end of what connects all ranks. */
export interface Collective {
  /** This rank's number in the world. */
  readonly rank: number;
  /** Number of ranks in the world. */
  readonly size: number;
  /** The group of all ranks. */
  readonly world: Group;
  /** A new group of `ranks`, ascending, this one among them; all of them make it, in the same order where it is one of several of the same ranks. */
  group(ranks: readonly number[]): Group;
  /** Resolves when everything queued so far has ended; rejects with the first failure of any rank. */
  finish(): Promise<void>;
  statistics(): Readonly<Record<CollectiveOperation, OperationStatistics>>;
  /** The calls that move data or wait for other ranks now, in words, and since how many seconds. */
  current(): readonly { readonly call: string; readonly seconds: number }[];
  /** Leaves at once: what is queued fails, here and on ranks that wait for it. `finish` first to see it through. */
  close(): Promise<void>;
}
