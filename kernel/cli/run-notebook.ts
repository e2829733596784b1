/** Executes a notebook through the real kernel, as an editor would, and shows it in the terminal. */
import { accessSync, constants, renameSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { startKernel } from '../jupyter/client.ts';
import type { KernelClient } from '../jupyter/client.ts';
import { followRun } from '../lab/follow.ts';
import { describeRun } from '../lab/run-text.ts';
import { SETTINGS_VARIABLE } from '../lab/settings.ts';
import type { RunSummary } from '../protocol/events.ts';
import { PLOT_MIME } from '../protocol/plot-mime.ts';
import type { PlotOutput } from '../protocol/plot.ts';
import { sparkline } from '../protocol/sparkline.ts';
import { formatNotebook, OutputCollector, readNotebook, sourceOf } from './notebook-file.ts';
import type { Notebook, NotebookCell, NotebookOutput, OutputMessage } from './notebook-file.ts';
import { Progress } from './progress.ts';
import { onPhase } from './train.ts';

/** A cell that failed; the notebook has been written all the same. */
export class CellError extends Error {
  override readonly name = 'CellError';
  /** Position among the code cells, from 1. */
  readonly cell: number;

  constructor(cell: number, message: string) {
    super(message);
    this.cell = cell;
  }
}

/** The kernel ended by itself; the notebook has been written all the same. */
export class KernelDied extends Error {
  override readonly name = 'KernelDied';

  constructor(reason: string) {
    super(`The kernel has died: ${reason}`);
  }
}

/**
 * Runs all code cells of the notebook `file` in order, in its own folder, streaming their outputs to `out` and a run's
 * progress to stderr; writes the executed notebook to `to`. `settings` change the configuration of every run. Throws
 * CellError at the first cell that fails, the signal's reason when it aborts, and when the kernel dies, after writing
 * what there is.
 */
export async function runNotebook(
  file: string,
  to: string,
  { out, settings, signal }: { out: NodeJS.WriteStream; settings: readonly string[]; signal: AbortSignal },
): Promise<void> {
  const notebook = readNotebook(file);
  // Found out now, not after all cells have run.
  accessSync(dirname(resolve(to)), constants.W_OK);
  const folder = dirname(resolve(file));
  const env = { GPT_LAB_LIVE_PLOTS: 'output', [SETTINGS_VARIABLE]: JSON.stringify(settings) };
  const kernel = await startKernel({ cwd: folder, env });
  const screen = new Screen(out);
  try {
    await executeCells(notebook, kernel, screen, signal);
  } finally {
    screen.end();
    // Aside and renamed, so that a full disk leaves no half a notebook; before anything else can fail.
    writeFileSync(`${to}.new`, formatNotebook(notebook));
    renameSync(`${to}.new`, to);
    await kernel.shutdown();
  }
}

async function executeCells(
  notebook: Notebook,
  kernel: KernelClient,
  screen: Screen,
  signal: AbortSignal,
): Promise<void> {
  const collector = new OutputCollector();
  const cells = notebook.cells.filter((cell) => cell.cell_type === 'code' && sourceOf(cell).trim() !== '');
  let current: NotebookOutput[] = [];
  // What arrives after its cell has ended: updates of plots, output of callbacks.
  const unsubscribe = kernel.onMessage((message) => {
    collector.take(message, current);
    screen.show(message);
  });
  const broken = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error));
    void kernel.died.then(({ reason }) => reject(new KernelDied(reason)));
  });
  broken.catch(() => undefined); // raced below
  try {
    for (const [index, cell] of cells.entries()) {
      screen.cell(index + 1, cells.length, cell);
      const outputs: NotebookOutput[] = [];
      current = outputs;
      cell.outputs = outputs;
      const reply = await Promise.race([
        kernel.execute(sourceOf(cell), {
          cellId: cell.id,
          onMessage: (message) => {
            collector.take(message, outputs);
            screen.show(message);
          },
        }),
        broken,
      ]);
      cell.execution_count = reply.execution_count;
      if (reply.status !== 'ok')
        throw new CellError(index + 1, `Cell ${index + 1} of ${cells.length} failed`);
    }
    await Promise.race([screen.settled(), broken]);
  } finally {
    unsubscribe();
  }
}

/** Columns of the curve of a run that has ended. */
const CURVE = 60;

/** What the terminal shows: outputs as text, progress of the run that is plotted on stderr. */
class Screen {
  readonly #out: NodeJS.WriteStream;
  #progress: Progress | undefined;
  readonly #followed = new Map<string, Promise<void>>();
  readonly #abort = new AbortController();
  #atLineStart = true;

  constructor(out: NodeJS.WriteStream) {
    this.#out = out;
  }

  /** Announces a cell by its number and its first line of code. */
  cell(number: number, count: number, cell: NotebookCell): void {
    const [first = '', ...more] = sourceOf(cell)
      .split('\n')
      .filter((line) => line.trim() !== '' && !line.trim().startsWith('//'));
    this.#line(`\n[${number}/${count}] ${first}${more.length > 0 ? ' …' : ''}`);
  }

  /** Shows an output message. */
  show({ header, content }: OutputMessage): void {
    const {
      data = {},
      text,
      name,
      traceback,
    } = content as {
      data?: Record<string, unknown>;
      text?: string;
      name?: string;
      traceback?: string[];
    };
    if (header.msg_type === 'stream') {
      this.#write(text ?? '', name === 'stderr' ? process.stderr : this.#out);
    } else if (header.msg_type === 'error') {
      this.#line((traceback ?? []).join('\n'));
    } else if (header.msg_type === 'display_data' || header.msg_type === 'execute_result') {
      const plot = data[PLOT_MIME] as PlotOutput | undefined;
      const plain = data['text/plain'] ?? data['text/markdown'];
      if (plot) this.#follow(plot);
      else if (typeof plain === 'string') this.#line(plain);
    }
  }

  /** Resolves when no run that was plotted goes on any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#followed.values());
  }

  /** Leaves the terminal tidy. */
  end(): void {
    this.#abort.abort();
    if (!this.#atLineStart) this.#line('');
  }

  /** Progress of a plotted run, from the daemon itself: the plot in the notebook is refreshed more slowly. */
  #follow({ run, name, steps }: PlotOutput): void {
    if (this.#followed.has(run)) return;
    this.#followed.set(
      run,
      this.#showProgress(run, new Progress(process.stderr, { name, steps })).catch((error: unknown) => {
        if (!this.#abort.signal.aborted)
          this.#line(`The progress of ${name} cannot be shown: ${String(error)}`);
      }),
    );
  }

  async #showProgress(run: string, progress: Progress): Promise<void> {
    this.#progress = progress;
    const unsubscribe = await onPhase(run, (phase) => progress.phase(phase));
    const events = followRun(run, { signal: this.#abort.signal });
    let ended: RunSummary | undefined;
    try {
      while (!ended) {
        const { done, value } = await events.next();
        if (done) ended = value;
        else progress.update(value);
      }
    } finally {
      unsubscribe();
      progress.end();
      if (this.#progress === progress) this.#progress = undefined;
    }
    this.#line(`${describeRun(ended)}\n${sparkline(progress.series.train.loss, CURVE)}`);
  }

  #write(text: string, stream: NodeJS.WriteStream): void {
    if (this.#progress) this.#progress.write(text, stream);
    else stream.write(text);
    if (text !== '') this.#atLineStart = text.endsWith('\n');
  }

  #line(text: string): void {
    this.#write(`${this.#atLineStart ? '' : '\n'}${text}\n`, this.#out);
  }
}
