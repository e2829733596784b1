import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progressLine, type ProgressState } from './progress.ts';

const state: ProgressState = {
  name: 'quickstart',
  step: 150,
  steps: 600,
  loss: [9, 8, 7, 6, 5, 4, 3, 2],
  validationLoss: 2.5,
  tokensPerSecond: 7250,
  secondsLeft: 65,
};

test('a wide terminal shows everything, a narrow one what matters most', () => {
  const lines = [120, 100, 70, 50, 30, 20, 6].map((columns) => progressLine(state, columns));
  assert.deepEqual(lines, [
    'quickstart  ▕████            ▏  150/600  loss 2.000  validation 2.500  7.25k tokens/s  1 min 05 s left  █▇▆▅▄▃▂▁',
    '▕████            ▏  150/600  loss 2.000  validation 2.500  7.25k tokens/s  1 min 05 s left  █▇▆▅▄▃▂▁',
    '150/600  loss 2.000  7.25k tokens/s  1 min 05 s left',
    '150/600  loss 2.000  1 min 05 s left',
    '150/600  loss 2.000',
    '150/600  loss 2.000',
    '150/6…',
  ]);
});

test('no width is exceeded, at any step', () => {
  for (let columns = 1; columns < 130; columns++)
    for (const step of [0, 1, 299, 600])
      assert.ok(
        progressLine({ ...state, step, phase: 'tokenising moby-dick.txt' }, columns).length <= columns,
      );
});

test('before the first step the line says what is being done', () => {
  assert.equal(progressLine({ ...state, step: 0, phase: 'tokenising' }, 80), 'quickstart  tokenising …');
});
