/** Our notebook controller: which notebooks it is offered for, and the kernel behind each of them. */
import * as vscode from 'vscode';
import type { KernelClient } from '../../kernel/jupyter/client.ts';
import { CellExecutions } from './cell-executions.ts';
import { isForUs } from './kernelspec.ts';
import { LANGUAGES } from './notebook-code.ts';
import { NotebookKernel } from './notebook-kernel.ts';

/** VS Code remembers a notebook's choice by this id. */
const CONTROLLER_ID = 'gpt-lab';
const NOTEBOOK_TYPE = 'jupyter-notebook';
/** Scheme of the documents that cells are. */
const CELL_SCHEME = 'vscode-notebook-cell';

/** One controller, and one kernel per notebook that uses it. */
export class Notebooks implements vscode.Disposable {
  /** Executions of cells of our controller, for whoever changes their outputs. */
  readonly executions: CellExecutions;
  readonly #log: vscode.LogOutputChannel;
  readonly #controller: vscode.NotebookController;
  readonly #kernels = new Map<vscode.NotebookDocument, NotebookKernel>();
  readonly #selected = new Set<vscode.NotebookDocument>();
  /** Notebooks whose user has chosen another kernel. */
  readonly #deselected = new WeakSet<vscode.NotebookDocument>();
  /** The notebook that was opened last. */
  #newest: vscode.NotebookDocument | undefined;
  readonly #selectionChanged = new vscode.EventEmitter<void>();
  /** Fires when a notebook begins or ceases to use our controller. */
  readonly onDidChangeSelection = this.#selectionChanged.event;
  readonly #disposable: vscode.Disposable;

  constructor(log: vscode.LogOutputChannel) {
    this.#log = log;
    const controller = vscode.notebooks.createNotebookController(
      CONTROLLER_ID,
      NOTEBOOK_TYPE,
      vscode.l10n.t('GPT Lab (TypeScript)'),
    );
    this.#controller = controller;
    this.executions = new CellExecutions(controller);
    controller.supportedLanguages = LANGUAGES;
    controller.supportsExecutionOrder = true;
    controller.description = vscode.l10n.t('TypeScript cells that train GPTs');
    controller.executeHandler = (cells, notebook) => this.#execute(cells, notebook);
    controller.interruptHandler = (notebook) => this.#kernels.get(notebook)?.interrupt();
    for (const notebook of vscode.workspace.notebookDocuments) this.#offer(notebook);
    this.#disposable = vscode.Disposable.from(
      controller,
      this.#selectionChanged,
      controller.onDidChangeSelectedNotebooks(({ notebook, selected }) => {
        if (selected) {
          this.#selected.add(notebook);
          this.#deselected.delete(notebook);
        } else {
          this.#moveKernel(notebook);
          this.#close(notebook);
          this.#deselected.add(notebook);
        }
        this.#selectionChanged.fire();
      }),
      vscode.workspace.onDidOpenNotebookDocument((notebook) => {
        this.#offer(notebook);
        this.#newest = notebook;
      }),
      vscode.workspace.onDidCloseNotebookDocument((notebook) => {
        this.#moveKernel(notebook);
        this.#close(notebook);
      }),
      vscode.commands.registerCommand('gptLab.restartKernel', (target?: unknown) => this.#restart(target)),
    );
  }

  /** Whether our controller is the one that a notebook uses. */
  isSelected(notebook: vscode.NotebookDocument): boolean {
    return this.#selected.has(notebook);
  }

  /** Whether a notebook uses our controller or will when it is run. */
  isOurs(notebook: vscode.NotebookDocument): boolean {
    if (this.#selected.has(notebook)) return true;
    return (
      notebook.notebookType === NOTEBOOK_TYPE && !this.#deselected.has(notebook) && isForUs(notebook.metadata)
    );
  }

  /** The notebook of ours that a cell's document belongs to. */
  find(document: vscode.TextDocument): vscode.NotebookDocument | undefined {
    if (document.uri.scheme !== CELL_SCHEME) return undefined;
    const notebook = vscode.workspace.notebookDocuments.find((each) =>
      each.getCells().some((cell) => cell.document === document),
    );
    return notebook && this.isOurs(notebook) ? notebook : undefined;
  }

  /** The client of a notebook's kernel when that has been started. */
  running(notebook: vscode.NotebookDocument): Promise<KernelClient> | undefined {
    return this.#kernels.get(notebook)?.running;
  }

  /** The kernel of a notebook that uses our controller; its process starts on first use. */
  kernel(notebook: vscode.NotebookDocument): NotebookKernel {
    let kernel = this.#kernels.get(notebook);
    if (!kernel) {
      kernel = new NotebookKernel(notebook, { executions: this.executions, log: this.#log });
      this.#kernels.set(notebook, kernel);
    }
    return kernel;
  }

  /** Ends every kernel; resolves when their processes are gone. */
  async shutdown(): Promise<void> {
    await Promise.allSettled([...this.#kernels.values()].map((kernel) => kernel.shutdown()));
    this.#kernels.clear();
  }

  dispose(): void {
    for (const kernel of this.#kernels.values()) kernel.dispose();
    this.#kernels.clear();
    this.#disposable.dispose();
  }

  #offer(notebook: vscode.NotebookDocument): void {
    if (notebook.notebookType !== NOTEBOOK_TYPE || !isForUs(notebook.metadata)) return;
    this.#controller.updateNotebookAffinity(notebook, vscode.NotebookControllerAffinity.Preferred);
  }

  /**
   * Saving an untitled notebook opens the file as another document, fills it, and gives up the first, whose kernel
   * moves along: variables survive the first save.
   */
  #moveKernel(untitled: vscode.NotebookDocument): void {
    const kernel = this.#kernels.get(untitled);
    const saved = this.#newest;
    if (!kernel || !untitled.isUntitled || !saved || saved.isUntitled || saved.isClosed) return;
    if (this.#kernels.has(saved) || textOf(untitled) !== textOf(saved)) return;
    this.#kernels.delete(untitled);
    this.#kernels.set(saved, kernel);
    kernel.moveTo(saved);
  }

  async #execute(cells: readonly vscode.NotebookCell[], notebook: vscode.NotebookDocument): Promise<void> {
    this.#selected.add(notebook);
    if (!vscode.workspace.isTrusted) {
      void vscode.window.showErrorMessage(
        vscode.l10n.t('This folder is not trusted, so cells are not run: trust the folder first.'),
      );
      return;
    }
    await this.kernel(notebook).run(cells);
  }

  #close(notebook: vscode.NotebookDocument): void {
    this.#selected.delete(notebook);
    this.#kernels.get(notebook)?.dispose();
    this.#kernels.delete(notebook);
  }

  async #restart(target: unknown): Promise<void> {
    const uri = (target as { notebookEditor?: { notebookUri?: vscode.Uri } } | undefined)?.notebookEditor
      ?.notebookUri;
    const notebook = uri
      ? vscode.workspace.notebookDocuments.find((each) => each.uri.toString() === uri.toString())
      : vscode.window.activeNotebookEditor?.notebook;
    const kernel = notebook && this.#kernels.get(notebook);
    if (!kernel) {
      void vscode.window.showInformationMessage(
        vscode.l10n.t('No kernel is running for this notebook: it starts with the first cell.'),
      );
      return;
    }
    await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Notification, title: vscode.l10n.t('Restarting the kernel …') },
      () => kernel.restart(),
    );
  }
}

function textOf(notebook: vscode.NotebookDocument): string {
  return JSON.stringify(notebook.getCells().map(({ document }) => document.getText()));
}
