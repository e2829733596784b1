/** The renderer's bundle in a plain Chromium page, with a stand-in for VS Code: messages are recorded and sent by hand. */
import { join } from 'node:path';
import { build } from 'esbuild';
import { chromium, type Browser, type Locator, type Page } from 'playwright-core';
import type { PlotMessage, PlotRequest } from '../../kernel/protocol/plot.ts';
import { executablePath } from '../chromium.ts';
import { themes, type ThemeName } from './themes.ts';

/** What the page offers to a test. */
interface PlotWindow {
  sent: PlotRequest[];
  render: (id: string, json: unknown) => void;
  dispose: (id: string) => void;
  receive: (message: unknown) => void;
}

/** A page with the renderer in it. */
export class RendererPage {
  readonly page: Page;
  readonly #browser: Browser;
  readonly errors: string[] = [];

  private constructor(browser: Browser, page: Page) {
    this.#browser = browser;
    this.page = page;
    page.on('pageerror', (error) => this.errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') this.errors.push(message.text());
    });
  }

  /** Builds the bundle as scripts/build.mjs does and opens it; `messaging` false is a page without an extension. */
  static async open(
    options: { messaging?: boolean; width?: number; theme?: ThemeName } = {},
  ): Promise<RendererPage> {
    const { messaging = true, width = 900, theme = 'dark' } = options;
    const root = join(import.meta.dirname, '..', '..');
    const bundle = await build({
      absWorkingDir: root,
      entryPoints: ['webview/plot/renderer.ts'],
      bundle: true,
      write: false,
      platform: 'browser',
      format: 'esm',
      target: 'es2023',
      loader: { '.css': 'text' },
    });
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
    const page = await browser.newPage({ viewport: { width, height: 760 } });
    const opened = new RendererPage(browser, page);
    await page.route('http://localhost:4870/**', (route) =>
      route.request().url().endsWith('.js')
        ? route.fulfill({ contentType: 'text/javascript', body: bundle.outputFiles[0]?.text ?? '' })
        : route.fulfill({ contentType: 'text/html', body: pageHtml(messaging) }),
    );
    await page.goto('http://localhost:4870/');
    await opened.setTheme(theme);
    await page.waitForFunction(() => 'render' in window);
    return opened;
  }

  async render(json: unknown, id = 'output-1'): Promise<void> {
    await this.page.evaluate(([name, output]) => (window as unknown as PlotWindow).render(name, output), [
      id,
      json,
    ] as const);
  }

  async dispose(id = 'output-1'): Promise<void> {
    await this.page.evaluate((name) => (window as unknown as PlotWindow).dispose(name), id);
  }

  /** Requests that the renderer has sent so far. */
  sent(): Promise<PlotRequest[]> {
    return this.page.evaluate(() => (window as unknown as PlotWindow).sent);
  }

  /** Sends a message as the extension would, to the plot that subscribed last. */
  async receive(
    message: { type: 'events'; events: unknown[] } | { type: 'unavailable'; reason: string },
  ): Promise<void> {
    const subscribed = (await this.sent()).findLast((request) => request.type === 'subscribe');
    const whole = { ...message, plot: subscribed?.plot ?? '' } as PlotMessage;
    await this.page.evaluate((each) => (window as unknown as PlotWindow).receive(each), whole);
  }

  /** Colours and body class of a VS Code theme. */
  async setTheme(theme: ThemeName): Promise<void> {
    await this.page.evaluate(({ className, variables }) => {
      document.body.className = className;
      document.documentElement.setAttribute(
        'style',
        Object.entries(variables)
          .map(([name, value]) => `--vscode-${name}: ${value}`)
          .join('; '),
      );
    }, themes[theme]);
  }

  /** A data attribute of the plot. */
  data(name: string): Promise<string | null> {
    return this.page.getByTestId('gpt-lab-plot').getAttribute(`data-${name}`);
  }

  /** Resolves when a data attribute of the plot has the value. */
  async waitForData(name: string, value: string): Promise<void> {
    await this.page.waitForSelector(`[data-testid="gpt-lab-plot"][data-${name}="${value}"]`, {
      timeout: 10_000,
    });
  }

  /** How many pixels of the chart number `index` are near a colour (`#rrggbb`), each channel within 24. */
  countPixels(color: string, index = 0): Promise<number> {
    return this.page.evaluate(
      ([hex, at]) => {
        const canvas = document.querySelectorAll('canvas')[at];
        const context = canvas?.getContext('2d');
        if (!canvas || !context) return 0;
        const wanted = [1, 3, 5].map((start) => Number.parseInt(hex.slice(start, start + 2), 16));
        const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let pixel = 0; pixel < data.length; pixel += 4) {
          if ((data[pixel + 3] ?? 0) < 200) continue;
          if (wanted.every((channel, offset) => Math.abs((data[pixel + offset] ?? 0) - channel) < 24))
            count++;
        }
        return count;
      },
      [color, index] as const,
    );
  }

  /** Contrast of an element's text with what lies behind it, as WCAG 2 reckons it. */
  contrast(text: Locator): Promise<number> {
    return text.evaluate((target) => {
      const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
      if (!context) throw new Error('no canvas');
      const paint = (color: string): number => {
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        const [red = 0, green = 0, blue = 0] = context.getImageData(0, 0, 1, 1).data;
        const linear = [red, green, blue].map((channel) => {
          const share = channel / 255;
          return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * (linear[0] ?? 0) + 0.7152 * (linear[1] ?? 0) + 0.0722 * (linear[2] ?? 0);
      };
      const layers: Element[] = [];
      for (let layer: Element | null = target; layer; layer = layer.parentElement) layers.unshift(layer);
      let behind = 0;
      for (const layer of layers) behind = paint(getComputedStyle(layer).backgroundColor);
      const front = paint(getComputedStyle(target).color);
      return (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05);
    });
  }

  async close(): Promise<void> {
    await this.#browser.close();
  }
}

function pageHtml(messaging: boolean): string {
  return `<!doctype html><html lang="en"><title>plot</title>
<style>body{margin:0;padding:8px;background:var(--vscode-editor-background);color:var(--vscode-foreground)}</style>
<body><main></main><script type="module">
import { activate } from './plot.js';
const listeners = [];
window.sent = [];
const context = { getState: () => undefined, setState: () => {} };
if (${messaging}) Object.assign(context, {
  postMessage: (message) => window.sent.push(message),
  onDidReceiveMessage: (listener) => { listeners.push(listener); return { dispose() {} }; },
});
const renderer = activate(context);
window.receive = (message) => listeners.forEach((listener) => listener(message));
window.dispose = (id) => { renderer.disposeOutputItem(id); document.getElementById(id)?.remove(); };
window.render = (id, json) => {
  let container = document.getElementById(id);
  if (!container) { container = document.createElement('div'); container.id = id; document.querySelector('main').append(container); }
  renderer.renderOutputItem({ id, json: () => json }, container);
};
</script></body></html>`;
}
