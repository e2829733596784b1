/** The notebook renderer `gpt-lab-plot`: draws plot outputs and keeps them fed while their runs go on. */
import uPlotStyle from 'uplot/dist/uPlot.min.css';
import type { PlotOutput } from '../../kernel/protocol/plot.ts';
import { element } from './elements.ts';
import style from './plot.css';
import type { PlotSettings } from './plot-controls.ts';
import { PlotView } from './plot-view.ts';
import { readMessage, readPlot } from './read-plot.ts';
import { RunFeed, type Post } from './run-feed.ts';

/** What VS Code gives a renderer; messaging is absent where no extension runs. */
export interface RendererContext {
  getState?(): unknown;
  setState?(state: unknown): void;
  postMessage?(message: unknown): void;
  onDidReceiveMessage?(listener: (message: unknown) => void): { dispose(): void };
}

/** An output to draw. */
export interface OutputItem {
  readonly id: string;
  json(): unknown;
}

/** A renderer as VS Code calls it. */
export interface Renderer {
  renderOutputItem(item: OutputItem, container: HTMLElement): void;
  disposeOutputItem(id?: string): void;
}

/** Called by VS Code when the first plot of a notebook is to be drawn. */
export function activate(context: RendererContext): Renderer {
  const post: Post =
    context.postMessage && context.onDidReceiveMessage
      ? (request) => context.postMessage?.(request)
      : undefined;
  const feeds = new Map<string, RunFeed>();
  const views = new Map<string, { view: PlotView; run: string; container: HTMLElement }>();
  const settings: PlotSettings = {
    smoothing: 0.6,
    logarithmic: false,
    table: false,
    ...savedSettings(context),
  };

  context.onDidReceiveMessage?.((message) => {
    const read = readMessage(message);
    if (!read) {
      console.error('GPT Lab: a message to a plot could not be read', message);
      return;
    }
    for (const feed of feeds.values()) feed.receive(read);
  });

  const dispose = (id: string): void => {
    views.get(id)?.view.dispose();
    views.delete(id);
  };

  return {
    renderOutputItem(item, container) {
      installStyle(container);
      let plot: PlotOutput;
      try {
        plot = readPlot(item.json());
      } catch (error) {
        dispose(item.id);
        container.replaceChildren(unreadable(error instanceof Error ? error.message : String(error)));
        return;
      }
      let feed = feeds.get(plot.run);
      if (!feed) {
        feed = new RunFeed(plot, post);
        feeds.set(plot.run, feed);
      }
      const shown = views.get(item.id);
      if (shown?.run === plot.run && shown.container === container && container.contains(shown.view.root)) {
        feed.takePlot(plot);
        return;
      }
      dispose(item.id);
      const view = new PlotView(feed, plot, { ...settings }, (chosen) => {
        Object.assign(settings, chosen);
        context.setState?.(settings);
      });
      views.set(item.id, { view, run: plot.run, container });
      container.replaceChildren(view.root);
      view.attach();
    },
    disposeOutputItem(id) {
      for (const each of id === undefined ? [...views.keys()] : [id]) dispose(each);
    },
  };
}

function savedSettings(context: RendererContext): Partial<PlotSettings> {
  const saved = context.getState?.();
  return typeof saved === 'object' && saved !== null ? saved : {};
}

/** Outputs may lie in a shadow root: each gets the style once. */
function installStyle(container: HTMLElement): void {
  const root = container.getRootNode();
  const target = root instanceof ShadowRoot ? root : document.head;
  if (target.querySelector('style[data-gpt-lab-plot]')) return;
  target.append(element('style', { 'data-gpt-lab-plot': '' }, uPlotStyle, style));
}

function unreadable(reason: string): HTMLElement {
  return element(
    'section',
    { class: 'gpt-lab-plot', 'data-testid': 'gpt-lab-plot', 'data-state': 'unreadable' },
    element(
      'div',
      { class: 'notes' },
      element(
        'p',
        { class: 'error' },
        `This plot cannot be shown; another version of GPT Lab may have saved it. ${reason}`,
      ),
    ),
  );
}
