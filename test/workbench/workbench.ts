/** The real workbench for tests: code-server with the packaged extension, driven through the system's Chromium. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium, type Browser, type Frame, type Locator, type Page } from 'playwright-core';
import { packageExtension } from '../../scripts/package.mjs';
import {
  installExtension,
  installWorkbench,
  seedSettings,
  startWorkbench,
} from '../../scripts/workbench.mjs';
import { readConnectionFile } from '../../kernel/daemon/connection.ts';
import { PLOT_MIME } from '../../kernel/protocol/plot-mime.ts';
import { executablePath } from '../chromium.ts';

const root = join(import.meta.dirname, '..', '..');

type Server = Awaited<ReturnType<typeof startWorkbench>>;

/** How a test wants its window. */
export interface WorkbenchOptions {
  readonly settings?: Record<string, unknown>;
  /** Whether folders have to be trusted first, as in a new VS Code. */
  readonly trust?: boolean;
  /** What has happened in GPT_LAB_HOME before the window is opened. */
  readonly prepare?: (home: string) => Promise<void>;
}

/** A workbench with its own profile, its own copy of samples/ and its own GPT_LAB_HOME. */
export class Workbench {
  readonly folder: string;
  readonly home: string;
  readonly page: Page;
  readonly #base: string;
  readonly #browser: Browser;
  readonly #start: () => Promise<Server>;
  #server: Server;

  private constructor(
    base: string,
    browser: Browser,
    page: Page,
    start: () => Promise<Server>,
    server: Server,
  ) {
    this.#base = base;
    this.folder = join(base, 'samples');
    this.home = join(base, 'home');
    this.#browser = browser;
    this.page = page;
    this.#start = start;
    this.#server = server;
  }

  /** Installs what is missing, packages the extension and opens a window on the samples. */
  static async open({ settings = {}, trust = false, prepare }: WorkbenchOptions = {}): Promise<Workbench> {
    const program = await installWorkbench();
    const vsix = await packageExtension();
    const base = await mkdtemp(join(tmpdir(), 'gpt-lab-workbench-'));
    const profile = { data: join(base, 'data'), extensions: join(base, 'extensions') };
    await cp(join(root, 'samples'), join(base, 'samples'), { recursive: true });
    seedSettings(profile.data, settings);
    installExtension(program, vsix, profile);
    await prepare?.(join(base, 'home'));
    const env = { GPT_LAB_HOME: join(base, 'home') };
    const start = (): Promise<Server> => startWorkbench(program, { profile, password: null, trust, env });
    const server = await start();
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'];
    const browser = await chromium.launch({ executablePath, args });
    const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
    const workbench = new Workbench(base, browser, page, start, server);
    await workbench.load();
    return workbench;
  }

  /** Opens the window and waits until it knows our extension. */
  async load(): Promise<void> {
    await this.page.goto(`${this.#server.url}/?folder=${encodeURIComponent(this.folder)}`);
    await this.#ready();
  }

  /** Reloads the window, as `Developer: Reload Window` does. */
  async reload(): Promise<void> {
    await this.page.reload();
    await this.#ready();
  }

  /** Kills VS Code with all its processes, as a crash or `kill -9` does, and opens it anew. */
  async killAndReopen(): Promise<void> {
    await this.page.goto('about:blank');
    await this.#server.stop('SIGKILL');
    this.#server = await this.#start();
    await this.load();
  }

  /** Our entry in the activity bar; its label ends with the number of runs that go on. */
  get activity(): Locator {
    return this.page.locator('.activitybar .action-item').filter({
      has: this.page.locator('a[aria-label^="GPT Lab"]'),
    });
  }

  /** A file of the explorer opened in its editor. */
  async openFile(name: string): Promise<void> {
    // In a window that has just been opened the explorer does not watch the folder yet.
    await this.command('Refresh Explorer');
    await this.page.getByRole('treeitem', { name }).dblclick();
  }

