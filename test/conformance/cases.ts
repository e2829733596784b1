/** Every operation of the engine interface as a function from shapes to a case, and the table of shapes. */
import type { Activation, DropoutKey, Engine } from '../../kernel/engine/engine.ts';
import { ids, narrowed, normal, operationCase, positive, stale, sumTolerance } from './operation-case.ts';
import type { Content, OperationCase } from './operation-case.ts';

/** Elementwise arithmetic: a rounding or two. */
const exact = 3e-7;
/** Through exponentials, divisions and roots of about 1e-7 each. */
const elementary = 2e-6;

export function passes(length: number): OperationCase[] {
  const title = `${length} elements`;
  const two = { x: normal([length]), out: stale([length]) };
  const key = { seed: 7, stream: 2 ** 33 + 5, offset: 3 };
  return [
    operationCase(['fill'], title, { x: stale([length]) }, ['x'], 0, (engine, { x }) => {
      engine.fill(x, 0.25);
    }),
    operationCase(['copy'], title, two, ['out'], 0, (engine, { x, out }) => {
      engine.copy(out, x);
    }),
    operationCase(['add'], title, { ...two, a: normal([length]) }, ['out'], exact, (engine, t) => {
      engine.add(t.out, t.a, t.x);
    }),
    operationCase(['add'], `${title} in place`, two, ['out'], exact, (engine, { x, out }) => {
      engine.add(out, out, x);
    }),
    operationCase(['scale'], title, two, ['out'], exact, (engine, { x, out }) => {
      engine.scale(out, x, -0.7);
    }),
    operationCase(['scale'], `${title} in place`, two, ['x'], exact, (engine, { x }) => {
      engine.scale(x, x, 3);
    }),
    operationCase(['randomNormal'], title, { out: stale([length]) }, ['out'], exact, (engine, { out }) => {
      engine.randomNormal(out, 0.02, key);
    }),
    operationCase(['dropout'], title, two, ['out'], exact, (engine, { x, out }) => {
      engine.dropout(out, x, { ...key, probability: 0.3 });
    }),
    operationCase(['dropout'], `${title} in place`, two, ['x'], exact, (engine, { x }) => {
      engine.dropout(x, x, { ...key, offset: 4, probability: 0.9 });
    }),
    operationCase(
      ['squaredNorm'],
      title,
      { x: normal([length]), out: positive([1]) },
      ['out'],
      exact,
      (engine, { x, out }) => {
        engine.squaredNorm(out, x);
      },
    ),
    ...[true, false].map((clipped) =>
      operationCase(
        ['adamw'],
        `${title} ${clipped ? 'with' : 'without'} a factor`,
        {
          parameters: normal([length]),
          gradients: normal([length], 0.01),
          m: normal([length], 0.01),
          v: positive([length]),
          factor: positive([1]),
        },
        ['parameters', 'm', 'v'],
        elementary,
        (engine, { parameters, gradients, m, v, factor }) => {
          const rates = { learningRate: 0.01, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };
          const settings = { ...rates, weightDecay: 0.1, step: 3 };
          engine.adamw(parameters, gradients, m, v, clipped ? factor : null, settings);
        },
      ),
    ),
  ];
}

export function clipping(squared: number, maximum: number): OperationCase {
  const contents = { factor: stale([1]), squared: normal([1], 0, squared) };
  const title = `a squared norm of ${squared} to ${maximum}`;
  return operationCase(['clipFactor'], title, contents, ['factor'], exact, (engine, t) => {
    engine.clipFactor(t.factor, t.squared, maximum);
  });
}

