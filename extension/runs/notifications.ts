/** Tells when a long run has ended. */
import * as vscode from 'vscode';
import type { RunSummary } from '../../kernel/protocol/events.ts';
import type { DaemonLink } from './daemon-link.ts';
import type { RunList } from './run-list.ts';
import { contextValue, type RunText } from './run-text.ts';

/**
 * Shows a notification with actions when a run ends that took longer than `gptLab.notifyAfterSeconds`, and one when
 * the daemon goes away under running runs. Runs that somebody stopped are not announced: they know.
 */
export function notifyOfRuns(
  runs: RunList,
  daemon: DaemonLink,
  text: RunText,
  log: vscode.LogOutputChannel,
): vscode.Disposable {
  const failed = (error: unknown): void => log.error(`A notification's action failed: ${String(error)}`);
  return vscode.Disposable.from(
    runs.onDidEnd((run) => {
      const limit = vscode.workspace.getConfiguration('gptLab').get<number>('notifyAfterSeconds', 60);
      const seconds = ((run.endedAt ?? Date.now()) - run.createdAt) / 1000;
      if (run.state === 'stopped' || limit < 0 || seconds < limit) return;
      announce(run, text).catch(failed);
    }),
    daemon.onDidChange((client) => {
      const running = runs.all.filter(({ state }) => state === 'running').length;
      if (client || running === 0) return;
      announceLoss(running, daemon).catch(failed);
    }),
  );
}

async function announce(run: RunSummary, text: RunText): Promise<void> {
  const actions: { title: string; command: string }[] = [
    { title: vscode.l10n.t('Reveal'), command: 'gptLab.revealRun' },
    { title: vscode.l10n.t('Show Log'), command: 'gptLab.showRunLog' },
  ];
  if (contextValue(run).includes('resumable'))
    actions.unshift({ title: vscode.l10n.t('Resume'), command: 'gptLab.resumeRun' });
  const show =
    run.state === 'finished' ? vscode.window.showInformationMessage : vscode.window.showWarningMessage;
  const chosen = await show(text.ended(run), ...actions);
  if (chosen) await vscode.commands.executeCommand(chosen.command, run);
}

async function announceLoss(running: number, daemon: DaemonLink): Promise<void> {
  const start = vscode.l10n.t('Start It Again');
  const chosen = await vscode.window.showWarningMessage(
    running === 1
      ? vscode.l10n.t(
          'The training daemon ended while a run was going on. The run can be resumed from its last checkpoint.',
        )
      : vscode.l10n.t(
          'The training daemon ended while {0} runs were going on. They can be resumed from their last checkpoints.',
          running,
        ),
    start,
  );
  if (chosen === start && !daemon.client) await daemon.require();
}
