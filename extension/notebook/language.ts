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
  /** The cell as it was, and what the completion takes the place of in it: more may be typed meanwhile. */
  readonly text: string;
  readonly replaced: readonly [start: number, end: number];

  constructor(
    label: vscode.CompletionItemLabel,
    kind: vscode.CompletionItemKind,
    place: Pick<CellCompletion, 'document' | 'text' | 'replaced'>,
  ) {
    super(label, kind);
    this.document = place.document;
    this.text = place.text;
    this.replaced = place.replaced;
  }

  /** The cell as if the completion had been chosen, and the end of the name in it. */
  chosen(): [text: string, cursor: number] {
    const [start, end] = this.replaced;
    const before = (this.additionalTextEdits?.[0]?.newText ?? '') + this.text.slice(0, start);
    const name = typeof this.label === 'string' ? this.label : this.label.label;
    return [before + name + this.text.slice(end), before.length + name.length];
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
      const [text, cursor] = at(document, position);
      const reply = await ask(document, [text, cursor], (kernel, ...place) => kernel.complete(...place));
      if (!reply || token.isCancellationRequested) return [];
      const replaced = [reply.cursor_start, reply.cursor_end] as const;
      const range = new vscode.Range(document.positionAt(replaced[0]), document.positionAt(replaced[1]));
      const types = typesOf(reply.metadata);
      return reply.matches.map((match, index) => {
        const { type, module } = types.get(match) ?? {};
        const label = { label: match, ...(module === undefined ? {} : { description: module }) };
        const item = new CellCompletion(label, kindOf(type), { document, text, replaced });
        item.range = range;
        // The kernel's order is by relevance.
        item.sortText = String(index).padStart(6, '0');
        if (module !== undefined) {
          const edit = `import { ${match} } from '${module}';\n`;
          item.additionalTextEdits = [vscode.TextEdit.insert(new vscode.Position(0, 0), edit)];
        }
        return item;
      });
    },
    resolveCompletionItem: async (item, token) => {
      const reply = await ask(item.document, item.chosen(), (kernel, ...place) => kernel.inspect(...place));
      const documentation = reply && markdownOf(reply.data);
      // The list may be gone by now, and VS Code takes nothing for it then.
      if (!documentation || token.isCancellationRequested) return undefined;
      item.documentation = documentation;
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
