import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Divergence } from './divergence.ts';

const fine = { gradientNorm: 1 };

test('a loss or a gradient that is not a number is wrong from the first step on', () => {
  const divergence = new Divergence({});
  assert.equal(divergence.judge({ ...fine, loss: 3 }), undefined);
  assert.equal(divergence.judge({ ...fine, loss: Number.NaN }), 'is NaN');
  assert.equal(
    divergence.judge({ loss: 3, gradientNorm: Infinity }),
    'is 3.0000 with a gradient norm of Infinity',
  );
  assert.equal(divergence.judge({ ...fine, loss: 300 }), undefined);
});

test('a spike is measured against the mean of the twenty steps before, which no spike is among', () => {
  const divergence = new Divergence({ spikeFactor: 2 });
  for (const loss of [9, 3, 3, 3, 3]) assert.equal(divergence.judge({ ...fine, loss }), undefined);
  const spike = 'is 8.5000, more than 2 times the 4.2000 of the steps before';
  assert.equal(divergence.judge({ ...fine, loss: 8.5 }), spike);
  assert.equal(divergence.judge({ ...fine, loss: 8.5 }), spike);
  assert.equal(divergence.judge({ ...fine, loss: 8.3 }), undefined);
  divergence.forget();
  assert.equal(divergence.judge({ ...fine, loss: 100 }), undefined);
});
