/** `GPT Lab: New Notebook`. */
import * as vscode from 'vscode';
import { NOTEBOOK_METADATA } from './kernelspec.ts';

const STARTER = `import { train, gpt2, text } from 'gpt-lab';

const run = await train({
  model: gpt2('nano'),
  data: text('data.txt'), // a text file beside this notebook
  training: { steps: 200 },
});
run.plot();`;

/** Opens an unsaved notebook with our kernel and a cell that trains. */
export async function newNotebook(): Promise<void> {
  const data = new vscode.NotebookData([
    new vscode.NotebookCellData(vscode.NotebookCellKind.Code, STARTER, 'typescript'),
  ]);
  data.metadata = { metadata: NOTEBOOK_METADATA, nbformat: 4, nbformat_minor: 5 };
  const notebook = await vscode.workspace.openNotebookDocument('jupyter-notebook', data);
  await vscode.window.showNotebookDocument(notebook);
}
