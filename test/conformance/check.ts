/** Running a conformance case, and comparing what comes out. */
import assert from 'node:assert/strict';
import type { Engine, Tensor } from '../../kernel/engine/engine.ts';
import { ReferenceEngine } from '../oracle/reference-engine.ts';
import type { OperationCase } from './operation-case.ts';

/** Results by tensor name. */
export type Results = Readonly<Record<string, ArrayLike<number>>>;

/** Runs a case on fresh tensors. The reference engine's results are float64. */
export async function resultsOf(
  engine: Engine,
  one: OperationCase,
  contents = one.contents,
): Promise<Results> {
  const tensors: Record<string, Tensor> = {};
  for (const [name, { type, shape, values }] of Object.entries(contents)) {
    const tensor = engine.allocate(type, shape);
    engine.write(tensor, values);
    tensors[name] = tensor;
  }
  one.call(engine, tensors);
  const results: Record<string, ArrayLike<number>> = {};
  for (const name of one.written) {
    const tensor = tensors[name];
    assert.ok(tensor);
    results[name] = engine instanceof ReferenceEngine ? engine.values(tensor) : await engine.read(tensor);
  }
  for (const tensor of Object.values(tensors)) engine.release(tensor);
  return results;
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/**
 * Fails with the worst element of each tensor that is further off than the tolerance allows, as a part of the largest
 * magnitude in its tensor or of `floor`, whichever is more.
 */
export function assertClose(results: Results, expected: Results, tolerance: number, floor = 0): void {
  for (const [name, values] of Object.entries(expected)) {
    const scale = Math.max(largest(values), floor) || 1;
    const got = results[name];
    assert.ok(got?.length === values.length);
    const errors = Array.from(values, (value, i) => Math.abs((got[i] ?? NaN) - value) / scale);
    const worst = errors.reduce((at, error, i) => (error <= (errors[at] ?? NaN) ? at : i), 0);
    assert.ok(
      (errors[worst] ?? NaN) <= tolerance,
      `${name}[${worst}] is ${got[worst] ?? NaN}, expected ${values[worst] ?? NaN}: off by ${errors[worst] ?? NaN} of the largest, ${tolerance} allowed`,
    );
  }
}

/** For messages. */
export function nameOf({ operations, title }: OperationCase): string {
  return `${operations.join(' + ')} ${title}`;
}
