/** The charts of one run: its losses large, learning rate and speed small below them. */
import { formatCount, formatNumber, formatRate } from '../../kernel/protocol/format.ts';
import { Chart } from './chart.ts';
import type { CursorPosition, DrawingArea } from './chart-cursor.ts';
import { element, setText } from './elements.ts';
import type { RunStore } from './run-store.ts';
import type { Theme } from './theme.ts';
import { positiveOnly, visible, type Window } from './view-data.ts';

/** How the run is to be drawn. */
export interface RunView {
  /** The steps in sight; undefined for all. */
  window: Window | undefined;
  /** The smoothed losses, drawn before the plain ones; undefined for the plain ones alone. */
  smoothed: readonly (number | null)[] | undefined;
  logarithmic: boolean;
}

/** What was drawn: points of the loss chart, and the ranges of its axes. */
export interface DrawnCharts {
  points: number;
  window: Window;
  range: [low: number, high: number];
}

/** What the charts tell. */
export interface RunChartsListener {
  theme: () => Theme;
  /** The reader chose a range of steps, or with undefined all of them. */
  onZoom: (window: Window | undefined) => void;
  onCursor: (cursor: CursorPosition | undefined, area: DrawingArea) => void;
}

const LOSS_HEIGHT = 250;
const SMALL_HEIGHT = 110;
/** One for all, so that equal steps lie above each other, px. */
const AXIS_WIDTH = 48;

/** Charts that show one cursor and one range of steps. They are made when they first have a width. */
export class RunCharts {
  /** It takes keys, which screen readers keep to themselves on a mere picture. */
  readonly loss = element('div', {
    class: 'chart loss',
    role: 'application',
    'aria-roledescription': 'chart',
    tabindex: '0',
  });
  readonly small: HTMLElement;
  // Their newest value stands above them, all values are read from the chart of the loss.
  readonly #rate = element('div', { class: 'chart', 'aria-hidden': 'true' });
  readonly #speed = element('div', { class: 'chart', 'aria-hidden': 'true' });
  readonly #rateValue = element('span', { class: 'value' });
  readonly #speedValue = element('span', { class: 'value' });
  readonly #empty = element('div', { class: 'empty' });
  readonly #listener: RunChartsListener;
  #charts: { loss: Chart; rate: Chart; speed: Chart } | undefined;

  constructor(listener: RunChartsListener) {
    this.#listener = listener;
    this.loss.append(this.#empty);
    this.small = element(
      'div',
      { class: 'small' },
      figure('Learning rate', this.#rateValue, this.#rate),
      figure('Tokens/s', this.#speedValue, this.#speed),
    );
  }

  /** What the loss chart shows, in words. A name that changes under the focus would be read aloud each time. */
  describe(words: string): void {
    if (!this.loss.matches(':focus')) this.loss.setAttribute('aria-label', words);
  }

  /** The newest values in words: cheap, so that they go on out of sight too. */
  showLatest({ latest: { learningRate, tokensPerSecond } }: RunStore): void {
    setText(this.#rateValue, learningRate === null ? '' : formatRate(learningRate));
    setText(this.#speedValue, tokensPerSecond === null ? '' : formatCount(tokensPerSecond));
  }

  /** Draws the run; undefined while the page gives no room. */
  draw(store: RunStore, { window: chosen, smoothed, logarithmic }: RunView): DrawnCharts | undefined {
    const width = Math.floor(this.loss.clientWidth);
    if (width === 0) return undefined;
    const { train, evaluation } = store.series;
    const first = Math.min(train.step[0] ?? Infinity, evaluation.step[0] ?? Infinity);
    const hasData = Number.isFinite(first);
    this.#empty.hidden = hasData;
    setText(this.#empty, store.state === 'unknown' ? 'No data' : 'Waiting for the first step …');
    const all: Window = hasData
      ? { from: first, to: Math.max(train.step.at(-1) ?? first, evaluation.step.at(-1) ?? first) }
      : { from: 0, to: Math.max(1, store.steps) };
    const window = chosen ?? all;
    const charts = (this.#charts ??= this.#makeCharts());
    charts.loss.resize(width);
    charts.rate.resize(this.#rate.clientWidth);
    charts.speed.resize(this.#speed.clientWidth);

    const none = { step: [], value: [] };
    const lossCurve = (step: readonly number[], loss: readonly (number | null)[]) => ({
      step,
      value: logarithmic ? positiveOnly(loss).values : loss,
    });
    const loss = visible(
      [
        smoothed ? lossCurve(train.step, train.loss) : none,
        lossCurve(train.step, smoothed ?? train.loss),
        lossCurve(evaluation.step, evaluation.loss),
      ],
      chosen,
      width / 2,
    );
    const range = charts.loss.show(loss, window, logarithmic);
    const small = (value: readonly number[]) => visible([{ step: train.step, value }], chosen, width / 4);
    charts.rate.show(small(train.learningRate), window, false);
    charts.speed.show(small(train.tokensPerSecond), window, false);
    return { points: loss.x.length, window, range };
  }

  /** Puts the cursor on a step; undefined takes it away. */
  point(step: number | undefined): void {
    this.#charts?.loss.point(step);
  }

  /** Draws again with the theme's new colours. */
  recolor(): void {
    for (const chart of Object.values(this.#charts ?? {})) chart.recolor();
  }

  destroy(): void {
    for (const chart of Object.values(this.#charts ?? {})) chart.destroy();
  }

  #makeCharts(): { loss: Chart; rate: Chart; speed: Chart } {
    const { theme, onZoom, onCursor } = this.#listener;
    const shared = { theme, onZoom, sync: crypto.randomUUID(), axisWidth: AXIS_WIDTH };
    const contrast = (width: number): number => (theme().highContrast ? width + 1 : width);
    const loss: Chart = new Chart(this.loss, this.loss.clientWidth, {
      ...shared,
      height: LOSS_HEIGHT,
      format: (value) => formatNumber(value, 3),
      strokes: [
        { color: ({ train }) => train, alpha: 0.45, width: 1 },
        { color: ({ train }) => train, width: contrast(2) },
        { color: ({ validation }) => validation, width: contrast(1.5), dash: [5, 4], points: true },
      ],
      onCursor: (cursor) => onCursor(cursor, loss.area),
    });
    const small = (area: HTMLElement, color: (theme: Theme) => string, format: (value: number) => string) =>
      new Chart(area, area.clientWidth, {
        ...shared,
        height: SMALL_HEIGHT,
        format,
        strokes: [{ color, width: contrast(1.5), fill: 0.08 }],
      });
    return {
      loss,
      rate: small(
        this.#rate,
        ({ learningRate }) => learningRate,
        (value) => (value === 0 ? '0' : formatRate(value)),
      ),
      speed: small(this.#speed, ({ speed }) => speed, formatCount),
    };
  }
}

function figure(title: string, value: HTMLElement, area: HTMLElement): HTMLElement {
  return element('figure', {}, element('figcaption', {}, title, value), area);
}
