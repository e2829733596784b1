/**
 * Bandwidth of every collective over shared memory, against memcpy measured in the same run. Of each operation the bytes that
 * it must at least bring to a rank count (of an all-reduce 2 (n-1)/n of the tensor), per second: one rank's, while all do the same.
 */
import { fork } from 'node:child_process';
import { openEngine } from '../engine/open.ts';
import { collectiveOperations, type CollectiveOperation } from '../parallel/collective/collective.ts';
import { joinSharedMemory, type SharedMemoryCollective } from '../parallel/collective/shared-memory.ts';

/** One operation among `ranks` ranks. */
export interface CollectiveRow {
  readonly row: 'collective';
  /** `send` is around the ring: every rank sends and receives at once. */
  readonly operation: CollectiveOperation | 'memcpy';
  readonly ranks: number;
  /** Bytes of the tensor. */
  readonly bytes: number;
  /** Best of seven, of the slowest rank. */
  readonly seconds: number;
  /** Bytes a second that come to each rank; of memcpy, that each copies. Absent for a barrier. */
  readonly bandwidth?: number;
  /** That over memcpy's. */
  readonly ofMemcpy?: number;
}

/** What a rank's process is told, in the environment. */
interface Task {
  readonly rank: number;
  readonly size: number;
  readonly address?: string;
  readonly elements: number;
}

/** Best of some rounds, s, by operation. */
type Times = Partial<Record<CollectiveOperation | 'memcpy', number>>;
type Message = { readonly address: string } | { readonly times: Times };

const rounds = 7;

/** Where a rank's process finds its task. */
const TASK = 'GPT_LAB_COLLECTIVE_RANK';

/** One rank, in a process of its own: joins, measures, reports. */
export async function serveCollectiveRank(): Promise<void> {
  const task = JSON.parse(process.env[TASK] ?? '{}') as Task;
  const engine = openEngine({ type: 'native', threads: 1 });
  const { elements, size, rank } = task;
  const collective = joinSharedMemory({ engine, ...task });
  process.send?.({ address: collective.address } satisfies Message);
  const { world } = collective;
  const [whole, other] = [engine.allocate('f32', [elements]), engine.allocate('f32', [elements])];
  const part = engine.allocate('f32', [elements / size]);
  const calls: Record<CollectiveOperation, () => unknown> = {
    allReduce: () => world.allReduce(whole),
    reduceScatter: () => world.reduceScatter(part, whole),
    allGather: () => world.allGather(whole, part),
    broadcast: () => world.broadcast(whole, 0),
    barrier: () => world.barrier(),
    // Around the ring, so that every rank sends and receives at once.
    send: () => [world.send(whole, (rank + 1) % size), world.receive(other, (rank + size - 1) % size)],
    receive: () => undefined,
  };
  const times: Times = {};
  for (const operation of collectiveOperations) {
    if (operation === 'receive') continue;
    times[operation] = await best(collective, async () => {
      calls[operation]();
      await collective.finish();
    });
  }
  // All ranks copy at once, as they all do in a collective.
  times.memcpy = await best(collective, async () => {
    engine.copy(other, whole);
    await engine.finish();
  });
  process.send?.({ times } satisfies Message);
  await collective.close();
  await engine.dispose();
  process.disconnect();
}

async function best(collective: SharedMemoryCollective, round: () => Promise<void>): Promise<number> {
  const seconds: number[] = [];
  for (let index = 0; index < rounds; index++) {
    collective.world.barrier();
    await collective.finish();
    const from = performance.now();
    await round();
    seconds.push((performance.now() - from) / 1000);
  }
  return Math.min(...seconds);
}

/** Starts `size` ranks by `program`, a script with arguments; the slowest rank's times. */
async function run(program: readonly string[], size: number, elements: number): Promise<Times> {
  let address: string | undefined;
  const all: Times[] = [];
  await new Promise<void>((resolve, reject) => {
    const start = (rank: number): void => {
      const [file = '', ...args] = program;
      const task = JSON.stringify({ rank, size, address, elements });
      const child = fork(file, args, { env: { ...process.env, [TASK]: task } });
      child.on('message', (message: Message) => {
        if ('times' in message) all.push(message.times);
        else if (rank === 0) {
          address = message.address;
          for (let next = 1; next < size; next++) start(next);
        }
      });
      child.on('exit', (code) => {
        if (code !== 0) reject(new Error(`Rank ${rank} ended with ${code}`));
        else if (all.length === size) resolve();
      });
    };
    start(0);
  });
  const slowest = (name: keyof Times): number => Math.max(...all.map((times) => times[name] ?? 0));
  return Object.fromEntries(
    [...collectiveOperations, 'memcpy' as const].map((name) => [name, slowest(name)]),
  );
}

/** Bytes that must come to a rank, as parts of the tensor. */
function share(operation: CollectiveOperation, size: number): number {
  if (operation === 'allReduce') return (2 * (size - 1)) / size;
  return operation === 'reduceScatter' || operation === 'allGather' ? (size - 1) / size : 1;
}

/** Measures groups of those sizes; each rank runs `program`, which must call `serveCollectiveRank`. */
export async function* benchmarkCollectives(
  program: readonly string[],
  sizes: readonly number[],
  bytes: number,
): AsyncGenerator<CollectiveRow> {
  for (const ranks of sizes) {
    const times = await run(program, ranks, bytes / 4);
    const common = { row: 'collective', ranks, bytes } as const;
    const { memcpy = Number.NaN } = times;
    const copied = bytes / memcpy;
    yield { ...common, operation: 'memcpy', seconds: memcpy, bandwidth: copied };
    for (const operation of collectiveOperations) {
      const seconds = times[operation];
      if (!seconds) continue;
      const bandwidth = (bytes * share(operation, ranks)) / seconds;
      const rates = operation === 'barrier' ? {} : { bandwidth, ofMemcpy: bandwidth / copied };
      yield { ...common, operation, seconds, ...rates };
    }
  }
}
