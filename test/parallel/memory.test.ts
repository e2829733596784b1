/** What ranks hold is what ZeRO promises: measured in bytes of tensors. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { modelUnits, elementsOf, type Unit } from '../../kernel/training/parameters.ts';
import { Trainings } from './training-ranks.ts';

const trainings = new Trainings();
after(() => trainings.end());

const model = { layers: 6, width: 96, heads: 3, contextLength: 16, vocabularySize: 259, tieHead: true };
const training = { steps: 2, evaluateEvery: 0, batchSize: 8 };

/** Bytes of one number for every parameter. */
const bytesOf = (units: readonly Unit[]): number =>
  4 * units.flatMap(({ parameters }) => parameters.map(elementsOf)).reduce((a, b) => a + b, 0);

test('four replicas share out moments, gradients and parameters, stage by stage', async () => {
  const units = modelUnits({ ...model, activation: 'gelu-tanh', dropout: 0.1 });
  const [all, blocks] = [bytesOf(units.all), bytesOf(units.blocks.slice(0, 2))];
  const rest = bytesOf([units.tokens, units.positions, units.finalNorm]);
  const peaks: number[] = [];
  for (const zero of [0, 1, 2, 3] as const) {
    const { states } = await trainings.train({ model, training, parallel: { data: 4, zero } });
    assert.equal(states.length, 4);
    peaks.push(Math.max(...states.map(({ peakTensorBytes }) => peakTensorBytes)));
  }
  const [none = 0, moments = 0, gradients = 0, parameters = 0] = peaks;
  const shared = (3 / 4) * all;
  // Shards are padded to whole cache lines: a few hundred bytes a buffer.
  const padding = 64 * 4 * 4 * 20;
  const near = (actual: number, expected: number, what: string): void =>
    assert.ok(Math.abs(actual - expected) < padding, `${what}: ${actual} bytes, expected ${expected}`);
  near(none - moments, 2 * shared, 'moments');
  // Gradients are whole while they are on their way: two blocks, and what there is one of.
  near(moments - gradients, shared - blocks - rest, 'gradients');
  near(gradients - parameters, all - all / 4 - blocks - rest, 'parameters');
  const others = none - 4 * all;
  const gathered = 2 * (blocks + rest);
  assert.ok(parameters - others <= (4 * all) / 4 + gathered + padding, 'a quarter, and what is gathered');
});