  /** Writes a notebook of ours with these cells into the folder and opens it. */
  async openNotebook(file: string, cells: readonly string[]): Promise<NotebookPage> {
    const metadata = { kernelspec: { name: 'gpt-lab', language: 'typescript', display_name: 'TypeScript' } };
    const content = {
      cells: cells.map((source, index) => ({
        ...{ cell_type: 'code', id: `cell-${index}`, metadata: {}, execution_count: null },
        ...{ source, outputs: [] },
      })),
      ...{ metadata, nbformat: 4, nbformat_minor: 5 },
    };
    await writeFile(join(this.folder, file), JSON.stringify(content));
    await this.openFile(file);
    const notebook = this.notebook();
    await notebook.tab(file).waitFor();
    await notebook.cell(0).waitFor();
    return notebook;
  }

  /** The notebook editor in front. */
  notebook(): NotebookPage {
    return new NotebookPage(this.page);
  }

  /** A notification that has `text`. */
  notification(text: string | RegExp): Locator {
    return this.page.locator('.notifications-toasts .notification-list-item').filter({ hasText: text });
  }

  /** Our entry in the status bar. */
  get status(): Locator {
    return this.page.locator('.statusbar-item').filter({ has: this.page.locator('.codicon-graph-line') });
  }

  /** Runs a command of the palette by its title. */
  async command(title: string): Promise<void> {
    await this.page.keyboard.press('F1');
    await this.page.locator('.quick-input-widget input').fill(`>${title}`);
    await this.page.locator('.quick-input-list').getByRole('option', { name: title }).first().click();
  }

  /** Opens the Runs view; the entries of runs whose name begins with `name`. */
  async runs(name: string): Promise<Locator> {
    const view = this.page.locator('.sidebar').getByRole('treeitem', { name: new RegExp(`^${name}`) });
    if (!(await this.page.locator('.sidebar').getByText('GPT Lab: Runs').isVisible()))
      await this.activity.click();
    return view;
  }

