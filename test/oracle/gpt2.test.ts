/**
 * The real model and optimizer of kernel/training against what PyTorch says in float64 (make_gpt2_oracle.py):
 * loss, every gradient, ten steps of AdamW. On the float64 engine nothing but rounding may differ; on the others,
 * what float32 allows.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import type { Engine, Tensor } from '../../kernel/engine/engine.ts';
import type { PassOptions } from '../../kernel/training/activations.ts';
import { TrainingPass } from '../../kernel/training/training-pass.ts';
import { type AdamW, adamwOfAll } from '../../kernel/training/optimizer.ts';
import { type GptShape, ParameterSet, parameterSpecifications } from '../../kernel/training/parameters.ts';
import { learningRate } from '../../kernel/training/schedule.ts';
import { engines } from '../conformance/engines.ts';
import { ReferenceEngine } from './reference-engine.ts';

/** A file written by make_gpt2_oracle.py; arrays are base64 of little-endian float64. */
interface Oracle {
  readonly model: Omit<GptShape, 'dropout'>;
  readonly parameters: { name: string; shape: number[]; decay: boolean }[];
  readonly sumOfWeights: number;
  /** One [sequences, tokens + 1] batch for the gradients, then one for each step. */
  readonly batches: number[][];
  readonly sequences: number;
  readonly tokens: number;
  readonly loss: number;
  readonly gradientNorm: number;
  readonly gradients: Record<string, string>;
  readonly optimizer: { betas: [number, number]; epsilon: number; weightDecay: number; clipNorm: number };
  readonly schedule: { learningRate: number; warmupSteps: number; minimumRatio: number; steps: number };
  readonly steps: { learningRate: number; loss: number; gradientNorm: number }[];
  readonly weightsAfterSteps: Record<string, string>;
}

/** How far an engine may be off. */
interface Tolerances {
  /** Losses and norms, relative. */
  readonly loss: number;
  /** Gradients, relative to the largest of their tensor. */
  readonly gradient: number;
  /** Losses and norms of the ten steps, relative. */
  readonly laterLoss: number;
  /** Weights after ten steps, relative to the sum of the learning rates: how far Adam can have moved them. */
  readonly weights: number;
  /**
   * The same for the biases of the keys, whose gradient is zero: they add one number to all scores of a query. What
   * comes out is rounding, about 1e-8, and AdamW divides it by itself plus an epsilon of 1e-8.
   */
  readonly keyBiases: number;
}

const float64: Tolerances = {
  loss: 1e-13,
  gradient: 1e-12,
  laterLoss: 1e-12,
  weights: 1e-9,
  keyBiases: 1e-9,
};
const float32: Tolerances = { loss: 1e-6, gradient: 1e-5, laterLoss: 1e-5, weights: 1e-3, keyBiases: 0.2 };

/** bf16 keeps 8 bits: 2^-9 = 0.2 % a rounding. Adam divides each gradient by its own size, small noisy ones too. */
const bfloat16: Tolerances = { loss: 2e-3, gradient: 3e-2, laterLoss: 3e-2, weights: 0.6, keyBiases: 2 };

function loadOracle(name: string): Oracle {
  return JSON.parse(readFileSync(new URL(`${name}.json`, import.meta.url), 'utf8')) as Oracle;
}

function decode(base64: string | undefined): Float64Array {
  const bytes = Buffer.from(base64 ?? '', 'base64');
  return Float64Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i));
}

