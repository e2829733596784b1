/** `GPT Lab: New Notebook`. */
import * as vscode from 'vscode';
import { NOTEBOOK_METADATA } from './kernelspec.ts';

const STARTER = `import { train, gpt2, text, samples } from 'gpt-lab';

const run = await train({
  model: gpt2('nano'),
  // Or your own: text('my-text.txt'), a path from this notebook.
  data: text(samples.mobyDick, { tokenizer: 'bpe', vocabularySize: 8192 }),
  training: { steps: 600, sequenceLength: 64, optimizer: { learningRate: 1e-3 } },
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