export function embeddings(B: number, T: number, C: number, V: number): OperationCase[] {
  const N = B * T;
  const title = `B=${B} T=${T} C=${C} V=${V}`;
  const tokens = ids(N, V);
  return [
    operationCase(
      ['embedding'],
      title,
      { out: stale([N, C]), tokens, wte: normal([V, C]), wpe: normal([T + 3, C]) },
      ['out'],
      exact,
      (engine, t) => {
        engine.embedding(t.out, t.tokens, t.wte, t.wpe, T, 3);
      },
    ),
    operationCase(
      ['embedding'],
      `${title} of a part of the table`,
      { out: stale([N, C]), tokens: ids(N, V, true), wte: normal([V, C]) },
      ['out'],
      exact,
      (engine, t) => {
        engine.embedding(t.out, t.tokens, t.wte, null, T, 0);
      },
    ),
    operationCase(
      ['embeddingBackward'],
      `${title} of a part of the table`,
      {
        ...{ dwte: stale([V, C]), dwpe: stale([T + 3, C]), dout: normal([N, C]) },
        tokens: ids(N, V, true),
      },
      ['dwte', 'dwpe'],
      sumTolerance(N),
      (engine, t) => {
        engine.embeddingBackward(t.dwte, t.dwpe, t.dout, t.tokens, T);
      },
    ),
    operationCase(
      ['embeddingBackward'],
      title,
      { dwte: stale([V, C]), dwpe: stale([T + 3, C]), dout: normal([N, C]), tokens },
      ['dwte', 'dwpe'],
      sumTolerance(N),
      (engine, t) => {
        engine.embeddingBackward(t.dwte, t.dwpe, t.dout, t.tokens, T);
      },
    ),
  ];
}

export function norms(N: number, C: number): OperationCase[] {
  const title = `N=${N} C=${C}`;
  const outputs = { out: stale([N, C]), mean: stale([N]), rstd: stale([N]) };
  const inputs = { x: normal([N, C], 2, 0.5), gamma: normal([C], 0.3, 1), beta: normal([C]) };
  // One column has no variance: 1/sqrt(1e-5) = 316 amplifies the rounding of x - mean.
  const tolerance = C === 1 ? 1e-4 : elementary;
  return [
    operationCase(
      ['layerNorm'],
      title,
      { ...outputs, ...inputs },
      ['out', 'mean', 'rstd'],
      tolerance,
      (engine, t) => {
        engine.layerNorm(t.out, t.mean, t.rstd, t.x, t.gamma, t.beta);
      },
    ),
    ...[false, true].map((inPlace) =>
      operationCase(
        ['addLayerNorm'],
        inPlace ? `${title} in place` : title,
        { ...outputs, ...inputs, residual: normal([N, C]), sum: stale([N, C]) },
        [inPlace ? 'residual' : 'sum', 'out', 'mean', 'rstd'],
        tolerance,
        (engine, t) => {
          const sum = inPlace ? t.residual : t.sum;
          engine.addLayerNorm(sum, t.out, t.mean, t.rstd, t.residual, t.x, t.gamma, t.beta);
        },
      ),
    ),
    operationCase(
      ['layerNorm', 'layerNormBackward'],
      title,
      {
        ...outputs,
        ...inputs,
        dout: normal([N, C]),
        dx: stale([N, C]),
        dgamma: stale([C]),
        dbeta: stale([C]),
      },
      ['dx', 'dgamma', 'dbeta'],
      C === 1 ? 1e-3 : Math.max(4e-6, sumTolerance(N)),
      (engine, t) => {
        engine.layerNorm(t.out, t.mean, t.rstd, t.x, t.gamma, t.beta);
        engine.layerNormBackward(t.dx, t.dgamma, t.dbeta, t.dout, t.x, t.mean, t.rstd, t.gamma);
      },
    ),
  ];
}

