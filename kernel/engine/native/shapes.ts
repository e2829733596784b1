/** Sizes and keys of the native engine's calls, worked out from the tensors and checked. */
import type { Activation, DropoutKey, RandomKey, Tensor } from '../engine.ts';
import type { Random } from './addon.ts';
import { type Check, type NativeTensor, text } from './tensor.ts';

/** Largest size that crosses to the addon, which takes them as 32-bit numbers. */
const maximumSize = 2 ** 31 - 1;

/** A random key, checked: whole numbers of at least 0. */
export function random(check: Check, key: RandomKey): Random {
  return {
    seed: check.integer('seed', key.seed, 0),
    stream: check.integer('stream', key.stream, 0),
    offset: check.integer('offset', key.offset, 0),
  };
}

/** A dropout key, checked: the probability in [0, 1). */
export function dropout(check: Check, key: DropoutKey): Random {
  if (!(key.probability >= 0 && key.probability < 1))
    throw new RangeError(
      `${check.operation}: probability is ${key.probability}, expected a number from 0 to below 1`,
    );
  return { ...random(check, key), probability: key.probability };
}

/** Whether the activation is the error-function form. Throws a RangeError on an unknown name. */
export function isErf(check: Check, activation: Activation): boolean {
  const known: readonly string[] = ['gelu-tanh', 'gelu-erf'];
  if (!known.includes(activation))
    throw new RangeError(`${check.operation}: activation is ${activation}, expected gelu-tanh or gelu-erf`);
  return activation === 'gelu-erf';
}

/** A size that crosses to the addon. */
export function size(check: Check, name: string, value: number): number {
  return check.integer(name, value, 0, maximumSize);
}

/** Throws a RangeError unless the rows of `matrix` are as long as those of `other`. */
export function sameWidth(
  check: Check,
  name: string,
  matrix: { tensor: NativeTensor; columns: number },
  other: string,
  width: number,
): void {
  if (matrix.columns !== width)
    throw new RangeError(
      `${check.operation}: ${name} has shape ${text(matrix.tensor.shape)}, expected rows of ${width} as in ${other}`,
    );
}

/** Throws a RangeError unless the tokens are whole sequences of T. */
export function wholeSequences(check: Check, tokens: NativeTensor, T: number): void {
  check.integer('T', T, 1, maximumSize);
  size(check, 'number of tokens', tokens.length);
  if (tokens.length % T !== 0)
    throw new RangeError(
      `${check.operation}: ${tokens.length} tokens are no whole number of sequences of T = ${T}`,
    );
}

/** Sizes of a norm: N rows from the statistics, C columns from gamma. */
export function normShapes(check: Check, gamma: Tensor, mean: Tensor) {
  const C = check.tensor('gamma', gamma, 'f32').length;
  const N = check.tensor('mean', mean, 'f32').length;
  check.integer('length of gamma', C, 1, maximumSize);
  return { N, C, size: N * C, matrix: `[N, C] = [${N}, ${C}]`, rows: `[N] = [${N}]`, vector: `[C] = [${C}]` };
}

/** Sizes of a linear layer from its weights [I, O] and from what has one row a token on one of its sides. */
export function linearShapes(
  check: Check,
  w: Tensor,
  name: string,
  x: Tensor,
  side: 'inputs' | 'outputs',
  weightsName = 'w',
) {
  const weights = check.tensor(weightsName, w, weightsName === 'w' ? 'real' : 'f32');
  const [I, O] = weights.shape;
  if (weights.shape.length !== 2 || !I || !O)
    throw new RangeError(
      `${check.operation}: ${weightsName} has shape ${text(weights.shape)}, expected [inputs, outputs], neither 0`,
    );
  const width = side === 'inputs' ? I : O;
  const tensor = check.tensor(name, x, 'real');
  if (tensor.length % width !== 0 || tensor.shape.at(-1) !== width)
    throw new RangeError(
      `${check.operation}: ${name} has shape ${text(tensor.shape)}, expected rows of ${width}, the ${side} of ${weightsName}`,
    );
  const N = size(check, 'N', tensor.length / width);
  return { weights, tensor, N, I: size(check, 'I', I), O: size(check, 'O', O) };
}

/** Width and number of tokens of an attention call, from qkv [B*T, 3C]. */
export function attentionShapes(check: Check, qkv: Tensor, B: number, T: number, H: number) {
  check.integer('B', B, 1, maximumSize);
  check.integer('T', T, 1, maximumSize);
  check.integer('H', H, 1, maximumSize);
  const tensor = check.tensor('qkv', qkv, 'real');
  const C = tensor.length / (B * T * 3);
  if (!Number.isInteger(C) || C === 0 || C % H !== 0)
    throw new RangeError(
      `${check.operation}: qkv has shape ${text(tensor.shape)}, expected [B*T, 3C] with B*T = ${B * T} and C divisible by H = ${H}`,
    );
  return { qkv: tensor, C, tokens: B * T, meaning: `[B*T, C] = [${B * T}, ${C}]` };
}

/** The tensors of an output head: N from the targets, C and V from the head. */
export function headShapes(
  check: Check,
  losses: Tensor,
  x: Tensor,
  whead: Tensor,
  targets: Tensor,
  nameOfLosses = 'losses',
) {
  const ids = check.tensor('targets', targets, 'i32');
  const N = ids.length;
  const head = check.matrix('whead', whead, 'real');
  const C = head.columns;
  size(check, 'V', head.rows);
  return {
    C,
    targets: ids,
    whead: head.tensor,
    losses: check.sized(nameOfLosses, losses, N, `[N] = [${N}]`),
    x: check.sized('x', x, N * C, `[N, C] = [${N}, ${C}]`, 'real'),
  };
}
