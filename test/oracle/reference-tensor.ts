/** Tensors of the reference engine: float64 behind 'f32', so that rounding is out of the picture. */
import type { DataType, Tensor } from '../../kernel/engine/engine.ts';

/** What all views of one allocation share: whether it has been given back. */
interface Allocation {
  readonly bytes: number;
  released: boolean;
}

/** Number of elements of a shape. Throws a RangeError for anything but whole numbers of 0 or more. */
export function lengthOf(shape: readonly number[]): number {
  if (shape.some((n) => !Number.isSafeInteger(n) || n < 0)) {
    throw new RangeError(`A shape has whole numbers of 0 or more; this one is [${shape.join(', ')}].`);
  }
  return shape.reduce((product, n) => product * n, 1);
}

/** A tensor in JavaScript memory; 'f32' elements are kept as float64. */
export class ReferenceTensor implements Tensor {
  readonly type: DataType;
  readonly shape: readonly number[];
  readonly length: number;
  readonly allocation: Allocation;
  readonly data: Float64Array | Int32Array;

  constructor(
    type: DataType,
    shape: readonly number[],
    data: Float64Array | Int32Array,
    allocation: Allocation,
  ) {
    this.type = type;
    this.shape = [...shape];
    this.length = lengthOf(shape);
    this.data = data;
    this.allocation = allocation;
  }

  view(offset: number, shape: readonly number[]): ReferenceTensor {
    const length = lengthOf(shape);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + length > this.length) {
      throw new RangeError(
        `A view of [${shape.join(', ')}] at ${offset} does not fit in [${this.shape.join(', ')}].`,
      );
    }
    return new ReferenceTensor(
      this.type,
      shape,
      this.data.subarray(offset, offset + length),
      this.allocation,
    );
  }
}

function own(tensor: Tensor, name: string): ReferenceTensor {
  if (!(tensor instanceof ReferenceTensor)) {
    throw new TypeError(`${name} belongs to another engine.`);
  }
  if (tensor.allocation.released) throw new Error(`${name} was released and cannot be used any more.`);
  return tensor;
}

function checkLength(tensor: Tensor, name: string, length: number | undefined): void {
  if (length !== undefined && tensor.length !== length) {
    throw new RangeError(`${name} has shape [${tensor.shape.join(', ')}]; ${length} elements are needed.`);
  }
}

/** The elements of an f32 tensor. Throws for another type, another length, a released or a foreign tensor. */
export function reals(tensor: Tensor, name: string, length?: number): Float64Array {
  const { data } = own(tensor, name);
  if (!(data instanceof Float64Array)) throw new TypeError(`${name} is ${tensor.type}; f32 is needed.`);
  checkLength(tensor, name, length);
  return data;
}

/** The elements of an i32 tensor. Throws as `reals` does. */
export function integers(tensor: Tensor, name: string, length?: number): Int32Array {
  const { data } = own(tensor, name);
  if (!(data instanceof Int32Array)) throw new TypeError(`${name} is ${tensor.type}; i32 is needed.`);
  checkLength(tensor, name, length);
  return data;
}

/** Size of axis `axis`. Throws a RangeError when the tensor has fewer axes. */
export function dimension(tensor: Tensor, name: string, axis: number): number {
  const size = tensor.shape.at(axis);
  if (size === undefined) {
    throw new RangeError(`${name} has shape [${tensor.shape.join(', ')}], without an axis ${axis}.`);
  }
  return size;
}

/** Sizes of a matrix. Throws a RangeError when the tensor does not have two axes. */
export function matrixShape(tensor: Tensor, name: string): [rows: number, columns: number] {
  if (tensor.shape.length !== 2) {
    throw new RangeError(`${name} has shape [${tensor.shape.join(', ')}]; a matrix is needed.`);
  }
  return [dimension(tensor, name, 0), dimension(tensor, name, 1)];
}
