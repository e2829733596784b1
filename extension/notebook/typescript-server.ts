/** Tells VS Code's TypeScript server which notebooks are ours, so that it leaves their cells to the kernel. */
import * as vscode from 'vscode';
import type { Notebooks } from './controller.ts';

const PLUGIN = 'gpt-lab-typescript-plugin';

/** The part of the built-in extension's API that we use; it is versioned and stable since VS Code 1.30. */
interface TypeScriptExtension {
  getAPI?(version: 0): { configurePlugin(plugin: string, configuration: unknown): void } | undefined;
}

/** Keeps the plugin in extension/typescript-plugin up to date while notebooks open, close and change their kernel. */
export function configureTypeScriptServer(
  notebooks: Notebooks,
  log: vscode.LogOutputChannel,
): vscode.Disposable {
  let told = '';
  const tell = async (): Promise<void> => {
    const ours = vscode.workspace.notebookDocuments.filter((notebook) => notebooks.isOurs(notebook));
    const paths = ours.map(({ uri }) => uri.path).sort();
    if (paths.join('\n') === told) return;
    told = paths.join('\n');
    const extension = vscode.extensions.getExtension<TypeScriptExtension>(
      'vscode.typescript-language-features',
    );
    // Absent where the user has switched it off: then there is nobody to tell.
    const api = (await extension?.activate())?.getAPI?.(0);
    api?.configurePlugin(PLUGIN, { notebooks: paths });
  };
  const update = (): void => {
    tell().catch((error: unknown) => log.warn(`The TypeScript server was not configured: ${String(error)}`));
  };
  update();
  return vscode.Disposable.from(
    vscode.workspace.onDidOpenNotebookDocument(update),
    vscode.workspace.onDidCloseNotebookDocument(update),
    notebooks.onDidChangeSelection(update),
  );
}
