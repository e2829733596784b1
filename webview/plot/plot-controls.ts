/** The toolbar of a plot: what the lines are, and how the reader wants to see them. */
import { button, element, setText } from './elements.ts';

/** What the reader has chosen; kept for the next plot. */
export interface PlotSettings {
  /** Weight of the past in the smoothed curve, in [0, 1). */
  smoothing: number;
  logarithmic: boolean;
  table: boolean;
}

/** A line of the key; `tone` is the class that has the line's colour. */
export interface Key {
  tone: string;
  label: string;
}

/** Key, zoom, smoothing, axis and table. */
export class PlotControls {
  readonly root: HTMLElement;
  readonly #settings: PlotSettings;
  readonly #reset: HTMLButtonElement;
  readonly #slider = element('input', {
    type: 'range',
    min: '0',
    max: '0.99',
    step: '0.01',
    'aria-label': 'Smoothing',
  });
  readonly #weight = element('output');
  readonly #log: HTMLButtonElement;
  readonly #table: HTMLButtonElement;

  /** `settings` are changed in place; `onChange` tells of it, `onReset` that all steps are wanted. */
  constructor(
    keys: readonly Key[],
    settings: PlotSettings,
    { onChange, onReset }: { onChange: (changed: keyof PlotSettings) => void; onReset: () => void },
  ) {
    this.#settings = settings;
    const toggle = (setting: 'logarithmic' | 'table'): void => {
      settings[setting] = !settings[setting];
      onChange(setting);
    };
    this.#reset = button('Reset zoom', 'Show all steps (double click, Escape)', undefined, onReset);
    this.#log = button('Log', 'Logarithmic loss axis', false, () => toggle('logarithmic'));
    this.#table = button('Table', 'Show the values as a table', false, () => toggle('table'));
    this.#slider.value = String(settings.smoothing);
    this.#slider.addEventListener('input', () => {
      settings.smoothing = Number(this.#slider.value);
      onChange('smoothing');
    });
    const key = ({ tone, label }: Key): HTMLElement =>
      element('span', { class: `key ${tone}` }, element('i'), label);
    this.root = element(
      'div',
      { class: 'toolbar' },
      element('span', { class: 'keys' }, ...keys.map(key)),
      element(
        'span',
        { class: 'controls' },
        this.#reset,
        element('label', {}, 'Smoothing', this.#slider, this.#weight),
        this.#log,
        this.#table,
      ),
    );
  }

  /** Shows the settings as they are. */
  show({ zoomed }: { zoomed: boolean }): void {
    setText(this.#weight, this.#settings.smoothing.toFixed(2));
    this.#log.setAttribute('aria-pressed', String(this.#settings.logarithmic));
    this.#table.setAttribute('aria-pressed', String(this.#settings.table));
    this.#reset.hidden = !zoomed;
  }
}
