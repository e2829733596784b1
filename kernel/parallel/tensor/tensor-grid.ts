/** Ranks of a tensor group as a grid of rows, columns and layers, with a group of ranks along each of its axes. */
import type { Collective, Group } from '../collective/collective.ts';

/** Places along each axis. */
export interface GridShape {
  readonly rows: number;
  readonly columns: number;
  readonly layers: number;
}

/** Where a rank is. */
export interface GridPlace {
  readonly row: number;
  readonly column: number;
  readonly layer: number;
}

/** One rank's view of the grid. Columns are neighbours, then rows, then layers. */
export class TensorGrid {
  readonly shape: GridShape;
  readonly place: GridPlace;
  /** Ranks that differ in their column alone, in the order of the columns; likewise the others. */
  readonly alongColumns: Group;
  readonly alongRows: Group;
  readonly alongLayers: Group;

  /** `ranks` of the world, ascending, this one among them. Throws a RangeError when they do not fill the grid. */
  constructor(collective: Collective, ranks: readonly number[], shape: GridShape) {
    const { rows, columns, layers } = shape;
    if (ranks.length !== rows * columns * layers)
      throw new RangeError(`${ranks.length} ranks in a grid of ${rows} x ${columns} x ${layers}`);
    const number = ranks.indexOf(collective.rank);
    if (number < 0) throw new RangeError(`Rank ${collective.rank} is not in the grid of ${ranks.join(', ')}`);
    const place = {
      column: number % columns,
      row: Math.floor(number / columns) % rows,
      layer: Math.floor(number / (columns * rows)),
    };
    const at = (where: Partial<GridPlace>): number => {
      const { row, column, layer } = { ...place, ...where };
      return ranks[(layer * rows + row) * columns + column] ?? -1;
    };
    const along = (axis: keyof GridPlace, count: number): Group =>
      collective.group(Array.from({ length: count }, (_, index) => at({ [axis]: index })));
    this.shape = shape;
    this.place = place;
    this.alongColumns = along('column', columns);
    this.alongRows = along('row', rows);
    this.alongLayers = along('layer', layers);
  }
}
