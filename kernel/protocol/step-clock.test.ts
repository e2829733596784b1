import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RunEvent, RunEventBody } from './events.ts';
import { StepClock } from './step-clock.ts';

const at = (time: number, body: RunEventBody): RunEvent => ({ ...body, sequence: 1, time });
const step = (number: number, time: number): RunEvent =>
  at(time, {
    event: 'step',
    step: number,
    tokens: 1,
    loss: 1,
    learningRate: 1,
    gradientNorm: 1,
    seconds: 0.5,
    tokensPerSecond: 1,
  });
const start = at(0, { event: 'start', run: 'r', config: {}, parameters: 1, world: 1 });

test('time left counts what happens between steps, too', () => {
  const clock = new StepClock();
  for (const event of [start, step(1, 1000), step(2, 2000), step(3, 5000)]) clock.take(event);
  assert.equal(clock.secondsLeft(10), 14);
});

test('one step tells no speed, and a resumed run begins anew', () => {
  const clock = new StepClock();
  clock.take(start);
  clock.take(step(1, 1000));
  assert.equal(clock.secondsLeft(10), null);
  clock.take(step(2, 2000));
  clock.take(at(99_000, { event: 'start', run: 'r', config: {}, parameters: 1, world: 1, resumedFrom: 1 }));
  clock.take(step(2, 100_000));
  assert.equal(clock.secondsLeft(10), null);
  clock.take(step(3, 101_000));
  assert.equal(clock.secondsLeft(10), 7);
});

test('only recent steps count', () => {
  const clock = new StepClock();
  for (let number = 1; number <= 60; number++) clock.take(step(number, number * 1000));
  for (let number = 61; number <= 120; number++) clock.take(step(number, 60_000 + (number - 60) * 100));
  assert.ok(Math.abs((clock.secondsLeft(130) ?? 0) - 1) < 1e-9);
});
