import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Mesh, axes } from './mesh.ts';

describe('a mesh of ranks', () => {
  it('numbers tensor ranks first, then replicas, then stages', () => {
    const mesh = new Mesh({ data: 2, pipeline: 2, tensor: 2 });
    assert.equal(mesh.size, 8);
    assert.deepEqual(mesh.place(0), { tensor: 0, data: 0, pipeline: 0 });
    assert.deepEqual(mesh.place(1), { tensor: 1, data: 0, pipeline: 0 });
    assert.deepEqual(mesh.place(2), { tensor: 0, data: 1, pipeline: 0 });
    assert.deepEqual(mesh.place(4), { tensor: 0, data: 0, pipeline: 1 });
    assert.deepEqual(mesh.group(5, 'tensor'), [4, 5]);
    assert.deepEqual(mesh.group(5, 'data'), [5, 7]);
    assert.deepEqual(mesh.group(5, 'pipeline'), [1, 5]);
    assert.deepEqual(mesh.group(5, 'data', 'tensor'), [4, 5, 6, 7]);
    assert.deepEqual(mesh.group(5), [5]);
  });

  it('leads from ranks to places and back, and splits the ranks into groups along every set of axes', () => {
    for (const data of [1, 2, 3])
      for (const pipeline of [1, 2, 4])
        for (const tensor of [1, 2, 5]) {
          const mesh = new Mesh({ data, pipeline, tensor });
          for (const rank of mesh.ranks()) assert.equal(mesh.rank(mesh.place(rank)), rank);
          for (const axis of axes) {
            const groups = mesh.groups(axis);
            assert.ok(groups.every((group) => group.length === mesh.shape[axis]));
            assert.deepEqual(
              groups.flat().toSorted((a, b) => a - b),
              mesh.ranks(),
            );
            // Places along the axis ascend with the ranks of a group: a member's number in the group is its place.
            for (const group of groups)
              assert.deepEqual(
                group.map((rank) => mesh.place(rank)[axis]),
                group.map((_, index) => index),
              );
          }
          assert.deepEqual(mesh.groups(...axes), [mesh.ranks()]);
        }
  });

  it('knows neighbours and the ends of an axis', () => {
    const mesh = new Mesh({ data: 2, pipeline: 3, tensor: 2 });
    assert.equal(mesh.neighbour(0, 'pipeline', 1), 4);
    assert.equal(mesh.neighbour(8, 'pipeline', -2), 0);
    assert.equal(mesh.neighbour(8, 'pipeline', 1), undefined);
    assert.equal(mesh.neighbour(1, 'data', -1), undefined);
  });

  it('refuses what is no mesh, rank or place', () => {
    assert.throws(() => new Mesh({ data: 0, pipeline: 1, tensor: 1 }), {
      message: 'parallel.data is 0: allowed are whole numbers of at least 1',
    });
    assert.throws(() => new Mesh({ data: 1, pipeline: 1.5, tensor: 1 }), /parallel\.pipeline is 1\.5/);
    const mesh = new Mesh({ data: 2, pipeline: 1, tensor: 1 });
    assert.throws(() => mesh.place(2), { message: 'rank is 2: allowed are 0 to 1' });
    assert.throws(() => mesh.rank({ data: 0, pipeline: 1, tensor: 0 }), {
      message: 'place along pipeline is 1: allowed are 0 to 0',
    });
  });
});
