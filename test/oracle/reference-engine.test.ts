import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Activation, DropoutKey, Tensor } from '../../kernel/engine/engine.ts';
import { erf } from './gelu.ts';
import { standardNormal } from './philox.ts';
import { ReferenceEngine } from './reference-engine.ts';
import type { ReferenceTensor } from './reference-tensor.ts';

const engine = new ReferenceEngine();
const activations: Activation[] = ['gelu-tanh', 'gelu-erf'];

let nextStream = 0;

/** A tensor of normal numbers; every call draws from another stream. */
function normal(...shape: number[]): ReferenceTensor {
  const tensor = engine.allocate('f32', shape);
  engine.randomNormal(tensor, 1, { seed: 11, stream: nextStream++, offset: 0 });
  return tensor;
}

function zeros(...shape: number[]): ReferenceTensor {
  return engine.allocate('f32', shape);
}

function tokens(...ids: number[]): ReferenceTensor {
  const tensor = engine.allocate('i32', [ids.length]);
  engine.write(tensor, Int32Array.from(ids));
  return tensor;
}

/** sum(weights * outputs): the scalar whose gradient with respect to `outputs` is `weights`. */
function weightedSum(weights: Tensor, outputs: Tensor): number {
  const w = engine.values(weights);
  return engine.values(outputs).reduce((sum, y, i) => sum + y * (w[i] ?? NaN), 0);
}

/**
 * Compares `gradient` with central differences of `loss` in each element of `input`. Step 1e-5: the error is about
 * 1e-10 from the third derivative and 1e-11 from rounding, times the size of the numbers.
 */
function assertGradient(name: string, input: ReferenceTensor, gradient: Tensor, loss: () => number): void {
  const step = 1e-5;
  const numbers = engine.values(input);
  const analytic = engine.values(gradient);
  const differences = numbers.map((x, i) => {
    const lossAt = (value: number): number => {
      engine.write(input, numbers.with(i, value));
      return loss();
    };
    return (lossAt(x + step) - lossAt(x - step)) / (2 * step);
  });
  engine.write(input, numbers);
  const scale = Math.max(1, ...analytic.map(Math.abs));
  differences.forEach((difference, i) => {
    const error = Math.abs(difference - (analytic[i] ?? NaN)) / scale;
    assert.ok(error < 1e-8, `${name}[${i}]: gradient ${analytic[i] ?? NaN}, differences ${difference}`);
  });
}

test('erf agrees with the C library to 1e-15', () => {
  const known: [x: number, value: number][] = [
    [0, 0],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1.0, 0.8427007929497149],
    [1.7, 0.9837904585907745],
    [2.5, 0.999593047982555],
    [2.999, 0.9999777698314002],
    [3.0, 0.9999779095030014],
    [3.5, 0.9999992569016276],
    [4.5, 0.9999999998033839],
    [5.9, 0.9999999999999999],
    [7, 1],
  ];
  for (const [x, value] of known) {
    assert.ok(Math.abs(erf(x) - value) <= 1e-15, `erf(${x}) = ${erf(x)}, not ${value}`);
    assert.ok(Math.abs(erf(-x) + value) <= 1e-15, `erf(-${x}) = ${erf(-x)}, not ${-value}`);
  }
});

test('Views share memory with what they are a view of', async () => {
  const whole = zeros(3, 4);
  const middle = whole.view(5, [2, 3]);
  engine.write(middle.view(1, [2]), Float32Array.of(7, 8));
  assert.deepEqual(await engine.read(whole), Float32Array.of(0, 0, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0));
  assert.throws(() => whole.view(5, [8]), RangeError);
  assert.throws(() => whole.view(-1, [1]), RangeError);
});

test('A released tensor and its views cannot be used', () => {
  const whole = zeros(4);
  const part = whole.view(1, [2]);
  engine.release(whole);
  assert.throws(() => engine.fill(part, 1), /released/);
  assert.throws(() => engine.release(whole), /released/);
});

