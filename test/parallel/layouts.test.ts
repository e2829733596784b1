/**
 * Every layout trains as one rank does: to 1e-5 where sums are taken in another order, bit for bit where only the stage of
 * ZeRO, the schedule or activation checkpointing differ. Real processes, dropout, clipping, a tied head, uneven layers.
 */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import type { ParallelConfiguration, TrainingConfiguration } from '../../kernel/protocol/configuration.ts';
import {
  STEPS,
  Trainings,
  inTurns,
  largestDifference,
  type SmallRun,
  type Trained,
} from './training-ranks.ts';

const trainings = new Trainings();
after(() => trainings.end());

/** The run on one rank that layouts are compared with, by what else of the configuration matters. */
const references = new Map<string, Promise<Trained>>();
function reference(run: Omit<SmallRun, 'parallel'>): Promise<Trained> {
  const key = JSON.stringify(run);
  const known = references.get(key) ?? trainings.train(run);
  references.set(key, known);
  return known;
}

const textOf = (value: unknown): string => JSON.stringify(value).replaceAll('"', '');

/** A layout, and what must change nothing at all in it. */
interface Family {
  readonly layout: ParallelConfiguration;
  readonly variants: readonly ParallelConfiguration[];
  readonly run?: Omit<SmallRun, 'parallel'>;
}

const zeros = ([0, 1, 2, 3] as const).map((zero) => ({ zero }));
const schedules = (['1f1b', 'gpipe', 'zero-bubble'] as const).map((schedule) => ({ schedule }));

const families: readonly Family[] = [
  { layout: { data: 1, microBatches: 4 }, variants: [...schedules, { offload: 'optimizer' }] },
  { layout: { data: 2 }, variants: [...zeros, { zero: 2, offload: 'optimizer' }] },
  { layout: { data: 3, microBatches: 2 }, variants: zeros },
  {
    layout: { pipeline: 2, microBatches: 4 },
    variants: [...schedules, { schedule: 'interleaved', chunks: 2 }],
  },
  { layout: { pipeline: 3, microBatches: 6 }, variants: schedules },
  {
    layout: { data: 2, pipeline: 2, microBatches: 3 },
    variants: [
      { zero: 0 },
      { zero: 1, schedule: 'gpipe' },
      { zero: 2, schedule: 'zero-bubble' },
      { zero: 3, schedule: '1f1b' },
    ],
  },
  {
    layout: { data: 2, pipeline: 2, microBatches: 2 },
    variants: [{ zero: 1 }, { zero: 3, schedule: 'interleaved', chunks: 2 }],
    run: { model: { tieHead: false } },
  },
  { layout: { tensor: 3, microBatches: 2 }, variants: schedules, run: { model: { heads: 6 } } },
  {
    layout: { data: 2, pipeline: 2, tensor: 2, microBatches: 2 },
    variants: [{ zero: 0 }, { zero: 3, schedule: 'zero-bubble' }],
    run: { model: { heads: 6 } },
  },
  {
    layout: { tensor: 3, microBatches: 2, sequenceParallel: true },
    variants: schedules,
    run: { model: { heads: 6 } },
  },
  {
    layout: { data: 2, pipeline: 2, tensor: 2, microBatches: 2, sequenceParallel: true },
    variants: [
      { zero: 0 },
      { zero: 1, schedule: 'gpipe' },
      { zero: 2, schedule: 'interleaved', chunks: 2 },
      { zero: 3, schedule: 'zero-bubble' },
    ],
    run: { model: { heads: 6, tieHead: false } },
  },
  {
    layout: { data: 2, tensor: 2, sequenceParallel: true },
    variants: zeros,
    run: { model: { heads: 6 }, training: { batchSize: 6, sequenceLength: 14 } },
  },
];

