import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, describe, it } from 'node:test';
import { Mesh } from '../../kernel/parallel/mesh.ts';
import {
  type Joint,
  expected,
  randomJoint,
  randomNumbers,
  randomValues,
  stepsOf,
} from './collective-oracle.ts';
import type { Step } from './rank-program.ts';
import { Rank, Ranks, mappedSegments } from './ranks.ts';

type Values = Float32Array | Int32Array;
const operations = ['allReduce', 'reduceScatter', 'allGather', 'broadcast', 'send', 'barrier'] as const;
const types = ['f32', 'bf16', 'i32'] as const;
/** Bounds what waits for ever if a collective does. */
const timeout = 120_000;

const started: Ranks[] = [];
after(() => Promise.all(started.map((ranks) => ranks.end())));

async function join(...args: Parameters<typeof Ranks.join>): Promise<Ranks> {
  const ranks = await Ranks.join(...args);
  started.push(ranks);
  return ranks;
}

/** Bit for bit. */
function assertSame(got: Values | undefined, wanted: Values, what: string): void {
  const bytes = (values: Values): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  if (got?.length === wanted.length && bytes(got).equals(bytes(wanted))) return;
  assert.deepEqual(got, wanted, what);
}

/** Has all ranks make the calls, each in an order of its own for different groups, and compares with the oracle. */
async function runAndCompare(ranks: Ranks, joints: readonly Joint[], random?: () => number): Promise<void> {
  const programs = ranks.ranks.map((_, rank) => {
    const own = joints.flatMap((joint) => {
      const made = stepsOf(joint).get(rank);
      return made ? [{ ...made, queue: joint.group.join(), title: title(joint, rank) }] : [];
    });
    if (!random) return own;
    // Take the next call of any group until there is none left.
    const queues = [...Map.groupBy(own, ({ queue }) => queue).values()];
    return own.flatMap(() => {
      const left = queues.filter(({ length }) => length > 0);
      return left[Math.floor(random() * left.length)]?.splice(0, 1) ?? [];
    });
  });
  const results = await ranks.run(programs.map((program) => program.map(({ step }) => step)));
  programs.forEach((program, rank) => {
    program.forEach(({ result, title }, index) => assertSame(results[rank]?.[index], result, title));
  });
}

function title({ operation, group, type, inputs }: Joint, rank: number): string {
  return `${operation} of ${inputs[0]?.length} ${type} over ranks ${group.join(', ')}, on rank ${rank}`;
}

