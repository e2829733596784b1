import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stepOperations, optimizerBytes } from './gpt2-step.ts';
import { Stepper } from './stepper.ts';

test('a step of GPT-2 124M at 4 x 256 tokens has 0.77 T operations and moves 3.5 GB in AdamW', () => {
  // 6 x 123,532,032 weights of matrices and the head x 1024 tokens, and 3 x 12 x 2 x 256 x 768 x 1024 of attention.
  assert.equal(stepOperations({ B: 4, T: 256 }), 758_980_804_608 + 14_495_514_624);
  assert.equal(optimizerBytes(), 28 * 124_439_808);
});

test('a contender that dies is named with the end of its stderr', async () => {
  const stepper = new Stepper('a peer', process.execPath, ['-e', 'throw new Error("no such module: torch")']);
  await assert.rejects(stepper.step(), /^Error: a peer ended without an answer: [^]*no such module: torch/);
  await stepper.end();
});
