import assert from 'node:assert/strict';
import { test } from 'node:test';
import { scheduleSvg, scheduleText } from './draw.ts';
import { pipelineSchedule } from './schedule.ts';
import { simulate } from './simulate.ts';

const timeline = simulate(pipelineSchedule('1f1b', { stages: 2, microBatches: 3, chunks: 1 }));

test('a schedule is drawn as text, waiting left blank', () => {
  assert.equal(
    scheduleText(timeline, { color: false }),
    [
      'stage 0  F0 F1       B0··· F2 B1···    B2···',
      'stage 1     F0 B0··· F1 B1··· F2 B2···',
      '2 stages wait 25.0 % of the time; activations held at most: stage 0 2, stage 1 1',
    ].join('\n'),
  );
});

test('a schedule is drawn as a picture of as many boxes as operations', () => {
  const svg = scheduleSvg(timeline);
  assert.equal(svg.match(/<rect /g)?.length, 12);
  assert.match(svg, /^<svg [^>]*aria-label="2 stages wait 25\.0 %/);
});

test('chunks are told apart', () => {
  const chunked = simulate(pipelineSchedule('interleaved', { stages: 2, microBatches: 2, chunks: 2 }));
  assert.match(scheduleText(chunked, { color: false }), /^stage 0 {2}F0\.0 F1\.0 F0\.1 F1\.1/);
});