export function linearLayers(N: number, I: number, O: number): OperationCase[] {
  const title = `N=${N} I=${I} O=${O}`;
  const inputs = { x: normal([N, I]), w: normal([I, O]), bias: normal([O]), dout: normal([N, O]) };
  const activations: Activation[] = ['gelu-tanh', 'gelu-erf'];
  const forward = sumTolerance(I);
  return [
    ...[true, false].map((biased) =>
      operationCase(
        ['linear'],
        `${title} ${biased ? 'with' : 'without'} bias`,
        { ...inputs, out: stale([N, O]) },
        ['out'],
        forward,
        (engine, t) => {
          engine.linear(t.out, t.x, t.w, biased ? t.bias : null);
        },
      ),
    ),
    ...activations.flatMap((activation) => [
      operationCase(
        ['linearActivation'],
        `${title} ${activation}`,
        { ...inputs, out: stale([N, O]), pre: stale([N, O]) },
        ['out', 'pre'],
        Math.max(elementary, forward),
        (engine, t) => {
          engine.linearActivation(t.out, t.pre, t.x, t.w, t.bias, activation);
        },
      ),
      operationCase(
        ['linearActivation'],
        `${title} ${activation} without bias or pre`,
        { ...inputs, out: stale([N, O]) },
        ['out'],
        Math.max(elementary, forward),
        (engine, t) => {
          engine.linearActivation(t.out, null, t.x, t.w, null, activation);
        },
      ),
      operationCase(
        ['linearActivationInputGradient'],
        `${title} ${activation}`,
        { ...inputs, pre: normal([N, I]), dpre: stale([N, I]) },
        ['dpre', 'pre'],
        Math.max(elementary, sumTolerance(O)),
        (engine, t) => {
          engine.linearActivationInputGradient(t.dpre, t.dout, t.w, t.pre, activation);
        },
      ),
    ]),
    operationCase(
      ['linearInputGradient'],
      title,
      { ...inputs, dx: stale([N, I]) },
      ['dx'],
      sumTolerance(O),
      (engine, t) => {
        engine.linearInputGradient(t.dx, t.dout, t.w);
      },
    ),
    ...[true, false].map((biased) =>
      operationCase(
        ['linearWeightGradient'],
        `${title} ${biased ? 'with' : 'without'} bias`,
        { ...inputs, dw: stale([I, O]), dbias: stale([O]) },
        ['dw', 'dbias'],
        sumTolerance(N),
        (engine, t) => {
          engine.linearWeightGradient(t.dw, biased ? t.dbias : null, t.x, t.dout);
        },
      ),
    ),
    operationCase(
      ['linearWeightGradient'],
      `${title} fresh`,
      { ...inputs, dw: stale([I, O]), dbias: stale([O]) },
      ['dw', 'dbias'],
      sumTolerance(N),
      (engine, t) => {
        engine.linearWeightGradient(t.dw, t.dbias, t.x, t.dout, true);
      },
    ),
  ];
}

export function attentions(B: number, T: number, H: number, D: number, probability = 0): OperationCase[] {
  const [N, C] = [B * T, H * D];
  const title = `B=${B} T=${T} H=${H} D=${D}${probability > 0 ? ` dropout ${probability}` : ''}`;
  const dropout: DropoutKey | undefined =
    probability > 0 ? { seed: 5, stream: 9, offset: 2, probability } : undefined;
  const forward = { qkv: normal([N, 3 * C]), out: stale([N, C]), logSumExp: stale([B, H, T]) };
  return [
    operationCase(
      ['attention'],
      title,
      forward,
      ['out', 'logSumExp'],
      // Scores of size sqrt(D) are exponents: their absolute error becomes a relative one.
      4e-6,
      (engine, t) => {
        engine.attention(t.out, t.logSumExp, t.qkv, B, T, H, dropout);
      },
    ),
    operationCase(
      ['attention', 'attentionBackward'],
      title,
      { ...forward, dout: normal([N, C]), dqkv: stale([N, 3 * C]) },
      ['dqkv'],
      1e-5,
      (engine, t) => {
        engine.attention(t.out, t.logSumExp, t.qkv, B, T, H, dropout);
        engine.attentionBackward(t.dqkv, t.dout, t.out, t.logSumExp, t.qkv, B, T, H, dropout);
      },
    ),
  ];
}

export function cachedAttentions(
  B: number,
  count: number,
  H: number,
  D: number,
  position: number,
): OperationCase {
  const [N, C] = [B * count, H * D];
  const cache = [B, H, position + count + 2, D];
  return operationCase(
    ['cachedAttention'],
    `B=${B} ${count} tokens at ${position} H=${H} D=${D}`,
    { qkv: normal([N, 3 * C]), keys: normal(cache), values: normal(cache), out: stale([N, C]) },
    ['out', 'keys', 'values'],
    4e-6,
    (engine, t) => {
      engine.cachedAttention(t.out, t.qkv, t.keys, t.values, B, count, H, position);
    },
  );
}

