/** This window's connection to the training daemon: found when there is one, started only when something needs it. */
import { existsSync, watch, type FSWatcher } from 'node:fs';
import { dirname, join } from 'node:path';
import * as vscode from 'vscode';
import type { DaemonClient } from '../../kernel/daemon/client.ts';
import { homeDirectory } from '../../kernel/home.ts';

/** Attaches to the daemon, notices when one appears or goes away, and starts one on request. */
export class DaemonLink implements vscode.Disposable {
  readonly #log: vscode.LogOutputChannel;
  readonly #changed = new vscode.EventEmitter<DaemonClient | undefined>();
  /** Fires with the client when a daemon was found or started, with undefined when it went away. */
  readonly onDidChange = this.#changed.event;
  #client: DaemonClient | undefined;
  /** The attempt under way, and whether it may start a daemon. */
  #attempt: { client: Promise<DaemonClient>; start: boolean } | undefined;
  /** Whether the folder has changed since the attempt began: the daemon may have come after it had looked. */
  #changedMeanwhile = false;
  #watcher: FSWatcher | undefined;
  #disposed = false;

  constructor(log: vscode.LogOutputChannel) {
    this.#log = log;
  }

  /** The connected client, if there is one. */
  get client(): DaemonClient | undefined {
    return this.#client;
  }

  /** Attaches to the daemon that runs now, and to any that appears later. Starts none. */
  watch(): void {
    if (this.#watcher || this.#disposed) return;
    this.#watchFolder();
    this.#attach();
  }

  /**
   * The client, after starting the daemon when none runs. It runs nothing of the folder, so trust is not asked for:
   * what starts a run asks.
   * @throws Error when the daemon cannot be started.
   */
  async require(): Promise<DaemonClient> {
    return await this.#connect(true);
  }

  dispose(): void {
    this.#disposed = true;
    this.#watcher?.close();
    this.#client?.close();
    this.#changed.dispose();
  }

  #attach(): void {
    if (this.#client || !existsSync(connectionFile())) return;
    if (this.#attempt) {
      this.#changedMeanwhile = true;
      return;
    }
    this.#changedMeanwhile = false;
    this.#connect(false).catch((error: unknown) => {
      // A stale file or a daemon that is just going: its successor rewrites the file, which the watcher sees.
      this.#log.debug(`No daemon to attach to: ${String(error)}`);
      if (this.#changedMeanwhile) this.#attach();
    });
  }

  /** One attempt at a time; one that may not start a daemon is no answer to who wants one started. */
  async #connect(start: boolean): Promise<DaemonClient> {
    if (this.#client) return this.#client;
    const running = this.#attempt;
    if (running && (running.start || !start)) return await running.client;
    if (running) {
      await running.client.catch(() => undefined);
      return await this.#connect(start);
    }
    const attempt = {
      start,
      client: this.#open(start).finally(() => (this.#attempt = undefined)),
    };
    this.#attempt = attempt;
    return await attempt.client;
  }

  async #open(start: boolean): Promise<DaemonClient> {
    // Loaded here, not at activation: the client brings zeromq and the validation library.
    const { connectDaemon } = await import('../../kernel/daemon/client.ts');
    const client = await connectDaemon({ start });
    if (this.#disposed) {
      client.close();
      throw new Error('The window is closing');
    }
    this.#log.info('Attached to the training daemon');
    this.#client = client;
    void client.closed.then(() => this.#lost(client));
    this.#changed.fire(client);
    return client;
  }

  #lost(client: DaemonClient): void {
    if (this.#client !== client || this.#disposed) return;
    this.#log.info('The training daemon went away');
    this.#client = undefined;
    this.#changed.fire(undefined);
    this.#attach();
  }

  /** Watches the home folder, or the nearest folder above it that exists, until the home folder does. */
  #watchFolder(): void {
    this.#watcher?.close();
    const home = homeDirectory();
    let folder = home;
    while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
    try {
      this.#watcher = watch(folder, { persistent: false }, () => {
        if (this.#disposed) return;
        if (folder !== home && existsSync(folder)) this.#watchFolder();
        this.#attach();
      });
      this.#watcher.on('error', (error) => {
        this.#log.warn(
          `${folder} cannot be watched, so a daemon that starts later is not noticed: ${error.message}`,
        );
      });
    } catch (error) {
      this.#log.warn(
        `${folder} cannot be watched, so a daemon that starts later is not noticed: ${String(error)}`,
      );
    }
  }
}

function connectionFile(): string {
  return join(homeDirectory(), 'daemon.json');
}
