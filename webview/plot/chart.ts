/** One canvas chart over steps: uPlot with our axes, colours and zoom. */
import uPlot from 'uplot';
import { niceTicks } from '../../kernel/protocol/ticks.ts';
import { withAlpha, type Theme } from './theme.ts';
import { logTicks, valueRange, type Aligned, type Window } from './view-data.ts';

/** uPlot's `Distr.Custom`: the enum exists only as a type, and has no other way from a number. */
const CUSTOM_DISTRIBUTION: unknown = 100;

/** How a column of a chart is drawn. */
export interface Stroke {
  color: (theme: Theme) => string;
  /** Opacity of the line; less for values behind a smoothed curve. */
  alpha?: number;
  width?: number;
  dash?: number[];
  points?: boolean;
  /** Opacity of the area below. */
  fill?: number;
}

/** What a chart is made of. */
export interface ChartOptions {
  height: number;
  strokes: Stroke[];
  format: (value: number) => string;
  theme: () => Theme;
  /** Charts with one key show their cursors together. */
  sync: string;
  /** Space for the labels of the y axis, px. */
  axisWidth: number;
  /** The reader chose a range of steps, or with undefined wants all of them. */
  onZoom: (window: Window | undefined) => void;
  /** The cursor is over this step, or over none. */
  onCursor?: (cursor: { step: number; left: number; top: number } | undefined) => void;
}

/** A chart in an element of its own. */
export class Chart {
  readonly #options: ChartOptions;
  readonly #plot: uPlot;
  #logarithmic = false;
  #range: [number, number] = [0, 1];

  constructor(parent: HTMLElement, width: number, options: ChartOptions) {
    this.#options = options;
    this.#plot = new uPlot(this.#settings(width), [[], ...options.strokes.map(() => [])], parent);
  }

  /** The drawing area in the page's pixels, relative to the chart's element. */
  get area(): { left: number; top: number; width: number; height: number } {
    const { left, top, width, height } = this.#plot.bbox;
    return {
      left: left / devicePixelRatio,
      top: top / devicePixelRatio,
      width: width / devicePixelRatio,
      height: height / devicePixelRatio,
    };
  }

  /** Draws columns on x; `window` is the range of steps that the x axis shows. Returns the range of the y axis. */
  show({ x, columns }: Aligned, window: Window, logarithmic: boolean): [low: number, high: number] {
    const inWindow = columns.map((column) =>
      column.filter((_, index) => (x[index] ?? 0) >= window.from && (x[index] ?? 0) <= window.to),
    );
    this.#range = valueRange(inWindow, logarithmic);
    this.#logarithmic = logarithmic;
    this.#plot.batch(() => {
      this.#plot.setData([x, ...columns], false);
      // A range of no width cannot be drawn: a run of one step gets half a step on each side.
      const room = window.to > window.from ? 0 : 0.5;
      this.#plot.setScale('x', { min: window.from - room, max: window.to + room });
      this.#plot.setScale('y', { min: this.#range[0], max: this.#range[1] });
    });
    return this.#range;
  }

  /** Puts the cursor on a step; undefined takes it away. */
  point(step: number | undefined): void {
    if (step === undefined) this.#plot.setCursor({ left: -10, top: -10 });
    else this.#plot.setCursor({ left: this.#plot.valToPos(step, 'x'), top: this.area.height / 2 });
  }

  resize(width: number): void {
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: this.#options.height });
  }

  /** Draws again with the theme's new colours. */
  recolor(): void {
    this.#plot.redraw(false, true);
  }

  destroy(): void {
    this.#plot.destroy();
  }

  #settings(width: number): uPlot.Options {
    const { strokes, format, theme, sync, axisWidth, onZoom, onCursor, height } = this.#options;
    const { font } = theme();
    const line = { stroke: () => theme().grid, width: 1 };
    return {
      width,
      height,
      pxAlign: 0,
      // On the right half of the last step's label has to fit.
      padding: [8, 20, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false, auto: false },
        // uPlot fixes a scale's distribution when it is made; with our own functions it can be switched.
        y: {
          auto: false,
          distr: CUSTOM_DISTRIBUTION as uPlot.Scale.Distr,
          fwd: (value) => (this.#logarithmic ? Math.log10(Math.max(value, Number.MIN_VALUE)) : value),
          bwd: (value) => (this.#logarithmic ? 10 ** value : value),
          range: (_, low, high) => [low, high],
        },
      },
      axes: [
        {
          stroke: () => theme().text,
          font,
          size: 24,
          gap: 4,
          grid: { show: false },
          ticks: { stroke: () => theme().axis, width: 1, size: 4 },
          border: { show: true, stroke: () => theme().axis, width: 1 },
          splits: (plot, _, low, high) =>
            niceTicks(low, high, Math.max(2, plot.bbox.width / devicePixelRatio / 60)).filter(
              Number.isInteger,
            ),
          values: (_, splits) => splits.map((step) => step.toLocaleString('en-US')),
        },
        {
          stroke: () => theme().text,
          font,
          size: axisWidth,
          gap: 6,
          grid: line,
          ticks: { show: false },
          splits: (_, __, low, high) => this.#ticks(low, high),
          // uPlot takes every distribution beyond linear for a logarithmic one and would drop labels.
          filter: (_, splits) => splits,
          values: (_, splits) => splits.map(format),
        },
      ],
      series: [
        {},
        ...strokes.map((stroke): uPlot.Series => {
          const color = (): string => withAlpha(stroke.color(theme()), stroke.alpha ?? 1);
          return {
            stroke: color,
            width: stroke.width ?? 1.5,
            ...(stroke.dash ? { dash: stroke.dash } : {}),
            ...(stroke.fill === undefined
              ? {}
              : { fill: () => withAlpha(stroke.color(theme()), stroke.fill ?? 0) }),
            points: stroke.points
              ? { show: sparse, size: 6, width: 1.5, stroke: color, fill: () => theme().background }
              : { show: false },
          };
        }),
      ],
      cursor: {
        y: false,
        sync: { key: sync, setSeries: false },
        points: { size: 7, width: 1.5 },
        drag: { x: true, y: false, setScale: false, uni: 12 },
        bind: {
          dblclick: () => () => {
            onZoom(undefined);
            return null;
          },
        },
      },
      hooks: {
        setSelect: [
          (plot) => {
            const { left, width: selected } = plot.select;
            if (selected < 4) return;
            onZoom({ from: plot.posToVal(left, 'x'), to: plot.posToVal(left + selected, 'x') });
            plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
        setCursor: [
          (plot) => {
            const { left = -1, top = -1 } = plot.cursor;
            onCursor?.(left < 0 ? undefined : { step: plot.posToVal(left, 'x'), left, top });
          },
        ],
      },
    };
  }

  #ticks(low: number, high: number): number[] {
    if (this.#logarithmic) return logTicks(low, high);
    return niceTicks(low, high, Math.max(3, this.#options.height / 50));
  }
}

/** Whether a series' points lie far enough apart to be marked one by one. */
function sparse(plot: uPlot, series: number, first: number, last: number): boolean {
  const values = plot.data[series]?.slice(first, last + 1) ?? [];
  const count = [...values].filter((value) => typeof value === 'number').length;
  return count * 20 < plot.bbox.width / devicePixelRatio;
}
