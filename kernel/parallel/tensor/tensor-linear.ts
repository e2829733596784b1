/**
 * A linear layer y [N,O] = x [N,I] · w [I,O] + bias [O] whose matrices lie in tiles on the ranks of a tensor group, by the
 * layouts of Colossal-AI: 2D and 2.5D (SUMMA) and 3D. All of them give the dense product up to the order of its sums.
 */
import type { Tensor } from '../../engine/engine.ts';

/** Sizes of the dense matrices: tokens, inputs, outputs. */
export interface LinearSize {
  readonly N: number;
  readonly I: number;
  readonly O: number;
}

/** The part of a dense matrix that a rank holds. */
export interface Tile {
  readonly firstRow: number;
  readonly rows: number;
  readonly firstColumn: number;
  readonly columns: number;
}

/** What a rank holds of each matrix. */
export interface LinearTiles {
  readonly x: Tile;
  readonly w: Tile;
  /** One row: the outputs of the rank's `y`. Ranks with the same outputs hold the same. */
  readonly bias: Tile;
  readonly y: Tile;
}

/** Where gradients go; all are overwritten. */
export interface LinearGradients {
  readonly dx: Tensor;
  readonly dw: Tensor;
  readonly dbias: Tensor;
}

/** One rank's share of the layer. All ranks of the group make the same calls; tensors have the shapes of their tiles. */
export interface TensorLinear {
  readonly tiles: LinearTiles;
  /** y = x · w + bias, overwritten. */
  forward(y: Tensor, x: Tensor, w: Tensor, bias: Tensor): void;
  /** Gradients from dy and the x and w of the forward before it. */
  backward(gradients: LinearGradients, dy: Tensor, x: Tensor, w: Tensor): void;
  release(): void;
}

/** Part `index` of `count` equal ones of `size` numbers. Throws a RangeError when they do not divide. */
export function part(name: keyof LinearSize, size: number, count: number, index: number): number {
  if (size % count !== 0) throw new RangeError(`${name} is ${size}: allowed are multiples of ${count}`);
  return (size / count) * index;
}

/** Shape [rows, columns] of a tile. */
export function shapeOf({ rows, columns }: Tile): [number, number] {
  return [rows, columns];
}
