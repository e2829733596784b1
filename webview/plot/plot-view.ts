/** A plot in a notebook output: header, controls, charts, and the same values as a table. */
import { formatCount, formatLoss, formatNumber, formatRate } from '../../kernel/protocol/format.ts';
import type { PlotOutput } from '../../kernel/protocol/plot.ts';
import { Chart } from './chart.ts';
import { button, element, setText } from './elements.ts';
import { figures, readingAt, speak, stateLabel, summary, tableRows, type Reading } from './figures.ts';
import type { RunFeed } from './run-feed.ts';
import { Smoothing } from './smoothing.ts';
import { markTheme, onThemeChange, readTheme, type Theme } from './theme.ts';
import { nearest, positiveOnly, visible, type Window } from './view-data.ts';

/** What the reader has chosen; kept for the next plot. */
export interface PlotSettings {
  /** Weight of the past in the smoothed curve, in [0, 1). */
  smoothing: number;
  logarithmic: boolean;
  table: boolean;
}

interface Charts {
  loss: Chart;
  rate: Chart;
  speed: Chart;
}

const TABLE_ROWS = 200;
/** Widest that a plot gets, px: beyond it the curve only becomes flatter. */
const MAX_WIDTH = 1280;

/** One plot on the page. */
export class PlotView {
  readonly root: HTMLElement;
  readonly #feed: RunFeed;
  readonly #settings: PlotSettings;
  readonly #saveSettings: (settings: PlotSettings) => void;
  readonly #smoothing = new Smoothing();
  readonly #cleanup: (() => void)[] = [];
  #theme: Theme;
  #window: Window | undefined;
  #cursor: number | undefined;
  #charts: Charts | undefined;
  #smoothed: readonly (number | null)[] = [];
  #frame: number | undefined;
  #seen = true;
  #stopping = false;

