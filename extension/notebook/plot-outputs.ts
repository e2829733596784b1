/** Plots in notebooks: found, and given their final curve when their run has ended. */
import * as vscode from 'vscode';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import type { RunEvent, RunSummary } from '../../kernel/protocol/events.ts';
import { PLOT_MIME } from '../../kernel/protocol/plot-mime.ts';
import type { PlotOutput } from '../../kernel/protocol/plot.ts';
import type { DaemonLink } from '../runs/daemon-link.ts';
import type { RunList } from '../runs/run-list.ts';
import type { Notebooks } from './controller.ts';

/** A plot as a notebook's output. */
export interface PlacedPlot {
  cell: vscode.NotebookCell;
  output: vscode.NotebookCellOutput;
  plot: PlotOutput;
}

/** Whether a notebook is a file that is open, not an old version of one in a comparison. */
export function isOpenFile(notebook: vscode.NotebookDocument): boolean {
  const shown = vscode.window.tabGroups.all.some(({ tabs }) =>
    tabs.some(({ input }) => input instanceof vscode.TabInputNotebook && sameUri(input.uri, notebook.uri)),
  );
  return shown && ['file', 'untitled', 'vscode-remote'].includes(notebook.uri.scheme);
}

function sameUri(a: vscode.Uri, b: vscode.Uri): boolean {
  return a.toString() === b.toString();
}

/** All plots in a notebook, in order. Outputs that cannot be read are passed over: the renderer says what is wrong. */
export function findPlots(notebook: vscode.NotebookDocument): PlacedPlot[] {
  return notebook
    .getCells()
    .flatMap((cell) => cell.outputs.map((output) => ({ cell, output, plot: readPlot(output) })))
    .filter((placed): placed is PlacedPlot => placed.plot !== undefined);
}

/** Plots that were read already: all of them are looked at whenever a run changes, and each may be 90 kB of JSON. */
const known = new WeakMap<vscode.NotebookCellOutputItem, PlotOutput | undefined>();

function readPlot(output: vscode.NotebookCellOutput): PlotOutput | undefined {
  const item = output.items.find(({ mime }) => mime === PLOT_MIME);
  if (!item) return undefined;
  if (!known.has(item)) known.set(item, parsePlot(item.data));
  return known.get(item);
}

function parsePlot(json: Uint8Array): PlotOutput | undefined {
  try {
    const plot = JSON.parse(new TextDecoder().decode(json)) as Partial<PlotOutput>;
    return plot.format === 'gpt-lab-plot' && typeof plot.run === 'string' ? (plot as PlotOutput) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Writes the curve of an ended run into the outputs that show it, once: during the run the document does not grow.
 * Runs that ended while the notebook was closed are caught up with when it is opened.
 */
export class PlotSnapshots implements vscode.Disposable {
  readonly #notebooks: Notebooks;
  readonly #daemon: DaemonLink;
  readonly #runs: RunList;
  readonly #log: vscode.LogOutputChannel;
  /** Curves that are being written, or were refused: not tried again. */
  readonly #tried = new Set<string>();
  readonly #disposable: vscode.Disposable;

  constructor(notebooks: Notebooks, daemon: DaemonLink, runs: RunList, log: vscode.LogOutputChannel) {
    this.#notebooks = notebooks;
    this.#daemon = daemon;
    this.#runs = runs;
    this.#log = log;
    this.#disposable = vscode.Disposable.from(
      runs.onDidChange(() => {
        for (const notebook of vscode.workspace.notebookDocuments) this.#consider(notebook);
      }),
      // Not when it is opened: then it may be that a comparison or another extension only reads it.
      vscode.window.onDidChangeVisibleNotebookEditors((editors) => {
        for (const { notebook } of editors) this.#consider(notebook);
      }),
      vscode.workspace.onDidChangeNotebookDocument(({ notebook, cellChanges }) => {
        if (cellChanges.some(({ outputs }) => outputs !== undefined)) this.#consider(notebook);
      }),
    );
  }

  dispose(): void {
    this.#disposable.dispose();
  }

  #consider(notebook: vscode.NotebookDocument): void {
    const client = this.#daemon.client;
    if (!client || !vscode.workspace.isTrusted || !isOpenFile(notebook)) return;
    if (!this.#notebooks.isOurs(notebook)) return;
    if (this.#runs.all.every(({ state }) => state === 'running')) return;
    for (const placed of findPlots(notebook)) {
      const run = this.#runs.get(placed.plot.run);
      if (!run || run.state === 'running' || isCurrent(placed.plot, run)) continue;
      // A run that is resumed ends with another number, and is tried anew.
      const key = `${notebook.uri.toString()} ${run.run} ${run.lastSequence}`;
      if (this.#tried.has(key)) continue;
      this.#tried.add(key);
      this.#write(notebook, run, client).then(
        () => this.#tried.delete(key),
        (error: unknown) => this.#log.error(`The curve of ${run.run} was not saved: ${String(error)}`),
      );
    }
  }

  async #write(notebook: vscode.NotebookDocument, run: RunSummary, client: DaemonClient): Promise<void> {
    const items = await snapshotItems(run, client);
    const stale = findPlots(notebook).filter(({ plot }) => plot.run === run.run && !isCurrent(plot, run));
    for (const [cell, placed] of Map.groupBy(stale, ({ cell }) => cell)) {
      const outputs = placed.map(({ output }) => output);
      if (this.#notebooks.isSelected(notebook)) {
        await this.#notebooks.executions.edit(cell, async (execution) => {
          for (const output of outputs) await execution.replaceOutputItems(items, output);
        });
      } else {
        await replaceInCell(cell, outputs, items);
      }
    }
    this.#log.info(`Saved the curve of ${run.run} in ${notebook.uri.fsPath}`);
  }
}