/** Some of the targets moved to another part of the vocabulary. */
function ofAPart(content: Content): Content {
  return { ...content, values: content.values.map((id, n) => (id >= 0 && n % 3 === 1 ? -2 : id)) };
}

/** The head over rows 0 to V of a vocabulary of 2V, of which the other half is in `maximum` and `sums` only. */
function vocabularyParts(N: number, C: number, V: number): OperationCase[] {
  const title = `N=${N} C=${C} V=${V}`;
  const targets = ofAPart(ids(N, V, true));
  const inputs = { x: normal([N, C]), whead: normal([V, C], 0.5), targets };
  // About what the sums of all parts are, so that probabilities are some.
  const [maximum, sums] = [normal([N], 0.1, Math.sqrt(C)), normal([N], 0.1, 2 * V)];
  return [
    operationCase(
      ['vocabularyPart'],
      title,
      { ...inputs, maxima: stale([N]), sums: stale([N]), targetLogits: stale([N]) },
      ['maxima', 'sums', 'targetLogits'],
      Math.max(1e-5, sumTolerance(C)),
      (engine, t) => {
        engine.vocabularyPart(t.maxima, t.sums, t.targetLogits, t.x, t.whead, t.targets);
      },
    ),
    operationCase(
      ['rescaleSums'],
      title,
      { sums, maxima: normal([N]), maximum: normal([N], 0.5, 2) },
      ['sums'],
      elementary,
      (engine, t) => {
        engine.rescaleSums(t.sums, t.maxima, t.maximum);
      },
    ),
    operationCase(
      ['vocabularyLosses'],
      title,
      { losses: stale([N]), maximum, sums, targetLogits: normal([N]), targets },
      ['losses'],
      elementary,
      (engine, t) => {
        engine.vocabularyLosses(t.losses, t.maximum, t.sums, t.targetLogits, t.targets);
      },
    ),
    ...[false, true].map((fresh) =>
      operationCase(
        ['vocabularyPart', 'vocabularyLosses', 'vocabularyPartBackward'],
        fresh ? `${title} fresh` : title,
        {
          ...{ ...inputs, maximum: stale([N]), sums: stale([N]), targetLogits: stale([N]) },
          ...{ losses: stale([N]), dx: stale([N, C]), dwhead: stale([V, C]) },
        },
        ['dx', 'dwhead'],
        1e-5,
        (engine, t) => {
          engine.vocabularyPart(t.maximum, t.sums, t.targetLogits, t.x, t.whead, t.targets);
          engine.vocabularyLosses(t.losses, t.maximum, t.sums, t.targetLogits, t.targets);
          const whole = [t.losses, t.maximum, t.sums] as const;
          engine.vocabularyPartBackward(t.dx, t.dwhead, t.x, t.whead, t.targets, ...whole, 0.3, fresh);
        },
      ),
    ),
  ];
}

export function heads(N: number, C: number, V: number): OperationCase[] {
  const title = `N=${N} C=${C} V=${V}`;
  const inputs = { x: normal([N, C]), whead: normal([V, C], 0.5), targets: ids(N, V, true) };
  const losses = stale([N]);
  return [
    operationCase(
      ['crossEntropy'],
      title,
      { ...inputs, losses },
      ['losses'],
      Math.max(elementary, sumTolerance(C)),
      (engine, t) => {
        engine.crossEntropy(t.losses, t.x, t.whead, t.targets);
      },
    ),
    ...[false, true].map((fresh) =>
      operationCase(
        ['crossEntropyBackward'],
        fresh ? `${title} fresh` : title,
        { ...inputs, losses, dx: stale([N, C]), dwhead: stale([V, C]) },
        ['losses', 'dx', 'dwhead'],
        1e-5,
        (engine, t) => {
          engine.crossEntropyBackward(t.losses, t.dx, t.dwhead, t.x, t.whead, t.targets, 0.3, fresh);
        },
      ),
    ),
    ...vocabularyParts(N, C, V),
    operationCase(
      ['logits'],
      title,
      { ...inputs, out: stale([N, V]) },
      ['out'],
      sumTolerance(C),
      (engine, t) => {
        engine.logits(t.out, t.x, t.whead);
      },
    ),
  ];
}