for (const { layout, variants, run = {} } of families) {
  describe(textOf({ ...layout, ...run.model }), () => {
    it(`trains as one rank does, the same to the last bit with ${textOf(variants)}`, async () => {
      const one = await reference(run);
      const results: Trained[] = [];
      await inTurns(variants, async (variant) => {
        results.push(await trainings.train({ ...run, parallel: { ...layout, ...variant } }));
      });
      const [first, ...others] = results;
      assert.ok(first && first.losses.length === STEPS && first.evaluations.length >= 2);
      assert.ok(largestDifference(first.losses, one.losses) < 1e-5);
      assert.ok(largestDifference(first.norms, one.norms) < 1e-5);
      assert.ok(largestDifference(first.evaluations.map(Number), one.evaluations.map(Number)) < 1e-5);
      for (const other of others) {
        assert.deepEqual(other.losses, first.losses);
        assert.deepEqual(other.norms, first.norms);
        assert.deepEqual(other.evaluations, first.evaluations);
      }
    });
  });
}

describe('activation checkpointing and precision', () => {
  const train = (parallel: ParallelConfiguration, training: TrainingConfiguration): Promise<Trained> =>
    trainings.train({ parallel, training });

  it('changes no bit where blocks are computed again, whoever holds their parameters', async () => {
    for (const parallel of [
      { data: 2, zero: 3 },
      { pipeline: 2, microBatches: 4, schedule: 'zero-bubble' },
      { tensor: 3, sequenceParallel: true },
    ] as const) {
      const kept = await train(parallel, {});
      const again = await train(parallel, { activationCheckpointing: true });
      assert.deepEqual(again.losses, kept.losses);
    }
  });

  it('follows one rank in bf16 too', async () => {
    const one = await train({}, { precision: 'bf16' });
    for (const parallel of [
      { data: 2, pipeline: 2, zero: 2, microBatches: 3, schedule: 'zero-bubble' },
      { pipeline: 2, tensor: 3, sequenceParallel: true, microBatches: 2, schedule: 'zero-bubble' },
    ] as const) {
      const split = await train(parallel, { precision: 'bf16' });
      // Two roundings of a number to bf16 that lies between two may differ.
      assert.ok(largestDifference(split.losses, one.losses) < 1e-3);
    }
  });
});

describe('what a run has to say', () => {
  it('is said once, by the first rank', async () => {
    // The held-out twentieth is shorter than a sequence of this length.
    const model = { layers: 2, contextLength: 1024 };
    const training = { steps: 1, batchSize: 2, sequenceLength: 1024 };
    const { events } = await trainings.train({ model, training, parallel: { data: 2, zero: 3 } });
    const said = events.map((event) => (event.event === 'warning' ? event.code : event.event));
    assert.deepEqual(said, ['no-evaluation', 'start', 'step', 'checkpoint', 'end']);
  });
});

describe('sequence parallelism', () => {
  it('changes nothing but the order in which the gradients of the norms are summed', async () => {
    const layout = { pipeline: 2, tensor: 3, microBatches: 2 };
    const plain = await trainings.train({ parallel: layout });
    const split = await trainings.train({ parallel: { ...layout, sequenceParallel: true } });
    assert.equal(split.losses[0], plain.losses[0]);
    assert.ok(largestDifference(split.losses, plain.losses) < 1e-6);
    for (const [rank, { peakTensorBytes }] of split.states.entries())
      assert.ok(peakTensorBytes < (plain.states[rank]?.peakTensorBytes ?? 0));
  });
});

describe('fifty steps', () => {
  it('stay within 1e-5 of one rank on a replicated pipeline', async () => {
    const training = { steps: 50, evaluateEvery: 0 };
    const one = await reference({ training });
    const split = await trainings.train({
      training,
      parallel: { data: 2, pipeline: 2, zero: 2, microBatches: 3 },
    });
    assert.equal(split.losses.length, 50);
    assert.ok((one.losses.at(-1) ?? 9) < 0.9 * (one.losses[0] ?? 0), 'something is learned');
    assert.ok(largestDifference(split.losses, one.losses) < 1e-5);
  });
});
