/** The kernel of one notebook: started when first needed, its cells run one after the other. */
import { homedir } from 'node:os';
import { dirname } from 'node:path';
import * as vscode from 'vscode';
import type { KernelClient } from '../../kernel/jupyter/client.ts';
import type { CellExecutions } from './cell-executions.ts';
import { CellOutput, toItems } from './cell-output.ts';
import type { Output } from './outputs.ts';

/** Messages that come after their cell has ended are sorted by the execution that they belong to; so many are remembered. */
const REMEMBERED_EXECUTIONS = 200;
/** A cell that runs on so long after an interrupt gets an offer to restart the kernel, ms. */
const INTERRUPT_PATIENCE = 5000;

type JupyterMessage = Parameters<Parameters<KernelClient['onMessage']>[0]>[0];

/** What a kernel has to do with the rest of the extension. */
export interface KernelSurroundings {
  readonly executions: CellExecutions;
  readonly log: vscode.LogOutputChannel;
}

/** Runs the cells of a notebook in its kernel. */
export class NotebookKernel implements vscode.Disposable {
  #notebook: vscode.NotebookDocument;
  readonly #executions: CellExecutions;
  readonly #log: vscode.LogOutputChannel;
  #client: Promise<KernelClient> | undefined;
  #queue: vscode.NotebookCellExecution[] = [];
  #working: Promise<void> | undefined;
  /** Outputs by the id of the request that they answer, newest last. */
  readonly #outputs = new Map<string, CellOutput>();
  #disposed = false;

  constructor(notebook: vscode.NotebookDocument, { executions, log }: KernelSurroundings) {
    this.#notebook = notebook;
    this.#executions = executions;
    this.#log = log;
  }

  /** Runs code cells in order, after those that are queued already; resolves when all have ended. */
  async run(cells: readonly vscode.NotebookCell[]): Promise<void> {
    for (const cell of cells) this.#queue.push(this.#executions.create(cell));
    this.#working ??= this.#work();
    await this.#working;
  }

  /** The notebook got a file: from now on the kernel is that document's. */
  moveTo(notebook: vscode.NotebookDocument): void {
    this.#cancelQueue();
    this.#outputs.clear();
    this.#notebook = notebook;
  }

