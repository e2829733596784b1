/** Tensors of the native engine, and the checks that every call makes before it is queued. */
import type { DataType, Tensor } from '../engine.ts';
import type { Region } from './addon.ts';

/** One allocation and what is true of all its views. */
interface Allocation {
  readonly owner: object;
  readonly bytes: number;
  released: boolean;
}

/** A tensor in the native engine's memory. Made by `NativeEngine.allocate` and `view`. */
export class NativeTensor implements Tensor {
  readonly type: DataType;
  readonly shape: readonly number[];
  readonly length: number;
  /** Handle of the memory in the addon. */
  readonly region: Region;
  /** Shared by all views. */
  readonly allocation: Allocation;
  /** First element, counted from the start of the allocation. */
  readonly start: number;

  constructor(
    type: DataType,
    shape: readonly number[],
    region: Region,
    allocation: Allocation,
    start: number,
  ) {
    this.type = type;
    this.shape = [...shape];
    this.length = elements(shape);
    this.region = region;
    this.allocation = allocation;
    this.start = start;
  }

  view(offset: number, shape: readonly number[]): NativeTensor {
    checkShape('view', shape);
    const length = elements(shape);
    if (!Number.isInteger(offset) || offset < 0 || offset + length > this.length)
      throw new RangeError(
        `view: elements ${offset} to ${offset + length} of shape ${text(shape)} lie outside a tensor of ${this.length} elements`,
      );
    const start = this.start + offset;
    return new NativeTensor(this.type, shape, this.region.view(start, length), this.allocation, start);
  }
}

/** Product of the dimensions. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/** Throws a RangeError unless every dimension is a whole number of at least 0 and all together are addressable. */
export function checkShape(operation: string, shape: readonly number[]): void {
  if (!shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0))
    throw new RangeError(`${operation}: shape ${text(shape)} must consist of whole numbers of at least 0`);
  if (!Number.isSafeInteger(elements(shape) * 4))
    throw new RangeError(`${operation}: shape ${text(shape)} has too many elements`);
}

/** `[2, 3]` */
export function text(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** The checks of one call; every method throws a TypeError or RangeError that names the operation and the tensor. */
export class Check {
  readonly operation: string;
  readonly owner: object;

  constructor(operation: string, owner: object) {
    this.operation = operation;
    this.owner = owner;
  }

  /** A live tensor of this engine, of one type or of any real numbers. */
  tensor(name: string, tensor: Tensor, type?: DataType | 'real'): NativeTensor {
    if (!(tensor instanceof NativeTensor) || tensor.allocation.owner !== this.owner)
      throw new TypeError(`${this.operation}: ${name} is not a tensor of this engine`);
    if (tensor.allocation.released)
      throw new TypeError(`${this.operation}: ${name} has been released and can no longer be used`);
    const allowed = type === 'real' ? ['f32', 'bf16'] : [type ?? tensor.type];
    if (!allowed.includes(tensor.type))
      throw new TypeError(
        `${this.operation}: ${name} must be of type ${allowed.join(' or ')}, not ${tensor.type}`,
      );
    return tensor;
  }

  /** The same with `length` elements; `meaning` says what they are, e.g. "[N, C] = [6, 8]". Gives the memory. */
  sized(
    name: string,
    tensor: Tensor,
    length: number,
    meaning: string,
    type: DataType | 'real' = 'f32',
  ): NativeTensor {
    const checked = this.tensor(name, tensor, type);
    if (checked.length !== length)
      throw new RangeError(
        `${this.operation}: ${name} has shape ${text(checked.shape)}, expected ${meaning} (${length} elements)`,
      );
    return checked;
  }

  /** A matrix: its rows (all dimensions but the last) and columns. */
  matrix(
    name: string,
    tensor: Tensor,
    type: DataType | 'real' = 'f32',
  ): { tensor: NativeTensor; rows: number; columns: number } {
    const checked = this.tensor(name, tensor, type);
    const columns = checked.shape.at(-1);
    if (columns === undefined || columns === 0)
      throw new RangeError(
        `${this.operation}: ${name} has shape ${text(checked.shape)}, expected at least one dimension, the last not 0`,
      );
    return { tensor: checked, rows: checked.length / columns, columns };
  }

  /** A whole number from `minimum` to `maximum`. */
  integer(name: string, value: number, minimum: number, maximum = Number.MAX_SAFE_INTEGER): number {
    if (!Number.isSafeInteger(value) || value < minimum || value > maximum)
      throw new RangeError(
        `${this.operation}: ${name} is ${value}, expected a whole number from ${minimum} to ${maximum}`,
      );
    return value;
  }

  /** A finite number. */
  finite(name: string, value: number): number {
    if (!Number.isFinite(value))
      throw new RangeError(`${this.operation}: ${name} is ${value}, expected a finite number`);
    return value;
  }

  /** No tensor that is written may share memory with another of the call; `inPlace` pairs may be the very same. */
  distinct(
    outputs: Record<string, NativeTensor | null>,
    inputs: Record<string, NativeTensor | null>,
    inPlace: readonly (readonly [output: string, input: string])[] = [],
  ): void {
    const written = Object.entries(outputs);
    const all = [...written, ...Object.entries(inputs)];
    written.forEach(([name, output], index) => {
      for (const [otherName, other] of all.slice(index + 1)) {
        if (!output || !other || !overlap(output, other)) continue;
        const same = output.start === other.start && output.length === other.length;
        if (same && inPlace.some(([a, b]) => a === name && b === otherName)) continue;
        throw new RangeError(
          `${this.operation}: ${name} shares memory with ${otherName}; they must lie apart`,
        );
      }
    });
  }
}

function overlap(a: NativeTensor, b: NativeTensor): boolean {
  return a.allocation === b.allocation && a.start < b.start + b.length && b.start < a.start + a.length;
}
