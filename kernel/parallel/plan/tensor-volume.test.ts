import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linearVolume } from './tensor-volume.ts';

/** A square layer: x, w and y have S elements each. */
const S = 4096 * 4096;
const square = { N: 4096, I: 4096, O: 4096 } as const;

function total(
  tensorMode: '1d' | '2d' | '2.5d' | '3d',
  tensor: number,
  split: 'rows' | 'columns' = 'rows',
): number {
  const { forward, backward } = linearVolume({ tensor, tensorMode }, { ...square, split });
  return (forward + backward) / S;
}

test('1D has one all-reduce a layer: forward by rows, backward by columns', () => {
  const layer = { N: 8, I: 3, O: 5 } as const;
  const ranks = { tensor: 4, tensorMode: '1d' } as const;
  assert.deepEqual(linearVolume(ranks, { ...layer, split: 'rows' }), { forward: 1.5 * 8 * 5, backward: 0 });
  assert.deepEqual(linearVolume(ranks, { ...layer, split: 'columns' }), {
    forward: 0,
    backward: 1.5 * 8 * 3,
  });
  assert.equal(linearVolume({ ...ranks, tensor: 1 }, { ...layer, split: 'rows' }).forward, 0);
});

test('2D, 2.5D and 3D move what Colossal-AI states, in whole matrices', () => {
  // Its factors 6(q-1)/q and 3(q-1)(d+1)/(dq) are of the q parts of a row; 6(q-1)/q³ is of the whole.
  for (const q of [2, 3, 4])
    assert.ok(Math.abs(total('2d', q * q) - (6 * (q - 1)) / q / q) < 1e-12, `2D ${q}`);
  for (const q of [2, 3])
    assert.ok(Math.abs(total('3d', q ** 3) - (6 * (q - 1)) / q ** 3) < 1e-12, `3D ${q}`);
  const [q, d] = [2, 2];
  // With the sum of both copies of the weights' gradient.
  const copies = (2 * (d - 1)) / d / (q * q);
  const stated = (3 * (q - 1) * (d + 1)) / (d * q) / q;
  assert.ok(Math.abs(total('2.5d', 8) - stated - copies) < 1e-12);
});

test('on many ranks each further dimension moves less', () => {
  assert.ok(total('1d', 64) > total('2d', 64) && total('2d', 64) > total('3d', 64));
});

test('a group that makes no grid is refused', () => {
  assert.throws(
    () => linearVolume({ tensor: 6, tensorMode: '2d' }, { ...square, split: 'rows' }),
    /parallel\.tensor is 6: there is no grid for parallel\.tensorMode "2d"/,
  );
});
