import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Engine, Tensor } from '../../engine/engine.ts';
import { openEngine } from '../../engine/open.ts';
import { joinSharedMemory, type SharedMemoryCollective } from '../collective/shared-memory.ts';
import type { Layout } from '../plan/job.ts';
import { linearVolume } from '../plan/tensor-volume.ts';
import { CubeLinear } from './cube-linear.ts';
import { SummaLinear } from './summa-linear.ts';
import { TensorGrid, type GridShape } from './tensor-grid.ts';
import { part, shapeOf, type LinearSize, type TensorLinear, type Tile } from './tensor-linear.ts';

/** A matrix with rows of `width` numbers. */
interface Dense {
  readonly values: Float32Array;
  readonly width: number;
}

/** Small whole numbers: their products and sums are exact, in any order. */
function dense(rows: number, width: number, seed: number): Dense {
  const values = Float32Array.from(
    { length: rows * width },
    (_, i) => ((i * 7919 + seed * 104_729) % 15) - 7,
  );
  return { values, width };
}

function cut({ values, width }: Dense, { firstRow, rows, firstColumn, columns }: Tile): Float32Array {
  const rowOf = (row: number): Float32Array => {
    const start = (firstRow + row) * width + firstColumn;
    return values.subarray(start, start + columns);
  };
  return Float32Array.from(Array.from({ length: rows }, (_, row) => [...rowOf(row)]).flat());
}

/** One rank of a grid, in this process as all of them are: calls return at once. */
interface Rank {
  readonly engine: Engine;
  readonly collective: SharedMemoryCollective;
  readonly layer: TensorLinear;
}

function ranksOf(shape: GridShape, kind: typeof SummaLinear | typeof CubeLinear, size: LinearSize): Rank[] {
  const count = shape.rows * shape.columns * shape.layers;
  const all = Array.from({ length: count }, (_, rank) => rank);
  let address: string | undefined;
  return all.map((rank) => {
    const engine = openEngine({ type: 'native', threads: 1 });
    const at = address === undefined ? {} : { address };
    const collective = joinSharedMemory({ engine, rank, size: count, ...at });
    address ??= collective.address;
    return { engine, collective, layer: new kind(engine, new TensorGrid(collective, all, shape), size) };
  });
}

function tensorOf(engine: Engine, tile: Tile, matrix?: Dense): Tensor {
  const made = engine.allocate('f32', tile.rows === 1 ? [tile.columns] : shapeOf(tile));
  if (matrix) engine.write(made, cut(matrix, tile));
  else engine.fill(made, Number.NaN);
  return made;
}

const grids: [Layout['tensorMode'], GridShape, LinearSize][] = [
  ['2d', { rows: 2, columns: 2, layers: 1 }, { N: 6, I: 10, O: 14 }],
  ['2d', { rows: 3, columns: 3, layers: 1 }, { N: 9, I: 15, O: 6 }],
  ['2.5d', { rows: 2, columns: 2, layers: 2 }, { N: 12, I: 6, O: 10 }],
  ['2.5d', { rows: 2, columns: 2, layers: 3 }, { N: 12, I: 14, O: 4 }],
  ['3d', { rows: 2, columns: 2, layers: 2 }, { N: 12, I: 20, O: 6 }],
];

describe('a linear layer in tiles', () => {
  for (const [tensorMode, shape, size] of grids) {
    const tensor = shape.rows * shape.columns * shape.layers;
    it(`gives the dense products, forward and backward, and moves what the planner counts: ${tensorMode} on ${tensor} ranks`, async () => {
      const { N, I, O } = size;
      const [x, w, bias, dy] = [dense(N, I, 1), dense(I, O, 2), dense(1, O, 3), dense(N, O, 4)];
      const expected = await denseLayer(size, { x, w, bias, dy });
      const ranks = ranksOf(shape, tensorMode === '3d' ? CubeLinear : SummaLinear, size);
      const results = ranks.map(({ engine, layer }) => {
        const { tiles } = layer;
        const own = { x: tensorOf(engine, tiles.x, x), w: tensorOf(engine, tiles.w, w) };
        const y = tensorOf(engine, tiles.y);
        layer.forward(y, own.x, own.w, tensorOf(engine, tiles.bias, bias));
        const [dx, dw] = [tensorOf(engine, tiles.x), tensorOf(engine, tiles.w)];
        const dbias = tensorOf(engine, tiles.bias);
        layer.backward({ dx, dw, dbias }, tensorOf(engine, tiles.y, dy), own.x, own.w);
        return { y, dx, dw, dbias };
      });
      let sum = 0;
      for (const [rank, { engine, layer, collective }] of ranks.entries()) {
        const { tiles } = layer;
        for (const [what, tile] of [
          ['y', tiles.y],
          ['dx', tiles.x],
          ['dw', tiles.w],
          ['dbias', tiles.bias],
        ] as const) {
          const made = results[rank]?.[what];
          assert.ok(made);
          const [actual, right] = [await engine.read(made), cut(expected[what], tile)];
          assert.deepEqual(actual, right, `${what} of rank ${rank}`);
        }
        await collective.finish();
        const received = Object.values(collective.statistics()).reduce(
          (sum, one) => sum + one.bytesReceived,
          0,
        );
        sum += received / 4;
        layer.release();
      }
      const { forward, backward } = linearVolume({ tensor, tensorMode }, { ...size, split: 'rows' });
      // The bias, which the planner does not count, is added over the rows and the copies.
      const sharers = [shape.rows, tensorMode === '3d' ? 1 : shape.layers];
      const ofBias = sharers.reduce((all, n) => all + ((2 * (n - 1)) / n) * (O / shape.columns), 0);
      assert.ok(
        Math.abs(sum / tensor - forward - backward - ofBias) < 1e-9,
        `${sum / tensor} elements a rank`,
      );
      await Promise.all(ranks.map(({ collective }) => collective.close()));
      await Promise.all(ranks.map(({ engine }) => engine.dispose()));
    });
  }

  it('names sizes that its grid does not divide', () => {
    assert.throws(() => part('I', 3, 2, 0), /I is 3: allowed are multiples of 2/);
  });
});

/** The layer on one rank. */
async function denseLayer(
  { N, I, O }: LinearSize,
  { x, w, bias, dy }: Record<'x' | 'w' | 'bias' | 'dy', Dense>,
): Promise<Record<'y' | 'dx' | 'dw' | 'dbias', Dense>> {
  const engine = openEngine({ type: 'native', threads: 1 });
  const whole = (rows: number, columns: number): Tile => ({ firstRow: 0, rows, firstColumn: 0, columns });
  const [xs, ws, dys] = [
    tensorOf(engine, whole(N, I), x),
    tensorOf(engine, whole(I, O), w),
    tensorOf(engine, whole(N, O), dy),
  ];
  const [y, dx, dw] = [
    tensorOf(engine, whole(N, O)),
    tensorOf(engine, whole(N, I)),
    tensorOf(engine, whole(I, O)),
  ];
  const dbias = tensorOf(engine, whole(1, O));
  engine.linear(y, xs, ws, tensorOf(engine, whole(1, O), bias));
  engine.linearInputGradient(dx, dys, ws);
  engine.linearWeightGradient(dw, dbias, xs, dys, true);
  const read = async (made: Tensor, width: number): Promise<Dense> => ({
    values: (await engine.read(made)) as Float32Array,
    width,
  });
  const all = {
    y: await read(y, O),
    dx: await read(dx, I),
    dw: await read(dw, O),
    dbias: await read(dbias, O),
  };
  await engine.dispose();
  return all;
}
