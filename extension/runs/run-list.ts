/** All runs that the daemon tells of, kept up to date. */
import * as vscode from 'vscode';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import type { RunSummary } from '../../kernel/protocol/events.ts';
import type { DaemonLink } from './daemon-link.ts';

/**
 * A subscription takes a moment to reach the daemon, and what was published before it did is lost: the runs are listed
 * once more after this time, ms.
 */
const SUBSCRIBED_AFTER = 1000;

/** The runs as last heard of; they stay listed when the daemon goes away. */
export class RunList implements vscode.Disposable {
  readonly #log: vscode.LogOutputChannel;
  readonly #runs = new Map<string, RunSummary>();
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #ended = new vscode.EventEmitter<RunSummary>();
  /** Fires whenever any run changed, appeared or was removed. */
  readonly onDidChange = this.#changed.event;
  /** Fires when a run that this window saw running has ended. */
  readonly onDidEnd = this.#ended.event;
  readonly #subscription: vscode.Disposable;
  #unsubscribe: (() => void) | undefined;
  #again: NodeJS.Timeout | undefined;
  /** Whose runs are listed. */
  #client: DaemonClient | undefined;

  constructor(daemon: DaemonLink, log: vscode.LogOutputChannel) {
    this.#log = log;
    this.#subscription = daemon.onDidChange((client) => {
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
      this.#client = client;
      clearTimeout(this.#again);
      if (client) this.#follow(client);
      else this.#changed.fire();
    });
  }

  /** Every known run, in no particular order. */
  get all(): RunSummary[] {
    return [...this.#runs.values()];
  }

  get(run: string): RunSummary | undefined {
    return this.#runs.get(run);
  }

  dispose(): void {
    this.#unsubscribe?.();
    clearTimeout(this.#again);
    this.#subscription.dispose();
    this.#changed.dispose();
    this.#ended.dispose();
  }

  #follow(client: DaemonClient): void {
    this.#unsubscribe = client.onRuns((message) => {
      if ('removed' in message) this.#runs.delete(message.removed);
      else this.#take(message.summary);
      this.#changed.fire();
    });
    void this.#list(client);
    this.#again = setTimeout(() => void this.#list(client), SUBSCRIBED_AFTER);
  }

  /** Lists the runs; `take` keeps what is newer. */
  async #list(client: DaemonClient): Promise<void> {
    try {
      const runs = await client.request('run.list', {});
      // Another daemon may have come meanwhile.
      if (client !== this.#client) return;
      const listed = new Set(runs.map(({ run }) => run));
      for (const known of this.#runs.keys()) if (!listed.has(known)) this.#runs.delete(known);
      for (const run of runs) this.#take(run);
      this.#changed.fire();
    } catch (error) {
      if (client !== this.#client) return;
      this.#log.error(`The daemon's runs could not be listed: ${String(error)}`);
    }
  }

  #take(run: RunSummary): void {
    const before = this.#runs.get(run.run);
    if (before && before.lastSequence > run.lastSequence) return;
    this.#runs.set(run.run, run);
    if (before?.state === 'running' && run.state !== 'running') this.#ended.fire(run);
  }
}
