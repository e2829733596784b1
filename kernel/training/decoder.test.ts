import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { openEngine } from '../engine/open.ts';
import { Decoder } from './decoder.ts';
import { TrainingPass } from './training-pass.ts';
import { initialise, ParameterSet, parameterSpecifications, type GptShape } from './parameters.ts';

const shape: GptShape = {
  ...{ layers: 2, width: 32, heads: 2, contextLength: 24, vocabularySize: 50 },
  ...{ activation: 'gelu-tanh', tieHead: true, dropout: 0 },
};
const engine = openEngine({ type: 'native', threads: 2 });
after(() => engine.dispose());
const specifications = parameterSpecifications(shape);
const parameters = new ParameterSet(engine, specifications);
initialise(engine, parameters, specifications, 7);

const sequences = [
  [3, 1, 4, 1, 5, 9, 2, 6],
  [2, 7, 1, 8, 2, 8, 1, 8],
  [1, 4, 1, 4, 2, 1, 3, 5],
];

/** ln softmax(logits)[id], negated. */
function loss(logits: Float32Array, id: number): number {
  const sum = logits.reduce((total, one) => total + Math.exp(one), 0);
  return Math.log(sum) - (logits[id] ?? Number.NaN);
}

test('decoding token by token, in batch or alone, gives the losses of a pass over the whole', async () => {
  const T = 7;
  const pass = new TrainingPass(engine, shape, sequences.length, T);
  pass.load(
    Int32Array.from(sequences.flatMap((ids) => ids.slice(0, T))),
    Int32Array.from(sequences.flatMap((ids) => ids.slice(1))),
  );
  pass.evaluate(parameters);
  const expected = await engine.read(pass.lossesN);
  const batch = new Decoder(engine, shape, parameters, sequences.length);
  const alone = new Decoder(engine, shape, parameters);
  // Three tokens of prompt, then one at a time.
  for (const [start, end] of [[0, 3], ...[3, 4, 5, 6].map((at) => [at, at + 1])] as const) {
    const logits = await batch.append(sequences.flatMap((ids) => ids.slice(start, end)));
    const single = await alone.append((sequences[1] ?? []).slice(start, end));
    const V = shape.vocabularySize;
    sequences.forEach((ids, b) => {
      const got = loss(logits.subarray(b * V, (b + 1) * V), ids[end] ?? 0);
      const wanted = expected[b * T + end - 1] ?? Number.NaN;
      assert.ok(Math.abs(got - wanted) < 1e-5, `sequence ${b}, token ${end}: ${got}, ${wanted}`);
    });
    single.forEach((logit, v) => assert.ok(Math.abs(logit - (logits[V + v] ?? Number.NaN)) < 1e-5));
  }
  await assert.rejects(batch.append([1, 2]), /7 \+ 2 tokens of 3 sequences do not fit/);
  batch.release();
  alone.release();
  pass.release();
});