  /** The frame of the notebook's outputs in which `selector` is found, once it is. */
  async outputFrame(selector: string): Promise<Frame> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      for (const frame of this.page.frames()) {
        // A frame that is just being replaced has no answer.
        if (
          (await frame
            .locator(selector)
            .count()
            .catch(() => 0)) > 0
        )
          return frame;
      }
      if (Date.now() > deadline) throw new Error(`No output has ${selector}`);
      await this.page.waitForTimeout(100);
    }
  }

  /** The plot that is shown. */
  async plot(): Promise<PlotOutput> {
    const frame = await this.outputFrame(PLOT);
    return new PlotOutput(frame);
  }

  /** The plots of runs whose name begins with `name`, from left to right, once there are `count` of them. */
  async plots(name: string, count: number): Promise<PlotOutput[]> {
    const deadline = Date.now() + 60_000;
    for (;;) {
      const found: { plot: PlotOutput; left: number }[] = [];
      for (const frame of this.page.frames()) {
        const plot = new PlotOutput(frame);
        const shown = await frame
          .locator(PLOT)
          .count()
          .catch(() => 0);
        if (shown === 0 || !(await plot.name()).startsWith(name)) continue;
        const box = await plot.root.boundingBox();
        if (box) found.push({ plot, left: box.x });
      }
      if (found.length >= count) return found.sort((a, b) => a.left - b.left).map(({ plot }) => plot);
      if (Date.now() > deadline) throw new Error(`There are ${found.length} plots of ${name}, not ${count}`);
      await this.page.waitForTimeout(100);
    }
  }

  /** Saves the untitled notebook in front under the name that VS Code proposes. */
  async saveUntitled(): Promise<void> {
    await this.command('File: Save As...');
    const dialog = this.page.locator('.quick-input-widget');
    await dialog.getByText('Save As', { exact: true }).waitFor();
    // Then the folder has been read, and the name stands there.
    await dialog.getByRole('option', { name: 'quickstart.ipynb' }).waitFor();
    await dialog.locator('input').first().press('Enter');
  }

  /** Writes a file into the folder. */
  async write(file: string, text: string): Promise<void> {
    await writeFile(join(this.folder, file), text);
  }

  /** Waits until our output channel says something. */
  async logged(text: RegExp): Promise<void> {
    const deadline = Date.now() + 30_000;
    while (!text.test(await this.log())) {
      if (Date.now() > deadline) throw new Error(`The log has no ${String(text)}`);
      await this.page.waitForTimeout(50);
    }
  }

  /** The daemon's process, if one was started. */
  daemonPid(): number | undefined {
    return readConnectionFile(this.home)?.pid;
  }

  /** Saves the notebook in front until its file holds a plot with its curve; the data of that output by mime type. */
  async savedPlot(file: string): Promise<Record<string, unknown>> {
    const deadline = Date.now() + 30_000;
    for (;;) {
      await this.command('File: Save');
      const notebook = JSON.parse(await readFile(join(this.folder, file), 'utf8')) as SavedNotebook;
      const outputs = notebook.cells.flatMap((cell) => cell.outputs ?? []);
      const data = outputs.map((output) => output.data ?? {}).find((each) => hasCurve(each[PLOT_MIME]));
      if (data) return data;
      if (Date.now() > deadline) throw new Error(`${file} holds no curve`);
      await this.page.waitForTimeout(250);
    }
  }

  /** Waits until nothing has been painted anew for a moment: for pictures alone. */
  async settle(): Promise<void> {
    await this.page.mouse.move(700, 895);
    let before: Buffer | undefined;
    for (let round = 0; round < 10; round++) {
      await this.page.waitForTimeout(500);
      const now = await this.page.screenshot();
      if (before?.equals(now)) return;
      before = now;
    }
  }

  /** Lines of our output channel and of the extension host's log that tell of an error in our extension. */
  async errors(): Promise<string[]> {
    const logs = join(this.#base, 'data', 'logs');
    const files = (await readdir(logs, { recursive: true })).filter((file) =>
      /GPT Lab\.log$|remoteexthost\.log$/.test(file),
    );
    const texts = await Promise.all(files.map((file) => readFile(join(logs, file), 'utf8')));
    return texts
      .join('\n')
      .split('\n')
      .filter((line) => /\[error\]/.test(line) && /gpt-lab|GPT Lab/i.test(line));
  }

  /** What our output channel says. */
  async log(): Promise<string> {
    const logs = join(this.#base, 'data', 'logs');
    const files = (await readdir(logs, { recursive: true })).filter((file) => file.endsWith('GPT Lab.log'));
    const texts = await Promise.all(files.sort().map((file) => readFile(join(logs, file), 'utf8')));
    return texts.join('');
  }

  /** Ends everything that was started, the daemon included. */
  async close(): Promise<void> {
    await this.#browser.close();
    await this.#server.stop();
    const daemon = this.daemonPid();
    if (daemon !== undefined) process.kill(daemon, 'SIGKILL');
    await rm(this.#base, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  async #ready(): Promise<void> {
    await this.page.locator('.monaco-workbench').waitFor({ timeout: 120_000 });
    // The entry comes with the installed extensions: before it, a notebook would open as text.
    await this.activity.waitFor({ timeout: 120_000 });
  }
}

/** The notebook editor in front. */
export class NotebookPage {
  readonly #page: Page;

  constructor(page: Page) {
    this.#page = page;
  }

  /** The editor's tab. */
  tab(file: string): Locator {
    return this.#page.locator('.tab.active').filter({ hasText: file });
  }

  /** Waits until the editor in front shows this file, with nothing in it to be saved. */
  async isSaved(file: string): Promise<void> {
    await this.#page.locator('.tab.active:not(.dirty)').filter({ hasText: file }).first().waitFor();
  }

  /** Code cell number `index` of the editor that is seen, of a notebook that has no other cells. */
  cell(index: number): Locator {
    // An editor behind another is only moved out of the window. Rows that come back into view are the last in the page.
    return this.#page.locator(
      `.notebookOverlay:not([inert]) .cell-list-container .monaco-list-row.code-cell-row[data-index="${index}"]`,
    );
  }

  /** Runs a cell with its own button. */
  async run(index: number): Promise<void> {
    const button = this.cell(index)
      .getByRole('button', { name: /^Execute Cell/ })
      .first();
    // The button is there while the pointer is; outputs that grow above move the cell away from under it.
    for (let left = 10; ; left--) {
      await this.cell(index).hover();
      const clicked = await button.click({ timeout: 3_000 }).then(
        () => true,
        (error: unknown) => {
          if (left === 0) throw error;
          return false;
        },
      );
      if (clicked) return;
    }
  }

  /** Waits until a cell has ended. */
  async ends(index: number, how: 'success' | 'error'): Promise<void> {
    await this.cell(index).locator(`.codicon-notebook-state-${how}`).waitFor();
  }

  /** Waits until a cell is queued behind another, or runs. */
  async becomes(index: number, state: 'pending' | 'executing'): Promise<void> {
    await this.cell(index).locator(`.codicon-notebook-state-${state}`).waitFor();
  }

  /** Deletes a cell with its own button. */
  async remove(index: number): Promise<void> {
    await this.cell(index).hover();
    await this.cell(index)
      .getByRole('button', { name: /^Delete Cell/ })
      .first()
      .click();
  }

  /** Waits until the outputs have a text, or no longer. */
  async shows(text: string | RegExp, wanted = true): Promise<void> {
    const deadline = Date.now() + 30_000;
    for (;;) {
      const counts = this.#page.frames().map((frame) =>
        frame
          .getByText(text)
          .count()
          // A frame that is just being replaced has no answer.
          .catch(() => 0),
      );
      if ((await Promise.all(counts)).some((count) => count > 0) === wanted) return;
      if (Date.now() > deadline)
        throw new Error(`${wanted ? 'No output has' : 'An output still has'} ${String(text)}`);
      await this.#page.waitForTimeout(50);
    }
  }
}