function isCurrent(plot: PlotOutput, run: RunSummary): boolean {
  return (plot.snapshot?.lastSequence ?? 0) >= run.lastSequence;
}

async function snapshotItems(
  run: RunSummary,
  client: DaemonClient,
): Promise<vscode.NotebookCellOutputItem[]> {
  const { RunSeries, toPlotOutput } = await import('../../kernel/protocol/run-series.ts');
  const { plotSvg } = await import('../../kernel/protocol/plot-svg.ts');
  const series = new RunSeries();
  for (let from = 1; ;) {
    const { events, next }: { events: RunEvent[]; next: number } = await client.request('run.events', {
      run: run.run,
      from,
    });
    series.append(events);
    if (events.length === 0 || next <= from) break;
    from = next;
  }
  const plot = toPlotOutput(run, series);
  const last = plot.snapshot?.train.loss.at(-1) ?? null;
  return [
    vscode.NotebookCellOutputItem.json(plot, PLOT_MIME),
    vscode.NotebookCellOutputItem.text(plotSvg(plot), 'image/svg+xml'),
    vscode.NotebookCellOutputItem.text(
      `${run.name}: ${run.state}, step ${run.step} of ${run.steps}${last === null ? '' : `, loss ${last}`}`,
      'text/plain',
    ),
  ];
}

/** Without one of our executions the whole cell has to be replaced; everything but these outputs stays. */
async function replaceInCell(
  cell: vscode.NotebookCell,
  outputs: readonly vscode.NotebookCellOutput[],
  items: vscode.NotebookCellOutputItem[],
): Promise<void> {
  const data = new vscode.NotebookCellData(cell.kind, cell.document.getText(), cell.document.languageId);
  data.metadata = cell.metadata;
  data.outputs = cell.outputs.map((each) =>
    outputs.includes(each) ? new vscode.NotebookCellOutput(items, each.metadata) : each,
  );
  if (cell.executionSummary) data.executionSummary = cell.executionSummary;
  const edit = new vscode.WorkspaceEdit();
  const range = new vscode.NotebookRange(cell.index, cell.index + 1);
  edit.set(cell.notebook.uri, [vscode.NotebookEdit.replaceCells(range, [data])]);
  if (!(await vscode.workspace.applyEdit(edit))) throw new Error('the notebook refused the change');
}
