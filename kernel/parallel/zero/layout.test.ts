import assert from 'node:assert/strict';
import { test } from 'node:test';
import { elementsOf, modelUnits, type GptShape } from '../../training/parameters.ts';
import { piecesOf, unitLayout } from './layout.ts';

const shape: GptShape = {
  ...{ layers: 3, width: 24, heads: 2, contextLength: 10, vocabularySize: 37 },
  ...{ activation: 'gelu-tanh', tieHead: false, dropout: 0 },
};

test('every element of every parameter is in exactly one shard, and all shards of a buffer are equal', () => {
  for (const replicas of [1, 2, 3, 4, 7]) {
    for (const unit of modelUnits(shape).all) {
      const seen = new Map<string, number>();
      for (const layout of unitLayout(unit, replicas)) {
        assert.equal(layout.length, layout.shard * replicas);
        assert.ok(layout.shard % 64 === 0);
        for (let replica = 0; replica < replicas; replica++) {
          for (const { specification, from, at, length } of piecesOf(layout, replica)) {
            assert.ok(length > 0 && at + length <= layout.shard);
            // Pieces come in the order of the replicas: the next begins where the last ended.
            assert.equal(from, seen.get(specification.name) ?? 0);
            seen.set(specification.name, from + length);
          }
        }
      }
      for (const each of unit.parameters) assert.equal(seen.get(each.name), elementsOf(each), each.name);
    }
  }
});

test('parameters that decay and others lie apart, and a unit without one kind has no buffer for it', () => {
  const { tokens, blocks } = modelUnits(shape);
  const kinds = (unit: typeof tokens): boolean[] => unitLayout(unit, 2).map(({ decay }) => decay);
  assert.deepEqual(kinds(tokens), [true]);
  assert.deepEqual(blocks[0] && kinds(blocks[0]), [true, false]);
});
