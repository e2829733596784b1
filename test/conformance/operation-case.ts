/** What a conformance case is: tensors with their contents, one call, which tensors it writes, how exact it must be. */
import type { DataType, Engine, Tensor } from '../../kernel/engine/engine.ts';

/** A tensor before the call. */
export interface Content {
  readonly type: DataType;
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array;
}

/** One call (or a forward and its backward) on given tensors. */
export interface OperationCase {
  /** The methods of the engine that are called. */
  readonly operations: readonly (keyof Engine)[];
  /** Shapes and options, for the test's name. */
  readonly title: string;
  readonly contents: Readonly<Record<string, Content>>;
  /** Names of the tensors that the call writes: those are compared. */
  readonly written: readonly string[];
  /** Allowed error of each element, as a part of the largest magnitude in its tensor. */
  readonly tolerance: number;
  readonly call: (engine: Engine, tensors: Readonly<Record<string, Tensor>>) => void;
}

/** A case whose tensors' names are checked by the compiler. */
export function operationCase<Name extends string>(
  operations: (keyof Engine)[],
  title: string,
  contents: Record<Name, Content>,
  written: NoInfer<Name>[],
  tolerance: number,
  call: (engine: Engine, tensors: Readonly<Record<Name, Tensor>>) => void,
): OperationCase {
  return { operations, title, contents, written, tolerance, call };
}

/**
 * Error of a sum of `terms` products in f32, relative to the largest result: each rounding is at most 2^-24 = 6e-8 of
 * a partial sum, and independent ones grow with the root of their number; four times that, and never below 1e-6.
 */
export function sumTolerance(terms: number): number {
  return Math.max(1e-6, 2.4e-7 * Math.sqrt(terms));
}

/** Mulberry32: numbers in [0, 1) for test data. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

let nextSeed = 1;

/** Normal numbers of that deviation around `mean`; each tensor of a run of the tests has others. */
export function normal(shape: readonly number[], deviation = 1, mean = 0): Content {
  const random = randomNumbers(nextSeed++);
  const length = shape.reduce((product, size) => product * size, 1);
  const values = Float32Array.from({ length }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return mean + deviation * radius * Math.cos(2 * Math.PI * random());
  });
  return { type: 'f32', shape, values };
}

/** Numbers of at least 0. */
export function positive(shape: readonly number[]): Content {
  const { values } = normal(shape);
  return { type: 'f32', shape, values: values.map(Math.abs) };
}

/** The same numbers in bf16, and how a tensor of the reference engine is rounded to it. */
export function narrowed(content: Content): Content {
  return { ...content, type: 'bf16', values: Float32Array.from(content.values, roundToBf16) };
}

/** The bf16 number nearest to x, ties to even. */
function roundToBf16(x: number): number {
  const number = Float32Array.of(x);
  const bits = new Uint32Array(number.buffer);
  for (const one of bits) bits[0] = (one + 0x7fff + ((one >>> 16) & 1)) & 0xffff0000;
  return Number.isFinite(x) ? (number.at(0) ?? NaN) : x;
}

/** What a tensor holds that must be overwritten, or added to: not zero, so that the difference shows. */
export function stale(shape: readonly number[]): Content {
  return normal(shape, 0.5);
}

/** `length` ids below `vocabulary`, the first of them 0; with `ignored`, about one in five is -1. */
export function ids(length: number, vocabulary: number, ignored = false): Content {
  const random = randomNumbers(nextSeed++);
  const values = Int32Array.from({ length }, (_, n) => {
    if (n === 0) return 0;
    return ignored && random() < 0.2 ? -1 : Math.floor(random() * vocabulary);
  });
  return { type: 'i32', shape: [length], values };
}
