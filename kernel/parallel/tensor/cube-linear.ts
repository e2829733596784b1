/**
 * 3D: a cube of q³ ranks, of which rank (i, j, k) multiplies tile (i, j) of x and tile (j, k) of w (Bian et al. 2021, arXiv
 * 2105.14450). Each tile is kept in q parts by the ranks that need it: they gather it, and scatter what they have summed.
 */
import type { Engine, Tensor } from '../../engine/engine.ts';
import type { TensorGrid } from './tensor-grid.ts';
import {
  part,
  shapeOf,
  type LinearGradients,
  type LinearSize,
  type LinearTiles,
  type TensorLinear,
} from './tensor-linear.ts';

/** See above: i is the grid's row, j its column, k its layer. */
export class CubeLinear implements TensorLinear {
  readonly tiles: LinearTiles;
  readonly #engine: Engine;
  readonly #grid: TensorGrid;
  /** Whole tiles: x and w are gathered in the forward and kept for the backward. */
  readonly #whole: Record<'x' | 'w' | 'y', Tensor>;
  readonly #sums: Record<'x' | 'w', Tensor>;

  constructor(engine: Engine, grid: TensorGrid, { N, I, O }: LinearSize) {
    const { rows: q, columns, layers } = grid.shape;
    if (q !== columns || q !== layers)
      throw new RangeError(`A grid of ${q} x ${columns} x ${layers} ranks: 3D needs a cube`);
    const { row: i, column: j, layer: k } = grid.place;
    const outputs = { firstColumn: part('O', O, q, k), columns: O / q };
    const rowsOf = (name: 'N' | 'I', size: number, tile: number, share: number) => ({
      firstRow: part(name, size, q * q, tile * q + share),
      rows: size / q / q,
    });
    this.tiles = {
      x: { ...rowsOf('N', N, i, k), firstColumn: part('I', I, q, j), columns: I / q },
      w: { ...rowsOf('I', I, j, i), ...outputs },
      bias: { firstRow: 0, rows: 1, ...outputs },
      y: { ...rowsOf('N', N, i, j), ...outputs },
    };
    this.#engine = engine;
    this.#grid = grid;
    const whole = (of: 'x' | 'w' | 'y'): Tensor => {
      const [rows, width] = shapeOf(this.tiles[of]);
      return engine.allocate('f32', [q * rows, width]);
    };
    this.#whole = { x: whole('x'), w: whole('w'), y: whole('y') };
    this.#sums = { x: whole('x'), w: whole('w') };
  }

  forward(y: Tensor, x: Tensor, w: Tensor, bias: Tensor): void {
    const engine = this.#engine;
    const { alongRows, alongColumns, alongLayers, place } = this.#grid;
    const whole = this.#whole;
    engine.wait(alongLayers.allGather(whole.x, x));
    engine.wait(alongRows.allGather(whole.w, w));
    // The sum over j has the bias once.
    engine.linear(whole.y, whole.x, whole.w, place.column === 0 ? bias : null);
    engine.wait(alongColumns.reduceScatter(y, whole.y));
  }

  backward({ dx, dw, dbias }: LinearGradients, dy: Tensor): void {
    const engine = this.#engine;
    const { alongRows, alongColumns, alongLayers } = this.#grid;
    const whole = this.#whole;
    engine.wait(alongColumns.allGather(whole.y, dy));
    engine.linearInputGradient(this.#sums.x, whole.y, whole.w);
    engine.wait(alongLayers.reduceScatter(dx, this.#sums.x));
    engine.linearWeightGradient(this.#sums.w, dbias, whole.x, whole.y, true);
    engine.wait(alongRows.reduceScatter(dw, this.#sums.w));
    engine.wait(alongRows.allReduce(dbias));
  }

  release(): void {
    const all = [...Object.values(this.#whole), ...Object.values(this.#sums)];
    for (const tensor of all) this.#engine.release(tensor);
  }
}
