/** What TypeScript finds wrong in cells, told by the kernel, which knows all of them; cells run all the same. */
import * as vscode from 'vscode';
import type { Notebooks } from './controller.ts';
import { codeOf } from './notebook-code.ts';

/** Rest after the last change before cells are checked, ms. */
const REST = 400;

/** Checks notebooks of ours whose kernel runs; none is started for it. */
export class CellDiagnostics implements vscode.Disposable {
  readonly #notebooks: Notebooks;
  readonly #log: vscode.LogOutputChannel;
  readonly #collection = vscode.languages.createDiagnosticCollection('gpt-lab');
  readonly #timers = new Map<vscode.NotebookDocument, NodeJS.Timeout>();
  readonly #disposable: vscode.Disposable;

  constructor(notebooks: Notebooks, log: vscode.LogOutputChannel) {
    this.#notebooks = notebooks;
    this.#log = log;
    this.#disposable = vscode.Disposable.from(
      this.#collection,
      vscode.workspace.onDidChangeTextDocument(({ document }) => {
        const notebook = notebooks.find(document);
        if (notebook) this.#schedule(notebook);
      }),
      vscode.workspace.onDidChangeNotebookDocument(({ notebook, contentChanges, cellChanges }) => {
        // Cells come, go, and are run, which starts the kernel and gives it names. Outputs change nothing.
        const ran = cellChanges.some(({ executionSummary }) => executionSummary?.success !== undefined);
        if (ran || contentChanges.length > 0) this.#schedule(notebook);
      }),
      vscode.workspace.onDidCloseNotebookDocument((notebook) => this.#clear(notebook)),
      notebooks.onDidChangeSelection(() => {
        for (const notebook of vscode.workspace.notebookDocuments)
          if (!notebooks.isOurs(notebook)) this.#clear(notebook);
      }),
    );
  }

  dispose(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#disposable.dispose();
  }

  #schedule(notebook: vscode.NotebookDocument): void {
    if (!this.#notebooks.isOurs(notebook)) return;
    clearTimeout(this.#timers.get(notebook));
    const check = (): void => {
      this.#timers.delete(notebook);
      this.#check(notebook).catch((error: unknown) =>
        this.#log.debug(`Cells could not be checked: ${String(error)}`),
      );
    };
    this.#timers.set(notebook, setTimeout(check, REST));
  }

  async #check(notebook: vscode.NotebookDocument): Promise<void> {
    const kernel = await this.#notebooks.running(notebook);
    if (!kernel) return;
    const checked = codeOf(notebook).map(({ document }) => ({ document, version: document.version }));
    const found = await kernel.diagnose(checked.map(({ document }) => document.getText()));
    for (const [index, { document, version }] of checked.entries()) {
      // What has changed meanwhile is checked again soon.
      if (document.isClosed || document.version !== version) continue;
      const shown = (found[index] ?? []).map(({ start, end, message, code, severity }) => {
        const range = new vscode.Range(document.positionAt(start), document.positionAt(end));
        const diagnostic = new vscode.Diagnostic(
          range,
          message,
          severity === 'error' ? vscode.DiagnosticSeverity.Error : vscode.DiagnosticSeverity.Warning,
        );
        diagnostic.source = 'ts';
        diagnostic.code = code;
        return diagnostic;
      });
      this.#collection.set(document.uri, shown);
    }
  }

  #clear(notebook: vscode.NotebookDocument): void {
    clearTimeout(this.#timers.get(notebook));
    this.#timers.delete(notebook);
    for (const { document } of notebook.getCells()) this.#collection.delete(document.uri);
  }
}