test('Normal numbers do not depend on how a stream is cut into tensors', () => {
  const whole = zeros(11);
  engine.randomNormal(whole, 0.5, { seed: 3, stream: 4, offset: 0 });
  const cut = zeros(11);
  engine.randomNormal(cut.view(0, [3]), 0.5, { seed: 3, stream: 4, offset: 0 });
  engine.randomNormal(cut.view(3, [8]), 0.5, { seed: 3, stream: 4, offset: 3 });
  assert.deepEqual(engine.values(cut), engine.values(whole));
  assert.equal(engine.values(whole)[5], 0.5 * standardNormal(3, 4, 5));
});

test('Dropout keeps 1 - p of the elements, scaled, and the mean', () => {
  const x = zeros(10_000);
  engine.fill(x, 1);
  engine.dropout(x, x, { seed: 1, stream: 1, offset: 0, probability: 0.25 });
  const numbers = engine.values(x);
  assert.deepEqual([...new Set(numbers)].sort(), [0, 1 / 0.75]);
  const mean = numbers.reduce((sum, v) => sum + v, 0) / numbers.length;
  assert.ok(Math.abs(mean - 1) < 4 * Math.sqrt(0.25 / 0.75 / numbers.length), `mean ${mean}`);
});

test('The gradient of dropout is dropout', () => {
  const key: DropoutKey = { seed: 5, stream: 6, offset: 7, probability: 0.3 };
  const [x, dout, out, dx] = [normal(13), normal(13), zeros(13), zeros(13)];
  engine.dropout(dx, dout, key);
  assertGradient('x', x, dx, () => {
    engine.dropout(out, x, key);
    return weightedSum(dout, out);
  });
});

test('embeddingBackward is the gradient of embedding', () => {
  const ids = tokens(4, 0, 4, 2, 1, 4);
  const [wte, wpe, dout, out] = [normal(5, 3), normal(4, 3), normal(6, 3), zeros(6, 3)];
  const [dwte, dwpe] = [zeros(5, 3), zeros(4, 3)];
  const loss = (): number => {
    engine.embedding(out, ids, wte, wpe, 3, 0);
    return weightedSum(dout, out);
  };
  engine.embeddingBackward(dwte, dwpe, dout, ids, 3);
  assertGradient('wte', wte, dwte, loss);
  assertGradient('wpe', wpe, dwpe, loss);
});

test('A token outside the vocabulary rejects the next finish or read, once', async () => {
  const other = new ReferenceEngine();
  const ids = other.allocate('i32', [1]);
  const out = other.allocate('f32', [1, 3]);
  const embed = (id: number): void => {
    other.write(ids, Int32Array.of(id));
    other.embedding(out, ids, other.allocate('f32', [5, 3]), other.allocate('f32', [2, 3]), 1, 0);
  };
  embed(-2);
  await assert.rejects(other.finish(), /Token -2/);
  embed(5);
  embed(6);
  await assert.rejects(other.read(out), /Token 5/);
  await other.finish();
});

test('layerNormBackward is the gradient of layerNorm and of addLayerNorm', () => {
  const [residual, x, gamma, beta] = [normal(4, 5), normal(4, 5), normal(5), normal(5)];
  const [sum, out, mean, rstd, dout] = [zeros(4, 5), zeros(4, 5), zeros(4), zeros(4), normal(4, 5)];
  const [dsum, dgamma, dbeta] = [zeros(4, 5), zeros(5), zeros(5)];
  const loss = (): number => {
    engine.addLayerNorm(sum, out, mean, rstd, residual, x, gamma, beta);
    return weightedSum(dout, out);
  };
  loss();
  engine.layerNormBackward(dsum, dgamma, dbeta, dout, sum, mean, rstd, gamma);
  for (const [name, input, gradient] of [
    ['residual', residual, dsum],
    ['x', x, dsum],
    ['gamma', gamma, dgamma],
    ['beta', beta, dbeta],
  ] as const) {
    assertGradient(name, input, gradient, loss);
  }
});

test('The linear gradients are those of linear, with and without bias', () => {
  const [x, w, b, dout, out] = [normal(4, 3), normal(3, 5), normal(5), normal(4, 5), zeros(4, 5)];
  for (const bias of [b, null]) {
    const [dx, dw, db] = [zeros(4, 3), zeros(3, 5), zeros(5)];
    const loss = (): number => {
      engine.linear(out, x, w, bias);
      return weightedSum(dout, out);
    };
    engine.linearInputGradient(dx, dout, w);
    engine.linearWeightGradient(dw, bias === null ? null : db, x, dout);
    assertGradient('x', x, dx, loss);
    assertGradient('w', w, dw, loss);
    if (bias !== null) assertGradient('bias', bias, db, loss);
  }
});

