/** A rank of the collective tests: joins, makes the calls that it is told over IPC, and reports what came out. */
import type { DataType, EngineEvent, Tensor } from '../../kernel/engine/engine.ts';
import { openEngine } from '../../kernel/engine/open.ts';
import type { Group, Reduction } from '../../kernel/parallel/collective/collective.ts';
import {
  joinSharedMemory,
  type SharedMemoryCollective,
  type SharedMemoryOptions,
} from '../../kernel/parallel/collective/shared-memory.ts';

/** One call on a group. */
export interface Step {
  readonly operation:
    'allReduce' | 'reduceScatter' | 'allGather' | 'broadcast' | 'send' | 'receive' | 'barrier';
  /** World ranks. */
  readonly group: readonly number[];
  readonly type: DataType;
  readonly reduction?: Reduction;
  /** Root, receiver or sender: its number in the group. */
  readonly peer?: number;
  /** What this rank has; for a receive as many elements as are expected. */
  readonly values: Float32Array | Int32Array;
  /** A reduce-scatter or all-gather within one tensor. */
  readonly inPlace?: boolean;
}

export type Command =
  | ({ readonly command: 'join' } & Omit<SharedMemoryOptions, 'engine'>)
  /** Makes all calls, waits for them, and reports the results. */
  | { readonly command: 'run'; readonly steps: readonly Step[] }
  /** Makes all calls again and again until one fails; reports after each round. */
  | { readonly command: 'repeat'; readonly steps: readonly Step[] }
  /** Makes the calls, which must wait for another rank, and reports the processor time used while they did. */
  | { readonly command: 'wait'; readonly steps: readonly Step[]; readonly milliseconds: number }
  | { readonly command: 'close' };

export type Report =
  | { readonly report: 'joined'; readonly address: string }
  | { readonly report: 'results'; readonly results: readonly (Float32Array | Int32Array)[] }
  | { readonly report: 'round' }
  | { readonly report: 'waited'; readonly cpuMilliseconds: number; readonly current: readonly string[] }
  | { readonly report: 'closed' }
  | { readonly report: 'failed'; readonly message: string };

const engine = openEngine({ type: 'native', threads: 1 });
const groups = new Map<string, Group>();
let collective: SharedMemoryCollective | undefined;

function send(report: Report): void {
  process.send?.(report);
}

function joined(): SharedMemoryCollective {
  if (!collective) throw new Error('Join first');
  return collective;
}

function groupOf(ranks: readonly number[]): Group {
  const key = ranks.join();
  const group = groups.get(key) ?? joined().group(ranks);
  groups.set(key, group);
  return group;
}

interface Made {
  readonly event: EngineEvent;
  readonly result: Tensor;
}

/** Makes the call of a step; its result can be read after the event. */
function make(step: Step): Made {
  const group = groupOf(step.group);
  const x = engine.allocate(step.type, [step.values.length]);
  engine.write(x, step.values);
  const { peer = 0, inPlace = false } = step;
  const options = step.reduction ? { reduction: step.reduction } : {};
  switch (step.operation) {
    case 'allReduce':
      return { event: group.allReduce(x, options), result: x };
    case 'reduceScatter': {
      const part = [x.length / group.size];
      const own = group.rank * (part[0] ?? 0);
      const result = inPlace ? x.view(own, part) : engine.allocate(step.type, part);
      return { event: group.reduceScatter(result, x, options), result };
    }
    case 'allGather': {
      const result = engine.allocate(step.type, [x.length * group.size]);
      if (!inPlace) return { event: group.allGather(result, x), result };
      const own = result.view(group.rank * x.length, [x.length]);
      engine.copy(own, x);
      return { event: group.allGather(result, own), result };
    }
    case 'broadcast':
      return { event: group.broadcast(x, peer), result: x };
    case 'send':
      return { event: group.send(x, peer), result: x };
    case 'receive':
      return { event: group.receive(x, peer), result: x };
    case 'barrier':
      return { event: group.barrier(), result: x };
  }
}

/** All calls are queued before the engine waits for the first. */
async function run(steps: readonly Step[]): Promise<(Float32Array | Int32Array)[]> {
  const made = steps.map(make);
  for (const { event } of made) engine.wait(event);
  const results = made.map(({ result }) => engine.read(result));
  await Promise.all([...results, joined().finish()]);
  for (const { result } of made) engine.release(result);
  return Promise.all(results);
}

async function obey(command: Command): Promise<void> {
  switch (command.command) {
    case 'join': {
      collective = joinSharedMemory({ ...command, engine });
      send({ report: 'joined', address: collective.address });
      return;
    }
    case 'run':
      send({ report: 'results', results: await run(command.steps) });
      return;
    case 'repeat':
      for (;;) {
        await run(command.steps);
        send({ report: 'round' });
      }
    case 'wait': {
      const done = run(command.steps);
      while (joined().current().length === 0) await new Promise((resolve) => setImmediate(resolve));
      const before = process.cpuUsage();
      // Time itself is what is measured against.
      await new Promise((resolve) => setTimeout(resolve, command.milliseconds));
      const used = process.cpuUsage(before);
      const current = joined()
        .current()
        .map(({ call }) => call);
      send({ report: 'waited', cpuMilliseconds: (used.user + used.system) / 1000, current });
      send({ report: 'results', results: await done });
      return;
    }
    case 'close':
      await joined().close();
      send({ report: 'closed' });
  }
}

process.on('message', (command: Command) => {
  obey(command).catch((error: unknown) => {
    send({ report: 'failed', message: error instanceof Error ? error.message : String(error) });
  });
});
process.on('disconnect', () => process.exit());
