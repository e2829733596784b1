import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { openEngine } from '../open.ts';
import type { Engine, Tensor } from '../engine.ts';

const engine = openEngine({ type: 'native', threads: 2 });
after(() => engine.dispose());

function filled(values: readonly number[], on: Engine = engine): Tensor {
  const tensor = on.allocate('f32', [values.length]);
  on.write(tensor, new Float32Array(values));
  return tensor;
}

async function numbers(tensor: Tensor): Promise<number[]> {
  return [...(await engine.read(tensor))];
}

describe('the queue of the native engine', () => {
  it('runs calls in the order they were made', async () => {
    const x = filled([1, 2, 3]);
    const before = engine.read(x);
    engine.scale(x, x, 2);
    const between = engine.read(x);
    engine.add(x, x, x);
    engine.write(x, new Float32Array([7, 8, 9]));
    const written = engine.read(x);
    engine.fill(x, 0);
    assert.deepEqual(
      (await Promise.all([before, between, written, engine.read(x)])).map((values) => [...values]),
      [
        [1, 2, 3],
        [2, 4, 6],
        [7, 8, 9],
        [0, 0, 0],
      ],
    );
  });

  it('copies written values at once, so that the caller may change them afterwards', async () => {
    const values = new Float32Array([1, 2]);
    const x = engine.allocate('f32', [2]);
    engine.write(x, values);
    values.fill(9);
    assert.deepEqual(await numbers(x), [1, 2]);
  });

  it('leaves the event loop free while a long product runs', async () => {
    const alone = openEngine({ type: 'native', threads: 1 });
    const size = 2048;
    const [a, b, product] = [0, 1, 2].map(() => alone.allocate('f32', [size, size]));
    assert.ok(a && b && product);
    alone.fill(a, 1);
    alone.fill(b, 0.5);
    const events: string[] = [];
    alone.linear(product, a, b, null);
    const finished = alone.finish().then(() => events.push('product'));
    for (let turn = 0; turn < 3; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      events.push('turn');
    }
    await finished;
    assert.deepEqual(events, ['turn', 'turn', 'turn', 'product']);
    assert.equal((await alone.read(product.view(size * size - 1, [1])))[0], size / 2);
    await alone.dispose();
  });

  it('records events that happen when everything before them has run, and waits for those of another queue', async () => {
    const other = openEngine({ type: 'native', threads: 1 });
    const size = 1024;
    const [a, b, product] = [0, 1, 2].map(() => other.allocate('f32', [size, size]));
    assert.ok(a && b && product);
    other.fill(a, 1);
    other.fill(b, 1);
    other.linear(product, a, b, null);
    const multiplied = other.record();
    assert.equal(multiplied.happened, false);
    engine.wait(multiplied);
    await engine.finish();
    assert.equal(multiplied.happened, true);
    await other.dispose();
    assert.throws(() => engine.wait({ happened: true }), {
      message: 'wait: event is none of this engine nor of a collective that works on its tensors',
    });
  });

  it('rejects the next read or finish with the first error of a queued call, once', async () => {
    const wte = engine.allocate('f32', [4, 2]);
    const tokens = engine.allocate('i32', [3]);
    const out = engine.allocate('f32', [3, 2]);
    for (const bad of [4, -7]) {
      engine.write(tokens, new Int32Array([0, bad, 1]));
      engine.embedding(out, tokens, wte, wte, 3, 0);
    }
    const x = filled([5]);
    await assert.rejects(engine.read(x), {
      message: 'Token id 4 at position 1 is outside the vocabulary: allowed are 0 to 3',
    });
    assert.deepEqual(await numbers(x), [5]);
    await engine.finish();
  });

  it('gives bitwise the same results with any number of threads', async () => {
    const results = await Promise.all([1, 2, 3].map((threads) => linearBits(threads)));
    assert.deepEqual(results[1], results[0]);
    assert.deepEqual(results[2], results[0]);
  });
});

/** A layer's output, bias gradient, weight gradient and gradient norm, as bytes. */
async function linearBits(threads: number): Promise<Uint8Array> {
  const on = openEngine({ type: 'native', threads });
  const [N, I, O] = [300, 70, 500];
  const x = on.allocate('f32', [N, I]);
  const w = on.allocate('f32', [I, O]);
  const out = on.allocate('f32', [N, O]);
  const gradients = on.allocate('f32', [I * O + O + 1]);
  on.randomNormal(x, 1, { seed: 1, stream: 1, offset: 0 });
  on.randomNormal(w, 1, { seed: 1, stream: 2, offset: 0 });
  on.linear(out, x, w, null);
  on.linearWeightGradient(gradients.view(0, [I, O]), gradients.view(I * O, [O]), x, out);
  on.squaredNorm(gradients.view(I * O + O, [1]), out);
  const bytes = new Uint8Array((await on.read(gradients)).buffer);
  await on.dispose();
  return bytes;
}