describe('collectives of processes over shared memory', { timeout }, () => {
  for (const size of [2, 3, 4])
    it(`give what the oracle gives on ${size} ranks: nothing, one element, fewer than ranks, odd numbers, many chunks`, async () => {
      const ranks = await join(size, { chunkBytes: 4096 });
      const world = [...ranks.ranks.keys()];
      const random = randomNumbers(size);
      for (const operation of operations)
        for (const type of types) {
          const lengths = operation === 'barrier' ? [0] : [0, 1, size - 1, 13, 1021, 20_011];
          await runAndCompare(
            ranks,
            lengths.map((length) => randomJoint(operation, world, type, length, random)),
          );
        }
      await ranks.end();
    });

  it('give the same bits whatever the chunks', async () => {
    const joint = randomJoint('allReduce', [0, 1, 2], 'f32', 300_000, randomNumbers(7));
    const steps = [...stepsOf(joint).values()].map(({ step }) => [step]);
    for (const chunkBytes of [4096, 12_352, 1 << 20]) {
      const ranks = await join(3, { chunkBytes });
      const results = await ranks.run(steps);
      for (const [rank, [result]] of results.entries())
        assertSame(result, expected(joint, rank), `chunks of ${chunkBytes} bytes`);
      await ranks.end();
    }
  });

  it('run on rows and columns of a mesh at once, in any order of the groups', async () => {
    const mesh = new Mesh({ data: 2, tensor: 2, pipeline: 1 });
    const ranks = await join(mesh.size, { chunkBytes: 4096 });
    const random = randomNumbers(11);
    const groups = [...mesh.groups('data'), ...mesh.groups('tensor'), mesh.ranks()];
    const joints = Array.from({ length: 4 }, () =>
      groups.map((group) => randomJoint('allReduce', group, 'f32', 5000, random)),
    ).flat();
    await runAndCompare(ranks, joints, random);
    await ranks.end();
  });

  it('send and receive in both directions at once, each rank sending first', async () => {
    const ranks = await join(2, { chunkBytes: 4096 });
    const random = randomNumbers(13);
    const group = [0, 1];
    const values = [0, 1].map(() => randomValues('f32', 50_000, random));
    const steps = group.map((rank): Step[] => {
      const step = {
        group,
        type: 'f32',
        peer: 1 - rank,
        values: values[rank] ?? new Float32Array(),
      } as const;
      return [
        { ...step, operation: 'send' },
        { ...step, operation: 'receive' },
      ];
    });
    const results = await ranks.run(steps);
    assertSame(results[0]?.[1], values[1] ?? new Float32Array(), 'received by rank 0');
    assertSame(results[1]?.[1], values[0] ?? new Float32Array(), 'received by rank 1');
    await ranks.end();
  });

  it('follow the oracle through random programs over random groups', async () => {
    const ranks = await join(4, { chunkBytes: 4096 });
    const groups = [
      [0, 1],
      [0, 2],
      [1, 3],
      [2, 3],
      [0, 1, 2],
      [1, 2, 3],
      [0, 1, 2, 3],
    ];
    for (let seed = 1; seed <= 15; seed++) {
      const random = randomNumbers(1000 + seed);
      const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T;
      const joints = Array.from({ length: 20 }, () => {
        const length = Math.floor(random() ** 3 * 6000);
        return randomJoint(pick(operations), pick(groups), pick(types), length, random);
      });
      try {
        await runAndCompare(ranks, joints, random);
      } catch (error) {
        throw new Error(`The program of seed ${seed} fails`, { cause: error });
      }
    }
    await ranks.end();
  });

  it('use no processor while they wait for another rank', async () => {
    const ranks = await join(2);
    const group = [0, 1];
    const step: Step = { operation: 'allReduce', group, type: 'f32', values: new Float32Array(1000) };
    const milliseconds = 1500;
    ranks.rank(0).tell({ command: 'wait', steps: [step], milliseconds });
    const { cpuMilliseconds, current } = await ranks.rank(0).report('waited');
    assert.deepEqual(current, ['allReduce of 1000 f32']);
    // Spinning would use all of the time; Node's own timers and collector some of it.
    assert.ok(cpuMilliseconds < milliseconds / 10, `${cpuMilliseconds} of ${milliseconds} ms`);
    ranks.rank(1).tell({ command: 'run', steps: [step] });
    await ranks.rank(0).report('results');
    await ranks.end();
  });
});

