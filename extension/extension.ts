/** The extension: every part of it, by name. Nothing here loads a client, a socket or an engine. */
import * as vscode from 'vscode';
import { Notebooks } from './notebook/controller.ts';
import { CellDiagnostics } from './notebook/diagnostics.ts';
import { registerLanguageProviders } from './notebook/language.ts';
import { newNotebook } from './notebook/new-notebook.ts';
import { configureTypeScriptServer } from './notebook/typescript-server.ts';
import { PlotSnapshots } from './notebook/plot-outputs.ts';
import { DaemonLink } from './runs/daemon-link.ts';
import { notifyOfRuns } from './runs/notifications.ts';
import { PlotFeed } from './runs/plot-feed.ts';
import { registerRunCommands } from './runs/run-commands.ts';
import { RunList } from './runs/run-list.ts';
import { RunLogs } from './runs/run-log.ts';
import { RunText } from './runs/run-text.ts';
import { RunsView } from './runs/runs-view.ts';
import { createStatusBar } from './runs/status-bar.ts';

let notebooks: Notebooks | undefined;

/** Called by VS Code on the first notebook, view or command of ours. */
export function activate(context: vscode.ExtensionContext): void {
  const started = performance.now();
  const log = vscode.window.createOutputChannel('GPT Lab', { log: true });
  const text = new RunText((message, ...values) => vscode.l10n.t(message, ...values));

  const daemon = new DaemonLink(log);
  const runs = new RunList(daemon, log);
  const logs = new RunLogs(daemon, runs);
  notebooks = new Notebooks(log);

  context.subscriptions.push(
    log,
    daemon,
    runs,
    logs,
    notebooks,
    registerLanguageProviders(notebooks, log),
    new CellDiagnostics(notebooks, log),
    configureTypeScriptServer(notebooks, log),
    new PlotSnapshots(notebooks, daemon, runs, log),
    new PlotFeed(daemon, runs, log),
    new RunsView(runs, daemon, text),
    createStatusBar(runs, daemon, text),
    notifyOfRuns(runs, daemon, text, log),
    registerRunCommands(daemon, runs, logs),
    vscode.commands.registerCommand('gptLab.newNotebook', newNotebook),
  );
  // Looks for a daemon that runs already; starts none.
  daemon.watch();
  log.info(`Activated in ${(performance.now() - started).toFixed(1)} ms`);
}

/** Called by VS Code when the window closes: kernels end with it, runs go on in the daemon. */
export async function deactivate(): Promise<void> {
  await notebooks?.shutdown();
}