describe('tensors of the native engine', () => {
  it('start zeroed, and views share their memory', async () => {
    const x = engine.allocate('f32', [2, 3]);
    engine.fill(x.view(2, [2]), 4);
    engine.fill(x.view(1, [4]).view(3, [1]), 5);
    assert.deepEqual(await numbers(x), [0, 0, 4, 4, 5, 0]);
    const ids = engine.allocate('i32', [2]);
    engine.write(ids, new Int32Array([-1, 2 ** 31 - 1]));
    assert.deepEqual(await engine.read(ids), new Int32Array([-1, 2147483647]));
    assert.deepEqual(await numbers(engine.allocate('f32', [0])), []);
  });

  it('refuse views outside themselves', () => {
    const x = engine.allocate('f32', [10]);
    for (const [offset, shape] of [
      [8, [3]],
      [-1, [1]],
      [0.5, [1]],
      [0, [-1]],
      [0, [11]],
    ] as const)
      assert.throws(() => x.view(offset, shape), RangeError);
    // A view of a view is bounded by the view, not by the allocation.
    assert.throws(() => x.view(0, [5]).view(4, [2]), {
      name: 'RangeError',
      message: 'view: elements 4 to 6 of shape [2] lie outside a tensor of 5 elements',
    });
  });

  it('keep their memory until the calls queued before their release have run', async () => {
    const x = filled([1, 2, 3]);
    const out = engine.allocate('f32', [3]);
    const view = x.view(0, [3]);
    engine.copy(out, x);
    engine.release(x);
    assert.deepEqual(await numbers(out), [1, 2, 3]);
    for (const dead of [x, view])
      assert.throws(() => engine.copy(out, dead), {
        name: 'TypeError',
        message: 'copy: x has been released and can no longer be used',
      });
  });

  it('are refused with the operation, the name and what was expected', () => {
    const x = engine.allocate('f32', [4, 8]);
    const w = engine.allocate('f32', [8, 6]);
    const out = engine.allocate('f32', [4, 6]);
    const ids = engine.allocate('i32', [4]);
    const other = openEngine({ type: 'native', threads: 1 });
    const cases: [() => void, RegExp][] = [
      [() => engine.linear(out, w, w, null), /^RangeError: linear: x has shape \[8, 6\], expected rows of 8/],
      [() => engine.linear(x, x, w, null), /linear: out has shape \[4, 8\], expected \[N, O\] = \[4, 6\]/],
      [() => engine.linear(x, x, w.view(0, [8, 4]), null), /out has shape/],
      [() => engine.linear(x.view(0, [4, 6]), x, w, null), /linear: out shares memory with x/],
      [() => engine.add(x.view(1, [4]), x.view(0, [4]), x.view(8, [4])), /add: out shares memory with a/],
      [() => engine.copy(ids, x.view(0, [4])), /^TypeError: copy: out must be of type f32 or bf16, not i32/],
      [() => engine.write(ids, new Float32Array(4)), /^TypeError: write: values are of type f32/],
      [() => engine.write(ids, new Int32Array(3)), /^RangeError: write: 3 values do not fit/],
      [() => engine.add(out, out, other.allocate('f32', [4, 6])), /add: b is not a tensor of this engine/],
      [
        () => engine.attention(x, x, engine.allocate('f32', [4, 24]), 1, 4, 3),
        /attention: .*C divisible by H = 3/,
      ],
      [
        () => engine.dropout(x, x, { seed: 1, stream: 1, offset: 0, probability: 1 }),
        /dropout: probability is 1/,
      ],
      [
        () => engine.randomNormal(x, 1, { seed: -1, stream: 0, offset: 0 }),
        /randomNormal: seed is -1, expected a whole number from 0/,
      ],
      [() => engine.embedding(out, ids, w, w.view(0, [3, 6]), 4, 0), /embedding: firstPosition is 0/],
      [
        () => engine.allocate('f32', [2 ** 50]),
        /allocate: shape \[1125899906842624\] has too many elements|Out of memory/,
      ],
      [() => openEngine({ type: 'native', threads: 0 }), /openEngine: threads is 0/],
    ];
    for (const [call, message] of cases) assert.throws(call, (error) => message.test(String(error)));
    void other.dispose();
  });
});

describe('disposing of the native engine', () => {
  it('runs what is queued, frees the memory and refuses further calls', async () => {
    const own = openEngine({ type: 'native', threads: 2 });
    const x = filled([1, 2], own);
    const values = own.read(x);
    const disposed = own.dispose();
    assert.equal(own.dispose(), disposed);
    assert.deepEqual([...(await values)], [1, 2]);
    await disposed;
    assert.throws(() => own.fill(x, 1), { message: 'fill: the engine has been disposed' });
    await assert.rejects(own.finish(), { message: 'finish: the engine has been disposed' });
  });

  it('gives memory back to the system', async () => {
    const resident = () => process.memoryUsage().rss / 2 ** 20;
    const own = openEngine({ type: 'native', threads: 1 });
    // Held, for a tensor that nobody can reach any more is freed before its engine is.
    const tensors = Array.from({ length: 8 }, () => own.allocate('f32', [8 * 2 ** 20]));
    for (const tensor of tensors) own.fill(tensor, 1);
    await own.finish();
    const full = resident();
    await own.dispose();
    assert.ok(full - resident() > 200, 'its 256 MiB are free after it is disposed of');
    for (const tensor of tensors) assert.throws(() => own.fill(tensor, 1), /disposed/);
  });
});

describe('GPT_LAB_INSTRUCTIONS', () => {
  it('names the instruction sets of this machine when it asks for another', () => {
    const before = process.env['GPT_LAB_INSTRUCTIONS'];
    process.env['GPT_LAB_INSTRUCTIONS'] = 'mmx';
    try {
      assert.throws(() => openEngine({ type: 'native' }), {
        message: /^GPT_LAB_INSTRUCTIONS is mmx: allowed on this machine are .*portable$/,
      });
    } finally {
      if (before === undefined) delete process.env['GPT_LAB_INSTRUCTIONS'];
      else process.env['GPT_LAB_INSTRUCTIONS'] = before;
    }
  });
});
