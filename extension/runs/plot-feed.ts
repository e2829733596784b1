/** Feeds the plots in notebook outputs: they ask for a run's events, and get them as they come. */
import * as vscode from 'vscode';
import type { RunEvent } from '../../kernel/protocol/events.ts';
import type { PlotMessage, PlotRequest } from '../../kernel/protocol/plot.ts';
import type { DaemonLink } from './daemon-link.ts';
import type { RunList } from './run-list.ts';

/** Messages to one plot come this often at most, ms. */
const BATCH_INTERVAL = 100;

interface Subscription {
  readonly plot: string;
  readonly run: string;
  editor: vscode.NotebookEditor;
  /** Number of the next event that the plot has not got. */
  next: number;
  /** Ends following; undefined while nothing is followed. */
  following: AbortController | undefined;
  /** Whether the last message did not arrive. */
  hidden: boolean;
}

/** Answers the requests of the renderer `gpt-lab-plot` in every notebook editor of this window. */
export class PlotFeed implements vscode.Disposable {
  readonly #daemon: DaemonLink;
  readonly #runs: RunList;
  readonly #log: vscode.LogOutputChannel;
  readonly #messaging = vscode.notebooks.createRendererMessaging('gpt-lab-plot');
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #disposable: vscode.Disposable;

  constructor(daemon: DaemonLink, runs: RunList, log: vscode.LogOutputChannel) {
    this.#daemon = daemon;
    this.#runs = runs;
    this.#log = log;
    this.#disposable = vscode.Disposable.from(
      this.#messaging.onDidReceiveMessage(({ editor, message }) => void this.#receive(editor, message)),
      daemon.onDidChange((client) => {
        for (const subscription of this.#subscriptions.values()) {
          if (client) this.#follow(subscription);
          else this.#unavailable(subscription);
        }
      }),
      // A run that was resumed goes on in the plots that show it.
      runs.onDidChange(() => {
        for (const subscription of this.#subscriptions.values()) this.#follow(subscription);
      }),
      // A hidden editor takes no messages: what it missed is sent when it, as a new object, is seen again.
      vscode.window.onDidChangeVisibleNotebookEditors((editors) => {
        for (const subscription of this.#subscriptions.values()) {
          const { editor } = subscription;
          const seen = editors.includes(editor)
            ? editor
            : editors.find(({ notebook }) => notebook === editor.notebook);
          if (!seen) continue;
          subscription.editor = seen;
          subscription.hidden = false;
          this.#follow(subscription);
        }
      }),
      vscode.workspace.onDidCloseNotebookDocument((notebook) => {
        for (const { editor, plot } of this.#subscriptions.values()) {
          if (editor.notebook === notebook) this.#forget(plot);
        }
      }),
    );
  }

  dispose(): void {
    for (const plot of this.#subscriptions.keys()) this.#forget(plot);
    this.#disposable.dispose();
  }

  async #receive(editor: vscode.NotebookEditor, message: unknown): Promise<void> {
    const { plotRequest } = await import('../../kernel/protocol/plot.ts');
    const parsed = plotRequest.safeParse(message);
    if (!parsed.success) {
      this.#log.warn(`A plot sent something that is no request: ${parsed.error.message}`);
      return;
    }
    const request: PlotRequest = parsed.data;
    switch (request.type) {
      case 'subscribe': {
        this.#forget(request.plot);
        const { plot, run, from } = request;
        const subscription = { plot, run, editor, next: from, following: undefined, hidden: false };
        this.#subscriptions.set(plot, subscription);
        this.#daemon.watch();
        if (this.#daemon.client) this.#follow(subscription);
        else this.#unavailable(subscription);
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
    this.#subscriptions.get(plot)?.following?.abort();
    this.#subscriptions.delete(plot);
  }

  #unavailable(subscription: Subscription, reason?: string): void {
    subscription.following?.abort();
    subscription.following = undefined;
    void this.#post(subscription, {
      type: 'unavailable',
      plot: subscription.plot,
      reason: reason ?? vscode.l10n.t('No training daemon is running.'),
    });
  }

  #follow(subscription: Subscription): void {
    const run = this.#runs.get(subscription.run);
    const complete = run && run.state !== 'running' && run.lastSequence < subscription.next;
    // Following a run that has ended and was sent in full would wait for ever.
    if (complete) subscription.following?.abort();
    if (subscription.following || subscription.hidden || complete) return;
    const following = new AbortController();
    subscription.following = following;
    this.#send(subscription, following.signal)
      .catch((error: unknown) => {
        if (following.signal.aborted) return;
        this.#log.warn(`Following ${subscription.run} ended: ${String(error)}`);
        this.#unavailable(subscription, error instanceof Error ? error.message : String(error));
      })
      .finally(() => {
        if (subscription.following === following) subscription.following = undefined;
      });
  }

  async #send(subscription: Subscription, signal: AbortSignal): Promise<void> {
    const client = this.#daemon.client;
    if (!client) return;
    const batch: RunEvent[] = [];
    let flushing: Promise<void> | undefined;
    const flush = async (): Promise<void> => {
      await new Promise((resolve) => setTimeout(resolve, BATCH_INTERVAL));
      flushing = undefined;
      const events = batch.splice(0);
      const last = events.at(-1);
      if (signal.aborted || !last) return;
      if (await this.#post(subscription, { type: 'events', plot: subscription.plot, events })) {
        subscription.next = Math.max(subscription.next, last.sequence + 1);
        return;
      }
      // Following goes on from the same place when the editor is shown again.
      subscription.hidden = true;
      subscription.following?.abort();
    };
    for await (const events of client.follow(subscription.run, { from: subscription.next, signal })) {
      batch.push(...events);
      flushing ??= flush();
    }
    await flushing;
  }

  async #post(subscription: Subscription, message: PlotMessage): Promise<boolean> {
    return await this.#messaging.postMessage(message, subscription.editor);
  }
}
