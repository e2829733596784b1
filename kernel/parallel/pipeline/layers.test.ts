import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stageSpans } from './layers.ts';

test('every block is in one chunk of one stage, in order, the embedding before and the head behind them', () => {
  for (const [layers, stages, chunks] of [
    [5, 2, 1],
    [5, 3, 1],
    [7, 2, 3],
    [12, 4, 3],
    [1, 1, 1],
  ] as const) {
    const all = Array.from({ length: stages }, (_, stage) => stageSpans(layers, stages, chunks, stage));
    const inOrder = Array.from({ length: chunks }, (_, chunk) => all.map((spans) => spans[chunk])).flat();
    let next = 0;
    for (const [place, span] of inOrder.entries()) {
      assert.ok(span && span.first === next && span.end > next);
      assert.deepEqual([span.embedding, span.head], [place === 0, place === inOrder.length - 1]);
      next = span.end;
    }
    assert.equal(next, layers);
  }
});

test('a rest of blocks goes to the early stages', () => {
  const sizes = [0, 1, 2].map((stage) => stageSpans(5, 3, 1, stage).map(({ first, end }) => end - first));
  assert.deepEqual(sizes, [[2], [2], [1]]);
  assert.throws(() => stageSpans(3, 2, 2, 0), /3 blocks are too few for 4 virtual stages/);
});
