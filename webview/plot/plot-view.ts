/** A run's plot on the page, put together from its parts. */
import type { PlotOutput } from '../../kernel/protocol/plot.ts';
import { ChartCursor, type CursorReading } from './chart-cursor.ts';
import { element, setText } from './elements.ts';
import {
  plural,
  readingAt,
  speak,
  summary,
  tableCells,
  tableRows,
  tooltipRows,
  TABLE_HEADS,
} from './figures.ts';
import { PlotControls, type PlotSettings } from './plot-controls.ts';
import { PlotHeader } from './plot-header.ts';
import { NoteList, notesOn } from './plot-notes.ts';
import { RunCharts } from './run-charts.ts';
import type { RunFeed } from './run-feed.ts';
import { Smoothing } from './smoothing.ts';
import { markTheme, onThemeChange, readTheme, type Theme } from './theme.ts';
import { ValueTable } from './value-table.ts';
import type { Window } from './view-data.ts';

const KEYS = [
  { tone: 'train', label: 'training loss' },
  { tone: 'validation', label: 'validation loss' },
];
/** Rows of the table at most. */
const TABLE_ROWS = 200;
/** Widest that a plot gets, px: beyond it the curve only becomes flatter. */
const MAX_WIDTH = 1280;

/** One plot on the page. */
export class PlotView {
  readonly root: HTMLElement;
  readonly #feed: RunFeed;
  readonly #settings: PlotSettings;
  readonly #smoothing = new Smoothing();
  readonly #header: PlotHeader;
  readonly #notes = new NoteList();
  readonly #controls: PlotControls;
  readonly #charts: RunCharts;
  readonly #table = new ValueTable();
  readonly #spoken = element('div', { class: 'spoken', 'aria-live': 'polite' });
  readonly #cleanup: (() => void)[] = [];
  #theme: Theme;
  #window: Window | undefined;
  #smoothed: readonly (number | null)[] = [];
  #frame: number | undefined;
  #seen = true;
  /** Whether the run was seen going on, so that its end is news. */
  #wentOn = false;

  constructor(
    feed: RunFeed,
    plot: PlotOutput,
    settings: PlotSettings,
    saveSettings: (settings: PlotSettings) => void,
  ) {
    this.#feed = feed;
    this.#settings = settings;
    this.#header = new PlotHeader(feed.connected ? () => feed.stop() : undefined);
    this.#controls = new PlotControls(KEYS, settings, {
      onChange: (changed) => {
        saveSettings(settings);
        // The curve of a saved plot has too few points to be smoothed.
        if (changed === 'smoothing') feed.requestAll();
        this.draw();
      },
      onReset: () => {
        this.#zoom(undefined);
        // The button goes away: the focus stays in the plot.
        this.#charts.loss.focus({ preventScroll: true });
      },
    });
    const charts = new RunCharts({
      theme: () => this.#theme,
      onZoom: (window) => this.#zoom(window),
      onCursor: (at, area) => cursor.hover(at, area),
    });
    this.#charts = charts;
    const cursor = new ChartCursor(charts.loss, this.#spoken, {
      steps: () => feed.store.series.train.step,
      read: (step) => this.#read(step),
      window: () => this.#window,
      onWindow: (window) => this.#zoom(window),
      onPoint: (step) => this.#point(step),
      onRead: (step) => (this.root.dataset['cursor'] = String(step)),
    });
    this.root = element(
      'section',
      {
        class: 'gpt-lab-plot',
        'aria-label': `Plot of ${plot.name}`,
        'data-testid': 'gpt-lab-plot',
        'data-run': feed.store.run,
      },
      this.#header.root,
      this.#notes.root,
      this.#controls.root,
      charts.loss,
      charts.small,
      this.#table.root,
      this.#spoken,
    );
    this.root.style.maxWidth = `${MAX_WIDTH}px`;
    this.#theme = readTheme(this.root);
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
        this.#charts.recolor();
      }),
    );
    this.draw();
  }

  dispose(): void {
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
    for (const clean of this.#cleanup.splice(0)) clean();
    this.#charts.destroy();
    this.root.remove();
  }

  /** Draws in the next frame; out of sight only the words and figures are kept up to date. */
  draw(): void {
    this.#frame ??= requestAnimationFrame(() => this.#drawNow());
  }

  #drawNow(): void {
    this.#frame = undefined;
    const { store } = this.#feed;
    const { logarithmic, smoothing, table } = this.#settings;
    const { train, evaluation } = store.series;
    this.#smoothed = this.#smoothing.update(train.loss, smoothing, store.revision);
    this.#header.show(store);
    this.#notes.show(notesOn(store, logarithmic));
    this.#controls.show({ zoomed: this.#window !== undefined });
    this.#charts.showLatest(store);
    this.#charts.describe(`${summary(store)}. Arrow keys read values, + and - zoom.`);
    this.#announceEnd();
    this.#table.root.hidden = !table;
    if (table) this.#drawTable();
    const { dataset } = this.root;
    dataset['state'] = store.state;
    dataset['points'] = String(train.step.length);
    dataset['evaluations'] = String(evaluation.step.length);
    dataset['lastStep'] = String(store.latest.step);
    if (this.#seen) this.#drawCharts();
  }

  /** Says aloud that a run which was watched has ended. */
  #announceEnd(): void {
    const { store } = this.#feed;
    if (this.#wentOn && store.hasEnded) setText(this.#spoken, summary(store));
    this.#wentOn = store.state === 'running';
  }

  #drawCharts(): void {
    const { logarithmic, smoothing } = this.#settings;
    const drawn = this.#charts.draw(this.#feed.store, {
      window: this.#window,
      smoothed: smoothing > 0 ? this.#smoothed : undefined,
      logarithmic,
    });
    if (!drawn) return;
    const { dataset } = this.root;
    dataset['drawn'] = String(drawn.points);
    dataset['window'] = `${drawn.window.from}-${drawn.window.to}`;
    dataset['range'] = drawn.range.map((end) => end.toFixed(3)).join(' ');
  }

  #drawTable(): void {
    const { store } = this.#feed;
    const total = store.series.train.step.length;
    const key = `${store.series.lastSequence} ${store.revision} ${this.#settings.smoothing}`;
    this.#table.show(key, () => {
      const rows = tableRows(store, this.#smoothed, TABLE_ROWS);
      return {
        caption: total > rows.length ? `${rows.length} of ${plural(total, 'step')}` : plural(total, 'step'),
        heads: TABLE_HEADS,
        rows: rows.toReversed().map(tableCells),
      };
    });
  }

  #read(step: number): CursorReading | undefined {
    const reading = readingAt(this.#feed.store, this.#smoothed, step);
    return (
      reading && {
        step: reading.step,
        rows: tooltipRows(reading, this.#settings.smoothing > 0),
        spoken: speak(reading),
      }
    );
  }

  #zoom(window: Window | undefined): void {
    this.#window = window;
    if (window) this.#feed.requestAll();
    this.draw();
  }

  /** What waits to be drawn comes first: the cursor may go to a step that has just come into sight. */
  #point(step: number | undefined): void {
    if (this.#frame !== undefined) {
      cancelAnimationFrame(this.#frame);
      this.#drawNow();
    }
    this.#charts.point(step);
  }

  #applyTheme(): void {
    markTheme(this.root);
    this.#theme = readTheme(this.root);
  }
}