interface SavedNotebook {
  cells: { outputs?: { data?: Record<string, unknown> }[] }[];
}

function hasCurve(plot: unknown): boolean {
  return typeof plot === 'object' && plot !== null && 'snapshot' in plot;
}

const PLOT = '[data-testid="gpt-lab-plot"]';

/** A plot under a cell. */
export class PlotOutput {
  readonly root: Locator;
  readonly #frame: Frame;

  constructor(frame: Frame) {
    this.#frame = frame;
    this.root = frame.locator(PLOT).first();
  }

  /** The run's name, as the plot shows it. */
  async name(): Promise<string> {
    return (await this.root.locator('.name').textContent()) ?? '';
  }

  /** What the plot says of itself: state, number of trained steps drawn, the last of them. */
  async facts(): Promise<{ state: string; points: number; lastStep: number }> {
    // At one moment: the plot goes on.
    return this.root.evaluate(({ dataset }) => ({
      state: dataset['state'] ?? '',
      points: Number(dataset['points']),
      lastStep: Number(dataset['lastStep']),
    }));
  }

  /** Waits until the plot has drawn at least this step. */
  async reaches(step: number): Promise<void> {
    await this.root
      .page()
      .waitForFunction(
        ([plot, wanted]) => Number((plot as HTMLElement | null)?.dataset['lastStep']) >= wanted,
        [await this.root.elementHandle(), step] as const,
        { timeout: 120_000, polling: 100 },
      );
  }

  /** Waits for a state. */
  async becomes(state: string, timeout = 60_000): Promise<void> {
    await this.#frame.locator(`${PLOT}[data-state="${state}"]`).waitFor({ timeout });
  }

  /** The chart of the loss as it is drawn. */
  async pixels(): Promise<string> {
    return this.root
      .locator('canvas')
      .first()
      .evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL());
  }
}
