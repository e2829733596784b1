/** What collectives give, worked out in one process in plain loops; and random programs of them. */
import { fromBf16, toBf16 } from '../../kernel/engine/native/bf16.ts';
import type { Step } from './rank-program.ts';

type Values = Float32Array | Int32Array;

/** A call as all members of its group make it. */
export interface Joint extends Omit<Step, 'values'> {
  /** What each member has, in the order of the group. */
  readonly inputs: readonly Values[];
  /** For a send: the member that sends; `peer` receives. */
  readonly from?: number;
}

/** Numbers from 0 to below 1 (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `length` numbers that sum to different bits in different orders. */
export function randomValues(type: Step['type'], length: number, random: () => number): Values {
  if (type === 'i32') return Int32Array.from({ length }, () => (random() * 2 ** 32) | 0);
  const values = Float32Array.from({ length }, () => (random() - 0.5) * 2 ** Math.floor(random() * 24));
  return type === 'bf16' ? fromBf16(toBf16(values)) : values;
}

function reduced({ type, reduction }: Joint, inputs: readonly Values[]): Values {
  const [first, ...others] = inputs;
  if (!first) throw new Error('A group has members');
  const result = first.slice();
  for (const input of others)
    for (let i = 0; i < result.length; i++) {
      const [a, b] = [result[i] ?? NaN, input[i] ?? NaN];
      // Storing rounds to f32 or wraps around, as the sum of the engine does.
      result[i] = reduction === 'max' ? Math.max(a, b) : a + b;
    }
  return type === 'bf16' && result instanceof Float32Array ? fromBf16(toBf16(result)) : result;
}

function concatenated(inputs: readonly Values[]): Values {
  const length = inputs.reduce((sum, input) => sum + input.length, 0);
  const all = inputs[0] instanceof Int32Array ? new Int32Array(length) : new Float32Array(length);
  let at = 0;
  for (const input of inputs) {
    all.set(input, at);
    at += input.length;
  }
  return all;
}

/** What member `member` must have afterwards. */
export function expected(joint: Joint, member: number): Values {
  const { inputs, operation, peer = 0, from = 0 } = joint;
  const own = inputs[member] ?? new Float32Array();
  switch (operation) {
    case 'allReduce':
      return reduced(joint, inputs);
    case 'reduceScatter': {
      const part = own.length / inputs.length;
      return reduced(joint, inputs).slice(member * part, (member + 1) * part);
    }
    case 'allGather':
      return concatenated(inputs);
    case 'broadcast':
      return inputs[peer] ?? own;
    case 'send':
    case 'receive':
      return member === peer ? (inputs[from] ?? own) : own;
    case 'barrier':
      return own;
  }
}

/** The members' steps of a joint call, by world rank; only two of a group have one in a send. */
export function stepsOf(joint: Joint): Map<number, { step: Step; result: Values }> {
  const { inputs, from = 0, peer = 0, ...rest } = joint;
  const steps = new Map<number, { step: Step; result: Values }>();
  joint.group.forEach((rank, member) => {
    const values = inputs[member] ?? new Float32Array();
    const result = expected(joint, member);
    if (joint.operation !== 'send') steps.set(rank, { step: { ...rest, peer, values }, result });
    else if (member === from) steps.set(rank, { step: { ...rest, peer, values }, result });
    else if (member === peer) {
      const step: Step = { ...rest, operation: 'receive', peer: from, values };
      steps.set(rank, { step, result });
    }
  });
  return steps;
}

/** The same call by all members of a group of `size` random inputs; lengths are made to fit. */
export function randomJoint(
  operation: Exclude<Step['operation'], 'receive'>,
  group: readonly number[],
  type: Step['type'],
  length: number,
  random: () => number,
): Joint {
  const pick = (count: number): number => Math.floor(random() * count);
  const size = group.length;
  const elements = operation === 'barrier' ? 0 : operation === 'reduceScatter' ? length * size : length;
  const from = pick(size);
  const peer = operation === 'send' ? (from + 1 + pick(size - 1)) % size : from;
  return {
    ...{ operation, group, type, peer, from },
    reduction: random() < 0.7 ? 'sum' : 'max',
    inPlace: random() < 0.5,
    inputs: group.map(() => randomValues(type, elements, random)),
  };
}
