/** Reads a chart's values at one step: under the mouse in a tooltip, with the keyboard also aloud. */
import { element, setText } from './elements.ts';
import { nearest, type Window } from './view-data.ts';
import { holding, scaled } from './zoom.ts';

/** One value in the tooltip; `tone` is the class that has its curve's colour. */
export interface TooltipRow {
  tone: string;
  label: string;
  value: string;
}

/** What is to be read at a step. */
export interface CursorReading {
  step: number;
  rows: TooltipRow[];
  spoken: string;
}

/** What the cursor reads, and what it does to the chart. */
export interface CursorSurroundings {
  /** Steps that have values, ascending. */
  steps: () => readonly number[];
  /** The values at the step nearest to `step`; undefined when there are none. */
  read: (step: number) => CursorReading | undefined;
  /** The steps in sight; undefined for all. */
  window: () => Window | undefined;
  /** The reader wants other steps in sight. */
  onWindow: (window: Window | undefined) => void;
  /** The chart's own cursor goes to a step, or away. */
  onPoint: (step: number | undefined) => void;
  /** The cursor has come to a step. */
  onRead: (step: number) => void;
}

/** Where the chart's own cursor is: step, and position in the drawing area, px. */
export interface CursorPosition {
  step: number;
  left: number;
}

/** The drawing area within the chart's element, px. */
export interface DrawingArea {
  left: number;
  top: number;
  width: number;
}

/** Distance of the tooltip from the cursor, px. */
const TOOLTIP_GAP = 14;

/** The cursor of one chart. */
export class ChartCursor {
  readonly #chart: HTMLElement;
  readonly #spoken: HTMLElement;
  readonly #surroundings: CursorSurroundings;
  readonly #tooltip = element('div', { class: 'tooltip', 'aria-hidden': 'true' });
  #step: number | undefined;

  /** Listens to the keys of the element `chart`; what is read with them is written into `spoken`. */
  constructor(chart: HTMLElement, spoken: HTMLElement, surroundings: CursorSurroundings) {
    this.#chart = chart;
    this.#spoken = spoken;
    this.#surroundings = surroundings;
    this.#tooltip.hidden = true;
    chart.append(this.#tooltip);
    chart.addEventListener('keydown', (event) => {
      if (!this.#press(event)) return;
      // Taken here, so that the notebook does not also move to another cell.
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** The chart's own cursor is over a step, or over none. */
  hover(cursor: CursorPosition | undefined, area: DrawingArea): void {
    const reading = cursor && this.#surroundings.read(cursor.step);
    this.#tooltip.hidden = !reading;
    if (!cursor || !reading) return;
    this.#step = reading.step;
    this.#surroundings.onRead(reading.step);
    this.#tooltip.replaceChildren(
      element('div', { class: 'step' }, `Step ${reading.step.toLocaleString('en-US')}`),
      ...reading.rows.map(tooltipRow),
    );
    const { style } = this.#tooltip;
    const at = area.left + cursor.left;
    const right = cursor.left > area.width / 2;
    style.left = right ? '' : `${at + TOOLTIP_GAP}px`;
    style.right = right ? `${this.#chart.clientWidth - at + TOOLTIP_GAP}px` : '';
    style.top = `${area.top + 6}px`;
  }

  /** Does what a key stands for; false when it is none of ours. */
  #press({ key, shiftKey }: KeyboardEvent): boolean {
    const { steps, window, onWindow, onPoint } = this.#surroundings;
    const all = steps();
    const last = all.length - 1;
    const whole = { from: all[0] ?? 0, to: all[last] ?? 0 };
    const inSight = window() ?? whole;
    const at = this.#step === undefined ? last : nearest(all, this.#step);
    const stride = shiftKey ? 10 : 1;
    switch (key) {
      case 'ArrowLeft':
        return this.#moveTo(all[Math.max(0, at - stride)]);
      case 'ArrowRight':
        return this.#moveTo(all[Math.min(last, this.#step === undefined ? last : at + stride)]);
      case 'Home':
        return this.#moveTo(all[nearest(all, inSight.from)]);
      case 'End':
        return this.#moveTo(all[nearest(all, inSight.to)]);
      case '+':
      case '-':
        onWindow(scaled(inSight, whole, this.#step ?? inSight.to, key === '+' ? 0.5 : 2));
        return true;
      case 'Escape':
        if (!window() && this.#tooltip.hidden) return false;
        onPoint(undefined);
        onWindow(undefined);
        return true;
      default:
        return false;
    }
  }

  #moveTo(step: number | undefined): true {
    if (step === undefined) return true;
    const { read, window, onWindow, onPoint } = this.#surroundings;
    const inSight = window();
    if (inSight && (step < inSight.from || step > inSight.to)) onWindow(holding(inSight, step));
    onPoint(step);
    const reading = read(step);
    if (reading) setText(this.#spoken, reading.spoken);
    this.#step = step;
    return true;
  }
}

function tooltipRow({ tone, label, value }: TooltipRow): HTMLElement {
  return element('div', { class: tone }, element('i'), element('span', {}, label), element('b', {}, value));
}
