/** Completion, hover and parameter hints in cells of our controller: the kernel knows all cells, run or not. */
import * as vscode from 'vscode';
import type { KernelClient } from '../../kernel/jupyter/client.ts';
import type { Notebooks } from './controller.ts';
import { codeOf, LANGUAGES } from './notebook-code.ts';

/** After these characters completion is asked for by itself. */
const TRIGGERS = ['.', '"', "'", '/', '@', '<'];

/** What a cell's position becomes for the kernel. */
type Place = Parameters<KernelClient['complete']>;

/** A completion that can look up its documentation when it is selected. */
class CellCompletion extends vscode.CompletionItem {
  readonly document: vscode.TextDocument;

  constructor(label: string, kind: vscode.CompletionItemKind, document: vscode.TextDocument) {
    super(label, kind);
    this.document = document;
  }
}

/** Registers the providers; the kernel starts with the first request in a notebook that is ours. */
export function registerLanguageProviders(
  notebooks: Notebooks,
  log: vscode.LogOutputChannel,
): vscode.Disposable {
  const selector = LANGUAGES.map((language) => ({ notebookType: 'jupyter-notebook', language }));
  /** Asks the kernel of a cell's notebook about a place in the cell, whose text may be given otherwise than it is. */
  const ask = async <T>(
    document: vscode.TextDocument,
    [text, cursor]: readonly [text: string, cursor: number],
    question: (kernel: KernelClient, ...place: Place) => Promise<T>,
  ): Promise<T | undefined> => {
    const notebook = notebooks.find(document);
    if (!notebook || !vscode.workspace.isTrusted) return undefined;
    const cells = codeOf(notebook);
    const earlier = cells.slice(
      0,
      cells.findIndex((cell) => cell.document === document),
    );
    try {
      const kernel = await notebooks.kernel(notebook).client();
      return await question(
        kernel,
        text,
        cursor,
        earlier.map((cell) => cell.document.getText()),
      );
    } catch (error) {
      // No answer is better than an error for each key stroke; running a cell shows what is wrong.
      log.debug(`The kernel did not answer: ${String(error)}`);
      return undefined;
    }
  };
  const at = (document: vscode.TextDocument, position: vscode.Position): [string, number] => [
    document.getText(),
    document.offsetAt(position),
  ];

  const completion: vscode.CompletionItemProvider<CellCompletion> = {
    provideCompletionItems: async (document, position, token) => {
      const reply = await ask(document, at(document, position), (kernel, ...place) =>
        kernel.complete(...place),
      );
      if (!reply || token.isCancellationRequested) return [];
      const range = new vscode.Range(
        document.positionAt(reply.cursor_start),
        document.positionAt(reply.cursor_end),
      );
      const types = typesOf(reply.metadata);
      return reply.matches.map((match, index) => {
        const { type, module } = types.get(match) ?? {};
        const item = new CellCompletion(match, kindOf(type), document);
        item.range = range;
        if (module !== undefined) {
          item.label = { label: match, description: module };
          const edit = `import { ${match} } from '${module}';\n`;
          item.additionalTextEdits = [vscode.TextEdit.insert(new vscode.Position(0, 0), edit)];
        }
        // The kernel's order is by relevance.
        item.sortText = String(index).padStart(6, '0');
        return item;
      });
    },
    resolveCompletionItem: async (item) => {
      const { document, range } = item;
      if (!(range instanceof vscode.Range)) return item;
      // As if it had been chosen.
      const text = document.getText();
      const name = typeof item.label === 'string' ? item.label : item.label.label;
      const before =
        (item.additionalTextEdits?.[0]?.newText ?? '') + text.slice(0, document.offsetAt(range.start));
      const chosen = before + name + text.slice(document.offsetAt(range.end));
      const reply = await ask(document, [chosen, before.length + name.length], (kernel, ...place) =>
        kernel.inspect(...place),
      );
      const documentation = reply && markdownOf(reply.data);
      if (documentation) item.documentation = documentation;
      return item;
    },
  };

  const hover: vscode.HoverProvider = {
    provideHover: async (document, position, token) => {
      const reply = await ask(document, at(document, position), (kernel, ...place) =>
        kernel.inspect(...place),
      );
      const markdown = reply?.found && !token.isCancellationRequested ? markdownOf(reply.data) : undefined;
      return markdown && new vscode.Hover(markdown);
    },
  };

  const signatures: vscode.SignatureHelpProvider = {
    provideSignatureHelp: async (document, position) => {
      const help = await ask(document, at(document, position), (kernel, ...place) =>
        kernel.signatures(...place),
      );
      if (!help) return undefined;
      const shown = new vscode.SignatureHelp();
      shown.signatures = help.signatures.map(({ label, documentation, parameters }) => {
        const signature = new vscode.SignatureInformation(label, new vscode.MarkdownString(documentation));
        signature.parameters = parameters.map(
          (each) => new vscode.ParameterInformation(each.label, each.documentation),
        );
        return signature;
      });
      shown.activeSignature = help.activeSignature;
      shown.activeParameter = help.activeParameter;
      return shown;
    },
  };

  return vscode.Disposable.from(
    vscode.languages.registerCompletionItemProvider(selector, completion, ...TRIGGERS),
    vscode.languages.registerHoverProvider(selector, hover),
    vscode.languages.registerSignatureHelpProvider(selector, signatures, '(', ','),
  );
}

function markdownOf(data: Record<string, unknown>): vscode.MarkdownString | undefined {
  const { 'text/markdown': markdown, 'text/plain': plain } = data;
  if (typeof markdown === 'string') return new vscode.MarkdownString(markdown);
  if (typeof plain === 'string') return new vscode.MarkdownString().appendCodeblock(plain, 'typescript');
  return undefined;
}

/** Kinds of completions, as Jupyter's experimental metadata tells them. */
function typesOf(metadata: Record<string, unknown>): Map<string, { type: string; module?: string }> {
  const types = metadata['_jupyter_types_experimental'] as { text: string; type: string; module?: string }[];
  return new Map(types.map((each) => [each.text, each]));
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
    alias: vscode.CompletionItemKind.Reference,
    file: vscode.CompletionItemKind.File,
    directory: vscode.CompletionItemKind.Folder,
  };
  return kinds[type ?? ''] ?? vscode.CompletionItemKind.Variable;
}