  /** Stops the running cell, keeping the kernel's state, and forgets the queued ones. */
  async interrupt(): Promise<void> {
    this.#cancelQueue();
    const working = this.#working;
    const client = await this.#client;
    if (!client) return;
    setTimeout(() => {
      // A later cell is not the one that was to stop.
      if (working && this.#working === working) this.#offerRestart();
    }, INTERRUPT_PATIENCE);
    await client.interrupt();
  }

  /** A fresh kernel: variables are gone. Running and queued cells end. */
  async restart(): Promise<void> {
    this.#cancelQueue();
    const client = await this.#client;
    if (!client) return;
    this.#outputs.clear();
    try {
      await client.restart();
    } catch (error) {
      // The next cell starts a kernel anew.
      this.#client = undefined;
      throw error;
    }
    this.#log.info(`Kernel of ${this.#notebook.uri.fsPath} restarted`);
  }

  /**
   * The kernel's client, started if need be.
   * @throws Error when the folder is not trusted or the kernel cannot be started
   */
  client(): Promise<KernelClient> {
    if (!vscode.workspace.isTrusted)
      return Promise.reject(
        new Error(
          vscode.l10n.t('This folder is not trusted, so no kernel is started: trust the folder first.'),
        ),
      );
    this.#client ??= this.#start();
    return this.#client;
  }

  /** Ends the kernel; its process is gone when the promise resolves. Runs that it started go on in the daemon. */
  async shutdown(): Promise<void> {
    this.#disposed = true;
    this.#cancelQueue();
    const client = await this.#client?.catch(() => undefined);
    this.#client = undefined;
    await client?.shutdown();
  }

  dispose(): void {
    this.shutdown().catch((error: unknown) => this.#log.warn(`A kernel did not shut down: ${String(error)}`));
  }

  async #start(): Promise<KernelClient> {
    const started = Date.now();
    try {
      // Loaded here, not at activation: the client brings zeromq.
      const { startKernel } = await import('../../kernel/jupyter/client.ts');
      const client = await startKernel({
        cwd: folderOf(this.#notebook),
        env: {
          GPT_LAB_LIVE_PLOTS: 'renderer',
          // The name that Jupyter servers use for the notebook's path.
          ...(this.#notebook.isUntitled ? {} : { JPY_SESSION_NAME: this.#notebook.uri.fsPath }),
        },
      });
      this.#log.info(`Kernel of ${this.#notebook.uri.fsPath} started in ${Date.now() - started} ms`);
      client.onMessage((message) => this.#takeLate(message));
      void client.died.then(({ reason }) => this.#died(reason));
      return client;
    } catch (error) {
      this.#client = undefined;
      this.#log.error(`The kernel of ${this.#notebook.uri.fsPath} did not start: ${String(error)}`);
      throw error;
    }
  }

  #died(reason: string): void {
    this.#client = undefined;
    this.#outputs.clear();
    this.#cancelQueue();
    if (this.#disposed) return;
    this.#log.error(`Kernel of ${this.#notebook.uri.fsPath} died: ${reason}`);
    const restart = vscode.l10n.t('Restart Kernel');
    void vscode.window
      .showErrorMessage(vscode.l10n.t('The kernel died: {0}', reason), restart)
      .then(async (chosen) => {
        if (chosen === restart) await this.client();
      })
      .then(undefined, (error: unknown) => void vscode.window.showErrorMessage(String(error)));
  }

  #offerRestart(): void {
    const restart = vscode.l10n.t('Restart Kernel');
    void vscode.window
      .showWarningMessage(
        vscode.l10n.t('The cell has not stopped yet. A restart loses all variables.'),
        restart,
      )
      .then((chosen) => (chosen === restart ? this.restart() : undefined))
      .then(undefined, (error: unknown) => void vscode.window.showErrorMessage(String(error)));
  }

  async #work(): Promise<void> {
    for (let execution = this.#queue.shift(); execution; execution = this.#queue.shift()) {
      const success = await this.#execute(execution);
      if (!success) this.#cancelQueue();
    }
    // In the same turn as the look at the empty queue: what is queued from now on needs a new worker.
    this.#working = undefined;
  }

  /** Runs one cell to its end; false when it failed. Never rejects: failures are outputs of the cell. */
  async #execute(execution: vscode.NotebookCellExecution): Promise<boolean> {
    const { cell } = execution;
    this.#executions.start(execution);
    const output = new CellOutput(
      (change) => this.#executions.edit(cell, change),
      (displayId, update) => this.#update(displayId, update),
      (error) => this.#log.warn(`An output could not be written: ${String(error)}`),
    );
    let success = false;
    try {
      const client = await this.client();
      const reply = await client.execute(cell.document.getText(), {
        cellId: cell.document.uri.fragment,
        onMessage: (message) => this.#take(message, execution, output),
      });
      success = reply.status === 'ok';
    } catch (error) {
      output.fail(vscode.l10n.t('Kernel'), error instanceof Error ? error.message : String(error));
    }
    await output.settled();
    this.#executions.end(execution, success);
    return success;
  }

  #take(message: JupyterMessage, execution: vscode.NotebookCellExecution, output: CellOutput): void {
    this.#remember(message, output);
    const count = (message.content as { execution_count?: unknown }).execution_count;
    if (message.header.msg_type === 'execute_input' && typeof count === 'number')
      execution.executionOrder = count;
    output.take(message);
  }

  /** Output of background work, or of a cell that has ended: it goes to the cell that made it. */
  #takeLate(message: JupyterMessage): void {
    const parent = parentOf(message);
    const output = parent === undefined ? undefined : this.#outputs.get(parent);
    if (output) output.take(message);
    else this.#log.debug(`Dropped a ${message.header.msg_type} message that belongs to no cell`);
  }

  #remember(message: JupyterMessage, output: CellOutput): void {
    const parent = parentOf(message);
    if (parent === undefined || this.#outputs.has(parent)) return;
    this.#outputs.set(parent, output);
    const [oldest] = this.#outputs.keys();
    if (this.#outputs.size > REMEMBERED_EXECUTIONS && oldest !== undefined) this.#outputs.delete(oldest);
  }

  /** New contents for a display: in this session's outputs, or in outputs that were in the notebook before. */
  #update(displayId: string, update: Output): void {
    let found = false;
    for (const output of this.#outputs.values()) found = output.updateDisplay(displayId, update) || found;
    if (found) return;
    for (const cell of this.#notebook.getCells()) {
      for (const output of cell.outputs) {
        const transient = (output.metadata as Partial<Output['metadata']> | undefined)?.transient;
        if (transient?.display_id !== displayId) continue;
        this.#executions
          .edit(cell, (execution) => execution.replaceOutputItems(toItems(update), output))
          .catch((error: unknown) => this.#log.warn(`A display could not be updated: ${String(error)}`));
      }
    }
  }

  #cancelQueue(): void {
    for (const execution of this.#queue.splice(0)) this.#executions.end(execution, undefined);
  }
}

function parentOf(message: JupyterMessage): string | undefined {
  const id = (message.parent_header as { msg_id?: unknown } | undefined)?.msg_id;
  return typeof id === 'string' ? id : undefined;
}

/** Where relative paths in cells start: the notebook's folder, or the workspace's for a notebook without a file. */
function folderOf(notebook: vscode.NotebookDocument): string {
  if (notebook.uri.scheme !== 'untitled') return dirname(notebook.uri.fsPath);
  return vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? homedir();
}
