import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunSummary } from '../../kernel/protocol/events.ts';
import { RunText, contextValue, percent, sortRuns, untranslated } from './run-text.ts';

const text = new RunText(untranslated);
const now = 1_000_000_000;

function run(changes: Partial<RunSummary> = {}): RunSummary {
  return {
    run: 'r1',
    name: 'quickstart',
    state: 'running',
    step: 74,
    steps: 200,
    loss: 3.21449,
    validationLoss: null,
    tokensPerSecond: 2528,
    secondsLeft: 65,
    pids: [1],
    error: null,
    createdAt: now - 60_000,
    endedAt: null,
    lastSequence: 75,
    directory: '/runs/r1',
    checkpoint: null,
    ...changes,
  };
}

test('a running run shows progress, loss and time left', () => {
  assert.equal(text.description(run(), now), '37 % · loss 3.214 · 1 min 05 s left');
});

test('what a run is doing takes the place of the time left only while that is not known', () => {
  assert.match(text.description(run({ phase: 'training' }), now), /1 min 05 s left$/);
  assert.match(
    text.description(run({ phase: 'writing a checkpoint', secondsLeft: null }), now),
    /checkpoint$/,
  );
});

test('before its first step a run says what it is doing', () => {
  assert.equal(
    text.description(run({ step: 0, loss: null, phase: 'tokenising a.txt' }), now),
    'tokenising a.txt',
  );
  assert.equal(text.description(run({ step: 0, loss: null }), now), 'starting');
});

test('an ended run shows how and when it ended', () => {
  const ended = run({ state: 'failed', endedAt: now - 7_500_000, loss: null });
  assert.equal(text.description(ended, now), 'failed · 2 h ago');
});

test('a loss that is not finite is not shown as a number', () => {
  assert.equal(text.description(run({ loss: null }), now), '37 % · loss – · 1 min 05 s left');
});

test('100 percent is shown only when all steps are done', () => {
  assert.equal(percent({ step: 1999, steps: 2000 }), 99);
  assert.equal(percent({ step: 2000, steps: 2000 }), 100);
  assert.equal(percent({ step: 0, steps: 0 }), 0);
});

test('the status bar shows the run that ends first and how many there are', () => {
  assert.equal(text.status([run({ state: 'finished' })]), undefined);
  assert.equal(text.status([run()]), '74/200 · 3.214 · 1 min 05 s left');
  assert.equal(
    text.status([run({ secondsLeft: 900 }), run({ secondsLeft: 10, step: 199 }), run({ state: 'failed' })]),
    '2 runs · 199/200 · 3.214 · 10 s left',
  );
});

test('notifications say how a run ended, with losses or the reason', () => {
  const ended = { endedAt: now, createdAt: now - 90_000 };
  assert.equal(
    text.ended(run({ ...ended, state: 'finished', validationLoss: 3.4 })),
    '“quickstart” finished after 1 min 30 s: loss 3.214, validation loss 3.400',
  );
  assert.equal(
    text.ended(run({ ...ended, state: 'failed', error: 'Rank 0 ran out of memory' })),
    '“quickstart” failed at step 74 of 200: Rank 0 ran out of memory',
  );
  assert.equal(
    text.ended(run({ ...ended, state: 'interrupted' })),
    '“quickstart” was interrupted at step 74 of 200: loss 3.214',
  );
});

test('only an unfinished run with a checkpoint can be resumed, only a running one stopped', () => {
  assert.equal(contextValue(run()), 'run running');
  assert.equal(contextValue(run({ state: 'stopped', checkpoint: '/c' })), 'run ended resumable');
  assert.equal(contextValue(run({ state: 'failed' })), 'run ended');
  assert.equal(contextValue(run({ state: 'finished', checkpoint: '/c' })), 'run ended');
});

test('running runs come first, then the newest', () => {
  const order = sortRuns([
    run({ run: 'old', state: 'finished', createdAt: 1 }),
    run({ run: 'new', state: 'failed', createdAt: 3 }),
    run({ run: 'running', createdAt: 2 }),
  ]);
  assert.deepEqual(
    order.map(({ run: id }) => id),
    ['running', 'new', 'old'],
  );
});

test('the tooltip lists what is known and leaves out what is not', () => {
  assert.deepEqual(text.facts(run()), [
    ['State', 'running'],
    ['Step', '74 of 200 (37 %)'],
    ['Training loss', '3.214'],
    ['Tokens/s', '2.53k'],
    ['Time left', '1 min 05 s'],
    ['Id', 'r1'],
  ]);
});
