/** Completion and hover in cells of our controller: the kernel knows all cells and the values they left behind. */
import * as vscode from 'vscode';
import type { Notebooks } from './controller.ts';

/** After these characters completion is asked for by itself. */
const TRIGGERS = ['.', '"', "'", '/', '@', '<'];

/** Registers the providers; the kernel starts with the first request in a notebook that is ours. */
export function registerLanguageProviders(
  notebooks: Notebooks,
  log: vscode.LogOutputChannel,
): vscode.Disposable {
  const selector = ['typescript', 'javascript'].map((language) => ({
    notebookType: 'jupyter-notebook',
    language,
  }));
  const ask = async <T>(
    document: vscode.TextDocument,
    question: (kernel: Awaited<ReturnType<ReturnType<Notebooks['kernel']>['client']>>) => Promise<T>,
  ): Promise<T | undefined> => {
    const notebook = vscode.workspace.notebookDocuments.find((each) =>
      each.getCells().some((cell) => cell.document === document),
    );
    if (!notebook || !notebooks.isOurs(notebook) || !vscode.workspace.isTrusted) return undefined;
    try {
      return await question(await notebooks.kernel(notebook).client());
    } catch (error) {
      // No answer is better than an error for each key stroke; running a cell shows what is wrong.
      log.debug(`The kernel did not answer: ${String(error)}`);
      return undefined;
    }
  };

  const completion: vscode.CompletionItemProvider = {
    provideCompletionItems: async (document, position, token) => {
      const cursor = document.offsetAt(position);
      const reply = await ask(document, (kernel) => kernel.complete(document.getText(), cursor));
      if (!reply || token.isCancellationRequested) return [];
      const range = new vscode.Range(
        document.positionAt(reply.cursor_start),
        document.positionAt(reply.cursor_end),
      );
      const types = typesOf(reply.metadata);
      return reply.matches.map((match, index) => {
        const item = new vscode.CompletionItem(match, kindOf(types.get(match)));
        item.range = range;
        // The kernel's order is by relevance.
        item.sortText = String(index).padStart(6, '0');
        return item;
      });
    },
  };
  const hover: vscode.HoverProvider = {
    provideHover: async (document, position, token) => {
      const cursor = document.offsetAt(position);
      const reply = await ask(document, (kernel) => kernel.inspect(document.getText(), cursor));
      if (!reply?.found || token.isCancellationRequested) return undefined;
      const markdown = reply.data['text/markdown'];
      const plain = reply.data['text/plain'];
      if (typeof markdown === 'string') return new vscode.Hover(new vscode.MarkdownString(markdown));
      if (typeof plain === 'string')
        return new vscode.Hover(new vscode.MarkdownString().appendCodeblock(plain, 'typescript'));
      return undefined;
    },
  };
  return vscode.Disposable.from(
    vscode.languages.registerCompletionItemProvider(selector, completion, ...TRIGGERS),
    vscode.languages.registerHoverProvider(selector, hover),
  );
}

/** Kinds of completions, as Jupyter's experimental metadata tells them. */
function typesOf(metadata: unknown): Map<string, string> {
  const types = (metadata as Record<string, unknown> | undefined)?.['_jupyter_types_experimental'];
  if (!Array.isArray(types)) return new Map();
  return new Map(types.map((each: { text: string; type: string }) => [each.text, each.type]));
}

function kindOf(type: string | undefined): vscode.CompletionItemKind {
  const kinds: Record<string, vscode.CompletionItemKind> = {
    function: vscode.CompletionItemKind.Function,
    method: vscode.CompletionItemKind.Method,
    class: vscode.CompletionItemKind.Class,
    interface: vscode.CompletionItemKind.Interface,
    type: vscode.CompletionItemKind.TypeParameter,
    module: vscode.CompletionItemKind.Module,
    keyword: vscode.CompletionItemKind.Keyword,
    property: vscode.CompletionItemKind.Property,
    enum: vscode.CompletionItemKind.Enum,
    const: vscode.CompletionItemKind.Constant,
    string: vscode.CompletionItemKind.Value,
  };
  return kinds[type ?? ''] ?? vscode.CompletionItemKind.Variable;
}