  readonly #name = element('span', { class: 'name' });
  readonly #badge = element('span', { class: 'badge' });
  readonly #stop = button('Stop', 'Stop after the current step; the run can be resumed', undefined, () =>
    this.#stopRun(),
  );
  readonly #bar = element('div', { class: 'bar' });
  readonly #progress = element(
    'div',
    { class: 'progress', role: 'progressbar', 'aria-label': 'Progress' },
    this.#bar,
  );
  readonly #figures = element('dl', { class: 'figures' });
  readonly #notes = element('div', { class: 'notes' });
  readonly #reset = button('Reset zoom', 'Show all steps (double click, Escape)', undefined, () =>
    this.#zoom(undefined),
  );
  readonly #slider = element('input', {
    type: 'range',
    min: '0',
    max: '0.99',
    step: '0.01',
    'aria-label': 'Smoothing',
  });
  readonly #weight = element('output');
  readonly #log = button('Log', 'Logarithmic loss axis', false, () => this.#toggle('logarithmic'));
  readonly #tableButton = button('Table', 'Show the values as a table', false, () => this.#toggle('table'));
  readonly #lossArea = element('div', { class: 'chart loss', role: 'img', tabindex: '0' });
  readonly #rateArea = element('div', { class: 'chart' });
  readonly #speedArea = element('div', { class: 'chart' });
  readonly #rateValue = element('span', { class: 'value' });
  readonly #speedValue = element('span', { class: 'value' });
  readonly #empty = element('div', { class: 'empty' });
  readonly #tooltip = element('div', { class: 'tooltip', 'aria-hidden': 'true' });
  readonly #spoken = element('div', { class: 'spoken', 'aria-live': 'polite' });
  readonly #table = element('div', { class: 'table', tabindex: '0', role: 'region', 'aria-label': 'Values' });

  constructor(
    feed: RunFeed,
    plot: PlotOutput,
    settings: PlotSettings,
    saveSettings: (settings: PlotSettings) => void,
  ) {
    this.#feed = feed;
    this.#settings = settings;
    this.#saveSettings = saveSettings;
    this.root = this.#build();
    this.#theme = readTheme(this.root);
    this.#slider.value = String(settings.smoothing);
    this.#slider.addEventListener('input', () => {
      this.#settings.smoothing = Number(this.#slider.value);
      this.#saveSettings(this.#settings);
      this.#feed.requestAll();
      this.draw();
    });
    this.#lossArea.addEventListener('keydown', (event) => this.#key(event));
    this.#cleanup.push(feed.show(plot, () => this.draw()));
  }

  /** Call when the element is on the page: from now on size, sight and theme are watched. */
  attach(): void {
    this.#applyTheme();
    const sizes = new ResizeObserver(() => this.draw());
    sizes.observe(this.root);
    const sight = new IntersectionObserver((entries) => {
      const seen = entries.at(-1)?.isIntersecting ?? true;
      if (seen && !this.#seen) this.#feed.refresh();
      this.#seen = seen;
      if (seen) this.draw();
    });
    sight.observe(this.root);
    this.#cleanup.push(
      () => sizes.disconnect(),
      () => sight.disconnect(),
      onThemeChange(() => {
        this.#applyTheme();
        for (const chart of this.#allCharts()) chart.recolor();
      }),
    );
    this.draw();
  }

  #applyTheme(): void {
    markTheme(this.root);
    this.#theme = readTheme(this.root);
  }

  dispose(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    for (const clean of this.#cleanup.splice(0)) clean();
    for (const chart of this.#allCharts()) chart.destroy();
    this.root.remove();
  }

  /** Draws in the next frame; out of sight only the words and figures are kept up to date. */
  draw(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#drawNow();
    });
  }

  #drawNow(): void {
    const { store } = this.#feed;
    const { train } = store.series;
    this.#smoothed = this.#smoothing.update(train.loss, this.#settings.smoothing, store.revision);
    this.#drawHeader();
    this.#drawControls();
    const { dataset } = this.root;
    dataset['state'] = store.state;
    dataset['points'] = String(train.step.length);
    dataset['evaluations'] = String(store.series.evaluation.step.length);
    dataset['lastStep'] = String(store.latest.step);
    if (this.#seen) this.#drawCharts();
    this.#drawNotes();
    this.#lossArea.setAttribute('aria-label', `${summary(store)}. Arrow keys read values, + and - zoom.`);
  }

  #drawHeader(): void {
    const { store } = this.#feed;
    const { state } = store;
    setText(this.#name, store.name);
    setText(this.#badge, stateLabel(state));
    this.#badge.className = `badge ${state}`;
    if (state !== 'running' && state !== 'starting') this.#stopping = false;
    this.#stop.hidden = !this.#feed.connected || (state !== 'running' && state !== 'starting');
    this.#stop.disabled = this.#stopping;
    setText(this.#stop, this.#stopping ? 'Stopping …' : 'Stop');
    const share = store.steps > 0 ? Math.min(1, store.latest.step / store.steps) : 0;
    this.#bar.style.transform = `scaleX(${share})`;
    this.#progress.className = `progress ${state}`;
    this.#progress.setAttribute('aria-valuenow', String(Math.floor(share * 100)));
    const shown = figures(store);
    if (this.#figures.childElementCount !== shown.length)
      this.#figures.replaceChildren(
        ...shown.map(() =>
          element('div', {}, element('dt'), element('dd', {}, element('b'), element('small'))),
        ),
      );
    shown.forEach(({ label, value, of, tone }, index) => {
      const cell = this.#figures.children[index];
      if (!cell) return;
      cell.className = tone ?? '';
      setText(cell.querySelector('dt') ?? cell, label);
      setText(cell.querySelector('b') ?? cell, value);
      setText(cell.querySelector('small') ?? cell, of === undefined ? '' : ` ${of}`);
    });
    setText(this.#rateValue, store.latest.learningRate === null ? '' : formatRate(store.latest.learningRate));
    setText(
      this.#speedValue,
      store.latest.tokensPerSecond === null ? '' : formatCount(store.latest.tokensPerSecond),
    );
  }

  #drawControls(): void {
    setText(this.#weight, this.#settings.smoothing.toFixed(2));
    this.#log.setAttribute('aria-pressed', String(this.#settings.logarithmic));
    this.#tableButton.setAttribute('aria-pressed', String(this.#settings.table));
    this.#reset.hidden = this.#window === undefined;
    this.#table.hidden = !this.#settings.table;
    if (this.#settings.table) this.#drawTable();
  }

  #drawCharts(): void {
    const { train, evaluation } = this.#feed.store.series;
    const width = Math.floor(this.#lossArea.clientWidth);
    if (width === 0) return;
    const first = Math.min(train.step[0] ?? Infinity, evaluation.step[0] ?? Infinity);
    const hasData = Number.isFinite(first);
    this.#empty.hidden = hasData;
    setText(this.#empty, this.#feed.store.state === 'unknown' ? 'No data' : 'Waiting for the first step …');
    const all: Window = hasData
      ? { from: first, to: Math.max(train.step.at(-1) ?? first, evaluation.step.at(-1) ?? first) }
      : { from: 0, to: Math.max(1, this.#feed.store.steps) };
    const window = this.#window ?? all;
    const charts = (this.#charts ??= this.#makeCharts());
    charts.loss.resize(width);
    charts.rate.resize(this.#rateArea.clientWidth);
    charts.speed.resize(this.#speedArea.clientWidth);

    const curve = (value: readonly (number | null)[]) => ({ step: train.step, value });
    const smooth = this.#settings.smoothing > 0;
    const loss = visible(
      [
        curve(smooth ? train.loss : []),
        curve(smooth ? this.#smoothed : train.loss),
        { step: evaluation.step, value: evaluation.loss },
      ].map(({ step, value }) => ({ step: value.length === 0 ? [] : step, value: this.#drawable(value) })),
      this.#window,
      width / 2,
    );
    this.root.dataset['drawn'] = String(loss.x.length);
    this.root.dataset['window'] = `${window.from}-${window.to}`;
    const [low, high] = charts.loss.show(loss, window, this.#settings.logarithmic);
    this.root.dataset['range'] = `${low.toFixed(3)} ${high.toFixed(3)}`;
    charts.rate.show(visible([curve(train.learningRate)], this.#window, width / 4), window, false);
    charts.speed.show(visible([curve(train.tokensPerSecond)], this.#window, width / 4), window, false);
  }

  #drawable(values: readonly (number | null)[]): readonly (number | null)[] {
    return this.#settings.logarithmic ? positiveOnly(values).values : values;
  }

  #drawNotes(): void {
    const { store } = this.#feed;
    const { loss } = store.series.train;
    const missing = loss.reduce((count: number, value) => count + (value === null ? 1 : 0), 0);
    const dropped = this.#settings.logarithmic
      ? positiveOnly(loss).dropped + positiveOnly(store.series.evaluation.loss).dropped
      : 0;
    const notes: [kind: string, text: string][] = [];
    if (store.error !== undefined) notes.push(['error', store.error]);
    else if (store.warning !== undefined) notes.push(['warning', store.warning]);
    if (
      store.unavailable !== undefined &&
      !['finished', 'stopped', 'failed', 'interrupted'].includes(store.state)
    )
      notes.push(['warning', `No live values: ${store.unavailable}`]);
    if (missing > 0) notes.push(['warning', `${plural(missing, 'step')} without a finite loss`]);
    if (dropped > 0)
      notes.push(['hint', `${plural(dropped, 'value')} ≤ 0 cannot be drawn on a logarithmic axis`]);
    const shown = notes.map(([kind, text]) => `${kind} ${text}`).join('\n');
    if (this.#notes.dataset['shown'] === shown) return;
    this.#notes.dataset['shown'] = shown;
    this.#notes.replaceChildren(...notes.map(([kind, text]) => element('p', { class: kind }, text)));
  }

  #drawTable(): void {
    const { store } = this.#feed;
    const rows = tableRows(store, this.#smoothed, TABLE_ROWS);
    const key = `${store.series.lastSequence} ${this.#settings.smoothing} ${rows.length}`;
    if (this.#table.dataset['key'] === key) return;
    this.#table.dataset['key'] = key;
    const heads = ['Step', 'Loss', 'Smoothed', 'Validation', 'Learning rate', 'Tokens/s'];
    const total = store.series.train.step.length;
    this.#table.replaceChildren(
      element(
        'table',
        {},
        element(
          'caption',
          {},
          total > rows.length ? `${rows.length} of ${plural(total, 'step')}` : plural(total, 'step'),
        ),
        element(
          'thead',
          {},
          element('tr', {}, ...heads.map((head) => element('th', { scope: 'col' }, head))),
        ),
        element('tbody', {}, ...rows.toReversed().map((row) => tableRow(row))),
      ),
    );
  }

  #makeCharts(): Charts {
    const sync = crypto.randomUUID();
    const shared = {
      theme: () => this.#theme,
      sync,
      axisWidth: 48,
      onZoom: (window: Window | undefined) => this.#zoom(window),
    };
    const contrast = (width: number): number => (this.#theme.highContrast ? width + 1 : width);
    return {
      loss: new Chart(this.#lossArea, this.#lossArea.clientWidth, {
        ...shared,
        height: 250,
        format: (value) => formatNumber(value, 3),
        strokes: [
          { color: ({ train }) => train, alpha: 0.45, width: 1 },
          { color: ({ train }) => train, width: contrast(2) },
          { color: ({ validation }) => validation, width: contrast(1.5), dash: [5, 4], points: true },
        ],
        onCursor: (cursor) => this.#hover(cursor),
      }),
      rate: new Chart(this.#rateArea, this.#rateArea.clientWidth, {
        ...shared,
        height: 110,
        format: (value) => (value === 0 ? '0' : formatRate(value)),
        strokes: [{ color: ({ learningRate }) => learningRate, width: contrast(1.5), fill: 0.08 }],
      }),
      speed: new Chart(this.#speedArea, this.#speedArea.clientWidth, {
        ...shared,
        height: 110,
        format: (value) => formatCount(value),
        strokes: [{ color: ({ speed }) => speed, width: contrast(1.5), fill: 0.08 }],
      }),
    };
  }

  #allCharts(): Chart[] {
    return this.#charts ? [this.#charts.loss, this.#charts.rate, this.#charts.speed] : [];
  }

  #zoom(window: Window | undefined): void {
    this.#window = window;
    if (window) this.#feed.requestAll();
    this.draw();
  }

  #hover(cursor: { step: number; left: number; top: number } | undefined): void {
    const reading = cursor && readingAt(this.#feed.store, this.#smoothed, cursor.step);
    this.#tooltip.hidden = !reading;
    if (!cursor || !reading || !this.#charts) return;
    this.#cursor = reading.step;
    this.root.dataset['cursor'] = String(reading.step);
    this.#tooltip.replaceChildren(...tooltipRows(reading, this.#settings.smoothing > 0));
    const { area } = this.#charts.loss;
    const right = cursor.left > area.width / 2;
    this.#tooltip.style.left = right ? '' : `${area.left + cursor.left + 14}px`;
    this.#tooltip.style.right = right ? `${this.#lossArea.clientWidth - area.left - cursor.left + 14}px` : '';
    this.#tooltip.style.top = `${area.top + 6}px`;
  }

  #key(event: KeyboardEvent): void {
    const { step } = this.#feed.store.series.train;
    const window = this.#window ?? { from: step[0] ?? 0, to: step.at(-1) ?? 0 };
    const at = this.#cursor === undefined ? step.length - 1 : nearest(step, this.#cursor);
    const stride = event.shiftKey ? 10 : 1;
    const moves: Record<string, number> = {
      ArrowLeft: at - stride,
      ArrowRight: this.#cursor === undefined ? at : at + stride,
      Home: nearest(step, window.from),
      End: nearest(step, window.to),
    };
    const target = moves[event.key];
    if (target !== undefined) this.#moveTo(step[Math.max(0, Math.min(step.length - 1, target))], window);
    else if (event.key === '+' || event.key === '-')
      this.#zoomAround(this.#cursor ?? window.to, event.key, window);
    else if (event.key === 'Escape' && (this.#window || !this.#tooltip.hidden)) {
      this.#charts?.loss.point(undefined);
      this.#zoom(undefined);
    } else return;
    // Taken here, so that the notebook does not also move to another cell.
    event.preventDefault();
    event.stopPropagation();
  }

  #moveTo(step: number | undefined, window: Window): void {
    if (step === undefined) return;
    if (this.#window && (step < window.from || step > window.to)) {
      const shift = step < window.from ? step - window.from : step - window.to;
      this.#window = { from: window.from + shift, to: window.to + shift };
      this.#drawNow();
    }
    this.#charts?.loss.point(step);
    const reading = readingAt(this.#feed.store, this.#smoothed, step);
    if (reading) setText(this.#spoken, speak(reading));
    this.#cursor = step;
  }

  #zoomAround(step: number, key: '+' | '-', window: Window): void {
    const all = this.#feed.store.series.train.step;
    const [first = 0, last = 0] = [all[0], all.at(-1)];
    const width = (window.to - window.from) * (key === '+' ? 0.5 : 2);
    if (width >= last - first) {
      this.#zoom(undefined);
      return;
    }
    const from = Math.max(first, Math.min(last - width, step - width / 2));
    this.#zoom({ from, to: from + width });
  }

  #toggle(setting: 'logarithmic' | 'table'): void {
    this.#settings[setting] = !this.#settings[setting];
    this.#saveSettings(this.#settings);
    this.draw();
  }

  #stopRun(): void {
    this.#stopping = true;
    this.#feed.stop();
    this.draw();
  }

  #build(): HTMLElement {
    this.#stop.classList.add('stop');
    this.#lossArea.append(this.#empty, this.#tooltip);
    this.#tooltip.hidden = true;
    for (const bound of ['min', 'max'] as const)
      this.#progress.setAttribute(`aria-value${bound}`, bound === 'min' ? '0' : '100');
    const key = (tone: string, label: string): HTMLElement =>
      element('span', { class: `key ${tone}` }, element('i'), label);
    const small = (title: string, value: HTMLElement, area: HTMLElement): HTMLElement =>
      element('figure', {}, element('figcaption', {}, title, value), area);
    const root = element(
      'section',
      { class: 'gpt-lab-plot', 'data-testid': 'gpt-lab-plot', 'data-run': this.#feed.store.run },
      element(
        'div',
        { class: 'title' },
        this.#name,
        this.#badge,
        element('span', { class: 'space' }),
        this.#stop,
      ),
      this.#progress,
      this.#figures,
      this.#notes,
      element(
        'div',
        { class: 'toolbar' },
        element(
          'span',
          { class: 'keys' },
          key('train', 'training loss'),
          key('validation', 'validation loss'),
        ),
        element(
          'span',
          { class: 'controls' },
          this.#reset,
          element('label', {}, 'Smoothing', this.#slider, this.#weight),
          this.#log,
          this.#tableButton,
        ),
      ),
      this.#lossArea,
      element(
        'div',
        { class: 'small' },
        small('Learning rate', this.#rateValue, this.#rateArea),
        small('Tokens/s', this.#speedValue, this.#speedArea),
      ),
      this.#table,
      this.#spoken,
    );
    root.style.maxWidth = `${MAX_WIDTH}px`;
    return root;
  }
}

function tooltipRows(reading: Reading, smooth: boolean): HTMLElement[] {
  const row = (tone: string, label: string, value: string): HTMLElement =>
    element('div', { class: tone }, element('i'), element('span', {}, label), element('b', {}, value));
  return [
    element('div', { class: 'step' }, `Step ${reading.step.toLocaleString('en-US')}`),
    row('train', 'Loss', formatLoss(reading.loss)),
    ...(smooth ? [row('train', 'Smoothed', formatLoss(reading.smoothed))] : []),
    ...(reading.validation
      ? [
          row(
            'validation',
            validationLabel(reading, reading.validation.step),
            formatLoss(reading.validation.loss),
          ),
        ]
      : []),
    row('rate', 'Learning rate', formatRate(reading.learningRate)),
    row('speed', 'Tokens/s', formatCount(reading.tokensPerSecond)),
  ];
}

/** Says of which step a validation loss is, where it is not the cursor's. */
function validationLabel(reading: Reading, step: number): string {
  return step === reading.step ? 'Validation' : `Validation at ${step.toLocaleString('en-US')}`;
}

function tableRow(row: Reading): HTMLElement {
  const cells = [
    formatLoss(row.loss),
    formatLoss(row.smoothed),
    row.validation?.step === row.step ? formatLoss(row.validation.loss) : '',
    formatRate(row.learningRate),
    formatCount(row.tokensPerSecond),
  ];
  return element(
    'tr',
    {},
    element('th', { scope: 'row' }, String(row.step)),
    ...cells.map((cell) => element('td', {}, cell)),
  );
}

function plural(count: number, noun: string): string {
  return `${count.toLocaleString('en-US')} ${noun}${count === 1 ? '' : 's'}`;
}
