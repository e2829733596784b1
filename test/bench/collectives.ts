/**
 * Bandwidth of every collective over shared memory for 2 and 4 ranks, against memcpy measured in the same run. Of each
 * operation the bytes that it must at least bring to a rank count (of an all-reduce 2 (n-1)/n of the tensor), per second:
 * one rank's, while all do the same. `node test/bench/collectives.ts [MEBIBYTES [CHUNK_KIBIBYTES]]`, after a build.
 */
import { availableParallelism, cpus } from 'node:os';
import { packageVersion } from '../../kernel/home.ts';
import { openEngine } from '../../kernel/engine/open.ts';
import {
  collectiveOperations,
  type CollectiveOperation,
} from '../../kernel/parallel/collective/collective.ts';
import {
  joinSharedMemory,
  type SharedMemoryCollective,
} from '../../kernel/parallel/collective/shared-memory.ts';
import { fork } from 'node:child_process';

interface Task {
  readonly rank: number;
  readonly size: number;
  readonly address?: string;
  readonly elements: number;
  readonly chunkBytes: number;
}

/** Best of some rounds, s, by operation. */
type Times = Partial<Record<CollectiveOperation | 'memcpy', number>>;
type Message = { readonly address: string } | { readonly times: Times };

const rounds = 7;

/** One rank: joins, measures, reports. */
async function measure(task: Task): Promise<void> {
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

/** Starts `size` ranks; the slowest rank's times. */
async function run(size: number, elements: number, chunkBytes: number): Promise<Times> {
  let address: string | undefined;
  const all: Times[] = [];
  await new Promise<void>((resolve, reject) => {
    const start = (rank: number): void => {
      const child = fork(import.meta.filename, {
        execArgv: ['--disable-warning=ExperimentalWarning'],
        env: {
          ...process.env,
          COLLECTIVES_RANK: JSON.stringify({ rank, size, address, elements, chunkBytes }),
        },
      });
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

async function main(): Promise<void> {
  const bytes = Number(process.argv[2] ?? 64) * 2 ** 20;
  const chunkBytes = Number(process.argv[3] ?? 1024) * 2 ** 10;
  process.stdout.write(
    `gpt-lab ${packageVersion()}, ${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} threads; ` +
      `tensors of ${bytes / 2 ** 20} MiB, chunks of ${chunkBytes / 2 ** 10} KiB, best of ${rounds}\n`,
  );
  for (const size of [2, 4]) {
    const times = await run(size, bytes / 4, chunkBytes);
    const copy = bytes / (times.memcpy ?? NaN);
    process.stdout.write(`\n${size} ranks: memcpy ${gigabytes(copy)} on each at once\n`);
    for (const operation of collectiveOperations) {
      const seconds = times[operation];
      if (!seconds) continue;
      if (operation === 'barrier') {
        process.stdout.write(`  ${operation.padEnd(14)}${(seconds * 1e6).toFixed(0)} µs\n`);
        continue;
      }
      const rate = (bytes * share(operation, size)) / seconds;
      const name = operation === 'send' ? 'send+receive' : operation;
      process.stdout.write(
        `  ${name.padEnd(14)}${(seconds * 1000).toFixed(1).padStart(8)} ms  ${gigabytes(rate)}  ${(rate / copy).toFixed(2)} of memcpy\n`,
      );
    }
  }
}

function gigabytes(rate: number): string {
  return `${(rate / 1e9).toFixed(2)} GB/s`;
}

const task = process.env['COLLECTIVES_RANK'];
if (task === undefined) await main();
else await measure(JSON.parse(task) as Task);
