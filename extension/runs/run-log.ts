/** A run's log as a read-only document that grows while the run goes on. */
import * as vscode from 'vscode';
import type { DaemonLink } from './daemon-link.ts';
import type { RunList } from './run-list.ts';

const SCHEME = 'gpt-lab-log';
/** An open log asks for new lines no more often than this, ms. */
const REFRESH_INTERVAL = 1000;

/** Documents `gpt-lab-log:/<name>.log?<run>`: what the run's ranks wrote. */
export class RunLogs implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #daemon: DaemonLink;
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.#changed.event;
  readonly #texts = new Map<string, { text: string; offset: number }>();
  readonly #reads = new Map<string, Promise<string>>();
  readonly #disposable: vscode.Disposable;
  #refresh: NodeJS.Timeout | undefined;

  constructor(daemon: DaemonLink, runs: RunList) {
    this.#daemon = daemon;
    this.#disposable = vscode.Disposable.from(
      vscode.workspace.registerTextDocumentContentProvider(SCHEME, this),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => {
        if (uri.scheme !== SCHEME) return;
        this.#texts.delete(uri.query);
        this.#reads.delete(uri.query);
      }),
      runs.onDidChange(() => this.#refreshSoon()),
    );
  }

  /** Opens the log of a run and shows its end. */
  async show(run: string, name: string): Promise<void> {
    const path = `/${name.replaceAll(/[/\\]/g, '-')}.log`;
    const uri = vscode.Uri.from({ scheme: SCHEME, path, query: run });
    const isOpen = vscode.workspace.textDocuments.some((each) => each.uri.toString() === uri.toString());
    const document = await vscode.workspace.openTextDocument(uri);
    // A document that stayed open behind others was not kept up to date.
    if (isOpen) await this.#update(document);
    const editor = await vscode.window.showTextDocument(document, { preview: true });
    const end = document.lineAt(document.lineCount - 1).range;
    editor.revealRange(end);
  }

  /** Resolves when the document holds what there is; at once where nothing was added. */
  async #update(document: vscode.TextDocument): Promise<void> {
    const text = await this.provideTextDocumentContent(document.uri);
    // VS Code makes all line ends of a document alike, and tells of no change where there is none.
    const lines = (each: string): string => each.replaceAll(/\r\n?/g, '\n');
    if (lines(text) === lines(document.getText())) return;
    const changed = new Promise<void>((resolve) => {
      const listener = vscode.workspace.onDidChangeTextDocument((event) => {
        if (event.document !== document) return;
        listener.dispose();
        resolve();
      });
    });
    this.#changed.fire(document.uri);
    await changed;
  }

  /** The log so far. One read at a time per run: two would both append what is new. */
  provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const before = this.#reads.get(uri.query) ?? Promise.resolve('');
    const read = before.then(
      () => this.#read(uri.query),
      () => this.#read(uri.query),
    );
    this.#reads.set(uri.query, read);
    return read;
  }

  async #read(run: string): Promise<string> {
    const client = this.#daemon.client;
    const known = this.#texts.get(run) ?? { text: '', offset: 0 };
    if (!client)
      return known.text || vscode.l10n.t('No training daemon is running, so the log cannot be read.');
    for (;;) {
      const { text, offset } = await client.request('run.logs', { run, offset: known.offset });
      known.text += text;
      const more = offset > known.offset;
      known.offset = offset;
      if (!more) break;
    }
    // It may have been closed meanwhile.
    if (this.#reads.has(run)) this.#texts.set(run, known);
    return known.text || vscode.l10n.t('Nothing was written so far.');
  }

  dispose(): void {
    clearTimeout(this.#refresh);
    this.#disposable.dispose();
    this.#changed.dispose();
  }

  #refreshSoon(): void {
    const visible = vscode.window.visibleTextEditors.filter(({ document }) => document.uri.scheme === SCHEME);
    if (visible.length === 0) return;
    this.#refresh ??= setTimeout(() => {
      this.#refresh = undefined;
      for (const { document } of visible) this.#changed.fire(document.uri);
    }, REFRESH_INTERVAL);
  }
}
