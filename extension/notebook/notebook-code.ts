/** The code of a notebook that our kernel runs. */
import * as vscode from 'vscode';

/** Languages of cells that the kernel runs. */
export const LANGUAGES = ['typescript', 'javascript'];

/** Its code cells in our languages, from top to bottom. */
export function codeOf(notebook: vscode.NotebookDocument): vscode.NotebookCell[] {
  return notebook
    .getCells()
    .filter(
      ({ kind, document }) =>
        kind === vscode.NotebookCellKind.Code && LANGUAGES.includes(document.languageId),
    );
}
