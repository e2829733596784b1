import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  pipelineSchedule,
  scheduleNames,
  scheduleProblems,
  type PipelineSchedule,
  type PipelineSize,
} from './schedule.ts';
import { simulate, unitTimes } from './simulate.ts';

/** Every size up to 8 stages, 32 micro-batches, 4 chunks that a schedule exists for. */
function* sizes(name: (typeof scheduleNames)[number]): Generator<PipelineSize> {
  for (let stages = 1; stages <= 8; stages++)
    for (let microBatches = 1; microBatches <= 32; microBatches++)
      for (let chunks = 1; chunks <= 4; chunks++) {
        const size = { stages, microBatches, chunks };
        if (scheduleProblems(name, size).length === 0) yield size;
      }
}

for (const name of scheduleNames) {
  describe(name, () => {
    test('every size does every operation once, in the order of the micro-batches, and ends', () => {
      let count = 0;
      for (const size of sizes(name)) {
        const schedule = pipelineSchedule(name, size);
        for (const operations of schedule.operations) {
          for (let chunk = 0; chunk < size.chunks; chunk++) {
            for (const kind of ['forward', 'backward', 'input-gradient', 'weight-gradient'] as const) {
              const order = operations
                .filter((each) => each.kind === kind && each.chunk === chunk)
                .map(({ microBatch }) => microBatch);
              const wanted = name === 'zero-bubble' ? kind !== 'backward' : kind.endsWith('ward');
              const all = Array.from({ length: size.microBatches }, (_, index) => index);
              assert.deepEqual(order, wanted ? all : []);
            }
          }
        }
        simulate(schedule);
        count++;
      }
      assert.ok(count >= 80, `${count} sizes`);
    });
  });
}

test('GPipe and 1F1B wait (p-1)/(m+p-1) of the time', () => {
  for (const name of ['gpipe', '1f1b'] as const)
    for (const size of sizes(name)) {
      const { stages: p, microBatches: m } = size;
      const { bubble } = simulate(pipelineSchedule(name, size));
      assert.ok(Math.abs(bubble - (p - 1) / (m + p - 1)) < 1e-12, `${name} ${p}x${m}`);
    }
});

test('GPipe holds all micro-batches, 1F1B at most p - stage', () => {
  for (const size of sizes('gpipe')) {
    const { peakActivations } = simulate(pipelineSchedule('gpipe', size));
    assert.deepEqual(peakActivations, Array(size.stages).fill(size.microBatches));
  }
  for (const size of sizes('1f1b')) {
    const { peakActivations } = simulate(pipelineSchedule('1f1b', size));
    const bound = peakActivations.map((_, stage) => Math.min(size.microBatches, size.stages - stage));
    assert.deepEqual(peakActivations, bound);
  }
});

test('interleaving makes the bubble v times smaller and holds at most p·(1 + (p-1)/(p·v)) times v chunks', () => {
  for (const size of sizes('interleaved')) {
    const { stages: p, microBatches: m, chunks: v } = size;
    const { bubble, peakActivations } = simulate(pipelineSchedule('interleaved', size));
    const ideal = 3 * m * v;
    const expected = (3 * (p - 1)) / (ideal + 3 * (p - 1));
    assert.ok(bubble <= expected + 1e-12, `${p}x${m}x${v}: ${bubble} > ${expected}`);
    const bound = v === 1 ? p : p * v + p - 1;
    assert.ok(Math.max(...peakActivations) <= bound, `${p}x${m}x${v}: ${String(peakActivations)}`);
  }
});

test('ZB-H1 waits (p-1)(F + B - W) once there are micro-batches enough, and holds no more than 1F1B', () => {
  for (const size of sizes('zero-bubble')) {
    const { stages: p, microBatches: m } = size;
    const { duration, peakActivations } = simulate(pipelineSchedule('zero-bubble', size));
    const plain = simulate(pipelineSchedule('1f1b', size));
    assert.ok(duration <= plain.duration, `${p}x${m}`);
    assert.ok(Math.max(...peakActivations) <= Math.max(...plain.peakActivations), `${p}x${m}`);
    if (m >= 2 * p - 1) assert.equal(duration, 3 * m + (p - 1), `${p}x${m}`);
  }
});

test('a schedule that would never end is named with what it waits for', () => {
  const schedule = pipelineSchedule('1f1b', { stages: 2, microBatches: 1, chunks: 1 });
  const [first = [], second = []] = schedule.operations;
  const broken = { ...schedule, operations: [first, second.toReversed()] };
  assert.throws(
    () => simulate(broken),
    /stage 0 waits before backward of micro-batch 0, stage 1 waits before backward/,
  );
});

test('sizes without a schedule name key, value and what is allowed', () => {
  assert.throws(
    () => pipelineSchedule('interleaved', { stages: 4, microBatches: 6, chunks: 2 }),
    /parallel\.microBatches is 6: allowed are multiples of parallel\.pipeline \(4\)/,
  );
  assert.throws(
    () => pipelineSchedule('1f1b', { stages: 4, microBatches: 8, chunks: 2 }),
    /parallel\.chunks is 2: allowed is 1/,
  );
});

/** What goes over each lane, from one stage to another, in the order of those who send or of those who receive. */
function lanes(
  { stages, chunks, operations }: PipelineSchedule,
  forward: boolean,
  side: 'sent' | 'received',
) {
  const found = new Map<string, string[]>();
  operations.forEach((list, stage) => {
    for (const { kind, microBatch, chunk } of list) {
      if ((kind === 'forward') !== forward || kind === 'weight-gradient') continue;
      const virtual = chunk * stages + stage;
      const other = virtual + (forward === (side === 'sent') ? 1 : -1);
      if (other < 0 || other >= stages * chunks) continue;
      const [from, to] = side === 'sent' ? [virtual, other] : [other, virtual];
      const lane = `${from % stages} to ${to % stages}`;
      found.set(lane, [...(found.get(lane) ?? []), `micro-batch ${microBatch} to ${to}`]);
    }
  });
  return found;
}

test('stages receive in the order in which others send, so that one queue for each direction is enough', () => {
  for (const name of scheduleNames) {
    for (const size of sizes(name)) {
      if (size.microBatches > 16) continue;
      const schedule = pipelineSchedule(name, size);
      for (const forward of [true, false])
        assert.deepEqual(lanes(schedule, forward, 'received'), lanes(schedule, forward, 'sent'));
    }
  }
});

test('stages that take longer set the pace, and what is sent arrives later', () => {
  const schedule = pipelineSchedule('1f1b', { stages: 2, microBatches: 4, chunks: 1 });
  const slow = { forward: 2, backward: 4, 'input-gradient': 2, 'weight-gradient': 2 };
  // The slow stage works without a break, between one forward and one backward of the other.
  assert.equal(simulate(schedule, [unitTimes, slow]).duration, 1 + 4 * 6 + 2);
  // There and back once.
  const lone = pipelineSchedule('gpipe', { stages: 2, microBatches: 1, chunks: 1 });
  assert.equal(simulate(lone, { ...unitTimes, send: 0.5 }).duration, 2 * 3 + 2 * 0.5);
});
