import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pipelineSchedule, scheduleNames, scheduleProblems } from '../pipeline/schedule.ts';
import { simulate } from '../pipeline/simulate.ts';
import { scheduleProfile } from './in-flight.ts';

test('the profile of few micro-batches holds for many: waiting, and activations by stage', () => {
  for (const name of scheduleNames)
    for (const stages of [1, 2, 3, 4, 8])
      for (const microBatches of [1, 2, 4, 8, 24, 48, 96])
        for (const chunks of [1, 2, 3, 4]) {
          const size = { stages, microBatches, chunks };
          if (scheduleProblems(name, size).length > 0) continue;
          const { duration, peakActivations } = simulate(pipelineSchedule(name, size));
          const { wait, peaks } = scheduleProfile(name, size);
          const found = {
            duration: wait + 3 * microBatches * chunks,
            peaks: peaks.map(({ held }) => held.reduce((sum, count) => sum + count, 0)),
          };
          assert.deepEqual(
            found,
            { duration, peaks: peakActivations },
            `${name} ${stages}x${microBatches}x${chunks}`,
          );
        }
});