/** Number `index` of the fixed sequence of integers that the oracle's weights are made of (murmur3's mix). */
function hashed(index: number): number {
  let h = Math.imul(index + 1, 2654435761);
  h = Math.imul(h ^ (h >>> 15), 2246822519);
  h = Math.imul(h ^ (h >>> 13), 3266489917);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The initial weights: multiples of 2^-13 in [-1/4, 1/4), plus 1 for the gains of layer norms. */
function initialWeights(oracle: Oracle): Map<string, Float32Array> {
  let first = 0;
  return new Map(
    oracle.parameters.map(({ name, shape }) => {
      const gain = name.includes('ln_') && name.endsWith('.weight') ? 1 : 0;
      const length = shape.reduce((a, b) => a * b, 1);
      const start = first;
      first += length;
      const weights = Float32Array.from(
        { length },
        (_, i) => (hashed(start + i) % 4096) / 8192 - 0.25 + gain,
      );
      return [name, weights];
    }),
  );
}

/** Whether element `i` of a parameter is a bias of the keys: the middle third of c_attn's, [query | key | value]. */
function isKeyBias({ model }: Oracle, name: string, i: number): boolean {
  return name.endsWith('c_attn.bias') && Math.floor(i / model.width) === 1;
}

/** Full precision where the engine has it. */
async function numbers(engine: Engine, tensor: Tensor): Promise<Float64Array> {
  if (engine instanceof ReferenceEngine) return engine.values(tensor);
  return Float64Array.from(await engine.read(tensor));
}

function assertClose(what: string, actual: number, expected: number, tolerance: number, scale = expected) {
  const error = Math.abs(actual - expected) / Math.abs(scale);
  assert.ok(
    error <= tolerance,
    `${what}: ${actual}, PyTorch ${expected}; off by ${error}, ${tolerance} allowed`,
  );
}

/** A model of kernel/training with the oracle's weights, ready for the oracle's batches. */
class Trainee {
  readonly engine: Engine;
  readonly oracle: Oracle;
  readonly parameters: ParameterSet;
  readonly gradients: ParameterSet;
  readonly optimizer: AdamW;
  readonly pass: TrainingPass;

  constructor(engine: Engine, oracle: Oracle, options: PassOptions) {
    const shape = { ...oracle.model, dropout: 0 };
    const specifications = parameterSpecifications(shape);
    assert.deepEqual(
      specifications.map(({ name, shape, decay }) => ({ name, shape, decay })),
      oracle.parameters,
    );
    this.engine = engine;
    this.oracle = oracle;
    this.parameters = new ParameterSet(engine, specifications);
    this.gradients = new ParameterSet(engine, specifications);
    const settings = { type: 'adamw', learningRate: 0, ...oracle.optimizer } as const;
    this.optimizer = adamwOfAll(engine, settings, this.parameters, this.gradients);
    this.pass = new TrainingPass(engine, shape, oracle.sequences, oracle.tokens, options);
    for (const [name, weights] of initialWeights(oracle)) engine.write(this.parameters.get(name), weights);
  }

  /** Loads a batch; inputs are all tokens of a sequence but the last, targets all but the first. */
  load(batch: number): void {
    const { batches, sequences, tokens } = this.oracle;
    const inputs: number[] = [];
    const targets: number[] = [];
    for (let b = 0; b < sequences; b++) {
      const start = b * (tokens + 1);
      const sequence = batches[batch]?.slice(start, start + tokens + 1) ?? [];
      inputs.push(...sequence.slice(0, -1));
      targets.push(...sequence.slice(1));
    }
    this.pass.load(Int32Array.from(inputs), Int32Array.from(targets));
  }

  async meanLoss(): Promise<number> {
    const losses = await numbers(this.engine, this.pass.lossesN);
    return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  }

  /** Mean loss of the batch; `gradients` become the gradients of that mean. */
  async differentiate(batch: number): Promise<number> {
    this.load(batch);
    this.gradients.clear(this.engine);
    const count = this.oracle.sequences * this.oracle.tokens;
    this.pass.forwardBackward(this.parameters, this.gradients, 1 / count, { seed: 0, firstSequence: 0 });
    return this.meanLoss();
  }
}

const subjects = [
  { name: 'reference', open: (): Engine => new ReferenceEngine(), tolerances: float64, options: {} },
  ...engines.flatMap((engine) => {
    const [{ name }, open] = [engine, (): Engine => engine.open(2)];
    return [
      { name, open, tolerances: float32, options: {} },
      { name: `${name} (bf16)`, open, tolerances: bfloat16, options: { precision: 'bf16' as const } },
    ];
  }),
];

for (const { name, open, tolerances, options } of subjects) {
  for (const file of ['gpt2-tied-tanh', 'gpt2-untied-erf']) {
    suite(`${file} on the ${name} engine`, () => {
      test('starts from the same weights as PyTorch', () => {
        const oracle = loadOracle(file);
        let sum = 0;
        for (const weights of initialWeights(oracle).values()) for (const weight of weights) sum += weight;
        assert.equal(sum, oracle.sumOfWeights);
      });

      test('has the loss and every gradient that PyTorch has', async () => {
        const engine = open();
        const oracle = loadOracle(file);
        const trainee = new Trainee(engine, oracle, options);
        trainee.load(0);
        trainee.pass.evaluate(trainee.parameters);
        assertClose('loss without gradients', await trainee.meanLoss(), oracle.loss, tolerances.loss);
        assertClose('loss', await trainee.differentiate(0), oracle.loss, tolerances.loss);
        for (const { name } of oracle.parameters) {
          const expected = decode(oracle.gradients[name]);
          const actual = await numbers(engine, trainee.gradients.get(name));
          const scale = Math.max(...expected.map(Math.abs));
          assert.equal(actual.length, expected.length);
          expected.forEach((derivative, i) => {
            assertClose(`d ${name}[${i}]`, actual[i] ?? NaN, derivative, tolerances.gradient, scale);
          });
        }
        await engine.dispose();
      });

      test('takes the same ten AdamW steps as PyTorch', async () => {
        const engine = open();
        const oracle = loadOracle(file);
        const { schedule } = oracle;
        const trainee = new Trainee(engine, oracle, options);
        for (const [index, expected] of oracle.steps.entries()) {
          const step = index + 1;
          const rate = learningRate(step, schedule.steps, schedule.learningRate, {
            type: 'cosine',
            warmupSteps: schedule.warmupSteps,
            minimumRatio: schedule.minimumRatio,
          });
          assertClose(`learning rate ${step}`, rate, expected.learningRate, 1e-15);
          const loss = await trainee.differentiate(step);
          assertClose(`loss ${step}`, loss, expected.loss, tolerances.laterLoss);
          trainee.optimizer.step(step, rate);
          const [squared = NaN] = await numbers(engine, trainee.optimizer.squaredNorm);
          assertClose(`norm ${step}`, Math.sqrt(squared), expected.gradientNorm, tolerances.laterLoss);
        }
        const distance = oracle.steps.reduce((sum, { learningRate }) => sum + learningRate, 0);
        for (const { name } of oracle.parameters) {
          const expected = decode(oracle.weightsAfterSteps[name]);
          const actual = await numbers(engine, trainee.parameters.get(name));
          expected.forEach((weight, i) => {
            const tolerance = isKeyBias(oracle, name, i) ? tolerances.keyBiases : tolerances.weights;
            assertClose(`${name}[${i}] after ten steps`, actual[i] ?? NaN, weight, tolerance, distance);
          });
        }
        await engine.dispose();
      });
    });
  }
}
