/** Feeds the plots in notebook outputs: they ask for a run's events, and get them as they come. */
import * as vscode from 'vscode';
import type { PlotMessage } from '../../kernel/protocol/plot.ts';
import type { DaemonLink } from './daemon-link.ts';
import { PlotSubscription } from './plot-subscription.ts';
import type { RunList } from './run-list.ts';

interface Subscriber {
  readonly editor: vscode.NotebookEditor;
  readonly subscription: PlotSubscription;
}

/** Answers the requests of the renderer `gpt-lab-plot` in every notebook editor of this window. */
export class PlotFeed implements vscode.Disposable {
  readonly #daemon: DaemonLink;
  readonly #runs: RunList;
  readonly #log: vscode.LogOutputChannel;
  readonly #messaging = vscode.notebooks.createRendererMessaging('gpt-lab-plot');
  /** By the plot's own id: editors side by side have a plot each for one output. */
  readonly #subscribers = new Map<string, Subscriber>();
  readonly #disposable: vscode.Disposable;

  constructor(daemon: DaemonLink, runs: RunList, log: vscode.LogOutputChannel) {
    this.#daemon = daemon;
    this.#runs = runs;
    this.#log = log;
    this.#disposable = vscode.Disposable.from(
      this.#messaging.onDidReceiveMessage(({ editor, message }) => {
        this.#receive(editor, message).catch((error: unknown) =>
          log.error(`A plot's request failed: ${String(error)}`),
        );
      }),
      daemon.onDidChange((client) => {
        for (const { subscription } of this.#subscribers.values()) {
          if (client) this.#follow(subscription);
          else subscription.lost(noDaemon());
        }
      }),
      // A run that was resumed goes on in the plots that show it.
      runs.onDidChange(() => {
        for (const { subscription } of this.#subscribers.values()) this.#follow(subscription);
      }),
      // What a plot missed in a hidden editor it asks for itself when it comes into sight, mostly of another object.
      vscode.window.onDidChangeVisibleNotebookEditors((editors) => {
        for (const { editor, subscription } of this.#subscribers.values()) {
          if (!editors.includes(editor)) continue;
          subscription.shown();
          this.#follow(subscription);
        }
      }),
      vscode.workspace.onDidCloseNotebookDocument((notebook) => {
        for (const [plot, { editor }] of this.#subscribers) {
          if (editor.notebook === notebook) this.#forget(plot);
        }
      }),
    );
  }

  dispose(): void {
    for (const plot of this.#subscribers.keys()) this.#forget(plot);
    this.#disposable.dispose();
  }

  async #receive(editor: vscode.NotebookEditor, message: unknown): Promise<void> {
    const { plotRequest } = await import('../../kernel/protocol/plot.ts');
    const parsed = plotRequest.safeParse(message);
    if (!parsed.success) {
      this.#log.warn(`A plot sent something that is no request: ${parsed.error.message}`);
      return;
    }
    const request = parsed.data;
    switch (request.type) {
      case 'subscribe': {
        const { plot } = request;
        this.#forget(plot);
        const post = (each: PlotMessage): Thenable<boolean> => this.#messaging.postMessage(each, editor);
        const subscription = new PlotSubscription(request, {
          events: (events) => post({ type: 'events', plot, events }),
          unavailable: (reason) => {
            this.#log.debug(`A plot of ${request.run} is not fed: ${reason}`);
            void post({ type: 'unavailable', plot, reason });
          },
        });
        this.#subscribers.set(plot, { editor, subscription });
        this.#daemon.watch();
        if (this.#daemon.client) this.#follow(subscription);
        else subscription.lost(noDaemon());
        break;
      }
      case 'unsubscribe':
        this.#forget(request.plot);
        break;
      case 'stop':
        await vscode.commands.executeCommand('gptLab.stopRun', { run: request.run });
        break;
    }
  }

  #forget(plot: string): void {
    this.#subscribers.get(plot)?.subscription.end();
    this.#subscribers.delete(plot);
  }

  #follow(subscription: PlotSubscription): void {
    const { client } = this.#daemon;
    if (client) subscription.follow(client, this.#runs.get(subscription.run));
  }
}

function noDaemon(): string {
  return vscode.l10n.t('No training daemon is running.');
}
