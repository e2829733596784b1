import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, test } from 'node:test';
import { NativeEngine } from '../engine/native/native-engine.ts';
import { resolveConfiguration } from '../protocol/configuration-schema.ts';
import { DummySequences } from '../training/data/batches.ts';
import { Mesh } from './mesh.ts';
import { ParallelModel } from './parallel-model.ts';
import { World } from './world.ts';

/** Counts what is allocated. */
class CountingEngine extends NativeEngine {
  allocations = 0;

  override allocate(...args: Parameters<NativeEngine['allocate']>): ReturnType<NativeEngine['allocate']> {
    this.allocations++;
    return super.allocate(...args);
  }
}

const engine = new CountingEngine(1);
after(() => engine.dispose());

for (const parallel of [{}, { microBatches: 2 }])
  test(`steps after the first allocate nothing: ${JSON.stringify(parallel)}`, async () => {
    const resolved = resolveConfiguration({
      model: { layers: 2, width: 32, heads: 2, contextLength: 32, vocabularySize: 259, dropout: 0.1 },
      data: { dummy: true, tokenizer: 'byte' },
      training: { steps: 3, batchSize: 4, sequenceLength: 16, activationCheckpointing: true },
      parallel,
    });
    assert.ok('config' in resolved);
    const { config } = resolved;
    const shape = { ...config.model, vocabularySize: 259 };
    const world = new World(engine, new Mesh({ data: 1, pipeline: 1, tensor: 1 }));
    const model = new ParallelModel(engine, shape, config, world, tmpdir());
    model.initialise(1);
    const sequences = new DummySequences(259, 16, 1);
    const judge = { judgesFirst: false, accept: () => true };
    const losses: number[] = [];
    let afterFirst = 0;
    for (let step = 1; step <= 3; step++) {
      losses.push((await model.step(step, 1e-2, sequences, 4 * (step - 1), judge)).loss);
      if (step === 1) afterFirst = engine.allocations;
    }
    assert.ok(losses.every(Number.isFinite), losses.join());
    assert.equal(engine.allocations, afterFirst);
  });