/**
 * The operations that take bf16, with everything in bf16 that may be. Factors are exactly bf16 already, so a product
 * errs by its sum in f32; what is written is rounded once, by at most 2^-9 of itself. Probabilities and gradients of
 * scores and logits are rounded before they are multiplied: those errors average out over the terms.
 */
export function inBf16(one: OperationCase): OperationCase[] {
  const [first = 'fill'] = one.operations;
  const narrow = narrowable.get(first);
  if (narrow === undefined) return [];
  const contents = Object.fromEntries(
    Object.entries(one.contents).map(([name, content]) => [
      name,
      narrow.includes(name) ? narrowed(content) : content,
    ]),
  );
  const roundedFactors =
    one.operations.length > 1 || first === 'crossEntropyBackward' || first === 'attention';
  const roundedResult = one.written.some((name) => contents[name]?.type === 'bf16');
  const tolerance = Math.max(one.tolerance, roundedFactors ? 2 ** -6 : roundedResult ? 2 ** -8 : 0);
  return [{ ...one, title: `${one.title} in bf16`, contents, tolerance }];
}

/** The tensors of each operation that may be bf16. */
const narrowable = new Map<keyof Engine, readonly string[]>([
  ['copy', ['out']],
  ['layerNorm', ['out']],
  ['addLayerNorm', ['out']],
  ['linear', ['x', 'w', 'out']],
  ['linearActivation', ['x', 'w', 'out', 'pre']],
  ['linearInputGradient', ['dx', 'dout', 'w']],
  ['linearActivationInputGradient', ['dpre', 'dout', 'w', 'pre']],
  ['linearWeightGradient', ['x', 'dout']],
  ['attention', ['qkv', 'out', 'dout', 'dqkv']],
  ['crossEntropy', ['x', 'whead']],
  ['crossEntropyBackward', ['x', 'whead', 'dx']],
  ['vocabularyPart', ['x', 'whead', 'dx']],
  ['logits', ['x', 'whead']],
]);

/** The table: 1, primes, sizes beside the tiles' (16 lanes, 64 queries, tiles of 128 to 384), long and wide ones. */
const table: readonly OperationCase[] = [
  ...[1, 7, 16, 33, 4099, 50_021].flatMap(passes),
  clipping(0.25, 1),
  clipping(16, 1),
  clipping(0, 0.1),
  ...embeddings(1, 1, 1, 1),
  ...embeddings(2, 7, 19, 11),
  ...embeddings(3, 65, 48, 101),
  ...norms(1, 1),
  ...norms(3, 2),
  ...norms(7, 17),
  ...norms(67, 64),
  ...norms(33, 769),
  ...linearLayers(1, 1, 1),
  ...linearLayers(1, 64, 96),
  ...linearLayers(3, 5, 7),
  ...linearLayers(17, 33, 31),
  ...linearLayers(130, 97, 389),
  ...linearLayers(259, 131, 17),
  ...attentions(1, 1, 1, 1),
  ...attentions(2, 7, 3, 5),
  ...attentions(1, 16, 2, 16),
  ...attentions(1, 67, 2, 24),
  ...attentions(1, 131, 1, 64),
  ...attentions(1, 70, 1, 256),
  ...attentions(2, 19, 2, 8, 0.2),
  ...attentions(1, 68, 1, 16, 0.5),
  ...attentions(1, 1024, 1, 16),
  cachedAttentions(1, 1, 1, 1, 0),
  cachedAttentions(2, 1, 3, 16, 37),
  cachedAttentions(1, 67, 2, 24, 0),
  cachedAttentions(3, 5, 1, 64, 66),
  ...heads(1, 1, 1),
  ...heads(3, 5, 2),
  ...heads(37, 17, 101),
  ...heads(259, 24, 523),
  ...heads(530, 3, 70),
];

export const cases: readonly OperationCase[] = table.flatMap((one) => [one, ...inBf16(one)]);
