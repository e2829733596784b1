/** The status bar while runs go on. */
import * as vscode from 'vscode';
import type { DaemonLink } from './daemon-link.ts';
import type { RunList } from './run-list.ts';
import { sortRuns, type RunText } from './run-text.ts';

/** Shows progress, loss and time left while runs go on, and nothing otherwise; a click shows the Runs view. */
export function createStatusBar(runs: RunList, daemon: DaemonLink, text: RunText): vscode.Disposable {
  const item = vscode.window.createStatusBarItem('gptLab.runs', vscode.StatusBarAlignment.Left, 5);
  item.name = 'GPT Lab';
  item.command = 'gptLab.showRuns';
  const update = (): void => {
    const status = daemon.client && text.status(runs.all);
    if (status === undefined) {
      item.hide();
      return;
    }
    item.text = `$(graph-line) ${status}`;
    const running = sortRuns(runs.all).filter(({ state }) => state === 'running');
    const lines = running.map((run) => `${run.name}: ${text.description(run, Date.now())}`);
    item.tooltip = [...lines, vscode.l10n.t('Click to show all runs.')].join('\n');
    item.accessibilityInformation = { label: vscode.l10n.t('Training: {0}', status) };
    item.show();
  };
  return vscode.Disposable.from(item, runs.onDidChange(update), daemon.onDidChange(update));
}