describe('a rank that fails the others', { timeout }, () => {
  /** What every rank does over and over; of the sends each passes something around the ring. */
  function round(operation: (typeof operations)[number], rank: number, size: number): Step[] {
    const group = Array.from({ length: size }, (_, index) => index);
    const step = { group, type: 'f32', values: new Float32Array(60_000) } as const;
    if (operation !== 'send') return [{ ...step, operation }];
    return [
      { ...step, operation: 'send', peer: (rank + 1) % size },
      { ...step, operation: 'receive', peer: (rank + size - 1) % size },
    ];
  }

  for (const operation of operations)
    it(`is named within two seconds when it is killed in the middle of ${operation}`, async () => {
      const size = 3;
      const victim = operations.indexOf(operation) % size;
      const ranks = await join(size, { chunkBytes: 4096 });
      const segments = await mappedSegments(ranks.pids);
      assert.equal(segments.size, 1);
      ranks.ranks.forEach((rank, index) =>
        rank.tell({ command: 'repeat', steps: round(operation, index, size) }),
      );
      await Promise.all(ranks.ranks.map((rank) => rank.report('round')));
      const killed = performance.now();
      ranks.rank(victim).signal('SIGKILL');
      const survivors = ranks.ranks.filter((_, index) => index !== victim);
      const failures = await Promise.all(survivors.map((rank) => rank.failure()));
      assert.ok(performance.now() - killed < 2000);
      const wanted = operation === 'send' ? '(send|receive)' : operation;
      const text = new RegExp(
        `^Rank \\d in ${wanted}.*rank ${victim} \\(pid ${ranks.pids[victim]}\\) has died$`,
      );
      for (const failure of failures) assert.match(failure, text);
      await ranks.end();
      const left = await mappedSegments();
      assert.ok([...segments].every((segment) => !left.has(segment)));
    });

  it('is named when it is killed before it comes to a call', async () => {
    const ranks = await join(3);
    const steps = round('allReduce', 0, 3);
    for (const rank of [0, 2]) ranks.rank(rank).tell({ command: 'run', steps });
    ranks.rank(1).signal('SIGKILL');
    for (const rank of [0, 2])
      assert.match(
        await ranks.rank(rank).failure(),
        new RegExp(`rank 1 \\(pid ${ranks.pids[1]}\\) has died$`),
      );
    await ranks.end();
  });

  it('is named when it is stopped for longer than the others have patience', async () => {
    const ranks = await join(2, { stallTimeout: 0.5 });
    ranks.rank(1).signal('SIGSTOP');
    ranks.rank(0).tell({ command: 'run', steps: round('barrier', 0, 2) });
    assert.equal(
      await ranks.rank(0).failure(),
      `Rank 0 in barrier over ranks 0, 1: rank 1 (pid ${ranks.pids[1]}), which is stopped, has not done its part within 0.5 s`,
    );
    await ranks.end();
  });

  it('is named when it leaves, though what it sent before still arrives', async () => {
    const ranks = await join(2, { chunkBytes: 4096 });
    const values = randomValues('i32', 1000, randomNumbers(17));
    const step = { group: [0, 1], type: 'i32', values } as const;
    ranks.rank(1).tell({ command: 'run', steps: [{ ...step, operation: 'send', peer: 0 }] });
    await ranks.rank(1).report('results');
    ranks.rank(1).tell({ command: 'close' });
    await ranks.rank(1).report('closed');
    const receive: Step = { ...step, operation: 'receive', peer: 1, values: new Int32Array(1000) };
    ranks.rank(0).tell({ command: 'run', steps: [receive] });
    const { results } = await ranks.rank(0).report('results');
    assertSame(results[0], values, 'received by rank 0');
    ranks.rank(0).tell({ command: 'run', steps: [receive] });
    assert.equal(
      await ranks.rank(0).failure(),
      `Rank 0 in receive of 1000 i32 from rank 1: rank 1 (pid ${ranks.pids[1]}) has closed the collective`,
    );
    await ranks.end();
  });

  it('is named when it is rank 0 and has gone before another joins', async () => {
    const ranks = await join(1);
    const [first] = ranks.ranks;
    const late = new Rank();
    await ranks.end();
    late.tell({ command: 'join', rank: 1, size: 2, address: `memfd:${first?.pid}:20` });
    assert.match(await late.failure(), /^Rank 1 cannot join .* Does rank 0 still run, on this machine\?$/);
    await late.end();
  });

  it('is named on every rank when its calls do not match the others', async () => {
    const ranks = await join(3);
    const steps = [0, 1, 2].map((rank) => round(rank === 2 ? 'allGather' : 'allReduce', rank, 3));
    ranks.ranks.forEach((rank, index) => rank.tell({ command: 'run', steps: steps[index] ?? [] }));
    for (const rank of ranks.ranks) {
      const failure = await rank.failure();
      assert.match(failure, /calls do not match/);
      assert.match(failure, /rank [01] called allReduce of 60000 f32/);
      assert.match(failure, /rank 2 called allGather of 60000 f32/);
    }
    await ranks.end();
  });

  it('leaves nothing in the file system', async () => {
    const files = async (): Promise<string[]> =>
      (await readdir('/dev/shm').catch(() => [])).filter((name) => name.startsWith('gpt-lab'));
    const before = await files();
    const ranks = await join(2);
    assert.deepEqual(await files(), before);
    await ranks.end();
    assert.deepEqual(await files(), before);
  });
});