for (const activation of activations) {
  test(`linearActivationInputGradient is the gradient through ${activation}`, () => {
    const [x, w, b, w2] = [normal(4, 3), normal(3, 5), normal(5), normal(5, 2)];
    const [pre, hidden, out, dout] = [zeros(4, 5), zeros(4, 5), zeros(4, 2), normal(4, 2)];
    const [dpre, dx, dw, db] = [zeros(4, 5), zeros(4, 3), zeros(3, 5), zeros(5)];
    const loss = (): number => {
      engine.linearActivation(hidden, pre, x, w, b, activation);
      engine.linear(out, hidden, w2, null);
      return weightedSum(dout, out);
    };
    loss();
    engine.linearActivationInputGradient(dpre, dout, w2, pre, activation);
    engine.linearInputGradient(dx, dpre, w);
    engine.linearWeightGradient(dw, db, x, dpre);
    assertGradient('x', x, dx, loss);
    assertGradient('w', w, dw, loss);
    assertGradient('bias', b, db, loss);
  });
}

for (const dropout of [undefined, { seed: 9, stream: 8, offset: 3, probability: 0.4 }]) {
  test(`attentionBackward is the gradient of attention ${dropout ? 'with' : 'without'} dropout`, () => {
    const [B, T, H, D] = [2, 4, 2, 3];
    const C = H * D;
    const [qkv, dout, out, logSumExp] = [
      normal(B * T, 3 * C),
      normal(B * T, C),
      zeros(B * T, C),
      zeros(B, H, T),
    ];
    const dqkv = zeros(B * T, 3 * C);
    const loss = (): number => {
      engine.attention(out, logSumExp, qkv, B, T, H, dropout);
      return weightedSum(dout, out);
    };
    loss();
    engine.attentionBackward(dqkv, dout, out, logSumExp, qkv, B, T, H, dropout);
    assertGradient('qkv', qkv, dqkv, loss);
  });
}

test('crossEntropyBackward is the gradient of the scaled sum of losses, without the ignored tokens', () => {
  const targets = tokens(2, -1, 0, 6);
  const lossScale = 0.7;
  const [x, whead, losses, dx, dwhead] = [normal(4, 3), normal(7, 3), zeros(4), zeros(4, 3), zeros(7, 3)];
  const loss = (): number => {
    engine.crossEntropy(losses, x, whead, targets);
    return lossScale * engine.values(losses).reduce((sum, one) => sum + one, 0);
  };
  engine.crossEntropyBackward(losses, dx, dwhead, x, whead, targets, lossScale);
  assert.equal(engine.values(losses)[1], 0);
  assert.deepEqual(engine.values(dx).subarray(3, 6), new Float64Array(3));
  assertGradient('x', x, dx, loss);
  assertGradient('whead', whead, dwhead, loss);
});

test('Cross-entropy of equal logits is the logarithm of the vocabulary', () => {
  const [x, whead, losses] = [zeros(2, 3), normal(7, 3), zeros(2)];
  engine.crossEntropy(losses, x, whead, tokens(5, 0));
  for (const loss of engine.values(losses)) assert.ok(Math.abs(loss - Math.log(7)) < 1e-14, `${loss}`);
});

test('The first AdamW step moves each parameter by the learning rate against its gradient, after decay', () => {
  const [parameters, gradients, m, v] = [normal(6), normal(6), zeros(6), zeros(6)];
  const before = engine.values(parameters);
  engine.adamw(parameters, gradients, m, v, null, {
    learningRate: 0.01,
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 0,
    weightDecay: 0.1,
    step: 1,
  });
  const expected = engine.values(gradients).map((g, i) => (before[i] ?? NaN) * 0.999 - 0.01 * Math.sign(g));
  engine.values(parameters).forEach((p, i) => assert.ok(Math.abs(p - (expected[i] ?? NaN)) < 1e-12));
});
