/** The Runs view in the side bar. */
import * as vscode from 'vscode';
import type { RunState, RunSummary } from '../../kernel/protocol/events.ts';
import type { DaemonLink } from './daemon-link.ts';
import type { RunList } from './run-list.ts';
import { contextValue, sortRuns, type RunText } from './run-text.ts';

/** Redraws no more often than this, ms: summaries come with every step. */
const REDRAW_INTERVAL = 500;
/** Ages ("3 min ago") are brought up to date this often, ms. */
const AGE_INTERVAL = 60_000;

const ICONS: Record<RunState, [icon: string, color: string]> = {
  running: ['sync~spin', 'charts.blue'],
  finished: ['pass-filled', 'testing.iconPassed'],
  stopped: ['debug-stop', 'descriptionForeground'],
  failed: ['error', 'testing.iconFailed'],
  interrupted: ['warning', 'list.warningForeground'],
};

/** Shows runs newest first, running ones on top; a tree of one level. */
export class RunsView implements vscode.TreeDataProvider<RunSummary>, vscode.Disposable {
  readonly #runs: RunList;
  readonly #daemon: DaemonLink;
  readonly #text: RunText;
  readonly #changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.#changed.event;
  readonly #view: vscode.TreeView<RunSummary>;
  readonly #disposables: vscode.Disposable[] = [];
  #redraw: NodeJS.Timeout | undefined;

  constructor(runs: RunList, daemon: DaemonLink, text: RunText) {
    this.#runs = runs;
    this.#daemon = daemon;
    this.#text = text;
    this.#view = vscode.window.createTreeView('gptLab.runs', { treeDataProvider: this });
    const ages = setInterval(() => {
      if (this.#view.visible) this.#draw();
    }, AGE_INTERVAL);
    this.#disposables.push(
      this.#view,
      runs.onDidChange(() => this.#drawSoon()),
      daemon.onDidChange((client) => {
        void vscode.commands.executeCommand('setContext', 'gptLab.daemon', client ? 'attached' : 'absent');
        this.#drawSoon();
      }),
      new vscode.Disposable(() => clearInterval(ages)),
    );
  }

  getChildren(element?: RunSummary): RunSummary[] {
    return element ? [] : sortRuns(this.#runs.all);
  }

  getTreeItem(run: RunSummary): vscode.TreeItem {
    const item = new vscode.TreeItem(run.name);
    // Of a run that was going on when the daemon went away nothing is known until a daemon is back.
    const lost = run.state === 'running' && !this.#daemon.client;
    const [icon, color]: [string, string] = lost ? ['question', 'descriptionForeground'] : ICONS[run.state];
    item.id = run.run;
    item.iconPath = new vscode.ThemeIcon(icon, new vscode.ThemeColor(color));
    item.description = lost ? vscode.l10n.t('the daemon is gone') : this.#text.description(run, Date.now());
    item.contextValue = lost ? 'run' : contextValue(run);
    item.tooltip = this.#tooltip(run);
    item.accessibilityInformation = {
      label: `${run.name}, ${this.#text.state(run.state)}, ${item.description}`,
    };
    item.command = { command: 'gptLab.revealRun', title: vscode.l10n.t('Reveal Run'), arguments: [run] };
    return item;
  }

  dispose(): void {
    clearTimeout(this.#redraw);
    for (const disposable of this.#disposables) disposable.dispose();
    this.#changed.dispose();
  }

  #tooltip(run: RunSummary): vscode.MarkdownString {
    const tooltip = new vscode.MarkdownString();
    tooltip.appendMarkdown('**').appendText(run.name).appendMarkdown('**\n\n|||\n|---|---|\n');
    for (const [label, value] of this.#text.facts(run)) {
      tooltip.appendMarkdown(`|${escapeCell(label)}|${escapeCell(value)}|\n`);
    }
    if (run.error !== null) tooltip.appendMarkdown('\n').appendCodeblock(run.error, 'text');
    return tooltip;
  }

  #drawSoon(): void {
    this.#redraw ??= setTimeout(() => this.#draw(), REDRAW_INTERVAL);
  }

  #draw(): void {
    clearTimeout(this.#redraw);
    this.#redraw = undefined;
    const running = this.#runs.all.filter(({ state }) => state === 'running').length;
    this.#view.badge =
      running > 0 && this.#daemon.client
        ? { value: running, tooltip: vscode.l10n.t('{0} running', running) }
        : undefined;
    this.#changed.fire(undefined);
  }
}

function escapeCell(value: string): string {
  return value.replace(/[\\`*_{}[\]()#+\-.!|<>~]/g, '\\$&').replace(/\s+/g, ' ');
}
