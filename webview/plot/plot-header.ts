/** The head of a run's plot: its name and state, Stop, how far it has come, and the figures of the moment. */
import { button, element, setText } from './elements.ts';
import { figures, stateLabel, type Figure } from './figures.ts';
import type { RunStore } from './run-store.ts';

/** Says how a run stands, and lets it be stopped. */
export class PlotHeader {
  readonly root: HTMLElement;
  readonly #name = element('span', { class: 'name' });
  readonly #badge = element('span', { class: 'badge' });
  readonly #stop: HTMLButtonElement;
  readonly #bar = element('div', { class: 'bar' });
  readonly #progress = element(
    'div',
    {
      class: 'progress',
      role: 'progressbar',
      'aria-label': 'Progress',
      'aria-valuemin': '0',
      'aria-valuemax': '100',
    },
    this.#bar,
  );
  readonly #figures = element('dl', { class: 'figures' });
  #stopping = false;

  /** `stop` asks the run to end; undefined where nobody can be asked. */
  constructor(stop: (() => void) | undefined) {
    this.#stop = button('Stop', 'Stop after the current step; the run can be resumed', undefined, () => {
      this.#stopping = true;
      this.#drawStop(true);
      stop?.();
    });
    this.#stop.classList.add('stop');
    if (!stop) this.#stop.remove();
    this.root = element(
      'header',
      {},
      element(
        'div',
        { class: 'title' },
        this.#name,
        this.#badge,
        element('span', { class: 'space' }),
        stop ? this.#stop : undefined,
      ),
      this.#progress,
      this.#figures,
    );
  }

  /** Brings everything up to date. */
  show(store: RunStore): void {
    const { state } = store;
    setText(this.#name, store.name);
    setText(this.#badge, stateLabel(state));
    this.#badge.className = `badge ${state}`;
    const running = state === 'running' || state === 'starting';
    // Without a daemon nobody stops it: it can be asked again when there is one.
    if (!running || store.unavailable !== undefined) this.#stopping = false;
    this.#drawStop(running);
    const share = store.steps > 0 ? Math.min(1, store.latest.step / store.steps) : 0;
    this.#bar.style.transform = `scaleX(${share})`;
    this.#progress.className = `progress ${state}`;
    this.#progress.setAttribute('aria-valuenow', String(Math.floor(share * 100)));
    this.#drawFigures(figures(store));
  }

  #drawStop(running: boolean): void {
    this.#stop.hidden = !running;
    this.#stop.disabled = this.#stopping;
    setText(this.#stop, this.#stopping ? 'Stopping …' : 'Stop');
  }

  #drawFigures(shown: readonly Figure[]): void {
    if (this.#figures.childElementCount !== shown.length) {
      const cell = (): HTMLElement =>
        element('div', {}, element('dt'), element('dd', {}, element('b'), element('small')));
      this.#figures.replaceChildren(...shown.map(cell));
    }
    shown.forEach(({ label, value, of, tone }, index) => {
      const cell = this.#figures.children[index];
      if (!cell) return;
      cell.className = tone ?? '';
      setText(cell.querySelector('dt') ?? cell, label);
      setText(cell.querySelector('b') ?? cell, value);
      setText(cell.querySelector('small') ?? cell, of === undefined ? '' : ` ${of}`);
    });
  }
}
