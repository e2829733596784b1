/** What is done about spikes is decided by all ranks alike. The threshold is so low that the noise of a small run passes it. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { ParallelConfiguration, TrainingConfiguration } from '../../kernel/protocol/configuration.ts';
import { Trainings, type Trained } from './training-ranks.ts';

const trainings = new Trainings();
after(() => trainings.end());

const replicas: ParallelConfiguration = { data: 2, zero: 1 };
const sharded: ParallelConfiguration = { data: 2, zero: 3 };

function train(
  parallel: ParallelConfiguration,
  onDivergence: TrainingConfiguration['onDivergence'] & string,
): Promise<Trained> {
  const optimizer = { learningRate: 3e-2 };
  const often = { steps: 30, evaluateEvery: 0, checkpointEvery: 5 };
  return trainings.train({ parallel, training: { ...often, optimizer, onDivergence, spikeFactor: 1.012 } });
}

const warnings = ({ events }: Trained): { code: string; message: string }[] =>
  events.flatMap((event) => (event.event === 'warning' ? [event] : []));

test('a warning changes nothing, and a step that is skipped leaves later ones as if it had not been', async () => {
  const [warned, skipped] = [await train(replicas, 'warn'), await train(replicas, 'skip')];
  const [first] = warnings(warned);
  assert.equal(first?.code, 'loss-spike');
  const spike = Number(/^The loss of step (\d+) is/.exec(first.message)?.[1]);
  assert.equal(warnings(skipped)[0]?.code, 'step-skipped');
  assert.deepEqual(skipped.losses.slice(0, spike), warned.losses.slice(0, spike));
  assert.notDeepEqual(skipped.losses.slice(spike), warned.losses.slice(spike));
  assert.deepEqual((await train(sharded, 'skip')).losses, skipped.losses);
});

test('a run goes back to its newest checkpoint and on with other sequences, the same on all layouts', async () => {
  const [one, other] = [await train(replicas, 'rollback'), await train(sharded, 'rollback')];
  const [first] = warnings(one);
  assert.equal(first?.code, 'rolled-back');
  const [, spike, back] = /step (\d+) is .* back to step (\d+)/.exec(first.message) ?? [];
  const steps = one.events.flatMap((event) => (event.event === 'step' ? [event.step] : []));
  assert.equal(steps[Number(spike)], Number(back) + 1);
  assert.equal(steps.at(-1), 30);
  const restarts = one.events.flatMap((event) => (event.event === 'start' ? [event.resumedFrom ?? 0] : []));
  assert.deepEqual(restarts.slice(0, 2), [0, Number(back)]);
  // The step is taken again with sequences that come later.
  assert.notEqual(one.losses[Number(spike)], one.losses[Number(back)]);
  assert.deepEqual(other.losses, one.losses);
});

test('a run that is to stop says why and what to do', async () => {
  await assert.rejects(train(replicas, 'stop'), /more than 1\.012 times .* Lower training\.optimizer/);
});
