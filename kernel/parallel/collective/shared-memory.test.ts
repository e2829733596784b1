import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { Tensor } from '../../engine/engine.ts';
import { openEngine } from '../../engine/open.ts';
import { joinSharedMemory, type SharedMemoryCollective } from './shared-memory.ts';

const engine = openEngine({ type: 'native', threads: 1 });
const other = openEngine({ type: 'native', threads: 1 });
after(() => Promise.all([engine.dispose(), other.dispose()]));

/** Two ranks in this process, each with an engine: calls return at once, so one thread can make those of both. */
function pair(): [SharedMemoryCollective, SharedMemoryCollective] {
  const first = joinSharedMemory({ engine, rank: 0, size: 2 });
  return [first, joinSharedMemory({ engine: other, rank: 1, size: 2, address: first.address })];
}

function filled(on: typeof engine, values: readonly number[]): Tensor {
  const tensor = on.allocate('f32', [values.length]);
  on.write(tensor, new Float32Array(values));
  return tensor;
}

describe('the order of collectives and engines', () => {
  it('begins a call after what the engine had queued, and lets the engine wait for its end', async () => {
    const [a, b] = pair();
    const [x, y] = [filled(engine, [1, 2, 3]), filled(other, [10, 20, 30])];
    engine.scale(x, x, 2);
    engine.wait(a.world.allReduce(x));
    engine.scale(x, x, 100);
    other.wait(b.world.allReduce(y));
    assert.deepEqual([...(await engine.read(x))], [1200, 2400, 3600]);
    assert.deepEqual([...(await other.read(y))], [12, 24, 36]);
    await Promise.all([a.close(), b.close()]);
  });

  it('leaves the engine free to compute while a call waits for another rank', async () => {
    const [a, b] = pair();
    const x = filled(engine, [1]);
    const reduced = a.world.allReduce(x);
    const independent = filled(engine, [3]);
    engine.scale(independent, independent, 7);
    assert.deepEqual([...(await engine.read(independent))], [21]);
    assert.equal(reduced.happened, false);
    b.world.allReduce(filled(other, [5]));
    await a.finish();
    assert.equal(reduced.happened, true);
    engine.wait(reduced);
    assert.deepEqual([...(await engine.read(x))], [6]);
    await Promise.all([a.close(), b.close()]);
  });

  it('begins no sooner than the event that is given, nor later', async () => {
    const [a, b] = pair();
    const x = filled(engine, [1]);
    const ready = engine.record();
    const [p, q] = pair();
    const never = p.world.barrier();
    engine.wait(never);
    // The engine is held up, but not what came before.
    const reduced = a.world.allReduce(x, { after: ready });
    b.world.allReduce(filled(other, [2]));
    await a.finish();
    assert.equal(reduced.happened, true);
    assert.equal(never.happened, false);
    q.world.barrier();
    assert.deepEqual([...(await engine.read(x))], [3]);
    await Promise.all([a, b, p, q].map((collective) => collective.close()));
  });

  it('keeps the memory of a tensor that is released while it is sent', async () => {
    const [a, b] = pair();
    const x = filled(engine, [4, 5]);
    a.world.send(x, 1);
    engine.release(x);
    await engine.finish();
    const out = other.allocate('f32', [2]);
    other.wait(b.world.receive(out, 0));
    assert.deepEqual([...(await other.read(out))], [4, 5]);
    await Promise.all([a.close(), b.close()]);
  });

  it('counts what it moved and says what it waits for', async () => {
    const [a, b] = pair();
    const x = engine.allocate('f32', [256]);
    engine.wait(a.world.allReduce(x));
    other.wait(b.world.allReduce(other.allocate('f32', [256])));
    await a.finish();
    const { allReduce, send } = a.statistics();
    assert.deepEqual([allReduce.calls, allReduce.bytesReceived, allReduce.bytesSent], [1, 1024, 1024]);
    assert.ok(allReduce.seconds > 0);
    assert.deepEqual(send, { calls: 0, bytesSent: 0, bytesReceived: 0, seconds: 0 });
    assert.deepEqual(a.current(), []);
    a.world.receive(x, 1);
    await engine.finish();
    while (a.current().length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(a.current()[0]?.call, 'receive of 256 f32 from rank 1');
    await Promise.all([a.close(), b.close()]);
  });
});

describe('failures of a collective', () => {
  it('reach finish and whatever engine waits, again and again', async () => {
    const [a, b] = pair();
    const x = filled(engine, [1]);
    engine.wait(a.world.allReduce(x));
    await b.close();
    const message = `Rank 0 in allReduce of 1 f32 over ranks 0, 1: rank 1 (pid ${process.pid}) has closed the collective`;
    await assert.rejects(a.finish(), { message });
    await assert.rejects(engine.read(x), { message });
    a.world.barrier();
    await assert.rejects(a.finish(), { message });
    assert.deepEqual([...(await engine.read(x))], [1]);
    await a.close();
  });

  it('end what is queued when the rank itself closes it', async () => {
    const [a, b] = pair();
    a.world.barrier();
    const finished = assert.rejects(a.finish(), {
      message: 'Rank 0 in barrier over ranks 0, 1: this rank has closed the collective',
    });
    await a.close();
    await finished;
    assert.throws(() => a.world.barrier(), { message: 'The collective has been closed' });
    await Promise.all([a.close(), b.close()]);
  });

  it('name both calls where they do not match', async () => {
    const [a, b] = pair();
    a.world.broadcast(engine.allocate('bf16', [4]), 0);
    b.world.broadcast(other.allocate('bf16', [4]), 1);
    const message =
      /rank \d called broadcast of 4 bf16 from rank \d, rank \d called broadcast of 4 bf16 from rank \d/;
    await assert.rejects(a.finish(), message);
    await assert.rejects(b.finish(), message);
    await Promise.all([a.close(), b.close()]);
  });
});

describe('what a collective refuses', () => {
  it('is wrong options', () => {
    const join = (options: object) => () => joinSharedMemory({ engine, rank: 0, size: 2, ...options });
    assert.throws(join({ size: 33 }), {
      message: 'joinSharedMemory: size is 33, expected a whole number from 1 to 32',
    });
    assert.throws(join({ rank: 2 }), /rank is 2, expected a whole number from 0 to 1/);
    assert.throws(join({ rank: 1 }), /address is missing/);
    assert.throws(join({ address: 'memfd:1:2' }), /rank 0 makes the address/);
    assert.throws(join({ chunkBytes: 4097 }), /chunkBytes is 4097, expected a multiple of 64/);
    assert.throws(join({ stallTimeout: 0 }), /stallTimeout is 0, expected seconds above 0/);
    assert.throws(join({ rank: 1, address: 'memfd:0:9999' }), /Rank 1 cannot join the collective/);
  });

  it('is groups that are none', async () => {
    const [a, b] = pair();
    assert.throws(() => a.group([1, 0]), { message: 'group: ranks are 1, 0, expected in ascending order' });
    assert.throws(() => a.group([1]), { message: 'group: ranks are 1, expected rank 0 among them' });
    assert.throws(() => a.group([0, 2]), /ranks is 2, expected a whole number from 0 to 1/);
    await Promise.all([a.close(), b.close()]);
  });

  it('is tensors, ranks and events that do not fit', async () => {
    const [a, b] = pair();
    const x = engine.allocate('f32', [6]);
    const { world } = a;
    assert.throws(() => world.reduceScatter(engine.allocate('f32', [2]), x), {
      message:
        'reduceScatter: x has shape [6], expected 2 parts as long as out, 2 elements each (4 elements)',
    });
    assert.throws(() => world.reduceScatter(x.view(2, [3]), x), /out shares memory with x/);
    assert.throws(() => world.allGather(x, x.view(3, [3])), /out shares memory with x/);
    assert.throws(() => world.allReduce(other.allocate('f32', [1])), /x is not a tensor of this engine/);
    assert.throws(() => world.broadcast(x, 2), /root is 2, expected a whole number from 0 to 1/);
    assert.throws(() => world.send(x, 0), { message: 'send: to is 0, which is this rank itself' });
    assert.throws(() => world.barrier({ after: { happened: true } }), /after is no event/);
    assert.throws(
      () => world.allReduce(x, { reduction: 'mean' as 'sum' }),
      /reduction is mean, expected sum or max/,
    );
    await Promise.all([a.close(), b.close()]);
  });
});
