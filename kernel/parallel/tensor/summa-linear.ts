/**
 * 2D and 2.5D: SUMMA (van de Geijn & Watts 1997) on q x q ranks, as Xu et al. 2021 (arXiv 2104.05343) train with it, and on
 * d layers of them, each with a copy of w and a part of x's rows (Wang et al. 2021, arXiv 2105.14500). No rank ever holds
 * more than a tile of each matrix, the tile that has come to it, and a partial result.
 */
import type { Engine, Tensor } from '../../engine/engine.ts';
import type { Group } from '../collective/collective.ts';
import type { TensorGrid } from './tensor-grid.ts';
import {
  part,
  shapeOf,
  type LinearGradients,
  type LinearSize,
  type LinearTiles,
  type TensorLinear,
} from './tensor-linear.ts';

/** See above. The grid has as many rows as columns; its layers are the copies of w. */
export class SummaLinear implements TensorLinear {
  readonly tiles: LinearTiles;
  readonly #engine: Engine;
  readonly #grid: TensorGrid;
  /** What came from another rank, and a partial result: of x, w and y each. */
  readonly #come: Record<'x' | 'w', Tensor>;
  readonly #partial: Record<'x' | 'w' | 'y', Tensor>;
  readonly #partialBias: Tensor;

  constructor(engine: Engine, grid: TensorGrid, { N, I, O }: LinearSize) {
    const { rows: q, columns, layers } = grid.shape;
    if (q !== columns) throw new RangeError(`A grid of ${q} x ${columns} ranks: SUMMA needs a square`);
    const { row, column, layer } = grid.place;
    const tokens = { firstRow: part('N', N, layers * q, layer * q + row), rows: N / layers / q };
    const outputs = { firstColumn: part('O', O, q, column), columns: O / q };
    this.tiles = {
      x: { ...tokens, firstColumn: part('I', I, q, column), columns: I / q },
      w: { firstRow: part('I', I, q, row), rows: I / q, ...outputs },
      bias: { firstRow: 0, rows: 1, ...outputs },
      y: { ...tokens, ...outputs },
    };
    this.#engine = engine;
    this.#grid = grid;
    const tile = (of: 'x' | 'w' | 'y'): Tensor => engine.allocate('f32', shapeOf(this.tiles[of]));
    this.#come = { x: tile('x'), w: tile('w') };
    this.#partial = { x: tile('x'), w: tile('w'), y: tile('y') };
    this.#partialBias = engine.allocate('f32', [O / q]);
  }

  forward(y: Tensor, x: Tensor, w: Tensor, bias: Tensor): void {
    const engine = this.#engine;
    for (let step = 0; step < this.#grid.shape.rows; step++) {
      // Step k adds the k-th tile of this row's x times the k-th tile of this column's w.
      const xTile = this.#fromColumn(step, x);
      const wTile = this.#fromRow(step, w);
      if (step === 0) engine.linear(y, xTile, wTile, bias);
      else {
        engine.linear(this.#partial.y, xTile, wTile, null);
        engine.add(y, y, this.#partial.y);
      }
    }
  }

  backward({ dx, dw, dbias }: LinearGradients, dy: Tensor, x: Tensor, w: Tensor): void {
    const engine = this.#engine;
    const { alongColumns, alongRows, alongLayers, shape } = this.#grid;
    for (let step = 0; step < shape.rows; step++) {
      // Column k's dx is dy of the whole row times the tiles of w that lie in row k.
      engine.linearInputGradient(this.#partial.x, dy, this.#fromRow(step, w));
      this.#sumTo(alongColumns, step, dx, this.#partial.x, this.#come.x);
    }
    for (let step = 0; step < shape.columns; step++) {
      // Row k's dw is the tiles of x that lie in column k, turned, times dy of the whole column.
      const dsums = step === 0 ? dbias : this.#partialBias;
      engine.linearWeightGradient(this.#partial.w, dsums, this.#fromColumn(step, x), dy, true);
      this.#sumTo(alongRows, step, dw, this.#partial.w, this.#come.w);
    }
    engine.wait(alongRows.allReduce(dbias));
    if (shape.layers > 1) {
      engine.wait(alongLayers.allReduce(dbias));
      engine.wait(alongLayers.allReduce(dw));
    }
  }

  release(): void {
    const all = [...Object.values(this.#come), ...Object.values(this.#partial), this.#partialBias];
    for (const tensor of all) this.#engine.release(tensor);
  }

  /** The tile of x that column `column` of this row holds. */
  #fromColumn(column: number, x: Tensor): Tensor {
    return this.#broadcast(this.#grid.alongColumns, column, x, this.#come.x);
  }

  /** The tile of w that row `row` of this column holds. */
  #fromRow(row: number, w: Tensor): Tensor {
    return this.#broadcast(this.#grid.alongRows, row, w, this.#come.w);
  }

  #broadcast(group: Group, root: number, own: Tensor, come: Tensor): Tensor {
    const tile = group.rank === root ? own : come;
    this.#engine.wait(group.broadcast(tile, root));
    return tile;
  }

  /** On rank `root` sum = all partial results, added in the order of the ranks. */
  #sumTo(group: Group, root: number, sum: Tensor, partial: Tensor, come: Tensor): void {
    const engine = this.#engine;
    if (group.rank !== root) {
      engine.wait(group.send(partial, root));
      return;
    }
    for (let from = 0; from < group.size; from++) {
      if (from !== root) engine.wait(group.receive(come, from));
      const next = from === root ? partial : come;
      if (from === 0) engine.copy(sum, next);
      else engine.add(sum, sum, next);
    }
  }
}
