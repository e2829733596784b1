/** What can be done with a run: from the Runs view, from notifications and from a plot's own button. */
import { existsSync } from 'node:fs';
import * as vscode from 'vscode';
import { findPlots, isOpenFile } from '../notebook/plot-outputs.ts';
import type { DaemonLink } from './daemon-link.ts';
import type { RunList } from './run-list.ts';
import type { RunLogs } from './run-log.ts';

/** Who a command is about: an element of the Runs view, or whatever else names a run. */
interface Target {
  run: string;
}

/** Registers the commands of the Runs view. */
export function registerRunCommands(daemon: DaemonLink, runs: RunList, logs: RunLogs): vscode.Disposable {
  const nameOf = ({ run }: Target): string => runs.get(run)?.name ?? run;

  const commands: Record<string, (target: Target) => Promise<void>> = {
    'gptLab.stopRun': async (target) => {
      const client = await daemon.require();
      const title = vscode.l10n.t('Stopping “{0}” after its current step …', nameOf(target));
      // Not a notification: the answer comes after the step and its checkpoint, and the view shows the state.
      await vscode.window.withProgress({ location: { viewId: 'gptLab.runs' }, title }, () =>
        client.request('run.stop', { run: target.run }),
      );
    },
    'gptLab.resumeRun': async (target) => {
      if (!vscode.workspace.isTrusted)
        throw new Error(
          vscode.l10n.t('This folder is not trusted, so no run is started: trust the folder first.'),
        );
      await (await daemon.require()).request('run.resume', { run: target.run });
    },
    'gptLab.removeRun': async (target) => {
      const remove = vscode.l10n.t('Remove');
      const chosen = await vscode.window.showWarningMessage(
        vscode.l10n.t('Remove “{0}”?', nameOf(target)),
        {
          modal: true,
          detail: vscode.l10n.t('Its metrics, its log and its checkpoints are deleted for good.'),
        },
        remove,
      );
      if (chosen === remove) await (await daemon.require()).request('run.remove', { run: target.run });
    },
    'gptLab.copyRunId': async (target) => {
      await vscode.env.clipboard.writeText(target.run);
      vscode.window.setStatusBarMessage(vscode.l10n.t('Copied {0}', target.run), 3000);
    },
    'gptLab.showRunLog': (target) => logs.show(target.run, nameOf(target)),
    'gptLab.revealRun': async (target) => {
      if (!(await revealPlot(target.run, runs.get(target.run)?.source)))
        await logs.show(target.run, nameOf(target));
    },
  };

  return vscode.Disposable.from(
    ...Object.entries(commands).map(([id, action]) =>
      vscode.commands.registerCommand(id, (target: unknown) => attempt(() => action(asTarget(target)))),
    ),
    vscode.commands.registerCommand('gptLab.showRuns', () =>
      vscode.commands.executeCommand('gptLab.runs.focus'),
    ),
    vscode.commands.registerCommand('gptLab.showPastRuns', () =>
      attempt(async () => {
        await vscode.window.withProgress({ location: { viewId: 'gptLab.runs' } }, () => daemon.require());
      }),
    ),
  );
}

/** A command that fails says why; the reason is the daemon's own sentence. */
async function attempt(action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    void vscode.window.showErrorMessage(error instanceof Error ? error.message : String(error));
  }
}

function asTarget(target: unknown): Target {
  const run = (target as Partial<Target> | undefined)?.run;
  if (typeof run !== 'string') throw new Error(vscode.l10n.t('Choose a run in the Runs view.'));
  return { run };
}

/** Shows the plot of a run in an open notebook, or in the one that started the run; false when there is none. */
async function revealPlot(run: string, source: string | undefined): Promise<boolean> {
  const open = vscode.workspace.notebookDocuments.filter(isOpenFile);
  for (const notebook of open) if (await revealIn(notebook, run)) return true;
  if (source === undefined || !existsSync(source)) return false;
  const uri = vscode.Uri.file(source);
  if (!source.endsWith('.ipynb')) {
    await vscode.window.showTextDocument(uri);
    return true;
  }
  const notebook = await vscode.workspace.openNotebookDocument(uri);
  if (!(await revealIn(notebook, run))) await vscode.window.showNotebookDocument(notebook);
  return true;
}

async function revealIn(notebook: vscode.NotebookDocument, run: string): Promise<boolean> {
  const cell = findPlots(notebook).findLast(({ plot }) => plot.run === run)?.cell;
  if (!cell) return false;
  const range = new vscode.NotebookRange(cell.index, cell.index + 1);
  const editor = await vscode.window.showNotebookDocument(notebook, { selections: [range] });
  editor.revealRange(range, vscode.NotebookEditorRevealType.InCenterIfOutsideViewport);
  return true;
}
